"""Sections on the five findings of the paper: the original's measure beside that of the runs, subject by subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from braindiffuser.report import tables
from braindiffuser.report.region_bars import region_bars
from braindiffuser.report.score_sections import panels
from braindiffuser.report.sections import (
    Block,
    Cell,
    Facts,
    Figure,
    Figures,
    Gallery,
    Links,
    PictureGroup,
    PictureGroups,
    PictureRef,
    Row,
    Section,
    Table,
    Text,
)
from braindiffuser.report.tables import Estimate, format_interval, format_score, metric_label

JUDGEMENT = (
    "How far each of the five findings is reproduced is for readers to judge (fully, mostly, partially, mostly not, not at all, "
    "unclear): the numbers say what is above, below and in which order."
)
OTHERS = "other pictures and other brains"
GROUP_NAMES = {"latents": "VDVAE", "vision": "CLIP-Vision", "text": "CLIP-Text"}
VARIANTS = {
    "full": "Whole method",
    "low_level_only": "Only VDVAE",
    "without_low_level": "Without VDVAE",
    "without_text": "Without CLIP-Text",
    "without_vision": "Without CLIP-Vision",
}


def finding_sections(
    found: Mapping[str, Any], galleries: Mapping[str, Gallery], regions: Mapping[str, Sequence[PictureGroup]]
) -> list[Section]:
    """Make the sections of a reproduction.

    Args:
        found: content of `findings.json`.
        galleries: subject → best, median and worst pictures of the first split.
        regions: subject → preferred pictures of its regions.
    """
    sections = [
        _pictures(found, galleries),
        _scores(found),
        _ablations(found),
        _weights(found),
        _regions(found, regions),
        *_studies(found),
        *_generalisation(found),
        *_groups(found),
        _runs(found),
    ]
    unexpected = found["unexpected"]
    if unexpected:
        texts = [Text(text=sentence, style="verdict") for sentence in unexpected]
        note = Text(text="Other counts mean other data or another choice of voxels: look here first.", style="note")
        sections.insert(0, Section(name="counts", title="Not as in the paper", blocks=(*texts, note)))
    return sections


def _pictures(found: Mapping[str, Any], galleries: Mapping[str, Gallery]) -> Section:
    blocks: list[Block] = [
        Text(text=JUDGEMENT, style="note"),
        Text(
            text="Test pictures of each subject, ordered by score and cut at the top, in the middle and at the bottom: none is "
            "chosen by hand. The original shows pictures (its Figures 1 to 4) and no number for this finding."
        ),
    ]
    for subject, gallery in galleries.items():
        blocks += [Text(text=f"Subject {subject}"), gallery]
    return Section(name="finding-1", title="1. Layout and meaning are reconstructed together", blocks=tuple(blocks))


def _scores(found: Mapping[str, Any]) -> Section:
    scores = found["scores"]
    said = [Text(text=line, style="verdict") for line in position_sentences(scores)]
    simulated = any(run["simulated"] for run in found["runs"])
    if simulated:
        said = [Text(text=f"Subjects are simulated: published values are of {OTHERS}.", style="note")]
    figure = panels(
        {"metrics": {key: _by_subject(entry) for key, entry in scores.items()}}, _columns(scores), "finding-2"
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
        ),
    )


def position_sentences(scores: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each published row: on which metrics subjects lie within, above and below it."""
    rows = list(dict.fromkeys(row for entry in scores.values() for row in entry["original"]))
    said = []
    for row in rows:
        parts = []
        for entry in scores.values():
            if row in entry["position"]:
                places = list(entry["position"][row].values())
                counted = [
                    f"{places.count(place)} {place}" for place in ("within", "above", "below") if place in places
                ]
                published = format_score(entry, entry["original"][row])
                parts.append(f"{metric_label(entry)} {published}: {', '.join(counted)}")
        said.append(
            f"Beside “{row}”, subjects whose 95 % interval holds the value, or lies above or below: {'; '.join(parts)}."
        )
    return said


def _columns(scores: Mapping[str, Any]) -> dict[str, str]:
    subjects = dict.fromkeys(subject for entry in scores.values() for subject in entry["subjects"])
    rows = dict.fromkeys(row for entry in scores.values() for row in entry["original"])
    return {
        **{name: name for name in subjects},
        "mean over subjects": "Mean over subjects",
        **{name: name for name in rows},
    }


def _by_subject(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a metric's entry in which subjects, their mean and the published rows are conditions of a panel."""
    own = {subject: values[0] for subject, values in entry["subjects"].items()}
    intervals = {subject: values[1:] for subject, values in entry["subjects"].items() if values[1] is not None}
    conditions = {**own, "mean over subjects": entry["mean"], **entry["original"]}
    return {**entry, "baselines": {}, "ablations": conditions, "ablations_ci95": intervals}


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
                cells.append(Cell(value=format_score(entry, entry["mean"]), interval=_sem(entry, entry["sem"])))
            else:
                cells.append(Cell(value=tables.MISSING))
        rows.append(Row(label=metric_label(entry), cells=tuple(cells)))
    return Table(
        caption="Every metric by subject with its 95 % interval over pictures, the mean over subjects, and both published rows",
        corner="Metric",
        columns=tuple(columns.values()),
        rows=tuple(rows),
        main="Mean over subjects",
    )


def _sem(entry: Mapping[str, Any], sem: float | None) -> str:
    return "" if sem is None else f"SEM {format_score(entry, sem)}"


def _ablations(found: Mapping[str, Any]) -> Section:
    ablations = found["ablations"]
    metrics = ablations["metrics"]
    title = "3. Each component contributes"
    if not metrics:
        text = Text(text="No ablation was drawn, so this finding is not tested.")
        return Section(name="finding-3", title=title, blocks=(text,))
    variants = dict.fromkeys(name for entry in metrics.values() for name in entry["mean"])
    conditions = {name: VARIANTS.get(name, name.replace("_", " ")) for name in variants}
    scores = {"metrics": {key: _by_variant(entry) for key, entry in metrics.items()}}
    numbers = ", ".join(f"{subject} {n}" for subject, n in ablations["n_images"].items())
    subjects = list(dict.fromkeys(subject for entry in metrics.values() for subject in entry["subjects"]))
    blocks: list[Block] = [
        *(Text(text=claim["sentence"], style="verdict") for claim in ablations["claims"]),
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
            Cell(value=format_score(entry, values.get(name)), interval=_sem(entry, sems.get(name)))
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


def _weights(found: Mapping[str, Any]) -> Section:
    title, weights = "4. Division of labour between regions", found["weights"]
    if not weights:
        text = (
            "No run has weights of regions: the recording names none of the eight regions, or decoders are not linear."
        )
        return Section(name="finding-4", title=title, blocks=(Text(text=text),))
    reference = GROUP_NAMES.get(weights["reference"], weights["reference"])
    measure = (
        "A voxel's weight for a model is the sum of the absolute coefficients over all of the model's features (L1 norm), as a "
        f"percentile over voxels. Bars: how far a region's mean percentile for the named model exceeds that for the {reference}, "
        "as a share of the latter; lines: standard error over subjects."
    )
    haufe = (
        "Weights say how a decoder uses a voxel, not what the voxel responds to: a voxel without signal gets a large weight "
        "where it cancels noise. Patterns (Haufe et al. 2014) are covariances with the decoded features: read them instead."
    )
    figures = Figures(
        figures=tuple(
            Figure(svg=_bars(weights, what, f"finding-4-{what}"), title=heading)
            for what, heading in (("weights", "Weights, as in the paper"), ("patterns", "Patterns"))
        )
    )
    return Section(
        name="finding-4",
        title=title,
        blocks=(
            *(Text(text=claim["sentence"], style="verdict") for claim in weights["claims"]),
            Text(text=measure),
            figures,
            Text(text=haufe, style="note"),
            *(Text(text=claim["sentence"], style="note") for claim in weights["pattern_claims"]),
            _weights_table(weights),
        ),
    )


def _bars(weights: Mapping[str, Any], what: str, name: str) -> str:
    reference = GROUP_NAMES.get(weights["reference"], weights["reference"])
    values = {
        f"{GROUP_NAMES.get(group, group)} − {reference}": {
            region: (entry["mean"], entry["sem"]) for region, entry in weights[what][group].items()
        }
        for group in weights["groups"]
    }
    return region_bars(
        values, "relative difference", name, f"Differences of {what} by region; the table holds the numbers"
    )


def _weights_table(weights: Mapping[str, Any]) -> Table:
    groups, rows = weights["groups"], []
    for region, n_voxels in weights["n_voxels"].items():
        cells = []
        for what in ("weights", "patterns"):
            for group in groups:
                entry = weights[what][group][region]
                sem = "" if entry["sem"] is None else f"SEM {entry['sem']:.3f}"
                cells.append(Cell(value=f"{entry['mean']:+.3f}", interval=sem))
                if what == "weights":
                    cells.append(Cell(value=", ".join(f"{p:.2g}" for p in entry["p"].values())))
        cells.append(Cell(value=", ".join(f"{n:,}" for n in n_voxels.values())))
        rows.append(Row(label=region, cells=tuple(cells)))
    names = [GROUP_NAMES.get(group, group) for group in groups]
    of_weights = [column for name in names for column in (f"{name}, weights", "p by subject")]
    return Table(
        caption="Differences of mean percentiles by region, over subjects. p: share of random sets of as many voxels of the same "
        "subject that differ as much",
        corner="Region",
        columns=(*of_weights, *(f"{name}, patterns" for name in names), "Voxels by subject"),
        rows=tuple(rows),
        fold="The numbers as a table",
    )


def _regions(found: Mapping[str, Any], regions: Mapping[str, Sequence[PictureGroup]]) -> Section:
    title = "5. Preferred pictures of regions"
    if not any(regions.values()):
        text = "No run has preferred pictures: the recording names none of the regions, or decoders are not linear."
        return Section(name="finding-5", title=title, blocks=(Text(text=text),))
    blocks: list[Block] = [
        Text(
            text="What is decoded from a pattern that is 1 in a region's voxels and 0 elsewhere, drawn with the same noise for "
            "all regions. The original shows such pictures (its Figures 9 to 11) and no number; what pictures have in common is "
            "measured on the page of each run."
        ),
    ]
    for subject, groups in regions.items():
        if groups:
            blocks += [Text(text=f"Subject {subject}"), PictureGroups(groups=tuple(groups))]
    return Section(name="finding-5", title=title, blocks=tuple(blocks))


def _studies(found: Mapping[str, Any]) -> list[Section]:
    """Say of each split what averaging features over subjects gains, and link to its page."""
    if not found["studies"]:
        return []
    texts, links = [], {}
    for split, study in found["studies"].items():
        if "why_not" in study:
            texts.append(Text(text=f"{split}: subjects are not put together, since {study['why_not']}.", style="note"))
            continue
        links[f"{split}: means over subjects, prevalence, side by side"] = study["page"]
        average = study["average"].values()
        better = [each["label"] for each in average if each["gain_ci95"][0] > 0]
        worse = [each["label"] for each in average if each["gain_ci95"][1] < 0]
        said = [f"better than the mean subject on {', '.join(better)}"] * bool(better)
        said += [f"worse on {', '.join(worse)}"] * bool(worse)
        said = said or ["neither better nor worse than the mean subject"]
        texts.append(
            Text(
                text=f"{split}: pictures from features averaged over subjects (“Sub Avg”, Figure 3) are {' and '.join(said)} "
                "(95 % interval of the difference on the same pictures, of "
                f"{len(average)} metrics).",
                style="verdict",
            )
        )
    blocks: list[Block] = [*texts, *([Links(links=links)] if links else [])]
    return [Section(name="studies", title="Subjects put together", blocks=tuple(blocks))]


def _generalisation(found: Mapping[str, Any]) -> list[Section]:
    splits, metrics = found["splits"], found["generalisation"]
    if len(splits) < 2:
        return []
    rows = [
        Row(
            label=metric_label(entry),
            cells=tuple(
                Cell(
                    value=format_score(entry, entry["splits"][split]["mean"]),
                    interval=_sem(entry, entry["splits"][split]["sem"]),
                )
                for split in splits
            ),
        )
        for entry in metrics.values()
    ]
    counted = ", ".join(f"{split}: {next(iter(metrics.values()))['splits'][split]['n_runs']} runs" for split in splits)
    text = (
        f"Decoders were fitted anew on the training pictures of each split ({counted}). The first column is the replication. "
        "Candidates of two-way identification are the test pictures of the split, so splits of other sizes or of more similar "
        "pictures are harder or easier by that alone."
    )
    table = Table(
        caption="Mean over subjects by split, with the standard error over subjects",
        corner="Metric",
        columns=tuple(splits),
        rows=tuple(rows),
        main=splits[0],
    )
    return [Section(name="generalisation", title="Other splits", blocks=(Text(text=text), table))]


def _groups(found: Mapping[str, Any]) -> list[Section]:
    if not found["groups"]:
        return []
    from braindiffuser.report.group_section import interaction_sentences

    texts = [
        Text(text=f"{each['subject']}, {each['split']}: {sentence}")
        for each in found["groups"]
        for sentence in interaction_sentences(each["facts"])
    ]
    note = Text(text="Scores and intervals of each group are on the pages of the runs.", style="note")
    return [Section(name="groups", title="Groups of pictures", blocks=(*texts, note))]


def _runs(found: Mapping[str, Any]) -> Section:
    runs = found["runs"]
    rows = [
        Row(
            label=f"{run['subject']}, {run['split']}",
            cells=tuple(
                Cell(value=f"{run['counts'][name]:,}") for name in ("voxels", "training pictures", "test pictures")
            ),
        )
        for run in runs
    ]
    table = Table(
        caption="What each run was made of",
        corner="Run",
        columns=("Voxels", "Training pictures", "Test pictures"),
        rows=tuple(rows),
    )
    links = Links(links={f"{run['subject']}, {run['split']}": run["page"] for run in runs})
    facts = Facts(facts={name: text for run in runs for name, text in run["trained_on"].items()}, style="explained")
    provenance = [Text(text="What the networks were trained on:"), facts] if facts.facts else []
    return Section(
        name="runs",
        title="Runs",
        blocks=(table, Text(text="Pages of the runs, with all that one run tells:"), links, *provenance),
        appendix=True,
    )


def region_groups(
    subject_kinds: Mapping[str, str], regions: Sequence[Mapping[str, Any]], note: str = ""
) -> list[PictureGroup]:
    """Return the preferred pictures of one subject's regions, as groups.

    Args:
        subject_kinds: kind of picture → what it is, from left to right.
        regions: each with "name" and "n_voxels", in the order of the pictures.
        note: after the number of voxels.
    """
    return [
        PictureGroup(
            name=str(region["name"]),
            note=f"{region['n_voxels']:,} voxel{'' if region['n_voxels'] == 1 else 's'}{f', {note}' if note else ''}",
            pictures=tuple(
                PictureRef(kind=kind, number=number, label=f"{region['name']}, {label}")
                for kind, label in subject_kinds.items()
            ),
        )
        for number, region in enumerate(regions)
    ]
