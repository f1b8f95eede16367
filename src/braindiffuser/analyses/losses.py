"""What a score loses when a part of the brain is left out, as a share of what the whole gains over nothing at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from braindiffuser.arrays import Vector

ROUNDING = 1e-10
"""Spread of shares up to which random sets lose the same: what lies below it is rounding."""


class Loss(NamedTuple):
    """Loss of one score.

    Attributes:
        difference: mean over pictures of whole − ablated.
        share: of what the whole gains over the floor: 0 nothing is lost, 1 all; None where nothing is gained.
        low: lower end of the share's 95 % interval.
        high: its upper end.
    """

    difference: float
    share: float | None
    low: float | None
    high: float | None


class Resampled(NamedTuple):
    """A value and what becomes of it where pictures are drawn anew.

    Attributes:
        value: of the pictures as they are.
        resampled: the same in each resample (n_resamples,).
    """

    value: float
    resampled: Vector

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the percentile bootstrap interval (95 %) over pictures."""
        low, high = np.quantile(self.resampled, [0.025, 0.975])
        return float(low), float(high)


def beside_random_sets(own: Resampled, random: Sequence[Resampled]) -> dict[str, Any] | None:
    """Compare a region's share, or difference of shares, with those of random sets of voxels.

        t = (d − m) / (s √(1 + 1/n)),   p = 2 P(T ≥ |t|), T Student's with n − 1 degrees of freedom

    with m and s the mean and standard deviation (n − 1) of n random sets: whether the region could be one more of them. Sets vary
    whatever the pictures, so p counts them; the interval tells how pictures vary.

    Args:
        own: of the region.
        random: of the random sets, by the same resamples.

    Returns:
        "n", "mean", "lowest" and "highest" of the sets; "further", how far the region lies above their mean, with "low" and
        "high", the paired 95 % interval over pictures; and "p", None where fewer than two sets were drawn or all lose the
        same. None without a set.
    """
    from scipy.stats import t as student

    if not random:
        return None
    values = np.array([each.value for each in random])
    drawn = own.resampled - np.mean([each.resampled for each in random], axis=0)
    low, high = Resampled(own.value, drawn).interval
    n, mean = len(values), float(values.mean())
    spread = float(values.std(ddof=1)) if n > 1 else 0.0
    p = (
        2 * float(student.sf(abs(own.value - mean) / (spread * np.sqrt(1 + 1 / n)), n - 1))
        if spread > ROUNDING
        else None
    )
    return {
        "n": n,
        "mean": mean,
        "lowest": float(values.min()),
        "highest": float(values.max()),
        "further": own.value - mean,
        "low": low,
        "high": high,
        "p": p,
    }


def draw_resamples(n: int, rng: np.random.Generator, n_resamples: int = 2000) -> Float64[np.ndarray, "n n_resamples"]:
    """Return the share of each picture in resamples of n pictures with replacement; each column sums to 1."""
    shares: Float64[np.ndarray, "n n_resamples"] = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).T / n
    return shares


def resampled_share(
    whole: Vector,
    ablated: Vector,
    floor: Vector,
    resamples: Float64[np.ndarray, "n n_resamples"],
    higher_is_better: bool = True,
) -> Resampled | None:
    """Return the share of a score that is lost, and in each resample of the pictures.

        share = mean(whole − ablated) / mean(whole − floor)

    The same pictures are drawn for all three, so that intervals are those of paired differences. None where the whole is not
    better than the floor in every resample: a share of no gain has no meaning.

    Args:
        whole: score of each picture by the whole decoder (n,).
        ablated: the same without a part of it.
        floor: the same without any of it.
        resamples: as `draw_resamples` returns them.
        higher_is_better: whether a higher score is a better one.
    """
    gains = (whole - floor) @ resamples
    if (gains if higher_is_better else -gains).min() <= 0:
        return None
    value = float((whole - ablated).mean()) / float((whole - floor).mean())
    return Resampled(value, (whole - ablated) @ resamples / gains)


def share_lost(
    whole: Vector,
    ablated: Vector,
    floor: Vector,
    resamples: Float64[np.ndarray, "n n_resamples"],
    higher_is_better: bool = True,
) -> Loss:
    """Return what a score loses and its share, with a percentile bootstrap interval over pictures; see `resampled_share`.

    >>> whole, floor = np.full(5, 0.75), np.full(5, 0.25)
    >>> share_lost(whole, np.full(5, 0.625), floor, draw_resamples(5, np.random.default_rng(0))).share
    0.25
    """
    difference = float((whole - ablated).mean())
    found = resampled_share(whole, ablated, floor, resamples, higher_is_better)
    return Loss(difference, *((None, None, None) if found is None else (found.value, *found.interval)))


def share_difference(
    first: tuple[Vector, Vector, Vector],
    second: tuple[Vector, Vector, Vector],
    resamples: Float64[np.ndarray, "n n_resamples"],
    higher_is_better: tuple[bool, bool] = (True, True),
) -> Resampled | None:
    """Return how much larger the share lost of one score is than that of another; None as in `resampled_share`.

    Args:
        first: whole, ablated and floor of one score, each (n,).
        second: of another, of the same pictures.
        resamples: as `draw_resamples` returns them.
        higher_is_better: whether a higher score is a better one, of each.
    """
    found = [
        resampled_share(*score, resamples, higher)
        for score, higher in zip((first, second), higher_is_better, strict=True)
    ]
    if found[0] is None or found[1] is None:
        return None
    return Resampled(found[0].value - found[1].value, found[0].resampled - found[1].resampled)
