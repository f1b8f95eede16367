"""The section on attribution: maps of what voxels carry, and regions beside random sets of voxels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from braindiffuser.report.beyond_chance import ALPHA, fewest_draws
from braindiffuser.report.numbers import MISSING, interval, join, number
from braindiffuser.report.sections import Cell, Figure, Figures, Row, Section, Table, Text

TITLE = "Which voxels carry it"


def no_attribution_section(name: str, why: str) -> Section:
    """Return a section that says why there are no maps."""
    return Section(name=name, title=TITLE, blocks=(Text(text=f"{why}, so nothing was mapped."),))


def attribution_section(name: str, facts: Mapping[str, Any], figures: Mapping[str, str]) -> Section:
    """Show maps, how well each direction is decoded, and the mean of each map in each region.

    Args:
        name: of the section.
        facts: as `analyses/<label>.json` holds them: see `Attribution.run`.
        figures: name of each map that is drawn → `<svg>` element.
    """
    text = (
        "Each map is the correlation, over training stimuli, of a voxel's response with what the decoder says of a category, a "
        "place in the picture or a feature: the pattern of Haufe et al. (2014), standardised. It says what a voxel carries; a "
        "decoder's weights do not, since they also cancel noise. Every direction has a map, a category that the brain knows "
        "nothing of too. Nothing of the test stimuli enters a map. They show whether it means something: where r on the test "
        "set is not above 0, it does not. A category's map is also held against maps of exchanged labels, where as many other "
        "training stimuli are said to show it."
    )
    blocks: list[Any] = [Text(text=text)]
    blocks += [Text(text=f"{said}.", style="verdict") for said in _said(facts)]
    if figures:
        blocks.append(Figures(figures=tuple(Figure(svg=svg, title=title) for title, svg in figures.items())))
        blocks.append(
            Text(text="Red: higher with it, or to the right and up; blue: the other way round.", style="note")
        )
    kinds = {each["kind"] for each in facts["directions"]}
    if "place" in kinds:
        places = (
            "Row 1 of places is the top of the picture, column 1 the left. Voxels of one region prefer other places, so the mean "
            "of a place's map over a region is near 0."
        )
        blocks.append(Text(text=places, style="note"))
    blocks.append(_accuracies(facts))
    if facts["regions"]:
        blocks.append(_regions(facts))
    if facts["remarks"]:
        blocks.append(Text(text=" ".join(facts["remarks"]), style="note"))
    return Section(name=name, title=TITLE, blocks=tuple(blocks))


def _said(facts: Mapping[str, Any]) -> list[str]:
    """Say for each category that test stimuli confirm in which regions its map is beyond that of exchanged labels, or of none.

    That one region carries it more than others is not said: regions are made of neighbours, which are alike, and random sets of
    scattered voxels are not. Where a category stands out in one of k regions alone, its corrected p may be k / (1 + n) of n
    exchanges: of fewer than 20 k − 1 it is said that they are too few, and that nothing is told is not.
    """
    categories = [each for each in facts["directions"] if each["kind"] == "category"]
    if not categories or not facts["regions"]:
        return []
    confirmed = [each for each in categories if each["accuracy"]["r"] is not None and each["accuracy"]["low"] > 0]
    said = []
    for each in confirmed:
        beyond = {name: own["mean"] for name, own in each["regions"].items() if _is_beyond(own)}
        if beyond:
            first = max(beyond, key=beyond.__getitem__)
            where = f"{first} alone" if len(beyond) == 1 else f"{join(list(beyond))}, with the largest mean in {first}"
            said.append(
                f"{each['name'][:1].upper()}{each['name'][1:]}: its map is beyond those of exchanged labels in {where}; test "
                f"stimuli that show it are told from others with r = {each['accuracy']['r']:.2f}"
            )
    if not confirmed:
        return ["No region is named, since r on the test set is not above 0 for any category"]
    needed, n_regions = fewest_draws(len(facts["regions"])), len(facts["regions"])
    if facts["n_shuffled"] < needed:
        counted = "one region" if n_regions == 1 else f"each of {n_regions} regions alone"
        said.append(
            f"{facts['n_shuffled']:,} exchanges of labels are too few to tell {counted} from chance: set n_shuffled to "
            f"{needed:,} or more"
        )
    elif not said and len(confirmed) == len(categories):
        said.append("No category's map is told from exchanged labels in any region")
    elif not said:
        said.append(
            f"No category's map is told from exchanged labels in any region, of the {len(confirmed)} of {len(categories)} "
            "categories whose r on the test set is above 0"
        )
    return said


def _is_beyond(found: Mapping[str, Any]) -> bool:
    """Tell whether a region's mean is beyond that of exchanged labels, corrected over regions."""
    return "shuffled" in found and found["shuffled"]["p_corrected"] <= ALPHA


def _accuracies(facts: Mapping[str, Any]) -> Table:
    rows = [
        Row(
            label=each["name"],
            cells=(Cell(value=str(each["n_shown"] or MISSING)), Cell(value=each["group"]), _accuracy(each["accuracy"])),
        )
        for each in facts["directions"]
    ]
    return Table(
        caption="How well each direction is decoded: Pearson's r over test stimuli of the decoded value with whether a stimulus "
        "shows the category, or else with its own value",
        corner="Direction",
        columns=("Training stimuli that show it", "Target group", "r"),
        rows=tuple(rows),
    )


def _accuracy(found: Mapping[str, Any]) -> Cell:
    if found["r"] is None:
        return Cell(value=MISSING)
    return Cell(value=number(found["r"], 2), interval=interval((found["low"], found["high"]), 2))


def _regions(facts: Mapping[str, Any]) -> Table:
    shown = [each for each in facts["directions"] if each["kind"] != "place"] or facts["directions"]
    rows = [
        Row(
            label=f"{name} ({n_voxels:,})",
            cells=tuple(_mean(each["regions"][name]) for each in shown),
        )
        for name, n_voxels in facts["regions"].items()
    ]
    exchanged = any("shuffled" in own for each in shown for own in each["regions"].values())
    return Table(
        caption="Mean of each map in each region; below it, the middle 95 % of random sets of equal number and noise ceiling"
        f"{', and of maps of exchanged labels' if exchanged else ''}",
        corner="Region (voxels)",
        columns=tuple(each["name"] for each in shown),
        rows=tuple(rows),
        fold="Means by region",
    )


def _mean(found: Mapping[str, Any]) -> Cell:
    beside = [
        f"{what} {interval(found[null]['middle_95'], 2)}"
        for null, what in (("random", "random"), ("shuffled", "exchanged"))
        if null in found
    ]
    return Cell(value=number(found["mean"], 2), interval="; ".join(beside))
