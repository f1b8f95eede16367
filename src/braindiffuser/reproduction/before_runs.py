"""What would stop a reproduction, said before its first run: names, links, metrics, betas, recordings, stale results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from braindiffuser.errors import RunError
from braindiffuser.files import FileState
from braindiffuser.progress import Progress
from braindiffuser.recording_check import check_before_run
from braindiffuser.recording_hashes import RecordingHashes, recording_files
from braindiffuser.reproduction.planned_runs import PlannedRun
from braindiffuser.run_folder import check_folder, check_links, check_way, join_names
from braindiffuser.stages import all_steps
from braindiffuser.step_states import StepStates
from braindiffuser.store.results import Store
from braindiffuser.study.steps import NOTES

KIND = "reproduction"
"""Entry of the manifest by which the folder is recognised."""
FINDINGS, PAGE, STEP = "findings.json", "index.html", "findings"
TOPS = (FINDINGS, PAGE, "tables", "figures", "manifest.json", "steps")
"""What is written in the folder, beside the runs and studies."""
RECORDING, SHARED, STUDIES = "recording", "shared-features", "studies"


def check_before_runs(planned: Sequence[PlannedRun], folder: Path, overwrite: bool, progress: Progress) -> None:
    """Check what can be known of all runs before the first is made.

    Args:
        planned: the runs.
        folder: for all of them.
        overwrite: whether stale results may be replaced.
        progress: called while files of recordings are read.

    Raises:
        RunError: the folder holds something else, names clash, two subjects have the same betas or other metrics, or
            results are stale.
        RecordingError: a recording, or what an experiment asks of it, cannot be read.
    """
    check_folder_of_runs(folder)
    _check_names(planned)
    _check_metrics(planned)
    _check_betas(planned)
    for each in planned:
        made = (f"{each.subject}/{RECORDING}",) if each.experiment.dataset.makes_files else ()
        for below in (each.folder, *made, f"{each.subject}/{SHARED}", f"{STUDIES}/{each.split.name}"):
            check_way(folder, below)
        check_folder(folder / each.folder, each.experiment)
        check_links(folder / each.folder)
    _check_runs(planned, folder, overwrite, progress)


def check_folder_of_runs(folder: Path) -> None:
    """Check that the runs of a reproduction may be kept in a folder.

    Raises:
        RunError: it is a file, a run's or a study's own folder, holds files of the names that are written but no reproduction, or
            a link in their place.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file: name a folder for all runs")
    links = [name for name in (*TOPS, *NOTES) if (folder / name).is_symlink()]
    if links:
        raise RunError(f"{folder / links[0]} is a link, and only this folder is written to: remove the link")
    store = Store(folder)
    kind = store.manifest.get("kind", "run") if store.manifest else None
    if kind == KIND or store.record(STEP):
        return
    if kind is not None:
        raise RunError(f"{folder} holds a {kind}: name another folder for all runs")
    foreign = sorted(name for name in TOPS if (folder / name).exists())
    if foreign:
        raise RunError(
            f"{folder} holds {join_names(foreign)}, but no reproduction: name another folder, or move {folder / foreign[0]} away"
        )


def _check_metrics(planned: Sequence[PlannedRun]) -> None:
    """Raise if two subjects would be scored by other metrics, so that there would be no mean of these."""
    first = planned[0]
    for other in planned[1:]:
        one, two = (set(each.experiment.evaluation.all_metrics().metrics) for each in (first, other))
        if one != two:
            raise RunError(
                f"{first.folder} and {other.folder} would be scored by other metrics ({join_names(sorted(one ^ two))} in one of "
                "them alone), and means over subjects need the same: give all experiments one `evaluation`"
            )


def _check_betas(planned: Sequence[PlannedRun]) -> None:
    """Raise if two subjects read the same files of betas: they are one person, whom means would count twice."""
    known: dict[frozenset[str], str] = {}
    for each in planned:
        files = frozenset(map(os.path.realpath, each.experiment.dataset.files().get("betas", {}).values()))
        subject = known.setdefault(files, each.subject) if files else each.subject
        if subject != each.subject:
            raise RunError(
                f"{subject} and {each.subject} would be read from the same betas, and means count each subject once: name one of "
                "the two, or give each its own recording"
            )


def _check_runs(planned: Sequence[PlannedRun], folder: Path, overwrite: bool, progress: Progress) -> None:
    """Raise what would stop a run that is not finished, before the first is made: its recording, its regions, what is stale."""
    looked_at: set[str] = set()
    checkpoint_files: dict[Path, FileState] = {}
    for each in planned:
        if each.experiment.dataset.makes_files:
            continue
        experiment, store = each.experiment, Store(folder / each.folder)
        experiment = experiment if experiment.dataset.has_captions else experiment.without_captions()
        files = recording_files(experiment)
        states = StepStates(experiment, store, RecordingHashes(store, files, progress, keep=False), checkpoint_files)
        steps = all_steps(experiment)
        states.refuse_stale(steps, overwrite)
        if any(states.state(step) != "finished" for step in steps):
            check_before_run(experiment, stimuli=each.subject not in looked_at)
            looked_at.add(each.subject)


def _check_names(planned: Sequence[PlannedRun]) -> None:
    """Refuse subjects and splits whose folders would be those of something else."""
    for each in planned:
        for name, taken in ((each.subject, (*TOPS, *NOTES, STUDIES)), (each.split.name, (RECORDING, SHARED))):
            if name in taken:
                raise RunError(f"{name} is the name of a folder or file that is written beside the runs: rename it")
