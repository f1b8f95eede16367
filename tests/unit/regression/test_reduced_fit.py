"""A decoder of low rank predicts what the whole decoder does, projected on the leading directions of training predictions."""

from itertools import product

import numpy as np
import pytest

from braindiffuser.regression import streaming
from braindiffuser.regression.calibration import Calibration
from braindiffuser.regression.decoders import Decoders, fit_decoders
from braindiffuser.regression.reduced_fit import reduce_decoder, target_gram
from braindiffuser.regression.reduced_rank import reduce_rank
from braindiffuser.regression.rows import TrainingRows

N, D = 40, (3, 17)
FORMS = {"dual": 60, "primal": 12}
ROWS = ("averages", "weighted", "trials")


def problem(n_voxels, kind, dtype=np.float64, smallest=1e-3):
    """Training rows, targets of their stimuli, and new responses; targets have a large mean and many sizes."""
    rng = np.random.default_rng(0)
    stimuli = np.concatenate([np.arange(N), rng.integers(0, N, N)]) if kind == "trials" else None
    n_rows = N if stimuli is None else len(stimuli)
    responses = 2 + rng.standard_normal((n_rows, n_voxels)) * np.geomspace(0.1, 10, n_voxels)
    responses[:, 3] = 1.5  # never varies
    targets = (
        50
        + rng.standard_normal((N, 8)) @ rng.standard_normal((8, np.prod(D)))
        + 0.3 * rng.standard_normal((N, np.prod(D)))
    )
    targets = (targets * np.geomspace(smallest, 1e3, np.prod(D))).reshape(N, *D)
    targets[:, 1, 2] = 7.0
    weights = rng.integers(1, 5, n_rows).astype(np.float64) if kind == "weighted" else None
    rows = TrainingRows(responses.astype(dtype), stimuli, weights)
    new = 2 + rng.standard_normal((9, n_voxels)) * np.geomspace(0.1, 10, n_voxels)
    new[:, 3] = 1.5
    return rows, targets, new.astype(dtype)


def per_std(targets):
    """1 / standard deviation of each target, 0 where it never varies."""
    std = targets.reshape(N, -1).std(axis=0)
    return np.divide(1, std, out=np.zeros_like(std), where=std > 1e-9)


def decoders_of(rows, targets, alpha, calibration="none"):
    fitted = fit_decoders(rows, {"g": targets}, {"g": [alpha]}, calibration=calibration)
    return Decoders(fitted, rows, {"g": targets}, calibration)


def predicted(decoders, responses):
    ((_, made),) = decoders.predict(responses)
    return made


@pytest.mark.parametrize(("form", "kind"), list(product(FORMS, ROWS)))
def test_of_full_rank_it_predicts_what_the_decoder_does(form, kind):
    rows, targets, new = problem(FORMS[form], kind)
    made = reduce_decoder(rows, targets, 3.0, lost=0.0, dtype=np.float64)
    whole = predicted(decoders_of(rows, targets, 3.0), new).values
    spread = targets.reshape(N, -1).std(axis=0) + 1e-9
    # the smallest directions that are kept have 1e-5 of the largest one's size: what is below is left out
    assert np.abs((made.decoder.predict(new) - whole) / whole.std()).max() < 1e-4
    assert (
        np.abs(
            made.decoder.predict(rows.averages()) - predicted(decoders_of(rows, targets, 3.0), rows.averages()).values
        ).max()
        < 1e-4 * spread.max()
    )
    assert made.lost < 1e-9


@pytest.mark.parametrize(("form", "kind", "rank"), list(product(FORMS, ROWS, (1, 4, 9))))
def test_of_lower_rank_it_predicts_what_reduced_predictions_are(form, kind, rank):
    rows, targets, new = problem(FORMS[form], kind)
    decoders = decoders_of(rows, targets, 3.0)
    unit = per_std(targets)
    own, training = (predicted(decoders, each).values * unit for each in (new, rows.averages()))
    (expected,) = reduce_rank(own, training, [rank])
    made = reduce_decoder(rows, targets, 3.0, lost=0.0, max_rank=rank, dtype=np.float64)
    assert made.decoder.rank == rank
    np.testing.assert_allclose(made.decoder.predict(new) * unit, expected, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("rank", [2, 5])
def test_it_is_the_singular_value_decomposition_of_the_predictions_of_the_coefficients(rank):
    """Independent: ridge by the normal equations, its coefficients cut by numpy's SVD, of standardised targets."""
    rows, targets, new = problem(25, "averages")
    X, Y = rows.responses, targets.reshape(N, -1) * per_std(targets)
    centred = X - X.mean(axis=0)
    B = np.linalg.solve(centred.T @ centred + 3.0 * np.eye(25), centred.T @ (Y - Y.mean(axis=0)))
    _, sizes, axes = np.linalg.svd(centred @ B, full_matrices=False)
    V = axes[:rank].T
    expected = Y.mean(axis=0) + (new - X.mean(axis=0)) @ B @ V @ V.T
    made = reduce_decoder(rows, targets, 3.0, lost=0.0, max_rank=rank, dtype=np.float64)
    shared = made.decoder.predict(new) * per_std(targets)
    np.testing.assert_allclose(shared, expected, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_allclose(made.lost, 1 - np.sum(sizes[:rank] ** 2) / np.sum(sizes**2), atol=1e-9)


@pytest.mark.parametrize(("kind", "dtype", "lost"), list(product(ROWS, (np.float16, np.float32), (0.3, 0.05, 1e-3))))
def test_what_is_lost_is_lost_by_what_is_stored(kind, dtype, lost):
    rows, targets, _ = problem(60, kind)
    made = reduce_decoder(rows, targets, 3.0, lost=lost, dtype=dtype)
    training = predicted(decoders_of(rows, targets, 3.0), rows.averages()).values
    difference = (made.decoder.predict(rows.averages()).astype(np.float64) - training) * per_std(targets)
    varies = np.square((training - training.mean(axis=0)) * per_std(targets)).sum(axis=0)
    expected = np.square(difference).sum() / varies.sum()
    of_targets = np.divide(np.square(difference).sum(axis=0), varies, out=np.zeros_like(varies), where=varies > 0)
    assert made.decoder.loadings.dtype == made.decoder.weights.dtype == dtype
    np.testing.assert_allclose(made.lost, expected, rtol=0.01, atol=1e-7)
    np.testing.assert_allclose(made.lost_of_targets, of_targets, rtol=0.02, atol=1e-5)
    smaller = made.lost_by_rank[: made.decoder.rank - 1]
    assert (smaller > lost).all()
    assert made.lost_by_rank[made.decoder.rank - 1] <= lost


def test_units_of_targets_change_nothing_that_is_lost():
    rows, targets, new = problem(60, "averages")
    units = np.random.default_rng(1).uniform(0.01, 100, targets.shape[1:])
    one, other = (
        reduce_decoder(rows, values, 3.0, lost=0.05, dtype=np.float64) for values in (targets, targets * units)
    )
    assert one.decoder.rank == other.decoder.rank
    np.testing.assert_allclose(other.lost_of_targets, one.lost_of_targets, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(
        other.decoder.predict(new), one.decoder.predict(new) * units.ravel(), rtol=1e-5, atol=1e-6
    )


def test_half_precision_loses_little_whatever_the_units():
    rows, targets, new = problem(60, "averages")
    fine, coarse = (
        reduce_decoder(rows, targets, 3.0, lost=0.0, max_rank=8, dtype=each).decoder
        for each in (np.float64, np.float16)
    )
    expected = fine.predict(new)
    difference = np.abs(coarse.predict(new) - expected) / (targets.reshape(N, -1).std(axis=0) + 1e-6)
    assert difference.max() < 0.01
    other = TrainingRows(rows.responses * 1e6)
    made = reduce_decoder(other, targets * 1e-9, 3e12, lost=0.0, max_rank=8, dtype=np.float16).decoder
    np.testing.assert_allclose(made.predict(new * 1e6) * 1e9, expected, rtol=0, atol=0.01 * targets.std())


def test_a_calibration_is_folded_in():
    rows, targets, new = problem(
        60, "averages", smallest=1e2
    )  # directions are those of the targets of largest variance
    decoders = decoders_of(rows, targets, 3.0, "inductive")
    whole = predicted(decoders, new)
    made = reduce_decoder(rows, targets, 3.0, lost=0.0, dtype=np.float64)
    arrays = decoders.fitted["g"].arrays
    calibration = Calibration(made.target_mean, made.target_std, arrays["prediction_mean"], arrays["prediction_std"])
    folded = made.decoder.calibrated(calibration).predict(new)
    expected = calibration.apply(made.decoder.predict(new))
    np.testing.assert_allclose(folded, expected, rtol=1e-9)
    np.testing.assert_allclose(folded, whole.calibration.apply(whole.values), rtol=1e-3)
    assert (folded[:, D[1] + 2] == 7.0).all()
    with pytest.raises(ValueError, match="transductive rescales by the decoded responses themselves"):
        made.decoder.calibrated(Calibration(made.target_mean, made.target_std, name="transductive"))


def test_single_precision_is_as_close_as_that_of_the_decoder():
    rows, targets, new = problem(60, "averages", np.float32)
    made = reduce_decoder(rows, targets.astype(np.float32), 300.0, lost=0.0, dtype=np.float32)
    whole = predicted(decoders_of(rows, targets.astype(np.float32), 300.0), new).values
    assert np.abs(made.decoder.predict(new) - whole).max() < 1e-4 * whole.std()


def test_cores_and_blocks_change_nothing(monkeypatch):
    _, targets, _ = problem(60, "averages")
    Y = (targets.reshape(N, -1) - targets.reshape(N, -1).mean(axis=0)) * per_std(targets)
    whole = target_gram(targets)
    np.testing.assert_allclose(whole, Y @ Y.T, rtol=1e-9, atol=1e-6)
    monkeypatch.setattr(streaming, "MOST_CORES", 1)
    np.testing.assert_array_equal(target_gram(targets), whole)


def test_what_cannot_be_reduced_is_said():
    rows, targets, _ = problem(12, "averages")
    with pytest.raises(ValueError, match="predictions of training stimuli are all the same"):
        reduce_decoder(rows, np.ones_like(targets), 3.0)
    for wrong in ({"lost": 1.0}, {"lost": -0.1}, {"max_rank": 0}):
        with pytest.raises(ValueError, match="a share from 0 to below 1 may be lost"):
            reduce_decoder(rows, targets, 3.0, **wrong)
