"""Scores of decoded features over the pictures of one test set, before any picture is drawn, with intervals and chance.

Features are centred by the training mean; similarity is Pearson's correlation within a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from braindiffuser.arrays import Matrix, Vector
from braindiffuser.metrics._correlation import FeatureRows, correlation_matrix, paired_correlation
from braindiffuser.metrics.effective_dimension import effective_dimension, twins
from braindiffuser.metrics.feature_accuracy import Estimated, feature_accuracy
from braindiffuser.metrics.inference import exchanged_means, permutation_p_value
from braindiffuser.metrics.intervals import (
    mean_interval,
    means_left_out,
    median_interval,
    ratio_interval,
    share_interval,
)
from braindiffuser.metrics.nearest_rows import Nearest, RowSource, unit_rows
from braindiffuser.metrics.places import Identified, Places, n_way, top_k, two_way_within
from braindiffuser.metrics.silhouette import few_clusters, isolated_share, silhouette
from braindiffuser.metrics.two_way_identification import Direction, match_scores

FEWEST_PICTURES = 3
"""Test pictures below which features have no scores: a picture that is left out must leave two."""
CHOICES = (2, 10, 50)
"""n of n-way identification, beside all."""
DIRECTIONS: tuple[Direction, Direction] = ("per_reconstruction", "per_stimulus")
TIE = 1e-6
"""Correlations with training stimuli that differ by less are tied: they are taken in float32."""


def centred(
    decoded: Float[np.ndarray, "n ..."],
    truth: Float[np.ndarray, "n ..."],
    mean: Float[np.ndarray, " d"],
    targets: RowSource,
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n d"]]:
    """Return decoded and true features as they are compared: (ŷ − μ, y − μ), flattened.

    Truth is rounded as targets are stored, so that a test picture that also trains equals its target.

    Args:
        decoded: features ŷ of the test pictures (n, …).
        truth: the pictures' own, y (n, …).
        mean: μ of the training targets, flattened.
        targets: of the training stimuli, of which only the precision is asked for.
    """
    shift, flat = mean.astype(np.float32), truth.reshape(len(truth), -1)
    with np.errstate(over="ignore"):
        rounded = flat.astype(np.asarray(targets[:1]).dtype).astype(np.float32)
    stored = np.where(np.isfinite(rounded), rounded, flat.astype(np.float32))
    return decoded.reshape(len(decoded), -1) - shift, stored - shift


@dataclass(frozen=True)
class DecodedGroup:
    """Features of one target group over the pictures of one test set.

    Attributes:
        decoded: features (n, d) less the training mean.
        truth: the pictures' own (n, d), less the training mean.
        nearest: the training stimulus that each decoded picture is nearest to, of `n_train`.
        reach: the best that a linear decoder can predict of `truth` (n, d); None if that was not computed.
        n_train: number of training stimuli.
    """

    decoded: FeatureRows
    truth: FeatureRows
    nearest: Nearest
    reach: Float[np.ndarray, "n d"] | None
    n_train: int

    def of(self, rows: slice) -> DecodedGroup:
        """Return some of the pictures."""
        nearest = Nearest(*(values[rows] for values in self.nearest))
        reach = None if self.reach is None else self.reach[rows]
        return DecodedGroup(self.decoded[rows], self.truth[rows], nearest, reach, self.n_train)


@dataclass(frozen=True)
class FeatureScores:
    """What was found.

    Attributes:
        facts: as `scores.json` holds them; see `feature_scores`.
        per_picture: scores of each picture (n,), by name.
    """

    facts: Mapping[str, Any]
    per_picture: Mapping[str, Vector]


def feature_scores(
    group: DecodedGroup,
    rng: np.random.Generator,
    categories: Int[np.ndarray, " n"] | None = None,
    n_permutations: int = 1000,
) -> FeatureScores:
    """Score decoded features of one group.

    Entries that are scores have `value`, `ci95` and `chance`, what unrelated pictures have on average:

    - `profile_correlation`: Pearson's of each feature over pictures, mean over features; `p`
    - `pattern_correlation`: within a picture, mean over pictures; `p`
    - `two_way`: share of other stimuli that correlate less with what was decoded than the true one; `p`
    - `two_way_per_stimulus`: share of other pictures' decoded features that correlate less with the stimulus; `p`
    - `n_way`: n → share of identified pictures among n, for 2, 10, 50 and all
    - `top1`, `top5`: share of pictures whose true match is among the best of all; `median_rank`, from 1
    - `within_category`: `two_way` among stimuli of the same category; further `n_images`, the pictures that have others in theirs
    - `novelty`: share of pictures nearer to their own truth than to any training stimulus; `nearest_training`: mean correlation
      with the nearest one, to hold `pattern_correlation` against
    - `effective_dimension`: `decoded`, `true`, `decoded_ci95`, `true_ci95`, participation ratios
    - `twins`: `decoded`, `true`, `decoded_ci95`, `true_ci95`, shares of pictures that have nearly the features of another one;
      `decoded_pairs`, `true_pairs`, shares of all pairs of pictures that have; `decoded_correlation`, `true_correlation`, mean of
      all pairs
    - `clusters`: the few clusters of decoded features that are best apart, `n`; their `silhouette` (`metrics.silhouette`), and
      `true_silhouette` of true features in the same clusters; `isolated`, share of pictures nearer to all of their cluster than
      to any other; `two_way` among pictures of the same cluster
    - `best_linear`: `pattern_correlation` of the best possible prediction of a linear decoder

    `n_images`, `n_train` and `n_features` count; `p` is that of `two_way`. p: share of exchanges of the test pictures that score
    as high or higher.

    Args:
        group: features of the test set.
        rng: source of the exchanges.
        categories: number of each picture's category (n,), negative where it has none; None: not known.
        n_permutations: number of exchanges.

    Raises:
        ValueError: if there are fewer than 3 pictures; what `feature_accuracy` raises.
    """
    n, n_features = group.truth.shape
    if n < FEWEST_PICTURES:
        raise ValueError(f"got {n} pictures, expected {FEWEST_PICTURES} or more")
    correlations = correlation_matrix(group.truth, group.decoded)
    places = Places.of(correlations)
    pattern = np.diagonal(correlations).copy()
    own = np.einsum("ij,ij->i", unit_rows(group.decoded), unit_rows(group.truth), dtype=np.float64)
    novel = (own > group.nearest.similarity + TIE).astype(np.float64)
    profile = feature_accuracy(group.truth, group.decoded, rng, n_permutations).mean_correlation
    two_way, back = n_way(places, 2), n_way(Places.of(correlations, "per_stimulus"), 2)
    ways = {str(size): size for size in CHOICES if size <= n} | {"all": n}
    null = exchanged_means(correlations, rng, n_permutations)
    p, p_back = (
        permutation_p_value(
            float(found.scores.mean()), exchanged_means(match_scores(correlations, way), rng, n_permutations)
        )
        for found, way in zip((two_way, back), DIRECTIONS, strict=True)
    )
    facts = {
        "n_images": n,
        "n_train": group.n_train,
        "n_features": n_features,
        "p": p,
        "profile_correlation": _profile(profile),
        "pattern_correlation": _mean(pattern, null),
        "two_way": _tested(two_way, p),
        "two_way_per_stimulus": _tested(back, p_back),
        "n_way": {name: _share(n_way(places, size), 1 / size, graded=size == 2) for name, size in ways.items()},
        "top1": _share(top_k(places, 1), 1 / n),
        "top5": _share(top_k(places, 5), min(5 / n, 1.0)),
        "median_rank": _median(places.ranks),
        **_within(places, categories),
        "novelty": _share(Identified(novel, means_left_out(novel)), 1 / (group.n_train + 1)),
        "nearest_training": _mean(group.nearest.similarity),
        "effective_dimension": _dimensions(group),
        **_alike(group, places),
        **_best_linear(group),
    }
    per_picture = {
        "pattern_correlation": pattern,
        "two_way": two_way.scores,
        "rank": places.ranks,
        "nearest_training": group.nearest.similarity,
        "novel": novel,
    }
    return FeatureScores(facts, per_picture)


def _share(found: Identified, chance: float, *, graded: bool = False) -> dict[str, Any]:
    value = float(found.scores.mean())
    return {
        "value": value,
        "ci95": list(share_interval(value, found.left_out, chance, graded=graded)),
        "chance": chance,
    }


def _tested(found: Identified, p: float) -> dict[str, Any]:
    return {**_share(found, 0.5, graded=True), "p": p}


def _mean(scores: Vector, null: Float[np.ndarray, " n_permutations"] | None = None) -> dict[str, Any]:
    value = float(scores.mean())
    low, high = np.clip(mean_interval(scores), -1, 1)
    own = {"value": value, "ci95": [float(low), float(high)]}
    return own if null is None else {**own, "chance": float(null.mean()), "p": permutation_p_value(value, null)}


def _profile(found: Estimated) -> dict[str, Any]:
    ends = [float(end) for end in np.clip((found.low, found.high), -1, 1)]
    return {"value": found.value, "ci95": ends, "chance": 0.0, "p": found.p}


def _median(ranks: Vector) -> dict[str, Any]:
    return {"value": float(np.median(ranks)), "ci95": list(median_interval(ranks)), "chance": (len(ranks) + 1) / 2}


def _within(places: Places, categories: Int[np.ndarray, " n"] | None) -> dict[str, Any]:
    found = None if categories is None else two_way_within(places, categories)
    if found is None:
        return {}
    return {"within_category": {**_share(found, 0.5, graded=True), "n_images": len(found.scores)}}


def _dimensions(group: DecodedGroup) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, features in (("decoded", group.decoded), ("true", group.truth)):
        value, left_out = effective_dimension(features)
        ends = ratio_interval(value, left_out) if (left_out > 0).all() else (0.0, float(len(left_out) - 1))
        found |= {name: value, f"{name}_ci95": list(ends)}
    return found


def _alike(group: DecodedGroup, places: Places) -> dict[str, Any]:
    """Say how much decoded features of different pictures are alike, pair by pair and in clusters, beside the true ones."""
    correlations = correlation_matrix(group.decoded, group.decoded)
    pairs, clusters = _twins("decoded", correlations), few_clusters(correlations)
    isolated, within = isolated_share(correlations, clusters.labels), two_way_within(places, clusters.labels)
    correlations = correlation_matrix(group.truth, group.truth)
    found = {"twins": pairs | _twins("true", correlations)}
    if within is None:
        return found
    return found | {
        "clusters": {
            "n": int(clusters.labels.max()) + 1,
            "silhouette": clusters.silhouette,
            "isolated": isolated,
            "true_silhouette": silhouette(correlations, clusters.labels),
            "two_way": _share(within, 0.5, graded=True),
        }
    }


def _twins(name: str, correlations: Matrix) -> dict[str, Any]:
    own = twins(correlations)
    share = _share(Identified(own.has_one, means_left_out(own.has_one)), 0.0)
    return {
        name: share["value"],
        f"{name}_ci95": share["ci95"],
        f"{name}_pairs": own.pairs,
        f"{name}_correlation": own.mean_correlation,
    }


def _best_linear(group: DecodedGroup) -> dict[str, Any]:
    if group.reach is None:
        return {}
    return {"best_linear": _mean(paired_correlation(group.truth, group.reach.astype(group.truth.dtype)))}
