"""JSON files, and records with a checksum, so that damage is detected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braindiffuser import plain_data
from braindiffuser.errors import RunError
from braindiffuser.files import replacing
from braindiffuser.plain_data import hash_json
from braindiffuser.system_errors import sentence

CHECKSUM = "checksum"


def write_checked(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as JSON with its checksum, whole or not at all."""
    content = json.loads(json.dumps({key: value for key, value in content.items() if key != CHECKSUM}, allow_nan=False))
    with replacing(path) as beside:
        beside.write_text(
            json.dumps({**content, CHECKSUM: hash_json(content)}, indent=1, allow_nan=False) + "\n", "utf-8"
        )


def read_checked(path: Path) -> dict[str, Any] | None:
    """Read back what `write_checked` wrote; None if it is missing or damaged.

    Raises:
        OSError: if it is there but cannot be read: that is no damage.
    """
    try:
        content = plain_data.read_json(path)
    except (FileNotFoundError, ValueError):
        return None
    return content if content.pop(CHECKSUM, None) == hash_json(content) else None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds a mapping.

    Raises:
        RunError: if it is missing or damaged.
    """
    try:
        return plain_data.read_json(path)
    except OSError as error:
        raise RunError(sentence(error, path)) from error
    except ValueError as error:
        raise RunError(f"{error}: delete it, and run the same command again") from error
