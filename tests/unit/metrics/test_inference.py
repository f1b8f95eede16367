import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from braindiffuser.metrics.inference import permutation_null, permutation_p_value
from braindiffuser.metrics.two_way_identification import two_way_identification


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


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
