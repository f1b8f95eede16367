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
        "sample",
        description="Latents: a sample of the posterior (published), or its mean, which has less noise.",
    )
    resizing: Resizing = Field(
        "once",
        description="Resizing to the VDVAE's size, bilinear. once: float32; as-published: Pillow, 8 bits.",
    )


class EmbeddingConfig(Settings):
    """How pictures reach CLIP."""

    resizing: Resizing = Field(
        "once",
        description="How pictures are resized for CLIP. once: bicubic; as-published: via 512 pixels, bilinear, in 8 bits.",
    )
