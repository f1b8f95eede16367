"""Batches that become smaller by themselves where memory ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from timed_parts import Result

from braindiffuser.arrays import Pictures
from braindiffuser.batches import Batches
from gpu_parts.random_pictures import MANY, draw
from gpu_parts.setting import GIB, Setting, grey_levels, measured, random_pair

FEW = 4
"""Pictures that fit in the memory that is left; `MANY` do not."""


@measured
@torch.no_grad()
def out_of_memory(setting: Setting, _: float) -> Iterator[Result]:
    """Draw a batch that does not fit, and compare the pictures with those of batches of the size that it came down to.

    The card's memory is limited to what is between the needs of FEW and of MANY pictures; a CPU pretends.
    """
    networks = random_pair(setting, setting.half)
    n_steps = 4

    def in_batches(size: int) -> Pictures:
        starts = range(0, MANY, size)
        return np.concatenate([draw(networks, setting, slice(start, start + size), n_steps) for start in starts])

    needed = {size: memory_of(setting, partial(in_batches, size)) for size in (FEW, MANY)}
    tried: list[int] = []

    def attempt(rows: slice) -> Pictures:
        tried.append(rows.stop - rows.start)
        if not setting.on_gpu and tried[-1] > FEW:
            raise torch.OutOfMemoryError("pretended: out of memory")
        return draw(networks, setting, rows, n_steps)

    batches = Batches(MANY)
    with limited_memory(setting, sum(needed.values()) / 2):
        made = np.concatenate([pictures for _, pictures in batches.over(MANY, attempt)])
    yield {
        "memory_is": "limited" if setting.on_gpu else "pretended",
        "needed_gb": [round(bytes_ / GIB, 2) for bytes_ in needed.values()],
        "batches_tried": tried,
        "became_smaller": batches.size < MANY,
        "equal_to_pictures_of_that_batch": bool(np.array_equal(made, in_batches(batches.size))),
    }
    yield grey_levels("one_batch", made, in_batches(MANY))


def memory_of(setting: Setting, work: Callable[[], object]) -> float:
    """Bytes that torch holds of the card at most during some work, with what it held before; of a CPU 0."""
    if not setting.on_gpu:
        work()
        return 0.0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    work()
    return float(torch.cuda.max_memory_reserved())


@contextmanager
def limited_memory(setting: Setting, most: float) -> Iterator[None]:
    """Let torch hold so many bytes of the card at most."""
    if not setting.on_gpu:
        yield
        return
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(most / torch.cuda.get_device_properties(setting.device).total_memory)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
