"""Latents of a Very Deep VAE, from which the low-level picture is drawn."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from braindiffuser.networks.cache import NetworkCache
from braindiffuser.part import FolderPath
from braindiffuser.targets.settings import LatentConfig
from braindiffuser.targets.target import Features, Stimuli, Target


class VDVAELatents(LatentConfig, Target):
    """Flattened latents of the first layers, coarse to fine: (n, 91168) as published."""

    folder_entries: ClassVar[tuple[str, ...]] = ("checkpoint",)

    checkpoint: FolderPath = Field(description="Checkpoint folder of the VDVAE.")

    def extract(self, stimuli: Stimuli, networks: NetworkCache, seed: int) -> Features:
        """Infer the latents of pictures."""
        from braindiffuser.networks.checkpoints import load_vdvae
        from braindiffuser.targets.vdvae_latents import extract_latents

        network = networks.load(self.checkpoints["checkpoint"], load_vdvae).to(networks.device)
        return extract_latents(network, stimuli.pictures(), stimuli.ids, self, seed)
