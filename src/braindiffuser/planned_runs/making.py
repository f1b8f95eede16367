"""The runs that are planned, made in one folder: one after the other, or each subject by a worker.

runs/several/
  subj01/recording/        a simulated subject; recordings on disk are read where they are
  subj01/shared-features/  features of all pictures of the subject, computed once for several runs
  subj01/NAME/             a run for each setting
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from braindiffuser.datasets.dataset import Dataset
from braindiffuser.errors import BrainDiffuserError, RunError
from braindiffuser.experiment import Experiment
from braindiffuser.files import alone_in
from braindiffuser.fold_runs import folder_to_share
from braindiffuser.planned_runs.before_runs import RECORDING, SHARED, Purpose, check_before_runs, check_folder_of_runs
from braindiffuser.planned_runs.planned import PlannedRun, Setting
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
        planned: subject, setting and experiment.
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
        workers: other processes: of several subjects each has one that makes all its runs, of one they compute parts of each run;
            None: this process computes alone.

    Raises:
        RunError: what `check_before_runs` raises, before the first run; two subjects have the same betas; what a run raises.
    """
    check_folder_of_runs(folder, purpose)
    planned = [_with_further_analyses(each, folder) for each in planned]
    check_before_runs(planned, folder, purpose, overwrite, progress, computes_here=workers is None)
    _note_kind(folder, purpose)
    settings = tuple(dict.fromkeys(each.setting.name for each in planned))
    subjects = [_Subject(str(folder), own, settings, overwrite) for own in _by_subject(planned)]
    apart = workers if len(subjects) > 1 else None
    _prepare_all(subjects, folder, progress, apart)
    if apart is not None:
        _each_apart(_finish_subject, subjects, progress, apart)
    made = []
    for number, each in enumerate(planned, start=1):
        run = _open_run(each, folder, settings, overwrite, progress, workers)
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


def _by_subject(planned: Sequence[PlannedRun]) -> list[tuple[PlannedRun, ...]]:
    found: dict[str, list[PlannedRun]] = {}
    for each in planned:
        found.setdefault(each.subject, []).append(each)
    return [tuple(own) for own in found.values()]


@dataclass(frozen=True)
class _Subject:
    """All runs of one subject, which become text that another process reads.

    Attributes:
        folder: for all runs.
        planned: the runs.
        settings: names of all settings.
        overwrite: as in `make_runs`.
    """

    folder: str
    planned: tuple[PlannedRun, ...]
    settings: tuple[str, ...]
    overwrite: bool

    @property
    def name(self) -> str:
        """Name of the subject."""
        return self.planned[0].subject

    def to_text(self) -> str:
        """Return all of it as JSON, which `from_text` reads; a class of a user's own is imported only then."""
        runs = [
            {
                "setting": [each.setting.name, each.setting.averaged_as],
                "experiment": each.experiment.model_dump(mode="json"),
                "further": each.further,
            }
            for each in self.planned
        ]
        return json.dumps(
            {
                "folder": self.folder,
                "subject": self.name,
                "runs": runs,
                "settings": self.settings,
                "overwrite": self.overwrite,
            }
        )

    @classmethod
    def from_text(cls, text: str) -> _Subject:
        content = json.loads(text)
        planned = tuple(
            PlannedRun(
                content["subject"],
                Setting(name=run["setting"][0], averaged_as=run["setting"][1], changes={}),
                Experiment.model_validate(run["experiment"]),
                tuple(run["further"]),
            )
            for run in content["runs"]
        )
        return cls(content["folder"], planned, tuple(content["settings"]), content["overwrite"])

    def open(self, place: int, progress: Progress) -> Run:
        """Open one of the runs."""
        return _open_run(self.planned[place], Path(self.folder), self.settings, self.overwrite, progress)


def _prepare_all(subjects: Sequence[_Subject], folder: Path, progress: Progress, workers: MakeWorkers | None) -> None:
    """Average the betas of each of several subjects in its first run, before features are extracted and pictures drawn of any.

    Runs are opened anew for all that follows: what they remember of their recordings may be hours old by then.

    Raises:
        RunError: two subjects are one person.
    """
    if len(subjects) < 2:
        return
    if workers is not None:
        _each_apart(_prepare_subject, subjects, progress, workers)
    else:
        for subject in subjects:
            _prepare(subject, progress)
    refuse_one_person_twice({place: betas_of(place) for place in (folder / own.planned[0].folder for own in subjects)})


def _prepare(subject: _Subject, progress: Progress) -> None:
    run = subject.open(0, progress)
    if not run.is_finished("prepare"):
        run.do("prepare")


def _each_apart(
    work: Callable[[str, Progress], None], subjects: Sequence[_Subject], progress: Progress, workers: MakeWorkers
) -> None:
    """Do the work of each subject in a process of its own, which alone writes to the runs of this subject."""
    done = workers.apart(work, [own.to_text() for own in subjects], subjects[0].planned[0].experiment.device, progress)
    for number, _ in enumerate(done, start=1):
        progress("subjects", number, len(subjects))


def _prepare_subject(text: str, progress: Progress) -> None:
    """Average the betas of one subject, in a process of its own."""
    subject = _Subject.from_text(text)
    with _alone_with(subject, progress):
        _prepare(subject, progress)


def _finish_subject(text: str, progress: Progress) -> None:
    """Make all runs of one subject, in a process of its own."""
    subject = _Subject.from_text(text)
    with _alone_with(subject, progress):
        for place, planned in enumerate(subject.planned):
            _finish_run(planned, subject.open(place, progress))


def _alone_with(subject: _Subject, progress: Progress) -> AbstractContextManager[None]:
    """Wait until no other process makes runs of a subject: one that was given up as lost may still be at it."""
    folder = Path(subject.folder) / subject.name
    folder.mkdir(parents=True, exist_ok=True)

    def say() -> None:
        progress(f"{subject.name}: waiting for another worker that makes the same runs", 1, 1)

    return alone_in(folder, say)


def _open_run(
    planned: PlannedRun,
    folder: Path,
    settings: Sequence[str],
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
    shared = folder_to_share(folder / planned.subject / SHARED, experiment, report) if len(settings) > 1 else None
    place = folder / planned.folder
    siblings = [folder / planned.subject / name for name in settings if name != planned.setting.name]
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
