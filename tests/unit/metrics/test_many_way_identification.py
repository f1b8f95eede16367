"""Identification among n: all draws counted one by one, the cases that are known otherwise, chance, ties, both directions."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from braindiffuser.errors import RunError
from braindiffuser.metrics.folds import n_way_identification
from braindiffuser.metrics.many_way_identification import ManyWayIdentification, many_way_matches
from braindiffuser.metrics.places import share_of_draws
from braindiffuser.metrics.two_way_identification import match_scores, two_way_identification

FACTS = {"network": "any", "layer": "last", "label": "Any", "description": "Any."}


def by_counting(correlations, n):
    """Draw every set of n − 1 distractors; those that tie for the best share."""
    size = len(correlations)
    scores = np.zeros(size)
    for k in range(size):
        others = [i for i in range(size) if i != k]
        won = []
        for drawn in combinations(others, n - 1):
            candidates = correlations[[k, *drawn], k]
            best = candidates == candidates.max()
            won.append(best[0] / best.sum())
        scores[k] = np.mean(won)
    return scores


@pytest.mark.parametrize("n", [2, 3, 5, 8])
@pytest.mark.parametrize("levels", [3, 1000])
def test_it_is_the_mean_over_all_draws_ties_included(n, levels):
    correlations = np.random.default_rng(n).integers(levels, size=(8, 8)) / levels
    expected = by_counting(correlations, n)
    np.testing.assert_allclose(np.diagonal(many_way_matches(correlations, n)), expected, atol=1e-12)
    other_way = many_way_matches(correlations.T, n, "per_stimulus")
    np.testing.assert_allclose(np.diagonal(other_way), expected, atol=1e-12)


def test_two_is_two_way_and_all_is_top_1():
    rng = np.random.default_rng(0)
    seen = rng.standard_normal((30, 12))
    made = seen + 2 * rng.standard_normal((30, 12))
    for direction in ("per_reconstruction", "per_stimulus"):
        two = ManyWayIdentification(**FACTS, n=2, direction=direction).compare(seen, made)
        np.testing.assert_allclose(two, two_way_identification(seen, made, direction), atol=1e-12)
    best = ManyWayIdentification(**FACTS, n="all").compare(seen, made)
    np.testing.assert_array_equal(best, n_way_identification(seen, made))
    np.testing.assert_array_equal(best, ManyWayIdentification(**FACTS, n=30).compare(seen, made))


@pytest.mark.parametrize("n", [3, 10, "all"])
@pytest.mark.parametrize("direction", ["per_reconstruction", "per_stimulus"])
def test_without_a_picture_it_is_the_score_of_the_others(n, direction):
    rng = np.random.default_rng(2)
    seen = rng.standard_normal((12, 9))
    made = seen + 2 * rng.standard_normal((12, 9))
    metric = ManyWayIdentification(**FACTS, n=n, direction=direction)
    found = metric.compare_among(seen, made)
    np.testing.assert_allclose(found.scores, metric.compare(seen, made), atol=1e-12)
    others = [np.delete(np.arange(12), left) for left in range(12)]
    expected = [metric.compare(seen[kept], made[kept]).mean() for kept in others]
    np.testing.assert_allclose(found.left_out, expected, atol=1e-12)


def test_two_way_of_every_pair_is_the_same_with_ties():
    correlations = np.random.default_rng(1).integers(4, size=(9, 9)) / 4
    np.testing.assert_allclose(many_way_matches(correlations, 2), match_scores(correlations), atol=1e-12)


@pytest.mark.parametrize("n", [2, 10, 50])
def test_chance_is_one_in_n_over_all_ranks(n):
    worse = np.arange(60)
    assert share_of_draws(worse, np.zeros(60, int), 60, n).mean() == pytest.approx(1 / n, abs=1e-12)
    assert share_of_draws(np.array([0]), np.array([59]), 60, n)[0] == pytest.approx(1 / n, abs=1e-12)  # all are tied
    assert ManyWayIdentification(**FACTS, n=n).chance == 1 / n


def test_a_decoder_of_ten_categories_is_near_perfect_among_two_and_poor_among_fifty():
    """Where the true picture ties with all of its category: 1 − 1/(2K) two-way, about a fifth among fifty."""
    per_category, n_pictures = 100, 1000
    worse, tied = np.array([n_pictures - per_category]), np.array([per_category - 1])
    assert share_of_draws(worse, tied, n_pictures, 2)[0] == pytest.approx(0.95, abs=1e-3)
    assert share_of_draws(worse, tied, n_pictures, 50)[0] == pytest.approx(0.2, abs=0.005)


def test_more_pictures_to_choose_from_are_never_easier():
    worse = np.arange(40)
    scores = [share_of_draws(worse, np.zeros(40, int), 40, n) for n in range(2, 41)]
    assert all((later <= earlier + 1e-12).all() for earlier, later in pairwise(scores))


def test_too_few_pictures_are_said():
    features = np.eye(6)
    metric = ManyWayIdentification(**FACTS)
    assert (metric.fewest_pictures, ManyWayIdentification(**FACTS, n="all").fewest_pictures) == (50, 2)
    with pytest.raises(
        RunError, match="Any identifies each picture among 50, but 6 are scored together: choose another"
    ):
        metric.compare(features, features)
    with pytest.raises(ValueError, match="n is 7, expected 2 to 6, the number of pictures"):
        many_way_matches(features, 7)
    assert ManyWayIdentification(**FACTS, n="all").chance is None
