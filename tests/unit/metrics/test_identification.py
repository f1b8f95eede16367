import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import correlation

from braindiffuser.metrics import _correlation
from braindiffuser.metrics._correlation import correlation_matrix, paired_correlation
from braindiffuser.metrics.correlation_distance import correlation_distance
from braindiffuser.metrics.two_way_identification import match_scores, two_way_identification

DIRECTIONS = ("per_reconstruction", "per_stimulus")
BOTH = pytest.mark.parametrize("direction", DIRECTIONS)

# Features on a coarse grid: ties and constant rows come up often.
coarse_pairs = st.tuples(st.integers(2, 7), st.integers(1, 6)).flatmap(
    lambda shape: st.tuples(*[arrays(np.float64, shape, elements=st.integers(-2, 2).map(float)) for _ in range(2)])
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def seen(rng) -> np.ndarray:
    return rng.normal(size=(12, 30))


@pytest.fixture
def made(rng, seen) -> np.ndarray:
    return seen + 2 * rng.normal(size=seen.shape)


def plain_correlation(s: np.ndarray, m: np.ndarray) -> float:
    return 0.0 if np.ptp(s) == 0 or np.ptp(m) == 0 else float(np.corrcoef(s, m)[0, 1])


def plain_two_way(seen: np.ndarray, made: np.ndarray, direction: str) -> list[float]:
    """Count won comparisons one by one."""
    n = len(seen)
    scores = []
    for k in range(n):
        own, won = plain_correlation(seen[k], made[k]), 0.0
        for other in (i for i in range(n) if i != k):
            pair = (seen[other], made[k]) if direction == "per_reconstruction" else (seen[k], made[other])
            difference = own - plain_correlation(*pair)
            won += 0.5 if abs(difference) < 1e-9 else float(difference > 0)
        scores.append(won / (n - 1))
    return scores


@BOTH
@settings(deadline=None, max_examples=25)
@given(coarse_pairs)
def test_agrees_with_counting_one_by_one(direction, pair):
    np.testing.assert_allclose(two_way_identification(*pair, direction), plain_two_way(*pair, direction), atol=1e-12)


@BOTH
def test_agrees_with_counting_where_correlations_are_dense(direction, seen, made):
    expected = plain_two_way(seen, made, direction)
    assert 0.5 < np.mean(expected) < 1
    np.testing.assert_allclose(two_way_identification(seen, made, direction), expected, atol=1e-12)


@BOTH
def test_perfect_reconstructions_always_win(direction, seen):
    np.testing.assert_array_equal(two_way_identification(seen, seen, direction), 1)


@BOTH
def test_unrelated_reconstructions_are_at_chance(direction, rng):
    seen, made = rng.normal(size=(2, 300, 50))
    assert abs(two_way_identification(seen, made, direction).mean() - 0.5) < 0.05


@BOTH
def test_one_reconstruction_for_all_is_at_chance(direction, rng, seen):
    same = np.repeat(rng.normal(size=(1, 30)), len(seen), axis=0)
    scores = two_way_identification(seen, same, direction)
    assert scores.mean() == pytest.approx(0.5, abs=1e-12)
    if direction == "per_stimulus":
        np.testing.assert_array_equal(scores, 0.5)


@BOTH
@pytest.mark.parametrize(("difference", "tied"), [(1e-8, False), (1e-13, True)])
def test_what_differs_by_more_than_rounding_is_no_tie(direction, difference, tied):
    """A wrong match that is better by one part in 10⁸ wins; by less than rounding of sums it is a tie."""
    correlations = np.array([[0.5, 0.1, 0.1], [0.5 + difference, 0.9, 0.1], [0.1, 0.1, 0.9]])
    if direction == "per_stimulus":
        correlations = correlations.T
    assert match_scores(correlations, direction)[0, 0] == (0.75 if tied else 0.5)


@BOTH
def test_constant_reconstructions_tie(direction, seen):
    np.testing.assert_array_equal(two_way_identification(seen, np.full_like(seen, 0.1), direction), 0.5)


@BOTH
def test_scores_follow_their_pictures(direction, rng, seen, made):
    order = rng.permutation(len(seen))
    permuted = two_way_identification(seen[order], made[order], direction)
    np.testing.assert_array_equal(permuted, two_way_identification(seen, made, direction)[order])


def test_directions_mirror_each_other(seen, made):
    np.testing.assert_array_equal(
        two_way_identification(seen, made, "per_reconstruction"), two_way_identification(made, seen, "per_stimulus")
    )


def test_a_hub_hurts_the_directions_differently(rng, seen):
    hub = seen.mean(axis=0)
    seen = seen + 3 * hub
    made = seen + rng.normal(size=seen.shape)
    made[0] = hub  # resembles every stimulus more than their own reconstructions do
    per_stimulus = two_way_identification(seen, made, "per_stimulus")
    assert (per_stimulus[1:] < 1).any()
    assert two_way_identification(seen, made, "per_reconstruction")[1:].mean() > per_stimulus[1:].mean()


@BOTH
@settings(deadline=None, max_examples=25)
@given(coarse_pairs, st.floats(0.1, 10), st.floats(-5, 5))
def test_gain_and_offset_of_features_do_not_matter(direction, pair, gain, offset):
    seen, made = pair
    expected = two_way_identification(seen, made, direction)
    np.testing.assert_allclose(two_way_identification(seen, gain * made + offset, direction), expected, atol=1e-12)


def test_the_diagonal_of_all_matches_is_the_score_and_their_mean_is_chance(seen, made):
    scores = match_scores(correlation_matrix(seen, made))
    np.testing.assert_array_equal(np.diagonal(scores), two_way_identification(seen, made))
    assert scores.mean() == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("columns_at_once", [1, 7, 30])
def test_blocks_of_columns_do_not_matter(monkeypatch, seen, made, columns_at_once):
    matrix, pairs = correlation_matrix(seen, made), paired_correlation(seen, made)
    monkeypatch.setattr(_correlation, "_COLUMNS_AT_ONCE", columns_at_once)
    np.testing.assert_allclose(correlation_matrix(seen, made), matrix, atol=1e-12)
    np.testing.assert_allclose(paired_correlation(seen, made), pairs, atol=1e-12)


def test_correlations_are_pearson(seen, made):
    n = len(seen)
    np.testing.assert_allclose(correlation_matrix(seen, made), np.corrcoef(seen, made)[:n, n:], atol=1e-12)
    np.testing.assert_allclose(paired_correlation(seen, made), np.diagonal(correlation_matrix(seen, made)), atol=1e-12)


def test_float32_features_far_from_zero_keep_their_precision(seen, made):
    far = (seen + 1000).astype(np.float32), (made + 1000).astype(np.float32)
    expected = [np.corrcoef(s.astype(float), m.astype(float))[0, 1] for s, m in zip(*far, strict=True)]
    np.testing.assert_allclose(paired_correlation(*far), expected, atol=1e-12)


def test_correlation_distance_is_scipys(seen, made):
    expected = [correlation(s, m) for s, m in zip(seen, made, strict=True)]
    np.testing.assert_allclose(correlation_distance(seen, made), expected, atol=1e-12)


def test_correlation_distance_runs_from_none_to_opposite(seen):
    np.testing.assert_allclose(correlation_distance(seen, seen), 0, atol=1e-12)
    np.testing.assert_allclose(correlation_distance(seen, -seen), 2, atol=1e-12)
    np.testing.assert_array_equal(correlation_distance(seen, np.ones_like(seen)), 1)


def test_pairs_must_have_one_shape(seen, made):
    with pytest.raises(ValueError, match=r"\(12, 30\) and those of reconstructions \(11, 30\)"):
        two_way_identification(seen, made[1:])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_must_be_finite(seen, made, value):
    made[3, 4] = value
    with pytest.raises(ValueError, match="features of reconstructions hold a value that is not finite, first in row 3"):
        correlation_distance(seen, made)


def test_one_picture_has_no_distractor(seen):
    with pytest.raises(ValueError, match="at least 2"):
        two_way_identification(seen[:1], seen[:1])


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize(
    "odd", [np.ones((3, 2), complex), np.full((3, 2), "a"), np.ones((3, 0)), np.ones((3, 2), bool)]
)
def test_features_that_are_no_real_numbers_are_refused(odd):
    with pytest.raises(
        ValueError, match=r"features of seen pictures came as .*, expected real numbers of shape \(3, any\)"
    ):
        two_way_identification(odd, odd)
