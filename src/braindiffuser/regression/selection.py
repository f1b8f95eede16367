"""The choice of alpha by cross-validation over stimuli."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Shaped
from sklearn.model_selection import GroupKFold

from braindiffuser.regression.solvers import factorise, project, rotate, shrinkage


@dataclass(frozen=True)
class CrossValidation:
    """Out-of-fold scores of every alpha, and the out-of-fold predictions' statistics under the best.

    Attributes:
        alphas: the grid, in the order given.
        r2: 1 - Σ(y - ŷ)² / Σ(y - mean(y))² over all stimuli, each predicted from the folds that leave it out. At most
            1; the mean of all targets would score 0.
        correlation: Pearson correlation of y and ŷ within each fold, averaged over folds, in [-1, 1]. Chance is 0. Over
            all folds at once it would lie below: a fold's training mean moves against the mean of what it left out.
        best_alphas: chosen alpha of each target, by r2; all equal unless chosen per target.
        at_edge: True where the best alpha is the smallest or largest of several: try a wider grid.
        prediction_mean: mean of the out-of-fold predictions under the best alpha.
        prediction_std: their standard deviation (ddof 0).

    Scores of a target that never varies are 0.
    """

    alphas: Float64[np.ndarray, " n_alphas"]
    r2: Float64[np.ndarray, "n_alphas n_targets"]
    correlation: Float64[np.ndarray, "n_alphas n_targets"]
    best_alphas: Float64[np.ndarray, " n_targets"]
    at_edge: Bool[np.ndarray, " n_targets"]
    prediction_mean: Float64[np.ndarray, " n_targets"]
    prediction_std: Float64[np.ndarray, " n_targets"]


@dataclass(frozen=True)
class _Moments:
    """Sums over stimuli of targets y and predictions p, both less the targets' mean; `correlation` sums over folds."""

    p: Float64[np.ndarray, "n_alphas n_targets"]
    pp: Float64[np.ndarray, "n_alphas n_targets"]
    residual: Float64[np.ndarray, "n_alphas n_targets"]
    correlation: Float64[np.ndarray, "n_alphas n_targets"]
    yy: Float64[np.ndarray, " n_targets"]

    @classmethod
    def zeros(cls, n_alphas: int, n_targets: int) -> _Moments:
        """Start with nothing added."""
        p, pp, residual, correlation = np.zeros((4, n_alphas, n_targets))
        return cls(p, pp, residual, correlation, yy=np.zeros(n_targets))

    def add(
        self,
        alpha: int,
        block: slice,
        y: Float64[np.ndarray, "n_fold n_block"],
        p: Float64[np.ndarray, "n_fold n_block"],
    ) -> None:
        """Add one fold's predictions of one block of targets under the alpha of that number."""
        self.p[alpha, block] += p.sum(axis=0)
        self.pp[alpha, block] += np.square(p).sum(axis=0)
        self.residual[alpha, block] += np.square(y - p).sum(axis=0)
        self.correlation[alpha, block] += _correlation(y, p)


def cross_validate(
    responses: Float[np.ndarray, "n_stimuli n_voxels"],
    targets: Float[np.ndarray, "n_stimuli n_targets"],
    alphas: Sequence[float] | Float[np.ndarray, " n_alphas"],
    groups: Shaped[np.ndarray, " n_stimuli"] | None = None,
    *,
    n_folds: int = 5,
    per_target: bool = False,
    targets_per_block: int = 4096,
) -> CrossValidation:
    """Predict every stimulus from the folds that leave it out, for every alpha.

        best alpha = argmax mean_over_targets R²   (or argmax R² of each target)

    One factorisation per fold, held one at a time, serves all alphas and targets. Targets pass through in blocks and
    only sums over stimuli are kept (4 numbers per alpha and target), so predictions never fill the memory.

    Args:
        responses: training responses; a row may also be a single trial.
        targets: training targets.
        alphas: grid of penalties ≥ 0; of equal scores the first in the grid wins.
        groups: which picture each row shows; rows of one picture share a fold. None: each row its own picture.
        n_folds: number of folds, ≥ 2.
        per_target: choose alpha for each target instead of one for all.
        targets_per_block: how many targets are predicted at once.

    Raises:
        ValueError: if alphas is empty, not one-dimensional or negative, if there are fewer groups than folds, or if
            the rows of responses, targets and groups differ in number.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> responses = rng.standard_normal((60, 5))
        >>> targets = responses @ rng.standard_normal((5, 2)) + 0.1 * rng.standard_normal((60, 2))
        >>> chosen = cross_validate(responses, targets, alphas=[0.1, 1.0, 1000.0])
        >>> chosen.best_alphas.tolist(), bool((chosen.r2[0] > 0.9).all())
        ([0.1, 0.1], True)
    """
    grid = _as_grid(alphas)
    if len(responses) != len(targets):
        raise ValueError(f"got responses of {len(responses)} stimuli and targets of {len(targets)}, expected as many")
    if targets_per_block < 1:
        raise ValueError(f"targets_per_block must be ≥ 1, got {targets_per_block}")
    n_targets = targets.shape[1]
    mean = targets.mean(axis=0, dtype=np.float64)
    moments = _Moments.zeros(len(grid), n_targets)
    for train, test in grouped_folds(_as_groups(groups, len(responses)), n_folds):
        factorisation = factorise(responses[train])
        projected = project(factorisation, responses[test])
        weights = shrinkage(factorisation, grid).astype(projected.dtype)
        for start in range(0, n_targets, targets_per_block):
            block = slice(start, start + targets_per_block)
            rotated, train_mean = rotate(factorisation, targets[train, block])
            y = targets[test, block] - mean[block]
            moments.yy[block] += np.square(y).sum(axis=0)
            for number in range(len(grid)):
                p = (projected * weights[:, number]) @ rotated + (train_mean - mean[block])
                moments.add(number, block, y, p)
    return _summarise(moments, grid, mean, np.ptp(targets, axis=0) > 0, len(targets), n_folds, per_target)


def grouped_folds(
    groups: Shaped[np.ndarray, " n_stimuli"], n_folds: int
) -> Iterator[tuple[Int[np.ndarray, " n_train"], Int[np.ndarray, " n_test"]]]:
    """Split rows into folds of about equal size that never divide a group.

    Deterministic: the folds depend on the groups alone. They are scikit-learn's `GroupKFold`.

    Yields:
        Row numbers to train on, and row numbers left out.

    Raises:
        ValueError: if there are fewer groups than folds, or fewer than two folds.
    """
    n_groups = len(np.unique(groups))
    if not 2 <= n_folds <= n_groups:
        raise ValueError(
            f"got n_folds={n_folds} for {n_groups} groups (n_samples={len(groups)}), expected 2 ≤ n_folds ≤ number "
            "of groups: use fewer folds or more pictures"
        )
    yield from GroupKFold(n_folds).split(groups, groups=groups)


def _summarise(
    moments: _Moments,
    grid: Float64[np.ndarray, " n_alphas"],
    mean: Float64[np.ndarray, " n_targets"],
    varies: Bool[np.ndarray, " n_targets"],
    n_stimuli: int,
    n_folds: int,
    per_target: bool,
) -> CrossValidation:
    """Turn sums into scores, choose alpha, and keep the statistics of its predictions."""
    r2 = np.where(varies, 1 - _ratio(moments.residual, moments.yy), 0)
    correlation = np.where(varies, moments.correlation / n_folds, 0)
    best = r2.argmax(axis=0) if per_target else np.full(len(mean), r2.mean(axis=1).argmax())
    chosen = best, np.arange(len(mean))
    shift = moments.p[chosen] / n_stimuli
    variance = (moments.pp[chosen] / n_stimuli - np.square(shift)).clip(0)
    at_edge = ((grid[best] == grid.min()) | (grid[best] == grid.max())) & (len(grid) > 1)
    return CrossValidation(
        alphas=grid,
        r2=r2,
        correlation=correlation.clip(-1, 1),
        best_alphas=grid[best],
        at_edge=at_edge,
        prediction_mean=mean + shift,
        prediction_std=np.sqrt(variance),
    )


def _correlation(
    y: Float64[np.ndarray, "n_fold n_block"], p: Float64[np.ndarray, "n_fold n_block"]
) -> Float64[np.ndarray, " n_block"]:
    """Pearson correlation of each column; 0 where one of the two never varies."""
    y, p = y - y.mean(axis=0), p - p.mean(axis=0)
    covariance = (y * p).sum(axis=0)
    return _ratio(covariance, np.sqrt(np.square(y).sum(axis=0) * np.square(p).sum(axis=0)))


def _ratio(
    numerator: Float64[np.ndarray, "*any n_targets"], denominator: Float64[np.ndarray, " n_targets"]
) -> Float64[np.ndarray, "*any n_targets"]:
    """Divide, with 0 where the denominator is 0."""
    quotient = np.zeros_like(numerator)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


def _as_grid(alphas: Sequence[float] | Float[np.ndarray, " n_alphas"]) -> Float64[np.ndarray, " n_alphas"]:
    """Return the grid of alphas as an array, or say what is wrong with it."""
    grid = np.asarray(alphas, dtype=np.float64)
    if grid.ndim != 1 or grid.size == 0 or not np.isfinite(grid).all() or (grid < 0).any():
        raise ValueError(f"alphas must be a non-empty list of finite numbers ≥ 0, got {alphas!r}")
    return grid


def _as_groups(groups: Shaped[np.ndarray, " n"] | None, n_stimuli: int) -> Shaped[np.ndarray, " n_stimuli"]:
    """Return the picture that each row shows; without groups, each row is its own picture."""
    if groups is None:
        return np.arange(n_stimuli)
    if len(groups) != n_stimuli:
        raise ValueError(f"got {len(groups)} groups, expected one for each of the {n_stimuli} rows of responses")
    return groups
