from dataclasses import replace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braindiffuser.datasets.normalisation import Normalisation
from braindiffuser.datasets.nsd_layout import open_nsd
from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.responses import ResponseAccumulator, average_responses, trial_responses
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError, RunError

NORMALISATIONS = get_args(Normalisation)
Z_SCORED = [name for name in NORMALISATIONS if name != "none"]
TEST_SESSION = 4
CLOSE = {"rtol": 1e-3, "atol": 1e-4}


def summed(trials, normalisation, order=None):
    accumulator = ResponseAccumulator(trials.table, trials.n_voxels, normalisation)
    for session in order or sorted(trials.betas):
        accumulator.add(session, trials.betas[session])
    return accumulator.finish()


def in_runs(trials, seed=0):
    """The same trials, each session in two runs with two or more training trials each."""
    rng, table = np.random.default_rng(seed), trials.table.copy()
    for _, rows in table.groupby("session"):
        training = rows.index[rows["split"] == "train"]
        table.loc[rows.index, "run"] = rng.integers(1, 3, len(rows))
        order = rng.permutation(training)
        table.loc[order[: len(order) // 2], "run"], table.loc[order[len(order) // 2 :], "run"] = 1, 2
    return replace(trials, table=table)


def with_a_test_session(trials, seed=0, n_trials=8):
    """The same trials, and a last session of test trials alone, of two known stimuli and two of its own."""
    rng, known = (
        np.random.default_rng(seed),
        trials.table.loc[trials.table["split"] == "test", "stimulus_id"].unique()[:2],
    )
    ids = np.resize([*known, 200, 203], n_trials)
    own = {
        "subject": "subj01",
        "session": TEST_SESSION,
        "run": np.arange(n_trials) % 2 + 1,
        "stimulus_id": ids,
        "repeat": 0,
    }
    table = pd.concat([trials.table, pd.DataFrame({**own, "trial": 0, "split": "test"})], ignore_index=True)
    betas = (3 * rng.normal(size=(n_trials, trials.n_voxels)) + 7).astype(np.float32)
    return replace(trials, table=table, betas=trials.betas | {TEST_SESSION: betas})


def drawn(factory, seed, normalisation):
    """Trials that a normalisation takes: in two runs; with a session of test trials, unless it needs training trials there."""
    trials = in_runs(factory(seed, n_stimuli=24), seed)
    return trials if normalisation in ("session", "run") else with_a_test_session(trials, seed)


def independent(trials, normalisation):
    """The same by a table: z-score groups of trials by their reference trials, average, z-score by the training rows."""
    betas = pd.DataFrame(np.concatenate([betas for _, betas in sorted(trials.betas.items())]).astype(np.float64))
    is_train = trials.table["split"] == "train"
    columns = {"session": ["session"], "session-all-trials": ["session"], "run": ["session", "run"]}
    for _, rows in trials.table.groupby(columns[normalisation]) if normalisation in columns else ():
        reference = rows.index[is_train[rows.index]]
        if normalisation == "session-all-trials" and reference.empty:
            reference = rows.index
        betas.loc[rows.index] = (betas.loc[rows.index] - betas.loc[reference].mean()) / betas.loc[reference].std(ddof=1)
    means = betas.groupby([trials.table["split"], trials.table["stimulus_id"]]).mean()
    train, test = means.loc["train"], means.loc["test"]
    if normalisation == "none":
        return train, test
    return (train - train.mean()) / train.std(ddof=1), (test - train.mean()) / train.std(ddof=1)


def recording_of(trials):
    """The trials as a recording in memory."""
    return Recording("subj01", trials.table, Voxels(trials.n_voxels), {}, trials.betas.__getitem__, "raw")


def assert_equal_responses(first, second, exactly=False):
    for name in ("train", "test", "ncsnr", "mean_", "std_"):
        compare = np.testing.assert_array_equal if exactly else lambda a, b: np.testing.assert_allclose(a, b, **CLOSE)
        compare(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=15)
def test_one_pass_equals_an_independent_table(trials_factory, normalisation, seed):
    trials = drawn(trials_factory, seed, normalisation)
    responses = summed(trials, normalisation)
    train, test = independent(trials, normalisation)
    np.testing.assert_allclose(responses.train, train, **CLOSE)
    np.testing.assert_allclose(responses.test, test, **CLOSE)
    assert responses.train_ids.tolist() == train.index.tolist()
    assert responses.test_ids.tolist() == test.index.tolist()
    counts = trials.table["stimulus_id"].value_counts()
    assert responses.n_repeats_train.tolist() == counts[responses.train_ids].tolist()
    assert responses.n_repeats_test.tolist() == counts[responses.test_ids].tolist()


@pytest.mark.parametrize("normalisation", Z_SCORED)
def test_training_responses_have_mean_zero_and_spread_one(trials_factory, normalisation):
    train = summed(drawn(trials_factory, 2, normalisation), normalisation).train
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(train.std(0, ddof=1), 1, rtol=1e-4)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=10)
def test_no_test_trial_influences_the_training_set(trials_factory, normalisation, seed):
    trials = drawn(trials_factory, seed, normalisation)
    before = summed(trials, normalisation)
    before_trials, _ = trial_responses(recording_of(trials), before, normalisation)
    for session, betas in trials.betas.items():
        is_test = (trials.table.loc[trials.table["session"] == session, "split"] == "test").to_numpy()
        betas[is_test] = 5 * np.random.default_rng(seed).normal(size=(is_test.sum(), trials.n_voxels))
    after = summed(trials, normalisation)
    np.testing.assert_array_equal(after.train, before.train)
    np.testing.assert_array_equal(after.mean_, before.mean_)
    np.testing.assert_array_equal(after.std_, before.std_)
    np.testing.assert_array_equal(trial_responses(recording_of(trials), after, normalisation)[0], before_trials)
    assert not np.allclose(after.test, before.test)


@pytest.mark.parametrize("with_test_session", [False, True])
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=5)
def test_a_test_response_depends_on_other_test_trials_only_in_sessions_of_test_trials(
    trials_factory, normalisation, with_test_session, seed
):
    trials = in_runs(trials_factory(seed, n_stimuli=24), seed)
    if with_test_session:
        trials = with_a_test_session(trials, seed)
        if normalisation in ("session", "run"):
            with pytest.raises(RecordingError, match="session 4 has 0 training trials"):
                summed(trials, normalisation)
            return
    before = summed(trials, normalisation)
    changed = 200 if with_test_session else before.test_ids[0]
    for session, betas in trials.betas.items():
        betas[(trials.table.loc[trials.table["session"] == session, "stimulus_id"] == changed).to_numpy()] += 2
    after = summed(trials, normalisation)
    differ = after.test_ids[(after.test != before.test).any(axis=1)]
    if normalisation == "session-all-trials" and with_test_session:
        of_session = trials.table.loc[trials.table["session"] == TEST_SESSION, "stimulus_id"]
        assert set(differ) == set(of_session)
    else:
        assert set(differ) == {changed}


@pytest.mark.parametrize("seed", range(3))
def test_noise_ceilings_are_the_same_whatever_the_normalisation(trials_factory, seed):
    trials = in_runs(trials_factory(seed, n_stimuli=24), seed)
    for name in NORMALISATIONS:
        np.testing.assert_array_equal(summed(trials, name).ncsnr, summed(trials, "session").ncsnr)


def test_choices_that_do_the_same_give_the_same_bytes(trials_factory):
    trials = trials_factory(11)  # one run a session, each with training trials
    for name in ("run", "session-all-trials"):
        assert_equal_responses(summed(trials, name), summed(trials, "session"), exactly=True)
    assert not np.allclose(summed(in_runs(trials), "run").train, summed(trials, "session").train, atol=0.1)


def test_none_keeps_the_unit_of_the_betas(trials_factory):
    trials = with_a_test_session(trials_factory(12))
    before = summed(trials, "none")
    for betas in trials.betas.values():
        betas *= 4
        betas += 32
    after = summed(trials, "none")
    np.testing.assert_allclose(after.train, 4 * before.train + 32, rtol=1e-5)
    np.testing.assert_allclose(after.test, 4 * before.test + 32, rtol=1e-5)
    assert not after.mean_.any()
    assert (after.std_ == 1).all()


def test_normalisation_by_runs_removes_drift_between_runs(trials_factory):
    trials = in_runs(trials_factory(13, n_stimuli=24))
    before = summed(trials, "run")
    for session, betas in trials.betas.items():
        runs = trials.table.loc[trials.table["session"] == session, "run"].to_numpy(dtype=np.float32)
        betas *= (1 + runs)[:, None]
        betas += 10 * (session + runs)[:, None]
    assert_equal_responses(replace(summed(trials, "run"), ncsnr=before.ncsnr), before)
    assert not np.allclose(summed(trials, "session").train, before.train, atol=0.1)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@given(order=st.permutations([1, 2, 3]))
@settings(deadline=None, max_examples=6)
def test_the_order_of_sessions_does_not_matter(trials_factory, normalisation, order):
    trials = in_runs(trials_factory(4, n_stimuli=24))
    assert_equal_responses(summed(trials, normalisation, order), summed(trials, normalisation))


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_going_on_from_a_state_equals_one_go(trials_factory, normalisation, tmp_path):
    trials = drawn(trials_factory, 5, normalisation)
    first = ResponseAccumulator(trials.table, trials.n_voxels, normalisation)
    first.add(1, trials.betas[1])
    np.savez(tmp_path / "state.npz", **first.state())
    first.add(2, trials.betas[2])
    with np.load(tmp_path / "state.npz") as stored:
        second = ResponseAccumulator.from_state(trials.table, stored)
    assert second.sessions_done == (1,)
    for session in sorted(trials.betas)[1:]:
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
    with pytest.raises(RecordingError, match=r"betas of session 2 came as .* expected"):
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


def test_stimuli_apart_enter_no_noise_ceiling_also_beside_others_of_their_session(trials_factory):
    """As imagined ones do not: whatever their betas are, ceilings are those of the other trials alone."""
    trials = trials_factory(11)
    apart = trials.table.loc[trials.table["split"] == "test", "stimulus_id"].unique()[:2].tolist()
    is_apart = trials.table["stimulus_id"].isin(apart).to_numpy()

    def ncsnr(noise, left_out):
        accumulator = ResponseAccumulator(trials.table, trials.n_voxels, "training", apart=left_out)
        for session, betas in trials.betas.items():
            own = is_apart[(trials.table["session"] == session).to_numpy()]
            changed = betas + noise * own[:, None] * np.random.default_rng(session).normal(size=betas.shape)
            accumulator.add(session, changed.astype(np.float32))
        return accumulator.finish().ncsnr

    np.testing.assert_array_equal(ncsnr(0, apart), ncsnr(3, apart))
    assert not np.array_equal(ncsnr(0, []), ncsnr(3, []))
    assert not np.array_equal(ncsnr(0, []), ncsnr(0, apart))


def test_too_few_training_trials_are_refused(trials_factory):
    trials = trials_factory(10)
    only_test = trials.table.assign(split="test")
    with pytest.raises(RecordingError, match="fewer than 2 training stimuli"):
        ResponseAccumulator(only_test, trials.n_voxels)
    table = trials.table.assign(split=np.where(trials.table["stimulus_id"].isin([100, 101, 102]), "train", "test"))
    table = table[~((table["session"] == 3) & (table["split"] == "train"))]
    with pytest.raises(RecordingError, match="session 3 has 0 training trials"):
        ResponseAccumulator(table, trials.n_voxels)


def test_sums_by_runs_belong_to_their_runs(trials_factory):
    trials = in_runs(trials_factory(14, n_stimuli=24))
    other = trials.table.assign(run=3 - trials.table["run"])
    for name, is_refused in (("run", True), ("session", False)):
        state = ResponseAccumulator(trials.table, trials.n_voxels, name).state()
        if is_refused:
            with pytest.raises(RunError, match="belong to another trial table"):
                ResponseAccumulator.from_state(other, state)
        else:
            ResponseAccumulator.from_state(other, state)


def test_stored_sums_keep_their_normalisation():
    """Sums name it by position: choices are appended."""
    assert NORMALISATIONS[:2] == ("session", "training")


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("seed", range(3))
def test_single_trials_of_runs_and_test_sessions_average_to_the_responses(trials_factory, normalisation, seed):
    trials = drawn(trials_factory, seed, normalisation)
    responses = summed(trials, normalisation)
    values, rows = trial_responses(recording_of(trials), responses, normalisation)
    averages = np.stack([values[rows == row].mean(0) for row in range(len(responses.train))])
    np.testing.assert_allclose(averages, responses.train, **CLOSE)
    assert len(values) == responses.n_repeats_train.sum()


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
