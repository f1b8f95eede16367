"""A decoder of low rank as arrays: it decodes by two small products, without training responses, targets or torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from braindiffuser.regression.calibration import Calibration, rescale


@dataclass(frozen=True, eq=False)
class ReducedDecoder:
    """Features from responses in the directions in which training predictions vary most.

        z(x) = ((x − x̄) / s) W · c + o,    ŷ(x) = m + σ · (z(x) L)

    Coordinates z have mean 0 and variance 1 over training stimuli, so column j of L holds the correlations of the predicted
    target j with them, and σ_j is the spread of its predictions. All numbers that are stored in half precision lie in [−1, 1].

    Attributes:
        response_mean: x̄, mean training response of each voxel.
        response_std: s, standard deviation of each voxel over training rows; 1 where a voxel never varies.
        weights: W, largest magnitude of each column 1.
        sizes: c.
        offset: o.
        loadings: L, columns of length 1, or 0 where predictions of a target do not vary.
        mean: m.
        spread: σ.
    """

    response_mean: Float[np.ndarray, " n_voxels"]
    response_std: Float[np.ndarray, " n_voxels"]
    weights: Float[np.ndarray, "n_voxels rank"]
    sizes: Float[np.ndarray, " rank"]
    offset: Float[np.ndarray, " rank"]
    loadings: Float[np.ndarray, "rank n_targets"]
    mean: Float[np.ndarray, " n_targets"]
    spread: Float[np.ndarray, " n_targets"]

    @property
    def rank(self) -> int:
        """Number of directions."""
        return len(self.sizes)

    def coordinates(self, responses: Float[np.ndarray, "n n_voxels"]) -> Float[np.ndarray, "n rank"]:
        """Return z(x), in the precision of `sizes`."""
        scaled = ((responses - self.response_mean) / self.response_std).astype(self.sizes.dtype)
        made: Float[np.ndarray, "n rank"] = (scaled @ self.weights.astype(scaled.dtype, copy=False)) * self.sizes
        made += self.offset
        return made

    def predict(self, responses: Float[np.ndarray, "n n_voxels"]) -> Float[np.ndarray, "n n_targets"]:
        """Return ŷ(x), in the precision of `sizes`."""
        z = self.coordinates(responses)
        made: Float[np.ndarray, "n n_targets"] = z @ self.loadings.astype(z.dtype, copy=False)
        made *= self.spread
        made += self.mean
        return made

    def widened(self) -> ReducedDecoder:
        """Return the same decoder with its large arrays in the precision of `sizes`, so that they are not widened at each use."""
        dtype = self.sizes.dtype
        return replace(
            self, weights=self.weights.astype(dtype, copy=False), loadings=self.loadings.astype(dtype, copy=False)
        )

    def calibrated(self, calibration: Calibration) -> ReducedDecoder:
        """Fold a calibration in that treats each response alone: `inductive` or `none`.

            (m + σ · zL − p) g + M = ((m − p) g + M) + (σ g) · zL

        Args:
            calibration: with p the mean of cross-validated predictions, g the ratio of spreads, M the mean of training targets.

        Raises:
            ValueError: if it is `transductive`, which depends on all responses that are decoded together.
        """
        if calibration.name == "none":
            return self
        mean, std = calibration.prediction_mean, calibration.prediction_std
        if calibration.name != "inductive" or mean is None or std is None:
            raise ValueError(
                f"calibration {calibration.name} rescales by the decoded responses themselves, so it cannot be kept"
            )
        own = self.mean.astype(np.float64)[None], (self.mean.astype(np.float64) + self.spread)[None]
        low, high = (
            rescale(values, mean, std, calibration.training_mean, calibration.training_std)[0] for values in own
        )
        dtype = self.mean.dtype
        return replace(self, mean=low.astype(dtype), spread=(high - low).astype(dtype))
