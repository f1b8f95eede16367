"""The section of a curve: scores over what is varied, and what the curve says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from braindiffuser.report.beyond_chance import ALPHA, beyond_chance
from braindiffuser.report.figures import ABLATION_MARKS, CSS_COLOURS, FONT_SIZE, MARKS, WIDTH, as_figure, legend_above
from braindiffuser.report.numbers import join, number, p_sentence
from braindiffuser.report.sections import (
    Block,
    Cell,
    Figures,
    PictureGroup,
    PictureGroups,
    PictureRef,
    Row,
    Section,
    Table,
    Text,
)
from braindiffuser.report.tables import Estimate, format_interval, format_score, metric_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from braindiffuser.report.sections import Figure

N_EXAMPLES = 4
"""Pictures of each point that are shown."""
PANELS = {
    "pattern": "Pattern correlation of decoded features",
    "two_way": "Two-way identification by decoded features",
    "pictures": "Identification of drawn pictures",
    "other": "Other scores of drawn pictures",
}
LINE = (
    "Line: least squares over log2 of the amount. Its interval counts test pictures and how far points lie from the line. Growth "
    "slows where the curve bends downwards (95 % interval of the quadratic term over pictures). What is said beyond the last "
    "point is extrapolation."
)


def no_curve_section(name: str, title: str, why: str) -> Section:
    """Return a section that says why there is no curve."""
    return Section(name=name, title=title, blocks=(Text(text=f"{why}, so there is no curve."),))


def curve_section(name: str, facts: Mapping[str, Any], kinds: Sequence[str]) -> Section:
    """Show a curve.

    Args:
        name: of the section.
        facts: as `Curve` stores them.
        kinds: kinds of example pictures: seen, then those of each point; none if none was drawn.
    """
    blocks: list[Block] = [Text(text=line, style="verdict") for line in curve_sentences(facts)]
    blocks += [Text(text=_what(facts)), _figures(name, facts)]
    how_to_read = [facts["how_to_read"], *([LINE] if facts["doubles"] else [])]
    if kinds:
        blocks.append(_examples(facts, kinds))
    blocks += [_table(facts), Text(text=" ".join(how_to_read), style="note")]
    return Section(name=name, title=facts["title"], blocks=tuple(blocks))


def curve_sentences(facts: Mapping[str, Any]) -> list[str]:
    """Return what a curve says, in a sentence for each target group, or for each score of drawn pictures.

    Args:
        facts: as `Curve` stores them.
    """
    if facts["of_generator"]:
        return _setting_said(facts)
    if facts["doubles"]:
        say = _growth_said
    elif "r90" in facts:
        say = _rank_said
    else:
        say = _repeats_said if facts["over"] == "repeats" else _change_said
    return [say(facts, key, entry) for key, entry in facts["entries"].items() if entry["of"] == "pattern"]


def _growth_said(facts: Mapping[str, Any], key: str, entry: Mapping[str, Any]) -> str:
    points, line = facts["points"], facts.get("lines", {}).get(key)
    last, unit = points[-1], facts["unit"]
    begins = (
        f"{entry['label']}: pattern correlation {number(last['scores'][key]['value'])} with {last['at']:,.0f} {unit}"
    )
    if line is None:
        return f"{begins}; two points say nothing of growth."
    slope = line["per_doubling"]
    said = [f"{begins}; twice as many add {number(slope['value'])} (95 % interval: {_ends(slope['ci95'])})"]
    if slope["ci95"][0] <= 0:
        return f"{said[0]}: growth is not shown."
    if _slows(line):
        gain = line["last_doubling"]
        said.append(
            f"growth slows, and the last doubling adds {number(gain['value'])} (interval: {_ends(gain['ci95'])})"
        )
    return f"{'; '.join([*said, _goal_said(facts, key, line), _next_said(facts, line)])}."


def _slows(line: Mapping[str, Any]) -> bool:
    return line["bend"] is not None and bool(line["bend"]["ci95"][1] < 0)


def _goal_said(facts: Mapping[str, Any], key: str, line: Mapping[str, Any]) -> str:
    unit, measured, reached = facts["unit"], facts["points"][-1]["at"], line["reached_at"]
    own = number(facts["points"][-1]["scores"][key]["value"])
    goal = number(line["goal"]) if line["goal_given"] else f"95 % of {own}"
    if reached is None:
        return f"the line does not reach {goal}"
    ends = _ends_of_amount(reached["ci95"], facts["points"][0]["at"], line["sought_to"])
    said = f"the line reaches {goal} at {_amount(reached['value'])} {unit} (interval: {ends})"
    if reached["value"] <= measured:
        return said
    more = ", and too few, since growth slows" if _slows(line) else ""
    return f"{said}, which is extrapolated beyond the {measured:,.0f} that were measured{more}"


def _ends_of_amount(ci95: Sequence[float | None], first: float, sought_to: float) -> str:
    """Print the interval of an amount; an end that was not found lies below the first point, or beyond where it was sought.

    >>> _ends_of_amount([7.0, None], 1.0, 128.0), _ends_of_amount([128.0, None], 1.0, 128.0)
    ('7 – more than 128', 'more than 128')
    >>> _ends_of_amount([None, 1.5625], 25.0, 128.0), _ends_of_amount([None, 30.0], 25.0, 128.0)
    ('below 1.56', 'below 25 – 30')
    >>> _ends_of_amount([0.2, 0.5], 25.0, 128.0), _ends_of_amount([None, 0.5], 25.0, 128.0)
    ('below 1', 'below 1')
    >>> _ends_of_amount([0.2, 1.5], 1.0, 128.0), _ends_of_amount([None, 25.0], 25.0, 128.0)
    ('below 1 – 1.5', 'below 25 – 25')
    """
    low, high = ci95
    if high is not None and (high < 1 or (low is None and high < first)):
        return f"below {_amount(max(high, 1.0))}"
    highest = f"more than {_amount(sought_to)}" if high is None else _amount(high)
    if low is not None and low >= sought_to:
        return highest
    lowest = f"below {_amount(first)}" if low is None else "below 1" if low < 1 else _amount(low)
    return f"{lowest} – {highest}"


def _next_said(facts: Mapping[str, Any], line: Mapping[str, Any]) -> str:
    found = line["next_doubling"]
    return (
        f"{2 * facts['points'][-1]['at']:,.0f} {facts['unit']} would give {number(found['value'])} (interval: "
        f"{_ends(found['ci95'])}) if the last doubling's gain came once more (extrapolated)"
    )


def _amount(value: float) -> str:
    """Print a number of pictures or sessions with three digits.

    >>> _amount(1033.4), _amount(56.31), _amount(3.14159)
    ('1,030', '56.3', '3.14')
    """
    return f"{float(f'{value:.3g}'):,g}" if value < 1e6 else f"{value:.3g}"


def _repeats_said(facts: Mapping[str, Any], key: str, entry: Mapping[str, Any]) -> str:
    first, last = facts["points"][0], facts["points"][-1]
    few = "a single trial" if first["at"] == 1 else f"{first['at']:g} trials"
    gain, other = _difference(facts, key), f"two_way.{entry['label']}"
    values = [[number(point["scores"][key]["value"]) for point in (first, last)]]
    values.append([format_score(facts["entries"][other], point["scores"][other]["value"]) for point in (first, last)])
    low, high = gain["ci95"]
    shown = "averaging helps" if low > 0 else "averaging harms" if high < 0 else "averaging is not shown to help"
    return (
        f"{entry['label']}: pattern correlation {values[0][0]} with {few}, {values[0][1]} with the average of {last['at']:g} "
        f"({shown}: {number(gain['value'], signed=True)}, 95 % interval: {_ends(gain['ci95'])}); two-way "
        f"identification {values[1][0]} and {values[1][1]}."
    )


def _change_said(facts: Mapping[str, Any], key: str, entry: Mapping[str, Any]) -> str:
    first, last = facts["points"][0], facts["points"][-1]
    gain = _difference(facts, key)
    low, high = gain["ci95"]
    shown = "more" if low > 0 else "less" if high < 0 else "no difference is shown"
    return (
        f"{entry['label']}: pattern correlation {number(first['scores'][key]['value'])} at {first['at']:g} {facts['unit']}, "
        f"{number(last['scores'][key]['value'])} at {last['at']:g} ({shown}: {number(gain['value'], signed=True)}, "
        f"95 % interval: {_ends(gain['ci95'])})."
    )


def _difference(facts: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return what the last point has more than the first, one of which the differences are from."""
    first, last = facts["points"][0]["at"], facts["points"][-1]["at"]
    found = next(each for each in facts["differences"][key] if each["at"] in (first, last))
    low, high = found["ci95"]
    return dict(found) if found["at"] == last else {"value": -found["value"], "ci95": [-high, -low]}


def _rank_said(facts: Mapping[str, Any], key: str, entry: Mapping[str, Any]) -> str:
    found, whole = facts["r90"][key], facts["points"][-1]
    begins = f"{entry['label']}: pattern correlation {number(whole['scores'][key]['value'])} of the whole decoder"
    if found is None:
        return f"{begins}, no more than without information."
    low, high = found["ci95"]
    taken = f"{found['value']:,.0f} of at most {whole['at']:,.0f} directions"
    return f"{begins}; it has 90 % of its gain with {taken} (95 % interval: {low:,.0f} – {high:,.0f})."


def _setting_said(facts: Mapping[str, Any]) -> list[str]:
    """Say for which scores another value is shown to be better than the run's own, all values of a score tested together."""
    said, none = [], []
    for key, entry in facts["entries"].items():
        sign = 1 if entry["higher_is_better"] else -1
        differences = {f"{each['at']:g}": each for each in facts["differences"][key]}
        shown = beyond_chance({at: each["p"] for at, each in differences.items()})
        better = [each for at, each in differences.items() if at in shown and sign * each["value"] > 0]
        if not better:
            none.append(entry["label"])
            continue
        best = max(better, key=lambda each: sign * each["value"])
        own = next(point for point in facts["points"] if point["at"] == facts["own"])["scores"][key]["value"]
        numbers = (
            f"{format_score(entry, own + best['value'])} against {format_score(entry, own)}, {p_sentence(best['p'])}"
        )
        said.append(
            f"{entry['label']}: {facts['axis']} {best['at']:g} is better than the run's {facts['own']:g} ({numbers}, "
            f"{facts['n_drawn']} pictures)."
        )
    if none:
        said.append(
            f"By {join(none)}, no other {facts['axis']} is shown to be better than the run's {facts['own']:g} (p > {ALPHA:g} "
            f"when all values are tested, {facts['n_drawn']} pictures)."
        )
    return said


def _ends(ends: Sequence[float | None]) -> str:
    low, high = ends
    return f"{number(low)} – {number(high)}"


def _what(facts: Mapping[str, Any]) -> str:
    some = "" if facts["n"] == facts["n_test"] else f" of {facts['n_test']:,}, those with the trials of the last point"
    scored = [] if facts["of_generator"] else [f"decoded features of {facts['n']:,} test pictures{some}"]
    drawn = [f"{facts['n_drawn']:,} drawn test pictures, scored among themselves"] if facts["n_drawn"] else []
    own = "" if facts["own"] is None else f" The run itself lies at {facts['own']:g}."
    return f"Scores of {join([*scored, *drawn])} over {facts['axis']}, with 95 % intervals over pictures.{own}"


def _panel_of(entry: Mapping[str, Any]) -> str:
    return "other" if entry["of"] == "pictures" and entry["chance"] is None else str(entry["of"])


def _table(facts: Mapping[str, Any]) -> Table:
    entries = facts["entries"]
    rows = []
    for point in facts["points"]:
        cells = []
        for key, entry in entries.items():
            found = point["scores"][key]
            value = Estimate(found["value"], *found["ci95"])
            cells.append(Cell(value=format_score(entry, found["value"]), interval=format_interval(entry, value)))
        known = "".join(f", {point[name]:,} {word}" for name, word in POINT_FACTS.items() if name in point)
        own = " (this run)" if point["at"] == facts["own"] else ""
        rows.append(Row(label=f"{point['at']:,g}{known}{own}", cells=tuple(cells)))
    return Table(
        caption=f"Scores over {facts['axis']}",
        corner=facts["axis"].capitalize(),
        columns=tuple(_column(entry) for entry in entries.values()),
        rows=tuple(rows),
        fold="The curve as a table",
    )


POINT_FACTS = {"n_trials": "trials", "n_stimuli": "pictures"}
"""What else is known of a point → the word after its number."""


def _column(entry: Mapping[str, Any]) -> str:
    words = {"pattern": "Pattern, ", "two_way": "Two-way, "}
    return f"{words[entry['of']]}{entry['label']}" if entry["of"] in words else metric_label(entry)


def _examples(facts: Mapping[str, Any], kinds: Sequence[str]) -> PictureGroups:
    labels = ["seen", *(f"{facts['axis']} {point['at']:g}" for point in facts["points"])]
    groups = []
    for place in range(min(N_EXAMPLES, facts["n_drawn"])):
        refs = tuple(
            PictureRef(kind=kind, number=place, label=label) for kind, label in zip(kinds, labels, strict=True)
        )
        groups.append(PictureGroup(name=f"{place + 1}", note=", ".join(labels), pictures=refs))
    return PictureGroups(groups=tuple(groups))


def _figures(name: str, facts: Mapping[str, Any]) -> Figures:
    shown: dict[str, dict[str, Any]] = {}
    for key, entry in facts["entries"].items():
        shown.setdefault(_panel_of(entry), {})[key] = entry
    panels = [_draw(facts, own, PANELS[panel], f"{name}-{panel}") for panel, own in shown.items()]
    return Figures(figures=tuple(panels))


def _draw(facts: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]], title: str, name: str) -> Figure:
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(WIDTH / 72, 0.66 * WIDTH / 72), layout="constrained", facecolor="none")
    axes = drawing.add_subplot(facecolor="none")
    points = facts["points"]
    x = [point["at"] for point in points]
    marks = [MARKS["reconstruction"], MARKS["mean_image"], *ABLATION_MARKS]
    for place, (key, entry) in enumerate(entries.items()):
        mark = marks[place % len(marks)]
        colour = CSS_COLOURS[mark.colour]
        found = [point["scores"][key] for point in points]
        for at, own in zip(x, found, strict=True):
            axes.plot([at, at], own["ci95"], color=colour, lw=1.1, solid_capstyle="butt")
        face = colour if mark.filled else CSS_COLOURS["paper"]
        y = [own["value"] for own in found]
        axes.plot(x, y, marker=mark.marker, ms=5, color=colour, mec=colour, mfc=face, lw=1.2, label=entry["label"])
        line = facts.get("lines", {}).get(key)
        if line is not None:
            fitted = [each["value"] for each in line["line"]]
            axes.plot(x, fitted, color=colour, lw=1.0, ls=(0, (3, 2)))
    _finish(axes, facts, x, identifies=all(entry["chance"] is not None for entry in entries.values()))
    made = as_figure(drawing, name, f"{title} over {facts['axis']}; the table holds the same numbers", title)
    dashed = "Dashed: line over log2 of the amount. " if "lines" in facts else ""
    own = "" if facts["own"] is None else "The vertical line marks the run itself."
    return made.model_copy(update={"note": f"{dashed}{own}".strip()})


def _finish(axes: Axes, facts: Mapping[str, Any], x: Sequence[float], identifies: bool) -> None:
    if facts["is_logarithmic"] and min(x) > 0:
        axes.set_xscale("log", base=2)
        axes.minorticks_off()
        axes.set_xticks(_apart(x), [f"{at:,g}" for at in _apart(x)])
    else:
        axes.set_xticks(x, [f"{at:,g}" for at in x])
    if identifies:
        axes.axhline(0.5, color=CSS_COLOURS["muted"], lw=0.8, ls=(0, (2, 2)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
    if facts["own"] is not None:
        axes.axvline(facts["own"], color=CSS_COLOURS["rule"], lw=1.2)
    axes.grid(axis="y", color=CSS_COLOURS["rule"], lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=FONT_SIZE - 1, labelcolor=CSS_COLOURS["muted"])
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(CSS_COLOURS["rule"])
    axes.set_xlabel(facts["axis"], color=CSS_COLOURS["muted"], fontsize=FONT_SIZE - 0.5)
    legend_above(axes)


def _apart(x: Sequence[float]) -> list[float]:
    """Return the points that are far enough apart on a logarithmic axis to be labelled, the last one first of all."""
    kept = [x[-1]]
    room = np.log2(x[-1] / x[0]) / 7 if x[0] < x[-1] else 0
    for at in reversed(x[:-1]):
        if np.log2(kept[-1] / at) >= room:
            kept.append(at)
    return kept[::-1]
