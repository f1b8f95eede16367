"""Recordings that GLMsingle wrote: betas of all trials in one file, `stimorder` in DESIGNINFO, pictures of conditions in a table.

| file | betas | axes | `stimorder` counts from |
|---|---|---|---|
| `.hdf5` of Python | `betasmd` | (x, y, z, trial) | 0 |
| `.npy` of Python, a pickled dict | `betasmd` | (x, y, z, trial) | 0 |
| `.mat` of MATLAB, v7.3 | `modelmd` | (trial, z, y, x), as h5py shows what MATLAB wrote | 1 |

The table of conditions uses the numbers of `stimorder`, whatever they count from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from braindiffuser.arrays import Betas, VoxelMask
from braindiffuser.datasets.array_files import ArrayFile, refuse_old_matlab
from braindiffuser.datasets.array_recordings import captions_of, captions_said
from braindiffuser.datasets.beta_kinds import check_kind
from braindiffuser.datasets.glmsingle_design import check_against_matrices, read_matlab_matrices
from braindiffuser.datasets.picture_sets import PictureFiles, first_trials, list_pictures
from braindiffuser.datasets.reading import reading
from braindiffuser.datasets.recording import Recording, names_of
from braindiffuser.datasets.region_files import Place, read_each, region_in_volume
from braindiffuser.datasets.restricted_pickle import read_pickled_dict
from braindiffuser.datasets.tables import read_table
from braindiffuser.datasets.trial_remarks import trial_remarks
from braindiffuser.datasets.trial_tables import (
    choose_sessions,
    further_sets_of,
    stimulus_column,
    stimulus_names,
    trial_table,
)
from braindiffuser.datasets.volumes import as_float32, check_grid, mask_doubts, read_mask
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError

if TYPE_CHECKING:
    from braindiffuser.datasets.glmsingle import GLMsingle

HDF5, MATLAB, PICKLE = (".hdf5", ".h5"), ".mat", ".npy"
DESIGN_FILES = ("DESIGNINFO.npy", "DESIGNINFO.mat")
EXAMPLE = """condition,stim_file,split
0,scene_004.png,train
1,scene_017.png,test"""
SLAB = 1 << 26
"""Values of an HDF5 file that are read at a time."""


@dataclass(frozen=True, eq=False)
class Design:
    """Which condition was shown when.

    Attributes:
        conditions: (n_trials,) number of each trial's condition, as `stimorder` counts.
        sessions: (n_trials,) from 1.
        runs: (n_trials,) within session, from 1.
        is_percent: whether betas are percent signal change; None if the file does not say.
        has_sessions: whether the file says which run belongs to which session.
    """

    conditions: Int[np.ndarray, " n_trials"]
    sessions: Int[np.ndarray, " n_trials"]
    runs: Int[np.ndarray, " n_trials"]
    is_percent: bool | None
    has_sessions: bool


Fit = Callable[[tuple[int, ...]], VoxelMask]
"""Shape of the betas → (x, y, z), True for the voxels to read; raises RecordingError if the shape is wrong."""


def open_glmsingle(config: GLMsingle) -> Recording:
    """Open a recording that GLMsingle wrote; betas and pictures stay on disk until they are asked for.

    Raises:
        RecordingError: a file is missing or damaged, or does not fit the others.
    """
    design_path = _design_path(config)
    design = read_design(design_path)
    _check_unit(config, design, design_path)
    conditions = _read_conditions(config.conditions)
    trials, stimuli, left_out = _trials(config, design, conditions)
    mask, affine = (None, None) if config.mask is None else read_mask(config.mask)
    fit = partial(_fit, config, len(design.conditions), mask)
    stored = _open_betas(config.betas)
    if not isinstance(stored, _PickledBetas):
        fit(stored.shape)
    voxels = Voxels(int(fit(stored.shape).sum())) if mask is None else Voxels.in_volume(mask, affine)
    shown = first_trials(trials, f"{design_path}, stimorder")
    rois, odd = _regions(config, mask, affine)
    pictures = PictureFiles.find(config.pictures, names_of(stimuli), shown, config.side)
    return Recording(
        subject=config.subject,
        trials=trials,
        voxels=voxels,
        roi_masks=rois,
        read_session=partial(_read_session, stored, fit, trials),
        unit=config.unit,
        pictures=pictures,
        stimuli=stimuli,
        captions=captions_of(stimuli, captions_said(config.captions, conditions, config.conditions)),
        further_test_sets=further_sets_of(stimuli),
        session_files=lambda session: (config.betas.name,),
        remarks=(
            *left_out,
            *_remarks(design, design_path, stored),
            *mask_doubts(config.mask),
            *odd,
            *pictures.remarks,
        ),
    )


def list_files(config: GLMsingle) -> dict[str, dict[str, Path]]:
    """List the files of a recording by role, without opening any."""
    regions = {f"rois/{name}/{path.name}": path for name, path in config.rois.items()}
    regions |= {config.mask.name: config.mask} if config.mask else {}
    listed = {
        "design": [config.conditions, *([config.design] if config.design else _beside(config.betas))],
        "betas": [config.betas],
        "captions": [config.captions] if config.captions else [],
    }
    found = {role: {path.name: path for path in paths if path.is_file()} for role, paths in listed.items()}
    there = {name: path for name, path in regions.items() if path.is_file()}
    return {**found, "regions": there, "stimuli": list_pictures(config.pictures)}


def _beside(betas: Path) -> list[Path]:
    return [path for name in DESIGN_FILES if (path := betas.parent / name).is_file()]


def _design_path(config: GLMsingle) -> Path:
    if config.design is not None:
        return config.design
    found = _beside(config.betas)
    if len(found) > 1:
        raise RecordingError(
            f"{config.betas.parent} holds {' and '.join(path.name for path in found)}: write which one, such as "
            f"design: {found[0].name}"
        )
    return found[0] if found else config.betas.parent / DESIGN_FILES[0]


def read_design(path: Path) -> Design:
    """Read DESIGNINFO: the order of conditions, and trials and sessions of the runs.

    Raises:
        RecordingError: the file is missing or damaged, lacks an entry, or contradicts itself.
    """
    if not path.is_file():
        raise RecordingError(
            f"{path} is missing; expected the DESIGNINFO.npy or .mat that GLMsingle writes beside the betas, with stimorder and "
            "numtrialrun: copy it there, or name it as design"
        )
    if path.suffix.lower() not in (MATLAB, PICKLE):
        raise RecordingError(f"{path} is no DESIGNINFO: expected a file that ends in .npy or .mat")
    entries = _read_matlab_design(path) if path.suffix.lower() == MATLAB else _read_python_design(path)
    order, per_run = (_whole_numbers(entries, name, path) for name in ("stimorder", "numtrialrun"))
    if per_run.min() < 0 or per_run.sum() != len(order):
        raise RecordingError(
            f"{path} contradicts itself: stimorder has {len(order)} trials, but the runs of numtrialrun have {per_run.sum()}: "
            "take the DESIGNINFO that was written with these betas"
        )
    has_sessions = entries.get("sessionindicator") is not None
    session_of_run = (
        _whole_numbers(entries, "sessionindicator", path) if has_sessions else np.ones(len(per_run), np.int64)
    )
    if len(session_of_run) != len(per_run):
        raise RecordingError(
            f"{path} contradicts itself: sessionindicator has {len(session_of_run)} runs, but numtrialrun has {len(per_run)}"
        )
    check_against_matrices(order, per_run, entries, int(path.suffix.lower() == MATLAB), path)
    run_of_session = pd.Series(session_of_run).groupby(session_of_run).cumcount().to_numpy() + 1
    percent = entries.get("wantpercentbold")
    return Design(
        order,
        np.repeat(session_of_run, per_run),
        np.repeat(run_of_session, per_run),
        None if percent is None else bool(_whole_numbers(entries, "wantpercentbold", path)[0]),
        has_sessions,
    )


def _read_python_design(path: Path) -> dict[str, Any]:
    entries = read_pickled_dict(path)
    options = entries.get("params")
    return {**entries, **(options if isinstance(options, dict) else {})}


def _read_matlab_design(path: Path) -> dict[str, Any]:
    """Read the numbers of a v7.3 file, and those of its options."""
    _check_matlab(path)
    with reading(path, "MATLAB file (v7.3)"), h5py.File(path, "r") as file:
        groups = [file, *(file[name] for name in ("params", "opt") if isinstance(file.get(name), h5py.Group))]
        numbers = {
            name: group[name][()].ravel()
            for group in groups
            for name in ("stimorder", "numtrialrun", "sessionindicator", "wantpercentbold", "condcounts")
            if isinstance(group.get(name), h5py.Dataset)
        }
        return {**numbers, "design": read_matlab_matrices(file, "design")}


def _check_matlab(path: Path) -> None:
    if path.is_file() and not h5py.is_hdf5(path):
        refuse_old_matlab(path)
        raise RecordingError(f"{path} is no MATLAB file of version 7.3, or cut short: save it in MATLAB with -v7.3")


def _whole_numbers(entries: Mapping[str, Any], name: str, path: Path) -> Int[np.ndarray, " n"]:
    """Return an entry of whole numbers: an array, one number, or a list of numbers."""
    if name not in entries:
        raise RecordingError(
            f"{path} lacks {name}; it has {', '.join(map(str, entries)) or 'nothing'}: expected what GLMsingle writes, such as "
            "stimorder: [4, 17, 4], numtrialrun: [2, 1]"
        )
    given = entries[name]
    rows = given if isinstance(given, list | tuple) else [given]
    plain = all(isinstance(row, int | float | np.number | np.ndarray | np.bool_) for row in rows)
    values = np.concatenate([np.ravel(row) for row in rows]) if plain and rows else np.empty(0)
    if values.dtype.kind not in "biuf" or not values.size or not (values == np.rint(values)).all():
        raise RecordingError(f"{path}: {name} is no list of whole numbers: take the file that GLMsingle wrote")
    return values.astype(np.int64)


def _check_unit(config: GLMsingle, design: Design, path: Path) -> None:
    if design.is_percent is not None and design.is_percent != (config.unit == "percent"):
        raise RecordingError(
            f"dataset.unit is {config.unit}, but {path} says wantpercentbold = {int(design.is_percent)}: write "
            f"unit: {'percent' if design.is_percent else 'raw'}"
        )


def _read_conditions(path: Path) -> pd.DataFrame:
    """Read the table of conditions, by the number of the condition."""
    table = read_table(path, ["condition"], EXAMPLE)
    stimulus_column(table, path, EXAMPLE)
    numbers = pd.to_numeric(table["condition"], errors="coerce")
    if not (numbers == np.rint(numbers)).all():
        row = int(np.argmin(numbers == np.rint(numbers)))
        raise RecordingError(
            f"{path}: column condition holds {table['condition'].iloc[row]!r} in row {row}, counted from 0; expected the "
            f"condition's number in stimorder, such as\n{EXAMPLE}"
        )
    if numbers.duplicated().any():
        raise RecordingError(
            f"{path} lists condition {int(numbers[numbers.duplicated()].iloc[0])} twice: write one row for each"
        )
    return table.set_index(numbers.astype(np.int64)).drop(columns="condition")


def _trials(
    config: GLMsingle, design: Design, conditions: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """Join trials and conditions; return the tables of trials and stimuli of the chosen sessions, and remarks on them."""
    foreign = np.flatnonzero(~np.isin(design.conditions, conditions.index))
    if len(foreign):
        low, high = design.conditions.min(), design.conditions.max()
        raise RecordingError(
            f"{config.conditions} does not list condition {design.conditions[foreign[0]]} of trial {foreign[0]}, counted from 0: "
            f"stimorder runs from {low} to {high}, the table from {conditions.index.min()} to {conditions.index.max()}; list "
            "every condition by its number in stimorder, with n/a as stim_file if it shows no picture"
        )
    rows = conditions.loc[design.conditions].assign(
        session=design.sessions,
        run=design.runs,
        beta_index=np.arange(len(design.conditions)),
        table_row=np.arange(len(design.conditions)),
    )
    column = conditions[stimulus_column(conditions, config.conditions, EXAMPLE)]
    names = sorted(set(stimulus_names(column.dropna())))
    chosen = choose_sessions(design.sessions.tolist(), config.sessions, _design_path(config))
    rows = rows[rows["session"].isin(chosen)]
    trials, stimuli = trial_table(rows, config.subject, config.conditions, names)
    return trials, stimuli, trial_remarks(rows, trials, config.conditions, config.sessions is None)


def _regions(
    config: GLMsingle, mask: VoxelMask | None, affine: Float[np.ndarray, "4 4"] | None
) -> tuple[dict[str, Bool[np.ndarray, " n_voxels"]], tuple[str, ...]]:
    """Read the regions within the mask, and say which hold odd values."""
    place = None if mask is None or config.mask is None else Place(config.mask, mask, affine)
    return read_each(config.rois, partial(region_in_volume, place=place))


def _remarks(design: Design, path: Path, stored: _Hdf5Betas | _PickledBetas) -> tuple[str, ...]:
    said = []
    if not design.has_sessions:
        said.append(f"{path.name} does not say which run belongs to which session: all count as one.")
    if isinstance(stored, _PickledBetas):
        said.append(f"{stored.path.name} is read whole, since it is a pickle: GLMsingle's .hdf5 takes less memory.")
    return tuple(said)


def _fit(config: GLMsingle, n_trials: int, mask: VoxelMask | None, shape: tuple[int, ...]) -> Bool[np.ndarray, "i j k"]:
    """Compare the shape of betas with trials and mask; GLMsingle writes (n_voxels, 1, 1, n_trials) if it was given a matrix."""
    if len(shape) != 4 or shape[3] != n_trials:
        raise RecordingError(
            f"{config.betas} holds betas of the shape {shape}; expected four axes, the last with the {n_trials} trials of "
            "stimorder: take TYPEB, TYPEC or TYPED, and the DESIGNINFO that was written with it"
        )
    is_matrix = shape[1:3] == (1, 1)
    if is_matrix and (mask is None or np.count_nonzero(mask) == shape[0]):
        return np.ones(shape[:3], bool)
    if mask is None or config.mask is None:
        raise RecordingError(
            f"{config.betas} holds volumes {shape[:3]}, so a mask must say which voxels are analysed: write mask: FILE, such as "
            "mask: brain_mask.nii.gz"
        )
    check_grid(config.betas, shape[:3], None, config.mask, mask.shape, None)
    return mask


def _read_session(stored: _Hdf5Betas | _PickledBetas, fit: Fit, trials: pd.DataFrame, session: int) -> Betas:
    return stored.read(fit, trials.loc[trials["session"] == session, "beta_index"].to_numpy())


def _open_betas(path: Path) -> _Hdf5Betas | _PickledBetas:
    suffix = path.suffix.lower()
    if suffix not in (*HDF5, MATLAB, PICKLE):
        raise RecordingError(
            f"{path} is none of GLMsingle's files: expected one that ends in .hdf5, .mat or .npy, such as "
            "TYPED_FITHRF_GLMDENOISE_RR.hdf5"
        )
    if not path.is_file():
        raise RecordingError(f"{path} is missing; expected GLMsingle's betas, such as TYPED_FITHRF_GLMDENOISE_RR.hdf5")
    if suffix == PICKLE:
        return _PickledBetas(path)
    if suffix == MATLAB:
        _check_matlab(path)
    array = ArrayFile.open(f"{path}:{'modelmd' if suffix == MATLAB else 'betasmd'}")
    check_kind(array.dtype, path)
    array.check_written()
    return _Hdf5Betas(array, suffix == MATLAB)


@dataclass(frozen=True, eq=False)
class _Hdf5Betas:
    """Betas in an HDF5 file, of which only trials and slabs that are asked for are read."""

    array: ArrayFile
    is_reversed: bool

    @property
    def path(self) -> Path:
        return self.array.path

    @property
    def shape(self) -> tuple[int, ...]:
        """(x, y, z, trial)."""
        return self.array.shape[::-1] if self.is_reversed else self.array.shape

    def read(self, fit: Fit, numbers: Int[np.ndarray, " n"]) -> Betas:
        """Read trials by their numbers, slab by slab along the slowest axis in space."""
        mask, first = fit(self.shape), int(numbers.min())
        trials = slice(first, int(numbers.max()) + 1)
        betas = np.empty((trials.stop - first, np.count_nonzero(mask)), np.float32)
        columns = np.full(mask.shape, -1)
        columns[mask] = np.arange(betas.shape[1])
        axis = 2 if self.is_reversed else 0
        planes = np.flatnonzero(mask.any(axis=(0, 1) if axis == 2 else (1, 2)))
        thickness = max(1, SLAB // (len(betas) * mask.size // mask.shape[axis]))
        with reading(self.path, "HDF5 file of betas"), h5py.File(self.path, "r") as file:
            stored = file[self.array.key]
            for start in range(int(planes[0]), int(planes[-1]) + 1, thickness):
                slab = slice(start, min(start + thickness, int(planes[-1]) + 1))
                where = (slice(None), slice(None), slab) if self.is_reversed else (slab,)
                values = stored[trials, slab].transpose(3, 2, 1, 0) if self.is_reversed else stored[slab, :, :, trials]
                betas[:, columns[where][mask[where]]] = as_float32(values[mask[where]].T)
        own = numbers - first
        return betas if np.array_equal(own, np.arange(len(betas))) else betas[own]


@dataclass(frozen=True, eq=False)
class _PickledBetas:
    """Betas in a pickled dict, which is read whole; of its voxels only the masked ones are kept."""

    path: Path

    kept: dict[str, Betas] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """(x, y, z, trial)."""
        return self._values().shape

    def read(self, fit: Fit, numbers: Int[np.ndarray, " n"]) -> Betas:
        """Read trials by their numbers."""
        if "betas" not in self.kept:
            values = self._values()
            self.kept["betas"] = as_float32(values[fit(values.shape)].T)
        chosen: Betas = self.kept["betas"][numbers]
        return chosen

    def _values(self) -> np.ndarray:
        entries = read_pickled_dict(self.path)
        values = entries.get("betasmd")
        if not isinstance(values, np.ndarray):
            raise RecordingError(
                f"{self.path} lacks betasmd; it has {', '.join(map(str, entries)) or 'nothing'}: take TYPEB, TYPEC or TYPED as "
                "GLMsingle wrote it"
            )
        check_kind(values.dtype, self.path)
        plain: np.ndarray = np.asarray(values)
        return plain
