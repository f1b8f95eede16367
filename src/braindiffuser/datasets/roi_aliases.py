"""Regions under the names that the user gives them: unions of the recording's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from jaxtyping import Bool

from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.region_names import own_name, regions_meant
from braindiffuser.datasets.rois import MAXIMISED_REGIONS

ENTRY = "dataset.roi_aliases"


def with_aliases(recording: Recording, aliases: Mapping[str, Sequence[str]]) -> Recording:
    """Return a recording with further regions, and with remarks on what each is made of.

    A region of the recording that has the name of an alias is replaced, which is said.

    Args:
        recording: with its own regions.
        aliases: name of a region → regions of the recording that it unites.

    Raises:
        RecordingError: aliases name regions that the recording does not have.
    """
    if not aliases:
        return recording
    meant = regions_meant({f"{ENTRY}.{name}": wanted for name, wanted in aliases.items()}, recording.roi_masks)
    parts = {name: meant[f"{ENTRY}.{name}"] for name in aliases}
    made = united(recording.roi_masks, parts)
    said = [_remark(recording, name, parts[name], mask) for name, mask in made.items()]
    shared = {(a, b): int((made[a] & made[b]).sum()) for a, b in combinations(made, 2)}
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


def _remark(recording: Recording, name: str, parts: Sequence[str], mask: Bool[np.ndarray, " n_voxels"]) -> str:
    """Describe a region in one line: its parts, its size, and what is unusual."""
    sizes = {part: int(recording.roi_masks[part].sum()) for part in parts}
    own = name in recording.roi_masks and name not in sizes
    empty, n = [part for part, size in sizes.items() if not size], int(mask.sum())
    unusual = [
        *(["the recording's own region of that name is not used"] if own else []),
        *([f"{sum(sizes.values()) - n:,} voxels are in more than one of these"] if sum(sizes.values()) > n else []),
        *([f"no analysed voxel lies in {', '.join(empty)}"] if empty else []),
        *(
            []
            if own_name(name, MAXIMISED_REGIONS)
            else [f"ROI maximisation draws {', '.join(MAXIMISED_REGIONS)} alone, so not this one"]
        ),
    ]
    return f"The region {name} is {' + '.join(sizes)} ({n:,} voxels){''.join(f'; {text}' for text in unusual)}."
