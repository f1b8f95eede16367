"""Intervals of a proportion of choices that several raters made of several pictures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

LEVEL = 0.95
ROUNDING = 1e-9
"""A variance that is smaller than this share of another one is 0 but for rounding."""


class Proportion(NamedTuple):
    """A proportion of right choices.

    Attributes:
        value: share of choices that are right.
        low: lower end of its 95 % interval.
        high: upper end.
        n_choices: number of choices.
        n_raters: number of raters.
        n_pictures: number of pictures.
    """

    value: float
    low: float
    high: float
    n_choices: int
    n_raters: int
    n_pictures: int


def rated_proportion(
    right: Float[np.ndarray, " n"], raters: Shaped[np.ndarray, " n"], pictures: Shaped[np.ndarray, " n"]
) -> Proportion:
    """Return the share of right choices with an interval that takes raters and pictures as drawn from larger populations.

        V_G = G/(G − 1) · Σ_g (Σ_{k∈g} (x_k − p))² / n²      over raters, pictures, and single choices
        V = max(V_raters + V_pictures − V_choices, V_raters, V_pictures, V_choices)
        logit p ± t · √V / (p (1 − p))

    Two-way clustered variance (Cameron, Gelbach & Miller 2011, J. Business & Economic Statistics 29, 238–249) on the scale of
    log odds, with Student's t of Satterthwaite's degrees of freedom, (V_raters + V_pictures)² / (V_raters²/(R − 1) +
    V_pictures²/(P − 1)), or P − 1 where both are 0. Choices of one rater, and of one picture, may depend on each other: a
    binomial interval would be too narrow. V is never below that of independent choices: raters may disagree so evenly that all
    raters, and all pictures, have the same share.

    Simulated with normal effects of raters and pictures on log odds, it covers the true proportion in 92 to 99 % of cases with
    3 to 20 raters and 12 to 100 pictures, in 90 to 99 % with two raters. Of one rater it covers pictures alone. If all choices
    are right, or all wrong, it is Clopper and Pearson's interval of as many choices as there are pictures.

    Args:
        right: 1 for each right choice, 0 for each wrong one (n,).
        raters: who made it (n,).
        pictures: of what (n,).

    Raises:
        ValueError: if there is no choice, a value is neither 0 nor 1, or there is one picture alone.
    """
    from scipy.stats import beta, t

    if not len(right) or not np.isin(right, (0, 1)).all():
        raise ValueError("a proportion needs choices that are right (1) or wrong (0), at least one")
    of_rater, of_picture = (np.unique(labels, return_inverse=True)[1] for labels in (raters, pictures))
    n, n_raters, n_pictures = len(right), int(of_rater.max()) + 1, int(of_picture.max()) + 1
    if n_pictures < 2:
        raise ValueError("an interval over pictures needs two or more of them, got 1")
    value = float(right.mean())
    if value in (0, 1):
        edge = float(beta.ppf((1 - LEVEL) / 2, n_pictures, 1))
        low, high = (edge, 1.0) if value == 1 else (0.0, 1 - edge)
        return Proportion(value, low, high, n, n_raters, n_pictures)
    error = right - value
    raters_part = _clustered(error, of_rater) if n_raters > 1 else 0.0
    pictures_part = _clustered(error, of_picture)
    choices_part = _clustered(error, np.arange(n))
    parts = raters_part + pictures_part
    variance = max(parts - choices_part, raters_part, pictures_part, choices_part)
    spread = raters_part**2 / max(n_raters - 1, 1) + pictures_part**2 / (n_pictures - 1)
    freedom = parts**2 / spread if parts > ROUNDING * choices_part else n_pictures - 1
    half = float(t.ppf((1 + LEVEL) / 2, freedom)) * np.sqrt(variance) / (value * (1 - value))
    odds = np.log(value / (1 - value))
    low, high = (float(1 / (1 + np.exp(-(odds + sign * half)))) for sign in (-1, 1))
    return Proportion(value, low, high, n, n_raters, n_pictures)


def _clustered(error: Float[np.ndarray, " n"], cluster: Int[np.ndarray, " n"]) -> float:
    """Return the variance of a mean whose errors may depend on each other inside clusters, numbered from 0."""
    sums = np.bincount(cluster, error)
    return float(len(sums) / (len(sums) - 1) * np.square(sums).sum() / len(error) ** 2)
