"""SSIM: the structural similarity of grey pictures, in two dimensions."""

from __future__ import annotations

from typing import ClassVar

from braindiffuser.arrays import Pictures, Vector
from braindiffuser.metrics._pixels import PictureBatch, structural_similarities
from braindiffuser.metrics.metric import Citation, Description, Label, PixelMetric


class SSIM(PixelMetric):
    """Two-dimensional structural similarity of the grey pictures."""

    label: Label = "SSIM"
    description: Description = (
        "Two-dimensional structural similarity of the grey pictures (Gaussian window, sigma 1.5), at the size of the"
        " stimuli. Not the one-dimensional SSIM that Brain-Diffuser 2023 prints, which is higher."
    )
    citation: Citation = "Wang et al. 2004, doi 10.1109/TIP.2003.819861"

    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def compare(self, seen: Pictures, made: Pictures) -> Vector:
        """Score pictures (n, 3, height, width) by `ssim`."""
        return ssim(seen, made)


def ssim(seen: PictureBatch, made: PictureBatch) -> Vector:
    """Compute the structural similarity (Wang et al. 2004, doi 10.1109/TIP.2003.819861) of the grey pictures.

    SSIM = mean over positions of (2 μ_s μ_m + C1)(2 σ_sm + C2) / ((μ_s² + μ_m² + C1)(σ_s² + σ_m² + C2)), the moments
    taken in a two-dimensional Gaussian window (sigma 1.5, side 11, population covariance), C1 = 0.01², C2 = 0.03²,
    and positions closer than 5 pixels to the border left out. Grey = 0.2125 R + 0.7154 G + 0.0721 B. This is what
    scikit-image computes for the published call from 0.20 on (MindEye and later).

    Args:
        seen: stimuli (n, 3, height, width), at least 11 × 11 pixels.
        made: their reconstructions, of the same size and in the same order.

    Returns:
        (n,) in [−1, 1].

    Raises:
        ValueError: if the shapes differ or the pictures are too small.
    """
    return structural_similarities(seen, made, channel_axis=None)
