"""Which of a recording's regions a written name means: one rule for all places where regions are named.

A name is first taken as it is written, then whatever its case, hyphens, underscores and spaces.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence
from difflib import get_close_matches

MOST_NAMES = 20
"""Regions that a message lists by name."""
MOST_CLOSE = 2
"""Regions that a message suggests for a name."""


def plain(name: str) -> str:
    """Return a name without case, hyphens, underscores and spaces.

    >>> plain("FFA-1"), plain("early vis"), plain("ecc_4+")
    ('ffa1', 'earlyvis', 'ecc4+')
    """
    text = unicodedata.normalize("NFC", name).casefold()
    return "".join(letter for letter in text if letter not in "-_" and not letter.isspace())


def alike(written: str, known: Collection[str]) -> list[str]:
    """Return the names that a written one may mean: itself alone if it is there, else all of its plain spelling.

    >>> alike("FFA-1", ["FFA1", "OFA"]), alike("FFA-1", ["FFA1", "ffa_1"]), alike("ffa_1", ["FFA1", "ffa_1"])
    (['FFA1'], ['FFA1', 'ffa_1'], ['ffa_1'])
    """
    return [written] if written in known else [name for name in known if plain(name) == plain(written)]


def own_name(written: str, known: Collection[str]) -> str | None:
    """Return the one name that a written one means; None if there is none, or there are several."""
    found = alike(written, known)
    return found[0] if len(found) == 1 else None


def with_hint(written: str, same: Sequence[str], known: Collection[str]) -> str:
    """Return a name that means no region as messages show it, with those that it may stand for.

    Args:
        written: the name.
        same: regions that it is spelled like, if several.
        known: names of all regions.

    >>> with_hint("VTC-c", [], ["V1", "atlas:VTC-a"])
    "'VTC-c' (closest: atlas:VTC-a)"
    """
    if same:
        return f"{written!r} (spelled like {' and '.join(sorted(same))}: write one of them)"
    plainly: dict[str, str] = {}
    for name in known:  # and labels of volumes without the volume's name, as they may be written
        for spelled in (name, name.rpartition(":")[2]):
            plainly.setdefault(plain(spelled), name)
    near = get_close_matches(plain(written), plainly, 2 * MOST_CLOSE, 0.5)  # a label's two spellings may both be
    close = list(dict.fromkeys(plainly[found] for found in near))[:MOST_CLOSE]
    return f"{written!r} (closest: {', '.join(close)})" if close else repr(written)


def listed(names: Collection[str]) -> str:
    """List names in short, ascending: the first ones, and how many there are more."""
    there = sorted(names)
    more = f" and {len(there) - MOST_NAMES} more" if len(there) > MOST_NAMES else ""
    return f"{', '.join(there[:MOST_NAMES])}{more}"
