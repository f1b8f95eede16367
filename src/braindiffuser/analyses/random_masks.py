"""Random sets of voxels to compare a region with: equally many, and if asked equally noisy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

N_BINS = 10
"""Classes of noise ceilings, equally full, within which voxels are exchanged."""


def random_masks(
    mask: Bool[np.ndarray, " n_voxels"],
    n_masks: int,
    rng: np.random.Generator,
    ceilings: Float[np.ndarray, " n_voxels"] | None = None,
) -> Bool[np.ndarray, "n_masks n_voxels"]:
    """Draw random sets with as many voxels as a region, and if asked as many of each class of noise ceilings.

    A class is a tenth of all voxels by their ceiling; voxels without one are a class of their own. From each class as many voxels
    are drawn, without replacement, as the region has in it. The region's own voxels can be drawn too, as under shuffled labels.

    Args:
        mask: of the region.
        n_masks: how many sets.
        rng: source of the draws.
        ceilings: of each voxel, NaN where it is not known; None matches the number alone.

    >>> random_masks(np.array([True, False, True, False]), 5, np.random.default_rng(0)).sum(axis=1).tolist()
    [2, 2, 2, 2, 2]
    """
    classes = np.zeros(len(mask), np.int64) if ceilings is None else ceiling_classes(ceilings)
    drawn = np.zeros((n_masks, len(mask)), bool)
    for number in np.unique(classes[mask]):
        voxels = np.flatnonzero(classes == number)
        n_own = int(np.count_nonzero(mask[voxels]))
        for row in drawn:
            row[rng.choice(voxels, n_own, replace=False)] = True
    return drawn


def shuffled_masks(
    masks: Bool[np.ndarray, "n_regions n_voxels"],
    n_draws: int,
    rng: np.random.Generator,
    ceilings: Float[np.ndarray, " n_voxels"] | None = None,
) -> Iterator[Bool[np.ndarray, "n_regions n_voxels"]]:
    """Yield random sets for all regions together: their labels are shuffled over voxels, and if asked within classes of ceilings.

    Each draw exchanges the same voxels in all regions, so that random sets share as many voxels as their regions do. Whatever
    compares regions with each other needs this: sets that are drawn one by one overlap where regions do not.

    Args:
        masks: of the regions.
        n_draws: how many.
        rng: source of the draws.
        ceilings: of each voxel, NaN where it is not known; None exchanges all voxels.

    >>> masks = np.array([[True, True, False, False], [False, False, True, False]])
    >>> drawn = np.stack(list(shuffled_masks(masks, 5, np.random.default_rng(0))))
    >>> drawn.sum(axis=2).tolist() == [[2, 1]] * 5, bool(drawn.all(axis=1).any())
    (True, False)
    """
    n_voxels = masks.shape[1]
    classes = np.zeros(n_voxels, np.int64) if ceilings is None else ceiling_classes(ceilings)
    members = [np.flatnonzero(classes == number) for number in np.unique(classes)]
    for _ in range(n_draws):
        order = np.arange(n_voxels)
        for voxels in members:
            order[voxels] = rng.permutation(voxels)
        yield masks[:, order]


def ceiling_classes(ceilings: Float[np.ndarray, " n_voxels"]) -> Int[np.ndarray, " n_voxels"]:
    """Number equally full classes of voxels by their noise ceiling from 0; −1 where it is not known.

    >>> ceiling_classes(np.array([5.0, np.nan, 50.0])).tolist()
    [0, -1, 5]
    """
    known = np.flatnonzero(np.isfinite(ceilings))
    classes = np.full(len(ceilings), -1)
    ranks = np.argsort(np.argsort(ceilings[known], kind="stable"), kind="stable")
    classes[known] = ranks * N_BINS // max(len(known), 1)
    return classes
