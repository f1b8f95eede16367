"""Splits: which stimuli train and which test. One file is one kind."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Int

from braindiffuser.errors import RecordingError
from braindiffuser.part import Part

if TYPE_CHECKING:
    import pandas as pd

    from braindiffuser.datasets.recording import Recording

FEWEST_STIMULI = 2
"""Stimuli that test, and that train, at least: scores compare them, and decoders are fitted to them."""


class Split(Part):
    """How the stimuli of a recording are divided into those that train and those that test."""

    reads_pictures: ClassVar[bool] = False
    """Whether pictures decide; then their contents are a part of what results depend on."""

    reads_other_subjects: ClassVar[bool] = False
    """Whether tables of the data set's other subjects decide; then their contents are a part of the recording's identity."""

    takes_layouts_own: ClassVar[bool] = False
    """Whether the layout's own split decides; else it is not read."""

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
    """Return the ascending ids of stimuli that were shown and may be divided.

    Without those of further test sets, which test in any split, and those that the recording sets to neither side.
    """
    apart = np.concatenate([stimuli_out(recording), *recording.further_test_sets.values()])
    return np.setdiff1d(recording.trials["stimulus_id"].to_numpy(dtype=np.int64), apart)


def check_sides(recording: Recording, remedy: str = "choose another split") -> None:
    """Check that two stimuli or more train, that some test, and that no test set has a single one.

    Args:
        recording: with a split.
        remedy: how there may be more stimuli, for the message (`Dataset.more_stimuli`).

    Raises:
        RecordingError: it has fewer.
    """
    from braindiffuser.datasets.splits import stimuli_of

    train, sets = stimuli_of(recording.trials, "train")[0], recording.test_sets
    alone = [name for name, ids in sets.items() if name != "test" and len(ids) < 2]
    if alone:
        raise RecordingError(
            f"the test set {alone[0]} has one stimulus, but scores compare two or more: give it more stimuli, or let it be no "
            "test set of its own (column test_set, where there is a table); no split changes it"
        )
    few = [f"the test set {name} has one stimulus" for name, ids in sets.items() if len(ids) < FEWEST_STIMULI]
    few += [f"{len(train)} stimuli train"] if len(train) < FEWEST_STIMULI else []
    few += [] if sets else ["no stimulus tests"]
    if sets and "test" not in sets:
        few.append(
            f"all test stimuli belong to further test sets ({', '.join(sets)}), none to the set that a page begins with"
        )
    if few:
        raise RecordingError(
            f"{few[0]}, but scores compare two or more test stimuli, and decoders learn from two "
            f"or more training stimuli: {remedy}"
        )


def stimuli_out(recording: Recording) -> Int[np.ndarray, " n"]:
    """Return the ascending ids of stimuli that the recording itself sets to neither side."""
    trials = recording.trials
    return np.unique(trials["stimulus_id"].to_numpy(dtype=np.int64)[(trials["split"] == "out").to_numpy(dtype=bool)])


def with_split(
    recording: Recording,
    test: Iterable[int],
    remark: str,
    out: Iterable[int] | None = None,
    *,
    chosen: str = "the split",
    advice: str = "choose another split",
) -> Recording:
    """Return a recording whose stimuli `test` test, `out` do neither, and all others train.

    If `out` is None, stimuli that the recording sets to neither side stay there, which is said.

    Stimuli of the recording's further test sets stay test stimuli: no split turns imagined pictures into training data.

    Args:
        recording: to divide.
        test: ids of stimuli that test.
        remark: where the split comes from, for the page; it replaces what was said of an earlier split.
        out: ids of stimuli that neither train nor test.
        chosen: what chose the stimuli, for the message.
        advice: what to do where too few stimuli test or train, likewise.

    Raises:
        RecordingError: fewer than two of the `divisible_stimuli` test, or fewer than two train.
    """
    shown = recording.trials["stimulus_id"].to_numpy(dtype=np.int64)
    own = np.setdiff1d(shown, np.concatenate([np.empty(0, np.int64), *recording.further_test_sets.values()]))
    tests = np.intersect1d(own, np.array(list(test), np.int64))
    given = stimuli_out(recording) if out is None else np.array(list(out), np.int64)
    outs = np.setdiff1d(np.intersect1d(own, given), tests)
    if out is None and len(outs):
        remark += f" {len(outs)} stimuli stay on neither side, as the recording says (split: out)."
    n_train = len(own) - len(tests) - len(outs)
    if len(tests) < FEWEST_STIMULI or n_train < FEWEST_STIMULI:
        sets = ", ".join(recording.further_test_sets)
        raise RecordingError(
            f"{chosen} lets {len(tests)} of {len(own)} stimuli test{f' beside those of {sets}' if sets else ''} and {n_train} "
            f"train, but scores compare two or more, and decoders need two or more: {advice}"
        )
    trains = np.setdiff1d(own, [*tests, *outs])
    words = np.where(np.isin(shown, trains), "train", np.where(np.isin(shown, outs), "out", "test"))
    trials: pd.DataFrame = recording.trials.assign(split=words)
    return replace(recording, trials=trials, split_remark=remark.strip())
