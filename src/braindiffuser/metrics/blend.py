"""Blends: reconstructions mixed with blurry ones before they are scored, as MindEye2 does."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from pydantic import Field, PositiveInt

from braindiffuser.arrays import Pictures
from braindiffuser.images import PictureReader, PictureSource, resize_without_antialias
from braindiffuser.metrics._pixels import PictureBatch
from braindiffuser.part import Settings


class Blend(Settings):
    """How reconstructions are mixed with blurry ones before a profile's metrics see them."""

    blurry_share: float = Field(gt=0, lt=1, description="Share of the blurry picture; the reconstruction has the rest.")
    size: PositiveInt = Field(description="Side to which both are resized before (bilinear, without antialias).")

    def of(self, made: PictureSource, blurry: PictureSource) -> PictureReader:
        """Blend two sets of pictures, a batch at a time when they are read.

        Args:
            made: reconstructions (n, 3, height, width) in [0, 1].
            blurry: blurry reconstructions of the same stimuli, in the same order, of any size.

        Raises:
            ValueError: if their numbers differ.
        """
        if len(made) != len(blurry):
            raise ValueError(f"got {len(made)} reconstructions and {len(blurry)} blurry ones; expected the same number")

        def read(numbers: Int[np.ndarray, " n"]) -> Pictures:
            return self._mix(_taken(made, numbers), _taken(blurry, numbers))

        return PictureReader(np.arange(len(made)), read)

    def _mix(self, made: PictureBatch, blurry: PictureBatch) -> PictureBatch:
        return blended(made, blurry, self.blurry_share, self.size)


def _taken(pictures: PictureSource, numbers: Int[np.ndarray, " n"]) -> PictureBatch:
    """Read the pictures of some numbers, together where they follow each other."""
    first = int(numbers[0]) if len(numbers) else 0
    if np.array_equal(numbers, np.arange(first, first + len(numbers))):
        return pictures[first : first + len(numbers)]
    return np.concatenate([pictures[number : number + 1] for number in numbers.tolist()])


def blended(made: PictureBatch, blurry: PictureBatch, share: float, size: int) -> PictureBatch:
    """Mix reconstructions with blurry ones.

        b = (1 − a) R(made) + a R(blurry)

    with a the share and R the resizing to `size`, bilinear without antialias. MindEye2 scores b with a = 1/4 and 256 pixels: its
    eight metrics are of these pictures, not of those that its figures show.

    Args:
        made: reconstructions (n, 3, height, width) in [0, 1].
        blurry: blurry reconstructions of the same stimuli, in the same order, of any size.
        share: of the blurry picture, in [0, 1].
        size: side of the result.

    Returns:
        (n, 3, size, size) in [0, 1], not rounded to 8 bits.

    >>> flat = np.ones((1, 3, 4, 4), np.float32)
    >>> blended(0 * flat, flat, 0.25, 8)[0, 0, 0, :2]
    array([0.25, 0.25], dtype=float32)
    """
    small = [resize_without_antialias(pictures, size) for pictures in (made, blurry)]
    mixed: PictureBatch = np.float32(1 - share) * small[0] + np.float32(share) * small[1]
    return mixed
