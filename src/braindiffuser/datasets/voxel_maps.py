"""Maps with one number per analysed voxel, such as eccentricity; each is read when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from braindiffuser.datasets.volumes import check_grid, read_values
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError


class VoxelMaps(Mapping[str, Any]):
    """Name → (n_voxels,) numbers, NaN where a voxel has none. Names are known without reading anything."""

    def __init__(self, readers: Mapping[str, Callable[[], Float[np.ndarray, " n_voxels"]]] | None = None) -> None:
        """Remember how each map is read."""
        self._readers = dict(readers or {})
        self._read: dict[str, Float[np.ndarray, " n_voxels"]] = {}

    @classmethod
    def of(cls, values: Mapping[str, Float[np.ndarray, " n_voxels"]]) -> VoxelMaps:
        """Return maps that are in memory already."""
        return cls({name: partial(np.asarray, own) for name, own in values.items()})

    def __getitem__(self, name: str) -> Float[np.ndarray, " n_voxels"]:
        """Return a map, reading it the first time; raises RecordingError if its file cannot be used."""
        if name not in self._read:
            self._read[name] = self._readers[name]()
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is a map of that name; reads none."""
        return name in self._readers

    def __iter__(self) -> Iterator[str]:
        """Iterate over names; reads none."""
        return iter(self._readers)

    def __len__(self) -> int:
        """Return the number of maps."""
        return len(self._readers)

    def and_also(self, others: VoxelMaps) -> VoxelMaps:
        """Return these maps and others, which come first where names are the same."""
        return VoxelMaps(self._readers | others._readers)

    def within(self, chosen: Bool[np.ndarray, " n_voxels"]) -> VoxelMaps:
        """Return the maps of some of the voxels, still to be read."""
        return VoxelMaps({name: partial(self._of, name, chosen) for name in self})

    def _of(self, name: str, chosen: Bool[np.ndarray, " n_voxels"]) -> Float[np.ndarray, " _"]:
        within: Float[np.ndarray, " _"] = self[name][chosen]
        return within


def read_map(path: Path, voxels: Voxels, mask_path: object) -> Float[np.ndarray, " n_voxels"]:
    """Read a map of a NIfTI file on the grid of the analysis mask.

    Args:
        path: of the file.
        voxels: the analysed voxels.
        mask_path: file of the mask, for messages.

    Raises:
        RecordingError: it is missing or damaged, or lies on another grid, or the voxels lie in no volume.
    """
    if voxels.mask is None:
        raise RecordingError(f"{path} is a map, but no mask says where voxels lie: write mask: FILE, or leave it out")
    values, affine = read_values(path)
    check_grid(path, values.shape, affine, mask_path, voxels.mask.shape, voxels.affine)
    within: Float[np.ndarray, " n_voxels"] = values[voxels.mask].astype(np.float64)
    return within
