"""Centred ridge regression as functions, for weighted rows, and for more targets than memory holds.

    (B, b) = argmin Σ_i w_i ‖y_i - x_i B - b‖² + alpha ‖B‖²

With x̄, ȳ the weighted means, X̃ = diag(√w) (X - x̄) and Ỹ = diag(√w) (Y - ȳ), b = ȳ - x̄ B and, by the smaller Gram matrix,

    dual   (n_voxels ≥ n_rows):  B = X̃ᵀ (X̃ X̃ᵀ + alpha I)⁻¹ Ỹ
    primal (n_voxels < n_rows):  B = (X̃ᵀ X̃ + alpha I)⁻¹ X̃ᵀ Ỹ

One Cholesky factorisation serves an alpha and every target; one eigendecomposition serves every alpha and every target.

Every output of a ridge decoder is a linear function of the training targets: predictions are A Y, with a small smoother
matrix A (its rows sum to 1) that is the same for all targets. So targets can stream past A, and B need not be formed.

Precision: float64 responses are solved in float64. float32 responses are solved in float32 where the condition number
(‖K‖_F + alpha) / alpha is below 1000, so that rounding stays near 1e-5 of the result, and in float64 elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64

from braindiffuser.real_numbers import real_numbers
from braindiffuser.regression.centred_rows import CentredRows
from braindiffuser.regression.linalg import Solve, cholesky, gram_matrix
from braindiffuser.regression.rows import ResponseArray

WELL_CONDITIONED = 1000.0
"""Condition number up to which float32 is precise enough."""
MOST_FACTORISATIONS = 8
"""Up to this many alphas each gets a Cholesky factorisation; an eigendecomposition takes as long as 10 to 20 of them."""


@dataclass(frozen=True)
class Gram:
    """Training responses, centred and weighted, and their smaller Gram matrix.

    Attributes:
        rows: X̃, in the precision of the solution; kept in the dual form, where they are fewer than voxels.
        matrix: K = X̃ X̃ᵀ, or X̃ᵀ X̃ summed over blocks of rows.
        form: which of the two.
        dtype: of the responses, and of what is made of them.
    """

    rows: CentredRows
    matrix: Float[torch.Tensor, "rank rank"]
    form: Literal["dual", "primal"]
    dtype: torch.dtype

    @property
    def mean(self) -> Float64[torch.Tensor, " n_voxels"]:
        """x̄, weighted mean response of each voxel."""
        return torch.from_numpy(self.rows.mean).to(self.matrix.device)

    @property
    def root_weights(self) -> Float[torch.Tensor, " n_rows"]:
        """√w, 1 where rows count alike."""
        return self.rows.root_weights

    @property
    def shares(self) -> Float[torch.Tensor, " n_rows"]:
        """v = w / Σ w: the share of each row in the means."""
        weights = self.root_weights.square()
        return weights / weights.sum()

    @property
    def tolerance(self) -> float:
        """Eigenvalues of K + αI up to this are treated as zero: max(n_rows, n_voxels) · eps · trace(K); trace(K) ≥ max(λ)."""
        return max(self.rows.shape) * np.finfo(np.float64).eps * float(self.matrix.diagonal().sum(dtype=torch.float64))


@dataclass(frozen=True)
class Queries:
    """Right-hand sides for new responses and voxel patterns, shared by all alphas: see `prepare_queries`.

    Attributes:
        right_side: one column for each response or pattern.
        totals: what the row of the smoother matrix sums to: 1 for a response, 0 for a pattern.
    """

    right_side: Float[torch.Tensor, "rank n"]
    totals: Float[torch.Tensor, "n 1"]


def gram(
    responses: ResponseArray,
    weights: Float[np.ndarray, " n_rows"] | None = None,
    *,
    smallest_alpha: float = 0.0,
    device: str = "cpu",
) -> Gram:
    """Centre and weight responses, and compute the smaller Gram matrix.

        X̃ = diag(√w) (X - x̄),  K = X̃ X̃ᵀ or X̃ᵀ X̃

    Args:
        responses: training responses (n_rows, n_voxels), float32 or float64 (float16 is raised to float32), in memory or on disk.
        weights: w > 0 of each row; None: all 1. Doubling a weight is the same as including the row twice.
        smallest_alpha: the smallest alpha that will be used; decides the precision.
        device: where the solution is computed: "cpu", "cuda" …

    Raises:
        ValueError: if there is no row or no voxel, if the number of weights differs from the number of rows, or if a weight is
            not positive and finite.
    """
    system, _ = next(grams(responses, weights, {"": smallest_alpha}, device))
    return system


def grams(
    responses: ResponseArray,
    weights: Float[np.ndarray, " n_rows"] | None,
    smallest_alphas: Mapping[str, float],
    device: str = "cpu",
) -> Iterator[tuple[Gram, list[str]]]:
    """Yield one Gram matrix per precision with its groups of alphas, as `gram` computes it.

    A group's precision depends on its own smallest alpha, not on the other groups'.

    Args:
        responses: training responses, as for `gram`.
        weights: of each row, as for `gram`.
        smallest_alphas: group → smallest of its alphas.
        device: where the solution is computed.

    Yields:
        A Gram matrix and the groups that it serves. Drop it before asking for the next: only one is held then.

    Raises:
        ValueError: as `gram` does.
    """
    w = _as_weights(weights, responses.shape)
    groups = list(smallest_alphas)
    if responses.dtype != np.float64:
        system = _gram(responses, w, torch.float32, device)
        size = float(torch.linalg.vector_norm(system.matrix))
        imprecise = [name for name, alpha in smallest_alphas.items() if size + alpha > WELL_CONDITIONED * alpha]
        if len(imprecise) < len(groups):
            yield system, [name for name in groups if name not in imprecise]
        del system
        groups = imprecise
    if groups:
        yield _gram(responses, w, torch.float64, device), groups


def _as_weights(weights: Float[np.ndarray, " n_rows"] | None, shape: tuple[int, ...]) -> Float64[np.ndarray, " n_rows"]:
    """Return the weights of responses of this shape, 1 if none are given; raise if they are wrong."""
    if 0 in shape:
        raise ValueError(f"ridge needs at least one stimulus and one voxel, got responses of shape {shape}")
    w = np.ones(shape[0]) if weights is None else np.asarray(weights, np.float64)
    if w.shape != shape[:1] or not (np.isfinite(w).all() and (w > 0).all()):
        raise ValueError(f"weights must be one finite number > 0 for each of {shape[0]} rows, got shape {w.shape}")
    return w


def _gram(responses: ResponseArray, w: Float64[np.ndarray, " n_rows"], dtype: torch.dtype, device: str) -> Gram:
    n_rows, n_voxels = responses.shape
    form: Literal["dual", "primal"] = "dual" if n_voxels >= n_rows else "primal"
    rows = CentredRows(responses, w, dtype, device, whole=form == "dual")
    if form == "dual":
        matrix = gram_matrix(rows.whole())
    else:
        matrix = torch.zeros(n_voxels, n_voxels, dtype=dtype, device=device)
        for _, X in rows.blocks():
            matrix += gram_matrix(X.T)
    return Gram(rows, matrix, form, torch.float64 if responses.dtype == np.float64 else torch.float32)


def solve_by_spectrum(gram: Gram) -> Callable[[float], Solve]:
    """Decompose K = U diag(λ) Uᵀ in float64, and return alpha ↦ (R ↦ U (s ∘ Uᵀ R)).

        s = 1 / (λ + alpha),  or 0 where λ + alpha ≤ tolerance

    so that alpha = 0 gives the least-squares solution of minimum norm.

    Raises:
        ValueError: by the returned function, if alpha is negative or not finite.
    """
    eigenvalues, U = torch.linalg.eigh(gram.matrix.double())
    eigenvalues, tolerance = eigenvalues.clamp(min=0), gram.tolerance

    def solve_with(alpha: float) -> Solve:
        check_alphas(alpha)
        total = eigenvalues[:, None] + alpha
        s = torch.where(total > tolerance, 1 / total, 0)
        return lambda R: (U @ (s * (U.T @ R.double()))).to(R.dtype)

    return solve_with


def solve(gram: Gram, alpha: float) -> Solve:
    """R ↦ (K + alpha I)⁻¹ R by Cholesky factorisation; by pseudo-inverse where K + alpha I is singular to rounding.

    Raises:
        ValueError: if alpha is negative or not finite.
    """
    check_alphas(alpha)
    if alpha > gram.tolerance:
        shifted = gram.matrix.clone()
        shifted.diagonal().add_(alpha)
        inverse = cholesky(shifted)
        if inverse is not None:
            return inverse
    return solve_by_spectrum(gram)(alpha)


def prefers_spectrum(alphas: Float[np.ndarray, " n_alphas"]) -> bool:
    """Return whether there are more than MOST_FACTORISATIONS different alphas."""
    return len(np.unique(alphas)) > MOST_FACTORISATIONS


def solver_for(gram: Gram, by_spectrum: bool) -> Callable[[float], Solve]:
    """Return alpha ↦ `Solve` for several alphas: by one eigendecomposition, or by a Cholesky factorisation of each."""
    return solve_by_spectrum(gram) if by_spectrum else lambda alpha: solve(gram, alpha)


def prepare_queries(
    gram: Gram,
    responses: Float[np.ndarray, "n_new n_voxels"],
    patterns: Float[np.ndarray, "n_patterns n_voxels"] | None = None,
) -> Queries:
    """Make the right-hand sides for new responses and voxel patterns, once for all alphas.

        right side = X̃ Zᵀ [dual] or Zᵀ [primal],  Z = x* - x̄ for responses, p for patterns

    Args:
        gram: of the training responses.
        responses: to be predicted from: x*. At x* = 0 the prediction is the intercept.
        patterns: p, to be multiplied with the coefficients alone: p B.

    Raises:
        ValueError: if they have another number of voxels than the training responses.
    """
    Z = _as_rows(gram, responses)
    Z -= gram.mean.to(Z.dtype)
    if patterns is not None:
        Z = torch.cat([Z, _as_rows(gram, patterns)])
    totals = torch.zeros(len(Z), 1, dtype=Z.dtype, device=Z.device)
    totals[: len(responses)] = 1
    return Queries(gram.rows.times(Z.T) if gram.form == "dual" else Z.T, totals)


def smoother_matrix(gram: Gram, inverse: Solve, queries: Queries) -> Float[torch.Tensor, "n n_rows"]:
    """Return the smoother matrix A of training targets Y: A Y = (x* - x̄) B + ȳ for responses, p B for patterns.

        P = Z X̃ᵀ (X̃ X̃ᵀ + alpha I)⁻¹ diag(√w) = Z (X̃ᵀ X̃ + alpha I)⁻¹ X̃ᵀ diag(√w),  A = P + (c - P 1) v,  v = w / Σ w

    Its rows sum to c: 1 for responses, 0 for patterns. It is small, and the same for every target of this alpha.
    """
    solved = inverse(queries.right_side).T
    P = (solved if gram.form == "dual" else gram.rows.left_times(solved)) * gram.root_weights
    return (P + (queries.totals - P.sum(dim=1, keepdim=True)) * gram.shares).to(gram.dtype)


def coefficients(
    gram: Gram, inverse: Solve, targets: Float[np.ndarray, "n_rows n_targets"]
) -> tuple[Float[np.ndarray, "n_voxels n_targets"], Float[np.ndarray, " n_targets"]]:
    """Form B and b for a block of targets.

        B = X̃ᵀ (K + alpha I)⁻¹ Ỹ  [dual; primal alike],  b = ȳ - x̄ B

    Returns:
        Coefficients and intercepts, in the responses' type.

    Raises:
        ValueError: if targets and training responses have different numbers of rows.

    Examples:
        >>> responses = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
        >>> system = gram(responses)
        >>> coef, intercept = coefficients(system, solve(system, 0.0), np.array([[1.0], [3.0], [5.0]]))
        >>> coef.ravel().round(6).tolist(), intercept.round(6).tolist()
        ([2.0, 0.0], [1.0])
    """
    if len(targets) != gram.rows.shape[0]:
        raise ValueError(
            f"got targets of {len(targets)} stimuli, expected the {gram.rows.shape[0]} that the responses have"
        )
    Y = torch.tensor(np.ascontiguousarray(targets), device=gram.matrix.device).double()
    mean = gram.shares.double() @ Y
    Y = ((Y - mean) * gram.root_weights[:, None]).to(gram.matrix.dtype)
    B = gram.rows.transposed_times(inverse(Y)) if gram.form == "dual" else inverse(gram.rows.transposed_times(Y))
    intercept = mean - gram.mean @ B.double()
    return B.to(gram.dtype).cpu().numpy(), intercept.to(gram.dtype).cpu().numpy()


def check_alphas(alpha: float | Float[np.ndarray, " n_alphas"]) -> Float64[np.ndarray, " n_alphas"]:
    """Return alphas as an array.

    Raises:
        ValueError: if one is negative or not finite.
    """
    alphas = np.atleast_1d(np.asarray(alpha, dtype=np.float64))
    if not (np.isfinite(alphas).all() and (alphas >= 0).all()):
        raise ValueError(f"alpha must be finite and ≥ 0, got {alphas.min()} as the smallest of {alphas.size}")
    return alphas


def _as_rows(gram: Gram, values: Float[np.ndarray, "n n_voxels"]) -> Float[torch.Tensor, "n n_voxels"]:
    if values.shape[1] != gram.rows.shape[1]:
        raise ValueError(
            f"got responses of {values.shape[1]} voxels, expected the {gram.rows.shape[1]} that were fitted"
        )
    real_numbers(values, "responses came as", error=ValueError)
    return torch.tensor(values, dtype=gram.matrix.dtype, device=gram.matrix.device)
