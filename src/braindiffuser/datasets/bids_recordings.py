"""Recordings of single-trial betas in a BIDS folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from braindiffuser.arrays import Betas, VoxelMask
from braindiffuser.datasets.array_recordings import captions_of, captions_said
from braindiffuser.datasets.beta_files import inspect_on_grid
from braindiffuser.datasets.bids_files import EXAMPLE, BetaFile, find_atlases, find_betas, find_masks
from braindiffuser.datasets.bids_names import NIFTI, BIDSFile, find
from braindiffuser.datasets.picture_sets import PictureFiles, first_trials, list_pictures
from braindiffuser.datasets.recording import Recording, names_of
from braindiffuser.datasets.shared_stimuli import shown_to_all
from braindiffuser.datasets.tables import read_table, truth_values
from braindiffuser.datasets.trial_remarks import trial_remarks
from braindiffuser.datasets.trial_tables import (
    choose_sessions,
    further_sets_of,
    regions_named,
    stimulus_column,
    trial_table,
    whole_numbers,
)
from braindiffuser.datasets.volumes import as_labels, check_grid, mask_doubts, read_mask, read_values, read_volumes
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError

if TYPE_CHECKING:
    from braindiffuser.datasets.bids import BIDS

NAMES_EXAMPLE = "index\tname\n1\tV1\n2\tV2"


@dataclass(frozen=True, eq=False)
class Mask:
    """The analysed voxels, with the file that messages name."""

    path: Path
    voxels: VoxelMask
    affine: Float[np.ndarray, "4 4"] | None


def open_bids(config: BIDS) -> Recording:
    """Open a recording in a BIDS folder; betas and pictures stay on disk until they are asked for.

    Raises:
        RecordingError: a file is missing or damaged, does not fit the others, or several fit and no entry chooses.
    """
    betas, numbered = find_betas(config)
    first = betas[0].file
    mask, masked = _read_mask(config, first)
    rows, starts, without_beta = _read_rows(config, betas, mask)
    subject = f"sub-{first.label('sub')}"
    trials, stimuli = trial_table(rows, subject, config.root)
    rois, left_out = _regions(config, first, mask)
    folder = pictures_folder(config)
    pictures = PictureFiles.find(folder, names_of(stimuli), first_trials(trials, config.root, by_run=True), config.side)
    return Recording(
        subject=subject,
        trials=trials,
        voxels=Voxels.in_volume(mask.voxels, mask.affine),
        roi_masks=rois,
        read_session=partial(_read_session, starts, mask, trials),
        unit=config.unit,
        pictures=pictures,
        stimuli=stimuli,
        captions=captions_of(stimuli, captions_said(config.captions, rows, config.root)),
        shared=lambda: shown_to_all(names_of(stimuli), _shown_to_others(config, first), config.root),
        further_test_sets=further_sets_of(stimuli),
        session_files=lambda session: tuple(
            _name(config, path) for path, _ in _parts(starts, _numbers_of(trials, session))
        ),
        remarks=(
            *numbered,
            *without_beta,
            *trial_remarks(rows, trials, config.root, config.sessions is None),
            *masked,
            *left_out,
            *pictures.remarks,
        ),
    )


def list_files(config: BIDS) -> dict[str, dict[str, Path]]:
    """List the files of a recording by role; none of a role whose files are missing or not chosen, which `open` says."""
    listed: dict[str, list[Path]] = {"design": [], "regions": [], "betas": []}
    try:
        betas = find_betas(config)[0]
        first = betas[0].file
        listed["betas"] = [beta.file.path for beta in betas]
        listed["design"] = [table.path for beta in betas for table in beta.tables]
        atlases = [file for _, *files in find_atlases(config, first) for file in files if file is not None]
        masks = [config.mask] if config.mask else [file.path for file in find_masks(config, first)]
        listed["regions"] = [*masks, *(file.path for file in atlases)]
    except RecordingError:
        pass  # open() raises it again
    files = {role: {_name(config, path): path for path in paths if path.is_file()} for role, paths in listed.items()}
    captions = {config.captions.name: config.captions} if config.captions and config.captions.is_file() else {}
    return {**files, "stimuli": list_pictures(pictures_folder(config)), "captions": captions}


def files_of_others(config: BIDS) -> dict[str, Path]:
    """Return name → table of trials of the other subjects; none where files are missing or not chosen, which `open` says."""
    try:
        betas = _betas_of_others(config, find_betas(config)[0][0].file)
    except RecordingError:
        return {}
    tables = [table.path for own in betas.values() for beta in own for table in beta.tables]
    return {_name(config, path): path for path in tables}


def _betas_of_others(config: BIDS, beta: BIDSFile) -> dict[str, list[BetaFile]]:
    """Return the betas of each other subject that the same entries choose, of all sessions."""
    files = find(config.root, [config.suffix])
    labels = {file.label("sub") for file in files if file.extension in NIFTI} - {"", beta.label("sub")}
    others = {label: config.model_copy(update={"subject": label, "sessions": None}) for label in sorted(labels)}
    return {f"sub-{label}": find_betas(other)[0] for label, other in others.items()}


def _shown_to_others(config: BIDS, beta: BIDSFile) -> dict[str, set[str]]:
    return {
        subject: {name for own in betas for table in own.tables for name in _names_in(table.path, own, config)}
        for subject, betas in _betas_of_others(config, beta).items()
    }


def _names_in(path: Path, beta: BetaFile, config: BIDS) -> set[str]:
    """Return the names of stimuli in a table, without those of catch trials."""
    rows = _read_trials(path, beta.is_events, config.trial_types)
    if "is_catch" in rows:
        rows = rows[~truth_values(rows, "is_catch", path)]
    return set(rows["stimulus"].dropna().astype(str).str.strip())


def has_captions(config: BIDS) -> bool:
    """Return whether there are captions; True where no table can be read, which `open` says."""
    if config.captions is not None:
        return True
    try:
        tables = [table.path for beta in find_betas(config)[0] for table in beta.tables]
        return any("caption" in read_table(path) for path in tables)
    except RecordingError:
        return True


def pictures_folder(config: BIDS) -> Path:
    """Return the folder of pictures: `stimuli`, as BIDS has it, unless another is given."""
    return config.pictures or (config.raw or config.root) / "stimuli"


def _name(config: BIDS, path: Path) -> str:
    folders = [folder for folder in (config.root, config.raw) if folder is not None and path.is_relative_to(folder)]
    return path.relative_to(folders[0]).as_posix() if folders else path.name


def _read_mask(config: BIDS, beta: BIDSFile) -> tuple[Mask, tuple[str, ...]]:
    """Read the analysis mask: the one that is given, or the voxels that all brain masks have."""
    if config.mask is not None:
        return Mask(config.mask, *read_mask(config.mask)), mask_doubts(config.mask)
    paths = [file.path for file in find_masks(config, beta)]
    voxels, affine = read_mask(paths[0])
    common, largest = voxels.copy(), voxels.copy()
    for path in paths[1:]:
        other, own = read_mask(path)
        check_grid(path, other.shape, own, paths[0], voxels.shape, affine)
        common &= other
        largest |= other
    lost = int(largest.sum() - common.sum())
    said = f"Analysed are the voxels that all {len(paths)} brain masks have; {lost:,} others are in some of them only."
    odd = [sentence for path in paths for sentence in mask_doubts(path)]
    return Mask(paths[0], common, affine), (*([said] if lost else []), *odd)


def _read_rows(
    config: BIDS, betas: Sequence[BetaFile], mask: Mask
) -> tuple[pd.DataFrame, dict[int, tuple[Path, int]], tuple[str, ...]]:
    """Read the tables of all betas.

    Returns:
        One row per beta with `stimulus`, `session`, `run` and `beta_index`, which counts the volumes of all files; and first
        volume → file and number of its volumes; and a remark on events without a beta.

    Raises:
        RecordingError: a table does not fit its betas, or betas do not fit the mask.
    """
    tables, starts, start, n_events = [], {}, 0, 0
    for beta in betas:
        path = beta.file.path
        header = inspect_on_grid(path, mask.path, mask.voxels.shape, mask.affine)
        rows, n_own = _rows_of(beta, header.n_trials, config.trial_types)
        n_events += n_own
        starts[start] = path, header.n_trials
        tables.append(rows.assign(beta_index=rows["volume"] + start).drop(columns="volume"))
        start += header.n_trials
    whole = pd.concat(tables, ignore_index=True)
    chosen = choose_sessions(whole["session"].tolist(), config.sessions, config.root)
    dropped = n_events - len(whole)
    said = f"Events without a beta, which show no picture: {dropped:,} of {n_events:,}; they are left out."
    return whole[whole["session"].isin(chosen)].reset_index(drop=True), starts, (said,) if dropped else ()


def _rows_of(beta: BetaFile, n_volumes: int, trial_types: Sequence[str] | None) -> tuple[pd.DataFrame, int]:
    """Return the rows of a file's volumes, with the column `volume`, and the number of rows in its tables."""
    path, tables = beta.file.path, []
    for table in beta.tables:
        rows = _read_trials(table.path, beta.is_events, trial_types)
        run = int(table.label("run") or beta.file.label("run") or 1)
        own_run = "run" in rows and not beta.is_events and not beta.file.label("run")
        rows["run"] = whole_numbers(rows, "run", table.path) if own_run else run
        own_session = "session" in rows and not beta.file.label("ses")
        rows["session"] = whole_numbers(rows, "session", table.path) if own_session else beta.session
        tables.append(rows)
    rows, where = pd.concat(tables, ignore_index=True), beta.tables[0].path
    if "beta_index" in rows:
        return rows.assign(volume=_given_volumes(rows, where, path, n_volumes)), len(rows)
    n_rows, has_picture = len(rows), rows["stimulus"].notna().to_numpy(copy=True)
    if "is_catch" in rows:
        has_picture &= ~truth_values(rows, "is_catch", where)
    if has_picture.sum() == n_volumes:
        rows = rows[has_picture]
    elif len(rows) != n_volumes:
        raise RecordingError(
            f"{path} has {n_volumes} volumes, but {where} has {len(rows)} trials, {int(has_picture.sum())} of them with a "
            "picture: expected one volume for each; choose trial_types, or write a column beta_index with each trial's volume, "
            "from 0"
        )
    if beta.is_events:
        _check_onsets(rows, beta.tables)
    return rows.assign(volume=np.arange(n_volumes)), n_rows


def _read_trials(path: Path, is_events: bool, trial_types: Sequence[str] | None) -> pd.DataFrame:
    """Read a table with the column `stimulus`; events in order of onset, and of the wanted types only."""
    rows = read_table(path, ["onset"] if is_events else [], EXAMPLE)
    column = stimulus_column(rows, path, EXAMPLE)
    if trial_types is not None:
        if "trial_type" not in rows:
            raise RecordingError(
                f"{path} lacks the column trial_type, by which trial_types chooses, such as\n{EXAMPLE}"
            )
        types = rows["trial_type"].astype(str)
        if not types.isin(trial_types).any():
            raise RecordingError(
                f"{path} has no trial of the types {', '.join(trial_types)}: its trial_type holds {', '.join(sorted(set(types)))}"
            )
        rows = rows[types.isin(trial_types)]
    if is_events:
        onsets = pd.to_numeric(rows["onset"], errors="coerce")
        broken = ~np.isfinite(onsets)
        if broken.any():
            raise RecordingError(
                f"{path}: column onset holds {str(rows['onset'][broken].iloc[0])!r}; expected seconds, such as 4.0"
            )
        rows = rows.assign(onset=onsets).sort_values("onset", kind="stable")
    return rows.assign(stimulus=rows[column], table_row=rows.index)


def _check_onsets(rows: pd.DataFrame, tables: Sequence[BIDSFile]) -> None:
    """Refuse two events with betas that begin at one time, since nothing says which volume belongs to which."""
    for run, own in rows.groupby("run", sort=False):
        twice = own[own["onset"].duplicated(keep=False)]
        twice = twice[twice.groupby("onset")["stimulus"].transform("nunique") > 1]
        if len(twice):
            of_run = [table for table in tables if len(tables) == 1 or int(table.label("run") or 1) == run]
            names = " or ".join(table.path.name for table in of_run)
            shown = " and ".join(map(repr, twice["stimulus"].unique()[:2]))
            raise RecordingError(
                f"{names}: events with betas begin at one time ({shown} at {twice['onset'].iloc[0]:g} s), so their order is not "
                "known: correct the onsets, or write a column beta_index with each trial's volume, from 0"
            )


def _given_volumes(rows: pd.DataFrame, where: Path, path: Path, n_volumes: int) -> Int[np.ndarray, " n"]:
    volumes = whole_numbers(rows, "beta_index", where)
    if volumes.max() >= n_volumes or len(np.unique(volumes)) < len(volumes):
        raise RecordingError(
            f"{where}: beta_index runs from {volumes.min()} to {volumes.max()} in {len(volumes)} rows, but {path} has "
            f"{n_volumes} volumes, counted from 0: name each at most once"
        )
    return volumes


def _numbers_of(trials: pd.DataFrame, session: int) -> Int[np.ndarray, " n"]:
    numbers: Int[np.ndarray, " n"] = trials.loc[trials["session"] == session, "beta_index"].to_numpy()
    return numbers


def _parts(
    starts: Mapping[int, tuple[Path, int]], numbers: Int[np.ndarray, " n"]
) -> list[tuple[Path, tuple[Bool[np.ndarray, " n"], Int[np.ndarray, " n_own"]]]]:
    """Return the files that some betas lie in, with which of the betas, and their volumes there."""
    found = []
    for start, (path, n_volumes) in starts.items():
        own = (numbers >= start) & (numbers < start + n_volumes)
        if own.any():
            found.append((path, (own, numbers[own] - start)))
    return found


def _read_session(starts: Mapping[int, tuple[Path, int]], mask: Mask, trials: pd.DataFrame, session: int) -> Betas:
    """Read the files of a session one after the other."""
    numbers = _numbers_of(trials, session)
    parts = _parts(starts, numbers)
    betas: Betas | None = None
    for path, (own, volumes) in parts:
        values = read_volumes(path, mask.voxels)
        values = values if np.array_equal(volumes, np.arange(len(values))) else values[volumes]
        if len(parts) == 1:
            return values
        betas = np.empty((len(numbers), values.shape[1]), np.float32) if betas is None else betas
        betas[own] = values
    if betas is None:
        raise RecordingError(f"there is no session {session} to read")
    return betas


def _regions(
    config: BIDS, beta: BIDSFile, mask: Mask
) -> tuple[dict[str, Bool[np.ndarray, " n_voxels"]], tuple[str, ...]]:
    """Read the regions of all atlases; those that nobody asked for and that do not fit are left out, which is said."""
    atlases: dict[str, dict[str, Bool[np.ndarray, " n_voxels"]]] = {}
    said: dict[str, list[str]] = defaultdict(list)
    unnamed: list[str] = []
    for label, volume, table in find_atlases(config, beta):
        fault = "no table of names"
        try:
            if table is None:
                raise RecordingError(
                    f"{volume.path} has no table of names beside it, such as …_dseg.tsv with\n{NAMES_EXAMPLE}"
                )
            fault = "no volume that can be read"
            labels, affine = read_values(volume.path)
            fault = "another grid than the mask"
            check_grid(volume.path, labels.shape, affine, mask.path, mask.voxels.shape, mask.affine)
            fault = "values that are no labels"
            own = as_labels(labels, volume.path)[mask.voxels]
            fault = "a table of names that does not fit"
            regions = _named(own, table.path)
        except RecordingError:
            if config.atlases is not None:
                raise
            said[fault].append(volume.path.name)
            continue
        unnamed += _unnamed(own, regions, volume.path, table.path)
        if label in atlases and not _equal(atlases[label], regions):
            raise RecordingError(
                f"{config.root} holds several atlases {label!r} that differ, such as {volume.path}: move all but one away"
            )
        atlases[label] = regions
    not_read = [
        f"Atlases that are not read ({why}): {', '.join(names[:3])}{' …' if names[3:] else ''}."
        for why, names in said.items()
    ]
    return _united(atlases), (*not_read, *unnamed)


def _unnamed(
    labels: Int[np.ndarray, " n_voxels"],
    regions: Mapping[str, Bool[np.ndarray, " n_voxels"]],
    volume: Path,
    table: Path,
) -> list[str]:
    """Say which labels of an atlas have no name in its table, so that their voxels are in no region."""
    named = np.any([np.zeros(len(labels), bool), *regions.values()], axis=0)
    numbers, counts = np.unique(labels[(labels > 0) & ~named], return_counts=True)
    if not len(numbers):
        return []
    shown = ", ".join(map(str, numbers[:5])) + (" …" if len(numbers) > 5 else "")
    return [
        f"{volume.name} holds labels without a name in {table.name} ({shown}): their {counts.sum():,} voxels are in no region."
    ]


def _named(labels: Int[np.ndarray, " n_voxels"], path: Path) -> dict[str, Bool[np.ndarray, " n_voxels"]]:
    return regions_named(labels, read_table(path, ["index", "name"], NAMES_EXAMPLE), path)


def _equal(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def _united(atlases: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Bool[np.ndarray, " n_voxels"]]:
    """Return the regions of all atlases, whose names must differ."""
    found: dict[str, Bool[np.ndarray, " n_voxels"]] = {}
    for regions in atlases.values():
        twice = sorted(regions.keys() & found.keys())
        if twice:
            owners = [label for label, own in atlases.items() if twice[0] in own]
            chosen = ", ".join(label for label in atlases if label not in owners[1:])
            raise RecordingError(
                f"the region {twice[0]} is in several atlases ({', '.join(map(repr, owners))}): choose one of them, such as by "
                f"atlases: [{chosen}]"
            )
        found |= regions
    return found
