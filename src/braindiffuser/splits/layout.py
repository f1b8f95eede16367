"""The recording's own split; where it has none, the stimuli that were shown most often, if they stand out."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from braindiffuser.errors import RecordingError
from braindiffuser.splits.split import Split, divisible_stimuli, with_split

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording

SMALLEST_TEST, LARGEST_SHARE = 2, 1 / 3
"""Stimuli that stand out are at least so many, and at most that share of all."""


class Layout(Split):
    """The recording's own split; where it has none, the stimuli that were shown most often test, if they stand out."""

    takes_layouts_own: ClassVar[bool] = True

    def divide(self, recording: Recording) -> Recording:
        """Take the split that is there, or find the repeated stimuli."""
        if recording.has_split:
            return recording
        ids = recording.trials["stimulus_id"]
        counts = ids[ids.isin(divisible_stimuli(recording))].value_counts()
        if counts.empty:
            raise RecordingError(
                f"all stimuli belong to further test sets ({_listed(recording)}), so none are left to train"
            )
        usual = int(counts.mode().iloc[0])
        often = counts.index[counts > usual]
        if not SMALLEST_TEST <= len(often) <= LARGEST_SHARE * len(counts):
            shown = f"{counts.min()} to {counts.max()} times" if counts.min() < counts.max() else f"{usual} times each"
            beside = f" beside those of {_listed(recording)}" if recording.further_test_sets else ""
            raise RecordingError(
                f"the recording does not say which stimuli test{beside}, and none stand out by their repeats "
                f"({len(counts)} stimuli, shown {shown}): add a column split (train, test) to the table of trials, or write "
                "split: {kind: listed, test: FILE}, or split: {kind: folds, n_folds: 5}"
            )
        least = int(counts[often].min())
        return with_split(
            recording,
            often.tolist(),
            f"The recording does not say which stimuli test: the {len(often)} that were shown {least} times or more are taken; "
            f"the others were shown {usual} times or less. A column split (train, test) of the trials would say it.",
        )


def _listed(recording: Recording) -> str:
    return ", ".join(recording.further_test_sets)
