"""What it does to scores that test stimuli lie near to training stimuli: samples of similarities, thirds and a slope."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from braindiffuser.arrays import Vector

FEWEST = 9
"""Test stimuli below which there are no thirds and no slope."""
N_PARTS = 3


class Placement(NamedTuple):
    """How often one sample exceeds another.

    Attributes:
        value: P(x > y) + ½ P(x = y), of a random pair; ½ where both are alike.
        low: lower end of its 95 % interval.
        high: upper end.
    """

    value: float
    low: float
    high: float


def exceeds(x: Float[np.ndarray, " n_x"], y: Float[np.ndarray, " n_y"]) -> Placement:
    """Compare two samples by how often a value of one exceeds a value of the other.

        A = 1/(n_x n_y) Σ_ij [x_i > y_j] + ½ [x_i = y_j]
        v = max(var_i(A_i·)/n_x + var_j(A_·j)/n_y,  (n_x + n_y + 1)/(12 n_x n_y))

    A n_x n_y is the statistic of Mann and Whitney. The first variance is that of DeLong, DeLong & Clarke-Pearson (1988,
    Biometrics 44, 837–845); of a few values it is small by chance (two that lie close together), so it is at least that of two
    samples of one distribution. The interval is A ± 1.96 √v, cut to [0, 1]. Of samples of one distribution, be it of two values,
    its lower end lies above ½ in no more than 2.5 %.

    Raises:
        ValueError: if a sample has fewer than two values, or one that is not finite.

    >>> exceeds(np.array([2.0, 3.0]), np.array([0.0, 1.0])).value
    1.0
    """
    from scipy.stats import norm

    for values in (x, y):
        if len(values) < 2 or not np.isfinite(values).all():
            raise ValueError(f"two samples of two finite values or more are compared, got {values!r:.60}")
    of_x, of_y = _share_below(x, y), 1 - _share_below(y, x)
    value = float(of_x.mean())
    estimated = float(of_x.var(ddof=1) / len(x) + of_y.var(ddof=1) / len(y))
    of_one = (len(x) + len(y) + 1) / (12 * len(x) * len(y))
    half = float(norm.ppf(0.975) * np.sqrt(max(estimated, of_one)))
    return Placement(value, max(0.0, value - half), min(1.0, value + half))


class Slope(NamedTuple):
    """A straight line through scores.

    Attributes:
        value: what a score changes by for each unit of similarity.
        low: lower end of its 95 % interval.
        high: upper end.
        p: of the hypothesis that it is 0, two-sided.
        r: correlation of scores with similarity.
    """

    value: float
    low: float
    high: float
    p: float
    r: float


def slope_on(similarity: Vector, scores: Vector) -> Slope | None:
    """Fit score_i = a + b s_i by least squares; the interval is b ± t √(s²/Σ(s_i − s̄)²) with n − 2 degrees of freedom.

    Returns:
        None if similarities or scores are all the same, or there are fewer than `FEWEST`.
    """
    from scipy.stats import linregress, t

    if len(scores) < FEWEST or np.ptp(similarity) == 0 or np.ptp(scores) == 0:
        return None
    line = linregress(similarity, scores)
    half = float(t.ppf(0.975, len(scores) - 2) * line.stderr)
    value = float(line.slope)
    return Slope(value, value - half, value + half, float(line.pvalue), float(line.rvalue))


def thirds(similarity: Vector) -> list[Int[np.ndarray, " _"]]:
    """Return the places of the stimuli that lie farthest from their neighbour, in the middle, and nearest.

    >>> [part.tolist() for part in thirds(np.array([0.9, 0.1, 0.5, 0.2, 0.8, 0.4]))]
    [[1, 3], [5, 2], [4, 0]]
    """
    return np.array_split(np.argsort(similarity, kind="stable"), N_PARTS)


def clopper_pearson(count: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of independent pictures, count / n, by Clopper and Pearson (1934).

    Args:
        count: pictures that have it, 0 to n.
        n: pictures, one or more.

    >>> [round(end, 3) for end in clopper_pearson(0, 100)]
    [0.0, 0.036]
    """
    from scipy.stats import binomtest

    found = binomtest(count, n).proportion_ci()
    return float(found.low), float(found.high)


def is_more_frequent(count: int, n: int, other: int, n_other: int) -> bool:
    """Return whether something is shown to happen more often in one sample than in another.

        P(X ≥ count) ≤ .025,    X ~ hypergeometric: how many of count + other fall among n of n + n_other

    This is Fisher's exact test, one-sided at .025 (Fisher 1935, J. R. Stat. Soc. 98, 39–82).

    Args:
        count: how often in the one sample.
        n: size of it.
        other: how often in the other one.
        n_other: size of that.

    >>> is_more_frequent(3, 40, 0, 160), is_more_frequent(1, 40, 0, 160), is_more_frequent(40, 40, 160, 160)
    (True, False, False)
    """
    from scipy.stats import fisher_exact

    table = np.array([[count, n - count], [other, n_other - other]])
    return bool(fisher_exact(table, alternative="greater").pvalue <= 0.025)


def _share_below(x: Float[np.ndarray, " n_x"], y: Float[np.ndarray, " n_y"]) -> Float64[np.ndarray, " n_x"]:
    """Return, of each x, the share of y below it, ties counting half."""
    ordered = np.sort(y)
    below = np.searchsorted(ordered, x, "left") + np.searchsorted(ordered, x, "right")
    shares: Float64[np.ndarray, " n_x"] = below / (2 * len(y))
    return shares
