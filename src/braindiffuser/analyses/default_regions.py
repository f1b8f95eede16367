"""Regions that analyses look at where an experiment names none: early and category-selective ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool

from braindiffuser.datasets.region_names import own_name
from braindiffuser.datasets.rois import CATEGORY_REGIONS

Masks: TypeAlias = dict[str, Bool[np.ndarray, " n_voxels"]]
"""Region → mask over the voxels that decoders are fitted to."""

EARLY_REGIONS = ("V1", "V2", "V3", "V4")
EARLY = "early"
"""Name of the early regions together."""
CATEGORY_SELECTIVE_REGIONS = (*CATEGORY_REGIONS, "food")
CATEGORY_SELECTIVE = "category regions"
"""Name of the category-selective regions together."""


def default_regions(rois: Mapping[str, Bool[np.ndarray, " n_voxels"]]) -> Masks:
    """Return early regions together and each, then category-selective ones each and together; those that have a voxel.

    Args:
        rois: region → mask, under the recording's own names.

    >>> voxels = np.eye(3, dtype=bool)
    >>> list(default_regions({"V1": voxels[0], "v-2": voxels[1], "faces": voxels[2], "words": voxels[2] & False}))
    ['early', 'V1', 'V2', 'faces']
    """
    early, selective = _found(EARLY_REGIONS, rois), _found(CATEGORY_SELECTIVE_REGIONS, rois)
    together = {
        name: _union(masks) for name, masks in ((EARLY, early), (CATEGORY_SELECTIVE, selective)) if len(masks) > 1
    }
    ordered: Masks = {EARLY: together[EARLY]} if EARLY in together else {}
    ordered |= early | selective
    return ordered | together


def _found(names: Sequence[str], rois: Mapping[str, Bool[np.ndarray, " n_voxels"]]) -> Masks:
    own = {name: rois[found] for name in names if (found := own_name(name, list(rois)))}
    return {name: mask for name, mask in own.items() if mask.any()}


def _union(masks: Masks) -> Bool[np.ndarray, " n_voxels"]:
    union: Bool[np.ndarray, " n_voxels"] = np.logical_or.reduce(list(masks.values()))
    return union
