"""Laws of means over subjects: intervals over pictures and over subjects cover what they say, apart from each other."""

import numpy as np
import pytest
from scipy import stats

from braindiffuser.metrics.inference import bootstrap_interval
from braindiffuser.metrics.subjects import interval_over_pictures, interval_over_subjects, subject_means


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


def test_shared_pictures_are_resampled_together():
    rng = np.random.default_rng(2)
    difficulty = rng.normal(size=60)
    scores = [difficulty + offset + 0.1 * rng.normal(size=60) for offset in (0.0, 1.0, 2.0)]
    together = interval_over_pictures(scores, np.random.default_rng(3), 2000)
    assert together == bootstrap_interval(np.mean(scores, axis=0), np.random.default_rng(3), 2000)
    apart = interval_over_pictures(scores, np.random.default_rng(3), 2000, shared=False)
    width = [high - low for low, high in (together, apart)]
    assert width[0] / width[1] == pytest.approx(np.sqrt(3), rel=0.1)  # what they share does not average out


def test_other_pictures_of_each_subject_cover_as_they_say():
    rng, covered = np.random.default_rng(4), 0
    for _ in range(100):
        scores = [rng.normal(mean, 1, n) for mean, n in ((0.0, 40), (1.0, 60))]
        low, high = interval_over_pictures(scores, rng, 200, shared=False)
        covered += low <= 0.5 <= high
    assert covered / 100 == pytest.approx(0.94, abs=0.06)


def test_spread_between_subjects_widens_only_the_interval_over_subjects():
    scores = [np.array([0.0, 1.0] * 20) + offset for offset in (0.0, 5.0, 10.0)]
    alike = [np.array([0.0, 1.0] * 20) + 5.0 for _ in range(3)]
    both = [interval_over_pictures(each, np.random.default_rng(5), 200) for each in (scores, alike)]
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
        interval_over_pictures(scores, np.random.default_rng(0), shared=shared)


@pytest.mark.parametrize(("values", "level"), [([], 0.95), ([1.0, np.inf], 0.95), ([1.0, 2.0], 1.0)])
def test_intervals_over_what_is_no_sample_are_refused(values, level):
    with pytest.raises(ValueError, match=r"needs a finite value|level must lie"):
        interval_over_subjects(np.array(values, np.float64), level)
