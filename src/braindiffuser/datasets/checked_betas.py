"""The one check of a session's betas, whoever read them: real numbers, one row a trial and one column a voxel, all finite."""

from __future__ import annotations

from typing import Any

import numpy as np

from braindiffuser.arrays import Betas
from braindiffuser.errors import RecordingError
from braindiffuser.real_numbers import real_numbers


def checked_betas(read: Any, what: str, shape: tuple[int, int]) -> Betas:
    """Return what a reader gave as betas, in float32.

    Args:
        read: anything.
        what: what messages call it, such as a session and its files.
        shape: expected (trials in the table, voxels in the mask).

    Raises:
        RecordingError: it is no array of real numbers that may lie below 0, has another shape, or is not finite.
    """
    values = real_numbers(read, f"betas of {what} came as", shape, error=RecordingError)
    if values.dtype.kind == "u":
        raise RecordingError(
            f"betas of {what} came as {values.dtype}, which holds nothing below 0, expected int16 or float32: write them again, "
            "counts by astype('int32')"
        )
    with np.errstate(over="ignore"):  # what overflows is refused by name
        betas = values.astype(np.float32, copy=False)
    check_finite(betas, what)
    return betas


def check_finite(betas: Betas, what: object) -> None:
    """Refuse betas that are not finite, with how many voxels and trials they are in.

    Raises:
        RecordingError: names the file, or whatever else they come from.
    """
    broken = ~np.isfinite(betas)
    trials, voxels = np.flatnonzero(broken.any(axis=1)), np.flatnonzero(broken.any(axis=0))
    if len(trials):
        remedy = (
            "write them again"
            if len(voxels) > len(trials)
            else "take these voxels out of the mask, or write 0 where a voxel has no data"
        )
        raise RecordingError(
            f"{what} has NaN or infinite betas in {len(voxels)} of {betas.shape[1]} analysed voxels, in {len(trials)} of "
            f"{len(betas)} trials (first: trial {trials[0]}, counted from 0): {remedy}"
        )


def without_data(betas: Betas) -> Betas:
    """Write 0, which stands for "no data", where a voxel is NaN in all trials of a session; other NaN stay."""
    candidates = np.flatnonzero(np.isnan(betas[0]))  # a few voxels, of which no whole copy is made
    betas[:, candidates[np.isnan(betas[:, candidates]).all(axis=0)]] = 0
    return betas
