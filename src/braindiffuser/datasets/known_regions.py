"""All regions that an expression may name: a recording's own, labels of further volumes, and maps to compare."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from braindiffuser.datasets.label_volumes import LabelVolumes
from braindiffuser.datasets.region_names import listed, plain
from braindiffuser.datasets.voxel_maps import VoxelMaps
from braindiffuser.errors import RecordingError


class Further(NamedTuple):
    """What is read only when an expression names it: label volumes and maps."""

    labels: LabelVolumes = LabelVolumes()
    maps: VoxelMaps = VoxelMaps()


@dataclass(frozen=True, eq=False)
class KnownRegions:
    """Regions and maps over one set of voxels.

    Attributes:
        own: region → mask (n_voxels,); of these a name means one before it means a label of a volume.
        open_further: returns what there is besides; called only if an expression names something that is not in `own`.
    """

    own: Mapping[str, Bool[np.ndarray, " n_voxels"]]
    open_further: Callable[[], Further] = Further

    @cached_property
    def further(self) -> Further:
        """What there is besides the own regions; opened once."""
        return self.open_further()

    @cached_property
    def _own_by_spelling(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.own:
            found.setdefault(plain(name), []).append(name)
        return found

    @cached_property
    def own_signs(self) -> set[str]:
        """All characters in names of own regions."""
        return set("".join(self.own))

    @cached_property
    def signs(self) -> set[str]:
        """All characters in names of own regions and of labels; reads tables of labels."""
        return self.own_signs | self.further.labels.signs

    def find_own(self, written: str) -> list[str]:
        """Return the own regions that a written name may mean, as `alike` does."""
        return [written] if written in self.own else self._own_by_spelling.get(plain(written), [])

    def find(self, written: str) -> list[str]:
        """Return the regions that a written name may mean: own ones, else labels; several if it is ambiguous."""
        return self.find_own(written) or self.further.labels.find(written)

    def mask(self, name: str) -> Bool[np.ndarray, " n_voxels"]:
        """Return the mask of a region that `find` returned; reads the volume of a label."""
        return self.own[name] if name in self.own else self.further.labels.mask(name)

    def doubts(self, names: Iterable[str]) -> list[str]:
        """Say what is odd of the volumes of regions that `find` returned, each sentence once."""
        odd = (said for name in names if name not in self.own for said in self.further.labels.doubts(name))
        return list(dict.fromkeys(odd))

    def map(self, name: str) -> Float[np.ndarray, " n_voxels"]:
        """Return the map of that name.

        Raises:
            RecordingError: its file cannot be used, or it has another number of voxels than the regions.
        """
        values = self.further.maps[name]
        shapes = {mask.shape for mask in self.own.values()}
        if shapes and values.shape not in shapes:
            raise RecordingError(
                f"the map {name} has the shape {values.shape}; expected one number per analysed voxel, {shapes}"
            )
        return values

    @property
    def names(self) -> Collection[str]:
        """Names of all regions, own ones first, as far as they are known without reading a volume."""
        return [*self.own, *(name for name in self.further.labels.names() if name not in self.own)]

    def __str__(self) -> str:
        """Say in short which regions there are."""
        titles = self.further.labels.titles
        return (listed(self.own) or "no regions") + (f", and labels of {listed(titles)}" if titles else "")


def as_known(regions: KnownRegions | Mapping[str, Bool[np.ndarray, " n_voxels"]]) -> KnownRegions:
    """Return regions as `KnownRegions`; a mapping has no labels and no maps besides."""
    return regions if isinstance(regions, KnownRegions) else KnownRegions(regions)
