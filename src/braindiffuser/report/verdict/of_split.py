"""Whether test pictures lie in the training set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from braindiffuser.report.numbers import counted, percent
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
    copies, alike, near = audit["near_copies"], audit.get("look_alikes", ()), audit["near_duplicates"]
    doubles, n = near["count"], counted(audit["n"], "test picture")
    of = (
        f"of {n}, {doubles} {'has' if doubles == 1 else 'have'} nearly the same features as a training picture (of training "
        f"pictures {percent(near.get('training_share'), 1)})"
    )
    are_doubled = doubles > NEGLIGIBLE * audit["n"] and near.get("more_than_training", False)
    if copies:
        yield Conclusion(
            "copies",
            "wrong",
            f"Test pictures are in the training set: of {n}, {len(copies)} {'shows' if len(copies) == 1 else 'show'} nearly the "
            f"same pixels as a training picture ({_names(copies)}). Take {'it' if len(copies) == 1 else 'them'} out of either "
            "side before scores are believed.",
        )
    elif are_doubled:
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
    if alike:
        shows = "shows" if len(alike) == 1 else "show"
        yield Conclusion(
            "look_alikes",
            "limited",
            f"Whether {'further ' if copies else ''}test pictures are copies cannot be told from pixels: of {n}, {len(alike)} "
            f"{shows} much the same as a training picture ({_names(alike)}; pixel_train_id in analyses/split_audit/nearest.csv). "
            "Look at them side by side.",
        )
    if audit["verdict"] == "alike":
        hold = "scores" if copies or are_doubled else "scores hold for such pictures, and"
        yield Conclusion(
            "alike",
            "limited",
            f"Test pictures resemble training pictures as much as those resemble each other: {hold} tell nothing of other "
            "kinds.",
        )


def _names(pairs: Sequence[Mapping[str, Any]]) -> str:
    names = [str(each["name"] or each["stimulus_id"]) for each in pairs[:MOST_NAMED]]
    more = f" and {len(pairs) - MOST_NAMED} more" if len(pairs) > MOST_NAMED else ""
    return f"{', '.join(names)}{more}"
