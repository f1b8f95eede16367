"""The stimuli that were shown most often test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt

from braindiffuser.splits.split import Split, divisible_stimuli, with_split

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording


class MostRepeated(Split):
    """Stimuli that were shown so often, or more often, test; all others train."""

    n_repeats: PositiveInt = Field(description="Trials that a test stimulus has, at least.")

    def divide(self, recording: Recording) -> Recording:
        """Take the stimuli with enough trials."""
        ids = recording.trials["stimulus_id"]
        counts = ids[ids.isin(divisible_stimuli(recording))].value_counts()
        often = counts.index[counts >= self.n_repeats]
        shown = f" (stimuli were shown {counts.min()} to {counts.max()} times)" if len(counts) else ""
        return with_split(
            recording,
            often.tolist(),
            f"Split: the {len(often)} stimuli that were shown {self.n_repeats} times or more test.",
            chosen=f"split.n_repeats {self.n_repeats}{shown}",
            advice="use another n_repeats, or another split",
        )
