import numpy as np
import pytest

from braindiffuser.analyses.losses import (
    Resampled,
    beside_random_sets,
    draw_resamples,
    resampled_share,
    share_difference,
    share_lost,
)

RNG = np.random.default_rng


def drawn(n, seed=1):
    return draw_resamples(n, RNG(seed) if isinstance(seed, int) else seed, 500)


@pytest.fixture
def scores():
    rng = RNG(0)
    floor = rng.normal(0.2, 0.05, 60)
    return floor + rng.normal(0.5, 0.05, 60), floor


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_is_of_what_the_whole_gains(scores, share):
    whole, floor = scores
    loss = share_lost(whole, whole - share * (whole - floor), floor, drawn(60))
    assert loss.share == pytest.approx(share)
    assert loss.low == pytest.approx(share)
    assert loss.high == pytest.approx(share)
    assert loss.difference == pytest.approx(share * (whole - floor).mean())


def test_a_metric_that_falls_with_likeness_has_the_same_shares(scores):
    whole, floor = scores
    ablated = floor + 0.3 * (whole - floor)
    loss = share_lost(whole, ablated, floor, drawn(60))
    turned = share_lost(1 - whole, 1 - ablated, 1 - floor, drawn(60), higher_is_better=False)
    assert turned == pytest.approx((-loss.difference, *loss[1:]))


def test_the_interval_of_a_share_is_that_of_its_resamples(scores):
    whole, floor = scores
    ablated = floor + RNG(2).uniform(0, 0.5, 60)
    found, loss = resampled_share(whole, ablated, floor, drawn(60)), share_lost(whole, ablated, floor, drawn(60))
    assert found.value == loss.share == pytest.approx((whole - ablated).mean() / (whole - floor).mean())
    assert found.interval == (loss.low, loss.high)
    rows = RNG(3).integers(0, 60, (500, 60))  # drawn one by one
    own = (whole - ablated)[rows].mean(axis=1) / (whole - floor)[rows].mean(axis=1)
    assert found.interval == pytest.approx(tuple(np.quantile(own, [0.025, 0.975])), abs=0.01)


def test_of_nothing_there_is_no_share():
    noise = RNG(0).standard_normal(40)
    assert share_lost(noise, noise - 0.1, np.zeros(40), drawn(40))[1:] == (None, None, None)


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_where_the_whole_is_worse_than_nothing_no_share_is_lost(scores, higher_is_better):
    """A blank picture often has a higher SSIM than the method's; what rises without a region is not lost."""
    worse, better = scores[::-1] if higher_is_better else scores
    ablated = (worse + better) / 2
    assert share_lost(worse, ablated, better, drawn(60), higher_is_better)[1:] == (None, None, None)
    score, other = (worse, ablated, better), (better, ablated, worse)
    assert share_difference(score, other, drawn(60), (higher_is_better, higher_is_better)) is None
    assert share_difference(score, score, drawn(60), (not higher_is_better,) * 2).value == 0


def test_the_interval_is_that_of_paired_differences():
    """Pictures differ a lot, but all lose the same: the interval is that of the gain, not of the pictures."""
    whole = RNG(0).normal(5, 2, 50)
    loss = share_lost(whole, whole - 0.5, whole - 1.0, drawn(50))
    assert (loss.low, loss.high) == pytest.approx((0.5, 0.5))


def test_intervals_cover_the_true_share():
    rng, hits = RNG(0), 0
    for _ in range(100):
        floor, whole, ablated = (rng.normal(mean, 0.3, 40) for mean in (0.0, 1.0, 0.6))
        loss = share_lost(whole, ablated, floor, drawn(40, rng))
        hits += loss.low <= 0.4 <= loss.high
    assert hits >= 88


def test_the_difference_of_shares_has_the_sign_of_what_loses_more(scores):
    whole, floor = scores
    much, little = ((whole, whole - share * (whole - floor), floor) for share in (0.8, 0.1))
    apart = share_difference(much, little, drawn(60))
    assert (apart.value, *apart.interval) == pytest.approx((0.7, 0.7, 0.7))
    np.testing.assert_allclose(apart.resampled, 0.7)
    assert share_difference(little, much, drawn(60)).value == pytest.approx(-0.7)
    noise = RNG(0).standard_normal(60)
    assert share_difference(much, (noise, noise, 0 * noise), drawn(60)) is None


def test_resamples_draw_every_picture_alike():
    shares = draw_resamples(20, RNG(1), 4000)
    np.testing.assert_allclose(shares.sum(axis=0), 1)
    np.testing.assert_allclose(shares.mean(axis=1), 1 / 20, atol=0.003)


def test_a_region_is_held_against_random_sets_as_one_more_of_them():
    """With labels that say nothing, p is uniform, whatever random sets have in common."""
    rng, p = RNG(0), []
    for _ in range(400):
        values = 0.3 + 0.1 * rng.standard_normal(11)
        own, *random = (Resampled(value, value + np.zeros(9)) for value in values)
        p.append(beside_random_sets(own, random)["p"])
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(p) == pytest.approx(0.5, abs=0.05)


def test_the_interval_beside_random_sets_is_paired():
    """What pictures add to the region and to random sets alike is no part of it."""
    shared = RNG(0).standard_normal(50)
    own, *random = (Resampled(value, value + shared) for value in (0.9, 0.2, 0.4))
    found = beside_random_sets(own, random)
    assert (found["further"], found["low"], found["high"]) == pytest.approx((0.6, 0.6, 0.6))
    assert (found["n"], found["mean"], found["lowest"], found["highest"]) == pytest.approx((2, 0.3, 0.2, 0.4))
    t = 0.6 / (np.std([0.2, 0.4], ddof=1) * np.sqrt(1.5))
    assert found["p"] == pytest.approx(1 - 2 * np.arctan(t) / np.pi)  # Student's t of one degree of freedom
    assert beside_random_sets(own, []) is None
    assert beside_random_sets(own, random[:1])["p"] is None


def test_random_sets_that_lose_the_same_but_for_rounding_give_no_p():
    own, *random = (Resampled(value, value + np.zeros(9)) for value in (0.5, *(0.3 + 1e-15 * RNG(0).random(10))))
    found = beside_random_sets(own, random)
    assert found["p"] is None
    assert found["further"] == pytest.approx(0.2)
    own, *random = (Resampled(value, value + np.zeros(9)) for value in (0.5, *(0.3 + 1e-6 * RNG(0).random(10))))
    assert beside_random_sets(own, random)["p"] < 1e-9
