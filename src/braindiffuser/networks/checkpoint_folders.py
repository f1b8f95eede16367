"""Where checkpoint folders are, and their hashes. A checkpoint is a network's file, with its config."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from braindiffuser.files import UNFINISHED, FileState, state_of

BUNDLED = Path(__file__).parent.parent / "checkpoints"
"""Folder of the checkpoints that come with the package."""

SOURCE = "source.json"
"""What a converted checkpoint folder was made from, and its files; no part of the checkpoint."""


def downloads_folder() -> Path:
    """Return the folder of downloaded checkpoints: BRAINDIFFUSER_CHECKPOINTS, else `braindiffuser` in the user's cache."""
    named = os.environ.get("BRAINDIFFUSER_CHECKPOINTS")
    return Path(named).expanduser() if named else user_cache() / "braindiffuser"


def user_cache() -> Path:
    """Return the folder where programs of this user keep what can be fetched again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def checkpoint_folder(named: Path) -> Path:
    """Resolve a checkpoint folder: absolute stays; relative: bundled with the package, then downloaded."""
    bundled = BUNDLED / named  # an absolute path stays
    return bundled if bundled.exists() else downloads_folder() / named


def hash_checkpoint(folder: Path, known: dict[Path, FileState] | None = None) -> str:
    """Sixteen hexadecimal digits over the names and contents of a checkpoint's files: safetensors, and JSON but `source.json`.

    Args:
        folder: of the checkpoint.
        known: cache of file states, extended in place; a file whose size and times are the same is not read.
    """
    content, known = hashlib.sha256(), {} if known is None else known
    for path in sorted(folder.glob("*")):
        is_own = path.suffix in {".json", ".safetensors"} and path.name != SOURCE
        if is_own and path.is_file() and not path.name.startswith(UNFINISHED):
            known[path] = state_of(path, known.get(path))
            content.update(path.name.encode() + bytes.fromhex(known[path].sha256))
    return content.hexdigest()[:16]
