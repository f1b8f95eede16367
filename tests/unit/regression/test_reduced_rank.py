"""Predictions of reduced rank are projections on the leading singular vectors; the whole rank changes nothing."""

import numpy as np
import pytest

from braindiffuser.regression import reduced_rank
from braindiffuser.regression.reduced_rank import reduce_rank


@pytest.fixture
def predicted():
    """Predictions of 60 training and 9 new stimuli, linear in 7 voxels."""
    rng = np.random.default_rng(0)
    weights, intercept = rng.standard_normal((7, 50)), 5 * rng.standard_normal(50)
    return tuple((rng.standard_normal((n, 7)) @ weights + intercept).astype(np.float32) for n in (60, 9))


@pytest.mark.parametrize("columns", [8192, 16])
def test_predictions_are_projected_on_singular_vectors(predicted, columns, monkeypatch):
    monkeypatch.setattr(reduced_rank, "COLUMNS_AT_ONCE", columns)
    training, new = predicted
    mean = training.astype(np.float64).mean(axis=0)
    _, _, axes = np.linalg.svd(training - mean, full_matrices=False)
    ranks = [0, 1, 3, 7]
    for rank, made in zip(ranks, reduce_rank(new, training, ranks), strict=True):
        expected = mean + (new - mean) @ axes[:rank].T @ axes[:rank]
        np.testing.assert_allclose(made, expected, atol=2e-4)


def test_the_whole_rank_changes_nothing(predicted):
    training, new = predicted
    for made in reduce_rank(new, training, [7, 40]):
        np.testing.assert_allclose(made, new, atol=2e-4)


def test_training_predictions_come_closest_with_each_rank(predicted):
    training, _ = predicted
    errors = [np.square(made - training).sum() for made in reduce_rank(training, training, [1, 2, 4, 6])]
    assert errors == sorted(errors, reverse=True)
    values = np.linalg.svd(training - training.mean(axis=0), compute_uv=False)
    np.testing.assert_allclose(errors, [np.square(values[rank:]).sum() for rank in (1, 2, 4, 6)], rtol=1e-3)


def test_what_does_not_fit_is_refused(predicted):
    training, new = predicted
    with pytest.raises(ValueError, match="predictions have 50 targets and those of training stimuli 49"):
        next(reduce_rank(new, training[:, 1:], [1]))
    with pytest.raises(ValueError, match="ranks must be 0 or more"):
        next(reduce_rank(new, training, [-1]))
