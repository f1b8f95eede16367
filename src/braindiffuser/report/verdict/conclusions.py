"""All conclusions on a run, drawn from `scores.json` of one test set, and from what other parts of the run found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from braindiffuser.report.numbers import join
from braindiffuser.report.verdict.conclusion import Conclusion, Evidence, Kind
from braindiffuser.report.verdict.of_features import features_conclusions
from braindiffuser.report.verdict.of_pictures import pictures_conclusions
from braindiffuser.report.verdict.of_split import split_conclusions

FEW_PICTURES = 30
VOXEL_CHOICE = "responses.voxel_choice"
"""The entry that lets test trials choose voxels, but makes no picture depend on another."""


def conclusions(evidence: Evidence) -> list[Conclusion]:
    """Draw all conclusions; what puts the run in doubt comes first, then what is supported, then its limits.

    docs/concepts/verdict.md lists their names, and when each is drawn.
    """
    found = [
        *features_conclusions(evidence),
        *split_conclusions(evidence),
        *pictures_conclusions(evidence),
        *_scope(evidence),
    ]
    order: Sequence[Kind] = ("wrong", "supported", "limited")
    return sorted(found, key=lambda each: order.index(each.kind))


def _scope(evidence: Evidence) -> Iterator[Conclusion]:
    """Say what the numbers are of."""
    n = evidence.scores["n_images"]
    statistics = [entry for entry in evidence.transductive if entry != VOXEL_CHOICE]
    if statistics:
        yield Conclusion(
            "transductive",
            "limited",
            f"Statistics of the test set were used ({join(statistics)}), so what is decoded of one picture depends on the "
            "others, and no single trial could be decoded so.",
        )
    if VOXEL_CHOICE in evidence.transductive:
        yield Conclusion(
            "voxels_by_test_trials",
            "limited",
            f"Voxels were chosen by noise ceilings in which test trials may be ({VOXEL_CHOICE}), so scores of new pictures may "
            "be lower.",
        )
    if n < FEW_PICTURES:
        yield Conclusion(
            "few_pictures", "limited", f"{n} test pictures are few: intervals are wide, and rare failures may not show."
        )
    whom = "one simulated subject; no brain was recorded" if evidence.is_simulated else "one subject and one fit"
    yield Conclusion(
        "one_subject",
        "limited",
        f"Intervals are over test pictures of {whom}. Others are a question for a study of several subjects.",
    )
    for title, text in evidence.notes.items():
        yield Conclusion("note", "limited", f"{title}: {text}")
