"""Laws of comparisons of settings: what is known of simple cases, of exchanges, and of simulated subjects."""

import numpy as np
import pytest
from scipy import stats

from braindiffuser.metrics.paired_comparison import PictureScores, compare_paired
from braindiffuser.metrics.setting_comparison import compare_all_settings, compare_settings


def scores_of(*subjects):
    return [PictureScores(np.asarray(own, float)) for own in subjects]


def drawn(rng, n_subjects, n, shift=0.0):
    """Scores by two settings: pictures and subjects differ in difficulty, the second setting by noise and a shift."""
    base = rng.normal(size=(n_subjects, 1)) + rng.normal(size=n)
    return base + shift + rng.normal(size=base.shape), base + rng.normal(size=base.shape)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_one_subject_is_a_paired_comparison(rng):
    (first,), (second,) = drawn(rng, 1, 30)
    for shared in (True, False):
        found = compare_settings(scores_of(first), scores_of(second), np.random.default_rng(1), shared=shared)
        known = compare_paired(PictureScores(first), PictureScores(second), np.random.default_rng(1))
        assert (found.value, found.p) == pytest.approx((known.value, known.p))
        assert found.ci95_subjects is None
        assert found.subjects == (pytest.approx(known.value),)
    test = stats.ttest_rel(first, second).confidence_interval()
    shared = compare_settings(scores_of(first), scores_of(second), rng)
    assert shared.ci95 == pytest.approx((test.low, test.high))


@pytest.mark.parametrize("shared", [True, False])
def test_exchanging_settings_changes_the_sign_alone(shared, rng):
    first, second = drawn(rng, 3, 25, 0.3)
    one = compare_settings(scores_of(*first), scores_of(*second), np.random.default_rng(1), shared=shared)
    other = compare_settings(scores_of(*second), scores_of(*first), np.random.default_rng(1), shared=shared)
    assert one.value == pytest.approx(-other.value)
    assert one.ci95 == pytest.approx((-other.ci95[1], -other.ci95[0]))
    assert one.ci95_subjects == pytest.approx((-other.ci95_subjects[1], -other.ci95_subjects[0]))
    assert one.p == other.p


def test_what_is_alike_for_both_settings_drops_out(rng):
    first, second = drawn(rng, 3, 25, 0.3)
    hard = 100 * rng.normal(size=first.shape)
    for shared in (True, False):
        plain = compare_settings(scores_of(*first), scores_of(*second), np.random.default_rng(1), shared=shared)
        moved = compare_settings(
            scores_of(*first + hard), scores_of(*second + hard), np.random.default_rng(1), shared=shared
        )
        assert moved.value == pytest.approx(plain.value)
        assert moved.ci95 == pytest.approx(plain.ci95)
        assert moved.p == plain.p


def test_subjects_count_alike_however_many_pictures_they_saw(rng):
    few, many = rng.normal(size=4), rng.normal(size=40)
    found = compare_settings(scores_of(few + 1, many + 3), scores_of(few, many), np.random.default_rng(1), shared=False)
    assert found.value == pytest.approx(2)
    assert found.subjects == pytest.approx((1, 3))
    assert found.ci95 == pytest.approx((2, 2))
    known = stats.ttest_1samp([1, 3], 0).confidence_interval()
    assert found.ci95_subjects == pytest.approx((known.low, known.high))


def test_shared_pictures_are_one_sample_and_others_are_several(rng):
    """A picture that one setting draws better for all subjects is one picture, not three."""
    gain = rng.normal(size=30)
    second = rng.normal(size=(3, 30))
    first = second + gain
    shared = compare_settings(scores_of(*first), scores_of(*second), rng)
    apart = compare_settings(scores_of(*first), scores_of(*second), rng, shared=False)
    widths = [np.diff(found.ci95)[0] for found in (shared, apart)]
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(3), rel=0.05)


@pytest.mark.parametrize("shared", [True, False])
def test_chance_is_called_a_difference_in_a_twentieth_of_cases(shared):
    rng, n_cases = np.random.default_rng(3), 400
    found = []
    for _ in range(n_cases):
        first, second = drawn(rng, 3, 12)
        found.append(compare_settings(scores_of(*first), scores_of(*second), rng, shared=shared))
    p = np.array([each.p for each in found])
    holds = np.array([each.ci95[0] <= 0 <= each.ci95[1] for each in found])
    for share in ((p <= 0.05).mean(), 1 - holds.mean()):
        assert stats.binomtest(round(share * n_cases), n_cases, 0.05).pvalue > 0.001


def test_distractors_count_as_a_sample_where_pictures_are_each_others():
    n, rng = 20, np.random.default_rng(4)
    scores, left_out = rng.random((2, 2, n)), rng.random((2, 2, n))
    own = [PictureScores(scores[0, k], left_out[0, k]) for k in range(2)]
    others = [PictureScores(scores[1, k], left_out[1, k]) for k in range(2)]
    found = compare_settings(own, others, rng)
    mean = [PictureScores(scores[side].mean(axis=0), left_out[side].mean(axis=0)) for side in range(2)]
    known = compare_paired(*mean, np.random.default_rng(1))
    assert found.ci95 == pytest.approx((known.low, known.high))
    for shared in (True, False):
        of_one, neither, both = (
            compare_settings(first, second, np.random.default_rng(2), shared=shared)
            for first, second in (
                (own, scores_of(*scores[1])),
                (scores_of(*scores[0]), scores_of(*scores[1])),
                (own, others),
            )
        )
        assert of_one == neither, "pseudo-values of one side alone say nothing of the difference"
        assert both.ci95 != pytest.approx(neither.ci95)


def test_all_settings_are_compared_with_one_on_what_all_have(rng):
    plain = {"a": PictureScores(rng.random(9)), "b": PictureScores(rng.random(9))}
    other = {key: PictureScores(own.scores + step) for (key, own), step in zip(plain.items(), (1, 2), strict=True)}
    found = compare_all_settings({"one": [plain], "two": [other], "three": [{"b": plain["b"]}]}, "one", 0)
    assert list(found) == ["two", "three"]
    assert {name: list(own) for name, own in found.items()} == {"two": ["b"], "three": ["b"]}
    assert found["two"]["b"].value == pytest.approx(2)
    assert found["three"]["b"].p == 1


@pytest.mark.parametrize(
    ("first", "second", "shared", "said"),
    [
        ([], [], True, "got scores of 0 and 0 subjects"),
        ([[1, 2]], [[1, 2], [1, 2]], True, "got scores of 1 and 2 subjects"),
        ([[1, 2, 3]], [[1, 2]], True, "got 3 and 2 scores of a subject"),
        ([[1]], [[1]], False, "two or more"),
        ([[1, 2], [1, 2, 3]], [[1, 2], [1, 2, 3]], True, "subjects share pictures, but have 2, 3 scores"),
    ],
)
def test_what_cannot_be_paired_is_refused(first, second, shared, said, rng):
    with pytest.raises(ValueError, match=said):
        compare_settings(scores_of(*first), scores_of(*second), rng, shared=shared)
