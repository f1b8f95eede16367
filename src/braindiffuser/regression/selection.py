"""The choice of alpha by cross-validation over stimuli."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Shaped
from sklearn.model_selection import GroupKFold

from braindiffuser.progress import Progress, offset_progress, silent
from braindiffuser.regression.linalg import column_products, multiply
from braindiffuser.regression.parts import Each
from braindiffuser.regression.rows import ChosenColumns, TargetArray, TrainingRows, n_columns
from braindiffuser.regression.smoothers import smoothers_by_group
from braindiffuser.regression.streaming import Block, block_step, for_each_block

_Fold: TypeAlias = tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]
"""Numbers of the stimuli that are kept, and of those that are left out; both ascend."""
DRAWN = 2000
"""Seed of the choice of stimuli that are predicted, where not all are."""
LABEL = "choosing alpha and calibration"
"""Progress label of cross-validation."""
COLUMNS_PER_PART = 65_536
"""Targets of one fold that another process computes at a time: fewer would repeat the products of responses too often."""


@dataclass(frozen=True)
class CrossValidation:
    """Out-of-fold scores of every alpha, and the out-of-fold predictions' statistics under the best.

    Attributes:
        alphas: the grid, in the order given.
        r2: 1 - Σ(y - ŷ)² / Σ(y - mean(y))² over the stimuli that were predicted, from the folds that leave them out. At most
            1; the mean of all targets would score 0.
        correlation: Pearson correlation of y and ŷ within each fold, averaged over folds, in [-1, 1]. Chance is 0. Pooled
            over folds it would be biased downwards: a high training mean goes with a low left-out mean.
        best_alpha: the alpha of highest mean r2.
        at_edge: True if it is the smallest or largest of several: try a wider grid.
        prediction_mean: mean of the out-of-fold predictions under the best alpha.
        prediction_std: their standard deviation (ddof 0).

    Scores of a target that never varies are 0.
    """

    alphas: Float64[np.ndarray, " n_alphas"]
    r2: Float64[np.ndarray, "n_alphas n_targets"]
    correlation: Float64[np.ndarray, "n_alphas n_targets"]
    best_alpha: float
    at_edge: bool
    prediction_mean: Float64[np.ndarray, " n_targets"]
    prediction_std: Float64[np.ndarray, " n_targets"]


class _Part(NamedTuple):
    """What is computed together: one fold, and some targets of some groups.

    Attributes:
        fold: number of the fold.
        targets: group → first of its targets along axis 1, and the one after the last.
    """

    fold: int
    targets: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class _Moments:
    """Sums over stimuli of targets y and predictions p, both centred by the targets' mean; `correlation` sums over folds."""

    p: Float64[np.ndarray, "n_alphas n_targets"]
    pp: Float64[np.ndarray, "n_alphas n_targets"]
    residual: Float64[np.ndarray, "n_alphas n_targets"]
    correlation: Float64[np.ndarray, "n_alphas n_targets"]
    yy: Float64[np.ndarray, " n_targets"]
    mean: Float64[np.ndarray, " n_targets"]

    def join(self, other: _Moments, columns: slice) -> None:
        """Add sums over other stimuli, of some of the targets."""
        for name in ("p", "pp", "residual", "correlation", "yy"):
            getattr(self, name)[..., columns] += getattr(other, name)
        self.mean[columns] = other.mean

    @classmethod
    def zeros(cls, n_alphas: int, n_targets: int) -> _Moments:
        """Return sums to which nothing was added."""
        p, pp, residual, correlation = np.zeros((4, n_alphas, n_targets))
        return cls(p, pp, residual, correlation, yy=np.zeros(n_targets), mean=np.zeros(n_targets))

    def add(self, block: slice, y: torch.Tensor, predictions: Iterable[torch.Tensor]) -> None:
        """Add one fold's block of targets (n_fold, n_block), and its predictions under one alpha after the other.

        Σ(y - p)² = Σy² - 2 Σyp + Σp²,  cov = Σyp - Σy Σp / n,  var = Σp² - (Σp)² / n
        """
        sum_y, yy = y.sum(dim=0).cpu().numpy(), column_products(y, y).cpu().numpy()
        self.yy[block] += yy
        for alpha, p in enumerate(predictions):
            sum_p, pp, yp = (
                sums.cpu().numpy() for sums in (p.sum(dim=0), column_products(p, p), column_products(y, p))
            )
            self.p[alpha, block] += sum_p
            self.pp[alpha, block] += pp
            self.residual[alpha, block] += (yy - 2 * yp + pp).clip(0)
            variances = _variance(sum_y, yy, len(y)) * _variance(sum_p, pp, len(y))
            self.correlation[alpha, block] += _ratio(yp - sum_y * sum_p / len(y), np.sqrt(variances))


def cross_validate(  # noqa: PLR0913 (all but three have defaults)
    rows: TrainingRows,
    targets: Mapping[str, TargetArray],
    alphas: Mapping[str, Sequence[float] | Float[np.ndarray, " n_alphas"]],
    groups: Shaped[np.ndarray, " n_stimuli"] | None = None,
    *,
    n_folds: int = 5,
    n_predicted: int | None = None,
    device: str = "cpu",
    progress: Progress = silent,
    each: Each | None = None,
) -> dict[str, CrossValidation]:
    """Predict stimuli from the folds that leave them out, for every alpha.

        best alpha = argmax mean_over_targets R²

    One Gram matrix per fold (two where only some groups need float64), held one at a time, serves all alphas and groups of
    targets; a group's result does not depend on the other groups. Targets pass through in blocks and only sums over stimuli
    are kept (4 numbers per alpha and target), so neither targets nor predictions fill the memory. Left-out rows are
    averaged over repeats first, as test responses are.

    Args:
        rows: training responses; all rows of a stimulus share a fold.
        targets: group of targets → (n_stimuli, …).
        alphas: group → grid of penalties ≥ 0; of equal scores the first in the grid wins.
        groups: label per stimulus, such as its picture; one label, one fold. None: each stimulus has its own label.
        n_folds: number of folds, ≥ 2.
        n_predicted: how many stimuli are predicted, drawn at random (always the same) among those that a fold leaves out; each is
            still predicted from all of the other folds. None: all, which takes time with the square of their number. Of m stimuli
            the standard error of the predictions' spread is about 1 / √(2 m) of it where they are normal, 1.6 % for 2,000, and
            that of their mean 1 / √m, 2.2 %.
        device: where products are computed.
        progress: called as progress(LABEL, columns_done, n_columns), over all folds.
        each: computes parts of it in other processes: one fold and up to COLUMNS_PER_PART targets of one group, in the same
            blocks as here, so that results are the same to the last bit. None: all folds are computed here, one after the other.

    Raises:
        ValueError: if alphas are empty, not one-dimensional or negative, if there are fewer pictures than folds, or if
            responses, targets and groups differ in number.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> responses = rng.standard_normal((60, 5))
        >>> y = responses @ rng.standard_normal((5, 2)) + 0.1 * rng.standard_normal((60, 2))
        >>> chosen = cross_validate(TrainingRows(responses), {"y": y}, {"y": [0.1, 1.0, 1000.0]})["y"]
        >>> chosen.best_alpha, bool((chosen.r2[0] > 0.9).all())
        (0.1, True)
    """
    grids = {name: _as_grid(alphas[name]) for name in targets}
    rows.check(targets)
    moments = {name: _Moments.zeros(len(grids[name]), n_columns(values)) for name, values in targets.items()}
    folds = _thinned(list(grouped_folds(_as_groups(groups, rows.n_stimuli), n_folds)), n_predicted)
    n_left_out = sum(len(left_out) for _, left_out in folds)
    compute = partial(_sums, grids=grids, folds=folds)
    whole = [_Part(fold, {name: (0, values.shape[1]) for name, values in targets.items()}) for fold in range(n_folds)]
    done, total = 0, n_folds * sum(map(n_columns, targets.values()))
    made: Iterator[tuple[_Part, dict[str, _Moments]]]
    if each is None:
        made = (
            (part, compute(rows, targets, device, part, offset_progress(progress, total // n_folds * part.fold, total)))
            for part in whole
        )
    else:
        made = each(compute, [small for part in whole for small in _divided(part, targets)])
    for part, sums in made:
        for name, own in sums.items():
            start = part.targets[name][0] * math.prod(targets[name].shape[2:])
            moments[name].join(own, slice(start, start + len(own.mean)))
            done += len(own.mean)
        progress(LABEL, done, total)
    return {name: _summarise(moments[name], grids[name], n_left_out, n_folds) for name in targets}


def _thinned(folds: Sequence[_Fold], n_predicted: int | None) -> list[_Fold]:
    """Keep about n / n_folds of the stimuli that each fold leaves out, two at least; drawn, since designs may be periodic."""
    if n_predicted is None:
        return list(folds)
    most, rng = max(2, -(-n_predicted // len(folds))), np.random.default_rng(DRAWN)
    drawn = (rng.permutation(len(left_out))[:most] for _, left_out in folds)
    return [(kept, left_out[np.sort(own)]) for (kept, left_out), own in zip(folds, drawn, strict=True)]


def _divided(part: _Part, targets: Mapping[str, TargetArray]) -> Iterator[_Part]:
    """Divide a part into those of one group and up to COLUMNS_PER_PART targets, in whole blocks."""
    for name, (first, last) in part.targets.items():
        step = block_step(targets[name].shape)
        columns = step * math.prod(targets[name].shape[2:])
        size = step * max(1, COLUMNS_PER_PART // columns)
        for start in range(first, last, size):
            yield _Part(part.fold, {name: (start, min(start + size, last))})


def _sums(
    rows: TrainingRows,
    targets: Mapping[str, TargetArray],
    device: str,
    part: _Part,
    progress: Progress = silent,
    *,
    grids: Mapping[str, Float64[np.ndarray, " _"]],
    folds: Sequence[_Fold],
) -> dict[str, _Moments]:
    """Predict stimuli that one fold leaves out, and return the sums over them."""
    kept, left_out = folds[part.fold]
    is_kept, is_left_out = (np.isin(np.arange(rows.n_stimuli), own) for own in (kept, left_out))
    own_grids = {name: grids[name] for name in part.targets}
    predicted = rows.select(is_left_out).averages()
    smoothers = smoothers_by_group(rows.select(is_kept), own_grids, predicted, device=device)
    train, test = (torch.from_numpy(chosen).to(device) for chosen in (kept, left_out))
    made: dict[str, _Moments] = {}
    done = 0
    for name, (first, last) in part.targets.items():
        chosen = ChosenColumns(targets[name], first, last)
        made[name] = _Moments.zeros(len(grids[name]), n_columns(chosen))
        matrices = [smoothers[name][alpha] for alpha in grids[name].tolist()]
        add = partial(_add_block, made[name], matrices, train, test)
        step = block_step(targets[name].shape)
        for_each_block(chosen, add, device, matrices[0].dtype, offset_progress(progress, done, 0), LABEL, step)
        done += n_columns(chosen)
    return made


def _add_block(
    moments: _Moments, smoothers: Sequence[torch.Tensor], kept: torch.Tensor, left_out: torch.Tensor, block: Block
) -> None:
    """Predict a block's left-out targets from those kept, with the smoother matrix of each alpha, and add the sums."""
    Y = block.centred()
    moments.mean[block.columns] = block.mean.cpu()
    train = Y[kept]
    moments.add(block.columns, Y[left_out].double(), (multiply(A, train).double() for A in smoothers))


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
    moments: _Moments, grid: Float64[np.ndarray, " n_alphas"], n_predicted: int, n_folds: int
) -> CrossValidation:
    """Turn sums into scores, choose alpha, and keep the statistics of its predictions."""
    mean = moments.mean
    varies = np.sqrt(moments.yy / n_predicted) > np.finfo(np.float32).eps * np.abs(mean)
    r2 = np.where(varies, 1 - _ratio(moments.residual, moments.yy), 0)
    correlation = np.where(varies, moments.correlation / n_folds, 0)
    best = r2.mean(axis=1).argmax()
    shift = moments.p[best] / n_predicted
    variance = (moments.pp[best] / n_predicted - np.square(shift)).clip(0)
    return CrossValidation(
        alphas=grid,
        r2=r2,
        correlation=correlation.clip(-1, 1),
        best_alpha=float(grid[best]),
        at_edge=len(grid) > 1 and bool(grid[best] in (grid.min(), grid.max())),
        prediction_mean=mean + shift,
        prediction_std=np.sqrt(variance),
    )


def _variance(
    total: Float64[np.ndarray, " n_block"], squares: Float64[np.ndarray, " n_block"], n: int
) -> Float64[np.ndarray, " n_block"]:
    """Σx² - (Σx)² / n; 0 where it is no more than rounding of float32 values that never vary."""
    variance = squares - np.square(total) / n
    return np.where(variance > 1e-12 * squares, variance, 0)


def _ratio(
    numerator: Float64[np.ndarray, "*any n_targets"], denominator: Float64[np.ndarray, " n_targets"]
) -> Float64[np.ndarray, "*any n_targets"]:
    """Divide, with 0 where the denominator is 0."""
    quotient = np.zeros_like(numerator)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


def _as_grid(alphas: Sequence[float] | Float[np.ndarray, " n_alphas"]) -> Float64[np.ndarray, " n_alphas"]:
    """Return the grid of alphas as an array; raise if it is wrong."""
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
