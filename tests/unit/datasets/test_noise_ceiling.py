import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braindiffuser.datasets.noise_ceiling import (
    NoiseCeilingAccumulator,
    ceiling_doubts,
    check_ceilings,
    noise_ceiling,
    summarise_regions,
)
from braindiffuser.errors import RecordingError


def accumulate(trials, order=None, estimate="pooled"):
    accumulator = NoiseCeilingAccumulator(trials.table, trials.n_voxels, estimate)
    for session in order or sorted(trials.betas):
        ids = trials.table.loc[trials.table["session"] == session, "stimulus_id"].to_numpy()
        accumulator.add(ids, trials.betas[session])
    return accumulator.finish()


def variances_of_pictures(trials):
    """Z-score each session, then the variance over the trials of each picture, and their number."""
    zscored = np.concatenate([(b - b.mean(0)) / b.std(0, ddof=1) for _, b in sorted(trials.betas.items())])
    by_picture = pd.DataFrame(zscored).groupby(trials.table["stimulus_id"].to_numpy())
    return by_picture.var(ddof=1).to_numpy(), by_picture.size().to_numpy()


def ncsnr_of(noise):
    return np.sqrt(np.maximum(0, 1 - noise)) / np.sqrt(noise)


@given(st.integers(0, 10_000), st.integers(2, 5))
@settings(deadline=None, max_examples=20)
def test_one_pass_equals_the_pooled_variance_within_pictures(trials_factory, seed, max_repeats):
    trials = trials_factory(seed, max_repeats=max_repeats)
    variances, n = variances_of_pictures(trials)
    noise = np.average(variances[n > 1], axis=0, weights=n[n > 1] - 1)
    np.testing.assert_allclose(accumulate(trials), ncsnr_of(noise), rtol=1e-3, atol=1e-3)


def test_where_all_pictures_have_three_trials_it_is_the_published_definition(trials_factory):
    trials = three_trial_recording(trials_factory, 1.0, 1.0, n_stimuli=40)
    variances, n = variances_of_pictures(trials)
    assert set(n) == {3}
    np.testing.assert_allclose(accumulate(trials), ncsnr_of(variances.mean(axis=0)), rtol=1e-3)


@pytest.mark.parametrize("n_repeats", [2, 4, 7])
def test_any_number_of_repeats_gives_the_same_signal_to_noise(trials_factory, n_repeats):
    rng = np.random.default_rng(n_repeats)
    trials, ids = trials_factory(0), np.tile(np.arange(500), n_repeats)
    trials.table = pd.DataFrame({"session": 1, "stimulus_id": ids})
    betas = rng.normal(size=(500, 3))[ids] + rng.normal(size=(len(ids), 3))
    trials.betas = {1: betas.astype(np.float32)}
    np.testing.assert_allclose(accumulate(trials), 1.0, rtol=0.15)


def test_the_order_of_sessions_does_not_matter(trials_factory):
    trials = trials_factory(3)
    np.testing.assert_allclose(accumulate(trials, [3, 1, 2]), accumulate(trials), rtol=1e-4, atol=1e-5)


def three_trial_recording(trials_factory, signal, noise, n_stimuli=600, n_voxels=4):
    """Every picture once in each of three sessions."""
    rng = np.random.default_rng(5)
    ids = np.concatenate([rng.permutation(n_stimuli) for _ in range(3)])
    trials = trials_factory(0)
    trials.table = pd.DataFrame({"session": np.repeat([1, 2, 3], n_stimuli), "stimulus_id": ids})
    response = signal * rng.normal(size=(n_stimuli, n_voxels))
    betas = response[ids] + noise * rng.normal(size=(len(ids), n_voxels))
    trials.betas = dict(enumerate(np.split(betas.astype(np.float32), 3), start=1))
    return trials


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_known_signal_to_noise_is_recovered(trials_factory, ratio):
    estimated = accumulate(three_trial_recording(trials_factory, signal=ratio, noise=1.0))
    np.testing.assert_allclose(estimated, ratio, rtol=0.12)


def test_pure_noise_has_no_ceiling_and_pure_signal_a_full_one(trials_factory):
    assert noise_ceiling(accumulate(three_trial_recording(trials_factory, 0.0, 1.0)), 3).max() < 10
    assert noise_ceiling(accumulate(three_trial_recording(trials_factory, 1.0, 0.0)), 3).min() > 99.9


def test_missing_sessions_do_not_pass_for_reliability(trials_factory):
    trials = three_trial_recording(trials_factory, 0.0, 1.0)
    trials.betas[2][:, 0] = 0
    trials.betas[3][:, 1] = 7
    for session in (1, 2, 3):
        trials.betas[session][:, 2] = 0
    ncsnr = accumulate(trials)
    assert np.isfinite(ncsnr).all()
    assert noise_ceiling(ncsnr, 3).max() < 10
    assert ncsnr[2] == 0


def test_without_repeats_there_is_no_estimate(trials_factory):
    trials = trials_factory(0)
    trials.table = pd.DataFrame({"session": [1, 1], "stimulus_id": [0, 1]})
    trials.betas = {1: np.array([[1.0], [2.0]], np.float32)}
    assert np.isnan(accumulate(trials)).all()


def test_percent_for_equal_and_unequal_repeats():
    ncsnr = np.array([0.0, 0.5, 2.0, np.inf, np.nan])
    np.testing.assert_allclose(noise_ceiling(ncsnr, 1)[:4], [0, 20, 80, 100])
    np.testing.assert_allclose(noise_ceiling(ncsnr, np.array([3, 3])), noise_ceiling(ncsnr, 3))
    a, b, c = 5, 2, 4
    mixed = noise_ceiling(ncsnr, np.repeat([1, 2, 3], [a, b, c]))
    expected = 100 * 0.5**2 / (0.5**2 + (a + b / 2 + c / 3) / (a + b + c))
    assert mixed[1] == pytest.approx(expected)
    assert np.isnan(mixed[4])


@pytest.mark.parametrize("n_repeats", [0, np.array([], np.int64)])
def test_no_trials_no_ceiling(n_repeats):
    with pytest.raises(ValueError, match="at least 1 for every stimulus"):
        noise_ceiling(np.ones(2), n_repeats)


def test_regions_are_summarised_and_empty_ones_say_so():
    ceilings = np.array([10.0, 20.0, 30.0, np.nan])
    masks = {
        "V1": np.array([True, True, True, False]),
        "faces": np.zeros(4, bool),
        "unknown": np.array([False, False, False, True]),
    }
    rois = summarise_regions(ceilings, masks)["rois"]
    assert rois["V1"] == {"n_voxels": 3, "median": 20.0, "quartiles": [15.0, 25.0]}
    assert rois["faces"] == {"n_voxels": 0, "note": "none of the chosen voxels lies here"}
    assert rois["unknown"] == {
        "n_voxels": 1,
        "note": "no noise ceiling is known, which takes stimuli that were shown more than once (three-trials: three times)",
    }
    assert rois["analysed voxels"]["n_voxels"] == 4


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_three_trials_is_the_published_definition(trials_factory, seed):
    trials = trials_factory(seed)
    variances, n = variances_of_pictures(trials)
    found = accumulate(trials, estimate="three-trials")
    np.testing.assert_allclose(found, ncsnr_of(variances[n == 3].mean(axis=0)), rtol=1e-3, atol=1e-3)


def test_both_estimates_are_equal_bit_for_bit_where_all_pictures_have_three_trials(trials_factory):
    trials = three_trial_recording(trials_factory, 1.0, 2.0, n_stimuli=50)
    np.testing.assert_array_equal(accumulate(trials), accumulate(trials, estimate="three-trials"))


@pytest.mark.parametrize("n_trials", [0, 1])
def test_a_session_of_fewer_than_two_trials_counts_as_without_data(trials_factory, n_trials):
    trials = trials_factory(3)
    few = NoiseCeilingAccumulator(trials.table, trials.n_voxels)
    for session, betas in trials.betas.items():
        few.add(trials.table.loc[trials.table["session"] == session, "stimulus_id"].to_numpy(), betas)
    before = few.state()["n_trials"]
    few.add(np.zeros(n_trials, np.int64), np.ones((n_trials, trials.n_voxels), np.float32))
    assert few.state()["n_trials"] == before + n_trials
    if not n_trials:
        np.testing.assert_array_equal(few.finish(), accumulate(trials))


@pytest.mark.parametrize("wrong", [-0.1, 1e30, 1001.0, -np.inf])
def test_what_no_ratio_of_signal_to_noise_can_be_is_refused(wrong):
    with pytest.raises(
        RecordingError, match=r"noise ceilings \(ncsnr\): voxel 2, counted from 0, has .*expected ratios"
    ):
        check_ceilings(np.array([0.0, np.nan, wrong, 1.0]), 4)
    with pytest.raises(RecordingError, match=r"have shape \(3,\); expected \(4,\)"):
        check_ceilings(np.ones(3), 4)
    check_ceilings(np.array([0.0, np.nan, np.inf, 2.0]), 4)


def test_ceilings_in_percent_are_doubted_and_ratios_are_not():
    rng = np.random.default_rng(0)
    ratios = np.append(rng.gamma(2.0, 0.3, 500), [np.nan, np.inf, 12.0])
    assert ceiling_doubts(ratios) == []
    percent = noise_ceiling(ratios, 3)
    (said,) = ceiling_doubts(percent)
    assert "not percent?" in said
    assert ceiling_doubts(np.full(5, np.nan)) == [
        "The noise ceilings that the recording brings are NaN in every voxel, so none is known."
    ]
