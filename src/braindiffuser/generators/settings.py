"""Numbers of the two stages, light to import."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field, NonNegativeFloat, PositiveFloat

from braindiffuser.networks.sampling_choices import NoiseLevel, SamplerName
from braindiffuser.part import Settings, runtime

Precision: TypeAlias = Literal["full", "half"]
"""float32; or float16 on a GPU, and float32 on a CPU, where half is slower."""


class LowLevelConfig(Settings):
    """How latents become a picture; the defaults are the published ones."""

    temperature: NonNegativeFloat = Field(
        1.0, description="Temperature of the prior for layers that are not predicted: 1 published, 0 its mean."
    )
    output: Literal["sample", "mean"] = Field(
        "sample",
        description="Pixel values: a sample of the VDVAE's output mixture (published), or its mean, without pixel noise.",
    )


class DiffusionConfig(Settings):
    """Numbers of the second stage; the defaults are the published ones."""

    n_steps: int = Field(50, ge=1, lt=1000, description="Steps of the sampler from pure noise to a picture.")
    strength: float = Field(
        0.75,
        ge=0,
        le=1,
        description="Share of the steps that run on the low-level picture. Published: 0.75, 37 of 50 steps.",
    )
    guidance_scale: NonNegativeFloat = Field(
        7.5,
        description="Guidance scale g in u + g (c - u): 0 is the unconditional prediction, 1 the conditional one. Published: "
        "7.5.",
    )
    vision_weight: float = Field(
        0.6, ge=0, le=1, description="Share of vision at every cross-attention, 0 to 1; text has the rest."
    )
    noise_level: NoiseLevel = Field(
        "as-published",
        description="Timestep to which noise is added. as-published: the timestep above the first that is denoised (at strength "
        "0.75: 741; denoised from 721); consistent: the first that is denoised (721).",
    )
    sampler: SamplerName = Field(
        "ddim",
        description="Algorithm: ddim as published; dpm-solver++ and unipc need about 20 steps for similar quality and draw "
        "other pictures.",
    )
    posterior: Literal["sample", "mean"] = Field(
        "sample",
        description="Latents of the low-level picture: a sample of the autoencoder's Gaussian (published), or its mean.",
    )
    scaling_factor: PositiveFloat | None = Field(
        None, description="Factor that scales the autoencoder's latents; null: the one in the autoencoder's own config."
    )
    precision: Precision = Field(
        "full",
        description="Precision of both networks. half: float16 on a GPU (published), float32 on a CPU; full: float32.",
    )
    offload: bool = runtime(
        False, description="Networks wait in main memory and go to the GPU a layer at a time: slower, for small GPUs."
    )

    def dtype_on(self, device: str) -> Literal["float16", "float32"]:
        """Return the precision in force on a device; on a CPU half precision is slower, so it is not used."""
        on_cpu = device.partition(":")[0] == "cpu"
        return "float16" if self.precision == "half" and not on_cpu else "float32"
