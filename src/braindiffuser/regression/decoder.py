"""A fitted decoder on disk: safetensors with JSON metadata in its header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from braindiffuser.errors import RunError
from braindiffuser.regression.calibration import Calibration, CalibrationName
from braindiffuser.regression.ridge import Ridge, RidgeCV

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
        """Send patterns of voxels through the weights alone, without intercept or calibration: patterns coefᵀ."""
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
    header, arrays = read_checked(path, FORMAT, fingerprint)
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


def as_json(metadata: Mapping[str, Any]) -> str:
    """Return the metadata as JSON, or say that they cannot be."""
    try:
        return json.dumps(dict(metadata), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a decoder's metadata must be JSON, such as text, numbers and lists: {error}") from error


def write_whole(path: Path, arrays: Mapping[str, np.ndarray], header: dict[str, str]) -> None:
    """Write a safetensors file whole or not at all: beside its place, then moved there."""
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        unfinished = Path(folder) / path.name
        save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, unfinished, header)
        unfinished.replace(path)


def read_checked(path: Path, expected: str, fingerprint: str) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Read header and arrays of a file of one format that was fitted to voxels of one fingerprint.

    Raises:
        RunError: if there is no such file, it is damaged or of another format, or it was fitted to other voxels.
    """
    if not path.is_file():
        raise RunError(f"there is no decoder at {path}: fit it first")
    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
            names = file.keys()
            arrays = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise RunError(f"{path} is damaged or not a decoder ({error}): fit it again") from error
    if header.get("format") != expected:
        raise RunError(f"{path} has format {header.get('format')!r}, expected {expected!r}: fit the decoder again")
    if header["fingerprint"] != fingerprint:
        raise RunError(
            f"the recording's voxels have fingerprint {fingerprint!r}, but {path} was fitted to voxels with "
            f"fingerprint {header['fingerprint']!r}: use the recording it was fitted to, or fit it again"
        )
    return header, arrays
