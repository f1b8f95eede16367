"""Sections on the five findings of the paper: the original's measure beside that of the runs, subject by subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from braindiffuser.report.finding_notes import SEM, first_of_several, sem_text
from braindiffuser.report.finding_scores import ablations_finding, scores_finding
from braindiffuser.report.finding_weights import weights_finding
from braindiffuser.report.numbers import MISSING, interval, number
from braindiffuser.report.recording_section import joint_recording_section
from braindiffuser.report.score_sections import order_said
from braindiffuser.report.sections import (
    Block,
    Cell,
    Facts,
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
from braindiffuser.report.tables import format_score, metric_label

JUDGEMENT = (
    "How far each of the five findings is reproduced is for readers to judge (fully, mostly, partially, mostly not, not at all, "
    "unclear): the numbers say what is above, below and in which order."
)


@dataclass(frozen=True)
class RankedPictures:
    """The best, median and worst pictures of a subject.

    Attributes:
        gallery: of them.
        order: by which scores they are ordered, as `score_sections.order_of` says it.
    """

    gallery: Gallery
    order: str


def finding_sections(
    found: Mapping[str, Any], galleries: Mapping[str, RankedPictures], regions: Mapping[str, Sequence[PictureGroup]]
) -> list[Section]:
    """Make the sections of a reproduction.

    Args:
        found: content of `findings.json`.
        galleries: subject → best, median and worst pictures of the first split.
        regions: subject → preferred pictures of its regions.
    """
    sections = [
        _pictures(found, galleries),
        scores_finding(found),
        ablations_finding(found),
        weights_finding(found),
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
    first = recordings_section(found)
    return [first, *sections] if first else sections


def recordings_section(found: Mapping[str, Any]) -> Section | None:
    """Put together what the runs' own pages say first, such as that a run is a null; None if they say nothing."""
    runs, several = found["runs"], len({run["split"] for run in found["runs"]}) > 1
    names = [f"{run['subject']}, {run['split']}" if several else str(run["subject"]) for run in runs]
    return joint_recording_section([run["warnings"] for run in runs], names)


def _pictures(found: Mapping[str, Any], galleries: Mapping[str, RankedPictures]) -> Section:
    orders = list(dict.fromkeys(ranked.order for ranked in galleries.values()))
    blocks: list[Block] = [
        Text(text=JUDGEMENT, style="note"),
        *(Text(text=order_said(order)) for order in orders if len(orders) == 1),
        Text(text="The original shows pictures (its Figures 1 to 4) and no number for this finding."),
        *first_of_several(found),
    ]
    for subject, ranked in galleries.items():
        blocks.append(Text(text=f"Subject {subject}"))
        blocks += [Text(text=order_said(ranked.order), style="note")] if len(orders) > 1 else []
        blocks.append(ranked.gallery)
    return Section(name="finding-1", title="1. Layout and meaning are reconstructed together", blocks=tuple(blocks))


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
        *first_of_several(found),
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
    blocks = (Text(text=text), *first_of_several(found), table)
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
                    interval=sem_text(entry, entry["splits"][split]["sem"]),
                )
                for split in splits
            ),
        )
        for entry in metrics.values()
    ]
    numbers = {split: next(iter(metrics.values()))["splits"][split]["n_runs"] for split in splits}
    counted = ", ".join(f"{split}: {n} {'run' if n == 1 else 'runs'}" for split, n in numbers.items())
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
