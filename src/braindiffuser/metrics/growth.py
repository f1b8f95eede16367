"""Scores along a curve: the line through scores over log2 of an amount, what it reaches, and where it has most of its gain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from braindiffuser.metrics.intervals import score_interval, student_interval

FEWEST_POINTS = 3
"""Points that a line is fitted through, at least."""
BEYOND = 4
"""How many doublings beyond the last point it is looked for a goal."""
GRID = 2000
"""Amounts, evenly spaced on a logarithmic axis, at which a goal is looked for."""


class Interval(NamedTuple):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class LogLine:
    """A line through mean scores over log2 of an amount, such as the number of training pictures.

        score_i(n) = a_i + b_i log2(n),    a = 1/N Σ_i a_i,  b = 1/N Σ_i b_i

    by least squares for each of N pictures. What is said of v = (1, log2 n) has the variance

        vᵀ Cov_i(a_i, b_i) v / N  +  s² vᵀ (XᵀX)⁻¹ v,    s² = Σ_k (mean score_k − a − b x_k)² / (K − 2)

    of which the first part is due to the test pictures and the second to the points: which pictures were drawn for training, and
    how far the curve is from a line. Intervals are Student's, with the degrees of freedom of Welch and Satterthwaite. The second
    part counts noise of test pictures again, so that intervals are too wide rather than too narrow.

    Attributes:
        amounts: n of each of K points, ascending, > 0.
        scores: score of each picture at each point.

    Raises:
        ValueError: there are fewer than three points or two pictures, or amounts do not ascend.
    """

    amounts: Float64[np.ndarray, " n_points"]
    scores: Float64[np.ndarray, "n_points n_pictures"]

    def __post_init__(self) -> None:
        """Check the points."""
        if len(self.amounts) < FEWEST_POINTS or self.scores.shape[1] < 2:
            raise ValueError(
                f"a line needs {FEWEST_POINTS} points or more and two pictures or more, got {len(self.amounts)} and "
                f"{self.scores.shape[1]}"
            )
        if self.amounts[0] <= 0 or (np.diff(self.amounts) <= 0).any():
            raise ValueError(f"amounts must be positive and ascend, got {self.amounts.tolist()}")

    @property
    def per_doubling(self) -> Interval:
        """What twice the amount adds to the mean score: b."""
        return self._one(np.array([0.0, 1.0]))

    def at(self, amount: float) -> Interval:
        """Mean score of the line at an amount: a + b log2(amount)."""
        return self._one(np.array([1.0, np.log2(amount)]))

    def reaching(self, goal: float) -> Interval | None:
        """Return the amount at which the line reaches a goal, and those at which its interval holds the goal.

        The ends are looked for from a sixteenth of the smallest amount to `sought_to`, sixteen times the largest; one that lies
        further out is 0 or inf. Where even the amount lies further out, the other end is where the search ended.

        Returns:
            None if the line does not rise.
        """
        a, b = self._lines.mean(axis=1)
        if b <= 0:
            return None
        nearest, farthest = float(self.amounts[0] / 2**BEYOND), self.sought_to
        x = np.linspace(self._x[0] - BEYOND, self._x[-1] + BEYOND, GRID)
        amounts = np.concatenate([[nearest], 2.0 ** x[1:-1], [farthest]])
        _, low, high = self._said(np.stack([np.ones(GRID), x], axis=1))
        inside = np.flatnonzero((low <= goal) & (goal <= high))
        value = float(2.0 ** np.clip((goal - a) / b, -1000, 1000))
        if not len(inside):
            return Interval(
                value,
                0.0 if value < nearest else min(value, farthest),
                np.inf if value > farthest else max(value, nearest),
            )
        first, last = inside[[0, -1]]
        return Interval(
            value,
            0.0 if first == 0 else float(amounts[first]),
            np.inf if last == GRID - 1 else float(amounts[last]),
        )

    @property
    def sought_to(self) -> float:
        """Largest amount at which `reaching` looks for a goal: 2^`BEYOND` times the last."""
        return float(self.amounts[-1] * 2**BEYOND)

    @property
    def bend(self) -> Interval | None:
        """How growth changes: what is added to the gain of a doubling with each doubling, twice the coefficient of log2(n)².

        The interval is Student's over pictures. Below 0 growth slows, and the line promises too much beyond the last point.

        Returns:
            None with fewer than four points.
        """
        if len(self.amounts) <= FEWEST_POINTS:
            return None
        x = self._x - self._x.mean()
        design = np.stack([np.ones(len(x)), x, np.square(x)], axis=1)
        return mean_of(2 * (np.linalg.pinv(design) @ self.scores)[2])

    @cached_property
    def _x(self) -> Float64[np.ndarray, " n_points"]:
        x: Float64[np.ndarray, " n_points"] = np.log2(self.amounts)
        return x

    @cached_property
    def _design(self) -> Float64[np.ndarray, "n_points 2"]:
        return np.stack([np.ones(len(self._x)), self._x], axis=1)

    @cached_property
    def _lines(self) -> Float64[np.ndarray, "2 n_pictures"]:
        lines: Float64[np.ndarray, "2 n_pictures"] = np.linalg.pinv(self._design) @ self.scores
        return lines

    @cached_property
    def _covariances(self) -> tuple[Float64[np.ndarray, "2 2"], Float64[np.ndarray, "2 2"]]:
        """Covariance of (a, b) that is due to pictures, and to points."""
        n_points, n_pictures = self.scores.shape
        residuals = self.scores.mean(axis=1) - self._design @ self._lines.mean(axis=1)
        spread = float(np.square(residuals).sum()) / (n_points - 2)
        return np.cov(self._lines) / n_pictures, spread * np.linalg.inv(self._design.T @ self._design)

    def _one(self, v: Float64[np.ndarray, " 2"]) -> Interval:
        value, low, high = (float(each[0]) for each in self._said(v[None]))
        return Interval(value, low, high)

    def _said(self, v: Float64[np.ndarray, "m 2"]) -> tuple[Float64[np.ndarray, " m"], ...]:
        """Return vᵀ (a, b) of each row v, and the ends of its interval."""
        from scipy.stats import t

        value = v @ self._lines.mean(axis=1)
        of_pictures, of_points = (np.einsum("mi,ij,mj->m", v, part, v).clip(0) for part in self._covariances)
        total, (n_points, n_pictures) = of_pictures + of_points, self.scores.shape
        parts = of_pictures**2 / (n_pictures - 1) + of_points**2 / (n_points - 2)
        df = np.divide(total**2, parts, out=np.ones_like(total), where=parts > 0)
        half = t.ppf(0.975, df) * np.sqrt(total)
        return value, value - half, value + half


def mean_of(scores: Float[np.ndarray, " n"]) -> Interval:
    """Return the mean of two pictures' gains or more, or of what a line says of them, with Student's interval."""
    return Interval(float(scores.mean()), *student_interval(scores))


def point_of(
    scores: Float[np.ndarray, " n"],
    bounds: Sequence[float],
    chance: float | None = None,
    left_out: Float[np.ndarray, " n"] | None = None,
) -> Interval:
    """Return the mean score of pictures with `score_interval`, as tables of scores have it.

    Args:
        scores: of each picture.
        bounds: smallest and largest possible score.
        chance: score of a picture of which nothing is decoded, if it is known.
        left_out: mean score without each picture, of identification.
    """
    return Interval(float(scores.mean()), *score_interval(scores, bounds, chance, left_out=left_out))


def paired_difference(scores: Float[np.ndarray, " n"], reference: Float[np.ndarray, " n"]) -> tuple[Interval, float]:
    """Return the mean difference of two scores of the same pictures with Student's interval, and p of no difference.

        d̄ ± t s_d / √n,    d_i = score_i − reference_i

    Raises:
        ValueError: there are fewer than two pictures, or other numbers of them.
    """
    from scipy.stats import ttest_1samp

    if len(scores) < 2 or scores.shape != reference.shape:
        raise ValueError(f"got {len(scores)} and {len(reference)} scores, expected the same number, two or more")
    differences = scores.astype(np.float64) - reference
    found = mean_of(differences)
    if found.low == found.high:
        return found, 1.0 if found.value == 0 else 0.0
    return found, float(ttest_1samp(differences, 0.0).pvalue)


def first_reaching(scores: Float64[np.ndarray, "n_points n_pictures"], floor: float, share: float = 0.9) -> int:
    """Return the first point whose mean score has a share of the gain that the last point has over `floor`.

    Args:
        scores: of each picture at each point; the last mean lies above `floor`.
        floor: mean score without information.
        share: of the gain, in (0, 1].

    Returns:
        Row of the point.

    >>> first_reaching(np.array([[0.1], [0.46], [0.5]]), 0.0)
    1
    """
    means = scores.mean(axis=1)
    return int(np.argmax(means >= floor + share * (means[-1] - floor)))


def reaching_interval(
    amounts: Float64[np.ndarray, " n_points"],
    scores: Float64[np.ndarray, "n_points n_pictures"],
    floor: float,
    rng: np.random.Generator,
    share: float = 0.9,
    n_resamples: int = 1000,
) -> Interval:
    """Return the amount of `first_reaching`, with the 2.5 % and 97.5 % quantiles over resampled pictures.

    Args:
        amounts: of each point, ascending.
        scores: of each picture at each point.
        floor: mean score without information, below that of the last point.
        rng: source of the resamples.
        share: of the gain, in (0, 1].
        n_resamples: number of resamples of the pictures, the same ones at all points.

    Returns:
        Amounts of points, none between two.
    """
    n = scores.shape[1]
    drawn = [first_reaching(scores[:, rng.integers(n, size=n)], floor, share) for _ in range(n_resamples)]
    low, high = np.quantile(amounts[drawn], [0.025, 0.975], method="nearest")
    return Interval(float(amounts[first_reaching(scores, floor, share)]), float(low), float(high))
