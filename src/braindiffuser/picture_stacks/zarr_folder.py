"""Stacks in zarr folders, of which chunks are read when asked for."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from braindiffuser.errors import RunError
from braindiffuser.picture_stacks.stored import Arrays, Numbers, Rows, StoredArray, reading


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
    def check() -> None:
        _refuse_lacking(path, array)

    def read(numbers: Numbers) -> Rows:
        with reading(path):
            check()
            ascending, places = np.unique(numbers, return_inverse=True)
            rows: Rows = np.asarray(array.oindex[ascending])[places]
            return rows

    return StoredArray(tuple(array.shape), np.dtype(array.dtype).name, read)


def _refuse_lacking(path: Path, array: Any) -> None:
    """Raise RunError if chunks of an array have no file, since zarr reads them as its fill value without a word."""
    stored = array.shards or array.chunks
    n = math.prod(-(-size // side) for size, side in zip(array.shape, stored, strict=True))
    n_there = array.nchunks_initialized // (math.prod(stored) // math.prod(array.chunks))
    if n_there < n:
        label, fill = f"{path}:{array.path}" if array.path else path, array.fill_value
        raise RunError(
            f"{label} lacks {n - n_there} of {n} chunks, which would be read as {fill}: copy it again, or, if those chunks are "
            f"all {fill}, which zarr leaves out, write it with config={{'write_empty_chunks': True}}"
        )
