"""Responses to decode, from a file as `export` writes it or a plain array, and decoded features as a file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from braindiffuser.errors import RunError, reason
from braindiffuser.export.written_files import npz_file
from braindiffuser.files import replacing
from braindiffuser.python_objects import refuse_objects

PASSED_ON = ("stimulus_id", "stimulus_name", "test_set")
"""Arrays of a responses file that name its rows; they are written beside decoded features."""
FINGERPRINT = "voxel_fingerprint"


class ResponsesFile(NamedTuple):
    """Responses, and what a file says of them.

    Attributes:
        responses: (n, n_voxels).
        names: arrays that name the rows, of those in PASSED_ON that there are.
        fingerprint: of the voxels; None if the file does not say.
    """

    responses: Float[np.ndarray, "n n_voxels"]
    names: Mapping[str, Shaped[np.ndarray, " n"]]
    fingerprint: str | None


def read_responses(path: Path) -> ResponsesFile:
    """Read responses from `.npy`, or from `.npz` with the array `responses`; Python objects in it are refused.

    Raises:
        RunError: the file is missing, damaged, or holds something else.
    """
    if not path.is_file():
        raise RunError(
            f"there is no file {path}: name responses as .npy, or as .npz such as `braindiffuser export` writes"
        )
    try:
        arrays = _npz(path) if path.suffix == ".npz" else _npy(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} is no array of responses ({reason(error)}): name a .npy or .npz file") from error
    if "responses" not in arrays:
        raise RunError(
            f"{path} holds no array called responses, but {', '.join(arrays) or 'none'}: save it under that name"
        )
    responses = arrays["responses"]
    names = {name: arrays[name] for name in PASSED_ON if name in arrays}
    odd = [name for name, values in names.items() if values.ndim != 1 or responses.shape[:1] != values.shape]
    if odd:
        raise RunError(
            f"{odd[0]} of {path} has shape {names[odd[0]].shape}, expected one for each row of responses {responses.shape}"
        )
    told = arrays.get(FINGERPRINT)
    return ResponsesFile(responses, names, None if told is None else "".join(map(str, told.ravel())))


def _npy(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as stream:
        refuse_objects(stream, path, RunError)
    return {"responses": np.load(path, allow_pickle=False)}


def _npz(path: Path) -> dict[str, np.ndarray]:
    wanted = ("responses", *PASSED_ON, FINGERPRINT)
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        for name in set(file.files) & set(wanted):
            with file.zip.open(f"{name}.npy") as stream:
                refuse_objects(stream, f"{path}: {name}", RunError)
        found = {name: file[name] for name in wanted if name in file.files}
        return found if "responses" in found else {name: np.empty(0) for name in file.files}


def write_features(
    path: Path, features: Mapping[str, Float[np.ndarray, "n ..."]], names: Mapping[str, Shaped[np.ndarray, " n"]]
) -> None:
    """Write decoded features and the names of their rows as one new `.npz` file; one that holds the same already stays.

    Raises:
        RunError: another file of that name is there, the name ends otherwise, or a group has the name of another array.
    """
    if path.suffix == ".npz" and path.is_file() and _holds(path, {**features, **names}):
        return
    check_new(path)
    taken = sorted(set(features) & set(names))
    if taken:
        raise RunError(
            f"a target group is called {taken[0]}, as the array that names rows: leave that array out of the responses"
        )
    with replacing(path) as beside:
        npz_file(lambda: {**features, **names})(beside)


def _holds(path: Path, arrays: Mapping[str, Shaped[np.ndarray, " ..."]]) -> bool:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return set(file.files) == set(arrays) and all(
                np.array_equal(file[name], own) for name, own in arrays.items()
            )
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return False


def check_new(path: Path) -> None:
    """Check that decoded features may be written to a path.

    Raises:
        RunError: the name does not end in .npz, or something is there.
    """
    if path.suffix != ".npz":
        raise RunError(f"{path} does not end in .npz: name a file that does")
    if path.exists():
        raise RunError(f"{path} exists: name a new file")
