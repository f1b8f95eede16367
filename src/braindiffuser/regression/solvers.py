"""Centred ridge regression as functions: one symmetric eigendecomposition serves every alpha and every target.

With X the centred responses and Y the centred targets, ridge is

    B = argmin_B ||X B - Y||² + alpha ||B||² = P diag(1 / (λ + alpha)) Qᵀ Y

where λ are the eigenvalues of the Gram matrix, P a basis over voxels and Q one over stimuli. Of the two Gram matrices
the smaller is decomposed:

    dual   (n_voxels ≥ n_stimuli):  X Xᵀ = U diag(λ) Uᵀ,  P = Xᵀ U,  Q = U
    primal (n_voxels < n_stimuli):  Xᵀ X = V diag(λ) Vᵀ,  P = V,     Q = X V

Precision: means, Gram matrix, eigendecomposition, bases and 1 / (λ + alpha) are computed in float64. The bases are
then rounded once to the responses' type (float32 or float64), in which all products with targets and new responses are
done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64
from scipy.linalg import eigh


@dataclass(frozen=True)
class Factorisation:
    """What ridge needs to know about the training responses, whatever the targets and alpha.

    Attributes:
        mean: mean response of each voxel.
        eigenvalues: λ, ascending and ≥ 0; rank = min(n_stimuli, n_voxels).
        voxel_basis: P, in the responses' type.
        stimulus_basis: Q, in the responses' type.
        form: which Gram matrix was decomposed.
    """

    mean: Float64[np.ndarray, " n_voxels"]
    eigenvalues: Float64[np.ndarray, " rank"]
    voxel_basis: Float[np.ndarray, "n_voxels rank"]
    stimulus_basis: Float[np.ndarray, "n_stimuli rank"]
    form: Literal["dual", "primal"]

    @property
    def tolerance(self) -> float:
        """The λ + alpha that counts as zero: max(n_stimuli, n_voxels) · 2.2e-16 · max(λ).

        Eigenvalues err by as much in float64. Collinear float32 voxels fall below it too: their rounding leaves
        eigenvalues of about 1e-15 · max(λ).
        """
        longest = max(len(self.voxel_basis), len(self.stimulus_basis))
        return float(longest * np.finfo(np.float64).eps * self.eigenvalues[-1])


def factorise(responses: Float[np.ndarray, "n_stimuli n_voxels"]) -> Factorisation:
    """Decompose the smaller Gram matrix of the centred responses.

        X Xᵀ = U diag(λ) Uᵀ  or  Xᵀ X = V diag(λ) Vᵀ

    Args:
        responses: training responses, float32 or float64 (float16 is raised to float32).

    Raises:
        ValueError: if there is no stimulus or no voxel.
    """
    if 0 in responses.shape:
        raise ValueError(f"ridge needs at least one stimulus and one voxel, got responses of shape {responses.shape}")
    dtype = np.result_type(responses.dtype, np.float32)
    mean = responses.mean(axis=0, dtype=np.float64)
    X = responses - mean
    dual = X.shape[1] >= X.shape[0]
    gram = X @ X.T if dual else X.T @ X
    eigenvalues, eigenvectors = eigh(gram, overwrite_a=True, check_finite=False, driver="evd")
    projected = (X.T if dual else X) @ eigenvectors
    P, Q = (projected, eigenvectors) if dual else (eigenvectors, projected)
    return Factorisation(
        mean,
        eigenvalues.clip(0),
        P.astype(dtype, copy=False),
        Q.astype(dtype, copy=False),
        "dual" if dual else "primal",
    )


def shrinkage(
    factorisation: Factorisation, alpha: float | Float[np.ndarray, " n_targets"]
) -> Float[np.ndarray, "rank n_alphas"]:
    """Weight of each eigen-direction, one column per alpha.

        s = 1 / (λ + alpha),  or 0 where λ + alpha ≤ tolerance

    so that alpha = 0 gives the least-squares solution of minimum norm.

    Raises:
        ValueError: if an alpha is negative or not finite.
    """
    alphas = np.atleast_1d(np.asarray(alpha, dtype=np.float64))
    if not (np.isfinite(alphas).all() and (alphas >= 0).all()):
        raise ValueError(f"alpha must be finite and ≥ 0, got {alphas.min()} as the smallest of {alphas.size}")
    total = factorisation.eigenvalues[:, None] + alphas
    kept = total > factorisation.tolerance
    return np.divide(1, total, out=np.zeros_like(total), where=kept)


def rotate(
    factorisation: Factorisation, targets: Float[np.ndarray, "n_stimuli n_targets"]
) -> tuple[Float[np.ndarray, "rank n_targets"], Float64[np.ndarray, " n_targets"]]:
    """Express centred targets in the stimulus basis, once for all alphas.

        Qᵀ (targets - mean)

    Returns:
        The rotated targets, in the responses' type, and the targets' mean.

    Raises:
        ValueError: if targets and training responses have different numbers of stimuli.
    """
    Q = factorisation.stimulus_basis
    if len(targets) != len(Q):
        raise ValueError(f"got targets of {len(targets)} stimuli, expected the {len(Q)} that the responses have")
    mean = targets.mean(axis=0, dtype=np.float64)
    return Q.T @ (targets - mean).astype(Q.dtype), mean


def project(
    factorisation: Factorisation, responses: Float[np.ndarray, "n_new n_voxels"]
) -> Float[np.ndarray, "n_new rank"]:
    """Express new responses in the voxel basis, once for all alphas and targets.

        (responses - mean) P

    Raises:
        ValueError: if the responses have another number of voxels than the training responses.
    """
    P = factorisation.voxel_basis
    if responses.shape[1] != len(P):
        raise ValueError(f"got responses of {responses.shape[1]} voxels, expected the {len(P)} that were factorised")
    projected: Float[np.ndarray, "n_new rank"] = (responses - factorisation.mean).astype(P.dtype) @ P
    return projected


def coefficients(
    factorisation: Factorisation,
    targets: Float[np.ndarray, "n_stimuli n_targets"],
    alpha: float | Float[np.ndarray, " n_targets"],
) -> tuple[Float[np.ndarray, "n_voxels n_targets"], Float[np.ndarray, " n_targets"]]:
    """Solve ridge for a block of targets.

        B = P diag(s) Qᵀ (targets - mean),  intercept = mean(targets) - mean(responses) B

    Args:
        factorisation: of the training responses.
        targets: training targets, any block of columns.
        alpha: ridge penalty ≥ 0, one for all targets or one each. 0 is minimum-norm least squares.

    Returns:
        Coefficients (n_voxels, n_targets) and intercept (n_targets,), in the responses' type.

    Examples:
        >>> responses = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
        >>> coef, intercept = coefficients(factorise(responses), np.array([[1.0], [3.0], [5.0]]), alpha=0.0)
        >>> coef.ravel().round(6).tolist(), intercept.round(6).tolist()
        ([2.0, 0.0], [1.0])
    """
    rotated, mean = rotate(factorisation, targets)
    dtype = rotated.dtype
    coef = factorisation.voxel_basis @ (shrinkage(factorisation, alpha).astype(dtype) * rotated)
    return coef, (mean - factorisation.mean @ coef).astype(dtype)


def prediction_operator(
    factorisation: Factorisation, new_responses: Float[np.ndarray, "n_new n_voxels"], alpha: float
) -> Float[np.ndarray, "n_new n_stimuli"]:
    """Return the matrix that turns centred training targets into predictions, without coefficients.

        predictions = operator (targets - mean(targets)) + mean(targets),  operator = (new - mean) P diag(s) Qᵀ

    It is small (n_new × n_stimuli) and the same for every target, which pays where targets are many.
    """
    projected = project(factorisation, new_responses)
    weights = shrinkage(factorisation, alpha)[:, 0].astype(projected.dtype)
    operator: Float[np.ndarray, "n_new n_stimuli"] = (projected * weights) @ factorisation.stimulus_basis.T
    return operator
