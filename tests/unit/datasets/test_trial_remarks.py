"""Laws of what is said of trials that are not there: each number, and nothing where all are there."""

import numpy as np
import pandas as pd
import pytest

from braindiffuser.datasets.trial_remarks import gaps, left_out, trial_remarks, unread_columns
from braindiffuser.datasets.trial_tables import trial_table


def trials_of(sessions, runs):
    return pd.DataFrame([(s, r) for s in sessions for r in runs], columns=["session", "run"])


@pytest.mark.parametrize(
    ("sessions", "said"),
    [
        ([1, 2, 3], ""),
        ([1, 3], "Session 2 is not there"),
        ([2, 3], "Session 1 is not there"),
        ([3, 7], "Sessions 1–2, 4–6 are not there"),
        ([1], ""),
        ([20260103, 20260107], ""),
    ],
)
def test_gaps_between_sessions_are_said(sessions, said):
    found = gaps(trials_of(sessions, [1]))
    assert found[0].startswith(said) if said else found == ()
    assert gaps(trials_of(sessions, [1]), all_sessions=False) == ()


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ({1: [1, 2, 3], 2: [1, 2]}, ""),
        ({1: [1, 3], 2: [1, 2, 3]}, "run 2 of session 1:"),
        ({1: [1, 2], 2: [2, 3, 6]}, "runs 1, 4–5 of session 2:"),
        ({1: [1, 2], 2: [3, 4]}, ""),
        ({1: [1, 2], 2: [4, 6]}, "run 5 of session 2:"),
        ({1: [1, 3], 2: [2]}, "run 2 of session 1:"),
        ({1: [5, 6], 2: [5, 6]}, ""),
    ],
)
def test_gaps_between_runs_are_said(runs, said):
    table = pd.DataFrame([(s, r) for s, own in runs.items() for r in own], columns=["session", "run"])
    found = gaps(table)
    assert (len(found) == 1 and f"not there: {said}" in found[0]) if said else found == ()


@pytest.mark.parametrize(("n_empty", "n_catch"), [(0, 0), (3, 0), (0, 4), (5, 2), (1, 1)])
def test_trials_that_are_left_out_are_counted(n_empty, n_catch):
    n = 20
    names = [f"p{k % 5}.png" for k in range(n)]
    rows = pd.DataFrame({"stim_file": names, "is_catch": np.arange(n) < n_catch})
    rows.loc[n - n_empty :, "stim_file"] = None
    said = trial_remarks(rows, trial_table(rows, "s", "t.csv")[0], "t.csv")
    if not n_empty + n_catch:
        assert said == ()
        return
    assert said[0].startswith(f"Trials left out: {n_empty + n_catch} of 20, since ")
    assert (f"{n_empty} show" in said[0]) is (n_empty > 0)
    assert ("catch" in said[0]) is (n_catch > 0)
    assert len(trial_table(rows, "s", "t.csv")[0]) == n - n_empty - n_catch


def test_a_catch_trial_without_a_stimulus_counts_once():
    rows = pd.DataFrame({"stim_file": [None, "a", "b"], "is_catch": [1, 0, 0]})
    assert left_out(rows, "t")[0].startswith("Trials left out: 1 of 3, since 1 shows no stimulus")


@pytest.mark.parametrize(
    ("column", "meant"),
    [
        ("ses", "session"),
        ("runs", "run"),
        ("beta_idx", "beta_index"),
        ("is_cach", "is_catch"),
        ("Split", "split"),
        ("test_sett", "test_set"),
    ],
)
def test_columns_that_are_nearly_called_as_one_that_is_read_are_said(column, meant):
    (said,) = unread_columns(["stim_file", column])
    assert said.endswith(f"nearly called as one that is: {column} ({meant}).")
    rows = pd.DataFrame({"stim_file": ["a", "b"], column: [1, 2]})
    assert said in trial_remarks(rows, trial_table(rows, "s", "t.csv")[0], "t.csv")


def test_columns_that_only_describe_are_listed_and_those_that_are_read_are_not():
    assert unread_columns(["session", "run", "stim_file", "split", "beta_index", "groups", "onset", "duration"]) == ()
    assert unread_columns(["stim_file", "luminance"]) == (
        "Columns of the trials that only describe them, for picture_groups and attribution: luminance.",
    )
