"""Scores by groups of pictures, and whether two ways of drawing differ by other amounts in one group than in another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from braindiffuser.metrics.inference import bootstrap_interval, permutation_p_value

Scores = Float[np.ndarray, "_"]
"""Scores of pictures (n,)."""
Members = Bool[np.ndarray, "_"]
"""Which of the pictures belong to a group (n,)."""
FEWEST = 2
"""Pictures of a group that an interval needs."""


@dataclass(frozen=True)
class Interaction:
    """How far the difference of two variants in one group is from that in another.

    Attributes:
        value: mean difference in the group less mean difference in the other.
        interval: lower and upper end of its 95 % interval, over pictures.
        p_value: share of exchanges of group labels over pictures that give as large a value, of either sign.
    """

    value: float
    interval: tuple[float, float]
    p_value: float


def interaction(
    differences: Scores,
    group: Members,
    other: Members,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    n_permutations: int = 2000,
) -> Interaction:
    """Return the interaction of group and variant.

        I = 1/n_A Σ_{i∈A} d_i − 1/n_B Σ_{i∈B} d_i,   d_i = score of picture i in one variant − in the other

    Groups may differ in difficulty: what makes all variants better or worse cancels in d. The interval resamples pictures inside
    each group (percentile bootstrap, widened by √(n/(n−1)) as resamples of n pictures have (n−1)/n of the variance). Under the
    hypothesis that d does not depend on the group, labels can be exchanged: p counts exchanges whose |I| is as large, and the
    observed one.

    Args:
        differences: d of each picture (n,).
        group: pictures of A (n,).
        other: pictures of B (n,), none of A.
        rng: source of resamples and exchanges.
        n_resamples: of the interval.
        n_permutations: exchanges of labels.

    Raises:
        ValueError: if a group has fewer than two pictures, both share one, or lengths differ.

    >>> rng = np.random.default_rng(0)
    >>> first = np.arange(40) < 20
    >>> found = interaction(np.where(first, 1.0, 0.0) + 0.01 * rng.standard_normal(40), first, ~first, rng)
    >>> round(found.value, 1), found.p_value < 0.01
    (1.0, True)
    """
    n = len(differences)
    sizes = int(group.sum()), int(other.sum())
    if min(sizes) < FEWEST or (group & other).any() or not n == len(group) == len(other):
        raise ValueError(
            f"an interaction compares two groups of {FEWEST} or more of {n} pictures without a common one, got {sizes[0]} of "
            f"{len(group)} and {sizes[1]} of {len(other)} with {int((group & other).sum())} in both"
        )
    parts = [_widened(differences[chosen].astype(np.float64)) for chosen in (group, other)]
    value = float(differences[group].mean() - differences[other].mean())
    drawn = np.empty(n_resamples)
    for k in range(n_resamples):
        means = [part[rng.integers(len(part), size=len(part))].mean() for part in parts]
        drawn[k] = means[0] - means[1]
    low, high = np.quantile(drawn, [0.025, 0.975])
    pooled, null = np.concatenate([differences[group], differences[other]]), np.empty(n_permutations)
    total = pooled.sum()
    for k in range(n_permutations):
        first = pooled[rng.permutation(len(pooled))[: sizes[0]]].sum()
        null[k] = first / sizes[0] - (total - first) / sizes[1]
    return Interaction(value, (float(low), float(high)), permutation_p_value(abs(value), np.abs(null)))


def group_means(
    scores: Scores, groups: Mapping[str, Members], rng: np.random.Generator, n_resamples: int = 2000
) -> dict[str, tuple[float, float, float]]:
    """Return the mean score of each group with the ends of its 95 % interval over pictures; equal ends for a single picture.

    All groups use the same seed, so that one group's interval does not depend on the others.

    Raises:
        ValueError: if a group is empty.
    """
    seed = int(rng.integers(2**63))
    return {
        name: (
            float(scores[chosen].mean()),
            *bootstrap_interval(scores[chosen], np.random.default_rng(seed), n_resamples),
        )
        for name, chosen in groups.items()
    }


def _widened(scores: Scores) -> Scores:
    mean = scores.mean()
    widened: Scores = mean + np.sqrt(len(scores) / (len(scores) - 1)) * (scores - mean)
    return widened
