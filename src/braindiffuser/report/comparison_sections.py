"""Sections on pictures that are drawn from other inputs: one branch of the true features alone, and random responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from braindiffuser.report import tables
from braindiffuser.report.numbers import join
from braindiffuser.report.score_sections import scores_table
from braindiffuser.report.sections import Section, Text

RANDOM = {"reconstruction": "Reconstruction", "random_responses": "Random responses"}
"""Conditions of the comparison with random responses."""
NUMBERS = "The numbers as a table"
"""Folds away the table that a sentence was made from."""


def comparison_sections(scores: Mapping[str, Any]) -> list[Section]:
    """Make the sections of a test set's further comparisons, those that were computed.

    Args:
        scores: content of a scores file.
    """
    made = {"recovery": _recovery, "random_responses": _random_responses}
    return [make(scores[name]) for name, make in made.items() if name in scores]


def _recovery(compared: Mapping[str, Any]) -> Section:
    branches = [name for name in next(iter(compared["metrics"].values()))["values"] if name != "all"]
    scores = _as_scores(compared)
    sentences = [f"From {name} alone: {_loss_sentence(scores, name)}" for name in branches]
    text = (
        f"The generator is fed with one branch of the true features alone, on {compared['n_images']} test pictures, which are "
        "scored among themselves. A branch from which even true features do not bring the picture back cannot do so from "
        "decoded ones."
    )
    conditions = {"all": "All branches", **{name: f"{name.capitalize()} alone" for name in branches}}
    return Section(
        name="recovery",
        title="What does each branch bring back?",
        blocks=(
            Text(text=text),
            *(Text(text=sentence, style="verdict") for sentence in sentences),
            scores_table(
                scores, conditions, "Pictures drawn from true features", "All branches", chance=True, fold=NUMBERS
            ),
        ),
    )


def _loss_sentence(scores: Mapping[str, Any], name: str) -> str:
    """Say on which metrics one branch falls behind all of them together, counting separate intervals."""
    found = {entry["label"]: tables.compare(entry, name, "all") for entry in scores["metrics"].values()}
    worse = [label for label, result in found.items() if result == "worse"]
    better = [label for label, result in found.items() if result == "better"]
    parts = [f"{word} on {join(labels)}" for word, labels in (("worse", worse), ("better", better)) if labels]
    if not parts:
        return "no metric tells it from all branches, by 95 % intervals that do not overlap."
    return f"{' and '.join(parts).replace(' on ', ' than all branches on ', 1)}, by 95 % intervals that do not overlap."


def _random_responses(compared: Mapping[str, Any]) -> Section:
    scores = _as_scores(compared)
    found = {
        entry["label"]: tables.compare(entry, "reconstruction", "random_responses")
        for entry in scores["metrics"].values()
    }
    better = [label for label, result in found.items() if result == "better"]
    rest = [label for label, result in found.items() if result != "better"]
    verdict = (
        f"Reconstructions are better than pictures from random responses on {join(better) or 'no metric'}"
        f"{f', not on {join(rest)}' if rest else ''}, counting 95 % intervals that do not overlap."
    )
    text = (
        f"Random responses of the training mean and covariance were decoded and drawn as responses are, for "
        f"{compared['n_images']} test pictures, which are scored among themselves. They know no stimulus: what they reach, the "
        "generator reaches by what it knows of pictures in general."
    )
    return Section(
        name="random-responses",
        title="What do random responses give?",
        blocks=(
            Text(text=text),
            Text(text=verdict, style="verdict"),
            scores_table(
                scores,
                RANDOM,
                "Reconstructions beside pictures from random responses",
                "Reconstruction",
                chance=True,
                fold=NUMBERS,
            ),
        ),
    )


def _as_scores(compared: Mapping[str, Any]) -> dict[str, Any]:
    """Return compared sets in the form of scores whose conditions are ablations, as tables take them."""
    metrics = {
        key: {
            **entry,
            "value": entry["values"].get("reconstruction"),
            "ci95": entry["ci95"].get("reconstruction"),
            "baselines": {},
            "ablations": entry["values"],
            "ablations_ci95": entry["ci95"],
        }
        for key, entry in compared["metrics"].items()
    }
    return {"n_images": compared["n_images"], "metrics": metrics}
