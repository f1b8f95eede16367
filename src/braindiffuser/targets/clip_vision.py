"""CLIP's tokens of pictures, by Versatile Diffusion's rules."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from braindiffuser.networks.cache import NetworkCache
from braindiffuser.networks.config_checks import check_clip
from braindiffuser.part import FolderPath
from braindiffuser.targets.target import Features, Stimuli, Target

Resizing = Literal["once", "as-published"]


class CLIPVision(Target):
    """Tokens of CLIP's vision transformer: (n, 257, 768) as published."""

    folder_entries: ClassVar[tuple[str, ...]] = ("checkpoint",)

    resizing: Resizing = Field(
        "once",
        description="How pictures are resized for CLIP. once: bicubic; as-published: via 512 pixels, bilinear, in 8 bits.",
    )
    checkpoint: FolderPath = Field(description="Checkpoint folder of CLIP.")

    def row_shape(self) -> tuple[int, ...]:
        """Return (tokens of a picture, their width), if the checkpoint is CLIP with its own tokenizer."""
        return check_clip(self.checkpoints["checkpoint"], "checkpoint")["vision"]

    def extract(self, stimuli: Stimuli, networks: NetworkCache, seed: int) -> Features:
        """Embed pictures."""
        from braindiffuser.targets.clip_tokens import extract_vision_tokens, load_clip_on

        clip = load_clip_on(networks, self.checkpoints["checkpoint"])
        return extract_vision_tokens(clip, stimuli.pictures(), self.resizing)

    def null(self, networks: NetworkCache) -> Features:
        """Embed a mid-grey picture."""
        from braindiffuser.targets.clip_tokens import load_clip_on, null_tokens

        return null_tokens(load_clip_on(networks, self.checkpoints["checkpoint"]), self.resizing)[0]
