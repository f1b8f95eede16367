from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.splits import number_repeats
from braindiffuser.datasets.trial_tables import trial_table
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError
from braindiffuser.metrics.two_way_identification import two_way_identification
from braindiffuser.splits import Folds
from braindiffuser.splits.folds import deal


def recording(counts, further=None, **columns):
    """Stimuli s0, s1 …, shown so often, in mixed order."""
    ids = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    trials = pd.DataFrame({"subject": "me", "session": 1, "run": 1, "trial": np.arange(len(ids)), "stimulus_id": ids})
    trials["repeat"], trials["split"] = number_repeats(ids), ""
    stimuli = pd.DataFrame({"name": [f"s{n}" for n in range(len(counts))], **columns})
    return Recording(
        "me",
        trials,
        Voxels(3),
        {},
        lambda session: np.zeros((len(ids), 3), np.float32),
        "z",
        stimuli=stimuli,
        further_test_sets=further or {},
    )


def stimuli_that_test(divided):
    """Return the test stimuli; that no stimulus is on both sides is the recording's own check."""
    return sorted(divided.test_sets.get("test", []).tolist())


@given(st.integers(8, 30), st.integers(2, 4), st.integers(0, 5))
def test_every_stimulus_tests_in_one_fold_and_trains_in_all_others(n, n_folds, seed):
    whole = recording(np.random.default_rng(seed).integers(1, 4, n).tolist())
    folds = [stimuli_that_test(Folds(n_folds=n_folds, fold=fold, seed=seed).divide(whole)) for fold in range(n_folds)]
    assert sorted(np.concatenate(folds).tolist()) == list(range(n))
    assert max(map(len, folds)) - min(map(len, folds)) <= 1


def test_stimuli_are_shuffled_by_the_seed_alone():
    whole = recording([2] * 20)
    folds = {seed: stimuli_that_test(Folds(n_folds=4, seed=seed).divide(whole)) for seed in range(3)}
    assert folds[0] == stimuli_that_test(Folds(n_folds=4, seed=0).divide(whole))
    assert len({tuple(ids) for ids in folds.values()}) == 3
    assert not any(ids == list(range(0, 20, 4)) or ids == list(range(5)) for ids in folds.values())


@pytest.mark.parametrize("column", ["groups", "category"])
def test_groups_of_stimuli_are_kept_together(column):
    groups = np.array(list("aaaaaabbbbccddee"))
    whole = recording([1] * 16, **{column: groups})
    named = {} if column == "groups" else {"groups": column}
    folds = [stimuli_that_test(Folds(n_folds=3, fold=fold, **named).divide(whole)) for fold in range(3)]
    assert sorted(np.concatenate(folds).tolist()) == list(range(16))
    assert all(
        len({fold for fold in range(3) if set(np.flatnonzero(groups == g)) & set(folds[fold])}) == 1 for g in "abcde"
    )
    assert sorted(map(len, folds)) == [4, 6, 6]
    assert "; 5 groups are kept together." in Folds(n_folds=3, **named).divide(whole).split_remark


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.integers(2, 5), st.integers(0, 3))
def test_dealing_divides_no_group_and_no_fold_outgrows_another_by_more_than_a_group(labels, n_folds, seed):
    groups = np.unique(labels, return_inverse=True)[1]
    fold_of = deal(groups, n_folds, seed)
    assert all(len(set(fold_of[groups == group])) == 1 for group in set(groups))
    sizes = np.bincount(fold_of, minlength=n_folds)
    assert sizes.max() - sizes.min() <= np.bincount(groups).max()


def test_it_says_what_tests_and_that_folds_are_not_pooled():
    assert Folds(n_folds=3, fold=2, seed=5).divide(recording([2] * 7)).split_remark == (
        "Split: 2 of 7 stimuli test, fold 2 (from 0) of 3 by seed 5. Average scores over folds (`braindiffuser folds`); pictures "
        "of different folds are not comparable."
    )


def test_further_test_sets_are_not_dealt():
    whole = recording([1] * 10, further={"imagined": np.array([0, 1])})
    folds = [Folds(n_folds=2, fold=fold).divide(whole) for fold in range(2)]
    assert sorted(stimuli_that_test(folds[0]) + stimuli_that_test(folds[1])) == list(range(2, 10))
    assert all(divided.test_sets["imagined"].tolist() == [0, 1] for divided in folds)


@pytest.mark.parametrize(
    ("entries", "columns", "words"),
    [
        ({"n_folds": 9}, {}, r"split.n_folds is 9, but there are 6 stimuli: use fewer folds"),
        ({"n_folds": 4}, {"groups": list("aabbcc")}, r"split.n_folds is 4, but there are 3 groups of 6 stimuli"),
        ({"n_folds": 6}, {}, r"fold 0 of 6 lets 1 of 6 stimuli test and 5 train, but scores compare two or more"),
        (
            {"n_folds": 2, "groups": "kind"},
            {},
            r"split.groups is 'kind', but the table of stimuli has the columns name:",
        ),
        (
            {"n_folds": 2, "groups": "kind"},
            {"kind": ["a", "a", None, "b", "b", None]},
            r"column kind of the table of stimuli has no value for 2 stimuli, first 's2': write one for each",
        ),
    ],
)
def test_what_cannot_be_dealt_is_refused(entries, columns, words):
    with pytest.raises(RecordingError, match=words):
        Folds(**entries).divide(recording([1] * 6, **columns))


def test_a_fold_that_there_is_not_is_refused():
    with pytest.raises(ValidationError, match="fold is 3, but 3 folds are counted from 0 to 2"):
        Folds(n_folds=3, fold=3)


# The null


def pairs(divided):
    return divided.trials["stimulus_id"].to_numpy()


@given(st.lists(st.integers(1, 4), min_size=8, max_size=20), st.integers(0, 1), st.integers(0, 9))
def test_the_null_exchanges_training_stimuli_as_wholes_and_nothing_else(counts, fold, seed):
    whole = recording(counts)
    plain, null = (Folds(n_folds=2, fold=fold, shuffled=given).divide(whole) for given in (None, seed))
    columns = [name for name in plain.trials if name != "stimulus_id"]
    pd.testing.assert_frame_equal(plain.trials[columns], null.trials[columns])
    tests = (plain.trials["split"] == "test").to_numpy()
    np.testing.assert_array_equal(pairs(plain)[tests], pairs(null)[tests])
    renamed = dict(zip(pairs(plain).tolist(), pairs(null).tolist(), strict=True))
    assert all(renamed[old] == new for old, new in zip(pairs(plain), pairs(null), strict=True))
    assert sorted(renamed) == sorted(renamed.values())
    np.testing.assert_array_equal(null.trials["repeat"], number_repeats(pairs(null)))


def test_each_seed_and_each_fold_exchanges_anew_and_the_same_seed_alike():
    whole = recording([2] * 30)
    drawn = {
        (fold, seed): pairs(Folds(n_folds=2, fold=fold, shuffled=seed).divide(whole)).tolist()
        for fold in range(2)
        for seed in range(3)
    }
    assert len(set(map(tuple, drawn.values()))) == 6
    assert drawn[1, 2] == pairs(Folds(n_folds=2, fold=1, shuffled=2).divide(whole)).tolist()
    orders = []
    for fold in range(2):  # as places among the training stimuli, which are others in each fold
        plain = Folds(n_folds=2, fold=fold).divide(whole)
        train = np.unique(pairs(plain)[(plain.trials["split"] == "train").to_numpy()])
        new_of = dict(zip(pairs(plain).tolist(), drawn[fold, 0], strict=True))
        orders.append(np.searchsorted(train, [new_of[number] for number in train.tolist()]).tolist())
    assert orders[0] != orders[1]


def test_a_null_says_so_first():
    shuffled = Folds(n_folds=3, shuffled=4).divide(recording([2] * 9))
    assert shuffled.remarks[0].startswith("This is a null, no result: its 6 training pictures were exchanged")
    assert shuffled.split_remark == Folds(n_folds=3).divide(recording([2] * 9)).split_remark


def score_of(divided, betas, targets):
    """Fit ridge regression to averages of training trials and score those of test trials by two-way identification."""
    trials = divided.trials
    means = {}
    for split in ("train", "test"):
        own = trials[trials["split"] == split]
        means[split] = betas[own.index].T @ pd.get_dummies(own["stimulus_id"]).to_numpy(np.float64) / 2
    ids = [np.unique(trials.loc[trials["split"] == split, "stimulus_id"]) for split in ("train", "test")]
    X, Y = means["train"].T, targets[ids[0]]
    decoded = means["test"].T @ np.linalg.solve(X.T @ X + 5 * np.eye(X.shape[1]), X.T @ (Y - Y.mean(axis=0)))
    return two_way_identification(targets[ids[1]], decoded + Y.mean(axis=0)).mean()


def test_decoders_of_the_null_score_at_chance_on_average():
    rng = np.random.default_rng(0)
    whole, targets = recording([2] * 40), rng.standard_normal((40, 12))
    betas = targets[pairs(whole)] @ rng.standard_normal((12, 20)) + rng.standard_normal((80, 20))
    folds = range(4)
    plain = [score_of(Folds(n_folds=4, fold=fold).divide(whole), betas, targets) for fold in folds]
    null = [
        score_of(Folds(n_folds=4, fold=fold, shuffled=seed).divide(whole), betas, targets)
        for fold in folds
        for seed in range(25)
    ]
    assert np.mean(plain) > 0.95
    assert abs(np.mean(null) - 0.5) < 3 * np.std(null) / np.sqrt(len(null))


def test_the_seed_of_a_null_is_an_influence_only_where_there_is_one():
    assert "shuffled" not in Folds(n_folds=2).influences("cpu")
    assert Folds(n_folds=2, shuffled=0).influences("cpu")["shuffled"] == 0


def test_a_column_of_groups_that_is_empty_in_one_trial_is_not_called_missing():
    table = pd.DataFrame({"stim_file": list("abab"), "category": ["x", "y", None, "y"], "other": 1})
    trials, stimuli = trial_table(table, "me", "trials.csv")
    own = replace(recording([2, 2]), trials=trials, stimuli=stimuli)
    with pytest.raises(
        RecordingError, match=r"column category of the table of trials.*differs between trials .* or is empty"
    ):
        Folds(n_folds=2, groups="category").divide(own)
    with pytest.raises(
        RecordingError, match=r"split\.groups is 'nothing', but the table of stimuli has the columns name, other"
    ):
        Folds(n_folds=2, groups="nothing").divide(own)
