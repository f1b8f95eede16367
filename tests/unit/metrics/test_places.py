"""Laws of identification among n: drawing all sets of distractors one by one, and leaving pictures out one by one."""

from itertools import combinations

import numpy as np
import pytest

from braindiffuser.metrics.folds import n_way_identification
from braindiffuser.metrics.places import Places, n_way, rankings_of, top_k, two_way_within
from braindiffuser.metrics.two_way_identification import match_scores

DIRECTIONS = ("per_reconstruction", "per_stimulus")


@pytest.fixture(params=["continuous", "tied"])
def correlations(request):
    values = np.random.default_rng(0).normal(size=(7, 7)) + np.eye(7)
    return np.clip(values, -1, 1) if request.param == "continuous" else np.round(values).clip(-1, 1)


def plain_n_way(correlations, n_choices):
    """Draw every set of distractors, and share a tie."""
    scores = []
    for k, of_picture in enumerate(correlations.T):
        won = []
        for drawn in combinations([i for i in range(len(correlations)) if i != k], n_choices - 1):
            others = of_picture[list(drawn)]
            won.append(0.0 if (others > of_picture[k]).any() else 1 / (1 + (others == of_picture[k]).sum()))
        scores.append(np.mean(won))
    return np.array(scores)


def without(correlations, i):
    kept = np.delete(np.arange(len(correlations)), i)
    return correlations[np.ix_(kept, kept)]


@pytest.mark.parametrize("n_choices", [2, 3, 5, 7])
def test_it_is_the_mean_over_all_draws(correlations, n_choices):
    found = n_way(Places.of(correlations), n_choices)
    np.testing.assert_allclose(found.scores, plain_n_way(correlations, n_choices), atol=1e-12)


@pytest.mark.parametrize("n_choices", [2, 4, 6])
def test_leaving_a_picture_out_is_scoring_the_others_alone(correlations, n_choices):
    found = n_way(Places.of(correlations), n_choices)
    expected = [plain_n_way(without(correlations, i), n_choices).mean() for i in range(7)]
    np.testing.assert_allclose(found.left_out, expected, atol=1e-12)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_two_choices_are_two_way_identification(correlations, direction):
    found = n_way(Places.of(correlations, direction), 2)
    np.testing.assert_allclose(found.scores, np.diagonal(match_scores(correlations, direction)), atol=1e-15)


def test_all_choices_are_the_best_of_all():
    rng = np.random.default_rng(1)
    seen = rng.normal(size=(30, 8))
    made = seen + 1.5 * rng.normal(size=seen.shape)
    correlations = np.corrcoef(seen, made)[:30, 30:]
    expected = n_way_identification(seen, made)
    np.testing.assert_allclose(n_way(Places.of(correlations), 30).scores, expected, atol=1e-9)
    np.testing.assert_array_equal(top_k(Places.of(correlations), 1).scores, expected)


def test_among_more_choices_fewer_are_identified(correlations):
    means = [n_way(Places.of(correlations), n).scores.mean() for n in range(2, 8)]
    assert (np.diff(means) <= 1e-12).all()


@pytest.mark.parametrize("n", [50, 982, 3000])
def test_unrelated_pictures_win_one_in_n(n):
    rng = np.random.default_rng(2)
    n_better = rng.permutation(n)  # every rank once
    better = np.arange(n)[None, :] < n_better[:, None]
    places = Places(better, np.zeros((n, n), bool))
    for n_choices in (2, 10, 50, n):
        assert n_way(places, n_choices).scores.mean() == pytest.approx(1 / n_choices, rel=1e-7)


@pytest.mark.parametrize("k", [1, 3])
def test_top_k_counts_ranks_and_leaves_out(correlations, k):
    def plain(own):
        scores = []
        for j, of_picture in enumerate(own.T):
            others = np.delete(of_picture, j)
            better, tied = (others > of_picture[j]).sum(), (others == of_picture[j]).sum()
            scores.append(np.mean([better + place < k for place in range(tied + 1)]))
        return np.array(scores)

    found = top_k(Places.of(correlations), k)
    np.testing.assert_allclose(found.scores, plain(correlations))
    np.testing.assert_allclose(found.left_out, [plain(without(correlations, i)).mean() for i in range(7)])


def test_ranks_count_from_1_and_share_ties():
    own = np.array([[0.5, 0.0, 0.9], [0.5, 0.4, 0.1], [0.1, 0.4, 0.2]])
    np.testing.assert_array_equal(Places.of(own).ranks, [1.5, 1.5, 2])


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_within_groups_only_their_own_are_distractors(correlations, direction):
    groups = np.array([0, 0, 1, 1, 1, 2, -1])

    def plain(own, of):
        own = own if direction == "per_stimulus" else own.T
        scores = []
        for k in range(len(own)):
            others = [i for i in range(len(own)) if i != k and of[i] == of[k] >= 0]
            if others:
                scores.append(np.mean(np.where(own[k, others] == own[k, k], 0.5, own[k, others] < own[k, k])))
        return np.array(scores)

    found = two_way_within(Places.of(correlations, direction), groups)
    np.testing.assert_allclose(found.scores, plain(correlations, groups))
    expected = [plain(without(correlations, i), np.delete(groups, i)).mean() for i in range(5)]
    np.testing.assert_allclose(found.left_out, expected)


def test_one_group_is_all_and_no_groups_are_none(correlations):
    places, whole = Places.of(correlations), n_way(Places.of(correlations), 2)
    found = two_way_within(places, np.zeros(7, int))
    np.testing.assert_allclose(found.scores, whole.scores)
    np.testing.assert_allclose(found.left_out, whole.left_out)
    assert two_way_within(places, np.arange(7)) is None
    assert two_way_within(places, np.full(7, -1)) is None


def test_two_pictures_can_be_left_out_of_nothing():
    found = n_way(Places.of(np.array([[0.9, 0.1], [0.2, 0.8]])), 2)
    np.testing.assert_array_equal(found.scores, found.left_out)


@pytest.mark.parametrize("n_choices", [1, 8])
def test_choices_must_be_drawable(correlations, n_choices):
    with pytest.raises(ValueError, match=f"got {n_choices} choices among 7 candidates: 2 to 7 can be drawn"):
        n_way(Places.of(correlations), n_choices)


def test_one_picture_cannot_be_told_apart():
    with pytest.raises(ValueError, match=r"needs n stimuli by n others, at least 2, got shape \(1, 1\)"):
        Places.of(np.ones((1, 1)))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("n_choices", [2, 10, 40])
def test_many_pictures_are_compared_block_by_block_to_the_same_places(direction, n_choices, monkeypatch):
    rng = np.random.default_rng(5)
    seen = np.round(rng.normal(size=(40, 6)), 1)
    made = np.round(seen + rng.normal(size=seen.shape), 1)
    made[3], seen[7], seen[8] = made[2], seen[9], 0  # ties, and a stimulus without a correlation
    (whole,) = rankings_of(seen, made, (direction,))
    monkeypatch.setattr("braindiffuser.metrics.places.MOST_AT_ONCE", 3 * 40)
    (blocks,) = rankings_of(seen, made, (direction,))
    assert isinstance(whole, Places)
    assert [block.rows.stop - block.rows.start for block in blocks.blocks()] == [3] * 13 + [1]
    np.testing.assert_array_equal(blocks.ranks, whole.ranks)
    for own, other in zip(n_way(blocks, n_choices), n_way(whole, n_choices), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-12)
    for own, other in zip(top_k(blocks, 3), top_k(whole, 3), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-12)


def test_many_pictures_are_refused_as_few_are(monkeypatch):
    monkeypatch.setattr("braindiffuser.metrics.places.MOST_AT_ONCE", 1)
    with pytest.raises(ValueError, match="hold a value that is not finite"):
        rankings_of(np.array([[1.0, 2], [np.nan, 1]]), np.eye(2), DIRECTIONS)
    with pytest.raises(ValueError, match="both must be"):
        rankings_of(np.eye(3), np.eye(2, 3), DIRECTIONS)
