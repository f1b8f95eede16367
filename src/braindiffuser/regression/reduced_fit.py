"""Make a decoder of low rank from what a ridge decoder was fitted to, without forming its coefficients or predictions.

With A the smoother matrix of training stimuli, so that Ŷ = A Y are their predictions, ā its mean row, and Y_c centred targets,

    A_c = A − 1 ā,   m = ā Y,   (Ŷ − m)(Ŷ − m)ᵀ = A_c (Y_c Y_cᵀ) A_cᵀ = U Λ Uᵀ
    σ · L = U_rᵀ A_c Y / √n,   W = B V_r √n Λ_r^−½ = coefficients of the small targets √n Y_c Y_cᵀ A_cᵀ U_r Λ_r^−1

Targets stream past three times: for Y_c Y_cᵀ, for L, and for what is lost by the decoder as it is stored.
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
from braindiffuser.regression.reduced_rank import COLUMNS_AT_ONCE, SMALLEST
from braindiffuser.regression.rows import TargetArray, TrainingRows, n_columns, row_blocks
from braindiffuser.regression.smoothers import by_stimulus
from braindiffuser.regression.solvers import Gram, coefficients, grams, prepare_queries, smoother_matrix, solve
from braindiffuser.regression.streaming import Applied, Block, apply_smoother, sum_over_blocks

LABEL = "reducing the rank"


class Reduction(NamedTuple):
    """A decoder of low rank, and what it loses.

    Attributes:
        decoder: uncalibrated.
        lost: share of the variance of training predictions that the decoder, as it is stored, does not give.
        lost_by_rank: the same of each rank from 1 up to the largest that was looked at, before numbers are rounded to be stored.
        target_mean: of the training targets.
        target_std: their standard deviation (ddof 0).
    """

    decoder: ReducedDecoder
    lost: float
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

    Its predictions are those that `reduce_rank` gives with the predictions of the averages of all training stimuli.

    Args:
        rows: what the decoder was fitted to.
        targets: of the training stimuli, one group.
        alpha: the decoder's penalty.
        lost: largest share of the variance of training predictions that may be lost; 0: none, the whole decoder.
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
    A = (
        by_stimulus(smoother_matrix(system, inverse, prepare_queries(system, averages)), rows)
        .cpu()
        .numpy()
        .astype(np.float64)
    )
    mean_row = A.mean(axis=0)
    A -= mean_row
    K = target_gram(targets, device, passes[0])
    values, U, variance = _spectrum(A @ K @ A.T, max_rank)
    lost_by_rank = np.clip(1 - np.cumsum(values) / variance, 0, None)
    fits = np.flatnonzero(lost_by_rank <= lost) if lost else np.empty(0, np.intp)
    rank = int(fits[0]) + 1 if len(fits) else len(values)
    values, U = values[:rank], U[:, :rank]
    root_n = np.sqrt(len(A))
    small = root_n * (K @ (A.T @ U)) / values
    of_rows = small if rows.stimuli is None else small[rows.stimuli]
    W, _ = coefficients(system, inverse, of_rows)
    offset = system.shares.double().cpu().numpy() @ of_rows - mean_row @ small
    projection = np.concatenate([U.T @ A / root_n, mean_row[None]])
    applied = apply_smoother(torch.from_numpy(projection).to(system.matrix), targets, passes[1], LABEL)
    decoder = _stored(system, rows, W, offset, applied, np.dtype(dtype))
    not_given = _squares_lost(decoder, averages, A, targets, device, passes[2])
    return Reduction(decoder, max(0.0, 1 + not_given / variance), lost_by_rank, applied.mean, applied.std)


def target_gram(
    targets: TargetArray, device: str = "cpu", progress: Progress = silent
) -> Float64[np.ndarray, "n_stimuli n_stimuli"]:
    """Return Y_c Y_cᵀ in float64, with Y_c the targets less their means; the sum does not depend on the number of cores."""

    def part(block: Block) -> Float64[np.ndarray, "n_stimuli n_stimuli"]:
        own: Float64[np.ndarray, "n_stimuli n_stimuli"] = gram_matrix(block.centred()).cpu().numpy()
        return own

    n = targets.shape[0]
    return sum_over_blocks(targets, part, (n, n), device, torch.float64, progress, LABEL)


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
    W: Float[np.ndarray, "n_voxels rank"],
    offset: Float64[np.ndarray, " rank"],
    applied: Applied,
    dtype: np.dtype[Any],
) -> ReducedDecoder:
    """Scale the arrays so that the large ones lie in [−1, 1], and round them."""
    fine = np.float64 if dtype == np.float64 else np.float32
    mean = system.mean.cpu().numpy()
    std = _spread(rows, mean)
    scaled = W * std[:, None]
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


def _squares_lost(
    decoder: ReducedDecoder,
    averages: Float[np.ndarray, "n_stimuli n_voxels"],
    A: Float64[np.ndarray, "n_stimuli n_stimuli"],
    targets: TargetArray,
    device: str,
    progress: Progress,
) -> float:
    """Return ‖Ŷ − m − Z L σ‖² − ‖Ŷ − m‖² = −2 ⟨Z, A_c Y_c (L σ)ᵀ⟩ + ⟨ZᵀZ, L σ (L σ)ᵀ⟩ for stored arrays."""
    Z = decoder.coordinates(averages).astype(np.float64)
    rank = decoder.rank
    products = np.zeros((rank, rank))
    for start in range(0, len(decoder.spread), COLUMNS_AT_ONCE):
        own = _directions(decoder, slice(start, start + COLUMNS_AT_ONCE))
        products += own @ own.T

    def part(block: Block) -> Float64[np.ndarray, "n_stimuli rank"]:
        directions = torch.from_numpy(_directions(decoder, block.columns).T.copy()).to(device)
        along: Float64[np.ndarray, "n_stimuli rank"] = multiply(block.centred(), directions).cpu().numpy()
        return along

    along = sum_over_blocks(targets, part, Z.shape, device, torch.float64, progress, LABEL)
    return float(-2 * np.sum(Z * (A @ along)) + np.sum((Z.T @ Z) * products))


def _directions(decoder: ReducedDecoder, columns: slice) -> Float64[np.ndarray, "rank _"]:
    """Return L σ of some targets."""
    made: Float64[np.ndarray, "rank _"] = decoder.loadings[:, columns].astype(np.float64) * decoder.spread[columns]
    return made
