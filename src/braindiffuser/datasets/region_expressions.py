"""Regions by expression: which voxels `V1v | V1d`, `(V1-V4) & !ecc_0.5` or `1 <= ecc < 4` holds.

    union        = intersection { "|" intersection }
    intersection = part { "&" part }
    part         = "!" part | "(" union ")" | comparison | range | name
    comparison   = map sign number | number sign map | number sign map sign number      sign: <, <=, >, >=
    range        = name "-" name, whose last numbers differ: V1-V4 is V1 | V2 | V3 | V4

A name that exists comes before every operator: `FFA-1` is a region where there is one of that spelling, and so is `a|b`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool

from braindiffuser.datasets.known_regions import KnownRegions, as_known
from braindiffuser.datasets.label_volumes import WITHIN
from braindiffuser.datasets.region_names import own_name, plain, with_hint
from braindiffuser.datasets.voxel_maps import map_doubts
from braindiffuser.errors import RecordingError

OPERATORS = "|&()!<>="
SIGN = re.compile(r"<=|>=|<|>")
HYPHENS = re.compile(r"[-–]")
NUMBERED = re.compile(r"(.*?)(\d+)")
DEEPEST = 50
"""Levels of ( and ! in one another, at most."""
LONGEST_RANGE = 100
"""Regions of a range, at most."""
ECCENTRICITY = ("ecc", "eccentricity")
"""Names of the map that bands stand in for where there is none."""
BAND = re.compile(r"ecc(\d+(?:\.\d+)?)(\+?)")
"""Plain name of a band of eccentricity by its outer limit in degrees; `+`: from there on."""
GRAMMAR = "write names united by |, narrowed by & and left out by !, such as (V1v | V1d) & !ecc_0.5"


@dataclass(frozen=True)
class Named:
    """A region by the recording's own name of it."""

    name: str


@dataclass(frozen=True)
class AnyOf:
    """Voxels that lie in any of the parts."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class AllOf:
    """Voxels that lie in all of the parts."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Without:
    """Analysed voxels that do not lie in the part."""

    part: Node


@dataclass(frozen=True)
class Limit:
    """One side of a comparison: numbers `sign` limit, such as < 1."""

    sign: str
    limit: float


@dataclass(frozen=True)
class Compared:
    """Voxels whose number in a map keeps all limits; NaN keeps none."""

    map: str
    limits: tuple[Limit, ...]


Node: TypeAlias = Named | AnyOf | AllOf | Without | Compared


@dataclass(frozen=True)
class Expression:
    """An expression that was read against the regions that there are.

    Attributes:
        text: as it was written.
        root: what it means.
    """

    text: str
    root: Node

    @property
    def names(self) -> tuple[str, ...]:
        """Own names of the regions in it, each once, in order."""
        return tuple(dict.fromkeys(node.name for node in _nodes(self.root) if isinstance(node, Named)))

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps in it, each once, in order."""
        return tuple(dict.fromkeys(node.map for node in _nodes(self.root) if isinstance(node, Compared)))

    @property
    def is_union(self) -> bool:
        """Whether it is one region, or regions united."""
        return all(isinstance(node, Named | AnyOf) for node in _nodes(self.root))

    def mask(self, known: KnownRegions) -> Bool[np.ndarray, " n_voxels"]:
        """Return which voxels it holds; reads label volumes and maps that it names.

        Raises:
            RecordingError: the file of one of them cannot be used.
        """
        return _mask_of(self.root, known)


def doubts(expressions: Iterable[Expression], known: KnownRegions) -> list[str]:
    """Say what is odd of the label volumes and maps that expressions name, each sentence once; reads them.

    Raises:
        RecordingError: the file of one of them cannot be used.
    """
    said = list[str]()
    for expression in expressions:
        said += known.doubts(expression.names)
        for node in _nodes(expression.root):
            if isinstance(node, Compared):
                said += map_doubts(known.map(node.map), node.map, _mask_of(node, known))
    return list(dict.fromkeys(said))


def read_expressions(
    written: Mapping[str, Sequence[str]], regions: KnownRegions | Mapping[str, Bool[np.ndarray, " n_voxels"]]
) -> dict[str, tuple[Expression, ...]]:
    """Read the expressions that entries of an experiment hold, and look up all names; no volume or map is read.

    Args:
        written: entry, such as responses.rois → expressions.
        regions: that there are.

    Returns:
        Entry → its expressions.

    Raises:
        RecordingError: names are not there, or are spelled like several, or an expression cannot be read; one message lists all
            faults, the regions nearest to unknown names, and those that there are.

    Example:
        >>> known = dict.fromkeys(["V1v", "V1d", "hV4", "V2"], np.zeros(5, bool))
        >>> read_expressions({"responses.rois": ["v1v | V1d", "hv-4"]}, known)["responses.rois"][0].names
        ('V1v', 'V1d')
    """
    known, found = as_known(regions), dict[str, tuple[Expression, ...]]()
    lacking, faults = list[str](), list[str]()
    for entry, texts in written.items():
        readers = [_Reader(text, known) for text in texts]
        found[entry] = tuple(reader.read() for reader in readers)
        unknown = [name for reader in readers for name in reader.unknown]
        if unknown:
            hints = (with_hint(name, known.find(name), known.names) for name in dict.fromkeys(unknown))
            lacking.append(f"{', '.join(hints)}, which {entry} names")
        faults += [f"{entry} holds {reader.text!r}: {fault}" for reader in readers for fault in reader.faults]
    said = [*faults, GRAMMAR] if faults else []
    if lacking:
        said.append(f"there is no region {', and no '.join(lacking)}; this recording has {known}")
    if said:
        raise RecordingError("; ".join(said))
    return found


def evaluate(
    expression: str,
    regions: KnownRegions | Mapping[str, Bool[np.ndarray, " n_voxels"]],
    entry: str = "the expression",
) -> Bool[np.ndarray, " n_voxels"]:
    """Return the voxels of one expression; errors as `read_expressions` and `Expression.mask`.

    Args:
        expression: such as `(V1v | V1d) & !ecc_0.5`.
        regions: that there are.
        entry: which holds the expression, for messages.

    Example:
        >>> masks = {"V1": np.array([True, True, False]), "faces": np.array([False, True, False])}
        >>> evaluate("V1 & !faces", masks).tolist()
        [True, False, False]
    """
    known = as_known(regions)
    return read_expressions({entry: [expression]}, known)[entry][0].mask(known)


def _nodes(node: Node) -> Iterator[Node]:
    """Yield a node and all below it, from left to right."""
    yield node
    inner = node.parts if isinstance(node, AnyOf | AllOf) else (node.part,) if isinstance(node, Without) else ()
    for part in inner:
        yield from _nodes(part)


def _mask_of(node: Node, known: KnownRegions) -> Bool[np.ndarray, " n_voxels"]:
    if isinstance(node, Named):
        return known.mask(node.name)
    if isinstance(node, Compared):
        values = known.map(node.map)
        within: Bool[np.ndarray, " n_voxels"] = np.all(
            [COMPARE[side.sign](values, side.limit) for side in node.limits], axis=0
        )
        return within
    if isinstance(node, Without):
        return ~_mask_of(node.part, known)
    parts = [_mask_of(part, known) for part in node.parts]
    inside: Bool[np.ndarray, " n_voxels"] = (np.any if isinstance(node, AnyOf) else np.all)(parts, axis=0)
    return inside


COMPARE: Mapping[str, np.ufunc] = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}
MIRRORED: Mapping[str, str] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


class _SyntaxError(Exception):
    """An expression cannot be read further."""


@dataclass
class _Reader:
    """Reads one expression from left to right.

    Attributes:
        text: of the expression.
        known: regions that there are.
        place: of the next character.
        depth: how many ( and ! the place lies in.
        unknown: names that mean no region, or several.
        faults: what is wrong otherwise.
    """

    text: str
    known: KnownRegions
    place: int = 0
    depth: int = 0
    unknown: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def read(self) -> Expression:
        """Read all of it; what is wrong is in `unknown` and `faults` afterwards."""
        if self.text in self.known.own:  # with its spaces
            return Expression(self.text, Named(self.text))
        try:
            root = self._union()
            if rest := self.text[self.place :].strip():
                closes = "the ) closes no (" if rest[0] == ")" else f"expected | or & before {rest!r}"
                raise _SyntaxError(closes)
        except _SyntaxError as fault:
            self.faults.append(str(fault))
            root = Named(self.text)
        return Expression(self.text, root)

    def _union(self) -> Node:
        parts = [self._intersection()]
        while self._takes("|"):
            parts.append(self._intersection())
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _intersection(self) -> Node:
        parts = [self._part()]
        while self._takes("&"):
            parts.append(self._part())
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _part(self) -> Node:
        own = self._existing(self.known.find_own)
        if own is not None:
            return own
        if self._takes("!"):
            return Without(self._deeper(self._part))
        start = self.place
        if self._takes("("):
            inner = self._deeper(self._union)
            if not self._takes(")"):
                raise _SyntaxError(f"the ( of {self.text[start:].strip()!r} is not closed")
            return inner
        return self._own_range() or self._existing(self.known.find) or self._word()

    def _deeper(self, read: Callable[[], Node]) -> Node:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _SyntaxError(f"more than {DEEPEST} of ( and ! lie in one another")
        node = read()
        self.depth -= 1
        return node

    def _skip_spaces(self) -> None:
        self.place += len(self.text) - self.place - len(self.text[self.place :].lstrip())

    def _takes(self, sign: str) -> bool:
        """Go past an operator if it comes next."""
        self._skip_spaces()
        is_next = self.text.startswith(sign, self.place)
        self.place += is_next * len(sign)
        return is_next

    def _existing(self, find: Callable[[str], list[str]]) -> Named | None:
        """Take the longest text from here, up to an operator, that is the name of a region; None if there is none."""
        places = range(self.place + 1, len(self.text))
        ends = [*(n for n in places if self.text[n] in OPERATORS), len(self.text)]
        signs = self.known.own_signs if find == self.known.find_own else self.known.signs
        for end in ends[::-1] if signs & set(OPERATORS) else ends[:1]:
            written = self.text[self.place : end].strip()
            found = find(written) if written and self.text[end : end + 1] not in tuple("<>=") else []
            if found:
                self.place = end
                if len(found) > 1:
                    self.unknown.append(written)
                return Named(found[0])
        return None

    def _next_word(self) -> str:
        """Go past everything up to the next operator, and return it without spaces around."""
        end = next((n for n in range(self.place, len(self.text)) if self.text[n] in OPERATORS), len(self.text))
        word, self.place = self.text[self.place : end].strip(), end
        return word

    def _word(self) -> Node:
        start = self.place
        word = self._next_word()
        if SIGN.match(self.text, self.place):
            return self._comparison(start, word)
        if self.text.startswith("=", self.place):
            raise _SyntaxError("= compares nothing: write <, <=, > or >=")
        if not word:
            before, after = self.text[:start].rstrip()[-1:], self.text[start:].lstrip()[:1]
            where = f"stands after {before}" if before else f"stands before {after}" if after else "is named"
            raise _SyntaxError(f"no region {where}")
        united = self._range(word, self.known.find)
        if united is None:
            self.unknown.append(word)
            return Named(word)
        return united

    def _own_range(self) -> Node | None:
        """Take a range of own regions, for which labels and maps need not be looked at; None if none comes next."""
        start = self.place
        word = self._next_word()
        united = self._range(word, self.known.find_own, n_ends=2)
        if united is None or self.text[self.place : self.place + 1] in tuple("<>="):
            self.place = start
            return None
        return united

    def _range(self, word: str, find: Callable[[str], list[str]], n_ends: int = 1) -> Node | None:
        """Read `V1-V4`; None if fewer than `n_ends` of its ends are regions."""
        for hyphen in HYPHENS.finditer(word):
            first, last = word[: hyphen.start()].strip(), word[hyphen.end() :].strip()
            begin, end = NUMBERED.fullmatch(first), NUMBERED.fullmatch(last)
            if begin is None or end is None:
                continue
            stem = begin[1]
            label = [stem.partition(WITHIN)[2]] if WITHIN in stem else []  # kastner:IPS0-IPS5
            if not stem.strip() or plain(end[1]) not in map(plain, (stem, *label)):
                continue
            if [len(find(first)), len(find(f"{stem}{end[2]}"))].count(1) >= n_ends:
                return self._spanned(word, stem, int(begin[2]), int(end[2]))
        return None

    def _spanned(self, word: str, stem: str, first: int, last: int) -> Node:
        if not 0 < last - first < LONGEST_RANGE:
            raise _SyntaxError(
                f"{word!r} is no range: expected the lower number first, and less than {LONGEST_RANGE} regions"
            )
        names = [f"{stem}{number}" for number in range(first, last + 1)]
        found = {name: self.known.find(name) for name in names}
        self.unknown += [name for name, meant in found.items() if len(meant) != 1]
        return AnyOf(tuple(Named(meant[0] if meant else name) for name, meant in found.items()))

    def _comparison(self, start: int, first: str) -> Node:
        words, signs = [first], list[str]()
        while sign := SIGN.match(self.text, self.place):
            self.place = sign.end()
            signs.append(sign[0])
            words.append(self._next_word())
        shown = self.text[start : self.place].strip()
        numbers = [_number(word) for word in words]
        match [number is None for number in numbers]:
            case [True, False]:
                limits = [(signs[0], numbers[1])]
            case [False, True]:
                limits = [(MIRRORED[signs[0]], numbers[0])]
            case [False, True, False] if signs[0][0] == signs[1][0]:
                limits = [(MIRRORED[signs[0]], numbers[0]), (signs[1], numbers[2])]
            case _:
                raise _SyntaxError(f"{shown!r} does not compare one map with numbers: write ecc<1, or 1<=ecc<4")
        word = next(word for word, number in zip(words, numbers, strict=True) if number is None)
        sides = tuple(Limit(sign, number) for sign, number in limits if number is not None)
        return self._compared(shown, word, sides)

    def _compared(self, shown: str, word: str, sides: tuple[Limit, ...]) -> Node:
        name = own_name(word, self.known.further.maps)
        if name is None and plain(word) in ECCENTRICITY:
            name = next((known for known in self.known.further.maps if plain(known) in ECCENTRICITY), None)
        if name is not None:
            return Compared(name, sides)
        bands = _bands(self.known) if plain(word) in ECCENTRICITY else []
        if bands:
            return self._of_bands(shown, sides, bands)
        maps = ", ".join(self.known.further.maps)
        raise _SyntaxError(
            f"{shown!r} compares {word!r}, but the recording has {f'the maps {maps}' if maps else 'no maps'}"
        )

    def _of_bands(self, shown: str, sides: tuple[Limit, ...], bands: list[tuple[str, float, float]]) -> Node:
        """Return the bands within limits, which must be limits of bands; a band's own limits have no voxel, so ≤ is <."""
        low = max((side.limit for side in sides if side.sign[0] == ">"), default=0.0)
        high = min((side.limit for side in sides if side.sign[0] == "<"), default=math.inf)
        inside = [name for name, lower, upper in bands if lower >= low and upper <= high]
        edges = sorted({edge for _, lower, upper in bands for edge in (lower, upper)})
        if low not in edges or high not in edges or not inside:
            limits = ", ".join(f"{edge:g}" for edge in edges if 0 < edge < math.inf)
            raise _SyntaxError(
                f"{shown!r} cuts through the bands of eccentricity, or lies beyond them, and the recording has no map of it: "
                f"the limits of its bands are {limits}"
            )
        return AnyOf(tuple(Named(name) for name in inside))


def _number(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _bands(known: KnownRegions) -> list[tuple[str, float, float]]:
    """Return the recording's bands of eccentricity, from inside: name, inner and outer limit in degrees.

    Where the last one has no outer limit, or does not begin where the one before ends, bands may be missing: none is returned.
    """
    matches = [(name, BAND.fullmatch(plain(name))) for name in known.own]
    named = [(name, float(match[1]), bool(match[2])) for name, match in matches if match]
    closed = sorted((limit, name) for name, limit, is_open in named if not is_open)
    inner = [0.0, *(limit for limit, _ in closed)]
    bands = [(name, lower, upper) for (upper, name), lower in zip(closed, inner, strict=False)]
    last = [(name, limit, math.inf) for name, limit, is_open in named if is_open]
    return bands + last if [limit for _, limit, _ in last] == inner[-1:] and closed else []
