"""What GLMsingle's DESIGNINFO says twice: the order of conditions, and the design matrices that it was made of.

GLMsingle lists the trials of a run row by row of its design matrix (time × conditions), and within a row in order of conditions.
A condition's number in `stimorder` is its column, counted from 0 in Python and from 1 in MATLAB.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Int, Shaped

from braindiffuser.errors import RecordingError

_REMEDY = "take the DESIGNINFO that was written with these betas"


def check_against_matrices(
    order: Int[np.ndarray, " n_trials"],
    per_run: Int[np.ndarray, " n_runs"],
    entries: Mapping[str, Any],
    first: int,
    path: Path,
) -> None:
    """Compare `stimorder` with `design` and `condcounts`, each where it is there in GLMsingle's own shape.

    Args:
        order: condition of each trial.
        per_run: number of trials of each run.
        entries: of DESIGNINFO; `design` is a list of matrices (time, conditions), one per run.
        first: number of the first condition, 0 or 1.
        path: of DESIGNINFO, for messages.

    Raises:
        RecordingError: they contradict each other.
    """
    matrices = _matrices(entries.get("design"))
    if len(matrices) == len(per_run):
        starts = np.cumsum(per_run) - per_run
        for run, (matrix, start, n) in enumerate(zip(matrices, starts, per_run, strict=True), start=1):
            _check_run(order[start : start + n] - first, matrix, run, first, path)
    counts = _numbers(entries.get("condcounts"))
    if counts is not None and counts.size:
        _check_counts(order - first, counts, first, path)


def _check_run(
    own: Int[np.ndarray, " n"], matrix: Shaped[np.ndarray, "times conditions"], run: int, first: int, path: Path
) -> None:
    """Compare the trials of a run, whose conditions count from 0, with its onsets."""
    rows, columns = np.nonzero(matrix)
    if len(columns) != len(own):
        raise RecordingError(
            f"{path} contradicts itself: numtrialrun gives run {run} {len(own)} trials, but its design matrix has {len(columns)} "
            f"onsets: {_REMEDY}"
        )
    own = own[np.lexsort((own, rows))]  # conditions that begin together may be listed in any order
    if not np.array_equal(own, columns):
        trial = int(np.argmax(own != columns))
        raise RecordingError(
            f"{path} contradicts itself: in trial {trial} of run {run}, counted from 0, stimorder has condition "
            f"{own[trial] + first}, but the design matrix has an onset of condition {columns[trial] + first}: {_REMEDY}"
        )


def _check_counts(own: Int[np.ndarray, " n"], counts: Int[np.ndarray, " n_conditions"], first: int, path: Path) -> None:
    """Compare the trials of each condition, counted from 0, with the number that the file states."""
    outside = own[(own < 0) | (own >= len(counts))]
    shown = np.bincount(own[(own >= 0) & (own < len(counts))], minlength=len(counts))
    if len(outside) or not np.array_equal(shown, counts):
        condition = int(outside[0]) if len(outside) else int(np.argmax(shown != counts))
        stated = 0 if len(outside) else int(counts[condition])
        raise RecordingError(
            f"{path} contradicts itself: stimorder has {np.count_nonzero(own == condition)} trials of condition "
            f"{condition + first}, but condcounts, which counts conditions from {first}, says {stated}: {_REMEDY}"
        )


def _matrices(given: Any) -> list[Shaped[np.ndarray, "times conditions"]]:
    """Return a design as matrices, one per run; none if it has another form, such as lists of onset times."""
    listed = list(given) if isinstance(given, list | tuple | np.ndarray) else []
    matrices = [np.asarray(each) for each in listed if isinstance(each, np.ndarray)]
    plain = all(matrix.ndim == 2 and matrix.dtype.kind in "biuf" for matrix in matrices)
    same = len({matrix.shape[-1] for matrix in matrices if matrix.ndim == 2}) == 1
    return matrices if plain and same and len(matrices) == len(listed) else []


def _numbers(given: Any) -> Int[np.ndarray, " n"] | None:
    """Return whole numbers as they are; None for anything else."""
    plain = isinstance(given, np.ndarray) or (
        isinstance(given, list | tuple) and all(isinstance(each, int | float | np.number) for each in given)
    )
    values = np.ravel(np.asarray(given)) if plain else np.empty(0, object)
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all() or not (values == np.rint(values)).all():
        return None
    return values.astype(np.int64)


def read_matlab_matrices(file: h5py.File, name: str) -> list[Shaped[np.ndarray, "times conditions"]]:
    """Read a cell array of matrices of a v7.3 file, dense or sparse; [] if it holds anything else."""
    cells = file.get(name)
    if not isinstance(cells, h5py.Dataset) or h5py.check_ref_dtype(cells.dtype) is not h5py.Reference:
        return []
    found = [_matlab_matrix(file[reference]) if reference else None for reference in np.ravel(cells[()])]
    matrices = [matrix for matrix in found if matrix is not None]
    return matrices if len(matrices) == len(found) else []


def _matlab_matrix(stored: h5py.Dataset | h5py.Group) -> Shaped[np.ndarray, "times conditions"] | None:
    """Read a matrix, whose axes h5py shows reversed; of a sparse one, the rows of each column's values are stored."""
    if isinstance(stored, h5py.Dataset):
        return np.asarray(stored[()]).T if stored.ndim == 2 else None
    if "MATLAB_sparse" not in stored.attrs or "jc" not in stored:
        return None
    ends = np.asarray(stored["jc"][()], dtype=np.int64)
    matrix = np.zeros((int(stored.attrs["MATLAB_sparse"]), len(ends) - 1), bool)
    if "ir" in stored:  # an empty matrix has none
        columns = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
        matrix[np.asarray(stored["ir"][()], dtype=np.int64), columns] = np.asarray(stored["data"][()]) != 0
    return matrix
