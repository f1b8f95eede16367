"""Files of an export: what writes each, and the folder that they go to."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import nibabel as nib
import numpy as np
from jaxtyping import Float, Shaped

from braindiffuser import plain_data
from braindiffuser.errors import RunError
from braindiffuser.files import LEFTOVER, replacing
from braindiffuser.progress import Progress

DESCRIPTION = "dataset_description.json"
"""Written first, so that an export that was interrupted is recognised."""
UID = "ResultsUID"
"""Entry of the description that stands for the exported results."""
ROWS = 128
"""Rows of an array that are held at a time."""

Write: TypeAlias = Callable[[Path], None]
"""Writes a file at a path."""


def text_file(text: str) -> Write:
    """Return what writes a text."""

    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    return write


def json_file(content: Mapping[str, Any]) -> Write:
    """Return what writes a mapping as JSON."""
    return text_file(json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def nifti_file(values: Shaped[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"] | None) -> Write:
    """Return what writes a volume as NIfTI, in millimetres if its place is known."""

    def write(path: Path) -> None:
        image = nib.Nifti1Image(values, affine)
        if affine is not None:
            image.header.set_xyzt_units("mm")
        nib.save(image, path)

    return write


def npz_file(open_arrays: Callable[[], Mapping[str, Any]]) -> Write:
    """Return what writes named arrays as one `.npz` file, a few rows at a time and without pickle.

    Args:
        open_arrays: returns name → array, in memory or on disk; each has `shape`, `dtype`, and gives slices of rows.
    """

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for key, values in open_arrays().items():
                with archive.open(f"{key}.npy", "w", force_zip64=True) as entry:
                    header = {"descr": values.dtype.str, "fortran_order": False, "shape": tuple(values.shape)}
                    np.lib.format.write_array_header_1_0(entry, header)
                    for start in range(0, values.shape[0], ROWS):
                        entry.write(np.ascontiguousarray(values[start : start + ROWS]).tobytes())

    return write


def write_files(folder: Path, files: Mapping[str, Write], progress: Progress) -> None:
    """Write files into a folder, each whole or not at all.

    Args:
        folder: as `check_folder` allows it.
        files: name → what writes it.
        progress: called as progress(label, done, total) after each.
    """
    for done, (name, write) in enumerate(files.items(), start=1):
        with replacing(folder / name) as beside:
            write(beside)
        progress("exporting", done, len(files))


def check_folder(folder: Path, outside: Mapping[str, Path], names: Sequence[str], uid: str) -> None:
    """Check that an export may write to a folder: it is new, empty, or holds the same export, which is written again.

    Args:
        folder: to write to.
        outside: what the folder must not overlap with, such as "run" → its folder.
        names: of all files that the export writes.
        uid: of the exported results.

    Raises:
        RunError: it overlaps, is a file, or holds other files.
    """
    check_outside(folder, outside)
    there = [path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir()]
    there = [path for path in there if path.is_symlink() or not LEFTOVER.fullmatch(path.name)]
    others = [path for path in there if path.is_symlink() or path.relative_to(folder).as_posix() not in names]
    if others:
        raise RunError(
            f"{folder} holds other files, such as {others[0].relative_to(folder).as_posix()}: name a new folder to export to"
        )
    if there and _uid_of(folder) != uid:
        raise RunError(
            f"{folder} holds files that were not exported from these results: name a new folder to export to"
        )


def check_outside(folder: Path, outside: Mapping[str, Path], purpose: str = "to export to") -> None:
    """Check that a folder to write to is no file, and apart from others.

    Args:
        folder: to write to.
        outside: what the folder must not overlap with, such as "run" → its folder.
        purpose: what the folder is for.

    Raises:
        RunError: it overlaps, or is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file: name a new folder {purpose}")
    real = Path(os.path.realpath(folder))
    for what, other in outside.items():
        place = Path(os.path.realpath(other))
        if real == place or place in real.parents or real in place.parents:
            raise RunError(f"{folder} overlaps the {what} {other}: name a new folder {purpose}, outside it")


def _uid_of(folder: Path) -> object:
    """Return the uid of the results that a folder was exported from; None if it does not say."""
    try:
        return plain_data.read_json(folder / DESCRIPTION).get(UID)
    except (OSError, ValueError):
        return None
