"""Score over the weight of vision: the share of vision against text."""

from __future__ import annotations

from typing import ClassVar

from braindiffuser.analyses.curves.along import DiffusionEntry


class VisionWeight(DiffusionEntry):
    """Draw the same test pictures at other values of `generator.diffusion.vision_weight`."""

    title: ClassVar[str] = "Score over the weight of vision"
    axis: ClassVar[str] = "vision weight"
    entry: ClassVar[str] = "vision_weight"
    usual: ClassVar[tuple[float, ...]] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
