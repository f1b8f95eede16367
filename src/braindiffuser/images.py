"""The one picture convention, and the only converters to and from it.

A batch of pictures is float32, RGB, in [0, 1], of shape (n, 3, height, width). Files and NSD's stimuli are 8-bit with the
channels last; networks that want another range rescale what they are given themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int
from PIL import Image

from braindiffuser.arrays import Pictures, RawPictures
from braindiffuser.errors import RunError
from braindiffuser.picture_files import read_picture

__all__ = [
    "PictureReader",
    "PictureSource",
    "from_uint8",
    "load_png",
    "resize",
    "resize_without_antialias",
    "save_png",
    "to_uint8",
]

BATCH = 32
"""Pictures per batch, where many are read."""
SMALLEST_SIDE = 11
"""Side in pixels of SSIM's Gaussian window (sigma 1.5, cut off at 3.5 sigma): stimuli cannot be smaller."""


@runtime_checkable
class PictureSource(Protocol):
    """Pictures (n, 3, height, width) that are taken a slice at a time: an array, or a `PictureReader`."""

    def __len__(self) -> int:
        """Number of pictures."""
        ...

    def __getitem__(self, rows: slice, /) -> Pictures:
        """Return the pictures of a slice."""
        ...


@dataclass(frozen=True, eq=False)
class PictureReader:
    """Pictures of one size, read when a slice is taken.

    Attributes:
        keys: passed to `read`, one per picture, in order; keys may repeat.
        read: keys (n,) to pictures (n, 3, height, width).
    """

    keys: Int[np.ndarray, " n"]
    read: Callable[[Int[np.ndarray, " n"]], Pictures]

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.keys)

    def __getitem__(self, rows: slice, /) -> Pictures:
        """Read the pictures of a slice."""
        return self.read(self.keys[rows])

    def take(self, rows: slice | Int[np.ndarray, " m"]) -> PictureReader:
        """Choose pictures, or put them in another order, without reading any."""
        return PictureReader(self.keys[rows], self.read)


def batch_slices(n: int) -> Iterator[slice]:
    """Cut n pictures into slices of at most `BATCH`; n = 0 yields one empty slice."""
    for start in range(0, max(n, 1), BATCH):
        yield slice(start, min(start + BATCH, n))


def from_uint8(raw: RawPictures) -> Pictures:
    """Convert 8-bit pictures (n, height, width, 3) to the convention: x / 255."""
    pictures = np.ascontiguousarray(raw.transpose(0, 3, 1, 2), dtype=np.float32)
    pictures /= np.float32(255)
    return pictures


def to_uint8(pictures: Pictures) -> RawPictures:
    """Convert pictures to 8 bits, rounding to nearest and clipping to [0, 1]: the inverse of `from_uint8`.

    Raises:
        RunError: if a value is not finite, of which 8 bits would make black or white.
    """
    whole = np.isfinite(pictures).all(axis=(1, 2, 3))
    if not whole.all():
        raise RunError(
            f"picture {np.argmin(whole)} of {len(whole)} has values that are not finite: check what it was made from"
        )
    levels = np.rint(np.clip(pictures, 0, 1) * np.float32(255)).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(0, 2, 3, 1))


def resize(
    pictures: Pictures, size: int, resample: Image.Resampling = Image.Resampling.BICUBIC
) -> Float32[np.ndarray, "n 3 {size} {size}"]:
    """Resize pictures to (n, 3, size, size) as Pillow resizes 8-bit pictures (always with antialias).

    Pictures that have the size already come back unchanged, not rounded to 8 bits.

    Raises:
        RunError: if pictures are not square, since that would squash them.
    """
    if _side(pictures) == size:
        return pictures
    resized = [np.asarray(Image.fromarray(raw).resize((size, size), resample)) for raw in to_uint8(pictures)]
    return from_uint8(np.stack(resized)) if resized else np.zeros((0, 3, size, size), np.float32)


def resize_without_antialias(pictures: Pictures, size: int) -> Float32[np.ndarray, "n 3 {size} {size}"]:
    """Resize pictures to (n, 3, size, size), bilinear, without antialias and not rounded to 8 bits.

        y(i) = (1 − w) x(⌊p⌋) + w x(⌊p⌋ + 1),   p = max(0, (i + ½) · side / size − ½),   w = p − ⌊p⌋

    along rows, then along columns; beyond the last pixel the last one counts. Two pixels make a new one, however much a picture
    shrinks. So tensors are resized by torchvision's `Resize` up to version 0.16, and by `antialias=False` since.

    Raises:
        RunError: if pictures are not square, since that would squash them.

    >>> steps = np.arange(4, dtype=np.float32).reshape(1, 1, 1, 4) * np.ones((1, 3, 4, 1), np.float32)
    >>> resize_without_antialias(steps, 2)[0, 0]
    array([[0.5, 2.5],
           [0.5, 2.5]], dtype=float32)
    """
    side = _side(pictures)
    if side == size:
        return pictures
    place = np.maximum((np.arange(size) + 0.5) * (side / size) - 0.5, 0)
    first = np.minimum(place.astype(np.int64), side - 1)
    second = np.minimum(first + 1, side - 1)
    share = (place - first).astype(np.float32)
    resized = np.empty((len(pictures), 3, size, size), np.float32)
    for made, picture in zip(resized, pictures, strict=True):
        rows = _between(picture, first, second, share[:, None], axis=1)
        made[:] = _between(rows, first, second, share, axis=2)
    return resized


def _between(
    picture: Float32[np.ndarray, "3 _ _"],
    first: Int[np.ndarray, " size"],
    second: Int[np.ndarray, " size"],
    share: Float32[np.ndarray, "*any _"],
    axis: int,
) -> Float32[np.ndarray, "3 _ _"]:
    """Return x + w (y − x), with x and y the lines `first` and `second` along an axis."""
    lower, upper = picture.take(first, axis), picture.take(second, axis)
    upper -= lower
    upper *= share
    upper += lower
    return upper


def _side(pictures: Pictures) -> int:
    """Return the side of square pictures.

    Raises:
        RunError: if they are not square.
    """
    height, width = pictures.shape[-2:]
    if height != width:
        raise RunError(f"pictures came as {height} × {width} pixels, expected square ones: crop or pad them first")
    return int(height)


def are_flat(pictures: Pictures) -> Bool[np.ndarray, " n"]:
    """Return for each picture (3, height, width) whether it is of one colour throughout."""
    flat: Bool[np.ndarray, " n"] = (pictures == pictures[..., :1, :1]).all(axis=(1, 2, 3))
    return flat


def save_png(picture: Pictures, path: Path) -> None:
    """Write one picture (1, 3, height, width) as PNG."""
    if len(picture) != 1:
        raise ValueError(f"save_png writes one picture, got {len(picture)}")
    Image.fromarray(to_uint8(picture)[0]).save(path, format="PNG")


def load_png(paths: Sequence[Path]) -> Pictures:
    """Read equally large picture files as one batch (n, 3, height, width).

    Raises:
        ValueError: if there is no file.
        RunError: if one cannot be read (see `picture_files`), or their sizes differ; the message names the first such file.
    """
    raw = [read_picture(path) for path in paths]
    check_equal_sizes(paths, [each.shape[:2] for each in raw])
    return from_uint8(np.stack(raw))


def check_equal_sizes(paths: Sequence[Path], sizes: Sequence[tuple[int, ...]]) -> None:
    """Raise what `load_png` raises, if there is no file or sizes (height, width) differ."""
    if not paths:
        raise ValueError("expected at least one picture file, got none")
    for path, size in zip(paths, sizes, strict=True):
        if size != sizes[0]:
            raise RunError(f"{path} is {size}, but {paths[0]} is {sizes[0]} (height, width): make all of one size")
