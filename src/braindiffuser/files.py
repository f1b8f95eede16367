"""Files that are whole or absent, also after a power cut, and the states by which a file is known again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from braindiffuser.errors import RunError

UNFINISHED = ".unfinished-"
"""Beginning of the names of files that are being written; what follows ends as the finished name does, for writers that look."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all: yield a path beside `path`, which becomes `path` on the disk when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{UNFINISHED}{os.getpid()}-{path.name}")
    try:
        yield beside
        sync(beside)
        beside.replace(path)
        sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FileState(NamedTuple):
    """What a file is known by.

    Attributes:
        size: in bytes.
        sha256: of its content.
        modified: time of the last change of its content, in nanoseconds.
        changed: time of the last change of anything about it (ctime), which programs cannot set; in nanoseconds.
    """

    size: int
    sha256: str
    modified: int
    changed: int

    def is_same_content(self, other: FileState) -> bool:
        """Tell if both states are of the same content, wherever and whenever it was written."""
        return (self.size, self.sha256) == (other.size, other.sha256)


def state_of(path: Path, known: FileState | None = None) -> FileState:
    """Return the state of a file; its content is read unless size and both times are as they were.

    Args:
        path: of the file.
        known: an earlier state, as git's index has one of each file.

    Raises:
        OSError: if there is no such file, or it cannot be read.
    """
    facts = path.stat()
    times = facts.st_mtime_ns, facts.st_ctime_ns
    if known is not None and (facts.st_size, *times) == (known.size, known.modified, known.changed):
        return known
    with path.open("rb") as file:
        return FileState(facts.st_size, hashlib.file_digest(file, "sha256").hexdigest(), *times)


def changed_files(folder: Path, states: Mapping[str, FileState]) -> dict[str, str]:
    """Compare files with their states.

    A file that was copied or touched is read; its content decides.

    Args:
        folder: which the names are relative to.
        states: name → state.

    Returns:
        Name of each file that is not as it was → "is missing", "is cut short", "is empty" or "was changed".
    """
    found = ((name, _change(folder / name, state)) for name, state in states.items())
    return {name: change for name, change in found if change}


def _change(path: Path, known: FileState) -> str:
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if size < known.size:
        return "is cut short" if size else "is empty"
    return "" if state_of(path, known).is_same_content(known) else "was changed"


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Delete files by name, then the folders that are empty without them; everything else stays."""
    parents: set[Path] = set()
    for name in names:
        path = folder / name
        path.unlink(missing_ok=True)
        parents |= {parent for parent in path.parents if parent != folder and folder in parent.parents}
    for parent in sorted(parents, key=lambda path: -len(path.parts)):
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()


def as_states(content: Any) -> dict[str, FileState]:
    """Read states from JSON, where each is a list.

    Raises:
        RunError: if it is no mapping of names to states, or a name leads out of the folder that names are relative to.
    """
    if not isinstance(content, Mapping) or not all(_is_state(state) for state in content.values()):
        raise RunError("a list of files is damaged: it does not give size, hash and two times for each name")
    outside = [name for name in content if name.startswith("/") or ".." in name.split("/")]
    if outside:
        raise RunError(
            f"a list of files names {outside[0]}, which lies outside its folder; no run writes such a list: take another folder"
        )
    return {name: FileState(*state) for name, state in content.items()}


def _is_state(state: Any) -> bool:
    return isinstance(state, list | tuple) and list(map(type, state)) == [int, str, int, int]
