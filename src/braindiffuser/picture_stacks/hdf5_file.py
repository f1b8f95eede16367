"""Stacks in HDF5 files, opened anew for each read; links to other files are not followed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from braindiffuser.errors import RunError
from braindiffuser.picture_stacks.stored import Arrays, Numbers, Rows, StoredArray, in_order, reading
from braindiffuser.written_chunks import lacking


def arrays(path: Path) -> Arrays:
    """Open an HDF5 file: its arrays by their paths.

    Raises:
        RunError: values of an array lie in other files, or links are all that there is.
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
        link = None if found else next(_links(file), None)
    if link:
        raise RunError(f"{path}: {link} is a link, and links are not followed: copy what it leads to into this file")
    return found


def _links(group: Any) -> Iterator[str]:
    """Yield the paths of links in a group and in those below it."""
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            yield f"{group.name.rstrip('/')}/{name}".lstrip("/")
        elif isinstance(group[name], h5py.Group):
            yield from _links(group[name])


def _stored(path: Path, name: str, node: Any) -> StoredArray:
    fault = lacking(node, path)

    def read(numbers: Numbers) -> Rows:
        if fault:
            raise RunError(fault)
        with reading(path), h5py.File(path, "r") as file:
            return in_order(numbers, lambda rows: np.asarray(file[name][rows]))

    return StoredArray(tuple(node.shape), np.dtype(node.dtype).name, read)
