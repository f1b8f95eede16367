"""What the operating system says (disk full, no permission, …) as a sentence with the file and what to do."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TypeGuard

_AGAIN = "then run the same command again"
_LOCKED = f"another program holds it open and locked: close that program, {_AGAIN}"
_BY_NAME = {
    "ENOSPC": f"the disk is full: free room, {_AGAIN}",
    "EDQUOT": f"your quota on this disk is used up: free room, {_AGAIN}",
    "EFBIG": "the disk or a limit (ulimit -f) takes no file of that size: raise the limit, or use another disk",
    "EACCES": "you have no permission: change it, or name another place",
    "EPERM": "you have no permission: change it, or name another place",
    "EROFS": "the disk is read-only: name another place",
    "ENOENT": "there is no such file or folder: check the name",
    "EEXIST": "something of that name is there already: move it away, or name another place",
    "ENOTEMPTY": "it is a folder that is not empty: move it away, or name another place",
    "ENOTDIR": "a part of this path is a file, where a folder is needed: name another place, or move that file away",
    "EISDIR": "it is a folder, where a file is needed: name another place, or move that folder away",
    "ENAMETOOLONG": "the name is too long for this disk: choose a shorter one",
    "ELOOP": "links lead in a circle here: remove one of them",
    "EAGAIN": f"another program holds it locked, or has not yet read what was written to it: wait, or close it, {_AGAIN}",
    "EBUSY": f"another program uses it: close that program, {_AGAIN}",
    "EIO": f"the disk reports a fault: check the disk and its connection, {_AGAIN}",
    "ESTALE": f"the network disk has lost it: check the connection, {_AGAIN}",
    "ETIMEDOUT": f"the network disk does not answer: check the connection, {_AGAIN}",
    "EMFILE": f"too many files are open: raise the limit (ulimit -n), {_AGAIN}",
    "ENOMEM": f"memory ran out: free memory that other programs use, {_AGAIN}",
    "ENOLCK": "this disk, probably a network disk, has no file locks: use a folder on a local disk",
    "EOPNOTSUPP": "the disk does not support this: use a folder on a local disk",
    "ENXIO": "it is no ordinary file: name a file",
}
_REMEDIES = {getattr(errno, name): said for name, said in _BY_NAME.items() if hasattr(errno, name)}
"""Number of an error → why and what to do; Windows lacks some of the names."""
_OF_WINDOWS = {32: _LOCKED, 33: _LOCKED}
"""The same for numbers of Windows' own: both come as EACCES there, but mean that another program has the file open."""
_BY_LIBRARIES = re.compile(r"\(os error (\d+)\)|errno = (\d+), error message")
"""How libraries in Rust, such as safetensors, and HDF5 quote the operating system."""
_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")
"""How numpy says that an array did not fit the disk; it does not tell the cause."""


def is_special(path: Path) -> bool:
    """Return whether a path is a pipe, a socket or a device, which a reader could wait for without end."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False  # what is not there, which is said by whoever opens it
    return not (S_ISREG(mode) or S_ISDIR(mode))


def is_of_the_system(error: BaseException) -> TypeGuard[OSError]:
    """Return whether the operating system reports this error, rather than a library that dislikes a file's content."""
    return isinstance(error, OSError) and error.errno is not None


def sentence(error: OSError, path: object = None) -> str:
    """Say which file the operating system refuses, why, and what to do.

    Args:
        error: what was raised.
        path: of the file, where the error itself does not name it.
    """
    named = path or error.filename or error.filename2 or "a file"
    if error.errno == errno.ENOENT and not _working_folder_exists():
        return f"{named} cannot be read or written: the working folder was deleted: change to another folder"
    known = _OF_WINDOWS.get(getattr(error, "winerror", None) or 0) or _REMEDIES.get(error.errno or 0)
    said = known or f"{error.strerror or error}"
    return f"{named} cannot be read or written: {' '.join(said.split())}"


def _working_folder_exists() -> bool:
    try:
        return Path.cwd().is_dir()
    except FileNotFoundError:
        return False


@contextmanager
def naming(path: object) -> Iterator[None]:
    """Name the file that is written inside, in errors of the operating system that name none.

    Writing to a full disk, for one, raises an OSError without the file; safetensors raises an error of its own.

    Args:
        path: of the file.

    Raises:
        OSError: in place of what was raised, with the file.
    """
    try:
        yield
    except Exception as error:
        if is_of_the_system(error):
            if error.filename is None:
                error.filename = str(path)
            raise
        number = _quoted_number(error)
        if number is None or type(error).__module__.partition(".")[0] == "braindiffuser":
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _quoted_number(error: Exception) -> int | None:
    """Return the operating system's number in a message of a library; None if it quotes none."""
    if _CUT_SHORT.search(str(error)):
        return errno.ENOSPC
    quoted = _BY_LIBRARIES.search(str(error))
    return int(quoted[1] or quoted[2]) if quoted else None
