"""Where voxels lie on a coarse grid, for small maps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from nibabel.orientations import io_orientation
from scipy.spatial import KDTree

from braindiffuser.datasets.voxels import Voxels

FINEST = 64
"""Cells along the longest side of the grid, at most."""
NEIGHBOURS = 6
"""Places around a voxel of a grid."""


class VoxelGrid(NamedTuple):
    """Where voxels lie.

    Attributes:
        cells: of each voxel (n_voxels, 3), from 0.
        oriented: whether the axes point right, to the front and up; if not, they are those of the recording.
    """

    cells: Int[np.ndarray, "n_voxels 3"]
    oriented: bool


def grid_of(voxels: Voxels) -> VoxelGrid | None:
    """Put voxels on a coarse grid; None if no place is known, or one for all.

    In a volume whose affine is known, the grid is the volume's own, turned so that its axes point as nearly as they can right, to
    the front and up. Places without a volume may be of any kind, such as indices: their axes stay as they are. They are put into
    cells that are as wide as the diagonal to a usual neighbour, so that no gaps lie between neighbours.
    """
    if voxels.mask is not None:
        orientation = _orientation(voxels.affine)
        indices, cells = np.argwhere(voxels.mask), np.zeros((voxels.n, 3), np.int64)
        for axis, (to, sign) in enumerate(np.array([[0, 1], [1, 1], [2, 1]]) if orientation is None else orientation):
            cells[:, int(to)] = int(sign) * indices[:, axis]
        cells -= cells.min(axis=0)
        return _unless_one(cells // (1 + cells.max() // FINEST), orientation is not None)
    places = voxels.coordinates
    if places is None or len(places) <= NEIGHBOURS or not np.isfinite(places).all():
        return None
    places = places - places.min(axis=0)
    distances = np.asarray(KDTree(places).query(places, k=NEIGHBOURS + 1)[0])
    side = max(float(np.sqrt(2) * np.median(distances[:, -1])), float(places.max()) / FINEST)
    return _unless_one(np.floor(places / side).astype(np.int64), oriented=False) if side > 0 else None


def _orientation(affine: Float[np.ndarray, "4 4"] | None) -> Float[np.ndarray, "3 2"] | None:
    """Return for each axis of a volume the axis of the world that it runs along, and its direction; None if that is not known."""
    if affine is None or not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
        return None
    found: Float[np.ndarray, "3 2"] = io_orientation(affine)
    return found


def _unless_one(cells: Int[np.ndarray, "n_voxels 3"], oriented: bool) -> VoxelGrid | None:
    return VoxelGrid(cells, oriented) if cells.any() else None
