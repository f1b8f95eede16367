"""Recordings of plain files: an array of betas with a table of trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from braindiffuser.arrays import Betas, VoxelMask
from braindiffuser.datasets.array_files import SUFFIXES, ArrayFile, Rows, refuse_objects, split_key
from braindiffuser.datasets.beta_kinds import check_kind
from braindiffuser.datasets.noise_ceiling import check_ceilings
from braindiffuser.datasets.picture_sets import PictureArray, PictureFiles, first_trials, list_pictures, rows_named
from braindiffuser.datasets.reading import reading
from braindiffuser.datasets.recording import Recording, names_of
from braindiffuser.datasets.region_columns import regions_in
from braindiffuser.datasets.region_files import Place, read_each, read_region, region_of
from braindiffuser.datasets.shared_stimuli import shown_to_all
from braindiffuser.datasets.subject_names import given_name
from braindiffuser.datasets.tables import read_table, truth_values
from braindiffuser.datasets.trial_remarks import trial_remarks
from braindiffuser.datasets.trial_tables import EXAMPLE, further_sets_of, stimulus_column, stimulus_names, trial_table
from braindiffuser.datasets.volumes import mask_doubts, read_mask
from braindiffuser.datasets.voxel_maps import VoxelMaps
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError

if TYPE_CHECKING:
    from braindiffuser.datasets.arrays import Arrays

PLACES = ("x", "y", "z")
CAPTIONS_EXAMPLE = """stim_file,caption
scene_004.png,a red circle"""

MAP = "map_"
"""Beginning of the names of columns that are maps of numbers, such as map_ecc."""
Regions: TypeAlias = dict[str, Bool[np.ndarray, " n_voxels"]]
StimulusReader: TypeAlias = PictureFiles | PictureArray


def open_arrays(config: Arrays) -> Recording:
    """Open a recording of plain files; betas and pictures stay on disk until they are asked for.

    Raises:
        RecordingError: a file is missing or damaged, or does not fit the others.
    """
    betas, whole = ArrayFile.open(config.responses), read_table(config.trials, example=EXAMPLE)
    table, shown = own_rows(whole, config.subject, betas.shape[0], config.trials)
    n_voxels = check_betas(betas, table, config.trials)
    voxels, rois, maps, ncsnr, not_read = _places(config, n_voxels, betas.shape[1:])
    recording = recording_of(
        betas,
        table,
        config.trials,
        pictures=partial(_pictures, config),
        said=captions_said(config.captions, table, config.trials),
        subject=config.subject,
        every_row=whole,
        unit=config.unit,
        voxels=voxels,
        roi_masks=rois,
        voxel_maps=maps,
        ncsnr=ncsnr,
        simulated=config.simulated,
        imagined=config.imagined,
        split_remark=config.split_remark,
        apart=config.apart,
        remarks=(*_remarks(config.remarks), *not_read, *mask_doubts(config.mask)),
    )
    shared = partial(shown_to_all, recording.names, shown, config.trials) if shown else None
    return replace(recording, shared=shared, session_files=lambda session: tuple(_under(betas.path)))


def _remarks(path: Path | None) -> tuple[str, ...]:
    """Read the sentences of a text file, one a line; none if there is no file."""
    if path is None:
        return ()
    with reading(path, "text in UTF-8"):
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


def own_rows(
    table: pd.DataFrame, subject: str, n_betas: int, where: object
) -> tuple[pd.DataFrame, dict[str, set[str]]]:
    """Choose a subject's rows of a table of several subjects.

    Args:
        table: of trials; with one subject, or without a column `subject`, it stays as it is.
        subject: whose rows to take.
        n_betas: rows of the array of betas: as many as the subject has trials, or as the whole table has.
        where: what messages call the table.

    Returns:
        The subject's trials, with `beta_index` where the array holds the betas of all subjects; and other subject → names of its
        stimuli.

    Raises:
        RecordingError: there are several subjects, and not this one, or a trial is of none.
    """
    subjects = [] if "subject" not in table else sorted(map(str, table["subject"].dropna().unique()))
    if len(subjects) < 2:
        return table, {}
    if subject not in subjects:
        raise RecordingError(
            f"{where} holds the subjects {', '.join(subjects[:4])}, but dataset.subject is "
            f"{repr(subject) if given_name(subject) else 'not given'}: name one of them"
        )
    if table["subject"].isna().any():
        row = int(table["subject"].isna().to_numpy().argmax())
        raise RecordingError(f"{where}: column subject is empty in row {row}, counted from 0: write whose trial it is")
    of_subject = table["subject"].astype(str)
    own = table[of_subject == subject]
    if n_betas == len(table) and "beta_index" not in table:
        own = own.assign(beta_index=own.index)
    column = stimulus_column(table, where)
    named = table[column].where(~truth_values(table, "is_catch", where)) if "is_catch" in table else table[column]
    return own, {
        other: set(stimulus_names(named[of_subject == other].dropna())) for other in subjects if other != subject
    }


def recording_of(
    betas: Rows,
    table: pd.DataFrame,
    where: object,
    *,
    pictures: Callable[[pd.DataFrame, pd.DataFrame], StimulusReader | None],
    said: pd.DataFrame | None,
    subject: str,
    every_row: pd.DataFrame | None = None,
    **known: Any,
) -> Recording:
    """Put a recording together from an array of betas and a table of trials that `check_betas` has compared.

    Args:
        betas: one row per trial.
        table: of trials, as in `trial_table`; a column `test_set` names test stimuli that are scored separately.
        where: what messages call the table.
        pictures: (trials, stimuli) → reader of pictures; None if the recording has none.
        said: captions, as in `captions_of`.
        subject: its name.
        every_row: the table before a subject's rows were chosen, whose others use rows of the betas too; None: there are none.
        known: further entries of `Recording`.

    Raises:
        RecordingError: they do not fit each other.
    """
    trials, stimuli = trial_table(table, subject, where)
    last = int(trials["beta_index"].max())
    if last >= betas.shape[0]:
        from_one = last == betas.shape[0] and int(trials["beta_index"].min()) == 1
        raise RecordingError(
            f"{where} names the beta {last}, counted from 0, but {betas.path} has {betas.shape[0]} rows"
            f"{': does beta_index count from 1? It counts from 0' if from_one else ''}"
        )
    if isinstance(betas, ArrayFile):
        betas.check_written(trials["beta_index"].to_numpy())
    unused = unused_rows(table if every_row is None else every_row, betas, where)
    remarks = [*known.pop("remarks", ()), *unused, *trial_remarks(table, trials, where)]
    reader = pictures(trials, stimuli)
    if reader is not None:
        known["pictures"] = reader
        remarks += reader.remarks
    return Recording(
        subject=subject,
        trials=trials,
        read_session=lambda session: _read(betas, trials, session, where),
        stimuli=stimuli,
        captions=captions_of(stimuli, said),
        further_test_sets=further_sets_of(stimuli),
        remarks=tuple(dict.fromkeys(remarks)),  # a saved recording brings those of the one it was
        **known,
    )


def list_files(config: Arrays) -> dict[str, dict[str, Path]]:
    """List the files of a recording by role, without opening any."""
    path = split_key(config.pictures)[0]
    stimuli = {path.name: path} if path.is_file() else list_pictures(path) | _elsewhere(config, path)
    regions = {path.name: path for path in (config.mask, config.voxels) if path is not None}
    if isinstance(config.rois, Path):
        regions[config.rois.name] = config.rois
    for name, entry in config.rois.items() if isinstance(config.rois, dict) else ():
        regions |= {f"rois/{name}/{inner}": path for inner, path in _under(split_key(entry)[0]).items()}
    listed = {
        "design": {path.name: path for path in (config.trials, config.remarks) if path is not None},
        "regions": regions,
        "betas": _under(split_key(config.responses)[0]),
        "stimuli": stimuli,
        "captions": {config.captions.name: config.captions} if config.captions else {},
    }
    return {role: {name: path for name, path in files.items() if path.is_file()} for role, files in listed.items()}


def _elsewhere(config: Arrays, folder: Path) -> dict[str, Path]:
    """Return the pictures that the table names by paths which `list_pictures` does not find, such as through links."""
    if not (folder.is_dir() and config.trials.is_file()):
        return {}
    table = read_table(config.trials, example=EXAMPLE)
    names = stimulus_names(table[stimulus_column(table, config.trials)].dropna()).unique().tolist()
    return {name: folder / name for name in names if (folder / name).is_file()}


def _under(path: Path) -> dict[str, Path]:
    """Return name → path of a file, or of all files of a zarr array."""
    if not path.is_dir():
        return {path.name: path}
    return {other.relative_to(path.parent).as_posix(): other for other in sorted(path.rglob("*")) if other.is_file()}


def check_betas(betas: Rows, table: pd.DataFrame, where: object) -> int:
    """Return the number of columns of betas; further axes, such as channels and time points, are joined.

    Args:
        betas: one row per trial.
        table: of trials.
        where: what messages call the table.

    Raises:
        RecordingError: betas are no real numbers, or there is not one row of the table per row of the betas, nor a column
            `beta_index`.
    """
    n_rows = len(table)
    if len(betas.shape) < 2:
        raise RecordingError(
            f"{betas.path} is {betas.dtype} {betas.shape}; expected real numbers of the shape (trials, voxels)"
        )
    check_kind(betas.dtype, betas.path)
    if betas.shape[0] != n_rows and "beta_index" not in table:
        hint = f" (its last axis has {n_rows}: transpose it)" if betas.shape[-1] == n_rows else ""
        raise RecordingError(
            f"{betas.path} has {betas.shape[0]} rows, but {where} has {n_rows}{hint}: write one row of the table per "
            "row of the array, or a column beta_index that says which row, from 0, belongs to a trial"
        )
    if betas.shape[0] != n_rows and betas.shape[-1] == n_rows and len(betas.shape) == 2:
        raise RecordingError(
            f"{betas.path} has {betas.shape[0]} rows and {n_rows} columns, and {where} has {n_rows} rows: transpose the array, "
            "so that a row is a trial"
        )
    return int(np.prod(betas.shape[1:]))


def unused_rows(table: pd.DataFrame, betas: Rows, where: object) -> tuple[str, ...]:
    """Say which rows of an array of betas belong to no row of a table with `beta_index`, of whichever subject."""
    if "beta_index" not in table:
        return ()
    used = pd.to_numeric(table["beta_index"], errors="coerce").dropna().to_numpy()
    unused = np.setdiff1d(np.arange(betas.shape[0]), used)
    if not unused.size:
        return ()
    rows = f"{unused.size:,} of {betas.shape[0]:,} rows of {_short(betas.path)} belong to no row of {_short(where)}"
    question = ": does beta_index count from 1? It counts from 0." if used.size and used.min() >= 1 else "."
    return (f"{rows} (the first is row {unused[0]}, counted from 0){question}",)


def _short(where: object) -> object:
    return where.name if isinstance(where, Path) else where


def _read(betas: Rows, trials: pd.DataFrame, session: int, where: object) -> Betas:
    own = trials[trials["session"] == session]
    with np.errstate(over="ignore"):  # what overflows is refused by name
        found = betas.rows(own["beta_index"].to_numpy()).reshape(len(own), -1).astype(np.float32)
    _check_rows(found, own, betas.path, where)
    return found


def _check_rows(found: Betas, trials: pd.DataFrame, path: object, where: object) -> None:
    """Refuse betas of a session that are not finite, with the first row of array and table."""
    broken = ~np.isfinite(found)
    rows = np.flatnonzero(broken.any(axis=1))
    if not rows.size:
        return
    first, n_voxels = trials.iloc[rows[0]], int(broken.any(axis=0).sum())
    raise RecordingError(
        f"{path} has NaN or infinite betas in {n_voxels} of {found.shape[1]} analysed voxels, in {rows.size} of {len(found)} "
        f"trials of session {first['session']} (first: row {first['beta_index']} of the array, which is row "
        f"{first['table_row']} of {_short(where)}, both counted from 0): write 0 where a voxel has no data, or write them again"
    )


def _places(
    config: Arrays, n_voxels: int, shape: Sequence[int]
) -> tuple[Voxels, Regions, VoxelMaps, Float[np.ndarray, " n_voxels"] | None, tuple[str, ...]]:
    """Return where voxels lie, regions, maps, noise ceilings if there are any, and remarks, from the files that are given."""
    rois: Regions = {}
    maps = VoxelMaps()
    said: list[str] = []
    coordinates: Float[np.ndarray, "n_voxels 3"] | None = None
    ncsnr: Float[np.ndarray, " n_voxels"] | None = None
    if config.voxels is not None:
        table = read_table(config.voxels)
        if len(table) != n_voxels:
            raise RecordingError(
                f"{config.voxels} has {len(table)} rows, but betas have {n_voxels} columns: write one row for each"
            )
        if "ncsnr" in table:
            ncsnr = _real_numbers(table, ["ncsnr"], config.voxels)[:, 0]
            check_ceilings(ncsnr, n_voxels, f"{config.voxels}, column ncsnr")
        if set(PLACES) <= set(table):
            coordinates = _real_numbers(table, list(PLACES), config.voxels)
        named = [str(column) for column in table if str(column).startswith(MAP)]
        maps = VoxelMaps.of(
            dict(zip([name[len(MAP) :] for name in named], _real_numbers(table, named, config.voxels).T, strict=True))
        )
        columns = regions_in(table, lambda name: name in (*PLACES, "ncsnr", *named))
        rois |= columns.regions
        if columns.others:
            said.append(
                f"Columns of {config.voxels.name} that are no regions are not read: {', '.join(columns.others)}."
            )
        if columns.fractions:
            said.append(
                f"Columns of {config.voxels.name} that hold fractions are not read: {', '.join(columns.fractions)}. A region is "
                "1 or 0; if one of them is a region, choose a threshold and write 1 and 0."
            )
    place = None
    if config.mask is not None:
        place = Place(config.mask, *read_mask(config.mask))
        check_columns(place.mask, config.mask, n_voxels)
    if isinstance(config.rois, Path):
        rois |= _regions(config.rois, shape)
    elif config.rois:
        found, odd = read_each(config.rois, partial(read_region, shape=shape, place=place))
        rois |= found
        said += odd
    voxels = Voxels(n_voxels, coordinates=coordinates) if place is None else Voxels.in_volume(place.mask, place.affine)
    return voxels, rois, maps, ncsnr, tuple(said)


def _real_numbers(table: pd.DataFrame, columns: list[str], where: object) -> Float[np.ndarray, "rows columns"]:
    try:
        return table[columns].to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RecordingError(f"{where}: columns {', '.join(columns)} hold other things than numbers") from error


def check_columns(mask: VoxelMask, where: object, n_voxels: int) -> None:
    """Raise RecordingError unless betas have one column per voxel of a mask."""
    if np.count_nonzero(mask) != n_voxels:
        raise RecordingError(f"{where} has {np.count_nonzero(mask)} voxels above 0, but betas have {n_voxels} columns")


def _regions(path: Path, shape: Sequence[int]) -> dict[str, Bool[np.ndarray, " n_voxels"]]:
    if path.suffix.lower() != ".npz":
        raise RecordingError(
            f"{path} is no .npz file; expected one that holds all regions by name, or a file for each, such as "
            f"`rois: {{V1: {path.name}}}`"
        )
    with reading(path, ".npz file of regions"):
        if not path.is_file():
            raise RecordingError(f"{path} is missing; expected regions, each one truth value per column of the betas")
        with np.load(path, allow_pickle=False) as stored:
            for name in stored.files:
                with stored.zip.open(f"{name}.npy") as stream:
                    refuse_objects(stream, f"{path}: {name}")
            given = dict(stored)
    return {name: region_of(values, shape, f"{path}: region {name}") for name, values in given.items()}


def _pictures(config: Arrays, trials: pd.DataFrame, stimuli: pd.DataFrame) -> StimulusReader:
    path, _ = split_key(config.pictures)
    if path.suffix.lower() in SUFFIXES:
        return PictureArray.open(config.pictures, rows_named(names_of(stimuli), path, config.trials), config.side)
    return PictureFiles.find(path, names_of(stimuli), first_trials(trials, config.trials), config.side)


def captions_said(path: Path | None, table: pd.DataFrame, where: object) -> pd.DataFrame | None:
    """Read captions from a file of their own, or from the column `caption` of a table of trials or stimuli.

    Args:
        path: of the file, as in `read_captions`; None: there is none.
        table: of trials or stimuli.
        where: file of that table, for messages.

    Returns:
        The columns `stimulus` and `caption`, one row per caption; None if there are none.
    """
    if path is not None:
        return read_captions(path)
    return said_in(table, where).drop_duplicates() if "caption" in table else None


def read_captions(path: Path) -> pd.DataFrame:
    """Read a table of captions, one row per caption, with a column that names the stimulus.

    Returns:
        The columns `stimulus` and `caption`.

    Raises:
        RecordingError: it is missing or damaged, or lacks a column.
    """
    return said_in(read_table(path, ["caption"], CAPTIONS_EXAMPLE), path)


def said_in(table: pd.DataFrame, where: object) -> pd.DataFrame:
    """Return the columns `stimulus` and `caption` of a table; raises RecordingError if no column names the stimulus."""
    said = table[[stimulus_column(table, where, CAPTIONS_EXAMPLE), "caption"]].dropna()
    return said.set_axis(["stimulus", "caption"], axis=1)


def captions_of(stimuli: pd.DataFrame, said: pd.DataFrame | None) -> Any:
    """Return a reader of captions by stimulus id, for `Recording.captions`; None if there are no captions.

    Raises:
        RecordingError: a stimulus that was shown has none.
    """
    if said is None:
        return None
    by_name = said.assign(stimulus=stimulus_names(said["stimulus"])).groupby("stimulus")["caption"].agg(tuple)
    names = names_of(stimuli.assign(name=stimulus_names(stimuli["name"])))
    lacking = [name for name in names.values() if name not in by_name.index]
    if lacking:
        raise RecordingError(
            f"{len(lacking)} of {len(stimuli)} stimuli have no caption (first: {lacking[0]!r}): write one for each, or leave all "
            "out"
        )
    texts: Mapping[int, tuple[str, ...]] = {number: by_name[name] for number, name in names.items()}
    return texts.__getitem__
