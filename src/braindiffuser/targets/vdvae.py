"""Latents of a Very Deep VAE, from which the low-level picture is drawn."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from braindiffuser.networks.cache import NetworkCache
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

    def check_configs(self) -> None:
        """Check that the network is the one that its config describes, and has `n_layers` layers."""
        self.row_shape()

    def row_shape(self) -> tuple[int, ...]:
        """Return (latents of the first layers,)."""
        from braindiffuser.networks.vdvae import read_vdvae_config

        folder = self.checkpoints["checkpoint"]
        layers = read_vdvae_config(folder, "checkpoint").latent_shapes
        if self.n_layers > len(layers):
            raise ValueError(
                f"n_layers is {self.n_layers}, but the network in {folder} has {len(layers)}: give {len(layers)} or fewer"
            )
        return (sum(math.prod(layer) for layer in layers[: self.n_layers]),)

    def extract(self, stimuli: Stimuli, networks: NetworkCache, seed: int) -> Features:
        """Infer the latents of pictures."""
        from braindiffuser.networks.checkpoints import load_vdvae
        from braindiffuser.targets.vdvae_latents import extract_latents

        network = networks.load(self.checkpoints["checkpoint"], load_vdvae).to(networks.device)
        return extract_latents(network, stimuli.pictures(), stimuli.ids, self, seed)
