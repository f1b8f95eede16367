"""Which files of a BIDS folder a recording is read from: betas, tables of trials, masks and atlases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from braindiffuser.datasets.bids_names import NIFTI, BIDSFile, choose, find, same
from braindiffuser.datasets.trial_tables import choose_sessions
from braindiffuser.errors import RecordingError

if TYPE_CHECKING:
    from braindiffuser.datasets.bids import BIDS

EXAMPLE = """onset\tduration\ttrial_type\tstim_file
4.0\t2.0\tscene\tscene_004.png
8.0\t2.0\tcatch\tn/a"""
NAME = "sub-01_ses-01_task-scenes_run-1_space-T1w_desc-LSS_betas.nii.gz"
TIME = ("ses", "run")
"""Entities that tell files of the same recording apart."""


@dataclass(frozen=True)
class BetaFile:
    """Betas of a run or a session, with the tables of their trials.

    Attributes:
        file: of the betas.
        session: its number.
        tables: `*_trials.tsv` beside it, or `events.tsv` of its run, or of all runs of its session in order.
        is_events: whether the tables are raw events, which may come in any order and hold more than what has a beta.
    """

    file: BIDSFile
    session: int
    tables: tuple[BIDSFile, ...] = ()
    is_events: bool = False


def find_betas(config: BIDS) -> tuple[list[BetaFile], tuple[str, ...]]:
    """Find the betas of the chosen sessions, in order of sessions and runs, and their tables.

    Returns:
        Betas, and remarks on the numbers of sessions.

    Raises:
        RecordingError: there are none, several kinds of them and no entry chooses, or a table is missing.
    """
    files, subject = _choose(config)
    numbers, remarks = _session_numbers(files)
    chosen = choose_sessions(numbers.values(), config.sessions, config.root) if any(numbers) else [1]
    betas = [BetaFile(file, numbers[file.label("ses")]) for file in files]
    betas = sorted((beta for beta in betas if beta.session in chosen), key=lambda beta: (beta.session, _run(beta.file)))
    for one, other in pairwise(betas):
        twice = one.session == other.session and (_run(one.file) == _run(other.file) or not one.file.label("run"))
        if twice:
            raise RecordingError(
                f"{one.file.path} and {other.file.path} are betas of the same trials by their names: move one away"
            )
    events = find(config.raw or config.root, ["events"], subject)
    found = [_with_tables(beta, events) for beta in betas]
    return found, (*remarks, *_without_betas(found, events, config))


def _without_betas(betas: Sequence[BetaFile], events: Sequence[BIDSFile], config: BIDS) -> tuple[str, ...]:
    """Say of which runs there are events, but no betas; those within a gap of the numbers are said as such."""
    task = betas[0].file.label("task")
    runs: dict[str, set[int]] = {}
    for beta in betas:
        runs.setdefault(beta.file.label("ses"), set()).add(_run(beta.file))
    lost = set()
    for table in events:
        same_task = not task or not table.label("task") or table.label("task") == task
        if table.extension != ".tsv" or not same_task or "derivatives" in table.path.parts:
            continue
        own = runs.get(table.label("ses"))
        if own is None and config.sessions is None and table.label("ses"):
            lost.add(f"sub-{table.label('sub')}_ses-{table.label('ses')}")
        elif own and min(own) and _run(table) and _run(table) > max(own):
            lost.add(_events_name(table).removesuffix("_events.tsv"))
    named = ", ".join(sorted(lost)[:5]) + (" …" if len(lost) > 5 else "")
    return (f"Events without betas, so that their trials are not there: {named}.",) if lost else ()


def _choose(config: BIDS) -> tuple[list[BIDSFile], str]:
    """Return the betas that the entries choose, and the label of their subject."""
    if not config.root.is_dir():
        raise RecordingError(f"{config.root} is no folder; expected a BIDS folder with files such as {NAME}")
    subject = None if config.subject is None else config.subject.removeprefix("sub-")
    files = [file for file in find(config.root, [config.suffix]) if file.extension in NIFTI and file.label("sub")]
    if not files:
        raise RecordingError(
            f"{config.root} holds no betas: expected files …_{config.suffix}.nii.gz, one volume per trial, such as {NAME}; write "
            "suffix: if theirs is another"
        )
    files = choose(files, "subject", {file.path: file.label("sub") for file in files}, subject, config.root)
    places = {file.path: _derivative(file, config.root) for file in files}
    files = choose(files, "derivative", places, config.derivative, config.root)
    named = {"task": config.task, "space": config.space, "desc": config.desc}
    for entity in (*named, *sorted({entity for file in files for entity in file.entities} - {*named, "sub", *TIME})):
        entry = entity if entity in named else f"entities.{entity}"
        wanted = named[entity] if entity in named else config.entities.get(entity)
        files = choose(files, entry, {file.path: file.label(entity) for file in files}, wanted, config.root)
    unknown = sorted(entity for entity, label in config.entities.items() if label and not files[0].label(entity))
    if unknown:
        raise RecordingError(
            f"{config.root}: entities.{unknown[0]} is given, but no name has it ({files[0].path.name})"
        )
    return files, files[0].label("sub")


def _derivative(file: BIDSFile, root: Path) -> str:
    """Return the folder of a file below the root, up to that of its subject; "" for the root itself."""
    parts = file.path.parent.relative_to(root).parts
    subject = next((place for place, part in enumerate(parts) if part.startswith("sub-")), len(parts))
    return "/".join(parts[:subject])


def _session_numbers(files: Sequence[BIDSFile]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Number sessions: by their labels if these are numbers, else in alphabetical order, which is said."""
    labels = sorted({file.label("ses") for file in files})
    if labels == [""]:
        return {"": 1}, ()
    if all(label.isdecimal() for label in labels):
        numbers = {label: int(label) for label in labels}
        if len(set(numbers.values())) < len(labels):
            raise RecordingError(
                f"sessions are labelled {', '.join(labels)}, of which two are the same number: rename one"
            )
        return numbers, ()
    numbers = {label: number for number, label in enumerate(labels, start=1)}
    named = ", ".join(f"{number} is {label or 'without a label'}" for label, number in numbers.items())
    return numbers, (f"Sessions are numbered in alphabetical order of their labels: {named}.",)


def _run(file: BIDSFile) -> int:
    label = file.label("run")
    if label and not label.isdecimal():
        raise RecordingError(f"{file.path}: run-{label} is no number, as BIDS asks for: rename it, such as run-1")
    return int(label or 0)


def _with_tables(beta: BetaFile, events: Sequence[BIDSFile]) -> BetaFile:
    """Find `*_trials.tsv` beside betas, else the raw events of their run, or of all runs of their session."""
    file = beta.file
    beside = [
        table
        for table in find(file.path.parent, ["trials"])
        if table.path.parent == file.path.parent and table.extension == ".tsv" and table.applies_to(file)
    ]
    if beside:
        most = max(len(table.entities) for table in beside)
        best = [table for table in beside if len(table.entities) == most]
        if len(best) > 1:
            raise RecordingError(
                f"{file.path} has two tables of trials, {best[0].path.name} and {best[1].path.name}: keep one"
            )
        return replace(beta, tables=(best[0],))
    by_run = ("sub", "ses", "task", "run") if file.label("run") else ("sub", "ses", "task")
    own = [table for table in events if table.extension == ".tsv" and _are_events_of(table, file, by_run)]
    raw = [table for table in own if "derivatives" not in table.path.parts]
    own = sorted(raw or own, key=_run)
    runs = [_run(table) for table in own]
    if len(set(runs)) < len(runs):
        raise RecordingError(
            f"{file.path} may belong to {own[0].path.name} or to {own[1].path.name}: put its own table of trials beside it, as "
            f"{_stem(file)}_trials.tsv"
        )
    if not own:
        raise RecordingError(
            f"{file.path} has no table of its trials: expected {_stem(file)}_trials.tsv beside it, or raw events in "
            f"{_events_name(file)}, such as\n{EXAMPLE}"
        )
    return replace(beta, tables=tuple(own), is_events=True)


def _are_events_of(table: BIDSFile, file: BIDSFile, by: Iterable[str]) -> bool:
    """Return whether events belong to betas: entities that only one of the names has, such as space, say nothing."""
    others = table.entities.keys() & file.entities.keys() - {*by, "run"}
    required = [entity for entity in by if entity != "task" or file.label("task")]
    return table.fits(file, required) and all(same(name, table.label(name), file.label(name)) for name in others)


def _stem(file: BIDSFile) -> str:
    return file.path.name.removesuffix(f"_{file.suffix}{file.extension}")


def _events_name(file: BIDSFile) -> str:
    kept = [f"{name}-{label}" for name, label in file.entities.items() if name in ("sub", "ses", "task", "run")]
    return "_".join([*kept, "events.tsv"])


def find_masks(config: BIDS, beta: BIDSFile) -> list[BIDSFile]:
    """Find the brain masks of a subject in the space of the betas: those of functional runs, else any.

    Raises:
        RecordingError: there is none.
    """
    masks = [
        file
        for file in find(config.root, ["mask"], beta.label("sub"))
        if file.extension in NIFTI and file.label("desc") == "brain" and in_space_of(file, beta)
    ]
    functional = [file for file in masks if file.label("task") and same("task", file.label("task"), beta.label("task"))]
    found = functional or [file for file in masks if not file.label("task")]
    if not found:
        space, subject = beta.label("space"), beta.label("sub")
        raise RecordingError(
            f"{config.root} holds no brain mask of sub-{subject} in the betas' space ({space or 'none is named'}): expected a "
            f"file such as sub-{subject}_{f'space-{space}_' if space else ''}desc-brain_mask.nii.gz, or write mask: FILE"
        )
    return found


def find_atlases(config: BIDS, beta: BIDSFile) -> list[tuple[str, BIDSFile, BIDSFile | None]]:
    """Find the wanted atlases in the space of the betas.

    Returns:
        Label, volume and, if any, table of names of each.

    Raises:
        RecordingError: a wanted one is missing.
    """
    files = find(config.root, ["dseg"], beta.label("sub"))
    tables = [file for file in files if file.extension == ".tsv"]
    volumes = [file for file in files if file.extension in NIFTI and in_space_of(file, beta)]
    found = [(atlas_label(file), file, _table_of(file, tables)) for file in volumes]
    if config.atlases is None:
        return found
    labels = sorted({label for label, _, _ in found})
    missing = [label for label in config.atlases if label not in labels]
    if missing:
        raise RecordingError(
            f"{config.root} holds no atlas {missing[0]!r} in the betas' space ({beta.label('space') or 'none is named'}): "
            f"there are {', '.join(labels) or 'none'}; expected a file such as sub-01_space-T1w_desc-visual_dseg.nii.gz"
        )
    return [entry for entry in found if entry[0] in config.atlases]


def atlas_label(file: BIDSFile) -> str:
    """Return what an atlas is called."""
    return file.label("desc") or file.label("atlas") or file.label("seg")


def in_space_of(file: BIDSFile, beta: BIDSFile) -> bool:
    """Return whether a volume is in the space of the betas, by its name; a resolution counts if both names have one."""
    both = all(file.label(name) == beta.label(name) for name in ("res", "den") if file.label(name) and beta.label(name))
    return both and file.label("space") == beta.label("space")


def _table_of(volume: BIDSFile, tables: Iterable[BIDSFile]) -> BIDSFile | None:
    """Find the table of names with most entities, in the folder of the volume or above it."""
    above = [table for table in tables if table.path.parent in volume.path.parents and table.applies_to(volume)]
    return max(above, key=lambda table: (len(table.path.parts), len(table.entities)), default=None)
