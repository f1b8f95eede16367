"""Sections on the five findings of the paper: the original's measure beside that of the runs, subject by subject."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from braindiffuser.report.numbers import MISSING, interval, number, p_sentence, percent
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
from braindiffuser.report.weights_section import differences_panel

JUDGEMENT = (
    "How far each of the five findings is reproduced is for readers to judge (fully, mostly, partially, mostly not, not at all, "
    "unclear): the numbers say what is above, below and in which order."
)
OTHERS = "other pictures and other brains"
KINDS = ("weights", "patterns")
SEM = "SEM"
"""What stands beside means over subjects: their standard error."""


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
        *_accuracy(found),
        *_studies(found),
        *_generalisation(found),
        *_groups(found),
        _runs(found),
    ]
    unexpected = found["unexpected"]
    if unexpected:
        texts = [Text(text=sentence, style="verdict") for sentence in unexpected]
        note = Text(text="Other counts than the paper's mean other data or another choice of voxels.", style="note")
        sections.insert(0, Section(name="counts", title="Look here first", blocks=(*texts, note)))
    return sections


def _pictures(found: Mapping[str, Any], galleries: Mapping[str, Gallery]) -> Section:
    blocks: list[Block] = [
        Text(text=JUDGEMENT, style="note"),
        Text(
            text="Test pictures of each subject, ordered by score and cut at the top, in the middle and at the bottom: none is "
            "chosen by hand. The original shows pictures (its Figures 1 to 4) and no number for this finding."
        ),
        *_first_of_several(found),
    ]
    for subject, gallery in galleries.items():
        blocks += [Text(text=f"Subject {subject}"), gallery]
    return Section(name="finding-1", title="1. Layout and meaning are reconstructed together", blocks=tuple(blocks))


def _without_networks(found: Mapping[str, Any]) -> list[Text]:
    """Say which networks' metrics are not on the page."""
    text = f"Left out: metrics of {', '.join(found['missing'])}, since not all runs have the checkpoints of these networks."
    return [Text(text=text, style="note")] if found["missing"] else []


def _scores(found: Mapping[str, Any]) -> Section:
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
            *_other_weights(scores),
            *_without_networks(found),
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


def _first_of_several(found: Mapping[str, Any]) -> list[Text]:
    """Say which run is shown of subjects with several runs of the first split."""
    main = [run for run in found["runs"] if run["averaged_as"] == found["splits"][0]]
    several = {
        subject: own
        for subject in found["subjects"]
        if len(own := [run["split"] for run in main if run["subject"] == subject]) > 1
    }
    listed = ", ".join(f"{subject} {own[0]}, of {len(own)} runs" for subject, own in several.items())
    return [Text(text=f"Shown is the first run of a subject: {listed}.", style="note")] if several else []


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
    conditions = {name: ablations["labels"].get(name, name.replace("_", " ")) for name in variants}
    scores = {"metrics": {key: _by_variant(entry) for key, entry in metrics.items()}}
    numbers = ", ".join(
        f"{subject} {n if isinstance(n, int) else ' + '.join(map(str, n))}"
        for subject, n in ablations["n_images"].items()
    )
    subjects = list(dict.fromkeys(subject for entry in metrics.values() for subject in entry["subjects"]))
    blocks: list[Block] = [
        *(Text(text=claim["sentence"], style="verdict") for claim in ablations["claims"]),
        *_without_groups(found),
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


def _weights(found: Mapping[str, Any]) -> Section:
    title, weights = "4. Division of labour between regions", found["weights"]
    if not weights:
        text = (
            "No weights of regions are compared: the recording names none of the eight regions, decoders are not linear, or "
            "subjects have no groups in common."
        )
        return Section(name="finding-4", title=title, blocks=(Text(text=text),))
    reference = weights["names"][weights["reference"]]
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
            _bars(weights, what, f"finding-4-{what}", heading)
            for what, heading in (("weights", "Weights, as in the paper"), ("patterns", "Patterns"))
        )
    )
    return Section(
        name="finding-4",
        title=title,
        blocks=(
            *(Text(text=claim["sentence"], style="verdict") for claim in weights["claims"]),
            Text(text=measure),
            *_without_groups(found),
            *_means_over_runs(weights),
            figures,
            Text(text=haufe, style="note"),
            *(Text(text=claim["sentence"], style="note") for claim in weights["pattern_claims"]),
            _weights_table(weights),
            _weights_by_subject(weights),
        ),
    )


def _without_groups(found: Mapping[str, Any]) -> list[Text]:
    """Say which target groups runs could not have, such as text without captions."""
    lacking: dict[str, list[str]] = {}
    for run in found["runs"]:
        for group in run["without"]:
            lacking.setdefault(group, []).append(run["subject"])
    names = {group: ", ".join(dict.fromkeys(subjects)) for group, subjects in lacking.items()}
    return [
        Text(
            text=f"{group} was not decoded in {subjects}, since the recording has no captions: ablations of it and its weights "
            "do not exist.",
            style="note",
        )
        for group, subjects in names.items()
    ]


def _means_over_runs(weights: Mapping[str, Any]) -> list[Text]:
    """Say whose differences are means over several runs."""
    several = [f"{subject} {n}" for subject, n in weights["n_runs"].items() if n > 1]
    text = f"A subject's differences are means over its runs, of which p values have none: {', '.join(several)} runs."
    return [Text(text=text, style="note")] if several else []


def _bars(weights: Mapping[str, Any], what: str, name: str, title: str) -> Figure:
    names, regions = weights["names"], weights["n_voxels"]

    def by_region(entry: str) -> dict[str, dict[str, float]]:
        own = {group: weights[what][group] for group in weights["groups"]}
        return {
            region: {names[group]: math.nan if (value := own[group][region][entry]) is None else value for group in own}
            for region in regions
        }

    panel = differences_panel(
        by_region("mean"),
        [names[group] for group in weights["groups"]],
        names[weights["reference"]],
        name,
        errors=by_region("sem"),
    )
    return panel.model_copy(update={"title": title})


def _weights_table(weights: Mapping[str, Any]) -> Table:
    """Print means over subjects of the differences, region by region."""
    both = [(what, group) for what in KINDS for group in weights["groups"]]
    rows = [
        Row(label=region, cells=tuple(_mean_difference(weights[what][group][region]) for what, group in both))
        for region in weights["n_voxels"]
    ]
    return Table(
        caption="Differences of mean percentiles by region, as a share of the reference's: mean and standard error over subjects",
        corner="Region",
        columns=tuple(f"{weights['names'][group]}, {what}" for what, group in both),
        rows=tuple(rows),
        fold="The numbers as a table",
        beside=SEM,
    )


def _mean_difference(entry: Mapping[str, Any]) -> Cell:
    sem = "" if entry["sem"] is None else f"SEM {percent(entry['sem'], 1)}"
    return Cell(value=percent(entry["mean"], 1, signed=True), interval=sem)


def _weights_by_subject(weights: Mapping[str, Any]) -> Table:
    """Print each subject's voxels and differences, with their p values, region by region."""
    own = weights["n_voxels"]
    subjects = list(dict.fromkeys(subject for counts in own.values() for subject in counts))
    rows = []
    for region, counts in own.items():
        voxels = [f"{counts[subject]:,}" if subject in counts else MISSING for subject in subjects]
        rows.append(Row(label=f"{region}: voxels", cells=tuple(Cell(value=value) for value in voxels)))
        for what in KINDS:
            for group in weights["groups"]:
                entry = weights[what][group][region]
                cells = tuple(_subject_difference(entry, subject) for subject in subjects)
                rows.append(Row(label=f"{region}: {weights['names'][group]}, {what}", cells=cells))
    return Table(
        caption="Differences by subject; p: two-sided, against random sets of as many voxels of the same subject, not corrected",
        corner="Region",
        columns=tuple(subjects),
        rows=tuple(rows),
        fold="Voxels, differences and p of each subject",
        beside="p",
    )


def _subject_difference(entry: Mapping[str, Any], subject: str) -> Cell:
    if subject not in entry["subjects"]:
        return Cell(value=MISSING)
    said = p_sentence(entry["p"][subject]) if subject in entry["p"] else ""  # a mean over several runs has none
    return Cell(value=percent(entry["subjects"][subject], 1, signed=True), interval=said)


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
        *_first_of_several(found),
    ]
    for subject, groups in regions.items():
        if groups:
            blocks += [Text(text=f"Subject {subject}"), PictureGroups(groups=tuple(groups))]
    return Section(name="finding-5", title=title, blocks=tuple(blocks))


def _accuracy(found: Mapping[str, Any]) -> list[Section]:
    """Show how well each group's features are decoded, subject by subject; nothing if no run has measured it."""
    accuracy = found["accuracy"]
    if not accuracy:
        return []
    subjects = list(dict.fromkeys(subject for own in accuracy.values() for subject in own["subjects"]))
    rows = []
    for group, own in accuracy.items():
        for what, label in (("r2", "R²"), ("correlation", "correlation")):
            each = [own["subjects"].get(subject) for subject in subjects]
            cells = [
                Cell(value=MISSING)
                if one is None
                else Cell(value=number(one[what][0]), interval=interval(one[what][1:]))
                for one in each
            ]
            mean, sem = own[what]
            cells.append(Cell(value=number(mean), interval="" if sem is None else f"SEM {number(sem)}"))
            rows.append(Row(label=f"{group}, {label}", cells=tuple(cells)))
    text = (
        "Features of the test pictures, decoded from responses, against the pictures' own, mean over features, before calibration"
        " and before anything is drawn: what the authors' scripts print as R². The original publishes none. What to hold these "
        "numbers against (chance, cross-validation, the number of training pictures) is on the page of each run."
    )
    table = Table(
        caption="R² and correlation of decoded features by subject, with 95 % intervals over test pictures; mean over subjects",
        corner="Target group",
        columns=(*subjects, "Mean over subjects"),
        rows=tuple(rows),
        main="Mean over subjects",
        beside="95 % interval or SEM",
    )
    blocks = (Text(text=text), *_first_of_several(found), table)
    return [Section(name="accuracy", title="How well features are decoded", blocks=blocks)]


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
        beside=SEM,
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
