"""Make a decoder of low rank from what a ridge decoder was fitted to, without forming its coefficients or predictions.

Targets stream past three times: for their products, for the loadings, and for what is lost by the decoder as it is stored.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float, Float64
from numpy.typing import DTypeLike

from braindiffuser.progress import Progress, offset_progress, silent
from braindiffuser.regression.linalg import gram_matrix, multiply
from braindiffuser.regression.reduced_decoder import ReducedDecoder
from braindiffuser.regression.reduced_rank import SMALLEST
from braindiffuser.regression.rows import TargetArray, TrainingRows, n_columns, row_blocks
from braindiffuser.regression.smoothers import by_stimulus
from braindiffuser.regression.solvers import Gram, coefficients, grams, prepare_queries, smoother_matrix, solve
from braindiffuser.regression.streaming import Applied, Block, apply_smoother, for_each_block, sum_over_blocks

LABEL = "reducing the rank"


class Reduction(NamedTuple):
    """A decoder of low rank, and what it loses.

    Attributes:
        decoder: uncalibrated.
        lost: share of the variance of training predictions that the decoder, as it is stored, does not give; each target's
            predictions are divided by the standard deviation of its training targets.
        lost_of_targets: the same share of each target alone; 0 where predictions do not vary.
        lost_by_rank: `lost` of each rank from 1 up to the largest that was looked at, before numbers are rounded to be stored.
        target_mean: of the training targets.
        target_std: their standard deviation (ddof 0).
    """

    decoder: ReducedDecoder
    lost: float
    lost_of_targets: Float64[np.ndarray, " n_targets"]
    lost_by_rank: Float64[np.ndarray, " n_ranks"]
    target_mean: Float64[np.ndarray, " n_targets"]
    target_std: Float64[np.ndarray, " n_targets"]


def reduce_decoder(
    rows: TrainingRows,
    targets: TargetArray,
    alpha: float,
    *,
    lost: float = 0.01,
    max_rank: int = 500,
    dtype: DTypeLike = np.float16,
    device: str = "cpu",
    progress: Progress = silent,
) -> Reduction:
    """Return the ridge decoder of the smallest rank that loses no more than a share of the variance of training predictions.

    With A the smoother matrix of the training stimuli (Ŷ = A Y are their predictions), ā its mean row, A_c = A − 1 ā, and Ỹ the
    targets, centred and divided by their standard deviations,

        K = Ỹ Ỹᵀ
        A_c K A_cᵀ = U Λ Uᵀ                   variance of standardised predictions, direction by direction
        T = √n K A_cᵀ U_r Λ_r⁻¹               r small targets of each stimulus
        z(x) = (x − x̄) C + o                  C, o: the ridge decoder of T
        σ · L = U_rᵀ A_c Y / √n,   m = ā Y
        ŷ_r(x) = m + σ · (z(x) L)

    Of all decoders of rank r this one's training predictions are closest to Ŷ, each target in units of its standard deviation.
    They are those that `reduce_rank` gives with standardised targets.

    Args:
        rows: what the decoder was fitted to.
        targets: of the training stimuli, one group.
        alpha: the decoder's penalty.
        lost: largest share of the variance of standardised training predictions that may be lost; 0: none, the whole decoder.
        max_rank: largest rank, whatever is lost.
        dtype: of the large arrays as they are stored; small ones are float32, or float64 if these are.
        device: where products are computed; it must have float64.
        progress: called as progress(label, columns_done, n_columns) in the three passes over targets.

    Raises:
        ValueError: if `lost` is outside [0, 1), `max_rank` is less than 1, or predictions do not vary.
    """
    if not 0 <= lost < 1 or max_rank < 1:
        raise ValueError(f"a share from 0 to below 1 may be lost, at a rank from 1, got {lost} and {max_rank}")
    total = 3 * n_columns(targets)
    passes = [offset_progress(progress, start * total // 3, total) for start in range(3)]
    averages = rows.averages()
    (system, _) = next(grams(rows.responses, rows.weights, {"": alpha}, device))
    inverse = solve(system, alpha)
    smoother = by_stimulus(smoother_matrix(system, inverse, prepare_queries(system, averages)), rows)
    A = smoother.cpu().numpy().astype(np.float64)
    mean_row = A.mean(axis=0)
    A_c = A - mean_row
    K = target_gram(targets, device, passes[0])
    values, U, variance = _spectrum(A_c @ K @ A_c.T, max_rank)
    lost_by_rank = np.clip(1 - np.cumsum(values) / variance, 0, None)
    enough = np.flatnonzero(lost_by_rank <= lost) if lost else np.empty(0, np.intp)
    rank = int(enough[0]) + 1 if len(enough) else len(values)
    root_n = float(np.sqrt(len(A)))
    T = root_n * K @ A_c.T @ U[:, :rank] / values[:rank]
    T_of_rows = T if rows.stimuli is None else T[rows.stimuli]
    C, _ = coefficients(system, inverse, T_of_rows)
    offset = system.shares.double().cpu().numpy() @ T_of_rows - mean_row @ T
    projection = np.concatenate([U[:, :rank].T @ A_c / root_n, mean_row[None]])
    applied = apply_smoother(torch.from_numpy(projection).to(system.matrix), targets, passes[1], LABEL)
    decoder = _stored(system, rows, C, offset, applied, np.dtype(dtype))
    lost_squares, squares = _squares(decoder, averages, A_c, targets, device, passes[2])
    of_targets = np.divide(lost_squares, squares, out=np.zeros_like(squares), where=squares > 0)
    stated = float(lost_squares.sum() / squares.sum())
    return Reduction(decoder, stated, of_targets, lost_by_rank, applied.mean, applied.std)


def target_gram(
    targets: TargetArray, device: str = "cpu", progress: Progress = silent
) -> Float64[np.ndarray, "n_stimuli n_stimuli"]:
    """Return Ỹ Ỹᵀ in float64, with Ỹ the targets less their means, divided by their standard deviations.

    A target that never varies adds nothing. The sum does not depend on the number of cores.
    """

    def part(block: Block) -> Float64[np.ndarray, "n_stimuli n_stimuli"]:
        own: Float64[np.ndarray, "n_stimuli n_stimuli"] = gram_matrix(block.centred() * _per_std(block)).cpu().numpy()
        return own

    n = targets.shape[0]
    return sum_over_blocks(targets, part, (n, n), device, torch.float64, progress, LABEL)


def _per_std(block: Block) -> Float64[torch.Tensor, " n_block"]:
    """Return 1 / std of each target; 0 where it never varies but for rounding."""
    varies = block.std > block.mean.abs() * float(np.finfo(np.float32).eps)
    return torch.where(varies, torch.where(varies, block.std, 1.0).reciprocal(), 0.0)


def _spectrum(
    G: Float64[np.ndarray, "n n"], max_rank: int
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, "n k"], float]:
    """Return the largest eigenvalues that are not rounding, falling, their vectors, and the sum of all eigenvalues."""
    n, variance = len(G), float(np.trace(G))
    values, vectors = scipy.linalg.eigh(G, subset_by_index=[max(0, n - max_rank), n - 1])
    if not values[-1] > 0:
        raise ValueError(
            "predictions of training stimuli are all the same, so there is nothing to share: check the alphas"
        )
    kept = np.flatnonzero(values > SMALLEST * values[-1])[::-1]
    return values[kept], vectors[:, kept], variance


def _stored(
    system: Gram,
    rows: TrainingRows,
    C: Float[np.ndarray, "n_voxels rank"],
    offset: Float64[np.ndarray, " rank"],
    applied: Applied,
    dtype: np.dtype[Any],
) -> ReducedDecoder:
    """Return z(x) = ((x − x̄) / s) W · c + o with W = s C / c, and σ · L, rounded; the large arrays lie in [−1, 1]."""
    fine = np.float64 if dtype == np.float64 else np.float32
    mean = system.mean.cpu().numpy()
    std = _spread(rows, mean)
    scaled = C * std[:, None]
    sizes = np.abs(scaled).max(axis=0)
    loadings, m = applied.values[:-1], applied.values[-1]
    spread = np.sqrt(np.einsum("rj,rj->j", loadings, loadings))
    loadings /= np.where(spread > 0, spread, 1)
    return ReducedDecoder(
        mean.astype(fine),
        std.astype(fine),
        (scaled / np.where(sizes > 0, sizes, 1)).astype(dtype),
        sizes.astype(fine),
        offset.astype(fine),
        loadings.astype(dtype),
        m.astype(fine),
        spread.astype(fine),
    )


def _spread(rows: TrainingRows, mean: Float64[np.ndarray, " n_voxels"]) -> Float64[np.ndarray, " n_voxels"]:
    """Return the root mean square of each voxel's training responses less `mean`; 1 where it never varies."""
    n_rows, n_voxels = rows.responses.shape
    squares = np.zeros(n_voxels)
    for some in row_blocks((n_rows, n_voxels)):
        squares += np.square(np.asarray(rows.responses[some]) - mean).sum(axis=0)
    std = np.sqrt(squares / n_rows)
    return np.where(std > np.finfo(np.float32).eps * np.abs(mean), std, 1.0)


def _squares(
    decoder: ReducedDecoder,
    averages: Float[np.ndarray, "n_stimuli n_voxels"],
    A_c: Float64[np.ndarray, "n_stimuli n_stimuli"],
    targets: TargetArray,
    device: str,
    progress: Progress,
) -> tuple[Float64[np.ndarray, " n_targets"], Float64[np.ndarray, " n_targets"]]:
    """Return Σ (Ŷ − m − Z L σ)² and Σ (Ŷ − m)² of each target over its variance, with Z, L, σ as they are stored."""
    Z = torch.from_numpy(decoder.coordinates(averages).astype(np.float64)).to(device)
    smoother = torch.from_numpy(A_c).to(device)
    lost, squares = np.zeros_like(decoder.spread, np.float64), np.zeros_like(decoder.spread, np.float64)

    def work(block: Block) -> None:
        own = block.columns
        directions = decoder.loadings[:, own].astype(np.float64) * decoder.spread[own]
        whole = multiply(smoother, block.centred()) * _per_std(block)
        shared = multiply(Z, torch.from_numpy(directions).to(device)) * _per_std(block)
        squares[own] = whole.square().sum(dim=0).cpu().numpy()
        lost[own] = (whole - shared).square().sum(dim=0).cpu().numpy()

    for_each_block(targets, work, device, torch.float64, progress, LABEL)
    return lost, squares
