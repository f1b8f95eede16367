"""A stack of pictures: which array of a file it is, and what its axes and its numbers mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from braindiffuser.arrays import Pictures
from braindiffuser.errors import RunError
from braindiffuser.images import PictureReader, batch_slices
from braindiffuser.picture_stacks.stored import Arrays, Numbers, Rows, StoredArray, open_arrays, split_key

CLOSE = 1e-3
"""How far numbers lie outside a scale by rounding."""
LOWEST, HIGHEST = -0.25, 1.5
"""Floating-point numbers so far outside the scale from 0 to 1 are clipped: resizing overshoots at edges."""
FEWEST_OF_255 = 32.0
"""Largest number that a stack on the scale from 0 to 255 has at least."""
WAYS = "write 8-bit numbers from 0 to 255 (uint8), or floating-point ones from 0 to 1"


@dataclass(frozen=True, eq=False)
class Stack:
    """Pictures of one array, read when they are asked for.

    Attributes:
        path: of the file.
        key: name of the array in it; empty if it has none.
        pictures: (n, 3, height, width) in [0, 1].
        remarks: what was decided of its numbers, in sentences.
    """

    path: Path
    key: str
    pictures: PictureReader
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Axes:
    """Where channels are, if there are any: 1 or 3, or None for grey pictures without."""

    channels: int | None
    n_channels: int

    def as_rgb(self, rows: Rows) -> Rows:
        """Put channels first, grey in three of them."""
        if self.channels is None:
            rows = rows[:, None]
        elif self.channels == 3:
            rows = np.moveaxis(rows, 3, 1)
        return np.repeat(rows, 3, axis=1) if self.n_channels == 1 else rows


@dataclass(frozen=True)
class _Range:
    """Least and greatest number of an array."""

    low: float
    high: float


def open_stack(entry: str) -> Stack:
    """Open a stack, and read it once, a few pictures at a time, to know its scale.

    | axes | |
    |---|---|
    | (n, 3, height, width), (n, height, width, 3) | RGB |
    | (n, 1, height, width), (n, height, width, 1), (n, height, width) | grey, repeated in three channels, and said |

    | numbers | |
    |---|---|
    | uint8 | 0 to 255 |
    | floating-point, least −0.25 or more, largest 1.5 or less | 0 to 1; what lies outside is clipped, and said |
    | floating-point, least −0.25 or more, largest from 32 to 255.5 | 0 to 255, and said |
    | all others, such as −1 to 1 | refused, with what to write |

    Args:
        entry: path of a file, or `FILE:KEY`.

    Raises:
        RunError: the file cannot be read, it is not clear which array holds pictures, what its axes are or what its numbers mean.
    """
    path, key = split_key(entry)
    arrays = open_arrays(path)
    key, array = _chosen(path, key.strip("/"), arrays)
    label = f"{path}:{key}" if key else str(path)
    axes = _axes(label, array.shape)
    scale, remarks = _scale(label, array)
    if axes.n_channels == 1:
        remarks.append(f"pictures of {label} are grey, and shown in three equal channels")

    def read(numbers: Numbers) -> Pictures:
        rgb = axes.as_rgb(array.read(numbers)).astype(np.float32)
        return np.ascontiguousarray(np.clip(rgb / np.float32(scale), 0, 1))

    return Stack(path, key, PictureReader(np.arange(array.shape[0]), read), tuple(remarks))


def _chosen(path: Path, key: str, arrays: Arrays) -> tuple[str, StoredArray]:
    """Return the array of a name, or the only one that may hold pictures."""
    listed = ", ".join(f"{name or 'one without a name'} {array.shape}" for name, array in arrays.items()) or "no array"
    if key:
        if key not in arrays:
            raise RunError(f"{path} holds no array {key}; it holds {listed}")
        return key, arrays[key]
    likely = [name for name, array in arrays.items() if len(array.shape) == 4]
    likely = likely or [name for name, array in arrays.items() if len(array.shape) == 3]
    if len(likely) > 1:
        raise RunError(f"{path} holds {listed}: say which holds the pictures, as {path.name}:{likely[0]}")
    if not likely:
        raise RunError(
            f"{path} holds {listed}, and no stack of pictures: write one array of the shape (pictures, 3, height, width)"
        )
    return likely[0], arrays[likely[0]]


def _axes(label: str, shape: tuple[int, ...]) -> _Axes:
    ways = "write (pictures, 3, height, width) or (pictures, height, width, 3)"
    if len(shape) == 3 and 3 in (shape[0], shape[2]):
        raise RunError(f"{label} has the shape {shape}, which looks like one picture: {ways}, for one of them too")
    if len(shape) == 3 and 0 not in shape:
        return _Axes(None, 1)
    if len(shape) != 4 or 0 in shape:
        raise RunError(f"{label} has the shape {shape}, which is no stack of pictures: {ways}")
    fits = [_Axes(axis, shape[axis]) for axis in (1, 3) if shape[axis] in (1, 3)]
    if len(fits) == 1:
        return fits[0]
    if not fits and 4 in (shape[1], shape[3]):
        raise RunError(
            f"{label} has the shape {shape}, pictures of four channels: put transparent ones on the background that was meant, "
            f"and {ways}"
        )
    raise RunError(f"{label} has the shape {shape}, of which it is not clear where channels are: {ways}")


def _scale(label: str, array: StoredArray) -> tuple[float, list[str]]:
    """Return the number that stands for full brightness, and what is said of it."""
    if array.dtype != "uint8" and not array.dtype.startswith("float"):
        raise RunError(f"{label} holds numbers of type {array.dtype}, whose scale is not known: {WAYS}")
    found = _range(label, array)
    said = f"{label} holds numbers from {found.low:.4g} to {found.high:.4g}"
    if array.dtype == "uint8":
        if found.high <= 1:
            raise RunError(
                f"{said} in 8 bits, so all pictures would be black: multiply by 255 before they become uint8"
            )
        return 255.0, []
    if found.low >= LOWEST and found.high <= HIGHEST:
        is_within = found.low >= -CLOSE and found.high <= 1 + CLOSE
        return 1.0, [] if is_within else [f"{said}: they are read on the scale from 0 to 1, and clipped to it"]
    if found.low >= LOWEST and FEWEST_OF_255 <= found.high <= 255.5:
        return 255.0, [f"{said}: they are read on the scale from 0 to 255"]
    if found.low >= -HIGHEST and found.high <= HIGHEST:
        raise RunError(
            f"{said}, and pictures are expected from 0 to 1: write (pictures + 1) / 2 if their scale begins at −1"
        )
    raise RunError(
        f"{said}, on no scale that is known: undo what they were standardised by, and {WAYS}; 0 to 255 is also known of "
        f"floating-point numbers whose largest is {FEWEST_OF_255:.0f} or more"
    )


def _range(label: str, array: StoredArray) -> _Range:
    """Read all rows, a batch at a time."""
    low, high = np.inf, -np.inf
    for rows in batch_slices(array.shape[0]):
        values = array.read(np.arange(rows.start, rows.stop))
        whole = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if not whole.all():
            raise RunError(
                f"{label} holds numbers that are not finite, first in picture {rows.start + int(np.argmin(whole))}, counted from "
                "0: make these pictures again"
            )
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    return _Range(low, high)
