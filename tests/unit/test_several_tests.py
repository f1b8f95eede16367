import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braindiffuser.report.beyond_chance import beyond_chance
from braindiffuser.several_tests import holm

P_VALUES = st.lists(st.floats(0, 1), max_size=8).map(lambda values: {f"t{k}": p for k, p in enumerate(values)})


def by_definition(p_values):
    """Holm's adjusted value of one test: the smallest level at which the step-down procedure rejects it."""
    ordered = sorted(p_values.values())
    n = len(ordered)

    def adjusted(p):
        place = max(k for k, other in enumerate(ordered) if other == p)
        first = min(k for k, other in enumerate(ordered) if other == p)
        steps = [(n - k) * ordered[k] for k in range(place + 1) if k <= first or ordered[k] == p]
        return min(1.0, max(steps))

    return {name: adjusted(p) for name, p in p_values.items()}


@given(P_VALUES)
def test_adjusted_values_are_those_of_the_definition(p_values):
    found = holm(p_values)
    assert list(found) == list(p_values)
    assert found == pytest.approx(by_definition(p_values))


@given(P_VALUES)
def test_none_is_smaller_than_before_and_none_larger_than_by_bonferroni(p_values):
    for name, adjusted in holm(p_values).items():
        assert p_values[name] <= adjusted <= min(1.0, len(p_values) * p_values[name]) + 1e-15


@given(P_VALUES)
def test_what_is_beyond_chance_are_the_steps_before_the_first_that_fails(p_values):
    found = set()
    for n_before, (name, p) in enumerate(sorted(p_values.items(), key=lambda each: each[1])):
        if p * (len(p_values) - n_before) > 0.05:
            break
        found.add(name)
    assert beyond_chance(p_values) == found


def test_the_chance_of_any_false_finding_is_at_most_the_level_whatever_tests_depend_on():
    rng = np.random.default_rng(0)
    wrong = {"apart": 0, "alike": 0}
    for _ in range(2000):
        wrong["apart"] += min(holm(dict(enumerate(rng.uniform(size=10)))).values()) <= 0.05
        wrong["alike"] += min(holm(dict.fromkeys(range(10), rng.uniform())).values()) <= 0.05
    assert all(n / 2000 < 0.065 for n in wrong.values())
    assert wrong["apart"] / 2000 > 0.035
