import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from braindiffuser.regression.calibration import Calibration


def example(name, n_targets=5, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    targets = (3 * rng.standard_normal((40, n_targets)) + rng.normal(0, 5, n_targets)).astype(dtype)
    training_predictions = (rng.standard_normal((40, n_targets)) + targets.mean(0)).astype(dtype)
    predictions = (rng.standard_normal((12, n_targets)) + targets.mean(0)).astype(dtype)
    return calibrate(targets, training_predictions, name), targets, training_predictions, predictions


def calibrate(targets, training_predictions, name):
    statistics = (
        made(values, axis=0, dtype=float) for values in (targets, training_predictions) for made in (np.mean, np.std)
    )
    return Calibration(*statistics, name=name)


def test_transductive_is_the_published_formula():
    calibration, targets, _, predictions = example("transductive", dtype=np.float64)
    z_scored = (predictions - np.mean(predictions, axis=0)) / np.std(predictions, axis=0)
    assert_allclose(calibration.apply(predictions), z_scored * np.std(targets, axis=0) + np.mean(targets, axis=0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transductive_gives_the_training_mean_and_std(dtype):
    calibration, targets, _, predictions = example("transductive", dtype=dtype)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    calibrated = calibration.apply(predictions)
    assert calibrated.dtype == dtype
    assert_allclose(calibrated.mean(0), targets.mean(0), rtol=tolerance)
    assert_allclose(calibrated.std(0), targets.std(0), rtol=tolerance)


def test_inductive_gives_the_training_mean_and_std_to_the_training_predictions():
    calibration, targets, training_predictions, _ = example("inductive", dtype=np.float64)
    calibrated = calibration.apply(training_predictions)
    assert_allclose(calibrated.mean(0), targets.mean(0))
    assert_allclose(calibrated.std(0), targets.std(0))


def test_none_changes_nothing():
    calibration, *_, predictions = example("none")
    assert_array_equal(calibration.apply(predictions), predictions)


@settings(deadline=None, max_examples=25)
@given(rows=st.lists(st.integers(0, 11), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_inductive_never_depends_on_the_batch(rows, seed):
    calibration, _, _, predictions = example("inductive", seed=seed)
    whole = calibration.apply(predictions)
    assert_array_equal(calibration.apply(predictions[rows]), whole[rows])
    assert_array_equal(calibration.apply(predictions[rows[:1]]), whole[rows[:1]])


def test_transductive_depends_on_the_batch_and_one_alone_becomes_the_mean():
    calibration, targets, _, predictions = example("transductive")
    whole = calibration.apply(predictions)
    assert np.abs(calibration.apply(predictions[:6]) - whole[:6]).max() > 0.1
    assert_allclose(calibration.apply(predictions[:1])[0], targets.mean(0), rtol=1e-6)


@pytest.mark.parametrize("name", ["inductive", "transductive"])
def test_predictions_that_never_vary_become_the_training_mean(name):
    _, targets, training_predictions, predictions = example(name)
    training_predictions[:, 1] = predictions[:, 1] = 0.1
    calibrated = calibrate(targets, training_predictions, name).apply(predictions)
    assert_allclose(calibrated[:, 1], targets[:, 1].mean(), rtol=1e-5)
    assert np.isfinite(calibrated).all()
    assert (calibrated[:, 0].std() > 0).all()


def test_rounding_is_not_taken_for_spread():
    tiny = Calibration(np.ones(1), np.ones(1), prediction_mean=np.ones(1), prediction_std=np.full(1, 1e-17))
    assert_array_equal(tiny.apply(np.array([[1.0 + 1e-15]])), [[1.0]])


@pytest.mark.parametrize(
    ("mean", "new_std", "std", "is_rounding"),
    [
        (100.0, 1e-3, 1.1e-5, True),
        (100.0, 1e-3, 1.3e-5, False),
        (0.0, 1.0, 1.1e-7, True),
        (0.0, 1.0, 1.3e-7, False),
        (1.0, 1.0, 1e-6, False),
    ],
)
def test_rounding_is_what_float32_does_not_resolve_beside_the_mean_and_the_targets(mean, new_std, std, is_rounding):
    own = [np.full(1, value) for value in (5.0, new_std, mean, std)]
    calibrated = Calibration(own[0], own[1], prediction_mean=own[2], prediction_std=own[3]).apply(
        (own[2] + own[3])[None]
    )
    assert_allclose(calibrated[0, 0], 5.0 + (0 if is_rounding else new_std), rtol=1e-9)


@pytest.mark.usefixtures("types_unchecked")
def test_errors_say_what_is_missing_or_unknown():
    with pytest.raises(ValueError, match="'inductive' needs prediction_mean, prediction_std"):
        Calibration(np.zeros(2), np.ones(2))
    with pytest.raises(ValueError, match="unknown calibration 'zscore', expected one of inductive, transductive, none"):
        Calibration(np.zeros(2), np.ones(2), name="zscore")
    with pytest.raises(ValueError, match=r"one number per target each, got {'training_mean': 2, 'training_std': 3}"):
        Calibration(np.zeros(2), np.ones(3), name="transductive")
    calibration, *_, predictions = example("inductive")
    with pytest.raises(ValueError, match="predictions of 3 targets, expected 5"):
        calibration.apply(predictions[:, :3])


@pytest.mark.parametrize("name", ["training_mean", "training_std", "prediction_mean", "prediction_std"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -1e-3])
def test_statistics_that_would_hide_or_turn_predictions_are_refused(name, value):
    """A standard deviation of NaN would count as none, and a negative one turn the sign."""
    statistics = {each: np.ones(3) for each in ("training_mean", "training_std", "prediction_mean", "prediction_std")}
    statistics[name][1] = value
    if value < 0 and name.endswith("mean"):
        Calibration(**statistics)
    else:
        with pytest.raises(ValueError, match=rf"must be finite, and standard deviations ≥ 0; {name} is not"):
            Calibration(**statistics)


@pytest.mark.parametrize("name", ["inductive", "transductive"])
def test_rounding_of_targets_around_zero_is_not_raised_to_their_spread(name):
    """What a decoder that knows nothing predicts is the training mean, and the rounding of float32 beside it."""
    rng = np.random.default_rng(0)
    targets = rng.standard_normal((40, 5))
    noise = targets.mean(0) * 1e-9 + 1e-9 * rng.standard_normal((40, 5))
    calibrated = calibrate(targets, noise, name).apply(noise[:12].astype(np.float32))
    assert_allclose(calibrated, np.broadcast_to(targets.mean(0), (12, 5)), atol=1e-6)
