"""Arrays of betas or pictures in files of any of the usual kinds, of which only the rows that are asked for are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import h5py
import numpy as np
import zarr

from braindiffuser.datasets.reading import reading
from braindiffuser.errors import RecordingError

HDF5 = (".h5", ".hdf5", ".hdf", ".mat")
SUFFIXES = (".npy", ".npz", *HDF5, ".zarr")


def split_key(entry: str) -> tuple[Path, str]:
    """Split `file.h5:key` into the file and the name of an array inside; without a key it is empty.

    >>> split_key("betas.h5:group/betas")
    (PosixPath('betas.h5'), 'group/betas')
    """
    before, colon, key = entry.rpartition(":")
    if colon and before.lower().endswith(SUFFIXES):
        return Path(before), key
    return Path(entry), ""


@runtime_checkable
class Rows(Protocol):
    """An array whose rows are read when asked for."""

    @property
    def path(self) -> object:
        """What messages call it, such as its file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array; its first axis counts rows."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its values."""

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Read rows by their numbers, in the order asked for."""


@dataclass(frozen=True, eq=False)
class HeldArray:
    """An array in memory, read as a file of one is.

    Attributes:
        array: the array.
        path: what messages call it.
    """

    array: np.ndarray
    path: object

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its values."""
        return self.array.dtype

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Return rows by their numbers, in the order asked for."""
        return np.array(self.array[numbers])


@dataclass(frozen=True)
class ArrayFile:
    """An array in a file; each call opens and closes the file.

    Attributes:
        path: of the file, or of the folder of a zarr array.
        key: name of the array inside; empty if the file holds one alone.
        shape: of the array; its first axis counts rows.
        dtype: of its values.
    """

    path: Path
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def open(cls, entry: str) -> ArrayFile:
        """Read the shape of the array `file` or `file:key`.

        Raises:
            RecordingError: the file is missing, unreadable, of another kind, or holds several arrays and no key says which.
        """
        path, key = split_key(entry)
        if path.suffix.lower() not in SUFFIXES:
            raise RecordingError(f"{path} is no array: expected a file that ends in {', '.join(SUFFIXES)}")
        if not path.exists():
            raise RecordingError(f"{path} is missing; expected an array, one row per trial or picture")
        with reading(path, f"array ({path.suffix})"), _Opened(path) as arrays:
            key = key or _only_key(arrays, path)
            array = arrays.get(key)
            if array is None:
                raise RecordingError(f"{path} holds no array {key!r}; it holds {', '.join(arrays) or 'none'}")
            if not array.shape or not array.shape[0]:
                raise RecordingError(f"{path} holds an array of the shape {array.shape}; expected rows")
            return cls(path, key, tuple(array.shape), np.dtype(array.dtype))

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Read rows by their numbers, in the order asked for.

        Raises:
            RecordingError: the file cannot be read.
        """
        with reading(self.path, f"array ({self.path.suffix})"), _Opened(self.path) as arrays:
            array = arrays[self.key]
            ascending, places = np.unique(numbers, return_inverse=True)
            if isinstance(array, np.ndarray):
                return np.array(array[numbers])
            if isinstance(array, h5py.Dataset):
                return np.asarray(array[ascending])[places]
            return np.asarray(array.oindex[ascending])[places]


class _Opened:
    """Arrays of a file by name, while it is open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None

    def __enter__(self) -> dict[str, Any]:
        suffix = self._path.suffix.lower()
        if suffix == ".npy":
            return {"": np.load(self._path, mmap_mode="r", allow_pickle=False)}
        if suffix == ".npz":
            self._file = np.load(self._path, allow_pickle=False)
            return _Lazy(self._file, self._file.files)
        if suffix == ".zarr":
            node = zarr.open(self._path, mode="r")
            if isinstance(node, zarr.Array):
                return {"": node}
            return {name: node[name] for name in node.array_keys()}
        self._file = h5py.File(self._path, "r")
        names: list[str] = []
        self._file.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
        return _Lazy(self._file, names)

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()


class _Lazy(dict[str, Any]):
    """Names of arrays, each read or opened when asked for."""

    def __init__(self, source: Any, names: list[str]) -> None:
        super().__init__(dict.fromkeys(names))
        self._source = source

    def __getitem__(self, name: str) -> Any:
        return self._source[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self._source[name] if name in self else default


def _only_key(arrays: dict[str, Any], path: Path) -> str:
    if len(arrays) != 1:
        raise RecordingError(
            f"{path} holds the arrays {', '.join(arrays) or 'none'}: write which one, as {path.name}:NAME"
        )
    return next(iter(arrays))
