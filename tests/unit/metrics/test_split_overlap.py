"""What is said of nearest neighbours holds in samples of known law."""

import numpy as np
import pytest
from scipy.stats import linregress, mannwhitneyu
from scipy.stats.contingency import odds_ratio

from braindiffuser.metrics.split_overlap import clopper_pearson, exceeds, is_more_frequent, slope_on, thirds


def test_one_sample_exceeds_another_as_mann_and_whitney_count():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 9, 40).astype(float), rng.integers(2, 11, 55).astype(float)
    found = exceeds(x, y)
    assert found.value == pytest.approx(mannwhitneyu(x, y).statistic / (40 * 55))
    other = exceeds(y, x)
    assert (other.value, other.low, other.high) == pytest.approx((1 - found.value, 1 - found.high, 1 - found.low))


def test_each_sample_brings_its_own_variance_by_its_own_size():
    """Five values far apart among two hundred close together: by hand."""
    x, y = np.array([-3.0, -2.0, 0.1, 2.0, 3.0]), np.random.default_rng(0).normal(size=200)
    wins = (x[:, None] > y).astype(float)
    half = 1.959964 * np.sqrt(wins.mean(axis=1).var(ddof=1) / 5 + wins.mean(axis=0).var(ddof=1) / 200)
    found = exceeds(x, y)
    assert found == pytest.approx((wins.mean(), max(wins.mean() - half, 0), min(wins.mean() + half, 1)), abs=1e-6)
    assert 0 < found.low < found.high < 1


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


@pytest.mark.parametrize(("n", "n_other"), [(40, 160), (982, 1000), (5, 9)])
def test_what_is_more_frequent_is_told_by_the_exact_interval_of_the_odds_ratio(n, n_other):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(15):
        count, other = int(rng.integers(1, 1 + n // 4)), int(rng.integers(0, 1 + n_other // 8))
        table = [[count, n - count], [other, n_other - other]]
        low = odds_ratio(table, kind="conditional").confidence_interval(0.95).low
        found.append(is_more_frequent(count, n, other, n_other))
        assert found[-1] == (low > 1)
    assert n < 9 or set(found) == {True, False}


def test_what_is_equally_frequent_is_seldom_called_more_frequent():
    rng = np.random.default_rng(1)
    counts = zip(rng.binomial(60, 0.2, 1000), rng.binomial(300, 0.2, 1000), strict=True)
    assert np.mean([is_more_frequent(int(one), 60, int(other), 300) for one, other in counts]) <= 0.03
