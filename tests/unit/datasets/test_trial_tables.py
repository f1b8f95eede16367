import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braindiffuser.datasets.recording import TRIAL_COLUMNS
from braindiffuser.datasets.trial_remarks import numbered_words
from braindiffuser.datasets.trial_tables import (
    choose_sessions,
    further_sets_of,
    stimulus_names,
    trial_table,
    whole_numbers,
)
from braindiffuser.errors import RecordingError


def rows(**columns):
    return pd.DataFrame({"stim_file": ["b.png", "a.png", "b.png", "c.png"], **columns})


def test_trials_are_numbered_and_stimuli_named():
    trials, stimuli = trial_table(rows(session=[1, 1, 2, 2], split=["train", "test", "train", None]), "me", "t")
    assert list(trials.columns) == [*TRIAL_COLUMNS, "beta_index", "table_row"]
    assert trials["stimulus_id"].tolist() == [1, 0, 1, 2]
    assert trials["repeat"].tolist() == [0, 0, 1, 0]
    assert trials["split"].tolist() == ["train", "test", "train", "out"]
    assert trials["beta_index"].tolist() == trials["trial"].tolist() == [0, 1, 2, 3]
    assert stimuli["name"].to_dict() == {0: "a.png", 1: "b.png", 2: "c.png"}


@given(st.lists(st.integers(1, 3), min_size=4, max_size=4))
@settings(deadline=None)
def test_each_trial_keeps_its_beta_whatever_the_order_of_sessions(sessions):
    given_rows = rows(session=sessions)
    trials, stimuli = trial_table(given_rows, "me", "t")
    assert trials["session"].is_monotonic_increasing
    for _, trial in trials.iterrows():
        assert given_rows["stim_file"].iloc[trial["beta_index"]] == stimuli["name"][trial["stimulus_id"]]
        assert given_rows["session"].iloc[trial["beta_index"]] == trial["session"]


def test_catch_trials_and_blanks_are_left_out_but_keep_their_betas():
    table = rows(is_catch=[0, 1, 0, 0])
    table.loc[3, "stim_file"] = np.nan
    trials, _ = trial_table(table, "me", "t")
    assert trials["beta_index"].tolist() == [0, 2]
    trials, _ = trial_table(table.assign(beta_index=[7, 5, 3, 1]), "me", "t")
    assert trials["beta_index"].tolist() == [7, 3]


@pytest.mark.parametrize("form", ["{}", "ses-{:02}", "session {}", "{}.0"])
def test_sessions_may_be_named(form):
    trials, _ = trial_table(rows(session=[form.format(n) for n in (1, 2, 10, 10)]), "me", "t")
    assert trials["session"].tolist() == [1, 2, 10, 10]


@pytest.mark.parametrize("column", ["session", "run"])
def test_sessions_named_by_words_are_numbered_in_the_order_in_which_they_come_first(column):
    trials, _ = trial_table(rows(**{column: ["tuesday", "Monday", "tuesday ", "monday"]}), "me", "t")
    numbers = trials.set_index("table_row")[column]
    assert numbers.loc[[0, 1, 2, 3]].tolist() == [1, 2, 1, 2]
    said = f"{column.capitalize()}s are numbered in the order in which they come first in the table: 1 is tuesday, 2 is Monday."
    assert numbered_words(trials) == (said,)
    assert numbered_words(trial_table(rows(**{column: ["day1", "day1", "day2", "day2"]}), "me", "t")[0]) == ()


@pytest.mark.parametrize(
    "sessions", [["pre", "ses-01", "pre", "pre"], ["pre", "post", "", "pre"], ["?", "!", "?", "!"]]
)
def test_words_beside_numbers_and_nothing_are_refused(sessions):
    with pytest.raises(RecordingError, match=r"column session holds .* or words alone, such as pre and post"):
        trial_table(rows(session=sessions), "me", "t")


def test_words_of_trials_that_are_left_out_have_no_number():
    trials, _ = trial_table(rows(session=["practice", "b", "a", "a"], is_catch=[1, 0, 0, 0]), "me", "t")
    assert trials["session"].tolist() == [1, 2, 2]


def test_what_describes_a_stimulus_goes_with_it():
    _, stimuli = trial_table(rows(category=["x", "y", "x", "z"], onset=[1, 2, 3, 4]), "me", "t")
    assert stimuli["category"].tolist() == ["y", "x", "z"]
    assert list(stimuli) == ["name", "category"]


def test_ids_follow_a_list_of_names():
    trials, stimuli = trial_table(rows(), "me", "t", names=["c.png", "never.png", "b.png", "a.png"])
    assert trials["stimulus_id"].tolist() == [2, 3, 2, 0]
    assert stimuli.index.tolist() == [0, 2, 3]
    with pytest.raises(
        RecordingError, match=r"t: row 1, counted from 0, shows 'a.png', which is not among the stimuli"
    ):
        trial_table(rows(), "me", "t", names=["b.png", "c.png"])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            pd.DataFrame({"run": [1]}),
            r"t lacks the column stim_file; it has run, expected .* or as stimulus, .*, such as\nsession",
        ),
        (rows(session=[1, "x", 2, 2]), "column session holds 'x' in row 1, counted from 0; expected a number"),
        (rows(session=[1, -2, 2, 2]), "column session holds '-2'"),
        (rows(run=[1, 1.5, 2, 2]), "column run holds '1.5'"),
        (rows(split=["train", "validate", "test", "test"]), "column split holds 'validate'; expected train, test"),
        (rows(is_catch=[1, 1, 1, 1]), "no trial shows a stimulus"),
        (rows(beta_index=[0, 1, 1, 2]), "two trials have the beta 1"),
    ],
)
def test_a_table_that_cannot_be_understood_is_refused(table, words):
    with pytest.raises(RecordingError, match=words):
        trial_table(table, "me", "t")


def test_sessions_are_chosen_among_those_there():
    assert choose_sessions([3, 1, 2], None, "folder") == [1, 2, 3]
    assert choose_sessions([3, 1, 2], 2, "folder") == [1, 2]
    assert choose_sessions([3, 1, 2], [3, 1], "folder") == [1, 3]
    with pytest.raises(
        RecordingError,
        match=r"folder has the sessions 1–3, but dataset.sessions asks for 4 too: write `sessions: \[1, 2, 3\]`",
    ):
        choose_sessions([3, 1, 2], 4, "folder")


def test_an_index_of_betas_counts_through_all_sessions_unless_a_layout_says_otherwise():
    table = rows(session=[1, 1, 2, 2], beta_index=[0, 1, 0, 1])
    with pytest.raises(RecordingError, match="two trials have the beta 0, counted from 0: let column beta_index count"):
        trial_table(table, "me", "t")
    trials, _ = trial_table(table, "me", "t", by_session=True)
    assert trials["beta_index"].tolist() == [0, 1, 0, 1]


def test_catch_trials_need_no_beta():
    trials, _ = trial_table(rows(is_catch=[0, 1, 0, 0], beta_index=[3, np.nan, 1, 0]), "me", "t")
    assert trials["beta_index"].tolist() == [3, 1, 0]


@pytest.mark.parametrize("column", ["session", "run"])
@pytest.mark.parametrize("names", [["A1", "A1", "B1", "B1"], ["train-01", "train-02", "test-01", "test-02"]])
def test_names_that_end_in_one_number_are_not_one_session(column, names):
    with pytest.raises(RecordingError, match=rf"column {column} holds '.*' and '.*', which end in the same number"):
        trial_table(rows(**{column: names}), "me", "t")


@pytest.mark.parametrize("column", ["test_set", "groups"])
def test_what_tests_and_folds_go_by_is_the_same_in_all_trials(column):
    with pytest.raises(RecordingError, match=f"column {column} differs between trials of one stimulus"):
        trial_table(rows(**{column: ["x", "y", "z", "y"]}), "me", "t")
    _, stimuli = trial_table(rows(**{column: ["x", "y", "x", "z"]}), "me", "t")
    assert stimuli[column].tolist() == ["y", "x", "z"]


def test_several_subjects_and_splits_that_contradict_each_other_are_refused():
    with pytest.raises(RecordingError, match="holds the subjects A, B: write one table"):
        trial_table(rows(subject=["A", "A", "B", "B"]), "me", "t")
    with pytest.raises(RecordingError, match="columns split and is_test contradict each other"):
        trial_table(rows(split=["train", "test", "train", "train"], is_test=[1, 0, 1, 0]), "me", "t")


def test_the_file_of_a_picture_comes_before_other_names():
    _, stimuli = trial_table(rows(stimulus=[0, 1, 0, 0]), "me", "t")
    assert stimuli["name"].tolist() == ["a.png", "b.png", "c.png"]


def test_messages_name_rows_of_the_users_table_whatever_is_left_out():
    table = rows(is_catch=[1, 0, 0, 0], session=[3, 2, "x", 1])
    with pytest.raises(RecordingError, match="column session holds 'x' in row 2, counted from 0"):
        trial_table(table, "me", "t")
    with pytest.raises(RecordingError, match=r"t: row 3, counted from 0, shows 'c\.png'"):
        trial_table(table.assign(session=1), "me", "t", names=["a.png", "b.png"])
    trials, _ = trial_table(table.assign(session=[3, 2, 1, 1]), "me", "t")
    assert trials["table_row"].tolist() == [2, 3, 1]


@pytest.mark.parametrize("kind", [str, float, object])
def test_numbers_that_pandas_made_fractional_are_whole_again(kind):
    written = [str(value) if kind is str else value for value in (3.0, 12.0, 3.0)]
    shown = pd.Series([written[0], np.nan, *written[1:]], dtype=float if kind is float else object)
    _, stimuli = trial_table(pd.DataFrame({"stim_file": shown}), "me", "t")
    assert stimuli["name"].tolist() == ["12", "3"]


def test_other_numbers_and_names_stay_as_they_are():
    for names in (["0012", "1.50", "2"], ["1.0", "1.0.png", "2"], ["00.0", "1.0", "2.0"]):
        assert stimulus_names(pd.Series(names)).tolist() == names


def test_accents_are_the_same_however_they_are_stored():
    composed, split = "caf\u00e9.png", "cafe\u0301.png"
    _, stimuli = trial_table(pd.DataFrame({"stim_file": [composed, split, "b.png"]}), "me", "t")
    assert stimuli["name"].tolist() == ["b.png", composed]
    trials, _ = trial_table(pd.DataFrame({"stim_file": [composed, "b.png"]}), "me", "t", names=["b.png", split])
    assert trials["stimulus_id"].tolist() == [1, 0]


@pytest.mark.parametrize("column", ["session", "run"])
@pytest.mark.parametrize("as_given", [str, "ses-{}".format, pd.Timestamp, "{} 00:00:00".format])
def test_days_name_sessions_in_their_order(column, as_given):
    days = [as_given(day) for day in ("2024-02-06", "2023-12-31", "2024-02-06", "2023-12-31")]
    trials, _ = trial_table(rows(**{column: days}), "me", "t")
    assert sorted(trials[column].unique()) == [20231231, 20240206]
    assert trials.set_index("beta_index")[column][0] == 20240206


@pytest.mark.parametrize("day", ["2024-13-06", "6.2.2024", "06/02/2024", "2024-02-06 10:30"])
def test_days_that_can_be_read_in_two_ways_are_explained(day):
    with pytest.raises(RecordingError, match=rf"column session holds '{day}' .* or a day, such as 2024-01-31"):
        trial_table(rows(session=[day, 1, 1, 1]), "me", "t")
    with pytest.raises(RecordingError, match="which end in the same number"):
        trial_table(rows(session=["2024-02-06", "20240206", 1, 1]), "me", "t")


@pytest.mark.parametrize(("split", "said"), [("train", "train"), (None, "empty")])
def test_a_test_set_of_stimuli_that_do_not_test_is_refused(split, said):
    table = rows(split=["train", split, "train", "test"], test_set=[None, "imagery", None, None])
    with pytest.raises(
        RecordingError, match=rf"t: 'a\.png' belongs to the test set imagery, but its split is {said}: write test"
    ):
        trial_table(table, "me", "t")
    _, stimuli = trial_table(table.assign(split=["train", "test", "train", "test"]), "me", "t")
    assert {name: ids.tolist() for name, ids in further_sets_of(stimuli).items()} == {"imagery": [0]}


def test_a_column_of_the_users_that_is_called_name_does_no_harm():
    _, stimuli = trial_table(rows(name=["x", "y", "x", "z"]), "me", "t")
    assert stimuli["name"].tolist() == ["a.png", "b.png", "c.png"]


def test_a_number_that_is_too_long_is_refused():
    table = pd.DataFrame({"session": ["1", "9" * 25]})
    with pytest.raises(RecordingError, match=r"x: column session holds 9+ in row 1.* 18 digits at most"):
        whole_numbers(table, "session", "x")


def test_of_no_rows_there_are_no_numbers():
    table = pd.DataFrame({"index": [np.nan], "name": ["V1"]}).dropna()
    assert whole_numbers(table, "index", "x").tolist() == []
