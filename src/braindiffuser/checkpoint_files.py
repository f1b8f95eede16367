"""Checkpoint folders: where they are, and what they are known by. A checkpoint is a network's file, with its config."""

from __future__ import annotations

import hashlib
from pathlib import Path

from braindiffuser.weight_files import weights_folder

BUNDLED = Path(__file__).parent / "checkpoints"
"""Folder of the checkpoints that come with the package."""


def checkpoint_folder(named: Path) -> Path:
    """Find a checkpoint folder: a relative one comes with the package, or lies in the folder of downloaded checkpoints."""
    bundled = BUNDLED / named  # an absolute path stays itself
    return bundled if bundled.exists() else weights_folder() / named


def hash_checkpoint(folder: Path) -> str:
    """Sixteen hexadecimal digits over the names and contents of a checkpoint folder's JSON and safetensors files."""
    content = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if path.suffix in {".json", ".safetensors"} and path.is_file():
            content.update(path.name.encode())
            with path.open("rb") as file:
                content.update(hashlib.file_digest(file, "sha256").digest())
    return content.hexdigest()[:16]
