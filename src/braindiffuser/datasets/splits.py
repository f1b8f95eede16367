"""Which stimuli train and which test; a stimulus is on one side only."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Int

from braindiffuser.errors import RecordingError

Split = Literal["train", "test"]
OUT = "out"
"""Trials of stimuli that neither train nor test."""


def number_repeats(stimulus_ids: Int[np.ndarray, " n_trials"]) -> Int[np.ndarray, " n_trials"]:
    """Count, for each trial, how often its stimulus was shown before: 0 at the first showing.

    Example:
        >>> number_repeats(np.array([7, 4, 7, 7])).tolist()
        [0, 0, 1, 2]
    """
    return pd.Series(stimulus_ids).groupby(stimulus_ids).cumcount().to_numpy()


def order_of_appearance(
    trials: pd.DataFrame, stimulus_ids: Int[np.ndarray, " n_stimuli"]
) -> Int[np.ndarray, " n_stimuli"]:
    """Rank stimuli by first trial, from 0: the picture numbers of Brain-Diffuser's own scripts.

    Args:
        trials: one row per trial, in order, with the column `stimulus_id`.
        stimulus_ids: all stimuli of a split, each shown at least once.

    Raises:
        RecordingError: if one was never shown.

    Example:
        >>> order_of_appearance(pd.DataFrame({"stimulus_id": [7, 4, 9, 7]}), np.array([4, 7, 9])).tolist()
        [1, 0, 2]
    """
    ids, first_trials = np.unique(trials["stimulus_id"].to_numpy(dtype=np.int64), return_index=True)
    never = np.setdiff1d(stimulus_ids, ids)
    if never.size:
        raise RecordingError(
            f"{never.size} stimuli have no trial (first: {never[:5].tolist()}), so they have no order: ask for stimuli that "
            "the table of trials names"
        )
    return np.argsort(np.argsort(first_trials[np.searchsorted(ids, stimulus_ids)]))


def stimuli_of(
    trials: pd.DataFrame, split: Split
) -> tuple[Int[np.ndarray, " n_stimuli"], Int[np.ndarray, " n_stimuli"]]:
    """Return the sorted stimulus ids of one split and the number of trials of each."""
    ids = trials.loc[trials["split"] == split, "stimulus_id"].to_numpy(dtype=np.int64)
    unique, n_repeats = np.unique(ids, return_counts=True)
    return unique, n_repeats


def check_split(trials: pd.DataFrame) -> None:
    """Raise unless every trial is `train`, `test` or `out`, and every stimulus is on one side only.

    Raises:
        RecordingError: naming the stimuli that straddle, or the unknown split.
    """
    unknown = sorted(set(trials["split"]) - {"train", "test", OUT})
    if unknown:
        raise RecordingError(f"the trial table names the splits {unknown}; expected only 'train', 'test' and 'out'")
    pairs = trials[["stimulus_id", "split"]].drop_duplicates()
    both = np.unique(pairs.loc[pairs["stimulus_id"].duplicated(), "stimulus_id"].to_numpy(dtype=np.int64))
    if both.size:
        raise RecordingError(
            f"{both.size} stimuli have more than one split (first: {both[:5].tolist()}): "
            "give all repeats of a stimulus the same split, or the test scores are worthless"
        )
