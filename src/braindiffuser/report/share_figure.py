"""A figure of shares: for each row a few marks with intervals, each beside what chance gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from braindiffuser.report.figures import CSS_COLOURS, FONT_SIZE, WIDTH, as_svg

ROW = 24
"""Height of a row, in the units of `WIDTH`."""
SHAPES = (("o", "low-level"), ("s", "reconstruction"), ("D", "diffusion"), ("^", "ceiling"))
"""Marker and colour of each series; shapes differ as colours do."""


class Share(NamedTuple):
    """One share, with its interval, and what random sets give; None where it is not known."""

    value: float | None
    low: float | None = None
    high: float | None = None
    random: float | None = None


def draw_shares(rows: Mapping[str, Sequence[Share]], name: str, description: str, axis: str = "share lost") -> str:
    """Draw rows of shares as an `<svg>` element.

    Args:
        rows: name → shares, at most four, of the same series in each row.
        name: unique on the page.
        description: for those who cannot see it.
        axis: what is shown.
    """
    from matplotlib.figure import Figure

    height = ROW * (len(rows) + 2.5)
    figure = Figure(figsize=(WIDTH / 72, height / 72), facecolor="none", layout="constrained")
    axes = figure.add_subplot(facecolor="none")
    step = 0.6 / max((len(shares) for shares in rows.values()), default=1)
    for place, shares in enumerate(rows.values()):
        for number, share in enumerate(shares):
            marker, colour = SHAPES[number % len(SHAPES)]
            y = place + (number - (len(shares) - 1) / 2) * step
            ink: dict[str, Any] = {"marker": marker, "ms": 5.5, "ls": "none"}
            if share.random is not None:
                axes.plot(share.random, y, mfc=CSS_COLOURS["paper"], mec=CSS_COLOURS["muted"], **ink)
            if share.value is not None:
                if share.low is not None and share.high is not None:
                    axes.plot([share.low, share.high], [y, y], color=CSS_COLOURS[colour], lw=1.6)
                axes.plot(share.value, y, color=CSS_COLOURS[colour], **ink)
    axes.axvline(0, color=CSS_COLOURS["rule"], lw=1, zorder=0)
    axes.set_yticks(range(len(rows)), list(rows), parse_math=False)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %".replace("-", "−"))
    axes.tick_params(length=0, labelsize=FONT_SIZE - 1, labelcolor=CSS_COLOURS["ink"])
    axes.set_xlabel(axis, color=CSS_COLOURS["muted"], fontsize=FONT_SIZE - 1)
    axes.grid(axis="x", color=CSS_COLOURS["rule"], lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    return as_svg(figure, name, description)
