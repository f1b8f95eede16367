"""Stacks in zarr folders, of which chunks are read when asked for."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from braindiffuser.errors import RunError
from braindiffuser.picture_stacks.stored import Arrays, Numbers, Rows, StoredArray, reading
from braindiffuser.written_chunks import lacking


def arrays(path: Path) -> Arrays:
    """Open a zarr folder: an array, or a group of arrays by their paths."""
    import zarr

    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        return {"": _stored(path, node)}
    found = {name: member for name, member in node.members(max_depth=None) if isinstance(member, zarr.Array)}
    return {name: _stored(path, member) for name, member in sorted(found.items())}


def _stored(path: Path, array: Any) -> StoredArray:
    @cache
    def fault() -> str:
        return lacking(array, path)

    def read(numbers: Numbers) -> Rows:
        with reading(path):
            if fault():
                raise RunError(fault())
            ascending, places = np.unique(numbers, return_inverse=True)
            rows: Rows = np.asarray(array.oindex[ascending])[places]
            return rows

    return StoredArray(tuple(array.shape), np.dtype(array.dtype).name, read)
