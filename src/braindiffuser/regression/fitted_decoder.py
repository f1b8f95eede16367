"""A decoder's stored parameters and file format: safetensors, with text in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from braindiffuser.errors import RunError, reason
from braindiffuser.files import replacing

FORMAT = "braindiffuser-decoder-2"
HEADER = "header"
_OWN = ("format", "facts")


class FittedDecoder(NamedTuple):
    """Stored parameters of one decoder, without training rows and targets, which `decode` receives.

    Attributes:
        arrays: by name, small: a few numbers per target, no coefficients.
        facts: for the reader; anything JSON can hold.
    """

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]


def save_decoder(path: Path, fitted: FittedDecoder, header: Mapping[str, str]) -> None:
    """Write stored parameters to one file, whole or not at all; the same content gives the same bytes.

    Args:
        path: of the file.
        fitted: to be kept.
        header: names what it was fitted to, such as the fingerprint of the voxels; `load_decoder` compares.

    Raises:
        ValueError: if facts hold what JSON cannot, such as an array or nan; arrays are not of finite real numbers, or have a
            name that a file cannot hold; or the header has an entry `format` or `facts`.
    """
    taken = [name for name in _OWN if name in header]
    if taken:
        raise ValueError(f"the header's entry {taken[0]!r} is written by save_decoder itself: give it another name")
    try:
        facts = json.dumps(dict(fitted.facts), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a decoder's facts must be JSON, such as text, numbers and lists: {reason(error)}") from error
    contiguous = {name: np.asarray(values, order="C") for name, values in fitted.arrays.items()}
    for name, values in contiguous.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise ValueError(f"an array is called {name!r}, which a file cannot hold: give it another name")
        if values.dtype.kind not in "fiub" or not np.isfinite(values).all():
            raise ValueError(
                f"a decoder's arrays must be of real numbers, all of them finite; {name} ({values.dtype}) is not"
            )
    text = json.dumps({**header, "format": FORMAT, "facts": facts}, sort_keys=True)
    with replacing(path) as beside:
        try:
            save_file(contiguous, beside, {HEADER: text})  # one entry: safetensors writes several in no fixed order
        except SafetensorError as error:
            raise ValueError(f"a decoder's arrays must be of real numbers: {reason(error)}") from error


def load_decoder(path: Path, header: Mapping[str, str]) -> FittedDecoder:
    """Read stored parameters, bit for bit, and check what they were fitted to.

    Raises:
        RunError: if there is no such file, it is damaged or of another format, or it was fitted to something else.
    """
    if not path.is_file():
        raise RunError(f"there is no decoder at {path}: fit it first")
    try:
        with safe_open(path, framework="np") as file:
            found = _mapping((file.metadata() or {}).get(HEADER, "{}"))
            names = file.keys()
            arrays = {name: file.get_tensor(name) for name in names}
        facts = _mapping(found["facts"]) if found.get("format") == FORMAT else {}
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{path} is damaged or not a decoder ({reason(error)}): fit it again") from error
    if found.get("format") != FORMAT:
        raise RunError(f"{path} has format {found.get('format')!r}, expected {FORMAT!r}: fit the decoder again")
    for name, here in header.items():
        if found.get(name) != here:
            raise RunError(f"{path} was fitted with {name} {found.get(name)!r}, but here it is {here!r}: fit it again")
    return FittedDecoder(arrays, facts)


def _mapping(text: str) -> dict[str, Any]:
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError(f"{text[:60]} where a mapping was expected")
    return content
