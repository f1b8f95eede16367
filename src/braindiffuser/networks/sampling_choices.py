"""Names of samplers and of where they start, for configs; without torch."""

from typing import Literal, TypeAlias

NoiseLevel: TypeAlias = Literal["as-published", "consistent"]
"""Where image-to-image starts: one step above the first denoised timestep, or at it."""
SamplerName: TypeAlias = Literal["ddim", "dpm-solver++", "unipc"]
"""Algorithms of `samplers`."""
