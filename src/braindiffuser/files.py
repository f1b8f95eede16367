"""Atomic writing, and file states by which unchanged files are recognised."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import shutil
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from braindiffuser.errors import RunError
from braindiffuser.system_errors import is_special, naming, sentence


def _processes_known_here() -> str:
    """Name the set of processes that this one can see: the kernel's boot and the PID namespace; Linux alone tells them."""
    with suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text()} {Path('/proc/self/ns/pid').readlink()}"
    return ""


UNFINISHED = ".unfinished-"
"""Prefix of files being written; the suffix is kept, since some writers choose the format by it."""
_MACHINE = f"{zlib.crc32(f'{platform.node()} {_processes_known_here()}'.encode()):08x}"
LEFTOVER = re.compile(rf"{re.escape(UNFINISHED)}(?P<machine>[0-9a-f]{{8}})-(?P<process>\d{{1,9}})-.+", re.DOTALL)
"""Names that `replacing` gives, with machine and process, so that files left by killed processes can be recognised."""
LOCK = ".lock"
"""File by which a process keeps others out of a folder; the lock ends with the process, the file stays."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on success it is flushed and renamed to `path`.

    Raises:
        OSError: if it cannot be written; names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers_once(path.parent.resolve())
    name = path.name if len(path.name) < 64 else f"{zlib.crc32(os.fsencode(path.name)):08x}{path.name[-32:]}"
    beside = path.with_name(f"{UNFINISHED}{_MACHINE}-{os.getpid()}-{name}")
    try:
        with naming(path):
            yield beside
            sync(beside)
        beside.replace(path)
        sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def output(path: Path) -> Iterator[Path]:
    """Write a file whose path a user chose: yield the path to write to.

    A link stays a link: the file that it leads to is replaced, and the new one keeps its permissions. A device or a pipe is
    written to directly.

    Raises:
        OSError: if links lead in a circle.
    """
    place = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        with naming(path):
            yield path
    elif place.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    else:
        with replacing(place) as beside:
            yield beside
            if place.exists():
                shutil.copymode(place, beside)


@cache
def _remove_leftovers_once(folder: Path) -> None:
    """Delete leftovers in a folder when this process first writes there."""
    remove_leftovers(folder)


def remove_leftovers(folder: Path, locked: bool = False) -> None:
    """Delete the files that killed processes left half written in a folder, recognised by their names.

    Args:
        folder: where to look; subfolders are not searched.
        locked: True if no other machine writes here; otherwise other machines' files are kept, since their processes may be
            alive.
    """
    for path in folder.glob(f"{UNFINISHED}*"):
        found = LEFTOVER.fullmatch(path.name)
        if found and path.is_file() and not path.is_symlink():
            is_over = locked if found["machine"] != _MACHINE else not _is_alive(int(found["process"]))
            if is_over:
                with suppress(OSError):  # it belongs to another user
                    path.unlink()


def _is_alive(process: int) -> bool:
    import psutil

    return process == os.getpid() or psutil.pid_exists(process)


def sync(path: Path, system: str = os.name) -> None:
    """Call fsync on a file, or on a folder's entries where the system can.

    Args:
        path: of the file or folder.
        system: as `os.name` calls it. Windows ("nt") opens no folder, and flushes only files that are open for writing.
    """
    is_folder, is_windows = path.is_dir(), system == "nt"
    if is_folder and is_windows:
        return
    descriptor = os.open(path, (os.O_RDWR if is_windows else os.O_RDONLY) | getattr(os, "O_BINARY", 0))
    try:
        with naming(path):
            os.fsync(descriptor)
    except OSError as error:
        if not (is_folder and error.errno in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)):  # some network disks
            raise
    finally:
        os.close(descriptor)


@contextmanager
def alone_in(folder: Path, wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Keep other processes out of a folder while this one writes there. A process that was killed keeps nobody out.

    Args:
        folder: must exist.
        wait: called before waiting for another process; None: do not wait.

    Raises:
        RunError: if another process works there, and `wait` is None; or if the disk has no file locks.
        OSError: if the lock's file cannot be made.
    """
    lock = FileLock(folder / LOCK)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "flock not supported")  # filelock would take one that outlives its process
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if wait is None:
                    raise RunError(f"another process works in {folder}: wait until it ends") from None
                wait()
                lock.acquire()
    except (NotImplementedError, UserWarning) as error:
        raise RunError(sentence(OSError(errno.ENOLCK, "no locks"), folder / LOCK)) from error
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise RunError(sentence(OSError(errno.ENOLCK, "no locks"), folder / LOCK)) from error
        error.filename = error.filename or str(folder / LOCK)
        raise
    try:
        yield
    finally:
        lock.release()


class FileState(NamedTuple):
    """Size, hash and times of a file.

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
        """Return whether both states are of the same content, wherever and whenever it was written."""
        return (self.size, self.sha256) == (other.size, other.sha256)


def state_of(path: Path, known: FileState | None = None) -> FileState:
    """Return the state of a file.

    Args:
        path: of the file.
        known: earlier state, returned without reading the file if size and both times agree (as git's index does).

    Raises:
        OSError: if there is no such file, it cannot be read, or it is a pipe, a socket or a device.
    """
    if is_special(path):
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), str(path))
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
    """Delete files by name, then folders left empty; everything else stays."""
    parents: set[Path] = set()
    for name in names:
        path = folder / name
        path.unlink(missing_ok=True)
        parents |= {parent for parent in path.parents if parent != folder and folder in parent.parents}
    for parent in sorted(parents, key=lambda path: -len(path.parts)):
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()


def as_states(content: Any, source: object = "a list of files") -> dict[str, FileState]:
    """Read states from JSON, where each is a list.

    Args:
        content: of a JSON file.
        source: that file, for messages.

    Raises:
        RunError: if it is no mapping of names to states, or a name leads out of the folder that names are relative to.
    """
    if not isinstance(content, Mapping) or not all(_is_state(state) for state in content.values()):
        raise RunError(f"{source} is damaged: it does not give size, hash and two times for each name")
    outside = [name for name in content if PurePath(name).anchor or ".." in PurePath(name).parts]
    if outside:
        raise RunError(
            f"{source} names {outside[0]}, which lies outside its folder: this run folder was altered; use another"
        )
    return {name: FileState(*state) for name, state in content.items()}


def _is_state(state: Any) -> bool:
    return isinstance(state, list | tuple) and list(map(type, state)) == [int, str, int, int]
