"""Regressors: responses to the features of target groups. One file is one kind."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64

from braindiffuser.errors import RunError
from braindiffuser.part import Part
from braindiffuser.progress import Progress, silent
from braindiffuser.regression.fitted_decoder import FittedDecoder
from braindiffuser.regression.parts import Each
from braindiffuser.regression.rows import TargetArray, TrainingRows

TestSets = Mapping[str, Float[np.ndarray, "_ n_voxels"]]
"""Test set → responses (n, n_voxels)."""
Decoded = dict[str, Float32[np.ndarray, "_ n_targets"]]
"""Test set → features (n, n_targets) of one target group."""


class Projection(NamedTuple):
    """p B for voxel patterns p (no intercept), with the intercept and target statistics needed to place the result.

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


class VoxelNorms(NamedTuple):
    """How much each voxel matters to the decoder of one group: norms over all of its targets, each (n_voxels,).

    Attributes:
        weights_l1: Σ_j |B_vj| over the group's targets j, with B the coefficients.
        weights_l2: √(Σ_j B_vj²).
        patterns_l1: Σ_j |Cov(x_v, ŷ_j)| over training rows, with ŷ = x B the decoded features (Haufe et al. 2014).
        patterns_l2: √(Σ_j Cov(x_v, ŷ_j)²).
    """

    weights_l1: Float64[np.ndarray, " n_voxels"]
    weights_l2: Float64[np.ndarray, " n_voxels"]
    patterns_l1: Float64[np.ndarray, " n_voxels"]
    patterns_l2: Float64[np.ndarray, " n_voxels"]


class DirectionMaps(NamedTuple):
    """Maps over voxels of what a decoder predicts along directions u of a group's targets.

    Attributes:
        weights: B uᵀ, (n_directions, n_voxels): how the decoder uses each voxel.
        patterns: Cov(x, ẑ_u) / Var(ẑ_u) over training rows, with ẑ_u = x B uᵀ, (n_directions, n_voxels): what each voxel does
            when the decoded feature rises by one (Haufe et al. 2014, NeuroImage 87, 96-110).
    """

    weights: Float[np.ndarray, "n_directions n_voxels"]
    patterns: Float[np.ndarray, "n_directions n_voxels"]


class CrossValidated(NamedTuple):
    """Accuracy of each target of a group, on training stimuli that were left out; 0 where a target does not vary.

    Attributes:
        r2: 1 - Σ(y - ŷ)² / Σ(y - ȳ)² over all stimuli, each predicted by a fit without it, uncalibrated.
        correlation: Pearson correlation of y and ŷ inside folds, averaged over folds.
    """

    r2: Float64[np.ndarray, " n_targets"]
    correlation: Float64[np.ndarray, " n_targets"]


class Regressor(Part):
    """Learns one decoder per target group, and decodes test responses with them.

    The fitted decoder and predictions of one group must be the same, bit for bit, whichever other groups come with it: a run
    fits only the groups whose settings changed.
    """

    linear: ClassVar[bool] = False
    """Whether features are a linear function of responses, so that voxel patterns can be projected."""

    @property
    def weighs_repeats(self) -> bool:
        """Whether training rows that are averages come weighted by number of trials."""
        return False

    def check_groups(self, names: Collection[str]) -> None:
        """Check that every target group that the settings name exists; default: nothing to check.

        Raises:
            ValueError: lists known groups.
        """

    def without(self, groups: Collection[str]) -> Regressor:
        """Return the regressor with no settings for some target groups, which are left out; default: unchanged."""
        return self

    def check_rows(self, rows: str) -> None:
        """Check that the settings fit what decoders are fitted to; default: nothing to check.

        Args:
            rows: "averages" over a picture's repeats, or "trials".

        Raises:
            ValueError: if not, naming the entry to change.
        """

    def check_stimuli(self, n_stimuli: int) -> None:
        """Check that there are enough training stimuli to fit to; default: nothing to check.

        Raises:
            RunError: if not, naming the entry to change.
        """

    def influences_of(self, group: str, device: str) -> dict[str, Any]:
        """Return the entries that the decoder of one group depends on; by default all."""
        return self.influences(device)

    @abstractmethod
    def fit(
        self,
        rows: TrainingRows,
        targets: Mapping[str, TargetArray],
        device: str,
        progress: Progress = silent,
    ) -> dict[str, FittedDecoder]:
        """Fit a decoder to each group of targets.

        Args:
            rows: training responses.
            targets: group → training targets (n_stimuli, …), in memory or on disk, of any float type.
            device: where it is computed: "cpu", "cuda" …
            progress: called as progress(label, columns_done, n_columns).

        Returns:
            Group → stored parameters. Leave rows and targets out: `decode` receives them.
        """

    def fit_in_parts(
        self, each: Each, rows: TrainingRows, targets: Mapping[str, TargetArray], progress: Progress = silent
    ) -> dict[str, FittedDecoder]:
        """Do what `fit` does, bit for bit, in parts that other processes compute; default: one part for each group.

        Args:
            each: computes parts.
            rows: training responses; parts receive the same.
            targets: group → training targets; parts receive the same.
            progress: called as progress(label, done, total).
        """
        fitted: dict[str, FittedDecoder] = {}
        for group, decoder in each(partial(_fit_group, self), list(targets)):
            fitted[group] = decoder
            progress("fitting decoders", len(fitted), len(targets))
        return fitted

    @abstractmethod
    def decode(
        self,
        fitted: Mapping[str, FittedDecoder],
        rows: TrainingRows,
        targets: Mapping[str, TargetArray],
        responses: TestSets,
        device: str,
        progress: Progress = silent,
    ) -> Iterator[tuple[str, Decoded]]:
        """Decode test sets, one group after the other.

        Args:
            fitted: group → what `fit` returned; these groups are decoded.
            rows: training responses, those used in `fit`.
            targets: group → training targets, those used in `fit`.
            responses: test set → responses (n, n_voxels). Each test set is calibrated separately.
            device: where it is computed.
            progress: called as progress(label, columns_done, n_columns).

        Yields:
            A group and its features of each test set, (n, n_targets), float32; a target's shape is flattened in C order.
        """

    def project(
        self,
        fitted: Mapping[str, FittedDecoder],
        rows: TrainingRows,
        targets: Mapping[str, TargetArray],
        patterns: Float[np.ndarray, "n_patterns n_voxels"],
        device: str,
        progress: Progress = silent,
    ) -> Iterator[tuple[str, Projection]]:
        """Multiply voxel patterns with the coefficients of each group, one group after the other; only if `linear`.

        Args:
            fitted: group → what `fit` returned; these groups are projected to.
            rows: training responses, those used in `fit`.
            targets: group → training targets, those used in `fit`.
            patterns: p, (n_patterns, n_voxels).
            device: where it is computed.
            progress: called as progress(label, columns_done, n_columns).

        Raises:
            RunError: if the regressor is not linear.
        """
        raise RunError(f"the regressor {self.kind} is not linear, so voxel patterns cannot be projected: use ridge")

    def without_calibration(self) -> Regressor:
        """Return the regressor that decodes with the same fitted decoders, but rescales no predictions; default: unchanged."""
        return self

    def cross_validated(
        self,
        fitted: Mapping[str, FittedDecoder],
        rows: TrainingRows,
        targets: Mapping[str, TargetArray],
        device: str,
        progress: Progress = silent,
    ) -> dict[str, CrossValidated]:
        """Score every target on left-out training stimuli, by refitting with the settings of the fitted decoders; default: none.

        Args:
            fitted: group → what `fit` returned; these groups are scored.
            rows: training responses, those used in `fit`.
            targets: group → training targets, those used in `fit`.
            device: where it is computed.
            progress: called as progress(label, columns_done, n_columns).

        Returns:
            Group → accuracy; without the groups that cannot be scored.
        """
        return {}

    def weight_norms(
        self,
        fitted: Mapping[str, FittedDecoder],
        rows: TrainingRows,
        targets: Mapping[str, TargetArray],
        device: str,
        progress: Progress = silent,
    ) -> Iterator[tuple[str, VoxelNorms]]:
        """Compute norms of each voxel's coefficients and patterns over all targets, one group after the other; only if `linear`.

        Args:
            fitted: group → what `fit` returned; norms are of these groups.
            rows: training responses, those used in `fit`.
            targets: group → training targets, those used in `fit`.
            device: where it is computed.
            progress: called as progress(label, columns_done, n_columns).

        Raises:
            RunError: if the regressor has no coefficients.
        """
        raise RunError(f"the regressor {self.kind} gives no coefficients, so voxels have no weights: use ridge")

    def direction_weights(
        self,
        fitted: Mapping[str, FittedDecoder],
        rows: TrainingRows,
        targets: Mapping[str, TargetArray],
        directions: Mapping[str, Float[np.ndarray, "_ _"]],
        device: str,
        progress: Progress = silent,
    ) -> Iterator[tuple[str, DirectionMaps]]:
        """Map what the decoders predict along directions of the targets back to voxels, group by group; only if `linear`.

        Args:
            fitted: group → what `fit` returned.
            rows: training responses, those used in `fit`.
            targets: group → training targets, those used in `fit`.
            directions: group → directions (n_directions, n_targets), such as one feature (a row of the identity) or a category's
                axis; a target's shape is flattened in C order. Maps are of these groups.
            device: where it is computed.
            progress: called as progress(label, columns_done, n_columns).

        Raises:
            RunError: if the regressor has no coefficients.
        """
        raise RunError(f"the regressor {self.kind} gives no coefficients, so directions have no weights: use ridge")

    def contrast_weights(
        self,
        fitted: Mapping[str, FittedDecoder],
        rows: TrainingRows,
        targets: Mapping[str, TargetArray],
        contrasts: Mapping[str, Float[np.ndarray, "_ n_stimuli"]],
        device: str,
        progress: Progress = silent,
    ) -> Iterator[tuple[str, DirectionMaps]]:
        """Map contrasts of the training stimuli's targets back to voxels, as `direction_weights` does their directions u = C Y.

        Many contrasts share a pass over the targets, and no direction is formed. By default directions are formed.

        Args:
            fitted: group → what `fit` returned.
            rows: training responses, those used in `fit`.
            targets: group → training targets Y, those used in `fit`.
            contrasts: group → C (n_contrasts, n_stimuli), rows with sum 0.
            device: where it is computed.
            progress: called as progress(label, columns_done, n_columns).

        Raises:
            RunError: if the regressor has no coefficients.
        """
        directions = {
            group: own @ np.asarray(targets[group][:]).reshape(len(own.T), -1) for group, own in contrasts.items()
        }
        return self.direction_weights(fitted, rows, targets, directions, device, progress)


def _fit_group(
    regressor: Regressor, rows: TrainingRows, targets: Mapping[str, TargetArray], device: str, group: str
) -> FittedDecoder:
    made: Any = regressor.fit(rows, {group: targets[group]}, device)
    fitted: FittedDecoder = made[group] if isinstance(made, Mapping) and group in made else made
    return fitted  # if it is none, the stage says so
