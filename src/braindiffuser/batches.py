"""Batches that halve themselves when memory runs out, and how a lack of memory is recognised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from braindiffuser.errors import RunError
from braindiffuser.progress import Progress, silent

Result = TypeVar("Result")

_LACKS_MEMORY = ("out of memory", "_STATUS_ALLOC_FAILED", "unable to find an engine", "can't allocate memory")
"""Parts of messages by which CUDA, cuBLAS, cuDNN, MPS and torch on a CPU report a lack of memory; torch's OutOfMemoryError is
known by its name."""
_SMALLER = "generator.diffusion.precision: half or generator.diffusion.offload: true, or choose another --device"
"""Settings that need less memory."""


def lacks_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, of a GPU or of the machine."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # by name: torch is not imported
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _LACKS_MEMORY)


def _first_line(error: BaseException) -> str:
    """Return an error's first line; PyTorch appends pages of advice."""
    return str(error).partition("\n")[0][:200] or type(error).__name__


@contextmanager
def needing_memory(device: str, who: Callable[[], str]) -> Iterator[None]:
    """Raise a RunError that says what ran out of memory, on which device, and what needs less.

    Args:
        device: where it computes.
        who: returns the name of the step, when it is too late.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not lacks_memory(error):
            raise
        raise RunError(
            f"{who()} ran out of memory on {device} ({_first_line(error)}): free memory that other programs use, or set a "
            f"smaller batch_size, {_SMALLER}"
        ) from error


class Batches:
    """Computes rows a batch at a time.

    A batch that does not fit in memory is halved, and all later batches have that size.

    Attributes:
        size: rows that are computed together.
    """

    def __init__(self, size: int, progress: Progress = silent) -> None:
        """Begin with batches of `size` rows; progress(label, 1, 1) says when they become smaller."""
        self.size, self._progress = size, progress

    def over(self, n: int, compute: Callable[[slice], Result]) -> Iterator[tuple[slice, Result]]:
        """Yield successive slices of n rows with `compute`'s result.

        Raises:
            RunError: if there is no memory for a single row.
        """
        start = 0
        while start < n:
            rows = slice(start, min(start + self.size, n))
            lack = None
            try:
                made = compute(rows)
            except (RuntimeError, MemoryError) as error:
                if not lacks_memory(error):
                    raise
                lack = _first_line(error)
            if lack is None:
                yield rows, made
                start = rows.stop
            else:  # after the except clause, so that the attempt's tensors are freed
                self._halve(rows.stop - rows.start, lack)

    def _halve(self, n: int, lack: str) -> None:
        import torch

        if n == 1:
            raise RunError(
                f"there is no memory for a single picture ({lack}): free memory that other programs use; for drawing, set "
                f"{_SMALLER}"
            )
        torch.cuda.empty_cache()
        self.size = n // 2
        self._progress(f"batches of {n} do not fit in memory: continuing with {self.size}", 1, 1)
