"""The best that any linear decoder can predict: true features, projected on the span of the training targets."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64

from braindiffuser.arrays import Matrix
from braindiffuser.metrics._correlation import FeatureRows
from braindiffuser.metrics.nearest_rows import RowSource, blocks_of, flat_rows

JITTER = 1e-12
"""Smallest share of the mean eigenvalue that is added to a Gram matrix taken in float64, so that it can be solved."""
MOST_IN_FLOAT64 = 2e10
"""Products of a Gram matrix beyond which they are taken in float32, twice as fast."""
JITTER_FLOAT32 = 1e-6
"""The same share of one taken in float32, which covers its rounding."""


def linear_reach(truth: FeatureRows, targets: RowSource, mean: Float64[np.ndarray, " d"]) -> Matrix:
    """Project true features on the span of the training targets: the best that any linear decoder can predict.

        y* − μ = Y_cᵀ (Y_c Y_cᵀ)⁺ Y_c (y − μ),  Y_c the training targets (n_train, d) less their mean μ

    A decoder that is linear in its training targets predicts weighted sums of them, whatever the responses; with fewer training
    stimuli than features some of the truth is out of its reach (Otsuka, Nagano & Kamitani 2025). With more, y* = y as a rule.

    Takes about n_train² d multiplications if n_train < d, and n_train d² if not: of the published latents (8,859 × 91,168)
    7 · 10¹², some minutes on two cores. Memory: one matrix of the smaller side, and two blocks.

    Args:
        truth: features less the training mean (n, d).
        targets: of the training stimuli (n_train, …), in memory or on disk, read in blocks.
        mean: of them.

    Returns:
        y* − μ (n, d).

    Raises:
        ValueError: if d is not that of the targets.
    """
    n_train, d = targets.shape[0], truth.shape[1]
    if d <= n_train:
        scatter, own = np.zeros((d, d)), truth.astype(np.float64)
        for rows in blocks_of(targets):
            y = flat_rows(targets, rows).astype(np.float64) - mean
            scatter += y.T @ y
        return _solved(scatter, scatter @ own.T, JITTER).T
    exact = float(n_train) ** 2 * d <= MOST_IN_FLOAT64
    dtype: Any = np.float64 if exact else np.float32
    own, shift = truth.astype(dtype), mean.astype(dtype)
    gram, products = np.empty((n_train, n_train)), np.empty((n_train, len(truth)))
    for rows in blocks_of(targets):
        y = flat_rows(targets, rows).astype(dtype) - shift
        products[rows] = y @ own.T
        for columns in blocks_of(targets):
            if columns.start > rows.start:
                break
            gram[rows, columns] = y @ (flat_rows(targets, columns).astype(dtype) - shift).T
            gram[columns, rows] = gram[rows, columns].T
    weights = _solved(gram, products, JITTER if exact else JITTER_FLOAT32)
    reached = np.zeros(truth.shape, dtype)
    for rows in blocks_of(targets):
        reached += weights[rows].T.astype(dtype) @ (flat_rows(targets, rows).astype(dtype) - shift)
    return reached


def _solved(gram: Float64[np.ndarray, "m m"], right: Float64[np.ndarray, "m n"], jitter: float) -> Matrix:
    """Solve (G + ε I) x = right by Cholesky, ε the smallest share of the mean eigenvalue of G from `jitter` on that allows it.

    As ε falls to 0 this is the pseudo-inverse of G, where `right` lies in its range.
    """
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    scale, diagonal = float(np.trace(gram)) / len(gram), np.diagonal(gram).copy()
    if scale <= 0:
        return np.zeros_like(right)
    while True:
        np.fill_diagonal(gram, diagonal + jitter * scale)
        try:
            solved: Matrix = cho_solve(cho_factor(gram), right)
        except LinAlgError:
            jitter *= 10
        else:
            return solved
