import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braindiffuser.datasets.splits import check_split, number_repeats, order_of_appearance, stimuli_of
from braindiffuser.errors import RecordingError


def table(stimulus_ids: list[int], splits: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"stimulus_id": stimulus_ids, "split": splits})


@given(st.lists(st.integers(0, 5), max_size=30))
@settings(deadline=None, max_examples=25)
def test_repeats_count_earlier_showings(ids):
    expected = [ids[:trial].count(stimulus) for trial, stimulus in enumerate(ids)]
    assert number_repeats(np.array(ids, dtype=np.int64)).tolist() == expected


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
@settings(deadline=None, max_examples=25)
def test_stimuli_are_numbered_as_a_dictionary_filled_trial_by_trial_lists_them(ids):
    listed = list(dict.fromkeys(ids))
    stimuli = np.unique(ids)
    numbers = order_of_appearance(pd.DataFrame({"stimulus_id": ids}), stimuli)
    assert [listed.index(stimulus) for stimulus in stimuli.tolist()] == numbers.tolist()


@pytest.mark.parametrize(("shown", "never"), [([1, 2], [3]), ([1, 2, 5], [3]), ([4], [1, 3]), ([], [1, 3])])
def test_a_stimulus_that_was_never_shown_has_no_number(shown, never):
    trials = pd.DataFrame({"stimulus_id": np.array(shown, int)})
    with pytest.raises(RecordingError, match=rf"{len(never)} stimuli have no trial \(first: \[{never[0]}"):
        order_of_appearance(trials, np.array([1, 3]))


def test_stimuli_of_a_split_are_sorted_and_counted():
    ids, n_repeats = stimuli_of(table([9, 2, 9, 4], ["train", "train", "train", "test"]), "train")
    assert ids.tolist() == [2, 9]
    assert n_repeats.tolist() == [1, 2]


def test_a_stimulus_on_both_sides_is_refused():
    with pytest.raises(RecordingError, match=r"1 stimuli have more than one split \(first: \[7\]\)"):
        check_split(table([7, 3, 7], ["train", "train", "test"]))


def test_an_unknown_split_is_refused():
    with pytest.raises(RecordingError, match="'validation'"):
        check_split(table([1], ["validation"]))
