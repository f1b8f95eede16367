"""Where checkpoint folders are, and their hashes. A checkpoint is a network's file, with its config."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from braindiffuser.errors import DependencyError
from braindiffuser.files import UNFINISHED, FileState, state_of
from braindiffuser.paths import expand
from braindiffuser.plain_data import read_json

BUNDLED = Path(__file__).parent.parent / "checkpoints"
"""Folder of the checkpoints that come with the package."""

SOURCE = "source.json"
"""What a converted checkpoint folder was made from, and its files; no part of the checkpoint."""


def downloads_folder() -> Path:
    """Return the folder of downloaded checkpoints: BRAINDIFFUSER_CHECKPOINTS, else `braindiffuser` in the user's cache.

    Raises:
        DependencyError: if BRAINDIFFUSER_CHECKPOINTS names a variable or a user that is not known.
    """
    named = os.environ.get("BRAINDIFFUSER_CHECKPOINTS")
    try:
        return Path(expand(named)) if named else user_cache() / "braindiffuser"
    except ValueError as error:
        raise DependencyError(f"the environment variable BRAINDIFFUSER_CHECKPOINTS {error}") from error


def user_cache() -> Path:
    """Return the folder where programs of this user keep what can be fetched again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111  there may be no home


MARKS = {
    "VDVAE": "dec_blocks",
    "CLIP": "vision_config",
    "KL autoencoder": "latent_channels",
    "dual-guided UNet": "attention_levels",
}
"""Network → an entry of its config that no other network has; defaults may be left out."""


def read_config_of(network: str, folder: Path, entry: str) -> dict[str, Any]:
    """Read the config of a checkpoint folder.

    Args:
        network: which one it must be, of `MARKS`.
        folder: of the checkpoint.
        entry: of the part that names it, for the error.

    Raises:
        ValueError: if it is missing, damaged, or another network's.
    """
    try:
        content = read_json(folder / "config.json")
    except (OSError, ValueError) as error:
        raise ValueError(f"{entry} names {folder}, whose config.json cannot be used: {error}") from error
    others = [other for other, mark in MARKS.items() if mark in content]
    if others and network not in others:
        raise ValueError(f"{entry} names {folder}, which holds a {others[0]}, not a {network}: name another folder")
    return content


def checkpoint_folder(named: Path) -> Path:
    """Resolve a checkpoint folder: absolute stays; relative: bundled with the package, then downloaded."""
    return BUNDLED / named if is_bundled(named) else downloads_folder() / named  # an absolute path stays


def is_bundled(named: Path | str) -> bool:
    """Return whether this is the name of a checkpoint that comes with the package."""
    return (BUNDLED / named / "model.safetensors").is_file() and not Path(named).is_absolute()


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
