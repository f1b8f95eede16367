"""The stimuli that were shown most often test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt

from braindiffuser.errors import RecordingError
from braindiffuser.splits.split import Split, with_split

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording


class MostRepeated(Split):
    """Stimuli that were shown so often, or more often, test; all others train."""

    n_repeats: PositiveInt = Field(description="Trials that a test stimulus has, at least.")

    def divide(self, recording: Recording) -> Recording:
        """Take the stimuli with enough trials."""
        counts = recording.trials["stimulus_id"].value_counts()
        often = counts.index[counts >= self.n_repeats]
        if not 0 < len(often) < len(counts):
            which = "no stimulus was" if not len(often) else "all stimuli were"
            raise RecordingError(
                f"split.n_repeats is {self.n_repeats}, but {which} shown so often ({counts.min()} to {counts.max()} times)"
            )
        return with_split(
            recording,
            often.tolist(),
            f"Split: the {len(often)} stimuli that were shown {self.n_repeats} times or more test.",
        )
