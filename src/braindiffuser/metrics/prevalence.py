"""In how many subjects there is an effect: permutations within subjects, and the minimum statistic over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from jaxtyping import Float

from braindiffuser.metrics.inference import permutation_p_value

Values = Float[np.ndarray, "_"]
"""Scores of subjects, or of permutations; lengths are checked in the functions."""

MAJORITY = 0.5
"""Prevalence of the majority null: at most half of the population."""


@dataclass(frozen=True)
class Prevalence:
    """What permutations within subjects say of a population.

    Attributes:
        p_subjects: p value of each subject.
        p_global: of the null that nobody has the effect.
        p_majority: of the null that at most half of the population has it.
        bound: largest prevalence γ0 that is rejected; None if not even the global null is.
        largest_bound: the same if every subject had beaten all of its permutations: what so many subjects and permutations can
            show at most.
        alpha: level of the test.
    """

    p_subjects: tuple[float, ...]
    p_global: float
    p_majority: float
    bound: float | None
    largest_bound: float
    alpha: float


def prevalence(observed: Values, permuted: Sequence[Values], alpha: float = 0.05) -> Prevalence:
    """Test how much of a population has an effect (Allefeld, Görgen & Haynes 2016, NeuroImage 141, 378–392).

    With a_k the score of subject k, a_ki its scores under permutation i, and m = min_k a_k,

        q_k   = (1 + #{i : a_ki ≥ m}) / (1 + P_k)
        p     = Π_k q_k                                             global null: nobody has the effect
        p(γ0) = [(1 − γ0) p^(1/N) + γ0]^N                           prevalence null: a share γ0 has it at most
        bound = (α^(1/N) − p^(1/N)) / (1 − p^(1/N))                 where p(γ0) = α, if p ≤ α

    The article draws second-level permutations, since a combination of first-level permutations, one of each subject, is one
    draw of the minimum. Here p is the share among all Π_k (1 + P_k) combinations: a minimum reaches m where all of its scores
    do, so the share is the product of the subjects' shares, and no draws are needed. The permutation that changes nothing is
    counted among them.

    The bound has a ceiling, α^(1/N) less a little: of four subjects it is .47 at α = .05, however clear the effect, so that
    "more than half of the population" takes five subjects or more. The formula takes q_k to be alike, as the article does; where
    they differ it is a little too large.

    Args:
        observed: score of each subject (n_subjects,), larger is better.
        permuted: scores of each subject under permutations, drawn apart for each (n_permutations,).
        alpha: level of the test, in (0, 1).

    Raises:
        ValueError: if there are fewer than two subjects, not one list of permutations for each, a score is not finite, or alpha
            is not in (0, 1).

    >>> found = prevalence(np.array([0.9, 0.8]), [np.full(99, 0.5), np.full(99, 0.5)])
    >>> found.p_global, round(found.bound, 3), found.p_subjects
    (0.0001, 0.216, (0.01, 0.01))
    """
    n = len(observed)
    if n < 2 or len(permuted) != n:
        raise ValueError(
            f"prevalence needs two or more subjects with permutations of each, got scores of {n}, permutations of {len(permuted)}"
        )
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, such as 0.05, got {alpha}")
    smallest = float(np.min(observed))
    p_subjects = [permutation_p_value(float(own), null) for own, null in zip(observed, permuted, strict=True)]
    p_global = prod(permutation_p_value(smallest, null) for null in permuted)
    least = prod(1 / (1 + len(null)) for null in permuted)
    largest = _bound(least, n, alpha)
    return Prevalence(
        p_subjects=tuple(p_subjects),
        p_global=p_global,
        p_majority=p_of_prevalence(p_global, n, MAJORITY),
        bound=_bound(p_global, n, alpha),
        largest_bound=0.0 if largest is None else largest,
        alpha=alpha,
    )


def p_of_prevalence(p_global: float, n_subjects: int, at_most: float) -> float:
    """Return the p value of the null that a share γ0 of the population has the effect at most: [(1 − γ0) p^(1/N) + γ0]^N.

    >>> p_of_prevalence(0.01, 4, 0.0), p_of_prevalence(0.01, 4, 1.0)
    (0.01..., 1.0)
    """
    return float(((1 - at_most) * p_global ** (1 / n_subjects) + at_most) ** n_subjects)


def _bound(p_global: float, n_subjects: int, alpha: float) -> float | None:
    if p_global > alpha:
        return None
    of_one, level = p_global ** (1 / n_subjects), alpha ** (1 / n_subjects)
    return float(max(0.0, (level - of_one) / (1 - of_one)))
