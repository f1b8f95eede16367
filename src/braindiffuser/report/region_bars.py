"""Bars of regions side by side, one for each target group, in the manner of the paper's Figure 8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from braindiffuser.report.figures import CSS_COLOURS, FONT_SIZE, as_svg

WIDTH, HEIGHT = 640, 250
"""Size of the figure in its own units; the page scales it to the column."""
COLOURS = ("low-level", "diffusion", "ceiling", "baseline")
"""Colours of the groups, in their order; repeated if there are more."""
FILLED = (True, False)
"""Whether a group's bars are filled, in turn, so that colour is not needed to tell two groups apart."""


def region_bars(
    values: Mapping[str, Mapping[str, Sequence[float | None]]], axis: str, name: str, description: str
) -> str:
    """Draw a bar for each region and group, from zero, with a line of one standard error to both sides where there is one.

    Args:
        values: group, as printed → region → value and standard error; None: not known.
        axis: what the values are.
        name: unique on the page; becomes part of the ids inside the SVG.
        description: what is shown, for those who cannot see it.

    Returns:
        An `<svg>` element.

    Raises:
        ValueError: if there is no region.
    """
    from matplotlib.figure import Figure

    regions = list(dict.fromkeys(region for own in values.values() for region in own))
    if not regions:
        raise ValueError("there is no region to draw: give one or more")
    figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), facecolor="none", layout="constrained")
    axes = figure.add_subplot(facecolor="none")
    width = 0.8 / len(values)
    for place, (group, own) in enumerate(values.items()):
        colour = CSS_COLOURS[COLOURS[place % len(COLOURS)]]
        left = [regions.index(region) - 0.4 + (place + 0.5) * width for region in own]
        heights = [float(value or 0.0) for value, _ in own.values()]
        axes.bar(
            left,
            heights,
            0.9 * width,
            facecolor=colour if FILLED[place % len(FILLED)] else CSS_COLOURS["paper"],
            edgecolor=colour,
            linewidth=1.5,
            label=group,
        )
        for x, height, (_, error) in zip(left, heights, own.values(), strict=True):
            if error is not None:
                axes.plot([x, x], [height - error, height + error], color=CSS_COLOURS["ink"], lw=1.2)
    axes.axhline(0, color=CSS_COLOURS["ink"], lw=0.8)
    axes.set_xticks(range(len(regions)), regions)
    axes.set_xlim(-0.6, len(regions) - 0.4)
    axes.set_ylabel(axis, color=CSS_COLOURS["ink"], fontsize=FONT_SIZE)
    axes.tick_params(colors=CSS_COLOURS["ink"], labelsize=FONT_SIZE, length=0)
    axes.grid(axis="y", color=CSS_COLOURS["rule"], lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    legend = axes.legend(
        frameon=False, fontsize=FONT_SIZE, labelcolor=CSS_COLOURS["ink"], ncols=len(values), loc="best"
    )
    legend.set_in_layout(True)
    return as_svg(figure, name, description)
