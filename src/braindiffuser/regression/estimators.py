"""Ridge decoders as scikit-learn estimators: responses in, targets out.

`X` is responses (n_stimuli, n_voxels), `y` is targets (n_stimuli, n_targets) or (n_stimuli,): scikit-learn's names.
"""

# scikit-learn ships no types, so its base classes are Any to the type checker.
# mypy: allow-subclassing-any

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from braindiffuser.regression.rows import TrainingRows
from braindiffuser.regression.selection import cross_validate
from braindiffuser.regression.solvers import coefficients, gram, solve

DEFAULT_ALPHAS = (0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6)
"""Grid that reaches past the alphas published for z-scored voxels of NSD (50,000 to 100,000)."""


class AbstractRidge(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """What both ridge estimators share: the fitted linear map and its use."""

    def predict(self, X: Any) -> Float[np.ndarray, " ..."]:
        """Predict targets: X coef_ᵀ + intercept_, uncalibrated.

        Args:
            X: responses (n_stimuli, n_voxels).

        Returns:
            Predictions (n_stimuli, n_targets), or (n_stimuli,) if fitted to a single vector of targets.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        predictions: Float[np.ndarray, " ..."] = X @ self.coef_.T + self.intercept_
        return predictions

    def _solve(
        self,
        X: Float[np.ndarray, "n_stimuli n_voxels"],
        y: Float[np.ndarray, " ..."],
        weights: Float[np.ndarray, " n_stimuli"] | None,
        alpha: float,
    ) -> None:
        """Fit the linear map to validated arrays, and remember it with the targets' mean and std."""
        targets = y.reshape(len(y), -1)
        system = gram(X, weights, smallest_alpha=alpha, device=self.device)
        coef, intercept = coefficients(system, solve(system, alpha), targets)
        mean, std = targets.mean(axis=0, dtype=np.float64), targets.std(axis=0, dtype=np.float64)
        self.coef_ = coef.T if y.ndim > 1 else coef[:, 0]
        self.intercept_ = intercept if y.ndim > 1 else intercept[0]
        self.target_mean_, self.target_std_ = mean, std


class Ridge(AbstractRidge):
    """Ridge regression with intercept, with a given alpha.

        coef_ = argmin_B ||(X - mean(X)) Bᵀ - (y - mean(y))||² + alpha ||B||²

    Args:
        alpha: penalty ≥ 0. 0 is minimum-norm least squares.
        device: where it is solved: "cpu", "cuda" …

    Attributes:
        coef_: coefficients (n_targets, n_voxels), or (n_voxels,) if y is one-dimensional.
        intercept_: (n_targets,), or a number if y is one-dimensional.
        target_mean_: mean of the training targets (n_targets,).
        target_std_: their standard deviation (n_targets,), ddof 0.
        n_features_in_: number of voxels.

    Examples:
        >>> decoder = Ridge(alpha=0.0).fit([[0.0], [1.0], [2.0]], [[1.0, 0.0], [3.0, 0.0], [5.0, 0.0]])
        >>> decoder.predict([[3.0]]).round(6).tolist()
        [[7.0, 0.0]]
    """

    def __init__(self, alpha: float = 1.0, *, device: str = "cpu") -> None:
        """Store the settings as given; `fit` checks them."""
        self.alpha = alpha
        self.device = device

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Ridge:
        """Fit to responses X and targets y.

        Args:
            X: responses (n_stimuli, n_voxels).
            y: targets (n_stimuli, n_targets) or (n_stimuli,).
            sample_weight: of each row, such as the trials that were averaged into it; 0 leaves a row out.

        Raises:
            ValueError: if alpha is negative or not finite.
        """
        X, y = _validate(self, X, y)
        kept, weights = _weighted_rows(X, sample_weight)
        X, y = X[kept], y[kept]
        self._solve(X, y, weights, float(self.alpha))
        return self


class RidgeCV(AbstractRidge):
    """Ridge regression with intercept, with alpha chosen by cross-validation over pictures.

    `braindiffuser.regression.cross_validate` chooses alpha; then the whole training set is fitted with it.

    Args:
        alphas: grid of penalties ≥ 0.
        n_folds: number of folds.
        device: where it is solved: "cpu", "cuda" …

    Attributes, besides those of `Ridge`:
        alpha_: the chosen alpha.
        at_edge_: True if it is the smallest or largest of the grid: widen the grid.
        cv_scores_: out-of-fold R² (n_alphas, n_targets).
        cv_correlations_: out-of-fold correlation within folds (n_alphas, n_targets).
        cv_prediction_mean_: mean of the out-of-fold predictions under the chosen alpha (n_targets,).
        cv_prediction_std_: their standard deviation (n_targets,), ddof 0.
    """

    def __init__(
        self,
        alphas: Sequence[float] | Float[np.ndarray, " n_alphas"] = DEFAULT_ALPHAS,
        *,
        n_folds: int = 5,
        device: str = "cpu",
    ) -> None:
        """Store the settings as given; `fit` checks them."""
        self.alphas = alphas
        self.n_folds = n_folds
        self.device = device

    def fit(self, X: Any, y: Any, groups: Any = None, sample_weight: Any = None) -> RidgeCV:
        """Choose alpha, then fit to all responses X and targets y.

        Args:
            X: responses (n_stimuli, n_voxels).
            y: targets (n_stimuli, n_targets) or (n_stimuli,).
            groups: which picture each row shows (n_stimuli,); rows of one picture share a fold. None: each row its own.
            sample_weight: of each row, such as the trials that were averaged into it; 0 leaves a row out. Weights enter the
                fits, not the scores.

        Raises:
            ValueError: if alphas are empty or negative, or there are fewer pictures than folds.
        """
        X, y = _validate(self, X, y)
        if groups is not None:
            groups = check_array(groups, ensure_2d=False, dtype=None)
            check_consistent_length(X, groups)
        kept, weights = _weighted_rows(X, sample_weight)
        X, y, groups = X[kept], y[kept], None if groups is None else groups[kept]
        result = cross_validate(
            TrainingRows(X, weights=weights),
            {"y": y.reshape(len(y), -1)},
            {"y": self.alphas},
            groups,
            n_folds=self.n_folds,
            device=self.device,
        )["y"]
        self.alpha_, self.at_edge_ = result.best_alpha, result.at_edge
        self.cv_scores_, self.cv_correlations_ = result.r2, result.correlation
        self.cv_prediction_mean_, self.cv_prediction_std_ = result.prediction_mean, result.prediction_std
        self._solve(X, y, weights, self.alpha_)
        return self


def _validate(
    estimator: AbstractRidge, X: Any, y: Any
) -> tuple[Float[np.ndarray, "n_stimuli n_voxels"], Float[np.ndarray, " ..."]]:
    """Return X and y as finite float arrays of one type, that of X."""
    X, y = validate_data(
        estimator, X, y, dtype=[np.float64, np.float32], multi_output=True, y_numeric=True, ensure_min_samples=2
    )
    return X, y.astype(X.dtype, copy=False)


def _weighted_rows(
    X: Float[np.ndarray, "n_stimuli n_voxels"], sample_weight: Any
) -> tuple[slice | Bool[np.ndarray, " n_stimuli"], Float[np.ndarray, " n_kept"] | None]:
    """Return which rows have a weight other than 0, and their weights; all rows and None without weights."""
    if sample_weight is None:
        return slice(None), None
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
    return weights != 0, weights[weights != 0]  # `gram` refuses those below 0
