"""Two-way identification and correlation distance: how features of seen pictures and of reconstructions go together."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from braindiffuser._arrays import Matrix, Vector

Direction = Literal["per_reconstruction", "per_stimulus"]
"""Who chooses among whom: a reconstruction among all stimuli, or a stimulus among all reconstructions."""

Features = Float[np.ndarray, "_ _"]
"""One feature vector per picture, (n, d); here functions compare shapes themselves, with a message."""

TIE_DECIMALS = 10
"""Correlations that agree to so many decimals count as tied, whatever the order in which sums were rounded."""

_COLUMNS_AT_ONCE = 8192


def two_way_identification(seen: Features, made: Features, direction: Direction = "per_reconstruction") -> Vector:
    """Score, for each picture, how often the true match beats one distractor.

    With c(i, j) the Pearson correlation of the features of stimulus i and of reconstruction j,

        score(k) = 1/(n − 1) · Σ_{i≠k} [c(i, k) < c(k, k)] + ½ [c(i, k) = c(k, k)]     per_reconstruction
        score(k) = 1/(n − 1) · Σ_{j≠k} [c(k, j) < c(k, k)] + ½ [c(k, j) = c(k, k)]     per_stimulus

    Brain-Diffuser and MindEye publish the mean of the first, Takagi & Nishimoto that of the second. They differ where
    some reconstructions resemble every stimulus.

    Args:
        seen: features (n, d) of the stimuli.
        made: features (n, d) of their reconstructions, in the same order.
        direction: which of the two.

    Returns:
        Score of each picture (n,) in [0, 1]; chance is 0.5.

    Raises:
        ValueError: if the shapes differ, there are fewer than two pictures, or a value is not finite.

    >>> features = np.eye(4)
    >>> two_way_identification(features, features)
    array([1., 1., 1., 1.])
    >>> two_way_identification(features, features[[1, 0, 3, 2]]).mean()
    np.float64(0.333...)
    """
    return np.diagonal(match_scores(correlation_matrix(seen, made), direction)).copy()


def match_scores(correlations: Matrix, direction: Direction = "per_reconstruction") -> Matrix:
    """Score every stimulus as if it were the match of every reconstruction.

    score(i, j) = (rank of c(i, j) among all c(·, j) − 1) / (n − 1), ties sharing their mean rank, per_reconstruction;
    per_stimulus the rank is among all c(i, ·). The diagonal is two-way identification; any other pairing is a draw from
    its null distribution.

    Args:
        correlations: (n, n), stimuli in rows and reconstructions in columns.
        direction: which of the two.

    Returns:
        Scores (n, n) in [0, 1].
    """
    n = len(correlations)
    if correlations.shape != (n, n) or n < 2:
        raise ValueError(
            f"identification needs n stimuli by n reconstructions, at least 2, got shape {correlations.shape}"
        )
    if direction not in ("per_reconstruction", "per_stimulus"):
        raise ValueError(f"direction must be per_reconstruction or per_stimulus, got {direction!r}")
    axis = 0 if direction == "per_reconstruction" else 1
    ranks = rankdata(np.round(correlations, TIE_DECIMALS), method="average", axis=axis)
    scores: Matrix = (ranks - 1) / (n - 1)
    return scores


def correlation_matrix(seen: Features, made: Features) -> Matrix:
    """Correlate every stimulus with every reconstruction.

    c(i, j) = ⟨s_i − s̄_i, m_j − m̄_j⟩ / (‖s_i − s̄_i‖ ‖m_j − m̄_j‖)

    Works through blocks of columns in float64, so that wide features need little memory. A constant feature vector has
    no correlation; it counts as 0 with everything.

    Returns:
        Correlations (n, n) in [−1, 1], stimuli in rows and reconstructions in columns.
    """
    _check_pairs(seen, made)
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


def paired_correlation(seen: Features, made: Features) -> Vector:
    """Correlate each stimulus with its own reconstruction: the diagonal of `correlation_matrix`, (n,) in [−1, 1]."""
    _check_pairs(seen, made)
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


def correlation_distance(seen: Features, made: Features) -> Vector:
    """Measure the distance 1 − c(k, k) of each reconstruction from its stimulus: (n,) in [0, 2], lower is better.

    Args:
        seen: features (n, d) of the stimuli.
        made: features (n, d) of their reconstructions, in the same order.

    >>> correlation_distance(np.array([[1.0, 2.0, 3.0]]), np.array([[3.0, 2.0, 1.0]]))
    array([2.])
    """
    return 1 - paired_correlation(seen, made)


def _check_pairs(seen: Features, made: Features) -> None:
    if seen.shape != made.shape:
        raise ValueError(
            f"features of seen pictures have shape {seen.shape} and those of reconstructions {made.shape}; both must be"
            " (n, d), row k of one belonging to row k of the other"
        )
    for name, features in (("seen pictures", seen), ("reconstructions", made)):
        if not np.isfinite(features).all():
            row = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
            raise ValueError(f"features of {name} hold a value that is not finite, first in row {row}")


def _row_means(features: Features) -> Vector:
    means: Vector = features.mean(axis=1, dtype=np.float64)
    return means


def _inverse_norms(features: Features, squares: Vector) -> Vector:
    """Return 1 / ‖x − x̄‖ per row, and 0 for a row that is constant up to rounding."""
    norms = np.sqrt(squares)
    largest = np.maximum(features.max(axis=1, initial=0), -features.min(axis=1, initial=0))
    smallest = 1e-13 * np.sqrt(features.shape[1]) * largest
    inverse: Vector = np.divide(1, norms, out=np.zeros_like(norms), where=norms > smallest)
    return inverse
