"""How much features vary: along how many directions, and how many pictures have nearly the features of another one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from braindiffuser.arrays import Matrix, Vector
from braindiffuser.metrics._correlation import FeatureRows

TWIN = 0.99
"""Correlation from which on features of two pictures are called nearly equal."""
COLUMNS_AT_ONCE = 4096
"""Features that are widened to float64 at a time."""


def effective_dimension(features: FeatureRows) -> tuple[float, Vector]:
    """Compute the participation ratio of the covariance of features over pictures, and without each picture.

        (Σ_j λ_j)² / Σ_j λ_j²,  λ the eigenvalues of the covariance of n pictures: those of their Gram matrix
        K = X Xᵀ, X the features less their mean over pictures; so (tr K)² / ‖K‖²

    It lies between 1 and n − 1. Of few pictures it is small whatever the features, so compare only features of the same pictures.
    Without picture i the scatter Xᵀ X lacks n/(n − 1) x_i x_iᵀ, which gives the other n values from K alone.

    Args:
        features: (n, d).

    Returns:
        The ratio, and the ratio without each picture (n,); 0 where features do not vary.

    >>> effective_dimension(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))[0]
    2.0
    """
    gram = _centred_gram(features)
    n = len(gram)
    own, trace = np.diagonal(gram), float(np.trace(gram))
    squares = np.square(gram).sum(axis=1)
    grown = n / max(n - 1, 1)
    traces = trace - grown * own
    norms = squares.sum() - 2 * grown * squares + np.square(grown * own)
    value = trace**2 / squares.sum() if trace > 0 else 0.0
    left_out: Vector = np.divide(traces**2, norms, out=np.zeros(n), where=norms > 1e-24 * max(trace**2, 1e-300))
    return float(value), left_out


class Twins(NamedTuple):
    """Pictures with nearly the features of another one.

    Attributes:
        has_one: 1 or 0 of each picture (n,).
        pairs: share of all pairs of pictures that are twins; 0 of a single picture.
        mean_correlation: of all pairs; 0 of a single picture.
    """

    has_one: Vector
    pairs: float
    mean_correlation: float


def twins(correlations: Matrix) -> Twins:
    """Find pictures with nearly the features of another one: max_{j ≠ i} corr(x_i, x_j) ≥ .99.

    Decoders that know a few kinds of pictures give many pictures the features of their kind.

    Args:
        correlations: of features of all pairs of pictures, less the mean of the training features, (n, n).

    >>> twins(np.array([[1, 0.995, 0], [0.995, 1, 0.1], [0, 0.1, 1]]))
    Twins(has_one=array([1., 1., 0.]), pairs=0.333..., mean_correlation=0.365...)
    """
    n = len(correlations)
    are_alike = correlations >= TWIN
    np.fill_diagonal(are_alike, False)
    others = are_alike.sum(axis=1)
    has_one: Vector = (others > 0).astype(np.float64)
    n_pairs = max(n * (n - 1), 1)
    return Twins(has_one, float(others.sum()) / n_pairs, float(correlations.sum() - np.trace(correlations)) / n_pairs)


def _centred_gram(features: FeatureRows) -> Float64[np.ndarray, "n n"]:
    gram = np.zeros((len(features), len(features)))
    for start in range(0, features.shape[1], COLUMNS_AT_ONCE):
        block = features[:, start : start + COLUMNS_AT_ONCE].astype(np.float64)
        block -= block.mean(axis=0)
        gram += block @ block.T
    return gram
