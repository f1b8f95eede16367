"""Files that `evaluate` writes scores of folders and stacks to, which must not replace anything else."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from braindiffuser.errors import RunError
from braindiffuser.files import output
from braindiffuser.metrics.profiles import Profile, profile_names
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
SEALS: Mapping[str, str] = {
    "--markdown": "<!-- SHA-256 of the lines above: {} -->\n",
    "--latex": "% SHA-256 of the lines above: {}\n",
    "--page": "<!-- SHA-256 of the lines above: {} -->\n",
}
"""Option → last line of its files, by which notes that somebody wrote into one are known, and not overwritten."""


def check_scores_file(path: Path, option: str = "--json") -> None:
    """Check that `path` can be written and may be overwritten: no file, an empty one, or one as the same option wrote it.

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
        changed = {"--json": "", "--csv": ", or was changed since"}.get(
            option, ", was changed since, or is of an earlier version, whose files have no hash in their last line"
        )
        raise RunError(
            f"{option} {path} is a file already, and was not written by this option{changed}: name another file"
        )
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
        is_marked = content.startswith(begins) and all(mark in content for mark in others)
        return is_marked and (_is_our_table(content) if option == "--csv" else _is_sealed(content, option))
    try:
        earlier = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(earlier, dict) and any(
        earlier.keys() >= {"unmatched", "names", own} for own in ("per_image", "methods")
    )


def sealed(text: str, option: str) -> str:
    """Return the text of a file with the hash of it in a comment at its end, where its format has comments.

    Args:
        text: of the file.
        option: that names it.
    """
    if option not in SEALS:
        return text
    whole = text.replace("\r\n", "\n")
    whole = whole if whole.endswith("\n") else f"{whole}\n"
    return whole + SEALS[option].format(hashlib.sha256(whole.encode("utf-8")).hexdigest())


def _is_sealed(content: bytes, option: str) -> bool:
    """Return whether a file is as it was written."""
    try:
        text = content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        return False
    above = text[: text.rstrip("\n").rfind("\n") + 1]
    return sealed(above, option) == text


def _is_our_table(content: bytes) -> bool:
    """Return whether a CSV file has the columns that `--csv` writes, no others, and rows of metrics alone.

    These are the metric; the value of each method and of one of them shuffled; chance; and the difference of each further method
    with p and adjusted p. Both ends of its interval may follow a value. What somebody made or added to has another column or row.
    """
    try:
        header, *rows = csv.reader(io.StringIO(content.decode("utf-8"), newline=""), strict=True)
    except (UnicodeDecodeError, csv.Error, ValueError):
        return False
    if "Chance" not in header or not rows:
        return False
    place = len(header) - 1 - header[::-1].index("Chance")
    values, differences = _without_ends(header[1:place]), _without_ends(header[place + 1 :])
    adjusted = [f"{name}{rest}" for name in differences[::3] for rest in ("", ", p", ", p (Holm)")]
    known = {key for profile in profile_names() for key in Profile.load(profile).metrics}
    return (
        len(values) > 1
        and values[-1].endswith(", shuffled")
        and differences == adjusted
        and all(len(row) == len(header) and row[0] in known for row in rows)
    )


def _without_ends(columns: Sequence[str]) -> list[str]:
    """Return columns without those that hold the ends of the interval of the one before."""
    ends = {number + side for number, name in enumerate(columns) for side, end in ((1, "low"), (2, "high"))
            if list(columns[number + side : number + side + 1]) == [f"{name}, {end}"]}  # fmt: skip
    return [name for number, name in enumerate(columns) if number not in ends]


def _try_to_write(path: Path) -> None:
    """Begin to write as `write_text` will, and stop before anything is replaced."""
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    with suppress(_Stopped):
        if not path.exists() or path.is_file():
            with output(path) as place:
                place.touch()
                raise _Stopped


class _Stopped(Exception):  # noqa: N818 - no error
    """Ends a trial."""


def scores_text(scores: Mapping[str, Any]) -> str:
    """Return what `evaluate_folders` or `evaluate_methods` returns as JSON."""
    return json.dumps(scores, indent=2, allow_nan=False) + "\n"


def write_text(content: str, path: Path) -> None:
    """Write a file whole or not at all."""
    with output(path) as place:
        place.write_text(content, encoding="utf-8")
