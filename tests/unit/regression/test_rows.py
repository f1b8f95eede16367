import numpy as np
import pytest
import zarr
from numpy.testing import assert_allclose, assert_array_equal

from braindiffuser.regression.rows import ChosenTargets, TrainingRows


def example(n_stimuli=30, n_voxels=20, seed=0):
    """Single trials, the stimulus of each, and the number of trials of each stimulus."""
    rng = np.random.default_rng(seed)
    repeats = rng.integers(1, 4, n_stimuli)
    stimuli = rng.permutation(np.repeat(np.arange(n_stimuli), repeats))
    return rng.standard_normal((len(stimuli), n_voxels)), stimuli, repeats


def test_averages_are_means_over_trials():
    trials, stimuli, _ = example()
    averages = TrainingRows(trials, stimuli).averages()
    for stimulus in range(30):
        assert_allclose(averages[stimulus], trials[stimuli == stimulus].mean(0))
    assert np.shares_memory(TrainingRows(averages).averages(), averages)


@pytest.mark.parametrize("as_trials", [False, True])
def test_rows_of_some_stimuli(as_trials):
    trials, stimuli, repeats = example()
    rows = TrainingRows(trials, stimuli) if as_trials else TrainingRows(trials[:30], weights=repeats.astype(float))
    chosen = np.arange(30) % 3 == 0
    some = rows.select(chosen)
    assert some.n_stimuli == 10
    assert_allclose(some.averages(), rows.averages()[chosen])
    if as_trials:
        assert_array_equal(np.flatnonzero(chosen)[some.stimuli], stimuli[chosen[stimuli]])
    else:
        assert_array_equal(some.weights, repeats[chosen])


def test_targets_must_be_of_as_many_stimuli():
    trials, stimuli, _ = example()
    rows = TrainingRows(trials, stimuli)
    rows.check({"latents": np.zeros((30, 2)), "vision": np.zeros((30, 3, 4))})
    with pytest.raises(ValueError, match="responses of 30 stimuli and vision of 29, expected the same number"):
        rows.check({"latents": np.zeros((30, 2)), "vision": np.zeros((29, 2))})
    with pytest.raises(ValueError, match="responses of 30 stimuli and latents of 31"):
        rows.check({"latents": np.zeros((31, 2))})


@pytest.mark.usefixtures("types_unchecked")
def test_errors_say_what_came_and_what_was_expected():
    with pytest.raises(ValueError, match="got 3 stimuli, expected one for each of 4 rows"):
        TrainingRows(np.zeros((4, 2)), np.zeros(3, int))
    with pytest.raises(ValueError, match="got 3 weights, expected one for each of 4 rows"):
        TrainingRows(np.zeros((4, 2)), weights=np.ones(3))
    with pytest.raises(ValueError, match=r"stimuli must be 0 … 2, each at least once; got up to 3"):
        TrainingRows(np.zeros((4, 2)), np.array([0, 1, 3, 3]))
    with pytest.raises(
        ValueError, match=r"came as float\d+ of shape \(0, 2\), expected real numbers of shape \(any, any\)"
    ):
        TrainingRows(np.zeros((0, 2)), np.zeros(0, int))
    with pytest.raises(
        ValueError, match=r"came as float\d+ of shape \(4,\), expected real numbers of shape \(any, any\)"
    ):
        TrainingRows(np.zeros(4))
    with pytest.raises(ValueError, match="responses came as list, expected an array"):
        TrainingRows([[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_responses_that_are_not_finite_are_told_by_row(value):
    responses = np.zeros((4, 2))
    responses[2, 1] = value
    with pytest.raises(ValueError, match="responses hold a value that is not finite, first in row 2"):
        TrainingRows(responses)


@pytest.mark.parametrize("on_disk", [False, True])
def test_chosen_targets_are_read_as_an_array_is(on_disk, tmp_path):
    values = np.random.default_rng(0).standard_normal((23, 4, 5)).astype(np.float16)
    stored = values
    if on_disk:
        stored = zarr.create_array(tmp_path / "t", shape=values.shape, chunks=(7, 2, 5), dtype="float16")
        stored[:] = values
    chosen = np.flatnonzero(np.random.default_rng(1).random(23) < 0.5)
    some, whole = ChosenTargets(stored, chosen), values[chosen]
    assert some.shape == whole.shape
    for key in (
        slice(None),
        slice(2, 5),
        (slice(1, 6), slice(1, 3)),
        slice(3, 3),
        (slice(4, 99), slice(0, 2), slice(2, 4)),
    ):
        assert_array_equal(some[key], whole[key])
