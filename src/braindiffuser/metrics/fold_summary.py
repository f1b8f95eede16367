"""Scores of k runs, each of which tested one fold, put together: the content of `scores.json` of all folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from braindiffuser.arrays import Vector
from braindiffuser.metrics.inference import permutation_p_value
from braindiffuser.metrics.intervals import GRADED_CHANCE
from braindiffuser.metrics.joined_intervals import interval_inside_folds, joined_share_interval
from braindiffuser.metrics.scored_pictures import Scores, left_out_of
from braindiffuser.metrics.summary import FACTS, PerPicture, within

NULL = "shuffled_training"
"""Name of the null among the baselines."""


@dataclass(frozen=True)
class FoldOfSet:
    """What one run scored of one test set. Metrics compared its pictures among themselves, inside the fold.

    Attributes:
        stimulus_ids: pictures that were scored (n,).
        per_picture: metric → scores of the reconstructions (n,).
        summary: content of the run's scores file, as `summarise` returns it.
    """

    stimulus_ids: Int[np.ndarray, " n"]
    per_picture: PerPicture
    summary: Mapping[str, Any]


@dataclass(frozen=True)
class Gathered:
    """Scores of one metric over all folds.

    Attributes:
        stimulus_ids: pictures, ascending (n,).
        scores: of each picture, averaged over the folds that tested it (n,).
        folds: the first fold that tested it (n,).
        left_out: mean score without each picture, of each set of pictures that were identified among each other: one a fold, or
            one in all if every fold tested the same; None: not known, or pictures are not each other's distractors.
    """

    stimulus_ids: Int[np.ndarray, " n"]
    scores: Vector
    folds: Int[np.ndarray, " n"]
    left_out: tuple[Scores, ...] | None = None


def gather(folds: Sequence[FoldOfSet], key: str) -> Gathered:
    """Return the score of each picture in one metric; a picture that several folds tested has its mean over them."""
    ids = np.concatenate([fold.stimulus_ids for fold in folds])
    values = np.concatenate([np.asarray(fold.per_picture[key], np.float64) for fold in folds])
    numbers = np.repeat(np.arange(len(folds)), [len(fold.stimulus_ids) for fold in folds])
    shown, first, place = np.unique(ids, return_index=True, return_inverse=True)
    return Gathered(
        shown, np.bincount(place, values) / np.bincount(place), numbers[first], _left_out(folds, key, len(shown))
    )


def _left_out(folds: Sequence[FoldOfSet], key: str, n_shown: int) -> tuple[Scores, ...] | None:
    """Return the mean scores without each picture where every picture was tested once, or each in every fold."""
    known = [own for own in (left_out_of(fold.per_picture, key) for fold in folds) if own is not None]
    if len(known) < len(folds):
        return None
    if sum(len(own) for own in known) == n_shown:
        return tuple(known)
    if any(len(own) != n_shown for own in known):
        return None
    ordered = [own[np.argsort(fold.stimulus_ids)] for own, fold in zip(known, folds, strict=True)]
    return (np.mean(ordered, axis=0),)


def join_folds(
    folds: Sequence[FoldOfSet],
    nulls: Sequence[Sequence[FoldOfSet]] = (),
) -> dict[str, Any]:
    """Average scores over pictures, each scored inside its fold.

    value = 1/n Σ_i score(i), where score(i) was computed among the pictures of the fold of picture i alone; where several folds
    tested a picture (a further test set), its score is the mean over them. The null is the same of runs whose training
    pictures were exchanged before anything was fitted.

    Args:
        folds: one test set, fold by fold.
        nulls: the same of each repetition of the null.

    Returns:
        What `summarise` returns, for all folds together; intervals end at the bounds of the metric. Ceiling, baselines and
        ablations are means without intervals. The null is the baseline `shuffled_training`, the mean over its repetitions, with
        an interval. Each metric also has `folds` and `folds_ci95`, the value of each fold, and, if there is a null, `null` with
        the value of each repetition and `p_value`. Metrics that not all runs have are left out.

    Raises:
        ValueError: a repetition of the null scored other pictures than the folds.
    """
    pictures = _pictures_of(folds)
    if not all(np.array_equal(_pictures_of(null), pictures) for null in nulls):
        raise ValueError("a null scored other pictures than the folds that it belongs to")
    runs = [*folds, *(fold for null in nulls for fold in null)]
    keys = [key for key in folds[0].summary["metrics"] if all(key in fold.summary["metrics"] for fold in runs)]

    def joined(key: str) -> dict[str, Any]:
        own, entries = gather(folds, key), [fold.summary["metrics"][key] for fold in folds]
        sizes = [len(fold.stimulus_ids) for fold in folds]
        return {
            **{name: entries[0][name] for name in FACTS},
            "value": float(own.scores.mean()),
            "ci95": _interval(own, entries[0]),
            **_means_of_others(entries, sizes),
            **_ablated(entries, sizes),
            "folds": [entry["value"] for entry in entries],
            "folds_ci95": [entry["ci95"] for entry in entries],
        }

    metrics = {key: joined(key) for key in keys}
    for key, entry in metrics.items() if nulls else ():
        _add_null(entry, [gather(null, key) for null in nulls])
    return {"profile": folds[0].summary["profile"], "n_images": len(pictures), "metrics": metrics}


def _pictures_of(folds: Sequence[FoldOfSet]) -> Int[np.ndarray, " n"]:
    """Return the pictures that some fold tested, ascending."""
    return np.unique(np.concatenate([fold.stimulus_ids for fold in folds]))


def _means_of_others(entries: Sequence[Mapping[str, Any]], sizes: Sequence[int]) -> dict[str, Any]:
    """Average ceiling, baselines and ablations of one metric over pictures."""

    def mean(values: Sequence[float]) -> float:
        return float(np.average(values, weights=sizes))

    has_ceiling = all(entry["ceiling"] is not None for entry in entries)
    of_ablations = [entry.get("ablated", {}).get("n_images", size) for entry, size in zip(entries, sizes, strict=True)]
    groups = {
        group: {
            name: float(np.average([entry[group][name] for entry in entries], weights=weights))
            for name in entries[0][group]
            if all(name in entry[group] for entry in entries)
        }
        for group, weights in (("baselines", sizes), ("ablations", of_ablations))
    }
    ceiling = mean([entry["ceiling"] for entry in entries]) if has_ceiling else None
    return {"ceiling": ceiling, "ceiling_ci95": None, **groups, "baselines_ci95": {}, "ablations_ci95": {}}


def _ablated(entries: Sequence[Mapping[str, Any]], sizes: Sequence[int]) -> dict[str, Any]:
    """Average the reconstructions of those pictures that ablations are compared on, if these are not all in every fold."""
    if not any("ablated" in entry for entry in entries):
        return {}
    compared = [
        entry.get("ablated", {"n_images": size, "value": entry["value"]})
        for entry, size in zip(entries, sizes, strict=True)
    ]
    n_images = [own["n_images"] for own in compared]
    value = float(np.average([own["value"] for own in compared], weights=n_images))
    return {"ablated": {"n_images": sum(n_images), "value": value, "ci95": None}}


def _interval(own: Gathered, entry: Mapping[str, Any]) -> list[float]:
    """Return the interval of one metric, which allows for other distractors where runs can tell."""
    if own.left_out is None:
        return within(interval_inside_folds(own.scores, own.folds), entry["bounds"])
    weights = [len(part) / len(own.scores) for part in own.left_out]
    chance, value = entry["chance"], float(own.scores.mean())
    graded = chance == GRADED_CHANCE
    return list(joined_share_interval(value, own.left_out, weights, chance or 0.0, graded=graded))


def _add_null(entry: dict[str, Any], nulls: Sequence[Gathered]) -> None:
    """Add the null to a metric: as a baseline, each repetition, and how rarely it reaches the value."""
    values = np.array([null.scores.mean() for null in nulls])
    whole = Gathered(nulls[0].stimulus_ids, np.mean([null.scores for null in nulls], axis=0), nulls[0].folds)
    sign = 1.0 if entry["higher_is_better"] else -1.0
    entry["baselines"][NULL] = float(whole.scores.mean())
    entry["baselines_ci95"][NULL] = _interval(whole, entry)
    p_value = permutation_p_value(sign * entry["value"], sign * values)
    entry["null"] = {"values": values.tolist(), "p_value": p_value}
