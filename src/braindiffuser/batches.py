"""Which pictures are computed together: batches halve themselves when memory runs out."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from braindiffuser.errors import RunError, reason
from braindiffuser.progress import Progress, silent

Result = TypeVar("Result")

_LACKS_MEMORY = (
    "out of memory",
    "_status_alloc_failed",
    "unable to find an engine",
    "allocate memory",  # of the system's and of torch's on a CPU
    "allocator: not enough memory",
    "bad_alloc",
    "(os error 12)",
)
"""Parts of messages by which CUDA, cuBLAS, cuDNN, MPS, the system and torch on a CPU report a lack of memory."""


def lacks_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, of a GPU or of the machine."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # by name: torch is not imported
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    of_a_library = isinstance(error, RuntimeError) or type(error).__name__ == "SafetensorError"
    return of_a_library and any(words in str(error).lower() for words in _LACKS_MEMORY)


@contextmanager
def needing_memory(device: str, step_name: Callable[[], str], settings: str = "") -> Iterator[None]:
    """Raise a RunError that says what ran out of memory, on which device, and what needs less.

    Args:
        device: where it computes; empty: it uses main memory alone.
        step_name: returns the name of the running step; called only after memory ran out.
        settings: of this step that need less memory of a GPU.
    """
    try:
        yield
    except Exception as error:
        if not lacks_memory(error):
            raise
        of_gpu = device not in ("", "cpu") and not isinstance(error, MemoryError | OSError)
        less = f", set {settings}" if settings and of_gpu else ""
        other = ", or choose another --device" if of_gpu else ""
        which = f"memory on {device}" if of_gpu else "main memory"
        raise RunError(
            f"{step_name()} ran out of {which} ({reason(error)}): free memory that other programs use{less}{other}"
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

    def over(
        self, n: int, compute: Callable[[slice], Result], most: int | None = None
    ) -> Iterator[tuple[slice, Result]]:
        """Yield successive slices of n rows with `compute`'s result.

        Args:
            n: number of rows.
            compute: makes the result of a slice.
            most: rows that there are in all, if `compute` fills slices up to `size` rows or so many; None: it computes those of
                its slice alone.

        Raises:
            RuntimeError, MemoryError: if there is not enough for a single row; what `compute` raised.
        """
        start = 0
        while start < n:
            rows = slice(start, min(start + self.size, n))
            n_computed = rows.stop - rows.start if most is None else min(self.size, most)
            fits = True
            try:
                made = compute(rows)
            except Exception as error:
                if not lacks_memory(error) or n_computed == 1:
                    raise
                fits = False
            if fits:
                yield rows, made
                start = rows.stop
            else:  # after the except clause, so that the attempt's tensors are freed
                self._halve(n_computed)

    def _halve(self, n: int) -> None:
        import torch

        torch.cuda.empty_cache()
        self.size = n // 2
        self._progress(f"batches of {n} do not fit in memory: continuing with {self.size}", 1, 1)
