"""Latents of a Very Deep VAE, from which the low-level picture is drawn."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from braindiffuser.networks.cache import NetworkCache
from braindiffuser.networks.config_checks import check_vdvae
from braindiffuser.part import FolderPath
from braindiffuser.targets.target import Features, Stimuli, Target


class VDVAELatents(Target):
    """Flattened latents of the first layers, coarse to fine: (n, 91168) as published."""

    folder_entries: ClassVar[tuple[str, ...]] = ("checkpoint",)

    n_layers: PositiveInt = Field(
        31,
        description="Layers that are predicted, coarse to fine, at most the network's. The paper: 31 of 75, 91,168 latents.",
    )
    posterior: Literal["sample", "mean"] = Field(
        "sample",
        description="Latents: a sample of the posterior (published), or its mean, which has less noise.",
    )
    resizing: Literal["once", "as-published"] = Field(
        "once",
        description="Resizing to the VDVAE's size, bilinear. once: float32; as-published: Pillow, 8 bits.",
    )
    checkpoint: FolderPath = Field(description="Checkpoint folder of the VDVAE.")

    def row_shape(self) -> tuple[int, ...]:
        """Return (latents of the first `n_layers` layers,), if the network is the one that its config describes."""
        folder = self.checkpoints["checkpoint"]
        ends = check_vdvae(folder, "checkpoint")
        if self.n_layers > len(ends):
            raise ValueError(
                f"n_layers is {self.n_layers}, but the network in {folder} has {len(ends)}: give {len(ends)} or fewer"
            )
        return (ends[self.n_layers - 1],)

    def extract(self, stimuli: Stimuli, networks: NetworkCache, seed: int) -> Features:
        """Infer the latents of pictures."""
        from braindiffuser.networks.checkpoints import load_vdvae
        from braindiffuser.targets.vdvae_latents import extract_latents

        network = networks.load_to_device(self.checkpoints["checkpoint"], load_vdvae)
        return extract_latents(network, stimuli.pictures(), stimuli.ids, self, seed)
