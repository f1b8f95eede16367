"""Arrays of betas or pictures in files of any of the usual kinds, of which only the rows that are asked for are read."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

import h5py
import numpy as np
import zarr
from scipy.io import whosmat

from braindiffuser import python_objects
from braindiffuser.datasets.reading import reading
from braindiffuser.errors import RecordingError
from braindiffuser.written_chunks import check_written

HDF5 = (".h5", ".hdf5", ".hdf", ".mat")
SUFFIXES = (".npy", ".npz", *HDF5, ".zarr")
MOST_LINKS = 16
"""Links to links that are followed; more lead in a circle."""


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
            key = key.strip("/") or _only_key(arrays, path)
            array = arrays.get(key)
            if array is None:
                raise RecordingError(f"{path} holds no array {key!r}; it holds {', '.join(arrays) or 'none'}")
            if not array.shape or not array.shape[0]:
                raise RecordingError(f"{path} holds an array of the shape {array.shape}; expected rows")
            return cls(path, key, tuple(array.shape), np.dtype(array.dtype))

    def check_written(self, numbers: np.ndarray | None = None) -> None:
        """Refuse an array of HDF5 or zarr of which a chunk of some rows, or of any, is not there; as in `check_written`."""
        with reading(self.path, f"array ({self.path.suffix})"), _Opened(self.path) as arrays:
            array = arrays[self.key]
            if isinstance(array, h5py.Dataset | zarr.Array):
                check_written(array, self.path, numbers)

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

    def __enter__(self) -> Mapping[str, Any]:
        suffix = self._path.suffix.lower()
        if suffix == ".npy":
            with self._path.open("rb") as stream:
                refuse_objects(stream, self._path)
            return {"": np.load(self._path, mmap_mode="r", allow_pickle=False)}
        if suffix == ".npz":
            self._file = np.load(self._path, allow_pickle=False)
            return _Members(self._path, self._file)
        if suffix == ".zarr":
            node = zarr.open(self._path, mode="r")
            if isinstance(node, zarr.Array):
                return {"": node}
            found = {name: member for name, member in node.members(max_depth=None) if isinstance(member, zarr.Array)}
            return dict(sorted(found.items()))
        refuse_old_matlab(self._path)
        self._file = h5py.File(self._path, "r")
        return _Datasets(self._path, self._file)

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()


class _Members(Mapping[str, Any]):
    """Arrays of an .npz file, each read when asked for."""

    def __init__(self, path: Path, file: Any) -> None:
        self._path, self._file = path, file

    def __getitem__(self, name: str) -> Any:
        if name not in self._file.files:
            raise KeyError(name)
        with self._file.zip.open(f"{name}.npy") as stream:
            refuse_objects(stream, f"{self._path}: {name}")
        return self._file[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.files)

    def __len__(self) -> int:
        return len(self._file.files)


class _Datasets(Mapping[str, Any]):
    """Arrays of an HDF5 file, each opened when asked for; links within the file are followed, links to other files refused."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self._path, self._file = path, file
        self._names: list[str] = []
        file.visititems(lambda name, node: self._names.append(name) if isinstance(node, h5py.Dataset) else None)

    def __getitem__(self, name: str) -> Any:
        found = self._follow(self._file, name, MOST_LINKS)
        if not isinstance(found, h5py.Dataset):
            raise KeyError(name)
        if found.external or found.is_virtual:
            raise RecordingError(
                f"{self._path}: the values of {name} may lie in other files (a virtual or an external array), and a recording is "
                "identified by the content of its own: copy them into one array, such as by h5py's file.create_dataset('copy', "
                f"data=file[{name!r}][...])"
            )
        return found

    def _follow(self, group: h5py.Group, name: str, n_left: int) -> Any:
        """Return what lies at a path from a group; None if there is nothing, or links lead in a circle."""
        node: Any = self._file if name.startswith("/") else group
        for part in (part for part in name.split("/") if part not in ("", ".")):
            link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
            if isinstance(link, h5py.ExternalLink):
                raise RecordingError(
                    f"{self._path}: {part} is a link to the file {link.filename}, and a recording is identified by the content "
                    f"of its own files: name that file itself, as {link.filename}:{link.path.strip('/')} (beside "
                    f"{self._path.name})"
                )
            if isinstance(link, h5py.SoftLink):
                node = self._follow(node, link.path, n_left - 1) if n_left else None
            else:
                node = None if link is None else node[part]
        return node

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def refuse_objects(stream: IO[bytes] | io.BufferedIOBase, name: object) -> None:
    """Raise RecordingError if a .npy file holds Python objects; arguments as in `python_objects.refuse_objects`."""
    advice = "; files of GLMsingle are read by kind: glmsingle"
    python_objects.refuse_objects(stream, name, RecordingError, advice)


def refuse_old_matlab(path: Path) -> None:
    """Raise RecordingError if a .mat file is of a version before 7.3, which is no HDF5 file; damaged files are left to h5py."""
    if path.suffix.lower() != ".mat" or h5py.is_hdf5(path):
        return
    try:
        held = whosmat(path)
    except Exception:  # of a file that is none, whose errors are of many kinds
        return
    if not held or not all(name for name, _, _ in held):  # zeros pass as a file of version 4
        return
    names = ", ".join(f"{name} {shape}" for name, shape, _ in held[:4])
    raise RecordingError(
        f"{path} is a MATLAB file before version 7.3, which holds {names}: save it in MATLAB again, with -v7.3, "
        "or write the array in Python with numpy.save, from what scipy.io.loadmat reads"
    )


def _only_key(arrays: Mapping[str, Any], path: Path) -> str:
    if len(arrays) != 1:
        raise RecordingError(
            f"{path} holds the arrays {', '.join(arrays) or 'none'}: write which one, as {path.name}:NAME"
        )
    return next(iter(arrays))
