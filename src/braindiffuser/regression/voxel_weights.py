"""How much each voxel matters to ridge decoders: norms of its coefficients, Haufe patterns, and maps of chosen directions.

A voxel's coefficients say how a decoder uses it; they are no measure of what the voxel responds to. A voxel without signal gets
large coefficients where it helps to cancel the noise of others, and a good voxel small ones where others say the same. What a
voxel responds to is read from its covariance with the decoded features, the pattern of Haufe et al. (2014, NeuroImage 87,
96-110): A = Σ_X W Σ_ŷ⁻¹.

Coefficients of all targets (n_voxels × n_targets, 22 GB at the size of NSD) are never formed: blocks of targets stream past a
matrix as large as the training responses, and each block leaves two sums for every voxel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64

from braindiffuser.progress import Progress, silent
from braindiffuser.regression.linalg import Solve, multiply
from braindiffuser.regression.regressor import DirectionMaps
from braindiffuser.regression.rows import TargetArray, TrainingRows, n_columns
from braindiffuser.regression.smoothers import VOXELS_AT_A_TIME
from braindiffuser.regression.solvers import Gram, coefficients, grams, solve
from braindiffuser.regression.streaming import Block, for_each_block, sum_over_blocks

DIRECTIONS_AT_A_TIME = 32
"""Directions that share a pass over the targets: 2.3 MB a block of 8,859 stimuli, for up to a hundred blocks."""


class RowNorms(NamedTuple):
    """Norms of each row of a matrix that is never whole.

    Attributes:
        l1: Σ_j |m_ij|.
        l2: √(Σ_j m_ij²).
    """

    l1: Float64[np.ndarray, " n_rows"]
    l2: Float64[np.ndarray, " n_rows"]


def row_norms(
    C: Float[torch.Tensor, "n_rows n_stimuli"], targets: TargetArray, progress: Progress = silent, label: str = ""
) -> RowNorms:
    """Compute norms of the rows of C Y, of which one block is in memory at a time.

        l1_i = Σ_j |(C Y)_ij|,  l2_i = √(Σ_j (C Y)_ij²)

    Args:
        C: matrix whose rows sum to 0, such as one of `voxel_smoothers`: a constant added to a target changes nothing.
        targets: training targets Y, in memory or on disk.
        progress: called as progress(label, columns_done, n_columns) after each block.
        label: says what is computed.

    Returns:
        Norms in float64; they do not depend on the number of cores.
    """
    sums: dict[int, Float64[np.ndarray, "2 n_rows"]] = {}

    def add(block: Block) -> None:
        Y = block.centred()
        found = torch.empty(2, len(C), dtype=torch.float64, device=C.device)
        for start in range(0, len(C), VOXELS_AT_A_TIME):
            some = slice(start, start + VOXELS_AT_A_TIME)
            made = multiply(C[some], Y)
            found[0, some] = torch.linalg.vector_norm(made, ord=1, dim=1)
            found[1, some] = torch.linalg.vector_norm(made, ord=2, dim=1).double().square()
        sums[block.columns.start] = found.cpu().numpy()

    for_each_block(targets, add, C.device, C.dtype, progress, label)
    total = np.zeros((2, len(C)))
    for start in sorted(sums):  # blocks end in no order
        total += sums[start]
    return RowNorms(total[0], np.sqrt(total[1]))


def components(
    directions: Float[np.ndarray, "n_directions n_targets"],
    targets: TargetArray,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: Progress = silent,
    label: str = "",
) -> Float64[np.ndarray, "n_stimuli n_directions"]:
    """Return (Y - ȳ) uᵀ, the component of each stimulus' targets along each direction u.

    Args:
        directions: u, over the targets of a stimulus in C order.
        targets: training targets Y; they stream past in blocks, once for every DIRECTIONS_AT_A_TIME directions.
        device: where products are computed.
        dtype: of the products.
        progress: called as progress(label, columns_done, n_columns) after each block.
        label: says what is computed.

    Raises:
        ValueError: if directions have another number of targets, or a value that is not finite.
    """
    total = n_columns(targets)
    if directions.shape[1] != total or not np.isfinite(directions).all():
        raise ValueError(
            f"directions must be finite numbers, one for each of {total} targets, got an array of shape {directions.shape}"
        )
    values = np.zeros((targets.shape[0], len(directions)))
    for first in range(0, len(directions), DIRECTIONS_AT_A_TIME):
        some = slice(first, first + DIRECTIONS_AT_A_TIME)
        U = torch.tensor(directions[some].T, dtype=dtype, device=device)
        sums: dict[int, Float[np.ndarray, "n_stimuli _"]] = {}
        for_each_block(targets, partial(_add_components, U, sums), device, dtype, progress, label)
        for start in sorted(sums):  # blocks end in no order
            values[:, some] += sums[start]
    return values


def contrast_components(
    contrasts: Float[np.ndarray, "n_contrasts n_stimuli"],
    targets: TargetArray,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: Progress = silent,
    label: str = "",
) -> Float64[np.ndarray, "n_stimuli n_contrasts"]:
    """Return the component of each stimulus' targets along directions that are contrasts of targets themselves, u = C Y.

        (Y - ȳ) uᵀ = (Y - ȳ) (Y - ȳ)ᵀ Cᵀ

    in one pass over the targets, without forming the directions.

    Args:
        contrasts: C, whose rows sum to 0.
        targets: training targets Y; they stream past in blocks.
        device: where products are computed.
        dtype: of the products.
        progress: called as progress(label, columns_done, n_columns) after each block.
        label: says what is computed.

    Raises:
        ValueError: if contrasts have another number of stimuli, or a row does not sum to 0.
    """
    if contrasts.shape[1] != targets.shape[0] or not np.allclose(contrasts.sum(axis=1), 0, atol=1e-6):
        raise ValueError(
            f"contrasts must hold one number for each of {targets.shape[0]} stimuli, with sum 0, got an array of shape "
            f"{contrasts.shape}"
        )
    C = torch.tensor(np.ascontiguousarray(contrasts.T), dtype=dtype, device=device)

    def part(block: Block) -> Float[np.ndarray, "n_stimuli n_contrasts"]:
        Y = block.centred()
        own: Float[np.ndarray, "n_stimuli n_contrasts"] = multiply(Y, multiply(Y.T, C)).cpu().numpy()
        return own

    return sum_over_blocks(targets, part, tuple(C.shape), device, dtype, progress, label)


def _add_components(
    U: Float[torch.Tensor, "n_targets _"], sums: dict[int, Float[np.ndarray, "n_stimuli _"]], block: Block
) -> None:
    Y = block.centred()
    sums[block.columns.start] = multiply(Y, U[block.columns]).cpu().numpy()


def direction_maps(gram: Gram, inverse: Solve, values: Float[np.ndarray, "n_rows n_directions"]) -> DirectionMaps:
    """Return coefficients and patterns of the voxels for features z = Y uᵀ that the decoder predicts.

        weights_u = B uᵀ,  patterns_u = Cov(X, ẑ_u) / Var(ẑ_u),  ẑ_u = (X - x̄) B uᵀ

    Each direction stands alone. All together they would have the patterns Σ_X W Σ_ẑ⁻¹ (Haufe et al. 2014, equation 6), the same
    where the ẑ are uncorrelated; where they are correlated, a direction's own pattern holds what it shares with the others.

    Args:
        gram: of the training responses.
        inverse: R ↦ (K + alpha I)⁻¹ R.
        values: z of each training row, up to a constant.
    """
    B, _ = coefficients(gram, inverse, values)
    decoded = gram.rows.times(torch.from_numpy(B).to(gram.matrix))
    squares = decoded.square().sum(dim=0, dtype=torch.float64)
    products = gram.rows.transposed_times(decoded).double()
    patterns = torch.where(squares > 0, products / squares, 0).cpu().numpy()
    return DirectionMaps(B.T.copy(), patterns.T.astype(B.dtype))


def direction_maps_by_group(
    rows: TrainingRows,
    values: Mapping[str, Float64[np.ndarray, "n_stimuli _"]],
    alphas: Mapping[str, float],
    device: str = "cpu",
) -> Iterator[tuple[str, DirectionMaps]]:
    """Yield the maps of each group's directions; groups share Gram matrices, and factorisations of equal alphas.

    Args:
        rows: what was fitted to.
        values: group → components of the stimuli's targets along its directions.
        alphas: group → its penalty.
        device: where it is computed.
    """
    own = {group: alphas[group] for group in values}
    for system, groups in grams(rows.responses, rows.weights, own, device):
        for alpha in sorted({own[group] for group in groups}):
            inverse = solve(system, alpha)
            for group in groups:
                if own[group] == alpha:
                    chosen = values[group] if rows.stimuli is None else values[group][rows.stimuli]
                    yield group, direction_maps(system, inverse, chosen)
            del inverse  # before the next is computed
        del system
