"""What the verdict is drawn from, and what it consists of. A conclusion has a name, so that a program can ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from braindiffuser.report.beyond_chance import beyond_chance
from braindiffuser.report.numbers import number, percent

Kind = Literal["supported", "limited", "wrong"]
"""supported: the numbers show it. limited: they do not show it, or only in part. wrong: the run itself is in doubt."""
CHANCE = 0.5


@dataclass(frozen=True)
class Conclusion:
    """One conclusion.

    Attributes:
        name: of it, the same in every run.
        kind: what it means for the reader.
        sentence: as the page prints it.
    """

    name: str
    kind: Kind
    sentence: str


@dataclass(frozen=True)
class Evidence:
    """What conclusions are drawn from.

    Attributes:
        scores: of the test set, as `scores.json` holds them, with its "features".
        audit: facts of this test set of the analysis split_audit, with its `n`, and with its `label`, if that is not
            split_audit; None: it was not made, so copies are not looked for.
        noise_ceiling: median over all decoded voxels in percent; None: not known.
        notes: what must be known of the metrics, such as that networks are stand-ins: title → text.
        transductive: entries of the experiment by which test responses enter what is decoded, such as regression.calibration.
        is_simulated: whether no brain was recorded.
    """

    scores: Mapping[str, Any]
    audit: Mapping[str, Any] | None = None
    noise_ceiling: float | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    transductive: Sequence[str] = ()
    is_simulated: bool = False


def related_groups(groups: Mapping[str, Any]) -> set[str]:
    """Return the groups of features that identify pictures beyond chance."""
    return beyond_chance({name: own["two_way"]["p"] for name, own in groups.items()})


def share_of(name: str, entry: Mapping[str, Any]) -> str:
    """Return a share with its interval, and what it is of: `81.2 % [70.1 – 88.0] (vision)`."""
    return f"{percent(entry['value'], 1)} [{ends_of(entry)}] ({name})"


def ends_of(entry: Mapping[str, Any]) -> str:
    """Return the ends of a share's interval in percent: `70.1 – 88.0`."""
    low, high = entry["ci95"]
    return f"{number(100 * low, 1)} – {number(100 * high, 1)}"
