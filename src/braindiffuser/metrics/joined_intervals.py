"""95 % intervals of means over several sets of pictures, each scored by itself: folds, or subjects who saw other pictures.

Pictures are a sample inside each set; what sets differ by adds nothing to the interval.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from braindiffuser.arrays import Vector
from braindiffuser.metrics.intervals import (
    freedom_of,
    jackknife_error,
    mean_interval,
    share_ends,
    share_interval,
    student_quantile,
)

Part = Float[np.ndarray, "_"]
"""One value a picture of one set, whose number of pictures may be its own."""


def joined_mean_interval(parts: Sequence[Part], weights: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return an interval of a weighted mean of the means of several sets.

        Σ_k w_k m_k ± t √v,    v = Σ_k w_k² s_k²/n_k,    t of Student with Σ_k (n_k − 1) degrees of freedom

    s_k is the standard deviation (ddof 1) of the n_k scores of set k, taken to be about the same in all. Where pictures count
    unequally (w_k/n_k differ), ν = v²/Σ_k (w_k² s_k²/n_k)²/(n_k − 1), which the sets that count most decide (Satterthwaite 1946).
    One set has the interval of `mean_interval`, which allows for skewness.

    Args:
        parts: scores of the pictures of each set.
        weights: w, such as n_k/n.
        level: share of samples whose interval holds the mean, in (0, 1).

    Returns:
        Lower and upper end; −∞ and ∞ if no set has two pictures.

    Raises:
        ValueError: if a score is not finite or a set is empty, or `level` is not in (0, 1).

    >>> joined_mean_interval([np.array([0.0, 1, 2]), np.array([10.0, 11, 12])], [0.5, 0.5])
    (4.86..., 7.13...)
    """
    ends = [mean_interval(part, level) for part in parts]  # checks them
    if len(parts) == 1:
        return ends[0]
    freedom = float(sum(len(part) - 1 for part in parts))
    if not freedom:
        return -np.inf, np.inf
    mean = sum(weight * float(part.mean()) for part, weight in zip(parts, weights, strict=True))
    variances = [
        weight**2 * float(part.var(ddof=1)) / len(part) if len(part) > 1 else 0.0
        for part, weight in zip(parts, weights, strict=True)
    ]
    known = sum(variance**2 / (len(part) - 1) for part, variance in zip(parts, variances, strict=True) if len(part) > 1)
    if known and not _count_alike(parts, weights):
        freedom = sum(variances) ** 2 / known
    half = student_quantile(freedom, level) * float(np.sqrt(sum(variances)))
    return mean - half, mean + half


def _count_alike(parts: Sequence[Part], weights: Sequence[float]) -> bool:
    """Return whether each picture counts alike, whatever set it is of."""
    own = [weight / len(part) for part, weight in zip(parts, weights, strict=True)]
    return max(own) <= (1 + 1e-9) * min(own)


def joined_share_interval(
    value: float,
    left_out: Sequence[Part],
    weights: Sequence[float],
    chance: float = 0.0,
    *,
    graded: bool = False,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return an interval of a weighted mean of shares, such as identification among the pictures of each fold.

        v = Σ_k w_k² v_k,  ν = Σ_k ν_k,  v_k and ν_k the variance and degrees of freedom of set k, as in `share_interval`

    The ends are those of `share_interval`. Where no picture differs from another, v = 0 and says nothing: then m = 1/Σ w_k²/n_k,
    the number of all pictures if each counts alike, and fewer if those of a small set count more.

    Where pictures count unequally, a small set with nothing wrong would pass for known, since its v_k is 0. Then ends are at
    least as far out as those from the interval (l_k, u_k) of each set's own θ_k (MOVER: Zou & Donner 2008, Statistics in
    Medicine 27, 1693–1702):

        θ − √Σ_k w_k² (θ_k − l_k)²,    θ + √Σ_k w_k² (u_k − θ_k)²

    Args:
        value: the mean θ.
        left_out: of each set, its score without each of its pictures, as target and as distractor; of two pictures or more, or of
            three where they are identified among each other: of two, one is left, which has no distractor.
        weights: w, such as n_k/n.
        chance: score of a picture of which nothing is decoded.
        graded: as in `share_interval`.
        level: share of samples whose interval holds the mean, in (0, 1).

    Raises:
        ValueError: if a set has fewer than two pictures.
    """
    if min(len(part) for part in left_out) < 2:
        raise ValueError(f"shares of each set need two pictures or more, got {[len(part) for part in left_out]}")
    squares = [weight * jackknife_error(part) for weight, part in zip(weights, left_out, strict=True)]
    error = float(np.sqrt(np.square(squares).sum()))
    n = 1 / sum(weight**2 / len(part) for weight, part in zip(weights, left_out, strict=True))
    low, high = share_ends(value, error, n, sum(freedom_of(part, graded=graded) for part in left_out), chance, level)
    if _count_alike(left_out, weights):
        return low, high
    own = [float(np.clip(part.mean(), 0, 1)) for part in left_out]
    ends = [
        share_interval(mean, part, chance, graded=graded, level=level) for mean, part in zip(own, left_out, strict=True)
    ]
    below, above = (
        np.sqrt(sum((weight * (mean - end[side])) ** 2 for weight, mean, end in zip(weights, own, ends, strict=True)))
        for side in (0, 1)
    )
    return max(0.0, min(low, value - float(below))), min(1.0, max(high, value + float(above)))


def interval_inside_folds(scores: Vector, folds: Int[np.ndarray, " n"], level: float = 0.95) -> tuple[float, float]:
    """Return an interval of the mean over pictures, each of which one fold tested: `joined_mean_interval` of `strata_of` folds.

    Args:
        scores: (n,).
        folds: fold of each picture (n,).
        level: share of samples whose interval holds the mean, in (0, 1).

    Raises:
        ValueError: as in `joined_mean_interval`; if there is not one fold for each score.

    >>> interval_inside_folds(np.array([0.0, 1, 2, 10, 11, 12]), np.array([3, 3, 3, 7, 7, 7]))
    (4.86..., 7.13...)
    """
    if folds.shape != scores.shape:
        raise ValueError(f"got {len(folds)} folds for {len(scores)} scores, expected one for each")
    if not len(scores):
        return joined_mean_interval([scores], [1.0], level)
    strata, sizes = strata_of(folds)
    parts = [scores[strata == number] for number in range(len(sizes))]
    return joined_mean_interval(parts, [len(part) / len(scores) for part in parts], level)


def strata_of(folds: Int[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n_strata"]]:
    """Number the groups of pictures that an interval takes together from 0: folds, with those of one picture joined.

    A fold of one picture tells nothing of how scores vary inside it. All such folds are taken together as one, and a single one
    with the smallest other fold; what they differ by is then part of the interval, which is too wide rather than too narrow
    (collapsed strata: Cochran 1977, Sampling Techniques, section 5A.12).

    Returns:
        Stratum of each picture, and the size of each stratum.

    >>> strata_of(np.array([5, 5, 7, 8]))[0].tolist(), strata_of(np.array([5, 5, 5, 7, 7, 8]))[0].tolist()
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
