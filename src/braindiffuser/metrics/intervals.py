"""95 % intervals of means over test pictures and of shares such as identification, right for a dozen pictures as for hundreds.

Scores of identification share their pictures: each is a distractor of all others. Leaving a picture out as target and as
distractor measures both. Which interval covers how often: `docs/decisions/0013-intervals.md`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from braindiffuser.arrays import Vector

NO_SPREAD = 1e-12
"""Standard error below which no score differs from another, apart from rounding."""
NO_SKEWNESS = 1e-6
"""Skewness below which Student's t stands for its limit."""
SHRUNK = 5
"""Sample skewness is scaled by n/(n + SHRUNK): at so many pictures it is halved."""
SHARES = (0.0, 1.0)
"""Bounds of a share."""
GRADED_CHANCE = 0.5
"""Chance of identification among two: a picture's score is a share of comparisons with all others, not yes or no."""


def mean_interval(scores: Vector, level: float = 0.95) -> tuple[float, float]:
    """Return an interval of the mean of skewed scores (Hall 1992, J. R. Stat. Soc. B 54, 221–228).

    With m and s the mean and the standard deviation (ddof 1) of n scores, γ their skewness times n/(n + 5), W = (m − μ)/s, and t
    the quantile of Student's t with n − 1 degrees of freedom,

        g(W) = W + γ W²/3 + γ² W³/27 + γ/(6n)  is nearly symmetric, so  μ = m − s g⁻¹(± t/√n),
        g⁻¹(x) = 3/γ · (∛(1 + γ (x − γ/(6n))) − 1)

    Without skewness it is m ± t s/√n. Hall takes the skewness as it is; that of a few scores is mostly chance, and made intervals
    of three normal scores nearly twice as wide as Student's, without holding the mean more often.

    Args:
        scores: one a picture (n,), each independent of the others.
        level: share of samples whose interval holds the mean, in (0, 1).

    Returns:
        Lower and upper end; they may lie outside the bounds of a score. One score alone tells nothing: −∞ and ∞.

    Raises:
        ValueError: if there is no score, one is not finite, or `level` is not in (0, 1).

    >>> mean_interval(np.array([1.0, 2.0, 3.0]))
    (-0.48..., 4.48...)
    """
    n = _checked(scores, level)
    if n == 1:
        return -np.inf, np.inf
    mean, spread = float(scores.mean()), float(scores.std(ddof=1))
    if spread / np.sqrt(n) < NO_SPREAD * max(1.0, abs(mean)):
        return mean, mean
    skewness = float((((scores - mean) / scores.std()) ** 3).mean()) * n / (n + SHRUNK)
    x = np.array([1, -1]) * student_quantile(float(n - 1), level) / np.sqrt(n)
    if abs(skewness) > NO_SKEWNESS:
        x = 3 / skewness * (np.cbrt(1 + skewness * (x - skewness / (6 * n))) - 1)
    low, high = mean - spread * x
    return float(low), float(high)


def score_interval(
    scores: Vector,
    bounds: Sequence[float],
    chance: float | None = None,
    level: float = 0.95,
    left_out: Vector | None = None,
) -> tuple[float, float]:
    """Return an interval of the mean of scores between known bounds, within them.

    Of shares, in [0, 1], it is `share_interval`, with v = s²/n; of others `mean_interval`, whose ends are cut to the bounds.
    Where pictures are each other's distractors, v is the jackknife's.

    Args:
        scores: one a picture (n,), each independent of the others unless `left_out` is given.
        bounds: smallest and largest possible score; ∓∞ where there is none.
        chance: score of a picture of which nothing is decoded, if it is known; ½ says that shares are of many comparisons.
        level: share of samples whose interval holds the mean, in (0, 1).
        left_out: mean score without each picture, as target and as distractor (n,), of identification.

    Raises:
        ValueError: what `mean_interval` raises.

    >>> score_interval(np.ones(4), (0.0, 1.0), 0.5)[0], score_interval(np.array([-0.9, 0.1, 0.9]), (-1.0, 1.0))
    (0.64..., (-1.0, 1.0))
    """
    if left_out is not None or tuple(bounds) == SHARES:
        _checked(scores, level)
        without, graded = means_left_out(scores) if left_out is None else left_out, chance == GRADED_CHANCE
        return share_interval(float(scores.mean()), without, chance or 0.0, graded=graded, level=level)
    low, high = mean_interval(scores, level)
    return max(low, bounds[0]), min(high, bounds[1])


def student_interval(scores: Vector, level: float = 0.95) -> tuple[float, float]:
    """Return Student's interval of a mean, m ± t s/√n with n − 1 degrees of freedom: of differences, which are hardly skewed.

    Args:
        scores: (n,), each independent of the others.
        level: share of samples whose interval holds the mean, in (0, 1).

    Returns:
        Lower and upper end. One score alone tells nothing: −∞ and ∞.

    Raises:
        ValueError: as `mean_interval`.

    >>> student_interval(np.array([1.0, 2.0, 3.0]))
    (-0.48..., 4.48...)
    """
    n, mean = _checked(scores, level), float(scores.mean())
    if n == 1:
        return -np.inf, np.inf
    half = student_quantile(float(n - 1), level) * float(scores.std(ddof=1) / np.sqrt(n))
    return mean - half, mean + half


def share_interval(
    value: float, left_out: Vector, chance: float = 0.0, *, graded: bool = False, level: float = 0.95
) -> tuple[float, float]:
    """Return an interval of a score in [0, 1] whose pictures depend on each other, such as two-way identification.

    The jackknife gives its variance; Wilson's interval (1927, JASA 22, 209–212) of as many independent trials as would have that
    variance gives the ends, which stay in [0, 1] and are far from even where the score is near an end:

        v = (n − 1)/n Σ_i (θ_(−i) − θ̄_(·))²,    m = θ (1 − θ)/v
        (θ + t²/(2m) ± t √(θ (1 − θ)/m + t²/(4m²))) / (1 + t²/m),    t of Student with ν degrees of freedom

    ν = n − 1. Scores that are shares of many comparisons (`graded`) rest on a few pictures where nearly all are right, and v is
    known less well: ν = 2/(2/(n − 1) + κ/n), κ the excess kurtosis of θ_(−i) if that is positive (Satterthwaite).

    Where no picture differs from another, v = 0 and says nothing: then m = n. If all score 1, some might still not be decoded at
    all, and score chance: the lower end is 1 − (1 − chance)(1 − Wilson's).

    Args:
        value: θ.
        left_out: θ_(−i), the score without picture i, as target and as distractor (n,).
        chance: score of a picture of which nothing is decoded.
        graded: whether scores of pictures are shares of many comparisons, rather than yes or no.
        level: share of samples whose interval holds the mean, in (0, 1).

    Raises:
        ValueError: if there is no score, one is not finite, or `level` is not in (0, 1).

    >>> share_interval(0.5, np.full(10, 0.5))
    (0.209..., 0.790...)
    """
    n = _checked(left_out, level)
    if n == 1:
        return 0.0, 1.0
    return share_ends(value, jackknife_error(left_out), float(n), freedom_of(left_out, graded=graded), chance, level)


def share_ends(
    value: float, error: float, n: float, freedom: float, chance: float = 0.0, level: float = 0.95
) -> tuple[float, float]:
    """Return the ends of `share_interval` from the standard error of θ.

        (θ + t²/2m ± t √(θ(1 − θ)/m + t²/4m²)) / (1 + t²/m),    m = θ(1 − θ)/v

    Args:
        value: θ, in [0, 1].
        error: √v; 0 if no comparison differs, and then m = n.
        n: number of pictures that count alike.
        freedom: degrees of freedom ν of v.
        chance: score of a picture of which nothing is decoded, in [0, 1).
        level: share of samples whose interval holds θ, in (0, 1).

    Returns:
        Lower and upper end, in [0, 1].
    """
    alike = error < NO_SPREAD or not 0 < value < 1
    trials = n if alike else value * (1 - value) / error**2
    t = student_quantile(n - 1 if alike else freedom, level)
    middle, half = value + t**2 / (2 * trials), t * np.sqrt(value * (1 - value) / trials + t**2 / (4 * trials**2))
    low, high = (middle - half) / (1 + t**2 / trials), (middle + half) / (1 + t**2 / trials)
    if alike and value >= 1:
        low = 1 - (1 - chance) * (1 - low)
    return float(max(low, 0.0)), float(min(high, 1.0))


def ratio_interval(value: float, left_out: Vector, level: float = 0.95) -> tuple[float, float]:
    """Return an interval of a positive number by the jackknife of its logarithm: θ exp(± t √v), v the variance of log θ.

    Args:
        value: θ, above 0.
        left_out: θ_(−i) without each picture (n,), above 0: a caller looks for zeros, whose logarithm is infinite.
        level: share of samples whose interval holds the truth, in (0, 1).

    Returns:
        Lower and upper end; 0 and ∞ of a single picture.

    Raises:
        ValueError: if there is no picture, a value is not finite, or `level` is not in (0, 1).
    """
    n = _checked(left_out, level)
    if n == 1:
        return 0.0, np.inf
    half = student_quantile(float(n - 1), level) * jackknife_error(np.log(left_out))
    return float(value * np.exp(-half)), float(value * np.exp(half))


def median_interval(scores: Vector, level: float = 0.95) -> tuple[float, float]:
    """Return an interval of the median between two of the scores: the innermost that hold it at least that often.

    [x_(k), x_(n + 1 − k)] with k the largest that has P(B ≤ k − 1) ≤ (1 − level)/2, B binomial with n trials of ½; the smallest
    and largest score if there is none.

    Args:
        scores: one a picture (n,), each independent of the others.
        level: share of samples whose interval holds the median, in (0, 1).

    Raises:
        ValueError: as in `mean_interval`.

    >>> median_interval(np.arange(12.0))
    (2.0, 9.0)
    """
    from scipy.stats import binom

    n = _checked(scores, level)
    below = int((binom.cdf(np.arange(n), n, 0.5) <= (1 - level) / 2).sum())
    place = max(below - 1, 0)
    ordered = np.sort(scores)
    return float(ordered[place]), float(ordered[n - 1 - place])


def means_left_out(scores: Vector) -> Vector:
    """Return the mean of all scores but one, for each: (Σ x − x_i)/(n − 1).

    Args:
        scores: (n,), two or more; of a single one the mean of none is given as 0.

    >>> means_left_out(np.array([0.0, 0.5, 1.0]))
    array([0.75, 0.5 , 0.25])
    """
    left_out: Vector = (scores.sum() - scores) / max(len(scores) - 1, 1)
    return left_out


def jackknife_error(left_out: Vector) -> float:
    """Return the standard error √((n − 1)/n Σ_i (θ_(−i) − θ̄_(·))²) (Efron & Tibshirani 1993, chapter 11)."""
    n = len(left_out)
    return float(np.sqrt((n - 1) / n * np.square(left_out - left_out.mean()).sum()))


def freedom_of(left_out: Vector, *, graded: bool = False) -> float:
    """Return the degrees of freedom of a jackknife variance: n − 1, or, if graded, 2/(2/(n − 1) + κ/n).

    Args:
        left_out: θ_(−i) without each picture (n,).
        graded: whether their excess kurtosis κ, at least 0, counts: see `share_interval`.
    """
    n, squares = len(left_out), np.square(left_out - left_out.mean())
    spread = float(squares.mean())
    if not graded or spread == 0:
        return float(n - 1)
    excess = max(float(np.square(squares).mean()) / spread**2 - 3, 0.0)
    return 2 / (2 / (n - 1) + excess / n)


def student_quantile(freedom: float, level: float) -> float:
    """Return the quantile of Student's t that a two-sided interval reaches to."""
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, freedom))


def _checked(scores: Vector, level: float) -> int:
    if scores.ndim != 1 or len(scores) == 0 or not np.isfinite(scores).all():
        raise ValueError(f"an interval needs finite scores, one for each picture, at least one; got {scores!r:.200}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.95, got {level}")
    return len(scores)
