"""Laws of scores by groups of pictures."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from braindiffuser.metrics.groups import group_means, interactions


def _draw(seed, planted=0.0, n=60, shift=0.0):
    rng = np.random.default_rng(seed)
    first = np.arange(n) < n // 3
    difficulty = rng.standard_normal(n) + shift * first
    full = difficulty + 0.5 + planted * first + 0.3 * rng.standard_normal(n)
    return full - (difficulty + 0.3 * rng.standard_normal(n)), first


def of_one(differences, group, other, rng, n_permutations=200):
    return interactions({"own": differences}, group, other, rng, n_permutations)["own"]


def test_the_value_is_a_difference_of_differences_with_welchs_interval():
    differences, first = _draw(0, planted=1.0)
    found = of_one(differences, first, ~first, np.random.default_rng(1))
    assert found.value == pytest.approx(differences[first].mean() - differences[~first].mean())
    expected = ttest_ind(differences[first], differences[~first], equal_var=False).confidence_interval()
    assert found.interval == pytest.approx((expected.low, expected.high))
    turned = of_one(differences, ~first, first, np.random.default_rng(1))
    assert turned.value == pytest.approx(-found.value)
    assert turned.interval == pytest.approx((-expected.high, -expected.low))


def test_what_a_group_is_easy_by_cancels():
    """Difficulty that both variants share changes nothing."""
    same = [of_one(*_pair(_draw(3, shift=shift)), np.random.default_rng(0)).value for shift in (0.0, 5.0)]
    assert same[0] == pytest.approx(same[1])


def _pair(drawn):
    differences, first = drawn
    return differences, first, ~first


def test_a_planted_interaction_is_found_and_none_where_none_was_planted():
    rng = np.random.default_rng(0)
    planted = [of_one(*_pair(_draw(seed, 0.6)), rng) for seed in range(40)]
    absent = [of_one(*_pair(_draw(seed)), rng) for seed in range(200)]
    assert np.mean([found.p_value <= 0.05 for found in planted]) > 0.9
    assert np.mean([found.p_value <= 0.05 for found in absent]) < 0.1
    covered = [found.interval[0] <= 0 <= found.interval[1] for found in absent]
    assert 0.9 < np.mean(covered) <= 1


@pytest.mark.parametrize(("n_first", "spread"), [(15, 2.0), (5, 1.0), (45, 2.0)])
def test_groups_that_differ_in_spread_alone_have_no_interaction(n_first, spread):
    """A small group that varies twice as much: exchanges of the plain difference call every fourth one an interaction."""
    first, found = np.arange(60) < n_first, []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        found.append(of_one(rng.standard_normal(60) * np.where(first, spread, 1.0), first, ~first, rng, 99))
    assert np.mean([each.p_value <= 0.05 for each in found]) < 0.09
    assert np.mean([each.interval[0] <= 0 <= each.interval[1] for each in found]) > 0.92


def test_p_is_corrected_for_the_number_of_metrics():
    """Of six metrics without an interaction, one or more come out in every fourth study; corrected, in every twentieth."""
    first = np.arange(40) < 15
    alone, corrected = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        made = interactions({str(k): rng.standard_normal(40) for k in range(6)}, first, ~first, rng, 99).values()
        assert all(each.p_corrected >= each.p_value for each in made)
        alone.append(any(each.p_value <= 0.05 for each in made))
        corrected.append(any(each.p_corrected <= 0.05 for each in made))
    assert np.mean(alone) > 0.15
    assert np.mean(corrected) < 0.09


def test_groups_whose_pictures_do_not_differ_are_told_apart():
    first = np.arange(20) < 10
    found = of_one(first.astype(float), first, ~first, np.random.default_rng(1))
    assert found.interval == pytest.approx((1.0, 1.0))
    assert found.p_value == pytest.approx(1 / 201)
    assert of_one(np.ones(20), first, ~first, np.random.default_rng(0)).p_value == 1


@pytest.mark.parametrize("groups", [([True] * 4 + [False] * 8, [False] * 4 + [True] * 8), ([True] * 12, [True] * 12)])
def test_groups_that_cannot_be_compared_are_refused(groups):
    with pytest.raises(ValueError, match="an interaction compares two groups of 5 or more of the same pictures"):
        of_one(np.zeros(12), *map(np.array, groups), np.random.default_rng(0))


def test_intervals_of_five_pictures_hold_their_level():
    """Percentiles of resamples of five hold the mean in 82 % of cases."""
    rng, five = np.random.default_rng(3), {"a": np.ones(5, bool)}
    ends = np.array([group_means(rng.standard_normal(5), five)["a"][1:] for _ in range(1500)])
    assert ((ends[:, 0] <= 0) & (ends[:, 1] >= 0)).mean() == pytest.approx(0.95, abs=0.02)


def test_intervals_end_at_the_bounds_of_the_score():
    scores = np.array([1.0, 1, 1, 1, 0.9])
    everyone = {"a": np.ones(5, bool)}
    assert group_means(scores, everyone)["a"][2] > 1
    assert group_means(scores, everyone, (0.0, 1.0))["a"][1:] == (group_means(scores, everyone)["a"][1], 1.0)


def test_means_of_groups_stand_alone():
    scores = np.random.default_rng(0).standard_normal(30)
    first = np.arange(30) < 10
    both = group_means(scores, {"a": first, "b": ~first})
    alone = group_means(scores, {"b": ~first})
    assert both["b"] == alone["b"]
    assert both["a"][0] == pytest.approx(scores[:10].mean())
    assert both["a"][1] < both["a"][0] < both["a"][2]
