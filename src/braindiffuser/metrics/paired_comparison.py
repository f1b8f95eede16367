"""Two methods on the same pictures: the difference of their scores, its interval, and whether chance makes one as large."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Int8

from braindiffuser.arrays import Vector
from braindiffuser.metrics.inference import TIE
from braindiffuser.metrics.intervals import student_interval

EXACT = 14
"""Of so many pictures at most, all 2ⁿ signs are tried: 16,384 for 14."""
N_DRAWS = 10_000
"""Random signs of more pictures."""
AT_ONCE = 2**22
"""Signs that are held in memory together."""


@dataclass(frozen=True)
class Difference:
    """How much one method scores above another on the same pictures.

    Attributes:
        value: mean difference, first method − second.
        low: lower end of its interval.
        high: upper end.
        p: of the sign-flip test, two-sided.
    """

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, eq=False)
class PictureScores:
    """Scores of one method on one metric.

    Attributes:
        scores: of each picture (n,).
        left_out: mean score of all others when a picture is left out, as target and as distractor (n,), as `Compared` holds it;
            None for a metric that looks at each picture alone.
    """

    scores: Vector
    left_out: Vector | None = None

    @property
    def independent(self) -> Vector:
        """What each picture contributes to the mean: its score, or the jackknife's pseudo-value, n θ − (n − 1) θ_(−i).

        Of pictures that are also each other's distractors, the variance of θ is about 1/n of that of these values (Arvesen 1969,
        Annals of Mathematical Statistics 40, 2076–2100).
        """
        n = len(self.scores)
        if self.left_out is None or n < 3:  # of two, one is left, which has no distractor
            return self.scores
        values: Vector = n * self.scores.mean() - (n - 1) * self.left_out
        return values


def compare_paired(
    first: PictureScores, second: PictureScores, rng: np.random.Generator, level: float = 0.95
) -> Difference:
    """Compare two methods on one metric and the same pictures, in the same order.

        d̄ ± t s_v/√n,    d_i = a_i − b_i,    s_v the standard deviation of v_i

    v_i is the difference of what picture i contributes to either mean: its scores, or, if it was also a distractor of others,
    its pseudo-values, so that distractors count as a sample too. The middle is the difference of the scores as they are: of
    identification among all pictures, or among nearly all, pseudo-values have another mean, since among fewer it is easier.

    Args:
        first: scores of a method.
        second: scores of the method that it is compared with.
        rng: source of random signs.
        level: of the interval, in (0, 1).

    Returns:
        Difference first − second.

    Raises:
        ValueError: there are fewer than two pictures, other numbers of them, or a score is not finite.
    """
    differences = _differences(first.scores, second.scores)
    if len(differences) < 2:
        raise ValueError(f"methods are compared on two pictures or more, got {len(differences)}")
    value, independent = float(differences.mean()), contributions(first, second)
    low, high = (value + end for end in student_interval(independent - independent.mean(), level))
    return Difference(value, low, high, sign_flip_p(differences, rng))


def contributions(first: PictureScores, second: PictureScores) -> Vector:
    """Return what each picture contributes to the difference of two means: by pseudo-values, if those of both are known."""
    both = first.left_out is not None and second.left_out is not None
    values: Vector = first.independent - second.independent if both else first.scores - second.scores
    return values


def sign_flip_p(differences: Vector, rng: np.random.Generator, n_draws: int = N_DRAWS) -> float:
    """Test whether two methods could be exchanged picture by picture: the sign-flip test of a mean difference, two-sided.

    p = 1/2ⁿ · #{signs: |1/n Σ s_i d_i| ≥ |d̄|}                       n ≤ 14: all signs s ∈ {−1, 1}ⁿ
    p = (1 + #{drawn signs: |1/n Σ s_i d_i| ≥ |d̄|}) / (1 + draws)     otherwise (Phipson & Smyth 2010)

    Exact if, under the null hypothesis, a picture's score by one method and by the other may be exchanged and nothing else
    changes. That is so of metrics on each picture alone, and of two-way identification per reconstruction, whose distractors are
    the stimuli, the same for both methods; per stimulus, distractors are the method's own pictures, and the test is approximate.

    Args:
        differences: of each picture's scores (n,).
        rng: source of random signs.
        n_draws: how many, for more than 14 pictures.

    Raises:
        ValueError: there is no difference, or one is not finite.

    >>> sign_flip_p(np.array([0.1, 0.2, 0.3]), np.random.default_rng(0))
    0.25
    """
    if differences.ndim != 1 or len(differences) == 0 or not np.isfinite(differences).all():
        raise ValueError(f"the test needs finite differences, one at least, got {differences!r:.100}")
    n = len(differences)
    observed = abs(float(differences.mean()))
    least = observed - max(TIE * observed, np.finfo(np.float64).eps * float(np.abs(differences).max()))
    n_signs, n_extreme = (2**n if n <= EXACT else n_draws), 0
    for start, end in pairwise([*range(0, n_signs, max(1, AT_ONCE // n)), n_signs]):
        bits = rng.integers(2, size=(end - start, n), dtype=np.int8) if n > EXACT else None
        signs = all_signs(n, start, end) if bits is None else 2 * bits - 1
        means = signs.astype(np.float64) @ differences / n  # of floats, for BLAS
        n_extreme += int(np.count_nonzero(np.abs(means) >= least))
    return n_extreme / n_signs if n <= EXACT else (1 + n_extreme) / (1 + n_draws)


def all_signs(n: int, start: int, end: int) -> Int8[np.ndarray, "m {n}"]:
    """Return those of the 2ⁿ patterns of n signs that are numbered from `start` to before `end`.

    >>> all_signs(2, 0, 4).tolist()
    [[-1, -1], [1, -1], [-1, 1], [1, 1]]
    """
    bits = (np.arange(start, end)[:, None] >> np.arange(n)) & 1
    return (2 * bits - 1).astype(np.int8)


def _differences(first: Vector, second: Vector) -> Vector:
    if first.shape != second.shape:
        raise ValueError(f"got scores of {len(first)} and of {len(second)} pictures; both methods need the same ones")
    difference: Vector = first - second
    return difference
