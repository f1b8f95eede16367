import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression
from sklearn.linear_model import Ridge as SklearnRidge

from braindiffuser.regression.solvers import coefficients, factorise, prediction_operator, project, shrinkage

SHAPES = {"n<p": (20, 35), "n=p": (25, 25), "n>p": (40, 15), "one voxel": (30, 1)}
KINDS = ("plain", "constant voxels", "collinear voxels")
ALPHAS = (0.01, 1.0, 300.0, 5e4)


def example(shape, kind="plain", n_targets=3, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal(shape) * rng.uniform(0.5, 2, shape[1]) + rng.normal(0, 3, shape[1])
    if kind == "constant voxels":
        X[:, ::4] = 7.25
    elif kind == "collinear voxels" and shape[1] > 3:
        X[:, 3] = X[:, 0] - 2 * X[:, 1]
        X[:, 2] = X[:, 0]
    Y = X @ rng.standard_normal((shape[1], n_targets)) + rng.standard_normal((shape[0], n_targets)) + 4
    return X.astype(dtype), Y.astype(dtype)


def normal_equations(X, Y, alpha):
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    Xc, Yc = X - X.mean(0), Y - Y.mean(0)
    B = scipy.linalg.solve(Xc.T @ Xc + alpha * np.eye(X.shape[1]), Xc.T @ Yc, assume_a="pos")
    return B, Y.mean(0) - X.mean(0) @ B


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_coefficients_solve_the_normal_equations(shape, kind, alpha):
    X, Y = example(shape, kind)
    coef, intercept = coefficients(factorise(X), Y, alpha)
    expected, expected_intercept = normal_equations(X, Y, alpha)
    assert_allclose(coef, expected, rtol=1e-7, atol=1e-10)
    assert_allclose(intercept, expected_intercept, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("alpha", ALPHAS[1:])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_coefficients_agree_with_scikit_learn(shape, kind, alpha):
    X, Y = example(shape, kind)
    coef, intercept = coefficients(factorise(X), Y, alpha)
    reference = SklearnRidge(alpha=alpha, solver="svd").fit(X, Y)
    assert_allclose(coef.T, reference.coef_, rtol=1e-8, atol=1e-10)
    assert_allclose(intercept, reference.intercept_, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_alpha_0_is_least_squares_of_minimum_norm(shape, kind, dtype):
    X, Y = example(shape, kind, dtype=dtype)
    coef, intercept = coefficients(factorise(X), Y, 0.0)
    reference = LinearRegression().fit(X.astype(np.float64), Y)
    tolerance = 1e-6 if dtype == np.float64 else 5e-3
    assert_allclose(coef.T, reference.coef_, rtol=tolerance, atol=tolerance)
    assert_allclose(X @ coef + intercept, reference.predict(X), rtol=tolerance, atol=tolerance)


def test_vanishing_alpha_tends_to_minimum_norm():
    X, Y = example((20, 35), "collinear voxels")
    least, _ = coefficients(factorise(X), Y, 0.0)
    tiny, _ = coefficients(factorise(X), Y, 1e-300)
    assert_allclose(tiny, least, rtol=1e-12)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_float32_stays_float32_and_close_to_float64(shape, alpha):
    X, Y = example(shape, dtype=np.float32)
    coef, intercept = coefficients(factorise(X), Y, alpha)
    assert coef.dtype == intercept.dtype == np.float32
    expected, expected_intercept = normal_equations(X, Y, alpha)
    assert_allclose(coef, expected, atol=2e-5 * np.abs(expected).max())
    assert_allclose(intercept, expected_intercept, atol=1e-4 * np.abs(expected_intercept).max())


@pytest.mark.parametrize(("shape", "form"), [((5, 9), "dual"), ((9, 9), "dual"), ((9, 5), "primal")])
def test_the_smaller_gram_matrix_is_decomposed(shape, form):
    X, _ = example(shape)
    factorisation = factorise(X)
    assert factorisation.form == form
    assert factorisation.eigenvalues.shape == (min(shape),)
    singular_values = np.linalg.svd(X - X.mean(0), compute_uv=False)
    assert_allclose(factorisation.eigenvalues[::-1], singular_values**2, atol=1e-10)
    reconstructed = factorisation.stimulus_basis @ factorisation.voxel_basis.T
    assert_allclose(reconstructed, X - X.mean(0), atol=1e-10)


@pytest.mark.parametrize("alpha", [0.0, *ALPHAS])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_operator_predicts_what_coefficients_predict(shape, alpha):
    X, Y = example(shape)
    new, _ = example((7, shape[1]), seed=1)
    factorisation = factorise(X)
    coef, intercept = coefficients(factorisation, Y, alpha)
    operator = prediction_operator(factorisation, new, alpha)
    assert operator.shape == (7, shape[0])
    predictions = operator @ (Y - Y.mean(0)) + Y.mean(0)
    assert_allclose(predictions, new @ coef + intercept, rtol=1e-7, atol=1e-7)


def test_alpha_per_target_solves_each_target_alone():
    X, Y = example((20, 30), n_targets=4)
    alphas = np.array([0.0, 1.0, 50.0, 1e4])
    factorisation = factorise(X)
    coef, intercept = coefficients(factorisation, Y, alphas)
    for number, alpha in enumerate(alphas):
        one, one_intercept = coefficients(factorisation, Y[:, [number]], float(alpha))
        assert_allclose(coef[:, [number]], one, rtol=1e-12, atol=1e-14)
        assert_allclose(intercept[[number]], one_intercept, rtol=1e-12)


@settings(deadline=None, max_examples=25)
@given(
    n_stimuli=st.integers(1, 20),
    n_voxels=st.integers(1, 20),
    n_targets=st.integers(1, 4),
    alpha=st.floats(1e-2, 1e6),
    seed=st.integers(0, 99),
)
def test_any_shape_solves_the_normal_equations(n_stimuli, n_voxels, n_targets, alpha, seed):
    X, Y = example((n_stimuli, n_voxels), n_targets=n_targets, seed=seed)
    coef, intercept = coefficients(factorise(X), Y, alpha)
    expected, expected_intercept = normal_equations(X, Y, alpha)
    assert_allclose(coef, expected, rtol=1e-6, atol=1e-9)
    assert_allclose(intercept, expected_intercept, rtol=1e-6, atol=1e-8)


@settings(deadline=None, max_examples=25)
@given(shape=st.sampled_from(sorted(SHAPES.values())), scale=st.floats(0.1, 10), seed=st.integers(0, 99))
def test_invariances(shape, scale, seed):
    X, Y = example(shape, n_targets=5, seed=seed)
    alpha = 3.0
    factorisation = factorise(X)
    coef, intercept = coefficients(factorisation, Y, alpha)

    def assert_solution(X, Y, alpha, coef, intercept):
        found, found_intercept = coefficients(factorise(X), Y, alpha)
        assert_allclose(found, coef, rtol=1e-6, atol=1e-9)
        assert_allclose(found_intercept, intercept, rtol=1e-6, atol=1e-8)

    rng = np.random.default_rng(seed)
    targets, stimuli, voxels = (rng.permutation(n) for n in (5, *shape))
    assert_solution(X, Y[:, targets], alpha, coef[:, targets], intercept[targets])  # order of targets
    assert_solution(X[stimuli], Y[stimuli], alpha, coef, intercept)  # order of stimuli
    assert_solution(X[:, voxels], Y, alpha, coef[voxels], intercept)  # order of voxels
    assert_solution(X, Y[:, :2], alpha, coef[:, :2], intercept[:2])  # a block of targets
    assert_solution(X, Y + scale, alpha, coef, intercept + scale)  # a constant only moves the intercept
    assert_solution(X, Y * scale, alpha, coef * scale, intercept * scale)
    assert_solution(X + scale, Y, alpha, coef, intercept - scale * coef.sum(0))
    assert_solution(X * scale, Y, alpha * scale**2, coef / scale, intercept)
    assert_solution(np.tile(X, (2, 1)), np.tile(Y, (2, 1)), 2 * alpha, coef, intercept)  # doubled rows


def test_the_limits_of_alpha():
    X, Y = example((12, 12))
    coef, intercept = coefficients(factorise(X), Y, 1e30)
    assert_allclose(coef, 0, atol=1e-20)
    assert_allclose(intercept, Y.mean(0))
    coef, intercept = coefficients(factorise(X), Y, 0.0)
    assert_allclose(X @ coef + intercept, Y, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (1, 4)])
def test_responses_that_never_vary_predict_the_mean(shape, alpha):
    Y = np.random.default_rng(0).standard_normal((shape[0], 2))
    coef, intercept = coefficients(factorise(np.full(shape, 2.5)), Y, alpha)
    assert_allclose(coef, 0)
    assert_allclose(intercept, Y.mean(0))


def test_factorise_leaves_its_input_alone_and_serves_read_only_arrays():
    X, _ = example((6, 9))
    before = X.copy()
    X.setflags(write=False)
    factorise(X)
    assert_allclose(X, before, rtol=0)


def test_errors_say_what_came_and_what_was_expected():
    X, Y = example((6, 9))
    factorisation = factorise(X)
    with pytest.raises(ValueError, match=r"at least one stimulus and one voxel.*\(0, 9\)"):
        factorise(X[:0])
    for alpha in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="alpha must be finite and ≥ 0"):
            shrinkage(factorisation, alpha)
    with pytest.raises(ValueError, match="targets of 5 stimuli, expected the 6"):
        coefficients(factorisation, Y[:5], 1.0)
    with pytest.raises(ValueError, match="responses of 8 voxels, expected the 9"):
        project(factorisation, X[:, :8])
