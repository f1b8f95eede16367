"""Members of a study: finished runs, for reading. The recording is not looked at, so it may be gone or on another machine."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from braindiffuser.datasets.subject_names import given_name
from braindiffuser.errors import RunError, command_line
from braindiffuser.experiment import Experiment
from braindiffuser.files import as_states, changed_files
from braindiffuser.run_folder import join_names, stored_experiment
from braindiffuser.stages import Step, stages
from braindiffuser.stages.evaluate import scored_pictures, scores_name
from braindiffuser.step_states import entry_text, flatten
from braindiffuser.store.draft import picture_name
from braindiffuser.store.results import Store
from braindiffuser.study.one_person import Betas

if TYPE_CHECKING:
    import pandas as pd

    from braindiffuser.metrics.study_summary import SubjectScores
    from braindiffuser.metrics.summary import PerPicture
    from braindiffuser.store.results import Results

TAKEN = ("Sub Avg", "Mean", "95 % over subjects", "Seen")
"""Names that a study's tables and pages give to other things than subjects."""
NEEDED = ("prepare", "extract", "fit", "reconstruct", "evaluate")
"""Stages that must be finished."""
READ = (
    "arrays/stimuli/",
    "arrays/predictions/",
    "arrays/null/",
    "reconstructions/seen/",
    "reconstructions/final/",
    "sections/prepare.",
    "subject.json",
    "voxels.json",
    "test_sets.json",
    "scores",
    "per_image.csv",
    "left_out.csv",
)
"""Beginnings of the names of files that a study reads; only these need to be there and whole."""


@dataclass(frozen=True, eq=False)
class Member:
    """A finished run, for reading; nothing is written to its folder.

    Attributes:
        path: of its folder.
        name: label on the page, unique in a study.
        subject: name of the subject, "" if it has none.
        simulated: whether no brain was recorded.
        experiment: that was run.
        results: of it.
        per_image: content of its `per_image.csv`.
        records: step → its record: the settings and files that it was made from.
        scores: content of its `scores.json`.
    """

    path: Path
    name: str
    subject: str
    simulated: bool
    experiment: Experiment
    results: Results
    per_image: pd.DataFrame
    records: Mapping[str, Mapping[str, Any]]
    scores: Mapping[str, Any]

    @property
    def uid(self) -> str:
        """uid of the evaluate record: changes whenever scores are recomputed."""
        return str(self.records["evaluate"]["uid"])

    @cached_property
    def betas(self) -> Betas:
        """What is known of its betas."""
        return Betas.of_run(self.subject, self.records["prepare.responses"], self.results)

    @property
    def test_sets(self) -> dict[str, slice]:
        """Name of each test set → its rows."""
        return {name: slice(*rows) for name, rows in self.results.read_json("test_sets.json").items()}

    @property
    def test_ids(self) -> Int[np.ndarray, " n_test"]:
        """Stimuli of all test sets, in the order of predictions and pictures."""
        return self.results.read_array("stimuli/test_ids")

    def seen_hashes(self, test_set: str) -> list[str]:
        """Return the hash of the file of each picture seen in a test set, in test order."""
        files, rows = self.records["evaluate"]["files"], self.test_sets[test_set]
        return [str(files[picture_name("seen", number)][1]) for number in range(rows.start, rows.stop)]

    def per_picture(self, test_set: str) -> PerPicture:
        """Return metric → scores of the reconstructions of a test set, in test order."""
        table = self.per_image.sort_values("number")
        return scored_pictures(self.results, table, test_set, self.summary(test_set)["metrics"])

    def summary(self, test_set: str) -> Mapping[str, Any]:
        """Return the content of the scores file of a test set."""
        return self.results.read_json(scores_name(test_set))

    def scores_of(self, test_set: str) -> SubjectScores:
        """Return what it scored of a test set."""
        from braindiffuser.metrics.study_summary import SubjectScores

        return SubjectScores(self.name, self.per_picture(test_set), self.summary(test_set))

    @property
    def warnings(self) -> list[str]:
        """What a reader of its page should know."""
        return warnings_of_run(self.results, self.records)


def warnings_of_run(results: Results, records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what a reader of a run's page should know: of its recording, and of steps that other versions made."""
    from braindiffuser.machine import versions
    from braindiffuser.report.recording_section import warnings_of
    from braindiffuser.report.run_section import version_sentences
    from braindiffuser.stages.report import read_sections

    prepared = {step: record for step, record in records.items() if step.startswith("prepare")}
    return [*warnings_of(read_sections(results, prepared)), *version_sentences(records, versions())]


def betas_of(folder: Path) -> Betas:
    """Return what is known of the betas of a run whose responses are there."""
    store = Store(folder)
    subject = given_name(str(store.read_json("subject.json")["subject"]))
    return Betas.of_run(subject, store.record("prepare.responses") or {}, store)


def open_member(folder: Path | str, name: str = "") -> Member:
    """Open a finished run, for reading.

    Args:
        folder: of the run.
        name: label on the page; empty: the subject's name, else that of the folder.

    Raises:
        RunError: there is no run, it is not finished or made with other settings than those that it states, or a file that a
            study reads is missing or damaged; names the folder and what to run.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"{folder} is {'a file' if folder.exists() else 'not there'}: name the folder of a finished run")
    experiment, store = stored_experiment(folder), Store(folder)
    records: dict[str, Mapping[str, Any]] = {}
    for stage in NEEDED:
        for step in stages()[stage].steps(experiment):
            records[str(step)] = _checked(step, experiment, store)
    for name_of_step, record in records.items():
        _check_needs(name_of_step, record, records, store)
    subject = store.read_json("subject.json")
    given = given_name(str(subject["subject"]))
    return Member(
        path=folder,
        name=name or given or folder.resolve().name,
        subject=given,
        simulated=bool(subject["simulated"]),
        experiment=experiment,
        results=store,
        per_image=store.read_table("per_image.csv"),
        records=records,
        scores=store.read_json("scores.json"),
    )


def open_members(folders: Sequence[Path | str]) -> list[Member]:
    """Open the runs of a study; members that would have the same name, or one that is taken, are named by their folders too.

    Raises:
        RunError: what `open_member` raises; if fewer than two folders are given, or one twice.
    """
    if len(folders) < 2:
        raise RunError(
            f"got {len(folders)} run, and a study puts two or more together: name the folders of all runs, or a file that "
            "says which runs to make and compare"
        )
    real = [os.path.realpath(folder) for folder in folders]
    twice = [str(folder) for folder, place in zip(folders, real, strict=True) if real.count(place) > 1]
    if twice:
        raise RunError(f"{join_names(twice)} are the same run: name each once")
    members = [open_member(folder) for folder in folders]
    counts = Counter(member.name for member in members)
    return [
        replace(member, name=f"{member.name} ({member.path.as_posix()})")
        if counts[member.name] > 1 or member.name in TAKEN
        else member
        for member in members
    ]


def check_unchanged(members: Sequence[Member]) -> None:
    """Check that runs are as they were when they were opened, so that what was read of them belongs together.

    Raises:
        RunError: a step of one was made anew since; names the run.
    """
    for member in members:
        check_same_records(member.path, member.records)


def check_same_records(folder: Path, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that steps of a run still are those of some records.

    Raises:
        RunError: one was made anew since, or is gone; names the run.
    """
    store = Store(folder)
    anew = [step for step, record in records.items() if (store.record(step) or {}).get("uid") != record.get("uid")]
    if anew:
        raise RunError(
            f"{anew[0]} of {folder} was made anew while its results were put together: run the same command again"
        )


def _checked(step: Step, experiment: Experiment, store: Store) -> Mapping[str, Any]:
    """Return the record of a step that is finished, made with the settings that the run states, and whole where it is read."""
    record, again = store.record(str(step)), f"run {command_line('run', '--out', store.folder)} first"
    if record is None:
        raise RunError(f"{store.folder} is not finished, it lacks {step}: {again}")
    states = {name: state for name, state in as_states(record["files"]).items() if name.startswith(READ)}
    changed = changed_files(store.folder, states)
    if changed:
        name, change = next(iter(changed.items()))
        raise RunError(f"{store.folder / name} {change}: {again}")
    stage = stages()[step.stage]
    of_checkpoints = stage.checkpoints(experiment, step.unit).keys()
    before, now = (
        {name: value for name, value in flatten(settings).items() if name not in of_checkpoints}
        for settings in (record["settings"], json.loads(json.dumps(dict(stage.influences(experiment, step.unit)))))
    )
    stale = [name for name in dict.fromkeys([*before, *now]) if before.get(name) != now.get(name)]
    if stale:
        differing = [
            f"{name} was {entry_text(before.get(name))}, now {entry_text(now.get(name))}" for name in stale[:3]
        ]
        raise RunError(
            f"{step} of {store.folder} was made with other settings than the run states now ({join_names(differing)}): {again}"
        )
    return record


def _check_needs(step: str, record: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]], store: Store) -> None:
    """Raise if a step was made of results that were made anew since."""
    earlier = [need for need, uid in record["needs"].items() if need in records and records[need]["uid"] != uid]
    if earlier:
        raise RunError(
            f"{step} of {store.folder} was computed from an earlier {earlier[0]}: run "
            f"{command_line('run', '--out', store.folder)} first"
        )
