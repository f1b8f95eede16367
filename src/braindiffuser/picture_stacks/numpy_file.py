"""Stacks in .npy files: mapped to memory anew for each read, so that what was read does not stay there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO

import numpy as np

from braindiffuser.errors import RunError
from braindiffuser.picture_stacks.stored import Arrays, Numbers, Rows, StoredArray


def arrays(path: Path) -> Arrays:
    """Open a .npy file.

    Raises:
        RunError: it holds Python objects.
        ValueError: it is damaged or cut short.
    """
    with path.open("rb") as stream:
        refuse_objects(stream, path)
    opened = np.load(path, mmap_mode="r", allow_pickle=False)

    def read(numbers: Numbers) -> Rows:
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[numbers])

    return {"": StoredArray(opened.shape, opened.dtype.name, read)}


def refuse_objects(stream: IO[bytes] | io.BufferedIOBase, name: object) -> None:
    """Raise RunError if a .npy file holds Python objects, which only a pickle can store; damaged files are left to numpy.

    Args:
        stream: of the file, at its begin.
        name: what messages call it.
    """
    begin = stream.read(len(np.lib.format.MAGIC_PREFIX) + 2)
    if begin[:1] == b"\x80":  # as pickle.dump begins
        raise RunError(f"{name} is a pickle, which is never read: write the array with numpy.save, as numbers")
    if begin[:-2] != np.lib.format.MAGIC_PREFIX or begin[-2] not in (1, 2):
        return
    read = np.lib.format.read_array_header_1_0 if begin[-2] == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.hasobject:
        raise RunError(
            f"{name} holds Python objects {shape}, in a pickle, which is never read: stack the pictures into one array of "
            "numbers, and write that with numpy.save"
        )
