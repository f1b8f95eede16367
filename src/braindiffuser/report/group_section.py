"""The section on groups of pictures: scores group by group, and whether variants differ by other amounts in some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from braindiffuser.report.beyond_chance import ALPHA, beyond_chance, fewest_draws
from braindiffuser.report.numbers import join, p_value
from braindiffuser.report.score_sections import panels
from braindiffuser.report.sections import Cell, Row, Section, Table, Text
from braindiffuser.report.tables import Estimate, format_interval, format_score, metric_label


def group_section(name: str, facts: Mapping[str, Any]) -> Section:
    """Show scores by group and the interactions of group and variant.

    Args:
        name: of the section.
        facts: "column", "reference" (a group), "kinds" (two kinds of pictures), "groups" (name → number of pictures),
            "left_out" (value → pictures), "n_permutations", "remarks" (sentences), if there are any, and "metrics": key → facts
            of the metric, "means" (kind → group → value, low, high) and "interactions" (group → "value", "ci95", "p_value",
            "p_corrected").
    """
    first, second = facts["kinds"]
    groups, reference, metrics = facts["groups"], facts["reference"], facts["metrics"]
    sizes = ", ".join(f"{group} ({n})" for group, n in groups.items())
    text = (
        f"Test pictures by {facts['column']}: {sizes}. Every picture was scored among all test pictures, and the scores were "
        "averaged group by group, so candidates of two-way identification are the same for all groups."
    )
    left = ", ".join(f"{value}: {n}" for value, n in facts["left_out"].items())
    said = [Text(text=f"Left out, since a group needs five pictures or more: {left}.", style="note")] if left else []
    said += [Text(text=text, style="note") for text in facts.get("remarks", ())]
    blocks = [Text(text=line, style="verdict") for line in interaction_sentences(facts)]
    scores = {"metrics": {key: _as_conditions(entry, first) for key, entry in metrics.items()}}
    conditions = {group: f"{group} ({n})" for group, n in groups.items()}
    tables = [_means(facts, kind) for kind in (first, second)]
    others = [group for group in groups if group != reference]
    if others:
        explained = (
            f"Interaction: how far {_printed(first)} is from {_printed(second)} in a group, less the same in {reference}. A "
            "group that is easy for both cancels. Where the generator's training pictures resemble a group, its pictures gain in "
            "that group from the whole method alone. Intervals are Welch's. p: share of exchanges of the group labels over "
            "pictures that give as large a value in units of its standard error, of either sign; corrected p: on any of the "
            "metrics. The sentences above follow from corrected p, which they correct over groups too (Holm)."
        )
        tables.append(_interactions(facts, others))
        said.append(Text(text=explained, style="note"))
    figures = panels(scores, conditions, f"{name}-groups")
    return Section(
        name=name,
        title=f"Scores by {facts['column']}",
        blocks=(*blocks, Text(text=text), figures, *tables, *said),
    )


def interaction_sentences(facts: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each group: on which metrics the two variants differ there by other amounts than in the reference.

    Each group's p is corrected for all metrics, and its smallest one is tested among those of all groups (Holm): of n groups, the
    k-th smallest (k = 0 …) is held against .05 / (n − k), and so are the group's other metrics. Of fewer exchanges of labels than
    one group among n needs, nothing is said.

    Args:
        facts: as in `group_section`.
    """
    others = [group for group in facts["groups"] if group != facts["reference"]]
    needed, n_exchanges = fewest_draws(len(others)), facts.get("n_permutations")  # runs of before have no number
    if n_exchanges is not None and n_exchanges < needed:
        return [
            f"{group}: whether variants differ by other amounts than in {facts['reference']} is not said, since {n_exchanges:,} "
            f"exchanges of labels were drawn and {len(others)} groups need {needed:,} (`n_permutations`)."
            for group in others
        ]
    smallest = {
        group: min(entry["interactions"][group]["p_corrected"] for entry in facts["metrics"].values())
        for group in others
    }
    beyond, in_order = beyond_chance(smallest), sorted(others, key=smallest.__getitem__)
    return [
        _sentence(facts, group, len(others) - in_order.index(group), n_groups=len(others), is_beyond=group in beyond)
        for group in others
    ]


def _sentence(facts: Mapping[str, Any], group: str, n_tested: int, *, n_groups: int, is_beyond: bool) -> str:
    """Say on which metrics a group has an interaction.

    Args:
        facts: as in `group_section`.
        group: not the reference.
        n_tested: groups for which its p are corrected: itself and those of a larger p.
        n_groups: all groups but the reference.
        is_beyond: whether its smallest p is shown among those of all groups.
    """
    first, second = map(_printed, facts["kinds"])
    found = [
        entry
        for entry in facts["metrics"].values()
        if is_beyond and entry["interactions"][group]["p_corrected"] * n_tested <= ALPHA
    ]
    better = [
        entry["label"] for entry in found if (entry["interactions"][group]["value"] > 0) == entry["higher_is_better"]
    ]
    worse = [entry["label"] for entry in found if entry["label"] not in better]
    n = len(facts["metrics"])
    counted = [f"{n} metrics"] * (n > 1) + [f"{n_groups} groups"] * (n_groups > 1)
    corrected = f", corrected over {join(counted)}" if counted else ""
    if not found:
        on = "the only metric" if n == 1 else "every metric"
        return (
            f"{group}: no interaction is shown (p > {ALPHA:g} on {on}{corrected}): {first} differs from {second} as much as in "
            f"{facts['reference']}, as far as these pictures tell."
        )
    parts = [f"better on {', '.join(better)}"] * bool(better) + [f"worse on {', '.join(worse)}"] * bool(worse)
    return (
        f"{group}: against {second}, {first} does {' and '.join(parts)} than in {facts['reference']} (p ≤ {ALPHA:g}{corrected}; "
        f"{len(found)} of {n} metrics)."
    )


def _as_conditions(entry: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return a metric's entry in which each group is a condition of a panel."""
    means = entry["means"][kind]
    own = {group: found[0] for group, found in means.items()}
    return {**entry, "baselines": {}, "ablations": own, "ablations_ci95": {g: m[1:] for g, m in means.items()}}


def _means(facts: Mapping[str, Any], kind: str) -> Table:
    rows = [
        Row(
            label=metric_label(entry),
            cells=tuple(_cell(entry, Estimate(*own)) for own in entry["means"][kind].values()),
        )
        for entry in facts["metrics"].values()
    ]
    return Table(
        caption=f"Mean and 95 % interval over pictures of each group: {_printed(kind)}",
        corner="Metric",
        columns=tuple(facts["groups"]),
        rows=tuple(rows),
        fold=f"The numbers of {_printed(kind)} as a table",
    )


def _interactions(facts: Mapping[str, Any], others: list[str]) -> Table:
    rows = []
    for entry in facts["metrics"].values():
        found = [entry["interactions"][group] for group in others]
        cells = []
        for each in found:
            p = (Cell(value=p_value(each[kind])) for kind in ("p_value", "p_corrected"))
            cells += [_cell(entry, Estimate(each["value"], *each["ci95"])), *p]
        rows.append(Row(label=metric_label(entry), cells=tuple(cells)))
    columns = [column for group in others for column in (f"{group} − {facts['reference']}", "p", "Corrected p")]
    return Table(
        caption=f"Interaction of group and variant ({' − '.join(map(_printed, facts['kinds']))}), with 95 % intervals",
        corner="Metric",
        columns=tuple(columns),
        rows=tuple(rows),
    )


def _cell(entry: Mapping[str, Any], found: Estimate) -> Cell:
    return Cell(value=format_score(entry, found.value), interval=format_interval(entry, found))


def _printed(kind: str) -> str:
    return {"final": "the whole method", "low_level": "the low level alone"}.get(kind, kind.replace("_", " "))
