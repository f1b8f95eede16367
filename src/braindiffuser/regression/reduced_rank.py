"""Reduced-rank predictions: those of a decoder, moved to the few directions in which its training predictions vary most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Float32, Float64

COLUMNS_AT_ONCE = 8192
"""Targets that are widened to float64 at a time."""
SMALLEST = 1e-10
"""Eigenvalues below this share of the largest count as rounding errors."""


def reduce_rank(
    predictions: Float[np.ndarray, "n d"], training: Float[np.ndarray, "m _"], ranks: Sequence[int]
) -> Iterator[Float32[np.ndarray, "n d"]]:
    """Yield predictions of each rank.

        ŷ_r = m + (ŷ − m) V_r V_rᵀ

    with V_r the first r right singular vectors of the centred training predictions Ŷ − m. Of all decoders of rank r, this one's
    training predictions are closest to Ŷ; for a linear least-squares fit it is reduced-rank regression (Izenman 1975, Journal of
    Multivariate Analysis 5, 248–264). V_r = (Ŷ − m)ᵀ U_r Λ_r^−½ follows from the eigenvectors U of the small matrix
    (Ŷ − m)(Ŷ − m)ᵀ. Ranks beyond that of Ŷ add nothing.

    Args:
        predictions: ŷ of new stimuli, before calibration.
        training: Ŷ, predictions of training stimuli by the same decoder.
        ranks: ≥ 0, in the order in which results come.

    Raises:
        ValueError: if widths differ, or a rank is negative.
    """
    if predictions.shape[1] != training.shape[1]:
        raise ValueError(
            f"predictions have {predictions.shape[1]} targets and those of training stimuli {training.shape[1]}: expected the "
            "same"
        )
    if min(ranks, default=0) < 0:
        raise ValueError(f"ranks must be 0 or more, got {list(ranks)}")
    mean = training.mean(axis=0, dtype=np.float64)
    gram, cross = _products(predictions, training, mean)
    values, vectors = np.linalg.eigh(gram)
    kept = values > SMALLEST * values[-1]
    order = np.flatnonzero(kept)[::-1][: max(ranks, default=0)]
    roots = np.sqrt(values[order])
    axes = _axes(training, mean, vectors[:, order] / roots)
    coordinates = cross @ (vectors[:, order] / roots)
    for rank in ranks:
        made = coordinates[:, :rank].astype(np.float32) @ axes[:rank]
        made += mean.astype(np.float32)
        yield made


def _products(
    predictions: Float[np.ndarray, "n d"], training: Float[np.ndarray, "m d"], mean: Float64[np.ndarray, " d"]
) -> tuple[Float64[np.ndarray, "m m"], Float64[np.ndarray, "n m"]]:
    """Return (Ŷ − m)(Ŷ − m)ᵀ and (ŷ − m)(Ŷ − m)ᵀ, summed over blocks of targets in float64."""
    gram, cross = np.zeros((len(training), len(training))), np.zeros((len(predictions), len(training)))
    for start in range(0, training.shape[1], COLUMNS_AT_ONCE):
        columns = slice(start, start + COLUMNS_AT_ONCE)
        centred = training[:, columns] - mean[columns]
        gram += centred @ centred.T
        cross += (predictions[:, columns] - mean[columns]) @ centred.T
    return gram, cross


def _axes(
    training: Float[np.ndarray, "m d"], mean: Float64[np.ndarray, " d"], weights: Float64[np.ndarray, "m r"]
) -> Float32[np.ndarray, "r d"]:
    """Return V_rᵀ, block by block."""
    axes = np.empty((weights.shape[1], training.shape[1]), np.float32)
    for start in range(0, training.shape[1], COLUMNS_AT_ONCE):
        columns = slice(start, start + COLUMNS_AT_ONCE)
        axes[:, columns] = weights.T @ (training[:, columns] - mean[columns])
    return axes
