"""A run's decoders with what they were fitted to: analyses decode altered responses with them, or fit them anew."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32

from braindiffuser.progress import Progress, silent
from braindiffuser.regression.fitted_decoder import FittedDecoder
from braindiffuser.regression.regressor import Projection, Regressor
from braindiffuser.regression.rows import TargetArray, TrainingRows
from braindiffuser.targets.target import Features


@dataclass(frozen=True, eq=False)
class RunDecoders:
    """Decoders of all target groups.

    Attributes:
        regressor: that fitted them.
        fitted: group → stored parameters.
        rows: training responses that they were fitted to.
        targets: group → training targets (n_stimuli, …), on disk.
        device: where products are computed.
        progress: called as progress(label, done, total).
    """

    regressor: Regressor
    fitted: Mapping[str, FittedDecoder]
    rows: TrainingRows
    targets: Mapping[str, TargetArray]
    device: str = "cpu"
    progress: Progress = silent

    def facts(self, group: str) -> Mapping[str, Any]:
        """Return what the regressor says of a group's decoder, such as its alpha."""
        return self.fitted[group].facts

    def of(self, groups: Collection[str]) -> RunDecoders:
        """Return the decoders of some groups."""
        fitted = {group: self.fitted[group] for group in self.fitted if group in groups}
        return replace(self, fitted=fitted, targets={group: self.targets[group] for group in fitted})

    def decode(self, responses: Float[np.ndarray, "n n_voxels"]) -> dict[str, Features]:
        """Decode responses as those of one test set.

        Under the calibration `transductive`, features depend on all responses that come together.

        Args:
            responses: of all voxels that decoders were fitted to, normalised as the training responses are.

        Returns:
            Group → features (n, …).
        """
        made = self.regressor.decode(
            self.fitted, self.rows, self.targets, {"test": responses}, self.device, self.progress
        )
        return {group: self._shaped(group, decoded["test"]) for group, decoded in made}

    def refitted(self, chosen: Bool[np.ndarray, " n_voxels"]) -> RunDecoders:
        """Return decoders that are fitted to some of the voxels alone, with the same settings.

        Raises:
            ValueError: no voxel is chosen.
        """
        if not chosen.any():
            raise ValueError("no voxel is chosen, so nothing can be fitted: choose one or more")
        rows = replace(self.rows, responses=np.ascontiguousarray(self.rows.responses[:, chosen]))
        fitted = self.regressor.fit(rows, self.targets, self.device, self.progress)
        return replace(self, rows=rows, fitted=fitted)

    def project(self, patterns: Float[np.ndarray, "n n_voxels"]) -> dict[str, Projection]:
        """Multiply voxel patterns with the coefficients of each group, as `Regressor.project` does.

        Raises:
            RunError: if the regressor is not linear.
        """
        return dict(self.regressor.project(self.fitted, self.rows, self.targets, patterns, self.device, self.progress))

    def _shaped(self, group: str, decoded: Float32[np.ndarray, "n n_targets"]) -> Features:
        return decoded.reshape(len(decoded), *self.targets[group].shape[1:])


def silenced(
    responses: Float[np.ndarray, "n n_voxels"], chosen: Bool[np.ndarray, " n_voxels"], rows: TrainingRows
) -> Float[np.ndarray, "n n_voxels"]:
    """Replace the responses of all voxels but some by their training mean, so that these voxels say nothing of the stimulus.

    Args:
        responses: to be decoded.
        chosen: voxels that are kept as they are.
        rows: training responses; the mean is over rows, weighted as in the fit.
    """
    mean = np.average(rows.responses, axis=0, weights=rows.weights).astype(responses.dtype)
    return np.where(chosen, responses, mean)
