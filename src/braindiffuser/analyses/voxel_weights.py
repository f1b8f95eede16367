"""How much each voxel matters to each decoder (Ozcelik & VanRullen 2023, Figure 8), and Haufe patterns beside it.

The L1 norm of a voxel's coefficients over all targets of a group is turned into a percentile over voxels. In each region the mean
percentiles of two groups are compared, (P̄_group - P̄_reference) / P̄_reference, with VDVAE latents as the reference.

Coefficients say how a decoder uses a voxel, not what the voxel responds to (Haufe et al. 2014, NeuroImage 87, 96-110). So the
same is shown of patterns: the L1 norm of the covariances of a voxel with the decoded features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float64
from pydantic import Field

from braindiffuser.analyses.analysis import Analysis, Outcome, RunData
from braindiffuser.analyses.chosen_regions import RegionChoice, expressions_of, regions_of
from braindiffuser.analyses.default_regions import figure_8_regions
from braindiffuser.analyses.region_differences import (
    Chance,
    chance,
    contiguous_regions,
    percentiles,
    places_of,
    relative_difference,
    scattered_regions,
)
from braindiffuser.datasets.statmaps import StatMap
from braindiffuser.errors import RunError
from braindiffuser.report.weights_section import no_weights_section, weights_section

REFERENCE = "latents"
"""Group of VDVAE latents in the presets."""
Kind = Literal["weights", "patterns"]
Percentiles = Mapping[str, Float64[np.ndarray, " n_voxels"]]
"""Group → percentile of each voxel."""
UNITS = {"weights": "L1 norm of coefficients", "patterns": "L1 norm of covariances with decoded features"}


class VoxelWeights(Analysis):
    """Compare how much the voxels of each region matter to the decoders of the target groups.

    Facts, stored as `analyses/<label>.json`: `groups`; `reference`, one of them; `n_voxels`; `n_random`; `contiguous`, whether
    places of voxels are known; `remarks`, sentences on the regions; and `regions`, region → `n_voxels`, and of weights:

    - `percentiles`: group → mean percentile over the region's voxels
    - `differences`: each other group → (mean percentile - the reference's) / the reference's
    - `null`, `p`: each other group → 95 % of the differences with shuffled labels (two ends), and the two-sided p value
    - `null_contiguous`, `p_contiguous`: the same of random regions of neighbouring voxels; null where places are not known
    - `patterns`: all of these five entries of Haufe patterns
    """

    reads: ClassVar[tuple[str, ...]] = ("regions",)

    reference: str = Field(
        "", description="Target group that the others are compared with; '' takes latents, or the first group."
    )
    regions: RegionChoice = Field(
        None,
        description="Regions by expression, such as [V1-V4, faces & !V4], or NAME → expression; null takes those of V1–V4, "
        "faces, words, places, bodies there are.",
    )
    n_random: int = Field(1000, ge=1, description="Random regions that each region is compared with.")

    def run(self, data: RunData) -> Outcome:
        """Compute norms of all groups, and compare them in each region."""
        import pandas as pd

        if not data.is_linear:
            why = "Only linear decoders have coefficients; this run's are not linear"
            return Outcome(no_weights_section(self.label, why))
        reference = self._reference(data.groups)
        groups = (reference, *(group for group in data.groups if group != reference))
        chosen = regions_of(self.regions, figure_8_regions, data, self.label)
        norms = data.decoders().weight_norms()
        found: dict[Kind, Percentiles] = {
            "weights": {group: percentiles(norms[group].weights_l1) for group in groups},
            "patterns": {group: percentiles(norms[group].patterns_l1) for group in groups},
        }
        places = places_of(data.voxels())
        regions = {
            name: self._compare(mask, found, reference, places, data.seed) for name, mask in chosen.masks.items()
        }
        facts = {
            "groups": list(groups),
            "reference": reference,
            "n_voxels": len(found["weights"][reference]),
            "n_random": self.n_random,
            "contiguous": places is not None,
            "remarks": list(chosen.remarks),
            "regions": regions,
        }
        maps = _maps(norms, found, groups)
        return Outcome(
            weights_section(self.label, facts), facts=facts, maps=maps, tables={"regions": _table(pd, facts)}
        )

    def _reference(self, groups: Sequence[str]) -> str:
        if self.reference and self.reference not in groups:
            raise RunError(
                f"{self.label}: reference is {self.reference!r}, expected one of the target groups {', '.join(groups)}"
            )
        return self.reference or (REFERENCE if REFERENCE in groups else groups[0])

    @property
    def region_expressions(self) -> Mapping[str, str]:
        """Name → expression of the regions that are shown; {} for those of Figure 8."""
        return expressions_of(self.regions)

    def _compare(
        self,
        mask: Bool[np.ndarray, " n_voxels"],
        found: Mapping[Kind, Percentiles],
        reference: str,
        places: Float64[np.ndarray, "n_voxels 3"] | None,
        seed: int,
    ) -> dict[str, Any]:
        """Compare all groups with the reference in one region.

        Weights and patterns meet the same random regions, which depend on the seed and the region's size alone.
        """
        size = int(mask.sum())
        rng = np.random.default_rng((seed, size))
        drawn = {"": scattered_regions(len(mask), size, self.n_random, rng)}
        if places is not None:
            drawn["_contiguous"] = contiguous_regions(places, size, self.n_random, rng)
        made: dict[Kind, dict[str, Any]] = {}
        for kind, values in found.items():
            others = [group for group in values if group != reference]
            own = {group: values[group][mask] for group in values}
            differences = {group: float(relative_difference(own[group], own[reference])) for group in others}
            facts: dict[str, Any] = {
                "percentiles": {group: float(each.mean()) for group, each in own.items()},
                "differences": differences,
                "null_contiguous": None,
                "p_contiguous": None,
            }
            for how, regions in drawn.items():
                held: dict[str, Chance] = {
                    group: chance(values[group], values[reference], differences[group], regions) for group in others
                }
                facts[f"null{how}"] = {group: [each.low, each.high] for group, each in held.items()}
                facts[f"p{how}"] = {group: each.p for group, each in held.items()}
            made[kind] = facts
        return {"n_voxels": size, **made["weights"], "patterns": made["patterns"]}


def _maps(norms: Mapping[str, Any], found: Mapping[Kind, Percentiles], groups: Sequence[str]) -> dict[str, StatMap]:
    """Return the maps of norms, of percentiles, and of each group's percentile less the reference's."""
    reference, maps = groups[0], dict[str, StatMap]()
    for kind, values in found.items():
        for group in groups:
            own = getattr(norms[group], f"{kind}_l1")
            what = f"{UNITS[kind]} of {group} over all of its targets"
            maps[f"{group}-{kind}"] = StatMap(own, what, "arbitrary")
            maps[f"{group}-{kind}-percentile"] = StatMap(values[group], f"{what}, as a percentile over voxels", "%")
        for group in groups[1:]:
            difference = values[group] - values[reference]
            what = f"{UNITS[kind]}: percentile of {group} less that of {reference}"
            maps[f"{group}-less-{reference}-{kind}"] = StatMap(difference, what, "%")
    return maps


def _table(pd: Any, facts: Mapping[str, Any]) -> Any:
    """Return a row per region, kind and group."""
    rows = []
    for region, own in facts["regions"].items():
        for kind, made in (("weights", own), ("patterns", own["patterns"])):
            for group in facts["groups"]:
                row = {"region": region, "n_voxels": own["n_voxels"], "kind": kind, "group": group}
                row["percentile"] = made["percentiles"][group]
                if group != facts["reference"]:
                    row |= {"difference": made["differences"][group], "p": made["p"][group]}
                    row |= dict(zip(("null_low", "null_high"), made["null"][group], strict=True))
                    if facts["contiguous"]:
                        ends = zip(("low", "high"), made["null_contiguous"][group], strict=True)
                        row |= {f"null_contiguous_{end}": value for end, value in ends}
                        row["p_contiguous"] = made["p_contiguous"][group]
                rows.append(row)
    return pd.DataFrame(rows)
