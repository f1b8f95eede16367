"""ROI maximisation: the preferred picture of each ROI (Ozcelik & VanRullen 2023, section "ROI").

A synthetic pattern p, 1 in one ROI and 0 elsewhere, is multiplied with the decoders' coefficients B, without intercept. Only
the direction of B p means something, since a pattern has no natural size; its length is set in one of two ways:

- `from-training`: to the distance of training targets from their mean. The picture of an ROI does not depend on the other ROIs.
- `as-published`: to the lengths that the authors hard-coded, with VDVAE latents standardised over the set of ROIs.

Unless `regions` names others, the published regions are drawn: 13, and, where a picture does not depend on the other ROIs, the
unions of Fig. 10 (`V1-V4`, alone and with faces, words, places or bodies).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from braindiffuser.analyses.analysis import EACH_ONCE, Analysis, Outcome, RunData
from braindiffuser.analyses.chosen_regions import (
    ChosenRegions,
    RegionChoice,
    expressions_of,
    published_regions,
    regions_of,
)
from braindiffuser.errors import RunError
from braindiffuser.part import without_defaults
from braindiffuser.report.region_section import no_regions_section, regions_section
from braindiffuser.report.sections import Figure

FURTHER = ("measured", "n_samples", "strengths", "opposite", "contrasts", "n_random", "n_random_drawn")
"""Entries for what is drawn and measured beyond one picture of each region."""
Lengths = Literal["from-training", "as-published"]

PUBLISHED_LENGTHS: Mapping[str, float] = {"latents": 50.0, "vision": 15.0, "text": 9.0}
"""Lengths of B p by target group, hard-coded by the authors (`roi_generate_features.py` of the reference)."""
PUBLISHED_LATENTS_NORM = 80.0
"""Final norm of the latents."""


class ROIMaximisation(Analysis):
    """Decode a pattern that is 1 in an ROI and 0 elsewhere, and draw the result."""

    draws: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ("regions",)

    measured: bool = Field(
        True, description="Whether pictures are measured: colour, place of energy, categories, likeness of regions."
    )
    n_samples: int = Field(1, ge=1, le=1000, description="Pictures of each region, which differ by their noise.")
    strengths: Annotated[tuple[Annotated[float, Field(gt=0, le=100)], ...], EACH_ONCE] = Field(
        (), description="Further multiples of the length from-training to draw, such as 0.5 and 2; 1 is always drawn."
    )
    opposite: bool = Field(False, description="Whether the opposite direction of each region is drawn too.")
    contrasts: Annotated[tuple[Annotated[tuple[str, str], EACH_ONCE], ...], EACH_ONCE] = Field(
        (), description="Pairs of regions: the direction of the first's mean response less the second's is drawn."
    )
    n_random: int = Field(
        20,
        ge=0,
        description="Random sets of equally many voxels, of equal noise ceiling, that likeness is compared with.",
    )
    n_random_drawn: int = Field(
        0,
        ge=0,
        description="Of these, those whose pictures are drawn, n_samples each, and measured too; not more than n_random. Whether "
        "pictures show a region's category is said from 19 sets on, for five regions 99.",
    )

    lengths: Lengths = Field(
        "from-training",
        description="Length of decoded patterns: how far a picture is from the mean one. from-training: RMS "
        "distance of training targets from their mean; "
        "as-published: the authors' constants (50, 15, 9; latents then 80).",
    )

    regions: RegionChoice = Field(
        None,
        description="Regions to draw, as expressions such as [V1-V4, faces & !V4], or NAME → expression; null: the published 13, "
        "and unless lengths are as-published, the paper's unions too.",
    )

    @property
    def region_expressions(self) -> Mapping[str, str]:
        """Name → expression of the regions to draw; {} for the published ones."""
        return expressions_of(self.regions)

    def influences(self, device: str) -> dict[str, Any]:
        """Return what results depend on.

        `regions` are left out where they are those of the authors alone, and what is drawn and measured beyond one picture of a
        region if it is not asked for.
        """
        own = without_defaults(self, super().influences(device), *FURTHER)
        is_published = self.regions is None and self.lengths == "as-published"
        return {name: value for name, value in own.items() if name != "regions" or not is_published}

    def check_groups(self, drawn: Collection[str]) -> None:
        """Check that the authors gave a length for every group."""
        unknown = [group for group in drawn if group not in PUBLISHED_LENGTHS]
        if self.lengths == "as-published" and unknown:
            raise ValueError(
                f"lengths as-published are known for {', '.join(PUBLISHED_LENGTHS)}, not for {unknown[0]}: take from-training"
            )

    def run(self, data: RunData) -> Outcome:
        """Draw one picture for each region whose voxels respond; all use the same noise, so that they differ by region alone."""
        if not data.is_linear:
            why = "Voxel patterns can only be decoded by linear decoders; this run's are not linear"
            return Outcome(no_regions_section(self.label, why))
        chosen = self._regions(data)
        for sentence in chosen.remarks:
            data.progress(sentence, 1, 1)
        masks = chosen.masks
        projected = data.decoders().of(data.drawn_groups).project(roi_patterns(masks)) if masks else {}
        kept = np.array([any(made.values[k].any() for made in projected.values()) for k in range(len(masks))], bool)
        still = [name for name, varies in zip(masks, kept, strict=True) if not varies]
        if still:
            data.progress(f"left out, since responses there do not vary: {', '.join(still)}", 1, 1)
        if masks and not kept.any():
            why = "Responses do not vary in any of the regions that are maximised"
            return Outcome(no_regions_section(self.label, why))
        regions = [region.facts for region in chosen.regions if region.name not in still]
        facts = {"lengths": self.lengths, "regions": regions, "remarks": list(chosen.remarks)}
        drawn = {name: mask for name, mask in masks.items() if name not in still}
        self._check_contrasts(list(drawn))
        pictures = self._draw(data, projected, kept) if kept.any() else {}
        section = regions_section(self.label, facts, list(pictures), _map_of(data, drawn))
        outcome = Outcome(section, pictures, facts)
        return self._further(data, outcome, drawn) if pictures else outcome

    def _check_contrasts(self, drawn: Sequence[str]) -> None:
        lacking = [name for pair in self.contrasts for name in pair if name not in drawn]
        if lacking and drawn:
            raise RunError(
                f"analyses.{self.label}.contrasts names {lacking[0]}, which is none of the regions that are drawn: "
                f"{', '.join(drawn)}"
            )

    def _further(self, data: RunData, outcome: Outcome, masks: Mapping[str, Bool[np.ndarray, " n_voxels"]]) -> Outcome:
        """Draw and measure what is asked for beyond one picture of each region."""
        from braindiffuser.analyses.further_pictures import draw_and_measure

        return draw_and_measure(self, data, outcome, masks)

    def _regions(self, data: RunData) -> ChosenRegions:
        unions = self.lengths != "as-published"
        return regions_of(
            self.regions,
            lambda data: published_regions(data.known_regions, data.noise_ceiling, unions),
            data,
            self.label,
        )

    def _draw(
        self, data: RunData, projected: Mapping[str, Any], kept: Bool[np.ndarray, " n_regions"]
    ) -> dict[str, np.ndarray]:
        features = {}
        for group, made in projected.items():
            statistics = made.intercept, made.training_mean, made.training_std
            try:
                lengthened = maximise(group, made.values[kept], *statistics, self.lengths)
            except ValueError as error:
                raise RunError(f"{self.label}: {error}") from error
            features[group] = lengthened.reshape(-1, *data.predictions(group).shape[1:])
        drawn = data.draw(features, np.zeros(int(kept.sum()), np.int64))
        return {f"{self.label}_{variant}": pictures for variant, pictures in drawn.items()}


def _map_of(data: RunData, regions: Mapping[str, Bool[np.ndarray, " n_voxels"]]) -> Figure | None:
    """Draw where the regions lie, if the recording says where voxels do."""
    from braindiffuser.analyses.voxel_grid import grid_of
    from braindiffuser.report.region_map import region_map

    grid = grid_of(data.voxels())
    return None if grid is None else region_map(grid.cells, regions, oriented=grid.oriented)


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
    """Scale every row to norm `length`: length · x / ‖x‖; zero rows stay zero.

    Raises:
        ValueError: if the length is negative or not finite.

    >>> set_length(np.array([[3.0, 4.0], [0.0, 0.0]]), 10.0).tolist()
    [[6.0, 8.0], [0.0, 0.0]]
    """
    if not 0 <= length < np.inf:
        raise ValueError(f"a length is a finite number ≥ 0, got {length}")
    norms = np.linalg.norm(directions.astype(np.float64), axis=1, keepdims=True)
    scaled: Float[np.ndarray, "n d"] = directions * np.divide(length, norms, out=np.zeros_like(norms), where=norms > 0)
    return scaled.astype(directions.dtype)


def training_length(std: Float[np.ndarray, " d"]) -> float:
    """Root mean square distance of the training targets from their mean: √(Σ_j S_j²), S_j a target's std (ddof 0)."""
    return float(np.sqrt(np.square(std.astype(np.float64)).sum()))


def maximise_from_training(
    projections: Float[np.ndarray, "n_rois d"], mean: Float[np.ndarray, " d"], std: Float[np.ndarray, " d"]
) -> Float[np.ndarray, "n_rois d"]:
    """Move from the mean target in the decoded direction by the RMS distance of training targets: M + √(Σ S²) · B p / ‖B p‖.

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
        ValueError: if the authors gave no length for the group, or for latents of a single region.
    """
    if lengths == "from-training":
        return maximise_from_training(projections, mean, std)
    if group == "latents":
        return maximise_latents_as_published(projections, intercept, mean, std)
    if group not in PUBLISHED_LENGTHS:
        raise ValueError(f"the authors gave no length for {group}, only for {', '.join(PUBLISHED_LENGTHS)}")
    return maximise_embedding_as_published(projections, intercept, PUBLISHED_LENGTHS[group])
