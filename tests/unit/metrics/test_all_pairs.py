"""Scores of all pairs: the short ways are what comparing pair by pair gives, and the diagonal is the score itself."""

import numpy as np
import pytest

from braindiffuser.metrics.all_pairs import by_rotation, has_short_way, scores_of_all_pairs
from braindiffuser.metrics.correlation_distance import CorrelationDistance
from braindiffuser.metrics.inference import exchanged_means, permutation_null
from braindiffuser.metrics.many_way_identification import ManyWayIdentification
from braindiffuser.metrics.pixcorr import PixCorr
from braindiffuser.metrics.ssim import SSIM
from braindiffuser.metrics.two_way_identification import TwoWayIdentification

FACTS = {"network": "any", "layer": "last", "label": "Any", "description": "Any."}
METRICS = [
    PixCorr(),
    SSIM(),
    TwoWayIdentification(**FACTS),
    TwoWayIdentification(**FACTS, direction="per_stimulus"),
    ManyWayIdentification(**FACTS, n=4),
    ManyWayIdentification(**FACTS, n="all", direction="per_stimulus"),
    CorrelationDistance(**FACTS),
]


def items(metric, rng, n=6):
    shape = (n, 3, 16, 16) if isinstance(metric, PixCorr | SSIM) else (n, 20)
    seen = rng.random(shape).astype(np.float32)
    return seen, (0.5 * seen + 0.5 * rng.random(shape)).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.kind)
def test_every_pair_scores_as_if_it_were_the_own_one(metric):
    seen, made = items(metric, np.random.default_rng(0))
    scores = scores_of_all_pairs(metric, seen, made)
    np.testing.assert_allclose(np.diagonal(scores), metric.compare(seen, made), atol=1e-12)
    np.testing.assert_allclose(scores, by_rotation(metric.compare, seen, made), atol=1e-6)
    assert has_short_way(metric) == (not isinstance(metric, SSIM))
    if not isinstance(metric, TwoWayIdentification | ManyWayIdentification):
        assert scores[1, 4] == pytest.approx(metric.compare(seen[1:2], made[4:5])[0], abs=1e-6)


def test_permutations_of_all_pairs_are_those_of_identification():
    metric = METRICS[2]
    seen, made = items(metric, np.random.default_rng(1), 9)
    drawn = exchanged_means(scores_of_all_pairs(metric, seen, made), np.random.default_rng(2), 50)
    np.testing.assert_array_equal(drawn, permutation_null(seen, made, np.random.default_rng(2), 50))
    assert drawn.mean() == pytest.approx(0.5, abs=0.05)
