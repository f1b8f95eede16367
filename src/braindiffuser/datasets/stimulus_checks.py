"""What can be told of stimuli before betas are read: for `check`, and for the stage `prepare`."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.splits import stimuli_of
from braindiffuser.errors import RecordingError
from braindiffuser.images import SMALLEST_SIDE


def used_stimuli(recording: Recording) -> Int[np.ndarray, " n"]:
    """Return the ids of the stimuli that train or test: training stimuli ascending, then test set by test set."""
    return np.concatenate([stimuli_of(recording.trials, "train")[0], *recording.test_sets.values()])


def check_stimuli(recording: Recording, stimulus_ids: Int[np.ndarray, " n"], with_captions: bool) -> None:
    """Read one picture, and all captions if targets are made of them.

    Raises:
        RecordingError: a file is missing or damaged, pictures are too small, or a stimulus has no caption.
    """
    side = recording.pictures(stimulus_ids.max()[None]).shape[-1]
    if side < SMALLEST_SIDE:
        raise RecordingError(f"stimuli are {side} pixels wide, expected {SMALLEST_SIDE} or more, which SSIM takes")
    if recording.captions is not None and with_captions:
        for stimulus_id in stimulus_ids:
            recording.captions(int(stimulus_id))
