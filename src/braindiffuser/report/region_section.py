"""The section on ROI maximisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from braindiffuser.report.sections import Figure, PictureGroup, PictureGroups, PictureRef, Section, Text

TITLE = "Preferred picture of each region"
LENGTHS: Mapping[str, tuple[str, str]] = {
    "from-training": ("was set to that of training targets", "lengths of training"),
    "as-published": ("is the authors' constant", "as published"),
}
"""Rule that sets the length of decoded patterns → the end of a sentence on it, and its name beside a picture."""


def no_regions_section(name: str, why: str) -> Section:
    """Return a section that says why there are no pictures of regions."""
    return Section(name=name, title=TITLE, blocks=(Text(text=f"{why}, so there is nothing to draw."),))


def regions_section(name: str, facts: Mapping[str, Any], kinds: Sequence[str], where: Figure | None = None) -> Section:
    """Show the pictures of each region side by side.

    Args:
        name: of the section.
        facts: "lengths", the rule that set the length of decoded patterns; "regions", each with "name" and "n_voxels", and if
            known "expression" and "noise_ceiling" (median, percent); and "remarks" on them, sentences, if there are any.
        kinds: kinds of the pictures, from left to right; picture k of each kind is the k-th region's.
        where: map of the regions, see `region_map`.
    """
    if not facts["regions"]:
        return no_regions_section(
            name,
            "The recording has no voxel in any of the regions that are maximised (faces, words, places, bodies, V1 and so on; "
            "dataset.roi_aliases says which of its regions these are, or regions of roi_maximisation names others)",
        )
    length, _ = LENGTHS[facts["lengths"]]
    text = (
        "A pattern that is 1 in a region's voxels and 0 elsewhere was decoded as if it were a response, and drawn. Only the "
        f"direction of what is decoded means something; its length {length}. All regions use the same noise, so their pictures "
        "differ by region alone. Regions whose voxels respond together look alike."
    )
    variants = {kind: _variant(kind.removeprefix(f"{name}_")) for kind in kinds}
    groups = tuple(
        PictureGroup(
            name=region["name"],
            note=_note(region),
            pictures=tuple(
                PictureRef(kind=kind, number=number, label=f"{region['name']}, {variant}")
                for kind, variant in variants.items()
            ),
        )
        for number, region in enumerate(facts["regions"])
    )
    note = f"From left to right: {', '.join(variants.values())}."
    return Section(
        name=name,
        title=TITLE,
        blocks=(
            Text(text=text),
            PictureGroups(groups=groups, map=where),
            Text(text=note, style="note"),
            *(Text(text=" ".join(facts["remarks"]), style="note") for _ in range(bool(facts.get("remarks")))),
        ),
    )


def _note(region: Mapping[str, Any]) -> str:
    """Say what a region is made of, if not what its name says, how large it is, and how well its voxels can be predicted."""
    n, ceiling, expression = region["n_voxels"], region.get("noise_ceiling"), region.get("expression", region["name"])
    return ", ".join(
        [
            *([expression] if expression != region["name"] else []),
            f"{n} voxel{'' if n == 1 else 's'}",
            *([] if ceiling is None else [f"noise ceiling {ceiling:.0f} %"]),
        ]
    )


def _variant(name: str) -> str:
    return "whole method" if name == "full" else name.replace("_", " ")
