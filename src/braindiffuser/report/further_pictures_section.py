"""What ROI maximisation found beyond one picture of each region: further pictures, measures, likeness of regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from braindiffuser.report.beyond_chance import ALPHA, beyond_chance, fewest_draws
from braindiffuser.report.figures import CSS_COLOURS, FONT_SIZE, as_svg
from braindiffuser.report.numbers import interval, join, number, p_sentence, percent
from braindiffuser.report.sections import (
    Cell,
    Figure,
    Figures,
    PictureGroup,
    PictureGroups,
    PictureRef,
    Row,
    Table,
    Text,
)

MEASURES: Mapping[str, str] = {
    "luminance": "Luminance",
    "red_green": "Red − green",
    "blue_yellow": "Blue − yellow",
    "contrast": "Contrast",
    "right": "Energy to the right",
    "up": "Energy up",
    "eccentricity": "Eccentricity of energy",
}
"""Measure of colour and place → heading; all others are probabilities of categories."""
HEADINGS = {"samples": "other noise", "opposite": "opposite direction", "contrast": "contrast"}


def further_blocks(name: str, facts: Mapping[str, Any], kinds: Sequence[str]) -> list[Any]:
    """Return the blocks that follow the pictures of regions.

    Args:
        name: of the section.
        facts: "further" of `analyses/<label>.json`: see `draw_and_measure`.
        kinds: of the further pictures; of each, the last word is the variant.
    """
    blocks: list[Any] = [block for kind in _whole(name, kinds) if (block := _pictures(name, facts, kind)) is not None]
    if facts.get("measures"):
        variant = list(facts["measures"])[-1]
        by_region = facts["measures"][variant]
        blocks.append(Text(text=_explained(facts, by_region)))
        categories = [key for key in next(iter(by_region.values())) if key not in MEASURES]
        blocks.append(_table("Colour and place of each region's pictures", by_region, MEASURES))
        if categories:
            blocks += [Text(text=said, style="verdict") for said in _expected_said(facts["expected"], by_region)]
            caption = "Probability of categories, by EfficientNet-Lite0's classes of ImageNet"
            blocks.append(_table(caption, by_region, {key: key.capitalize() for key in categories}))
        elif facts["categories"]:
            blocks.append(Text(text=f"No categories: {facts['categories']}.", style="note"))
    if facts.get("likeness"):
        blocks.append(_likeness(name, facts))
    return blocks


def _expected_said(expected: Mapping[str, str], by_region: Mapping[str, Any]) -> list[str]:
    """Say of each region of which a category is expected whether its pictures show it more than those of random sets.

    They do if p, the share of random sets that show it as much, stays at most .05 when all such regions are tested (Holm 1979).
    Of n sets no p is below 1 / (1 + n), so k such regions need 20 k − 1 sets: with fewer nothing is said. Random sets are
    scattered; neighbours are alike, so a region of them is beyond these easily, whatever it prefers, and the sentence says so.
    """
    measured = {region: by_region.get(region, {}).get(category, {}) for region, category in expected.items()}
    found = {region: own for region, own in measured.items() if "random" in own}
    if not found:
        return []
    n_sets, needed = min(own["random"]["n"] for own in found.values()), fewest_draws(len(found))
    regions = "one region" if len(found) == 1 else f"{len(found)} regions"
    if n_sets < needed:
        return [
            f"Whether pictures of {join(list(found))} show the category that is expected is not said, since {n_sets} random sets "
            f"of voxels were drawn and {regions} {'needs' if len(found) == 1 else 'need'} {needed}."
        ]
    beyond = beyond_chance({region: own["random"]["p_higher"] for region, own in found.items()})
    together = f" before correction over {regions}" if len(found) > 1 else ""
    return [
        (
            f"Pictures of {region} show the category {expected[region]} more often than those of scattered voxels, which regions "
            "of neighbours are easily beyond"
            if region in beyond
            else f"Pictures of {region} are not told from those of scattered voxels by the category {expected[region]}"
        )
        + f" (mean probability {own['value']:.2f}, of {n_sets} random sets {own['random']['mean']:.2f}; "
        f"{p_sentence(own['random']['p_higher'])}{together})."
        for region, own in found.items()
    ]


def _whole(name: str, kinds: Sequence[str]) -> list[str]:
    """Return the kinds of the whole method's pictures."""
    return [kind for kind in kinds if kind.startswith(f"{name}_") and kind.endswith("_full")]


def _pictures(name: str, facts: Mapping[str, Any], kind: str) -> PictureGroups | None:
    what = kind.removeprefix(f"{name}_").removesuffix("_full")
    regions = facts["regions"]
    each = facts["n_samples"] - 1 if what == "samples" else 1
    names = [f"{first} − {second}" for first, second in facts["contrasts"]] if what == "contrast" else regions
    note = HEADINGS.get(what) or f"strength {facts['strengths'][int(what.removeprefix('strength')) - 1]:g}"
    return PictureGroups(
        groups=tuple(
            PictureGroup(
                name=region,
                note=note,
                pictures=tuple(
                    PictureRef(kind=kind, number=number * each + k, label=f"{region}, {note}") for k in range(each)
                ),
            )
            for number, region in enumerate(names)
        )
    )


def _explained(facts: Mapping[str, Any], by_region: Mapping[str, Any]) -> str:
    text = (
        "Measured, not looked at: energy is the squared difference from the picture of the mean feature, drawn with the same "
        "noise; its place is given in half sides of the picture from the centre."
    )
    first = next(iter(next(iter(by_region.values())).values()))
    if facts["n_samples"] > 1:
        text += f" Values are means over {facts['n_samples']} pictures of one decoder that differ by noise"
        text += ", with 95 % intervals." if "interval" in first else "; too few for intervals."
    if "random" in first:
        n = first["random"]["n"]
        text += (
            f" Behind them stands the middle 95 % of {n} random sets of scattered voxels, of equal number and noise ceiling, "
            f"drawn with the same noise; of so many, one more such set lies outside about {percent(_outside(n))} of the time, "
            "and a region of neighbours, which are alike, more often."
        )
    return text


def _outside(n: int) -> float:
    """Return how often one more of n alike values lies outside their middle 95 %, whose ends are interpolated order statistics.

    >>> round(_outside(5), 2), round(_outside(20), 2), round(_outside(999), 3)
    (0.37, 0.14, 0.052)
    """
    return 2 * (1 - (1 + 0.975 * (n - 1)) / (n + 1))


def _table(caption: str, by_region: Mapping[str, Mapping[str, Any]], measures: Mapping[str, str]) -> Table:
    return Table(
        caption=caption,
        corner="Region",
        columns=tuple(measures.values()),
        rows=tuple(
            Row(label=region, cells=tuple(_cell(found[key]) for key in measures)) for region, found in by_region.items()
        ),
        fold=f"{caption}: the numbers",
    )


def _cell(found: Mapping[str, Any]) -> Cell:
    said = []
    if "interval" in found:
        said.append(interval(found["interval"], 2))
    if "random" in found:
        said.append(f"random {interval(found['random']['middle_95'], 2)}")
    return Cell(value=number(found["value"], 2), interval="; ".join(said))


def _likeness(name: str, facts: Mapping[str, Any]) -> Figures:
    note = (
        "Cosine of the directions that two regions stand for; a dot: less alike than 95 % of random sets of scattered voxels, "
        "for which the labels of all regions were shuffled together among voxels of equal noise ceiling. Regions of neighbours, "
        "which are alike within each, are easily beyond these: a dot does not say that two regions differ. Not corrected over "
        "pairs."
    )
    return Figures(
        figures=tuple(
            Figure(
                svg=_draw_likeness(found, facts["regions"], f"{name}-likeness-{group}"),
                title=f"Likeness of regions: {group}",
                note=note,
            )
            for group, found in facts["likeness"].items()
        )
    )


def _draw_likeness(found: Mapping[str, Any], regions: Sequence[str], name: str) -> str:
    from matplotlib.figure import Figure as Drawing

    n = len(regions)
    drawing = Drawing(figsize=(5.2, 4.4), facecolor="none", layout="constrained")
    axes = drawing.add_subplot(facecolor="none")
    shown = axes.imshow(found["cosine"], cmap="RdBu_r", vmin=-1, vmax=1)
    for row in range(n):
        for column in range(n):
            if row != column and found["p_less_alike"][row][column] <= ALPHA:
                axes.plot(column, row, ".", color=CSS_COLOURS["ink"], ms=3)
    small = FONT_SIZE - 3
    axes.set_xticks(range(n), list(regions), rotation=90, fontsize=small, color=CSS_COLOURS["ink"], parse_math=False)
    axes.set_yticks(range(n), list(regions), fontsize=small, color=CSS_COLOURS["ink"], parse_math=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    bar = drawing.colorbar(shown, ax=axes, shrink=0.8)
    bar.ax.tick_params(labelsize=small, labelcolor=CSS_COLOURS["ink"], color=CSS_COLOURS["rule"])
    bar.outline.set_visible(False)
    return as_svg(drawing, name, "Cosines between the decoded directions of regions")
