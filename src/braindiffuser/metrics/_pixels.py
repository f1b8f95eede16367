"""What metrics on pixels share: the check of sizes, and structural similarity over one or two axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float32

from braindiffuser.arrays import Matrix, Vector
from braindiffuser.images import SMALLEST_SIDE

PictureBatch = Float32[np.ndarray, "_ 3 _ _"]
"""Pictures (n, 3, height, width) in [0, 1]; shapes are checked in the functions."""

TOLERANCE = 1e-3
"""How far pictures may lie outside [0, 1], and scores outside their bounds as a share of their range, by rounding."""


def structural_similarities(seen: PictureBatch, made: PictureBatch, channel_axis: int | None) -> Vector:
    """Compute the structural similarity of each pair of grey pictures, as scikit-image does.

    Args:
        seen: stimuli (n, 3, height, width), at least 11 × 11 pixels.
        made: their reconstructions, of the same size and in the same order.
        channel_axis: None for a two-dimensional window; an axis of the grey picture whose lines are compared one by one.

    Returns:
        (n,) in [−1, 1].

    Raises:
        ValueError: if the shapes differ, the pictures are too small, or they are not floating-point numbers in [0, 1].
    """
    from skimage.metrics import structural_similarity

    check_sizes(seen, made)
    if min(seen.shape[-2:]) < SMALLEST_SIDE:
        raise ValueError(f"SSIM needs pictures of at least {SMALLEST_SIDE} pixels a side, got {seen.shape[-2:]}")
    for pictures in (seen, made):
        check_range(pictures)
    settings: dict[str, Any] = {
        "gaussian_weights": True,
        "sigma": 1.5,
        "use_sample_covariance": False,
        "data_range": 1.0,
        "channel_axis": channel_axis,
    }
    scores = np.empty(len(seen))
    for k in range(len(seen)):
        scores[k] = structural_similarity(_grey(seen[k : k + 1]), _grey(made[k : k + 1]), **settings)
    return scores


def _grey(picture: PictureBatch) -> Matrix:
    from skimage.color import rgb2gray

    grey: Matrix = rgb2gray(picture[0].astype(np.float64), channel_axis=0)
    return grey


def check_sizes(seen: PictureBatch, made: PictureBatch) -> None:
    """Check that shapes agree.

    Raises:
        ValueError: if the shapes differ.
    """
    if seen.shape != made.shape:
        raise ValueError(
            f"stimuli have shape {seen.shape} and reconstructions {made.shape}; both must be (n, 3, height, width):"
            " pair them and resize the reconstructions first (braindiffuser.images.resize)"
        )


def check_range(pictures: PictureBatch) -> None:
    """Check that pictures are floating-point numbers in [0, 1].

    Raises:
        ValueError: if not, or if one is NaN.
    """
    if len(pictures):
        lowest, highest = pictures.min(), pictures.max()
        if pictures.dtype.kind != "f" or not (lowest >= -TOLERANCE and highest <= 1 + TOLERANCE):
            raise ValueError(
                f"pictures came as {pictures.dtype} from {lowest} to {highest}: give floating-point numbers in [0, 1]"
            )
