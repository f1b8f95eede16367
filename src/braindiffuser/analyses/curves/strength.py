"""Score over the strength of diffusion: how much of the steps runs on the low-level picture."""

from __future__ import annotations

from typing import ClassVar

from braindiffuser.analyses.curves.along import DiffusionEntry


class Strength(DiffusionEntry):
    """Draw the same test pictures at other values of `generator.diffusion.strength`."""

    title: ClassVar[str] = "Score over the strength of diffusion"
    axis: ClassVar[str] = "strength"
    entry: ClassVar[str] = "strength"
    usual: ClassVar[tuple[float, ...]] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
