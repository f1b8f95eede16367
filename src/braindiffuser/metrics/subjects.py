"""Means over subjects: with the uncertainty over pictures, and apart from it, that over subjects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from braindiffuser.arrays import Vector
from braindiffuser.metrics.inference import bootstrap_interval

Scores = Float[np.ndarray, "_"]
"""Scores of pictures, or one of each subject; lengths are checked in the functions."""


def subject_means(scores: Sequence[Scores]) -> Vector:
    """Return the mean score of each subject (n_subjects,): m_k = 1/n_k Σ_i s_k(i).

    Raises:
        ValueError: if there is no subject, or one has no scores or a score that is not finite.

    >>> subject_means([np.array([0.0, 1.0]), np.array([2.0])])
    array([0.5, 2. ])
    """
    if not scores or not all(len(own) and np.isfinite(own).all() for own in scores):
        raise ValueError("means over subjects need finite scores of each, at least one of one subject")
    return np.array([float(own.mean()) for own in scores])


def interval_over_pictures(
    scores: Sequence[Scores],
    rng: np.random.Generator,
    n_resamples: int = 2000,
    *,
    shared: bool = True,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return a percentile bootstrap interval of the mean of the subjects' means, from resampled pictures.

        [q((1 − level) / 2), q((1 + level) / 2)] of  1/N Σ_k 1/n Σ_i s_k(i*)

    Where all subjects saw the same pictures, a resample takes the same ones of all: a difficult picture is difficult for each of
    them, which resampling apart would hide. The interval holds for these subjects; what other people would reach is in
    `interval_over_subjects`.

    Args:
        scores: scores of each subject's pictures (n_k,), in the same order if the pictures are shared.
        rng: source of the draws.
        n_resamples: number of resamples.
        shared: whether all subjects saw the same pictures; else those of each are resampled apart.
        level: share of resamples that the interval holds, in (0, 1).

    Raises:
        ValueError: what `bootstrap_interval` and `subject_means` raise; if shared pictures differ in number.

    >>> interval_over_pictures([np.array([0.0, 1.0]), np.array([1.0, 0.0])], np.random.default_rng(0))
    (0.5, 0.5)
    """
    subject_means(scores)
    if shared:
        if len({len(own) for own in scores}) > 1:
            raise ValueError(f"subjects share pictures, but have {', '.join(str(len(own)) for own in scores)} scores")
        return bootstrap_interval(np.mean(np.stack(scores), axis=0), rng, n_resamples, level)
    means = np.mean(
        [[own[rng.integers(len(own), size=len(own))].mean() for _ in range(n_resamples)] for own in scores], 0
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def interval_over_subjects(values: Scores, level: float = 0.95) -> tuple[float, float] | None:
    """Return Student's interval of the mean of a population of subjects, of whom these are a sample; None for one subject.

        m ± t(N − 1; (1 + level) / 2) · s / √N,     s² = 1/(N − 1) Σ_k (v_k − m)²

    It takes subjects' values to be about normal. Of few subjects it is wide, since t is: 12.7 of two, 4.3 of three, 3.2 of four.

    Args:
        values: one value of each subject (n_subjects,), such as its mean score.
        level: share of samples whose interval holds the mean of the population, in (0, 1).

    Raises:
        ValueError: if there is no subject, a value is not finite, or level is not in (0, 1).

    >>> low, high = interval_over_subjects(np.array([1.0, 3.0]))
    >>> round(low, 2), round(high, 2)
    (-10.71, 14.71)
    """
    from scipy.stats import t

    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"an interval over subjects needs a finite value of each, at least one; got {values!r:.100}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.95, got {level}")
    n = len(values)
    if n < 2:
        return None
    half = float(t.ppf((1 + level) / 2, n - 1)) * float(values.std(ddof=1)) / n**0.5
    mean = float(values.mean())
    return mean - half, mean + half
