"""CLIP's tokens of captions, by Versatile Diffusion's rules."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from braindiffuser.networks.cache import NetworkCache
from braindiffuser.networks.config_checks import check_clip
from braindiffuser.part import FolderPath
from braindiffuser.targets.target import Features, Stimuli, Target


class CLIPText(Target):
    """Mean over a picture's captions of the tokens of CLIP's text transformer: (n, 77, 768) as published."""

    reads: ClassVar[tuple[str, ...]] = ("captions",)
    stored_as: ClassVar[Literal["float16", "float32"]] = "float32"
    folder_entries: ClassVar[tuple[str, ...]] = ("checkpoint",)

    checkpoint: FolderPath = Field(description="Checkpoint folder of CLIP.")

    def row_shape(self) -> tuple[int, ...]:
        """Return (tokens of a caption, their width), if the checkpoint is CLIP with its own tokenizer."""
        return check_clip(self.checkpoints["checkpoint"], "checkpoint")["text"]

    def extract(self, stimuli: Stimuli, networks: NetworkCache, seed: int) -> Features:
        """Embed captions."""
        from braindiffuser.targets.clip_tokens import extract_text_tokens, load_clip_on

        return extract_text_tokens(load_clip_on(networks, self.checkpoints["checkpoint"]), stimuli.captions())

    def null(self, networks: NetworkCache) -> Features:
        """Embed the empty caption."""
        from braindiffuser.targets.clip_tokens import load_clip_on, null_tokens

        return null_tokens(load_clip_on(networks, self.checkpoints["checkpoint"]))[1]
