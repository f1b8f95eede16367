"""Lines over log2 of an amount: exact where scores lie on one, and intervals that hold what was planted."""

import numpy as np
import pytest

from braindiffuser.metrics.growth import LogLine, first_reaching, paired_difference, point_of, reaching_interval

AMOUNTS = np.array([25.0, 50.0, 100.0, 200.0, 400.0, 800.0])


def planted(rng, slope=0.03, of_pictures=0.02, of_points=0.0, n=60):
    """Scores whose mean grows by `slope` with each doubling; pictures grow unequally, and points share an error."""
    x = np.log2(AMOUNTS)[:, None]
    own = slope + of_pictures * rng.standard_normal(n)
    level = 0.1 * rng.standard_normal(n)
    errors = of_points * rng.standard_normal((len(AMOUNTS), 1))
    return 0.1 + level + own * x + errors + 0.05 * rng.standard_normal((len(AMOUNTS), n))


def test_shares_that_are_all_right_do_not_show_that_all_are():
    found = point_of(np.ones(20), (0.0, 1.0))
    assert found.low < 0.9 < found.value == found.high == 1.0
    above = point_of(np.ones(20), (0.0, 1.0), 0.5)  # a picture of which nothing is decoded scores 0.5
    assert above.low == pytest.approx((1 + found.low) / 2)
    assert point_of(np.ones(20), (-1.0, 1.0)).low == 1.0  # of other scores it says no more


def test_a_line_is_found_exactly():
    scores = np.array([[0.1, 0.3], [0.2, 0.4], [0.3, 0.5]])
    line = LogLine(np.array([1.0, 2.0, 4.0]), scores)
    assert tuple(line.per_doubling) == pytest.approx((0.1, 0.1, 0.1))
    assert line.at(8.0).value == pytest.approx(0.5)
    assert line.reaching(0.45).value == pytest.approx(2.0**2.5)


@pytest.mark.parametrize("of_points", [0.0, 0.01])
def test_the_planted_slope_lies_in_its_interval(of_points):
    rng = np.random.default_rng(0)
    found = [LogLine(AMOUNTS, planted(rng, of_points=of_points)).per_doubling for _ in range(300)]
    covered = np.mean([each.low <= 0.03 <= each.high for each in found])
    assert covered > 0.93
    assert np.mean([each.value for each in found]) == pytest.approx(0.03, abs=0.001)
    assert np.mean([each.high - each.low for each in found]) < 0.06


def test_without_growth_none_is_found():
    rng = np.random.default_rng(1)
    found = [LogLine(AMOUNTS, planted(rng, slope=0.0)).per_doubling for _ in range(300)]
    assert np.mean([each.low > 0 or each.high < 0 for each in found]) < 0.07


def test_growth_that_slows_bends_downwards():
    scores = planted(np.random.default_rng(3), of_pictures=0.002)
    straight = LogLine(AMOUNTS, scores).bend
    assert straight.low < 0 < straight.high
    x = np.log2(AMOUNTS)[:, None]
    slowing = LogLine(AMOUNTS, scores - 0.005 * np.square(x)).bend
    assert slowing.high < 0
    assert slowing.value - straight.value == pytest.approx(-0.01)
    assert LogLine(AMOUNTS[:3], scores[:3]).bend is None


def test_a_goal_is_reached_where_the_line_crosses_it():
    line = LogLine(AMOUNTS, planted(np.random.default_rng(2)))
    inside = line.reaching(line.at(150.0).value)
    assert inside.value == pytest.approx(150)
    assert 25 < inside.low < 150 < inside.high < 800
    far = line.reaching(line.at(800 * 2.0**9).value)
    assert far.value == pytest.approx(800 * 2**9)
    assert far.high == np.inf
    falling = LogLine(AMOUNTS, planted(np.random.default_rng(2), slope=-0.2))
    assert falling.reaching(0.5) is None


@pytest.mark.parametrize("amount", [0.1, 0.5, 1.0, 3.0, 100.0])
def test_an_exact_line_reaches_a_goal_at_one_amount_and_no_other(amount):
    amounts = np.array([1.0, 2.0, 4.0, 8.0])
    line = LogLine(amounts, np.repeat(0.1 * np.log2(amounts)[:, None], 5, axis=1))
    assert tuple(line.reaching(0.1 * np.log2(amount))) == pytest.approx((amount, amount, amount), rel=0.01)


def test_a_goal_out_of_sight_is_said_to_lie_beyond_where_it_was_sought():
    amounts = np.array([1.0, 2.0, 4.0, 8.0])
    line = LogLine(amounts, np.repeat(0.1 * np.log2(amounts)[:, None], 5, axis=1))
    assert line.sought_to == 128
    assert tuple(line.reaching(0.1 * 10)) == pytest.approx((1024, 128, np.inf))
    assert tuple(line.reaching(-0.1 * 10)) == pytest.approx((1 / 1024, 0, 1 / 16))


@pytest.mark.parametrize("last", [5.0, 40.0, 200.0, 750.0])
def test_where_it_was_sought_is_one_number_whatever_the_amounts(last):
    amounts = last / np.array([8.0, 4.0, 2.0, 1.0])
    line = LogLine(amounts, np.repeat(0.1 * np.log2(amounts)[:, None], 5, axis=1))
    assert line.reaching(100.0).low == line.sought_to == 16 * last
    assert line.reaching(-100.0).high == amounts[0] / 16
    noisy = LogLine(amounts, line.scores + 0.001 * np.array([-2, -1, 0, 1, 2]))
    ends = noisy.at(line.sought_to), noisy.at(amounts[0] / 16)
    assert noisy.reaching(ends[0].high).low == line.sought_to, "just the last amount holds the goal"
    assert noisy.reaching(ends[1].low).high == amounts[0] / 16


def test_lines_need_points_and_pictures():
    with pytest.raises(ValueError, match="3 points or more and two pictures or more, got 2 and 5"):
        LogLine(AMOUNTS[:2], np.zeros((2, 5)))
    with pytest.raises(ValueError, match="amounts must be positive and ascend"):
        LogLine(AMOUNTS[::-1], np.zeros((6, 5)))


def test_a_paired_difference_is_students():
    from scipy.stats import ttest_rel

    rng = np.random.default_rng(0)
    a, b = rng.random(30), rng.random(30)
    found, p = paired_difference(a, b)
    expected = ttest_rel(a, b)
    low, high = expected.confidence_interval()
    assert (found.value, found.low, found.high, p) == pytest.approx(((a - b).mean(), low, high, expected.pvalue))
    assert paired_difference(a, a) == ((0.0, 0.0, 0.0), 1.0)


def test_most_of_the_gain_is_had_at_the_first_point_that_has_it():
    scores = np.array([0.55, 0.84, 0.87, 0.9])[:, None] + 0.02 * np.random.default_rng(0).standard_normal((4, 50))
    amounts = np.array([1.0, 5.0, 20.0, 100.0])
    assert first_reaching(scores, 0.5) == 2
    found = reaching_interval(amounts, scores, 0.5, np.random.default_rng(0))
    assert found.value == 20
    assert found.low in (5, 20)
    assert found.high == 20
