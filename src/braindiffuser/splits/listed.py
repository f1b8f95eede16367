"""A split that a file lists, by the names of the stimuli."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from braindiffuser.datasets.dataset import File
from braindiffuser.datasets.split_files import read_sides
from braindiffuser.errors import RecordingError
from braindiffuser.part import runtime
from braindiffuser.splits.split import Split, with_split

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording


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
        id_of = {name: number for number, name in recording.names.items()}
        known_test = sorted({id_of[name] for name in test if name in id_of})
        nearly = {_stem(name): name for name in id_of}
        for name in test:
            if name not in id_of and _stem(name) in nearly:
                raise RecordingError(
                    f"{self.test} lists {name!r}, which was not shown, though {nearly[_stem(name)]!r} was: write names as the "
                    "recording does"
                )
        if len(known_test) < 2:
            raise RecordingError(
                f"{self.test} lists {len(test)} test stimuli ({', '.join(test[:2])} …), of which {len(known_test)} were shown; "
                f"names are such as {recording.stimuli['name'].iloc[0]!r}"
            )
        out = [] if train is None else [number for name, number in id_of.items() if name not in {*train, *test}]
        never = len(test) - len(known_test)
        remark = f"Split: {len(known_test)} test stimuli as listed in {self.test.name}" + (
            f" ({never} others on the list were not shown)." if never else "."
        )
        if out:
            remark += f" {len(out)} stimuli are on neither side."
        return with_split(recording, known_test, remark, out)
