"""Masks, regions and noise ceilings of LAION-fMRI."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from braindiffuser.arrays import VoxelMask
from braindiffuser.datasets.laion_files import BUCKET, LaionFiles
from braindiffuser.datasets.noise_ceiling import ncsnr_of
from braindiffuser.datasets.reading import reading
from braindiffuser.datasets.region_names import own_name
from braindiffuser.datasets.roi_aliases import united
from braindiffuser.datasets.volumes import check_grid, mask_doubts, read_labels, read_mask, read_values, value_doubts
from braindiffuser.errors import RecordingError
from braindiffuser.plain_data import read_json

UNITED: Mapping[str, tuple[str, ...]] = {
    "V1": ("V1v", "V1d"),
    "V2": ("V2v", "V2d"),
    "V3": ("V3v", "V3d"),
    "V4": ("hV4",),
    "LOC": ("lobjects", "vobjects"),
}
"""Region → the regions that it is made of, by their names without hyphens."""
CATEGORIES: Mapping[str, str] = {"faces": "face", "words": "character", "places": "place", "bodies": "body"}
"""Region → the folder whose regions it is made of."""


class AnalysisMask(NamedTuple):
    """The analysed voxels: file, mask (x, y, z), affine, and what is to be said of them."""

    path: Path
    voxels: VoxelMask
    affine: Float[np.ndarray, "4 4"] | None
    remarks: tuple[str, ...] = ()


def mask_path(files: LaionFiles, mask: str) -> Path:
    """Return the file of a mask by its name, or the file that is named.

    Raises:
        RecordingError: there is no mask of that name.
    """
    if mask.endswith((".nii", ".nii.gz")):
        return Path(mask)
    named = {"R2mean": files.r2mean, "anatomical": files.anatomical}
    if mask not in named:
        raise RecordingError(
            f"dataset.mask is {mask!r}; expected {', '.join(named)}, or a NIfTI file that ends in .nii or .nii.gz"
        )
    return named[mask]


def open_mask(files: LaionFiles, mask: str) -> AnalysisMask:
    """Read the analysis mask: R2mean where it is above 0, the anatomical mask, or a file.

    Raises:
        RecordingError: the file is missing or damaged, or no voxel is above 0.
    """
    path = mask_path(files, mask)
    if not path.is_file():
        where = BUCKET if mask in ("R2mean", "anatomical") else "check its name"
        raise RecordingError(f"{path} is missing; dataset.mask names it (R2mean, anatomical, or a NIfTI file): {where}")
    if mask != "R2mean":
        said = _without_fit(files, path) if mask == "anatomical" else ()
        return AnalysisMask(path, *read_mask(path), (*said, *mask_doubts(path)))
    voxels, affine = _fitted(path)
    if not voxels.any():
        raise RecordingError(f"{path} has no voxel above 0, so nothing would be analysed: download it again")
    return AnalysisMask(path, voxels, affine)


def _fitted(path: Path) -> tuple[VoxelMask, Float[np.ndarray, "4 4"] | None]:
    values, affine = read_values(path)
    return np.nan_to_num(values, nan=0.0) > 0, affine


def _without_fit(files: LaionFiles, path: Path) -> tuple[str, ...]:
    """Count the voxels of the anatomical mask without a fit, where the map of R² is there."""
    if not files.r2mean.is_file():
        return ()
    (voxels, affine), (fitted, own) = read_mask(path), _fitted(files.r2mean)
    check_grid(files.r2mean, fitted.shape, own, path, voxels.shape, affine)
    n = int((voxels & ~fitted).sum())
    said = f"{n:,} of {int(voxels.sum()):,} voxels of the anatomical mask have no fit (R2mean is not above 0)."
    return (said,) if n else ()


def region_files(files: LaionFiles) -> list[Path]:
    """Return the files of the regions on the grid of the betas, sorted; finer grids and surfaces are left out."""
    pattern = f"*/{files.subject}_space-T1w_res-1pt8_label-*_mask.nii*"
    return sorted(path for path in files.regions_folder.glob(pattern) if path.name.endswith((".nii", ".nii.gz")))


class Regions(NamedTuple):
    """Regions by name, relative to the analysed voxels; names of those without a file; what is to be said of them."""

    masks: dict[str, Bool[np.ndarray, " n_voxels"]]
    missing: tuple[str, ...]
    remarks: tuple[str, ...]


def read_regions(files: LaionFiles, mask: AnalysisMask) -> Regions:
    """Read all regions on the grid of the betas, and unite those that ROI maximisation asks for.

    Regions have their files' names without hyphens: `label-FFA-1` and `label-FFA1` are both FFA1. V1, V2, V3, V4 and LOC are
    united from their parts; faces, words, places and bodies are all regions of a category. `Dataset.roi_aliases` replaces any of
    them.

    Raises:
        RecordingError: a file is damaged, lies on another grid, or two files of one name differ.
    """
    own: dict[str, Bool[np.ndarray, " n_voxels"]] = {}
    by_category: dict[str, list[str]] = {}
    odd: list[str] = []
    for path in region_files(files):
        name = _label_of(path)
        labels, affine = read_labels(path)
        check_grid(path, labels.shape, affine, mask.path, mask.voxels.shape, mask.affine)
        inside = labels[mask.voxels] > 0
        if name in own and not np.array_equal(own[name], inside):
            raise RecordingError(f"{path} differs from another file of the region {name}: keep one of them")
        own[name] = inside
        odd += value_doubts(labels, path)
        by_category.setdefault(path.parent.name, []).append(name)
    parts = {name: [found for part in wanted if (found := own_name(part, own))] for name, wanted in UNITED.items()}
    parts |= {name: by_category.get(folder, []) for name, folder in CATEGORIES.items()}
    said = [
        f"{name} is {' and '.join(parts[name])} alone, since there is no file of its other part."
        for name, wanted in UNITED.items()
        if 0 < len(parts[name]) < len(wanted) and name not in own
    ]
    masks = united(own, parts) | own
    return Regions(masks, tuple(name for name in parts if name not in masks), (*said, *odd))


def _label_of(path: Path) -> str:
    """Return the name of a region, without hyphens."""
    return path.name.partition("_label-")[2].rpartition("_mask.nii")[0].replace("-", "")


def read_ceilings(
    files: LaionFiles, name: str, mask: AnalysisMask, trials: pd.DataFrame
) -> tuple[Float[np.ndarray, " n_voxels"], str]:
    """Read one of the recording's maps of noise ceilings.

    Args:
        files: of the subject.
        name: 4rep and 12rep are of the pictures with that many trials; Allrep is of all.
        mask: the analysed voxels.
        trials: `Recording.trials`, for Allrep.

    Returns:
        ncsnr of each voxel, and a sentence that says how the map was read: shares if no value is above 1, else percent.

    Raises:
        RecordingError: the map is missing, lies on another grid, or holds values that are no ceilings.
    """
    path = files.ceilings(name)
    if not path.is_file():
        raise RecordingError(f"{path} is missing; dataset.ceilings names it: {BUCKET}, or write `ceilings: null`")
    values, affine = read_values(path)
    check_grid(path, values.shape, affine, mask.path, mask.voxels.shape, mask.affine)
    ceilings = values[mask.voxels].astype(np.float64)
    known = ceilings[~np.isnan(ceilings)]
    if not known.size or known.min() < 0 or known.max() > 100:
        found = f"{known.min():.3g} to {known.max():.3g}" if known.size else "only NaN"
        raise RecordingError(
            f"{path} holds {found} in the analysed voxels; expected noise ceilings, 0 to 100 or 0 to 1"
        )
    is_share = known.max() <= 1
    unit = "shares (0 to 1)" if is_share else "percent (0 to 100)"
    said = (
        f"Noise ceilings are those that come with the recording ({path.name}): they run from {known.min():.3g} to "
        f"{known.max():.3g}, so they are read as {unit}."
    )
    return ncsnr_of(ceilings * 100 if is_share else ceilings, _repeats(path, name, trials)), said


def _repeats(path: Path, name: str, trials: pd.DataFrame) -> Int[np.ndarray, " n_stimuli"]:
    """Return the number of trials of the pictures that a map was computed from."""
    if name != "Allrep":
        return np.array([int(name.removesuffix("rep"))])
    beside = Path(re.sub(r"\.nii(\.gz)?$", ".json", str(path)))
    if beside.is_file():
        with reading(beside, "JSON file"):
            sources = " ".join(map(str, read_json(beside).get("Sources", ())))
        computed, read = {int(number) for number in re.findall(r"_ses-(\d+)_", sources)}, set(trials["session"])
        if computed and computed != read:
            raise RecordingError(
                f"{path} was computed from {len(computed)} sessions, but {len(read)} are read, so the repeats behind it are not "
                "known: read the same sessions, or take `ceilings: 12rep` or 4rep"
            )
    return trials["stimulus_id"].value_counts().to_numpy()
