"""Voxel patterns multiplied with a linear decoder's coefficients."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64


class Projection(NamedTuple):
    """p B for voxel patterns p (no intercept), with the intercept and target statistics needed to place the result.

    Attributes:
        values: p B, (n_patterns, n_targets).
        intercept: b, (n_targets,).
        training_mean: of the targets, (n_targets,).
        training_std: their standard deviation (ddof 0).
    """

    values: Float[np.ndarray, "n_patterns n_targets"]
    intercept: Float[np.ndarray, " n_targets"]
    training_mean: Float64[np.ndarray, " n_targets"]
    training_std: Float64[np.ndarray, " n_targets"]
