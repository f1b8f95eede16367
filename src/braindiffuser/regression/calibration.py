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
from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Float

CalibrationName: TypeAlias = Literal["inductive", "transductive", "none"]


@dataclass(frozen=True)
class Calibration:
    """A calibration with the statistics it needs, each of shape (n_targets,).

    Attributes:
        training_mean: M, mean of the training targets.
        training_std: S, their standard deviation (ddof 0).
        prediction_mean: m, mean of the cross-validated predictions; only `inductive` needs it.
        prediction_std: s, their standard deviation (ddof 0); only `inductive` needs it.
        name: which calibration.

    Raises:
        ValueError: if the name is unknown, a statistic that `inductive` needs is missing, their sizes differ, a value is not
            finite, or a standard deviation is negative.

    Examples:
        >>> one = np.ones(1)
        >>> calibration = Calibration(5 * one, 2 * one, prediction_mean=4 * one, prediction_std=0.5 * one)
        >>> calibration.apply(np.array([[4.0], [4.5]])).ravel().tolist()
        [5.0, 7.0]
    """

    training_mean: Float[np.ndarray, " n_targets"]
    training_std: Float[np.ndarray, " n_targets"]
    prediction_mean: Float[np.ndarray, " n_targets"] | None = None
    prediction_std: Float[np.ndarray, " n_targets"] | None = None
    name: CalibrationName = "inductive"

    def __post_init__(self) -> None:
        """Check that the statistics needed are there, and that their lengths agree."""
        if self.name not in get_args(CalibrationName):
            known = ", ".join(get_args(CalibrationName))
            raise ValueError(f"unknown calibration {self.name!r}, expected one of {known}")
        if self.name == "inductive" and (self.prediction_mean is None or self.prediction_std is None):
            raise ValueError(
                "calibration 'inductive' needs prediction_mean, prediction_std: take them from a fitted RidgeCV "
                "(cv_prediction_mean_, cv_prediction_std_)"
            )
        names = ("training_mean", "training_std", "prediction_mean", "prediction_std")
        sizes = {name: len(values) for name in names if (values := getattr(self, name)) is not None}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"calibration statistics must have one number per target each, got {sizes}")
        for name in sizes:
            values = getattr(self, name)
            if not np.isfinite(values).all() or (name.endswith("std") and (values < 0).any()):
                raise ValueError(f"calibration statistics must be finite, and standard deviations ≥ 0; {name} is not")

    def apply(self, predictions: Float[np.ndarray, "n n_targets"]) -> Float[np.ndarray, "n n_targets"]:
        """Rescale predictions, keeping their dtype.

        Raises:
            ValueError: if predictions have another number of targets than the statistics.
        """
        if self.name == "none":
            return predictions
        if predictions.shape[1] != len(self.training_mean):
            raise ValueError(f"got predictions of {predictions.shape[1]} targets, expected {len(self.training_mean)}")
        mean, std = self.prediction_mean, self.prediction_std
        if mean is None or std is None or self.name == "transductive":
            mean, std = predictions.mean(axis=0, dtype=np.float64), predictions.std(axis=0, dtype=np.float64)
        return rescale(predictions, mean, std, self.training_mean, self.training_std)


def rescale(
    predictions: Float[np.ndarray, "n n_targets"],
    mean: Float[np.ndarray, " n_targets"],
    std: Float[np.ndarray, " n_targets"],
    new_mean: Float[np.ndarray, " n_targets"],
    new_std: Float[np.ndarray, " n_targets"],
) -> Float[np.ndarray, "n n_targets"]:
    """Move predictions of one mean and standard deviation to another.

        (predictions - mean) / std · new_std + new_mean,  or new_mean where std is 0

    A std below what float32 resolves beside its mean and the targets' spread (1.2e-7 · (|mean| + new_std)) is rounding, and
    counts as 0.
    """
    spread = std > np.finfo(np.float32).eps * (np.abs(mean) + new_std)
    scale = np.divide(new_std, std, out=np.zeros(len(std)), where=spread)
    dtype = predictions.dtype
    centred = predictions - mean.astype(dtype)
    rescaled: Float[np.ndarray, "n n_targets"] = centred * scale.astype(dtype) + new_mean.astype(dtype)
    return rescaled
