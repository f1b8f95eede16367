"""A fitted decoder on disk: safetensors with JSON metadata in its header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from braindiffuser.errors import RunError
from braindiffuser.regression.calibration import Calibration, CalibrationName
from braindiffuser.regression.estimators import Ridge, RidgeCV
from braindiffuser.regression.storage import as_json, read_checked, write_whole

FORMAT = "braindiffuser-decoder-1"


@dataclass(frozen=True)
class Decoder:
    """A fitted map from voxels to one group of targets.

        decoded = calibration(responses coefᵀ + intercept)

    Attributes:
        coef: weights (n_targets, n_voxels).
        intercept: (n_targets,).
        alphas: ridge penalty of each target (n_targets,).
        calibration: how predictions are rescaled.
        fingerprint: identifies the voxels and their order; a recording with another fingerprint cannot be decoded.
        metadata: anything JSON can hold, for the reader of the file (subject, name of the targets, versions).
    """

    coef: Float[np.ndarray, "n_targets n_voxels"]
    intercept: Float[np.ndarray, " n_targets"]
    alphas: Float[np.ndarray, " n_targets"]
    calibration: Calibration
    fingerprint: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_estimator(
        cls,
        estimator: Ridge | RidgeCV,
        fingerprint: str,
        calibration: CalibrationName = "inductive",
        metadata: Mapping[str, Any] | None = None,
    ) -> Decoder:
        """Take what a fitted estimator learnt.

        Args:
            estimator: fitted. `inductive` needs cross-validated predictions, so `RidgeCV`; a grid of one alpha will do.
            fingerprint: of the voxels that the estimator was fitted to.
            calibration: name of the calibration.
            metadata: anything JSON can hold.

        Raises:
            ValueError: if `inductive` is asked of an estimator without cross-validation.
        """
        predictions = getattr(estimator, "cv_prediction_mean_", None), getattr(estimator, "cv_prediction_std_", None)
        return cls(
            coef=np.ascontiguousarray(np.atleast_2d(estimator.coef_)),
            intercept=np.atleast_1d(estimator.intercept_),
            alphas=estimator.alpha_,
            calibration=Calibration(estimator.target_mean_, estimator.target_std_, *predictions, name=calibration),
            fingerprint=fingerprint,
            metadata=dict(metadata or {}),
        )

    def predict(self, responses: Float[np.ndarray, "n n_voxels"]) -> Float[np.ndarray, "n n_targets"]:
        """Predict targets, uncalibrated: responses coefᵀ + intercept."""
        if responses.shape[1] != self.coef.shape[1]:
            raise ValueError(f"got responses of {responses.shape[1]} voxels, expected {self.coef.shape[1]}")
        predictions: Float[np.ndarray, "n n_targets"] = responses @ self.coef.T + self.intercept
        return predictions

    def project(self, patterns: Float[np.ndarray, "n n_voxels"]) -> Float[np.ndarray, "n n_targets"]:
        """Multiply patterns of voxels with the weights alone, without intercept or calibration: patterns coefᵀ."""
        if patterns.shape[1] != self.coef.shape[1]:
            raise ValueError(f"got patterns of {patterns.shape[1]} voxels, expected {self.coef.shape[1]}")
        projections: Float[np.ndarray, "n n_targets"] = patterns @ self.coef.T
        return projections

    def decode(self, responses: Float[np.ndarray, "n n_voxels"]) -> Float[np.ndarray, "n n_targets"]:
        """Predict and calibrate. Under `transductive` all stimuli of a test set must come in one call."""
        return self.calibration.apply(self.predict(responses))


def save_decoder(path: Path, decoder: Decoder) -> None:
    """Write a decoder to one file, whole or not at all: it is written beside and then moved into place.

    Raises:
        ValueError: if the metadata hold what JSON cannot, such as an array or nan.
    """
    header = {
        "format": FORMAT,
        "fingerprint": decoder.fingerprint,
        "calibration": decoder.calibration.name,
        "metadata": as_json(decoder.metadata),
    }
    arrays = {"coef": decoder.coef, "intercept": decoder.intercept, "alphas": decoder.alphas}
    arrays |= {f"calibration.{name}": values for name, values in decoder.calibration.to_arrays().items()}
    write_whole(path, arrays, header)


def load_decoder(path: Path, fingerprint: str) -> Decoder:
    """Read a decoder back, bit for bit, for a recording whose voxels have this fingerprint.

    Raises:
        RunError: if there is no such file, it is not a decoder or damaged, or it was fitted to other voxels.
    """
    header, arrays = read_checked(path, FORMAT)
    if header["fingerprint"] != fingerprint:
        raise RunError(
            f"the recording's voxels have fingerprint {fingerprint!r}, but {path} was fitted to voxels with "
            f"fingerprint {header['fingerprint']!r}: use the recording it was fitted to, or fit it again"
        )
    prefix = "calibration."
    statistics = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
    return Decoder(
        coef=arrays["coef"],
        intercept=arrays["intercept"],
        alphas=arrays["alphas"],
        calibration=Calibration.from_arrays(header["calibration"], statistics),
        fingerprint=fingerprint,
        metadata=json.loads(header["metadata"]),
    )
