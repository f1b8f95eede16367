"""Targets that are too many to hold: read in blocks of columns, from memory or from disk, the next one while one is used.

A row of targets may have any shape, such as 257 tokens × 768; its columns are counted in C order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float64

COLUMNS_PER_BLOCK = 4096
"""Columns that are held at a time: 145 MB of 8,859 stimuli in float32."""

BlockProgress: TypeAlias = Callable[[int, int], None]
"""Told the columns done and the columns in all."""


@runtime_checkable
class TargetArray(Protocol):
    """Targets of stimuli, (n_stimuli, …), in any precision: a numpy array, or a zarr array on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Stimuli first."""

    def __getitem__(self, key: Any, /) -> Any:
        """Return a block as a numpy array."""


def n_columns(targets: TargetArray) -> int:
    """Count the targets of one stimulus."""
    return math.prod(targets.shape[1:])


def step_of(shape: tuple[int, ...]) -> int:
    """How far along axis 1 a block of about COLUMNS_PER_BLOCK columns reaches; at least 1.

    >>> step_of((8859, 91168)), step_of((8859, 257, 768))
    (4096, 5)
    """
    return max(1, COLUMNS_PER_BLOCK // math.prod(shape[2:]))


def column_blocks(
    targets: TargetArray,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield all stimuli's targets in blocks: which columns, and their values (n_stimuli, n_block).

    A block may be changed in place, and is valid until the next one is asked for: they share their memory.
    """
    step, inner = step_of(targets.shape), math.prod(targets.shape[2:])
    starts = range(0, targets.shape[1], step)

    def read(start: int) -> np.ndarray:
        block = np.asarray(targets[:, start : start + step]).reshape(targets.shape[0], -1)
        return np.require(block, requirements=["C", "W"])

    memory = torch.empty(targets.shape[0] * min(step, targets.shape[1]) * inner, dtype=dtype, device=device)
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read, 0)
        for start in starts:
            block = coming.result()
            if start + step < targets.shape[1]:
                coming = reader.submit(read, start + step)
            first = start * inner
            values = memory[: block.size].view(block.shape)
            values.copy_(torch.from_numpy(block))
            yield slice(first, first + block.shape[1]), values


def centre(Y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Take the mean of each column (n, n_columns) off in place.

    Returns:
        What was taken off, in the type of Y; and means and standard deviations (ddof 0) in float64, which also know what
        that type's rounding left in Y.
    """
    share = torch.full((len(Y),), 1 / len(Y), dtype=Y.dtype, device=Y.device)
    shift = share @ Y  # several times faster than Y.mean(dim=0)
    Y -= shift
    rest = (share @ Y).double()
    variance = _squares(Y).double() / len(Y) - rest.square()
    return shift, shift.double() + rest, variance.clamp(min=0).sqrt()


def _squares(Y: torch.Tensor) -> torch.Tensor:
    """Σ_i Y_ij², of each column; on a CPU by numpy, which makes no copy and is ten times faster there."""
    if Y.device.type != "cpu":
        return Y.square().sum(dim=0)
    return torch.from_numpy(np.einsum("ij,ij->j", Y.numpy(), Y.numpy()))


class Applied(NamedTuple):
    """What one pass over targets gives.

    Attributes:
        values: A Y, (n_new, n_targets).
        mean: of each target over stimuli.
        std: their standard deviation (ddof 0).
    """

    values: Float[np.ndarray, "n_new n_targets"]
    mean: Float64[np.ndarray, " n_targets"]
    std: Float64[np.ndarray, " n_targets"]


def apply_operators(
    operators: Mapping[float, torch.Tensor],
    targets: TargetArray,
    alphas: Float64[np.ndarray, " n_targets"],
    progress: BlockProgress | None = None,
) -> Applied:
    """Multiply operators with targets in one pass over them, each target with the operator of its alpha.

        A Y = A (Y - s) + (A 1) s

    for any row s; near the targets' mean it spares float32 their common part.

    Args:
        operators: alpha → A (n_new, n_stimuli).
        targets: training targets Y.
        alphas: alpha of each target.
        progress: told of every block.
    """
    total, first = n_columns(targets), next(iter(operators.values()))
    values = torch.empty(len(first), total, dtype=first.dtype)
    mean, std = np.empty(total), np.empty(total)
    sums = {alpha: A.sum(dim=1, keepdim=True, dtype=torch.float64).to(A.dtype) for alpha, A in operators.items()}
    for columns, Y in column_blocks(targets, first.device, first.dtype):
        shift, means, spreads = centre(Y)
        mean[columns], std[columns] = means.cpu(), spreads.cpu()
        for alpha in np.unique(alphas[columns]):
            A, own = operators[float(alpha)], alphas[columns] == alpha
            if own.all() and A.device == values.device:  # straight into place, without a copy
                made = torch.mm(A, Y, out=values[:, columns])
                made.addcmul_(sums[float(alpha)], shift)
            else:
                chosen = torch.from_numpy(own).to(A.device)
                made = (A @ Y[:, chosen]).addcmul_(sums[float(alpha)], shift[chosen])
                values[:, columns][:, torch.from_numpy(own)] = made.cpu()
        if progress:
            progress(columns.stop, total)
    return Applied(values.numpy(), mean, std)
