"""Intervals of means over several sets of pictures: known answers, and how often they hold the truth in small folds."""

import numpy as np
import pytest
from scipy.stats import t

from braindiffuser.metrics._correlation import correlation_matrix
from braindiffuser.metrics.intervals import mean_interval, means_left_out, share_interval
from braindiffuser.metrics.joined_intervals import interval_inside_folds, joined_mean_interval, joined_share_interval
from braindiffuser.metrics.places import Places, n_way

pytestmark = pytest.mark.usefixtures("types_unchecked_here")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_one_set_has_the_interval_of_one_set(rng):
    scores = rng.exponential(size=20)
    assert interval_inside_folds(scores, np.full(20, 7)) == mean_interval(scores)
    without = rng.random(9)
    joined = joined_share_interval(0.7, [without], [1.0], 0.5, graded=True)
    assert joined == pytest.approx(share_interval(0.7, without, 0.5, graded=True))


def test_what_folds_differ_by_adds_nothing(rng):
    scores, folds = rng.normal(size=60), np.repeat(np.arange(3), 20)
    low, high = interval_inside_folds(scores, folds)
    apart = scores + 100.0 * folds
    assert interval_inside_folds(apart, folds) == pytest.approx((low + 100, high + 100))
    assert np.diff(mean_interval(apart)) > 20 * (high - low)


@pytest.mark.parametrize(("size", "n_folds"), [(2, 5), (2, 20), (3, 13), (8, 5)])
def test_small_folds_are_covered_as_large_ones(rng, size, n_folds):
    """Percentiles of resamples covered .88 in 5 folds of two, and .92 to .94 in the others."""
    folds = np.repeat(np.arange(n_folds), size)
    ends = [interval_inside_folds(rng.normal(size=len(folds)), folds) for _ in range(1500)]
    assert np.mean([low <= 0 <= high for low, high in ends]) == pytest.approx(0.95, abs=0.017)


def test_skewed_scores_of_folds_of_other_sizes_are_covered(rng):
    folds, truth = np.repeat([0, 1, 2], [20, 30, 50]), (5 * 30 + 10 * 50) / 100
    ends = [interval_inside_folds(rng.exponential(size=100) - 1 + 5.0 * folds, folds) for _ in range(1000)]
    assert np.mean([low <= truth <= high for low, high in ends]) == pytest.approx(0.945, abs=0.02)


@pytest.mark.parametrize(("size", "n_folds", "noise"), [(4, 5, 2.0), (6, 5, 1.2), (12, 5, 2.0), (12, 5, 5.0)])
def test_identification_inside_folds_covers_as_it_says(rng, size, n_folds, noise):
    """Each picture is also a distractor of the others of its fold."""
    found = []
    for _ in range(400):
        seen = rng.normal(size=(n_folds, size, 10))
        made = seen + noise * rng.normal(size=seen.shape)
        own = [n_way(Places.of(correlation_matrix(a, b)), 2) for a, b in zip(seen, made, strict=True)]
        value = float(np.mean([each.scores.mean() for each in own]))
        ends = joined_share_interval(value, [each.left_out for each in own], [1 / n_folds] * n_folds, 0.5, graded=True)
        found.append((value, *ends))
    truth = np.mean([value for value, *_ in found])
    assert 0.925 <= np.mean([low <= truth <= high for _, low, high in found]) <= 0.99


@pytest.mark.parametrize("sizes", [(2, 2, 2), (2, 5, 9)])
def test_its_variance_is_that_of_a_mean_of_strata(rng, sizes):
    folds = np.repeat(np.arange(len(sizes)), sizes)
    scores = rng.normal(size=len(folds))
    own = [scores[folds == fold] for fold in range(len(sizes))]
    error = np.sqrt(sum(len(x) * x.var(ddof=1) for x in own)) / len(scores)
    low, high = interval_inside_folds(scores, folds)
    assert high - low == pytest.approx(2 * t.ppf(0.975, len(scores) - len(sizes)) * error)


@pytest.mark.parametrize(("sizes", "as_if"), [((1,) * 9, (9,)), ((1, 2, 3, 4), (3, 3, 4)), ((1, 1, 6), (2, 6))])
def test_folds_of_one_picture_are_taken_together(rng, sizes, as_if):
    """A single one has no deviation of its own: it goes with the smallest other fold."""
    scores = rng.normal(size=sum(sizes))
    own, joined = (np.repeat(np.arange(len(each)), each) for each in (sizes, as_if))
    found = [interval_inside_folds(scores, folds) for folds in (own, joined)]
    assert found[0] == pytest.approx(found[1])
    assert found[0][0] < scores.mean() < found[0][1]


def test_one_picture_alone_tells_nothing():
    assert interval_inside_folds(np.array([0.25]), np.array([3])) == (-np.inf, np.inf)
    assert joined_mean_interval([np.array([0.25]), np.array([0.5])], [0.5, 0.5]) == (-np.inf, np.inf)


def test_names_of_folds_do_not_matter(rng):
    scores, folds, order = rng.normal(size=12), np.repeat([2, 9, 5], 4), rng.permutation(12)
    assert interval_inside_folds(scores[order], -folds[order]) == pytest.approx(interval_inside_folds(scores, folds))


@pytest.mark.parametrize(
    ("scores", "folds", "words"),
    [([0.1], [0, 1], "got 2 folds for 1 scores"), ([np.nan], [0], "finite scores"), ([], [], "finite scores")],
)
def test_what_has_no_interval_is_refused(scores, folds, words):
    with pytest.raises(ValueError, match=words):
        interval_inside_folds(np.array(scores, np.float64), np.array(folds, np.int64))


def test_one_picture_cannot_be_left_out():
    with pytest.raises(ValueError, match=r"two pictures or more, got \[3, 1\]"):
        joined_share_interval(0.5, [np.ones(3), np.ones(1)], [0.6, 0.4])


def test_sets_that_are_all_right_are_as_certain_as_their_weights_leave_them():
    """As many pictures as count alike: all of them, unless those of a small set count more."""
    alike = joined_share_interval(1.0, [np.ones(10), np.ones(30)], [0.25, 0.75])
    assert alike == pytest.approx(share_interval(1.0, np.ones(40)))
    uneven = joined_share_interval(1.0, [np.ones(500), np.ones(3)], [0.5, 0.5])
    n = 1 / (0.25 / 500 + 0.25 / 3)
    assert uneven[0] < share_interval(1.0, np.ones(int(n) + 1))[0]
    one_wrong = joined_share_interval(0.999, [means_left_out(np.append(np.ones(499), 0)), np.ones(3)], [0.5, 0.5])
    assert one_wrong[0] < uneven[0] + 0.01, "one more error does not make it surer"


@pytest.mark.parametrize(("p", "sizes"), [((0.98, 0.8), (100, 5)), ((0.99, 0.8), (500, 3)), ((0.98, 0.98), (1000, 10))])
def test_uneven_sets_of_shares_cover_as_they_say(p, sizes):
    """A small set with nothing wrong is not known."""
    rng, covered = np.random.default_rng(6), 0
    for _ in range(300):
        own = [(rng.random(n) < chance).astype(float) for n, chance in zip(sizes, p, strict=True)]
        value = float(np.mean([each.mean() for each in own]))
        low, high = joined_share_interval(value, [means_left_out(each) for each in own], [0.5, 0.5])
        covered += low <= np.mean(p) <= high
    assert covered / 300 > 0.92


def test_uneven_sets_that_are_identified_cover_as_they_say():
    rng, sizes, found = np.random.default_rng(7), (60, 5), []
    for _ in range(200):
        stimuli = [rng.normal(size=(n, 12)) for n in sizes]
        decoded = [own * (rng.random((len(own), 1)) > 0.15) + 0.7 * rng.normal(size=own.shape) for own in stimuli]
        pairs = zip(stimuli, decoded, strict=True)
        own = [n_way(Places.of(correlation_matrix(seen, made)), 2) for seen, made in pairs]
        value = float(np.mean([each.scores.mean() for each in own]))
        ends = joined_share_interval(value, [each.left_out for each in own], [0.5, 0.5], 0.5, graded=True)
        found.append((value, *ends))
    values, low, high = np.array(found).T
    assert ((low <= values.mean()) & (values.mean() <= high)).mean() > 0.92


def test_uneven_means_cover_as_they_say():
    """The few scores that count most decide how far Student's t reaches."""
    rng = np.random.default_rng(8)
    ends = [joined_mean_interval([rng.normal(size=500), rng.normal(size=3)], [0.5, 0.5]) for _ in range(600)]
    low, high = np.array(ends).T
    assert ((low <= 0) & (high >= 0)).mean() == pytest.approx(0.95, abs=0.03)
    even = [np.arange(4.0), np.arange(12.0)]
    v = 1 / 16 * np.var(even[0], ddof=1) / 4 + 9 / 16 * np.var(even[1], ddof=1) / 12
    half = t.ppf(0.975, 14) * np.sqrt(v)
    mean = 0.25 * 1.5 + 0.75 * 5.5
    assert joined_mean_interval(even, [0.25, 0.75]) == pytest.approx((mean - half, mean + half))
