"""The section of the split audit: copies across the split, distances, and scores by distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from braindiffuser.report.beyond_chance import beyond_chance
from braindiffuser.report.figures import ABLATION_MARKS, CSS_COLOURS, FONT_SIZE, MARKS, WIDTH, as_figure, legend_above
from braindiffuser.report.numbers import (
    MISSING,
    counted,
    first_of,
    interval,
    join,
    number,
    p_value,
    percent,
    percent_interval,
)
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
from braindiffuser.report.verdict.of_split import are_near_duplicates, picture_called

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from braindiffuser.report.sections import Figure

TITLE = "Do test pictures resemble training pictures?"
MOST_NAMED = 5
"""Near-copies that a sentence names."""
MOST_LINES = 7
"""Scores with a chance level that are drawn by distance."""


def split_audit_section(
    name: str, facts: Mapping[str, Any], shown: Sequence[Mapping[str, Any]], kinds: Sequence[str]
) -> Section:
    """Show how near test pictures lie to training pictures, and what scores make of it.

    Args:
        name: of the section.
        facts: as `SplitAudit` stores them.
        shown: rows of its table of nearest pairs, those with pictures.
        kinds: kinds of their pictures: of the test picture, and of its nearest training picture; none if none is shown.
    """
    sets = facts["sets"]
    blocks: list[Block] = [Text(text=line, style="verdict") for line in audit_sentences(facts)]
    blocks.append(Text(text=_what(facts)))
    if shown and kinds:
        blocks.append(_pairs(shown, kinds))
    blocks.append(_figures(name, facts))
    blocks.append(_distances(facts))
    for test_set, own in sets.items():
        if own["thirds"]:
            blocks.append(_scores(test_set, own))
    for test_set, own in sets.items():
        lists = {"Near-copies": own["near_copies"], "Alike in pixels": own["look_alikes"]}
        blocks += [_pixel_pairs(f"{what} among {_named(test_set)}", pairs) for what, pairs in lists.items() if pairs]
    blocks.append(Text(text=HOW_TO_READ, style="note"))
    return Section(name=name, title=TITLE, blocks=tuple(blocks))


HOW_TO_READ = (
    "Similarity: Pearson correlation over the features of two pictures, after the mean of training pictures was taken off. A "
    "training picture's nearest neighbour is sought among all other training pictures, less the mean of these. “Nearer”: how "
    "often a random test picture lies nearer to its neighbour than a random training picture does (50 % where both are drawn "
    "from the same pictures; interval of DeLong et al. 1988, at least that of two draws of the same pictures). Slope: least "
    "squares over test "
    "pictures; its p is of the hypothesis that scores do not depend on the distance, and sentences name scores whose p holds "
    "when all are tested (Holm). A slope does not prove that a decoder remembers training pictures: pictures far from all "
    "others are harder in other ways too."
)


def audit_sentences(facts: Mapping[str, Any]) -> list[str]:
    """Return what the numbers say: copies first, then where the test set lies, then whether scores follow the distance.

    Args:
        facts: as `SplitAudit` stores them.
    """
    said = []
    for test_set, own in facts["sets"].items():
        said += [*_copies_said(test_set, own, facts), _place_said(test_set, own, facts), *_scores_said(test_set, own)]
    return said


def _named(test_set: str) -> str:
    return "test pictures" if test_set == "test" else f"test pictures of {test_set}"


def _copies_said(test_set: str, own: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    copies, near, n = own["near_copies"], own["near_duplicates"], own["n"]
    similar = (
        f"{near['count']:,} of {n:,} {'has' if near['count'] == 1 else 'have'} a training picture with a similarity of "
        f"{facts['threshold']:g} or more ({percent(near['share'], 1)}, 95 % interval: {percent_interval(near['ci95'])}), "
        f"{_beside_training(near)}"
    )
    alike, named, threshold = own["look_alikes"], _named(test_set), f"{facts['pixel_threshold']:g}"
    of = f"of {n:,} {named if n > 1 else named.replace('pictures', 'picture', 1)}"
    said = []
    if copies:
        are = "is a near-copy of a training picture" if len(copies) == 1 else "are near-copies of training pictures"
        said.append(
            f"Leak: {of}, {len(copies):,} {are} (pixels correlate by {threshold} or more): {_first(copies)}. Take "
            f"{'it' if len(copies) == 1 else 'them'} out of either side. By features, {similar}."
        )
    if alike:
        correlate = "has pixels that correlate" if len(alike) == 1 else "have pixels that correlate"
        said.append(
            f"Whether {'further ' if copies else ''}{named} are copies cannot be told from pixels: {of}, {len(alike):,} "
            f"{correlate} with a training picture's by {threshold} or more ({_beside_training(own['pixel_duplicates'])}; "
            f"contrasts may differ): {_first(alike)}. Look at them side by side.{'' if copies else f' By features, {similar}.'}"
        )
    if said:
        return said
    if are_near_duplicates(own):
        look = "Look at the nearest pairs, and take out of either side what shows the same"
        return [f"Leak by features: {similar}. {look}. In pixels no copy was found among the {named}."]
    return [f"No copy across the split was found among the {named}. By features, {similar}."]


def _first(pairs: Sequence[Mapping[str, Any]]) -> str:
    return first_of([f"{picture_called(each)} as training stimulus {_called(each)}" for each in pairs], MOST_NAMED)


def _beside_training(near: Mapping[str, Any]) -> str:
    """Say whether pictures so similar are more frequent than among training pictures."""
    of = f"among training pictures ({percent(near['training_share'], 1)})"
    if not near["count"]:
        return f"beside {percent(near['training_share'], 1)} of training pictures"
    return f"more than {of}" if near["more_than_training"] else f"not shown to be more than {of}"


def _called(copy: Mapping[str, Any]) -> str:
    return f"{copy['train_id']} ({copy['train_name']})" if copy["train_name"] else str(copy["train_id"])


def _place_said(test_set: str, own: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    beside = own["beside_training"]
    if beside is None:
        return f"A single picture does not tell where the {_named(test_set)} lie."
    medians = [number(each["quantiles"]["0.5"]) for each in (own["similarity"], facts["training"])]
    numbers = (
        f"the median similarity to the nearest training picture is {medians[0]}, among training pictures {medians[1]}; nearer in "
        f"{percent(beside['value'])} of pairs, 95 % interval: {percent_interval(beside['ci95'], 0)}"
    )
    named = _named(test_set)
    return {
        "alike": f"Warning: the {named} lie inside the training set's neighbourhood, as near to training pictures as these lie "
        f"to each other ({numbers}). They lie as a random draw of the same pictures would, so scores tell nothing of others.",
        "nearer": f"Leak: the {named} lie nearer to the training pictures than these lie to each other ({numbers}). Look for "
        "copies, and for pictures of one scene on both sides.",
        "farther": f"The {named} lie farther from the training pictures than these lie from each other ({numbers}): scores are "
        "of pictures unlike those that trained.",
        "open": f"Too few pictures tell whether the {named} lie as near to training pictures as these lie to each other "
        f"({numbers}).",
    }[own["verdict"]]


def _scores_said(test_set: str, own: Mapping[str, Any]) -> list[str]:
    slopes = {key: each["slope"] for key, each in own["scores"].items() if each["slope"] is not None}
    if not slopes:
        return []
    found = beyond_chance({key: slope["p"] for key, slope in slopes.items()})
    better = [key for key in slopes if key in found and _rises(own["scores"][key])]
    worse = [key for key in slopes if key in found and key not in better]
    if not found:
        return [
            f"None of {counted(len(slopes), 'score')} of the {_named(test_set)} is shown to depend on the distance to the "
            "nearest training picture."
        ]
    said = []
    for keys, how in ((better, "better"), (worse, "worse")):
        if keys:
            labels = join([own["scores"][key]["label"] for key in keys])
            said.append(
                f"Of the {_named(test_set)}, those near to a training picture score {how} by {labels} ({len(keys)} of "
                f"{len(slopes)} scores; {_first_to_last(own['scores'][keys[0]])})."
            )
    return said


def _rises(entry: Mapping[str, Any]) -> bool:
    return bool((entry["slope"]["value"] > 0) == entry["higher_is_better"])


def _first_to_last(entry: Mapping[str, Any]) -> str:
    far, near = entry["thirds"][0]["value"], entry["thirds"][-1]["value"]
    return f"{entry['label']}: {format_score(entry, near)} in the nearest third, {format_score(entry, far)} in the farthest"


def _what(facts: Mapping[str, Any]) -> str:
    sizes = join([f"{own['n']:,} {_named(name)}" for name, own in facts["sets"].items()])
    return (
        f"Nearest of {facts['n_train']:,} training pictures to {sizes}, by {facts['network']}, beside the nearest other training "
        f"picture of {facts['n_reference']:,} training pictures. Copies are sought in the pixels, at {facts['side']} × "
        f"{facts['side']}."
    )


def _pairs(shown: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> PictureGroups:
    groups = []
    for place, row in enumerate(shown):
        labels = (f"test picture {row['number']}", f"training stimulus {row['train_id']}")
        refs = tuple(
            PictureRef(kind=kind, number=place, label=label) for kind, label in zip(kinds, labels, strict=True)
        )
        note = f"similarity {number(row['similarity'])}; left: test, right: nearest training"
        groups.append(PictureGroup(name=f"{row['number']} · {row['train_id']}", note=note, pictures=refs))
    return PictureGroups(groups=tuple(groups))


def _distances(facts: Mapping[str, Any]) -> Table:
    def cells(own: Mapping[str, Any]) -> tuple[Cell, ...]:
        quantiles = own["quantiles"]
        return tuple(Cell(value=number(quantiles[q])) for q in ("0.05", "0.25", "0.5", "0.75", "0.95"))

    rows = [Row(label="Training pictures, among themselves", cells=(*cells(facts["training"]), Cell(value=MISSING)))]
    for name, own in facts["sets"].items():
        beside = own["beside_training"]
        nearer = (
            Cell(value=MISSING)
            if beside is None
            else Cell(value=percent(beside["value"], 1), interval=percent_interval(beside["ci95"]))
        )
        rows.append(Row(label=_named(name).capitalize(), cells=(*cells(own["similarity"]), nearer)))
    return Table(
        caption="Similarity to the nearest training picture: quantiles over pictures",
        columns=("5 %", "25 %", "Median", "75 %", "95 %", "Nearer"),
        rows=tuple(rows),
        main="Median",
        fold="Distances as a table",
    )


def _scores(test_set: str, own: Mapping[str, Any]) -> Table:
    rows = []
    for entry in own["scores"].values():
        parts = [
            Cell(
                value=format_score(entry, part["value"]),
                interval=format_interval(entry, Estimate(part["value"], *part["ci95"])),
            )
            for part in entry["thirds"]
        ]
        slope = entry["slope"]
        line = (
            [Cell(value=MISSING)] * 3
            if slope is None
            else [
                Cell(value=number(slope["value"], signed=True), interval=interval(slope["ci95"])),
                Cell(value=number(slope["r"], signed=True)),
                Cell(value=p_value(slope["p"])),
            ]
        )
        rows.append(Row(label=metric_label(entry), cells=(*parts, *line)))
    far, middle, near = (number(value, 2) for value in own["thirds"])
    return Table(
        caption=f"Scores of {_named(test_set)} by similarity to the nearest training picture (mean of each third in its heading)",
        corner="Score",
        columns=(f"Farthest third ({far})", f"Middle ({middle})", f"Nearest third ({near})", "Slope", "r", "p"),
        rows=tuple(rows),
        fold=f"Scores by distance: {_named(test_set)}",
    )


def _pixel_pairs(caption: str, pairs: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple(
        Row(
            label=f"{each['number']} ({each['name']})" if each["name"] else str(each["number"]),
            cells=(Cell(value=_called(each)), Cell(value=number(each["pixel_correlation"], 4))),
        )
        for each in pairs
    )
    return Table(
        caption=caption,
        corner="Test picture",
        columns=("Training stimulus", "Correlation of pixels"),
        rows=rows,
        fold=f"{caption}: {len(rows):,}",
    )


def _figures(name: str, facts: Mapping[str, Any]) -> Figures:
    drawn = [_draw_distances(facts, f"{name}-distances")]
    first = next(iter(facts["sets"].values()))
    if first["thirds"]:
        drawn.append(_draw_scores(first, f"{name}-scores"))
    return Figures(figures=tuple(drawn))


def _draw_distances(facts: Mapping[str, Any], name: str) -> Figure:
    drawing, axes = _plain_axes()
    others = {"training pictures": facts["training"]} | {
        _named(test_set): own["similarity"] for test_set, own in facts["sets"].items()
    }
    marks = [MARKS["mean_image"], MARKS["reconstruction"], *ABLATION_MARKS]
    for place, (label, own) in enumerate(others.items()):
        edges, counts = np.array(own["histogram"]["edges"]), np.array(own["histogram"]["counts"])
        colour = CSS_COLOURS[marks[place % len(marks)].colour]
        shares = counts / max(1, counts.sum())
        axes.stairs(shares, edges, fill=place == 0, color=colour, alpha=0.35 if place == 0 else 1, lw=1.4, label=label)
        axes.axvline(own["quantiles"]["0.5"], color=colour, lw=1.4, ls=(0, (3, 2)) if place == 0 else "-")
    axes.set_yticks([])
    axes.set_xlabel("similarity to the nearest training picture", color=CSS_COLOURS["muted"], fontsize=FONT_SIZE - 0.5)
    legend_above(axes)
    made = as_figure(
        drawing, name, "Similarity of pictures to their nearest training picture", "Distance to training pictures"
    )
    return made.model_copy(update={"note": "Share of pictures by similarity; lines mark the medians."})


def _draw_scores(own: Mapping[str, Any], name: str) -> Figure:
    drawing, axes = _plain_axes()
    shown = [entry for entry in own["scores"].values() if entry["chance"] is not None][-MOST_LINES:]
    marks = [MARKS["reconstruction"], MARKS["mean_image"], *ABLATION_MARKS]
    x = np.array(own["thirds"])
    step = 0.012 * max(float(np.ptp(x)), 1e-6)
    for place, entry in enumerate(shown):
        mark = marks[place % len(marks)]
        colour, at = CSS_COLOURS[mark.colour], x + step * (place - (len(shown) - 1) / 2)
        for here, part in zip(at, entry["thirds"], strict=True):
            axes.plot([here, here], part["ci95"], color=colour, lw=1.2, solid_capstyle="butt")
        y = [part["value"] for part in entry["thirds"]]
        face = colour if mark.filled else CSS_COLOURS["paper"]
        axes.plot(at, y, marker=mark.marker, ms=5, color=colour, mec=colour, mfc=face, lw=1.1, label=entry["label"])
    if shown:
        axes.axhline(0.5, color=CSS_COLOURS["muted"], lw=0.8, ls=(0, (2, 2)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
        legend_above(axes)
    axes.set_xlabel("mean similarity of the third", color=CSS_COLOURS["muted"], fontsize=FONT_SIZE - 0.5)
    made = as_figure(drawing, name, "Identification by distance to the nearest training picture", "Scores by distance")
    return made.model_copy(
        update={"note": "Mean of each third of the test pictures with its interval; dashed: chance."}
    )


def _plain_axes() -> tuple[Any, Axes]:
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(WIDTH / 72, 0.62 * WIDTH / 72), layout="constrained", facecolor="none")
    axes = drawing.add_subplot(facecolor="none")
    axes.grid(color=CSS_COLOURS["rule"], lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=FONT_SIZE - 1, labelcolor=CSS_COLOURS["muted"])
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(CSS_COLOURS["rule"])
    return drawing, axes
