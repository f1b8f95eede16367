"""Whether test pictures lie in the training set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from braindiffuser.report.numbers import percent
from braindiffuser.report.verdict.conclusion import Conclusion, Evidence

NEGLIGIBLE = 0.01
"""Share of test pictures with nearly the features of a training picture up to which they cannot move scores by much."""
MOST_NAMED = 3
"""Copies that the verdict names."""


def split_conclusions(evidence: Evidence) -> Iterator[Conclusion]:
    """Conclude on test pictures that lie in the training set."""
    audit = evidence.audit
    if audit is None:
        yield Conclusion(
            "not_audited",
            "limited",
            "Whether test pictures resemble training pictures was not looked at: `braindiffuser analyse split_audit --out RUN` "
            "does.",
        )
        return
    copies, near = audit["near_copies"], audit["near_duplicates"]
    doubles = near["count"]
    have = "has" if doubles == 1 else "have"
    of = (
        f"of {audit['n']} test pictures, {doubles} {have} nearly the same features as a training picture (of training pictures "
        f"{percent(near['training_share'], 1)})"
    )
    if copies:
        yield Conclusion(
            "copies",
            "wrong",
            f"Test pictures are in the training set: {len(copies)} of {audit['n']} show nearly the same pixels as a training "
            f"picture ({_names(copies)}). Take them out of either side before scores are believed.",
        )
    elif doubles > NEGLIGIBLE * audit["n"] and near["more_than_training"]:
        yield Conclusion(
            "copies",
            "wrong",
            f"Test pictures double training pictures: {of}. Look at these pairs in the section on the split, and take out of "
            "either side what shows the same.",
        )
    elif audit["verdict"] == "nearer":
        yield Conclusion(
            "nearer_than_training",
            "wrong",
            "Test pictures lie nearer to training pictures than those lie to each other, so scores tell little of new pictures.",
        )
    elif doubles:
        yield Conclusion(
            "few_doubles",
            "limited",
            f"Some test pictures nearly double training pictures: {of}. That moves a mean score by "
            f"{percent(doubles / audit['n'], 1)} at most.",
        )
    if not copies and (alike := audit["look_alikes"]):
        yield Conclusion(
            "look_alikes",
            "limited",
            f"Whether test pictures are copies cannot be told from pixels: {len(alike)} of {audit['n']} show nearly the same as "
            f"a training picture ({_names(alike)}), as training pictures do among themselves. Look at these pairs.",
        )
    if audit["verdict"] == "alike":
        yield Conclusion(
            "alike",
            "limited",
            "Test pictures resemble training pictures as much as those resemble each other: scores hold for such pictures, and "
            "tell nothing of other kinds.",
        )


def _names(pairs: Sequence[Mapping[str, Any]]) -> str:
    names = [str(each["name"] or each["stimulus_id"]) for each in pairs[:MOST_NAMED]]
    more = f" and {len(pairs) - MOST_NAMED} more" if len(pairs) > MOST_NAMED else ""
    return f"{', '.join(names)}{more}"
