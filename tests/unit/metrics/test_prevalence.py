"""Laws of prevalence: the product over subjects is the count over all combinations, and the bound behaves as its article says."""

from itertools import product

import numpy as np
import pytest

from braindiffuser.metrics.prevalence import p_of_prevalence, prevalence


def by_counting(observed, permuted):
    """p of the global null by going through every combination of permutations, the unpermuted scores among them."""
    columns = [[own, *null] for own, null in zip(observed, permuted, strict=True)]
    minima = np.array([min(combination) for combination in product(*columns)])
    return float((minima >= min(observed)).mean())


def drawn(rng, n_subjects, n_permutations, effect=0.0):
    observed = rng.normal(effect, 1, n_subjects)
    return observed, [rng.normal(0, 1, n_permutations) for _ in range(n_subjects)]


@pytest.mark.parametrize("effect", [0.0, 1.0, 5.0])
def test_the_product_is_the_share_of_all_combinations(effect):
    rng = np.random.default_rng(1)
    for n_subjects in (2, 3, 4):
        observed, permuted = drawn(rng, n_subjects, 6, effect)
        assert prevalence(observed, permuted).p_global == pytest.approx(by_counting(observed, permuted))


def test_second_level_permutations_as_the_article_draws_them_agree():
    rng = np.random.default_rng(2)
    observed, permuted = drawn(rng, 4, 200, 1.2)
    columns = np.stack([np.append(null, own) for own, null in zip(observed, permuted, strict=True)])
    picked = rng.integers(columns.shape[1], size=(20000, 4))
    minima = columns[np.arange(4), picked].min(axis=1)
    share = (minima >= observed.min()).mean()
    assert prevalence(observed, permuted).p_global == pytest.approx(share, abs=4 * np.sqrt(share / 20000))


def test_the_bound_is_where_the_p_value_reaches_alpha():
    observed, permuted = drawn(np.random.default_rng(3), 5, 99, 3.0)
    found = prevalence(observed, permuted, alpha=0.05)
    assert p_of_prevalence(found.p_global, 5, found.bound) == pytest.approx(0.05)
    assert found.p_majority == pytest.approx(p_of_prevalence(found.p_global, 5, 0.5))
    assert (found.bound > 0.5) == (found.p_majority < 0.05)


@pytest.mark.parametrize(("n_subjects", "most"), [(4, 0.473), (5, 0.549), (8, 0.688)])
def test_a_clear_effect_reaches_the_ceiling_that_subjects_and_permutations_set(n_subjects, most):
    permuted = [np.random.default_rng(number).normal(size=999) for number in range(n_subjects)]
    found = prevalence(np.full(n_subjects, 50.0), permuted)
    assert found.bound == found.largest_bound
    assert found.bound == pytest.approx((0.05 ** (1 / n_subjects) - 0.001) / 0.999)
    assert found.bound == pytest.approx(most, abs=2e-3)
    assert found.p_global == pytest.approx(0.001**n_subjects)
    assert found.p_subjects == (0.001,) * n_subjects


def test_one_subject_at_chance_takes_the_bound_away():
    permuted = [np.random.default_rng(number).normal(size=999) for number in range(4)]
    found = prevalence(np.array([9.0, 9, 9, -1.5]), permuted)
    assert found.bound is None
    assert found.p_global > 0.05
    assert found.p_subjects[:3] == (0.001,) * 3


def test_under_the_global_null_p_is_small_as_rarely_as_it_says():
    rng = np.random.default_rng(4)
    p_values = [prevalence(*drawn(rng, 3, 39)).p_global for _ in range(2000)]
    for level in (0.05, 0.2):
        assert np.mean(np.array(p_values) <= level) <= level + 3 * np.sqrt(level / 2000)


def test_the_majority_null_holds_its_level_where_half_of_the_population_has_a_clear_effect():
    rng = np.random.default_rng(5)
    rejected = 0
    for _ in range(1000):
        effect = np.where(rng.random(6) < 0.5, 20.0, 0.0)
        permuted = [rng.normal(size=49) for _ in range(6)]
        rejected += prevalence(rng.normal(effect, 1), permuted).p_majority <= 0.05
    assert rejected <= 50 + 3 * np.sqrt(50)


def test_order_of_subjects_and_of_permutations_does_not_matter():
    rng = np.random.default_rng(6)
    observed, permuted = drawn(rng, 4, 30, 1.0)
    order = rng.permutation(4)
    turned = prevalence(observed[order], [rng.permutation(permuted[number]) for number in order])
    assert turned.p_global == pytest.approx(prevalence(observed, permuted).p_global)


@pytest.mark.parametrize(
    ("observed", "permuted", "alpha", "words"),
    [
        ([1.0], [[0.0]], 0.05, "two or more subjects"),
        ([1.0, 2.0], [[0.0]], 0.05, "got scores of 2, permutations of 1"),
        ([1.0, np.nan], [[0.0], [0.0]], 0.05, "finite"),
        ([1.0, 2.0], [[0.0], []], 0.05, "finite scores, at least one"),
        ([1.0, 2.0], [[0.0], [0.0]], 1.0, "alpha must lie between"),
    ],
)
def test_what_cannot_be_tested_is_refused(observed, permuted, alpha, words):
    with pytest.raises(ValueError, match=words):
        prevalence(np.array(observed), [np.array(null, np.float64) for null in permuted], alpha)
