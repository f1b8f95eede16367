"""Reads the pickled dicts that GLMsingle writes as `.npy`, without running anything that a file asks for.

A pickle is a program: it may name any function of any module and call it. Here only the five names by which numpy writes arrays
and numbers are known, and behind each stands a check of ours: an array is built from plain bytes or objects, and only if its
type, shape and length agree. Every other name is refused before it is looked up.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import pickletools
import re
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from braindiffuser.datasets.reading import reading
from braindiffuser.errors import RecordingError, reason

KNOWN = {
    "numpy": ("ndarray", "dtype"),
    "numpy.core.multiarray": ("_reconstruct", "scalar"),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "numpy.core.numeric": ("_frombuffer",),
    "numpy._core.numeric": ("_frombuffer",),
}
"""Module → names, as numpy 1 and 2 write them."""
_OPERATIONS = """
PROTO FRAME STOP MARK PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG
LONG1 LONG4 FLOAT BINFLOAT UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8
EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS
GLOBAL STACK_GLOBAL REDUCE BUILD
"""
OPERATIONS = frozenset(_OPERATIONS.split())
"""What a pickle of plain values and arrays does."""
_TYPE = re.compile(r"O8?|[biufcSU]\d{1,9}")
"""Types of values: objects, truth values, numbers, bytes and texts."""


class _ForbiddenError(ValueError):
    """A pickle asks for what it must not."""


class _Dtype:
    """Stands for a numpy.dtype while a pickle is read."""

    __slots__ = ("real",)

    def __init__(self, *args: object) -> None:
        name = args[0] if args else None
        if not isinstance(name, str) or not _TYPE.fullmatch(name):
            raise _ForbiddenError(f"numpy's type {_shown(name)}")
        self.real = np.dtype(name)

    def __setstate__(self, state: object) -> None:
        """Take the order of bytes; refuse fields, shapes and metadata."""
        known = isinstance(state, tuple) and len(state) in (8, 9) and state[1] in ("<", ">", "|")
        if not isinstance(state, tuple) or not known or any(part is not None for part in (*state[2:5], *state[8:])):
            raise _ForbiddenError("a numpy type with fields or metadata")
        if state[1] != "|":
            self.real = self.real.newbyteorder(state[1])


class _Array(np.ndarray):
    """A numpy.ndarray that a pickle fills."""

    def __setstate__(self, state: object) -> None:
        """Take values whose number fits shape and type."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise _ForbiddenError("an array without shape, type and values")
        version, shape, kind, fortran, raw = state
        filled: Any = version, shape, _checked(raw, kind, shape), bool(fortran), raw
        super().__setstate__(filled)


class _Name:
    """A name that a pickle may call; it has no attribute that a pickle could set."""

    __slots__ = ("name",)
    name: str

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "name", name)

    def __setattr__(self, name: str, value: object) -> None:
        raise _ForbiddenError(f"a change of {self.name}")

    def __call__(self, *args: Any) -> Any:
        """Build a number, a type, or an array that is filled later."""
        if self.name == "dtype":
            return _Dtype(*args)
        if self.name == "scalar" and len(args) == 2:
            kind, raw = args
            return np.frombuffer(raw, _checked(raw, kind, ()), 1)[0]
        if self.name == "_frombuffer" and len(args) == 4:
            raw, kind, shape, order = args
            real = _checked(raw, kind, shape)
            return np.frombuffer(raw, real, math.prod(shape)).reshape(shape, order="F" if order == "F" else "C")
        if self.name == "_reconstruct" and args and isinstance(args[0], _Name) and args[0].name == "ndarray":
            return _Array((0,))
        raise _ForbiddenError(f"a call of {self.name} that numpy does not write")


def _checked(raw: object, kind: object, shape: object) -> np.dtype[Any]:
    """Return the type of values, if it fits their shape and number."""
    if not isinstance(shape, tuple) or len(shape) > 32 or not all(type(n) is int and n >= 0 for n in shape):
        raise _ForbiddenError("an array whose shape is none")
    if not isinstance(kind, _Dtype):
        raise _ForbiddenError("an array without a type")
    objects = kind.real.kind == "O"
    if not isinstance(raw, list if objects else bytes | bytearray):
        raise _ForbiddenError(f"an array of {kind.real} made of {type(raw).__name__}")
    expected = math.prod(shape) * (1 if objects else kind.real.itemsize)
    if len(raw) != expected:
        raise _ForbiddenError(f"an array of {kind.real} {shape} with {len(raw)} instead of {expected} values or bytes")
    return kind.real


class _Restricted(pickle.Unpickler):
    """Knows the names by which numpy writes arrays and numbers, and no other."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in of ours; nothing is imported."""
        if name not in KNOWN.get(module, ()):
            raise _ForbiddenError(_shown(f"{module}.{name}"))
        return _Name(name)

    def persistent_load(self, pid: Any) -> Any:
        """Refuse objects that lie outside the file."""
        raise _ForbiddenError("an object outside the file")


def read_pickled_dict(path: Path) -> dict[str, Any]:
    """Read a dict of numpy arrays, dicts, lists, tuples, numbers and texts that `numpy.save` wrote.

    The file is read whole.

    Args:
        path: `.npy`.

    Raises:
        RecordingError: the file is missing, damaged, holds no dict, or asks for anything else; names it.
    """
    if not path.is_file():
        raise RecordingError(f"{path} is missing; expected a .npy file that GLMsingle wrote")
    with reading(path, ".npy file of a dict"), path.open("rb") as stream:
        _read_header(stream)
        try:
            whole = _load(stream)
        except _ForbiddenError as error:
            raise RecordingError(
                f"{path} is a pickle that asks for {reason(error)}; only numpy arrays, dict, list, tuple, numbers and texts are "
                "read, so nothing of it was: take the .hdf5 file, or write the file again with these alone"
            ) from error
        found = whole.item() if isinstance(whole, np.ndarray) and whole.shape == () else whole
        if not isinstance(found, dict):
            raise ValueError(f"it holds {type(found).__name__}, expected a dict")
        return found


def _read_header(stream: IO[bytes]) -> None:
    """Read the header of a `.npy` file, which must tell of one object."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(stream)
    if kind != np.dtype(object) or shape != ():
        raise ValueError(f"it holds {kind} {shape}, expected one dict")


def _load(stream: IO[bytes]) -> Any:
    """Load the pickle, after a look at its operations and their arguments."""
    begin, size = stream.tell(), os.fstat(stream.fileno()).st_size
    for number, (operation, argument, place) in enumerate(pickletools.genops(cast(IO[bytes], _Bounded(stream)))):
        if operation.name not in OPERATIONS:
            raise _ForbiddenError(_shown(f"{operation.name.lower()} {argument or ''}".strip()))
        if "PUT" in operation.name and int(argument or 0) > number:
            raise _ForbiddenError(f"a store of {argument} objects")
        if operation.name == "FRAME" and int(argument or 0) > size - (place or 0):
            raise EOFError(f"it tells of a frame of {argument:,} bytes where the file ends before")
    stream.seek(begin)
    return _Restricted(stream).load()


class _Bounded(io.RawIOBase):
    """A stream that is never asked for more than the file holds: a false length would fill the memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._size = stream, os.fstat(stream.fileno()).st_size

    def tell(self) -> int:
        """Return the place in the file."""
        return self._stream.tell()

    def readline(self, size: int | None = -1) -> bytes:
        """Read a line."""
        return self._stream.readline(-1 if size is None else size)

    def read(self, n: int = -1) -> bytes:
        """Read n bytes."""
        if n > self._size - self._stream.tell():
            raise EOFError(f"it tells of {n:,} bytes where the file ends before")
        return self._stream.read(n)


def _shown(name: object) -> str:
    """Return a name from a file, for a message."""
    return re.sub(r"[^\w.]", "_", str(name))[:80] if isinstance(name, str) else type(name).__name__
