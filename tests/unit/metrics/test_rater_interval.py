import numpy as np
import pytest
from scipy import stats

from braindiffuser.metrics.rater_interval import rated_proportion


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def crossed(right):
    """Choices of every rater (rows) of every picture (columns)."""
    raters, pictures = np.indices(right.shape)
    return rated_proportion(right.ravel(), raters.ravel(), pictures.ravel())


def test_counts_what_was_chosen():
    found = crossed(np.array([[1.0, 0, 1], [1, 1, 1]]))
    assert (found.n_choices, found.n_raters, found.n_pictures) == (6, 2, 3)
    assert found.value == pytest.approx(5 / 6)
    assert 0 < found.low < found.value < found.high < 1


def test_of_independent_choices_it_is_about_binomial(rng):
    drawn = [crossed((rng.random((40, 50)) < 0.7).astype(float)) for _ in range(30)]
    low, high = stats.binomtest(1400, 2000).proportion_ci()
    assert np.mean([found.high - found.low for found in drawn]) == pytest.approx(high - low, rel=0.15)


def test_choices_of_the_same_pictures_by_more_raters_are_not_more_pictures(rng):
    one = (rng.random((1, 30)) < 0.7).astype(float)
    alone, many = crossed(np.repeat(one, 2, axis=0)), crossed(np.repeat(one, 200, axis=0))
    assert many.high - many.low == pytest.approx(alone.high - alone.low, rel=0.05)


def test_raters_who_differ_make_it_wide(rng):
    even = (rng.random((4, 100)) < 0.5).astype(float)
    apart = np.stack([np.ones(100), np.zeros(100), np.ones(100), np.zeros(100)])
    assert crossed(apart).high - crossed(apart).low > 3 * (crossed(even).high - crossed(even).low)


def test_three_raters_are_those_of_its_formula(rng):
    """Variances of raters, pictures and single choices, and Satterthwaite's freedom, written out."""
    right = (rng.random((3, 40)) < 0.7).astype(float)
    p, error = right.mean(), right - right.mean()
    raters = 3 / 2 * np.square(error.sum(axis=1)).sum() / 120**2
    pictures = 40 / 39 * np.square(error.sum(axis=0)).sum() / 120**2
    choices = 120 / 119 * np.square(error).sum() / 120**2
    variance = max(raters + pictures - choices, raters, pictures, choices)
    freedom = (raters + pictures) ** 2 / (raters**2 / 2 + pictures**2 / 39)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(variance) / (p * (1 - p))
    odds = np.log(p / (1 - p))
    expected = [1 / (1 + np.exp(-end)) for end in (odds - half, odds + half)]
    assert crossed(right)[:3] == pytest.approx((p, *expected))


@pytest.mark.parametrize("n_raters", [2, 3])
def test_raters_who_disagree_on_every_picture_leave_the_proportion_as_open_as_independent_ones(n_raters):
    """All raters and all pictures have the same share, so that neither differ: that makes no proportion sure."""
    found = crossed((np.indices((n_raters, 12)).sum(axis=0) % n_raters == 0).astype(float))
    low, high = stats.binomtest(12, n_raters * 12).proportion_ci(method="wilson")
    assert found.value == pytest.approx(1 / n_raters)
    assert found.high - found.low == pytest.approx(high - low, rel=0.2)


def test_it_is_never_much_narrower_than_of_independent_choices(rng):
    for _ in range(50):
        right = (rng.random((3, 8)) < 0.6).astype(float)
        low, high = stats.binomtest(int(right.sum()), right.size).proportion_ci(method="wilson")
        found = crossed(right)
        assert found.high - found.low > 0.9 * (high - low)


def test_swapping_right_and_wrong_mirrors_it(rng):
    right = (rng.random((6, 20)) < 0.8).astype(float)
    found, mirrored = crossed(right), crossed(1 - right)
    assert mirrored[:3] == pytest.approx((1 - found.value, 1 - found.high, 1 - found.low))


def test_all_right_is_an_interval_of_as_many_choices_as_pictures():
    found = crossed(np.ones((5, 30)))
    low, high = stats.binomtest(30, 30).proportion_ci()
    assert found[:3] == pytest.approx((1.0, low, high))
    assert crossed(np.zeros((5, 30)))[:3] == pytest.approx((0.0, 1 - high, 1 - low))


@pytest.mark.parametrize(
    ("n_raters", "n_pictures", "odds", "of_raters", "of_pictures"),
    [
        (3, 40, 1.0, 0.5, 1.0),
        (10, 40, 0.0, 0.3, 0.5),
        (20, 12, 2.5, 1.0, 1.0),
        (5, 40, 2.5, 0.5, 1.5),
        (10, 100, 0.0, 0, 0),
    ],
)
def test_it_covers_the_proportion_of_all_raters_and_pictures(n_raters, n_pictures, odds, of_raters, of_pictures, rng):
    spread = np.hypot(of_raters, of_pictures) * rng.normal(size=200_000)
    truth = (1 / (1 + np.exp(-(odds + spread)))).mean()
    covered = []
    for _ in range(300):
        effects = of_raters * rng.normal(size=(n_raters, 1)) + of_pictures * rng.normal(size=(1, n_pictures))
        found = crossed((rng.random((n_raters, n_pictures)) < 1 / (1 + np.exp(-(odds + effects)))).astype(float))
        covered.append(found.low <= truth <= found.high)
    assert 0.91 <= np.mean(covered) <= 0.99


def test_a_binomial_interval_would_not(rng):
    truth, covered = 0.5, []
    for _ in range(200):
        effects = 1.5 * rng.normal(size=(1, 30)) + np.zeros((15, 1))
        right = rng.random((15, 30)) < 1 / (1 + np.exp(-effects))
        interval = stats.binomtest(int(right.sum()), right.size).proportion_ci()
        covered.append(interval.low <= truth <= interval.high)
    assert np.mean(covered) < 0.75


@pytest.mark.parametrize(
    ("right", "pictures", "words"),
    [
        ([], [], "at least one"),
        ([0.5, 1.0], [0, 1], "right .1. or wrong .0."),
        ([1.0, 0.0], [3, 3], "two or more of them"),
    ],
)
def test_what_is_no_set_of_choices_is_refused(right, pictures, words):
    with pytest.raises(ValueError, match=words):
        rated_proportion(np.array(right), np.zeros(len(right), int), np.array(pictures, int))
