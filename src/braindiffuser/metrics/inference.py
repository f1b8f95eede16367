"""Uncertainty of scores: bootstrap intervals, and the permutation null of two-way identification."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from braindiffuser.arrays import Matrix, Vector
from braindiffuser.metrics._correlation import FeatureRows, correlation_matrix
from braindiffuser.metrics.two_way_identification import TIE_DECIMALS, Direction, match_scores

TIE = 10.0**-TIE_DECIMALS
"""Mean scores that differ by less, absolutely or as a share, are tied: sums depend on the order of what is added."""


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


def student_interval(values: Vector, level: float = 0.95) -> tuple[float, float]:
    """Return Student's interval of a mean, m ± t s/√n with n − 1 degrees of freedom: it also holds its level of few values.

    Args:
        values: (n,), each independent of the others.
        level: share of samples whose interval holds the mean, in (0, 1).

    Returns:
        Lower and upper end; both the value itself if it is alone.

    Raises:
        ValueError: as in `bootstrap_interval`.

    >>> student_interval(np.array([1.0, 2.0, 3.0]))
    (-0.48..., 4.48...)
    """
    from scipy.stats import t

    _check_interval(values, 1, level)
    n, mean = len(values), float(values.mean())
    half = 0.0 if n == 1 else float(t.ppf((1 + level) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return mean - half, mean + half


def interval_inside_folds(
    per_picture: Vector,
    folds: Int[np.ndarray, " n"],
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return a percentile bootstrap interval of the mean over pictures that are resampled inside folds.

    Each resample draws, of every fold F, as many pictures as it has, n_F, with replacement, from

        y_i = m_F + √(n_F / (n_F − 1)) · (x_i − m_F),    m_F = 1/n_F Σ_{i∈F} x_i

    Folds stay as large as they are, and the difference between them adds nothing to the interval. Scores are widened since
    resamples of n pictures have (n − 1)/n of the variance that pictures have: √½ of the width would be left in folds of two
    (Rao & Wu 1988, JASA 83, 231–241, for samples of strata).

    A fold of one picture tells nothing of how scores vary inside it. All such folds are resampled together as one, and a single
    one together with the smallest other fold; what they differ by is then part of the interval, which is too wide rather than
    too narrow (collapsed strata: Cochran 1977, Sampling Techniques, section 5A.12).

    Percentiles know nothing of Student's t: of few pictures the interval still covers less than `level` says. Of normal scores,
    with a level of .95: .88 in 5 folds of two, .94 in 20 and .93 in 50 of them (without widening .80 in 20), .92 in 13 of three,
    .93 in 10 of four, in 5 of eight and in 5 of twenty (simulated, a thousand times each).

    Args:
        per_picture: scores (n,).
        folds: fold of each picture (n,).
        rng: source of the draws.
        n_resamples: number of resamples.
        level: share of resamples that the interval holds, in (0, 1).

    Returns:
        Lower and upper end; of one picture alone, both are its score. They may lie outside the range of the scores.

    Raises:
        ValueError: as in `bootstrap_interval`; if there is not one fold for each score.

    >>> interval_inside_folds(np.array([0.0, 1, 2, 10, 11, 12]), np.array([3, 3, 3, 7, 7, 7]), np.random.default_rng(0))
    (5.18..., 6.81...)
    """
    _check_interval(per_picture, n_resamples, level)
    if folds.shape != per_picture.shape:
        raise ValueError(f"got {len(folds)} folds for {len(per_picture)} scores, expected one for each")
    strata, sizes = _strata(folds)
    scores = per_picture[np.argsort(strata, kind="stable")].astype(np.float64)
    ends = np.cumsum(sizes)
    first, size = np.repeat(ends - sizes, sizes), np.repeat(sizes, sizes)
    means = np.repeat(np.add.reduceat(scores, ends - sizes) / sizes, sizes)
    wide = means + np.sqrt(size / np.maximum(size - 1, 1)) * (scores - means)
    drawn = np.array([wide[rng.integers(first, first + size)].mean() for _ in range(n_resamples)])
    return _quantiles(drawn, level)


def _strata(folds: Int[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n_strata"]]:
    """Number the groups of pictures that are resampled together from 0: folds, with those of one picture joined.

    Returns:
        Stratum of each picture, and the size of each stratum.

    >>> _strata(np.array([5, 5, 7, 8]))[0].tolist(), _strata(np.array([5, 5, 5, 7, 7, 8]))[0].tolist()
    ([1, 1, 0, 0], [1, 1, 1, 0, 0, 0])
    """
    _, fold, sizes = np.unique(folds, return_inverse=True, return_counts=True)
    n_alone = int((sizes == 1).sum())
    n_joined = 0 if n_alone == 0 else max(n_alone, 2)  # a single one is joined to the next in size
    joined = np.isin(np.arange(len(sizes)), np.argsort(sizes, kind="stable")[:n_joined])
    _, strata, of_strata = np.unique(
        np.where(joined, -1, np.arange(len(sizes)))[fold], return_inverse=True, return_counts=True
    )
    return strata, of_strata


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
    return exchanged_means(match_scores(correlation_matrix(seen, made), direction), rng, n_permutations)


def exchanged_means(scores: Matrix, rng: np.random.Generator, n_permutations: int = 1000) -> Vector:
    """Draw mean scores of reconstructions that are each held against a stimulus drawn without replacement.

    null(p) = 1/n · Σ_i score(i, π_p(i)) with π_p a random permutation

    Args:
        scores: of every stimulus with every reconstruction (n, n), stimuli in rows; their own pairs are the diagonal.
        rng: source of the permutations.
        n_permutations: how many to draw.

    Returns:
        (n_permutations,)

    >>> exchanged_means(np.full((3, 3), 0.5), np.random.default_rng(0), 2)
    array([0.5, 0.5])
    """
    stimuli = np.arange(len(scores))
    return np.array([scores[stimuli, rng.permutation(len(scores))].mean() for _ in range(n_permutations)])


def permutation_p_value(observed: float, null: Vector) -> float:
    """Return p = (1 + number of null scores ≥ observed) / (1 + number of null scores) (Phipson & Smyth 2010).

    Scores that differ by less than 1e-10, absolutely or as a share of the observed one, are equal: means of the same scores
    differ in their last bits by the order in which they were added.

    Raises:
        ValueError: if there is no null score, or a score is not finite: NaN would count as the most significant of all.

    >>> permutation_p_value(0.9, np.array([0.4, 0.5, 0.6])), permutation_p_value(0.3, np.array([0.1 + 0.2]))
    (0.25, 1.0)
    """
    if len(null) == 0 or not np.isfinite([observed, *null]).all():
        raise ValueError(
            f"a p value needs finite scores, at least one under the null; got {observed!r} and {null!r:.100}"
        )
    as_good = (null > observed) | np.isclose(null, observed, rtol=TIE, atol=TIE)
    return float((1 + np.count_nonzero(as_good)) / (1 + len(null)))
