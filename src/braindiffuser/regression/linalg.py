"""Products and factorisations of large dense matrices: by numpy and SciPy on a CPU, by torch elsewhere.

numpy and SciPy bring OpenBLAS. Beside the library in torch's wheels it computes one triangle of X Xᵀ where torch computes
two, and on AMD processors it factorises and solves 1.6 times as fast; other products differ little.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float

Solve: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""R (n, k) to M⁻¹ R, for some M (n, n)."""


def multiply(
    A: Float[torch.Tensor, "n m"], B: Float[torch.Tensor, "m k"], out: Float[torch.Tensor, "n k"] | None = None
) -> Float[torch.Tensor, "n k"]:
    """A B, into `out` if given; that may be some columns of a wider matrix."""
    if A.device.type != "cpu":
        return torch.mm(A, B, out=out)
    return torch.from_numpy(np.matmul(A.numpy(), B.numpy(), out=None if out is None else out.numpy()))


def gram_matrix(X: Float[torch.Tensor, "n m"]) -> Float[torch.Tensor, "n n"]:
    """X Xᵀ."""
    if X.device.type != "cpu":
        return X @ X.T
    values = X.numpy()
    return torch.from_numpy(values @ values.T)  # numpy sees that this is symmetric


def column_products(A: Float[torch.Tensor, "n m"], B: Float[torch.Tensor, "n m"]) -> Float[torch.Tensor, " m"]:
    """Σ_i A_ij B_ij, of each column; on a CPU without a copy, ten times faster than torch."""
    if A.device.type != "cpu":
        return (A * B).sum(dim=0)
    return torch.from_numpy(np.einsum("ij,ij->j", A.numpy(), B.numpy()))


def cholesky(M: Float[torch.Tensor, "n n"]) -> Solve | None:
    """Factorise M = L Lᵀ in place; None where M is not positive definite to rounding.

    Returns:
        R ↦ M⁻¹ R.
    """
    if M.device.type != "cpu":
        factor, failed = torch.linalg.cholesky_ex(M)
        return None if failed else lambda R: torch.cholesky_solve(R, factor)
    try:
        L, _ = scipy.linalg.cho_factor(M.numpy().T, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        return None
    return lambda R: torch.from_numpy(scipy.linalg.cho_solve((L, True), R.numpy(), check_finite=False))
