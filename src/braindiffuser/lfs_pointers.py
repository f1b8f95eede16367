"""Files of git-lfs that were never fetched: a few lines of text stand in their place."""

from __future__ import annotations

from pathlib import Path

BEGINNING = b"version https://git-lfs.github.com/spec/"
LARGEST = 1024
"""Bytes that a pointer has at most, by the specification of git-lfs."""


def pointer_sentence(path: Path) -> str:
    """Return what to say of a file that is a pointer of git-lfs; "" of every other, and of what cannot be read.

    Source: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
    """
    try:
        if not path.is_file() or path.stat().st_size > LARGEST or not path.read_bytes().startswith(BEGINNING):
            return ""
    except OSError:
        return ""
    return (
        f"{path} is a pointer of git-lfs, not the file itself: run `git lfs pull` in its folder, or download the file"
    )
