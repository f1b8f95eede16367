"""Checks of a run's folder: new or a run's, outside the recording, without links."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from braindiffuser.datasets.dataset import Dataset
from braindiffuser.errors import RunError, command_line
from braindiffuser.experiment import Experiment
from braindiffuser.generators.generator import Generator
from braindiffuser.report.numbers import join
from braindiffuser.stages import stages
from braindiffuser.stages.extract import why_not_shared
from braindiffuser.store.results import Store
from braindiffuser.store.shared_rows import check_shared
from braindiffuser.system_errors import sentence
from braindiffuser.targets.target import Target

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording

OWN_FILES = ("manifest.json", "recording.json", "written.json", ".lock", "steps", "unfinished")
"""What a run writes in its folder besides the results of its stages."""

STEPS_OF_OTHERS = {
    "page": "study",
    "permutations": "study",
    "features": "study's averaged subject",
    "findings": "reproduction",
}
"""First part of the names of steps that runs do not have → what has them, by which its folder is known without its manifest."""


def stored_experiment(folder: Path) -> Experiment:
    """Read the experiment stored in a run's folder.

    Raises:
        RunError: if the folder holds no run, or something made of several.
    """
    refuse_other_kinds(folder)
    stored = Store(folder).manifest.get("experiment")
    if stored is None:
        beside = folder / "experiment.yaml"
        begin = command_line("run", "--config", beside if beside.is_file() else "FILE", "--out", folder)
        raise RunError(
            f"{folder} holds no run yet, or its manifest.json is damaged: name the folder of a run, or begin one by {begin}"
        )
    return Experiment.model_validate(stored)


def refuse_other_kinds(folder: Path) -> None:
    """Raise RunError if a folder holds what is made of several runs, such as a study."""
    store = Store(folder)
    of_others = {step: kind for step in store.steps() if (kind := STEPS_OF_OTHERS.get(step.partition(".")[0]))}
    kind = store.manifest.get("kind") or next((kind for step, kind in of_others.items() if store.record(step)), None)
    if not kind and not store.manifest and (folder / "fold-0" / "manifest.json").is_file():
        kind = "run of each fold"
    if kind:
        raise RunError(f"{folder} holds a {kind}: name one of its runs, or another folder")


def check_folder(folder: Path, experiment: Experiment) -> None:
    """Check that a run may write here.

    Raises:
        RunError: if it is a file, holds what is made of several runs, overlaps with the recording, holds files under the names
            that runs write to, or has a file where a run needs a folder, or a folder where it needs a file.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file: name a folder for the run")
    _check_kinds(folder)
    refuse_other_kinds(folder)
    check_outside_recording(folder, experiment, f"--out {folder}")
    if folder.is_dir() and not Store(folder).is_run():
        foreign = sorted(path.name for path in folder.iterdir() if path.name in {*_tops(), *OWN_FILES} - {".lock"})
        if foreign:
            raise RunError(f"{folder} holds {join_names(foreign)} but no run's manifest: choose an empty folder")


def check_shared_folder(folder: Path, experiment: Experiment, run: Path | None = None) -> None:
    """Check that features which runs share may be kept in a folder.

    Args:
        folder: for the features.
        experiment: of a run that shares them.
        run: folder of that run; None: it is known to lie elsewhere.

    Raises:
        RunError: if it holds anything else, overlaps with the recording or the run, or nothing says what features are of.
    """
    why_not = why_not_shared(experiment)
    if why_not:
        raise RunError(why_not)
    if run is not None and _overlap(Path(os.path.realpath(folder)), Path(os.path.realpath(run))):
        raise RunError(f"the folder of shared features, {folder}, overlaps the run {run}: choose a folder outside it")
    check_shared(folder)
    check_outside_recording(folder, experiment, f"the folder of shared features, {folder},")


def check_outside_recording(folder: Path, experiment: Experiment, said: str) -> None:
    """Check that a folder neither is nor holds nor lies in that of an experiment's recording.

    Args:
        folder: that is written to.
        experiment: of the recording, which need not be there.
        said: the folder, for the message.

    Raises:
        RunError: if it does.
    """
    place = experiment.dataset.folder
    if place is not None:
        out = Path(os.path.realpath(folder))
        places = {place.resolve(), *_linked_folders(experiment.dataset, place)}
        if any(_overlap(out, each) for each in places):
            raise RunError(f"{said} overlaps the recording {place}: choose a folder outside it")


def _overlap(one: Path, other: Path) -> bool:
    """Return whether one real folder is the other, holds it or lies in it."""
    return one == other or one in other.parents or other in one.parents


def _check_kinds(folder: Path) -> None:
    """Raise if a folder is in the place of a file of a run, or a file in the place of a folder."""
    written = [Path(pattern) for stage in stages().values() for pattern in stage.writes]
    folders = {Path("steps"), Path("unfinished"), *(part for path in written for part in path.parents if part.name)}
    own = {Path(name) for name in (*OWN_FILES, "experiment.yaml", "steps/*.json")} - folders
    for pattern in folders:
        if (folder / pattern).is_file():
            raise RunError(f"{folder / pattern} is a file, where the run keeps a folder of that name: move it away")
    for pattern in own | {path for path in written if path.name != "**"}:
        for path in folder.glob(str(pattern)):
            if path.is_dir():
                raise RunError(f"{path} is a folder, where the run keeps a file of that name: move it away")


def _tops() -> set[str]:
    """Top-level names that stages write to."""
    return {
        Path(pattern).parts[0]
        for stage in stages().values()
        for pattern in stage.writes
        if "*" not in Path(pattern).parts[0]
    }


def _linked_folders(dataset: Dataset, place: Path) -> set[Path]:
    """Return the real locations of folders linked into the recording."""
    paths = (path for files in dataset.all_files().values() for path in files.values())
    parents = {path.parent.resolve() for path in paths if place in path.parents}
    return {parent for parent in parents if not parent.is_relative_to(place.resolve())}


def check_checkpoints(experiment: Experiment) -> None:
    """Check that every checkpoint is there.

    Raises:
        RunError: naming the entry and the folder.
    """
    for name, folder in experiment.checkpoints.items():
        if not (folder / "model.safetensors").is_file():
            raise RunError(
                f"{name} names {folder}, which is not a checkpoint folder: name one that holds config.json and "
                "model.safetensors, by its absolute path if it is your own; for published ones see `braindiffuser checkpoints`"
            )


def check_configs(experiment: Experiment) -> None:
    """Compare the entries of all parts with the configs of their checkpoints.

    Raises:
        RunError: naming the entry and the folder.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name, part in experiment.parts.items():
        try:
            part.check_configs()
            if isinstance(part, Target) and (shape := part.row_shape()) is not None:
                shapes[name.removeprefix("targets.")] = shape
            if isinstance(part, Generator):
                part.check_rows(shapes)
        except ValueError as error:
            raise RunError(f"{name}.{error}") from error
        except OSError as error:
            raise RunError(f"{name}: {sentence(error)}") from error


def check_captions(experiment: Experiment, recording: Recording) -> None:
    """Raise RunError if targets are made of captions that the recording does not have."""
    of_captions = [name for name, target in experiment.targets.items() if "captions" in target.reads]
    if recording.captions is None and of_captions:
        raise RunError(
            f"the recording has no captions, and targets {join_names(of_captions)} are made from them: remove these groups "
            "and use a generator that does not draw from them, give the recording captions, or, if the dataset is a class of "
            "yours, let its has_captions return False, which leaves text out"
        )


def check_way(folder: Path, below: str) -> None:
    """Check that no folder on the way from a folder of several runs to what is written below it is a link.

    Raises:
        RunError: naming the first that is one.
    """
    place = folder
    for part in Path(below).parts:
        place = place / part
        if place.is_symlink():
            raise RunError(f"{place} is a link, and only {folder} itself is written to: remove the link")


def check_links(folder: Path) -> None:
    """Check that nothing a run writes to is a link out of its folder.

    Raises:
        RunError: naming the first link to a folder, or in `unfinished` the first link to anything.
    """
    for name in sorted({*_tops(), *OWN_FILES}):
        top = folder / name
        found = [top] if top.is_symlink() else []
        for parent, folders, files in os.walk(top):
            inside = [*folders, *(files if name == "unfinished" else ())]
            found += [Path(parent) / entry for entry in inside if (Path(parent) / entry).is_symlink()]
        if found and (found[0].is_dir() or name in ("unfinished", ".lock")):
            raise RunError(
                f"{found[0]} is a link, and a run writes only into its own folder: remove the link, or name the "
                "other place as --out"
            )


def join_names(names: list[str]) -> str:
    """Join up to six names for a message."""
    return ", ".join(names[:6]) + (" …" if len(names) > 6 else "")


def orphans_sentence(steps: list[str], folder: Path) -> str:
    """Say that results of steps which the experiment no longer has are kept, off the page, and how analyses come back to it.

    >>> orphans_sentence(["reconstruct.rough"], Path("mine"))
    'results of steps that this experiment does not have are kept, but are no longer on the page: reconstruct.rough'
    """
    said = f"results of steps that this experiment does not have are kept, but are no longer on the page: {join_names(steps)}"
    analyses = [step.removeprefix("analyse.") for step in steps if step.startswith("analyse.")]
    curves = [name.removeprefix("curve_") for name in analyses if name.startswith("curve_")]
    ways = [command_line("curve", folder, over) for over in curves]
    ways += [command_line("analyse", "KIND", "--out", folder)] if len(analyses) > len(curves) else []
    if not ways:
        return said
    put = f"{join(ways)} {'puts' if len(ways) == 1 else 'put'} them back"
    return f"{said}; {put}, and a run without --config keeps those that were added to it"
