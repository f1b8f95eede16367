"""Means over subjects: with the uncertainty over pictures, and apart from it, that over subjects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from braindiffuser.arrays import Vector
from braindiffuser.metrics.intervals import (
    GRADED_CHANCE,
    SHARES,
    means_left_out,
    score_interval,
    share_interval,
    student_interval,
)
from braindiffuser.metrics.joined_intervals import joined_mean_interval, joined_share_interval

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
    bounds: Sequence[float] = (-np.inf, np.inf),
    *,
    chance: float | None = None,
    shared: bool = True,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return an interval of the mean of the subjects' means, of whose pictures these are a sample, within a score's bounds.

    Where all subjects saw the same pictures, it is `score_interval` of each picture's mean over subjects: a difficult picture is
    difficult for each of them. Otherwise it is `joined_share_interval` for shares, all of [0, 1] if a subject has one picture
    alone, and `joined_mean_interval` for other scores. It holds for these subjects; what other people would reach is in
    `interval_over_subjects`.

    Args:
        scores: scores of each subject's pictures (n_k,), in the same order if the pictures are shared.
        bounds: smallest and largest possible score.
        chance: as `score_interval` takes it.
        shared: whether all subjects saw the same pictures.
        level: share of samples whose interval holds the mean, in (0, 1).

    Raises:
        ValueError: what `score_interval` and `subject_means` raise; if shared pictures differ in number.

    >>> interval_over_pictures([np.array([0.0, 1.0]), np.array([1.0, 0.0])])
    (0.5, 0.5)
    """
    subject_means(scores)
    if shared:
        return score_interval(np.mean(np.stack(_of_equal_number(scores)), axis=0), bounds, chance, level=level)
    weights = [1 / len(scores)] * len(scores)
    if tuple(bounds) == SHARES:
        mean, without = float(subject_means(scores).mean()), [means_left_out(own) for own in scores]
        graded = chance == GRADED_CHANCE
        enough = min(map(len, scores)) > 1
        return (
            joined_share_interval(mean, without, weights, chance or 0.0, graded=graded, level=level)
            if enough
            else SHARES
        )
    low, high = joined_mean_interval(scores, weights, level)
    return max(low, bounds[0]), min(high, bounds[1])


def share_interval_over_pictures(
    value: float,
    left_out: Sequence[Scores],
    chance: float = 0.0,
    *,
    shared: bool = True,
    graded: bool = False,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the same of identification, whose pictures are each other's distractors: `share_interval` of θ_(−i) over subjects.

    Args:
        value: mean of the subjects' means.
        left_out: of each subject, the score without each picture (n_k,).
        chance: score of a picture of which nothing is decoded.
        shared: whether all subjects saw the same pictures.
        graded: as in `share_interval`.
        level: share of samples whose interval holds the mean, in (0, 1).

    Raises:
        ValueError: what `share_interval` and `joined_share_interval` raise; if shared pictures differ in number.
    """
    if shared:
        means = np.mean(np.stack(_of_equal_number(left_out)), axis=0)
        return share_interval(value, means, chance, graded=graded, level=level)
    return joined_share_interval(
        value, left_out, [1 / len(left_out)] * len(left_out), chance, graded=graded, level=level
    )


def _of_equal_number(scores: Sequence[Scores]) -> Sequence[Scores]:
    if len({len(own) for own in scores}) > 1:
        raise ValueError(f"subjects share pictures, but have {', '.join(str(len(own)) for own in scores)} scores")
    return scores


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
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"an interval over subjects needs a finite value of each, at least one; got {values!r:.100}")
    low, high = student_interval(values.astype(np.float64), level)
    return (low, high) if len(values) > 1 else None
