import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression
from sklearn.linear_model import Ridge as SklearnRidge

from braindiffuser.regression.solvers import (
    coefficients,
    gram,
    grams,
    prefers_spectrum,
    prepare_queries,
    smoother_matrix,
    solve,
    solve_by_spectrum,
    solver_for,
)

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


def normal_equations(X, Y, alpha, weights=None):
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    w = np.ones(len(X)) if weights is None else weights
    x, y = w @ X / w.sum(), w @ Y / w.sum()
    W = w[:, None]
    B = scipy.linalg.solve(
        (X - x).T @ (W * (X - x)) + alpha * np.eye(X.shape[1]), (X - x).T @ (W * (Y - y)), assume_a="pos"
    )
    return B, y - x @ B


def fit(X, Y, alpha, weights=None):
    """Coefficients by the solver that a user gets."""
    system = gram(X, weights, smallest_alpha=alpha)
    return coefficients(system, solve(system, alpha), Y)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_coefficients_solve_the_normal_equations(shape, kind, alpha):
    X, Y = example(shape, kind)
    coef, intercept = fit(X, Y, alpha)
    expected, expected_intercept = normal_equations(X, Y, alpha)
    assert_allclose(coef, expected, rtol=1e-7, atol=1e-10)
    assert_allclose(intercept, expected_intercept, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("alpha", ALPHAS[1:])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_coefficients_agree_with_scikit_learn(shape, kind, alpha):
    X, Y = example(shape, kind)
    coef, intercept = fit(X, Y, alpha)
    reference = SklearnRidge(alpha=alpha, solver="svd").fit(X, Y)
    assert_allclose(coef.T, reference.coef_, rtol=1e-8, atol=1e-10)
    assert_allclose(intercept, reference.intercept_, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_alpha_0_is_least_squares_of_minimum_norm(shape, kind, dtype):
    X, Y = example(shape, kind, dtype=dtype)
    coef, intercept = fit(X, Y, 0.0)
    reference = LinearRegression().fit(X.astype(np.float64), Y)
    tolerance = 1e-6 if dtype == np.float64 else 5e-3
    assert_allclose(coef.T, reference.coef_, rtol=tolerance, atol=tolerance)
    assert_allclose(X @ coef + intercept, reference.predict(X), rtol=tolerance, atol=tolerance)


def test_vanishing_alpha_tends_to_minimum_norm():
    X, Y = example((20, 35), "collinear voxels")
    least, _ = fit(X, Y, 0.0)
    tiny, _ = fit(X, Y, 1e-300)
    assert_allclose(tiny, least, rtol=1e-12)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_float32_stays_float32_and_close_to_float64(shape, alpha):
    X, Y = example(shape, dtype=np.float32)
    coef, intercept = fit(X, Y, alpha)
    assert coef.dtype == intercept.dtype == np.float32
    expected, expected_intercept = normal_equations(X, Y, alpha)
    assert_allclose(coef, expected, atol=2e-5 * np.abs(expected).max())
    assert_allclose(intercept, expected_intercept, atol=1e-4 * np.abs(expected_intercept).max())


@pytest.mark.parametrize(("shape", "form"), [((5, 9), "dual"), ((9, 9), "dual"), ((9, 5), "primal")])
def test_the_smaller_gram_matrix_is_formed_and_inverted(shape, form):
    X, _ = example(shape)
    system = gram(X)
    assert system.form == form
    singular_values = np.linalg.svd(X - X.mean(0), compute_uv=False)
    assert_allclose(np.linalg.eigvalsh(system.matrix.numpy())[::-1], singular_values**2, atol=1e-10)
    identity = torch.eye(len(system.matrix)).double()
    assert_allclose(
        solve_by_spectrum(system)(0.5)(identity), torch.linalg.inv(system.matrix + 0.5 * identity), atol=1e-12
    )
    assert_allclose(system.rows.whole().numpy(), X - X.mean(0), atol=1e-14)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [0.0, *ALPHAS])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_smoother_matrices_say_what_coefficients_say(shape, alpha, weighted):
    X, Y = example(shape)
    new, _ = example((7, shape[1]), seed=1)
    weights = np.random.default_rng(2).uniform(0.5, 3, len(X)) if weighted else None
    system = gram(X, weights, smallest_alpha=alpha)
    inverse = solve(system, alpha)
    coef, intercept = coefficients(system, inverse, Y)
    predicting = smoother_matrix(system, inverse, prepare_queries(system, new)).numpy()
    projecting = smoother_matrix(system, inverse, prepare_queries(system, new[:0], new)).numpy()
    assert_allclose(
        smoother_matrix(system, inverse, prepare_queries(system, new, new)).numpy(),
        np.concatenate([predicting, projecting]),
    )
    assert predicting.shape == projecting.shape == (7, shape[0])
    assert_allclose(predicting @ Y, new @ coef + intercept, rtol=1e-7, atol=1e-7)
    assert_allclose(projecting @ Y, new @ coef, rtol=1e-7, atol=1e-7)
    assert_allclose(predicting.sum(1), 1, rtol=1e-9)
    assert_allclose(projecting.sum(1), 0, atol=1e-9)
    assert_allclose(
        smoother_matrix(system, inverse, prepare_queries(system, 0 * new[:1])).numpy() @ Y,
        intercept[None],
        rtol=1e-7,
        atol=1e-7,
    )


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_weights_solve_the_weighted_normal_equations(shape, alpha):
    X, Y = example(shape)
    weights = np.random.default_rng(1).integers(1, 4, len(X)).astype(float)
    coef, intercept = fit(X, Y, alpha, weights)
    expected, expected_intercept = normal_equations(X, Y, alpha, weights)
    assert_allclose(coef, expected, rtol=1e-7, atol=1e-10)
    assert_allclose(intercept, expected_intercept, rtol=1e-7, atol=1e-9)
    repeated = np.repeat(np.arange(len(X)), weights.astype(int))
    assert_allclose(fit(X[repeated], Y[repeated], alpha)[0], coef, rtol=1e-6, atol=1e-10)
    assert_allclose(fit(X, Y, 2.5 * alpha, 2.5 * weights)[0], coef, rtol=1e-6, atol=1e-10)


def test_float32_is_solved_in_float64_where_its_rounding_would_show():
    X, Y = example((40, 60), dtype=np.float32)
    X += 100 * np.random.default_rng(1).standard_normal((40, 1)).astype(np.float32)  # one large direction
    assert gram(X, smallest_alpha=1e7).matrix.dtype == torch.float32
    assert gram(X, smallest_alpha=1.0).matrix.dtype == torch.float64
    for alpha in (1.0, 1e7):
        coef, _ = fit(X, Y, alpha)
        expected, _ = normal_equations(X, Y, alpha)
        assert coef.dtype == np.float32
        assert_allclose(coef, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("n_alphas", [3, 12])
def test_several_alphas_are_each_solved(n_alphas):
    X, Y = example((20, 35))
    alphas = np.geomspace(0.1, 1e5, n_alphas)
    system = gram(X, smallest_alpha=0.1)
    inverse_of = solver_for(system, prefers_spectrum(alphas))
    for alpha in alphas:
        assert_allclose(coefficients(system, inverse_of(alpha), Y)[0], fit(X, Y, alpha)[0], rtol=1e-8, atol=1e-12)


def test_a_gram_matrix_per_precision_serves_the_groups_whose_own_alphas_want_it():
    X, _ = example((40, 60), dtype=np.float32)
    smallest = {"tiny": 1e-9, "large": 1e7, "zero": 0.0, "largest": 1e9}
    made = {system.matrix.dtype: groups for system, groups in grams(X, None, smallest)}
    assert made == {torch.float32: ["large", "largest"], torch.float64: ["tiny", "zero"]}
    ((system, groups),) = grams(X.astype(np.float64), None, smallest)
    assert (system.matrix.dtype, groups) == (torch.float64, list(smallest))


@pytest.mark.parametrize("shape", [(5, 4000), (4000, 5)])
def test_what_counts_as_zero_grows_with_the_larger_side(shape):
    """A direction without variance stays out under an alpha that rounding of a sum over the longer side would hide."""
    X, _ = example(shape, "collinear voxels")
    system = gram(X)
    rounding = np.finfo(np.float64).eps * float(system.matrix.diagonal().sum())
    assert_allclose(system.tolerance, 4000 * rounding)
    without_variance = torch.linalg.eigh(system.matrix).eigenvectors[:, :1]
    solve_with = solve_by_spectrum(system)
    assert_allclose(without_variance.T @ solve_with(2000 * rounding)(without_variance), 0, atol=1e-6)
    assert without_variance.T @ solve_with(5000 * rounding)(without_variance) > 1 / (10_000 * rounding)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(300, 20), (300, 400)])
def test_responses_far_from_zero_are_centred_as_precisely_as_others(shape, weighted):
    """float32 has 7 digits: a mean of 1e4 subtracted once would leave about 1e-4 of each voxel."""
    rng = np.random.default_rng(0)
    X = (rng.standard_normal(shape) + 1e4).astype(np.float32)
    weights = rng.integers(1, 4, len(X)).astype(float) if weighted else None
    system = gram(X, weights, smallest_alpha=1e6)
    assert system.matrix.dtype == torch.float32
    exact = np.average(X.astype(np.float64), axis=0, weights=weights)
    assert_allclose(system.mean, exact, rtol=0, atol=1e-7)
    root = np.ones(len(X)) if weights is None else np.sqrt(weights)
    assert_allclose(system.rows.whole(), root[:, None] * (X - exact), rtol=0, atol=1e-6)


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
    coef, intercept = fit(X, Y, alpha)
    expected, expected_intercept = normal_equations(X, Y, alpha)
    assert_allclose(coef, expected, rtol=1e-6, atol=1e-9)
    assert_allclose(intercept, expected_intercept, rtol=1e-6, atol=1e-8)


@settings(deadline=None, max_examples=25)
@given(shape=st.sampled_from(sorted(SHAPES.values())), scale=st.floats(0.1, 10), seed=st.integers(0, 99))
def test_invariances(shape, scale, seed):
    X, Y = example(shape, n_targets=5, seed=seed)
    alpha = 3.0
    coef, intercept = fit(X, Y, alpha)

    def assert_solution(X, Y, alpha, coef, intercept):
        found, found_intercept = fit(X, Y, alpha)
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
    coef, intercept = fit(X, Y, 1e30)
    assert_allclose(coef, 0, atol=1e-20)
    assert_allclose(intercept, Y.mean(0))
    coef, intercept = fit(X, Y, 0.0)
    assert_allclose(X @ coef + intercept, Y, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (1, 4)])
def test_responses_that_never_vary_predict_the_mean(shape, alpha):
    Y = np.random.default_rng(0).standard_normal((shape[0], 2))
    coef, intercept = fit(np.full(shape, 2.5), Y, alpha)
    assert_allclose(coef, 0)
    assert_allclose(intercept, Y.mean(0))


def test_input_is_left_alone_and_may_be_read_only():
    X, Y = example((6, 9))
    before = X.copy()
    X.setflags(write=False)
    Y.setflags(write=False)
    fit(X, Y, 1.0)
    assert_allclose(X, before, rtol=0)


@pytest.mark.usefixtures("types_unchecked")
def test_errors_say_what_came_and_what_was_expected():
    X, Y = example((6, 9))
    system = gram(X)
    with pytest.raises(ValueError, match=r"at least one stimulus and one voxel.*\(0, 9\)"):
        gram(X[:0])
    for alpha in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="alpha must be finite and ≥ 0"):
            solve(system, alpha)
        with pytest.raises(ValueError, match="alpha must be finite and ≥ 0"):
            solve_by_spectrum(system)(alpha)
    with pytest.raises(ValueError, match="targets of 5 stimuli, expected the 6"):
        coefficients(system, solve(system, 1.0), Y[:5])
    with pytest.raises(ValueError, match="responses of 8 voxels, expected the 9"):
        prepare_queries(system, X[:, :8])
    for weights in (np.ones(5), np.zeros(6), np.full(6, np.nan)):
        with pytest.raises(ValueError, match="weights must be one finite number > 0 for each of 6 rows"):
            gram(X, weights)
