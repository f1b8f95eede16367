"""Stacks in .npz files: an array is unpacked to a temporary file when it is first read, since packed ones cannot be mapped."""

from __future__ import annotations

import io
import math
import tempfile
import weakref
import zipfile
from functools import cached_property
from pathlib import Path
from typing import IO, Literal

import numpy as np

from braindiffuser.errors import RunError
from braindiffuser.picture_stacks.stored import Arrays, Numbers, Rows, StoredArray, reading
from braindiffuser.python_objects import refuse_objects
from braindiffuser.system_errors import naming

CHUNK = 2**22
"""Bytes that are unpacked at a time."""


def arrays(path: Path) -> Arrays:
    """Open a .npz file; headers are read, and Python objects refused.

    Raises:
        RunError: an array holds Python objects.
        BadZipFile, ValueError: it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
        return {name.removesuffix(".npy"): _open_member(path, archive, name) for name in members}


def _open_member(path: Path, archive: zipfile.ZipFile, member: str) -> StoredArray:
    with archive.open(member) as stream:
        refuse_objects(stream, f"{path}: {member.removesuffix('.npy')}", RunError)
    with archive.open(member) as stream:
        shape, is_fortran, dtype = _header(stream)
    return StoredArray(shape, dtype.name, _Unpacked(path, member, shape, dtype, "F" if is_fortran else "C").read)


class _Unpacked:
    """An array of an archive, unpacked when it is first read; the temporary file goes with this object."""

    def __init__(
        self, path: Path, member: str, shape: tuple[int, ...], dtype: np.dtype[np.generic], order: Literal["C", "F"]
    ) -> None:
        self._path, self._member = path, member
        self._shape, self._dtype, self._order = shape, dtype, order

    def read(self, numbers: Numbers) -> Rows:
        """Read rows by their numbers."""
        mapped = np.memmap(self._file, self._dtype, "r", shape=self._shape, order=self._order)
        return np.array(mapped[numbers])

    @cached_property
    def _file(self) -> IO[bytes]:
        """The numbers alone; where they end, the archive's checksum is compared."""
        place = tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, place.close)
        with reading(self._path), zipfile.ZipFile(self._path) as archive, archive.open(self._member) as stream:
            _header(stream)
            n_bytes = self._dtype.itemsize * math.prod(self._shape)
            while chunk := stream.read(
                min(CHUNK, n_bytes + 1 - place.tell())
            ):  # of more than it says, no more is unpacked
                with naming(tempfile.gettempdir()):
                    place.write(chunk)
            if place.tell() != n_bytes:
                more = " or more" if place.tell() > n_bytes else ""
                raise ValueError(f"{self._member} holds {place.tell():,} bytes of numbers{more}, expected {n_bytes:,}")
            with naming(tempfile.gettempdir()):
                place.flush()
        return place


def _header(stream: IO[bytes] | io.BufferedIOBase) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    header: tuple[tuple[int, ...], bool, np.dtype[np.generic]] = read(stream)
    return header
