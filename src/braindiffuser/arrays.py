"""Array types; shape names are the glossary's words. Checked in tests, free at run time."""

from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

__all__ = ["Betas", "Matrix", "Pictures", "RawPictures", "Responses", "Vector", "VoxelMask"]

Pictures: TypeAlias = Float32[np.ndarray, "n 3 height width"]
"""Pictures in the one convention: float32 RGB in [0, 1]."""

RawPictures: TypeAlias = UInt8[np.ndarray, "n height width 3"]
"""Pictures as files store them: 8-bit RGB, channels last."""

Matrix: TypeAlias = Float[np.ndarray, "rows columns"]
Vector: TypeAlias = Float[np.ndarray, " length"]
Betas: TypeAlias = Float32[np.ndarray, "n_trials n_voxels"]
Responses: TypeAlias = Float32[np.ndarray, "n_stimuli n_voxels"]
VoxelMask: TypeAlias = Bool[np.ndarray, "x y z"]
