"""Recordings of LAION-fMRI: sessions of single-trial betas, pictures joined by name, splits, captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Int

from braindiffuser.arrays import Betas
from braindiffuser.datasets.array_recordings import captions_of
from braindiffuser.datasets.beta_files import inspect_on_grid
from braindiffuser.datasets.checked_betas import without_data
from braindiffuser.datasets.laion_files import (
    BUCKET,
    GATE,
    PUBLIC_SESSIONS,
    PUBLIC_SUBJECTS,
    LaionFiles,
    choose_sessions,
    wanted_sessions,
)
from braindiffuser.datasets.laion_regions import (
    AnalysisMask,
    mask_path,
    open_mask,
    read_ceilings,
    read_regions,
    region_files,
)
from braindiffuser.datasets.laion_splits import PACKAGE, divide, ood_sets, split_path, splits_folder
from braindiffuser.datasets.missing_files import Missing, lacking, numbered, refuse_missing
from braindiffuser.datasets.picture_sets import EncodedPictures
from braindiffuser.datasets.recording import Recording, names_of
from braindiffuser.datasets.tables import read_table
from braindiffuser.datasets.trial_remarks import left_out
from braindiffuser.datasets.trial_tables import trial_table
from braindiffuser.datasets.volumes import read_volumes
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError

if TYPE_CHECKING:
    from braindiffuser.datasets.laion_fmri import LaionFMRI

TRIALS = ("session", "run", "beta_index", "label")
TRIALS_EXAMPLE = """session\trun\tbeta_index\tlabel
ses-01\trun-01\t0\tshared_12rep_LAION_cluster_113_i0.jpg"""
METADATA_EXAMPLE = """image_name,dataset,participant,unique_or_shared,n_reps
shared_12rep_LAION_cluster_113_i0.jpg,LAION,shared,shared,12rep"""
CAPTIONS = ("image_name", "caption_idx", "source", "caption")
CAPTIONS_EXAMPLE = """image_name,caption_idx,source,caption
shared_12rep_LAION_cluster_113_i0.jpg,1,human,a red circle"""
SHARED = "unique_or_shared"
"""Column of the metadata that says whether all subjects saw a picture."""
GREY = 128
"""Grey level that transparent pictures were shown over."""


def open_laion(config: LaionFMRI) -> Recording:
    """Open a recording of LAION-fMRI; betas and pictures stay on disk until they are asked for.

    Raises:
        RecordingError: a file is missing or damaged, or does not fit the others.
    """
    files = LaionFiles(config.root, config.subject)
    if files.sessions:  # else the folder or the subject is wrong, which is said
        _refuse_missing(files, config)
    sessions, absent = choose_sessions(files, config.sessions)
    mask = open_mask(files, config.mask)
    metadata = _metadata(files)
    trials, stimuli, left_out = _trials(files, sessions, metadata, mask, config.ood == "kinds")
    names = names_of(stimuli)
    folder, pool = splits_folder(config.root, config.splits), config.pool or config.subject
    sides = divide(names, folder, pool, config.split, config.variant, config.ood == "kinds")
    trials = trials.assign(split=sides.words(trials["stimulus_id"].to_numpy()))
    pictures = _pictures(files, names, len(metadata), config.side)
    regions = read_regions(files, mask)
    ncsnr, ceilings = read_ceilings(files, config.ceilings, mask, trials) if config.ceilings else (None, "")
    grey = f"Transparent pictures are shown over mid-grey ({GREY} of 255), as in the scanner."
    return Recording(
        subject=config.subject,
        trials=trials,
        voxels=Voxels.in_volume(mask.voxels, mask.affine),
        roi_masks=regions.masks,
        read_session=partial(_read_session, files, mask, trials),
        unit=config.unit,
        missing_rois=regions.missing,
        pictures=pictures,
        stimuli=stimuli,
        captions=captions_of(stimuli, _captions(files) if config.has_captions else None),
        further_test_sets=sides.further,
        ncsnr=ncsnr,
        notes=sides.notes,
        shared=partial(_shared, stimuli),
        split_remark=" ".join(sides.remarks),
        session_files=lambda session: (files.name_of(files.betas(session)),),
        remarks=(
            *absent,
            *left_out,
            *mask.remarks,
            *regions.remarks,
            *([ceilings] if ceilings else []),
            *_without_captions(files, config.captions),
            *([grey] if any(name.lower().endswith(".png") for name in names.values()) else []),
            *pictures.remarks,
        ),
    )


def _refuse_missing(files: LaionFiles, config: LaionFMRI) -> None:
    """Refuse a recording that lacks files of the subject and of sessions; sessions alone are left to `choose_sessions`."""
    by_session = []
    wanted = wanted_sessions(files, config.sessions)
    for path_of, holds, role in ((files.betas, "betas", "betas"), (files.trials, "which trial showed what", "design")):
        numbers = [number for number in wanted if not path_of(number).is_file()]
        if numbers:
            public = tuple(number for number in numbers if number <= PUBLIC_SESSIONS)
            name = files.name_of(path_of(numbers[0])).replace(f"ses-{numbers[0]:02}", f"ses-{numbered(numbers)}")
            by_session.append(Missing(name, holds, role if public else "", public))
    is_named = config.mask in ("R2mean", "anatomical")
    whole = [
        (mask_path(files, config.mask), Missing("", "mask of the analysed voxels", "regions" if is_named else "")),
        (files.metadata, Missing("", f"names of all pictures; {GATE}")),
        (files.pictures, Missing("", "pictures, likewise")),
        (files.regions_folder, Missing("", "regions", "regions", needed=False)),
    ]
    if config.ceilings:
        whole.append((files.ceilings(config.ceilings), Missing("", "noise ceilings, or ceilings: null", "regions")))
    if config.captions:
        whole.append((files.captions, Missing("", "captions", "captions", needed=False)))
    absent = lacking(files.root, whole)
    if config.split and splits_folder(config.root, config.splits) is None:
        path = split_path(Path("splits"), config.pool or config.subject, config.split)
        absent.append(Missing(path.as_posix(), f"the split; install {PACKAGE}, which ships it, or write split: null"))
    if any(entry.needed for entry in absent):
        name = "laion_fmri" if files.subject in PUBLIC_SUBJECTS else ""
        refuse_missing(files.root, [*by_session, *absent], name, files.subject)


def _shared(stimuli: pd.DataFrame) -> tuple[Int[np.ndarray, " n"], str]:
    """Return the pictures of the shared pool, by the metadata or by their names: shared_… and unique_…."""
    if SHARED in stimuli and stimuli[SHARED].notna().all():
        is_shared, how = stimuli[SHARED].astype(str).str.strip().str.lower() == "shared", f"by the column {SHARED}"
    else:
        is_shared, how = stimuli["name"].str.startswith("shared_"), "by their names, shared_…"
    return stimuli.index.to_numpy(dtype=np.int64)[is_shared.to_numpy(dtype=bool)], how


def list_files(config: LaionFMRI) -> dict[str, dict[str, Path]]:
    """List the files of a recording by role, without opening any; those that are not there are left out."""
    files = LaionFiles(config.root, config.subject)
    sessions = sorted(set(wanted_sessions(files, config.sessions)) & set(files.sessions))
    regions = [mask_path(files, config.mask), *region_files(files)]
    if config.ceilings:
        ceilings = files.ceilings(config.ceilings)
        regions += [ceilings, ceilings.with_name(ceilings.name.partition(".nii")[0] + ".json")]
    wanted = {
        "design": [files.metadata, *(files.trials(number) for number in sessions)],
        "regions": regions,
        "betas": [files.betas(number) for number in sessions],
        "stimuli": [files.pictures],
        "captions": [files.captions] if config.captions else [],
    }
    listed = {role: {files.name_of(path): path for path in paths if path.is_file()} for role, paths in wanted.items()}
    folder, pool = splits_folder(config.root, config.splits), config.pool or config.subject
    if config.split and folder is not None and (path := split_path(folder, pool, config.split)).is_file():
        listed["design"][f"splits/{pool}/{path.name}"] = path
    return listed


def _metadata(files: LaionFiles) -> pd.DataFrame:
    """Read the names of all pictures, of all subjects; row i is picture i."""
    if not files.metadata.is_file():
        raise RecordingError(f"{files.metadata} is missing: {GATE}; it is a table such as\n{METADATA_EXAMPLE}")
    table = read_table(files.metadata, ["image_name"], METADATA_EXAMPLE)
    names = table["image_name"]
    if names.isna().any() or names.duplicated().any():
        row = int(np.argmax(names.isna() | names.duplicated()))
        raise RecordingError(
            f"{files.metadata}: image_name in row {row}, counted from 0, is {names.iloc[row]!r}, which is no name or given "
            "twice, so pictures cannot be joined by it: download the table again"
        )
    return table.assign(image_name=names.astype(str))


def _trials(
    files: LaionFiles, sessions: Sequence[int], metadata: pd.DataFrame, mask: AnalysisMask, by_kind: bool
) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """Read the trials of all sessions; a stimulus's id is its picture's row.

    Returns:
        Trials; stimuli that were shown, with what the metadata say of them; and sentences on what is left out.
    """
    known, tables, said = set(metadata["image_name"]), [], []
    for session in sessions:
        table = _trials_of(files, session, known)
        n_volumes = inspect_on_grid(files.betas(session), mask.path, mask.voxels.shape, mask.affine).n_trials
        last = int(table["beta_index"].max())
        if last >= n_volumes:
            raise RecordingError(
                f"{files.trials(session)} names the volume {last}, counted from 0, but {files.betas(session)} has {n_volumes}: "
                "download both again"
            )
        unlisted = n_volumes - len(table)
        if unlisted:
            said.append(
                f"Session {session}: {unlisted} of {n_volumes} volumes of betas have no trial, and are left out."
            )
        tables.append(table)
    rows = pd.concat(tables, ignore_index=True)
    for alone in ood_sets(rows["label"].unique(), by_kind)[1]:
        said.append(f"{alone} is left out: it never trains, and one picture alone is no test set.")
        rows = rows[rows["label"] != alone]
    trials, stimuli = trial_table(
        rows, files.subject, files.betas_folder, metadata["image_name"].tolist(), by_session=True
    )
    said += left_out(rows, files.betas_folder)
    return trials, stimuli.join(metadata.drop(columns=["image_name", "name"], errors="ignore")), tuple(said)


def _trials_of(files: LaionFiles, session: int, known: set[str]) -> pd.DataFrame:
    path = files.trials(session)
    if not path.is_file():
        raise RecordingError(f"{path} is missing: {BUCKET}; it is a table such as\n{TRIALS_EXAMPLE}")
    table = read_table(path, TRIALS, TRIALS_EXAMPLE)[list(TRIALS)]
    table = table[table["label"].notna()].assign(label=lambda rows: rows["label"].astype(str).str.strip())
    foreign = table.index[~table["label"].isin(known)]
    if len(foreign):
        raise RecordingError(
            f"{path}: row {foreign[0]}, counted from 0, shows {table['label'][foreign[0]]!r}, but {files.metadata} has no such "
            "image_name: take both from the same release"
        )
    session_of, run = (_numbers(table[column]) for column in ("session", "run"))
    wrong = {"session": session_of != session, "run": run.isna()}
    for column, is_wrong in wrong.items():
        if is_wrong.any():
            row = table.index[is_wrong][0]
            example = (
                f"{session}, as the file's name says" if column == "session" else "a number, or a name such as run-01"
            )
            raise RecordingError(
                f"{path}: column {column} holds {table[column][row]!r} in row {row}, counted from 0; expected {example}"
            )
    index = pd.to_numeric(table["beta_index"], errors="coerce")
    if table.empty or index.isna().any() or (index < 0).any() or (index % 1 != 0).any() or index.duplicated().any():
        raise RecordingError(
            f"{path}: column beta_index should hold the number of each trial's volume, counted from 0 and each once, such as\n"
            f"{TRIALS_EXAMPLE}"
        )
    return table.assign(beta_index=index.astype(np.int64), session=session, run=run.astype(np.int64))


def _numbers(column: pd.Series) -> pd.Series:
    """Return numbers, or those at the end of names such as run-01; NaN where there is none."""
    return pd.to_numeric(column.astype(str).str.extract(r"^(?:[A-Za-z]+-)?(\d+)(?:\.0)?$", expand=False))


def _read_session(files: LaionFiles, mask: AnalysisMask, trials: pd.DataFrame, session: int) -> Betas:
    """Read the betas of one session; a voxel that is NaN in all its trials has no data there, and is 0."""
    volumes = trials.loc[trials["session"] == session, "beta_index"].to_numpy()
    return without_data(read_volumes(files.betas(session), mask.voxels, volumes=volumes))


def _pictures(files: LaionFiles, names: Mapping[int, str], n_listed: int, side: int | None) -> EncodedPictures:
    if not files.pictures.is_file():
        raise RecordingError(f"{files.pictures} is missing: {GATE}")
    pictures = EncodedPictures.open(files.pictures, "images", names, side, GREY)
    if pictures.n != n_listed:
        raise RecordingError(
            f"{files.pictures} holds {pictures.n} pictures, but {files.metadata} names {n_listed}, a row per picture: take both "
            "from the same release"
        )
    return pictures


def _without_captions(files: LaionFiles, wanted: bool) -> tuple[str, ...]:
    if not wanted or files.captions.is_file():
        return ()
    return (f"{files.name_of(files.captions)} is not there, so captions are not read.",)


def _captions(files: LaionFiles) -> pd.DataFrame:
    """Read the human captions, the best (rank 1) first; those of AI (rank 0) are left out."""
    table = read_table(files.captions, CAPTIONS, CAPTIONS_EXAMPLE)
    rank = pd.to_numeric(table["caption_idx"], errors="coerce")
    is_human = (table["source"].astype(str).str.strip().str.lower() == "human") & (rank >= 1)
    human = table[is_human].assign(rank=rank).dropna(subset=["image_name", "caption"])
    said = human.sort_values("rank", kind="stable")[["image_name", "caption"]]
    return said.set_axis(["stimulus", "caption"], axis=1)
