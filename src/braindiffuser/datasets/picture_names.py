r"""Which picture a written name means: with folders or without, with a suffix or without, whatever program wrote it.

A name is first taken as it is written. Else it means every picture whose name is the same but for what one of the two leaves out,
the suffix or folders at the beginning. Accents are composed (NFC), since files and systems store them in two ways; \ is /.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from braindiffuser.picture_files import SUFFIXES


def composed(text: str) -> str:
    """Return a text with composed accents (NFC): tables and file systems differ in how they store them."""
    return unicodedata.normalize("NFC", text)


def path_parts(name: str) -> tuple[str, ...]:
    r"""Return the parts of a path that may have been written on Windows.

    >>> path_parts(r"C:\stim\a.png"), path_parts("stim/a.png")
    (('C:', 'stim', 'a.png'), ('stim', 'a.png'))
    """
    return PurePosixPath(name.replace("\\", "/")).parts or (name,)


def is_tail(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether the shorter path of folders is the end of the longer one.

    >>> is_tail(["b"], ["a", "b"]), is_tail(["a"], ["a", "b"]), is_tail([], ["a"])
    (True, False, True)
    """
    n = min(len(one), len(other))
    return not n or tuple(one[-n:]) == tuple(other[-n:])


def without_suffix(name: str) -> str:
    """Return a file's name without the suffix of a picture; other dots stay.

    >>> without_suffix("a.PNG"), without_suffix("scene.01")
    ('a', 'scene.01')
    """
    return Path(name).stem if Path(name).suffix.lower() in SUFFIXES else name


def stem_of(name: str) -> str:
    """Return the last part of a name, without the suffix of a picture.

    >>> stem_of("stim/a.PNG"), stem_of("a.1")
    ('a', 'a.1')
    """
    return without_suffix(path_parts(composed(name))[-1])


def named_alike(name: str, others: Sequence[str]) -> list[str]:
    """Return which of some names may be the same picture as one name; the closest only.

    Of equal stems (see `stem_of`), and folders of which the shorter path is the end of the longer one: the very name, else
    those with the same suffix, else all.

    >>> named_alike("stimuli/a.png", ["a", "b.png", "other/a.png"])
    ['a']
    >>> named_alike("a", ["stimuli/a.png", "a.jpg"])
    ['stimuli/a.png', 'a.jpg']
    """
    *above, last = own = path_parts(composed(name))
    each = {other: path_parts(composed(other)) for other in others if stem_of(other) == stem_of(name)}
    found = {other: path for other, path in each.items() if is_tail(above, path[:-1])}
    very = [other for other, path in found.items() if path == own]
    return very or [other for other, path in found.items() if path[-1] == last] or list(found)


class Meant(NamedTuple):
    """What written names mean among known ones.

    Attributes:
        found: written name → known name.
        several: written name → the known names that it may mean.
        nearly: written name that means none → a known name that differs from it in case or suffix.
    """

    found: dict[str, str]
    several: dict[str, list[str]]
    nearly: dict[str, str]


def pictures_meant(written: Iterable[str], known: Iterable[str]) -> Meant:
    """Find the pictures that names mean.

    Args:
        written: names, as someone listed them.
        known: names of the pictures that there are, each once.

    Example:
        >>> pictures_meant(["img_1", "B.png", "c"], ["images/img_1.png", "b.png", "x/c.png", "y/c.png"])
        Meant(found={'img_1': 'images/img_1.png'}, several={'c': ['x/c.png', 'y/c.png']}, nearly={'B.png': 'b.png'})
    """
    by_stem: dict[str, list[str]] = {}
    by_form = {composed(name): name for name in known}
    for name in by_form:
        by_stem.setdefault(without_suffix(path_parts(name)[-1]), []).append(name)
    by_rough: dict[str, list[str]] = {}
    for name in by_form:
        by_rough.setdefault(_rough(name), []).append(name)
    meant = Meant({}, {}, {})
    for name in dict.fromkeys(written):
        form = composed(name.strip())
        same = [form] if form in by_form else _but_for_what_is_left_out(form, by_stem)
        if len(same) == 1:
            meant.found[name] = by_form[same[0]]
        elif same:
            meant.several[name] = [by_form[other] for other in same]
        else:
            near = [other for other in by_rough.get(_rough(form), ()) if is_tail(_folders(form), _folders(other))]
            if near:
                meant.nearly[name] = by_form[near[0]]
    return meant


def _but_for_what_is_left_out(name: str, by_stem: dict[str, list[str]]) -> list[str]:
    """Return the names that are the same where one of the two has no suffix, or fewer folders."""
    *above, last = path_parts(name)
    stem = without_suffix(last)
    same = []
    for other in by_stem.get(stem, ()):
        *above_other, last_other = path_parts(other)
        if (last == last_other or stem in (last, last_other)) and is_tail(above, above_other):
            same.append(other)
    return same


def _folders(name: str) -> tuple[str, ...]:
    return path_parts(name.casefold())[:-1]


def _rough(name: str) -> str:
    """Return a name as it is compared with those that nearly match: without folder, suffix of a picture and case."""
    return without_suffix(path_parts(name)[-1]).casefold()
