"""Responses of a run in Kamitani lab's bdata format, which bdpy and `kind: bdata` read: see `datasets.bdata_files`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float, Shaped

from braindiffuser.datasets.bdata_recordings import IMAGERY, TEST, TRAINING
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.export.finished_run import FinishedRun
from braindiffuser.export.written_files import ROWS, Write

DESCRIPTIONS = {
    "VoxelData": "1 = voxel",
    "DataType": "1 = training, 2 = test, 3 = imagery",
    "stimulus_name": "picture that was shown; labels are in vmap",
    "test_set": "test set of the picture, 'train' for training pictures; labels are in vmap",
    "n_repeats": "trials that were averaged into the row",
    **{f"voxel_{axis}": f"place along {axis}; mm if the recording says where its volumes lie" for axis in "xyz"},
    **{
        f"voxel_{axis}": f"index along the {n} axis of the volume"
        for axis, n in zip("ijk", ("1st", "2nd", "3rd"), strict=True)
    },
}

Labels = dict[str, dict[int, str]]


def bdata_files(run: FinishedRun) -> dict[str, Write]:
    """Return the bdata file of a run: name → what writes it."""

    def write(path: Path) -> None:
        of_rows, labels = _columns(run)
        of_voxels = _of_voxels(run)
        train, test = (run.results.open_array(f"responses/{side}") for side in ("train", "test"))
        n_voxels, keys = train.shape[1], [*of_voxels, *of_rows]
        values = np.full((len(keys), n_voxels + len(of_rows)), np.nan)
        for row, own in enumerate(of_voxels.values()):
            values[row, :n_voxels] = own
        for number in range(len(of_rows)):
            values[len(of_voxels) + number, n_voxels + number] = 1
        with h5py.File(path, "w") as file:
            shape = train.shape[0] + test.shape[0], values.shape[1]
            matrix = file.create_dataset("dataset", shape, np.float64)
            for before, part in ((0, train), (train.shape[0], test)):
                for start in range(0, part.shape[0], ROWS):
                    own = np.asarray(part[start : start + ROWS])
                    matrix[before + start : before + start + len(own), :n_voxels] = own
            matrix[:, n_voxels:] = np.stack(list(of_rows.values()), axis=1)
            group = file.create_group("metadata")
            text = h5py.string_dtype()
            group.create_dataset("key", data=keys, dtype=text)
            group.create_dataset("description", data=[_description(key) for key in keys], dtype=text)
            group.create_dataset("value", data=values)
            file.create_group("header")
            for key, texts in labels.items():
                for number, label in texts.items():
                    file.create_dataset(f"vmap/{key}/{number}", data=label, dtype=text)

    return {"bdata/responses.h5": write}


def _columns(run: FinishedRun) -> tuple[dict[str, Float[np.ndarray, " n_rows"]], Labels]:
    """Return what is told of each row, training stimuli first, and the labels of numbers that stand for text."""
    n_train, sets = len(run.ids("train")), run.test_sets
    pictures = _pictures(run)
    data_type = np.repeat([TRAINING, TEST], [n_train, len(sets)])
    data_type[n_train:][np.isin(sets, run.recording.imagined)] = IMAGERY
    names, name_of_row = _numbered(pictures)
    all_sets, set_of_row = _numbered(np.concatenate([np.repeat("train", n_train), sets]))
    repeats = [run.results.read_array(f"responses/n_repeats_{side}") for side in ("train", "test")]
    columns = {
        "DataType": data_type,
        "stimulus_name": name_of_row,
        "test_set": set_of_row,
        "n_repeats": np.concatenate(repeats),
    }
    labels = {"stimulus_name": names, "test_set": all_sets}
    return {key: np.asarray(values, np.float64) for key, values in columns.items()}, labels


def _pictures(run: FinishedRun) -> Shaped[np.ndarray, " n_rows"]:
    """Return the picture of each stimulus by its name, as objects: where a recording tells files from names, the file."""
    stimuli = run.recording.stimuli
    files: Mapping[int, str] = {}
    if stimuli is not None and "picture" in stimuli:
        files = dict(zip(stimuli.index.tolist(), stimuli["picture"].astype(str), strict=True))
    return np.array(
        [
            files.get(number, name)
            for side in ("train", "test")
            for number, name in zip(run.ids(side).tolist(), run.names(side).tolist(), strict=True)
        ],
        dtype=object,
    )


def _numbered(texts: Shaped[np.ndarray, " n"]) -> tuple[dict[int, str], Float[np.ndarray, " n"]]:
    """Number texts from 1; return number → text, and the number of each."""
    unique, numbers = np.unique(texts.astype(str), return_inverse=True)
    return dict(enumerate(unique.tolist(), start=1)), numbers.astype(np.float64) + 1


def _of_voxels(run: FinishedRun) -> dict[str, Float[np.ndarray, " n_chosen"]]:
    """Return what is told of each chosen voxel: regions and places."""
    n = int(np.count_nonzero(run.chosen))
    regions = {f"ROI_{name}": mask.astype(np.float64) for name, mask in run.roi_masks.items()}
    return {"VoxelData": np.ones(n), **regions, **_places(run.recording.voxels.subset(run.chosen))}


def _places(voxels: Voxels) -> dict[str, Float[np.ndarray, " n_voxels"]]:
    if voxels.mask is None:
        places = voxels.coordinates
        return {} if places is None else {f"voxel_{axis}": places[:, n] for n, axis in enumerate("xyz")}
    indices = np.argwhere(voxels.mask).astype(np.float64)
    millimetres = indices if voxels.affine is None else indices @ voxels.affine[:3, :3].T + voxels.affine[:3, 3]
    return {f"voxel_{axis}": indices[:, n] for n, axis in enumerate("ijk")} | {
        f"voxel_{axis}": millimetres[:, n] for n, axis in enumerate("xyz")
    }


def _description(key: str) -> str:
    return DESCRIPTIONS.get(key, f"1 = {key.removeprefix('ROI_')}")
