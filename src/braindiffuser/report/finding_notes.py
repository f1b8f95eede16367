"""What sections on several findings say and print alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from braindiffuser.report.sections import (
    Text,
)
from braindiffuser.report.tables import format_score

SEM = "SEM"
"""What stands beside means over subjects: their standard error."""


def without_networks(found: Mapping[str, Any]) -> list[Text]:
    """Say which networks' metrics are not on the page."""
    text = f"Left out: metrics of {', '.join(found['missing'])}, since not all runs have the checkpoints of these networks."
    return [Text(text=text, style="note")] if found["missing"] else []


def without_groups(found: Mapping[str, Any]) -> list[Text]:
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


def first_of_several(found: Mapping[str, Any]) -> list[Text]:
    """Say which run is shown of subjects with several runs of the first split."""
    main = [run for run in found["runs"] if run["averaged_as"] == found["splits"][0]]
    several = {
        subject: own
        for subject in found["subjects"]
        if len(own := [run["split"] for run in main if run["subject"] == subject]) > 1
    }
    listed = ", ".join(f"{subject} {own[0]}, of {len(own)} runs" for subject, own in several.items())
    return [Text(text=f"Shown is the first run of a subject: {listed}.", style="note")] if several else []


def sem_text(entry: Mapping[str, Any], sem: float | None) -> str:
    """Print a standard error as the score's metric is printed; "" without one."""
    return "" if sem is None else f"SEM {format_score(entry, sem)}"
