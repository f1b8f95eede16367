"""The published networks at full size with random weights: names against the published lists, time and memory a picture.

python benchmarks/full_size.py [--pictures 2] [--json FILE]

Each part runs in a process of its own, so that its peak memory is its own. On a GPU the whole 37-step loop is timed at
batches of 1, 4 and 16, in half precision.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from braindiffuser.generators.diffusion import guided_denoiser
from braindiffuser.networks.samplers import sample_from_latents
from braindiffuser.networks.vdvae import IMAGENET64
from braindiffuser.networks.versatile import DualGuidedUNet, VersatileConfig, from_original

NAMES = Path(__file__).parents[1] / "tests" / "reference" / "vectors"
N_LAYERS, N_VISION, N_TEXT = 31, 257, 77
Result = dict[str, Any]


@torch.inference_mode()
def vdvae(n_pictures: int) -> Result:
    """Build the ImageNet-64 VDVAE, compare its tensors with the published list, and extract 31 layers."""
    network = IMAGENET64.build().eval()
    published = json.loads((NAMES / "vdvae_imagenet64_state_dict.json").read_text(encoding="utf-8"))
    found = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    network.infer(torch.rand(1, 3, 64, 64), None, 1)
    started = time.perf_counter()
    layers, _ = network.infer(torch.rand(n_pictures, 3, 64, 64), None, N_LAYERS)
    seconds = (time.perf_counter() - started) / n_pictures
    return {
        "tensors_as_published": found == published,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "latents": sum(layer.z[0].numel() for layer in layers),
        "seconds_per_picture": seconds,
    }


@torch.inference_mode()
def guided_step(n_pictures: int) -> Result:
    """Build the published dual UNet in float32, compare its tensors with the published list, and take one guided step."""
    unet = DualGuidedUNet(VersatileConfig()).eval()
    listed = json.loads((NAMES / "versatile_diffusion_state_dict.json").read_text(encoding="utf-8"))
    checkpoint = {name: torch.empty(shape, device="meta") for name, shape in listed.items()}
    renamed = {name: tensor.shape for name, tensor in from_original(checkpoint).items()}
    denoise = guided_denoiser(unet, _tokens(n_pictures, "cpu"), _tokens(1, "cpu"), 7.5, 0.6)
    latents = torch.randn(n_pictures, 4, 64, 64)
    started = time.perf_counter()
    denoise(latents, 721)
    return {
        "tensors_as_published": renamed == {name: tensor.shape for name, tensor in unet.state_dict().items()},
        "parameters": sum(parameter.numel() for parameter in unet.parameters()),
        "seconds_per_picture": (time.perf_counter() - started) / n_pictures,
    }


@torch.inference_mode()
def loop_on_gpu(_: int) -> Result:
    """Time all 37 steps on a GPU, in half precision."""
    unet = DualGuidedUNet(VersatileConfig()).half().to("cuda").eval()
    seconds = {}
    for batch in (1, 4, 16):
        denoise = guided_denoiser(unet, _tokens(batch, "cuda"), _tokens(1, "cuda"), 7.5, 0.6)
        latents, noise = torch.randn(2, batch, 4, 64, 64, device="cuda")
        sample_from_latents(denoise, latents, noise, n_steps=2)
        torch.cuda.synchronize()
        started = time.perf_counter()
        sample_from_latents(denoise, latents, noise)
        torch.cuda.synchronize()
        seconds[str(batch)] = (time.perf_counter() - started) / batch
    return {
        "gpu": torch.cuda.get_device_name(),
        "seconds_per_picture_by_batch": seconds,
        "peak_gpu_gb": torch.cuda.max_memory_allocated() / 1e9,
    }


def _tokens(n: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(n, N_VISION, 768, device=device), torch.randn(n, N_TEXT, 768, device=device)


def measured(part: Callable[[int], Result], n_pictures: int) -> Result:
    """Run a part in a fresh process and add its peak memory."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_with_peak, (part, n_pictures))


def _with_peak(part: Callable[[int], Result], n_pictures: int) -> Result:
    result = part(n_pictures)
    return result | {"peak_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def main() -> None:
    """Run all parts and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--pictures", type=int, default=2, help="pictures of VDVAE's extraction; the guided step takes one"
    )
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    result: Result = {"threads": torch.get_num_threads(), "vdvae_extraction": measured(vdvae, arguments.pictures)}
    result["guided_step"] = measured(guided_step, 1)
    if torch.cuda.is_available():
        result["loop_on_gpu"] = measured(loop_on_gpu, 0)
    print(json.dumps(result, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
