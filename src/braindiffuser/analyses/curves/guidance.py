"""Score over guidance: how far diffusion is led by the decoded features."""

from __future__ import annotations

from typing import ClassVar

from braindiffuser.analyses.curves.along import DiffusionEntry


class Guidance(DiffusionEntry):
    """Draw the same test pictures at other values of `generator.diffusion.guidance_scale`."""

    title: ClassVar[str] = "Score over guidance"
    axis: ClassVar[str] = "guidance scale"
    entry: ClassVar[str] = "guidance_scale"
    usual: ClassVar[tuple[float, ...]] = (1.0, 2.0, 3.0, 5.0, 7.5, 10.0)
