import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import bootstrap

from braindiffuser.metrics.inference import (
    bootstrap_interval,
    interval_inside_folds,
    permutation_null,
    permutation_p_value,
)
from braindiffuser.metrics.two_way_identification import two_way_identification


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


class TestBootstrapInterval:
    def test_covers_a_known_mean_at_about_the_nominal_rate(self, rng):
        covered = 0
        for _ in range(300):
            low, high = bootstrap_interval(rng.exponential(size=100), rng, n_resamples=300, level=0.9)
            covered += low <= 1 <= high
        assert 0.84 < covered / 300 < 0.95

    def test_agrees_with_scipy(self, rng):
        per_picture = rng.normal(size=200)
        expected = bootstrap((per_picture,), np.mean, n_resamples=20_000, method="percentile", rng=rng)
        low, high = bootstrap_interval(per_picture, rng, n_resamples=20_000)
        assert low == pytest.approx(expected.confidence_interval.low, abs=0.01)
        assert high == pytest.approx(expected.confidence_interval.high, abs=0.01)

    @settings(deadline=None, max_examples=25)
    @given(arrays(np.float64, st.integers(1, 30), elements=st.floats(-1, 1)), st.integers(0, 99))
    def test_lies_within_the_scores(self, per_picture, seed):
        low, high = bootstrap_interval(per_picture, np.random.default_rng(seed), n_resamples=50)
        assert per_picture.min() - 1e-12 <= low <= high <= per_picture.max() + 1e-12

    def test_a_higher_level_and_fewer_pictures_make_it_wider(self, rng):
        per_picture = rng.normal(size=400)

        def width(scores, level=0.95):
            low, high = bootstrap_interval(scores, np.random.default_rng(1), level=level)
            return high - low

        assert width(per_picture, 0.99) > width(per_picture) > width(per_picture, 0.5)
        assert width(per_picture[:50]) > width(per_picture)

    def test_the_same_state_gives_the_same_interval(self):
        per_picture = np.arange(10.0)
        assert bootstrap_interval(per_picture, np.random.default_rng(3)) == bootstrap_interval(
            per_picture, np.random.default_rng(3)
        )

    def test_equal_scores_have_an_interval_of_no_width(self, rng):
        assert bootstrap_interval(np.full(7, 0.5), rng) == (0.5, 0.5)

    @pytest.mark.parametrize("scores", [np.array([]), np.array([0.1, np.nan])])
    def test_scores_must_be_finite_and_there(self, rng, scores):
        with pytest.raises(ValueError, match="finite scores, one for each picture, at least one"):
            bootstrap_interval(scores, rng)

    def test_level_is_a_share(self, rng):
        with pytest.raises(ValueError, match=r"between 0 and 1, such as 0\.95, got 95"):
            bootstrap_interval(np.ones(3), rng, level=95.0)


class TestPermutationNull:
    @pytest.mark.parametrize("direction", ["per_reconstruction", "per_stimulus"])
    def test_is_centred_on_chance(self, rng, direction):
        seen, made = rng.normal(size=(2, 40, 20))
        null = permutation_null(seen, made, rng, 500, direction)
        assert null.shape == (500,)
        assert null.mean() == pytest.approx(0.5, abs=0.01)

    @pytest.mark.parametrize("direction", ["per_reconstruction", "per_stimulus"])
    def test_each_draw_is_the_score_of_shuffled_reconstructions(self, rng, direction):
        seen = rng.normal(size=(9, 20))
        made = seen + rng.normal(size=seen.shape)
        null = permutation_null(seen, made, np.random.default_rng(7), 3, direction)
        orders = np.random.default_rng(7)
        shuffled = [two_way_identification(seen, made[orders.permutation(9)], direction).mean() for _ in range(3)]
        np.testing.assert_allclose(null, shuffled, atol=1e-12)

    def test_p_values_are_uniform_when_nothing_is_decoded(self, rng):
        p_values = []
        for _ in range(200):
            seen, made = rng.normal(size=(2, 15, 10))
            null = permutation_null(seen, made, rng, 99)
            p_values.append(permutation_p_value(two_way_identification(seen, made).mean(), null))
        assert np.mean(np.array(p_values) <= 0.1) == pytest.approx(0.1, abs=0.07)
        assert np.mean(p_values) == pytest.approx(0.5, abs=0.07)

    def test_a_decoder_beats_it(self, rng):
        seen = rng.normal(size=(30, 20))
        made = seen + rng.normal(size=seen.shape)
        null = permutation_null(seen, made, rng, 199)
        assert permutation_p_value(two_way_identification(seen, made).mean(), null) == 1 / 200


@pytest.mark.parametrize("observed", [np.nan, np.inf])
def test_a_score_that_is_not_finite_has_no_p_value(observed):
    """NaN is above no score of the null distribution, and would be the most significant of all."""
    for value, null in ((observed, np.ones(3)), (0.5, np.array([0.4, observed])), (0.5, np.array([]))):
        with pytest.raises(ValueError, match="a p value needs finite scores, at least one under the null"):
            permutation_p_value(value, null)


@settings(deadline=None)
@given(arrays(np.float64, st.integers(1, 40), elements=st.floats(-1, 1)), st.sampled_from([1, 1e6]), st.integers(0, 99))
def test_the_same_scores_in_another_order_are_as_good(scores, scale, seed):
    """Means of the same numbers, added in other orders, differ in their last bits: on both sides of the observed one."""
    own = scale * scores
    others = np.array([np.sum(np.random.default_rng(seed + n).permutation(own).tolist()) / len(own) for n in range(5)])
    mean = float(own.mean())
    assert permutation_p_value(mean, others) == permutation_p_value(-mean, -others) == 1.0
    assert permutation_p_value(mean, np.array([mean])) == 1.0


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_one_comparison_in_many_is_no_tie(scale):
    """Two-way identification among 10,000 pictures moves its mean by 1e-8 where one comparison changes."""
    assert permutation_p_value(0.7 * scale, np.array([0.7 * scale * (1 - 1e-8)])) == 0.5


@pytest.mark.parametrize("n", [0, -1])
def test_an_interval_needs_resamples(n):
    with pytest.raises(ValueError, match=f"n_resamples must be at least 1, such as 2000, got {n}"):
        bootstrap_interval(np.ones(3), np.random.default_rng(0), n)


@pytest.mark.usefixtures("types_unchecked")
def test_an_interval_is_of_one_score_a_picture():
    with pytest.raises(ValueError, match="needs finite scores, one for each picture"):
        bootstrap_interval(np.ones((3, 2)), np.random.default_rng(0))


class TestIntervalInsideFolds:
    def test_pictures_of_one_fold_are_resampled_as_ever(self, rng):
        per_picture = rng.normal(size=200)
        inside = interval_inside_folds(per_picture, np.zeros(200, np.int64), rng, n_resamples=20_000)
        assert inside == pytest.approx(bootstrap_interval(per_picture, rng, n_resamples=20_000), abs=0.01)

    def test_what_folds_differ_by_adds_nothing(self, rng):
        per_picture, folds = rng.normal(size=60), np.repeat(np.arange(3), 20)
        low, high = interval_inside_folds(per_picture, folds, np.random.default_rng(1))
        apart = per_picture + 100.0 * folds
        moved = interval_inside_folds(apart, folds, np.random.default_rng(1))
        assert moved == pytest.approx((low + 100, high + 100))
        assert np.diff(bootstrap_interval(apart, np.random.default_rng(1))) > 20 * (high - low)

    def test_covers_a_known_mean_at_about_the_nominal_rate(self, rng):
        folds, covered = np.repeat([0, 1, 2], [20, 30, 50]), 0
        for _ in range(300):
            scores = rng.exponential(size=100) - 1 + 5.0 * folds
            low, high = interval_inside_folds(scores, folds, rng, n_resamples=300, level=0.9)
            covered += low <= (5 * 30 + 10 * 50) / 100 <= high
        assert 0.83 < covered / 300 < 0.95

    @pytest.mark.parametrize(("size", "n_folds"), [(2, 20), (3, 13)])
    def test_small_folds_are_covered_as_large_ones(self, rng, size, n_folds):
        """Without widening, .80 and .88 are covered."""
        folds, covered = np.repeat(np.arange(n_folds), size), 0
        for _ in range(800):
            low, high = interval_inside_folds(rng.normal(size=size * n_folds), folds, rng, n_resamples=150)
            covered += low <= 0 <= high
        assert 0.9 < covered / 800 < 0.97

    @pytest.mark.parametrize("sizes", [(2, 2, 2), (2, 5, 9), (30,)])
    def test_its_variance_is_that_of_a_mean_of_strata(self, rng, sizes):
        folds = np.repeat(np.arange(len(sizes)), sizes)
        scores = rng.normal(size=len(folds))
        own = [scores[folds == fold] for fold in range(len(sizes))]
        error = np.sqrt(sum(len(x) * x.var(ddof=1) for x in own)) / len(scores)
        low, high = interval_inside_folds(scores, folds, rng, n_resamples=20_000, level=0.68268949)
        assert high - low == pytest.approx(2 * error, rel=0.2 if max(sizes) < 5 else 0.05)

    @pytest.mark.parametrize(("sizes", "as_if"), [((1,) * 9, (9,)), ((1, 2, 3, 4), (3, 3, 4)), ((1, 1, 6), (2, 6))])
    def test_folds_of_one_picture_are_resampled_together(self, rng, sizes, as_if):
        """A single one has no deviation of its own: it goes with the smallest other fold."""
        scores = rng.normal(size=sum(sizes))
        own, joined = (np.repeat(np.arange(len(each)), each) for each in (sizes, as_if))
        found = [interval_inside_folds(scores, folds, np.random.default_rng(1)) for folds in (own, joined)]
        assert found[0] == found[1]
        assert found[0][0] < scores.mean() < found[0][1]

    def test_one_picture_alone_has_no_width(self, rng):
        assert interval_inside_folds(np.array([0.25]), np.array([3]), rng) == (0.25, 0.25)

    def test_names_of_folds_do_not_matter(self, rng):
        scores, folds, order = rng.normal(size=12), np.repeat([2, 9, 5], 4), rng.permutation(12)
        low, high = interval_inside_folds(scores, folds, np.random.default_rng(1), 20_000)
        assert interval_inside_folds(scores[order], -folds[order], rng, 20_000) == pytest.approx((low, high), abs=0.03)

    @pytest.mark.parametrize(
        ("scores", "folds", "words"),
        [([0.1], [0, 1], "got 2 folds for 1 scores"), ([np.nan], [0], "finite scores"), ([], [], "finite scores")],
    )
    def test_what_has_no_interval_is_refused(self, rng, scores, folds, words):
        with pytest.raises(ValueError, match=words):
            interval_inside_folds(np.array(scores, np.float64), np.array(folds, np.int64), rng)
