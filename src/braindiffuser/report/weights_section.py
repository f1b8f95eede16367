"""The section on how much each region's voxels matter to each decoder: weights as published, and Haufe patterns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from braindiffuser.report.beyond_chance import beyond_chance, fewest_draws
from braindiffuser.report.figures import CSS_COLOURS, FONT_SIZE, WIDTH, as_figure, legend_above
from braindiffuser.report.numbers import join, p_value, percent
from braindiffuser.report.sections import Block, Cell, Figure, Figures, Row, Section, Table, Text

TITLE = "Which regions matter to which decoder?"
COLOURS = ("reconstruction", "diffusion", "ceiling", "low-level", "baseline")
"""Of the groups' bars, in order; repeated if there are more."""
HATCHES = ("", "////", "....", "xxxx")
"""Of the groups' bars, so that colour is not needed to tell them apart."""
KINDS: Mapping[str, str] = {"weights": "Weights (as published)", "patterns": "Haufe patterns"}
SAYS = {"weights": "By weights", "patterns": "By Haufe patterns"}
"""Kind → how its sentences begin."""
Errors = Mapping[str, Mapping[str, float]]
"""Region → group → half the length of its error bar."""


def no_weights_section(name: str, why: str) -> Section:
    """Return a section that says why there are no weights of voxels."""
    return Section(name=name, title=TITLE, blocks=(Text(text=f"{why}, so voxels have no weights to compare."),))


def weights_section(name: str, facts: Mapping[str, Any]) -> Section:
    """Show, region by region, how much more each group's decoder relies on its voxels than the reference's.

    Args:
        name: of the section.
        facts: as `VoxelWeights` stores them.
    """
    reference, others = facts["reference"], facts["groups"][1:]
    said = [" ".join(facts["remarks"])] if facts["remarks"] else []
    if not facts["regions"] or not others:
        why = "There is one target group alone" if facts["regions"] else "There is no region with a voxel to compare in"
        said = [f"{why}; maps of all voxels are in the run's folder.", *said]
        return Section(name=name, title=TITLE, blocks=tuple(Text(text=text) for text in said))
    what = (
        f"How much each of {facts['n_voxels']:,} voxels matters to a group's decoder (L1 norm over its targets), as a percentile "
        f"over voxels. Bars: the mean of each region's voxels, less that of {reference} and divided by it. Above 0 the region "
        f"matters more to the group than to {reference}."
    )
    blocks: list[Block] = [Text(text=line, style="verdict") for line in weights_sentences(facts)]
    blocks += [Text(text=what), _figures(name, facts)]
    blocks += [_table(facts, kind, title) for kind, title in KINDS.items()]
    notes = [*said, _chance_said(facts), HAUFE]
    return Section(name=name, title=TITLE, blocks=(*blocks, *(Text(text=text, style="note") for text in notes)))


HAUFE = (
    "A weight says how a decoder uses a voxel; a voxel without signal has large weights where it cancels the noise of others. A "
    "pattern is the covariance of a voxel with what is decoded: it says which voxels vary with it (Haufe et al. 2014). Where the "
    "two disagree, read patterns, unless the question is the decoder itself; weights are here to compare with Figure 8 of the "
    "paper."
)


def _chance_said(facts: Mapping[str, Any]) -> str:
    """Describe the two kinds of random regions, and on which of them the sentences rest."""
    note = (
        f"Grey: 95 % of the differences when the regions' labels are shuffled over voxels, {facts['n_random']:,} times. As "
        "neighbours are alike, a region of neighbours easily differs from scattered voxels. "
    )
    note += (
        "In brackets: p among regions of equal size around random voxels, which share what neighbours have in common; the "
        "sentences above rest on it. "
        if facts["contiguous"]
        else "Places of voxels are not known, so there are no random regions of neighbours, and the sentences above rest on "
        "scattered ones: read them with care. "
    )
    return (
        f"{note}p values of the table are not corrected; the sentences are, over regions and groups (Holm). No p value says "
        "anything of other subjects."
    )


def weights_sentences(facts: Mapping[str, Any]) -> list[str]:
    """Return, for each kind of map and each group, in which regions it exceeds the reference beyond chance, and where not.

    Chance is that of regions of neighbouring voxels where places are known: neighbours are alike, so any region of neighbours
    differs from scattered voxels. p values are corrected over regions and groups of a kind of map (Holm).

    Args:
        facts: as `VoxelWeights` stores them.
    """
    said = []
    chance = "p_contiguous" if facts["contiguous"] else "p"
    groups = facts["groups"][1:]
    for kind in KINDS:
        regions = {region: _of(own, kind) for region, own in facts["regions"].items()}
        beyond = beyond_chance(
            {f"{group} {region}": made[chance][group] for region, made in regions.items() for group in groups}
        )
        needed = fewest_draws(len(regions) * len(groups), sides=2)
        counted = "one region" if len(regions) == 1 else f"{len(regions)} regions"
        for group in groups:
            where: dict[str, list[str]] = {"above": [], "below": [], "neither": []}
            for region, made in regions.items():
                sign = "above" if made["differences"][group] > 0 else "below"
                where[sign if f"{group} {region}" in beyond else "neither"].append(region)
            parts = [
                f"{group} lies {sign} {facts['reference']} in {join(where[sign])}"
                for sign in ("above", "below")
                if where[sign]
            ]
            if facts["n_random"] < needed:
                parts = [
                    f"{facts['n_random']:,} random regions are too few to tell {group} from chance in {counted}: set n_random to "
                    f"{needed:,} or more"
                ]
            elif where["neither"]:
                apart = "no difference" if parts else f"no difference of {group} from {facts['reference']}"
                parts.append(f"{apart} beyond chance in {join(where['neither'])}")
            said.append(f"{SAYS[kind]}: {'; '.join(parts)}.")
    return said


def _of(own: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    made: Mapping[str, Any] = own if kind == "weights" else own["patterns"]
    return made


def _figures(name: str, facts: Mapping[str, Any]) -> Figures:
    drawn = []
    for kind, title in KINDS.items():
        regions = {region: _of(own, kind) for region, own in facts["regions"].items()}
        differences = {region: made["differences"] for region, made in regions.items()}
        bands = {region: made["null"] for region, made in regions.items()}
        panel = differences_panel(differences, facts["groups"][1:], facts["reference"], f"{name}-{kind}", bands)
        drawn.append(panel.model_copy(update={"title": title}))
    return Figures(figures=tuple(drawn))


def differences_panel(
    differences: Mapping[str, Mapping[str, float]],
    groups: Sequence[str],
    reference: str,
    name: str,
    bands: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
    errors: Errors | None = None,
) -> Figure:
    """Draw bars of each region side by side, one for each group, in the style of Figure 8 of Ozcelik & VanRullen (2023).

    Args:
        differences: region → group → difference of mean percentiles, as a share of the reference's.
        groups: in order.
        reference: group that they are compared with.
        name: unique on the page; becomes part of the ids inside the SVG.
        bands: region → group → two ends of what chance gives; drawn grey.
        errors: region → group → half the length of an error bar, such as the standard error over subjects.
    """
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(WIDTH / 72, 0.66 * WIDTH / 72), layout="constrained", facecolor="none")
    axes = drawing.add_subplot(facecolor="none")
    width = 0.8 / len(groups)
    for place, group in enumerate(groups):
        x = [column + (place - (len(groups) - 1) / 2) * width for column in range(len(differences))]
        heights = [own[group] for own in differences.values()]
        half = None if errors is None else [errors[region][group] for region in differences]
        for at, region in zip(x, differences, strict=True):
            if bands is not None:
                low, high = bands[region][group]
                axes.bar(at, high - low, width, low, color=CSS_COLOURS["muted"], alpha=0.22, lw=0)
        axes.bar(
            x,
            heights,
            0.62 * width,
            yerr=half,
            color=CSS_COLOURS[COLOURS[place % len(COLOURS)]],
            hatch=HATCHES[place % len(HATCHES)],
            edgecolor=CSS_COLOURS["paper"],
            lw=0,
            error_kw={"ecolor": CSS_COLOURS["ink"], "elinewidth": 1.1, "capsize": 2.5},
            label=f"{group} − {reference}",
        )
    axes.axhline(0, color=CSS_COLOURS["ink"], lw=0.9)
    axes.set_xticks(range(len(differences)), list(differences), parse_math=False)
    axes.yaxis.set_major_formatter(
        lambda value, _: percent(value, int(round(1000 * value) % 10 != 0), signed=bool(value))
    )
    axes.grid(axis="y", color=CSS_COLOURS["rule"], lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=FONT_SIZE - 1, labelcolor=CSS_COLOURS["muted"])
    axes.tick_params(axis="x", labelcolor=CSS_COLOURS["ink"], labelrotation=30 if len(differences) > 8 else 0)
    axes.spines[:].set_visible(False)
    legend_above(axes)
    return as_figure(
        drawing, name, f"How much more regions matter to other groups than to {reference}; the table holds the numbers"
    )


def _table(facts: Mapping[str, Any], kind: str, title: str) -> Table:
    others = facts["groups"][1:]
    columns = ["Voxels", *(f"{group}, percentile" for group in facts["groups"])]
    columns += [f"{group} − {facts['reference']}" for group in others]
    columns += [f"p, {group}" for group in others]
    rows = []
    for region, own in facts["regions"].items():
        made = _of(own, kind)
        cells = [Cell(value=f"{own['n_voxels']:,}")]
        cells += [Cell(value=f"{made['percentiles'][group]:.1f}") for group in facts["groups"]]
        cells += [_difference(made, group) for group in others]
        cells += [_p_cell(made, group) for group in others]
        rows.append(Row(label=region, cells=tuple(cells)))
    caption = (
        f"{title}: mean percentiles of each region's voxels, and their differences as a share of {facts['reference']}"
    )
    return Table(
        caption=caption, corner="Region", columns=tuple(columns), rows=tuple(rows), fold=f"{title}: the numbers"
    )


def _difference(made: Mapping[str, Any], group: str) -> Cell:
    ends = [percent(end, 1, signed=True) for end in made["null"][group]]
    return Cell(value=percent(made["differences"][group], 1, signed=True), interval=f"chance {ends[0]} – {ends[1]}")


def _p_cell(made: Mapping[str, Any], group: str) -> Cell:
    stricter = "" if made["p_contiguous"] is None else f"({p_value(made['p_contiguous'][group])})"
    return Cell(value=p_value(made["p"][group]), interval=stricter)
