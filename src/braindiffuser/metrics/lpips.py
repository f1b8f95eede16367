"""LPIPS: perceptual distance, calibrated on what people judge alike."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from braindiffuser.arrays import Matrix, Vector
from braindiffuser.metrics._correlation import FeatureRows
from braindiffuser.metrics.metric import Citation, FeatureMetric

_ROWS_AT_ONCE = 16


class LPIPS(FeatureMetric):
    """Squared distance of AlexNet's features, weighted by human judgements: lower is better."""

    citation: Citation = "LPIPS: Zhang et al. 2018, arXiv:1801.03924"
    network: str = Field(
        "lpips_alexnet", description="Name of the feature network, whose features are already weighted."
    )
    layer: str = Field("weighted", description="Layer of the network whose features are compared.")

    bounds: ClassVar[tuple[float, float]] = (0.0, 8.05)
    """The published weights allow no more than 2 Σ_l max_c w_lc = 8.047; unrelated photographs have about 0.7."""
    higher_is_better: ClassVar[bool] = False

    def compare(self, seen: Matrix, made: Matrix) -> Vector:
        """Score features (n, d) by `squared_distance`."""
        return squared_distance(seen, made)


def squared_distance(seen: FeatureRows, made: FeatureRows) -> Vector:
    """Return ‖f(s_k) − f(m_k)‖² of each stimulus and its reconstruction: (n,), 0 or more.

    With f(x) all √(w_lc / (h_l · w_l)) x̂_lc of AlexNet's five rectified convolutions, x̂ normalised over channels at every place
    of the h_l × w_l grid, this is the published LPIPS (v0.1, `net="alex"`).

    Args:
        seen: features (n, d) of the stimuli.
        made: features (n, d) of their reconstructions, in the same order.

    Raises:
        ValueError: if the shapes differ.

    >>> squared_distance(np.array([[0.0, 1.0]]), np.array([[1.0, 3.0]]))
    array([5.])
    """
    if seen.shape != made.shape:
        raise ValueError(
            f"features of seen pictures have shape {seen.shape} and those of reconstructions {made.shape}; expected the same"
        )
    distances = np.empty(len(seen))
    for start in range(0, len(seen), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        difference = seen[rows].astype(np.float64) - made[rows]
        distances[rows] = np.einsum("ij,ij->i", difference, difference)
    return distances
