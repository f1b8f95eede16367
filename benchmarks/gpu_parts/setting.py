"""Where and at which size parts run, and networks of random weights."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from ridge import SCALES, Scale
from timed_parts import Result
from torch import Tensor, nn

from braindiffuser.arrays import Pictures
from braindiffuser.generators.diffusion import DiffusionNetworks, Embeddings, guided_denoiser
from braindiffuser.generators.settings import DiffusionConfig
from braindiffuser.networks.checkpoints import build_autoencoder, build_empty, build_unet
from braindiffuser.networks.convert import KL_F8, VERSATILE
from braindiffuser.networks.versatile import DualGuidedUNet, VersatileConfig

Network = TypeVar("Network", bound=nn.Module)
GREY_LEVELS = 255
GIB = 2**30


class Sizes(NamedTuple):
    """Sizes of what is measured."""

    unet: VersatileConfig
    autoencoder: Mapping[str, Any]
    n_vision: int
    n_text: int
    batches: tuple[int, ...]
    n_steps: int
    """From pure noise; three quarters of them run."""
    n_scenes: int
    ridge: Scale
    training_batch: int | None
    """None: that of the training scripts."""
    n_pool: int
    """Scenes that the UNet's training step draws from."""


PUBLISHED = Sizes(VERSATILE, KL_F8, 257, 77, (1, 4, 16), 50, 64, SCALES["nsd"], None, 256)
SMALL = Sizes(
    VersatileConfig(
        sample_size=8,
        block_out_channels=(16, 32),
        attention_levels=(False, True),
        layers_per_block=1,
        attention_heads=2,
        vision_dim=16,
        text_dim=16,
        norm_num_groups=8,
    ),
    {
        **KL_F8,
        "sample_size": 32,
        "block_out_channels": [8, 8, 8],
        "down_block_types": ["DownEncoderBlock2D"] * 3,
        "up_block_types": ["UpDecoderBlock2D"] * 3,
        "layers_per_block": 1,
        "norm_num_groups": 4,
    },
    n_vision=5,
    n_text=3,
    batches=(1, 2, 4),
    n_steps=6,
    n_scenes=3,
    ridge=Scale(120, 20, 200, {"latents": (500,), "vision": (5, 24), "text": (3, 24)}),
    training_batch=4,
    n_pool=8,
)


class Setting(NamedTuple):
    """Where and at which size parts run."""

    device: str
    small: bool
    folder: Path
    """For files of random numbers."""

    @property
    def sizes(self) -> Sizes:
        """Sizes of what is measured."""
        return SMALL if self.small else PUBLISHED

    @property
    def on_gpu(self) -> bool:
        """Whether it is a CUDA card."""
        return self.device.startswith("cuda")

    @property
    def half(self) -> torch.dtype:
        """The precision of the preset on this device, as the package chooses it."""
        name = DiffusionConfig(precision="half").dtype_on(self.device)
        dtype: torch.dtype = getattr(torch, name)
        return dtype

    def synchronise(self) -> None:
        """Wait until the card has computed all that it was given."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)


def measured(run: Callable[[Setting, float], Iterator[Result]]) -> Callable[[Any, float], Iterator[Result]]:
    """Make a part of a function that yields results: it adds the card's peak memory, and frees that memory."""

    @wraps(run)
    def part(given: tuple[str, bool, Path], ends_at: float) -> Iterator[Result]:
        setting = Setting(*given)
        if setting.on_gpu:
            torch.cuda.set_device(setting.device)
            torch.cuda.reset_peak_memory_stats()
        yield from run(setting, ends_at)
        if setting.on_gpu:
            yield {"peak_device_gb": round(torch.cuda.max_memory_allocated() / GIB, 2)}
        gc.collect()
        if setting.on_gpu:
            torch.cuda.empty_cache()

    return part


def seconds(setting: Setting, work: Callable[[], object]) -> float:
    """Time a piece of work, all of it done on the card."""
    setting.synchronise()
    started = time.perf_counter()
    work()
    setting.synchronise()
    return time.perf_counter() - started


def random_network(
    build: Callable[[dict[str, Any]], Network], config: Mapping[str, Any], device: str, dtype: torch.dtype
) -> Network:
    """Build a network on the device, with weights that keep activations near 1: N(0, 1 / fan-in), gains 1, biases 0."""
    network = build_empty(build, dict(config), device, dtype).to(device).eval().requires_grad_(False)
    generator = torch.Generator(device).manual_seed(0)
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
        else:
            parameter.fill_(float(name.endswith("weight")))
    return network


def random_unet(setting: Setting, dtype: torch.dtype) -> DualGuidedUNet:
    """Build the UNet."""
    return random_network(build_unet, setting.sizes.unet.model_dump(), setting.device, dtype)


def random_pair(setting: Setting, dtype: torch.dtype) -> DiffusionNetworks:
    """Build the UNet and the autoencoder."""
    autoencoder = random_network(build_autoencoder, setting.sizes.autoencoder, setting.device, dtype)
    return DiffusionNetworks(random_unet(setting, dtype), autoencoder, setting.device)


def random_embeddings(sizes: Sizes, n: int, seed: int) -> Embeddings:
    """Draw tokens of n pictures."""
    rng = np.random.default_rng(seed)
    vision = rng.standard_normal((n, sizes.n_vision, sizes.unet.vision_dim), dtype=np.float32)
    return Embeddings(vision, rng.standard_normal((n, sizes.n_text, sizes.unet.text_dim), dtype=np.float32))


def denoiser(unet: Any, setting: Setting, batch: int) -> Callable[[Tensor, int], Tensor]:
    """Guide the UNet by random tokens, with the numbers of the paper."""
    tokens, null = (
        tuple(torch.from_numpy(values).to(setting.device) for values in random_embeddings(setting.sizes, n, n))
        for n in (batch, 1)
    )
    return guided_denoiser(unet, (tokens[0], tokens[1]), (null[0], null[1]), 7.5, 0.6)


def random_latents(setting: Setting, batch: int) -> Tensor:
    """Draw latents of a batch, and noise: (2, n, …)."""
    config = setting.sizes.unet
    shape = (2, batch, config.in_channels, config.sample_size, config.sample_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(batch)).to(setting.device)


def guided_step(unet: Any, setting: Setting) -> Tensor:
    """Predict the noise of one batch."""
    batch = setting.sizes.batches[1]
    with torch.no_grad():
        return denoiser(unet, setting, batch)(random_latents(setting, batch)[0], 481)


def relative_difference(found: Tensor, expected: Tensor) -> float:
    """‖a - b‖ / ‖b‖."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def grey_levels(name: str, found: Pictures, expected: Pictures) -> Result:
    """Mean and largest difference of pictures, in grey levels of 255."""
    difference = GREY_LEVELS * np.abs(found - expected)
    return {f"{name}_grey_levels_mean": float(difference.mean()), f"{name}_grey_levels_max": float(difference.max())}
