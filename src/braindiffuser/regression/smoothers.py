"""Smoother matrices, which turn training targets into predictions: one per alpha, shared by all target groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float64

from braindiffuser.regression.rows import TrainingRows
from braindiffuser.regression.solvers import (
    Gram,
    Queries,
    check_alphas,
    grams,
    prefers_spectrum,
    prepare_queries,
    smoother_matrix,
    solver_for,
)

Smoothers: TypeAlias = dict[float, torch.Tensor]
"""alpha → smoother matrix A (n_new + n_patterns, n_stimuli), to be multiplied with the targets of stimuli."""


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
            shared = {alpha: _by_stimulus(smoother_matrix(system, inverse_of(alpha), queries), rows) for alpha in every}
            made |= {group: {alpha: shared[alpha] for alpha in grids[group].tolist()} for group in groups}
    return made


def _by_stimulus(A: torch.Tensor, rows: TrainingRows) -> torch.Tensor:
    """Add the columns of rows that belong to one stimulus, since their targets are the same."""
    if rows.stimuli is None:
        return A
    numbers = torch.from_numpy(rows.stimuli).to(A.device)
    return A.new_zeros(len(A), rows.n_stimuli).index_add_(1, numbers, A)
