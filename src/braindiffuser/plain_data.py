"""Plain data (what JSON can hold) as JSON and YAML: hash, read, write."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from braindiffuser.files import replacing


def hash_json(content: Any) -> str:
    """SHA-256 of anything that JSON can hold, whatever the order of its keys.

    >>> hash_json({"a": 1, "b": [2]}) == hash_json({"b": [2], "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds a mapping.

    Raises:
        OSError: if it is missing or cannot be read.
        ValueError: if it is not JSON or holds something else; names it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON, so damaged or cut short ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__} instead of a mapping")
    return content


def write_json(path: Path, content: Any) -> None:
    """Write content as JSON, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def as_yaml(content: Any, **style: Any) -> str:
    """Return content as YAML, in the order of its keys; `style` are options of PyYAML."""
    printable = json.dumps(content, ensure_ascii=False).isprintable()  # U+0085 must be escaped: YAML ends a line there
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=printable, **style)
    return text
