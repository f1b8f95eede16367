"""Maps with one number per analysed voxel, such as eccentricity; each is read when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
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
        """Return a map, reading it the first time; raises RecordingError if its file cannot be used, or it holds infinity."""
        if name not in self._read:
            values = self._readers[name]()
            _check_finite(values, f"the map {name}")
            self._read[name] = values
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


def read_map(
    path: Path, voxels: Voxels, mask_path: object, unknown: Collection[float] = ()
) -> Float[np.ndarray, " n_voxels"]:
    """Read a map of a NIfTI file on the grid of the analysis mask.

    Args:
        path: of the file.
        voxels: the analysed voxels.
        mask_path: file of the mask, for messages.
        unknown: numbers that stand for none; they become NaN.

    Raises:
        RecordingError: it is missing or damaged, holds infinity, or lies on another grid, or the voxels lie in no volume.
    """
    if voxels.mask is None:
        raise RecordingError(f"{path} is a map, but no mask says where voxels lie: write mask: FILE, or leave it out")
    values, affine = read_values(path)
    check_grid(path, values.shape, affine, mask_path, voxels.mask.shape, voxels.affine)
    within: Float[np.ndarray, " n_voxels"] = values[voxels.mask].astype(np.float64)
    within[np.isin(within, list(unknown))] = np.nan
    _check_finite(within, str(path))
    return within


def map_doubts(values: Float[np.ndarray, " n_voxels"], name: str, taken: Bool[np.ndarray, " n_voxels"]) -> list[str]:
    """Say what is odd of a map that voxels are chosen by: no number, one number everywhere, or zeros that are taken.

    Args:
        values: of the map, NaN where a voxel has none.
        name: of the map.
        taken: voxels that a comparison takes.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return [f"The map {name} has a number in none of {len(values):,} voxels."]
    if len(known) > 1 and (known == known[0]).all():
        return [f"The map {name} has one number, {known[0]:g}, in all of {len(known):,} voxels: it tells none apart."]
    zeros = int(((values == 0) & taken).sum())
    said = (
        f"{zeros:,} of {len(known):,} voxels of the map {name} are exactly 0, and a region takes them: if 0 stands for voxels "
        "without a value, write NaN there."
    )
    return [said] if zeros else []


def _check_finite(values: Float[np.ndarray, " n_voxels"], said: str) -> None:
    n = int(np.isinf(values).sum())
    if n:
        raise RecordingError(
            f"{said} is infinite in {n:,} of {len(values):,} voxels: write NaN where a voxel has no number"
        )
