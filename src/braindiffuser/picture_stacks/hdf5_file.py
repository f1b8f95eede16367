"""Stacks in HDF5 files, opened anew for each read; links to other files are not followed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from braindiffuser.errors import RunError
from braindiffuser.picture_stacks.stored import Arrays, Numbers, Rows, StoredArray, in_order, reading


def arrays(path: Path) -> Arrays:
    """Open an HDF5 file: its arrays by their paths.

    Raises:
        RunError: values of an array lie in other files.
        OSError: it is no HDF5 file, or damaged.
    """
    found: dict[str, StoredArray] = {}

    def note(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.dtype.kind in "fiub":
            if node.external or node.is_virtual:
                raise RunError(f"{path}: the values of {name} may lie in other files: copy them into one array")
            found[name] = _stored(path, name, node)

    with h5py.File(path, "r") as file:
        file.visititems(note)  # which follows no links
    return found


def _stored(path: Path, name: str, node: Any) -> StoredArray:
    lacking = _lacking(node)

    def read(numbers: Numbers) -> Rows:
        if lacking:
            raise RunError(f"{path}: {name} {lacking}: write the whole array again")
        with reading(path), h5py.File(path, "r") as file:
            return in_order(numbers, lambda rows: np.asarray(file[name][rows]))

    return StoredArray(tuple(node.shape), np.dtype(node.dtype).name, read)


def _lacking(node: Any) -> str:
    """Say which part of an array was never written, since HDF5 reads it as its fill value without a word; "" if none."""
    if node.chunks is None:
        is_whole = bool(node.id.get_storage_size()) or not node.size
        return "" if is_whole else f"was never written, and would be read as {node.fillvalue}"
    n = math.prod(-(-size // side) for size, side in zip(node.shape, node.chunks, strict=True))
    n_there = node.id.get_num_chunks()
    return "" if n_there >= n else f"lacks {n - n_there} of {n} chunks, which would be read as {node.fillvalue}"
