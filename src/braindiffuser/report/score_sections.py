"""Sections on scores: the main table, ablations, the gallery, and further test sets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from braindiffuser.report import figures, tables
from braindiffuser.report.chance_alarm import are_same_for_all, chance_alarm
from braindiffuser.report.numbers import MISSING, p_value
from braindiffuser.report.sections import (
    Cell,
    ContactSheet,
    Facts,
    Figure,
    Figures,
    Gallery,
    GalleryRow,
    Headline,
    Headlines,
    Row,
    Section,
    SheetMetric,
    Strip,
    Table,
    Text,
)
from braindiffuser.report.tables import estimate, format_interval, format_score, metric_label
from braindiffuser.spacing import evenly_spaced

MOST_STRIPS = 2000
"""Pictures of a test set that a page holds; of more, evenly spaced ones."""
DOTS = (
    "Dots are values, lines their 95 % intervals over test pictures, short ones may hide behind the dot. A dotted line marks "
    "chance. The arrow beside a metric points to better."
)


@dataclass(frozen=True)
class ScoredSet:
    """One test set with its scores.

    Attributes:
        name: of the test set.
        scores: content of its scores file.
        per_image: its rows of `per_image.csv`.
        kinds: kind of picture → heading, from left to right.
        ablations: name of each ablation → label.
        scored_kind: kind of picture that the scores are of.
        scores_of: what the scores are of, in words, if they are of no kind.
        headlines: keys of the metrics that are printed large; none: the first four.
        notes: what a reader must know of the metrics: title → text.
        heading: title and first paragraph; None: from the name.
        names: stimulus id → name, of stimuli that have one.
        flags: number of a test picture → what is doubtful about it, in words.
        neighbours: number of a test picture → numbers of those that its decoded features resemble most, the nearest first.
    """

    name: str
    scores: Mapping[str, Any]
    per_image: pd.DataFrame
    kinds: Mapping[str, str]
    ablations: Mapping[str, str]
    scored_kind: str = "final"
    scores_of: str = ""
    headlines: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    heading: tuple[str, str] | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    flags: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    neighbours: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def conditions(self) -> dict[str, str]:
        """Conditions of the main table that were computed, and how they are printed."""
        entries = list(self.scores["metrics"].values())
        return {
            condition: label
            for condition, label in tables.COMPARED.items()
            if any(estimate(entry, condition) is not None for entry in entries)
        }


def score_sections(sets: Sequence[ScoredSet]) -> list[Section]:
    """Make the sections of all test sets; headlines show the scores of the first."""
    first = sets[0]
    ablations = [_ablations(first)] if first.ablations else []
    of_first = [_scores(first), *ablations, gallery_section(first)]
    if len(sets) > 1:
        of_first = [on_test_set(section, first.name) for section in of_first]
    further = [on_test_set(_further(scored), scored.name) for scored in sets[1:]]
    return [*of_first, *further, _how_to_read(first)]


def on_test_set(section: Section, name: str) -> Section:
    """Say of a section that it is on one test set, so that a page of several can show one of them alone."""
    return section.model_copy(update={"test_set": name})


def _scores(scored: ScoredSet) -> Section:
    n, compared, metrics = len(scored.per_image), scored.conditions, scored.scores["metrics"]
    text = f"Every metric for the reconstructions of {n} test pictures{_compared_with(compared)}."
    caption = f"Value and 95 % interval of every metric on {n} test pictures"
    return Section(
        name="scores",
        title="Scores",
        blocks=(
            Headlines(items=tuple(headline(metrics[key]) for key in scored.headlines or list(metrics)[:4])),
            *_alarm(metrics, n, scored.scores.get("features") or {}),
            Text(text=tables.baseline_sentence(scored.scores), style="verdict"),
            Text(text=text),
            panels(scored.scores, compared, "scores", DOTS),
            scores_table(scored.scores, compared, caption, "Reconstruction", chance=True),
            *_directions(metrics),
        ),
    )


def _directions(metrics: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """Print identification in both directions, folded."""
    told = [entry for entry in metrics.values() if "other_direction" in entry]
    if not told:
        return []
    names = {"per_reconstruction": "Per reconstruction", "per_stimulus": "Per stimulus"}
    rows = []
    for entry in told:
        other = entry["other_direction"]
        found = {name: estimate(entry, "reconstruction") for name in names}
        found[other["direction"]] = tables.Estimate(other["value"], *other["ci95"])
        cells = (Cell(value=_value(entry, each), interval=format_interval(entry, each)) for each in found.values())
        p_cell = Cell(value=p_value(entry["p"])) if "p" in entry else Cell(value=MISSING)
        rows.append(Row(label=metric_label(entry), cells=(*cells, p_cell)))
    return [
        Table(
            caption="Two-way identification of each reconstruction among the stimuli, and of each stimulus among the "
            "reconstructions; they differ where some reconstructions resemble every stimulus. p: of the profile's direction, by "
            "exchanges of the reconstructions",
            corner="Metric",
            columns=(*names.values(), "p"),
            rows=tuple(rows),
            fold="Identification in both directions, and p",
        )
    ]


def _alarm(metrics: Mapping[str, Mapping[str, Any]], n: int, groups: Mapping[str, Mapping[str, Any]]) -> list[Text]:
    """Say it if no metric is beyond chance."""
    tested = {entry["label"]: entry["p"] for entry in metrics.values() if "p" in entry}
    said = chance_alarm(tested, n, "metrics", are_same_for_all(groups))
    return [Text(text=said, style="verdict")] if said else []


def _compared_with(conditions: Mapping[str, str]) -> str:
    n = sum(name in tables.BASELINES for name in conditions)
    ceiling = ["the same pipeline fed with the true features (its ceiling)"] if "ceiling" in conditions else []
    baselines = [f"{tables.NUMBERS[n]} baseline{'' if n == 1 else 's'}"] if n else []
    others = " and ".join([*ceiling, *baselines])
    return f", and for {others}" if others else ""


def _ablations(scored: ScoredSet) -> Section:
    conditions = {**scored.ablations, "reconstruction": "Whole method"}
    said = [Text(text=line, style="verdict") for line in tables.ablation_sentences(scored.scores, scored.ablations)]
    note = "Computed from the numbers below, counting only 95 % intervals that do not overlap."
    compared = tables.of_ablated(scored.scores)
    if compared is not scored.scores and compared["n_images"] < len(scored.per_image):
        note += (
            f" All of them, the whole method's too, are of {compared['n_images']} of the {len(scored.per_image)} test pictures, "
            "evenly spaced and scored among themselves: pictures without a part of the method were drawn for these alone."
        )
    return Section(
        name="ablations",
        title="Does each part earn its place?",
        blocks=(
            *said,
            Text(text=note, style="note"),
            panels(compared, conditions, "ablations"),
            scores_table(
                compared,
                conditions,
                "The method without a part of it, and whole",
                "Whole method",
                fold="The same numbers as a table",
            ),
        ),
    )


def gallery_section(scored: ScoredSet) -> Section:
    """Show the best, the median and the worst pictures of a test set by its ranking score, and all of them small."""
    return Section(
        name="gallery",
        title="Best, median and worst",
        blocks=(Text(text=f"{order_said(order_of(scored))} {NUMBERED}"), gallery_of(scored, 4), _contact_sheet(scored)),
    )


def order_of(scored: ScoredSet) -> str:
    """Return by which scores a gallery's pictures are ordered, such as "SwAV, ties by PixCorr"."""
    ranking, tie = (
        scored.scores["metrics"][key]["label"] for key in tables.gallery_metrics(scored.scores, scored.per_image)
    )
    return f"{ranking}, ties by {tie}" if tie != ranking else str(ranking)


NUMBERED = "Test pictures are numbered from 0, places from 1."


def order_said(order: str) -> str:
    """Say how a gallery was cut out of all test pictures; `order` is that of `order_of`."""
    return (
        f"Not chosen by hand: test pictures are ordered by their score in {order}, and cut at the top, in the middle and at the "
        "bottom."
    )


def _further(scored: ScoredSet) -> Section:
    n = len(scored.per_image)
    title, text = scored.heading or (f"Test set {scored.name}", "")
    text = f"{n} further test pictures. They are scored among themselves, and enter no other score of this page. {text}"
    caption = f"Value and 95 % interval of every metric on {n} test pictures"
    name = f"test-set-{re.sub('[^a-z0-9]+', '-', scored.name.lower())}"
    return Section(
        name=name,
        title=title,
        blocks=(
            Text(text=text.strip()),
            panels(scored.scores, scored.conditions, name),
            scores_table(
                scored.scores,
                scored.conditions,
                caption,
                "Reconstruction",
                chance=True,
                fold="The same numbers as a table",
            ),
            gallery_of(scored, 1),
            _contact_sheet(scored),
        ),
    )


def _how_to_read(scored: ScoredSet) -> Section:
    n, scores = len(scored.per_image), scored.scores
    entries = scores["metrics"].values()
    there = {
        "Two-way identification": any(entry.get("chance") is not None for entry in entries),
        "Ceiling": "ceiling" in scored.conditions,
        "Baselines": any(name in tables.BASELINES for name in scored.conditions),
    }
    facts = {
        "Two-way identification": "Features of a reconstruction are correlated with those of the picture seen and with those "
        "of each other test picture. The score is the share of those others that correlate less than the right one. Chance is "
        "50 %.",
        "Ceiling": "The same pipeline, fed with the true features of the picture seen instead of those decoded from responses. "
        "The gap from a perfect score to the ceiling is lost by the generators; that from the ceiling to the reconstruction by "
        "decoding.",
        "Baselines": "The mean of all training pictures, a random training picture, and the reconstructions, each held against "
        "another stimulus, as if responses had been shuffled: these three know nothing of the stimulus, so a decoder that reads "
        "nothing from the brain reaches them. Others know a little, as said below.",
        **_explained(scores.get("chosen_by", {})),
        "Intervals": f"95 % intervals over the {n} test pictures, of one subject and one fit; those of two-way identification "
        "allow for other distractors as well. They do not cover other subjects or other seeds. Intervals that overlap do not "
        "show that two numbers are equal, only that this page does not call them different.",
    }
    facts = {name: text for name, text in facts.items() if there.get(name, True)}
    facts |= scored.notes
    if scores.get("missing"):
        facts["Left out"] = (
            f"Metrics of {', '.join(scores['missing'])}: the checkpoints of these networks were not on this machine."
        )
    facts |= {entry["label"]: entry["description"] for entry in entries if entry.get("description")}
    return Section(
        name="how-to-read",
        title="How to read this page",
        blocks=(Facts(facts=facts, style="explained"),),
        appendix=True,
    )


def _explained(chosen_by: Mapping[str, Any]) -> dict[str, str]:
    """Explain baselines that show training pictures that were chosen: by what, and what they know."""
    nearest, category = chosen_by.get("nearest_training_picture"), chosen_by.get("category_only")
    facts = {}
    if nearest:
        facts[tables.BASELINES["nearest_training_picture"]] = (
            f"The training picture whose features ({nearest['features']}) resemble the decoded ones most, by Pearson correlation "
            "after subtracting the training mean. It uses the brain, but draws nothing: a method that looks its answer up among "
            "known pictures reaches this."
        )
    if category:
        lacking = category["n_without_training_picture"]
        facts[tables.BASELINES["category_only"]] = (
            f"A random training picture of the true category (column {category['column']}, {category['n_categories']} categories "
            "among these test pictures). It uses no brain but is told the truth, so it is a line to compare with: what a decoder "
            "reaches that knows the category and nothing else."
            + (f" {lacking} test pictures have no training picture of their category, and get any." if lacking else "")
        )
    return facts


def headline(entry: Mapping[str, Any]) -> Headline:
    """Print a large number: value, interval, ceiling and the best of the baselines."""
    value, ceiling = estimate(entry, "reconstruction"), estimate(entry, "ceiling")
    best_baseline = tables.best_baseline(entry)
    interval = format_interval(entry, value)
    notes = [f"95 %: {interval}"] if interval else []
    notes += [f"ceiling {_value(entry, ceiling)}"] if ceiling else []
    notes += [f"best baseline {_value(entry, best_baseline[1])}"] if best_baseline else []
    label = "\u00a0".join(metric_label(entry).rsplit(" ", 1))
    return Headline(label=label, value=_value(entry, value), notes=tuple(notes))


def _value(entry: Mapping[str, Any], found: tables.Estimate | None) -> str:
    return format_score(entry, found.value if found else None)


def scores_table(
    scores: Mapping[str, Any],
    conditions: Mapping[str, str],
    caption: str,
    main: str,
    *,
    chance: bool = False,
    fold: str = "",
) -> Table:
    """Print every metric under several conditions, with intervals where there are any.

    Args:
        scores: content of a scores file.
        conditions: columns and how they are printed.
        caption: what the table holds.
        main: column that stands out.
        chance: whether a column says the chance level.
        fold: summary line; if given, the table is collapsed below it.
    """
    rows = []
    for entry in scores["metrics"].values():
        found = [estimate(entry, condition) for condition in conditions]
        cells = [Cell(value=_value(entry, item), interval=format_interval(entry, item)) for item in found]
        cells += [Cell(value=format_score(entry, entry.get("chance")))] if chance else []
        rows.append(Row(label=metric_label(entry), cells=tuple(cells)))
    columns = (*conditions.values(), *(["Chance"] if chance else []))
    return Table(caption=caption, corner="Metric", columns=columns, rows=tuple(rows), main=main, fold=fold)


def panels(scores: Mapping[str, Any], conditions: Mapping[str, str], name: str, note: str = "") -> Figures:
    """Draw one panel for each family of metrics that occurs."""
    drawn: list[Figure] = []
    for number, family in enumerate(tables.FAMILIES):
        entries = [entry for entry in scores["metrics"].values() if tables.metric_family(entry) == family]
        if entries:
            panel = figures.metric_panel(entries, conditions, f"{name}-{number}")
            drawn.append(panel.model_copy(update={"note": "" if drawn else note}))
    return Figures(figures=tuple(drawn))


def gallery_of(scored: ScoredSet, n_each: int) -> Gallery:
    """Describe the gallery's rows: for best, median and worst each picture's place and scores."""
    ranked = tables.rank_images(scored.scores, scored.per_image)
    ranking, _ = tables.gallery_metrics(scored.scores, scored.per_image)
    return Gallery(
        kinds=dict(scored.kinds),
        rows={
            name.capitalize(): tuple(
                _gallery_row(scored, place, row)
                for place, row in zip(rows.index + 1, rows.to_dict("records"), strict=True)
            )
            for name, rows in tables.gallery_rows(ranked, n_each).items()
            if len(rows)
        },
        n_ranked=len(ranked),
        ranking=scored.scores["metrics"][ranking]["label"],
    )


def _gallery_row(scored: ScoredSet, place: int, row: Mapping[Any, Any]) -> GalleryRow:
    metrics = scored.scores["metrics"]
    printed = {entry["label"]: format_score(entry, float(row[key])) for key, entry in metrics.items() if key in row}
    stimulus_id = int(row["stimulus_id"])
    return GalleryRow(
        number=int(row["number"]),
        stimulus_id=stimulus_id,
        name=scored.names.get(stimulus_id, ""),
        place=int(place),
        scores=printed,
    )


def _contact_sheet(scored: ScoredSet) -> ContactSheet:
    """Describe all pictures of a test set with all of their scores, or some of very many."""
    ranking, _ = tables.gallery_metrics(scored.scores, scored.per_image)
    metrics = {key: entry for key, entry in scored.scores["metrics"].items() if key in scored.per_image}
    rows = scored.per_image.sort_values("number").to_dict("records")
    some = rows if len(rows) <= MOST_STRIPS else [rows[place] for place in evenly_spaced(len(rows), MOST_STRIPS)]
    strips = [
        Strip(
            number=int(row["number"]),
            stimulus_id=int(row["stimulus_id"]),
            score=format_score(metrics[ranking], float(row[ranking])),
            stimulus_name=scored.names.get(int(row["stimulus_id"]), ""),
            scores=tuple(float(row[key]) if np.isfinite(row[key]) else None for key in metrics),
            flags=scored.flags.get(int(row["number"]), ()),
            neighbours=scored.neighbours.get(int(row["number"]), ()),
        )
        for row in some
    ]
    return ContactSheet(
        kinds=dict(scored.kinds),
        strips=tuple(strips),
        ranking=metrics[ranking]["label"],
        metrics=tuple(
            SheetMetric(
                label=entry["label"],
                in_percent=tables.metric_family(entry) in tables.IDENTIFICATION,
                higher_is_better=entry["higher_is_better"],
            )
            for entry in metrics.values()
        ),
        profile=str(scored.scores.get("profile") or ""),
        scored=scored.scored_kind if scored.scored_kind in scored.kinds else "",
        scores_of=scored.scores_of or scored.kinds.get(scored.scored_kind, ""),
        n_pictures=len(rows) if len(some) < len(rows) else 0,
    )


def noise_ceiling_section(noise_ceiling: Mapping[str, Any]) -> Section:
    """Describe the noise ceilings of regions: a figure, and which regions are empty.

    Args:
        noise_ceiling: content of `noise_ceiling.json`, with at least one region.
    """
    rois = noise_ceiling["rois"]
    note = str(noise_ceiling.get("note") or "").rstrip(".")
    text = (
        "The share of a voxel's variance that any model could explain, given its repeats: median (dot) and quartiles (line) "
        f"over the region's voxels. {note[:1].upper()}{note[1:]}{'.' if note else ''}"
    )
    known = {name: roi for name, roi in rois.items() if "median" in roi or not roi["n_voxels"]}
    unknown = [name for name in rois if name not in known]
    said = [f"{name} is empty: {roi.get('note') or 'no voxels'}" for name, roi in rois.items() if not roi["n_voxels"]]
    said += [f"{', '.join(unknown)}: {rois[unknown[0]]['note']}."] if unknown else []
    drawn = any("median" in roi for roi in known.values())
    panel = [Figures(figures=(Figure(svg=figures.noise_ceiling_panel(known, "noise-ceiling")),))] if drawn else []
    blocks = (Text(text=text.strip()), *panel, *(Text(text=line, style="note") for line in said))
    return Section(name="noise-ceiling", title="Noise ceiling of each region", blocks=blocks)
