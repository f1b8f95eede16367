"""The pictures of a page of ratings: a run, several runs, or folders of pictures of equal names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from braindiffuser.errors import RunError
from braindiffuser.metrics.paired_names import NamedPictures, find_shift, list_pictures, match_names
from braindiffuser.picture_files import read_picture
from braindiffuser.plain_data import read_json

SEEN, MADE = Path("reconstructions/seen"), Path("reconstructions/final")


class RatedPictures(NamedTuple):
    """Pictures to choose among.

    Attributes:
        names: of pictures that all methods have, in alphabetical order.
        seen: name → file of what was seen.
        made: method → name → file of its reconstruction.
        remarks: sentences on what is left out.
    """

    names: tuple[str, ...]
    seen: Mapping[str, Path]
    made: Mapping[str, Mapping[str, Path]]
    remarks: tuple[str, ...]


def rated_pictures(sources: Sequence[Path]) -> RatedPictures:
    """Find the pictures of a run or of folders.

    Args:
        sources: folder of a run, whose first test set is taken, and of further runs of the same test pictures or of further
            folders; or a folder of what was seen, then one folder of reconstructions for each method, with the same names.

    Raises:
        RunError: if there is no reconstruction, two methods have one name, names do not match, or runs showed other pictures.
    """
    first, *rest = sources
    if not is_run(first) and not rest:
        raise RunError(f"{first} is no run: name a run, or a folder of what was seen and one of reconstructions")
    seen = _of_test_set(first, SEEN) if is_run(first) else list_pictures(first)
    methods = sources if is_run(first) else rest
    labels = _labels(methods)
    made: dict[str, dict[str, Path]] = {}
    remarks: list[str] = []
    for label, source in zip(labels, methods, strict=True):
        own = _of_test_set(source, MADE) if is_run(source) else list_pictures(source)
        pairs, alone = match_names(seen, own)
        remarks += find_shift(seen, own)
        remarks += [f"{folder}: {len(left)} without a partner left out" for folder, left in alone.items() if left]
        made[label] = {name: files[own.folder] for name, files in pairs.items()}
        if is_run(source) and source != first:
            _check_seen(seen, _of_test_set(source, SEEN), source)
    shared = sorted(set.intersection(*(set(files) for files in made.values())))
    stems = {path.stem: path for path in seen.files.values()}
    return RatedPictures(tuple(shared), {name: stems[name] for name in shared}, made, tuple(dict.fromkeys(remarks)))


def is_run(folder: Path) -> bool:
    """Return whether a folder holds a run."""
    return (folder / "manifest.json").is_file() and (folder / "test_sets.json").is_file()


def _of_test_set(run: Path, kind: Path) -> NamedPictures:
    """List the pictures of one kind of a run's test set."""
    try:
        start, stop = read_json(run / "test_sets.json")["test"]
    except (ValueError, LookupError, TypeError) as error:
        raise RunError(
            f"{run / 'test_sets.json'} does not say which test pictures there are: evaluate the run again"
        ) from error
    if not (run / kind).is_dir():
        raise RunError(f"{run} has no {kind}: finish it with `braindiffuser run --out {run}`")
    found = list_pictures(run / kind)
    files = {name: path for name, path in found.files.items() if path.stem.isdigit() and start <= int(path.stem) < stop}
    if len(files) != stop - start:
        raise RunError(
            f"{run / kind} holds {len(files)} of {stop - start} test pictures: finish the run with `braindiffuser run --out "
            f"{run}`"
        )
    return NamedPictures(found.folder, files)


def _check_seen(seen: NamedPictures, other: NamedPictures, source: Path) -> None:
    """Raise if another run showed other pictures under the same numbers."""
    for name, path in seen.files.items():
        if name in other.files and not np.array_equal(read_picture(path), read_picture(other.files[name])):
            raise RunError(
                f"{source} showed another picture {path.stem} than {seen.folder}: only runs of the same test pictures can be "
                "compared"
            )


def _labels(sources: Sequence[Path]) -> list[str]:
    """Name methods by the shortest end of their path that tells them apart.

    Raises:
        RunError: if one folder is named twice.
    """
    whole = [source.resolve() for source in sources]
    twice = [source for source in whole if whole.count(source) > 1]
    if twice:
        raise RunError(f"{twice[0]} is named twice: name each method once")
    depth = 1
    while len({source.parts[-depth:] for source in whole}) < len(whole):
        depth += 1
    return ["/".join(source.parts[-depth:]) for source in whole]
