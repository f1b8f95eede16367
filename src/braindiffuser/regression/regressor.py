"""Regressors: responses to the features of target groups. One file is one kind."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64

from braindiffuser.errors import RunError
from braindiffuser.part import Part
from braindiffuser.progress import Progress, silent
from braindiffuser.regression.fitted_decoder import FittedDecoder
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
