"""How much more a region's voxels matter to one decoder than to another: percentiles, and what random regions would give."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from braindiffuser.datasets.voxels import Voxels


class Chance(NamedTuple):
    """Differences of random regions of equal size.

    Attributes:
        low: 2.5 % quantile.
        high: 97.5 % quantile.
        p: two-sided: twice the smaller of (1 + number of random regions with as much or more) / (1 + number of random regions)
            and the same with as little or less, at most 1.
    """

    low: float
    high: float
    p: float


def percentiles(norms: Float[np.ndarray, " n_voxels"]) -> Float64[np.ndarray, " n_voxels"]:
    """Return the percentage of voxels whose norm is at most a voxel's own: 100/n · #{u : norm_u ≤ norm_v}, in (0, 100].

    >>> percentiles(np.array([0.1, 3.0, 0.2, 0.2])).tolist()
    [25.0, 100.0, 75.0, 75.0]
    """
    as_little = np.searchsorted(np.sort(norms), norms, side="right")
    shares: Float64[np.ndarray, " n_voxels"] = 100 * as_little / len(norms)
    return shares


def relative_difference(
    own: Float64[np.ndarray, "*regions n_voxels"], reference: Float64[np.ndarray, "*regions n_voxels"]
) -> Float64[np.ndarray, "*regions"]:
    """Compare the mean percentiles of a region's voxels: (P̄_own - P̄_reference) / P̄_reference.

    The means are compared, not the voxels: a voxel's own ratio has no bound where its percentile is near 0.

    Args:
        own: percentiles of a group, over the voxels of one region or of several of equal size.
        reference: those of the reference group.
    """
    mean = reference.mean(axis=-1)
    return np.asarray((own.mean(axis=-1) - mean) / mean)


def scattered_regions(
    n_voxels: int, size: int, n_regions: int, rng: np.random.Generator
) -> Int[np.ndarray, "n_regions size"]:
    """Draw regions of voxels anywhere, as if the regions' labels were shuffled over voxels."""
    return np.stack([rng.permutation(n_voxels)[:size] for _ in range(n_regions)])


def contiguous_regions(
    places: Float64[np.ndarray, "n_voxels 3"], size: int, n_regions: int, rng: np.random.Generator
) -> Int[np.ndarray, "n_regions size"]:
    """Draw regions of neighbouring voxels: those nearest to a random one.

    Neighbours share signal and noise, so means of such regions vary more than those of scattered ones, as real regions' do.
    """
    drawn = np.empty((n_regions, size), np.int64)
    for region in drawn:
        distances = np.square(places - places[rng.integers(len(places))]).sum(axis=1)
        region[:] = np.argpartition(distances, size - 1)[:size]
    return drawn


def chance(
    own: Float64[np.ndarray, " n_voxels"],
    reference: Float64[np.ndarray, " n_voxels"],
    observed: float,
    drawn: Int[np.ndarray, "n_regions size"],
) -> Chance:
    """Hold a region's difference against those of random regions.

    Args:
        own: percentiles of a group, over all voxels.
        reference: those of the reference group.
        observed: `relative_difference` of the region.
        drawn: voxels of random regions, each as large as the region.
    """
    null = relative_difference(own[drawn], reference[drawn])
    low, high = np.quantile(null, [0.025, 0.975])
    beyond = min((null >= observed - 1e-12).sum(), (null <= observed + 1e-12).sum())
    return Chance(float(low), float(high), min(1.0, float(2 * (1 + beyond) / (1 + len(null)))))


def places_of(voxels: Voxels) -> Float64[np.ndarray, "n_voxels 3"] | None:
    """Return where voxels lie, in millimetres where the affine is known; None if no place is known."""
    if voxels.mask is not None:
        indices = np.argwhere(voxels.mask).astype(np.float64)
        return indices if voxels.affine is None else indices @ voxels.affine[:3, :3].T.astype(np.float64)
    return None if voxels.coordinates is None else voxels.coordinates.astype(np.float64)
