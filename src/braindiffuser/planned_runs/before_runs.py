"""What would stop several runs, said before the first of them: names, links, metrics, betas, recordings, stale results."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from braindiffuser.arrays import Betas
from braindiffuser.datasets.session_facts import describe
from braindiffuser.errors import BrainDiffuserError, RunError
from braindiffuser.experiment import Experiment
from braindiffuser.files import FileState
from braindiffuser.machine import check_networks
from braindiffuser.planned_runs.planned import PlannedRun
from braindiffuser.progress import Progress
from braindiffuser.recording_check import check_before_run
from braindiffuser.recording_hashes import RecordingHashes, recording_files
from braindiffuser.run_folder import check_folder, check_links, check_way, join_names
from braindiffuser.stages import all_steps
from braindiffuser.stages.extract import why_not_shared
from braindiffuser.step_states import StepStates
from braindiffuser.store.results import Store
from braindiffuser.store.shared_rows import check_shared
from braindiffuser.study import one_person, steps
from braindiffuser.study.steps import NOTES, check_study_folder

PAGE = "index.html"
PRINTED = ("label", "description", "citation")
"""Entries of a metric that no score depends on."""
RECORDING, SHARED, STUDIES = "recording", "shared-features", "studies"


@dataclass(frozen=True)
class Purpose:
    """What several runs are made for, which is written in the folder of all of them.

    Attributes:
        kind: entry of the manifest by which the folder is recognised.
        step: that the results are written in.
        result: name of the file of results in numbers.
    """

    kind: str
    step: str
    result: str

    @property
    def tops(self) -> tuple[str, ...]:
        """What is written in the folder, beside the runs and studies."""
        return (self.result, PAGE, "tables", "figures", "manifest.json", "steps")


def check_before_runs(
    planned: Sequence[PlannedRun],
    folder: Path,
    purpose: Purpose,
    overwrite: bool,
    progress: Progress,
    *,
    computes_here: bool = True,
) -> None:
    """Check what can be known of all runs before the first is made.

    Args:
        planned: the runs.
        folder: for all of them.
        purpose: what they are made for.
        overwrite: whether stale results may be replaced.
        progress: called while files of recordings are read.
        computes_here: whether networks run on this machine, so that it must have their device.

    Raises:
        RunError: the folder holds something else, names clash, two subjects have the same betas or other metrics, or
            results are stale.
        RecordingError: a recording, or what an experiment asks of it, cannot be read.
    """
    check_folder_of_runs(folder, purpose)
    _check_names(planned, purpose)
    _check_metrics(planned)
    _check_betas(planned)
    for each in planned:
        made = (f"{each.subject}/{RECORDING}",) if each.experiment.dataset.makes_files else ()
        for below in (each.folder, *made, f"{each.subject}/{SHARED}", f"{STUDIES}/{each.setting.name}"):
            check_way(folder, below)
        check_folder(folder / each.folder, each.experiment)
        check_links(folder / each.folder)
        _check_shared(each, folder, planned)
    _check_studies(planned, folder)
    _check_runs(planned, folder, overwrite, progress, computes_here=computes_here)


def _check_shared(each: PlannedRun, folder: Path, planned: Sequence[PlannedRun]) -> None:
    """Raise what would stop a run that extracts features which runs of its subject share."""
    settings = {other.setting.name for other in planned}
    if len(settings) < 2 or why_not_shared(each.experiment):
        return
    store = Store(folder / each.folder)
    if any(store.record(str(step)) is None for step in all_steps(each.experiment) if step.stage == "extract"):
        check_shared(folder / each.subject / SHARED)


def check_folder_of_runs(folder: Path, purpose: Purpose) -> None:
    """Check that several runs of a purpose may be kept in a folder.

    Raises:
        RunError: it is a file, a run's or a study's own folder, holds files of the names that are written but is not of this
            purpose, or a link in their place.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file: name a folder for all runs")
    links = [name for name in (*purpose.tops, *NOTES) if (folder / name).is_symlink()]
    if links:
        raise RunError(f"{folder / links[0]} is a link, and only this folder is written to: remove the link")
    store = Store(folder)
    kind = store.manifest.get("kind", "run") if store.manifest else None
    if kind == purpose.kind or store.record(purpose.step):
        return
    if kind is not None:
        raise RunError(f"{folder} holds a {kind}: name another folder for all runs")
    foreign = sorted(name for name in purpose.tops if (folder / name).exists())
    if foreign:
        raise RunError(
            f"{folder} holds {join_names(foreign)}, but no {purpose.kind}: name another folder, or move {folder / foreign[0]} "
            "away"
        )


def _check_metrics(planned: Sequence[PlannedRun]) -> None:
    """Raise if two runs would be scored by other metrics, or by others of the same name."""
    first = planned[0]
    one = _computed(first.experiment)
    for other in planned[1:]:
        two = _computed(other.experiment)
        differing = sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))
        if differing:
            raise RunError(
                f"{first.folder} and {other.folder} would be scored by other metrics ({join_names(differing)}), and scores are "
                "put together metric by metric: give all experiments one `evaluation`"
            )


def _computed(experiment: Experiment) -> dict[str, Any]:
    """Return metric → what its scores depend on, not its printed words; and what pictures are blended with before."""
    profile = experiment.evaluation.all_metrics()
    blend = None if profile.blend is None else profile.blend.model_dump(mode="json")
    found: dict[str, Any] = {} if blend is None else {"blend": blend}
    for name, metric in profile.metrics.items():
        facts = metric.influences(experiment.device)
        found[name] = {entry: value for entry, value in facts.items() if entry not in PRINTED}
    return found


def _check_betas(planned: Sequence[PlannedRun]) -> None:
    """Raise if two subjects are one person, whom means would count twice, as far as a session of each tells.

    Only subjects that share a file are looked at: it may hold the betas of several people, and the files of one person may be
    read under two names. What runs keep of all sessions is compared once the betas of all are averaged.
    """
    subjects = {each.subject: each.experiment for each in planned}
    files = {
        name: {os.path.realpath(path) for path in experiment.dataset.files().get("betas", {}).values()}
        for name, experiment in subjects.items()
    }
    for one, other in combinations(subjects, 2):
        if files[one] & files[other] and _same_betas(subjects[one], subjects[other]):
            raise RunError(
                f"{one} and {other} would be read from the same betas, and means count each subject once: name one of the two, "
                "or give each its own recording"
            )


def _check_studies(planned: Sequence[PlannedRun], folder: Path) -> None:
    """Raise what would stop the results and the studies when all runs are made: links, and what is no study."""
    steps.check_links(folder)
    for name, n_runs in Counter(each.setting.name for each in planned).items():
        if n_runs > 1:
            check_study_folder(folder / STUDIES / name)
            steps.check_links(folder / STUDIES / name)


def _same_betas(one: Experiment, other: Experiment) -> bool:
    """Read the first session that both have of the same files, and return whether trials or voxels have equal betas.

    What cannot be read is said where recordings are checked, unless runs are finished and do not need it.
    """
    try:
        betas = _of_shared_session(one, other)
    except (BrainDiffuserError, OSError):
        return False
    if any(len(own) < 2 for own in betas) or not betas:
        return False
    told = (one_person.Betas("", frozenset(), sessions={0: describe(own, np.arange(len(own)))}) for own in betas)
    return bool(one_person.share_betas(*told))


def _of_shared_session(one: Experiment, other: Experiment) -> list[Betas]:
    """Return the betas of the first session of each that are read from the same files; none if there is no such session."""
    recordings = [each.dataset.without_split().recording(Path()) for each in (one, other)]
    placed: list[dict[frozenset[str], int]] = []
    for experiment, recording in zip((one, other), recordings, strict=True):
        paths = experiment.dataset.files().get("betas", {})
        names = {number: recording.session_files(number) for number in reversed(recording.session_numbers)}
        placed.append(
            {
                frozenset(os.path.realpath(paths.get(name, name)) for name in own): number
                for number, own in names.items()
            }
        )
    shared = [place for place in placed[0] if place in placed[1]]
    if not shared:
        return []
    first = min(shared, key=placed[0].__getitem__)
    return [recording.betas_of(own[first]) for recording, own in zip(recordings, placed, strict=True)]


def _check_runs(
    planned: Sequence[PlannedRun], folder: Path, overwrite: bool, progress: Progress, *, computes_here: bool
) -> None:
    """Raise what would stop a run that is not finished, before the first is made: its recording, its regions, what is stale."""
    looked_at: set[str] = set()
    checkpoint_files: dict[Path, FileState] = {}
    reading = {each.folder: _as_read(each, folder) for each in planned}
    files = {name: {} if own is None else recording_files(own) for name, own in reading.items()}
    for each in planned:
        experiment, store = reading[each.folder], Store(folder / each.folder)
        if experiment is None:
            if computes_here:
                check_networks(each.experiment.device)
            continue
        siblings = [
            (Store(folder / other.folder), files[other.folder])
            for other in planned
            if other.subject == each.subject and other is not each
        ]
        hashes = RecordingHashes(store, files[each.folder], progress, keep=False, others=siblings)
        states = StepStates(experiment, store, hashes, checkpoint_files)
        own = all_steps(experiment)
        states.refuse_stale(own, overwrite)
        if any(states.state(step) != "finished" for step in own):
            if computes_here:
                check_networks(experiment.device)
            if not each.experiment.dataset.makes_files:
                check_before_run(experiment, stimuli=each.subject not in looked_at)
            looked_at.add(each.subject)


def _as_read(planned: PlannedRun, folder: Path) -> Experiment | None:
    """Return the experiment as its run reads it; None if its recording is still to be made."""
    experiment = planned.experiment
    if experiment.dataset.makes_files:
        made = folder / planned.subject / RECORDING
        if not made.is_dir():
            return None
        experiment = experiment.changed({"dataset": experiment.dataset.made_at(made).model_dump()})
    return experiment if experiment.dataset.has_captions else experiment.without_captions()


def _check_names(planned: Sequence[PlannedRun], purpose: Purpose) -> None:
    """Refuse subjects and settings whose folders would be those of something else."""
    for each in planned:
        for name, taken in ((each.subject, (*purpose.tops, *NOTES, STUDIES)), (each.setting.name, (RECORDING, SHARED))):
            if name in taken:
                raise RunError(f"{name} is the name of a folder or file that is written beside the runs: rename it")
