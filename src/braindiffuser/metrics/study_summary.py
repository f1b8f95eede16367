"""Scores of several subjects put together: the content of `scores.json` of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from braindiffuser.arrays import Vector
from braindiffuser.metrics.intervals import GRADED_CHANCE, mean_interval
from braindiffuser.metrics.prevalence import prevalence
from braindiffuser.metrics.scored_pictures import left_out_of
from braindiffuser.metrics.subjects import (
    interval_over_pictures,
    interval_over_subjects,
    share_interval_over_pictures,
    subject_means,
)
from braindiffuser.metrics.summary import FACTS, PerPicture, within


@dataclass(frozen=True)
class SubjectScores:
    """What one subject's run scored of one test set.

    Attributes:
        name: of the subject, unique.
        per_picture: metric → scores of the reconstructions (n,).
        summary: content of the run's scores file, as `summarise` returns it.
    """

    name: str
    per_picture: PerPicture
    summary: Mapping[str, Any]


@dataclass(frozen=True)
class Permuted:
    """Scores of one subject in one metric, and those under permutations of pictures.

    Attributes:
        observed: mean score of reconstructions with their own stimuli.
        null: mean scores under permutations (n_permutations,).
        n_images: number of pictures that were permuted.
    """

    observed: float
    null: Float[np.ndarray, " n_permutations"]
    n_images: int


def join_subjects(
    subjects: Sequence[SubjectScores],
    *,
    shared: bool = True,
    average: SubjectScores | None = None,
    permuted: Sequence[Mapping[str, Permuted]] = (),
) -> dict[str, Any]:
    """Average scores over subjects, with the uncertainty over pictures and, apart, over subjects.

    Args:
        subjects: one test set, subject by subject.
        shared: whether all subjects saw the same pictures, in the same order.
        average: scores of pictures that were drawn from features averaged over subjects.
        permuted: of each subject, metric → permutations; none: prevalence is not tested.

    Returns:
        `profile`, `n_images` (of the first subject) and `metrics`, as `summarise` returns them, where each `value` is the mean
        over subjects and `ci95` its interval over pictures. Further entries of a metric:

        - `ci95_subjects`: interval of the mean over subjects (Student's t), None for one subject;
        - `subjects`, `subjects_ci95`: value of each, and its interval over pictures;
        - `ceiling`, `baselines`, `ablations`: means over subjects; `ceiling_subjects`, `ablation_subjects` with those of each;
        - `baseline_wins`: whether each subject beats all of its own baselines, by intervals that do not overlap;
        - `ablation_losses`: what leaving a part out costs (positive: the whole method is better), `value`, `subjects` and
          `ci95_subjects` of each ablation;
        - `ablated`, where ablations are of fewer pictures in any run: mean over subjects of the whole method on these, `value`,
          and their number `n_images`, None where it differs, `n_images_subjects` that of each;
        - `subject_average`: `value`, `ci95`, and `gain` over the mean of the subjects on the same pictures (positive: better),
          with `gain_ci95`;
        - `prevalence`: see `metrics.prevalence`.

        Metrics that not all subjects have are left out; ablations and ceilings likewise.

    Raises:
        ValueError: names occur twice, or shared pictures differ in number.
    """
    names = [subject.name for subject in subjects]
    if len(set(names)) < len(names):
        raise ValueError(f"subjects must have different names, got {', '.join(names)}")
    keys = [key for key in subjects[0].summary["metrics"] if all(key in own.summary["metrics"] for own in subjects)]

    def joined(key: str) -> dict[str, Any]:
        scores = [np.asarray(own.per_picture[key], np.float64) for own in subjects]
        entries = [own.summary["metrics"][key] for own in subjects]
        values, bounds = subject_means(scores), entries[0]["bounds"]
        over_subjects = interval_over_subjects(values)
        return {
            **{fact: entries[0][fact] for fact in FACTS},
            "value": float(values.mean()),
            "ci95": _over_pictures(subjects, key, shared),
            "ci95_subjects": None if over_subjects is None else within(over_subjects, bounds),
            "subjects": dict(zip(names, values.tolist(), strict=True)),
            "subjects_ci95": {name: entry["ci95"] for name, entry in zip(names, entries, strict=True)},
            **_others(names, entries),
            **_ablated(subjects, entries),
        }

    metrics = {key: joined(key) for key in keys}
    for key, entry in metrics.items():
        if average is not None and key in average.per_picture:
            entry["subject_average"] = _average(average, subjects, key)
        own = [mapping[key] for mapping in permuted if key in mapping]
        if len(own) == len(subjects) > 1:
            entry["prevalence"] = _prevalence(names, own, entry["higher_is_better"])
    first = subjects[0].summary
    return {"profile": first["profile"], "n_images": first["n_images"], "metrics": metrics}


def _over_pictures(subjects: Sequence[SubjectScores], key: str, shared: bool) -> list[float]:
    """Return the interval over pictures of one metric, which allows for other distractors where all runs can tell."""
    scores = [np.asarray(own.per_picture[key], np.float64) for own in subjects]
    entry = subjects[0].summary["metrics"][key]
    known = [own for own in (left_out_of(subject.per_picture, key) for subject in subjects) if own is not None]
    if len(known) < len(subjects):
        return list(interval_over_pictures(scores, entry["bounds"], chance=entry["chance"], shared=shared))
    value, chance = float(subject_means(scores).mean()), entry["chance"]
    ends = share_interval_over_pictures(value, known, chance or 0.0, shared=shared, graded=chance == GRADED_CHANCE)
    return list(ends)


def _others(names: Sequence[str], entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average ceiling, baselines and ablations of one metric over subjects, and keep those of each."""
    ceilings = [entry["ceiling"] for entry in entries]
    has_ceiling = all(ceiling is not None for ceiling in ceilings)

    def common(group: str) -> dict[str, list[float]]:
        own = [entry[group] for entry in entries]
        return {name: [each[name] for each in own] for name in own[0] if all(name in each for each in own)}

    baselines, ablations = common("baselines"), common("ablations")
    sign = 1.0 if entries[0]["higher_is_better"] else -1.0
    losses = {
        name: sign * (np.array([_whole(entry) for entry in entries]) - np.array(values))
        for name, values in ablations.items()
    }
    return {
        "ceiling": float(np.mean(ceilings)) if has_ceiling else None,
        "ceiling_ci95": None,
        "ceiling_subjects": dict(zip(names, ceilings, strict=True)) if has_ceiling else {},
        "baselines": {name: float(np.mean(values)) for name, values in baselines.items()},
        "baselines_ci95": {},
        "baseline_wins": {name: _beats_baselines(entry) for name, entry in zip(names, entries, strict=True)}
        if baselines
        else {},
        "ablations": {name: float(np.mean(values)) for name, values in ablations.items()},
        "ablations_ci95": {},
        "ablation_subjects": {name: dict(zip(names, values, strict=True)) for name, values in ablations.items()},
        "ablation_losses": {name: _loss(names, values) for name, values in losses.items()},
    }


def _beats_baselines(entry: Mapping[str, Any]) -> bool:
    """Return whether a subject's reconstructions are better than each of its baselines, by intervals that do not overlap."""
    sign = 1.0 if entry["higher_is_better"] else -1.0
    lowest = min(sign * end for end in entry["ci95"])
    others = entry["baselines_ci95"].values()
    return len(others) == len(entry["baselines"]) and all(lowest > max(sign * end for end in other) for other in others)


def _whole(entry: Mapping[str, Any]) -> float:
    """Return the score of the whole method on the pictures that ablations were drawn for, where these are fewer."""
    ablated = entry.get("ablated") or {}
    return float(ablated.get("value", entry["value"]))


def _ablated(subjects: Sequence[SubjectScores], entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average the whole method on the pictures that ablations were drawn of, if these are fewer in any run."""
    if not any(entry.get("ablated") for entry in entries):
        return {}
    numbers = {
        own.name: int((entry.get("ablated") or own.summary)["n_images"])
        for own, entry in zip(subjects, entries, strict=True)
    }
    n_images = next(iter(numbers.values())) if len(set(numbers.values())) == 1 else None
    value = float(np.mean([_whole(entry) for entry in entries]))
    return {"ablated": {"n_images": n_images, "n_images_subjects": numbers, "value": value, "ci95": None}}


def _loss(names: Sequence[str], values: Vector) -> dict[str, Any]:
    interval = interval_over_subjects(values)
    return {
        "value": float(values.mean()),
        "ci95_subjects": None if interval is None else list(interval),
        "subjects": dict(zip(names, values.tolist(), strict=True)),
    }


def _average(average: SubjectScores, subjects: Sequence[SubjectScores], key: str) -> dict[str, Any]:
    """Compare pictures from averaged features with the mean of the subjects, picture by picture."""
    entry = average.summary["metrics"][key]
    own = np.asarray(average.per_picture[key], np.float64)
    mean = np.mean([np.asarray(subject.per_picture[key], np.float64) for subject in subjects], axis=0)
    gains = (own - mean) if entry["higher_is_better"] else (mean - own)
    return {
        "value": entry["value"],
        "ci95": entry["ci95"],
        "gain": float(gains.mean()),
        "gain_ci95": list(mean_interval(gains)),
    }


def _prevalence(names: Sequence[str], permuted: Sequence[Permuted], higher_is_better: bool) -> dict[str, Any]:
    sign = 1.0 if higher_is_better else -1.0
    observed = np.array([own.observed for own in permuted])
    found = prevalence(sign * observed, [sign * own.null for own in permuted])
    return {
        "observed": dict(zip(names, observed.tolist(), strict=True)),
        "chance": {name: float(own.null.mean()) for name, own in zip(names, permuted, strict=True)},
        "p_subjects": dict(zip(names, found.p_subjects, strict=True)),
        "p_global": found.p_global,
        "p_majority": found.p_majority,
        "bound": found.bound,
        "largest_bound": found.largest_bound,
        "alpha": found.alpha,
        "n_permutations": min(len(own.null) for own in permuted),
        "n_images": permuted[0].n_images,
    }
