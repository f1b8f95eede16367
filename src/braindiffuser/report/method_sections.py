"""Tables and sections on several methods that were scored on the same pictures, from what `evaluate_methods` returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from braindiffuser.report import tables
from braindiffuser.report.beyond_chance import ALPHA
from braindiffuser.report.numbers import join, number, p_value
from braindiffuser.report.score_sections import DOTS, ScoredSet, gallery_section, panels, scores_table
from braindiffuser.report.sections import (
    Block,
    Cell,
    ContactSheet,
    Facts,
    Gallery,
    Row,
    Section,
    Sentences,
    Table,
    Text,
)
from braindiffuser.report.tables import IDENTIFICATION, Comparison, metric_family, metric_label

SEEN = "seen"
"""Kind of the pictures that were seen; those of methods are `kinds_of`."""
SHUFFLED = "shuffled_responses"
"""Condition in figures under which the shuffled pictures stand, for their mark."""
P_DIGITS = 5
"""Decimals of p in files for programs; the smallest p of 10,000 random signs is 0.0001."""


def kinds_of(scores: Mapping[str, Any]) -> dict[str, str]:
    """Return kind of picture → name of the method, for the page, in the order in which methods were given."""
    return {f"method-{place}": name for place, name in enumerate(scores["methods"])}


def methods_table(scores: Mapping[str, Any]) -> Table:
    """Put all methods side by side: value and 95 % interval of every metric, the shuffled baseline, and chance."""
    conditions = _conditions(scores)
    caption = f"Value and 95 % interval of every metric on {scores['n_images']:,} pictures"
    return scores_table(_merged(scores), conditions, caption, scores["against"], chance=True)


def comparison_table(scores: Mapping[str, Any], corner: str = "Method and metric", on: str = "") -> Table:
    """Put differences from the reference in rows, with interval, p, and p adjusted for all of them.

    Args:
        scores: of two methods or more: `methods`, `against`, `comparisons` and `n_images` are read.
        corner: what rows are named by.
        on: which pictures they are of; empty: their number.
    """
    rows = [
        Row(
            label=f"{name}: {metric_label(entry)}",
            cells=(
                _difference(entry, found),
                Cell(value=p_value(found["p"])),
                Cell(value=p_value(found["p_holm"])),
                Cell(value=WORDS[verdict(entry, found)]),
            ),
        )
        for name, key, entry, found in _pairs(scores)
    ]
    has_shares = any(metric_family(entry) in IDENTIFICATION for entry in _entries(scores).values())
    in_points = "; pp: percentage points" if has_shares else ""
    pictures = on or f"the same {scores['n_images']:,} pictures"
    return Table(
        caption=f"Difference from {scores['against']} on {pictures}, with 95 % "
        f"interval{in_points}; p of the sign-flip test, as it is and adjusted for all {len(rows)} (Holm)",
        corner=corner,
        columns=("Difference", "p", "p, adjusted", f"Than {scores['against']}"),
        rows=tuple(rows),
        main="Difference",
    )


WORDS: Mapping[Comparison, str] = {"better": "better", "worse": "worse", "overlap": "not shown"}


def programs_table(scores: Mapping[str, Any]) -> Table:
    """Put everything in one table for programs: a row per metric, methods and then differences in columns."""
    table = methods_table(scores)
    others = list(scores["comparisons"])
    rows = []
    for (key, entry), row in zip(_entries(scores).items(), table.rows, strict=True):
        cells = list(row.cells)
        for name in others:
            found = scores["comparisons"][name][key]
            cells += [_difference(entry, found), *(Cell(value=number(found[p], P_DIGITS)) for p in ("p", "p_holm"))]
        rows.append(Row(label=key, cells=tuple(cells)))
    columns = [f"{name} - {scores['against']}{rest}" for name in others for rest in ("", ", p", ", p (Holm)")]
    return Table(caption=table.caption, corner="Metric", columns=(*table.columns, *columns), rows=tuple(rows))


def verdict(entry: Mapping[str, Any], found: Mapping[str, Any]) -> Comparison:
    """Return whether a method is better or worse than the reference on a metric by its adjusted p; "overlap" if neither is shown.

    >>> verdict({"higher_is_better": False}, {"difference": -0.1, "p_holm": 0.01})
    'better'
    """
    if found["p_holm"] > ALPHA or found["difference"] == 0:
        return "overlap"
    return "better" if (found["difference"] > 0) == entry["higher_is_better"] else "worse"


def verdict_sentences(scores: Mapping[str, Any]) -> list[str]:
    """Say of each method where it is better and worse than the reference, and where neither is shown."""
    said = []
    for name, compared in scores["comparisons"].items():
        named: dict[Comparison, list[str]] = {"better": [], "worse": [], "overlap": []}
        for key, found in compared.items():
            entry = _entries(scores)[key]
            named[verdict(entry, found)].append(entry["label"])
        parts = [f"better on {join(named['better'])}"] if named["better"] else []
        parts += [f"worse on {join(named['worse'])}"] if named["worse"] else []
        parts += [f"no difference is shown on {join(named['overlap'])}"] if named["overlap"] else []
        said.append(f"{name}, compared with {scores['against']} on the same pictures: {'; '.join(parts)}.")
    return said


def method_sections(scores: Mapping[str, Any], notes: Sequence[str]) -> list[Section]:
    """Make the sections of a page on methods.

    Args:
        scores: what `evaluate_methods` returns.
        notes: what was left out, and what is unusual.
    """
    compared = [_comparisons(scores)] if scores["comparisons"] else []
    return [_scores(scores, notes), *compared, _gallery(scores), _how_to_read(scores)]


def _scores(scores: Mapping[str, Any], notes: Sequence[str]) -> Section:
    names = list(scores["methods"])
    text = (
        f"Every metric for the pictures of {join(names)}, on the {scores['n_images']:,} pictures that "
        f"{'all methods have' if len(names) > 1 else 'both folders have'}; profile {scores['profile']}."
    )
    doubts = [f"{note}." for note in notes if note in scores.get("alarms", ())]
    sources = {name: own["source"] for name, own in scores["methods"].items()} | {"What was seen": scores["seen"]}
    blocks: list[Block] = [
        *([Sentences(heading="Look here first", sentences=tuple(doubts), style="alarm")] if doubts else []),
        *(Text(text=line, style="verdict") for line in verdict_sentences(scores)),
        Text(text=text),
        panels(_merged(scores), _conditions(scores), "scores", DOTS),
        methods_table(scores),
        *(Text(text=f"{note}.", style="note") for note in notes if note not in scores.get("alarms", ())),
        Facts(facts=sources),
    ]
    return Section(name="scores", title="Scores", blocks=tuple(blocks))


def _comparisons(scores: Mapping[str, Any]) -> Section:
    text = (
        "Differences are taken picture by picture, so that what makes a picture easy or hard for all methods drops out. A "
        "difference is called one only if its adjusted p is at most .05."
    )
    return Section(
        name="comparison",
        title=f"Compared with {scores['against']}",
        blocks=(Text(text=text), comparison_table(scores)),
    )


def _gallery(scores: Mapping[str, Any]) -> Section:
    """Show pictures that are best, in the middle and worst by the reference's ranking score, by all methods side by side."""
    reference = scores["methods"][scores["against"]]
    n = scores["n_images"]
    table = pd.DataFrame({"number": range(n), "stimulus_id": range(n), **reference["per_image"]})
    scored = ScoredSet(
        name="test",
        scores={**scores, "metrics": reference["metrics"]},
        per_image=table,
        kinds={SEEN: "Seen", **kinds_of(scores)},
        ablations={},
        scored_kind=next(kind for kind, name in kinds_of(scores).items() if name == scores["against"]),
        names=dict(enumerate(scores["names"])),
    )
    section = gallery_section(scored)
    ranking, _ = tables.gallery_metrics(scored.scores, table)
    text = (
        f"Not chosen by hand: pictures are ordered by the {reference['metrics'][ranking]['label']} of {scores['against']}, whose "
        "scores stand beside them, and cut at the top, in the middle and at the bottom. They are called as the files of what was "
        "seen are; pictures of a stack by their number, from 0."
    )
    blocks = (Text(text=text), *(_by_name(block, scored.names) for block in section.blocks[1:]))
    return section.model_copy(update={"blocks": blocks})


def _by_name(block: Block, names: Mapping[int, str]) -> Block:
    """Call stimuli by their names alone: places in a folder or a stack are no ids of anything."""
    if isinstance(block, Gallery):
        return block.model_copy(update={"by_name": True})
    if isinstance(block, ContactSheet):
        named = (
            strip.model_copy(update={"name": names[strip.stimulus_id], "stimulus_name": ""}) for strip in block.strips
        )
        return block.model_copy(update={"strips": tuple(named)})
    return block


def _how_to_read(scores: Mapping[str, Any]) -> Section:
    entries = _entries(scores).values()
    facts = {
        "Intervals": f"95 % intervals over the {scores['n_images']:,} pictures. They do not cover other subjects or seeds.",
        f"{scores['against']}, shuffled": "The same pictures, each held against another stimulus: what unrelated pictures of "
        "this kind score.",
    }
    if any(metric_family(entry) == "Two-way identification" for entry in entries):
        facts["Two-way identification"] = (
            "Features of a reconstruction are correlated with those of the picture seen and with those of each other picture. "
            "The score is the share of those others that correlate less than the right one. Chance is 50 %."
        )
    if scores["comparisons"]:
        facts["Differences"] = differences_explained("method")
    if scores["missing"]:
        facts["Left out"] = (
            f"Metrics of {join(list(scores['missing']))}: the files of these networks were not on this machine."
        )
    facts |= scores.get("notes", {})
    facts |= {entry["label"]: entry["description"] for entry in entries if entry.get("description")}
    return Section(
        name="how-to-read",
        title="How to read this page",
        blocks=(Facts(facts=facts, style="explained"),),
        appendix=True,
    )


def differences_explained(of: str) -> str:
    """Say how the interval and p of a paired difference are made; `of` is what is compared, such as "method"."""
    return (
        "The interval is Student's t of the differences, picture by picture; for identification, of the jackknife's "
        "pseudo-values, since every picture is also a distractor of the others. p is that of the sign-flip test: how often "
        f"a mean difference as large comes about if, picture by picture, it is left to chance which {of} is which. Adjusted "
        "p values may be read together (Holm 1979)."
    )


def _entries(scores: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Return the entries of the reference, whose facts are those of all methods."""
    entries: Mapping[str, Mapping[str, Any]] = scores["methods"][scores["against"]]["metrics"]
    return entries


def _pairs(scores: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]]:
    return [
        (name, key, _entries(scores)[key], found)
        for name, compared in scores["comparisons"].items()
        for key, found in compared.items()
    ]


def _conditions(scores: Mapping[str, Any]) -> dict[str, str]:
    """Return condition → heading of the reference, the other methods, and the reference's pictures shuffled."""
    methods = {"reconstruction" if name == scores["against"] else kind: name for kind, name in kinds_of(scores).items()}
    return {**methods, SHUFFLED: f"{scores['against']}, shuffled"}


def _merged(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Put all methods into one scores file: the reference as the reconstruction, others as if they were ablations of it."""
    others = {kind: name for kind, name in kinds_of(scores).items() if name != scores["against"]}
    metrics = {}
    for key, entry in _entries(scores).items():
        own = {kind: scores["methods"][name]["metrics"][key] for kind, name in others.items()}
        metrics[key] = {
            **entry,
            "baselines": {SHUFFLED: entry["baselines"]["shuffled_pictures"]},
            "baselines_ci95": {SHUFFLED: entry["baselines_ci95"]["shuffled_pictures"]},
            "ablations": {kind: found["value"] for kind, found in own.items()},
            "ablations_ci95": {kind: found["ci95"] for kind, found in own.items()},
        }
    return {"profile": scores["profile"], "n_images": scores["n_images"], "metrics": metrics}


def _difference(entry: Mapping[str, Any], found: Mapping[str, Any]) -> Cell:
    return signed_difference(entry, found["difference"], found["ci95"])


def signed_difference(entry: Mapping[str, Any], value: float, interval: Sequence[float] = ()) -> Cell:
    """Print a difference of scores of a metric, in percentage points where these are shares, and its interval if there is one."""
    is_share = metric_family(entry) in IDENTIFICATION
    scale, digits, unit = (100, 1, " pp") if is_share else (1, 3, "")
    printed, *ends = (number(scale * each, digits, signed=True) for each in (value, *interval))
    return Cell(value=f"{printed}{unit}", interval=f"{' – '.join(ends)}{unit}" if ends else "")
