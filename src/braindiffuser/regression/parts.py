"""Parts of a fit that other processes compute, from the same training rows and targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

from braindiffuser.regression.rows import TargetArray, TrainingRows

Item = TypeVar("Item")
Made = TypeVar("Made")
PartOfFit: TypeAlias = Callable[[TrainingRows, Mapping[str, TargetArray], str, Item], Made]
"""Computes one part from training rows, targets, a device and an item: a function of a module, or `functools.partial` of one."""


@runtime_checkable
class Each(Protocol):
    """Computes parts in processes that open the training rows and targets themselves."""

    def __call__(self, part: PartOfFit[Item, Made], items: Sequence[Item], /) -> Iterator[tuple[Item, Made]]:
        """Yield every item with `part(rows, targets, device, item)`, in order; items are small, since they are sent."""
