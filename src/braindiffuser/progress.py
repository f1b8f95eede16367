"""The callback by which long work reports progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Progress", "silent"]

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called as progress(label, done, total): what is being done, how much of it is done, and how much there is. A label reported
only as (label, 1, 1) is a message without a bar."""


def silent(label: str, done: int, total: int) -> None:
    """Discard the report."""


def offset_progress(progress: Progress, before: int, total: int) -> Progress:
    """Return a callback that adds `before` to done and reports `total` as the whole."""
    return lambda label, done, _: progress(label, before + done, total)
