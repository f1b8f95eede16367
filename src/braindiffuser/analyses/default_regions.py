"""Regions that analyses look at where an experiment names none: early and category-selective ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from braindiffuser.analyses.chosen_regions import ChosenRegion, ChosenRegions, chosen_region, own_masks

if TYPE_CHECKING:
    from braindiffuser.analyses.analysis import RunData

EARLY = "early"
"""Name of the early regions together."""
CATEGORY_SELECTIVE = "category regions"
"""Name of the category-selective regions together."""


def default_regions(data: RunData) -> ChosenRegions:
    """Return early regions together and each, then category-selective ones each and together; those that have a voxel.

    Category-selective are the published ones, and food.
    """
    from braindiffuser.datasets.rois import CATEGORY_REGIONS, EARLY_REGIONS

    early, alike = _found(EARLY_REGIONS, data)
    selective, also_alike = _found((*CATEGORY_REGIONS, "food"), data)
    return ChosenRegions(
        (*_together(EARLY, early, data), *early, *selective, *_together(CATEGORY_SELECTIVE, selective, data)),
        (*alike, *also_alike),
    )


def figure_8_regions(data: RunData) -> ChosenRegions:
    """Return the eight regions of Figure 8 that have a voxel, and say which the recording lacks, and which have none."""
    from braindiffuser.datasets.rois import FIGURE_8_REGIONS

    masks, alike = own_masks(FIGURE_8_REGIONS, data.known_regions)
    lacking = [name for name in FIGURE_8_REGIONS if name not in masks and not data.known_regions.find_own(name)]
    empty = [name for name, mask in masks.items() if not mask.any()]
    said = [f"The recording has no region {', '.join(lacking)}."] if lacking else []
    said += [f"No chosen voxel lies in {', '.join(empty)}."] if empty else []
    return ChosenRegions(_found(FIGURE_8_REGIONS, data)[0], (*said, *alike))


def _found(names: Sequence[str], data: RunData) -> tuple[tuple[ChosenRegion, ...], tuple[str, ...]]:
    masks, alike = own_masks(names, data.known_regions)
    there = {name: mask for name, mask in masks.items() if mask.any()}
    return tuple(chosen_region(name, name, mask, data.noise_ceiling) for name, mask in there.items()), alike


def _together(name: str, regions: Sequence[ChosenRegion], data: RunData) -> tuple[ChosenRegion, ...]:
    """Return the union of several regions; of one alone, none."""
    if len(regions) < 2:
        return ()
    union = np.logical_or.reduce([region.mask for region in regions])
    return (chosen_region(name, " | ".join(region.name for region in regions), union, data.noise_ceiling),)
