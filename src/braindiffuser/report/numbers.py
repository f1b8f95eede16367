"""Numbers in print: one form for values, shares, intervals and p values on every page."""

from __future__ import annotations

import math
from collections.abc import Sequence

MISSING = "–"
"""Stands where there is no number."""


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """Print a number with so many decimals and a real minus sign; 0 has no sign unless it is asked for.

    >>> number(-0.1234), number(0.5, 1, signed=True), number(-0.0001), number(None)
    ('−0.123', '+0.5', '0.000', '–')
    """
    if value is None or math.isnan(value):
        return MISSING
    return f"{value:{'+' if signed else ''}z.{digits}f}".replace("-", "−")


def percent(share: float | None, digits: int = 0, *, signed: bool = False) -> str:
    """Print a share of 1 in percent.

    >>> percent(0.5), percent(-0.0914, 1, signed=True), percent(None)
    ('50 %', '−9.1 %', '–')
    """
    if share is None or math.isnan(share):
        return MISSING
    return f"{number(100 * share, digits, signed=signed)} %"


def interval(ends: Sequence[float], digits: int = 3) -> str:
    """Print two ends.

    >>> interval((-0.25, 0.5), 2)
    '−0.25 – 0.50'
    """
    low, high = ends
    return f"{number(low, digits)} – {number(high, digits)}"


def percent_interval(ends: Sequence[float], digits: int = 1) -> str:
    """Print two ends that are shares of 1, in percent.

    >>> percent_interval((0.901, 0.92))
    '90.1 – 92.0 %'
    """
    return f"{interval([100 * end for end in ends], digits)} %"


def p_value(p: float) -> str:
    """Print a p value: three decimals, and small ones as a bound, since none is 0.

    >>> p_value(0.0312), p_value(0.00002)
    ('0.031', '< 0.001')
    """
    return number(p) if p >= 0.001 else "< 0.001"


def p_sentence(p: float) -> str:
    """Print a p value with its name, as sentences have it.

    >>> p_sentence(0.2), p_sentence(0.00002)
    ('p = 0.200', 'p < 0.001')
    """
    printed = p_value(p)
    return f"p {printed}" if printed.startswith("<") else f"p = {printed}"


def counted(n: int, thing: str) -> str:
    """Print a number of things.

    >>> counted(1, "metric"), counted(1200, "test picture")
    ('1 metric', '1,200 test pictures')
    """
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def first_of(words: Sequence[str], most: int) -> str:
    """List the first words, and say how many more there are.

    >>> first_of(["V1", "V2", "V3"], 2), first_of(["V1", "V2"], 2)
    ('V1, V2 and 1 more', 'V1, V2')
    """
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return f"{', '.join(words[:most])}{more}"


def join(words: Sequence[str]) -> str:
    """List words in a sentence.

    >>> join(["V1", "V2", "V3"]), join(["V1"]), join([])
    ('V1, V2 and V3', 'V1', '')
    """
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
