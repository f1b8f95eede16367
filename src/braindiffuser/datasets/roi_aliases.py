"""Regions under the names that the user gives them: unions of the recording's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from jaxtyping import Bool

from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.rois import MAXIMISED_REGIONS
from braindiffuser.errors import RecordingError

MOST_NAMES = 20
"""Regions that a message lists by name."""


def with_aliases(recording: Recording, aliases: Mapping[str, Sequence[str]]) -> Recording:
    """Return a recording with further regions, and with remarks on what each is made of.

    A region of the recording that has the name of an alias is replaced, which is said.

    Args:
        recording: with its own regions.
        aliases: name of a region → regions of the recording that it unites.

    Raises:
        RecordingError: an alias names a region that the recording does not have.
    """
    if not aliases:
        return recording
    parts = {name: [_own_name(recording, name, part) for part in wanted] for name, wanted in aliases.items()}
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


def _own_name(recording: Recording, alias: str, part: str) -> str:
    """Return the recording's name of a region: the one that is given, or the only one that differs in hyphens or case."""
    if part in recording.roi_masks:
        return part
    alike = [name for name in recording.roi_masks if _plain(name) == _plain(part)]
    if len(alike) == 1:
        return alike[0]
    known = sorted(recording.roi_masks)
    more = f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else ""
    raise RecordingError(
        f"there is no region {part!r}, which dataset.roi_aliases.{alias} names; this recording has "
        f"{', '.join(known[:MOST_NAMES]) or 'no regions'}{more}"
    )


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "").replace(" ", "")


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
            if name in MAXIMISED_REGIONS
            else [f"ROI maximisation draws {', '.join(MAXIMISED_REGIONS)} alone, so not this one"]
        ),
    ]
    return f"The region {name} is {' + '.join(sizes)} ({n:,} voxels){''.join(f'; {text}' for text in unusual)}."
