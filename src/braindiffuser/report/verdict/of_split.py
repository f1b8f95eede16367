"""Whether test pictures lie in the training set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from braindiffuser.report.numbers import counted, first_of, number, percent
from braindiffuser.report.verdict.conclusion import Conclusion, Evidence, related_groups

NEGLIGIBLE = 0.01
"""Share of test pictures that are near-duplicates of training pictures up to which they cannot raise scores by much."""
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
    training = near.get("training_share")
    of = (
        f"{n}, {doubles} {'has' if doubles == 1 else 'have'} nearly the same features as a training picture"
        f"{'' if training is None else f' (so have {percent(training, 1)} of training pictures)'}"
    )
    if copies:
        yield Conclusion(
            "copies",
            "wrong",
            f"Test pictures are in the training set: of {n}, {len(copies)} {'shows' if len(copies) == 1 else 'show'} nearly the "
            f"same pixels as a training picture ({_names(copies)}). Take {'it' if len(copies) == 1 else 'them'} out of either "
            "side before scores are believed.",
        )
    elif are_near_duplicates(audit):
        yield Conclusion(
            "copies",
            "wrong",
            f"Test pictures are near-duplicates of training pictures: of {of}. Look at these pairs in the section on the split, "
            "and take out of either side what shows the same.",
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
            f"Of {of}{_what_they_do(doubles / audit['n'])}.",
        )
    if alike:
        shows = "shows" if len(alike) == 1 else "show"
        yield Conclusion(
            "look_alikes",
            "limited",
            f"Whether {'further ' if copies else ''}test pictures are copies cannot be told from pixels: of {n}, {len(alike)} "
            f"{shows} much the same as a training picture ({_names(alike)}; pixel_train_id in "
            f"analyses/{audit.get('label', 'split_audit')}/nearest.csv). "
            "Look at them side by side.",
        )
    if audit["verdict"] == "alike":
        groups = evidence.scores.get("features") or {}
        nothing_holds = are_copied(audit) or (groups and not related_groups(groups))
        hold = "scores" if nothing_holds else "scores hold for such pictures, and"
        yield Conclusion(
            "alike",
            "limited",
            f"Test pictures resemble training pictures as much as those resemble each other: {hold} tell nothing of other "
            "kinds.",
        )


def _names(pairs: Sequence[Mapping[str, Any]]) -> str:
    return first_of([picture_called(each) for each in pairs], MOST_NAMED)


def doubt_of(audit: Mapping[str, Any]) -> int:
    """Return how much an audit puts a run in doubt: 2 by copies, 1 by test pictures nearer than training pictures lie, 0 not."""
    return 2 if are_copied(audit) else int(audit["verdict"] == "nearer")


def are_copied(audit: Mapping[str, Any]) -> bool:
    """Return whether an audit found copies across the split, by pixels or by features."""
    return bool(audit["near_copies"]) or are_near_duplicates(audit)


def are_near_duplicates(audit: Mapping[str, Any]) -> bool:
    """Return whether more test pictures than are negligible, and than training pictures among themselves, are near-duplicates."""
    near = audit["near_duplicates"]
    return bool(near["count"] > NEGLIGIBLE * audit["n"] and near.get("more_than_training", False))


def picture_called(pair: Mapping[str, Any]) -> str:
    """Return what a test picture is called: its name, or its stimulus, and its number on the page.

    >>> picture_called({"number": 3, "stimulus_id": 703, "name": ""})
    'stimulus 703 (number 3)'
    >>> picture_called({"number": 3, "stimulus_id": 703, "name": "cat"})
    'cat (number 3)'
    """
    return f"{pair['name'] or 'stimulus {}'.format(pair['stimulus_id'])} (number {pair['number']})"


def _what_they_do(share: float) -> str:
    """Say what near-duplicates that are no reason to doubt the run do to its scores."""
    if share > NEGLIGIBLE:
        return ", which is not shown to be more than training pictures have among themselves"
    return (
        ". Without them a share of right pictures, such as identification, would be at most "
        f"{number(100 * share, 1)} percentage points lower"
    )
