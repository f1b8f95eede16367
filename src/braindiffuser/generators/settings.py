"""Numbers of the two stages, light to import."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from braindiffuser.networks.sampler_names import NoiseLevel, Precision, SamplerName
from braindiffuser.part import Settings, runtime


class LowLevelConfig(Settings):
    """How latents become a picture; the defaults are the published ones."""

    temperature: NonNegativeFloat = Field(
        1.0, description="Temperature of the prior that the layers which are not predicted are drawn from; 0: its mean."
    )
    output: Literal["sample", "mean"] = Field(
        "sample", description="Pixel values: a sample of the decoder's mixture, or its mean, which has no pixel noise."
    )


class DiffusionConfig(Settings):
    """Numbers of the second stage; the defaults are the published ones."""

    n_steps: int = Field(50, ge=1, lt=1000, description="Steps of the sampler from pure noise to a picture.")
    strength: float = Field(
        0.75, ge=0, le=1, description="Share of the steps that run on the low-level picture: 0.75 runs 37 of 50."
    )
    guidance_scale: NonNegativeFloat = Field(
        7.5, description="Guidance scale g in u + g (c - u): 0 is unguided, 1 the conditional prediction alone."
    )
    vision_weight: float = Field(
        0.6, ge=0, le=1, description="Share of vision at every cross-attention, 0 to 1; text has the rest."
    )
    noise_level: NoiseLevel = Field(
        "as-published",
        description="Timestep that the low-level picture is noised to. as-published: the one before the first that is "
        "denoised, 741 before 721; consistent: the first that is denoised, 721.",
    )
    sampler: SamplerName = Field(
        "ddim", description="Algorithm; 20 steps of dpm-solver++ or unipc do what 50 of ddim do, with other pictures."
    )
    posterior: Literal["sample", "mean"] = Field(
        "sample", description="Latents of the low-level picture: a sample of the autoencoder's Gaussian, or its mean."
    )
    scaling_factor: PositiveFloat | None = Field(
        None, description="Factor that scales the autoencoder's latents; null: the one in the autoencoder's own config."
    )
    precision: Precision = Field(
        "full", description="Precision of both networks: half is float16 on a GPU, as published; all else is float32."
    )
    offload: bool = runtime(
        False, description="Networks wait in main memory and go to the GPU a layer at a time: slower, for small GPUs."
    )
