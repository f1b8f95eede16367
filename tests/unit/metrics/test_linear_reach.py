"""The reach of a linear decoder against an independent computation, and blocks that change nothing."""

import numpy as np
import pytest

from braindiffuser.metrics import linear_reach as module
from braindiffuser.metrics import nearest_rows
from braindiffuser.metrics.linear_reach import linear_reach


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def training(rng):
    return (rng.normal(size=(40, 25)) * np.linspace(0.3, 3, 25) + 7).astype(np.float16)


@pytest.mark.parametrize("n_train", [12, 25, 26, 40])
@pytest.mark.parametrize("size", [5, 40])
def test_the_reach_is_the_projection_on_training_targets(rng, training, n_train, size, monkeypatch):
    monkeypatch.setattr(nearest_rows, "REFERENCE_BYTES", size * 4 * 25)
    own = training[:n_train].astype(float)
    mean = own.mean(axis=0)
    truth = rng.normal(size=(6, 25))
    centred = own - mean
    expected = truth @ centred.T @ np.linalg.pinv(centred @ centred.T, rcond=1e-10) @ centred
    found = linear_reach(truth, training[:n_train], mean)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    np.testing.assert_allclose(linear_reach(found, training[:n_train], mean), found, atol=2e-3)


def test_float32_is_close_enough(rng, monkeypatch):
    monkeypatch.setattr(nearest_rows, "REFERENCE_BYTES", 8 * 4 * 200)
    training = rng.normal(size=(30, 200)) + 2
    mean, truth = training.mean(axis=0), rng.normal(size=(5, 200))
    exact = linear_reach(truth, training, mean)
    monkeypatch.setattr(module, "MOST_IN_FLOAT64", 0)
    np.testing.assert_allclose(linear_reach(truth, training, mean), exact, atol=2e-3)


def test_no_linear_decoder_reaches_further(rng, training):
    """Any weighted sums of centred targets, such as ridge predicts, lie in the span."""
    own = training[:12].astype(float)
    mean = own.mean(axis=0)
    truth = rng.normal(size=(6, 25))
    error = np.square(linear_reach(truth, training[:12], mean) - truth).sum()
    for _ in range(20):
        predicted = rng.normal(size=(6, 12)) @ (own - mean)
        best = predicted * ((predicted * truth).sum(1) / np.square(predicted).sum(1))[:, None]
        assert np.square(best - truth).sum() >= error


def test_equal_training_stimuli_reach_nothing(rng):
    training = np.ones((5, 25))
    assert (linear_reach(rng.normal(size=(3, 25)), training, np.ones(25)) == 0).all()
