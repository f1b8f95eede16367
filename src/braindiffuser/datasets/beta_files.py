"""Betas of one session in NSD's two file formats, reading little more than the analysed voxels.

| format | dataset | axes | order on disk |
|---|---|---|---|
| `.hdf5` | `betas` | (trial, z, y, x), as MATLAB's x × y × z × trial looks from h5py | a chunk is one voxel's trials |
| `.nii.gz`, `.nii` | the volume | (x, y, z, trial) | trial by trial; compressed files read only forward |

Integers are percent signal change × 300; fractional numbers are percent signal change as they stand.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Bool, Float, Int

from braindiffuser.arrays import Betas, VoxelMask
from braindiffuser.datasets.beta_kinds import check_kind
from braindiffuser.datasets.checked_betas import check_finite
from braindiffuser.datasets.reading import reading
from braindiffuser.datasets.volumes import check_grid, open_nifti, read_volumes
from braindiffuser.errors import RecordingError
from braindiffuser.written_chunks import check_written

BETA_SCALE = 300.0
"""What NSD multiplies percent signal change by, to store it as int16."""
SLAB_BYTES = 1 << 25
"""Most bytes of an HDF5 file of betas that are held beside the masked voxels; a row of voxels is read at least."""
SUFFIXES = (".hdf5", ".nii.gz", ".nii")
"""Formats in the order of preference: HDF5 has random access."""


@dataclass(frozen=True, eq=False)
class BetaShape:
    """Header of a beta file: its grid (x, y, z), its number of trials, and its affine if it has one."""

    grid: tuple[int, ...]
    n_trials: int
    affine: Float[np.ndarray, "4 4"] | None


def inspect_betas(path: Path) -> BetaShape:
    """Read the header only.

    Raises:
        RecordingError: the file is unreadable, lacks the dataset `betas`, is not four-dimensional, or does not hold real
            numbers.
    """
    if path.suffix == ".hdf5":
        with _open_hdf5(path) as stored:
            shape, affine = tuple(stored.shape)[::-1], None
    else:
        with open_nifti(path, header_only=True) as file:
            shape, affine = _with_trials(file.shape), file.affine
            check_kind(file.kind, path)
    if len(shape) != 4:
        raise RecordingError(
            f"{path} has {len(shape)} axes; expected four, (x, y, z, trial) or HDF5's (trial, z, y, x)"
        )
    return BetaShape(shape[:3], shape[3], affine)


def inspect_on_grid(
    path: Path, mask_path: Path, grid: tuple[int, ...], affine: Float[np.ndarray, "4 4"] | None
) -> BetaShape:
    """Read the header only, as `inspect_betas`, and compare its grid with that of the analysis mask.

    Raises:
        RecordingError: as `inspect_betas` and `check_grid`.
    """
    stored = inspect_betas(path)
    check_grid(path, stored.grid, stored.affine, mask_path, grid, affine)
    return stored


def read_betas(path: Path, voxel_mask: VoxelMask) -> Betas:
    """Read the betas of the voxels in `voxel_mask`.

    Args:
        path: `.hdf5`, `.nii.gz` or `.nii`, whose grid is the mask's.
        voxel_mask: (x, y, z).

    Returns:
        (n_trials, n_voxels) in percent signal change; voxels in C order of the mask.
        A voxel without data is 0 throughout.

    Raises:
        RecordingError: the file is damaged or cut short, or holds values that are not finite.
    """
    betas = _read_hdf5(path, voxel_mask) if path.suffix == ".hdf5" else read_volumes(path, voxel_mask, _to_percent)
    check_finite(betas, path)
    return betas


def _read_hdf5(path: Path, voxel_mask: VoxelMask) -> Betas:
    """Read slab by slab along z, each cut down to the box around its masked voxels, and to a few rows where it is large."""
    columns = np.full(voxel_mask.shape, -1)
    columns[voxel_mask] = np.arange(np.count_nonzero(voxel_mask))
    with _open_hdf5(path) as stored:
        check_written(stored, path)
        betas = np.empty((stored.shape[0], np.count_nonzero(voxel_mask)), np.float32)
        for z in np.flatnonzero(voxel_mask.any(axis=(0, 1))):
            x, rows = (_span(np.any(voxel_mask[:, :, z], axis=other)) for other in (1, 0))
            n_rows = max(1, SLAB_BYTES // (stored.shape[0] * (x.stop - x.start) * stored.dtype.itemsize))
            for start in range(rows.start, rows.stop, n_rows):
                y = slice(start, min(start + n_rows, rows.stop))
                inside = voxel_mask[x, y, z]
                slab = stored[:, int(z), y, x].transpose(0, 2, 1)
                betas[:, columns[x, y, z][inside]] = _to_percent(slab[:, inside])
    return betas


def _with_trials(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return (x, y, z, trial) of a NIfTI file; a single volume is one trial."""
    return (*shape, 1) if len(shape) == 3 else shape


def _to_percent(stored: Int[np.ndarray, "trials voxels"] | Float[np.ndarray, "trials voxels"]) -> Betas:
    """Return percent signal change: b = stored / 300 for integers, b = stored for fractional numbers."""
    with np.errstate(over="ignore"):  # what overflows is refused by name
        percent = stored.astype(np.float32)
    return percent / np.float32(BETA_SCALE) if np.issubdtype(stored.dtype, np.integer) else percent


@contextmanager
def _open_hdf5(path: Path) -> Iterator[h5py.Dataset]:
    """Open the dataset `betas`; what goes wrong inside is raised as a RecordingError with the file."""
    with reading(path, "HDF5 file of betas"), h5py.File(path, "r") as file:
        stored = file.get("betas")
        if not isinstance(stored, h5py.Dataset):
            raise ValueError(f"it has no dataset betas, but {', '.join(file) or 'nothing'}")
        check_kind(stored.dtype, path)
        yield stored


def _span(occupied: Bool[np.ndarray, " n"]) -> slice:
    where = np.flatnonzero(occupied)
    return slice(int(where[0]), int(where[-1]) + 1)
