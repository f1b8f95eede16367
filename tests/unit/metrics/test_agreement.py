import numpy as np
import pytest

from braindiffuser.metrics.agreement import agreement_scores
from braindiffuser.metrics.intervals import share_interval


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def own(decoded, drawn, mean):
    return agreement_scores(decoded, drawn, mean).scores


def test_is_one_for_pictures_that_show_what_was_decoded(rng):
    mean = 10 * rng.normal(size=12)
    decoded = mean + 0.2 * rng.normal(size=(30, 12))  # shrunk towards the mean, which pictures are not
    drawn = mean + 5 * (decoded - mean) + 0.01 * rng.normal(size=(30, 12))
    np.testing.assert_array_equal(own(decoded.reshape(30, 3, 4), drawn.reshape(30, 3, 4), mean), np.ones(30))


def test_is_a_half_for_a_generator_that_ignores_them(rng):
    decoded, drawn = rng.normal(size=(2, 300, 10))
    assert own(decoded, drawn, np.zeros(10)).mean() == pytest.approx(0.5, abs=0.04)
    same = np.repeat(drawn[:1], 300, axis=0)
    assert own(decoded, same, np.zeros(10)).mean() == pytest.approx(0.5)  # the same picture for all


def test_finds_the_picture_that_shows_something_else(rng):
    decoded = rng.normal(size=(50, 40))
    drawn = decoded + 0.1 * rng.normal(size=(50, 40))
    drawn[[3, 4]] = drawn[[4, 3]]
    found = own(decoded, drawn, np.zeros(40))
    assert set(np.flatnonzero(found < 1)) == {3, 4}


def test_a_picture_is_left_out_as_target_and_as_distractor(rng):
    decoded = rng.normal(size=(8, 5))
    drawn, mean = decoded + rng.normal(size=(8, 5)), rng.normal(size=5)
    found, others = agreement_scores(decoded, drawn, mean), [np.delete(np.arange(8), number) for number in range(8)]
    expected = [own(decoded[some], drawn[some], mean).mean() for some in others]
    np.testing.assert_allclose(found.left_out, expected)


def test_all_right_of_four_pictures_does_not_show_that_all_are(rng):
    decoded = rng.normal(size=(4, 40))
    found = agreement_scores(decoded, decoded, np.zeros(40))
    low, high = share_interval(float(found.scores.mean()), found.left_out, 0.5, graded=True)
    assert (round(low, 2), high) == (0.64, 1.0)
