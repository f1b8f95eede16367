"""Scores on pixels: PixCorr, and the two metrics that are both printed as SSIM."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float32
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity

from braindiffuser._arrays import Matrix, Vector
from braindiffuser.evaluation.identification import paired_correlation

PictureBatch = Float32[np.ndarray, "_ 3 _ _"]
"""Pictures (n, 3, height, width) in [0, 1]; here functions compare shapes themselves, with a message."""

SMALLEST_SIDE = 11
"""Side in pixels of SSIM's Gaussian window (sigma 1.5, cut off at 3.5 sigma)."""


def pixcorr(seen: PictureBatch, made: PictureBatch) -> Vector:
    """Correlate each reconstruction with its stimulus over all 3 · height · width values.

    pixcorr(k) = Pearson(s_k, m_k). A picture of one flat colour in all channels has no correlation and scores 0.

    Args:
        seen: stimuli (n, 3, height, width).
        made: their reconstructions, of the same size and in the same order.

    Returns:
        (n,) in [−1, 1].

    Raises:
        ValueError: if the shapes differ or a value is not finite.

    >>> ramp = np.linspace(0, 1, 3 * 16 * 16, dtype=np.float32).reshape(1, 3, 16, 16)
    >>> pixcorr(ramp, 1 - ramp).round(6)
    array([-1.])
    """
    _check_sizes(seen, made)
    return paired_correlation(seen.reshape(len(seen), -1), made.reshape(len(made), -1))


def ssim_2d(seen: PictureBatch, made: PictureBatch) -> Vector:
    """Compute the structural similarity (Wang et al. 2004, doi 10.1109/TIP.2003.819861) of the grey pictures.

    SSIM = mean over places of (2 μ_s μ_m + C1)(2 σ_sm + C2) / ((μ_s² + μ_m² + C1)(σ_s² + σ_m² + C2)), the moments
    taken in a two-dimensional Gaussian window (sigma 1.5, side 11, population covariance), C1 = 0.01², C2 = 0.03²,
    and places closer than 5 pixels to the border left out. Grey = 0.2125 R + 0.7154 G + 0.0721 B. This is what
    scikit-image computes for the published call from 0.20 on (MindEye and later).

    Args:
        seen: stimuli (n, 3, height, width), at least 11 × 11 pixels.
        made: their reconstructions, of the same size and in the same order.

    Returns:
        (n,) in [−1, 1].

    Raises:
        ValueError: if the shapes differ or the pictures are too small.
    """
    return _ssim(seen, made, channel_axis=None)


def ssim_bd2023_column_mean(seen: PictureBatch, made: PictureBatch) -> Vector:
    """Compute what Brain-Diffuser (2023) printed as SSIM: the mean over pixel columns of one-dimensional SSIMs.

    Its call, `multichannel=True` on a grey picture under scikit-image 0.17.2, takes the last axis (the columns) as
    colour channels, so that the window extends along the column only. On the same pictures it comes out about 0.1 above
    `ssim_2d`; only figures of one kind may be compared. Arguments and errors as there.
    """
    return _ssim(seen, made, channel_axis=-1)


def _ssim(seen: PictureBatch, made: PictureBatch, channel_axis: int | None) -> Vector:
    _check_sizes(seen, made)
    if min(seen.shape[-2:]) < SMALLEST_SIDE:
        raise ValueError(f"SSIM needs pictures of at least {SMALLEST_SIDE} pixels a side, got {seen.shape[-2:]}")
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
    grey: Matrix = rgb2gray(picture[0].astype(np.float64), channel_axis=0)
    return grey


def _check_sizes(seen: PictureBatch, made: PictureBatch) -> None:
    if seen.shape != made.shape:
        raise ValueError(
            f"stimuli have shape {seen.shape} and reconstructions {made.shape}; both must be (n, 3, height, width):"
            " pair them and resize the reconstructions first (braindiffuser.images.resize)"
        )
