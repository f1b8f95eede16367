"""What a score loses when a part of the brain is left out, as a share of what the whole gains over nothing at all."""

from __future__ import annotations

from typing import NamedTuple

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


def draw_resamples(n: int, rng: np.random.Generator, n_resamples: int = 2000) -> Float64[np.ndarray, "n n_resamples"]:
    """Return the share of each picture in resamples of n pictures with replacement; each column sums to 1."""
    shares: Float64[np.ndarray, "n n_resamples"] = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).T / n
    return shares


def share_lost(whole: Vector, ablated: Vector, floor: Vector, resamples: Float64[np.ndarray, "n n_resamples"]) -> Loss:
    """Return the share of a score that is lost, with a percentile bootstrap interval over pictures.

        share = mean(whole − ablated) / mean(whole − floor)

    The same pictures are drawn for all three, so that the interval is that of paired differences. The share is None where a
    resample gains nothing: a share of nothing has no meaning.

    Args:
        whole: score of each picture by the whole decoder (n,).
        ablated: the same without a part of it.
        floor: the same without any of it.
        resamples: as `draw_resamples` returns them.

    >>> whole, floor = np.full(5, 0.75), np.full(5, 0.25)
    >>> share_lost(whole, np.full(5, 0.625), floor, draw_resamples(5, np.random.default_rng(0))).share
    0.25
    """
    difference, gains = float((whole - ablated).mean()), (whole - floor) @ resamples
    if gains.min() <= 0 <= gains.max():
        return Loss(difference, None, None, None)
    low, high = np.quantile((whole - ablated) @ resamples / gains, [0.025, 0.975])
    return Loss(difference, difference / float((whole - floor).mean()), float(low), float(high))


def share_difference(
    first: tuple[Vector, Vector, Vector],
    second: tuple[Vector, Vector, Vector],
    resamples: Float64[np.ndarray, "n n_resamples"],
) -> tuple[float, float, float] | None:
    """Return how much larger the share lost of one score is than that of another, with its 95 % interval; None as `share_lost`.

    Args:
        first: whole, ablated and floor of one score, each (n,).
        second: of another, of the same pictures.
        resamples: as `draw_resamples` returns them.
    """
    losses = [share_lost(*score, resamples) for score in (first, second)]
    if losses[0].share is None or losses[1].share is None:
        return None
    drawn = [(whole - ablated) @ resamples / ((whole - floor) @ resamples) for whole, ablated, floor in (first, second)]
    low, high = np.quantile(drawn[0] - drawn[1], [0.025, 0.975])
    return losses[0].share - losses[1].share, float(low), float(high)
