"""A split that a file lists, by the names of the stimuli."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
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


def _composed(names: Iterable[str]) -> list[str]:
    """Return names with composed accents (NFC), which files and systems store in two ways."""
    return [unicodedata.normalize("NFC", name) for name in names]


def _stem(name: str) -> str:
    """Return a name as it is compared with those that nearly match: without folder, suffix and case."""
    return Path(name.strip()).stem.lower()


class Listed(Split):
    """The stimuli that a file names test; all others train, unless the file names those that train too."""

    test: File = runtime(
        description="File with the names of test stimuli, one a line (.txt), or of both sides (.json with train_ids and "
        "test_ids); relative to the file that names it."
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
        train, test = None if train is None else _composed(train), _composed(test)
        id_of = dict(zip(_composed(recording.names.values()), recording.names, strict=True))
        shown = {id_of[name] for name in test if name in id_of}
        own = set(divisible_stimuli(recording).tolist())
        chosen, apart, never = sorted(shown & own), len(shown - own), len(set(test) - id_of.keys())
        nearly = {_stem(name): name for name in id_of}
        for name in (*test, *(train or ())):
            if name not in id_of and _stem(name) in nearly:
                raise RecordingError(
                    f"{self.test} lists {name!r}, which was not shown, though {nearly[_stem(name)]!r} was: write names as the "
                    "recording does"
                )
        if not shown:
            raise RecordingError(
                f"{self.test} lists {len(set(test))} test stimuli ({', '.join(test[:2])} …), of which 0 were shown; names are "
                f"such as {recording.stimuli['name'].iloc[0]!r}"
            )
        known_train = [name for name in train or () if name in id_of]
        if train is not None and not known_train:
            listed = f" ({', '.join(train[:2])} …)" if train else ""
            raise RecordingError(
                f"{self.test} lists {len(train)} training stimuli{listed}, of which {len(known_train)} were "
                f"shown; names are such as {recording.stimuli['name'].iloc[0]!r}: name two or more, or list test stimuli alone, "
                "one a line, and all others train"
            )
        sided = {*(() if train is None else train), *test}
        out = None if train is None else sorted(own - {number for name, number in id_of.items() if name in sided})
        beside = [f"{never} others on the list were not shown"] * bool(never)
        beside += [f"{apart} others belong to further test sets, which test in any split"] * bool(apart)
        remark = f"Split: {len(chosen)} test stimuli as listed in {self.test.name}"
        remark += f" ({'; '.join(beside)})." if beside else "."
        if train is not None and len(known_train) < len(train):
            remark += f" {len(train) - len(known_train)} training stimuli on the list were not shown."
        if out:
            remark += f" {len(out)} stimuli are on neither side."
        return with_split(
            recording,
            chosen,
            remark,
            out,
            chosen=f"{self.test} ({'; '.join(beside)})" if beside else str(self.test),
            advice="list more of those that should test, and leave others to train",
        )
