"""PixCorr: the correlation of a reconstruction with its stimulus over all pixel values."""

from __future__ import annotations

from typing import ClassVar

from braindiffuser.arrays import Pictures, Vector
from braindiffuser.metrics._correlation import paired_correlation
from braindiffuser.metrics._pixels import PictureBatch, check_sizes
from braindiffuser.metrics.metric import OZCELIK_VANRULLEN_2023, Citation, Description, Label, PixelMetric


class PixCorr(PixelMetric):
    """Pearson correlation over all RGB values."""

    label: Label = "PixCorr"
    description: Description = "Pearson correlation over all RGB values, at the size of the stimuli."
    citation: Citation = OZCELIK_VANRULLEN_2023

    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def compare(self, seen: Pictures, made: Pictures) -> Vector:
        """Score pictures (n, 3, height, width) by `pixcorr`."""
        return pixcorr(seen, made)


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

    >>> import numpy as np
    >>> ramp = np.linspace(0, 1, 3 * 16 * 16, dtype=np.float32).reshape(1, 3, 16, 16)
    >>> pixcorr(ramp, 1 - ramp).round(6)
    array([-1.])
    """
    check_sizes(seen, made)
    return paired_correlation(seen.reshape(len(seen), -1), made.reshape(len(made), -1))
