import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braindiffuser.datasets.nsd_layout import open_nsd
from braindiffuser.datasets.responses import ResponseAccumulator, average_responses, trial_responses
from braindiffuser.errors import RecordingError, RunError

NORMALISATIONS = ["session", "training"]
CLOSE = {"rtol": 1e-3, "atol": 1e-4}


def summed(trials, normalisation, order=None):
    accumulator = ResponseAccumulator(trials.table, trials.n_voxels, normalisation)
    for session in order or sorted(trials.betas):
        accumulator.add(session, trials.betas[session])
    return accumulator.finish()


def independent(trials, normalisation):
    """The same by a table: z-score sessions by their training trials, average, z-score by the training rows."""
    betas = pd.DataFrame(np.concatenate([betas for _, betas in sorted(trials.betas.items())]).astype(np.float64))
    is_train = trials.table["split"] == "train"
    if normalisation == "session":
        for session in trials.betas:
            rows = trials.table["session"] == session
            reference = betas[rows & is_train]
            betas[rows] = (betas[rows] - reference.mean()) / reference.std(ddof=1)
    means = betas.groupby([trials.table["split"], trials.table["stimulus_id"]]).mean()
    train, test = means.loc["train"], means.loc["test"]
    return (train - train.mean()) / train.std(ddof=1), (test - train.mean()) / train.std(ddof=1)


def assert_equal_responses(first, second, exactly=False):
    for name in ("train", "test", "ncsnr", "mean_", "std_"):
        compare = np.testing.assert_array_equal if exactly else lambda a, b: np.testing.assert_allclose(a, b, **CLOSE)
        compare(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=15)
def test_one_pass_equals_an_independent_table(trials_factory, normalisation, seed):
    trials = trials_factory(seed)
    responses = summed(trials, normalisation)
    train, test = independent(trials, normalisation)
    np.testing.assert_allclose(responses.train, train, **CLOSE)
    np.testing.assert_allclose(responses.test, test, **CLOSE)
    assert responses.train_ids.tolist() == train.index.tolist()
    assert responses.test_ids.tolist() == test.index.tolist()
    counts = trials.table["stimulus_id"].value_counts()
    assert responses.n_repeats_train.tolist() == counts[responses.train_ids].tolist()
    assert responses.n_repeats_test.tolist() == counts[responses.test_ids].tolist()


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_training_responses_have_mean_zero_and_spread_one(trials_factory, normalisation):
    train = summed(trials_factory(2), normalisation).train
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(train.std(0, ddof=1), 1, rtol=1e-4)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=10)
def test_no_test_trial_influences_the_training_set(trials_factory, normalisation, seed):
    trials = trials_factory(seed)
    before = summed(trials, normalisation)
    for session, betas in trials.betas.items():
        is_test = (trials.table.loc[trials.table["session"] == session, "split"] == "test").to_numpy()
        betas[is_test] = 5 * np.random.default_rng(seed).normal(size=(is_test.sum(), trials.n_voxels))
    after = summed(trials, normalisation)
    np.testing.assert_array_equal(after.train, before.train)
    np.testing.assert_array_equal(after.mean_, before.mean_)
    np.testing.assert_array_equal(after.std_, before.std_)
    assert not np.allclose(after.test, before.test)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@given(order=st.permutations([1, 2, 3]))
@settings(deadline=None, max_examples=6)
def test_the_order_of_sessions_does_not_matter(trials_factory, normalisation, order):
    trials = trials_factory(4)
    assert_equal_responses(summed(trials, normalisation, order), summed(trials, normalisation))


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_going_on_from_a_state_equals_one_go(trials_factory, normalisation, tmp_path):
    trials = trials_factory(5)
    first = ResponseAccumulator(trials.table, trials.n_voxels, normalisation)
    first.add(1, trials.betas[1])
    np.savez(tmp_path / "state.npz", **first.state())
    first.add(2, trials.betas[2])
    with np.load(tmp_path / "state.npz") as stored:
        second = ResponseAccumulator.from_state(trials.table, stored)
    assert second.sessions_done == (1,)
    for session in (2, 3):
        second.add(session, trials.betas[session])
    assert_equal_responses(second.finish(), summed(trials, normalisation), exactly=True)


def test_a_state_is_not_changed_by_going_on_from_it(trials_factory):
    trials = trials_factory(5)
    first = ResponseAccumulator(trials.table, trials.n_voxels)
    first.add(1, trials.betas[1])
    kept = {name: value.copy() for name, value in first.state().items()}
    ResponseAccumulator.from_state(trials.table, first.state()).add(2, trials.betas[2])
    for name, value in first.state().items():
        np.testing.assert_array_equal(value, kept[name])


def test_session_normalisation_removes_drift(trials_factory):
    trials = trials_factory(6)
    before = summed(trials, "session")
    for session, betas in trials.betas.items():
        betas *= 1 + session
        betas += 10 * session
    assert_equal_responses(summed(trials, "session"), before)
    assert not np.allclose(summed(trials, "training").train, before.train, atol=0.1)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_dead_voxels_become_zero_and_never_nan(trials_factory, normalisation):
    trials = trials_factory(7)
    trials.betas[2][:, 0] = 0
    for betas in trials.betas.values():
        betas[:, 1] = 0
    responses = summed(trials, normalisation)
    for values in (responses.train, responses.test, responses.ncsnr, responses.mean_, responses.std_):
        assert np.isfinite(values).all()
    assert not responses.train[:, 1].any()
    assert not responses.test[:, 1].any()
    assert responses.std_[1] == 1
    assert responses.train[:, 0].std() > 0.5


def test_a_recording_on_disk_gives_the_same_as_its_arrays(nsd_tree):
    recording = open_nsd(nsd_tree.root, 1)
    responses = average_responses(recording)
    assert responses.train.shape == (24, recording.n_voxels)
    assert responses.test.shape == (6, recording.n_voxels)
    assert (responses.test_ids + 1).tolist() == nsd_tree.sharedix.tolist()
    assert set(responses.n_repeats_train) == {3}
    assert np.isfinite(responses.train).all()
    by_format = average_responses(open_nsd(nsd_tree.root, 1, betas_version="betas_fithrf"))
    assert_equal_responses(responses, by_format, exactly=True)


def test_raw_averages_can_be_had_back_from_the_statistics(nsd_tree):
    responses = average_responses(open_nsd(nsd_tree.root, 2), "training")
    raw = responses.test * responses.std_ + responses.mean_
    stored = np.concatenate([nsd_tree.stored[2, session][nsd_tree.mask].T for session in (1, 2, 3)]) / 300
    stimulus = nsd_tree.subjectim[1, nsd_tree.masterordering - 1] - 1
    for row, stimulus_id in zip(raw, responses.test_ids, strict=True):
        np.testing.assert_allclose(row, stored[stimulus == stimulus_id].mean(0), atol=1e-4)


def test_what_does_not_fit_is_refused(trials_factory):
    trials = trials_factory(8)
    with pytest.raises((ValueError, TypeError), match="globally"):
        ResponseAccumulator(trials.table, trials.n_voxels, "globally")
    accumulator = ResponseAccumulator(trials.table, trials.n_voxels)
    accumulator.add(1, trials.betas[1])
    with pytest.raises(RecordingError, match="session 1 is already added"):
        accumulator.add(1, trials.betas[1])
    with pytest.raises(RecordingError, match="session 9 is not in the trial table"):
        accumulator.add(9, trials.betas[1])
    with pytest.raises(RecordingError, match=r"session 2 has betas .* expected"):
        accumulator.add(2, trials.betas[2][1:])
    with pytest.raises(RecordingError, match=r"sessions \[2, 3\] have not been added"):
        accumulator.finish()
    with pytest.raises(RunError, match="belong to another trial table"):
        ResponseAccumulator.from_state(trials.table.iloc[:-1], accumulator.state())


def test_an_accumulator_is_used_up_by_finishing(trials_factory):
    trials = trials_factory(9)
    accumulator = ResponseAccumulator(trials.table, trials.n_voxels)
    for session, betas in trials.betas.items():
        accumulator.add(session, betas)
    accumulator.finish()
    with pytest.raises(RuntimeError, match=r"finish\(\) was already called"):
        accumulator.finish()


def test_too_few_training_trials_are_refused(trials_factory):
    trials = trials_factory(10)
    only_test = trials.table.assign(split="test")
    with pytest.raises(RecordingError, match="fewer than 2 training stimuli"):
        ResponseAccumulator(only_test, trials.n_voxels)
    table = trials.table.assign(split=np.where(trials.table["stimulus_id"].isin([100, 101, 102]), "train", "test"))
    table = table[~((table["session"] == 3) & (table["split"] == "train"))]
    accumulator = ResponseAccumulator(table, trials.n_voxels)
    n_trials = int((table["session"] == 3).sum())
    with pytest.raises(RecordingError, match="session 3 has 0 training trials"):
        accumulator.add(3, trials.betas[3][:n_trials])


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_single_trials_average_to_the_responses(nsd_tree, normalisation):
    recording = open_nsd(nsd_tree.root, 1)
    responses = average_responses(recording, normalisation)
    values, rows = trial_responses(recording, responses, normalisation)
    assert len(values) == responses.n_repeats_train.sum()
    np.testing.assert_array_equal(np.bincount(rows), responses.n_repeats_train)
    averages = np.stack([values[rows == row].mean(0) for row in range(len(responses.train))])
    np.testing.assert_allclose(averages, responses.train, **CLOSE)


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=10)
def test_no_test_trial_influences_the_ceiling_that_voxels_are_chosen_by(trials_factory, seed):
    trials, rng = trials_factory(seed), np.random.default_rng(seed)
    found = []
    for noise in (0.0, 5.0):
        accumulator = ResponseAccumulator(trials.table, trials.n_voxels, "session", training_ceiling=True)
        for session, betas in trials.betas.items():
            is_test = (trials.table["split"][trials.table["session"] == session] == "test").to_numpy()
            changed = betas + np.float32(noise) * is_test[:, None] * rng.standard_normal(betas.shape, dtype=np.float32)
            accumulator.add(session, changed)
        found.append(accumulator.finish().training_ncsnr)
    np.testing.assert_array_equal(*found)
    assert np.isfinite(found[0]).all()
    assert summed(trials, "session").training_ncsnr is None


def test_the_training_ceiling_goes_on_from_a_state(trials_factory):
    trials = trials_factory(3)
    whole = ResponseAccumulator(trials.table, trials.n_voxels, "session", training_ceiling=True)
    first = ResponseAccumulator(trials.table, trials.n_voxels, "session", training_ceiling=True)
    for session, betas in trials.betas.items():
        whole.add(session, betas)
        first.add(session, betas)
        first = ResponseAccumulator.from_state(trials.table, first.state())
    np.testing.assert_array_equal(first.finish().training_ncsnr, whole.finish().training_ncsnr)
