"""Batches that halve themselves when a GPU runs out of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from braindiffuser.errors import RunError
from braindiffuser.progress import Progress, silent

Result = TypeVar("Result")


class Batches:
    """Computes rows a batch at a time.

    A batch that does not fit the memory of the GPU is halved, and all later batches have that size.

    Attributes:
        size: rows that are computed together.
    """

    def __init__(self, size: int, progress: Progress = silent) -> None:
        """Begin with batches of `size` rows; progress(label, 1, 1) says when they become smaller."""
        self.size, self._progress = size, progress

    def over(self, n: int, compute: Callable[[slice], Result]) -> Iterator[tuple[slice, Result]]:
        """Yield successive slices of n rows with `compute`'s result.

        Raises:
            RunError: if the GPU has no room for a single row.
        """
        start = 0
        while start < n:
            rows = slice(start, min(start + self.size, n))
            made = self._try(compute, rows)
            if made is None:
                self._halve(rows.stop - rows.start)
            else:
                yield rows, made[0]
                start = rows.stop

    def _try(self, compute: Callable[[slice], Result], rows: slice) -> tuple[Result] | None:
        """Return (result,), or None if GPU memory ran out; the attempt's tensors are freed."""
        try:
            return (compute(rows),)
        except RuntimeError as error:
            if type(error).__name__ != "OutOfMemoryError":  # compared by name, so torch is not imported
                raise
        return None

    def _halve(self, n: int) -> None:
        import torch

        if n == 1:
            raise RunError(
                "the memory of the GPU does not hold a single picture at a time: free it or choose another --device; "
                "for drawing, generator.diffusion.offload: true needs less"
            )
        torch.cuda.empty_cache()
        self.size = n // 2
        self._progress(f"batches of {n} do not fit the memory of the GPU: continuing with {self.size}", 1, 1)
