"""Regions in files of their own, one file each: a volume, an array, or a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Shaped

from braindiffuser.arrays import VoxelMask
from braindiffuser.datasets.array_files import SUFFIXES, ArrayFile, split_key
from braindiffuser.datasets.reading import read_text
from braindiffuser.datasets.volumes import check_grid, read_labels, value_doubts
from braindiffuser.errors import RecordingError

VOLUMES = (".nii", ".nii.gz")
TEXT = ".txt"

Region: TypeAlias = tuple[Bool[np.ndarray, " n_voxels"], tuple[str, ...]]
"""Which voxels belong to a region, and a sentence on its values if they are odd."""
F = TypeVar("F")


class Place(NamedTuple):
    """Where the analysed voxels lie: file of the mask, mask (x, y, z) and affine."""

    path: Path
    mask: VoxelMask
    affine: Float[np.ndarray, "4 4"] | None


def read_each(
    files: Mapping[str, F], read: Callable[[F], Region], entry: str = "dataset.rois"
) -> tuple[dict[str, Bool[np.ndarray, " n_voxels"]], tuple[str, ...]]:
    """Read regions, and say what is odd of any.

    Args:
        files: region → its file.
        read: reads one.
        entry: that names the files, for the message.

    Raises:
        RecordingError: files are missing or do not fit; one message on all of them.
    """
    found, odd, faults = {}, list[str](), dict[str, RecordingError]()
    for name, file in files.items():
        try:
            found[name], said = read(file)
            odd += said
        except RecordingError as error:
            faults[name] = error
    if len(faults) > 1:
        each = "; ".join(f"{name}: {fault}" for name, fault in faults.items())
        raise RecordingError(f"{entry} names {len(faults)} files that cannot be used: {each}")
    for name, fault in faults.items():
        raise RecordingError(f"{fault} ({entry}.{name})") from fault
    return found, tuple(odd)


def region_in_volume(path: Path, place: Place | None) -> Region:
    """Read a region of a NIfTI file on the grid of the analysis mask: voxels above 0 belong to it.

    Raises:
        RecordingError: it is missing or damaged, holds fractions, or lies on another grid, or there is no mask.
    """
    if place is None:
        raise RecordingError(
            f"{path} is a region, but no mask says where voxels lie: write mask: FILE, or leave it out of rois"
        )
    labels, own = read_labels(path)
    check_grid(path, labels.shape, own, place.path, place.mask.shape, place.affine)
    return labels[place.mask] > 0, value_doubts(labels, path)


def read_region(entry: str, shape: Sequence[int], place: Place | None) -> Region:
    """Read a region of a volume, an array or a text.

    Args:
        entry: NIfTI file on the grid of the mask; or array (`file` or `file:key`), or .txt file of 0 and 1 separated by spaces or
            lines, with one value per column of the betas, or per channel, or per voxel of the mask's grid.
        shape: of the betas of one trial.
        place: of the voxels, if it is known.

    Raises:
        RecordingError: the file is missing or damaged, of another kind, or does not fit.
    """
    path = Path(entry)
    if entry.lower().endswith(VOLUMES):
        return region_in_volume(path, place)
    values = _read_numbers(path) if path.suffix.lower() == TEXT else _read_array(entry)
    if place is not None and values.shape == place.mask.shape:
        values = values[place.mask]
    return region_of(values, shape, entry), ()


def _read_array(entry: str) -> Shaped[np.ndarray, ...]:
    path = split_key(entry)[0]
    if path.suffix.lower() not in SUFFIXES:
        kinds = ", ".join((*VOLUMES, *SUFFIXES, TEXT))
        raise RecordingError(f"{entry} is no region: expected a file that ends in {kinds}")
    if not path.exists():
        raise RecordingError(f"{path} is missing; expected 0 or 1 for each column of the betas")
    file = ArrayFile.open(entry)
    file.check_written()
    return file.rows(np.arange(file.shape[0]))


def _read_numbers(path: Path) -> Float[np.ndarray, " n"]:
    if not path.is_file():
        raise RecordingError(f"{path} is missing; expected a text of 0 and 1")
    words = read_text(path, "text of 0 and 1").split()
    try:
        return np.array([float(word) for word in words])
    except ValueError as error:
        odd = next(word for word in words if not word.replace(".", "", 1).isdecimal())
        raise RecordingError(
            f"{path} holds {odd[:40]!r}; expected 0 and 1 alone, separated by spaces or lines"
        ) from error


def _indices_hint(values: Shaped[np.ndarray, ...]) -> str:
    """Say how places of voxels become truth values, if a region looks like such a list."""
    is_list = values.ndim == 1 and values.dtype.kind in "iu" and len(np.unique(values)) == len(values) > 1
    return ": if these are numbers of columns, write np.isin(np.arange(n_columns), them)" if is_list else ""


def region_of(values: Shaped[np.ndarray, ...], shape: Sequence[int], what: str) -> Bool[np.ndarray, " n_voxels"]:
    """Return a region as one truth value per column of the betas.

    Args:
        values: 0 or 1, for each column, or for the first axes of a trial, such as each channel.
        shape: of the betas of one trial.
        what: region and where it comes from, for the message.

    Raises:
        RecordingError: it has another shape, or other values.
    """
    size = int(np.prod(shape))
    if values.shape in ((size,), tuple(shape)):
        whole = values.ravel()
    elif values.shape == tuple(shape)[: values.ndim]:  # of channels, say, for all time points
        whole = np.repeat(values.ravel(), size // values.size)
    else:
        whole = np.full(size, np.nan)
    if np.isnan(whole).all():
        raise RecordingError(
            f"{what} is {values.dtype} {values.shape}; expected 0 or 1 for each of the betas' columns, {tuple(shape)}"
            f"{_indices_hint(values)}"
        )
    odd = whole[~np.isin(whole, (0, 1))]
    if odd.size:
        raise RecordingError(
            f"{what} holds {odd[0]}, and other such values in {odd.size - 1:,} more places; expected 0 and 1 alone"
        )
    return whole.astype(bool)
