"""Laws of comparing two methods on the same pictures: known answers, exact chance, and intervals that cover as they say."""

import numpy as np
import pytest
from scipy import stats

from braindiffuser.metrics._correlation import correlation_matrix
from braindiffuser.metrics.intervals import student_interval
from braindiffuser.metrics.paired_comparison import (
    Difference,
    PictureScores,
    all_signs,
    compare_paired,
    sign_flip_p,
)
from braindiffuser.metrics.places import Places, n_way
from braindiffuser.metrics.two_way_identification import two_way_identification

DIRECTIONS = ["per_reconstruction", "per_stimulus"]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def identified(seen, made, direction="per_reconstruction", among=2):
    """Scores of identification among as many, two-way or more, and without each picture."""
    return PictureScores(*n_way(Places.of(correlation_matrix(seen, made), direction), among))


def two_methods(rng, n, noise, d=8):
    """Features of stimuli, and of reconstructions by two methods whose errors have a part in common."""
    seen = rng.normal(size=(n, d))
    common = rng.normal(size=(n, d))
    return seen, *(seen + common + each * rng.normal(size=(n, d)) for each in noise)


# Intervals


@pytest.mark.parametrize("n", [12, 40, 100])
def test_intervals_of_differences_of_means_cover_as_they_say(n, rng):
    """Scores of both methods share what makes a picture easy, and are skewed."""
    covered, n_times = 0, 1000
    for _ in range(n_times):
        easy = rng.exponential(size=n)
        first, second = (PictureScores(easy + rng.normal(shift, 0.5, n)) for shift in (0.3, 0.0))
        low, high = student_interval(first.independent - second.independent)
        covered += low <= 0.3 <= high
    assert 0.93 <= covered / n_times <= 0.97


@pytest.mark.parametrize(("n", "noise"), [(12, (1.0, 2.0)), (40, (1.0, 2.0)), (100, (1.0, 2.0)), (12, (1.5, 1.5))])
def test_intervals_of_differences_of_identification_cover_as_they_say(n, noise):
    """The true difference is that over many pictures: each is a target and a distractor."""
    rng = np.random.default_rng(1)
    seen, first, second = two_methods(rng, 2000, noise)
    true = float(identified(seen, first).scores.mean() - identified(seen, second).scores.mean())
    covered, n_times = 0, 300
    for _ in range(n_times):
        seen, first, second = two_methods(rng, n, noise)
        low, high = student_interval(identified(seen, first).independent - identified(seen, second).independent)
        covered += low <= true <= high
    assert 0.92 <= covered / n_times <= 0.985


@pytest.mark.parametrize("among", [2, 12, 30])
def test_the_interval_lies_around_the_difference_that_is_told(among, rng):
    """Among fewer pictures identification is easier, so pseudo-values of identification among all have another mean."""
    seen, first, second = two_methods(rng, 30, (0.6, 1.5))
    found = compare_paired(identified(seen, first, among=among), identified(seen, second, among=among), rng)
    assert (found.low + found.high) / 2 == pytest.approx(found.value)
    assert found.low < found.value < found.high


def test_intervals_of_differences_of_top1_cover_as_they_say(rng, monkeypatch):
    monkeypatch.setattr("braindiffuser.metrics.paired_comparison.sign_flip_p", lambda differences, rng: 1.0)
    found = []
    for _ in range(150):
        seen = rng.normal(size=(50, 8))
        made = [seen + noise * rng.normal(size=seen.shape) for noise in (0.6, 1.5)]
        found.append(compare_paired(*(identified(seen, each, among=50) for each in made), rng))
    true = np.mean([each.value for each in found])
    assert np.mean([each.low <= true <= each.high for each in found]) >= 0.92


# Chance


@pytest.mark.parametrize("n", [3, 8, 14])
def test_p_of_few_pictures_is_that_of_all_signs(n, rng):
    differences = rng.normal(0.3, 1, n)
    expected = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(differences, rng) == pytest.approx(expected.pvalue)


def test_p_of_many_pictures_is_drawn_and_near_that_of_all_signs(rng, monkeypatch):
    differences = rng.normal(0.5, 1, 14)
    exact = sign_flip_p(differences, rng)
    monkeypatch.setattr("braindiffuser.metrics.paired_comparison.EXACT", 13)
    assert sign_flip_p(differences, rng) == pytest.approx(exact, abs=0.01)
    monkeypatch.setattr("braindiffuser.metrics.paired_comparison.AT_ONCE", 100)
    assert sign_flip_p(differences, rng) == pytest.approx(exact, abs=0.01)


def test_the_smallest_p_is_of_one_sign_in_all_or_one_more_than_the_draws():
    ones = np.linspace(0.1, 1, 5)
    assert sign_flip_p(ones, np.random.default_rng(0)) == 2 / 2**5
    assert sign_flip_p(np.linspace(0.1, 1, 50), np.random.default_rng(0)) == 1 / 10_001
    assert sign_flip_p(np.linspace(0.1, 1, 50), np.random.default_rng(0), n_draws=99) == 1 / 100


def test_methods_that_are_equal_are_never_told_apart(rng):
    assert sign_flip_p(np.zeros(5), rng) == sign_flip_p(np.zeros(50), rng) == 1.0
    assert sign_flip_p(np.array([0.25, -0.25]), rng) == 1.0


@pytest.mark.parametrize(("n", "least"), [(8, 0.0), (40, 0.03)])
def test_exchangeable_methods_are_told_apart_as_often_as_the_level_says(n, least):
    """Two-way identification per reconstruction: distractors are the same stimuli for both, so signs are exactly fair.

    Of few pictures many scores are tied, and the test says less often than the level that methods differ.
    """
    rng = np.random.default_rng(2)
    found, n_times = 0, 600
    for number in range(n_times):
        seen, first, second = two_methods(rng, n, (1.5, 1.5))
        difference = identified(seen, first).scores - identified(seen, second).scores
        found += sign_flip_p(difference, np.random.default_rng(number), n_draws=399) <= 0.05
    assert least <= found / n_times <= 0.07


def test_a_true_difference_is_found(rng):
    seen, first, second = two_methods(rng, 60, (0.5, 3.0))
    found = compare_paired(identified(seen, first), identified(seen, second), rng)
    assert found.low > 0
    assert found.p < 0.01


# Both together


def test_exchanging_methods_changes_the_sign_alone(rng):
    seen, first, second = two_methods(rng, 13, (0.5, 1.0))
    one, other = identified(seen, first), identified(seen, second)
    forth, back = compare_paired(one, other, rng), compare_paired(other, one, rng)
    assert (back.value, back.low, back.high) == pytest.approx((-forth.value, -forth.high, -forth.low))
    assert back.p == forth.p
    assert forth.low < forth.value < forth.high


def test_a_method_differs_from_itself_by_nothing(rng):
    seen, first, _ = two_methods(rng, 13, (0.5, 1.0))
    own = identified(seen, first)
    assert compare_paired(own, own, rng) == Difference(0.0, 0.0, 0.0, 1.0)


def test_pseudo_values_are_those_of_leaving_pictures_out(rng):
    seen, made, _ = two_methods(rng, 9, (1.0, 1.0))
    n, whole = 9, two_way_identification(seen, made).mean()
    left_out = [two_way_identification(np.delete(seen, k, 0), np.delete(made, k, 0)).mean() for k in range(n)]
    expected = [n * whole - (n - 1) * each for each in left_out]
    own = identified(seen, made)
    assert own.independent.tolist() == pytest.approx(expected)
    assert own.independent.mean() == pytest.approx(whole)


def test_all_signs_are_tried_once_each():
    signs = all_signs(5, 0, 32)
    assert len({tuple(row) for row in signs.tolist()}) == 32
    assert set(np.unique(signs)) == {-1, 1}
    assert np.array_equal(all_signs(5, 7, 9), signs[7:9])


@pytest.mark.parametrize(
    ("compute", "said"),
    [
        (lambda rng: sign_flip_p(np.array([]), rng), "finite differences, one at least"),
        (lambda rng: sign_flip_p(np.array([np.inf]), rng), "finite differences, one at least"),
        (
            lambda rng: compare_paired(PictureScores(np.ones(1)), PictureScores(np.zeros(1)), rng),
            "two pictures or more",
        ),
        (
            lambda rng: compare_paired(PictureScores(np.ones(4)), PictureScores(np.ones(3)), rng),
            "scores of 4 and of 3 pictures",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(compute, said, rng, types_unchecked):
    with pytest.raises(ValueError, match=said):
        compute(rng)
