"""Rows that decoders are fitted to: responses of stimuli averaged over repeats, or single trials; weighted or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from braindiffuser.regression.solvers import ask, check_alphas, gram, operator, solve_each


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Responses and which stimulus each belongs to.

    Attributes:
        responses: (n_rows, n_voxels).
        stimuli: row of the targets that each response belongs to, 0 … n_stimuli − 1, each at least once; None: row i shows
            stimulus i. Several rows of one stimulus are single trials.
        weights: of each row, > 0, such as the trials that were averaged into it; None: all 1.

    Raises:
        ValueError: if their numbers differ, or a stimulus has no row.
    """

    responses: Float[np.ndarray, "n_rows n_voxels"]
    stimuli: Int[np.ndarray, " n_rows"] | None = None
    weights: Float[np.ndarray, " n_rows"] | None = None

    def __post_init__(self) -> None:
        """Check that they belong together."""
        for name in ("stimuli", "weights"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.responses):
                raise ValueError(f"got {len(values)} {name}, expected one for each of {len(self.responses)} rows")
        if self.stimuli is not None:
            found = np.unique(self.stimuli)
            if not np.array_equal(found, np.arange(len(found))):
                raise ValueError(f"stimuli must be 0 … {len(found) - 1}, each at least once; got up to {found.max()}")

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli."""
        return len(self.responses) if self.stimuli is None else int(self.stimuli.max()) + 1

    def of(self, chosen: Bool[np.ndarray, " n_stimuli"]) -> TrainingRows:
        """Return the rows of some stimuli, which are numbered anew in their order."""
        rows = chosen if self.stimuli is None else chosen[self.stimuli]
        numbers = np.cumsum(chosen) - 1
        return TrainingRows(
            self.responses[rows],
            None if self.stimuli is None else numbers[self.stimuli[rows]],
            None if self.weights is None else self.weights[rows],
        )

    def averages(self) -> Float[np.ndarray, "n_stimuli n_voxels"]:
        """Average each stimulus' rows, as responses that are to be decoded are averaged over their repeats."""
        if self.stimuli is None:
            return self.responses
        sums = np.zeros((self.n_stimuli, self.responses.shape[1]), self.responses.dtype)
        np.add.at(sums, self.stimuli, self.responses)
        averages: Float[np.ndarray, "n_stimuli n_voxels"] = sums / np.bincount(self.stimuli)[:, None].astype(sums.dtype)
        return averages


def operators(
    rows: TrainingRows,
    alphas: Sequence[float] | Float[np.ndarray, " n_alphas"],
    responses: Float[np.ndarray, "n_new n_voxels"] | None = None,
    patterns: Float[np.ndarray, "n_patterns n_voxels"] | None = None,
    device: str = "cpu",
) -> dict[float, torch.Tensor]:
    """Return for each alpha the matrix that turns targets of stimuli into what is asked, from one Gram matrix.

    Args:
        rows: what is fitted to.
        alphas: penalties ≥ 0; each is factorised once.
        responses: predict these: rows of the matrix that sum to 1.
        patterns: send these through the coefficients alone: rows that sum to 0, below those of responses.
        device: where it is computed, and where the matrices are.

    Returns:
        alpha → (n_new + n_patterns, n_stimuli), to be applied to targets of stimuli.
    """
    grid = np.unique(check_alphas(np.asarray(alphas, np.float64)))
    system = gram(rows.responses, rows.weights, smallest_alpha=float(grid[0]), device=device)
    inverse_of, questions = solve_each(system, grid), ask(system, responses, patterns)
    return {alpha: _by_stimulus(operator(system, inverse_of(alpha), questions), rows) for alpha in grid.tolist()}


def _by_stimulus(A: torch.Tensor, rows: TrainingRows) -> torch.Tensor:
    """Add the columns of rows that belong to one stimulus, since their targets are the same."""
    if rows.stimuli is None:
        return A
    numbers = torch.from_numpy(rows.stimuli).to(A.device)
    return A.new_zeros(len(A), rows.n_stimuli).index_add_(1, numbers, A)
