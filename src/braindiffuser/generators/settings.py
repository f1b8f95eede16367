"""Numbers of the two stages, light to import."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from braindiffuser.networks.sampler_names import NoiseLevel, Precision, SamplerName
from braindiffuser.part import Settings, runtime


class LowLevelConfig(Settings):
    """How latents become a picture; the defaults are the published ones."""

    temperature: NonNegativeFloat = Field(
        1.0, description="Of the prior that the layers which are not predicted are drawn from; 0: its mean."
    )
    output: Literal["sample", "mean"] = Field(
        "sample", description="Of the mixture over pixel values: a sample, or its mean, which has no pixel noise."
    )


class DiffusionConfig(Settings):
    """Numbers of the second stage; the defaults are the published ones."""

    n_steps: int = Field(50, ge=1, lt=1000, description="Steps from pure noise.")
    strength: float = Field(
        0.75, ge=0, le=1, description="Share of the steps that run on the low-level picture: 37 of 50."
    )
    guidance_scale: NonNegativeFloat = Field(
        7.5, description="g of u + g (c - u): 0 is unguided, 1 the conditional prediction alone."
    )
    vision_weight: float = Field(
        0.6, ge=0, le=1, description="Share of vision at every cross-attention; text has the rest."
    )
    noise_level: NoiseLevel = Field(
        "as_published", description="Noise to t = 741 and denoise from 721, as published; or consistent: noise to 721."
    )
    sampler: SamplerName = Field(
        "ddim", description="Algorithm; 20 steps of dpm-solver++ or unipc do what 50 of ddim do, with other pictures."
    )
    posterior: Literal["sample", "mode"] = Field("sample", description="Of the autoencoder's Gaussian over latents.")
    scaling_factor: PositiveFloat | None = Field(
        None, description="Of the autoencoder's latents; none: what the autoencoder's own config says."
    )
    precision: Precision = Field(
        "full", description="Of both networks: half is float16 on a GPU, as published, and float32 on a CPU."
    )
    offload: bool = runtime(
        False, description="Networks wait in main memory and go to the GPU a layer at a time: slower, for small GPUs."
    )
