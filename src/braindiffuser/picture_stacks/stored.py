"""Arrays in files of any of the formats: which there are, and rows of one, read when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Int, Shaped

from braindiffuser.batches import lacks_memory
from braindiffuser.errors import RunError, reason
from braindiffuser.lfs_pointers import pointer_sentence
from braindiffuser.system_errors import is_of_the_system, is_special, sentence

Numbers: TypeAlias = Int[np.ndarray, " m"]
Rows: TypeAlias = Shaped[np.ndarray, "m ..."]

FORMATS: Mapping[str, str] = {
    ".npy": "numpy_file",
    ".npz": "numpy_archive",
    ".pt": "torch_file",
    ".pth": "torch_file",
    ".zarr": "zarr_folder",
    ".h5": "hdf5_file",
    ".hdf5": "hdf5_file",
    ".hdf": "hdf5_file",
}
"""Ending → module here whose `arrays(path)` opens such a file and gives its arrays by name."""
SUFFIXES = tuple(FORMATS)


@dataclass(frozen=True, eq=False)
class StoredArray:
    """An array in a file.

    Attributes:
        shape: of the array; its first axis counts rows.
        dtype: name of its type, such as "uint8".
        read: reads rows by their numbers, which may repeat and come in any order.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[Numbers], Rows]


Arrays: TypeAlias = Mapping[str, StoredArray]
"""Arrays of a file by name; "" where a file holds one array that has no name."""


def split_key(entry: str) -> tuple[Path, str]:
    """Split `file.h5:key` into the file and the name of an array inside; without a key it is empty.

    >>> split_key("made.h5:group/pictures")
    (PosixPath('made.h5'), 'group/pictures')
    """
    before, colon, key = entry.rpartition(":")
    if colon and before.lower().rstrip("/").endswith(SUFFIXES):
        return Path(before), key
    return Path(entry), ""


def is_stack(entry: str) -> bool:
    """Return whether a path has the ending of a stack; a folder of pictures that is named so is none, but a zarr folder is.

    >>> is_stack("made.npy"), is_stack("made.h5:pictures"), is_stack("made")
    (True, True, False)
    """
    path, _ = split_key(entry)
    suffix = path.suffix.lower()
    return suffix in FORMATS and (suffix == ".zarr" or not path.is_dir())


def open_arrays(path: Path) -> Arrays:
    """List the arrays of a file; none is read yet.

    Raises:
        RunError: it is missing, damaged, or of another format than its ending says.
    """
    if not path.exists():
        raise RunError(f"{path} is missing; expected a stack of pictures, or name a folder of pictures")
    if is_special(path):
        raise RunError(f"{path} is a pipe, a socket or a device, expected a file: name a file")
    pointer = pointer_sentence(path)
    if pointer:
        raise RunError(pointer)
    module = import_module(f"braindiffuser.picture_stacks.{FORMATS[path.suffix.lower()]}")
    with reading(path):
        found: Arrays = module.arrays(path)
    return found


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise a RunError that names the file for whatever a library or the system raises inside, but not for a lack of memory."""
    try:
        yield
    except RunError:
        raise
    except Exception as error:  # of the libraries' many kinds, for arbitrary bytes
        if lacks_memory(error):
            raise
        if is_of_the_system(error):
            raise RunError(sentence(error, error.filename or path)) from error
        raise RunError(
            f"{path} is damaged, cut short or no array ({path.suffix}; {reason(error)}): write it again"
        ) from error


def in_order(numbers: Numbers, read: Callable[[slice | Numbers], Rows]) -> Rows:
    """Read rows in any order through a reader that takes ascending numbers, or a slice, alone."""
    ascending, places = np.unique(numbers, return_inverse=True)
    if len(ascending) and ascending[-1] - ascending[0] + 1 == len(ascending):
        return read(slice(int(ascending[0]), int(ascending[-1]) + 1))[places]
    return read(ascending)[places]
