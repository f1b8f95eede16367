"""The section on profiles: the same pictures, scored as each paper scores its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from braindiffuser.report.numbers import join, number, percent
from braindiffuser.report.score_sections import panels
from braindiffuser.report.sections import Cell, Facts, Figures, Row, Section, Table, Text
from braindiffuser.report.tables import IDENTIFICATION, Estimate, format_interval, format_score, metric_family

MISSING = Cell(value="–")
ENLARGED = 256
"""Side in pixels below which MindEye's profiles enlarge pictures."""


def profile_section(name: str, facts: Mapping[str, Any]) -> Section:
    """Show every metric under every profile, and which of them the profile alone moves most.

    Args:
        name: of the section.
        facts: "n_images", "side" (of the stimuli, in pixels), "profiles", "moved" and "blurry", as
            `metrics.profile_comparison.comparison_facts` and the analysis make them.
    """
    profiles = facts["profiles"]
    shown = [profile for profile, own in profiles.items() if own["metrics"]]
    text = (
        f"The same {facts['n_images']} reconstructions, scored as each paper scores its own. Along a row the pictures are the "
        "same, but for a profile that blends them; what is computed differs. A dash: the profile does not print the number, or "
        "its network is not on this machine."
    )
    drawn = _figures(profiles, shown, name)
    return Section(
        name=name,
        title="How far the profile alone moves each number",
        blocks=(
            Text(text=moved_sentence(facts), style="verdict"),
            Text(text=text),
            *drawn,
            _table(
                profiles, shown, facts["n_images"], fold="Every number of every profile as a table" if drawn else ""
            ),
            *(Text(text=sentence, style="note") for sentence in _left_out(facts)),
            Facts(
                facts={
                    f"{profile}: {title}": note
                    for profile in shown
                    for title, note in profiles[profile]["notes"].items()
                },
                style="explained",
            ),
        ),
    )


def moved_sentence(facts: Mapping[str, Any]) -> str:
    """Say which number the profile moves most, in units of its interval; or that no number can be compared."""
    moved = [own for own in facts["moved"] if own["difference"] > 0]
    if not facts["moved"]:
        return "No two profiles print a number of the same name that can be computed on this machine, so none can be compared."
    if not moved:
        return f"{join([own['name'] for own in facts['moved']])}: the same under all profiles that print it."
    most, profiles = moved[0], facts["profiles"]
    low, high = ((profile, _entry(profiles[profile], most["name"])) for profile in (most["low"], most["high"]))
    times = most["difference"] / most["half_width"] if most["half_width"] else None
    size = f"{number(times, 1)} times the half-width of a 95 % interval" if times else "the intervals have no width"
    return (
        f"The profile alone moves {most['name']} most: {_value(low[1])} under {_named(*low, profiles)}, {_value(high[1])} under "
        f"{_named(*high, profiles)}, a difference of {_difference(high[1], most['difference'])} ({size})."
    )


def _named(profile: str, entry: Mapping[str, Any], profiles: Mapping[str, Any]) -> str:
    blend = ", of its blend" if profiles[profile]["blend"] else ""
    return f"{profile} ({entry['label']}{blend})"


def _difference(entry: Mapping[str, Any], difference: float) -> str:
    if metric_family(entry) in IDENTIFICATION:
        return f"{number(100 * difference, 1)} percentage points"
    return number(difference)


def _entry(profile: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    entry: Mapping[str, Any] = profile["metrics"][profile["prints"][name]]
    return entry


def _value(entry: Mapping[str, Any]) -> str:
    return format_score(entry, entry["value"])


def _table(profiles: Mapping[str, Any], shown: list[str], n_images: int, fold: str) -> Table:
    rows = []
    for name in _names(profiles):
        entries = [
            _entry(profiles[profile], name) if name in profiles[profile]["prints"] else None for profile in shown
        ]
        arrow = next("↑" if entry["higher_is_better"] else "↓" for entry in entries if entry)
        rows.append(Row(label=f"{name} {arrow}", cells=tuple(_cell(entry) for entry in entries)))
    return Table(
        caption=f"Value and 95 % interval of every number on {n_images} test pictures, by profile",
        corner="As printed",
        columns=tuple(shown),
        rows=tuple(rows),
        fold=fold,
    )


def _names(profiles: Mapping[str, Any]) -> list[str]:
    """Return the printed names, those of several profiles first."""
    printed = [name for own in profiles.values() for name in own["prints"]]
    return sorted(dict.fromkeys(printed), key=lambda name: printed.count(name) < 2)


def _figures(profiles: Mapping[str, Any], shown: list[str], name: str) -> list[Figures]:
    """Draw what several profiles print under one name, profile by profile."""
    entries = {}
    for printed in _names(profiles):
        found = {p: _entry(profiles[p], printed) for p in shown if printed in profiles[p]["prints"]}
        if len(found) > 1 and len({metric_family(entry) for entry in found.values()}) == 1:
            entries[printed] = {
                **next(iter(found.values())),
                "label": printed,
                "ablations": {profile: entry["value"] for profile, entry in found.items()},
                "ablations_ci95": {profile: entry["ci95"] for profile, entry in found.items()},
            }
    return [panels({"metrics": entries}, {profile: profile for profile in shown}, name)] if entries else []


def _cell(entry: Mapping[str, Any] | None) -> Cell:
    if entry is None:
        return MISSING
    return Cell(value=_value(entry), interval=format_interval(entry, Estimate(entry["value"], *entry["ci95"])))


def _left_out(facts: Mapping[str, Any]) -> list[str]:
    """Say what the blend is made of, and which profiles and metrics are left out, why."""
    said, profiles = [], facts["profiles"]
    if facts["side"] < ENLARGED:
        said.append(
            f"The stimuli of this run have {facts['side']} pixels a side. Profiles that resize pictures to {ENLARGED} pixels or "
            "more enlarge them, and an enlarged picture is smooth within SSIM's window of 11 pixels: this alone makes SSIM high."
        )
    for profile, own in profiles.items():
        if own["without_blend"]:
            said.append(
                f"{profile} is left out: it scores a blend with blurry pictures, and this run has none of the kind asked for."
            )
        elif own["blend"] and own["metrics"]:
            share = own["blend"]["blurry_share"]
            said.append(
                f"{profile} is of a blend: {percent(1 - share)} of each reconstruction and {percent(share)} of its picture of "
                f"kind {facts['blurry']}. Beside mindeye-2023, whose metrics are the same, its column shows what the blend adds."
            )
        if own["too_few"]:
            said.append(f"{profile}: {join(own['too_few'])} left out, which need more test pictures than there are.")
    networks = sorted({network for own in profiles.values() for network in own["missing"]})
    if networks:
        said.append(
            f"Networks that are not on this machine, so that their numbers are left out: {', '.join(networks)}."
        )
    return said
