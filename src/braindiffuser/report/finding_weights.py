"""Finding 4 of a reproduction: weights and patterns of regions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from braindiffuser.report.finding_notes import SEM, without_groups
from braindiffuser.report.numbers import MISSING, p_sentence, percent
from braindiffuser.report.sections import (
    Cell,
    Figure,
    Figures,
    Row,
    Section,
    Table,
    Text,
)
from braindiffuser.report.weights_section import differences_panel

KINDS = ("weights", "patterns")


def weights_finding(found: Mapping[str, Any]) -> Section:
    """Show how weights and patterns of regions differ between target groups.

    Args:
        found: content of `findings.json`.
    """
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
            *without_groups(found),
            *_means_over_runs(weights),
            figures,
            Text(text=haufe, style="note"),
            *(Text(text=claim["sentence"], style="note") for claim in weights["pattern_claims"]),
            _weights_table(weights),
            _weights_by_subject(weights),
        ),
    )


def _means_over_runs(weights: Mapping[str, Any]) -> list[Text]:
    """Say whose differences are means over several runs."""
    several = [f"{subject} ({n} runs)" for subject, n in weights["n_runs"].items() if n > 1]
    text = f"Differences are means over several runs and have no p value: {', '.join(several)}."
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
        caption=f"Differences by subject; p: two-sided, {_chance_said(weights)}, not corrected",
        corner="Region",
        columns=tuple(subjects),
        rows=tuple(rows),
        fold="Voxels, differences and p of each subject",
        beside="p",
    )


def _chance_said(weights: Mapping[str, Any]) -> str:
    """Say what the p values of subjects are held against: regions of neighbours, which are alike, where places are known."""
    entries = [entry for what in KINDS for own in weights[what].values() for entry in own.values()]
    subjects = list(dict.fromkeys(subject for entry in entries for subject in entry["p"]))
    scattered = [subject for subject in subjects if not any(subject in entry["p_contiguous"] for entry in entries)]
    neighbours = "against random regions of as many neighbouring voxels of the same subject"
    if not scattered:
        return neighbours
    sets = "random sets of as many scattered voxels, beyond which regions of neighbours easily are, since places of voxels are"
    if scattered == subjects:
        return f"against {sets} not known"
    return f"{neighbours}; of {', '.join(scattered)} against {sets} not known there"


def _subject_difference(entry: Mapping[str, Any], subject: str) -> Cell:
    if subject not in entry["subjects"]:
        return Cell(value=MISSING)
    p = {**entry["p"], **entry["p_contiguous"]}
    said = p_sentence(p[subject]) if subject in p else ""  # a mean over several runs has none
    return Cell(value=percent(entry["subjects"][subject], 1, signed=True), interval=said)
