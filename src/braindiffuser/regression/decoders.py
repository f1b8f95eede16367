"""Ridge decoders of several target groups that share their training responses, stored without coefficients.

Decoders are stored as alphas and statistics, beside the training responses and targets that they were fitted to. Every output
(predictions, projections of patterns, intercepts) is one small matrix per alpha times the targets, which stream from disk. At
the size of NSD that is 7 GB of targets, mostly in float16, instead of 22 GB of coefficients.

The fitted decoder and predictions of one group are the same, bit for bit, whichever other groups are fitted beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from braindiffuser.errors import RunError
from braindiffuser.progress import Progress, offset_progress, silent
from braindiffuser.regression.calibration import Calibration, CalibrationName
from braindiffuser.regression.fitted_decoder import FittedDecoder
from braindiffuser.regression.parts import Each
from braindiffuser.regression.regressor import DirectionMaps, Projection, VoxelNorms
from braindiffuser.regression.rows import TargetArray, TrainingRows, n_columns
from braindiffuser.regression.selection import CrossValidation, cross_validate
from braindiffuser.regression.smoothers import MapKind, smoothers_by_group, voxel_smoothers
from braindiffuser.regression.streaming import Applied, apply_smoother
from braindiffuser.regression.voxel_weights import (
    RowNorms,
    components,
    contrast_components,
    direction_maps_by_group,
    row_norms,
)


class Prediction(NamedTuple):
    """Predictions of one group of targets (n_new, n_targets), uncalibrated, and their calibration."""

    values: Float[np.ndarray, "n_new n_targets"]
    calibration: Calibration


@dataclass(frozen=True, eq=False)
class Decoders:
    """Fitted maps from voxels to groups of targets.

        decoded = calibration(A(responses) targets)

    Attributes:
        fitted: group → what `fit_decoders` returned; these groups are predicted.
        rows: training responses.
        targets: group → training targets, (n_stimuli, …), in memory or on disk.
        calibration: how predictions are rescaled.
        device: where products are computed.

    Raises:
        RunError: if a group was fitted to another number of targets or without what the calibration needs, or has several
            alphas or a value that is not finite.
    """

    fitted: Mapping[str, FittedDecoder]
    rows: TrainingRows
    targets: Mapping[str, TargetArray]
    calibration: CalibrationName
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Check that each group's parameters fit its targets and the calibration."""
        for name, (arrays, _) in self.fitted.items():
            _check(name, arrays, n_columns(self.targets[name]), self.calibration)

    @property
    def alphas(self) -> dict[str, float]:
        """Group → penalty, the same for all of its targets."""
        return {name: float(arrays["alphas"][0]) for name, (arrays, _) in self.fitted.items()}

    def predict(
        self, responses: Float[np.ndarray, "n_new n_voxels"], progress: Progress = silent
    ) -> Iterator[tuple[str, Prediction]]:
        """Yield predictions group by group; one is in memory at a time.

        Raises:
            ValueError: if the responses have another number of voxels than the training responses.
        """
        for name, applied in self._apply(responses, None, progress, "predicting features of the test stimuli"):
            arrays = self.fitted[name].arrays
            cv_statistics = arrays.get("prediction_mean"), arrays.get("prediction_std")
            calibration = Calibration(applied.mean, applied.std, *cv_statistics, self.calibration)
            yield name, Prediction(applied.values, calibration)

    def project(
        self, patterns: Float[np.ndarray, "n_patterns n_voxels"], progress: Progress = silent
    ) -> Iterator[tuple[str, Projection]]:
        """Multiply voxel patterns with the coefficients alone, without forming them, one group after the other."""
        zero = np.zeros_like(patterns[:1])
        for name, applied in self._apply(zero, patterns, progress, "projecting patterns"):
            yield name, Projection(applied.values[1:], applied.values[0], applied.mean, applied.std)

    def weight_norms(self, progress: Progress = silent) -> Iterator[tuple[str, VoxelNorms]]:
        """Yield norms of each voxel's coefficients and Haufe patterns over all targets of a group, without forming them.

        Targets stream past twice, once for each kind of map; the groups come in no particular order.
        """
        alphas, done = self.alphas, 0
        total = 2 * sum(n_columns(self.targets[name]) for name in alphas)
        found: dict[MapKind, dict[str, RowNorms]] = {"weights": {}, "patterns": {}}
        for kind, norms in found.items():
            for names, C in voxel_smoothers(self.rows, alphas, kind, self.device):
                for name in names:
                    own = offset_progress(progress, done, total)
                    norms[name] = row_norms(C, self.targets[name], own, f"norms of voxels' {kind}")
                    done += n_columns(self.targets[name])
                del C  # before the next is computed
        for name, weights in found["weights"].items():
            yield name, VoxelNorms(*weights, *found["patterns"][name])

    def direction_weights(
        self, directions: Mapping[str, Float[np.ndarray, "_ _"]], progress: Progress = silent
    ) -> Iterator[tuple[str, DirectionMaps]]:
        """Yield the maps over voxels of each group's directions.

        Raises:
            ValueError: if directions are not as many numbers as a group has targets, or are not finite.
        """
        dtype = torch.float64 if self.rows.responses.dtype == np.float64 else torch.float32
        done, total = 0, sum(n_columns(self.targets[name]) for name in directions)
        values = {}
        for name, own in directions.items():
            try:
                told = offset_progress(progress, done, total)
                values[name] = components(own, self.targets[name], self.device, dtype, told, "projecting on directions")
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            done += n_columns(self.targets[name])
        yield from direction_maps_by_group(self.rows, values, self.alphas, self.device)

    def contrast_weights(
        self, contrasts: Mapping[str, Float[np.ndarray, "_ n_stimuli"]], progress: Progress = silent
    ) -> Iterator[tuple[str, DirectionMaps]]:
        """Yield the maps over voxels of the directions that contrasts of each group's training targets have."""
        dtype = torch.float64 if self.rows.responses.dtype == np.float64 else torch.float32
        values = {
            name: contrast_components(
                own, self.targets[name], self.device, dtype, progress, "projecting on contrasts of stimuli"
            )
            for name, own in contrasts.items()
        }
        yield from direction_maps_by_group(self.rows, values, self.alphas, self.device)

    def _apply(
        self,
        responses: Float[np.ndarray, "n_new n_voxels"],
        patterns: Float[np.ndarray, "n_patterns n_voxels"] | None,
        progress: Progress,
        label: str,
    ) -> Iterator[tuple[str, Applied]]:
        alphas = self.alphas
        grids = {name: [alpha] for name, alpha in alphas.items()}
        smoothers = smoothers_by_group(self.rows, grids, responses, patterns, self.device)
        done, total = 0, sum(n_columns(self.targets[name]) for name in alphas)
        for name, alpha in alphas.items():
            own = offset_progress(progress, done, total)
            yield name, apply_smoother(smoothers[name][alpha], self.targets[name], own, label)
            done += n_columns(self.targets[name])


def fit_decoders(  # noqa: PLR0913 (all but three have defaults)
    rows: TrainingRows,
    targets: Mapping[str, TargetArray],
    alphas: Mapping[str, Sequence[float]],
    *,
    calibration: CalibrationName = "inductive",
    n_folds: int = 5,
    n_predicted: int | None = None,
    device: str = "cpu",
    progress: Progress = silent,
    each: Each | None = None,
) -> dict[str, FittedDecoder]:
    """Choose each group's alpha and compute calibration statistics.

    Without `inductive` calibration, a group with a single alpha needs no cross-validation: nothing is computed.

    Args:
        rows: training responses.
        targets: group → (n_stimuli, …).
        alphas: group → penalties to choose from, or one.
        calibration: name of the calibration.
        n_folds: of cross-validation over stimuli.
        n_predicted: how many stimuli it predicts; None: all (see `cross_validate`).
        device: where products are computed.
        progress: called as progress(label, columns_done, n_columns) in cross-validation.
        each: computes parts of the cross-validation in other processes; None: all of it is computed here.

    Returns:
        Group → alpha of each target (all equal), statistics of cross-validated predictions, and for the reader a summary of
        the choice of alpha.

    Raises:
        ValueError: if an alpha is negative, or responses and targets differ in number.
    """
    rows.check(targets)
    tried = {name: values for name, values in targets.items() if calibration == "inductive" or len(alphas[name]) > 1}
    found: dict[str, CrossValidation] = {}
    if tried:
        found = cross_validate(
            rows, tried, alphas, n_folds=n_folds, n_predicted=n_predicted, device=device, progress=progress, each=each
        )
    return {name: _fitted(n_columns(targets[name]), alphas[name], found.get(name)) for name in targets}


def _fitted(n_targets: int, alphas: Sequence[float], found: CrossValidation | None) -> FittedDecoder:
    if found is None:
        alpha = float(alphas[0])
        return FittedDecoder({"alphas": np.full(n_targets, alpha)}, {"alpha": alpha})
    arrays = {
        "alphas": np.full(n_targets, found.best_alpha),
        "prediction_mean": found.prediction_mean,
        "prediction_std": found.prediction_std,
    }
    facts = {
        "alpha": found.best_alpha,
        "alpha_at_edge_of_grid": found.at_edge,
        "mean_cv_r2": float(found.r2[found.alphas == found.best_alpha].mean()),
    }
    return FittedDecoder(arrays, facts)


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
    if (arrays["alphas"] != arrays["alphas"][0]).any():
        raise RunError(f"the decoder of {name} has several alphas, expected one for all of its targets: fit it again")
