"""The one picture convention, and the only converters to and from it.

A batch of pictures is float32, RGB, in [0, 1], of shape (n, 3, height, width). Files and NSD's stimuli are 8-bit with the
channels last; networks that want another range rescale what they are given themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image

from braindiffuser._arrays import Pictures, RawPictures


def from_uint8(raw: RawPictures) -> Pictures:
    """Convert 8-bit pictures (n, height, width, 3) to the convention: x / 255."""
    return np.ascontiguousarray(raw.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255)


def to_uint8(pictures: Pictures) -> RawPictures:
    """Convert pictures to 8 bits, rounding to nearest and clipping to [0, 1]: the inverse of `from_uint8`."""
    levels = np.rint(np.clip(pictures, 0, 1) * np.float32(255)).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(0, 2, 3, 1))


def resize(
    pictures: Pictures, size: int, resample: Image.Resampling = Image.Resampling.BICUBIC
) -> Float32[np.ndarray, "n 3 {size} {size}"]:
    """Resize pictures to (n, 3, size, size) as Pillow resizes 8-bit pictures (always with antialias).

    Pictures that have the size already come back unchanged, not rounded to 8 bits.
    """
    if pictures.shape[-2:] == (size, size):
        return pictures
    resized = [np.asarray(Image.fromarray(raw).resize((size, size), resample)) for raw in to_uint8(pictures)]
    return from_uint8(np.stack(resized)) if resized else np.zeros((0, 3, size, size), np.float32)


def save_png(picture: Pictures, path: Path) -> None:
    """Write one picture (1, 3, height, width) as PNG."""
    if len(picture) != 1:
        raise ValueError(f"save_png writes one picture, got {len(picture)}")
    Image.fromarray(to_uint8(picture)[0]).save(path, format="PNG")


def load_png(paths: Sequence[Path]) -> Pictures:
    """Read equally large picture files as one batch (n, 3, height, width).

    Raises:
        ValueError: if there is no file, or their sizes differ; the message names the first that does.
    """
    if not paths:
        raise ValueError("load_png needs at least one file")
    raw = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    for path, picture in zip(paths, raw, strict=True):
        if picture.shape != raw[0].shape:
            raise ValueError(f"{path} is {picture.shape[:2]}, but {paths[0]} is {raw[0].shape[:2]} (height, width)")
    return from_uint8(np.stack(raw))
