"""How much memory the second stage needs on a GPU, and the largest batch that one has room for.

Weights are counted, and so are activations: the sum of all tensors alive at once over a guided step of the UNet, an encoding
and a decoding (`models.accounting`; attention as a fused kernel does it, without the scores of all pairs). On a
CPU a picture took 0.95 to 1.2 times what is counted (`benchmarks/memory_plan.py`); on a GPU nothing was measured, and what
counting leaves out is allowed for by `CONTEXT` and `SLACK`. The other stages (VDVAE and CLIP, in float32) have their own needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.generators.autoencoder import coded_at_a_time
from braindiffuser.generators.brain_diffuser import BrainDiffuser
from braindiffuser.generators.diffusion import guided_denoiser
from braindiffuser.networks.accounting import peak_memory
from braindiffuser.networks.checkpoints import build_autoencoder, build_empty, build_unet, read_config
from braindiffuser.networks.convert import CLIP_VIT_L14, KL_F8
from braindiffuser.networks.sampler_names import Precision
from braindiffuser.networks.versatile import VersatileConfig

CONTEXT = 0.75e9
"""Bytes allowed for CUDA's context and the kernels of its libraries."""

SLACK = 0.5
"""Share of the activations allowed for workspaces of convolutions and what the allocator cannot use."""

BATCH_SIZES = (1, 2, 4, 8, 16)

_PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "unet": VersatileConfig().model_dump(),
    "autoencoder": KL_F8,
    "clip": CLIP_VIT_L14,
}


@dataclass(frozen=True)
class Demand:
    """What the second stage holds in memory, in bytes, in one precision."""

    precision: Precision
    weights: int  # of both networks
    largest_layer: int  # all that there is of them on the GPU at a time, offloaded
    step: int  # tensors alive in a guided step of the UNet, per picture
    coding: int  # tensors alive while the autoencoder encodes or decodes, per picture
    coded_at_a_time: int  # pictures that the autoencoder codes together, at most

    def gigabytes(self, batch_size: int, offload: bool = False) -> float:
        """w + (1 + SLACK) max(n a_step, min(n, k) a_coding) + CONTEXT, in GB (10⁹ bytes).

        n pictures at a time, k of them coded together, a_… the bytes per picture; w the weights, or the largest layer if
        the others wait in main memory.
        """
        activations = max(batch_size * self.step, min(batch_size, self.coded_at_a_time) * self.coding)
        return ((self.largest_layer if offload else self.weights) + (1 + SLACK) * activations + CONTEXT) / 1e9


@dataclass(frozen=True)
class MemoryPlan:
    """Settings of the second stage for a GPU, and the memory that they need."""

    batch_size: int
    precision: Precision
    offload: bool
    needs_gb: float


def plan(gpu_bytes: float, demand: Demand) -> MemoryPlan:
    """Choose the largest batch that a GPU has room for.

    Args:
        gpu_bytes: the GPU's whole memory; that of "8 GB" is taken as 8e9.
        demand: of the experiment, in its precision, which a plan leaves as it is: it belongs to the result.

    Returns:
        Without offloading if at least one picture fits so. If not even offloading makes room, the smallest need there is:
        one picture, offloaded.
    """
    options = [(offload, n) for offload in (False, True) for n in reversed(BATCH_SIZES)]
    fitting = [option for option in options if 1e9 * demand.gigabytes(option[1], option[0]) <= gpu_bytes]
    offload, batch_size = (fitting or options[-1:])[0]
    return MemoryPlan(batch_size, demand.precision, offload, demand.gigabytes(batch_size, offload))


def demand_of(experiment: Experiment, precision: Precision | None = None) -> Demand:
    """Count what the second stage of an experiment holds in memory; nothing is loaded or computed.

    Args:
        experiment: its checkpoint folders' `config.json` give the networks' sizes; one that is not here counts as published.
        precision: None takes the experiment's.

    Raises:
        RunError: if a config is not JSON, or the generator is another one than Brain-Diffuser's.
    """
    generator = experiment.generator
    if not isinstance(generator, BrainDiffuser):
        raise RunError(f"memory is planned for the generator brain_diffuser alone, not for {generator.kind}")
    precision = generator.diffusion.precision if precision is None else precision
    dtype = torch.float16 if precision == "half" else torch.float32
    folders = {**generator.checkpoints, "clip": experiment.targets["vision"].checkpoints.get("checkpoint")}
    configs = {name: _config(name, folders[name]) for name in _PUBLISHED}
    with FakeTensorMode(), torch.no_grad():
        unet = build_empty(build_unet, configs["unet"], "cpu", dtype)
        autoencoder = build_empty(build_autoencoder, configs["autoencoder"], "cpu", dtype)
        size = int(autoencoder.config.sample_size)
        pictures = torch.empty(1, int(autoencoder.config.in_channels), size, size, dtype=dtype)
        latents = autoencoder.encode(pictures).latent_dist.mean
        tokens, null_tokens = (_tokens(unet.config, configs["clip"]) for _ in range(2))
        guidance = generator.diffusion.guidance_scale, generator.diffusion.vision_weight

        def step() -> torch.Tensor:
            return guided_denoiser(unet, tokens, null_tokens, *guidance)(latents.float(), 0)

        encoding = peak_memory(lambda: autoencoder.encode(pictures))
        decoding = peak_memory(lambda: autoencoder.decode(latents))
        return Demand(
            precision=precision,
            weights=_bytes(unet) + _bytes(autoencoder),
            largest_layer=max(_bytes(layer, False) for network in (unet, autoencoder) for layer in network.modules()),
            step=peak_memory(step),
            coding=max(encoding, decoding),
            coded_at_a_time=coded_at_a_time(autoencoder),
        )


def gpu_of_this_machine(device: str = "cuda") -> tuple[str, float] | None:
    """Name and bytes of memory of a GPU, by default the first; None if torch sees no such GPU."""
    number = device.partition(":")[2]
    index = int(number) if number.isdecimal() else 0
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        return None
    properties = torch.cuda.get_device_properties(index)
    return properties.name, float(properties.total_memory)


def _config(network: str, folder: Path | None) -> dict[str, Any]:
    if folder is None or not (folder / "config.json").is_file():
        return dict(_PUBLISHED[network])
    try:
        return read_config(folder)
    except ValueError as error:
        raise RunError(f"the checkpoint {folder} cannot be used: {error}") from error


def _tokens(unet: VersatileConfig, clip: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    vision, text = clip["vision_config"], clip["text_config"]
    n_vision = (vision["image_size"] // vision["patch_size"]) ** 2 + 1
    return torch.empty(1, n_vision, unet.vision_dim), torch.empty(1, text["max_position_embeddings"], unet.text_dim)


def _bytes(network: torch.nn.Module, recurse: bool = True) -> int:
    return sum(parameter.nbytes for parameter in network.parameters(recurse))
