"""What Brain-Diffuser (2023) printed as SSIM: one-dimensional structural similarities, averaged over pixel columns."""

from __future__ import annotations

from typing import ClassVar

from braindiffuser.arrays import Pictures, Vector
from braindiffuser.metrics._pixels import PictureBatch, structural_similarities
from braindiffuser.metrics.metric import OZCELIK_VANRULLEN_2023, Citation, Description, Label, PixelMetric


class SSIMColumnMean(PixelMetric):
    """Mean over pixel columns of the one-dimensional structural similarities of the grey pictures."""

    label: Label = "SSIM (1-D, 2023)"
    description: Description = (
        "What the paper prints as SSIM: the mean over pixel columns of one-dimensional structural similarities of"
        " the grey pictures, as scikit-image 0.17.2 computes its call. About 0.1 above the two-dimensional one."
    )
    citation: Citation = OZCELIK_VANRULLEN_2023

    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def compare(self, seen: Pictures, made: Pictures) -> Vector:
        """Score pictures (n, 3, height, width) by `ssim_column_mean`."""
        return ssim_column_mean(seen, made)


def ssim_column_mean(seen: PictureBatch, made: PictureBatch) -> Vector:
    """Compute what Brain-Diffuser (2023) printed as SSIM: the mean over pixel columns of one-dimensional SSIMs.

    Its call, `multichannel=True` on a grey picture under scikit-image 0.17.2, takes the last axis (the columns) as
    colour channels, so that the window extends along the column only. On the same pictures it comes out about 0.1 above
    `braindiffuser.metrics.ssim.ssim`; never compare the two. Arguments and errors as in `ssim`.
    """
    return structural_similarities(seen, made, channel_axis=-1)
