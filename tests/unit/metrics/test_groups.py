"""Laws of scores by groups of pictures."""

import numpy as np
import pytest

from braindiffuser.metrics.groups import group_means, interaction


def _draw(seed, planted=0.0, n=60, shift=0.0):
    rng = np.random.default_rng(seed)
    first = np.arange(n) < n // 3
    difficulty = rng.standard_normal(n) + shift * first
    full = difficulty + 0.5 + planted * first + 0.3 * rng.standard_normal(n)
    return full - (difficulty + 0.3 * rng.standard_normal(n)), first


def test_the_value_is_a_difference_of_differences():
    differences, first = _draw(0, planted=1.0)
    found = interaction(differences, first, ~first, np.random.default_rng(1))
    assert found.value == pytest.approx(differences[first].mean() - differences[~first].mean())
    low, high = found.interval
    assert low < found.value < high
    turned = interaction(differences, ~first, first, np.random.default_rng(1))
    assert turned.value == pytest.approx(-found.value)


def test_what_a_group_is_easy_by_cancels():
    """Difficulty that both variants share changes nothing."""
    same = [interaction(*_pair(_draw(3, shift=shift)), np.random.default_rng(0)).value for shift in (0.0, 5.0)]
    assert same[0] == pytest.approx(same[1])


def _pair(drawn):
    differences, first = drawn
    return differences, first, ~first


def test_a_planted_interaction_is_found_and_none_where_none_was_planted():
    rng = np.random.default_rng(0)
    planted = [interaction(*_pair(_draw(seed, 0.6)), rng, 200, 200) for seed in range(40)]
    absent = [interaction(*_pair(_draw(seed)), rng, 200, 200) for seed in range(200)]
    assert np.mean([found.p_value <= 0.05 for found in planted]) > 0.9
    assert np.mean([found.p_value <= 0.05 for found in absent]) < 0.1
    covered = [found.interval[0] <= 0 <= found.interval[1] for found in absent]
    assert 0.9 < np.mean(covered) <= 1


@pytest.mark.parametrize(
    "groups", [([True, False, False, False], [False, True, True, False]), ([True] * 4, [True] * 4)]
)
def test_groups_that_cannot_be_compared_are_refused(groups):
    with pytest.raises(ValueError, match="an interaction compares two groups of 2 or more of 4 pictures"):
        interaction(np.zeros(4), *map(np.array, groups), np.random.default_rng(0))


def test_means_of_groups_stand_alone():
    scores = np.random.default_rng(0).standard_normal(30)
    first = np.arange(30) < 10
    both = group_means(scores, {"a": first, "b": ~first}, np.random.default_rng(5))
    alone = group_means(scores, {"b": ~first}, np.random.default_rng(5))
    assert both["b"] == alone["b"]
    assert both["a"][0] == pytest.approx(scores[:10].mean())
    assert both["a"][1] < both["a"][0] < both["a"][2]
