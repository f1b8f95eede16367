"""The file that scores of two folders are written to, which must not replace anything else."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from braindiffuser.errors import RunError
from braindiffuser.files import output
from braindiffuser.picture_files import SUFFIXES
from braindiffuser.system_errors import sentence


def check_scores_file(path: Path) -> None:
    """Check that `path` can be written and may be overwritten: no file, an empty one, or earlier scores of two folders.

    Raises:
        RunError: if it is a folder, a file that something else wrote (such as one of the pictures), named like a picture, or
            cannot be written.
    """
    if path.is_dir():
        raise RunError(f"--json {path} is a folder: name a file")
    with suppress(OSError):  # a stream may be closed
        if path.is_file() and any(os.path.samestat(path.stat(), os.fstat(stream)) for stream in (1, 2)):
            raise RunError(f"--json {path} is the file that this command prints to: name another file")
    if path.is_file() and path.stat().st_size:
        try:
            earlier = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            earlier = None
        if not (isinstance(earlier, dict) and earlier.keys() >= {"unmatched", "names", "per_image"}):
            raise RunError(f"--json {path} is a file already, and holds no scores of two folders: name another file")
    if {path.suffix.lower(), Path(os.path.realpath(path)).suffix.lower()} & SUFFIXES:
        raise RunError(f"--json {path} would be taken for a picture: name a file that ends in .json")
    try:
        _try_to_write(path)
    except OSError as error:
        raise RunError(f"--json {sentence(error, path)}") from error


def _try_to_write(path: Path) -> None:
    """Begin to write as `write_scores` will, and stop before anything is replaced."""
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    with suppress(_Stopped):
        if not path.exists() or path.is_file():
            with output(path) as place:
                place.touch()
                raise _Stopped


class _Stopped(Exception):  # noqa: N818 - no error
    """Ends a trial."""


def write_scores(scores: Mapping[str, Any], path: Path) -> None:
    """Write what `evaluate_folders` returns as JSON."""
    with output(path) as place:
        place.write_text(json.dumps(scores, indent=2, allow_nan=False) + "\n", encoding="utf-8")
