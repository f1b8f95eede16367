"""How long work reports how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Progress", "silent"]

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called as progress(label, done, total): what is being done, how much of it is done, and how much there is. A label that comes
with done = total = 1, and only so, is a notice."""


def silent(label: str, done: int, total: int) -> None:
    """Report to nobody."""


def part_of(progress: Progress, before: int, total: int) -> Progress:
    """Report work as part of a longer job, of which `before` is done already and `total` is all."""
    return lambda label, done, _: progress(label, before + done, total)
