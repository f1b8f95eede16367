"""JSON files, and records with a checksum, so that damage is detected."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braindiffuser.errors import RunError
from braindiffuser.files import replacing

CHECKSUM = "checksum"


def write_checked(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as JSON with its checksum, whole or not at all."""
    content = json.loads(json.dumps({key: value for key, value in content.items() if key != CHECKSUM}, allow_nan=False))
    with replacing(path) as beside:
        beside.write_text(
            json.dumps({**content, CHECKSUM: _checksum(content)}, indent=1, allow_nan=False) + "\n", "utf-8"
        )


def read_checked(path: Path) -> dict[str, Any] | None:
    """Read back what `write_checked` wrote; None if it is missing or damaged."""
    try:
        content = read_json(path)
    except RunError:
        return None
    return content if content.pop(CHECKSUM, None) == _checksum(content) else None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds a mapping.

    Raises:
        RunError: if it is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise RunError(f"{path} is damaged ({error}): delete it, and run the same command again") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} is damaged (it holds no mapping): delete it, and run the same command again")
    return content


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
