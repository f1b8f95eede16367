"""Files of a BIDS folder by the entities in their names: `sub-01_ses-02_task-scenes_run-1_space-T1w_desc-LSS_betas.nii.gz`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from braindiffuser.errors import RecordingError

NIFTI = (".nii.gz", ".nii")
NOT_DATA = ("code", "sourcedata")
"""Folders that BIDS keeps for what is no data set."""


@dataclass(frozen=True)
class BIDSFile:
    """A file of a BIDS folder.

    Attributes:
        path: of the file.
        entities: name → label, such as {"sub": "01", "run": "1"}.
        suffix: last word of the name, such as `betas`.
        extension: with its dot, such as `.nii.gz`.
    """

    path: Path
    entities: Mapping[str, str]
    suffix: str
    extension: str

    def label(self, entity: str) -> str:
        """Return the label of an entity; "" if the name has none."""
        return self.entities.get(entity, "")

    def fits(self, other: BIDSFile, entities: Iterable[str]) -> bool:
        """Return whether two names have the same labels of some entities, or both none; `01` is `1` as number of a run."""
        return all(same(entity, self.label(entity), other.label(entity)) for entity in entities)

    def applies_to(self, other: BIDSFile) -> bool:
        """Return whether all that this name says is true of another file too, as BIDS lets tables be inherited."""
        return all(same(entity, label, other.label(entity)) for entity, label in self.entities.items())


def same(entity: str, one: str, other: str) -> bool:
    """Compare two labels; those of runs are numbers."""
    both = entity == "run" and one.isdecimal() and other.isdecimal()
    return int(one) == int(other) if both else one == other


def parse(path: Path) -> BIDSFile | None:
    """Read the entities in a name; None if it is no BIDS name.

    >>> parse(Path("sub-01_run-2_events.tsv")).entities
    {'sub': '01', 'run': '2'}
    """
    stem, dot, extension = path.name.partition(".")
    *pairs, suffix = stem.split("_")
    entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    if not dot or len(entities) != len(pairs) or "-" in suffix:
        return None
    return BIDSFile(path, entities, suffix, dot + extension)


def find(root: Path, suffixes: Iterable[str], subject: str | None = None) -> list[BIDSFile]:
    """List the files of a folder and those below it that have one of the suffixes, ordered by path.

    Args:
        root: of the data set; hidden folders, `code` and `sourcedata` are left out.
        suffixes: such as `betas`, `mask`.
        subject: label; folders and files of other subjects are left out. None: all.
    """
    wanted, found = set(suffixes), []
    for path in _walk(root, subject):
        file = parse(path)
        if file and file.suffix in wanted and (subject is None or file.label("sub") in ("", subject)):
            found.append(file)
    return sorted(found, key=lambda file: file.path)


def _walk(root: Path, subject: str | None) -> Iterator[Path]:
    visited: set[str] = set()
    for place, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:  # links may lead round in a circle
            folders.clear()
            continue
        visited.add(real)
        folders[:] = [
            name
            for name in sorted(folders)
            if not name.startswith(".")
            and name not in NOT_DATA
            and (subject is None or not name.startswith("sub-") or name == f"sub-{subject}")
        ]
        yield from (Path(place) / name for name in names if not name.startswith("."))


def choose(
    files: list[BIDSFile], entry: str, labels: Mapping[Path, str], wanted: str | None, root: Path
) -> list[BIDSFile]:
    """Keep the files with the wanted label.

    Args:
        files: to choose among, one or more.
        entry: of the experiment file, such as `task`, for messages.
        labels: path → label.
        wanted: label; None: the only one there is.
        root: of the data set, for messages.

    Raises:
        RecordingError: no file has the label, or none is wanted and there are several.
    """
    there = sorted({labels[file.path] for file in files})
    shown = ", ".join(label or '""' for label in there)
    if wanted is None and len(there) > 1:
        raise RecordingError(
            f"{root} holds betas of several kinds, which differ in {entry}: {shown}; write which one, such as {entry}: "
            f"{there[0] or there[1]} (among {files[0].path.name} …)"
        )
    kept = [file for file in files if wanted is None or labels[file.path] == wanted]
    if not kept:
        raise RecordingError(f"{root} holds no betas with {entry}: {wanted}; there are {shown}")
    return kept
