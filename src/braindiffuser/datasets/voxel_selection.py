"""Selection of voxels by regions and a noise ceiling, of training trials alone or as the recording brings it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from braindiffuser.datasets.known_regions import Further, KnownRegions, as_known
from braindiffuser.datasets.noise_ceiling import CeilingEstimate, noise_ceiling, tells_noise
from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.region_expressions import Expression, read_expressions
from braindiffuser.datasets.splits import stimuli_of
from braindiffuser.datasets.voxel_maps import VoxelMaps
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError

VoxelChoice: TypeAlias = Literal["inductive", "transductive"]
Regions: TypeAlias = KnownRegions | Mapping[str, Bool[np.ndarray, " n_voxels"]]
"""Regions of a recording, with what can be named besides, or masks alone."""


def select_voxels(
    regions: Regions,
    ceilings: Float[np.ndarray, " n_voxels"],
    rois: Sequence[str] = (),
    min_noise_ceiling: float = 0.0,
) -> Bool[np.ndarray, " n_voxels"]:
    """Select voxels in any given region with a high enough noise ceiling.

    Args:
        regions: that there are, over the analysed voxels.
        ceilings: noise ceiling in percent, from `selection_ceilings`.
        rois: expressions of regions; none takes every voxel.
        min_noise_ceiling: percent; 0 takes every voxel, also those whose ceiling is not known.

    Raises:
        RecordingError: if there is no such region, no ceiling is known, or no voxel is left.
    """
    known = as_known(regions)
    chosen = np.ones(len(ceilings), bool)
    if rois:
        chosen = np.any([named.mask(known) for named in check_regions(known, rois)], axis=0)
    if min_noise_ceiling > 0:
        if not np.isfinite(ceilings).any():
            raise RecordingError(
                "no noise ceiling of training trials is known, since no training stimulus has the trials that "
                "responses.noise_ceiling takes (pooled: two or more; three-trials: three): set it to pooled, leave out "
                "min_noise_ceiling, or write voxel_choice: transductive where the recording brings noise ceilings, in which test "
                "trials may be"
            )
        chosen &= np.nan_to_num(ceilings, nan=-1.0) >= min_noise_ceiling
    if not chosen.any():
        limited = min_noise_ceiling > 0
        limit = f" with a noise ceiling of {min_noise_ceiling} % or more" if limited else ""
        remedy = " or ".join(["other regions"] * bool(rois) + ["a lower limit"] * limited)
        raise RecordingError(
            f"none of {len(chosen)} voxels lies in {', '.join(rois) or 'the mask'}{limit}: choose {remedy}"
        )
    return chosen


def selection_ceilings(
    recording: Recording,
    training_ncsnr: Float[np.ndarray, " n_voxels"] | None,
    n_repeats: Int[np.ndarray, " n_train"],
    choice: VoxelChoice,
) -> tuple[Float[np.ndarray, " n_voxels"], str]:
    """Return the noise ceilings that voxels are chosen by, in percent of a training response's variance.

    Args:
        recording: whose own noise ceilings are taken if `choice` is transductive.
        training_ncsnr: of training trials alone; None: not known.
        n_repeats: trials averaged into each training response.
        choice: "inductive", by training trials alone, or "transductive", by what the recording brings.

    Returns:
        Ceilings, NaN where they are not known, and a sentence on which they are.

    Raises:
        RecordingError: the choice is transductive, but the recording brings no noise ceilings.
    """
    if choice == "transductive":
        return noise_ceiling(_own_ncsnr(recording), n_repeats), (
            "Voxels are chosen by the noise ceilings that the recording brings, so test trials may have entered "
            "(responses.voxel_choice: transductive)."
        )
    known = np.full(recording.n_voxels, np.nan) if training_ncsnr is None else noise_ceiling(training_ncsnr, n_repeats)
    return known, "Voxels are chosen by noise ceilings of training trials alone."


def choice_before_betas(
    recording: Recording,
    rois: Sequence[str],
    min_noise_ceiling: float,
    choice: VoxelChoice,
    estimate: CeilingEstimate = "pooled",
) -> str:
    """Say how many voxels will be chosen, or, where noise ceilings of training trials decide, that only betas can tell.

    Args:
        recording: whose table tells which stimuli train, and which of them were shown more than once.
        rois: as in `select_voxels`.
        min_noise_ceiling: likewise.
        choice: as in `selection_ceilings`.
        estimate: which training stimuli noise ceilings are estimated from.

    Raises:
        RecordingError: as `select_voxels` and `selection_ceilings` will, as far as it can be told.
    """
    n_all, n_repeats = recording.n_voxels, stimuli_of(recording.trials, "train")[1]
    among = f"in {', '.join(rois)}" if rois else "all that are analysed"
    if min_noise_ceiling > 0 and choice == "inductive":
        n_within = int(select_voxels(recording.known_regions, np.zeros(n_all), rois).sum())
        if not tells_noise(n_repeats, estimate).any():
            select_voxels(recording.known_regions, np.full(n_all, np.nan), rois, min_noise_ceiling)
        return (
            f"at most {n_within:,} of {n_all:,} ({among}); how many of them have a noise ceiling of {min_noise_ceiling:g} % or "
            "more is not known before betas are read, since training trials tell"
        )
    ceilings = np.zeros(n_all)
    if min_noise_ceiling > 0:
        ceilings = selection_ceilings(recording, None, n_repeats, choice)[0]
        among += f" with a noise ceiling of {min_noise_ceiling:g} % or more, as the recording gives it"
    n_chosen = int(select_voxels(recording.known_regions, ceilings, rois, min_noise_ceiling).sum())
    return f"{n_chosen:,} of {n_all:,} ({among})"


def check_choice(recording: Recording, choice: VoxelChoice, min_noise_ceiling: float) -> None:
    """Check that a recording brings the noise ceilings that voxels are to be chosen by, before betas are read.

    Raises:
        RecordingError: the choice is transductive, but it brings none, or none is known in any voxel.
    """
    if choice != "transductive":
        return
    if np.isnan(_own_ncsnr(recording)).all() and min_noise_ceiling > 0:
        raise RecordingError(
            "responses.voxel_choice is transductive, but the noise ceilings that the recording brings are NaN in every voxel: "
            "leave voxel_choice out, which goes by training trials, leave out min_noise_ceiling, or mend the noise ceilings"
        )


def _own_ncsnr(recording: Recording) -> Float[np.ndarray, " n_voxels"]:
    if recording.ncsnr is None:
        raise RecordingError(
            "responses.voxel_choice is transductive, but the recording brings no noise ceilings: leave voxel_choice out"
        )
    return recording.ncsnr


def check_regions(regions: Regions, rois: Sequence[str], entry: str = "responses.rois") -> tuple[Expression, ...]:
    """Check that a recording has the regions that an entry names, and return its expressions.

    Raises:
        RecordingError: naming those that it lacks, and those that it has; or an expression cannot be read.
    """
    return read_expressions({entry: rois}, regions)[entry]


def keep_regions(
    voxels: Voxels,
    roi_masks: Mapping[str, Bool[np.ndarray, " n_voxels"]],
    regions: Sequence[str],
    maps: VoxelMaps | None = None,
) -> tuple[Voxels, dict[str, Bool[np.ndarray, " _"]], Bool[np.ndarray, " n_voxels"]]:
    """Keep the voxels of the regions that `dataset.regions` names, before any betas are read; an empty list keeps all.

    Args:
        voxels: all voxels.
        roi_masks: region → mask over them.
        regions: expressions; a voxel of any is kept.
        maps: that expressions may compare, if any.

    Returns:
        The kept voxels, all regions within them, and which of the voxels are kept, (n_voxels,).

    Raises:
        RecordingError: if there is no such region, or it holds no voxel.
    """
    chosen = np.ones(voxels.n, bool)
    if regions:
        known = KnownRegions(roi_masks, lambda: Further(maps=maps or VoxelMaps()))
        chosen = np.any([named.mask(known) for named in check_regions(known, regions, "dataset.regions")], axis=0)
        if not chosen.any():
            raise RecordingError(f"dataset.regions names {', '.join(regions)}, which hold no voxel: name other regions")
    return voxels.subset(chosen), {name: mask[chosen] for name, mask in roi_masks.items()}, chosen


def selected_fingerprint(fingerprint: str, chosen: Bool[np.ndarray, " n_voxels"]) -> str:
    """Hash the chosen voxels; if all are chosen, return the recording's own fingerprint."""
    if chosen.all():
        return fingerprint
    return hashlib.sha256(fingerprint.encode() + np.packbits(chosen).tobytes()).hexdigest()[:16]
