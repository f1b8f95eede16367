"""Decoders of several groups of targets that share their training responses, kept without coefficients.

A decoder is what it was fitted to: training responses, training targets and alphas. Whatever is asked of it (predictions,
projections of patterns, intercepts) is one small matrix per alpha times the targets, which stream from disk. At the size of
NSD that is 6 GB of targets in float16 instead of 22 GB of coefficients.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64

from braindiffuser.errors import RunError
from braindiffuser.regression.calibration import Calibration, CalibrationName, as_calibration_name
from braindiffuser.regression.decoder import Decoder, as_json, read_checked, write_whole
from braindiffuser.regression.selection import CrossValidation, cross_validate
from braindiffuser.regression.solvers import coefficients, gram, solve
from braindiffuser.regression.streaming import (
    Applied,
    Block,
    BlockProgress,
    TargetArray,
    apply_operators,
    for_each_block,
    n_columns,
    shifted,
)
from braindiffuser.regression.training import TrainingRows, operators

FORMAT = "braindiffuser-decoders-1"


class Prediction(NamedTuple):
    """Predictions of one group of targets (n_new, n_targets), uncalibrated, and their calibration."""

    values: Float[np.ndarray, "n_new n_targets"]
    calibration: Calibration


class Projection(NamedTuple):
    """Patterns through the coefficients alone, and what gives them a place among the targets.

    Attributes:
        values: p B, (n_patterns, n_targets).
        intercept: b, (n_targets,).
        training_mean: of the targets, (n_targets,).
        training_std: their standard deviation (ddof 0).
    """

    values: Float[np.ndarray, "n_patterns n_targets"]
    intercept: Float[np.ndarray, " n_targets"]
    training_mean: Float64[np.ndarray, " n_targets"]
    training_std: Float64[np.ndarray, " n_targets"]


@dataclass(frozen=True, eq=False)
class Decoders:
    """Fitted maps from voxels to groups of targets.

        decoded = calibration(A(responses) targets)

    Attributes:
        rows: training responses.
        targets: group → training targets, (n_stimuli, …), in memory or on disk.
        alphas: group → penalty of each target (n_targets,).
        calibration: how predictions are rescaled.
        fingerprint: identifies the voxels and their order; a recording with another fingerprint cannot be decoded.
        cv_statistics: group → mean and standard deviation of cross-validated predictions; `inductive` needs them.
        metadata: anything JSON can hold, for the reader of the file.
        device: where products are computed.
    """

    rows: TrainingRows
    targets: Mapping[str, TargetArray]
    alphas: Mapping[str, Float64[np.ndarray, " n_targets"]]
    calibration: CalibrationName
    fingerprint: str
    cv_statistics: Mapping[str, tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]] = field(
        default_factory=dict
    )
    metadata: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"

    def predict(
        self, responses: Float[np.ndarray, "n_new n_voxels"], progress: BlockProgress | None = None
    ) -> Iterator[tuple[str, Prediction]]:
        """Predict one group after the other; each is let go before the next is made.

        Raises:
            ValueError: if the responses have another number of voxels than the training responses.
        """
        for name, applied in self._apply(responses, None, progress):
            yield name, Prediction(applied.values, self._calibration(name, applied.mean, applied.std))

    def decode(self, responses: Float[np.ndarray, "n_new n_voxels"]) -> dict[str, Float[np.ndarray, "n_new n_targets"]]:
        """Predict and calibrate. Under `transductive` all stimuli of a test set must come in one call."""
        return {name: made.calibration.apply(made.values) for name, made in self.predict(responses)}

    def project(
        self, patterns: Float[np.ndarray, "n_patterns n_voxels"], progress: BlockProgress | None = None
    ) -> Iterator[tuple[str, Projection]]:
        """Send patterns of voxels through the coefficients alone, without forming them, one group after the other."""
        nothing = np.zeros_like(patterns[:1])
        for name, applied in self._apply(nothing, patterns, progress):
            yield name, Projection(applied.values[1:], applied.values[0], applied.mean, applied.std)

    def dense(self, group: str, columns: slice = slice(None)) -> Decoder:
        """Form the coefficients of a block of one group's targets, as a decoder that needs no training data.

        Args:
            group: name of the group.
            columns: which of its targets, counted flat; only these are held.
        """
        dtype = torch.float64 if self.rows.responses.dtype == np.float64 else torch.float32
        wanted = np.arange(n_columns(self.targets[group]))[columns]
        values = torch.empty(self.rows.n_stimuli, len(wanted), dtype=dtype)
        shift = torch.empty(len(wanted), dtype=dtype)
        mean, std = torch.empty(2, len(wanted), dtype=torch.float64)

        def keep(block: Block) -> None:
            inside = (wanted >= block.columns.start) & (wanted < block.columns.stop)
            own = wanted[inside] - block.columns.start
            values[:, inside], shift[inside] = block.values[:, own], block.shift[own]
            mean[inside], std[inside] = block.mean[own], block.std[own]

        for_each_block(self.targets[group], keep, dtype=dtype)
        Y = values.numpy() if self.rows.stimuli is None else values.numpy()[self.rows.stimuli]
        alphas = self.alphas[group][columns]
        coef, intercept = np.empty((Y.shape[1], self.rows.responses.shape[1]), Y.dtype), np.empty(Y.shape[1], Y.dtype)
        system = gram(self.rows.responses, self.rows.weights, smallest_alpha=float(alphas.min()), device=self.device)
        for alpha in np.unique(alphas):
            own = alphas == alpha
            block_coef, intercept[own] = coefficients(system, solve(system, float(alpha)), Y[:, own])
            coef[own] = block_coef.T
        calibration = self._calibration(group, mean.numpy(), std.numpy(), columns)
        return Decoder(coef, intercept + shift.numpy(), alphas, calibration, self.fingerprint, self.metadata)

    def _calibration(
        self, group: str, mean: Float64[np.ndarray, " n"], std: Float64[np.ndarray, " n"], columns: slice = slice(None)
    ) -> Calibration:
        if group not in self.cv_statistics:
            return Calibration(mean, std, name=self.calibration)
        cv_mean, cv_std = self.cv_statistics[group]
        return Calibration(mean, std, cv_mean[columns], cv_std[columns], name=self.calibration)

    def _apply(
        self,
        responses: Float[np.ndarray, "n_new n_voxels"],
        patterns: Float[np.ndarray, "n_patterns n_voxels"] | None,
        progress: BlockProgress | None,
    ) -> Iterator[tuple[str, Applied]]:
        every = np.concatenate([np.unique(alphas) for alphas in self.alphas.values()])
        made = operators(self.rows, every, responses, patterns, self.device)
        done, total = 0, sum(map(n_columns, self.targets.values()))
        for name, targets in self.targets.items():
            told = progress and shifted(progress, done, total)
            yield name, apply_operators(made, targets, self.alphas[name], told)
            done += n_columns(targets)


def fit_decoders(
    rows: TrainingRows,
    targets: Mapping[str, TargetArray],
    alphas: Mapping[str, Sequence[float]],
    fingerprint: str,
    *,
    calibration: CalibrationName = "inductive",
    n_folds: int = 5,
    device: str = "cpu",
    progress: BlockProgress | None = None,
) -> Decoders:
    """Choose the alpha of every group of targets, and measure what `inductive` calibration needs.

    A group with one alpha and another calibration needs no cross-validation, so nothing is computed yet.

    Args:
        rows: training responses.
        targets: group → (n_stimuli, …).
        alphas: group → penalties to choose from, or one.
        fingerprint: of the recording's voxels.
        calibration: name of the calibration.
        n_folds: of cross-validation over stimuli.
        device: where products are computed.
        progress: told of blocks of targets in cross-validation.

    Raises:
        ValueError: if an alpha is negative, or responses and targets differ in number.
    """
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
    return Decoders(rows, targets, chosen, calibration, fingerprint, statistics, facts, device)


def save_decoders(path: Path, decoders: Decoders) -> None:
    """Write what was learnt to one file, whole or not at all; training responses and targets stay where they are.

    Raises:
        ValueError: if the metadata hold what JSON cannot, such as an array or nan.
    """
    arrays = {f"{name}.alphas": values for name, values in decoders.alphas.items()}
    for name, (mean, std) in decoders.cv_statistics.items():
        arrays |= {f"{name}.prediction_mean": mean, f"{name}.prediction_std": std}
    header = {
        "format": FORMAT,
        "fingerprint": decoders.fingerprint,
        "calibration": decoders.calibration,
        "responses": _digest(decoders.rows),
        "metadata": as_json(decoders.metadata),
    }
    write_whole(path, arrays, header)


def load_decoders(
    path: Path, rows: TrainingRows, targets: Mapping[str, TargetArray], fingerprint: str, device: str = "cpu"
) -> Decoders:
    """Read decoders back, bit for bit, beside the training responses and targets that they were fitted to.

    Raises:
        RunError: if there is no such file, it is damaged or no such file, or it was fitted to other voxels, responses or
            targets.
    """
    header, arrays = read_checked(path, FORMAT, fingerprint)
    expected = {name: n_columns(values) for name, values in targets.items()}
    found = {name.removesuffix(".alphas"): len(values) for name, values in arrays.items() if name.endswith(".alphas")}
    if header["responses"] != _digest(rows) or found != expected:
        raise RunError(
            f"{path} was fitted to other responses or targets than are here ({found} targets, here {expected}): fit it again"
        )
    statistics = {
        name: (arrays[f"{name}.prediction_mean"], arrays[f"{name}.prediction_std"])
        for name in targets
        if f"{name}.prediction_mean" in arrays
    }
    return Decoders(
        rows,
        targets,
        {name: arrays[f"{name}.alphas"] for name in targets},
        as_calibration_name(header["calibration"]),
        fingerprint,
        statistics,
        json.loads(header["metadata"]),
        device,
    )


def _facts(alphas: Sequence[float], found: CrossValidation | None) -> dict[str, Any]:
    if found is None:
        return {"alpha": float(alphas[0])}
    return {
        "alpha": float(found.best_alphas[0]),
        "alpha_at_edge_of_grid": bool(found.at_edge.any()),
        "mean_cv_r2": float(found.r2.max(axis=0).mean()),
    }


def _digest(rows: TrainingRows) -> str:
    content = hashlib.sha256(str(rows.responses.shape).encode())
    for values in (rows.responses, rows.stimuli, rows.weights):
        if values is not None:
            content.update(np.ascontiguousarray(values).data)
    return content.hexdigest()
