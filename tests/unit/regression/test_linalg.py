import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from braindiffuser.regression.linalg import cholesky, column_products, gram_matrix, multiply

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-12}


def matrix(n, m, dtype=torch.float64, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, m))).to(dtype)


@settings(deadline=None)
@given(n=st.integers(1, 20), m=st.integers(1, 20), k=st.integers(1, 20), dtype=st.sampled_from(list(TOLERANCE)))
def test_products_agree_with_einsum(n, m, k, dtype):
    A, B = matrix(n, m, dtype), matrix(m, k, dtype, seed=1)
    tolerance = {"rtol": TOLERANCE[dtype], "atol": 10 * TOLERANCE[dtype]}
    assert_allclose(multiply(A, B), np.einsum("ij,jk->ik", A, B), **tolerance)
    assert_allclose(multiply(A, B.T.contiguous().T), np.einsum("ij,jk->ik", A, B), **tolerance)
    assert_allclose(gram_matrix(A), np.einsum("ij,kj->ik", A, A), **tolerance)
    assert_allclose(gram_matrix(A.T), np.einsum("ji,jk->ik", A, A), **tolerance)
    assert_allclose(column_products(A, 2 * A + 1), (A * (2 * A + 1)).sum(0), **tolerance)


def test_a_product_goes_into_columns_of_a_wider_matrix_and_nowhere_else():
    A, B, wide = matrix(4, 6), matrix(6, 3), torch.zeros(4, 9, dtype=torch.float64)
    made = multiply(A, B, out=wide[:, 2:5])
    made += 1
    assert_allclose(wide[:, 2:5], (A @ B + 1).numpy(), rtol=1e-12)
    assert not wide[:, :2].any()
    assert not wide[:, 5:].any()


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_cholesky_inverts(dtype):
    X, R = matrix(30, 40, dtype), matrix(30, 7, dtype, seed=1)
    M = gram_matrix(X) + 5 * torch.eye(30, dtype=dtype)
    inverse = cholesky(M.clone())
    solved = inverse(R)
    assert solved.dtype == dtype
    assert_allclose(M @ solved, R, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    assert_array_equal(inverse(R), solved)


def test_what_is_not_positive_definite_is_not_factorised():
    assert cholesky(torch.tensor([[1.0, 2.0], [2.0, 1.0]])) is None
    assert cholesky(torch.zeros(3, 3)) is None
