"""Literals used in configs, without torch."""

from typing import Literal, TypeAlias

NoiseLevel: TypeAlias = Literal["as-published", "consistent"]
"""Where image-to-image starts: one step above the first denoised timestep, or at it."""
SamplerName: TypeAlias = Literal["ddim", "dpm-solver++", "unipc"]
"""Algorithms of `samplers`."""
Precision: TypeAlias = Literal["full", "half"]
"""float32; or float16 on a GPU, and float32 on a CPU, where half is slower."""
