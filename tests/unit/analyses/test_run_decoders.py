"""Decoders of a run that are fitted anew to some stimuli, or decode without calibration."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from braindiffuser.analyses.run_decoders import RunDecoders
from braindiffuser.errors import RunError
from braindiffuser.regression.ridge import RidgeRegression
from braindiffuser.regression.rows import TrainingRows

from .linear_world import N_VOXELS, linear_world


def made_up(trials=False, calibration="inductive"):
    rng = np.random.default_rng(0)
    stimuli = rng.permutation(np.repeat(np.arange(40), 2)) if trials else None
    rows = TrainingRows(rng.standard_normal((80 if trials else 40, 12)).astype(np.float32), stimuli)
    targets = {"g": rng.standard_normal((40, 3, 4)).astype(np.float32)}
    part = RidgeRegression(default_alphas=(1.0, 100.0), calibration=calibration, n_folds=3)
    return RunDecoders(part, part.fit(rows, targets, "cpu"), rows, targets)


@pytest.mark.parametrize("trials", [False, True])
def test_a_fit_to_some_stimuli_is_that_of_their_rows_and_targets_alone(trials):
    whole = made_up(trials)
    chosen = np.arange(40) % 3 > 0
    fewer = whole.fitted_to(chosen)
    own = whole.rows.select(chosen)
    alone = whole.regressor.fit(own, {"g": whole.targets["g"][chosen]}, "cpu")
    for name, values in alone["g"].arrays.items():
        assert_array_equal(fewer.fitted["g"].arrays[name], values)
    new = np.random.default_rng(1).standard_normal((5, 12)).astype(np.float32)
    direct = RunDecoders(whole.regressor, alone, own, {"g": whole.targets["g"][chosen]})
    assert_array_equal(fewer.decode(new)["g"], direct.decode(new)["g"])
    assert fewer.decode(new)["g"].shape == (5, 3, 4)


def test_all_stimuli_give_the_runs_own_decoders():
    whole = made_up()
    again = whole.fitted_to(np.ones(40, bool))
    for name, values in whole.fitted["g"].arrays.items():
        assert_array_equal(again.fitted["g"].arrays[name], values)


def test_fewer_stimuli_than_folds_are_refused():
    with pytest.raises(RunError, match=r"regression\.n_folds is 3, but there are 2 training stimuli"):
        made_up().fitted_to(np.arange(40) < 2)


def test_uncalibrated_decoders_are_the_same_fits():
    whole = made_up(calibration="transductive")
    plain = whole.uncalibrated()
    assert plain.fitted is whole.fitted
    new = np.random.default_rng(1).standard_normal((6, 12)).astype(np.float32)
    assert plain.decode(new)["g"].std() < 0.9 * whole.decode(new)["g"].std()
    assert_array_equal(plain.decode(new[:1])["g"][0].shape, (3, 4))


def test_decoders_of_other_targets_are_fitted_to_the_same_rows_and_map_back_what_these_are_made_of():
    decoders = linear_world().decoders()
    wanted = (decoders.rows.responses[:, :2] * [2.0, -1.0]).astype(np.float32)
    other = decoders.refitted_to({"own": wanted})
    assert list(other.fitted) == ["own"]
    assert np.corrcoef(other.decode(decoders.rows.responses)["own"][:, 0], wanted[:, 0])[0, 1] > 0.99
    weights = other.direction_weights({"own": np.eye(2)})["own"].weights
    assert np.abs(weights).argmax(axis=1).tolist() == [0, 1]


def test_projections_that_are_not_finite_are_refused():
    patterns = np.full((1, N_VOXELS), np.inf, np.float32)
    with pytest.raises(RunError, match="ridge projected patterns to latents with values that are not finite"):
        linear_world().decoders().project(patterns)
