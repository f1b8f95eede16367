"""Where voxels lie on a coarse grid, for small maps."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from nibabel.orientations import io_orientation
from scipy.spatial import KDTree

from braindiffuser.datasets.voxels import Voxels

FINEST = 64
"""Cells along the longest side of the grid, at most."""
NEIGHBOURS = 6
"""Places around a voxel of a grid."""


def grid_of(voxels: Voxels) -> Int[np.ndarray, "n_voxels 3"] | None:
    """Put voxels on a coarse grid whose axes point right, to the front and up, from 0; None if no place is known, or one for all.

    In a volume the grid is the volume's own, turned to the nearest such axes. Other places are put into cells that are as wide as
    the diagonal to a usual neighbour, so that no gaps lie between neighbours.
    """
    if voxels.mask is not None:
        indices, cells = np.argwhere(voxels.mask), np.zeros((voxels.n, 3), np.int64)
        for axis, (to, sign) in enumerate(io_orientation(np.eye(4) if voxels.affine is None else voxels.affine)):
            cells[:, int(to)] = int(sign) * indices[:, axis]
        cells -= cells.min(axis=0)
        return _unless_one(cells // (1 + cells.max() // FINEST))
    places = voxels.coordinates
    if places is None or len(places) <= NEIGHBOURS or not np.isfinite(places).all():
        return None
    places = places - places.min(axis=0)
    distances = np.asarray(KDTree(places).query(places, k=NEIGHBOURS + 1)[0])
    side = max(float(np.sqrt(2) * np.median(distances[:, -1])), float(places.max()) / FINEST)
    return _unless_one(np.floor(places / side).astype(np.int64)) if side > 0 else None


def _unless_one(cells: Int[np.ndarray, "n_voxels 3"]) -> Int[np.ndarray, "n_voxels 3"] | None:
    return cells if cells.any() else None
