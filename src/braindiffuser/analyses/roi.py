"""ROI maximisation: the targets that a region's own activity stands for (Ozcelik & VanRullen 2023, section "ROI").

A synthetic pattern p (1 in the region, 0 elsewhere) goes through the decoders' weights B, without intercept. Only its
direction B p means something, since a pattern has no natural size; so its length is set, in one of two ways:

- `from-training`: the length is the distance that training targets keep from their mean. A region's picture does not
  depend on which other regions are asked.
- `as-published`: the lengths that the authors typed in, and VDVAE latents standardised over the set of regions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

Lengths = Literal["from-training", "as-published"]

PUBLISHED_LENGTHS: Mapping[str, float] = {"latents": 50.0, "vision": 15.0, "text": 9.0}
"""Lengths of B p by target group, typed in by the authors (`roi_generate_features.py` of the reference)."""
PUBLISHED_LATENTS_NORM = 80.0
"""Norm that the authors give the latents in the end."""


def roi_patterns(
    rois: Mapping[str, Bool[np.ndarray, " n_voxels"]],
) -> Float[np.ndarray, "n_rois n_voxels"]:
    """Make the pattern of each region: 1 in its voxels, 0 elsewhere.

    Args:
        rois: region → mask over the analysed voxels.

    Raises:
        ValueError: if there is no region, or one has no voxel.
    """
    empty = [name for name, mask in rois.items() if not mask.any()]
    if empty or not rois:
        raise ValueError(f"regions without a voxel have no pattern to decode: got {', '.join(empty) or 'no region'}")
    return np.stack(list(rois.values())).astype(np.float32)


def set_length(directions: Float[np.ndarray, "n d"], length: float) -> Float[np.ndarray, "n d"]:
    """Give every row one length: length · x / ‖x‖; a row of zeros, which has no direction, stays as it is.

    >>> set_length(np.array([[3.0, 4.0], [0.0, 0.0]]), 10.0).tolist()
    [[6.0, 8.0], [0.0, 0.0]]
    """
    norms = np.linalg.norm(directions.astype(np.float64), axis=1, keepdims=True)
    scaled: Float[np.ndarray, "n d"] = directions * np.divide(length, norms, out=np.zeros_like(norms), where=norms > 0)
    return scaled.astype(directions.dtype)


def training_length(std: Float[np.ndarray, " d"]) -> float:
    """Root mean square distance of the training targets from their mean: √(Σ_j S_j²), S_j a target's std (ddof 0)."""
    return float(np.sqrt(np.square(std.astype(np.float64)).sum()))


def maximise_from_training(
    projections: Float[np.ndarray, "n_rois d"], mean: Float[np.ndarray, " d"], std: Float[np.ndarray, " d"]
) -> Float[np.ndarray, "n_rois d"]:
    """Go from the mean training target as far as training targets lie: M + √(Σ S²) · B p / ‖B p‖.

    Args:
        projections: B p of each region, without intercept.
        mean: M, mean of the training targets.
        std: S, their standard deviation (ddof 0).
    """
    moved: Float[np.ndarray, "n_rois d"] = set_length(projections, training_length(std)) + mean.astype(
        projections.dtype
    )
    return moved


def maximise_embedding_as_published(
    projections: Float[np.ndarray, "n_rois d"], intercept: Float[np.ndarray, " d"], length: float
) -> Float[np.ndarray, "n_rois d"]:
    """CLIP vision or text as published: length · B p / ‖B p‖ + b, the norm taken over all tokens together."""
    moved: Float[np.ndarray, "n_rois d"] = set_length(projections, length) + intercept
    return moved


def maximise_latents_as_published(
    projections: Float[np.ndarray, "n_rois d"],
    intercept: Float[np.ndarray, " d"],
    mean: Float[np.ndarray, " d"],
    std: Float[np.ndarray, " d"],
) -> Float[np.ndarray, "n_rois d"]:
    """VDVAE latents as published, which depend on the set of regions.

        y = 50 · B p / ‖B p‖ + b,  z = (y - mean_regions(y)) / std_regions(y) · S + M,  latents = 80 · z / ‖z‖

    Args:
        projections: B p of each region, without intercept.
        intercept: b of the decoder.
        mean: M, mean of the training latents.
        std: S, their standard deviation (ddof 0).

    Raises:
        ValueError: if there is one region alone: it has no spread to standardise by.
    """
    if len(projections) < 2:
        raise ValueError(
            f"lengths 'as-published' standardise latents over the set of regions, and got {len(projections)}: "
            "ask for two regions or more, or take 'from-training'"
        )
    y = maximise_embedding_as_published(projections, intercept, PUBLISHED_LENGTHS["latents"])
    spread = y.std(axis=0)
    scale = np.divide(std, spread, out=np.zeros_like(spread), where=spread > 0)
    z = (y - y.mean(axis=0)) * scale + mean
    return set_length(z, PUBLISHED_LATENTS_NORM)


def maximise(
    group: str,
    projections: Float[np.ndarray, "n_rois d"],
    intercept: Float[np.ndarray, " d"],
    mean: Float[np.ndarray, " d"],
    std: Float[np.ndarray, " d"],
    lengths: Lengths,
) -> Float[np.ndarray, "n_rois d"]:
    """Turn projections of patterns into targets of one group.

    Args:
        group: any for `from-training`; latents, vision or text for `as-published`.
        projections: B p of each region, without intercept: `Projection.values`.
        intercept: b of the decoder.
        mean: mean of the training targets.
        std: their standard deviation (ddof 0).
        lengths: which rule sets the length.

    Returns:
        Targets (n_rois, d), to be handed to the generators.

    Raises:
        ValueError: if the authors gave no length for the group, or give latents none for a single region.
    """
    if lengths == "from-training":
        return maximise_from_training(projections, mean, std)
    if group == "latents":
        return maximise_latents_as_published(projections, intercept, mean, std)
    if group not in PUBLISHED_LENGTHS:
        raise ValueError(f"the authors gave no length for {group}, only for {', '.join(PUBLISHED_LENGTHS)}")
    return maximise_embedding_as_published(projections, intercept, PUBLISHED_LENGTHS[group])
