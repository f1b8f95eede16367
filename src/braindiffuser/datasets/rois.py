"""Regions of interest: the regions that Brain-Diffuser maximises, cut out of NSD's label volumes.

In a label volume −1 is "not cortex", 0 is "cortex without label" and k ≥ 1 is label k; hemispheres share label numbers.
Masks come back relative to the analysed voxels: (n_voxels,), in the C order of the analysis mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from braindiffuser.arrays import VoxelMask
from braindiffuser.datasets.reading import read_text
from braindiffuser.datasets.region_names import own_name
from braindiffuser.datasets.volumes import check_grid, read_labels, value_doubts
from braindiffuser.errors import RecordingError

LABELS: Mapping[str, Mapping[int, str]] = {
    "prf-visualrois": {1: "V1v", 2: "V1d", 3: "V2v", 4: "V2d", 5: "V3v", 6: "V3d", 7: "hV4"},
    "prf-eccrois": {1: "ecc0pt5", 2: "ecc1", 3: "ecc2", 4: "ecc4", 5: "ecc4+"},
    "floc-faces": {1: "OFA", 2: "FFA-1", 3: "FFA-2", 4: "mTL-faces", 5: "aTL-faces"},
    "floc-words": {1: "OWFA", 2: "VWFA-1", 3: "VWFA-2", 4: "mfs-words", 5: "mTL-words"},
    "floc-places": {1: "OPA", 2: "PPA", 3: "RSC"},
    "floc-bodies": {1: "EBA", 2: "FBA-1", 3: "FBA-2", 4: "mTL-bodies"},
}
"""Label names of NSD's collections, for recordings without `.ctab` files."""

RETINOTOPIC_REGIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "V1": ("prf-visualrois", ("V1v", "V1d")),
    "V2": ("prf-visualrois", ("V2v", "V2d")),
    "V3": ("prf-visualrois", ("V3v", "V3d")),
    "V4": ("prf-visualrois", ("hV4",)),
    "ecc_0.5": ("prf-eccrois", ("ecc0pt5",)),
    "ecc_1": ("prf-eccrois", ("ecc1",)),
    "ecc_2": ("prf-eccrois", ("ecc2",)),
    "ecc_4": ("prf-eccrois", ("ecc4",)),
    "ecc_4+": ("prf-eccrois", ("ecc4+",)),
}
"""Region → (collection, its labels). Eccentricity bands end at 0.5°, 1°, 2° and 4°; the last has no end."""

EARLY_REGIONS = ("V1", "V2", "V3", "V4")
"""Early visual regions."""

CATEGORY_REGIONS = ("faces", "words", "places", "bodies")
"""Regions made of all labels ≥ 1 of `floc-<region>`."""

MAXIMISED_REGIONS = (*CATEGORY_REGIONS, *RETINOTOPIC_REGIONS)
"""The 13 regions of Brain-Diffuser's ROI maximisation (Figs. 9 and 11)."""

FIGURE_8_REGIONS = (*EARLY_REGIONS, *CATEGORY_REGIONS)
"""The eight regions of Brain-Diffuser's Fig. 8."""

PUBLISHED_UNIONS = ("V1-V4", *(f"V1-V4 | {category}" for category in CATEGORY_REGIONS))
"""The unions of regions of Brain-Diffuser's Fig. 10, as expressions."""

PUBLISHED = ("prf-visualrois", "prf-eccrois", "floc-")
"""Beginnings of the names of the volumes that these regions are made of."""
SUFFIX = ".nii.gz"
MOST_DIGITS = 10
"""Digits of a label's number."""
MOST_LABELS = 30
"""Labels of a collection without a table, at most; NSD's have up to seven."""


def read_label_table(path: Path) -> dict[int, str]:
    """Read a FreeSurfer `.ctab`: lines `number name …`, separated by whitespace; label 0 and below are left out.

    Raises:
        RecordingError: it cannot be read, or a number is too long for a label.
    """
    rows = [line.split() for line in read_text(path, "FreeSurfer table of labels").splitlines()]
    named = [row for row in rows if len(row) > 1 and row[0].isdecimal()]
    long = [row[0] for row in named if len(row[0]) > MOST_DIGITS]
    if long:
        raise RecordingError(
            f"{path} has a label of {len(long[0])} digits, {long[0]:.20}: write the numbers that the volume holds"
        )
    return {int(number): name for number, name, *_ in named if int(number) > 0}


def read_roi_masks(
    folder: Path,
    mask_path: Path,
    voxel_mask: VoxelMask,
    affine: Float[np.ndarray, "4 4"] | None,
    tables: Path | None = None,
) -> tuple[dict[str, Bool[np.ndarray, " n_voxels"]], tuple[str, ...], tuple[str, ...]]:
    """Read the published regions: V1–V4, five eccentricity bands, and one region per `floc-*` volume.

    Args:
        folder: holds `<collection>.nii.gz`.
        mask_path: file of the analysis mask, for messages.
        voxel_mask: the analysed voxels, on the grid of the volumes.
        affine: of `voxel_mask`.
        tables: folder of `.ctab` files, if any.

    Returns:
        Region → mask, the names of the regions that have no file, and a sentence for each volume whose values are no labels.

    Raises:
        RecordingError: a volume is unreadable or on another grid.
    """
    labels = {
        path.name.removesuffix(SUFFIX): _labels_within(path, mask_path, voxel_mask, affine)
        for path in sorted(folder.glob(f"*{SUFFIX}"))
        if path.name.startswith(PUBLISHED)
    }
    masks = {
        region: np.isin(labels[collection], _numbers_of(names, collection, tables))
        for region, (collection, names) in RETINOTOPIC_REGIONS.items()
        if collection in labels
    }
    masks |= {name.removeprefix("floc-"): labels[name] > 0 for name in labels if name.startswith("floc-")}
    missing = tuple(region for region in (*RETINOTOPIC_REGIONS, *CATEGORY_REGIONS) if region not in masks)
    said = (value_doubts(own, folder / f"{name}{SUFFIX}", _known_numbers(name, tables)) for name, own in labels.items())
    return masks, missing, tuple(sentence for own in said for sentence in own)


def _numbers_of(names: tuple[str, ...], collection: str, tables: Path | None) -> list[int]:
    """Look label names up in the collection's table; a name that the table lacks keeps its built-in number."""
    built_in, own = {name: number for number, name in LABELS[collection].items()}, _own_labels(collection, tables)
    meant = {name: own_name(name, own) for name in names}
    return [own[found] if found is not None else built_in[name] for name, found in meant.items()]


def _known_numbers(collection: str, tables: Path | None) -> set[int]:
    """Return the numbers that labels of a collection may have; without a table, all that are small."""
    listed = {*LABELS.get(collection, {}), *_own_labels(collection, tables).values()}
    return listed or set(range(1, MOST_LABELS + 1))


def _own_labels(collection: str, tables: Path | None) -> dict[str, int]:
    """Read the numbers of a collection's labels by name, {} if it has no table."""
    path = None if tables is None else tables / f"{collection}.mgz.ctab"
    found = read_label_table(path) if path is not None and path.is_file() else {}
    return {name: number for number, name in found.items()}


def _labels_within(
    path: Path, mask_path: Path, voxel_mask: VoxelMask, affine: Float[np.ndarray, "4 4"] | None
) -> Int[np.ndarray, " n_voxels"]:
    labels, labels_affine = read_labels(path)
    check_grid(path, labels.shape, labels_affine, mask_path, voxel_mask.shape, affine)
    within: Int[np.ndarray, " n_voxels"] = labels[voxel_mask]
    return within
