"""Decoders on disk: safetensors with text in the header, written whole or not at all, checked when they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from braindiffuser.errors import RunError
from braindiffuser.files import replacing

HEADER = "header"


def as_json(facts: Mapping[str, Any]) -> str:
    """Return facts as JSON, or say that they cannot be."""
    try:
        return json.dumps(dict(facts), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a decoder's metadata must be JSON, such as text, numbers and lists: {error}") from error


def write_whole(path: Path, arrays: Mapping[str, np.ndarray], header: dict[str, str]) -> None:
    """Write a safetensors file whole or not at all; the same content gives the same bytes.

    The header is one entry of JSON, since safetensors writes several in no fixed order.
    """
    with replacing(path) as beside:
        contiguous = {name: np.asarray(values, order="C") for name, values in arrays.items()}
        save_file(contiguous, beside, {HEADER: json.dumps(header, sort_keys=True)})


def read_checked(path: Path, expected: str) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Read header and arrays of a file of one format.

    Raises:
        RunError: if there is no such file, it is damaged or of another format.
    """
    if not path.is_file():
        raise RunError(f"there is no decoder at {path}: fit it first")
    try:
        with safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
            names = file.keys()
            arrays = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, ValueError) as error:
        raise RunError(f"{path} is damaged or not a decoder ({error}): fit it again") from error
    if header.get("format") != expected:
        raise RunError(f"{path} has format {header.get('format')!r}, expected {expected!r}: fit the decoder again")
    return header, arrays
