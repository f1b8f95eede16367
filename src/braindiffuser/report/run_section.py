"""The section on what was run: settings, versions, time and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from braindiffuser.plain_data import as_yaml
from braindiffuser.report.numbers import MISSING
from braindiffuser.report.sections import Cell, Code, Facts, Row, Section, Table, Text

GROWING = ("reconstruct", "evaluate")
"""Stages whose time grows with the number of test pictures."""
MANY = 1000
UNKNOWN = "unknown"
"""What a manifest says of a package that is not installed."""


def run_section(
    manifest: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any]], missing: Sequence[str] = (), n_test: int = 0
) -> Section:
    """Describe a run.

    Args:
        manifest: content of `manifest.json`.
        steps: name of each finished step → its record, with "uid", "finished" and "versions".
        missing: names of the steps that are not finished, so that nothing of them is on the page.
        n_test: number of test pictures, of all test sets; 0: nothing is said of how time grows with it.
    """
    facts = {
        "Run": str(manifest["uid"]),
        "Seed": str(manifest["seed"]),
        "Versions": ", ".join(f"{name} {version}" for name, version in manifest["versions"].items()),
    }
    if manifest.get("machine"):
        facts["Machine"] = ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in manifest["machine"].items())
    unmade = [f"Not finished, and therefore not on this page: {', '.join(missing)}."] if missing else []
    said = [Text(text=line, style="verdict") for line in [*unmade, *version_sentences(steps, manifest["versions"])]]
    experiment = as_yaml(manifest["experiment"])
    return Section(
        name="run",
        title="What was run",
        blocks=(
            Facts(facts=facts),
            *said,
            _stage_table(manifest.get("stages", {})),
            *_growth(manifest.get("stages", {}), steps, n_test),
            *_taken(steps),
            _step_table(steps),
            Code(text=experiment, fold="The experiment, as its YAML file"),
        ),
        appendix=True,
    )


def version_sentences(steps: Mapping[str, Mapping[str, Any]], versions: Mapping[str, str]) -> list[str]:
    """List which steps were made by other versions than the present ones, one sentence for each version.

    Of packages that are not installed, as those of networks need not be to draw a page, one sentence names all.
    """
    said, absent = [], set()
    for name, present in versions.items():
        others: dict[str, list[str]] = {}
        if present == UNKNOWN:
            absent |= {name for record in steps.values() if record.get("versions", {}).get(name, present) != present}
            continue
        for step, record in steps.items():
            version = record.get("versions", {}).get(name, present)
            if version != present:
                others.setdefault(version, []).append(step)
        said += [
            f"{', '.join(made)} {'were' if len(made) > 1 else 'was'} made by {name} {version}; the present version is {present}."
            for version, made in others.items()
        ]
    if absent:
        said.append(f"Not installed here, so that their versions were not compared: {', '.join(sorted(absent))}.")
    return said


def _stage_table(stages: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = [
        _row(
            name,
            duration(facts.get("seconds")),
            _gigabytes(facts.get("peak_memory_gb")),
            str(facts.get("finished", MISSING)),
        )
        for name, facts in stages.items()
    ]
    if rows:
        seconds = sum(float(facts.get("seconds") or 0) for facts in stages.values())
        memory = max(float(facts.get("peak_memory_gb") or 0) for facts in stages.values())
        rows.append(_row("All", duration(seconds), _gigabytes(memory or None), ""))
    return Table(
        caption="Time of each stage over all its attempts, and peak memory of the last",
        corner="Stage",
        columns=("Time", "Peak memory", "Finished"),
        rows=tuple(rows),
    )


def _growth(stages: Mapping[str, Mapping[str, Any]], steps: Mapping[str, Mapping[str, Any]], n_test: int) -> list[Text]:
    """Say how long the stages took that grow with the number of test pictures, and what more pictures would take.

    Nothing is said of steps that were taken from another run, whose time is not known.
    """
    seconds = {name: float(stages.get(name, {}).get("seconds") or 0) for name in GROWING}
    taken = [name for name, record in steps.items() if name.startswith(GROWING) and record.get("taken_from")]
    if taken or not (n_test and all(seconds.values())):
        return []
    drawn, scored = (duration(own / n_test) for own in seconds.values())
    text = (
        f"Drawing took {drawn} for each of {n_test:,} test pictures, all kinds of pictures together, and scoring {scored}. Both "
        f"grow with the number of test pictures: {MANY:,} would take about {duration(MANY * sum(seconds.values()) / n_test)}."
    )
    return [Text(text=text, style="note")]


def _taken(steps: Mapping[str, Mapping[str, Any]]) -> list[Text]:
    """Say which steps another run computed, whose time is not in the table."""
    taken: dict[str, list[str]] = {}
    for name, record in steps.items():
        if record.get("taken_from"):
            taken.setdefault(str(record["taken_from"]), []).append(name)
    return [
        Text(
            text=f"Computed in another run, from the same settings and inputs ({place}): {', '.join(names)}.",
            style="note",
        )
        for place, names in taken.items()
    ]


def _step_table(steps: Mapping[str, Mapping[str, Any]]) -> Table:
    return Table(
        caption="Identity of each step: a hash of all that its results depend on",
        corner="Step",
        columns=("Identity", "Finished"),
        rows=tuple(
            _row(name, str(record["uid"])[:8], str(record.get("finished", MISSING))) for name, record in steps.items()
        ),
        fold="Identity of each step",
    )


def _row(label: str, *values: str) -> Row:
    return Row(label=label, cells=tuple(Cell(value=value) for value in values))


def _gigabytes(memory: float | None) -> str:
    return MISSING if memory is None else f"{memory:.1f} GiB"


def duration(seconds: int | float | None) -> str:
    """Print seconds as "4.2 s", "3 min 05 s" or "2 h 07 min".

    >>> duration(4.24), duration(185), duration(7620)
    ('4.2 s', '3 min 05 s', '2 h 07 min')
    """
    if seconds is None:
        return MISSING
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
