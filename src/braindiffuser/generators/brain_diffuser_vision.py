"""Brain-Diffuser without text, for recordings without captions: diffusion is guided by vision tokens alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from braindiffuser.generators.brain_diffuser import BrainDiffuser
from braindiffuser.generators.generator import Variant


class BrainDiffuserVision(BrainDiffuser):
    """Latents → low-level picture → diffusion guided by vision tokens; `diffusion.vision_weight` is 1, whatever it says."""

    uses: ClassVar[tuple[str, ...]] = ("latents", "vision")
    variants: ClassVar[Mapping[str, Variant]] = {
        "low_level": BrainDiffuser.variants["low_level"],
        "full": Variant("Reconstruction", start="low_level", uses=("vision",)),
        "without_low_level": Variant("Diffusion only", uses=("vision",), ablation="without_low_level", branch="vision"),
    }
