"""Latents of a Very Deep VAE, from which the low-level picture is drawn."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from braindiffuser.networks.cache import NetworkCache
from braindiffuser.networks.checkpoint_folders import read_config_of
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
        """Check that the network has `n_layers` layers."""
        from braindiffuser.networks.vdvae import VDVAEConfig

        folder = self.checkpoints["checkpoint"]
        content = read_config_of("VDVAE", folder, "checkpoint")
        try:
            found = len(VDVAEConfig(**content).latent_shapes)
        except ValueError as error:
            raise ValueError(f"checkpoint names {folder}, whose config.json is not a VDVAE's") from error
        if self.n_layers > found:
            raise ValueError(
                f"n_layers is {self.n_layers}, but the network in {folder} has {found}: give {found} or fewer"
            )

    def extract(self, stimuli: Stimuli, networks: NetworkCache, seed: int) -> Features:
        """Infer the latents of pictures."""
        from braindiffuser.networks.checkpoints import load_vdvae
        from braindiffuser.targets.vdvae_latents import extract_latents

        network = networks.load(self.checkpoints["checkpoint"], load_vdvae).to(networks.device)
        return extract_latents(network, stimuli.pictures(), stimuli.ids, self, seed)
