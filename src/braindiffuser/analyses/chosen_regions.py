"""Which regions an analysis looks at: the published ones, or expressions, as masks with what a reader should know of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import numpy as np
from jaxtyping import Bool, Float
from pydantic import AfterValidator, BeforeValidator, Field

from braindiffuser.errors import RecordingError

if TYPE_CHECKING:
    from braindiffuser.analyses.analysis import RunData
    from braindiffuser.datasets.known_regions import KnownRegions

Masks: TypeAlias = Mapping[str, Bool[np.ndarray, " n_voxels"]]
"""Region → mask over the voxels that decoders are fitted to."""
MOST_OVERLAPS = 6
"""Pairs of regions that share voxels and are listed."""


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


def _each_once(given: tuple[str, ...] | dict[str, str] | None) -> tuple[str, ...] | dict[str, str] | None:
    twice = [name for name in given or () if isinstance(given, tuple) and given.count(name) > 1]
    if twice:
        raise ValueError(f"names {twice[0]} twice: name each region once")
    if given is not None and not given:
        raise ValueError("names no region: name one, or leave it out, which takes the published ones")
    return given


Name = Annotated[str, Field(min_length=1, max_length=200)]
RegionChoice = Annotated[
    tuple[Name, ...] | dict[Name, Name] | None, BeforeValidator(_as_list), AfterValidator(_each_once)
]
"""Regions by expression, or name → expression; None: the published ones."""


@dataclass(frozen=True, eq=False)
class ChosenRegion:
    """A region that an analysis looks at.

    Attributes:
        name: as the page shows it.
        expression: what it is made of.
        mask: over the chosen voxels, (n_voxels,).
        noise_ceiling: median of its voxels in percent; None where none is known.
    """

    name: str
    expression: str
    mask: Bool[np.ndarray, " n_voxels"]
    noise_ceiling: float | None

    @property
    def facts(self) -> dict[str, Any]:
        """What the page and the analysis' file say of it."""
        return {
            "name": self.name,
            "expression": self.expression,
            "n_voxels": int(self.mask.sum()),
            "noise_ceiling": self.noise_ceiling,
        }


@dataclass(frozen=True, eq=False)
class ChosenRegions:
    """Regions that hold a voxel at least, and sentences on those that do not, and on what is unusual."""

    regions: tuple[ChosenRegion, ...]
    remarks: tuple[str, ...] = ()

    @property
    def masks(self) -> Masks:
        """Name → mask."""
        return {region.name: region.mask for region in self.regions}


def expressions_of(choice: tuple[str, ...] | dict[str, str] | None) -> dict[str, str]:
    """Return name → expression of the regions that an entry names; {} if it names none."""
    if isinstance(choice, dict):
        return dict(choice)
    return {text: text for text in choice or ()}


def regions_of(
    choice: tuple[str, ...] | dict[str, str] | None,
    default: Callable[[RunData], ChosenRegions],
    data: RunData,
    label: str,
) -> ChosenRegions:
    """Return the regions that an analysis looks at.

    Args:
        choice: its entry `regions`.
        default: returns those that are taken where the entry names none.
        data: of the run.
        label: of the analysis, for messages.

    Raises:
        RecordingError: as `named_regions`.
    """
    if choice is None:
        return default(data)
    return named_regions(data.known_regions, expressions_of(choice), data.noise_ceiling, f"analyses.{label}.regions")


def named_regions(
    known: KnownRegions, wanted: Mapping[str, str], noise_ceiling: Float[np.ndarray, " n_voxels"], entry: str
) -> ChosenRegions:
    """Return the regions that expressions name.

    Args:
        known: regions that there are.
        wanted: name → expression.
        noise_ceiling: of each voxel in percent, NaN where it is not known.
        entry: that names them, for messages.

    Raises:
        RecordingError: an expression names what there is not, or cannot be read; or the file of a label volume or map cannot be
            used.
    """
    from braindiffuser.datasets.region_expressions import doubts, read_expressions

    read = read_expressions({entry: list(wanted.values())}, known)[entry]
    regions = [
        chosen_region(name, text, expression.mask(known), noise_ceiling)
        for (name, text), expression in zip(wanted.items(), read, strict=True)
    ]
    empty = [region.name for region in regions if not region.mask.any()]
    kept = tuple(region for region in regions if region.mask.any())
    said = [f"No chosen voxel lies in {', '.join(empty)}."] if empty else []
    said += doubts(read, known)
    return ChosenRegions(kept, (*said, *overlaps(kept)))


def published_regions(
    known: KnownRegions, noise_ceiling: Float[np.ndarray, " n_voxels"], unions: bool
) -> ChosenRegions:
    """Return the regions of the paper that the recording has and that hold voxels: 13, and the unions of its Fig. 10.

    A union is left out if one of its parts is missing or empty.

    Args:
        known: regions that there are; only own ones are taken.
        noise_ceiling: of each voxel in percent, NaN where it is not known.
        unions: whether to take the unions too.
    """
    from braindiffuser.datasets.known_regions import KnownRegions
    from braindiffuser.datasets.region_expressions import read_expressions
    from braindiffuser.datasets.rois import MAXIMISED_REGIONS, PUBLISHED_UNIONS

    own = KnownRegions(known.own)
    found, remarks = own_masks(MAXIMISED_REGIONS, known)
    for text in PUBLISHED_UNIONS if unions else ():
        try:
            read = read_expressions({text: [text]}, own)[text][0]
        except RecordingError:
            continue
        if all(own.mask(part).any() for part in read.names):
            found[text] = read.mask(own)
    regions = tuple(chosen_region(name, name, mask, noise_ceiling) for name, mask in found.items() if mask.any())
    return ChosenRegions(regions, remarks)


def own_masks(
    names: Sequence[str], known: KnownRegions
) -> tuple[dict[str, Bool[np.ndarray, " n_voxels"]], tuple[str, ...]]:
    """Return the masks of the recording's own regions of some names, and a sentence on names that it has several of."""
    from braindiffuser.datasets.region_names import own_name

    found = {name: known.own[there] for name in names if (there := own_name(name, known.own))}
    several = [" and ".join(same) for name in names if len(same := known.find_own(name)) > 1]
    return found, (f"Left out, since they are spelled alike: {', '.join(several)}.",) if several else ()


def chosen_region(
    name: str, text: str, mask: Bool[np.ndarray, " n_voxels"], noise_ceiling: Float[np.ndarray, " n_voxels"]
) -> ChosenRegion:
    """Return a region with the median noise ceiling of its voxels (percent; NaN of a voxel: not known)."""
    ceilings = noise_ceiling[mask & np.isfinite(noise_ceiling)]
    return ChosenRegion(name, text, mask, float(np.median(ceilings)) if len(ceilings) else None)


def overlaps(regions: Sequence[ChosenRegion]) -> list[str]:
    """Say which regions are the same voxels, and which share some; of the latter, the first pairs."""
    pairs = [(a, b, int((a.mask & b.mask).sum())) for a, b in combinations(regions, 2)]
    same = [f"{a.name} and {b.name}" for a, b, _ in pairs if np.array_equal(a.mask, b.mask)]
    shared = [f"{a.name} and {b.name} ({n:,})" for a, b, n in pairs if n and not np.array_equal(a.mask, b.mask)]
    more = f" and {len(shared) - MOST_OVERLAPS} more pairs" if len(shared) > MOST_OVERLAPS else ""
    return [
        *([f"These regions hold the same voxels: {', '.join(same)}."] if same else []),
        *([f"These regions share voxels: {', '.join(shared[:MOST_OVERLAPS])}{more}."] if shared else []),
    ]
