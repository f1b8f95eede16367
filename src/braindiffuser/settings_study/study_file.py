"""The file of a study of settings: an experiment, its subjects, and what varies."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from braindiffuser.errors import RunError, reason
from braindiffuser.experiment import Experiment, list_faults, preset_names
from braindiffuser.part import Settings
from braindiffuser.paths import absolute, written_in
from braindiffuser.plain_data import read_yaml
from braindiffuser.planned_runs.planned import PlannedRun, Setting, as_folder, of_subjects

SUFFIXES = (".yaml", ".yml")


def is_study_file(path: Path) -> bool:
    """Return whether a path is meant as a study's file: a file, or the name of one in YAML, and no folder.

    >>> is_study_file(Path("settings.yaml")), is_study_file(Path("runs/subj01"))
    (True, False)
    """
    return path.is_file() or (not path.exists() and path.suffix in SUFFIXES)


class StudyFile(Settings):
    """What runs are made for a study of settings."""

    name: str = Field("study", min_length=1, description="Printed on the page.")
    experiment: tuple[str, ...] = Field(
        min_length=1,
        description="A preset or an experiment file that all runs begin from; or a list of files, one for each subject.",
    )
    subjects: tuple[str, ...] = Field(
        (), description="Names or numbers of subjects; none: those that the dataset takes by default, or its one."
    )
    settings: dict[str, dict[str, Any]] = Field(
        min_length=2,
        description="Name of each setting → what it changes, nested as an experiment file is; {} changes nothing.",
    )
    against: str = Field("", description="The setting that others are compared with; empty: the first.")

    @field_validator("experiment", "subjects", mode="before")
    @classmethod
    def _as_texts(cls, given: Any) -> Any:
        """Take one text for a list of one, and numbers for texts."""
        several = given if isinstance(given, list | tuple) else [given]
        return tuple(str(each) if isinstance(each, int) and not isinstance(each, bool) else each for each in several)

    @field_validator("settings", mode="before")
    @classmethod
    def _nothing_is_no_change(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {name: {} if changes is None else changes for name, changes in given.items()}

    @classmethod
    def load(cls, path: Path) -> StudyFile:
        """Read a file.

        Raises:
            RunError: it cannot be read, or says something else; lists all faults.
        """
        try:
            content = read_yaml(path.read_bytes())
        except FileNotFoundError as error:
            raise RunError(f"there is no file {path}: name one that says what varies") from error
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{path} cannot be read as YAML: {reason(error)}") from error
        if (
            isinstance(content, Mapping)
            and "settings" not in content
            and content.keys() & Experiment.model_fields.keys()
        ):
            raise RunError(
                f"{path} is an experiment, and a study needs a file with the entries experiment, subjects and settings: write "
                "one that names this as its experiment"
            )
        try:
            file = cls.model_validate(content)
        except ValidationError as error:
            raise RunError(f"{path} is no study of settings: {list_faults(error, str(path))}") from error
        if file.against and file.against not in file.settings:
            raise RunError(f"{path}: against is {file.against}, expected one of {', '.join(file.settings)}")
        return file

    @property
    def reference(self) -> str:
        """Name of the setting that others are compared with."""
        return self.against or next(iter(self.settings))

    def plan(self, path: Path, changes: Mapping[str, Any] | None = None) -> list[PlannedRun]:
        """List the runs, subject by subject.

        Args:
            path: of the file, which relative paths count from.
            changes: of all experiments, such as the device.

        Raises:
            RunError: an experiment cannot be read or changed as a setting says, two settings are the same, or what
                `of_subjects` raises; names the setting.
        """
        with written_in(path):
            try:
                sources = [_source(each) for each in self.experiment]
            except ValueError as error:
                raise RunError(f"{path}: experiment {error}") from error
            experiments = [Experiment.load(source).changed(changes or {}) for source in sources]
            folders = {setting: as_folder(setting) for setting in self.settings}
            for one, other in combinations(folders, 2):
                if folders[one].lower() == folders[other].lower():  # some disks do not tell capitals apart
                    raise RunError(f"{path}: settings {one} and {other} would have the same folder: rename one")
            planned = [
                PlannedRun(
                    subject, Setting(folders[setting], setting, own), _changed(experiment, subject, setting, own, path)
                )
                for subject, experiment in of_subjects(experiments, self.subjects)
                for setting, own in self.settings.items()
            ]
        _refuse_equal(planned, path)
        return planned


def _source(text: str) -> str:
    """Return the path of an experiment file beside the study's, or a preset."""
    file = absolute(text)
    return text if text in preset_names() and not file.is_file() else str(file)


def _changed(experiment: Experiment, subject: str, setting: str, changes: Mapping[str, Any], path: Path) -> Experiment:
    for entry, instead in {
        "name": "the study names its runs",
        "preset": "the entry experiment says what runs begin from",
    }.items():
        if entry in changes:
            raise RunError(f"{path}: settings.{setting} changes {entry}, and {instead}: leave it out")
    try:
        made = experiment.changed(changes)
    except RunError as error:
        raise RunError(f"{path}: settings.{setting}: {error}") from error
    if getattr(made.dataset, "subject", None) != getattr(experiment.dataset, "subject", None):
        raise RunError(
            f"{path}: settings.{setting} changes dataset.subject, and settings are compared within each subject: list subjects "
            "under subjects"
        )
    return made.changed({"name": f"{experiment.name}, {subject}, {setting}"})


def _refuse_equal(planned: list[PlannedRun], path: Path) -> None:
    """Raise RunError if two settings make the same run of a subject: a device or a batch size, for one, changes no result."""
    for one, other in combinations(planned, 2):
        if one.subject == other.subject and _result_of(one) == _result_of(other):
            raise RunError(
                f"{path}: settings {one.setting.averaged_as} and {other.setting.averaged_as} make the same runs: change an entry "
                "that results depend on in one of them, or leave one out"
            )


def _result_of(planned: PlannedRun) -> list[Any]:
    """Return all that results of a run depend on: entries, and the files and folders that it reads, by whatever entry."""
    experiment = planned.experiment
    folders = {name: str(folder) for name, folder in experiment.checkpoints.items()}
    own = {key: value for key, value in experiment.influences(experiment.device).items() if key != "name"}
    return [own, folders, experiment.dataset.model_dump(mode="json"), experiment.split.model_dump(mode="json")]
