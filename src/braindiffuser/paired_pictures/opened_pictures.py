"""Picture files that are read many times: decoded once into a temporary file, so that memory does not grow with their number."""

from __future__ import annotations

import math
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from braindiffuser.arrays import Pictures
from braindiffuser.images import PictureReader, check_equal_sizes, from_uint8
from braindiffuser.picture_files import RawPicture, read_picture


def open_pictures(
    paths: Sequence[Path], room: int, note: Callable[[Path, RawPicture], None] | None = None
) -> PictureReader:
    """Read equally large picture files once, so that damaged ones are found, and keep what was decoded in a temporary file.

    Args:
        paths: of the files.
        room: bytes that the temporary file may take; pictures that do not fit are decoded again whenever they are asked for.
        note: called with each file and its picture, for what else is to be known of them.

    Raises:
        ValueError, RunError: as `images.load_png` does.
    """
    if not paths:
        raise ValueError("expected at least one picture file, got none")
    kept, sizes = _Decoded(room), list[tuple[int, ...]]()
    for path in paths:
        raw = read_picture(path)
        kept.add(raw)
        sizes.append(raw.shape[:2])
        if note is not None:
            note(path, raw)
    check_equal_sizes(paths, sizes)

    def read(numbers: Int[np.ndarray, " n"]) -> Pictures:
        return from_uint8(
            np.stack(
                [kept[number] if number < len(kept) else read_picture(paths[number]) for number in numbers.tolist()]
            )
        )

    return PictureReader(np.arange(len(paths)), read)


class _Decoded:
    """The first pictures of one size, 8 bits a value, in a temporary file that goes with this object."""

    def __init__(self, room: int) -> None:
        self._room, self._n, self._shape = room, 0, (0, 0, 3)
        try:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        except OSError:  # no folder for temporary files
            self._room = 0
        else:
            weakref.finalize(self, self._file.close)

    def add(self, raw: RawPicture) -> None:
        """Write one more picture, if there is place; those after one without place have none either."""
        if self._n == 0:
            self._shape = raw.shape
        self._room -= raw.nbytes
        if self._room < 0 or raw.shape != self._shape:
            self._room = 0
            return
        try:
            is_whole = self._file.write(raw.tobytes()) == raw.nbytes
        except OSError:
            is_whole = False
        if is_whole:
            self._n += 1
        else:  # a full disk is given back: others need it, and pictures can be decoded again
            self._file.truncate(0)
            self._n = self._room = 0

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, number: int) -> RawPicture:
        size = math.prod(self._shape)
        self._file.seek(number * size)
        found: RawPicture = np.frombuffer(self._file.read(size), np.uint8).reshape(self._shape)
        return found
