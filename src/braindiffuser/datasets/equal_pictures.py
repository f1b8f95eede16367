"""Pictures that are the same under two names, of which one trains and one tests: byte for byte, or once they are read."""

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
    """Say which picture files are equal to one on the other side: a sentence for each test set, for `check` and the page."""
    return _sentences(recording, trained_pictures(recording), "their files are equal")


def equal_when_read(recording: Recording, digests: Mapping[int, bytes]) -> list[str]:
    """Say likewise which pictures are equal in every pixel, though their files are not, or they lie in an array.

    Args:
        recording: whose stimuli they are.
        digests: stimulus id → what is the same of equal pictures alone.
    """
    if not recording.has_split:
        return []
    known = trained_pictures(recording)
    train = {int(number) for number in stimuli_of(recording.trials, "train")[0]} & digests.keys()
    twins = {digests[number]: number for number in sorted(train, reverse=True)}
    found = {
        name: {
            int(number): twins[digests[int(number)]]
            for number in ids
            if digests.get(int(number)) in twins and int(number) not in known.get(name, {})
        }
        for name, ids in recording.test_sets.items()
    }
    return _sentences(recording, {name: own for name, own in found.items() if own}, "they are equal in every pixel")


def _sentences(recording: Recording, found: Mapping[str, Mapping[int, int]], how: str) -> list[str]:
    said, names = [], recording.names
    for name, trained in found.items():
        first, second = (names.get(number, str(number)) for number in next(iter(trained.items())))
        have = "stimulus has" if len(trained) == 1 else "stimuli have"
        what = f"{len(trained)} test {have} the same picture as a training stimulus"
        remedy = "give both one name, or put them on one side (a column groups keeps stimuli in one fold)"
        if name != "test":  # they test in any split, whatever their names and groups
            word = "imagined " * (name in recording.imagined)
            of_set = have.replace(" ", f" of the test set {name} ")
            what = f"{len(trained)} {word}{of_set} the same picture as a training stimulus"
            remedy = (
                "let the training stimuli test as well (split: {kind: listed, test: FILE}), or read the scores of this set as "
                "those of pictures that trained"
            )
        said.append(
            f"{what}, under another name: {first} tests and {second} trains, and {how}, so a decoder may know "
            f"what it is tested by; {remedy}."
        )
    return said


def trained_pictures(recording: Recording) -> dict[str, dict[int, int]]:
    """Return test set → test stimulus → training stimulus whose picture file is equal; sets without any are left out.

    Files are compared by their sizes, and read only where these are equal. Pictures that are not files of their own, such as
    those of an array, are not compared.
    """
    paths: Mapping[int, Path] | None = getattr(recording.pictures, "paths", None)
    if paths is None or not recording.has_split:
        return {}
    train = {int(number) for number in stimuli_of(recording.trials, "train")[0] if number in paths}
    test = {int(number) for ids in recording.test_sets.values() for number in ids if number in paths}
    twins = {number: min(group & train) for group in _alike(paths, train, test) for number in group & test}
    found = {
        name: {int(number): twins[int(number)] for number in ids if int(number) in twins}
        for name, ids in recording.test_sets.items()
    }
    return {name: own for name, own in found.items() if own}


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
