"""Stacks in .npy files: mapped to memory anew for each read, so that what was read does not stay there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from braindiffuser.errors import RunError
from braindiffuser.picture_stacks.stored import Arrays, Numbers, Rows, StoredArray
from braindiffuser.python_objects import refuse_objects


def arrays(path: Path) -> Arrays:
    """Open a .npy file.

    Raises:
        RunError: it holds Python objects.
        ValueError: it is damaged or cut short.
    """
    with path.open("rb") as stream:
        refuse_objects(stream, path, RunError)
    opened = np.load(path, mmap_mode="r", allow_pickle=False)

    def read(numbers: Numbers) -> Rows:
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[numbers])

    return {"": StoredArray(opened.shape, opened.dtype.name, read)}
