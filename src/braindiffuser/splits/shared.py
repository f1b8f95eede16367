"""The stimuli that every subject of the data set saw test."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from braindiffuser.splits.split import Split, divisible_stimuli, with_split

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording


class Shared(Split):
    """Stimuli that every subject of the data set saw test; all others train. So subjects are compared by the same pictures."""

    reads_other_subjects: ClassVar[bool] = True

    def divide(self, recording: Recording) -> Recording:
        """Take the stimuli that the recording knows to be shared."""
        from braindiffuser.datasets.shared_stimuli import OTHERWISE, shared_stimuli

        ids = divisible_stimuli(recording)
        known, how = shared_stimuli(recording)
        test = np.intersect1d(ids, known)
        remark = f"Split: {len(test)} of {len(ids)} stimuli test, those that every subject saw ({how})."
        return with_split(
            recording,
            test.tolist(),
            remark,
            chosen=f"what every subject saw ({how})",
            advice=f"choose another split, or {OTHERWISE}",
        )
