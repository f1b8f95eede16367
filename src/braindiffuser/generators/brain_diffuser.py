"""Brain-Diffuser (Ozcelik & VanRullen 2023): a VDVAE draws the low level, dual-guided latent diffusion refines it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int
from pydantic import Field

from braindiffuser.arrays import Pictures
from braindiffuser.generators.generator import Draw, Generator, GroupFeatures, Variant
from braindiffuser.generators.settings import DiffusionConfig, LowLevelConfig
from braindiffuser.networks.cache import NetworkCache
from braindiffuser.networks.config_checks import TOGETHER, check_diffusion, check_vdvae
from braindiffuser.part import FolderPath

EMBEDDINGS = ("vision", "text")
"""Target groups that guide diffusion."""
VISION_WEIGHTS: Mapping[str, float] = {
    "without_text": 1.0,
    "without_vision": 0.0,
    "vision_alone": 1.0,
    "text_alone": 0.0,
}
"""Variant (of Table 2 of the paper, or one branch alone) → vision weight that switches the other guidance off."""


class BrainDiffuser(Generator):
    """Latents → low-level picture → diffusion guided by vision and text tokens."""

    uses: ClassVar[tuple[str, ...]] = ("latents", "vision", "text")
    folder_entries: ClassVar[tuple[str, ...]] = ("vdvae", "autoencoder", "unet")
    variants: ClassVar[Mapping[str, Variant]] = {
        "low_level": Variant(
            "Low level",
            uses=("latents",),
            ablation="low_level_only",
            ablation_label="Low level only",
            branch="latents",
        ),
        "full": Variant("Reconstruction", start="low_level", uses=EMBEDDINGS),
        "without_low_level": Variant("Diffusion only", uses=EMBEDDINGS, ablation="without_low_level"),
        "without_text": Variant(
            "Without text", start="low_level", uses=EMBEDDINGS, ablation="without_text", by_default=False
        ),
        "without_vision": Variant(
            "Without vision", start="low_level", uses=EMBEDDINGS, ablation="without_vision", by_default=False
        ),
        "vision_alone": Variant("Vision alone", uses=EMBEDDINGS, branch="vision"),
        "text_alone": Variant("Text alone", uses=EMBEDDINGS, branch="text"),
    }

    vdvae: FolderPath = Field(description="Checkpoint folder of the VDVAE whose latents are predicted.")
    autoencoder: FolderPath = Field(
        description="Checkpoint folder of the KL autoencoder whose latents diffusion denoises."
    )
    unet: FolderPath = Field(description="Checkpoint folder of the dual-guided UNet.")
    low_level: LowLevelConfig = Field(LowLevelConfig(), description="First stage: latents to the low-level picture.")
    diffusion: DiffusionConfig = Field(
        DiffusionConfig(), description="Second stage: low-level picture to reconstruction."
    )

    def open(self, variant: str, null: GroupFeatures, networks: NetworkCache, seed: int) -> Draw:
        """Load the networks of a variant's last stage."""
        return (
            self._open_low_level(networks, seed)
            if variant == "low_level"
            else self._open_diffusion(variant, null, networks, seed)
        )

    def without(self, groups: Collection[str]) -> Generator:
        """Return the generator that draws from latents and vision tokens alone, if text is left out."""
        if not set(groups) & set(self.uses) or set(groups) - {"text"}:
            return super().without(groups)
        from braindiffuser.generators.brain_diffuser_vision import BrainDiffuserVision

        return BrainDiffuserVision(**{name: getattr(self, name) for name in type(self).model_fields})

    def check_rows(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Check that the networks fit each other, latents fill layers of the VDVAE, and tokens are as wide as the UNet takes."""
        ends = check_vdvae(self.checkpoints["vdvae"], "vdvae")
        for group, taken in check_diffusion(self.checkpoints["unet"], self.checkpoints["autoencoder"]).items():
            made = (shapes.get(group) or (taken,))[-1]
            if made != taken:
                raise ValueError(
                    f"unet names {self.checkpoints['unet']}, which takes {group} tokens of width {taken}, but the target {group} "
                    f"makes them {made} wide: {TOGETHER}"
                )
        made = (shapes.get("latents") or (ends[0],))[-1]
        if made not in ends:
            raise ValueError(
                f"vdvae names {self.checkpoints['vdvae']}, no layer of which ends after {made} latents, as those of the "
                "target latents do: name the same checkpoint in both"
            )

    def checkpoints_of(self, variant: str) -> dict[str, Path]:
        """Return the checkpoints of a variant's last stage; the first stage needs the autoencoder only for its size."""
        names = ("vdvae", "autoencoder") if variant == "low_level" else ("autoencoder", "unet")
        return {name: self.checkpoints[name] for name in names}

    def influences(self, device: str) -> dict[str, Any]:
        """Return all entries, with precision resolved for this device."""
        own = super().influences(device)
        return {**own, "diffusion": {**own["diffusion"], "precision": self.diffusion.dtype_on(device)}}

    def influences_of(self, variant: str, device: str) -> dict[str, Any]:
        """Return the first stage's entries for its own pictures, and the second stage's for all others."""
        own = self.influences(device)
        dropped = "diffusion" if variant == "low_level" else "low_level"
        return {key: value for key, value in own.items() if key != dropped}

    def _open_low_level(self, networks: NetworkCache, seed: int) -> Draw:
        from braindiffuser import images
        from braindiffuser.generators.low_level import reconstruct_low_level
        from braindiffuser.networks.checkpoints import build_autoencoder, build_empty, load_vdvae, read_config

        network = networks.load_to_device(self.checkpoints["vdvae"], load_vdvae)
        autoencoder = networks.load(
            self.checkpoints["autoencoder"],
            lambda folder: build_empty(build_autoencoder, read_config(folder)),
            "config",
        )
        size = int(autoencoder.config.sample_size)

        def draw(features: GroupFeatures, picture_ids: Int[np.ndarray, " n"], start: Pictures | None) -> Pictures:
            made = reconstruct_low_level(network, features["latents"], picture_ids, self.low_level, seed)
            return images.resize(made, size)

        return draw

    def _open_diffusion(self, variant: str, null: GroupFeatures, networks: NetworkCache, seed: int) -> Draw:
        import torch

        from braindiffuser.generators.diffusion import DiffusionNetworks, Embeddings, reconstruct
        from braindiffuser.generators.placement import place
        from braindiffuser.networks.checkpoints import load_autoencoder, load_unet

        device, offload = networks.device, self.diffusion.offload
        waits_on = "cpu" if offload else device
        dtype = getattr(torch, self.diffusion.dtype_on(str(device)))

        def load_unet_there(folder: Path) -> Any:
            return place(load_unet(folder, dtype, waits_on), device, offload)

        def load_autoencoder_there(folder: Path) -> Any:
            return place(load_autoencoder(folder, dtype, waits_on), device, offload)

        pair = DiffusionNetworks(
            networks.load(self.checkpoints["unet"], load_unet_there, dtype, offload),
            networks.load(self.checkpoints["autoencoder"], load_autoencoder_there, dtype, offload),
            device,
        )
        has_text = "text" in self.uses
        weight = VISION_WEIGHTS.get(variant, self.diffusion.vision_weight) if has_text else 1.0
        config = self.diffusion.model_copy(update={"vision_weight": weight})

        def embeddings_of(features: GroupFeatures) -> Embeddings:
            vision = features["vision"]
            unused = np.zeros((len(vision), 1, 1), np.float32)  # at vision weight 1, text is not looked at
            return Embeddings(vision, features["text"] if has_text else unused)

        null_embeddings = embeddings_of(null)

        def draw(features: GroupFeatures, picture_ids: Int[np.ndarray, " n"], start: Pictures | None) -> Pictures:
            return reconstruct(pair, start, embeddings_of(features), null_embeddings, picture_ids, config, seed)

        return draw
