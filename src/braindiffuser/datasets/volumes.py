"""Volumes: opening NIfTI files, reading masks and label volumes, and making sure that two volumes lie on the same grid."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Float, Float32, Int, Shaped
from nibabel.arrayproxy import ArrayProxy

from braindiffuser.arrays import Betas, VoxelMask
from braindiffuser.datasets.beta_kinds import check_kind
from braindiffuser.datasets.reading import reading
from braindiffuser.errors import RecordingError

FRACTION = 1e-3
"""How far a label may lie from a whole number, as rounding of a stored number."""
HALF_VOXEL = 0.5
"""Largest shift of one grid against another, in voxels; a larger one selects other voxels."""
MOST_PARTS = 20
"""Whole numbers 1, 2, … up to which are taken for labels of a mask's parts, and not for percent."""
VALUES_SHOWN = 4
"""Values of a mask that are listed, before the largest."""
PADDING = 4096
"""Zeros that may follow the data of a NIfTI file, in bytes."""
VOLUMES_PER_BLOCK = 16
"""Trials of a NIfTI file that are held as whole volumes at a time."""
_GZIP_LIMIT = 1040
"""Gzip makes nothing smaller by more than this factor."""


@dataclass(frozen=True, eq=False)
class NiftiFile:
    """An open NIfTI file.

    Attributes:
        shape: of its array, (x, y, z) or (x, y, z, trial); further axes of length 1 are left out.
        affine: voxel coordinates to millimetres; None if the file does not say how it is oriented.
        data: values, read when a slice is taken; slices of a compressed file must be taken in ascending order.
    """

    shape: tuple[int, ...]
    affine: Float[np.ndarray, "4 4"] | None
    data: ArrayProxy

    @property
    def kind(self) -> np.dtype[Any]:
        """Type of the values, scaled by the header."""
        return self.data.dtype if (self.data.slope, self.data.inter) == (1, 0) else np.dtype(np.float64)


@contextmanager
def open_nifti(path: Path, header_only: bool = False) -> Iterator[NiftiFile]:
    """Open a NIfTI file; at the end, the rest of a compressed one is read, since its checksum is its last entry.

    Args:
        path: `.nii` or `.nii.gz`.
        header_only: whether nothing but the header is needed, so that the rest is not read.

    Raises:
        RecordingError: the file is missing, cannot be read, is damaged, or is longer or shorter than its header says.
    """
    with reading(path, "NIfTI file"):
        image = nib.load(path)
        stored = image.dataobj
        if stored.dtype.kind not in "iuf":
            raise ValueError(f"it holds {stored.dtype}, expected real numbers")
        end = stored.offset + stored.dtype.itemsize * _count(image.shape)
        size, packed = path.stat().st_size, path.name.endswith(".gz")
        if end > (size * _GZIP_LIMIT if packed else size):
            raise ValueError(f"its header tells of {end:,} bytes, more than it can hold")
        layout = image.shape, stored.dtype, stored.offset, stored.slope, stored.inter
        with gzip.open(path) if packed else path.open("rb") as stream:
            shape = *image.shape[:3], *(side for side in image.shape[3:] if side > 1)
            yield NiftiFile(shape, affine_of(image), ArrayProxy(stream, layout, mmap=False).reshape(shape))
            if not header_only:
                _read_to_end(stream, end)


def as_float32(stored: Shaped[np.ndarray, "n n_voxels"]) -> Float32[np.ndarray, "n n_voxels"]:
    """Convert values to float32; what is too large for it becomes infinite."""
    with np.errstate(over="ignore"):
        return stored.astype(np.float32)


def read_volumes(
    path: Path,
    voxel_mask: VoxelMask,
    convert: Callable[[Shaped[np.ndarray, "n n_voxels"]], Float32[np.ndarray, "n n_voxels"]] = as_float32,
    volumes: Int[np.ndarray, " n"] | None = None,
) -> Betas:
    """Read the masked voxels of a NIfTI file with one volume per trial.

    A few volumes are in memory at a time, and they are read forward only, so nothing is decompressed twice.

    Args:
        path: `.nii` or `.nii.gz`, whose grid is the mask's; a file of one volume has one trial.
        voxel_mask: (x, y, z).
        convert: values as stored (scaled by the header) → betas.
        volumes: numbers of the volumes to read, from 0, each once, in the order wanted; None reads all.

    Returns:
        (n_trials, n_voxels), voxels in C order of the mask; values may be NaN.

    Raises:
        RecordingError: the file is missing, damaged or cut short, lies on another grid, or has no such volume.
    """
    places = np.ravel_multi_index(np.nonzero(voxel_mask), voxel_mask.shape, order="F")  # as NIfTI stores a volume
    with open_nifti(path) as file:
        if file.shape[:3] != voxel_mask.shape or len(file.shape) > 4:
            raise RecordingError(f"{path} has shape {file.shape}; expected {voxel_mask.shape}, volume by volume")
        check_kind(file.kind, path)
        n_stored = file.shape[3] if len(file.shape) > 3 else 1
        data = file.data.reshape((*voxel_mask.shape, n_stored))
        wanted = np.arange(n_stored) if volumes is None else volumes
        order = np.argsort(wanted)
        if len(wanted) and wanted[order[-1]] >= n_stored:
            raise RecordingError(
                f"{path} has {n_stored} volumes, so none with number {wanted[order[-1]]}, counted from 0"
            )
        betas = np.empty((len(wanted), len(places)), np.float32)
        for start in range(0, n_stored, VOLUMES_PER_BLOCK):
            first, last = np.searchsorted(wanted, [start, start + VOLUMES_PER_BLOCK], sorter=order)
            rows = order[first:last]
            if len(rows):
                block = np.asanyarray(data[..., start : start + VOLUMES_PER_BLOCK])
                within = [block[..., wanted[row] - start].ravel(order="F")[places] for row in rows]
                betas[rows] = convert(np.stack(within))
    return betas


def _read_to_end(stream: io.BufferedIOBase, end: int) -> None:
    """Read what is left of a file whose header tells of `end` bytes; a few zeros may follow."""
    place, longer = stream.tell(), 0
    while block := stream.read(1 << 20):
        place += len(block)
        beyond = block[max(0, len(block) - max(0, place - end)) :]
        longer += len(beyond) if beyond.strip(b"\0") else 0
    if longer or place - end > PADDING:
        raise ValueError(f"it holds {place - end:,} bytes more than its header tells of")


def affine_of(image: nib.Nifti1Image) -> Float[np.ndarray, "4 4"] | None:
    """Return the affine of an image; None if it does not say how it is oriented."""
    if not (image.header["sform_code"] > 0 or image.header["qform_code"] > 0):
        return None
    affine = np.asarray(image.affine, dtype=np.float64)
    if not (np.isfinite(affine).all() and np.linalg.det(affine)):
        raise ValueError(f"its affine is no invertible matrix: {affine[:3].tolist()}")
    return affine


def _count(shape: tuple[int, ...]) -> int:
    n = 1
    for side in shape:
        if side < 1:
            raise ValueError(f"its shape is {shape}")
        n *= int(side)
    return n


def read_labels(path: Path) -> tuple[Int[np.ndarray, "x y z"], Float[np.ndarray, "4 4"] | None]:
    """Read a label volume, whatever number type it is stored in.

    Returns:
        Labels as integers (NaN becomes −1), and the affine; None if the file does not say how it is oriented.

    Raises:
        RecordingError: the file is missing, unreadable, not three-dimensional, or holds fractions, as resampling makes.
    """
    values, affine = read_values(path)
    return as_labels(values, path), affine


def as_labels(values: Shaped[np.ndarray, "x y z"], path: object) -> Int[np.ndarray, "x y z"]:
    """Return labels as integers; errors as in `read_labels`, which name `path`."""
    known = np.where(np.isnan(values), -1.0, values)
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        broken = ~(np.abs(known - np.rint(known)) <= FRACTION) | (np.abs(known) > np.iinfo(np.int32).max)
    if broken.any():
        raise RecordingError(
            f"{path} holds numbers that are no labels in {int(broken.sum()):,} voxels, such as {known[broken][0]:.4g}: "
            "expected whole numbers; resample with nearest neighbours, or choose a threshold and save 0 and 1"
        )
    return np.rint(known).astype(np.int64)


def read_values(path: Path) -> tuple[Shaped[np.ndarray, "x y z"], Float[np.ndarray, "4 4"] | None]:
    """Read one volume as it is stored, such as a map of R², and the affine; None if the file does not say how it is oriented.

    Raises:
        RecordingError: the file is missing, unreadable or not three-dimensional.
    """
    if not path.is_file():
        raise RecordingError(f"{path} is missing; download it, or name another mask or ROI")
    with open_nifti(path) as file:
        values = np.asanyarray(file.data)
    if values.ndim != 3:
        raise RecordingError(f"{path} has shape {values.shape}; expected one volume (x, y, z)")
    return values, file.affine


def read_mask(path: Path) -> tuple[VoxelMask, Float[np.ndarray, "4 4"] | None]:
    """Read an analysis mask: True where the label is above 0.

    Raises:
        RecordingError: as `read_labels`, or no voxel is above 0.
    """
    labels, affine = read_labels(path)
    mask = labels > 0
    if not mask.any():
        raise RecordingError(f"{path} has no voxel above 0, so nothing would be analysed; choose another mask")
    return mask, affine


def mask_doubts(path: Path | None) -> tuple[str, ...]:
    """Say which values count in a mask that `read_mask` reads, if they are not 0 and 1 alone; () without a mask."""
    return () if path is None else value_doubts(read_labels(path)[0], path)


def value_doubts(labels: Int[np.ndarray, ...], path: object, known: Collection[int] | None = None) -> tuple[str, ...]:
    """Say which values of a mask or a label volume look like probabilities, such as percent.

    Args:
        labels: values of the volume.
        path: its file.
        known: labels that it may have; None: it is a mask, in which 1, or 255 alone, is usual.
    """
    values = np.unique(labels[labels > 0]).tolist()
    usual = known or ({255} if values == [255] else {1})
    if set(values) <= set(usual):
        return ()
    name = path.name if isinstance(path, Path) else path
    if known is None and values == list(range(1, len(values) + 1)) and len(values) <= MOST_PARTS:
        return (f"{name} holds the labels 1 to {len(values)}, and every value above 0 counts.",)
    odd = [value for value in values if known is None or value not in usual]
    shown = ", ".join(map(str, odd[:VALUES_SHOWN])) + (f" … {odd[-1]}" if len(odd) > VALUES_SHOWN else "")
    what = "and every value above 0 counts" if known is None else f"though its labels are {min(usual)} to {max(usual)}"
    return (
        f"{name} holds {'the value' if len(odd) == 1 else 'the values'} {shown}, {what}: if they are percent or levels of grey, "
        "choose a threshold and save 0 and 1.",
    )


def check_grid(
    path: object,
    shape: tuple[int, ...],
    affine: Float[np.ndarray, "4 4"] | None,
    mask_path: object,
    mask_shape: tuple[int, ...],
    mask_affine: Float[np.ndarray, "4 4"] | None,
) -> None:
    """Raise unless a file lies on the grid of the analysis mask.

    Sizes must agree, and, where both files have them, the axes and voxel sizes (the affine's 3×3 part) and the origin: a
    mirrored or shifted mask would select wrong voxels without any error. An origin of exactly 0 counts as not known, since
    several tools write it.

    Args:
        path: the file, for the message.
        shape: its (x, y, z).
        affine: its affine, None if it has none.
        mask_path: the mask's file, for the message.
        mask_shape: its (x, y, z).
        mask_affine: its affine, None if it has none.

    Raises:
        RecordingError: with both grids.
    """
    remedy = "take both from the same subject and space"
    if tuple(shape) != tuple(mask_shape):
        raise RecordingError(
            f"{path} has the grid {tuple(shape)}, but the analysis mask {mask_path} has {tuple(mask_shape)}; {remedy}"
        )
    if affine is None or mask_affine is None:
        return
    if not np.allclose(affine[:3, :3], mask_affine[:3, :3], atol=1e-3):
        axes, mask_axes = (np.round(matrix[:3, :3], 3).tolist() for matrix in (affine, mask_affine))
        raise RecordingError(
            f"{path} has the axes {axes} mm, but the analysis mask {mask_path} has {mask_axes} mm; {remedy}, without flipping or "
            "resampling one of them"
        )
    origins = affine[:3, 3], mask_affine[:3, 3]
    shift = np.linalg.solve(mask_affine[:3, :3], origins[0] - origins[1])
    if all(origin.any() for origin in origins) and np.abs(shift).max() > HALF_VOXEL:
        raise RecordingError(
            f"{path} is shifted against the analysis mask {mask_path} by {np.round(shift, 2).tolist()} voxels (origins "
            f"{np.round(origins[0], 3).tolist()} and {np.round(origins[1], 3).tolist()} mm); {remedy}"
        )
