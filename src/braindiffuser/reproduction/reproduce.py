"""The paper in one command: runs of all subjects and splits, what is found in them, one page, and a report's tables and figures.

runs/paper/
  subj01/recording/        a simulated subject; recordings on disk are read where they are
  subj01/shared-features/  features of all pictures of the subject, computed once for several splits
  subj01/layout/           a run for each split
  studies/layout/          the subjects of a split as a study, where they saw the same test pictures
  findings.json            what is found, in numbers
  index.html               the page
  tables/, figures/        each table as CSV, Markdown and LaTeX, each figure as SVG and PNG
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from braindiffuser import __version__
from braindiffuser.datasets.dataset import Dataset
from braindiffuser.errors import BrainDiffuserError, RunError
from braindiffuser.experiment import Experiment
from braindiffuser.files import alone_in
from braindiffuser.fold_runs import folder_to_share
from braindiffuser.plain_data import hash_json
from braindiffuser.progress import Progress, silent
from braindiffuser.reproduction.before_runs import (
    KIND,
    PAGE,
    RECORDING,
    SHARED,
    STEP,
    STUDIES,
    check_before_runs,
    check_folder_of_runs,
)
from braindiffuser.reproduction.found import findings
from braindiffuser.reproduction.page import write_findings
from braindiffuser.reproduction.planned_runs import PlannedRun, plan
from braindiffuser.reproduction.run_facts import run_facts
from braindiffuser.run import MakeWorkers, Run
from braindiffuser.run_folder import join_names, stored_experiment
from braindiffuser.store.results import Store
from braindiffuser.study.join import check_alike, differences, refuse_one_person_twice, remarks_on
from braindiffuser.study.members import betas_of, check_same_records, open_member, open_members
from braindiffuser.study.steps import Steps
from braindiffuser.study.study import run_study

PLANNED = "planned"
"""Entry of a run's manifest: labels of the analyses that the reproduction asked for."""


def reproduce(
    experiments: Sequence[Experiment],
    folder: Path | str,
    subjects: Sequence[str] = (),
    splits: Sequence[str] = (),
    n_ablated: int | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
    workers: MakeWorkers | None = None,
) -> dict[str, Any]:
    """Make every run that is not finished, and write what is found.

    Args:
        experiments: one whose subject is changed, or one for each subject.
        folder: for all runs; made if it does not exist.
        subjects: as `plan` takes them.
        splits: likewise; the first is the replication.
        n_ablated: test pictures that are drawn without a part of the method; None: as the experiment says.
        overwrite: recompute what was made with other settings or inputs; else it raises.
        progress: called as progress(label, done, total).
        workers: makes what other processes compute parts of each run with; None: this process computes alone.

    Returns:
        Content of `findings.json`: what `findings` returns.

    Raises:
        RunError: settings do not fit, two subjects have the same betas or other metrics, the folder holds something else; what a
            run or a study raises. What can be known of all runs is said before the first.
    """
    folder = Path(folder)
    check_folder_of_runs(folder)
    planned = [_with_further_analyses(each, folder) for each in plan(experiments, subjects, splits, n_ablated)]
    check_before_runs(planned, folder, overwrite, progress)
    _note_kind(folder)
    several = len({each.split.name for each in planned}) > 1
    _prepare_all(planned, folder, several, overwrite, progress)
    done: list[tuple[PlannedRun, Run]] = []
    records: dict[Path, Mapping[str, Mapping[str, Any]]] = {}
    for number, each in enumerate(planned, start=1):
        run = _open(each, folder, several, overwrite, progress, workers)
        _finish(each, run)
        done.append((each, run))
        store = Store(run.results.folder)
        records[store.folder] = {str(step): store.record(str(step)) or {} for step in run.steps()}
        progress("runs", number, len(planned))

    def check_records() -> None:
        for place, own in records.items():
            check_same_records(place, own)

    mixed = _mixed(planned, folder)
    found = findings(
        [
            run_facts(each, run, f"{each.folder}/report/{PAGE}", own)
            for (each, run), own in zip(done, records.values(), strict=True)
        ]
    )
    found["unexpected"] = [*mixed, *found["unexpected"]]
    found["experiment"] = experiments[0].name
    found["studies"], failed = _studies(planned, folder, progress)
    with alone_in(folder):
        steps = Steps(folder, overwrite, check_records)
        inputs = {
            "runs": {run["page"]: run["uid"] for run in found["runs"]},
            "content": hash_json([found, __version__]),
        }
        steps.finish(STEP, inputs, partial(write_findings, found, done), ("runs", "content"))
    if failed is not None:
        raise failed
    return found


def _note_kind(folder: Path) -> None:
    """Note in the folder of all runs what it is, before the first is made: a run never belongs in it itself."""
    if Store(folder).manifest.get("kind") == KIND:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder):
        Store(folder).update_manifest(kind=KIND)


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


def _note_planned(planned: PlannedRun, run: Run) -> None:
    """Note in a run's manifest which of its analyses are planned, so that they leave it when they are not any more."""
    labels = [analysis.label for analysis in planned.experiment.analyses if analysis.label not in planned.further]
    place = run.results.folder
    if Store(place).manifest.get(PLANNED) != labels:
        with alone_in(place):
            Store(place).update_manifest(**{PLANNED: labels})


def _by_split(planned: Sequence[PlannedRun]) -> dict[str, list[PlannedRun]]:
    """Return the runs of each split that several subjects have."""
    found: dict[str, list[PlannedRun]] = {}
    for each in planned:
        found.setdefault(each.split.name, []).append(each)
    return {split: own for split, own in found.items() if len(own) > 1}


def _mixed(planned: Sequence[PlannedRun], folder: Path) -> list[str]:
    """Say what subjects were run with that differs from the first, so that means over subjects mix it.

    Raises:
        RunError: two subjects have the same betas.
    """
    said: dict[str, None] = {}
    for own in _by_split(planned).values():
        first, *others = [open_member(folder / each.folder, each.subject) for each in own]
        refuse_one_person_twice({member.path: member.betas for member in (first, *others)})
        for other in others:
            differing = differences(first, other)
            if differing:
                said[
                    f"{other.name} was run with other settings than {first.name}, and means over subjects mix them: "
                    f"{join_names(differing)}."
                ] = None
        said |= dict.fromkeys(remarks_on([first, *others], same_pictures=False))
    return list(said)


def _studies(
    planned: Sequence[PlannedRun], folder: Path, progress: Progress
) -> tuple[dict[str, Any], BrainDiffuserError | None]:
    """Put the subjects of each split together, where they saw the same test pictures.

    Studies are the reproduction's own, so one that was made of other subjects is made anew.

    Returns:
        Split → "page", and "average": metric → what averaging features over subjects gains; or "why_not", a sentence. Then the
        first error that stopped a study of runs that belong together, to be raised when all else is written.
    """
    made: dict[str, Any] = {}
    failed: BrainDiffuserError | None = None
    for split, own in _by_split(planned).items():
        runs = [folder / each.folder for each in own]
        try:
            check_alike(open_members(runs))
        except RunError as error:
            made[split] = {"why_not": _within(error, folder)}
            continue

        def report(label: str, done: int, total: int, split: str = split) -> None:
            progress(f"{STUDIES}/{split}: {label}", done, total)

        try:
            joint = run_study(runs, folder / STUDIES / split, device=None, overwrite=True, progress=report)
        except BrainDiffuserError as error:
            failed = failed or error
            made[split] = {"why_not": _within(error, folder)}
            continue
        average = {
            key: {"label": entry["label"], **entry["subject_average"]}
            for key, entry in joint["metrics"].items()
            if entry.get("subject_average")
        }
        made[split] = {"page": f"{STUDIES}/{split}/{PAGE}", "average": average}
    return made, failed


def _within(error: BrainDiffuserError, folder: Path) -> str:
    """Return an error's message, with paths below the folder of all runs."""
    return str(error).replace(f"{folder.as_posix()}/", "")


def _prepare_all(
    planned: Sequence[PlannedRun], folder: Path, shares: bool, overwrite: bool, progress: Progress
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
        run = _open(each, folder, shares, overwrite, progress)
        if not run.is_finished("prepare"):
            run.do("prepare")
        told[run.results.folder] = betas_of(run.results.folder)
    refuse_one_person_twice(told)


def _open(
    planned: PlannedRun,
    folder: Path,
    shares: bool,
    overwrite: bool,
    progress: Progress,
    workers: MakeWorkers | None = None,
) -> Run:
    """Open one run; with features that it shares with the subject's other splits, if there are any."""

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
    shared = folder_to_share(folder / planned.subject / SHARED, experiment, report) if shares else None
    place = folder / planned.folder
    run = Run.open(experiment, place, overwrite, report, shared, workers=workers)
    _note_planned(planned, run)
    if planned.further:
        report(f"analyses that `braindiffuser analyse` added are kept: {join_names(list(planned.further))}", 1, 1)
    return run


def _finish(planned: PlannedRun, run: Run) -> None:
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
