"""Recordings in bdata files: which rows were seen, which imagined, and which picture an id stands for."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from braindiffuser.arrays import Betas
from braindiffuser.datasets.array_recordings import captions_of, read_captions
from braindiffuser.datasets.bdata_files import BDataFile
from braindiffuser.datasets.bdata_stimuli import stimuli_of_rows
from braindiffuser.datasets.missing_files import Missing, fetch_command, lacking, refuse_missing
from braindiffuser.datasets.picture_names import stem_of
from braindiffuser.datasets.picture_sets import PictureFiles, first_trials, shown_pictures
from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.trial_remarks import gaps
from braindiffuser.datasets.trial_tables import trial_table
from braindiffuser.datasets.voxel_selection import keep_regions
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError
from braindiffuser.picture_files import SUFFIXES

if TYPE_CHECKING:
    from braindiffuser.datasets.bdata import BData

GOD = re.compile(r"Subject[1-5]\.h5")
"""Files of Generic Object Decoding, as published."""
TRAINING, TEST, IMAGERY = 1, 2, 3
"""What a trial is, by the column DataType."""
IMAGINED = " (imagined)"
IMAGERY_NOTE = (
    "Imagery",
    "Responses while a picture was imagined, not seen; they are decoded as responses to the picture that was to be imagined, and "
    "scored apart.",
)


def open_bdata(config: BData) -> Recording:
    """Open a recording in bdata files; betas and pictures stay on disk until they are asked for.

    Raises:
        RecordingError: a file is missing or damaged, or does not fit the others.
    """
    _refuse_missing(config)
    sources = [BDataFile.open(path) for path in _paths(config)]
    _check_same_voxels(sources)
    rows = pd.concat([_rows(config, number, source) for number, source in enumerate(sources)], ignore_index=True)
    rows = _number_sessions(rows)
    rows, remarks = _join_imagery(rows, sources, config.pictures)
    seen = sorted(set(rows.loc[rows["data_type"] != IMAGERY, "stim_file"].dropna()))
    imagined = sorted(set(rows.loc[rows["data_type"] == IMAGERY, "stim_file"]))
    columns = ["session", "run", "stim_file", "split", "picture", "beta_index"]
    trials, stimuli = trial_table(rows[columns], config.subject, sources[0].path, [*seen, *imagined])
    voxels, rois, chosen = keep_regions(_places(sources[0]), _regions(sources[0]), config.regions)
    pictures = PictureFiles.find(config.pictures, _by_id(stimuli, "picture"), first_trials(trials), config.side)
    ids = np.arange(len(seen), len(seen) + len(imagined))
    return Recording(
        subject=config.subject,
        trials=trials,
        voxels=voxels,
        roi_masks=rois,
        read_session=lambda session: _read_session(sources, rows, trials, session, chosen),
        unit=config.unit,
        pictures=pictures,
        stimuli=stimuli,
        captions=None if config.captions is None else _captions(config.captions, stimuli),
        further_test_sets={"imagery": ids} if len(ids) else {},
        notes={"imagery": IMAGERY_NOTE} if len(ids) else {},
        imagined=("imagery",) if len(ids) else (),
        session_files=lambda session: (sources[int(_rows_of(rows, trials, session)["source"].iloc[0])].path.name,),
        remarks=(*remarks, *gaps(trials), *pictures.remarks),
    )


def _refuse_missing(config: BData) -> None:
    """Refuse a recording that lacks several of the files that are named, in one message."""
    files = [(path, Missing(str(path), _where_from(path))) for path in _paths(config)]
    files += [(config.pictures, Missing(str(config.pictures), "folder of pictures"))]
    tables = {config.stimulus_table: "which picture an id stands for", config.captions: "captions"}
    files += [(path, Missing(str(path), held)) for path, held in tables.items() if path is not None]
    refuse_missing("the recording", lacking(config.pictures, files))


def _where_from(path: Path) -> str:
    """Say what a file of betas is, and how it is downloaded if it has the name of one of Generic Object Decoding."""
    bare = Missing("", "", "betas")
    command = fetch_command(path.parent, [bare], "god", path.stem) if GOD.fullmatch(path.name) else ""
    return f"betas, in the bdata format{f': if it is of Generic Object Decoding, `{command}` downloads it' if command else ''}"


def list_files(config: BData) -> dict[str, dict[str, Path]]:
    """List the files of a recording by role; of the bdata files only the columns of ids are read."""
    own = {path.name: path for path in _paths(config) if path.is_file()}
    table = {path.name: path for path in (config.stimulus_table,) if path is not None and path.is_file()}
    captions = {path.name: path for path in (config.captions,) if path is not None and path.is_file()}
    shown: set[str] = set()
    if len(own) == len(_paths(config)) and len(table) == (config.stimulus_table is not None):
        for number, path in enumerate(_paths(config)):
            shown |= set(_rows(config, number, BDataFile.open(path))["picture"].dropna())
    stimuli = shown_pictures(config.pictures, shown)
    return {"design": {**own, **table}, "regions": own, "betas": own, "stimuli": stimuli, "captions": captions}


def _paths(config: BData) -> tuple[Path, ...]:
    return (*config.responses, *config.test, *config.imagery)


def _check_same_voxels(sources: Sequence[BDataFile]) -> None:
    """Refuse files of other voxels: their regions and places must be the same, column by column."""
    first = sources[0]
    for other in sources[1:]:
        n, n_other = len(first.voxel_columns), len(other.voxel_columns)
        keys = {key for key in first.values if key.startswith(("ROI_", "voxel_"))} & set(other.values)
        if n != n_other or any(
            not np.array_equal(first.of_voxels(key), other.of_voxels(key), equal_nan=True) for key in keys
        ):
            raise RecordingError(
                f"{other.path} has other voxels than {first.path} ({n_other} and {n}, or other places or regions): give files of "
                "one subject that were preprocessed together"
            )


def _rows(config: BData, number: int, source: BDataFile) -> pd.DataFrame:
    """Return a row per trial of one file: source, row, data_type, labelled, session, run, split, stim_file, picture.

    `labelled`: whether names are labels of `stimulus_name`, which are names of pictures.
    """
    data_type = _data_types(config, source)
    session = source.column("Session")
    run = source.column("Run")
    rows = pd.DataFrame({"source": number, "row": np.arange(source.n_rows), "data_type": data_type})
    rows["labelled"] = config.stimulus_table is None and source.column("stimulus_id") is None
    rows["session"] = 1 if session is None else _whole(session, "Session", source)
    rows["run"] = 1 if run is None else _whole(run, "Run", source)
    rows["split"] = np.where(data_type == TRAINING, "train", "test")
    sides = np.choose(data_type - 1, ("train", "test", "")).tolist()
    names, pictures = stimuli_of_rows(source, config.stimulus_table, sides)
    return rows.assign(stim_file=pd.Series(names, dtype=object), picture=pd.Series(pictures, dtype=object))


def _data_types(config: BData, source: BDataFile) -> np.ndarray:
    """Return what each trial is: by the column DataType, or by what the file was named as."""
    said = source.column("DataType")
    role = IMAGERY if source.path in config.imagery else TEST if source.path in config.test else None
    if said is None:
        return np.full(source.n_rows, role or TRAINING)
    if not np.isin(said, (TRAINING, TEST, IMAGERY)).all():
        row = int(np.argmax(~np.isin(said, (TRAINING, TEST, IMAGERY))))
        raise RecordingError(
            f"{source.path}: DataType is {said[row]:g} in row {row}, counted from 0; expected 1 (training), 2 (test) or 3 "
            "(imagery)"
        )
    if role is not None and (said != role).any():
        raise RecordingError(
            f"{source.path} is named as {'imagery' if role == IMAGERY else 'test'}, but its column DataType says otherwise: name "
            "it as responses"
        )
    return said.astype(np.int64)


def _whole(values: np.ndarray, key: str, source: BDataFile) -> np.ndarray:
    if not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        row = int(np.argmax(~(values == np.rint(values))))
        raise RecordingError(
            f"{source.path}: {key} is {values[row]:g} in row {row}, counted from 0; expected a whole number"
        )
    return values.astype(np.int64)


def _number_sessions(rows: pd.DataFrame) -> pd.DataFrame:
    """Count the sessions of a further file on from those of the files before it; keep them as they are in one file."""
    parts: list[pd.DataFrame] = []
    for _, part in rows.groupby("source", sort=True):
        beyond = int(parts[-1]["session"].max()) + 1 - int(part["session"].min()) if parts else 0
        parts.append(part.assign(session=part["session"] + max(0, beyond)))
    return pd.concat(parts, ignore_index=True)


def _join_imagery(
    rows: pd.DataFrame, sources: Sequence[BDataFile], folder: Path
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Give imagined trials stimuli of their own that show the test picture of their id; leave out those without one.

    A label of `stimulus_name` that names no test picture, but a file among the pictures, stands for that.
    """
    rows = rows.assign(beta_index=np.arange(len(rows)))
    tested = rows[(rows["data_type"] == TEST) & rows["stim_file"].notna()].drop_duplicates("stim_file")
    picture_of = dict(zip(tested["stim_file"], tested["picture"], strict=True))
    of_category = tested.groupby(tested["stim_file"].str.split(".").str[0])["stim_file"].agg(list)
    imagery = rows["data_type"] == IMAGERY
    meant = rows.loc[imagery, "stim_file"].map(lambda name: _meant(name, picture_of, of_category))
    labels = rows.loc[imagery & rows["labelled"], "stim_file"].dropna()
    picture_of |= _with_files(set(labels) - set(picture_of), folder)
    meant = meant.fillna(labels[labels.isin(list(picture_of))])
    joined = rows.assign(
        stim_file=rows["stim_file"].where(~imagery, meant + IMAGINED),
        picture=rows["picture"].where(~imagery, meant.map(picture_of)),
    )
    lost = imagery & joined["stim_file"].isna()
    nothing = ~imagery & joined["stim_file"].isna()
    remarks = []
    if lost.any():
        remarks.append(
            f"{int(lost.sum())} of {int(imagery.sum())} imagery trials are left out, since their ids name no picture of the test "
            "set, nor a file among the pictures."
        )
    if nothing.any():
        remarks.append(f"Trials without the id of a stimulus are left out: {int(nothing.sum())}.")
    if len(sources) > 1:
        remarks.append("Sessions are counted through all files, in the order in which they are named.")
    return joined[~lost & ~nothing].reset_index(drop=True), tuple(remarks)


def _with_files(labels: Collection[str], folder: Path) -> dict[str, str]:
    """Return the labels whose picture is a file of a folder, or of one below it, each as its own picture."""
    known = {stem_of(name) for name in shown_pictures(folder, labels)} if labels else set()
    return {label: label for label in labels if stem_of(label) in known}


def _meant(name: str | None, picture_of: dict[str, str], of_category: pd.Series) -> str | None:
    """Return the test stimulus that an imagery trial names: by its id, or by its category alone if that has one picture."""
    if not isinstance(name, str):
        return None
    category, _, image = name.partition(".")
    if name in picture_of:
        return name
    alone = list(of_category.get(category, [])) if image and not image.strip("0") else []
    return alone[0] if len(alone) == 1 else None


def _regions(source: BDataFile) -> dict[str, Bool[np.ndarray, " n_voxels"]]:
    """Return the regions without their prefix ROI_."""
    keys = [key for key in source.values if key.startswith("ROI_")]
    return {key.removeprefix("ROI_"): source.of_voxels(key) == 1 for key in keys}


def _places(source: BDataFile) -> Voxels:
    keys = [f"voxel_{axis}" for axis in "xyz"]
    n = len(source.voxel_columns)
    if not set(keys) <= set(source.values):
        return Voxels(n)
    places = np.stack([source.of_voxels(key) for key in keys], axis=1)
    return Voxels(n, coordinates=places if np.isfinite(places).all() else None)


def _by_id(stimuli: pd.DataFrame, column: str) -> dict[int, str]:
    return dict(zip(stimuli.index.to_numpy(dtype=np.int64).tolist(), stimuli[column].astype(str), strict=True))


def _rows_of(rows: pd.DataFrame, trials: pd.DataFrame, session: int) -> pd.DataFrame:
    """Return the rows of the files that hold a session's trials, in the order of its trials."""
    wanted = trials.loc[trials["session"] == session, "beta_index"]
    return rows.set_index("beta_index").loc[wanted]


def _captions(path: Path, stimuli: pd.DataFrame) -> Any:
    """Return the reader of captions, which a table gives by the names of pictures, with or without suffix."""
    said = read_captions(path)
    return captions_of(
        stimuli.assign(name=stimuli["picture"].map(_without_suffix)),
        said.assign(stimulus=said["stimulus"].astype(str).map(_without_suffix)),
    )


def _without_suffix(name: str) -> str:
    suffix = PurePath(name).suffix
    return PurePath(name).name.removesuffix(suffix if suffix.lower() in SUFFIXES else "")


def _read_session(
    sources: Sequence[BDataFile],
    rows: pd.DataFrame,
    trials: pd.DataFrame,
    session: int,
    voxels: Bool[np.ndarray, " n_all_voxels"],
) -> Betas:
    own = _rows_of(rows, trials, session)
    source = sources[int(own["source"].iloc[0])]  # files are sessions of their own (`_number_sessions`)
    return source.betas(own["row"].to_numpy(dtype=np.int64), voxels)
