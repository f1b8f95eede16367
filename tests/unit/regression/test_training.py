import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge as SklearnRidge

from braindiffuser.regression.training import TrainingRows, operators


def example(n_stimuli=30, n_voxels=20, seed=0):
    """Averages of 1 to 3 trials, the trials, and targets."""
    rng = np.random.default_rng(seed)
    repeats = rng.integers(1, 4, n_stimuli)
    stimuli = rng.permutation(np.repeat(np.arange(n_stimuli), repeats))
    trials = rng.standard_normal((len(stimuli), n_voxels)) + rng.standard_normal((n_stimuli, n_voxels))[stimuli]
    return trials, stimuli, repeats, rng.standard_normal((n_stimuli, 4)) + 2, rng.standard_normal((6, n_voxels))


@pytest.mark.parametrize("n_voxels", [10, 200])
def test_single_trials_are_fitted_as_scikit_learn_fits_repeated_targets(n_voxels):
    trials, stimuli, _, targets, new = example(n_voxels=n_voxels)
    made = operators(TrainingRows(trials, stimuli), [5.0, 300.0], new, new)
    assert made.keys() == {5.0, 300.0}
    for alpha, operator in made.items():
        reference = SklearnRidge(alpha).fit(trials, targets[stimuli])
        assert operator.shape == (12, 30)
        assert_allclose(operator.numpy()[:6] @ targets, reference.predict(new), rtol=1e-8)
        assert_allclose(operator.numpy()[6:] @ targets, new @ reference.coef_.T, rtol=1e-7, atol=1e-9)


def test_weights_are_scikit_learns_sample_weights():
    trials, stimuli, repeats, targets, new = example()
    averages = TrainingRows(trials, stimuli).averages()
    operator = operators(TrainingRows(averages, weights=repeats.astype(float)), [7.0], new)[7.0]
    reference = SklearnRidge(7.0).fit(averages, targets, sample_weight=repeats)
    assert_allclose(operator.numpy() @ targets, reference.predict(new), rtol=1e-8)


def test_equal_trials_are_one_row_with_their_number_as_weight():
    trials, stimuli, repeats, targets, new = example()
    averages = TrainingRows(trials, stimuli).averages()
    same = operators(TrainingRows(averages[stimuli], stimuli), [7.0], new)[7.0]
    weighted = operators(TrainingRows(averages, weights=repeats.astype(float)), [7.0], new)[7.0]
    assert_allclose(same.numpy() @ targets, weighted.numpy() @ targets, rtol=1e-8)


def test_averages_are_means_over_trials():
    trials, stimuli, *_ = example()
    averages = TrainingRows(trials, stimuli).averages()
    for stimulus in range(30):
        assert_allclose(averages[stimulus], trials[stimuli == stimulus].mean(0))
    assert TrainingRows(averages).averages() is averages


@pytest.mark.parametrize("as_trials", [False, True])
def test_rows_of_some_stimuli(as_trials):
    trials, stimuli, repeats, *_ = example()
    rows = TrainingRows(trials, stimuli) if as_trials else TrainingRows(trials[:30], weights=repeats.astype(float))
    chosen = np.arange(30) % 3 == 0
    some = rows.of(chosen)
    assert some.n_stimuli == 10
    assert_allclose(some.averages(), rows.averages()[chosen])
    if as_trials:
        assert_array_equal(np.flatnonzero(chosen)[some.stimuli], stimuli[chosen[stimuli]])
    else:
        assert_array_equal(some.weights, repeats[chosen])


@pytest.mark.usefixtures("types_unchecked")
def test_errors_say_what_came_and_what_was_expected():
    with pytest.raises(ValueError, match="got 3 stimuli, expected one for each of 4 rows"):
        TrainingRows(np.zeros((4, 2)), np.zeros(3, int))
    with pytest.raises(ValueError, match="got 3 weights, expected one for each of 4 rows"):
        TrainingRows(np.zeros((4, 2)), weights=np.ones(3))
    with pytest.raises(ValueError, match=r"stimuli must be 0 … 2, each at least once; got up to 3"):
        TrainingRows(np.zeros((4, 2)), np.array([0, 1, 3, 3]))
