"""How features are taken from stimuli, light to import."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from braindiffuser.part import Settings

Resizing = Literal["once", "as-published"]


class LatentConfig(Settings):
    """Which latents are taken from a picture."""

    n_layers: PositiveInt = Field(
        31, description="Number of layers that are predicted, coarse to fine; the paper's 31 of 75 hold 91,168 latents."
    )
    posterior: Literal["sample", "mean"] = Field(
        "sample", description="Sample of the posterior over latents, as published, or its mean, a cleaner target."
    )
    resizing: Resizing = Field(
        "once", description="To the VDVAE's size, bilinear: once, in float32; as-published, by Pillow in 8 bits."
    )


class EmbeddingConfig(Settings):
    """How pictures reach CLIP."""

    resizing: Resizing = Field(
        "once",
        description="How pictures are resized for CLIP. once: bicubic; as-published: by way of 512 pixels, bilinear, in 8 bits.",
    )
