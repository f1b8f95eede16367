"""What is kept of one target group's decoder, and the file that it is kept in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from braindiffuser.errors import RunError
from braindiffuser.regression.storage import as_json, read_checked, write_whole

FORMAT = "braindiffuser-learnt-1"
_OWN = ("format", "facts")


class Learnt(NamedTuple):
    """What is stored of one group's decoder: everything but the training rows and targets, which decoding needs again.

    Attributes:
        arrays: by name, small: a few numbers per target, no coefficients.
        facts: for the reader; anything JSON can hold.
    """

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]


def save_learnt(path: Path, learnt: Learnt, header: Mapping[str, str]) -> None:
    """Write what was learnt to one file, whole or not at all.

    Args:
        path: of the file; its folder exists.
        learnt: to be kept.
        header: names what it was fitted to, such as the fingerprint of the voxels; `load_learnt` compares.

    Raises:
        ValueError: if facts hold what JSON cannot, such as an array or nan, or the header has an entry `format` or `facts`.
    """
    taken = [name for name in _OWN if name in header]
    if taken:
        raise ValueError(f"the header's entry {taken[0]!r} is written by save_learnt itself: give it another name")
    write_whole(path, learnt.arrays, {**header, "format": FORMAT, "facts": as_json(learnt.facts)})


def load_learnt(path: Path, header: Mapping[str, str]) -> Learnt:
    """Read back, bit for bit, what was learnt from what this header names.

    Raises:
        RunError: if there is no such file, it is damaged or of another format, or it was fitted to something else.
    """
    found, arrays = read_checked(path, FORMAT)
    for name, here in header.items():
        if found.get(name) != here:
            raise RunError(f"{path} was fitted with {name} {found.get(name)!r}, but here it is {here!r}: fit it again")
    return Learnt(arrays, json.loads(found["facts"]))
