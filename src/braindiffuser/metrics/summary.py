"""Scores of all sets of pictures, put together with their intervals: the content of `scores.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from braindiffuser.arrays import Matrix
from braindiffuser.metrics.inference import exchanged_means, permutation_p_value
from braindiffuser.metrics.intervals import score_interval
from braindiffuser.metrics.metric import FeatureMetric, Metric
from braindiffuser.metrics.paired_comparison import PictureScores, compare_paired
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.scored_pictures import ScoredPictures, Scores, left_out_of
from braindiffuser.metrics.two_way_identification import TwoWayIdentification

PerPicture: TypeAlias = Mapping[str, Scores]
"""Scores by the metric's key; `ScoredPictures`, as `Scorer.score` gives them, give identification intervals of its own. Lengths
are checked in `summarise`."""

EXCHANGES_A_METRIC = 20
"""Fewest exchanges of pictures for each metric that has a p: of fewer, no p could be .05 after Holm's correction."""

FACTS = ("label", "description", "citation", "higher_is_better", "chance", "bounds")
"""Entries of a metric that say what it is: the same for all subjects, folds and sets of pictures."""


@dataclass(frozen=True)
class ScoreSets:
    """Scores of every set of pictures that were compared with the same stimuli.

    Attributes:
        final: the reconstructions.
        ceiling: the same generators fed with the stimuli's true features: what a perfect decoder would reach; None if
            not drawn.
        baselines: sets of a stated, small knowledge, by name: none of the stimulus (`mean_image`, `random_train_image`,
            `shuffled_responses`), decoded features and no generator (`nearest_training_picture`), its category (`category_only`).
        ablations: reconstructions without a part of the method, by name (`low_level_only`, `without_low_level`).
        final_of_ablated: the reconstructions of those pictures that ablations are compared on, scored among themselves as the
            ablations are; None if these are compared on all.
        pairs: scores of every reconstruction as if it were that of every stimulus (n, n), by the key of those metrics that have
            them, for their p values.
    """

    final: PerPicture
    ceiling: PerPicture | None = None
    baselines: Mapping[str, PerPicture] = field(default_factory=dict)
    ablations: Mapping[str, PerPicture] = field(default_factory=dict)
    final_of_ablated: PerPicture | None = None
    pairs: Mapping[str, Matrix] = field(default_factory=dict)

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

    Intervals are those of `score_interval`; those of identification are `share_interval`'s, which allow for other distractors
    as well. p values use the same exchanges of pictures, so they do not depend on which other metrics are there.

    Args:
        profile: the metrics, in order.
        score_sets: scores per picture of all sets.
        rng: source of the exchanges of pictures.
        n_resamples: number of random permutations behind each p value; 20 for each metric at least.

    Returns:
        `profile`, `n_images` and, by metric key, `metrics`: `label`, `description`, `citation`, `higher_is_better`,
        `chance`, `bounds`, `value`, `ci95`, `ceiling`, `ceiling_ci95`, `baselines`, `baselines_ci95`, `ablations`,
        `ablations_ci95`, `differences` (of two pictures or more: reconstructions less each baseline, picture by picture, as
        `compare_paired` gives them: `value`, `ci95`, `p`), and `p` if `pairs` has the metric: the share of exchanges of the
        reconstructions that score as well or better; `other_direction` of identification: `direction`, `value`, `ci95`; plain
        Python numbers throughout. If ablations are compared on some pictures alone, `ablated` has `n_images`, and `value` and
        `ci95` of the reconstructions of these, scored among themselves.

    Raises:
        ValueError: if a set lacks a metric, or has scores of another number of pictures.
    """
    n_images = _check_sets(profile, score_sets.named)
    n_ablated = _check_sets(profile, score_sets.of_ablated) if score_sets.of_ablated else 0
    seed = int(rng.integers(2**63))
    n_exchanges = max(n_resamples, EXCHANGES_A_METRIC * len(score_sets.pairs))

    def interval(scores: PerPicture, key: str) -> list[float]:
        return interval_of(profile.metrics[key], key, scores)

    def p_value(key: str, metric: Metric) -> dict[str, float]:
        if key not in score_sets.pairs:
            return {}
        sign = 1.0 if metric.higher_is_better else -1.0
        null = exchanged_means(score_sets.pairs[key], np.random.default_rng(seed), n_exchanges)
        return {"p": permutation_p_value(sign * float(score_sets.final[key].mean()), sign * null)}

    def both(prefix: str, sets: Mapping[str, PerPicture], key: str) -> dict[str, Any]:
        return {
            prefix: {name: float(scores[key].mean()) for name, scores in sets.items()},
            f"{prefix}_ci95": {name: interval(scores, key) for name, scores in sets.items()},
        }

    def ablated(key: str) -> dict[str, Any]:
        whole = score_sets.final_of_ablated
        if whole is None:
            return {}
        return {"ablated": {"n_images": n_ablated, "value": float(whole[key].mean()), "ci95": interval(whole, key)}}

    metrics = {
        key: {
            **facts_of(metric),
            "value": float(score_sets.final[key].mean()),
            "ci95": interval(score_sets.final, key),
            **p_value(key, metric),
            **_other_way(metric, score_sets.final, key),
            "ceiling": None if score_sets.ceiling is None else float(score_sets.ceiling[key].mean()),
            "ceiling_ci95": None if score_sets.ceiling is None else interval(score_sets.ceiling, key),
            **both("baselines", score_sets.baselines, key),
            "differences": _differences(score_sets, key, seed),
            **both("ablations", score_sets.ablations, key),
            **ablated(key),
        }
        for key, metric in profile.metrics.items()
    }
    return {"profile": profile.name, "n_images": n_images, "metrics": metrics}


def interval_of(metric: Metric, key: str, scores: PerPicture) -> list[float]:
    """Return the 95 % interval of the mean of one metric, within its bounds.

    Args:
        metric: whose scores they are.
        key: of the metric.
        scores: of one set of pictures.
    """
    return _interval(metric, scores[key], left_out_of(scores, key))


def _interval(metric: Metric, scores: Scores, left_out: Scores | None) -> list[float]:
    return list(score_interval(scores, metric.bounds, metric.chance, left_out=left_out))


def _differences(score_sets: ScoreSets, key: str, seed: int) -> dict[str, Any]:
    """Compare the reconstructions with each baseline, picture by picture."""
    own = score_sets.final
    if len(own[key]) < 2:
        return {}
    found = {}
    for name, baseline in score_sets.baselines.items():
        first, second = (PictureScores(scores[key], left_out_of(scores, key)) for scores in (own, baseline))
        made = compare_paired(first, second, np.random.default_rng(seed))
        found[name] = {"value": made.value, "ci95": [made.low, made.high], "p": made.p}
    return found


def _other_way(metric: Metric, scores: PerPicture, key: str) -> dict[str, Any]:
    """Return the other direction of identification, if the scores have it."""
    found = scores.other_way.get(key) if isinstance(scores, ScoredPictures) else None
    if found is None or not isinstance(metric, TwoWayIdentification):
        return {}
    own = {"value": float(found.scores.mean()), "ci95": _interval(metric, found.scores, found.left_out)}
    return {"other_direction": {"direction": metric.other_direction, **own}}


def facts_of(metric: Metric) -> dict[str, Any]:
    """Return what is known of a metric, as `scores.json` says it."""
    return {
        "label": metric.label,
        "description": metric.description,
        "citation": metric.citation,
        "higher_is_better": metric.higher_is_better,
        "chance": metric.chance,
        "bounds": list(metric.bounds),
        "of_features": isinstance(metric, FeatureMetric),
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
