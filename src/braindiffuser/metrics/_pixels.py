"""What metrics on pixels share: the check of sizes, and structural similarity over one or two axes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from jaxtyping import Float32

from braindiffuser.arrays import Matrix, Vector
from braindiffuser.images import SMALLEST_SIDE, resize, resize_without_antialias

PictureBatch = Float32[np.ndarray, "_ 3 _ _"]
"""Pictures (n, 3, height, width) in [0, 1]; shapes are checked in the functions."""

MOST_CORES = 8
"""Cores on which a batch is scored, at most: more gain little and each takes memory."""
TOLERANCE = 1e-3
"""How far pictures may lie outside [0, 1], and scores outside their bounds as a share of their range, by rounding."""


def as_compared(seen: PictureBatch, made: PictureBatch, sizes: Sequence[int]) -> tuple[PictureBatch, PictureBatch]:
    """Bring stimuli and reconstructions to the size at which their pixels are compared.

    Args:
        seen: stimuli (n, 3, height, width).
        made: their reconstructions, of any size.
        sizes: sides to which both are resized one after the other (bilinear, without antialias, not rounded to 8 bits); none:
            reconstructions are resized to the size of the stimuli (bicubic, as Pillow resizes 8-bit pictures).

    Raises:
        ValueError: if stimuli are not square and reconstructions have another size.
        RunError: if pictures that are to be resized are not square.
    """
    for size in sizes:
        seen, made = resize_without_antialias(seen, size), resize_without_antialias(made, size)
    if made.shape[-2:] == seen.shape[-2:]:
        return seen, made
    height, width = seen.shape[-2:]
    if height != width:
        raise ValueError(
            f"reconstructions of {made.shape[-2:]} pixels cannot be resized to stimuli of {(height, width)}: not square"
        )
    return seen, resize(made, height)


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

    def score(k: int) -> float:
        return float(structural_similarity(_grey(seen[k : k + 1]), _grey(made[k : k + 1]), **settings))

    with ThreadPoolExecutor(_n_cores()) as pool:  # filters run without Python's lock
        return np.fromiter(pool.map(score, range(len(seen))), np.float64, len(seen))


def _n_cores() -> int:
    """Return how many cores this process may use, at most as many as a batch keeps busy."""
    affinity = getattr(os, "sched_getaffinity", None)  # of Linux
    return min(len(affinity(0)) if affinity else os.cpu_count() or 1, MOST_CORES)


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
