"""The key of a page of ratings: which picture of each choice is the right one, and the page that it belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from braindiffuser.errors import RunError, reason
from braindiffuser.plain_data import hash_json, read_json, write_json
from braindiffuser.ratings.choices import ComparisonKind, Side

KEY_FORMAT = "braindiffuser-ratings-key-2"
EARLIER_FORMATS = ("braindiffuser-ratings-key-1",)
CHECKSUM = "checksum"


def key_path(page: Path) -> Path:
    """Return where the key of a page lies: beside it.

    >>> key_path(Path("out/page.html")).as_posix()
    'out/page.key.json'
    """
    return page.with_suffix(".key.json")


def write_key(path: Path, content: Mapping[str, Any]) -> None:
    """Write a key with its checksum, whole or not at all.

    Args:
        path: of the key.
        content: `kit`, `page_sha256`, `methods`, and `trials`: name → `right_side`, `kind`, `comparison`, `seen` and
            further facts.
    """
    key = {"format": KEY_FORMAT, **content}
    write_json(path, {**key, CHECKSUM: hash_json(key)})


def read_key(page: Path, path: Path) -> dict[str, Any]:
    """Read the key of a page.

    Args:
        page: that was answered.
        path: of its key.

    Returns:
        What `write_key` was given, and `format`.

    Raises:
        RunError: if the key is missing, no key, of an earlier version, damaged, or not that of the page as it is.
    """
    if not path.is_file():
        raise RunError(f"there is no key {path}, which was written with the page: name it with --key")
    try:
        key = read_json(path)
    except (OSError, ValueError) as error:
        raise RunError(reason(error)) from error
    if key.get("format") in EARLIER_FORMATS:
        raise RunError(
            f"{path} is a key that an earlier version wrote ({key['format']}, expected {KEY_FORMAT}): score its answers with the "
            "version that made the page"
        )
    if key.get("format") != KEY_FORMAT:
        raise RunError(f"{path} is no key of a page of ratings: name the .key.json that was written with the page")
    if key.pop(CHECKSUM, None) != hash_json(key) or not _is_whole(key):
        raise RunError(f"{path} is damaged, or was changed since it was written: take it from a copy that was not")
    try:
        found = hashlib.sha256(page.read_bytes()).hexdigest()
    except OSError as error:
        raise RunError(f"{page} cannot be read: {reason(error)}") from error
    if found != key["page_sha256"]:
        raise RunError(
            f"{path} is not the key of {page}, or the page was changed since: name the page as it was written"
        )
    return key


def _is_whole(key: Mapping[str, Any]) -> bool:
    trials, methods = key.get("trials"), key.get("methods")
    return (
        isinstance(methods, list)
        and bool(methods)
        and all(isinstance(name, str) for name in methods)
        and all(isinstance(key.get(entry), str) for entry in ("kit", "page_sha256"))
        and isinstance(trials, dict)
        and all(isinstance(facts, dict) and _is_trial(facts) for facts in trials.values())
    )


def _is_trial(facts: Mapping[str, Any]) -> bool:
    return (
        facts.get("right_side") in get_args(Side)
        and facts.get("kind") in get_args(ComparisonKind)
        and all(isinstance(facts.get(entry), str) for entry in ("comparison", "seen"))
    )
