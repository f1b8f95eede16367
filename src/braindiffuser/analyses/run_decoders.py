"""A run's decoders with what they were fitted to: analyses decode altered responses with them, or fit them anew."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from braindiffuser.errors import RunError
from braindiffuser.progress import Progress, silent
from braindiffuser.regression.fitted_decoder import FittedDecoder
from braindiffuser.regression.regressor import CrossValidated, DirectionMaps, Projection, Regressor, VoxelNorms
from braindiffuser.regression.rows import ChosenTargets, TargetArray, TrainingRows, n_columns
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
        return dict(self.decode_each(responses))

    def decode_each(self, responses: Float[np.ndarray, "n n_voxels"]) -> Iterator[tuple[str, Features]]:
        """Decode responses as `decode` does, one group after the other, so that one is in memory at a time."""
        sets = {"test": responses}
        for group, decoded in self.regressor.decode(
            self.fitted, self.rows, self.targets, sets, self.device, self.progress
        ):
            yield group, self._shaped(group, decoded["test"])

    def decode_sets(self, responses: Mapping[str, Float[np.ndarray, "_ n_voxels"]]) -> dict[str, dict[str, Features]]:
        """Decode several sets of responses in one pass over the training targets, each calibrated for itself.

        Args:
            responses: name → responses, as `decode` takes them.

        Returns:
            Name → group → features (n, …).
        """
        made = self.regressor.decode(self.fitted, self.rows, self.targets, dict(responses), self.device, self.progress)
        sets: dict[str, dict[str, Features]] = {name: {} for name in responses}
        for group, decoded in made:
            for name, features in decoded.items():
                sets[name][group] = self._shaped(group, features)
        return sets

    @property
    def n_targets(self) -> int:
        """Number of targets of one stimulus in all groups together."""
        return sum(n_columns(self.targets[group]) for group in self.fitted)

    def refitted(self, chosen: Bool[np.ndarray, " n_voxels"]) -> RunDecoders:
        """Return decoders that are fitted to some of the voxels alone, with the same settings.

        Raises:
            ValueError: no voxel is chosen.
        """
        if not chosen.any():
            raise ValueError("no voxel is chosen, so nothing can be fitted: choose one or more")
        rows = replace(self.rows, responses=np.ascontiguousarray(self.rows.responses[:][:, chosen]))
        fitted = self.regressor.fit(rows, self.targets, self.device, self.progress)
        return replace(self, rows=rows, fitted=fitted)

    def refitted_to(self, targets: Mapping[str, TargetArray]) -> RunDecoders:
        """Return decoders of other targets of the same training stimuli, fitted with the same settings.

        Args:
            targets: group → targets (n_stimuli, …).
        """
        fitted = self.regressor.fit(self.rows, targets, self.device, self.progress)
        return replace(self, targets=targets, fitted=fitted)

    def uncalibrated(self) -> RunDecoders:
        """Return decoders whose predictions are not rescaled; the same, where the regressor rescales none."""
        return replace(self, regressor=self.regressor.without_calibration())

    def fitted_to(self, chosen: Bool[np.ndarray, " n_stimuli"]) -> RunDecoders:
        """Return decoders that are fitted to some of the training stimuli alone, with the same settings.

        Raises:
            RunError: there are too few of them.
        """
        return self.fitted_on(self.rows.select(chosen), np.flatnonzero(chosen))

    def fitted_on(self, rows: TrainingRows, numbers: Int[np.ndarray, " n_chosen"]) -> RunDecoders:
        """Return decoders that are fitted to other responses, of some of the training stimuli, with the same settings.

        Args:
            rows: responses, whose stimuli count from 0 among those that are chosen.
            numbers: of the chosen stimuli, ascending.

        Raises:
            RunError: there are too few of them.
        """
        self.regressor.check_stimuli(len(numbers))
        targets = {group: ChosenTargets(values, numbers) for group, values in self.targets.items()}
        fitted = self.regressor.fit(rows, targets, self.device, self.progress)
        return replace(self, rows=rows, targets=targets, fitted=fitted)

    def cross_validated(self) -> dict[str, CrossValidated]:
        """Score every target on left-out training stimuli; without groups that the regressor cannot score so."""
        return self.regressor.cross_validated(self.fitted, self.rows, self.targets, self.device, self.progress)

    def weight_norms(self) -> dict[str, VoxelNorms]:
        """Return, of each group, norms of each voxel's coefficients and patterns over all targets.

        Raises:
            RunError: if the regressor is not linear.
        """
        return dict(self.regressor.weight_norms(self.fitted, self.rows, self.targets, self.device, self.progress))

    def direction_weights(self, directions: Mapping[str, Float[np.ndarray, "_ _"]]) -> dict[str, DirectionMaps]:
        """Map directions of the targets back to voxels: group → (n_directions, n_targets), as `Regressor.direction_weights` does.

        Raises:
            RunError: if the regressor is not linear.
            ValueError: if directions do not fit the targets of their group.
        """
        made = self.regressor.direction_weights(
            self.fitted, self.rows, self.targets, directions, self.device, self.progress
        )
        return dict(made)

    def project(self, patterns: Float[np.ndarray, "n n_voxels"]) -> dict[str, Projection]:
        """Multiply voxel patterns with the coefficients of each group, as `Regressor.project` does.

        Raises:
            RunError: if the regressor is not linear, or its projections are not finite.
        """
        found = dict(self.regressor.project(self.fitted, self.rows, self.targets, patterns, self.device, self.progress))
        for group, projection in found.items():
            if not all(np.isfinite(values).all() for values in projection):
                raise RunError(
                    f"{self.regressor.kind} projected patterns to {group} with values that are not finite: its decoder or the "
                    "patterns are damaged"
                )
        return found

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
    mean = np.average(rows.responses[:], axis=0, weights=rows.weights).astype(responses.dtype)
    return np.where(chosen, responses, mean)
