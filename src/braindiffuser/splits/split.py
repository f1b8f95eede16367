"""Splits: which stimuli train and which test. One file is one kind."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Int

from braindiffuser.part import Part

if TYPE_CHECKING:
    import pandas as pd

    from braindiffuser.datasets.recording import Recording


class Split(Part):
    """How the stimuli of a recording are divided into those that train and those that test."""

    reads_pictures: ClassVar[bool] = False
    """Whether pictures decide; then their contents are a part of what results depend on."""

    @abstractmethod
    def divide(self, recording: Recording) -> Recording:
        """Return the recording with a split, and with a remark on where it comes from.

        Nothing but the trial table and the stimuli may decide: no responses are read.

        Raises:
            RecordingError: it cannot be divided so.
        """

    def files(self) -> Mapping[str, Path]:
        """Return name → path of files that the split is read from; their contents are a part of the recording's identity."""
        return {}


def divisible_stimuli(recording: Recording) -> Int[np.ndarray, " n"]:
    """Return the ascending ids of stimuli that were shown, without those of further test sets, which test in any split."""
    apart = np.concatenate([np.empty(0, np.int64), *recording.further_test_sets.values()])
    return np.setdiff1d(recording.trials["stimulus_id"].to_numpy(dtype=np.int64), apart)


def with_split(recording: Recording, test: Iterable[int], remark: str, out: Iterable[int] = ()) -> Recording:
    """Return a recording whose stimuli `test` test, `out` do neither, and all others train.

    Stimuli of the recording's further test sets stay test stimuli: no split turns imagined pictures into training data.
    """
    ids = recording.trials["stimulus_id"].to_numpy()
    apart = np.concatenate([np.empty(0, np.int64), *recording.further_test_sets.values()])
    words = np.where(np.isin(ids, [*test, *apart]), "test", np.where(np.isin(ids, list(out)), "out", "train"))
    trials: pd.DataFrame = recording.trials.assign(split=words)
    return replace(recording, trials=trials, remarks=(*recording.remarks, remark) if remark else recording.remarks)
