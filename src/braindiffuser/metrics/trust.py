"""What makes a score believable: intervals, null distributions, baselines, and the summary that keeps them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from braindiffuser._arrays import Pictures, Vector
from braindiffuser.images import PictureSource, batches
from braindiffuser.metrics._correlation import Features, correlation_matrix
from braindiffuser.metrics.metric import Metric
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.two_way_identification import Direction, match_scores

Scores = Float[np.ndarray, "_"]
"""One score per picture, (n,); here `summarise` compares lengths itself, with a message."""

Positions = Int[np.ndarray, " n"]
"""Positions among pictures, from 0."""

PerPicture: TypeAlias = Mapping[str, Scores]
"""Scores by the metric's key, as `Scorer.score` gives them."""


@dataclass(frozen=True)
class ScoreSets:
    """Scores of every set of pictures that were compared with the same stimuli.

    Attributes:
        final: the reconstructions.
        ceiling: the same generators fed with the stimuli's true features: what a perfect decoder would reach; None if
            nobody made such pictures.
        baselines: sets that know nothing of the stimulus, by name (`mean_image`, `random_train_image`,
            `shuffled_responses`).
        ablations: reconstructions without a part of the method, by name (`low_level_only`, `without_low_level`).
    """

    final: PerPicture
    ceiling: PerPicture | None = None
    baselines: Mapping[str, PerPicture] = field(default_factory=dict)
    ablations: Mapping[str, PerPicture] = field(default_factory=dict)

    @property
    def named(self) -> dict[str, PerPicture]:
        """All sets by name, for messages and checks."""
        ceiling = {} if self.ceiling is None else {"ceiling": self.ceiling}
        return {"final": self.final, **ceiling, **self.baselines, **self.ablations}


def bootstrap_interval(
    per_picture: Vector, rng: np.random.Generator, n_resamples: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Give a percentile bootstrap interval of the mean over pictures (Efron & Tibshirani 1993, chapter 13).

    [q((1 − level) / 2), q((1 + level) / 2)] of the means of n pictures drawn with replacement.

    It says how far the mean may move with other stimuli of the same kind, for this subject and this fit. Scores of
    two-way identification share their distractors; the interval takes these as given. The difference of two methods on
    the same stimuli is judged by the interval of the difference of their scores, picture by picture.

    Args:
        per_picture: scores (n,).
        rng: source of the draws.
        n_resamples: number of resamples.
        level: share of resamples that the interval holds, in (0, 1).

    Returns:
        Lower and upper end.

    Raises:
        ValueError: if there is no score, one is not finite, or `level` is not in (0, 1).

    >>> bootstrap_interval(np.full(10, 0.25), np.random.default_rng(0))
    (0.25, 0.25)
    """
    if len(per_picture) == 0 or not np.isfinite(per_picture).all():
        raise ValueError(f"an interval needs finite scores, at least one; got {per_picture!r}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, e.g. 0.95, got {level}")
    n = len(per_picture)
    means = np.array([per_picture[rng.integers(n, size=n)].mean() for _ in range(n_resamples)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def permutation_null(
    seen: Features,
    made: Features,
    rng: np.random.Generator,
    n_permutations: int = 1000,
    direction: Direction = "per_reconstruction",
) -> Vector:
    """Draw mean two-way identification scores under the null that reconstructions have nothing to do with stimuli.

    null(p) = 1/n · Σ_i score(i, π_p(i)) with π_p a random permutation, score as in `match_scores`.

    Unlike a binomial test on the n (n − 1) comparisons, which are not independent, this keeps their dependence.

    Args:
        seen: features (n, d) of the stimuli.
        made: features (n, d) of their reconstructions, in the same order.
        rng: source of the permutations.
        n_permutations: how many to draw.
        direction: as in `two_way_identification`.

    Returns:
        Mean scores (n_permutations,), about 0.5 on average.
    """
    scores = match_scores(correlation_matrix(seen, made), direction)
    stimuli = np.arange(len(scores))
    return np.array([scores[stimuli, rng.permutation(len(scores))].mean() for _ in range(n_permutations)])


def permutation_p_value(observed: float, null: Vector) -> float:
    """Return p = (1 + number of null scores ≥ observed) / (1 + number of null scores) (Phipson & Smyth 2010).

    >>> permutation_p_value(0.9, np.array([0.4, 0.5, 0.6]))
    0.25
    """
    return float((1 + np.count_nonzero(null >= observed)) / (1 + len(null)))


def mean_image(train_pictures: PictureSource) -> Pictures:
    """Give the mean of the training pictures (1, 3, height, width): the baseline that knows the data set and nothing else.

    Raises:
        ValueError: if there are no training pictures.
    """
    _check_training(len(train_pictures))
    n = len(train_pictures)
    total = sum(train_pictures[rows].sum(axis=0, keepdims=True, dtype=np.float64) for rows in batches(n))
    return (np.asarray(total) / n).astype(np.float32)


def draw_training(n_train: int, n: int, rng: np.random.Generator) -> Positions:
    """Draw n of the training pictures at random, all different if there are enough: natural pictures of other scenes.

    Returns:
        Their positions (n,), from 0.

    Raises:
        ValueError: if there are no training pictures.
    """
    _check_training(n_train)
    return rng.choice(n_train, size=n, replace=n > n_train)


def derangement(n: int, rng: np.random.Generator) -> Positions:
    """Draw an order of n things in which none stays in its place: each moves as far along a random circle.

    Returns:
        (n,): what comes to each place.

    Raises:
        ValueError: if there are fewer than two things.

    >>> derangement(2, np.random.default_rng(0))
    array([1, 0])
    """
    if n < 2:
        raise ValueError(f"two or more are needed to leave none in its place, got {n}")
    shift = int(rng.integers(1, n))
    circle = rng.permutation(n)
    order = np.empty(n, np.int64)
    order[circle] = np.roll(circle, shift)
    return order


def summarise(
    profile: Profile, score_sets: ScoreSets, rng: np.random.Generator, n_resamples: int = 2000, level: float = 0.95
) -> dict[str, Any]:
    """Put means and intervals of all sets together, ready to be written as `scores.json`.

    All intervals use the same resamples, so they do not depend on which other metrics or sets are there.

    Args:
        profile: the metrics, in order.
        score_sets: scores per picture of all sets.
        rng: source of the resamples.
        n_resamples: number of resamples of each interval.
        level: share of resamples that an interval holds; the keys say `ci95` because the default is 0.95.

    Returns:
        `profile`, `n_images` and, by metric key, `metrics`: `label`, `description`, `citation`, `higher_is_better`,
        `chance`, `bounds`, `value`, `ci95`, `ceiling`, `ceiling_ci95`, `baselines`, `baselines_ci95`, `ablations`,
        `ablations_ci95`; plain Python numbers throughout.

    Raises:
        ValueError: if a set lacks a metric, or has scores of another number of pictures.
    """
    n_images = _check_sets(profile, score_sets)
    seed = int(rng.integers(2**63))

    def interval(scores: Vector) -> list[float]:
        return list(bootstrap_interval(scores, np.random.default_rng(seed), n_resamples, level))

    def both(prefix: str, sets: Mapping[str, PerPicture], key: str) -> dict[str, Any]:
        return {
            prefix: {name: float(scores[key].mean()) for name, scores in sets.items()},
            f"{prefix}_ci95": {name: interval(scores[key]) for name, scores in sets.items()},
        }

    metrics = {
        key: {
            **_facts(metric),
            "value": float(score_sets.final[key].mean()),
            "ci95": interval(score_sets.final[key]),
            "ceiling": None if score_sets.ceiling is None else float(score_sets.ceiling[key].mean()),
            "ceiling_ci95": None if score_sets.ceiling is None else interval(score_sets.ceiling[key]),
            **both("baselines", score_sets.baselines, key),
            **both("ablations", score_sets.ablations, key),
        }
        for key, metric in profile.metrics.items()
    }
    return {"profile": profile.name, "n_images": n_images, "metrics": metrics}


def _facts(metric: Metric) -> dict[str, Any]:
    return {
        "label": metric.label,
        "description": metric.description,
        "citation": metric.citation,
        "higher_is_better": metric.higher_is_better,
        "chance": metric.chance,
        "bounds": list(metric.bounds),
    }


def _check_sets(profile: Profile, score_sets: ScoreSets) -> int:
    sizes = {}
    for name, scores in score_sets.named.items():
        for key in profile.metrics:
            if key not in scores:
                raise ValueError(f"the set {name} has no {key}, it has {sorted(scores)}: score it with {profile.name}")
            sizes[f"{name}/{key}"] = len(scores[key])
    if len(set(sizes.values())) != 1:
        raise ValueError(f"all sets must score the same pictures, got these numbers of them: {sizes}")
    return next(iter(sizes.values()))


def _check_training(n_train: int) -> None:
    if n_train == 0:
        raise ValueError("this baseline needs training pictures, got none")
