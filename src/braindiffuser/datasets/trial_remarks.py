"""What a reader says of trials that are left out, and of numbers of sessions and runs: gaps, and those that stand for words."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

import numpy as np
import pandas as pd

from braindiffuser.datasets.recording import TRIAL_COLUMNS, ranges
from braindiffuser.datasets.tables import STIMULUS_COLUMNS, truth_values
from braindiffuser.datasets.trial_tables import KEPT

READ = (*TRIAL_COLUMNS, *STIMULUS_COLUMNS, *KEPT, "is_test", "is_catch", "beta_index", "caption")
"""Columns that mean something to `trial_table` and to readers of captions."""
OTHERS = (
    *(
        "table_row",
        "name",
        "onset",
        "duration",
        "trial_type",
        "response_time",
        "identifier",
        "sample",
        "value",
        "HED",
        "volume",
    ),
    *("subject_id", "trial_id", "concept", "condition", "index"),
)
"""Columns that readers add, or that tables of events usually have."""
LARGEST_NUMBER = 1000
"""Sessions and runs with larger numbers are not counted but named, as by a date."""


def trial_remarks(
    rows: pd.DataFrame, trials: pd.DataFrame, where: object, all_sessions: bool = True
) -> tuple[str, ...]:
    """Say how many trials are left out, which sessions and runs are not there, and which columns mean nothing.

    Args:
        rows: what `trial_table` was given.
        trials: what it returned.
        where: file of the table, for messages.
        all_sessions: whether all sessions were asked for; a choice of sessions has gaps on purpose.
    """
    return (
        *left_out(rows, where),
        *numbered_words(trials),
        *gaps(trials, all_sessions),
        *unread_columns([str(name) for name in rows.columns]),
    )


def unread_columns(names: Iterable[str]) -> tuple[str, ...]:
    r"""Say which columns of a table of trials mean nothing, those apart that are nearly called as one that does.

    >>> print(*unread_columns(["session", "stim_file", "beta_idx", "luminance"]), sep="\n")
    Columns of the trials that are not read, though they are nearly called as one that is: beta_idx (beta_index).
    Columns of the trials that only describe them, for picture_groups and attribution: luminance.
    """
    unread = [name for name in names if name not in READ and name not in OTHERS]
    close = {name: get_close_matches(name.casefold(), READ, 1, 0.6) for name in unread}
    nearly = [f"{name} ({found[0]})" for name, found in close.items() if found]
    others = [name for name, found in close.items() if not found]
    said: tuple[str, ...] = ()
    if nearly:
        said += (
            f"Columns of the trials that are not read, though they are nearly called as one that is: {', '.join(nearly)}.",
        )
    if others:
        said += (
            f"Columns of the trials that only describe them, for picture_groups and attribution: {', '.join(others)}.",
        )
    return said


def numbered_words(trials: pd.DataFrame) -> tuple[str, ...]:
    """Say which numbers sessions and runs have that words name."""
    return tuple(
        f"{column.capitalize()}s are numbered in the order in which they come first in the table: "
        f"{', '.join(f'{number} is {word}' for number, word in enumerate(words, start=1))}."
        for column, words in trials.attrs.get("words", {}).items()
        if words
    )


def left_out(rows: pd.DataFrame, where: object) -> tuple[str, ...]:
    """Say how many trials show no stimulus or are catch trials."""
    column = next((name for name in STIMULUS_COLUMNS if name in rows), None)
    empty = np.zeros(len(rows), bool) if column is None else rows[column].isna().to_numpy()
    catch = truth_values(rows, "is_catch", where) & ~empty if "is_catch" in rows else np.zeros(len(rows), bool)
    n_empty, n_catch = int(empty.sum()), int(catch.sum())
    why = [
        f"{n_empty:,} {'shows' if n_empty == 1 else 'show'} no stimulus ({column} is empty)" if n_empty else "",
        f"{n_catch:,} {'is a catch trial' if n_catch == 1 else 'are catch trials'} (is_catch)" if n_catch else "",
    ]
    if not any(why):
        return ()
    return (f"Trials left out: {n_empty + n_catch:,} of {len(rows):,}, since {' and '.join(filter(None, why))}.",)


def gaps(trials: pd.DataFrame, all_sessions: bool = True) -> tuple[str, ...]:
    """Say which sessions and runs are not there, by gaps in their numbers."""
    said = []
    sessions = trials["session"].unique().tolist()
    lost = _lacking(sessions, 1) if all_sessions else []
    if lost:
        which = f"{'Session' if len(lost) == 1 else 'Sessions'} {ranges(lost)}"
        said.append(f"{which} {'is' if len(lost) == 1 else 'are'} not there: see that the recording is complete.")
    runs_of = {session: set(trials.loc[trials["session"] == session, "run"].tolist()) for session in sessions}
    every = [run for runs in runs_of.values() for run in runs]
    start_anew = len(set(every)) < len(every)  # else they are counted through all sessions
    lost_of = {
        session: _lacking(runs, 1 if start_anew and 1 in every else min(runs)) for session, runs in runs_of.items()
    }
    named = [
        f"{'run' if len(lost) == 1 else 'runs'} {ranges(lost)} of session {session}"
        for session, lost in lost_of.items()
        if lost
    ]
    if named:
        said.append(f"Runs that are not there: {', '.join(named)}: see that the recording is complete.")
    return tuple(said)


def _lacking(numbers: Iterable[int], first: int) -> list[int]:
    """Return the numbers from the first to the largest that are not there; [] if they are no counts, such as dates."""
    there = set(map(int, numbers))
    return [] if max(there) > LARGEST_NUMBER else sorted(set(range(first, max(there))) - there)
