"""What is said of nearest neighbours holds in samples of known law."""

import numpy as np
import pytest
from scipy.stats import linregress, mannwhitneyu

from braindiffuser.metrics.split_overlap import clopper_pearson, exceeds, slope_on, thirds


def test_one_sample_exceeds_another_as_mann_and_whitney_count():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 9, 40).astype(float), rng.integers(2, 11, 55).astype(float)
    found = exceeds(x, y)
    assert found.value == pytest.approx(mannwhitneyu(x, y).statistic / (40 * 55))
    other = exceeds(y, x)
    assert (other.value, other.low, other.high) == pytest.approx((1 - found.value, 1 - found.high, 1 - found.low))


def test_the_interval_covers_what_is_true():
    """Of x ~ N(0.5, 1) and y ~ N(0, 1), P(x > y) = Φ(0.5 / √2)."""
    rng, truth = np.random.default_rng(1), 0.6381631950841185
    found = [exceeds(rng.normal(0.5, 1, 40), rng.normal(0, 1, 80)) for _ in range(400)]
    covered = np.mean([each.low <= truth <= each.high for each in found])
    assert 0.91 < covered < 0.98


@pytest.mark.parametrize("n", [2, 3, 8])
def test_a_few_of_the_same_kind_are_rarely_called_nearer_or_farther(n):
    rng = np.random.default_rng(2)
    found = [exceeds(rng.normal(size=n), rng.normal(size=60)) for _ in range(3000)]
    for share in (np.mean([each.low > 0.5 for each in found]), np.mean([each.high < 0.5 for each in found])):
        assert share <= 0.025 + 3 * np.sqrt(0.025 / 3000)
    assert exceeds(np.array([2.0, 2.1]), np.arange(60) / 60).low > 0.5  # two can tell, if both lie beyond all


def test_a_slope_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    s = rng.random(50)
    scores = 0.3 + 2 * s + rng.normal(0, 0.1, 50)
    line, found = linregress(s, scores), slope_on(s, scores)
    assert (found.value, found.p, found.r) == pytest.approx((line.slope, line.pvalue, line.rvalue))
    assert found.low < 2 < found.high
    assert slope_on(s[:8], scores[:8]) is slope_on(s, np.ones(50)) is slope_on(np.ones(50), scores) is None


def test_thirds_are_ordered_and_hold_every_stimulus_once():
    s = np.random.default_rng(0).random(20)
    parts = thirds(s)
    assert sorted(np.concatenate(parts).tolist()) == list(range(20))
    assert s[parts[0]].max() <= s[parts[1]].min() <= s[parts[1]].max() <= s[parts[2]].min()


def test_an_interval_of_a_share_reaches_its_ends():
    assert clopper_pearson(0, 20)[0] == 0
    assert clopper_pearson(20, 20)[1] == 1
