"""Training responses, centred and weighted, made block by block from where they lie: they need not be in memory at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64

from braindiffuser.regression.linalg import multiply
from braindiffuser.regression.rows import ResponseArray, row_blocks


class CentredRows:
    """X̃ = diag(√w) (X - x̄), with 0 in voxels that never vary.

    Attributes:
        shape: (n_rows, n_voxels).
        mean: x̄ = Σ_i w_i x_i / Σ_i w_i.
        root_weights: √w.
    """

    def __init__(
        self,
        responses: ResponseArray,
        weights: Float64[np.ndarray, " n_rows"],
        dtype: torch.dtype,
        device: str = "cpu",
        *,
        whole: bool = False,
    ) -> None:
        """Read the responses once, for their mean.

        Args:
            responses: X, in memory or on disk.
            weights: w of each row.
            dtype: of X̃.
            device: where X̃ is.
            whole: whether X̃ is kept; else each block is read and made again when it is asked for.
        """
        self.shape: tuple[int, int] = (responses.shape[0], responses.shape[1])
        self._responses, self._dtype, self._device = responses, dtype, torch.device(device)
        self.mean, constant = _moments(responses, weights)
        self._constant = torch.from_numpy(constant).to(device)
        coarse = torch.from_numpy(self.mean).to(device, dtype)
        self._shifts = (coarse, (torch.from_numpy(self.mean).to(device) - coarse.double()).to(dtype))
        self.root_weights = torch.as_tensor(np.sqrt(weights), dtype=dtype, device=device)
        self._whole: torch.Tensor | None = None
        if whole:
            kept = torch.empty(self.shape, dtype=dtype, device=device)
            for rows, X in self.blocks():
                kept[rows] = X
            self._whole = kept

    def whole(self) -> Float[torch.Tensor, "n_rows n_voxels"]:
        """Return X̃ as it is kept, or make all of it."""
        return torch.cat([X for _, X in self.blocks()]) if self._whole is None else self._whole

    def blocks(self) -> Iterator[tuple[slice, Float[torch.Tensor, "_ n_voxels"]]]:
        """Yield X̃ block by block, each with the rows that it is."""
        if self._whole is not None:
            yield slice(0, self.shape[0]), self._whole
            return
        for rows in row_blocks(self.shape):
            X = torch.tensor(np.asarray(self._responses[rows]), dtype=self._dtype, device=self._device)
            for shift in self._shifts:  # the second is what rounding of the first left
                X -= shift
            X[:, self._constant] = 0  # only rounding is left
            X *= self.root_weights[rows, None]
            yield rows, X

    def times(self, M: Float[torch.Tensor, "n_voxels k"]) -> Float[torch.Tensor, "n_rows k"]:
        """X̃ M."""
        return torch.cat([multiply(X, M) for _, X in self.blocks()])

    def transposed_times(self, M: Float[torch.Tensor, "n_rows k"]) -> Float[torch.Tensor, "n_voxels k"]:
        """X̃ᵀ M, summed over blocks of rows."""
        made = torch.zeros(self.shape[1], M.shape[1], dtype=M.dtype, device=M.device)
        for rows, X in self.blocks():
            made += multiply(X.T, M[rows])
        return made

    def left_times(self, M: Float[torch.Tensor, "k n_voxels"]) -> Float[torch.Tensor, "k n_rows"]:
        """M X̃ᵀ."""
        return torch.cat([multiply(M, X.T) for _, X in self.blocks()], dim=1)


def _moments(
    responses: ResponseArray, weights: Float64[np.ndarray, " n_rows"]
) -> tuple[Float64[np.ndarray, " n_voxels"], Bool[np.ndarray, " n_voxels"]]:
    """Return the weighted mean of each voxel, and whether it never varies."""
    n_rows, n_voxels = responses.shape
    shares, mean = weights / weights.sum(), np.zeros(n_voxels)
    least, most = np.full(n_voxels, np.inf), np.full(n_voxels, -np.inf)
    for rows in row_blocks((n_rows, n_voxels)):
        X = np.asarray(responses[rows])
        mean += shares[rows] @ X.astype(np.float64)
        least, most = np.minimum(least, X.min(axis=0)), np.maximum(most, X.max(axis=0))
    return mean, least == most
