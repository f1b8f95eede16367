"""Scores by groups of pictures, and whether two ways of drawing differ by other amounts in one group than in another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import t as student

from braindiffuser.metrics.inference import permutation_p_value
from braindiffuser.metrics.intervals import student_interval
from braindiffuser.metrics.summary import within

Scores = Float[np.ndarray, "_"]
"""Scores of pictures (n,)."""
Members = Bool[np.ndarray, "_"]
"""Which of the pictures belong to a group (n,)."""
FEWEST = 5
"""Pictures of a group that an interaction needs."""


@dataclass(frozen=True)
class Interaction:
    """How far the difference of two variants in one group is from that in another.

    Attributes:
        value: mean difference in the group less mean difference in the other.
        interval: lower and upper end of its 95 % interval, over pictures.
        p_value: share of exchanges of group labels over pictures that give as large a studentised value, of either sign.
        p_corrected: share of exchanges that give as large a one on any of the metrics that are looked at together.
    """

    value: float
    interval: tuple[float, float]
    p_value: float
    p_corrected: float


def interactions(
    differences: Mapping[str, Scores],
    group: Members,
    other: Members,
    rng: np.random.Generator,
    n_permutations: int = 2000,
) -> dict[str, Interaction]:
    """Return the interaction of group and variant on each metric.

        I = 1/n_A Σ_{i∈A} d_i − 1/n_B Σ_{i∈B} d_i,   t = I / √(s²_A/n_A + s²_B/n_B)

    with d_i = score of picture i in one variant − in the other, and s² the variances of d (n − 1). Groups may differ in
    difficulty: what makes all variants better or worse cancels in d. They may also differ in spread, and then labels
    say something where means are equal. Exchanges of t hold their level all the same (Janssen 1997, Statistics &
    Probability Letters 36, 9–21); those of I would not, where the smaller group varies more. p counts exchanges of
    labels whose |t| is as large, and the observed one; one exchange serves all metrics, and the corrected p counts the
    largest |t| of any (Westfall & Young 1993). The interval is Welch's, I ± t_ν √(s²_A/n_A + s²_B/n_B).

    Args:
        differences: metric → d of each picture (n,).
        group: pictures of A (n,).
        other: pictures of B (n,), none of A.
        rng: source of exchanges.
        n_permutations: exchanges of labels.

    Raises:
        ValueError: if a group has fewer than FEWEST pictures, both share one, or lengths differ.

    >>> rng = np.random.default_rng(0)
    >>> first = np.arange(40) < 20
    >>> d = np.where(first, 1.0, 0.0) + 0.01 * rng.standard_normal(40)
    >>> found = interactions({"ssim": d}, first, ~first, rng)["ssim"]
    >>> round(found.value, 1), found.p_value < 0.01
    (1.0, True)
    """
    lengths = {len(group), len(other), *(len(own) for own in differences.values())}
    sizes = int(group.sum()), int(other.sum())
    if min(sizes) < FEWEST or len(lengths) != 1 or (group & other).any():
        raise ValueError(
            f"an interaction compares two groups of {FEWEST} or more of the same pictures without a common one, got {sizes[0]} "
            f"of {len(group)} and {sizes[1]} of {len(other)} with {_n_common(group, other)} in both, and scores of "
            f"{', '.join(map(str, sorted(lengths)))}"
        )
    pooled = np.stack([np.concatenate([own[group], own[other]]) for own in differences.values()], axis=1).astype(
        np.float64
    )
    n = len(pooled)
    labels = np.zeros((1 + n_permutations, n))
    labels[0, : sizes[0]] = 1
    for row in labels[1:]:
        row[rng.permutation(n)[: sizes[0]]] = 1
    value, error, freedom = _welch(pooled - pooled.mean(axis=0), labels)
    t = _studentised(np.abs(value), error)
    most = t[1:].max(axis=1)
    reach = student.ppf(0.975, freedom[0]) * error[0]
    return {
        key: Interaction(
            float(value[0, k]),
            (float(value[0, k] - reach[k]), float(value[0, k] + reach[k])),
            permutation_p_value(float(t[0, k]), t[1:, k]),
            permutation_p_value(float(t[0, k]), most),
        )
        for k, key in enumerate(differences)
    }


def _welch(
    values: Float[np.ndarray, "n k"], labels: Float[np.ndarray, "m n"]
) -> tuple[Float[np.ndarray, "m k"], Float[np.ndarray, "m k"], Float[np.ndarray, "m k"]]:
    """Return difference of means of those with label 1 and 0, its standard error, and Welch's degrees of freedom."""
    means, shares, squares = [], [], []
    for chosen in (labels, 1 - labels):
        n = chosen.sum(axis=1, keepdims=True)
        mean = chosen @ values / n
        share = np.maximum(chosen @ np.square(values) / n - np.square(mean), 0) / (n - 1)
        means.append(mean)
        shares.append(share)
        squares.append(np.square(share) / (n - 1))
    total, square = shares[0] + shares[1], squares[0] + squares[1]
    freedom = np.divide(
        np.square(total), square, out=np.ones_like(total), where=square > 0
    )  # without spread, any t times 0
    return means[0] - means[1], np.sqrt(total), freedom


def _studentised(value: Float[np.ndarray, "m k"], error: Float[np.ndarray, "m k"]) -> Float[np.ndarray, "m k"]:
    """Divide by standard errors; where pictures of a group do not differ, any difference is larger than all others."""
    largest = np.where(value > 0, np.finfo(np.float64).max, 0.0)
    t: Float[np.ndarray, "m k"] = np.divide(value, error, out=largest, where=error > 0)
    return t


def _n_common(group: Members, other: Members) -> int:
    return int((group & other).sum()) if len(group) == len(other) else 0


def group_means(
    scores: Scores, groups: Mapping[str, Members], bounds: Sequence[float] = (-np.inf, np.inf)
) -> dict[str, tuple[float, float, float]]:
    """Return the mean score of each group with the ends of Student's 95 % interval over its pictures, which may be few.

    Args:
        scores: of all pictures (n,).
        groups: name → its pictures (n,).
        bounds: smallest and largest possible score, at which intervals end.

    Raises:
        ValueError: if a group is empty.
    """
    means = {}
    for name, chosen in groups.items():
        low, high = within(student_interval(scores[chosen]), bounds)
        means[name] = (float(scores[chosen].mean()), low, high)
    return means
