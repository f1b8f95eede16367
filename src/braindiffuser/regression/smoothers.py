"""Smoother matrices, which turn training targets into predictions or coefficients: one per alpha, shared by target groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float64

from braindiffuser.regression.linalg import Solve, multiply
from braindiffuser.regression.rows import TrainingRows
from braindiffuser.regression.solvers import (
    Gram,
    Queries,
    check_alphas,
    grams,
    prefers_spectrum,
    prepare_queries,
    smoother_matrix,
    solve,
    solver_for,
)

Smoothers: TypeAlias = dict[float, torch.Tensor]
"""alpha → smoother matrix A (n_new + n_patterns, n_stimuli), to be multiplied with the targets of stimuli."""
MapKind: TypeAlias = Literal["weights", "patterns"]
"""What a voxel's row stands for: its coefficients, or its covariances with the decoded features."""
VOXELS_AT_A_TIME = 1024
"""Voxels that are solved for, or multiplied with a block of targets, at a time: 36 MB of 8,859 stimuli in float32."""


def smoothers_by_group(
    rows: TrainingRows,
    alphas: Mapping[str, Sequence[float] | Float[np.ndarray, " n_alphas"]],
    responses: Float[np.ndarray, "n_new n_voxels"],
    patterns: Float[np.ndarray, "n_patterns n_voxels"] | None = None,
    device: str = "cpu",
) -> dict[str, Smoothers]:
    """Return for each target group and alpha the smoother matrix that turns targets of stimuli into predictions.

    Precision and method depend on a group's own alphas, so a group's matrices are the same, bit for bit, whichever other
    groups come with it. Groups share one Gram matrix per precision, and one factorisation per alpha and method.

    Args:
        rows: what is fitted to.
        alphas: group → penalties ≥ 0.
        responses: new responses; their rows of the matrix sum to 1.
        patterns: voxel patterns p, multiplied with coefficients alone (p B); their rows sum to 0, below those of responses.
        device: where it is computed, and where the matrices are.

    Raises:
        ValueError: if an alpha is negative or not finite, or numbers of voxels differ.
    """
    grids = {group: np.unique(check_alphas(np.asarray(values, np.float64))) for group, values in alphas.items()}
    smallest = {group: float(grid[0]) for group, grid in grids.items()}
    made: dict[str, Smoothers] = {}
    for system, groups in grams(rows.responses, rows.weights, smallest, device):
        made |= _matrices_by_group(
            system, prepare_queries(system, responses, patterns), rows, {group: grids[group] for group in groups}
        )
        del system  # before the next is computed
    return made


def voxel_smoothers(
    rows: TrainingRows, alphas: Mapping[str, float], kind: MapKind, device: str = "cpu"
) -> Iterator[tuple[list[str], Float[torch.Tensor, "n_voxels n_stimuli"]]]:
    """Yield, alpha by alpha, the matrix C whose product with the targets has a row for each voxel.

        weights:   C Y = B,            C = X̃ᵀ (X̃ X̃ᵀ + alpha I)⁻¹ diag(√w)
        patterns:  C Y = Cov(X, X B),  C = X̃ᵀ (X̃ X̃ᵀ + alpha I)⁻¹ X̃ X̃ᵀ diag(√w) / Σ w

    with X̃, w of `solvers`. C is the smoother matrix of patterns that are 1 in one voxel and 0 elsewhere; its rows sum to 0.
    The covariances are those of the training rows; Haufe et al. (2014) derive activation patterns from them.

    Args:
        rows: what was fitted to.
        alphas: group → its penalty. A group's matrix is the same, bit for bit, whichever other groups come with it.
        kind: which of the two.
        device: where it is computed, and where the matrix is.

    Yields:
        The groups of one alpha, and C. It is as large as the training responses: drop it before asking for the next.

    Raises:
        ValueError: if an alpha is negative or not finite.
    """
    for system, groups in grams(rows.responses, rows.weights, alphas, device):
        for alpha in sorted({alphas[group] for group in groups}):
            C = _of_voxels(system, solve(system, alpha), rows, kind)
            yield [group for group in groups if alphas[group] == alpha], C
            del C
        del system  # before the next is computed


def _of_voxels(
    system: Gram, inverse: Solve, rows: TrainingRows, kind: MapKind
) -> Float[torch.Tensor, "n_voxels n_stimuli"]:
    """Compute C for some voxels at a time: a solution for all of them would be as large as C again, several times over."""
    n_voxels, total = system.rows.shape[1], float(system.root_weights.square().sum(dtype=torch.float64))

    def covariance(R: torch.Tensor) -> torch.Tensor:
        return multiply(system.matrix, inverse(R)) / total

    C = torch.empty(n_voxels, rows.n_stimuli, dtype=system.dtype, device=system.matrix.device)
    for start in range(0, n_voxels, VOXELS_AT_A_TIME):
        chosen = slice(start, min(start + VOXELS_AT_A_TIME, n_voxels))
        queries = _queries_of_voxels(system, chosen)
        C[chosen] = by_stimulus(smoother_matrix(system, inverse if kind == "weights" else covariance, queries), rows)
    return C


def _queries_of_voxels(system: Gram, chosen: slice) -> Queries:
    """Make the right-hand sides of patterns that are 1 in one of the chosen voxels: their columns of X̃ or of I."""
    n, like = chosen.stop - chosen.start, system.matrix
    if system.form == "dual":
        right_side = system.rows.whole()[:, chosen].contiguous()
    else:
        right_side = like.new_zeros(len(like), n)
        right_side[chosen].fill_diagonal_(1)
    return Queries(right_side, like.new_zeros(n, 1))


def _matrices_by_group(
    system: Gram, queries: Queries, rows: TrainingRows, grids: Mapping[str, Float64[np.ndarray, " n_alphas"]]
) -> dict[str, Smoothers]:
    """Compute each group's matrices; groups of one method share a factorisation per alpha."""
    made: dict[str, Smoothers] = {}
    for by_spectrum in (False, True):
        groups = [group for group, grid in grids.items() if prefers_spectrum(grid) == by_spectrum]
        if groups:
            inverse_of = solver_for(system, by_spectrum)
            every = np.unique(np.concatenate([grids[group] for group in groups])).tolist()
            shared = {alpha: by_stimulus(smoother_matrix(system, inverse_of(alpha), queries), rows) for alpha in every}
            made |= {group: {alpha: shared[alpha] for alpha in grids[group].tolist()} for group in groups}
    return made


def by_stimulus(A: torch.Tensor, rows: TrainingRows) -> torch.Tensor:
    """Add the columns of rows that belong to one stimulus, since their targets are the same."""
    if rows.stimuli is None:
        return A
    numbers = torch.from_numpy(rows.stimuli).to(A.device)
    return A.new_zeros(len(A), rows.n_stimuli).index_add_(1, numbers, A)
