"""Named ways to rescale predictions.

Ridge shrinks predictions towards the mean; generators were trained on unshrunk features. A calibration is

    calibrated = (predictions - m) / s · S + M

with M, S the mean and standard deviation (ddof 0) of the training targets, and m, s those of predictions:

- `inductive`: of the cross-validated predictions of the training stimuli. A picture does not depend on its batch.
- `transductive`: of the predictions being rescaled, as published (Ozcelik & VanRullen 2023) and as its scripts compute it.
  A picture then depends on its batch, and a single one becomes the training mean.
- `none`: predictions stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float

CalibrationName: TypeAlias = Literal["inductive", "transductive", "none"]


@dataclass(frozen=True)
class Calibration:
    """A calibration with the statistics it needs, each of shape (n_targets,).

    Attributes:
        training_mean: M, mean of the training targets; only `none` does without.
        training_std: S, their standard deviation (ddof 0); only `none` does without.
        prediction_mean: m, mean of the cross-validated predictions; only `inductive` needs it.
        prediction_std: s, their standard deviation (ddof 0); only `inductive` needs it.
        name: which calibration.

    Raises:
        ValueError: if the name is unknown, a statistic that the calibration needs is missing, or their sizes differ.

    Examples:
        >>> one = np.ones(1)
        >>> calibration = Calibration(5 * one, 2 * one, prediction_mean=4 * one, prediction_std=0.5 * one)
        >>> calibration.apply(np.array([[4.0], [4.5]])).ravel().tolist()
        [5.0, 7.0]
    """

    training_mean: Float[np.ndarray, " n_targets"] | None = None
    training_std: Float[np.ndarray, " n_targets"] | None = None
    prediction_mean: Float[np.ndarray, " n_targets"] | None = None
    prediction_std: Float[np.ndarray, " n_targets"] | None = None
    name: CalibrationName = "inductive"

    def __post_init__(self) -> None:
        """Check that the statistics needed are there, and that their lengths agree."""
        if self.name not in _NEEDED:
            raise ValueError(f"unknown calibration {self.name!r}, expected one of {', '.join(_NEEDED)}")
        missing = [statistic for statistic in _NEEDED[self.name] if getattr(self, statistic) is None]
        if missing:
            raise ValueError(
                f"calibration {self.name!r} needs {', '.join(missing)}: take them from a fitted RidgeCV (target_mean_, "
                "target_std_, cv_prediction_mean_, cv_prediction_std_)"
            )
        statistics = {statistic: getattr(self, statistic) for statistic in _STATISTICS}
        sizes = {statistic: len(values) for statistic, values in statistics.items() if values is not None}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"calibration statistics must have one number per target each, got {sizes}")

    def apply(self, predictions: Float[np.ndarray, "n n_targets"]) -> Float[np.ndarray, "n n_targets"]:
        """Rescale predictions, keeping their dtype.

        Raises:
            ValueError: if predictions have another number of targets than the statistics.
        """
        if self.name == "none" or self.training_mean is None or self.training_std is None:
            return predictions
        if predictions.shape[1] != len(self.training_mean):
            raise ValueError(f"got predictions of {predictions.shape[1]} targets, expected {len(self.training_mean)}")
        if self.prediction_mean is None or self.prediction_std is None or self.name == "transductive":
            return rescale(predictions, *_statistics(predictions), self.training_mean, self.training_std)
        return rescale(predictions, self.prediction_mean, self.prediction_std, self.training_mean, self.training_std)


def rescale(
    predictions: Float[np.ndarray, "n n_targets"],
    mean: Float[np.ndarray, " n_targets"],
    std: Float[np.ndarray, " n_targets"],
    new_mean: Float[np.ndarray, " n_targets"],
    new_std: Float[np.ndarray, " n_targets"],
) -> Float[np.ndarray, "n n_targets"]:
    """Move predictions of one mean and standard deviation to another.

        (predictions - mean) / std · new_std + new_mean,  or new_mean where std is 0

    A std below what float32 resolves beside its mean (1.2e-7 · |mean|) is rounding, and counts as 0.
    """
    spread = std > np.finfo(np.float32).eps * np.abs(mean)
    scale = np.divide(new_std, std, out=np.zeros(len(std)), where=spread)
    dtype = predictions.dtype
    centred = predictions - mean.astype(dtype)
    rescaled: Float[np.ndarray, "n n_targets"] = centred * scale.astype(dtype) + new_mean.astype(dtype)
    return rescaled


_STATISTICS = ("training_mean", "training_std", "prediction_mean", "prediction_std")
_NEEDED: dict[CalibrationName, tuple[str, ...]] = {
    "inductive": _STATISTICS,
    "transductive": _STATISTICS[:2],
    "none": (),
}


def _statistics(
    values: Float[np.ndarray, "n n_targets"],
) -> tuple[Float[np.ndarray, " n_targets"], Float[np.ndarray, " n_targets"]]:
    """Return mean and standard deviation (ddof 0) over rows, in float64."""
    return values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
