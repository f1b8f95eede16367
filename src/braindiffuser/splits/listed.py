"""A split that a file lists, by the names of the stimuli."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from braindiffuser.datasets.dataset import File
from braindiffuser.datasets.split_files import read_sides
from braindiffuser.errors import RecordingError
from braindiffuser.part import runtime
from braindiffuser.splits.split import Split, divisible_stimuli, with_split

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording


MOST_NAMES = 20
"""Names that a message lists as doubtful."""
NAMES_SHOWN = 5
"""Names that a remark lists as not shown."""


class Listed(Split):
    """The stimuli that a file names test; all others train, unless the file names those that train too."""

    test: File = runtime(
        description="File with the names of test stimuli, one a line (.txt), or a list of them or of both sides (.json with "
        "train_ids and test_ids). Folders and suffixes may be left out."
    )
    variant: int = Field(0, ge=0, description="Which of the variants of a .json file.")

    def files(self) -> Mapping[str, Path]:
        """The file."""
        return {self.test.name: self.test}

    def divide(self, recording: Recording) -> Recording:
        """Find the listed stimuli by their names."""
        if recording.stimuli is None:
            raise RecordingError(
                "stimuli of this recording have no names, so no list can name them: choose another split"
            )
        train, test = read_sides(self.test, self.variant)
        name_of = _names_meant(self.test, [*test, *(train or ())], recording.names.values())
        test = _without_heading(test, name_of)
        id_of = {name: number for number, name in recording.names.items()}
        shown = {id_of[name_of[name]] for name in test if name in name_of}
        known_train = {id_of[name_of[name]] for name in train or () if name in name_of}
        both = sorted(recording.names[number] for number in shown & known_train)
        if both:
            raise RecordingError(f"{self.test} lists {both[0]!r} as train and as test: let it stand on one side")
        example = next(iter(recording.names.values()))
        if not shown:
            raise RecordingError(
                f"{self.test} lists {len(set(test))} test stimuli ({', '.join(test[:2])} …), of which none was shown; names are "
                f"such as {example!r}"
            )
        if train is not None and not known_train:
            listed = f" ({', '.join(train[:2])} …)" if train else ""
            raise RecordingError(
                f"{self.test} lists {len(train)} training stimuli{listed}, of which none was "
                f"shown; names are such as {example!r}: name two or more, or list test stimuli alone, one a line, and all others "
                "train"
            )
        own = set(divisible_stimuli(recording).tolist())
        out = None if train is None else sorted(own - shown - known_train)
        beside = _beside(test, name_of, len(shown - own))
        remark = f"Split: {len(shown & own)} test stimuli as listed in {self.test.name}{beside}."
        remark += _of_training(train or (), name_of)
        remark += _other_spellings(name_of)
        if out:
            remark += f" {len(out)} stimuli are on neither side."
        return with_split(
            recording,
            sorted(shown & own),
            remark,
            out,
            chosen=f"{self.test}{beside}",
            advice="list more of those that should test, and leave others to train",
        )


def _names_meant(path: Path, written: Sequence[str], known: Collection[str]) -> dict[str, str]:
    """Return written name → name of a stimulus, of those that mean one.

    Raises:
        RecordingError: names may mean several stimuli, or nearly match one; lists all of them.
    """
    from braindiffuser.datasets.picture_names import pictures_meant

    meant = pictures_meant(written, known)
    doubtful = [f"{name!r}, which may be {' or '.join(map(repr, may))}" for name, may in meant.several.items()]
    doubtful += [f"{name!r}, which was not shown, though {other!r} was" for name, other in meant.nearly.items()]
    if doubtful:
        more = f", and {len(doubtful) - MOST_NAMES} more" if len(doubtful) > MOST_NAMES else ""
        raise RecordingError(
            f"{path} lists {', and '.join(doubtful[:MOST_NAMES])}{more}: write names as the recording does"
        )
    return meant.found


def _without_heading(test: Sequence[str], name_of: Mapping[str, str]) -> Sequence[str]:
    """Return the list without a first line that is the heading of a column, such as stim_file."""
    from braindiffuser.datasets.tables import STIMULUS_COLUMNS

    return test[1:] if test and test[0] not in name_of and test[0] in STIMULUS_COLUMNS else test


def _beside(test: Sequence[str], name_of: Mapping[str, str], n_apart: int) -> str:
    """Say which names on the list test nothing, and how many test in further sets."""
    never = [name for name in dict.fromkeys(test) if name not in name_of]
    said = [f"{len(never)} others on the list were not shown: {_some(never)}"] * bool(never)
    said += [f"{n_apart} others belong to further test sets, which test in any split"] * bool(n_apart)
    return f" ({'; '.join(said)})" if said else ""


def _of_training(train: Sequence[str], name_of: Mapping[str, str]) -> str:
    """Say how many of the training stimuli on the list were not shown."""
    never = [name for name in dict.fromkeys(train) if name not in name_of]
    return f" {len(never)} training stimuli on the list were not shown: {_some(never)}." if never else ""


def _other_spellings(name_of: Mapping[str, str]) -> str:
    """Say how many names were found with a suffix or without one, other than listed."""
    from braindiffuser.datasets.picture_names import composed, path_parts

    pairs = [
        (written, name, *(path_parts(composed(one))[-1] for one in (written, name)))
        for written, name in name_of.items()
    ]
    other = [(written, name) for written, name, last, own_last in pairs if last != own_last]
    if not other:
        return ""
    written, name = other[0]
    return f" {len(other)} names on the list were found with a suffix or without one ({written} is {name})."


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMES_SHOWN]) + (" …" if len(names) > NAMES_SHOWN else "")
