"""Ridge regression with intercept, one decoder per target group, with alpha chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from braindiffuser.errors import RunError
from braindiffuser.progress import Progress, silent
from braindiffuser.regression.calibration import CalibrationName
from braindiffuser.regression.fitted_decoder import FittedDecoder
from braindiffuser.regression.parts import Each
from braindiffuser.regression.regressor import (
    CrossValidated,
    Decoded,
    DirectionMaps,
    Projection,
    Regressor,
    TestSets,
    VoxelNorms,
)
from braindiffuser.regression.rows import TargetArray, TrainingRows

if TYPE_CHECKING:
    from braindiffuser.regression.decoders import Decoders

Alphas = Annotated[tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...], Field(min_length=1)]
"""Penalties to choose from; a single one is used without cross-validation."""


class RidgeRegression(Regressor):
    """Ridge regression; every output is a linear function of the training targets.

    (B, b) = argmin Σ_i w_i ‖y_i - x_i B - b‖² + alpha ‖B‖²,  decoded = calibration(x B + b)
    """

    linear: ClassVar[bool] = True

    alphas: dict[str, Alphas] = Field(
        {},
        description="Penalties alpha to choose from, by target group; a single one is used without cross-validation. "
        "As published: 50,000 for VDVAE latents, 60,000 CLIP vision, 100,000 CLIP text.",
    )
    default_alphas: Alphas = Field(
        (1e2, 3e2, 1e3, 3e3, 1e4, 3e4, 1e5),
        description="Penalties alpha to choose from for groups that `alphas` does not name.",
    )
    weights: Literal["equal", "repeats"] = Field(
        "equal",
        description="How averages count in the fit: equal (published), or repeats: weighted by the number of averaged trials.",
    )
    n_folds: int = Field(5, ge=2, description="Folds of cross-validation over training stimuli.")
    n_predicted: int | None = Field(
        None,
        ge=100,
        description="Training stimuli that cross-validation predicts, drawn at random; null: all, which takes time with the "
        "square of their number. From 2,000 the spread of predictions is known to about 1.6 %.",
    )
    calibration: CalibrationName = Field(
        "inductive",
        description="How predictions are rescaled to the spread of the training targets: by cross-validated predictions "
        "(inductive), by the test set's own statistics (transductive, as published), or not at all (none).",
    )

    @property
    def weighs_repeats(self) -> bool:
        """Whether averages are weighted by number of trials."""
        return self.weights == "repeats"

    def alphas_of(self, group: str) -> Alphas:
        """Return the penalties to choose from for one group."""
        return self.alphas.get(group, self.default_alphas)

    def check_groups(self, names: Collection[str]) -> None:
        """Check that `alphas` names only groups that exist."""
        unknown = sorted(set(self.alphas) - set(names))
        if unknown:
            raise ValueError(
                f"regression.alphas.{unknown[0]}: there is no such target group; known groups: {', '.join(names)}"
            )

    def without(self, groups: Collection[str]) -> RidgeRegression:
        """Return the regressor without the alphas of some groups."""
        left = {name: alphas for name, alphas in self.alphas.items() if name not in groups}
        return self.model_copy(update={"alphas": left})

    def check_rows(self, rows: str) -> None:
        """Refuse weights by repeats where rows are single trials."""
        if rows == "trials" and self.weighs_repeats:
            raise ValueError(
                "regression.weights 'repeats' has no meaning with responses.rows 'trials': set weights: equal"
            )

    def check_stimuli(self, n_stimuli: int) -> None:
        """Check that there is a training stimulus for each fold."""
        if n_stimuli < 2:
            raise RunError(
                f"there are {n_stimuli} training stimuli, and decoders need two or more: give the recording more"
            )
        if n_stimuli < self.n_folds:
            raise RunError(
                f"regression.n_folds is {self.n_folds}, but there are {n_stimuli} training stimuli: use fewer folds"
            )

    def influences_of(self, group: str, device: str) -> dict[str, Any]:
        """Return what one group's decoder depends on: the group's own alphas, and all other entries."""
        others = {"alphas", "default_alphas"}
        shared = {name: value for name, value in self.influences(device).items() if name not in others}
        return {**shared, "alphas": list(self.alphas_of(group))}

    def fit(
        self,
        rows: TrainingRows,
        targets: Mapping[str, TargetArray],
        device: str,
        progress: Progress = silent,
    ) -> dict[str, FittedDecoder]:
        """Choose each group's alpha and compute calibration statistics."""
        return self._fit(rows, targets, device, progress)

    def fit_in_parts(
        self, each: Each, rows: TrainingRows, targets: Mapping[str, TargetArray], progress: Progress = silent
    ) -> dict[str, FittedDecoder]:
        """Do the same; a part is one fold, and some targets of one group."""
        return self._fit(rows, targets, "cpu", progress, each)

    def _fit(
        self,
        rows: TrainingRows,
        targets: Mapping[str, TargetArray],
        device: str,
        progress: Progress,
        each: Each | None = None,
    ) -> dict[str, FittedDecoder]:
        from braindiffuser.regression.decoders import fit_decoders

        return fit_decoders(
            rows,
            targets,
            {name: self.alphas_of(name) for name in targets},
            calibration=self.calibration,
            n_folds=self.n_folds,
            n_predicted=self.n_predicted,
            device=device,
            progress=progress,
            each=each,
        )

    def decode(
        self,
        fitted: Mapping[str, FittedDecoder],
        rows: TrainingRows,
        targets: Mapping[str, TargetArray],
        responses: TestSets,
        device: str,
        progress: Progress = silent,
    ) -> Iterator[tuple[str, Decoded]]:
        """Predict all test sets in one pass over the training targets, and calibrate each separately."""
        stops = np.cumsum([len(values) for values in responses.values()]).tolist()
        slices = {name: slice(stop - len(responses[name]), stop) for name, stop in zip(responses, stops, strict=True)}
        decoders = self._decoders(fitted, rows, targets, device)
        for group, made in decoders.predict(np.concatenate(list(responses.values())), progress):
            yield group, {name: _float32(made.calibration.apply(made.values[own])) for name, own in slices.items()}

    def project(
        self,
        fitted: Mapping[str, FittedDecoder],
        rows: TrainingRows,
        targets: Mapping[str, TargetArray],
        patterns: Float[np.ndarray, "n_patterns n_voxels"],
        device: str,
        progress: Progress = silent,
    ) -> Iterator[tuple[str, Projection]]:
        """Multiply patterns with the coefficients, without forming them."""
        return self._decoders(fitted, rows, targets, device).project(patterns, progress)

    def without_calibration(self) -> RidgeRegression:
        """Return the regressor with calibration none; fitted decoders hold all that it needs."""
        return self.model_copy(update={"calibration": "none"})

    def cross_validated(
        self,
        fitted: Mapping[str, FittedDecoder],
        rows: TrainingRows,
        targets: Mapping[str, TargetArray],
        device: str,
        progress: Progress = silent,
    ) -> dict[str, CrossValidated]:
        """Refit in each fold with the alpha that each group has; where it was chosen by these folds, scores flatter a little."""
        from braindiffuser.regression.selection import cross_validate

        grids = {group: (alpha,) for group, alpha in self._decoders(fitted, rows, targets, device).alphas.items()}
        some = {group: targets[group] for group in fitted}
        found = cross_validate(
            rows,
            some,
            grids,
            n_folds=self.n_folds,
            n_predicted=self.n_predicted,
            device=device,
            progress=progress,
        )
        return {group: CrossValidated(made.r2[0], made.correlation[0]) for group, made in found.items()}

    def weight_norms(
        self,
        fitted: Mapping[str, FittedDecoder],
        rows: TrainingRows,
        targets: Mapping[str, TargetArray],
        device: str,
        progress: Progress = silent,
    ) -> Iterator[tuple[str, VoxelNorms]]:
        """Compute norms of coefficients and Haufe patterns, without forming them."""
        return self._decoders(fitted, rows, targets, device).weight_norms(progress)

    def direction_weights(
        self,
        fitted: Mapping[str, FittedDecoder],
        rows: TrainingRows,
        targets: Mapping[str, TargetArray],
        directions: Mapping[str, Float[np.ndarray, "_ _"]],
        device: str,
        progress: Progress = silent,
    ) -> Iterator[tuple[str, DirectionMaps]]:
        """Project targets on the directions, and solve for these alone."""
        return self._decoders(fitted, rows, targets, device).direction_weights(directions, progress)

    def contrast_weights(
        self,
        fitted: Mapping[str, FittedDecoder],
        rows: TrainingRows,
        targets: Mapping[str, TargetArray],
        contrasts: Mapping[str, Float[np.ndarray, "_ n_stimuli"]],
        device: str,
        progress: Progress = silent,
    ) -> Iterator[tuple[str, DirectionMaps]]:
        """Project targets on the contrasts in one pass over them, and solve for these alone."""
        return self._decoders(fitted, rows, targets, device).contrast_weights(contrasts, progress)

    def _decoders(
        self, fitted: Mapping[str, FittedDecoder], rows: TrainingRows, targets: Mapping[str, TargetArray], device: str
    ) -> Decoders:
        from braindiffuser.regression.decoders import Decoders

        return Decoders(fitted, rows, targets, self.calibration, device)


def _float32(values: Float[np.ndarray, "n n_targets"]) -> Float[np.ndarray, "n n_targets"]:
    return values.astype(np.float32, copy=False)
