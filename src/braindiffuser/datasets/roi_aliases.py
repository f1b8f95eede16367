"""Regions under the names that the user gives them: expressions of the recording's own and of label volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from jaxtyping import Bool

from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.region_expressions import Expression, doubts, read_expressions
from braindiffuser.datasets.region_names import own_name
from braindiffuser.datasets.rois import MAXIMISED_REGIONS

ENTRY = "dataset.roi_aliases"


def with_aliases(recording: Recording, aliases: Mapping[str, Sequence[str]]) -> Recording:
    """Return a recording with further regions, and with remarks on what each is made of.

    A region of the recording that has the name of an alias is replaced, which is said.

    Args:
        recording: with its own regions.
        aliases: name of a region → expressions of regions (`region_expressions`) that it unites.

    Raises:
        RecordingError: aliases name regions that the recording does not have, or cannot be read.
    """
    if not aliases:
        return recording
    known = recording.known_regions
    read = read_expressions({f"{ENTRY}.{name}": wanted for name, wanted in aliases.items()}, known)
    meant = {name: read[f"{ENTRY}.{name}"] for name in aliases}
    made = {name: np.any([part.mask(known) for part in parts], axis=0) for name, parts in meant.items()}
    said = [_remark(recording, name, meant[name], mask) for name, mask in made.items()]
    shared = {(a, b): int((made[a] & made[b]).sum()) for a, b in combinations(made, 2)}
    said += [
        sentence
        for sentence in doubts((one for parts in meant.values() for one in parts), known)
        if sentence not in recording.remarks
    ]
    said += [f"The regions {a} and {b} share {n:,} voxels." for (a, b), n in shared.items() if n]
    return replace(
        recording,
        roi_masks={**recording.roi_masks, **made},
        missing_rois=tuple(name for name in recording.missing_rois if name not in made),
        remarks=(*recording.remarks, *said),
    )


def united(
    roi_masks: Mapping[str, Bool[np.ndarray, " n_voxels"]], parts: Mapping[str, Sequence[str]]
) -> dict[str, Bool[np.ndarray, " n_voxels"]]:
    """Return the union of each region's parts; a region without parts is left out."""
    return {name: np.any([roi_masks[part] for part in own], axis=0) for name, own in parts.items() if own}


def _remark(recording: Recording, name: str, meant: Sequence[Expression], mask: Bool[np.ndarray, " n_voxels"]) -> str:
    """Describe a region in one line: what it is made of, its size, and what is unusual."""
    known, regions = recording.known_regions, tuple(dict.fromkeys(part for one in meant for part in one.names))
    sizes = {part: int(known.mask(part).sum()) for part in regions}
    is_union = all(one.is_union for one in meant)
    own = name in recording.roi_masks and name not in sizes
    empty, n = [part for part, size in sizes.items() if not size], int(mask.sum())
    many = is_union and sum(sizes.values()) > n
    unusual = [
        *(["the recording's own region of that name is not used"] if own else []),
        *([f"{sum(sizes.values()) - n:,} voxels are in more than one of these"] if many else []),
        *([f"no analysed voxel lies in {', '.join(empty)}"] if empty else []),
        *(["no analysed voxel lies in it"] if not n and not empty else []),
        *(
            []
            if own_name(name, MAXIMISED_REGIONS)
            else [
                f"ROI maximisation draws {', '.join(MAXIMISED_REGIONS)} alone, so this one only if its `regions` name it"
            ]
        ),
    ]
    made_of = " + ".join(sizes) if is_union else " | ".join(one.text for one in meant)
    return f"The region {name} is {made_of} ({n:,} voxels){''.join(f'; {text}' for text in unusual)}."
