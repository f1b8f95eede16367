"""Selection of voxels by regions and a noise ceiling; test trials are never used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError


def select_voxels(
    roi_masks: Mapping[str, Bool[np.ndarray, " n_voxels"]],
    training_ceilings: Float[np.ndarray, " n_voxels"],
    rois: Sequence[str] = (),
    min_noise_ceiling: float = 0.0,
) -> Bool[np.ndarray, " n_voxels"]:
    """Select voxels in any given region with a high enough noise ceiling.

    Args:
        roi_masks: region → mask over the analysed voxels.
        training_ceilings: noise ceiling in percent, from training trials alone: with test trials, test responses would
            influence the selection.
        rois: regions; none takes every voxel.
        min_noise_ceiling: percent; 0 takes every voxel, also those whose ceiling is not known.

    Raises:
        RecordingError: if there is no such region, no ceiling is known, or no voxel is left.
    """
    check_regions(roi_masks, rois)
    chosen = np.ones(len(training_ceilings), bool)
    if rois:
        chosen = np.any([roi_masks[name] for name in rois], axis=0)
    if min_noise_ceiling > 0:
        if not np.isfinite(training_ceilings).any():
            raise RecordingError(
                "no noise ceiling is known, since no training stimulus has the trials that responses.noise_ceiling takes "
                "(pooled: two or more; three-trials: three): set it to pooled, or leave out min_noise_ceiling"
            )
        chosen &= np.nan_to_num(training_ceilings, nan=-1.0) >= min_noise_ceiling
    if not chosen.any():
        limited = min_noise_ceiling > 0
        limit = f" with a noise ceiling of {min_noise_ceiling} % or more" if limited else ""
        remedy = " or ".join(["other regions"] * bool(rois) + ["a lower limit"] * limited)
        raise RecordingError(
            f"none of {len(chosen)} voxels lies in {', '.join(rois) or 'the mask'}{limit}: choose {remedy}"
        )
    return chosen


def check_regions(
    roi_masks: Mapping[str, Bool[np.ndarray, " n_voxels"]], rois: Sequence[str], entry: str = "responses.rois"
) -> None:
    """Check that a recording has the regions that an entry names.

    Raises:
        RecordingError: naming those that it lacks, and those that it has.
    """
    unknown = sorted(set(rois) - set(roi_masks))
    if unknown:
        raise RecordingError(
            f"there is no region {', '.join(unknown)}, which {entry} names; this recording has "
            f"{', '.join(sorted(roi_masks)) or 'none'}"
        )


def keep_regions(
    voxels: Voxels, roi_masks: Mapping[str, Bool[np.ndarray, " n_voxels"]], regions: Sequence[str]
) -> tuple[Voxels, dict[str, Bool[np.ndarray, " _"]], Bool[np.ndarray, " n_voxels"]]:
    """Keep the voxels of the regions that `dataset.regions` names, before any betas are read; an empty list keeps all.

    Returns:
        The kept voxels, all regions within them, and which of the voxels are kept, (n_voxels,).

    Raises:
        RecordingError: if there is no such region, or it holds no voxel.
    """
    chosen = np.ones(voxels.n, bool)
    if regions:
        check_regions(roi_masks, regions, "dataset.regions")
        chosen = np.any([roi_masks[name] for name in regions], axis=0)
        if not chosen.any():
            raise RecordingError(f"dataset.regions names {', '.join(regions)}, which hold no voxel: name other regions")
    return voxels.subset(chosen), {name: mask[chosen] for name, mask in roi_masks.items()}, chosen


def selected_fingerprint(fingerprint: str, chosen: Bool[np.ndarray, " n_voxels"]) -> str:
    """Hash the chosen voxels; if all are chosen, return the recording's own fingerprint."""
    if chosen.all():
        return fingerprint
    return hashlib.sha256(fingerprint.encode() + np.packbits(chosen).tobytes()).hexdigest()[:16]
