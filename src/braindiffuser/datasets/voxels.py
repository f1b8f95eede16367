"""Where the analysed voxels lie: in a volume, at coordinates, or nowhere that is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

from braindiffuser.arrays import VoxelMask
from braindiffuser.errors import RecordingError


@dataclass(frozen=True, eq=False)
class Voxels:
    """The analysed voxels, in the order of the betas' columns; sensors and time points count as voxels too.

    Attributes:
        n: number of voxels.
        mask: (x, y, z), True where a voxel is analysed; column v is the v-th True in C order. None without a volume.
        affine: (4, 4), voxel coordinates to millimetres; None if it is not known.
        coordinates: (n, 3), a place for each column where there is no volume; None if none is known.
    """

    n: int
    mask: VoxelMask | None = None
    affine: Float[np.ndarray, "4 4"] | None = None
    coordinates: Float[np.ndarray, "n_voxels 3"] | None = None

    def __post_init__(self) -> None:
        """Raise RecordingError unless there is a voxel, and places are as many."""
        if self.n < 1:
            raise RecordingError("the analysis mask is empty; choose a mask with at least one voxel above 0")
        if self.coordinates is not None and self.coordinates.shape != (self.n, 3):
            raise RecordingError(
                f"coordinates of voxels have the shape {self.coordinates.shape}; expected ({self.n}, 3), a row per voxel"
            )

    @classmethod
    def in_volume(cls, mask: VoxelMask, affine: Float[np.ndarray, "4 4"] | None = None) -> Voxels:
        """Return the voxels of a mask.

        Raises:
            RecordingError: it is empty.
        """
        return cls(int(np.count_nonzero(mask)), mask, affine)

    @property
    def fingerprint(self) -> bytes:
        """What stands for the grid and the voxels, or for their number and places."""
        if self.mask is None:
            places = b"" if self.coordinates is None else np.round(self.coordinates, 4).astype(np.float64).tobytes()
            return f"{self.n}".encode() + places
        affine = b"" if self.affine is None else np.round(self.affine, 4).astype(np.float64).tobytes()
        return f"{self.mask.shape}".encode() + np.packbits(self.mask).tobytes() + affine

    def subset(self, chosen: Bool[np.ndarray, " n_voxels"]) -> Voxels:
        """Return some of the voxels, in the same order.

        Raises:
            RecordingError: none is chosen.
        """
        mask = None if self.mask is None else self.unmask(chosen)
        places = None if self.coordinates is None else self.coordinates[chosen]
        return Voxels(int(np.count_nonzero(chosen)), mask, self.affine, places)

    def unmask(self, values: Shaped[np.ndarray, " n_voxels"], fill: float = 0) -> Shaped[np.ndarray, "x y z"]:
        """Put one value per voxel into a volume, with `fill` elsewhere.

        Raises:
            RecordingError: there is no volume.
        """
        if self.mask is None:
            raise RecordingError("these voxels lie in no volume, so no map of them can be written: give a mask")
        volume = np.full(self.mask.shape, fill, values.dtype)
        volume[self.mask] = values
        return volume
