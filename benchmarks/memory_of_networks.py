"""Main memory while networks of the published sizes are loaded for a device: tensor by tensor, and whole before they move.

python benchmarks/memory_of_networks.py [--device cuda] [--small] [--only NAME …] [--json FILE]

Checkpoints of random numbers are written to a temporary folder (3.8 GB; `--small` takes the sizes of the demonstration). Each is
loaded in a process of its own, so that its peak is its own, in the precision of the preset `brain-diffuser`; on a GPU each
network then computes one picture. A part that fails is reported, and the others go on.

Of each network: `tensor_by_tensor` is how the package loads it, `whole_first` how it did before: all in main memory, then moved.
`host_gb` is the peak of resident main memory above that before, pages of the mapped file among it; `host_peak_gb` is the peak
itself, with Python, torch and the driver.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from braindiffuser.generators.diffusion import guided_denoiser
from braindiffuser.machine import peak_memory_gb, reset_peak_memory
from braindiffuser.networks.checkpoint_folders import BUNDLED
from braindiffuser.networks.checkpoints import (
    build_autoencoder,
    build_clip,
    build_empty,
    build_unet,
    load_network,
    read_config,
    write_checkpoint,
)
from braindiffuser.networks.clip import VIT_L14, vision_tokens
from braindiffuser.networks.convert import KL_F8, VERSATILE
from braindiffuser.networks.samplers import sample_from_latents
from braindiffuser.networks.vdvae import IMAGENET64, VDVAEConfig

Result = dict[str, Any]
SCALE = 0.02
"""Standard deviation of the random weights."""


def build_vdvae(config: dict[str, Any]) -> nn.Module:
    """Make a VDVAE."""
    return VDVAEConfig(**config).build()


class Network(NamedTuple):
    """One network of the preset: how it is built, stored and computed."""

    build: Callable[[dict[str, Any]], nn.Module]
    config: Mapping[str, Any]
    stored: torch.dtype
    computed: torch.dtype


NETWORKS = {
    "vdvae": Network(build_vdvae, IMAGENET64.model_dump(mode="json"), torch.float32, torch.float32),
    "clip": Network(build_clip, VIT_L14, torch.float16, torch.float32),
    "unet": Network(build_unet, VERSATILE.model_dump(mode="json"), torch.float16, torch.float16),
    "autoencoder": Network(build_autoencoder, KL_F8, torch.float16, torch.float16),
}


class RandomTensors(Mapping[str, torch.Tensor]):
    """Random numbers in the shapes of a network's tensors, made one after the other as they are written."""

    def __init__(self, shapes: Mapping[str, torch.Tensor]) -> None:
        """Take names and shapes from tensors on torch's meta device."""
        self._shapes = shapes

    def __getitem__(self, name: str) -> torch.Tensor:
        """Return tensor `name`; whole numbers, such as positions, count up."""
        like = self._shapes[name]
        if not like.is_floating_point():
            return torch.arange(like.numel(), dtype=like.dtype).reshape(like.shape)
        return torch.randn(like.shape) * SCALE

    def __iter__(self) -> Iterator[str]:
        """Iterate over names."""
        return iter(self._shapes)

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self._shapes)

    def items(self) -> Any:
        """Return names and tensors without numbers, for the header of a file."""
        return self._shapes.items()


def config_of(name: str, small: bool) -> dict[str, Any]:
    """Return the config of a network as published, or of the demonstration."""
    return read_config(BUNDLED / "demo" / name) if small else dict(NETWORKS[name].config)


def write(folder: Path, name: str, small: bool) -> Result:
    """Write a checkpoint of random numbers."""
    network, config, started = NETWORKS[name], config_of(name, small), time.perf_counter()
    torch.manual_seed(0)
    shapes = build_empty(network.build, config).state_dict()
    write_checkpoint(folder, config, RandomTensors(shapes), network.stored)
    return {
        "parameters": sum(tensor.numel() for tensor in shapes.values()),
        "file_gb": round((folder / "model.safetensors").stat().st_size / 2**30, 3),
        "seconds_to_write": round(time.perf_counter() - started, 1),
    }


def loaded(folder: Path, name: str, device: str, whole_first: bool) -> Result:
    """Load a checkpoint to a device and, on a GPU, compute one picture."""
    network = NETWORKS[name]
    on_gpu = device.startswith("cuda")
    torch.zeros(1, device=device)  # the driver's own memory comes before
    reset_peak_memory()
    before, started = _resident_gb(), time.perf_counter()
    if whole_first:
        made = load_network(folder, network.build, network.computed).to(device)
    else:
        made = load_network(folder, network.build, network.computed, device)
    if on_gpu:
        torch.cuda.synchronize()
    result: Result = {
        "host_gb": round(peak_memory_gb() - before, 3),
        "host_peak_gb": peak_memory_gb(),
        "seconds": round(time.perf_counter() - started, 2),
    }
    if on_gpu:
        started = time.perf_counter()
        picture = computed(name, made, device)
        torch.cuda.synchronize()
        result |= {
            "picture": {
                "shape": list(picture.shape),
                "finite": bool(picture.isfinite().all()),
                "seconds": round(time.perf_counter() - started, 2),
            },
            "host_peak_gb_with_picture": peak_memory_gb(),
            "device_peak_gb": round(torch.cuda.max_memory_allocated() / 2**30, 3),
        }
    return result


@torch.inference_mode()
def computed(name: str, network: Any, device: str) -> torch.Tensor:
    """Compute one picture's latents (vdvae), tokens (clip), denoised latents (unet), or pixels (autoencoder)."""
    if name == "vdvae":
        side = network.config.image_size
        layers, _ = network.infer(torch.rand(1, 3, side, side, device=device), None, len(network.config.latent_shapes))
        return torch.cat([layer.z.flatten() for layer in layers])
    if name == "clip":
        side = network.config.vision_config.image_size
        return vision_tokens(network, torch.randn(1, 3, side, side, device=device))
    if name == "autoencoder":
        side = network.config.sample_size // 2 ** (len(network.config.block_out_channels) - 1)
        latents = torch.randn(1, network.config.latent_channels, side, side, device=device)
        decoded: torch.Tensor = network.decode(latents.to(next(network.parameters()).dtype)).sample
        return decoded
    config = network.config
    tokens, null = (
        (torch.randn(1, 257, config.vision_dim, device=device), torch.randn(1, 77, config.text_dim, device=device))
        for _ in range(2)
    )
    denoise = guided_denoiser(network, tokens, null, 7.5, 0.6)
    latents, noise = torch.randn(2, 1, config.in_channels, config.sample_size, config.sample_size, device=device)
    return sample_from_latents(denoise, latents, noise)


def _resident_gb() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss / 2**30)


def alone(part: Callable[..., Result], *arguments: Any) -> Result:
    """Run a part in a fresh process; one that fails, or is killed, is reported."""
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(part, *arguments).result()
    except Exception as error:  # the other parts go on
        return {"failed": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Run all parts and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="where networks compute: cpu, cuda, cuda:1 …")
    parser.add_argument("--small", action="store_true", help="networks of the demonstration's size")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="networks to load")
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    result: Result = {"device": arguments.device, "networks": {}}
    if torch.cuda.is_available() and arguments.device.startswith("cuda"):
        result["gpu"] = torch.cuda.get_device_name(arguments.device)
    for name in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            own = alone(write, Path(folder), name, arguments.small)
            if "failed" not in own:
                for way, whole_first in (("tensor_by_tensor", False), ("whole_first", True)):
                    own[way] = alone(loaded, Path(folder), name, arguments.device, whole_first)
        result["networks"][name] = own
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
