"""Scores of every stimulus with every reconstruction: what permutations of pictures are drawn from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Shaped

from braindiffuser.arrays import Matrix, Vector
from braindiffuser.metrics._correlation import correlation_matrix
from braindiffuser.metrics.correlation_distance import CorrelationDistance
from braindiffuser.metrics.many_way_identification import ManyWayIdentification
from braindiffuser.metrics.metric import FeatureMetric, Metric, PixelMetric
from braindiffuser.metrics.pixcorr import PixCorr
from braindiffuser.metrics.two_way_identification import TwoWayIdentification, match_scores

Items = Shaped[np.ndarray, "n ..."]
"""Pictures (n, 3, height, width) or features (n, d)."""


def has_short_way(metric: Metric) -> bool:
    """Return whether scores of all pairs come from one matrix product, and not from n · n comparisons."""
    return type(metric) in (TwoWayIdentification, ManyWayIdentification, CorrelationDistance, PixCorr)


def scores_of_all_pairs(metric: PixelMetric | FeatureMetric, seen: Items, made: Items) -> Matrix:
    """Score every reconstruction as if it were that of every stimulus.

    scores(i, j) = the score of stimulus i that the metric gives if reconstruction j takes the place of its own.

    Args:
        metric: on pixels or on features.
        seen: pictures or features of the stimuli, n of them.
        made: those of the reconstructions, of the same shape and in the same order.

    Returns:
        (n, n), stimuli in rows; the diagonal is what `metric.compare(seen, made)` returns.

    Raises:
        ValueError: what the metric raises.
    """
    if type(metric) is TwoWayIdentification:
        return match_scores(correlation_matrix(seen, made), metric.direction)
    if type(metric) is ManyWayIdentification:
        return metric.matches(seen, made)
    if type(metric) is CorrelationDistance:
        return 1 - correlation_matrix(seen, made)
    if type(metric) is PixCorr:
        return correlation_matrix(*(pictures.reshape(len(pictures), -1) for pictures in (seen, made)))
    return by_rotation(metric.compare, seen, made)


def by_rotation(compare: Callable[[Items, Items], Vector], seen: Items, made: Items) -> Matrix:
    """Compare all pairs by n comparisons of n pairs: each turns the reconstructions by one place further."""
    n = len(seen)
    stimuli = np.arange(n)
    scores = np.empty((n, n))
    for shift in range(n):
        partners = (stimuli + shift) % n
        scores[stimuli, partners] = compare(seen, made[partners])
    return scores
