"""The section on how well features are decoded: R² and correlation, what to hold them against, and what the numbers say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from braindiffuser.report.beyond_chance import ALPHA, fewest_draws
from braindiffuser.report.figures import ABLATION_MARKS, CSS_COLOURS, FONT_SIZE, WIDTH, Mark, as_svg, legend_above
from braindiffuser.report.numbers import MISSING, interval, number, p_sentence, p_value, percent
from braindiffuser.report.sections import Block, Cell, Figure, Figures, Row, Section, Table, Text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "How well is each group of features decoded?"
LOST = 0.25
"""Share of the best scaled R² whose loss to scale and offset a sentence names."""
MOST_POINTS = 150
"""Features of a group that are drawn one by one."""

Points = Mapping[str, tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]]
"""Group → correlation and R² of its features."""


def no_accuracy_section(name: str, why: str) -> Section:
    """Return a section that says why there is no accuracy."""
    return Section(name=name, title=TITLE, blocks=(Text(text=f"{why}, so there is no accuracy to show."),))


def accuracy_section(name: str, facts: Mapping[str, Any], points: Points) -> Section:
    """Show how well each group's features are decoded, and what to hold that against.

    Args:
        name: of the section.
        facts: as `DecoderAccuracy` stores them; every group has the first test set.
        points: correlation and R² of features on the first test set.
    """
    groups, sets = facts["groups"], facts["test_sets"]
    first = next(iter(sets))
    blocks: list[Block] = [Text(text=line, style="verdict") for line in accuracy_sentences(facts)]
    blocks += [
        Text(text=_what(sets[first], facts["n_train"])),
        _table(groups, first, sets[first]),
        _figures(name, groups, first, points),
    ]
    for further in list(sets)[1:]:
        scored = {group: made for group, made in groups.items() if further in made["sets"]}
        if scored:
            blocks.append(_table(scored, further, sets[further], fold=f"Test set {further}"))
    blocks += [Text(text=text, style="note") for text in (*facts["remarks"], HOW_TO_READ, PUBLISHED)]
    return Section(name=name, title=TITLE, blocks=tuple(blocks))


HOW_TO_READ = (
    "R² is that of predictions before calibration, averaged over features, as the authors' scripts print it; a few features that "
    "hardly vary over the test pictures can take this mean far below 0, so look at the median too. Chance: 95 % of the means "
    "after the test pictures were exchanged. Intervals: jackknife over test pictures, of one subject and one fit. Of all "
    "predictions with a correlation r, the best scaled have R² = r². Calibration stretches predictions to the spread that "
    "generators expect and takes them to R² = 2r − 1, which is below 0 where r < ½ and harms no picture: look at r there."
)
PUBLISHED = (
    "No R² of the paper is published. A user of its scripts reports 0.14 for the last of 77 text tokens (NSD, 8,859 training "
    "pictures; ozcelikfu/brain-diffuser, issue 16). Features of other networks, pictures and subjects have other values: compare "
    "with cross-validation and growth of this run first."
)


def _what(n_test: int, n_train: int) -> str:
    return (
        f"Features of {n_test} test pictures, decoded from responses by decoders that were fitted to {n_train}, against the "
        "pictures' own features, before anything is drawn."
    )


def accuracy_sentences(facts: Mapping[str, Any]) -> list[str]:
    """Return, for each group, what its numbers say: beyond chance or not, as in cross-validation or not, limited by what.

    Args:
        facts: as `DecoderAccuracy` stores them.
    """
    first, n_test = next(iter(facts["test_sets"].items()))
    ratio, n = n_test / facts["n_train"], facts["n_permutations"]
    return [_sentence(group, made, made["sets"][first], ratio, n) for group, made in facts["groups"].items()]


def _sentence(group: str, made: Mapping[str, Any], scored: Mapping[str, Any], ratio: float, n: int) -> str:
    r2, r = scored["r2"], scored["correlation"]
    beyond, needed = r["p"] <= ALPHA, fewest_draws()
    words = (
        f"whether it is decoded beyond chance is not said: {n} exchanges of test pictures, {needed} are needed"
        if n < needed
        else "decoded beyond chance"
        if beyond
        else "not decoded beyond chance"
    )
    said = [f"{group}: {words}, correlation {number(r['value'])}, R² {number(r2['value'])} ({p_sentence(r['p'])})"]
    if beyond or n < needed:
        lost = scored["best_scaled_r2"] - r2["value"]
        if lost > max(0.01, LOST * abs(scored["best_scaled_r2"])):
            said.append(
                f"R² could be {number(scored['best_scaled_r2'])} with another scale and offset of the same predictions"
            )
        said += _against_cross_validation(made["cross_validated"], r2, ratio)
        said += _growth_said(made["growth"])
    if made["alpha_at_edge_of_grid"]:
        said.append("alpha lies at the edge of its grid, so widen the grid")
    return f"{'; '.join(said)}."


def _against_cross_validation(found: Mapping[str, Any] | None, r2: Mapping[str, Any], ratio: float) -> list[str]:
    """Say whether test R² differs from that of cross-validation, by a decoder of as many pictures as a fold's, if there is one.

    Both are means over pictures, of the test set and of the training set, so that the variance of their difference is that over
    n_test pictures times 1 + n_test / n_train. Which pictures trained is not in it: of few it makes a difference by chance, which
    is therefore among the reasons.

    Args:
        found: of cross-validation.
        r2: of the test set.
        ratio: test pictures for one training picture.
    """
    if found is None:
        return []
    held = r2 if found["as_many"] is None else found["as_many"]["r2"]
    reach, apart = (held["ci95"][1] - held["value"]) * np.sqrt(1 + ratio), held["value"] - found["r2"]
    where = "as in" if abs(apart) <= reach else "above" if apart > 0 else "below"
    values = number(found["r2"])
    if found["as_many"] is not None:
        n = found["as_many"]["n_stimuli"]
        values += f"; test R² {number(held['value'])} with {n:,} training pictures, as folds have"
    why = {
        "as in": "",
        "above": ": test responses are cleaner, or test pictures easier, than those of training, or chance of which pictures "
        "trained",
        "below": ": test pictures or responses differ from those of training, or chance of which pictures trained",
    }[where]
    if where == "above" and found["as_many"] is None:
        why = (
            ": its folds fit fewer pictures, test responses are cleaner or test pictures easier than those of training, or "
            "chance of which pictures trained"
        )
    return [f"{where} cross-validation ({values}){why}"]


def _growth_said(growth: Sequence[Mapping[str, Any]]) -> list[str]:
    if len(growth) < 2:
        return []
    before, last = growth[-2], growth[-1]
    if last["r2"]["value"] > before["r2"]["ci95"][1]:
        return [
            f"still growing with training pictures (R² {number(before['r2']['value'])} with {before['n_stimuli']:,})"
        ]
    r2 = before["r2"]
    return [
        f"not shown to be better than with {before['n_stimuli']:,} training pictures (R² {number(r2['value'])}, 95 % "
        f"{interval(r2['ci95'])})"
    ]


def _table(groups: Mapping[str, Any], name: str, n: int, fold: str = "") -> Table:
    rows = tuple(Row(label=group, cells=_cells(made, made["sets"][name])) for group, made in groups.items())
    return Table(
        caption=f"Accuracy over {n} test pictures, mean over features",
        corner="Target group",
        columns=(
            "Features",
            "Alpha",
            "R²",
            "Median R²",
            "Best scaled R²",
            "Correlation",
            "p",
            "Cross-validated R²",
            "Beyond chance",
        ),
        rows=rows,
        main="R²",
        fold=fold,
    )


def _cells(made: Mapping[str, Any], scored: Mapping[str, Any]) -> tuple[Cell, ...]:
    r2, r, cv = scored["r2"], scored["correlation"], made["cross_validated"]
    n = made["n_targets"] - scored["n_constant"]
    constant = f"{scored['n_constant']:,} never vary" if scored["n_constant"] else ""
    alpha = MISSING if made["alpha"] is None else f"{made['alpha']:,.6g}"
    return (
        Cell(value=f"{n:,}", interval=constant),
        Cell(value=alpha, interval="at the edge of the grid" if made["alpha_at_edge_of_grid"] else ""),
        Cell(value=number(r2["value"]), interval=interval(r2["ci95"])),
        Cell(value=number(scored["r2_quantiles"]["0.5"])),
        Cell(value=number(scored["best_scaled_r2"])),
        Cell(value=number(r["value"]), interval=f"chance {interval(r['null95'])}"),
        Cell(value=p_value(r["p"])),
        Cell(value=MISSING if cv is None else number(cv["r2"])),
        Cell(value=percent(scored["above_chance"]), interval="of features; chance 5 %"),
    )


def _figures(name: str, groups: Mapping[str, Any], first: str, points: Points) -> Figures:
    drawn = [
        Figure(
            svg=_draw_distributions(groups, first, f"{name}-distribution"),
            title="R² of each feature",
            note="Share of features by R²; a line marks their mean, a dashed one that of cross-validation. The lowest "
            "0.5 % are counted in the first bin.",
        ),
        Figure(
            svg=_draw_reference(points, f"{name}-reference"),
            title="Is this R² normal for its correlation?",
            note="A dot is a feature. Well scaled predictions lie on R² = r²; none lie above. Those stretched to the features' "
            "spread lie on R² = 2r − 1.",
        ),
    ]
    if any(len(made["growth"]) > 1 for made in groups.values()):
        drawn.append(
            Figure(
                svg=_draw_growth(groups, f"{name}-growth"),
                title="R² by number of training pictures",
                note="Decoders fitted anew to some of the training pictures, tested on the same test pictures, with intervals.",
            )
        )
    return Figures(figures=tuple(drawn))


def _marks(groups: Sequence[str]) -> dict[str, Mark]:
    own = (Mark("reconstruction", "o", True), *ABLATION_MARKS)
    return {group: own[place % len(own)] for place, group in enumerate(groups)}


def _draw_distributions(groups: Mapping[str, Any], first: str, name: str) -> str:
    from matplotlib.figure import Figure as Drawing

    height = 78 * len(groups) + 30
    drawing = Drawing(figsize=(WIDTH / 72, height / 72), layout="constrained", facecolor="none")
    panels = drawing.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (group, made), mark in zip(panels, groups.items(), _marks(list(groups)).values(), strict=True):
        scored, colour = made["sets"][first], CSS_COLOURS[mark.colour]
        edges, counts = np.array(scored["histogram"]["edges"]), np.array(scored["histogram"]["counts"])
        axes.stairs(counts / counts.sum(), edges, fill=True, color=colour, alpha=0.4)
        axes.axvline(scored["r2"]["value"], color=colour, lw=1.6)
        if made["cross_validated"] is not None:
            axes.axvline(made["cross_validated"]["r2"], color=CSS_COLOURS["ink"], lw=1.1, ls=(0, (3, 2)))
        axes.set_yticks([])
        _plain(axes)
        axes.set_title(group, fontsize=FONT_SIZE, color=CSS_COLOURS["ink"], loc="left", pad=2, parse_math=False)
    panels[-1].set_xlabel("R²", color=CSS_COLOURS["muted"], fontsize=FONT_SIZE - 0.5)
    return as_svg(drawing, name, "Distribution of R² over the features of each group")


def _draw_reference(points: Points, name: str) -> str:
    drawing, axes = _square()
    r = np.linspace(-1, 1, 101)
    shown = [chosen for found in points.values() for chosen in _some(found)]
    if shown:
        lows = [float(np.quantile(values, 0.02)) for values in shown]
        left = max(-1.0, min(0.0, *lows[::2]) - 0.05)
        right = min(1.0, max(0.3, *(float(values.max()) for values in shown[::2])) + 0.05)
        bottom = max(-1.0, min(0.0, *lows[1::2]) - 0.05)
        axes.set_xlim(left, right)
        axes.set_ylim(bottom, max(right**2, 0.1) + 0.03)
    axes.plot(r[r >= 0], r[r >= 0] ** 2, color=CSS_COLOURS["ink"], lw=1.4, label="R² = r²")
    axes.plot(r, 2 * r - 1, color=CSS_COLOURS["muted"], lw=1.1, ls=(0, (3, 2)), label="R² = 2r − 1")
    for (group, found), mark in zip(points.items(), _marks(list(points)).values(), strict=True):
        correlation, r2 = _some(found)
        colour = CSS_COLOURS[mark.colour]
        face = colour if mark.filled else "none"
        axes.plot(correlation, r2, mark.marker, ms=3.2, mec=colour, mfc=face, mew=0.5, alpha=0.7, label=group)
    axes.set_xlabel("correlation r", color=CSS_COLOURS["muted"], fontsize=FONT_SIZE - 0.5)
    axes.set_ylabel("R²", color=CSS_COLOURS["muted"], fontsize=FONT_SIZE - 0.5)
    legend_above(axes)
    return as_svg(drawing, name, "R² against correlation of features, with the curve of well scaled predictions")


def _some(
    found: tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]],
) -> tuple[Float[np.ndarray, " n_shown"], Float[np.ndarray, " n_shown"]]:
    """Return every k-th of the features that vary, MOST_POINTS at most."""
    correlation, r2 = (values[~np.isnan(found[1])] for values in found)
    step = max(1, -(-len(r2) // MOST_POINTS))
    return correlation[::step], r2[::step]


def _draw_growth(groups: Mapping[str, Any], name: str) -> str:
    drawing, axes = _square()
    sizes: set[int] = set()
    for (group, made), mark in zip(groups.items(), _marks(list(groups)).values(), strict=True):
        growth, colour = made["growth"], CSS_COLOURS[mark.colour]
        x = [point["n_stimuli"] for point in growth]
        y = [point["r2"]["value"] for point in growth]
        sizes |= set(x)
        for at, point in zip(x, growth, strict=True):
            axes.plot([at, at], point["r2"]["ci95"], color=colour, lw=1.2, solid_capstyle="butt")
        face = colour if mark.filled else CSS_COLOURS["paper"]
        axes.plot(x, y, marker=mark.marker, ms=5, color=colour, mec=colour, mfc=face, lw=1.2, label=group)
    axes.axhline(0, color=CSS_COLOURS["muted"], lw=0.8)
    axes.set_xscale("log", base=2)
    axes.minorticks_off()
    axes.set_xticks(sorted(sizes), [f"{size:,}" for size in sorted(sizes)])
    axes.set_xlabel("training pictures", color=CSS_COLOURS["muted"], fontsize=FONT_SIZE - 0.5)
    axes.set_ylabel("R²", color=CSS_COLOURS["muted"], fontsize=FONT_SIZE - 0.5)
    legend_above(axes)
    return as_svg(drawing, name, "R² of each group against the number of training pictures")


def _square() -> tuple[Any, Axes]:
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(WIDTH / 72, 0.7 * WIDTH / 72), layout="constrained", facecolor="none")
    axes = drawing.add_subplot(facecolor="none")
    axes.grid(color=CSS_COLOURS["rule"], lw=0.7)
    axes.set_axisbelow(True)
    _plain(axes)
    return drawing, axes


def _plain(axes: Axes) -> None:
    axes.set_facecolor("none")
    axes.tick_params(length=0, labelsize=FONT_SIZE - 1, labelcolor=CSS_COLOURS["muted"])
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(CSS_COLOURS["rule"])
