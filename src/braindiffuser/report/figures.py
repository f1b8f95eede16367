"""Figures as inline SVG: dots with intervals, drawn by matplotlib, coloured by the page's own CSS variables.

Text stays text in the reader's font, the background stays transparent, and the same numbers give the same bytes. A PNG of the
same drawing, for a report, has the colours of the page's light mode.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from braindiffuser.report import sections
from braindiffuser.report.tables import IDENTIFICATION, Estimate, estimate, format_score, metric_family, metric_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 440
"""Width of a figure in its own units; the page scales it to the column."""
ROW = 17
"""Height of a row in the same units."""
FONT_SIZE = 11
CHARACTERS = 66
"""Characters of a legend that go into a line of a figure."""
PLOT_LEFT, PLOT_RIGHT = 0.355, 0.875
"""Where the axis begins and ends, as shares of the width; labels stand left of it and values right of it."""

DPI = 200
"""Of PNG: an inch of a figure is 72 of its units."""

CSS_COLOURS: Mapping[str, str] = {
    "paper": "#fdfdfc",
    "ink": "#1b1e22",
    "muted": "#5a6068",
    "rule": "#d8dade",
    "reconstruction": "#0a5c9e",
    "ceiling": "#00734f",
    "baseline": "#a34d00",
    "low-level": "#7d5a00",
    "diffusion": "#96386f",
}
"""CSS variable → its colour in the page's light mode, which stands for the variable while matplotlib draws."""


@dataclass(frozen=True)
class Mark:
    """How one condition is drawn; shapes differ as colours do, so that colour is never needed to tell them apart."""

    colour: str
    marker: str
    filled: bool


MARKS: Mapping[str, Mark] = {
    "reconstruction": Mark("reconstruction", "o", True),
    "ceiling": Mark("ceiling", "|", True),
    "mean_image": Mark("baseline", "o", False),
    "random_train_image": Mark("baseline", "s", False),
    "shuffled_responses": Mark("baseline", "D", False),
    "nearest_training_picture": Mark("baseline", "X", False),
    "category_only": Mark("baseline", "P", False),
    "shuffled_training": Mark("baseline", "^", True),
}
"""Conditions that every method has; the last one over folds."""
ABLATION_MARKS = (
    Mark("low-level", "s", True),
    Mark("diffusion", "D", True),
    Mark("low-level", "^", False),
    Mark("diffusion", "v", False),
    Mark("low-level", "P", True),
    Mark("diffusion", "X", True),
)
"""Marks of a generator's ablations, in their order; repeated if there are more."""


def metric_panel(metrics: Sequence[Mapping[str, Any]], conditions: Mapping[str, str], name: str) -> sections.Figure:
    """Draw metrics that share an axis: under each metric's name, a dot with its 95 % interval for every condition.

    Args:
        metrics: entries of `scores["metrics"]`, all of one family.
        conditions: rows under each metric and how they are printed: those of `MARKS`, and ablations.
        name: unique on the page; becomes part of the ids inside the SVG.

    Returns:
        The figure, whose title is the family.
    """
    marks = marks_of(conditions)
    found = {
        (row, condition): estimate(entry, condition) for row, entry in enumerate(metrics) for condition in conditions
    }
    low, high = _limits(metrics, [item for item in found.values() if item is not None])
    block = len(conditions) + 1.7
    figure, axes = _figure(block * len(metrics), (low, high))
    for row, entry in enumerate(metrics):
        top = row * block
        _row_text(axes, top, metric_label(entry), bold=True)
        if entry.get("chance") is not None:
            bottom = top + len(conditions) + 0.5
            axes.plot([entry["chance"]] * 2, [top + 0.5, bottom], color=CSS_COLOURS["muted"], lw=1, ls=(0, (2, 2)))
        for place, (condition, label) in enumerate(conditions.items(), start=1):
            emphasised = condition == "reconstruction"
            item = found[row, condition]
            value = format_score(entry, item.value if item else None)
            _row_text(axes, top + place, label, value, emphasised=emphasised)
            if item is not None:
                _draw_estimate(axes, top + place, item, marks[condition])
    family = metric_family(metrics[0])
    if family in IDENTIFICATION:
        axes.set_xticks(
            [0.05 * step for step in range(21) if _is_tick(step, high - low) and low <= 0.05 * step <= high]
        )
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
    return as_figure(figure, name, f"{family} with 95 % intervals; the table holds the same numbers", family)


def marks_of(conditions: Collection[str]) -> dict[str, Mark]:
    """Choose a mark for each condition: its own, or that of its place among the ablations."""
    ablations = [condition for condition in conditions if condition not in MARKS]
    chosen = {name: ABLATION_MARKS[place % len(ABLATION_MARKS)] for place, name in enumerate(ablations)}
    return {condition: MARKS.get(condition) or chosen[condition] for condition in conditions}


def noise_ceiling_panel(rois: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """Draw each region's noise ceiling in percent: a line between quartiles over voxels, a dot at the median.

    A region without voxels keeps its row and is named as empty.

    Args:
        rois: name → {"n_voxels", "median", "quartiles"}.
        name: unique on the page; becomes part of the ids inside the SVG.
    """
    figure, axes = _figure(len(rois), (0.0, 100.0))
    mark = MARKS["reconstruction"]
    _row_text(axes, -1, "Region", "Voxels")
    for row, (label, roi) in enumerate(rois.items()):
        empty = not roi["n_voxels"]
        _row_text(axes, row, label, "empty" if empty else f"{roi['n_voxels']:,}", emphasised=not empty)
        if not empty:
            _draw_estimate(axes, row, Estimate(roi["median"], *roi["quartiles"]), mark, thickness=3.5)
    axes.set_ylim(len(rois) - 0.4, -1.5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g} %")
    return as_svg(figure, name, "Noise ceiling of each region: median and quartiles over voxels, in percent")


def _limits(metrics: Sequence[Mapping[str, Any]], found: Sequence[Estimate]) -> tuple[float, float]:
    """Leave room around every interval, show chance, and never leave [0, 1] for identification."""
    numbers = [number for item in found for number in item if number is not None]
    chances = [entry["chance"] for entry in metrics if entry.get("chance") is not None]
    if chances:
        return max(0.0, min(numbers + chances) - 0.06), min(1.0, max(numbers + chances)) + 0.02
    low, high = min([0.0, *numbers]), max([0.1, *numbers])
    margin = 0.04 * (high - low)
    return (low - margin if low < 0 else 0.0), high + margin


def _figure(n_rows: int | float, limits: tuple[float, float]) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    plot_height, axis_height = (n_rows + 0.6) * ROW, 26.0
    height = plot_height + axis_height
    figure = Figure(figsize=(WIDTH / 72, height / 72), facecolor="none")
    axes = figure.add_axes(
        (PLOT_LEFT, axis_height / height, PLOT_RIGHT - PLOT_LEFT, plot_height / height), facecolor="none"
    )
    axes.set_xlim(*limits)
    axes.set_ylim(n_rows - 0.3, -0.9)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=5)
    axes.tick_params(axis="x", length=0, labelsize=FONT_SIZE - 1, labelcolor=CSS_COLOURS["muted"], pad=5)
    axes.grid(axis="x", color=CSS_COLOURS["rule"], lw=0.7)
    axes.set_axisbelow(True)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(CSS_COLOURS["rule"])
    return figure, axes


def _row_text(
    axes: Axes, row: int | float, label: str, value: str = "", bold: bool = False, emphasised: bool = False
) -> None:
    """Write a row's label at the left edge and its value at the right edge, outside the axis."""
    right_edge = (1 - PLOT_LEFT) / (PLOT_RIGHT - PLOT_LEFT)
    left_edge = -PLOT_LEFT / (PLOT_RIGHT - PLOT_LEFT)
    colour = CSS_COLOURS["ink" if bold or emphasised else "muted"]
    for x, text, side in ((left_edge, label, "left"), (right_edge, value, "right")):
        if text:
            axes.text(
                x,
                row,
                text,
                transform=axes.get_yaxis_transform(),
                ha=side,
                va="center",
                color=colour,
                fontsize=FONT_SIZE if bold or emphasised else FONT_SIZE - 0.5,
                fontweight="bold" if bold else "normal",
                parse_math=False,
            )


def _draw_estimate(axes: Axes, row: int | float, item: Estimate, mark: Mark, thickness: float = 1.6) -> None:
    colour = CSS_COLOURS[mark.colour]
    if item.low is not None and item.high is not None:
        alpha = 0.45 if thickness > 2 else 1.0
        axes.plot([item.low, item.high], [row, row], color=colour, lw=thickness, alpha=alpha, solid_capstyle="butt")
    tall = mark.marker == "|"
    axes.plot(
        [item.value],
        [row],
        color=colour,
        marker=mark.marker,
        ms=11 if tall else 4.6 if mark.marker == "D" else 5.6,
        mec=colour,
        mfc=colour if mark.filled else CSS_COLOURS["paper"],
        mew=2 if tall else 1.3,
        clip_on=False,
    )


def _is_tick(step: int, span: float) -> bool:
    """Return whether this multiple of 0.05 gets a tick: 0.1 apart on short axes, 0.25 on long ones, so 0.5 always does."""
    return step % (2 if span <= 0.65 else 5) == 0


def legend_above(axes: Axes) -> None:
    """Draw the legend above the axes, where it hides nothing.

    The place that matplotlib chooses by itself depends on the time that it takes: on a busy machine it warns.
    """
    longest = max(map(len, axes.get_legend_handles_labels()[1]), default=0)
    legend = axes.legend(
        frameon=False,
        fontsize=FONT_SIZE - 1,
        labelcolor=CSS_COLOURS["ink"],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=max(1, CHARACTERS // (longest + 8)),
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def as_svg(figure: Figure, name: str, description: str) -> str:
    """Turn a matplotlib figure into an `<svg>` element for a page: no prologue, no date, nothing outside it.

    Args:
        figure: drawn; the colours of `CSS_COLOURS` become CSS variables, which follow the page's light and dark mode.
        name: unique on the page; the ids inside the SVG begin with it.
        description: what is shown, for those who cannot see it.
    """
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", facecolor="none", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    width, height = 72 * figure.get_size_inches()
    opening = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{html.escape(description)}">'
    svg = re.sub(r"<svg[^>]*>", lambda _: opening, svg, count=1)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'(\bid="|url\(#|href="#)', lambda match: f"{match[1]}{name}-", svg)
    for variable, colour in CSS_COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg.strip()


def as_png(figure: Figure, dpi: int = DPI) -> bytes:
    """Turn a matplotlib figure into PNG, on the ground of the page's light mode, with a margin around all that is drawn.

    Args:
        figure: drawn in `CSS_COLOURS`.
        dpi: pixels to an inch of the figure.
    """
    buffer = io.BytesIO()
    figure.savefig(
        buffer,
        format="png",
        dpi=dpi,
        facecolor=CSS_COLOURS["paper"],
        bbox_inches="tight",
        pad_inches=0.1,
        metadata={"Software": None},
    )
    return buffer.getvalue()


def as_figure(figure: Figure, name: str, description: str, title: str = "") -> sections.Figure:
    """Turn a matplotlib figure into one of a section, which remembers the drawing so that it can be written as PNG too.

    Args:
        figure: drawn in `CSS_COLOURS`.
        name: unique on the page; the ids inside the SVG begin with it.
        description: what is shown, for those who cannot see it.
        title: above it.
    """
    return sections.Figure(svg=as_svg(figure, name, description), title=title, drawing=figure)


def subjects_panel(metrics: Sequence[Mapping[str, Any]], subjects: Sequence[str], name: str) -> sections.Figure:
    """Draw metrics that share an axis over subjects: under each metric's name a dot for every subject, then their mean.

    A subject's line is its 95 % interval over pictures. The mean has two: a thick one over pictures, a thin one over subjects.
    Below it stand the pictures of averaged features, if they were drawn.

    Args:
        metrics: entries of a study's `scores["metrics"]`, all of one family.
        subjects: names, in order.
        name: unique on the page; becomes part of the ids inside the SVG.

    Returns:
        The figure, whose title is the family.
    """
    found = [_rows_of_subjects(entry, subjects) for entry in metrics]
    shown = [row.estimates[-1] for rows in found for row in rows]
    over_subjects = [item for rows in found for row in rows for item in row.estimates[:-1]]
    low, high = _limits(metrics, [*shown, *(_near(item, shown) for item in over_subjects)])
    heights = [len(rows) + 1.7 for rows in found]
    figure, axes = _figure(sum(heights), (low, high))
    for top, entry, rows in zip(_tops(heights), metrics, found, strict=True):
        _row_text(axes, top, metric_label(entry), bold=True)
        if entry.get("chance") is not None:
            axes.plot(
                [entry["chance"]] * 2,
                [top + 0.5, top + len(rows) + 0.5],
                color=CSS_COLOURS["muted"],
                lw=1,
                ls=(0, (2, 2)),
            )
        for place, row in enumerate(rows, start=1):
            _row_text(
                axes, top + place, row.label, format_score(entry, row.estimates[-1].value), emphasised=row.stands_out
            )
            for item, thickness in zip(row.estimates, row.thicknesses, strict=True):
                _draw_estimate(axes, top + place, item, row.mark, thickness)
    family = metric_family(metrics[0])
    if family in IDENTIFICATION:
        ticks = [0.05 * step for step in range(21) if _is_tick(step, high - low) and low <= 0.05 * step <= high]
        axes.set_xticks(ticks)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
    return as_figure(figure, name, f"{family} of each subject and their mean; the table holds the same numbers", family)


@dataclass(frozen=True)
class _SubjectRow:
    """One row of a panel over subjects: one estimate, or two of one value with different intervals, the wider first."""

    label: str
    mark: Mark
    estimates: tuple[Estimate, ...]
    thicknesses: tuple[float, ...] = (1.6,)
    stands_out: bool = False


def _rows_of_subjects(entry: Mapping[str, Any], subjects: Sequence[str]) -> list[_SubjectRow]:
    one, average = Mark("baseline", "o", False), entry.get("subject_average")
    rows = [
        _SubjectRow(name, one, (Estimate(entry["subjects"][name], *(entry["subjects_ci95"][name] or (None, None))),))
        for name in subjects
    ]
    over_subjects = Estimate(entry["value"], *(entry["ci95_subjects"] or (None, None)))
    over_pictures = Estimate(entry["value"], *entry["ci95"])
    mean = MARKS["reconstruction"]
    rows.append(_SubjectRow("Mean of subjects", mean, (over_subjects, over_pictures), (1.0, 3.5), stands_out=True))
    if average:
        drawn = (Estimate(average["value"], *average["ci95"]),)
        rows.append(_SubjectRow("Sub Avg", Mark("ceiling", "D", True), drawn, stands_out=True))
    return rows


def _near(item: Estimate, shown: Sequence[Estimate]) -> Estimate:
    """Cut an interval off far beyond all others: that of two subjects may fill the whole range of a metric."""
    numbers = [number for other in shown for number in other if number is not None]
    low, high = min(numbers), max(numbers)
    if item.low is None or item.high is None:
        return item
    return Estimate(item.value, max(item.low, 2 * low - high), min(item.high, 2 * high - low))


def _tops(heights: Sequence[float]) -> list[float]:
    """Return where each block of rows begins."""
    return [sum(heights[:place], 0.0) for place in range(len(heights))]
