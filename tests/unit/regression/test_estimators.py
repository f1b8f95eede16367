import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.metrics import r2_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from braindiffuser.regression import Ridge, RidgeCV, TrainingRows, cross_validate

WEIGHTS_ARE_NO_COPIES = {
    "check_sample_weight_equivalence_on_dense_data": "copies of a row may lie in different folds, and scores are not weighted"
}


@pytest.mark.usefixtures("types_unchecked")
@parametrize_with_checks(
    [Ridge(), RidgeCV(), RidgeCV([1.0, 10.0], n_folds=2)],
    expected_failed_checks=lambda estimator: WEIGHTS_ARE_NO_COPIES if isinstance(estimator, RidgeCV) else {},
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def example(shape=(50, 12), n_targets=4, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal(shape) + 1
    Y = X @ rng.standard_normal((shape[1], n_targets)) + 2 * rng.standard_normal((shape[0], n_targets)) + 3
    return X.astype(dtype), Y.astype(dtype)


@pytest.mark.parametrize("shape", [(50, 12), (30, 30), (20, 60)])
@pytest.mark.parametrize("alpha", [0.5, 100.0, 1e4])
def test_ridge_agrees_with_scikit_learn(shape, alpha):
    X, Y = example(shape)
    ours, theirs = Ridge(alpha).fit(X, Y), SklearnRidge(alpha).fit(X, Y)
    assert ours.coef_.shape == theirs.coef_.shape
    assert_allclose(ours.coef_, theirs.coef_, rtol=1e-7, atol=1e-10)
    assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-7, atol=1e-9)
    assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-7)
    assert_allclose(ours.score(X, Y), theirs.score(X, Y), rtol=1e-7)


def test_one_vector_of_targets_keeps_its_shape():
    X, Y = example()
    ours, theirs = Ridge().fit(X, Y[:, 0]), SklearnRidge().fit(X, Y[:, 0])
    assert ours.coef_.shape == theirs.coef_.shape == (12,)
    assert np.ndim(ours.intercept_) == 0
    assert_allclose(ours.predict(X), theirs.predict(X))
    column = Ridge().fit(X, Y[:, :1])
    assert column.coef_.shape == (1, 12)
    assert column.predict(X).shape == (50, 1)


@pytest.mark.parametrize("estimator", [Ridge(), RidgeCV()])
def test_float32_in_float32_out(estimator):
    X, Y = example(dtype=np.float32)
    fitted = clone(estimator).fit(X, Y)
    assert fitted.coef_.dtype == fitted.intercept_.dtype == fitted.predict(X).dtype == np.float32
    assert_allclose(fitted.predict(X), clone(estimator).fit(*example()).predict(X), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("estimator", [Ridge(), RidgeCV([1.0, 100.0])])
def test_a_row_of_weight_0_counts_as_left_out(estimator):
    X, Y = example()
    weights = np.random.default_rng(1).integers(0, 3, len(X))
    groups = {"groups": np.repeat(np.arange(25), 2)} if isinstance(estimator, RidgeCV) else {}
    kept = {name: values[weights > 0] for name, values in groups.items()}
    fitted = clone(estimator).fit(X, Y, sample_weight=weights, **groups)
    without = clone(estimator).fit(X[weights > 0], Y[weights > 0], sample_weight=weights[weights > 0], **kept)
    assert_array_equal(fitted.coef_, without.coef_)
    assert_array_equal(fitted.intercept_, without.intercept_)
    with pytest.raises(ValueError, match="weights must be one finite number > 0"):
        clone(estimator).fit(X, Y, sample_weight=weights - 1)


def test_ridge_cv_is_ridge_with_the_alpha_that_cross_validation_chose():
    X, Y = example()
    groups = np.repeat(np.arange(25), 2)
    alphas = [0.1, 1.0, 10.0, 100.0]
    fitted = RidgeCV(alphas, n_folds=4).fit(X, Y, groups=groups)
    result = cross_validate(TrainingRows(X), {"y": Y}, {"y": alphas}, groups, n_folds=4)["y"]
    assert (fitted.alpha_, fitted.at_edge_) == (result.best_alpha, result.at_edge)
    assert_array_equal(fitted.cv_scores_, result.r2)
    assert_array_equal(fitted.cv_correlations_, result.correlation)
    assert_array_equal(fitted.cv_prediction_mean_, result.prediction_mean)
    assert_array_equal(fitted.cv_prediction_std_, result.prediction_std)
    assert_allclose(fitted.coef_, Ridge(result.best_alpha).fit(X, Y).coef_)


def test_groups_change_the_folds():
    X, Y = example()
    with_groups = RidgeCV().fit(X, Y, groups=[f"picture {row // 2}" for row in range(50)])
    assert not np.allclose(with_groups.cv_scores_, RidgeCV().fit(X, Y).cv_scores_)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        RidgeCV().fit(X, Y, groups=[1, 2, 3])


def test_targets_statistics_are_kept_for_calibration():
    X, Y = example()
    fitted = Ridge().fit(X, Y)
    assert_allclose(fitted.target_mean_, Y.mean(0))
    assert_allclose(fitted.target_std_, Y.std(0))


def test_more_voxels_decode_better_than_chance_on_new_stimuli():
    X, Y = example((400, 30))
    fitted = RidgeCV().fit(X[:300], Y[:300])
    assert fitted.score(X[300:], Y[300:]) > 0.7
    shuffled = np.random.default_rng(0).permutation(Y[:300])
    assert RidgeCV().fit(X[:300], shuffled).score(X[300:], Y[300:]) < 0.05
    assert_allclose(fitted.score(X, Y), r2_score(Y, fitted.predict(X)))


def test_errors_say_what_came_and_what_was_expected():
    X, Y = example()
    with pytest.raises(ValueError, match="alpha must be finite and ≥ 0"):
        Ridge(-1.0).fit(X, Y)
    with pytest.raises(ValueError, match="12 features"):
        Ridge().fit(X, Y).predict(X[:, :5])
