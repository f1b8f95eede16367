"""Sections on settings that were compared on the same subjects and pictures, from the content of `comparison.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from braindiffuser.report import tables
from braindiffuser.report.method_sections import (
    comparison_table,
    differences_explained,
    signed_difference,
    verdict_sentences,
)
from braindiffuser.report.numbers import MISSING, join
from braindiffuser.report.score_sections import DOTS, ScoredSet, gallery_of, order_of, order_said, panels, scores_table
from braindiffuser.report.sections import Block, Cell, Facts, Links, Row, Section, Sentences, Table, Text
from braindiffuser.report.study_sections import few_sentence
from braindiffuser.report.tables import metric_family, metric_label

N_EACH = 2
"""Best, median and worst pictures of each subject."""


def setting_sections(
    found: Mapping[str, Any], shown: Sequence[str], per_image: Mapping[str, pd.DataFrame]
) -> list[Section]:
    """Make the sections of a page on settings.

    Args:
        found: content of `comparison.json`.
        shown: settings whose pictures stand side by side.
        per_image: subject → scores of its test pictures under the setting that others are compared with.
    """
    return [
        _scores(found),
        *([_comparisons(found)] if any(found["comparisons"].values()) else []),
        _gallery(found, shown, per_image),
        _settings(found),
        _how_to_read(found),
    ]


def lead_of(found: Mapping[str, Any]) -> str:
    """Return the first paragraph of the page."""
    n, settings = len(found["subjects"]), list(found["settings"])
    simulated = " No human brain was recorded: these numbers test the method and say nothing about people."
    return (
        f"What {f'{n} subjects' if n > 1 else found['subjects'][0]} saw was reconstructed from fMRI responses under "
        f"{len(settings)} settings: {join(settings)}.{simulated if found['simulated'] else ''}"
    )


def _scores(found: Mapping[str, Any]) -> Section:
    whole, conditions = _merged(found), _conditions(found)
    n = len(found["subjects"])
    of_whom = f"means over {n} subjects" if n > 1 else f"of {found['subjects'][0]}"
    doubts = tuple(f"{each['sentence']} ({'; '.join(each['runs'])})" for each in found["doubts"])
    blocks: list[Block] = [
        *([Sentences(heading="Look here first", sentences=doubts, style="alarm")] if doubts else []),
        *(Text(text=line, style="verdict") for line in verdict_sentences(_as_methods(found))),
        *(Text(text=line, style="verdict") for line in _not_compared(found)),
        Text(
            text=f"Every metric under {len(found['settings'])} settings, {of_whom}; profile {found['profile']}. "
            "Intervals are over test pictures."
        ),
        panels(whole, conditions, "settings", DOTS),
        scores_table(
            whole,
            conditions,
            f"Value and 95 % interval of every metric under each setting, {of_whom}",
            found["against"],
            chance=True,
        ),
        *(Text(text=remark, style="note") for remark in found["remarks"]),
    ]
    return Section(name="scores", title="Scores under each setting", blocks=tuple(blocks))


def _comparisons(found: Mapping[str, Any]) -> Section:
    n = len(found["subjects"])
    text = (
        "Differences are taken subject by subject and picture by picture, so that what makes a picture or a person easy or hard "
        "under all settings drops out. A difference is called one only if its adjusted p is at most .05; intervals are not "
        "adjusted, so one that leaves out 0 may be no difference here."
    )
    each = [_by_subject(found)] if n > 1 else []
    return Section(
        name="comparison",
        title=f"Compared with {found['against']}",
        blocks=(
            Text(text=f"{text} {few_sentence(n) if n > 1 else ''}".strip()),
            comparison_table(_as_methods(found), "Setting and metric", _pictures_said(found)),
            *each,
        ),
    )


def _by_subject(found: Mapping[str, Any]) -> Table:
    """Print the difference of each subject, and the interval over subjects."""
    rows = []
    for setting, entry, own in _pairs(found):
        interval = own["ci95_subjects"] if len(set(own["subjects"].values())) > 1 else ()
        cells = [signed_difference(entry, own["subjects"][name]) for name in found["subjects"]]
        mean = signed_difference(entry, own["difference"], interval or ())
        rows.append(Row(label=f"{setting}: {metric_label(entry)}", cells=(*cells, mean)))
    return Table(
        caption=f"Difference from {found['against']} of each subject, and their mean; its 95 % interval is over subjects, where "
        "they differ",
        corner="Setting and metric",
        columns=(*found["subjects"], "Mean, over subjects"),
        rows=tuple(rows),
        fold="Each subject, and the interval over subjects",
        main="Mean, over subjects",
    )


def _gallery(found: Mapping[str, Any], shown: Sequence[str], per_image: Mapping[str, pd.DataFrame]) -> Section:
    metrics = found["settings"][found["against"]]["metrics"]
    blocks: list[Block] = []
    for number, (subject, table) in enumerate(per_image.items()):
        kinds = {f"{number}.seen": "Seen"} | {f"{number}.{place}": name for place, name in enumerate(shown)}
        own = table.assign(number=range(len(table)))
        scored = ScoredSet(name="test", scores={"metrics": metrics}, per_image=own, kinds=kinds, ablations={}, names={})
        if not blocks:
            blocks.append(Text(text=f"{order_said(order_of(scored))} Scores are those of {found['against']}."))
        blocks += [Text(text=f"Subject {subject}"), gallery_of(scored, N_EACH)]
    return Section(name="gallery", title="The same pictures under each setting", blocks=tuple(blocks))


def _settings(found: Mapping[str, Any]) -> Section:
    entries = list(dict.fromkeys(entry for own in found["settings"].values() for entry in own["entries"]))
    table = Table(
        caption="Entries that a setting changes, as the runs under each have them",
        corner="Entry",
        columns=tuple(found["settings"]),
        rows=tuple(
            Row(
                label=entry,
                cells=tuple(Cell(value=own["entries"].get(entry, MISSING)) for own in found["settings"].values()),
            )
            for entry in entries
        ),
    )
    blocks: list[Block] = [table]
    for setting, own in found["settings"].items():
        study = found["studies"].get(own["study"], {})
        links = {f"{setting}, {subject}": page for subject, page in own["runs"].items()}
        links |= {f"{setting}, all subjects": study["page"]} if study.get("page") else {}
        blocks.append(Links(links=links))
    return Section(name="settings", title="Settings and runs", blocks=tuple(blocks))


def _how_to_read(found: Mapping[str, Any]) -> Section:
    n, metrics = len(found["subjects"]), found["settings"][found["against"]]["metrics"]
    shared = (
        "All subjects saw the same test pictures, so a picture's difference is its mean over subjects."
        if found["shared_pictures"]
        else "Each subject saw other test pictures, which count as independent samples."
    )
    facts = {
        "Differences": f"{differences_explained('setting')} {shared if n > 1 else ''}".strip(),
        "What they hold for": "These subjects and seeds. Whether other people would show the same is in the interval over "
        "subjects, where there are several.",
    }
    if any(metric_family(entry) == "Two-way identification" for entry in metrics.values()):
        facts["Two-way identification"] = (
            "Features of a reconstruction are correlated with those of the picture seen and with those of each other picture. "
            "The score is the share of those others that correlate less than the right one. Chance is 50 %."
        )
    if found["missing"]:
        facts["Left out"] = (
            f"Metrics of {join(list(found['missing']))}: the files of these networks were not on this machine."
        )
    facts |= found["notes"]
    facts |= {entry["label"]: entry["description"] for entry in metrics.values() if entry.get("description")}
    return Section(
        name="how-to-read",
        title="How to read this page",
        blocks=(Facts(facts=facts, style="explained"),),
        appendix=True,
    )


def _kinds(found: Mapping[str, Any]) -> dict[str, str]:
    return {f"setting-{place}": name for place, name in enumerate(found["settings"])}


def _conditions(found: Mapping[str, Any]) -> dict[str, str]:
    return {"reconstruction" if name == found["against"] else kind: name for kind, name in _kinds(found).items()}


def _merged(found: Mapping[str, Any]) -> dict[str, Any]:
    """Put all settings into one scores file: the reference as the reconstruction, others as if they were ablations of it."""
    others = {kind: name for kind, name in _kinds(found).items() if name != found["against"]}
    metrics = {}
    for key, entry in found["settings"][found["against"]]["metrics"].items():
        own = {
            kind: found["settings"][name]["metrics"][key]
            for kind, name in others.items()
            if key in found["settings"][name]["metrics"]
        }
        metrics[key] = {
            **entry,
            "baselines": {},
            "baselines_ci95": {},
            "ablations": {kind: each["value"] for kind, each in own.items()},
            "ablations_ci95": {kind: each["ci95"] for kind, each in own.items()},
        }
    return {"profile": found["profile"], "metrics": metrics}


def _as_methods(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what sections on methods read, of settings."""
    return {"methods": found["settings"], **{name: found[name] for name in ("against", "comparisons")}}


def _pictures_said(found: Mapping[str, Any]) -> str:
    """Say which pictures settings are compared on: "the same 18 pictures", or how many each subject has."""
    numbers = sorted(set(found["n_images"].values()))
    if len(numbers) == 1 and (found["shared_pictures"] or len(found["subjects"]) == 1):
        return f"the same {numbers[0]:,} pictures"
    listed = f"{numbers[0]:,}" if len(numbers) == 1 else f"{numbers[0]:,} to {numbers[-1]:,}"
    return f"the same {listed} pictures of each subject"


def _pairs(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    metrics = found["settings"][found["against"]]["metrics"]
    return [
        (setting, metrics[key], own)
        for setting, compared in found["comparisons"].items()
        for key, own in compared.items()
    ]


def settings_markdown(found: Mapping[str, Any]) -> str:
    """Return the scores under each setting as Markdown, for the command line."""
    return tables.scores_markdown(_merged(found), _conditions(found))


def settings_sentences(found: Mapping[str, Any]) -> list[str]:
    """Say of each setting where it is better and worse than the one that others are compared with."""
    return [*verdict_sentences(_as_methods(found)), *_not_compared(found)]


def _not_compared(found: Mapping[str, Any]) -> list[str]:
    return [
        f"{setting} is not compared picture by picture with {found['against']}: {why}."
        for setting, why in found["not_compared"].items()
    ]
