"""Sections on single pictures: whether they show what was decoded, and how much of them is the generator's noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from braindiffuser.report.beyond_chance import ALPHA
from braindiffuser.report.numbers import number, percent, percent_interval
from braindiffuser.report.sections import Cell, PictureGroup, PictureGroups, PictureRef, Row, Section, Table, Text
from braindiffuser.report.tables import format_score, metric_label

N_SHOWN = 4
"""Flagged pictures that are shown."""


def sample_sections(scores: Mapping[str, Any]) -> list[Section]:
    """Make the sections on single pictures of a test set, those whose numbers were computed.

    Args:
        scores: content of a scores file.
    """
    made = {"agreement": _agreement, "samples": _samples}
    return [make(scores[name], scores["n_images"]) for name, make in made.items() if name in scores]


def _agreement(found: Mapping[str, Any], n: int) -> Section:
    group, flagged = found["features"], found["flagged"]
    known = f"{percent(found['value'], 1)} (95 %: {percent_interval(found['ci95'])}, p = {number(found['p_value'])})"
    verdict = (
        f"Pictures follow the decoded features: a picture resembles its own more than another's in {known} of comparisons."
        if found["ci95"][0] > 0.5 and found["p_value"] <= ALPHA
        else f"Pictures are not shown to follow the decoded features: a picture resembles its own more than another's in {known} "
        "of comparisons, and 50 % would be chance. If they do not follow them, what is on them is the generator's."
    )
    text = (
        f"Features ({group}) of each reconstruction were extracted as those of stimuli are, and correlated with the decoded "
        f"features of all {n} test pictures, after subtracting the training mean. No truth enters."
    )
    return Section(
        name="agreement",
        title="Do pictures show what was decoded?",
        blocks=(
            Text(text=text),
            Text(text=verdict, style="verdict"),
            Text(
                text=_flag_sentence(flagged, n, found["flagged_below"], "decoded features of other pictures"),
                style="note",
            ),
            *_shown(flagged, ("seen", "final")),
        ),
    )


def _samples(found: Mapping[str, Any], n_whole: int) -> Section:
    n = found["n_images"]
    n_samples, metrics = found["n_samples"], list(found["metrics"].values())
    rows = [Row(label=metric_label(entry), cells=_cells(entry)) for entry in metrics]
    shares = [entry["generator_share"]["share"] for entry in metrics if entry["generator_share"]["share"] is not None]
    said = (
        f"Of the variance of single scores, the noise of the generator has {percent(min(shares))} to {percent(max(shares))}, "
        "by metric."
        if shares
        else "No score differs between samples or pictures."
    )
    of_some = "" if n == n_whole else f" of {n} test pictures, evenly spaced and scored among themselves,"
    text = (
        f"Each response{of_some} was drawn {n_samples} times, with other noise each time. Scores elsewhere on this page are of "
        "the first sample. The best of each picture is chosen by the truth, so it is no score: it says how far luck goes."
    )
    agreement = found.get("agreement")
    flags = () if agreement is None else _flags_of_samples(agreement, n, n_samples)
    table = Table(
        caption=f"{n_samples} samples of each of {n} test pictures",
        corner="Metric",
        columns=("Mean over samples", f"Best of {n_samples} (no score)", "Share of variance: generator"),
        rows=tuple(rows),
        main="Mean over samples",
        fold="Scores and shares as a table",
    )
    return Section(
        name="samples",
        title="How much of a picture is the generator's noise?",
        blocks=(Text(text=text), Text(text=said, style="verdict"), table, *flags),
    )


def _cells(entry: Mapping[str, Any]) -> tuple[Cell, ...]:
    share = entry["generator_share"]
    low, high = (format_score(entry, end) for end in entry["mean_ci95"])
    ends = "" if share["ci95"] is None else percent_interval(share["ci95"], 0)
    return (
        Cell(value=format_score(entry, entry["mean"]), interval=f"{low.removesuffix(' %')} – {high}"),
        Cell(value=format_score(entry, entry["best_of"])),
        Cell(value=percent(share["share"]), interval=ends),
    )


def _flags_of_samples(agreement: Mapping[str, Any], n: int, n_samples: int) -> tuple[Text | PictureGroups, ...]:
    kinds = ("seen", "final", *(f"final_sample_{sample}" for sample in range(1, min(n_samples, 4))))
    return (
        Text(
            text=f"Samples of one response resemble each other more than pictures of another response in "
            f"{percent(agreement['value'], 1)} (95 %: {percent_interval(agreement['ci95'])}) of comparisons, by "
            f"{agreement['features']}."
        ),
        Text(
            text=_flag_sentence(agreement["flagged"], n, agreement["flagged_below"], "samples of other pictures"),
            style="note",
        ),
        *_shown(agreement["flagged"], kinds),
    )


def _flag_sentence(flagged: Sequence[int], n: int, below: float, others: str) -> str:
    return (
        f"A picture is flagged where more than {percent(1 - below)} of all {others} come before its own: {len(flagged)} of {n} "
        "pictures (flags.csv)."
    )


def _shown(flagged: Sequence[int], kinds: Sequence[str]) -> tuple[PictureGroups, ...]:
    """Show the first flagged pictures, each in several kinds."""
    groups = tuple(
        PictureGroup(
            name=f"Picture {place}",
            note=", ".join(kinds),
            pictures=tuple(PictureRef(kind=kind, number=place, label=f"{kind} {place}") for kind in kinds),
        )
        for place in flagged[:N_SHOWN]
    )
    return (PictureGroups(groups=groups),) if groups else ()
