"""Which runs are made: one for each subject under each setting, such as a split, or other entries of an experiment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment

LONGEST_NAME = 60


@dataclass(frozen=True)
class Setting:
    """Changes of an experiment under which there is a run of each subject, such as a split.

    Attributes:
        name: of its folders.
        averaged_as: name on the page, which several may have that are averaged, such as cluster_k5 of its five folds.
        changes: of an experiment.
    """

    name: str
    averaged_as: str
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class PlannedRun:
    """One run.

    Attributes:
        subject: name of the subject, as its folder has it.
        setting: that it is made under.
        experiment: to run.
        further: labels of its analyses that the run got since, by `braindiffuser analyse NAME --out RUN`.
    """

    subject: str
    setting: Setting
    experiment: Experiment
    further: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Path of the run, below the folder of all runs."""
        return f"{self.subject}/{self.setting.name}"


def of_subjects(experiments: Sequence[Experiment], subjects: Sequence[str]) -> list[tuple[str, Experiment]]:
    """Return the name and the experiment of each subject.

    Args:
        experiments: one, whose dataset's entry `subject` is set to each subject; or one for each subject.
        subjects: names or numbers; none: the dataset's `default_subjects`, else that of each experiment.

    Raises:
        RunError: there are several experiments and subjects, the dataset has no entry `subject`, or two subjects have one name.
    """
    if len(experiments) > 1 and subjects:
        raise RunError(
            "several experiment files are given, each for one subject, so leave the subjects out: their names are the entry "
            "`subject` of each file's dataset"
        )
    own = (
        [(own_name(each), each) for each in experiments]
        if len(experiments) > 1
        else _with_subjects(experiments[0], subjects)
    )
    names = [name for name, _ in own]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        remedy = (
            "write a name of its own into each experiment file, as in `dataset: {kind: arrays, subject: anna, …}`"
            if len(experiments) > 1
            else "name each subject once"
        )
        raise RunError(f"two subjects are called {twice[0]}: {remedy}")
    return own


def _with_subjects(experiment: Experiment, subjects: Sequence[str]) -> list[tuple[str, Experiment]]:
    dataset = experiment.dataset
    wanted = tuple(subjects) or dataset.default_subjects
    field = type(dataset).model_fields.get("subject")
    if not wanted:
        return [(own_name(experiment), experiment)]
    if field is None:
        raise RunError(
            f"the dataset {dataset.kind} has no entry `subject` that could be set to {wanted[0]}: give one experiment file for "
            "each subject"
        )
    made = []
    for subject in wanted:
        value: Any = int(subject) if field.annotation is int and subject.isdecimal() else subject
        each = experiment.changed({"dataset": {"subject": value}})
        made.append((own_name(each), each))
    return made


def own_name(experiment: Experiment) -> str:
    """Return the name of a subject's folder: "subj01" of subject 1, as NSD writes it, or its own name."""
    subject = getattr(experiment.dataset, "subject", None)
    name = f"subj{subject:02d}" if isinstance(subject, int) else str(subject or experiment.name)
    return as_folder(name)


def as_folder(text: str) -> str:
    """Return a text as the name of a folder: letters, digits, dots, _ and -.

    Raises:
        RunError: nothing is left, or it is too long.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")
    if not name or len(name) > LONGEST_NAME:
        raise RunError(f"{text!r} cannot name a folder: use up to {LONGEST_NAME} letters, digits, _ and -")
    return name
