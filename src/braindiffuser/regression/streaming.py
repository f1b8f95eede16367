"""Stream targets that do not fit in memory, in blocks of columns, from memory or from disk.

A row of targets may have any shape, such as 257 tokens × 768; its columns are counted in C order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Lock
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from threadpoolctl import threadpool_limits

from braindiffuser.progress import Progress, silent
from braindiffuser.real_numbers import real_numbers
from braindiffuser.regression.linalg import column_products, multiply
from braindiffuser.regression.rows import TargetArray, n_columns

COLUMNS_PER_BLOCK = 4096
"""Columns that are held at a time: 145 MB of 8,859 stimuli in float32."""
ROWS_AT_A_TIME = 512
"""Stimuli whose columns are read, widened and summed at a time: 8 MB in float32, which stay in a processor's cache."""
MOST_CORES = 16
"""Most cores used."""
MOST_BYTES = 4 * 2**30
"""Memory that blocks may take together: of very many stimuli fewer are processed at a time, two at least, whatever they take."""


def step_of(shape: tuple[int, ...]) -> int:
    """How far along axis 1 a block of about COLUMNS_PER_BLOCK columns reaches; at least 1.

    >>> step_of((8859, 91168)), step_of((8859, 257, 768))
    (4096, 5)
    """
    return max(1, COLUMNS_PER_BLOCK // math.prod(shape[2:]))


def block_step(shape: tuple[int, ...]) -> int:
    """How far along axis 1 each block of targets of a shape reaches: few targets are shared out among cores too."""
    return min(step_of(shape), -(-shape[1] // 8))


class Block(NamedTuple):
    """Some columns of the targets of all stimuli.

    Attributes:
        columns: slice of the columns.
        values: Y - s; they may be changed in place, and are valid only during `work`.
        shift: s, near the mean of Y. Subtracting it first keeps float32 sums accurate when targets have a large common mean.
        mean: of Y.
        std: of Y (ddof 0).
    """

    columns: slice
    values: Float[torch.Tensor, "n_stimuli n_block"]
    shift: Float[torch.Tensor, " n_block"]
    mean: Float64[torch.Tensor, " n_block"]
    std: Float64[torch.Tensor, " n_block"]

    def centred(self) -> Float[torch.Tensor, "n_stimuli n_block"]:
        """Turn the values into Y less its mean, in place."""
        left = (self.mean - self.shift).to(self.values.dtype)  # a float64 operand would widen all values on the way
        return self.values.sub_(left)


def for_each_block(
    targets: TargetArray,
    work: Callable[[Block], None],
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: Progress = silent,
    label: str = "",
    step: int | None = None,
) -> None:
    """Call `work` with every block of columns of all stimuli's targets, from several threads and in no order.

    On a CPU each core processes its own blocks with single-threaded BLAS; one block is read ahead. Results do not depend on
    the number of cores.

    Args:
        targets: of all stimuli.
        work: called with each block.
        device: where blocks go.
        dtype: of their values.
        progress: called as progress(label, columns_done, n_columns).
        label: says what is computed.
        step: how far along axis 1 a block reaches; None: as `block_step` says.

    Raises:
        ValueError: if a target is not a finite real number.
    """
    length = targets.shape[1]
    n_cores = min(torch.get_num_threads(), MOST_CORES) if torch.device(device).type == "cpu" else 1
    step = step or block_step(targets.shape)
    size = targets.shape[0] * step * math.prod(targets.shape[2:])
    n_cores = min(n_cores, max(2, MOST_BYTES // (size * dtype.itemsize)) - 1)
    memories: SimpleQueue[torch.Tensor] = SimpleQueue()
    for _ in range(n_cores + 1):
        memories.put(torch.empty(size, dtype=dtype, device=device))

    def one(start: int) -> slice:
        memory = memories.get()
        try:
            block = _load(targets, slice(start, min(start + step, length)), memory)
            work(block)
        finally:
            memories.put(memory)
        return block.columns

    with _one_thread_each(), ThreadPoolExecutor(n_cores + 1) as pool:
        coming = [pool.submit(one, start) for start in range(0, length, step)]
        try:
            for block in coming:
                columns = block.result()
                progress(label, columns.stop, n_columns(targets))
        finally:
            for block in coming:
                block.cancel()


def sum_over_blocks(
    targets: TargetArray,
    part: Callable[[Block], Float[np.ndarray, " ..."]],
    shape: tuple[int, ...],
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: Progress = silent,
    label: str = "",
) -> Float64[np.ndarray, " ..."]:
    """Sum what `part` makes of every block of columns, in the order of the columns, so that cores do not change the sum.

    Args:
        targets: of all stimuli.
        part: makes an array of each block; as many as cores are held at a time.
        shape: of these arrays.
        device: where blocks go.
        dtype: of their values.
        progress: called as progress(label, columns_done, n_columns).
        label: says what is computed.
    """
    made, lock = np.zeros(shape), Lock()
    waiting: dict[int, tuple[int, Float[np.ndarray, " ..."]]] = {}
    reached = 0

    def add(block: Block) -> None:
        nonlocal reached
        own = part(block)
        with lock:  # blocks end in no order, and are added in theirs
            waiting[block.columns.start] = block.columns.stop, own
            while reached in waiting:
                reached, next_own = waiting.pop(reached)
                np.add(made, next_own, out=made)

    for_each_block(targets, add, device, dtype, progress, label)
    return made


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Limit BLAS and torch to one thread."""
    before = torch.get_num_threads()
    with threadpool_limits(1, user_api="blas"):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _load(targets: TargetArray, chosen: slice, memory: torch.Tensor) -> Block:
    """Read columns (part of axis 1) into memory, less the mean of the first rows."""
    inner = math.prod(targets.shape[2:])
    columns = slice(chosen.start * inner, chosen.stop * inner)
    n_rows, width = targets.shape[0], columns.stop - columns.start
    values = memory[: n_rows * width].view(n_rows, width)
    shift, ones = values.new_empty(0), values.new_ones(ROWS_AT_A_TIME)
    sums, squares = torch.zeros(2, width, dtype=torch.float64, device=values.device)
    for start in range(0, n_rows, ROWS_AT_A_TIME):
        rows = values[start : start + ROWS_AT_A_TIME]
        read = np.require(targets[start : start + ROWS_AT_A_TIME, chosen], requirements=["C", "W"])
        real_numbers(read, "targets came as", error=ValueError)
        rows.copy_(torch.from_numpy(read).view(rows.shape))
        if start == 0:
            shift = rows.mean(dim=0)
        rows -= shift
        sums += ones[: len(rows)] @ rows
        squares += column_products(rows, rows)
    mean = sums / n_rows
    if not mean.isfinite().all():
        first = columns.start + int(mean.isfinite().int().argmin())
        raise ValueError(f"targets hold a value that is not finite, first in column {first}")
    std = (squares / n_rows - mean.square()).clamp(min=0).sqrt()
    return Block(columns, values, shift, shift.double() + mean, std)


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


def apply_smoother(
    A: Float[torch.Tensor, "n_new n_stimuli"], targets: TargetArray, progress: Progress = silent, label: str = ""
) -> Applied:
    """Multiply a smoother matrix with targets in one pass over them.

        A Y = A (Y - s) + (A 1) s

    for any row s, here near the mean of Y.

    Args:
        A: smoother matrix.
        targets: training targets Y.
        progress: called as progress(label, columns_done, n_columns) after each block.
        label: says what is computed.
    """
    total = n_columns(targets)
    values = torch.empty(len(A), total, dtype=A.dtype)
    mean, std = np.empty(total), np.empty(total)
    sums = A.sum(dim=1, keepdim=True, dtype=torch.float64).to(A.dtype)

    def apply(block: Block) -> None:
        place = block.columns
        mean[place], std[place] = block.mean.cpu(), block.std.cpu()
        if A.device == values.device:  # straight into place, without a copy
            multiply(A, block.values, out=values[:, place]).addcmul_(sums, block.shift)
        else:
            values[:, place] = multiply(A, block.values).addcmul_(sums, block.shift).cpu()

    for_each_block(targets, apply, A.device, A.dtype, progress, label)
    return Applied(values.numpy(), mean, std)
