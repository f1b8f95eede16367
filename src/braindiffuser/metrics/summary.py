"""Scores of all sets of pictures, put together with their intervals: the content of `scores.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float

from braindiffuser.arrays import Vector
from braindiffuser.metrics.inference import bootstrap_interval
from braindiffuser.metrics.metric import Metric
from braindiffuser.metrics.profiles import Profile

Scores = Float[np.ndarray, "_"]
"""One score per picture, (n,); lengths are checked in `summarise`."""

PerPicture: TypeAlias = Mapping[str, Scores]
"""Scores by the metric's key, as `Scorer.score` gives them."""

FACTS = ("label", "description", "citation", "higher_is_better", "chance", "bounds")
"""Entries of a metric that say what it is: the same for all subjects, folds and sets of pictures."""


@dataclass(frozen=True)
class ScoreSets:
    """Scores of every set of pictures that were compared with the same stimuli.

    Attributes:
        final: the reconstructions.
        ceiling: the same generators fed with the stimuli's true features: what a perfect decoder would reach; None if
            not drawn.
        baselines: sets that know nothing of the stimulus, by name (`mean_image`, `random_train_image`,
            `shuffled_responses`).
        ablations: reconstructions without a part of the method, by name (`low_level_only`, `without_low_level`).
        final_of_ablated: the reconstructions of those pictures that ablations are compared on, scored among themselves as the
            ablations are; None if these are compared on all.
    """

    final: PerPicture
    ceiling: PerPicture | None = None
    baselines: Mapping[str, PerPicture] = field(default_factory=dict)
    ablations: Mapping[str, PerPicture] = field(default_factory=dict)
    final_of_ablated: PerPicture | None = None

    @property
    def named(self) -> dict[str, PerPicture]:
        """Sets of all pictures by name, for messages and checks."""
        ceiling = {} if self.ceiling is None else {"ceiling": self.ceiling}
        ablations = self.ablations if self.final_of_ablated is None else {}
        return {"final": self.final, **ceiling, **self.baselines, **ablations}

    @property
    def of_ablated(self) -> dict[str, PerPicture]:
        """Sets of the pictures that ablations are compared on, by name; {} if these are all."""
        whole = self.final_of_ablated
        return {} if whole is None else {"final": whole, **self.ablations}


def summarise(
    profile: Profile, score_sets: ScoreSets, rng: np.random.Generator, n_resamples: int = 2000
) -> dict[str, Any]:
    """Put means and 95 % intervals of all sets together, ready to be written as `scores.json`.

    All intervals use the same resamples, so they do not depend on which other metrics or sets are there.

    Args:
        profile: the metrics, in order.
        score_sets: scores per picture of all sets.
        rng: source of the resamples.
        n_resamples: number of resamples of each interval.

    Returns:
        `profile`, `n_images` and, by metric key, `metrics`: `label`, `description`, `citation`, `higher_is_better`,
        `chance`, `bounds`, `value`, `ci95`, `ceiling`, `ceiling_ci95`, `baselines`, `baselines_ci95`, `ablations`,
        `ablations_ci95`; plain Python numbers throughout. If ablations are compared on some pictures alone, `ablated` has
        `n_images`, and `value` and `ci95` of the reconstructions of these, scored among themselves.

    Raises:
        ValueError: if a set lacks a metric, or has scores of another number of pictures.
    """
    n_images = _check_sets(profile, score_sets.named)
    n_ablated = _check_sets(profile, score_sets.of_ablated) if score_sets.of_ablated else 0
    seed = int(rng.integers(2**63))

    def interval(scores: Vector) -> list[float]:
        return list(bootstrap_interval(scores, np.random.default_rng(seed), n_resamples))

    def both(prefix: str, sets: Mapping[str, PerPicture], key: str) -> dict[str, Any]:
        return {
            prefix: {name: float(scores[key].mean()) for name, scores in sets.items()},
            f"{prefix}_ci95": {name: interval(scores[key]) for name, scores in sets.items()},
        }

    def ablated(key: str) -> dict[str, Any]:
        whole = score_sets.final_of_ablated
        if whole is None:
            return {}
        return {"ablated": {"n_images": n_ablated, "value": float(whole[key].mean()), "ci95": interval(whole[key])}}

    metrics = {
        key: {
            **facts_of(metric),
            "value": float(score_sets.final[key].mean()),
            "ci95": interval(score_sets.final[key]),
            "ceiling": None if score_sets.ceiling is None else float(score_sets.ceiling[key].mean()),
            "ceiling_ci95": None if score_sets.ceiling is None else interval(score_sets.ceiling[key]),
            **both("baselines", score_sets.baselines, key),
            **both("ablations", score_sets.ablations, key),
            **ablated(key),
        }
        for key, metric in profile.metrics.items()
    }
    return {"profile": profile.name, "n_images": n_images, "metrics": metrics}


def facts_of(metric: Metric) -> dict[str, Any]:
    """Return what is known of a metric, as `scores.json` says it."""
    return {
        "label": metric.label,
        "description": metric.description,
        "citation": metric.citation,
        "higher_is_better": metric.higher_is_better,
        "chance": metric.chance,
        "bounds": list(metric.bounds),
    }


def within(interval: Sequence[float], bounds: Sequence[float]) -> list[float]:
    """End an interval at the bounds of the metric.

    >>> within((-0.1, 0.4), (0.0, 1.0))
    [0.0, 0.4]
    """
    return [float(min(max(end, bounds[0]), bounds[1])) for end in interval]


def _check_sets(profile: Profile, score_sets: Mapping[str, PerPicture]) -> int:
    sizes = {}
    for name, scores in score_sets.items():
        for key in profile.metrics:
            if key not in scores:
                raise ValueError(f"the set {name} has no {key}, it has {sorted(scores)}: score it with {profile.name}")
            sizes[f"{name}/{key}"] = len(scores[key])
    if len(set(sizes.values())) != 1:
        raise ValueError(f"all sets must score the same pictures, got these numbers of them: {sizes}")
    return next(iter(sizes.values()))
