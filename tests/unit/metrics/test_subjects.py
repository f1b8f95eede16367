"""Laws of means over subjects: intervals over pictures and over subjects cover what they say, apart from each other."""

import numpy as np
import pytest
from scipy import stats

from braindiffuser.metrics._correlation import correlation_matrix
from braindiffuser.metrics.intervals import mean_interval, share_interval
from braindiffuser.metrics.joined_intervals import joined_share_interval
from braindiffuser.metrics.places import Places, n_way
from braindiffuser.metrics.subjects import (
    interval_over_pictures,
    interval_over_subjects,
    share_interval_over_pictures,
    subject_means,
)


def test_the_interval_over_subjects_is_students_of_scipy():
    values = np.random.default_rng(0).normal(size=6)
    expected = stats.t.interval(0.95, 5, loc=values.mean(), scale=stats.sem(values))
    assert interval_over_subjects(values) == pytest.approx(expected)
    assert interval_over_subjects(values, 0.5) == pytest.approx(
        stats.t.interval(0.5, 5, loc=values.mean(), scale=stats.sem(values))
    )
    assert interval_over_subjects(values[:1]) is None


def test_intervals_over_subjects_cover_the_population_mean():
    rng = np.random.default_rng(1)
    for n in (2, 4):
        intervals = [interval_over_subjects(rng.normal(3, 1, n)) for _ in range(1500)]
        covered = np.mean([low <= 3 <= high for low, high in intervals])
        assert covered == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 1500))


def test_shared_pictures_are_difficult_for_all():
    rng = np.random.default_rng(2)
    difficulty = rng.normal(size=60)
    scores = [difficulty + offset + 0.1 * rng.normal(size=60) for offset in (0.0, 1.0, 2.0)]
    together, apart = interval_over_pictures(scores), interval_over_pictures(scores, shared=False)
    assert together == mean_interval(np.mean(scores, axis=0))
    width = [high - low for low, high in (together, apart)]
    assert width[0] / width[1] == pytest.approx(np.sqrt(3), rel=0.1)  # what they share does not average out


def test_shares_that_are_all_right_know_their_chance():
    low = interval_over_pictures(2 * [np.ones(12)], (0.0, 1.0), chance=0.5)[0]
    assert (
        low
        == share_interval(1.0, np.ones(12), 0.5, graded=True)[0]
        > interval_over_pictures(2 * [np.ones(12)], (0.0, 1.0))[0]
    )


def test_shares_that_are_all_right_are_not_certain_where_each_subject_saw_other_pictures():
    scores = [np.ones(12), np.ones(9)]
    low, high = interval_over_pictures(scores, (0.0, 1.0), chance=0.5, shared=False)
    assert (low, high) == joined_share_interval(1.0, scores, [0.5, 0.5], 0.5, graded=True)
    assert low < 0.99
    assert high == 1.0


@pytest.mark.parametrize(("sizes", "least"), [((2, 2), 0.7), ((500, 2), 0.8), ((500, 3), 0.9)])
def test_few_pictures_of_a_subject_that_are_all_right_are_not_certain(sizes, least):
    low, high = interval_over_pictures([np.ones(n) for n in sizes], (0.0, 1.0), chance=0.5, shared=False)
    assert 0 < low < least
    assert high == 1
    assert interval_over_pictures([np.ones(500), np.ones(1)], (0.0, 1.0), chance=0.5, shared=False) == (0, 1)


def test_shares_of_other_pictures_are_those_of_the_jackknife():
    """Recomputed from the equations of `share_interval`, with the level and the chance that were asked for."""
    rng = np.random.default_rng(0)
    scores, level = [rng.random(20), np.append(rng.random(19) / 50 + 0.5, 0.95)], 0.8
    without = [(own.sum() - own) / (len(own) - 1) for own in scores]
    value = np.mean([own.mean() for own in scores])
    error = np.sqrt(sum((len(t) - 1) / len(t) * ((t - t.mean()) ** 2).sum() / 4 for t in without))
    for chance in (0.5, 1 / 30):
        freedom = 0
        for t in without:
            squares = (t - t.mean()) ** 2
            excess = max((squares**2).mean() / squares.mean() ** 2 - 3, 0) if chance == 0.5 else 0
            freedom += 2 / (2 / (len(t) - 1) + excess / len(t))
        q, m = stats.t.ppf((1 + level) / 2, freedom), value * (1 - value) / error**2
        half = q * np.sqrt(value * (1 - value) / m + q**2 / (4 * m**2))
        ends = [(value + q**2 / (2 * m) + sign * half) / (1 + q**2 / m) for sign in (-1, 1)]
        found = interval_over_pictures(scores, (0.0, 1.0), chance=chance, shared=False, level=level)
        assert found == pytest.approx(ends)


def test_other_pictures_of_each_subject_cover_as_they_say():
    rng, covered = np.random.default_rng(4), 0
    for _ in range(1000):
        scores = [rng.normal(mean, 1, n) for mean, n in ((0.0, 6), (1.0, 9))]
        low, high = interval_over_pictures(scores, shared=False)
        covered += low <= 0.5 <= high
    assert covered / 1000 == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("shared", [True, False])
def test_identification_by_several_subjects_covers_as_it_says(shared):
    """Each picture is a distractor of all others; where subjects share pictures, of all others of each subject."""
    rng, n, found = np.random.default_rng(6), 15, []
    for _ in range(300):
        seen = rng.normal(size=(n, 10))
        subjects = [seen if shared else rng.normal(size=(n, 10)) for _ in range(3)]
        identified = [
            n_way(Places.of(correlation_matrix(own, own + 3 * rng.normal(size=own.shape))), 2) for own in subjects
        ]
        value = float(np.mean([each.scores.mean() for each in identified]))
        without = [each.left_out for each in identified]
        found.append((value, *share_interval_over_pictures(value, without, 0.5, shared=shared, graded=True)))
    truth = np.mean([value for value, *_ in found])
    assert 0.92 <= np.mean([low <= truth <= high for _, low, high in found]) <= 0.99


def test_one_subject_has_its_own_interval():
    scores, without = np.random.default_rng(7).random((2, 9))
    assert interval_over_pictures([scores], shared=False) == mean_interval(scores)
    own = share_interval(0.7, without, 0.5, graded=True)
    for shared in (True, False):
        found = share_interval_over_pictures(0.7, [without], 0.5, shared=shared, graded=True)
        assert found == pytest.approx(own)


def test_spread_between_subjects_widens_only_the_interval_over_subjects():
    scores = [np.array([0.0, 1.0] * 20) + offset for offset in (0.0, 5.0, 10.0)]
    alike = [np.array([0.0, 1.0] * 20) + 5.0 for _ in range(3)]
    both = [interval_over_pictures(each) for each in (scores, alike)]
    assert both[0] == pytest.approx(both[1])
    low, high = interval_over_subjects(subject_means(scores))
    assert high - low > 20
    assert interval_over_subjects(subject_means(alike)) == pytest.approx((5.5, 5.5))


@pytest.mark.parametrize(
    ("scores", "shared", "words"),
    [
        ([], True, "finite scores of each"),
        ([np.array([1.0]), np.array([])], True, "finite scores of each"),
        ([np.array([1.0]), np.array([np.nan])], True, "finite scores of each"),
        ([np.array([1.0]), np.array([1.0, 2.0])], True, "share pictures, but have 1, 2 scores"),
    ],
)
def test_scores_that_cannot_be_averaged_are_refused(scores, shared, words):
    with pytest.raises(ValueError, match=words):
        interval_over_pictures(scores, shared=shared)


@pytest.mark.parametrize(("values", "level"), [([], 0.95), ([1.0, np.inf], 0.95), ([1.0, 2.0], 1.0)])
def test_intervals_over_what_is_no_sample_are_refused(values, level):
    with pytest.raises(ValueError, match=r"needs a finite value|level must lie"):
        interval_over_subjects(np.array(values, np.float64), level)
