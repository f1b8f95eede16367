"""The pictures of a page of ratings: a run, several runs, or folders and stacks of pictures, as `evaluate` reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from braindiffuser.errors import RunError, command_line
from braindiffuser.paired_pictures.paired_names import NamedPictures, list_pictures
from braindiffuser.paired_pictures.picture_inputs import (
    PictureInput,
    distinct_names,
    order_remarks,
    partners_of,
    refuse_twice,
)
from braindiffuser.picture_files import RawPicture
from braindiffuser.picture_stacks import split_key
from braindiffuser.plain_data import read_json

SEEN, MADE = Path("reconstructions/seen"), Path("reconstructions/final")


@dataclass(frozen=True, eq=False)
class RatedPictures:
    """Pictures to choose among.

    Attributes:
        seen: the stimuli.
        made: method → its reconstructions.
        partners: name of each picture that all methods have, in alphabetical order → method → name of the reconstruction, as
            these inputs call them.
        remarks: sentences on what is taken for what, and on what is left out.
    """

    seen: PictureInput
    made: Mapping[str, PictureInput]
    partners: Mapping[str, Mapping[str, str]]
    remarks: tuple[str, ...]

    @property
    def names(self) -> dict[str, str]:
        """Name of each picture as it is written → as `seen` and `partners` call it; of stacks, numbers from 0."""
        return {self.seen.shown(name): name for name in self.partners}

    def picture(self, method: str, shown: str) -> RawPicture:
        """Read the reconstruction by a method of a picture, by the name in `names`; of no method (""), what was seen."""
        name = self.names[shown]
        return self.made[method].picture(self.partners[name][method]) if method else self.seen.picture(name)


def rated_pictures(sources: Sequence[str | Path]) -> RatedPictures:
    """Find the pictures of a run, or of folders and stacks.

    Args:
        sources: folder of a run, whose first test set is taken, and of further runs of the same test pictures or of further
            pictures of each method; or what was seen, then the reconstructions of each method. Pictures are folders, paired by
            the names of their pictures, or stacks (`FILE:KEY` for one array of several), in the order of what was seen.

    Raises:
        RunError: if there is no reconstruction, a method is named twice, an input cannot be read, names or numbers of pictures do
            not match, or runs showed other pictures.
    """
    first, *rest = sources
    if not is_run(Path(first)) and not rest:
        raise RunError(f"{first} is no run: name a run, or what was seen and then reconstructions (folders or stacks)")
    seen = _opened(first, SEEN)
    of_methods = sources if is_run(Path(first)) else rest
    methods = [_opened(source, MADE) for source in of_methods]
    refuse_twice(methods)
    found: dict[str, dict[str, str]] = {}
    remarks = [*(seen.stack.remarks if seen.stack else ())]
    labels = distinct_names([_whole(source) for source in of_methods])
    for label, source, own in zip(labels, of_methods, methods, strict=True):
        found[label] = partners_of(seen, own)
        remarks += [*(own.stack.remarks if own.stack else ()), *order_remarks(seen, own, {})]
        paired = {seen.label: seen.without(list(found[label])), own.label: own.without(list(found[label].values()))}
        remarks += [f"{of}: {len(left)} without a partner left out" for of, left in paired.items() if left]
        if is_run(Path(source)) and source != first:
            _check_seen(seen, _opened(source, SEEN), source)
    shared = [name for name in seen.names if all(name in own for own in found.values())]
    return RatedPictures(
        seen,
        dict(zip(labels, methods, strict=True)),
        {name: {label: own[name] for label, own in found.items()} for name in shared},
        (_roles_sentence(first, labels), *dict.fromkeys(remarks)),
    )


def _roles_sentence(first: str | Path, labels: Sequence[str]) -> str:
    """Say what the order of the sources decides: which pictures were seen, and which method is judged."""
    judged, *others = labels
    seen = "" if is_run(Path(first)) else f"{first} is taken for what was seen, since it is named first; "
    against = f"reconstructions of the same pictures by {', '.join(others)}" if others else "its other reconstructions"
    return f"{seen}raters choose between reconstructions by {judged} and {against}"


def _opened(source: str | Path, kind: Path) -> PictureInput:
    """Open pictures of one kind of a run's test set, a folder or a stack."""
    if not is_run(Path(source)):
        return PictureInput.open(source)
    of_run = _of_test_set(Path(source), kind)
    return PictureInput(str(of_run.folder), of_run.folder, of_run)


def _whole(source: str | Path) -> str:
    """Return a path from the root on, so that every method has a name; what follows it names an array."""
    path, key = split_key(str(source))
    return f"{path.resolve()}:{key}" if key else str(path.resolve())


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
        raise RunError(f"{run} has no {kind}: finish it with {command_line('run', '--out', run)}")
    found = list_pictures(run / kind)
    files = {name: path for name, path in found.files.items() if path.stem.isdigit() and start <= int(path.stem) < stop}
    if len(files) != stop - start:
        raise RunError(
            f"{run / kind} holds {len(files)} of {stop - start} test pictures: finish the run with "
            f"{command_line('run', '--out', run)}"
        )
    return NamedPictures(found.folder, files)


def _check_seen(seen: PictureInput, other: PictureInput, source: str | Path) -> None:
    """Raise if another run showed other pictures under the same numbers."""
    if seen.folder is None:
        return
    theirs = set(other.names)
    for name in seen.names:
        if name in theirs and not np.array_equal(seen.picture(name), other.picture(name)):
            raise RunError(
                f"{source} showed another picture {seen.shown(name)} than {seen.label}: only runs of the same test pictures "
                "can be compared"
            )
