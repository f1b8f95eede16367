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

    @pytest.mark.parametrize(
        ("scores", "folds", "words"),
        [([0.1], [0, 1], "got 2 folds for 1 scores"), ([np.nan], [0], "finite scores"), ([], [], "finite scores")],
    )
    def test_what_has_no_interval_is_refused(self, rng, scores, folds, words):
        with pytest.raises(ValueError, match=words):
            interval_inside_folds(np.array(scores, np.float64), np.array(folds, np.int64), rng)
