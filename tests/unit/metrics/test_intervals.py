"""Laws of intervals: known answers, and how often they hold the truth, also of a dozen pictures and of scores near 1."""

import numpy as np
import pytest
from scipy.stats import beta, binom, t, ttest_1samp

from braindiffuser.metrics.intervals import (
    jackknife_error,
    mean_interval,
    means_left_out,
    median_interval,
    ratio_interval,
    score_interval,
    share_interval,
    student_interval,
)
from braindiffuser.metrics.places import Places, n_way, top_k


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def percentiles(scores, rng, n_resamples=200):
    """What intervals were before: the middle of the means of resampled pictures."""
    means = rng.choice(scores, (n_resamples, len(scores))).mean(axis=1)
    return np.quantile(means, [0.025, 0.975])


def holds(ends, truth) -> bool:
    return ends[0] <= truth <= ends[1]


class TestMeans:
    def test_without_skewness_it_is_students(self, rng):
        half = rng.normal(size=10)
        scores = np.concatenate([half, -half]) + 3
        error = t.ppf(0.975, 19) * scores.std(ddof=1) / np.sqrt(20)
        np.testing.assert_allclose(mean_interval(scores), [3 - error, 3 + error], rtol=1e-9)

    def test_students_is_that_of_the_t_test(self, rng):
        values = rng.exponential(size=9)
        expected = ttest_1samp(values, 0).confidence_interval(0.9)
        np.testing.assert_allclose(student_interval(values, 0.9), [expected.low, expected.high])

    def test_it_reaches_further_to_the_side_of_the_tail(self, rng):
        scores = rng.exponential(size=50)
        low, high = mean_interval(scores)
        assert high - scores.mean() > scores.mean() - low > 0
        np.testing.assert_allclose(mean_interval(-scores), [-high, -low])

    def test_scale_and_offset_carry_over(self, rng):
        scores = rng.gamma(2, size=15)
        np.testing.assert_allclose(mean_interval(5 * scores - 2), 5 * np.array(mean_interval(scores)) - 2)

    def test_equal_scores_and_a_single_one(self):
        assert mean_interval(np.full(7, 0.3)) == pytest.approx((0.3, 0.3))
        for interval in (mean_interval, student_interval):
            assert interval(np.array([0.3])) == (-np.inf, np.inf)

    @pytest.mark.parametrize("n", [3, 5, 8])
    def test_a_few_have_hardly_a_wider_one_than_students_and_hold_a_skewed_mean_more_often(self, n):
        rng = np.random.default_rng(3)
        normal, skewed = rng.normal(size=(400, n)), rng.exponential(size=(1500, n))
        widths = {i: np.mean([np.diff(i(scores)) for scores in normal]) for i in (mean_interval, student_interval)}
        assert widths[mean_interval] < 1.08 * widths[student_interval]
        own, students = (np.mean([holds(i(x), 1.0) for x in skewed]) for i in (mean_interval, student_interval))
        assert own > students
        assert own >= 0.88

    @pytest.mark.parametrize(("n", "fewest"), [(12, 0.91), (40, 0.93), (300, 0.93)])
    @pytest.mark.parametrize(
        ("draw", "truth"),
        [
            (lambda rng, size: rng.normal(size=size), 0.0),
            (lambda rng, size: rng.beta(8, 1.5, size=size), 8 / 9.5),
            (lambda rng, size: rng.exponential(size=size), 1.0),
        ],
        ids=["normal", "near its bound", "exponential"],
    )
    def test_95_percent_hold_the_mean(self, n, fewest, draw, truth):
        samples = draw(np.random.default_rng(1), (600, n))
        covered = np.mean([holds(mean_interval(scores), truth) for scores in samples])
        assert fewest <= covered <= 0.97

    def test_percentiles_of_the_bootstrap_hold_it_less_often_in_a_dozen(self):
        rng = np.random.default_rng(2)
        samples = rng.beta(8, 1.5, size=(300, 12))
        own = np.mean([holds(mean_interval(scores), 8 / 9.5) for scores in samples])
        percentile = np.mean([holds(percentiles(scores, rng, 200), 8 / 9.5) for scores in samples])
        assert percentile < 0.92 < own


class TestScores:
    def test_shares_are_covered_where_few_are_wrong_and_others_are_not(self):
        rng = np.random.default_rng(4)
        for n in (3, 5, 10):
            samples = np.where(rng.random((300, n)) < 0.1, 0.3, 1.0)
            assert np.mean([holds(score_interval(scores, (0.0, 1.0), 0.5), 0.93) for scores in samples]) >= 0.93
            assert np.mean([holds(mean_interval(scores), 0.93) for scores in samples]) < 0.7

    @pytest.mark.parametrize("n", [3, 5, 10])
    def test_shares_near_one_are_covered(self, n):
        samples = np.random.default_rng(5).beta(8, 1.5, size=(800, n))
        assert np.mean([holds(score_interval(scores, (0.0, 1.0)), 8 / 9.5) for scores in samples]) >= 0.925

    def test_it_ends_at_the_bounds_and_of_other_scores_it_is_that_of_the_mean(self, rng):
        scores = rng.normal(0.3, 0.1, 9)
        assert score_interval(scores, (-1.0, 1.0)) == mean_interval(scores)
        assert score_interval(scores, (-np.inf, np.inf), 0.5) == mean_interval(scores)
        assert score_interval(np.array([0.1, 0.9, 0.95]), (-1.0, 1.0))[1] == 1.0
        assert score_interval(np.array([0.7]), [0.0, 1.0]) == (0.0, 1.0)
        assert score_interval(np.array([0.7]), [-1.0, 1.0]) == (-1.0, 1.0)

    def test_shares_of_many_comparisons_that_rest_on_one_picture_have_fewer_degrees_of_freedom(self):
        scores = np.array([1.0] * 19 + [0.3])
        own, plain = (share_interval(scores.mean(), means_left_out(scores), 0.5, graded=g) for g in (True, False))
        assert score_interval(scores, (0.0, 1.0), 0.5) == own
        assert score_interval(scores, (0.0, 1.0), 0.1) == pytest.approx(plain)
        assert own[0] < plain[0] - 0.1

    def test_where_pictures_are_each_others_distractors_it_is_the_jackknifes(self, rng):
        scores, left_out = rng.random(9), 0.5 + 0.05 * rng.random(9)
        expected = share_interval(scores.mean(), left_out, 0.5, graded=True)
        assert score_interval(scores, (0.0, 1.0), 0.5, left_out=left_out) == expected

    def test_all_right_of_four_may_still_be_wrong(self):
        low, high = score_interval(np.ones(4), (0.0, 1.0), 0.5)
        assert (round(low, 2), high) == (0.64, 1.0)


class TestShares:
    def test_of_independent_pictures_it_is_wilsons(self):
        scores = np.repeat([1.0, 0.0], [30, 10])
        z, m = t.ppf(0.975, 39), 39  # (n − 1)/n of the variance that the jackknife estimates
        middle, half = 0.75 + z**2 / (2 * m), z * np.sqrt(0.75 * 0.25 / m + z**2 / (4 * m**2))
        expected = np.array([middle - half, middle + half]) / (1 + z**2 / m)
        np.testing.assert_allclose(share_interval(0.75, means_left_out(scores)), expected)

    def test_the_jackknife_error_of_a_mean_is_its_standard_error(self, rng):
        scores = rng.random(30)
        assert jackknife_error(means_left_out(scores)) == pytest.approx(scores.std(ddof=1) / np.sqrt(30))

    @pytest.mark.parametrize(("n", "chance"), [(3, 0.5), (12, 0.0), (12, 0.5), (300, 0.5)])
    def test_where_all_are_right_some_may_still_be_undecodable(self, n, chance):
        low, high = share_interval(1.0, np.ones(n), chance)
        assert high == 1.0
        undecodable = (1 - low) / (1 - chance)
        assert (1 - undecodable) ** n < 0.025  # so many would hardly ever have gone unnoticed
        assert undecodable < 3 * (1 - beta.ppf(0.025, n, 1))

    def test_it_stays_in_0_to_1_and_holds_its_value(self, rng):
        for scores in (rng.random(5), np.zeros(9), np.ones(9), np.repeat([0.0, 1.0], [1, 8]), np.full(4, 0.5)):
            value = float(scores.mean())
            low, high = share_interval(value, means_left_out(scores), 0.5, graded=True)
            assert 0 <= low <= value <= high <= 1
            assert low < high

    def test_a_single_picture_tells_nothing(self):
        assert share_interval(1.0, np.ones(1)) == (0.0, 1.0)

    @pytest.mark.parametrize("n", [12, 40, 100, 300])
    def test_plain_proportions_are_covered(self, n):
        counts = np.arange(n + 1)
        ends = np.array([share_interval(k / n, means_left_out(np.repeat([1.0, 0.0], [k, n - k])), 0.0) for k in counts])
        for truth in (0.1, 0.3, 0.5, 0.8, 0.95):
            covered = binom.pmf(counts, n, truth)[(ends[:, 0] <= truth) & (truth <= ends[:, 1])].sum()
            assert 0.925 <= covered <= 0.995


def drawn(rng, n, width, signal, undecodable=0.0):
    """Correlations of stimuli (rows) with what is decoded, and no more than a share of it decoded at all."""
    truth = rng.normal(size=(n, width))
    decoded = signal * truth * (rng.random((n, 1)) >= undecodable) + rng.normal(size=(n, width))
    rows = [x - x.mean(axis=1, keepdims=True) for x in (truth, decoded)]
    truth, decoded = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rows)
    return truth @ decoded.T


CASES = {
    "chance": (20, 0.0, 0.0),
    "weak": (20, 0.3, 0.0),
    "some undecodable": (20, 1.0, 0.2),
    "near 1": (20, 1.0, 0.0),
    "at 1": (40, 1.0, 0.0),
}


@pytest.mark.parametrize(
    ("n", "n_samples", "case"),
    [
        *((12, 250, case) for case in CASES),
        (40, 200, "weak"),
        (40, 200, "near 1"),
        (100, 150, "weak"),
        (100, 150, "some undecodable"),
        (300, 100, "chance"),
        (300, 100, "near 1"),
    ],
)
def test_two_way_identification_is_covered_with_its_distractors(n, n_samples, case):
    """Bounds leave room for so few samples: 100 of them have a standard error of 2 % around 95 %."""
    rng = np.random.default_rng(3)
    values, ends = [], []
    for _ in range(n_samples):
        found = n_way(Places.of(drawn(rng, n, *CASES[case])), 2)
        values.append(found.scores.mean())
        ends.append(share_interval(float(values[-1]), found.left_out, 0.5, graded=True))
    truth = np.mean(values)  # the mean is unbiased
    low, high = np.array(ends).T
    covered = np.mean((low <= truth) & (truth <= high))
    saturated = case in ("near 1", "at 1")
    assert covered >= (0.9 if saturated else 0.91)
    assert covered <= (1.0 if saturated else 0.995)


def test_distractors_that_are_taken_as_given_hold_the_truth_less_often():
    rng = np.random.default_rng(4)
    found = [n_way(Places.of(drawn(rng, 12, *CASES["some undecodable"])), 2) for _ in range(250)]
    truth = np.mean([each.scores.mean() for each in found])
    old = np.mean([holds(percentiles(each.scores, rng, 200), truth) for each in found])
    own = [share_interval(float(each.scores.mean()), each.left_out, 0.5, graded=True) for each in found]
    assert old < 0.86
    assert np.mean([holds(ends, truth) for ends in own]) > 0.9


@pytest.mark.parametrize("n", [12, 100])
def test_the_best_among_all_and_median_ranks_are_covered(n):
    rng = np.random.default_rng(5)
    places = [Places.of(drawn(rng, n, 20, 0.5)) for _ in range(250)]
    best = [top_k(each, 1) for each in places]
    truth = np.mean([each.scores.mean() for each in best])
    assert np.mean([holds(share_interval(float(f.scores.mean()), f.left_out), truth) for f in best]) >= 0.93
    median = np.median([np.median(each.ranks) for each in places])
    assert np.mean([holds(median_interval(each.ranks), median) for each in places]) >= 0.93


def test_the_interval_of_a_median_is_made_of_order_statistics():
    assert median_interval(np.arange(12.0)[::-1]) == (2.0, 9.0)  # 1 − 2 P(B ≤ 2) = .961
    assert binom.cdf(2, 12, 0.5) <= 0.025 < binom.cdf(3, 12, 0.5)
    assert median_interval(np.arange(3.0)) == (0.0, 2.0)


def test_the_interval_of_a_ratio_is_symmetric_in_its_logarithm(rng):
    value, left_out = 8.0, rng.uniform(7, 9, size=20)
    low, high = ratio_interval(value, left_out)
    assert low * high == pytest.approx(value**2)
    assert ratio_interval(1.0, np.ones(5)) == (1.0, 1.0)


@pytest.mark.parametrize("scores", [np.array([]), np.array([0.1, np.nan])])
def test_scores_must_be_finite_and_there(scores):
    for interval in (mean_interval, student_interval, median_interval, lambda x: share_interval(0.5, x)):
        with pytest.raises(ValueError, match="an interval needs finite scores, one for each picture, at least one"):
            interval(scores)


def test_a_level_is_a_share():
    with pytest.raises(ValueError, match=r"level must lie between 0 and 1, such as 0\.95, got 95"):
        mean_interval(np.ones(3), 95.0)
