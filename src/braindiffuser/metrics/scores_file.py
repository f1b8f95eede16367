"""Files that `evaluate` writes scores of folders and stacks to, which must not replace anything else."""

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

ENDINGS: Mapping[str, str] = {
    "--json": ".json",
    "--csv": ".csv",
    "--markdown": ".md",
    "--latex": ".tex",
    "--page": ".html",
}
"""Option → ending that its file should have."""
MARKS: Mapping[str, tuple[bytes, ...]] = {
    "--csv": (b"Metric,",),
    "--markdown": (b"<!-- Made by braindiffuser evaluate",),
    "--latex": (b"% Made by braindiffuser evaluate",),
    "--page": (b"<!DOCTYPE html>", b'<p class="eyebrow">braindiffuser evaluate</p>'),
}
"""Option → what a file that this command wrote begins with, and what else it holds."""


def check_scores_file(path: Path, option: str = "--json") -> None:
    """Check that `path` can be written and may be overwritten: no file, an empty one, or one that the same option wrote.

    Args:
        path: of the file.
        option: that names it.

    Raises:
        RunError: if it is a folder, a file that something else wrote (such as one of the pictures), named like a picture, or
            cannot be written.
    """
    if path.is_dir():
        raise RunError(f"{option} {path} is a folder: name a file")
    with suppress(OSError):  # a stream may be closed
        if path.is_file() and any(os.path.samestat(path.stat(), os.fstat(stream)) for stream in (1, 2)):
            raise RunError(f"{option} {path} is the file that this command prints to: name another file")
    if path.is_file() and path.stat().st_size and not _is_ours(path, option):
        raise RunError(f"{option} {path} is a file already, and was not written by this option: name another file")
    if {path.suffix.lower(), Path(os.path.realpath(path)).suffix.lower()} & SUFFIXES:
        raise RunError(f"{option} {path} would be taken for a picture: name a file that ends in {ENDINGS[option]}")
    try:
        _try_to_write(path)
    except OSError as error:
        raise RunError(f"{option} {sentence(error, path)}") from error


def check_scores_files(files: Mapping[str, Path]) -> None:
    """Check several files, as `check_scores_file` does, and that they differ.

    Args:
        files: option → path.
    """
    taken: dict[str, str] = {}
    for option, path in files.items():
        earlier = taken.setdefault(os.path.realpath(path), option)
        if earlier != option:
            raise RunError(f"{earlier} and {option} name the same file {path}: give each its own")
        check_scores_file(path, option)


def _is_ours(path: Path, option: str) -> bool:
    content = path.read_bytes()
    if option != "--json":
        begins, *others = MARKS[option]
        return content.startswith(begins) and all(mark in content for mark in others)
    try:
        earlier = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(earlier, dict) and any(
        earlier.keys() >= {"unmatched", "names", own} for own in ("per_image", "methods")
    )


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
    """Write what `evaluate_folders` or `evaluate_methods` returns as JSON."""
    write_text(json.dumps(scores, indent=2, allow_nan=False) + "\n", path)


def write_text(content: str, path: Path) -> None:
    """Write a file whole or not at all."""
    with output(path) as place:
        place.write_text(content, encoding="utf-8")
