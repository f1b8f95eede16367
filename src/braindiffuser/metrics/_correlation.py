"""Pearson correlations between features of seen pictures and of reconstructions: of all pairs, or of each with its own."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from braindiffuser.arrays import Matrix, Vector
from braindiffuser.real_numbers import real_numbers

FeatureRows = Float[np.ndarray, "_ _"]
"""One feature vector per picture, (n, d); shapes are checked in the functions."""

_COLUMNS_AT_ONCE = 8192


def correlation_matrix(seen: FeatureRows, made: FeatureRows) -> Matrix:
    """Correlate every stimulus with every reconstruction.

    c(i, j) = ⟨s_i − s̄_i, m_j − m̄_j⟩ / (‖s_i − s̄_i‖ ‖m_j − m̄_j‖)

    Works through blocks of columns in float64, so that wide features need little memory. A constant feature vector has
    no correlation; it counts as 0 with everything.

    Returns:
        Correlations (n, n) in [−1, 1], stimuli in rows and reconstructions in columns.
    """
    check_pairs(seen, made)
    return cross_correlation(seen, made)


def cross_correlation(seen: FeatureRows, made: FeatureRows) -> Matrix:
    """Correlate any feature vectors (m, d) with others (n, d), as `correlation_matrix` does: (m, n) in [−1, 1]."""
    seen_mean, made_mean = _row_means(seen), _row_means(made)
    products = np.zeros((len(seen), len(made)))
    seen_squares, made_squares = np.zeros(len(seen)), np.zeros(len(made))
    for start in range(0, seen.shape[1], _COLUMNS_AT_ONCE):
        columns = slice(start, start + _COLUMNS_AT_ONCE)
        s, m = seen[:, columns] - seen_mean[:, None], made[:, columns] - made_mean[:, None]
        products += s @ m.T
        seen_squares += np.einsum("ij,ij->i", s, s)
        made_squares += np.einsum("ij,ij->i", m, m)
    scale = np.outer(_inverse_norms(seen, seen_squares), _inverse_norms(made, made_squares))
    correlations: Matrix = np.clip(products * scale, -1, 1)
    return correlations


def paired_correlation(seen: FeatureRows, made: FeatureRows) -> Vector:
    """Correlate each stimulus with its own reconstruction: the diagonal of `correlation_matrix`, (n,) in [−1, 1]."""
    check_pairs(seen, made)
    correlations = np.empty(len(seen))
    rows_at_once = max(1, _COLUMNS_AT_ONCE * 128 // max(seen.shape[1], 1))
    for start in range(0, len(seen), rows_at_once):
        rows = slice(start, start + rows_at_once)
        s, m = (x[rows] - _row_means(x[rows])[:, None] for x in (seen, made))
        seen_squares, made_squares = np.einsum("ij,ij->i", s, s), np.einsum("ij,ij->i", m, m)
        scale = _inverse_norms(seen[rows], seen_squares) * _inverse_norms(made[rows], made_squares)
        correlations[rows] = np.einsum("ij,ij->i", s, m) * scale
    clipped: Vector = np.clip(correlations, -1, 1)
    return clipped


def check_pairs(seen: FeatureRows, made: FeatureRows) -> None:
    """Raise ValueError if features of seen pictures and of reconstructions are not (n, d) each, finite and in pairs."""
    if seen.shape != made.shape:
        raise ValueError(
            f"features of seen pictures have shape {seen.shape} and those of reconstructions {made.shape}; both must be"
            " (n, d), row k of one belonging to row k of the other"
        )
    for name, features in (("seen pictures", seen), ("reconstructions", made)):
        real_numbers(features, f"features of {name} came as", (*features.shape[:1], None), error=ValueError)
        if not np.isfinite(features).all():
            row = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
            raise ValueError(f"features of {name} hold a value that is not finite, first in row {row}")


def _row_means(features: FeatureRows) -> Vector:
    means: Vector = features.mean(axis=1, dtype=np.float64)
    return means


def _inverse_norms(features: FeatureRows, squares: Vector) -> Vector:
    """Return 1 / ‖x − x̄‖ per row, and 0 for a row that is constant up to rounding."""
    norms = np.sqrt(squares)
    largest = np.maximum(features.max(axis=1, initial=0), -features.min(axis=1, initial=0))
    smallest = 1e-13 * np.sqrt(features.shape[1]) * largest
    inverse: Vector = np.divide(1, norms, out=np.zeros_like(norms), where=norms > smallest)
    return inverse
