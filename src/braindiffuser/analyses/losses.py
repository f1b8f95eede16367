"""What a score loses when a part of the brain is left out, as a share of what the whole gains over nothing at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from braindiffuser.arrays import Vector


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


class SharesApart(NamedTuple):
    """How much larger the share lost of one score is than that of another.

    Attributes:
        value: share lost of the first less that of the second.
        low: lower end of its 95 % interval.
        high: its upper end.
        resampled: value in each resample (n_resamples,).
    """

    value: float
    low: float
    high: float
    resampled: Vector


def beside_random_sets(own: SharesApart, random: Sequence[SharesApart]) -> dict[str, Any] | None:
    """Compare a region's difference of shares with those of random sets of voxels.

        t = (d − m) / (s √(1 + 1/n)),   p = 2 P(T ≥ |t|), T Student's with n − 1 degrees of freedom

    with m and s the mean and standard deviation (n − 1) of n random sets: whether the region could be one more of them. Sets vary
    whatever the pictures, so p counts them; the interval tells how pictures vary.

    Args:
        own: of the region.
        random: of the random sets, by the same resamples.

    Returns:
        "n", "mean", "lowest" and "highest" of the sets; "further", how far the region lies above their mean, with "low" and
        "high", the paired 95 % interval over pictures; and "p", None where fewer than two sets were drawn or all are equal. None
        without a set.
    """
    from scipy.stats import t as student

    if not random:
        return None
    values = np.array([each.value for each in random])
    drawn = own.resampled - np.mean([each.resampled for each in random], axis=0)
    low, high = np.quantile(drawn, [0.025, 0.975])
    n, mean = len(values), float(values.mean())
    spread = float(values.std(ddof=1)) if n > 1 else 0.0
    p = 2 * float(student.sf(abs(own.value - mean) / (spread * np.sqrt(1 + 1 / n)), n - 1)) if spread > 0 else None
    return {
        "n": n,
        "mean": mean,
        "lowest": float(values.min()),
        "highest": float(values.max()),
        "further": own.value - mean,
        "low": float(low),
        "high": float(high),
        "p": p,
    }


def draw_resamples(n: int, rng: np.random.Generator, n_resamples: int = 2000) -> Float64[np.ndarray, "n n_resamples"]:
    """Return the share of each picture in resamples of n pictures with replacement; each column sums to 1."""
    shares: Float64[np.ndarray, "n n_resamples"] = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).T / n
    return shares


def share_lost(
    whole: Vector,
    ablated: Vector,
    floor: Vector,
    resamples: Float64[np.ndarray, "n n_resamples"],
    higher_is_better: bool = True,
) -> Loss:
    """Return the share of a score that is lost, with a percentile bootstrap interval over pictures.

        share = mean(whole − ablated) / mean(whole − floor)

    The same pictures are drawn for all three, so that the interval is that of paired differences. The share is None where
    the whole is not better than the floor in every resample: a share of no gain has no meaning.

    Args:
        whole: score of each picture by the whole decoder (n,).
        ablated: the same without a part of it.
        floor: the same without any of it.
        resamples: as `draw_resamples` returns them.
        higher_is_better: whether a higher score is a better one.

    >>> whole, floor = np.full(5, 0.75), np.full(5, 0.25)
    >>> share_lost(whole, np.full(5, 0.625), floor, draw_resamples(5, np.random.default_rng(0))).share
    0.25
    """
    difference, gains = float((whole - ablated).mean()), (whole - floor) @ resamples
    if (gains if higher_is_better else -gains).min() <= 0:
        return Loss(difference, None, None, None)
    low, high = np.quantile((whole - ablated) @ resamples / gains, [0.025, 0.975])
    return Loss(difference, difference / float((whole - floor).mean()), float(low), float(high))


def share_difference(
    first: tuple[Vector, Vector, Vector],
    second: tuple[Vector, Vector, Vector],
    resamples: Float64[np.ndarray, "n n_resamples"],
    higher_is_better: tuple[bool, bool] = (True, True),
) -> SharesApart | None:
    """Compare the share lost of one score with that of another; None as in `share_lost`.

    Args:
        first: whole, ablated and floor of one score, each (n,).
        second: of another, of the same pictures.
        resamples: as `draw_resamples` returns them.
        higher_is_better: whether a higher score is a better one, of each.
    """
    losses = [
        share_lost(*score, resamples, higher) for score, higher in zip((first, second), higher_is_better, strict=True)
    ]
    if losses[0].share is None or losses[1].share is None:
        return None
    drawn = [(whole - ablated) @ resamples / ((whole - floor) @ resamples) for whole, ablated, floor in (first, second)]
    low, high = np.quantile(drawn[0] - drawn[1], [0.025, 0.975])
    return SharesApart(losses[0].share - losses[1].share, float(low), float(high), drawn[0] - drawn[1])
