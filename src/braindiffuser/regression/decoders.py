"""Ridge decoders of several target groups that share their training responses, stored without coefficients.

Decoders are stored as alphas and statistics, beside the training responses and targets that they were fitted to. Every output
(predictions, projections of patterns, intercepts) is one small matrix per alpha times the targets, which stream from disk. At
the size of NSD that is 7 GB of targets, mostly in float16, instead of 22 GB of coefficients.

What is learnt and predicted for a group is the same, bit for bit, whichever other groups are fitted beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from braindiffuser.errors import RunError
from braindiffuser.progress import Progress, offset_progress, silent
from braindiffuser.regression.calibration import Calibration, CalibrationName
from braindiffuser.regression.fitted_decoder import FittedDecoder
from braindiffuser.regression.projection import Projection
from braindiffuser.regression.rows import TargetArray, TrainingRows, n_columns
from braindiffuser.regression.selection import CrossValidation, cross_validate
from braindiffuser.regression.smoothers import smoothers_by_group
from braindiffuser.regression.streaming import Applied, apply_smoothers


class Prediction(NamedTuple):
    """Predictions of one group of targets (n_new, n_targets), uncalibrated, and their calibration."""

    values: Float[np.ndarray, "n_new n_targets"]
    calibration: Calibration


@dataclass(frozen=True, eq=False)
class Decoders:
    """Fitted maps from voxels to groups of targets.

        decoded = calibration(A(responses) targets)

    Attributes:
        rows: training responses.
        targets: group → training targets, (n_stimuli, …), in memory or on disk.
        alphas: group → penalty of each target (n_targets,).
        calibration: how predictions are rescaled.
        cv_statistics: group → mean and standard deviation of cross-validated predictions; `inductive` needs them.
        facts: group → JSON summary of the choice of alpha, for the reader.
        device: where products are computed.
    """

    rows: TrainingRows
    targets: Mapping[str, TargetArray]
    alphas: Mapping[str, Float64[np.ndarray, " n_targets"]]
    calibration: CalibrationName
    cv_statistics: Mapping[str, tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]] = field(
        default_factory=dict
    )
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    device: str = "cpu"

    @classmethod
    def from_learnt(
        cls,
        fitted: Mapping[str, FittedDecoder],
        rows: TrainingRows,
        targets: Mapping[str, TargetArray],
        calibration: CalibrationName,
        device: str = "cpu",
    ) -> Decoders:
        """Rebuild decoders exactly from stored parameters and their training data.

        Raises:
            RunError: if a group was fitted to another number of targets, or without what the calibration needs.
        """
        for name, (arrays, _) in fitted.items():
            _check(name, arrays, n_columns(targets[name]), calibration)
        return cls(
            rows,
            {name: targets[name] for name in fitted},
            {name: arrays["alphas"] for name, (arrays, _) in fitted.items()},
            calibration,
            {
                name: (arrays["prediction_mean"], arrays["prediction_std"])
                for name, (arrays, _) in fitted.items()
                if "prediction_mean" in arrays
            },
            {name: facts for name, (_, facts) in fitted.items()},
            device,
        )

    def fitted(self, group: str) -> FittedDecoder:
        """Return a group's stored parameters: alphas, and statistics of calibration."""
        arrays = {"alphas": self.alphas[group]}
        if group in self.cv_statistics:
            arrays["prediction_mean"], arrays["prediction_std"] = self.cv_statistics[group]
        return FittedDecoder(arrays, self.facts.get(group, {}))

    def predict(
        self, responses: Float[np.ndarray, "n_new n_voxels"], progress: Progress = silent
    ) -> Iterator[tuple[str, Prediction]]:
        """Yield predictions group by group; one is in memory at a time.

        Raises:
            ValueError: if the responses have another number of voxels than the training responses.
        """
        for name, applied in self._apply(responses, None, progress, "predicting features of the test stimuli"):
            yield name, Prediction(applied.values, self._calibration(name, applied.mean, applied.std))

    def decode(self, responses: Float[np.ndarray, "n_new n_voxels"]) -> dict[str, Float[np.ndarray, "n_new n_targets"]]:
        """Predict and calibrate. Under `transductive` all stimuli of a test set must come in one call."""
        return {name: made.calibration.apply(made.values) for name, made in self.predict(responses)}

    def project(
        self, patterns: Float[np.ndarray, "n_patterns n_voxels"], progress: Progress = silent
    ) -> Iterator[tuple[str, Projection]]:
        """Multiply voxel patterns with the coefficients alone, without forming them, one group after the other."""
        zero = np.zeros_like(patterns[:1])
        for name, applied in self._apply(zero, patterns, progress, "projecting patterns"):
            yield name, Projection(applied.values[1:], applied.values[0], applied.mean, applied.std)

    def _calibration(self, group: str, mean: Float64[np.ndarray, " n"], std: Float64[np.ndarray, " n"]) -> Calibration:
        cv_mean, cv_std = self.cv_statistics.get(group, (None, None))
        return Calibration(mean, std, cv_mean, cv_std, self.calibration)

    def _apply(
        self,
        responses: Float[np.ndarray, "n_new n_voxels"],
        patterns: Float[np.ndarray, "n_patterns n_voxels"] | None,
        progress: Progress,
        label: str,
    ) -> Iterator[tuple[str, Applied]]:
        made = smoothers_by_group(self.rows, self.alphas, responses, patterns, self.device)
        done, total = 0, sum(map(n_columns, self.targets.values()))
        for name, targets in self.targets.items():
            own = offset_progress(progress, done, total)
            yield name, apply_smoothers(made[name], targets, self.alphas[name], own, label)
            done += n_columns(targets)


def fit_decoders(
    rows: TrainingRows,
    targets: Mapping[str, TargetArray],
    alphas: Mapping[str, Sequence[float]],
    *,
    calibration: CalibrationName = "inductive",
    n_folds: int = 5,
    device: str = "cpu",
    progress: Progress = silent,
) -> Decoders:
    """Choose each group's alpha and compute calibration statistics.

    A group with one alpha and another calibration needs no cross-validation, so nothing is computed yet.

    Args:
        rows: training responses.
        targets: group → (n_stimuli, …).
        alphas: group → penalties to choose from, or one.
        calibration: name of the calibration.
        n_folds: of cross-validation over stimuli.
        device: where products are computed.
        progress: called as progress(label, columns_done, n_columns) in cross-validation.

    Raises:
        ValueError: if an alpha is negative, or responses and targets differ in number.
    """
    rows.check(targets)
    tried = {name: values for name, values in targets.items() if calibration == "inductive" or len(alphas[name]) > 1}
    found: dict[str, CrossValidation] = {}
    if tried:
        found = cross_validate(rows, tried, alphas, n_folds=n_folds, device=device, progress=progress)
    chosen = {
        name: found[name].best_alphas if name in found else np.full(n_columns(values), float(alphas[name][0]))
        for name, values in targets.items()
    }
    facts = {name: _facts(alphas[name], found.get(name)) for name in targets}
    statistics = {name: (result.prediction_mean, result.prediction_std) for name, result in found.items()}
    return Decoders(rows, targets, chosen, calibration, statistics, facts, device)


def _facts(alphas: Sequence[float], found: CrossValidation | None) -> dict[str, Any]:
    if found is None:
        return {"alpha": float(alphas[0])}
    chosen = found.alphas[:, None] == found.best_alphas
    return {
        "alpha": float(found.best_alphas[0]),
        "alpha_at_edge_of_grid": bool(found.at_edge.any()),
        "mean_cv_r2": float(found.r2[chosen].mean()),
    }


def _check(name: str, arrays: Mapping[str, np.ndarray], n_targets: int, calibration: CalibrationName) -> None:
    calibrates = calibration == "inductive" or "prediction_mean" in arrays
    needed = ["alphas", "prediction_mean", "prediction_std"] if calibrates else ["alphas"]
    missing = [entry for entry in needed if entry not in arrays]
    if missing:
        raise RunError(f"the decoder of {name} lacks {', '.join(missing)}: fit it again")
    for entry in needed:
        values = arrays[entry]
        if values.dtype.kind != "f" or values.shape != (n_targets,) or not np.isfinite(values).all():
            raise RunError(
                f"{entry} of the decoder of {name} came as {values.dtype} {values.shape}, expected a finite number for each of "
                f"{n_targets} targets: fit it again"
            )
