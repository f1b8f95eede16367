"""Findings 2 and 3 of a reproduction: scores and ablations, beside the published ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from braindiffuser.report.finding_notes import SEM, sem_text, without_groups, without_networks
from braindiffuser.report.numbers import MISSING
from braindiffuser.report.score_sections import panels
from braindiffuser.report.sections import (
    Block,
    Cell,
    Row,
    Section,
    Table,
    Text,
)
from braindiffuser.report.tables import Estimate, format_interval, format_score, metric_label

OTHERS = "other pictures and other brains"
COLUMN = "column "
"""Beginning of the names that columns have as conditions of a panel: a subject may be called as one of its own is."""


def scores_finding(found: Mapping[str, Any]) -> Section:
    """Show every metric by subject, beside both published rows.

    Args:
        found: content of `findings.json`.
    """
    scores = found["scores"]
    said = [Text(text=line, style="verdict") for line in position_sentences(scores)]
    notes = {title: text for run in found["runs"] for title, text in run["notes"].items()}
    if any(run["simulated"] for run in found["runs"]):
        said = [Text(text=f"Subjects are simulated: published values are of {OTHERS}.", style="note")]
    elif notes:  # metrics of stand-in networks
        said = [Text(text=f"{title}: {text}", style="note") for title, text in notes.items()]
    elif any(run["dataset"] != "nsd" for run in found["runs"]):
        said = [Text(text="Published values are of 982 test pictures of NSD, not of these.", style="note"), *said]
    figure = panels(
        {"metrics": {key: _by_column(entry) for key, entry in scores.items()}},
        {f"{COLUMN}{name}": label for name, label in _columns(scores).items()},
        "finding-2",
    )
    return Section(
        name="finding-2",
        title="2. Scores, subject by subject",
        blocks=(
            *said,
            figure,
            scores_by_subject(scores),
            Text(
                text="Intervals are over test pictures of one subject. SEM: standard error over subjects (std, ddof 1, over √n). "
                "The two published rows are both in use: Table 1 of the paper, and a row that later papers print, with another "
                "test set and other networks' weights.",
                style="note",
            ),
            *_other_weights(scores),
            *without_networks(found),
        ),
    )


def _other_weights(scores: Mapping[str, Any]) -> list[Text]:
    """Say which published values no subject is held against."""
    said = [
        f"{entry['label']} of “{row}” is of other weights of that network, so no subject is held against it."
        for entry in scores.values()
        for row in entry["original"]
        if row not in entry["position"]
    ]
    return [Text(text=text, style="note") for text in said]


def position_sentences(scores: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each published row: on which metrics subjects lie within, above and below it."""
    rows = list(dict.fromkeys(row for entry in scores.values() for row in entry["original"]))
    said = []
    for row in rows:
        parts = []
        for entry in scores.values():
            if row in entry["position"]:
                published = format_score(entry, entry["original"][row])
                parts.append(f"{entry['label']} {published}: {', '.join(_counted(entry, row))}")
        said.append(
            f"Against “{row}” (within: a subject's 95 % interval holds the published value): {'; '.join(parts)}."
        )
    return said


def _counted(entry: Mapping[str, Any], row: str) -> list[str]:
    """Count the subjects that lie within, above and below a published value; a mean over several runs has no interval."""
    words = {"within": "equal", "above": "above", "below": "below"}
    said = [
        place if entry["subjects"][subject][1] is not None else f"{words[place]} without an interval"
        for subject, place in entry["position"][row].items()
    ]
    order = [*words, *(f"{word} without an interval" for word in words.values())]
    return [f"{said.count(place)} {place}" for place in order if place in said]


def _columns(scores: Mapping[str, Any]) -> dict[str, str]:
    subjects = dict.fromkeys(subject for entry in scores.values() for subject in entry["subjects"])
    rows = dict.fromkeys(row for entry in scores.values() for row in entry["original"])
    return {
        **{name: name for name in subjects},
        "mean over subjects": "Mean over subjects",
        **{name: name for name in rows},
    }


def _by_column(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a metric's entry in which columns are conditions of a panel, by names that no other condition has."""
    values = {name: own[0] for name, own in entry["subjects"].items()}
    values |= {"mean over subjects": entry["mean"], **entry["original"]}
    intervals = {name: own[1:] for name, own in entry["subjects"].items() if own[1] is not None}
    return {
        **entry,
        "baselines": {},
        "ablations": {f"{COLUMN}{name}": value for name, value in values.items()},
        "ablations_ci95": {f"{COLUMN}{name}": interval for name, interval in intervals.items()},
    }


def scores_by_subject(scores: Mapping[str, Any]) -> Table:
    """Print every metric by subject, beside the published rows; `scores` is that entry of `findings.json`."""
    columns = _columns(scores)
    rows = []
    for entry in scores.values():
        cells = []
        for column in columns:
            if column in entry["subjects"]:
                found = Estimate(*entry["subjects"][column])
                cells.append(Cell(value=format_score(entry, found.value), interval=format_interval(entry, found)))
            elif column in entry["original"]:
                cells.append(Cell(value=format_score(entry, entry["original"][column])))
            elif column == "mean over subjects":
                cells.append(Cell(value=format_score(entry, entry["mean"]), interval=sem_text(entry, entry["sem"])))
            else:
                cells.append(Cell(value=MISSING))
        rows.append(Row(label=metric_label(entry), cells=tuple(cells)))
    return Table(
        caption="Every metric by subject with its 95 % interval over pictures, the mean over subjects, and both published rows",
        corner="Metric",
        columns=tuple(columns.values()),
        rows=tuple(rows),
        main="Mean over subjects",
        beside="95 % interval or SEM",
    )


def ablations_finding(found: Mapping[str, Any]) -> Section:
    """Show the variants on every metric, with what the numbers say of the five claims; `found`: content of `findings.json`."""
    ablations = found["ablations"]
    metrics = ablations["metrics"]
    title = "3. Each component contributes"
    if not metrics:
        text = Text(text="No ablation was drawn, so this finding is not tested.")
        return Section(name="finding-3", title=title, blocks=(text,))
    variants = dict.fromkeys(name for entry in metrics.values() for name in entry["mean"])
    conditions = {name: ablations["labels"].get(name, name.replace("_", " ")) for name in variants}
    scores = {"metrics": {key: _by_variant(entry) for key, entry in metrics.items()}}
    numbers = ", ".join(
        f"{n if isinstance(n, int) else ' + '.join(map(str, n))} ({subject})"
        for subject, n in ablations["n_images"].items()
    )
    subjects = list(dict.fromkeys(subject for entry in metrics.values() for subject in entry["subjects"]))
    blocks: list[Block] = [
        *(Text(text=claim["sentence"], style="verdict") for claim in ablations["claims"]),
        *without_groups(found),
        Text(text=f"All variants were scored on the same test pictures: {numbers}. The original is subject 1 of NSD."),
        panels(scores, conditions, "finding-3"),
        _variants_table(metrics, conditions, "Mean over subjects, with the standard error over them", None),
        *(_variants_table(metrics, conditions, f"Subject {subject}", subject) for subject in subjects),
        _original_table(metrics, conditions),
    ]
    return Section(name="finding-3", title=title, blocks=tuple(blocks))


def _by_variant(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {**entry, "baselines": {}, "ablations": entry["mean"], "ablations_ci95": {}}


def _variants_table(
    metrics: Mapping[str, Any], conditions: Mapping[str, str], caption: str, subject: str | None
) -> Table:
    rows = []
    for entry in metrics.values():
        values = entry["mean"] if subject is None else entry["subjects"][subject]
        sems = entry["sem"] if subject is None else {}
        cells = [
            Cell(value=format_score(entry, values.get(name)), interval=sem_text(entry, sems.get(name)))
            for name in conditions
        ]
        rows.append(Row(label=metric_label(entry), cells=tuple(cells)))
    return Table(
        caption=caption,
        corner="Metric",
        columns=tuple(conditions.values()),
        rows=tuple(rows),
        main=conditions.get("full", ""),
        fold="" if subject is None else f"The same of subject {subject}",
        beside=SEM,
    )


def _original_table(metrics: Mapping[str, Any], conditions: Mapping[str, str]) -> Table:
    rows = [
        Row(
            label=metric_label(entry),
            cells=tuple(Cell(value=format_score(entry, entry["original"].get(name))) for name in conditions),
        )
        for entry in metrics.values()
        if entry["original"]
    ]
    return Table(
        caption="Table 2 of the paper: subject 1 of NSD",
        corner="Metric",
        columns=tuple(conditions.values()),
        rows=tuple(rows),
        main=conditions.get("full", ""),
        fold="The original: Table 2 of the paper",
    )
