"""What the operating system says (disk full, no permission, …) as a sentence with the file and what to do."""

from __future__ import annotations

import errno

_AGAIN = "then run the same command again"
_REMEDIES = {
    errno.ENOSPC: f"the disk is full: free room, {_AGAIN}",
    errno.EDQUOT: f"your quota on this disk is used up: free room, {_AGAIN}",
    errno.EFBIG: "this disk takes no file of that size: use another disk",
    errno.EACCES: "you have no permission: change it, or name another place",
    errno.EPERM: "you have no permission: change it, or name another place",
    errno.EROFS: "the disk is read-only: name another place",
    errno.ENOENT: "there is no such file or folder: check the name",
    errno.ENOTDIR: "a part of this path is a file, where a folder is needed: name another place, or move that file away",
    errno.EISDIR: "it is a folder, where a file is needed: name another place, or move that folder away",
    errno.ENAMETOOLONG: "the name is too long for this disk: choose a shorter one",
    errno.ELOOP: "links lead in a circle here: remove one of them",
    errno.EAGAIN: f"another program holds it open and locked: close that program, {_AGAIN}",
    errno.EBUSY: f"another program uses it: close that program, {_AGAIN}",
    errno.EIO: f"the disk reports a fault: check the disk and its connection, {_AGAIN}",
    errno.ESTALE: f"the network disk has lost it: check the connection, {_AGAIN}",
    errno.EMFILE: f"too many files are open: raise the limit (ulimit -n), {_AGAIN}",
    errno.EPIPE: "the program that reads this output has ended",
}


def is_of_the_system(error: BaseException) -> bool:
    """Return whether the operating system reports this error, rather than a library that dislikes a file's content."""
    return isinstance(error, OSError) and error.errno is not None


def sentence(error: OSError, path: object = None) -> str:
    """Say which file the operating system refuses, why, and what to do.

    Args:
        error: what was raised.
        path: of the file, where the error itself does not name it.
    """
    named = path or error.filename or error.filename2 or "a file"
    said = _REMEDIES.get(error.errno or 0) or f"{error.strerror or error}"
    return f"{named} cannot be read or written: {said}"
