"""Pair the pictures of two folders by their names, and tell whether numbers in the names count from elsewhere in one of them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float
from PIL import Image
from scipy import stats

from braindiffuser.errors import RunError
from braindiffuser.picture_files import SUFFIXES, RawPicture, read_picture

MOST_COMPARED = 100
"""Pictures of one folder that are compared with their partners in the other, for each offset."""
MOST_OFFSETS = 64
"""Offsets that are tried for one number in the names, those that pair most pictures."""
SUBSTANTIAL = 0.5
"""Share of the smaller folder that an offset pairs if it is tried; equal names must pair as much."""
CHANCE = 1e-3
"""A shift is refused only if chance makes one among all offsets tried less often than this."""
CHANCE_OF_ONE = 0.01
"""Likewise where one offset pairs up both folders completely and equal names do not; of this offset alone."""
LEAST_ALIKE = 0.1
"""A shift is refused only if pictures paired by it correlate by this much on average."""
SIDE = 16
"""Width and height, in pixels, at which pictures are compared."""

SmallPicture: TypeAlias = Float[np.ndarray, " n"]
"""A picture made small, centred and of length 1: the product of two is their correlation."""
Numbers: TypeAlias = tuple[int, ...]
Line: TypeAlias = tuple[tuple[str, ...], Numbers]
"""Names that differ in one number: the text between their numbers, and their other numbers."""


class NamedPictures(NamedTuple):
    """The pictures of a folder.

    Attributes:
        folder: where they lie.
        files: name in the form in which names are compared → file.
    """

    folder: Path
    files: Mapping[str, Path]


def list_pictures(folder: Path) -> NamedPictures:
    """List the pictures of a folder.

    Raises:
        RunError: it does not exist, holds no picture, or two pictures of one name.
    """
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder of pictures")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.strip().lower() in SUFFIXES and not path.name.startswith("."):
            earlier = found.setdefault(_compared(path.stem), path)
            if earlier != path:
                raise RunError(
                    f"{folder} holds {earlier.name} and {path.name}, whose names are too much alike: rename one"
                )
    if not found:
        raise RunError(
            f"{folder} itself holds no picture, which is known by its ending ({', '.join(sorted(SUFFIXES))}): name the folder "
            "that does, or save them as PNG"
        )
    return NamedPictures(folder, found)


def _compared(name: str) -> str:
    """Return the form in which names are compared; digits after a decimal point or comma keep their zeros."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()
    return re.sub(r"(?<!\d)(?<!\d[.,])0+(?=\d)", "", folded)


def match_names(seen: NamedPictures, made: NamedPictures) -> tuple[dict[str, dict[Path, Path]], dict[str, list[str]]]:
    """Pair the pictures of two folders by their names without suffix.

    Names may differ in case, in zeros before a number, in spaces at their ends, and in how Unicode composes accents.

    Returns:
        Name in `seen` → {folder: file}, in alphabetical order, and for each folder the names that the other one lacks.

    Raises:
        RunError: if they share fewer than two names, or fewer than half of those in the smaller folder.
    """
    files = {pictures.folder: pictures.files for pictures in (seen, made)}
    shared = seen.files.keys() & made.files.keys()
    alone = {
        folder: sorted(path.stem for key, path in found.items() if key not in shared) for folder, found in files.items()
    }
    if len(shared) < max(2, min(map(len, files.values())) / 2):
        counts = " and ".join(
            f"{folder} holds {len(found)} pictures{_examples(alone[folder])}" for folder, found in files.items()
        )
        raise RunError(
            f"{counts}, of which {len(shared)} share a name; scores need two pairs or more, and half of the smaller folder: "
            "give each pair the same file name"
        )
    pairs = {seen.files[key].stem: {folder: found[key] for folder, found in files.items()} for key in shared}
    return dict(sorted(pairs.items())), {str(folder): names for folder, names in alone.items()}


def _examples(names: Sequence[str]) -> str:
    return f" (without a partner: {', '.join(map(repr, names[:3]))})" if names else ""


class Shift(NamedTuple):
    """Pairs of pictures whose names differ in one number, by the same offset in all.

    Attributes:
        offset: number in the second folder − number in the first.
        partners: picture of the second folder → of the first, in the order of their numbers.
        n_equal: pairs that equal names make of the same pictures and others whose names differ in this number.
    """

    offset: int
    partners: Mapping[Path, Path]
    n_equal: int

    @property
    def leaves_none_alone(self) -> bool:
        """Whether it pairs as many pictures as equal names do: one that pairs fewer cannot be how the folders were counted."""
        return len(self.partners) >= self.n_equal


class Evidence(NamedTuple):
    """What pictures say of a shift.

    Attributes:
        shift: the pairs.
        alike: correlation of pictures that it pairs, mean.
        as_named: correlation of the same pictures with their partners of equal names, mean.
        chance: p-value of a one-sided paired t-test of the difference; 1 for fewer than three pictures.
    """

    shift: Shift
    alike: float
    as_named: float
    chance: float


def find_shift(seen: NamedPictures, made: NamedPictures, known: Mapping[Path, SmallPicture] | None = None) -> list[str]:
    """Tell whether a number in the names counts from elsewhere in one folder, as from 1 in place of 0.

    Each offset at which numbers pair up a substantial part of the smaller folder is tried. Pictures decide: whether those of the
    second folder resemble the partner by this offset more than the one of equal name.

    Args:
        seen: pictures of the first folder.
        made: those of the second.
        known: what `made_small` makes of pictures that were read already; others are read.

    Returns:
        Sentences on what is possible but not clear, and on a clear shift where all names are equal.

    Raises:
        RunError: numbers are clearly shifted, by what pairs no fewer pictures than equal names do, and some names lack a partner.
    """
    named = {made.files[name]: seen.files[name] for name in seen.files.keys() & made.files.keys()}
    shifts, likeness = list(_shifts(seen.files, made.files)), likeness_of_files(known or {})
    n_whole = max(len(seen.files), len(made.files))
    tried = [_compare(shift, named, likeness) for shift in shifts]
    clear = [
        found for found in tried if found.alike >= LEAST_ALIKE and found.chance < _limit(found, len(tried), n_whole)
    ]
    counted_so = [found for found in clear if found.shift.leaves_none_alone]
    if counted_so and len(named) < n_whole:
        raise RunError(
            _told(min(counted_so, key=_order), seen, made) + ": rename the files so that partners share a name"
        )
    if clear:
        return [_told(min(clear, key=_order), seen, made) + ": is each reconstruction named after its stimulus?"]
    more = [found for found in tried if len(found.shift.partners) > len(named) and found.chance < 1 - CHANCE_OF_ONE]
    if not more:
        return []
    offset, partners, _ = max(more, key=lambda found: len(found.shift.partners)).shift
    return [
        f"names that differ by {offset:+d} would pair {len(partners)} pictures of {made.folder}, equal names pair {len(named)}: "
        "is one folder counted from another number?"
    ]


def _limit(found: Evidence, n_tried: int, n_whole: int) -> float:
    """Return the p-value below which a shift is clear; a whole folder counts from elsewhere more easily than a part of it."""
    return CHANCE_OF_ONE if len(found.shift.partners) == n_whole else CHANCE / n_tried


def _order(found: Evidence) -> tuple[float, float]:
    return found.chance, -found.alike


def _told(found: Evidence, seen: NamedPictures, made: NamedPictures) -> str:
    offset, partners, _ = found.shift
    second, first = next(iter(partners.items()))
    return (
        f"numbers in names of {made.folder} are {offset:+d} from those of {seen.folder} ({first.name}, {second.name}): paired "
        f"so, pictures correlate by {found.alike:.2f}; by equal names, by {found.as_named:.2f}"
    )


def _compare(shift: Shift, named: Mapping[Path, Path], likeness: Callable[[Path, Path], float]) -> Evidence:
    """Compare how much pictures resemble their partners by a shift, and by equal names."""
    both = [path for path in shift.partners if path in named]
    chosen = both[max(0, (len(both) - MOST_COMPARED) // 2) :][:MOST_COMPARED]
    if len(chosen) < 3:
        return Evidence(shift, 0.0, 0.0, 1.0)
    alike, as_named = (
        np.array([likeness(path, partners[path]) for path in chosen]) for partners in (shift.partners, named)
    )
    more = alike - as_named
    error = float(more.std(ddof=1)) / np.sqrt(len(more))
    chance = float(stats.t.sf(more.mean() / error, len(more) - 1)) if error > 0 else float(more.mean() <= 0)
    return Evidence(shift, float(alike.mean()), float(as_named.mean()), chance)


def _shifts(seen: Mapping[str, Path], made: Mapping[str, Path]) -> Iterator[Shift]:
    """Yield the shifts that pair a substantial part: of all names, and of those of one pattern where there are several."""
    named, others = _by_pattern(seen), _by_pattern(made)
    shared = sorted(named.keys() & others.keys())
    least = min(len(seen), len(made)) / 10
    single = [[pattern] for pattern in shared if len(others[pattern]) >= least] if len(shared) > 1 else []
    for patterns in (shared, *single):
        for field in range(max((len(pattern) - 1 for pattern in patterns), default=0)):
            yield from _shifts_of_field(_lines(named, patterns, field), _lines(others, patterns, field))


def _shifts_of_field(
    seen: Mapping[Line, Mapping[int, Path]], made: Mapping[Line, Mapping[int, Path]]
) -> Iterator[Shift]:
    everyone = [(line, number) for line, files in sorted(made.items()) for number in sorted(files)]
    sample = everyone[:: max(1, len(everyone) // MOST_COMPARED)]
    counts = Counter(number - other for line, number in sample for other in seen.get(line, ()))
    n_smaller = min(len(everyone), sum(map(len, seen.values())))
    least = SUBSTANTIAL * n_smaller * len(sample) / max(1, len(everyone))
    offsets = [offset for offset, count in counts.items() if offset and count >= least]
    n_equal = sum(number in seen.get(line, {}) for line, number in everyone)
    for offset in sorted(offsets, key=lambda offset: (-counts[offset], abs(offset), offset))[:MOST_OFFSETS]:
        pairs = ((made[line][number], seen.get(line, {}).get(number - offset)) for line, number in everyone)
        yield Shift(offset, {path: partner for path, partner in pairs if partner is not None}, n_equal)


def _by_pattern(files: Mapping[str, Path]) -> dict[tuple[str, ...], dict[Numbers, Path]]:
    """Group names by the text between their numbers: pattern → {numbers: file}.

    >>> _by_pattern({"s1_t20": Path("s1_t20.png"), "mean": Path("mean.png")})
    {('s', '_t', ''): {(1, 20): PosixPath('s1_t20.png')}, ('mean',): {(): PosixPath('mean.png')}}
    """
    patterns: dict[tuple[str, ...], dict[Numbers, Path]] = defaultdict(dict)
    for name, path in files.items():
        pieces = re.split(r"(\d+)", name)
        patterns[tuple(pieces[::2])][tuple(map(int, pieces[1::2]))] = path
    return dict(patterns)


def _lines(
    named: Mapping[tuple[str, ...], Mapping[Numbers, Path]], patterns: Sequence[tuple[str, ...]], field: int
) -> dict[Line, dict[int, Path]]:
    """Group names that differ in one number only: line → {number: file}."""
    lines: dict[Line, dict[int, Path]] = defaultdict(dict)
    for pattern in patterns:
        for numbers, path in named[pattern].items():
            if field < len(numbers):
                lines[pattern, numbers[:field] + numbers[field + 1 :]][numbers[field]] = path
    return lines


def made_small(raw: RawPicture) -> SmallPicture:
    """Return a picture of `SIDE` pixels a side, centred and of length 1; of a flat one, zeros."""
    small = np.asarray(Image.fromarray(raw).resize((SIDE, SIDE)), np.float64).ravel()
    centred = small - small.mean()
    unit: SmallPicture = centred / max(float(np.sqrt(centred @ centred)), 1e-9)
    return unit


def likeness_of_files(known: Mapping[Path, SmallPicture] | None = None) -> Callable[[Path, Path], float]:
    """Return a function that correlates two pictures, made small; 0 where one is flat. Each file is read once, if at all.

    Args:
        known: pictures that were read already.
    """

    @cache
    def standardised(path: Path) -> SmallPicture:
        found = (known or {}).get(path)
        return made_small(read_picture(path)) if found is None else found

    return lambda one, other: float(standardised(one) @ standardised(other))
