"""Volumes: reading masks and label volumes, and making sure that two volumes lie on the same grid."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Float, Int
from nibabel.filebasedimages import ImageFileError

from braindiffuser.arrays import VoxelMask
from braindiffuser.errors import RecordingError, reason


def read_labels(path: Path) -> tuple[Int[np.ndarray, "x y z"], Float[np.ndarray, "4 4"]]:
    """Read a label volume, whatever number type it is stored in.

    Returns:
        Labels rounded to integers (NaN becomes −1), and the affine.

    Raises:
        RecordingError: the file is missing, unreadable or not three-dimensional.
    """
    if not path.is_file():
        raise RecordingError(f"{path} is missing; download it, or name another mask or ROI")
    try:
        image = nib.load(path)
        values = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise RecordingError(f"{path} cannot be read as NIfTI ({reason(error)}); download it again") from error
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise RecordingError(f"{path} has shape {values.shape}; expected one volume (x, y, z)")
    labels = np.rint(np.nan_to_num(values, nan=-1.0)).astype(np.int64)
    return labels, np.asarray(image.affine, dtype=np.float64)


def read_mask(path: Path) -> tuple[VoxelMask, Float[np.ndarray, "4 4"]]:
    """Read an analysis mask: True where the label is above 0.

    Raises:
        RecordingError: as `read_labels`, or no voxel is above 0.
    """
    labels, affine = read_labels(path)
    mask = labels > 0
    if not mask.any():
        raise RecordingError(f"{path} has no voxel above 0, so nothing would be analysed; choose another mask")
    return mask, affine


def check_grid(
    path: Path,
    shape: tuple[int, ...],
    affine: Float[np.ndarray, "4 4"] | None,
    mask_shape: tuple[int, ...],
    mask_affine: Float[np.ndarray, "4 4"],
) -> None:
    """Raise unless a file lies on the grid of the analysis mask.

    Sizes must agree, and the axes and voxel sizes (the affine's 3×3 part) if the file has them: a mirrored mask
    would select wrong voxels without any error. The origin is not compared: several tools write betas with a zero origin.

    Args:
        path: the file, for the message.
        shape: its (x, y, z).
        affine: its affine, None if the format has none.
        mask_shape: the mask's (x, y, z).
        mask_affine: the mask's affine.

    Raises:
        RecordingError: with both grids.
    """
    remedy = "take both from the same subject and space"
    if tuple(shape) != tuple(mask_shape):
        raise RecordingError(
            f"{path} has the grid {tuple(shape)}, but the analysis mask has {tuple(mask_shape)}; {remedy}"
        )
    if affine is not None and not np.allclose(affine[:3, :3], mask_affine[:3, :3], atol=1e-3):
        raise RecordingError(
            f"{path} has the axes {affine[:3, :3].tolist()} mm, but the analysis mask has "
            f"{mask_affine[:3, :3].tolist()} mm; {remedy}, without flipping or resampling one of them"
        )
