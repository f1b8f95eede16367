"""Sections on the scores of all folds, from the content of their common `scores.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from braindiffuser.report import tables
from braindiffuser.report.numbers import MISSING
from braindiffuser.report.score_sections import (
    DOTS,
    ScoredSet,
    gallery_section,
    headline,
    panels,
    scores_table,
)
from braindiffuser.report.sections import Block, Cell, Facts, Headlines, Links, Row, Section, Table, Text
from braindiffuser.report.tables import Estimate, format_interval, format_score, metric_label

NULL = "shuffled_training"
"""The null among the baselines of a metric."""
CONDITIONS: Mapping[str, str] = {**tables.COMPARED, NULL: "Null (shuffled before the fit)"}
"""Conditions of the main table, and how they are printed."""


def fold_sections(joint: Mapping[str, Any], scored: ScoredSet) -> list[Section]:
    """Make the sections of a page on all folds.

    Args:
        joint: content of `scores.json` of all folds.
        scored: pictures of all folds, numbered through, with their scores.
    """
    further = [_further(name, scores, joint) for name, scores in joint["test_sets"].items()]
    ablations = [_ablations(joint, scored)] if scored.ablations else []
    gallery = gallery_section(scored)
    return [_scores(joint, scored), _folds(joint), *ablations, gallery, *further, _how_to_read(joint, scored)]


def conditions_of(scores: Mapping[str, Any]) -> dict[str, str]:
    """Return the conditions that were computed, and how they are printed."""
    entries = list(scores["metrics"].values())
    return {name: label for name, label in CONDITIONS.items() if any(tables.estimate(entry, name) for entry in entries)}


def null_sentence(scores: Mapping[str, Any]) -> str:
    """Return a sentence: on how many metrics the reconstruction beats the null, counting separate intervals only."""
    metrics = scores["metrics"]
    results = {key: tables.compare(entry, "reconstruction", NULL) for key, entry in metrics.items()}
    if not any(results.values()):
        return (
            "There is no null: with --shuffled 1 everything is repeated with training pictures exchanged before the fit, which "
            "shows what decoders reach that learnt nothing."
        )
    rest = [metrics[key]["label"] for key, found in results.items() if found != "better"]
    counted = f"{len(metrics) - len(rest)} of {len(metrics)} metrics"
    not_on = f"; not on {', '.join(rest)}" if rest else ""
    return (
        f"On {counted} the reconstruction is better than the null, whose decoders were fitted to exchanged pictures (95 % "
        f"intervals that do not overlap){not_on}."
    )


def _scores(joint: Mapping[str, Any], scored: ScoredSet) -> Section:
    metrics, n, n_folds = joint["metrics"], joint["n_images"], len(joint["folds"])
    text = (
        f"Each of {n} pictures was left out once, with all its trials, in one of {n_folds} folds, and decoded by decoders that "
        "were fitted to the other folds. It was compared with pictures of its own fold alone; the numbers are means over "
        "pictures."
    )
    caption = f"Every metric over {n} pictures in {n_folds} folds: value, and 95 % interval where scores of pictures are known"
    conditions = conditions_of(joint)
    return Section(
        name="scores",
        title=f"Scores over {n_folds} folds",
        blocks=(
            Text(text=null_sentence(joint), style="verdict"),
            Text(text=text),
            _headlines(metrics, scored),
            panels(joint, conditions, "scores", DOTS),
            scores_table(joint, conditions, caption, "Reconstruction", chance=True),
        ),
    )


def _headlines(metrics: Mapping[str, Any], scored: ScoredSet) -> Block:
    keys = [key for key in scored.headlines if key in metrics] or list(metrics)[:4]
    return Headlines(items=tuple(headline(metrics[key]) for key in keys))


def _ablations(joint: Mapping[str, Any], scored: ScoredSet) -> Section:
    conditions = {**scored.ablations, "reconstruction": "Whole method"}
    text = "Means over pictures of all folds; whether a part earns its place is said on the page of each fold."
    compared = tables.of_ablated(joint)
    if compared is not joint:
        text += (
            f" All of them, the whole method's too, are of the {compared['n_images']} pictures that ablations were drawn for, "
            "scored among those of their fold."
        )
    table = scores_table(compared, conditions, "The method without a part of it, and whole", "Whole method")
    return Section(name="ablations", title="The method without its parts", blocks=(Text(text=text), table))


def _folds(joint: Mapping[str, Any]) -> Section:
    folds, nulls = joint["folds"], joint["nulls"]
    blocks: list[Block] = [
        _table_of_folds(joint["metrics"], folds),
        Text(text="Pages of the folds, with all that one run tells:"),
        Links(links={f"Fold {number}": fold["page"] for number, fold in enumerate(folds)}),
    ]
    if nulls:
        seeds = [repetition[0]["shuffled"] for repetition in nulls]
        links = {
            f"Null {seed}, fold {number}": fold["page"]
            for seed, repetition in zip(seeds, nulls, strict=True)
            for number, fold in enumerate(repetition)
        }
        blocks += [_table_of_nulls(joint["metrics"], seeds), Text(text="Pages of the null:"), Links(links=links)]
    return Section(name="folds", title="Fold by fold", blocks=tuple(blocks))


def _table_of_folds(metrics: Mapping[str, Any], folds: Sequence[Mapping[str, Any]]) -> Table:
    return Table(
        caption="The reconstruction in each fold, with the 95 % interval over its pictures",
        corner="Metric",
        columns=tuple(f"Fold {number} ({fold['n_images']})" for number, fold in enumerate(folds)),
        rows=tuple(
            Row(label=metric_label(entry), cells=tuple(_cells(entry, entry["folds"], entry["folds_ci95"])))
            for entry in metrics.values()
        ),
    )


def _cells(
    entry: Mapping[str, Any], values: Sequence[float], intervals: Sequence[Sequence[float] | None]
) -> Sequence[Cell]:
    found = [Estimate(value, *(own or (None, None))) for value, own in zip(values, intervals, strict=True)]
    return [Cell(value=format_score(entry, one.value), interval=format_interval(entry, one)) for one in found]


def _table_of_nulls(metrics: Mapping[str, Any], seeds: Sequence[int]) -> Table:
    """Print each repetition of the null, and how rarely it reaches the value."""
    rows = []
    for entry in metrics.values():
        values = [entry["value"], *entry["null"]["values"]]
        cells = [Cell(value=format_score(entry, value)) for value in values]
        rows.append(Row(label=metric_label(entry), cells=(*cells, Cell(value=f"{entry['null']['p_value']:.3g}"))))
    smallest = 1 / (1 + len(seeds))
    return Table(
        caption="The whole procedure over all folds, and with exchanged training pictures. p: one more than the number of "
        "repetitions of the null that are as good or better, over one more than all of them; "
        f"with {len(seeds)} repetition{'s' * (len(seeds) > 1)}, p is {smallest:.3g} at least",
        corner="Metric",
        columns=("Reconstruction", *(f"Null {seed}" for seed in seeds), "p"),
        rows=tuple(rows),
        main="Reconstruction",
    )


def _further(name: str, scores: Mapping[str, Any], joint: Mapping[str, Any]) -> Section:
    n_folds, facts = len(joint["folds"]), scores.get("facts", {})
    title, note = facts.get("heading") or (f"Test set {name}", "")
    text = (
        f"{scores['n_images']} further test pictures, whose responses no fold trained on and every fold decoded. Their scores "
        f"are means over the folds' decoders, and enter no other score of this page. {note}"
    )
    section = f"test-set-{re.sub('[^a-z0-9]+', '-', name.lower())}"
    caption = f"Every metric on {scores['n_images']} test pictures, averaged over {n_folds} folds"
    table = scores_table(scores, conditions_of(scores), caption, "Reconstruction", chance=True)
    trained = [Text(text=line, style="verdict") for line in _trained(scores["n_images"], n_folds, facts)]
    return Section(name=section, title=title, blocks=(*trained, Text(text=text.strip()), table))


def _trained(n_images: int, n_folds: int, facts: Mapping[str, Any]) -> list[str]:
    """Say which pictures of a further test set may have trained, as those of other stimuli."""
    said = []
    if facts.get("imagined"):
        said.append(
            "These pictures were imagined, not seen. A fold may have trained on responses to seeing the very picture that was "
            "imagined; then its decoder knows it."
        )
    if facts.get("n_trained"):
        low, high = facts["trained_in"]
        said.append(
            f"{facts['n_trained']} of {n_images} pictures have the same file as a picture that trained, each in "
            f"{low if low == high else f'{low} to {high}'} of {n_folds} folds."
        )
    return said


def _how_to_read(joint: Mapping[str, Any], scored: ScoredSet) -> Section:
    seeds = joint["seeds"]
    facts = {
        "Folds": "Pictures are shuffled and dealt into folds; each fold tests once, and all others train. Candidates of two-way "
        "identification are the pictures of the same fold. Pictures of other folds trained the decoder, and a weak prediction "
        "points to them and away from what was left out: against them, decoders that learnt nothing score below chance.",
        "Null": "The whole procedure again, with the pictures of training stimuli exchanged among their responses before "
        "anything is fitted, repeats of one picture together. It has what the procedure itself brings, and nothing of the brain. "
        "Each repetition is one draw; more of them show how far it varies by chance.",
        "Intervals": "95 % intervals over the pictures inside folds, of one subject: Student's t for means; identification "
        "allows for other distractors of its fold (jackknife). In folds of two pictures there are no others, so that the "
        "interval of identification is that of its scores, and too narrow. Not covered are other subjects, seeds, and ways to "
        "deal folds. Ceiling, baselines and ablations are means over pictures, without intervals; those are on the folds' pages.",
        "Numbers": "Test pictures are numbered through all folds, fold 0 first.",
        "Seeds": f"experiment {seeds['experiment']}, folds {seeds['split']}, null {_listed(seeds['shuffled'])}",
        "Runs": ", ".join(fold["uid"] for fold in joint["folds"]),
    }
    if joint["missing"]:
        facts["Left out"] = (
            f"Metrics of {', '.join(joint['missing'])}: not all folds have the checkpoints of these networks."
        )
    facts |= scored.notes
    facts |= {entry["label"]: entry["description"] for entry in joint["metrics"].values() if entry["description"]}
    return Section(
        name="how-to-read",
        title="How to read this page",
        blocks=(Facts(facts=facts, style="explained"),),
        appendix=True,
    )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or MISSING
