"""Picture files that are the same, byte for byte, under two names: one trains and one tests."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from pathlib import Path

from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.splits import stimuli_of

BEGINNING = 1 << 16
"""Bytes by which files of one size are compared before they are read as a whole."""


def equal_pictures(recording: Recording) -> list[str]:
    """Say which picture files are equal to one on the other side, as a sentence for `check` and the page; [] if none is.

    Files are compared by their sizes, and read only where these are equal. Pictures that are not files of their own, such as
    those of an array, are not compared.
    """
    paths: Mapping[int, Path] | None = getattr(recording.pictures, "paths", None)
    if paths is None or not recording.has_split:
        return []
    train = {int(number) for number in stimuli_of(recording.trials, "train")[0] if number in paths}
    test = {int(number) for ids in recording.test_sets.values() for number in ids if number in paths}
    groups = list(_alike(paths, train, test))
    if not groups:
        return []
    names, n_test = recording.names, sum(len(group & test) for group in groups)
    tests, trains = (paths[min(groups[0] & side)] for side in (test, train))
    first, second = (names.get(min(groups[0] & side), str(path)) for side, path in ((test, tests), (train, trains)))
    return [
        f"{n_test} test stimuli are the same picture as a training stimulus, under another name: {first} tests and {second} "
        "trains, and their files are equal, so a decoder may know what it is tested by; give both one name, or put them on "
        "one side (a column groups keeps stimuli in one fold)."
    ]


def _alike(paths: Mapping[int, Path], train: set[int], test: set[int]) -> Iterator[set[int]]:
    """Yield stimuli whose files are equal, if some train and some test."""
    groups: list[set[int]] = [train | test]
    for key in (_size, _beginning, _digest):
        groups = [part for group in groups for part in _parted(group, key, paths) if part & train and part & test]
    yield from sorted(groups, key=min)


def _parted(group: Iterable[int], key: Callable[[Path], Hashable], paths: Mapping[int, Path]) -> Iterable[set[int]]:
    parts: dict[Hashable, set[int]] = defaultdict(set)
    for number in group:
        parts[key(paths[number])].add(number)
    return parts.values()


def _size(path: Path) -> int:
    return path.stat().st_size


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(BEGINNING)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
