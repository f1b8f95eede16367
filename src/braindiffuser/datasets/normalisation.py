"""Z-scoring that tolerates constant voxels and copies no large matrix."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float, Float32

Normalisation = Literal["session", "training", "run", "session-all-trials", "none"]
"""How betas become responses; equations in docs/concepts/normalisation.md. Stored by position: append, never reorder.

- `session`: z-score each session by its training trials, which takes out drift between sessions; average over repeats; z-score by
  the training responses.
- `training`: average, then z-score by the training responses, as published.
- `run`: as `session`, each run by its training trials.
- `session-all-trials`: as `session`, and sessions without training trials by all their trials: test responses enter there.
- `none`: average; neither centred nor scaled.
"""
COLUMNS_PER_BLOCK = 1024
"""Columns converted to float64 at a time."""
ROUNDING = 1e-6
"""Below this share of |mean|, a deviation is float32 rounding of a constant."""


def column_statistics(
    values: Float[np.ndarray, "rows columns"],
) -> tuple[Float[np.ndarray, " columns"], Float[np.ndarray, " columns"]]:
    """μ = Σ x / n and σ = √(Σ (x − μ)² / (n − 1)) of every column, in float64.

    Args:
        values: at least two rows; read a block of columns at a time, so memory does not double.

    Returns:
        Mean and standard deviation; the latter is exactly 0 for a column that is constant but for rounding.

    Raises:
        ValueError: fewer than two rows.
    """
    if len(values) < 2:
        raise ValueError(f"a standard deviation needs at least 2 rows, got {len(values)}")
    mean, std = np.empty(values.shape[1]), np.empty(values.shape[1])
    for start in range(0, values.shape[1], COLUMNS_PER_BLOCK):
        block = values[:, start : start + COLUMNS_PER_BLOCK].astype(np.float64)
        mean[start : start + COLUMNS_PER_BLOCK] = block.mean(axis=0)
        std[start : start + COLUMNS_PER_BLOCK] = block.std(axis=0, ddof=1)
    std[std <= ROUNDING * np.abs(mean)] = 0.0
    return mean, std


def guard(std: Float[np.ndarray, " columns"]) -> Float[np.ndarray, " columns"]:
    """Return `std` with 1 where it is 0, so that a constant column z-scores to 0 and not to a division by 0."""
    return np.where(std > 0, std, 1.0)


def standardise(
    values: Float32[np.ndarray, "rows columns"],
    mean: Float[np.ndarray, " columns"],
    std: Float[np.ndarray, " columns"],
    *,
    in_place: bool = False,
) -> Float32[np.ndarray, "rows columns"]:
    """Return z = (x − μ) / σ, with σ = 1 where it is 0.

    Args:
        values: what to z-score.
        mean: μ of every column.
        std: σ of every column, in the units of `values`.
        in_place: overwrite `values` instead of allocating a matrix of its size.
    """
    out = values if in_place else np.empty_like(values)
    np.subtract(values, mean.astype(np.float32), out=out)
    np.divide(out, guard(std).astype(np.float32), out=out)
    return out
