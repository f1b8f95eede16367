"""ROI maximisation: the preferred picture of each region (Ozcelik & VanRullen 2023, section "ROI")."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar

import numpy as np
from jaxtyping import Bool
from pydantic import Field

from braindiffuser.analyses.analysis import Analysis, Findings, Outcome
from braindiffuser.analyses.roi import PUBLISHED_LENGTHS, Lengths, maximise, roi_patterns
from braindiffuser.errors import RunError
from braindiffuser.report.region_section import no_regions_section, regions_section


class ROIMaximisation(Analysis):
    """Decode a pattern that is 1 in a region and 0 elsewhere, and draw what comes out."""

    draws: ClassVar[bool] = True

    lengths: Lengths = Field(
        "from-training",
        description="Length of decoded patterns. from-training: that of training targets; as-published: typed in by the authors.",
    )

    def check_groups(self, drawn: Collection[str]) -> None:
        """Check that the authors gave a length for every group."""
        unknown = [group for group in drawn if group not in PUBLISHED_LENGTHS]
        if self.lengths == "as-published" and unknown:
            raise ValueError(
                f"lengths as-published are known for {', '.join(PUBLISHED_LENGTHS)}, not for {unknown[0]}: take from-training"
            )

    def run(self, findings: Findings) -> Outcome:
        """Draw one picture for each region that has voxels; all share one noise, so that they differ by region alone."""
        from braindiffuser.datasets.rois import MAXIMISED_REGIONS

        if not findings.is_linear:
            why = "Patterns of voxels can be decoded by linear decoders alone, and those of this run are not"
            return Outcome(no_regions_section(self.label, why))
        masks = {name: findings.rois[name] for name in MAXIMISED_REGIONS if name in findings.rois}
        masks = {name: mask for name, mask in masks.items() if mask.any()}
        regions = [{"name": name, "n_voxels": int(mask.sum())} for name, mask in masks.items()]
        facts = {"lengths": self.lengths, "regions": regions}
        pictures = self._draw(findings, masks) if masks else {}
        return Outcome(regions_section(self.label, facts, list(pictures)), pictures, facts)

    def _draw(self, findings: Findings, masks: Mapping[str, Bool[np.ndarray, " n_voxels"]]) -> dict[str, np.ndarray]:
        patterns = roi_patterns(masks)
        features = {}
        for group, made in findings.project(patterns, findings.drawn_groups).items():
            statistics = made.intercept, made.training_mean, made.training_std
            try:
                lengthened = maximise(group, made.values, *statistics, self.lengths)
            except ValueError as error:
                raise RunError(f"{self.label}: {error}") from error
            features[group] = lengthened.reshape(-1, *findings.predictions(group).shape[1:])
        drawn = findings.draw(features, np.zeros(len(patterns), np.int64))
        return {f"{self.label}_{variant}": pictures for variant, pictures in drawn.items()}
