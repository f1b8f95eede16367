"""Which of a recording's regions a written name means: one rule for all places where regions are named.

A name is first taken as it is written, then whatever its case, hyphens, underscores and spaces. `V1v | V1d` unites regions.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from itertools import chain

from braindiffuser.errors import RecordingError

UNION = "|"
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


def regions_meant(written: Mapping[str, Sequence[str]], known: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the recording's own names of the regions that entries of an experiment name.

    Args:
        written: entry, such as responses.rois → names, each of a region or of several united by |.
        known: names of the recording's regions.

    Returns:
        Entry → own names of all regions that it names, each once.

    Raises:
        RecordingError: some are not there, or are spelled like several; lists all of them, those nearest to them, and those that
            there are.

    Example:
        >>> regions_meant({"responses.rois": ["v1v | V1d", "hv-4"]}, ["V1v", "V1d", "hV4", "V2"])
        {'responses.rois': ('V1v', 'V1d', 'hV4')}
    """
    parts = {
        entry: list(chain.from_iterable(_parts(name, known) for name in names)) for entry, names in written.items()
    }
    unknown = {
        entry: [part for part in dict.fromkeys(own) if own_name(part, known) is None] for entry, own in parts.items()
    }
    lacking = [
        f"{', '.join(_with_hint(part, known) for part in own)}, which {entry} names"
        for entry, own in unknown.items()
        if own
    ]
    if lacking:
        there = sorted(known)
        more = f" and {len(there) - MOST_NAMES} more" if len(there) > MOST_NAMES else ""
        raise RecordingError(
            f"there is no region {', and no '.join(lacking)}; this recording has "
            f"{', '.join(there[:MOST_NAMES]) or 'no regions'}{more}"
        )
    return {
        entry: tuple(dict.fromkeys(name for part in own if (name := own_name(part, known))))
        for entry, own in parts.items()
    }


def _parts(name: str, known: Collection[str]) -> list[str]:
    """Return the names that a union unites; a region whose own name holds the sign is no union."""
    return [name] if UNION not in name or alike(name, known) else [part.strip() for part in name.split(UNION)]


def _with_hint(part: str, known: Collection[str]) -> str:
    """Return a name as messages show it, with those it may stand for."""
    same = alike(part, known)
    if same:
        return f"{part!r} (spelled like {' and '.join(sorted(same))}: write one of them)"
    plainly: dict[str, str] = {plain(name): name for name in known}
    close = [plainly[found] for found in get_close_matches(plain(part), plainly, MOST_CLOSE, 0.5)]
    return f"{part!r} (closest: {', '.join(close)})" if close else repr(part)
