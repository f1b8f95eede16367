"""A split of one's own: stimuli whose names contain a word test.

This line of an experiment file uses it:

    split: {kind: split:ByName, word: "7"}

Run in this folder, with a recording whose stimuli have names:

    braindiffuser run --config split.yaml --with split --out RUN
"""

from pydantic import Field

from braindiffuser.datasets import Recording
from braindiffuser.errors import RecordingError
from braindiffuser.splits import Split, with_split


class ByName(Split):
    """Stimuli whose names contain a word test; all others train."""

    word: str = Field(min_length=1, description="Word that test stimuli have in their names.")

    def divide(self, recording: Recording) -> Recording:
        """Look for the word; nothing but the table of stimuli is needed."""
        test = [number for number, name in recording.names.items() if self.word in name]
        if not 1 < len(test) < len(recording.names):
            raise RecordingError(
                f"{len(test)} of {len(recording.names)} names contain {self.word!r}: choose another word"
            )
        return with_split(recording, test, f"Split: the {len(test)} stimuli whose names contain {self.word!r} test.")
