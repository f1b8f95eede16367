"""Picture files that are read many times: decoded once into a temporary file, so that memory hardly grows with their number."""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from braindiffuser.arrays import Pictures
from braindiffuser.errors import RunError
from braindiffuser.images import PictureReader, check_equal_sizes, from_uint8
from braindiffuser.picture_files import RawPicture, read_picture

LEFT_FREE = 2**30
"""Bytes that are left on the disk of temporary files: results may have to be written there too."""


def decode_once(
    paths: Sequence[Path], room: int, note: Callable[[Path, RawPicture], None] | None = None
) -> PictureReader:
    """Read equally large picture files once, so that damaged ones are found, and keep what was decoded in a temporary file.

    What was kept is compared with what was read at first, and decoded again if it differs; a picture that is decoded again and is
    not what it was is refused.

    Args:
        paths: of the files.
        room: bytes that the temporary file may take, if it leaves `LEFT_FREE`; pictures that do not fit are decoded again each
            time.
        note: called with each file and its picture, for what else is to be known of them.

    Raises:
        ValueError, RunError: as `images.load_png` does.
    """
    kept, sizes, checksums = _Kept(room), list[tuple[int, ...]](), list[int]()
    for path in paths:
        raw = read_picture(path)
        kept.add(raw)
        sizes.append(raw.shape[:2])
        checksums.append(zlib.crc32(raw.tobytes()))
        if note is not None:
            note(path, raw)
    check_equal_sizes(paths, sizes)

    def read(numbers: Int[np.ndarray, " n"]) -> Pictures:
        return from_uint8(np.stack([read_one(number) for number in numbers.tolist()]))

    def read_one(number: int) -> RawPicture:
        own = kept.read(number) if number < len(kept) else None
        raw = own if own is not None and is_same(own, number) else read_picture(paths[number])
        if not is_same(raw, number):
            raise RunError(f"{paths[number]} was changed while it was scored: run the same command again")
        return raw

    def is_same(raw: RawPicture, number: int) -> bool:
        return raw.shape[:2] == sizes[0] and zlib.crc32(raw.tobytes()) == checksums[number]

    return PictureReader(np.arange(len(paths)), read)


class _Kept:
    """The first pictures, all of one size, 8 bits a value, in a temporary file that goes with this object."""

    def __init__(self, room: int) -> None:
        self._n, self._shape, self._room = 0, (0, 0, 3), 0
        self._lock = threading.Lock()
        try:
            free = shutil.disk_usage(tempfile.gettempdir()).free
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        except OSError:  # no folder for temporary files
            return
        weakref.finalize(self, self._file.close)
        self._room = min(room, free - LEFT_FREE)

    def add(self, raw: RawPicture) -> None:
        """Write one more picture, if there is place; those after one without place have none either."""
        self._shape = raw.shape
        self._room -= raw.nbytes
        if self._room < 0:
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

    def read(self, number: int) -> RawPicture | None:
        """Read one picture; None if the file does not hold it any more."""
        height, width, channels = self._shape
        size = height * width * channels
        with self._lock:
            self._file.seek(number * size)
            content = self._file.read(size)
        return np.frombuffer(content, np.uint8).reshape(self._shape) if len(content) == size else None
