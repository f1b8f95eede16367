"""The runs that are planned, made one after the other in one folder.

runs/several/
  subj01/recording/        a simulated subject; recordings on disk are read where they are
  subj01/shared-features/  features of all pictures of the subject, computed once for several runs
  subj01/NAME/             a run for each split or setting
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from braindiffuser.datasets.dataset import Dataset
from braindiffuser.errors import BrainDiffuserError, RunError
from braindiffuser.files import alone_in
from braindiffuser.fold_runs import folder_to_share
from braindiffuser.planned_runs.before_runs import RECORDING, SHARED, Purpose, check_before_runs, check_folder_of_runs
from braindiffuser.planned_runs.planned import PlannedRun
from braindiffuser.progress import Progress
from braindiffuser.run import MakeWorkers, Run
from braindiffuser.run_folder import join_names, stored_experiment
from braindiffuser.store.results import Store
from braindiffuser.study.join import refuse_one_person_twice
from braindiffuser.study.members import betas_of, check_same_records

PLANNED = "planned"
"""Entry of a run's manifest: labels of the analyses that the plan asked for."""


@dataclass(frozen=True, eq=False)
class MadeRun:
    """A finished run.

    Attributes:
        planned: subject, variant and experiment.
        run: that was made of it, without target groups that its recording cannot have.
        records: step → its record when the run was finished.
    """

    planned: PlannedRun
    run: Run
    records: Mapping[str, Mapping[str, Any]]


def make_runs(
    planned: Sequence[PlannedRun],
    folder: Path,
    purpose: Purpose,
    overwrite: bool,
    progress: Progress,
    workers: MakeWorkers | None = None,
) -> list[MadeRun]:
    """Make every run that is not finished.

    Args:
        planned: the runs, subject by subject.
        folder: for all of them; made if it does not exist.
        purpose: what they are made for.
        overwrite: recompute what was made with other settings or inputs; else it raises.
        progress: called as progress(label, done, total).
        workers: makes what other processes compute parts of each run with; None: this process computes alone.

    Raises:
        RunError: what `check_before_runs` raises, before the first run; two subjects have the same betas; what a run raises.
    """
    check_folder_of_runs(folder, purpose)
    planned = [_with_further_analyses(each, folder) for each in planned]
    check_before_runs(planned, folder, purpose, overwrite, progress)
    _note_kind(folder, purpose)
    variants = list(dict.fromkeys(each.variant.name for each in planned))
    _prepare_all(planned, folder, variants, overwrite, progress)
    made = []
    for number, each in enumerate(planned, start=1):
        run = _open_run(each, folder, variants, overwrite, progress, workers)
        _finish_run(each, run)
        store = Store(run.results.folder)
        made.append(MadeRun(each, run, {str(step): store.record(str(step)) or {} for step in run.steps()}))
        progress("runs", number, len(planned))
    return made


def check_records(made: Sequence[MadeRun]) -> None:
    """Check that runs are as they were when they were finished.

    Raises:
        RunError: a step of one was made anew since; names the run.
    """
    for each in made:
        check_same_records(each.run.results.folder, each.records)


def _note_kind(folder: Path, purpose: Purpose) -> None:
    """Note in the folder of all runs what it is, before the first is made: a run never belongs in it itself."""
    if Store(folder).manifest.get("kind") == purpose.kind:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder):
        Store(folder).update_manifest(kind=purpose.kind)


def _with_further_analyses(planned: PlannedRun, folder: Path) -> PlannedRun:
    """Keep the analyses that a run got since, by `braindiffuser analyse NAME --out RUN`, after those that are planned.

    Those that were planned when the run was last made, and are not any more, are left out.
    """
    place = folder / planned.folder
    manifest = Store(place).manifest
    if not manifest.get("experiment"):
        return planned
    own = planned.experiment.analyses
    known = {*(analysis.label for analysis in own), *manifest.get(PLANNED, ())}
    further = [analysis for analysis in stored_experiment(place).analyses if analysis.label not in known]
    if not further:
        return planned
    every = [analysis.model_dump() for analysis in (*own, *further)]
    labels = tuple(analysis.label for analysis in further)
    return replace(planned, experiment=planned.experiment.changed({"analyses": every}), further=labels)


def _prepare_all(
    planned: Sequence[PlannedRun], folder: Path, variants: Sequence[str], overwrite: bool, progress: Progress
) -> None:
    """Average the betas of each of several subjects in its first run, before features are extracted and pictures drawn of any.

    Runs are opened anew for all that follows: what they remember of their recordings may be hours old by then.

    Raises:
        RunError: two subjects are one person.
    """
    first = {each.subject: each for each in reversed(planned)}
    if len(first) < 2:
        return
    told = {}
    for each in reversed(first.values()):
        run = _open_run(each, folder, variants, overwrite, progress)
        if not run.is_finished("prepare"):
            run.do("prepare")
        told[run.results.folder] = betas_of(run.results.folder)
    refuse_one_person_twice(told)


def _open_run(
    planned: PlannedRun,
    folder: Path,
    variants: Sequence[str],
    overwrite: bool,
    progress: Progress,
    workers: MakeWorkers | None = None,
) -> Run:
    """Open one run; with features and finished steps of the subject's other runs, if there are any."""

    def report(label: str, done: int, total: int) -> None:
        progress(f"{planned.folder}: {label}", done, total)

    experiment = planned.experiment
    if experiment.dataset.makes_files:
        made = folder / planned.subject / RECORDING
        made.mkdir(parents=True, exist_ok=True)
        with alone_in(made):
            experiment.dataset.make(made, report)
        reading = experiment.dataset.made_at(made)
        _check_entries(experiment.dataset, reading)
        experiment = experiment.changed({"dataset": reading.model_dump()})
    shared = folder_to_share(folder / planned.subject / SHARED, experiment, report) if len(variants) > 1 else None
    place = folder / planned.folder
    siblings = [folder / planned.subject / name for name in variants if name != planned.variant.name]
    run = Run.open(experiment, place, overwrite, report, shared, workers=workers, siblings=siblings)
    _note_planned(planned, run)
    if planned.further:
        report(f"analyses that `braindiffuser analyse` added are kept: {join_names(list(planned.further))}", 1, 1)
    return run


def _note_planned(planned: PlannedRun, run: Run) -> None:
    """Note in a run's manifest which of its analyses are planned, so that they leave it when they are not any more."""
    labels = [analysis.label for analysis in planned.experiment.analyses if analysis.label not in planned.further]
    place = run.results.folder
    if Store(place).manifest.get(PLANNED) != labels:
        with alone_in(place):
            Store(place).update_manifest(**{PLANNED: labels})


def _finish_run(planned: PlannedRun, run: Run) -> None:
    """Make what a run lacks."""
    try:
        run.run_all()
    except BrainDiffuserError as error:
        failed = next((step for step in run.steps() if run.state(step) != "finished"), None)
        if failed is None or failed.stage != "analyse" or failed.unit not in planned.further:
            raise
        with_modules = [word for name in run.experiment.modules for word in ("--with", name)]
        words = shlex.join(
            ["braindiffuser", "analyse", failed.unit, "--remove", *with_modules, "--out", str(run.results.folder)]
        )
        raise RunError(
            f"{error}; or take this analysis, which `braindiffuser analyse` added, from the run again: `{words}`"
        ) from error


def _check_entries(making: Dataset, reading: Dataset) -> None:
    """Raise if the dataset that reads what another made lacks an entry that every dataset has."""
    lost = [name for name in Dataset.model_fields if getattr(making, name) != getattr(reading, name)]
    if lost:
        raise RunError(
            f"made_at of {making.kind} returns a dataset whose {lost[0]} is {getattr(reading, lost[0])}, but it was "
            f"{getattr(making, lost[0])}: let it pass on all entries of Dataset.model_fields"
        )
