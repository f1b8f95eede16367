"""Uncertainty of scores: bootstrap intervals, and the permutation null of two-way identification."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from braindiffuser.arrays import Vector
from braindiffuser.metrics._correlation import FeatureRows, correlation_matrix
from braindiffuser.metrics.two_way_identification import Direction, match_scores


def bootstrap_interval(
    per_picture: Vector, rng: np.random.Generator, n_resamples: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Return a percentile bootstrap interval of the mean over pictures (Efron & Tibshirani 1993, chapter 13).

    [q((1 − level) / 2), q((1 + level) / 2)] of the means of n pictures drawn with replacement.

    Covers sampling of stimuli, for this subject and this fit; shared distractors (of two-way identification) are taken as
    fixed. Compare methods on the same stimuli by the interval of per-picture differences.

    Args:
        per_picture: scores (n,).
        rng: source of the draws.
        n_resamples: number of resamples.
        level: share of resamples that the interval holds, in (0, 1).

    Returns:
        Lower and upper end.

    Raises:
        ValueError: if there is no score, one is not finite, `level` is not in (0, 1), or there is no resample.

    >>> bootstrap_interval(np.full(10, 0.25), np.random.default_rng(0))
    (0.25, 0.25)
    """
    _check_interval(per_picture, n_resamples, level)
    n = len(per_picture)
    means = np.array([per_picture[rng.integers(n, size=n)].mean() for _ in range(n_resamples)])
    return _quantiles(means, level)


def interval_inside_folds(
    per_picture: Vector,
    folds: Int[np.ndarray, " n"],
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return a percentile bootstrap interval of the mean over pictures that are resampled inside folds.

    Each resample draws, of every fold, as many pictures as it has, with replacement: folds stay as large as they are, and the
    difference between them adds nothing to the interval.

    Args:
        per_picture: scores (n,).
        folds: fold of each picture (n,).
        rng: source of the draws.
        n_resamples: number of resamples.
        level: share of resamples that the interval holds, in (0, 1).

    Returns:
        Lower and upper end.

    Raises:
        ValueError: as in `bootstrap_interval`; if there is not one fold for each score.

    >>> interval_inside_folds(np.array([0.0, 0, 1, 1]), np.array([3, 3, 7, 7]), np.random.default_rng(0))
    (0.5, 0.5)
    """
    _check_interval(per_picture, n_resamples, level)
    if folds.shape != per_picture.shape:
        raise ValueError(f"got {len(folds)} folds for {len(per_picture)} scores, expected one for each")
    inside = [per_picture[folds == fold] for fold in np.unique(folds)]
    sums = [sum(float(own[rng.integers(len(own), size=len(own))].sum()) for own in inside) for _ in range(n_resamples)]
    return _quantiles(np.array(sums) / len(per_picture), level)


def _check_interval(per_picture: Vector, n_resamples: int, level: float) -> None:
    if per_picture.ndim != 1 or len(per_picture) == 0 or not np.isfinite(per_picture).all():
        raise ValueError(f"an interval needs finite scores, one for each picture, at least one; got {per_picture!r}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.95, got {level}")
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be at least 1, such as 2000, got {n_resamples}")


def _quantiles(means: Vector, level: float) -> tuple[float, float]:
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def permutation_null(
    seen: FeatureRows,
    made: FeatureRows,
    rng: np.random.Generator,
    n_permutations: int = 1000,
    direction: Direction = "per_reconstruction",
) -> Vector:
    """Draw mean two-way identification scores of reconstructions and stimuli under the hypothesis that they are unrelated.

    null(p) = 1/n · Σ_i score(i, π_p(i)) with π_p a random permutation, score as in `match_scores`.

    Unlike a binomial test on the n (n − 1) comparisons, which are not independent, this keeps their dependence.

    Args:
        seen: features (n, d) of the stimuli.
        made: features (n, d) of their reconstructions, in the same order.
        rng: source of the permutations.
        n_permutations: how many to draw.
        direction: as in `two_way_identification`.

    Returns:
        Mean scores (n_permutations,), about 0.5 on average.
    """
    scores = match_scores(correlation_matrix(seen, made), direction)
    stimuli = np.arange(len(scores))
    return np.array([scores[stimuli, rng.permutation(len(scores))].mean() for _ in range(n_permutations)])


def permutation_p_value(observed: float, null: Vector) -> float:
    """Return p = (1 + number of null scores ≥ observed) / (1 + number of null scores) (Phipson & Smyth 2010).

    Raises:
        ValueError: if there is no null score, or a score is not finite: NaN would count as the most significant of all.

    >>> permutation_p_value(0.9, np.array([0.4, 0.5, 0.6]))
    0.25
    """
    if len(null) == 0 or not np.isfinite([observed, *null]).all():
        raise ValueError(
            f"a p value needs finite scores, at least one under the null; got {observed!r} and {null!r:.100}"
        )
    return float((1 + np.count_nonzero(null >= observed)) / (1 + len(null)))
