"""How much memory a computation takes, found without computing: run it on torch's fake tensors, which have no data."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_memory(compute: Callable[[], Any]) -> int:
    """Peak over the operations of a computation of Σ bytes of the storages, made by it, that are still referred to.

    What an operation takes inside itself (a convolution's workspace), and what an allocator rounds up or keeps, is not seen.

    Args:
        compute: a computation without gradients; under `FakeTensorMode` it takes neither time nor memory.

    Returns:
        Bytes; tensors that were there before are not counted.

    Example:
        >>> peak_memory(lambda: torch.zeros(1000).add(1).add(1))  # each result outlives its operand's use: two at a time
        8000
    """
    storages = _LiveStorages()
    with storages:
        compute()
    return storages.peak


class _LiveStorages(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.peak = 0
        self._live = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self._known.update(_storages((args, kwargs)))  # also tensors that were there before, such as weights
        result = func(*args, **kwargs)
        for storage in _storages(result):
            if storage not in self._known:
                self._known.add(storage)
                self._add(storage.nbytes())
                weakref.finalize(storage, self._add, -storage.nbytes())
        return result

    def _add(self, n_bytes: int) -> None:
        self._live += n_bytes
        self.peak = max(self.peak, self._live)


def _storages(values: Any) -> list[torch.UntypedStorage]:
    return [value.untyped_storage() for value in tree_leaves(values) if isinstance(value, torch.Tensor)]
