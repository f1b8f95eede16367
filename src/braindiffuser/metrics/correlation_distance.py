"""Correlation distance: one minus the correlation of the features of a reconstruction with those of its stimulus."""

from __future__ import annotations

from typing import ClassVar

from braindiffuser.arrays import Matrix, Vector
from braindiffuser.metrics._correlation import FeatureRows, paired_correlation
from braindiffuser.metrics.metric import OZCELIK_VANRULLEN_2023, Citation, FeatureMetric


class CorrelationDistance(FeatureMetric):
    """One minus the correlation of features: lower is better."""

    citation: Citation = OZCELIK_VANRULLEN_2023

    bounds: ClassVar[tuple[float, float]] = (0.0, 2.0)
    higher_is_better: ClassVar[bool] = False

    def compare(self, seen: Matrix, made: Matrix) -> Vector:
        """Score features (n, d) by `correlation_distance`."""
        return correlation_distance(seen, made)


def correlation_distance(seen: FeatureRows, made: FeatureRows) -> Vector:
    """Measure the distance 1 − c(k, k) of each reconstruction from its stimulus: (n,) in [0, 2], lower is better.

    Args:
        seen: features (n, d) of the stimuli.
        made: features (n, d) of their reconstructions, in the same order.

    >>> import numpy as np
    >>> correlation_distance(np.array([[1.0, 2.0, 3.0]]), np.array([[3.0, 2.0, 1.0]]))
    array([2.])
    """
    return 1 - paired_correlation(seen, made)
