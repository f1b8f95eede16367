import numpy as np
import pytest

from braindiffuser.metrics.folds import (
    FoldDesign,
    FoldScores,
    decode_in_folds,
    leave_pairs_out,
    leave_pictures_out,
    leave_repeats_out,
    n_way_identification,
    score_in_folds,
)
from braindiffuser.metrics.two_way_identification import two_way_identification


def ridge(responses, targets, queries, alpha=10.0):
    """Ridge regression with intercept, in its dual form."""
    mean, target_mean = responses.mean(axis=0), targets.mean(axis=0)
    centred = responses - mean
    weights = np.linalg.solve(centred @ centred.T + alpha * np.eye(len(responses)), targets - target_mean)
    return (queries - mean) @ centred.T @ weights + target_mean


def brain(rng, n_pictures=16, n_repeats=1, noise=1.0, n_voxels=20):
    """Responses that are linear in the targets, with noise; noise=inf: nothing but noise."""
    targets = rng.standard_normal((n_pictures, 6))
    pictures = np.tile(np.arange(n_pictures), n_repeats)
    responses = rng.standard_normal((len(pictures), n_voxels))
    if np.isfinite(noise):
        responses = targets[pictures] @ rng.standard_normal((6, n_voxels)) + noise * responses
    return responses, targets, pictures


def mean_and_error(values):
    return np.mean(values), np.std(values) / np.sqrt(len(values))


def test_pooling_over_folds_is_biased_and_scores_inside_folds_are_not():
    """On responses that tell nothing of the pictures."""
    pooled, inside = [], []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        responses, targets, pictures = brain(rng, noise=np.inf)
        decoded = np.empty_like(targets)
        for left_out, values in decode_in_folds(responses, targets, leave_pictures_out(pictures, 16, rng), ridge):
            decoded[left_out] = values
        pooled.append(two_way_identification(targets, decoded).mean())
        design = leave_pictures_out(pictures, 4, rng)
        inside.append(score_in_folds(responses, targets, design, ridge, two_way_identification, rng=rng).value)
    (low, low_error), (fair, fair_error) = mean_and_error(pooled), mean_and_error(inside)
    assert low + 5 * low_error < 0.5
    assert abs(fair - 0.5) < 3 * fair_error
    assert fair_error < 0.02


@pytest.mark.parametrize("design_of", [leave_pairs_out, lambda p: leave_pictures_out(p, 4, np.random.default_rng(0))])
def test_what_responses_tell_is_found_and_shuffled_pictures_are_at_chance(design_of):
    rng = np.random.default_rng(0)
    responses, targets, pictures = brain(rng, n_pictures=10, noise=0.5, n_repeats=2)
    scores = score_in_folds(
        responses, targets, design_of(pictures), ridge, two_way_identification, rng=rng, n_permutations=60
    )
    assert scores.value > 0.9
    assert scores.ci95[0] <= scores.value <= scores.ci95[1]
    mean, error = mean_and_error(scores.null)
    assert abs(mean - 0.5) < 3 * error
    assert scores.p_value == pytest.approx(1 / 61)


def test_known_pictures_are_told_by_other_repeats_and_not_once_they_are_shuffled():
    rng = np.random.default_rng(0)
    responses, targets, pictures = brain(rng, n_pictures=8, n_repeats=5, noise=0.5)
    design = leave_repeats_out(pictures)
    scores = score_in_folds(responses, targets, design, ridge, n_way_identification, rng=rng, n_permutations=60)
    assert scores.value > 0.9
    mean, error = mean_and_error(scores.null)
    assert abs(mean - 1 / 8) < 3 * error


def test_the_null_fits_again():
    rng, fits = np.random.default_rng(0), []
    responses, targets, pictures = brain(rng)

    def counted(*arrays):
        fits.append(arrays[1])
        return ridge(*arrays)

    design = leave_pictures_out(pictures, 4, rng)
    score_in_folds(responses, targets, design, counted, two_way_identification, rng=rng, n_permutations=3)
    assert len(fits) == 4 * (1 + 3)
    assert not any(np.array_equal(fits[0], other) for other in fits[4:])


def test_decoders_never_see_what_is_left_out():
    rng = np.random.default_rng(0)
    responses, targets, pictures = brain(rng, n_pictures=6, n_repeats=3)

    def look(train, known, queries):
        left_out = [number for number in range(6) if not (known == targets[number]).all(axis=1).any()]
        assert len(train) == 3 * (6 - len(left_out))
        means = [responses[pictures == number].mean(axis=0) for number in left_out]
        np.testing.assert_allclose(queries, means)
        return targets[left_out]

    for left_out, values in decode_in_folds(responses, targets, leave_pictures_out(pictures, 3, rng), look):
        np.testing.assert_array_equal(values, targets[left_out])


def test_designs_leave_out_everything_equally_often():
    pictures = np.random.default_rng(0).permutation(np.repeat(np.arange(6), 4))
    rng = np.random.default_rng(1)
    for design, times in (
        (leave_repeats_out(pictures), 1),
        (leave_pictures_out(pictures, 4, rng), 1),
        (leave_pairs_out(pictures), 5),
    ):
        assert (np.bincount(np.concatenate(design.left_out), minlength=24) == times).all()
    assert all(sorted(pictures[rows]) == list(range(6)) for rows in leave_repeats_out(pictures).left_out)
    assert all((np.diff(rows) > 0).all() for rows in leave_repeats_out(pictures).left_out)
    assert len(leave_pairs_out(pictures).left_out) == 15


def test_repeats_stay_together_where_pictures_are_left_out():
    pictures = np.random.default_rng(0).permutation(np.repeat(np.arange(6), 4))
    rng = np.random.default_rng(1)
    assert leave_repeats_out(pictures).straddles
    for design in (leave_pictures_out(pictures, 3, rng), leave_pairs_out(pictures)):
        assert not design.straddles
        shuffled = design.shuffled(rng)
        assert len(set(zip(pictures.tolist(), shuffled.tolist(), strict=True))) == 6
        assert not np.array_equal(shuffled, pictures)
    design = leave_repeats_out(pictures)
    shuffled = design.shuffled(rng)
    assert all(sorted(shuffled[rows]) == list(range(6)) for rows in design.left_out)
    assert len(set(zip(pictures.tolist(), shuffled.tolist(), strict=True))) > 6


def test_a_picture_scores_its_mean_over_folds():
    targets = np.eye(3)
    wrong_with_the_first = iter([[0.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    scores = score_in_folds(
        targets,
        targets,
        leave_pairs_out(np.arange(3)),
        lambda train, known, queries: queries,
        lambda seen, made: np.array(next(wrong_with_the_first)),
        rng=np.random.default_rng(0),
    )
    assert scores.per_picture.tolist() == [0.0, 1.0, 1.0]
    assert scores.value == pytest.approx(2 / 3)
    assert scores.p_value == 1.0


def test_the_same_scores_of_other_pictures_are_as_good():
    """Their sum differs in its last bits: a third, two thirds and the like."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        own = rng.integers(0, 12, 12) / 11
        scores = FoldScores(own, float(own.mean()), (0.0, 1.0), np.array([rng.permutation(own).mean()]))
        assert scores.p_value == 1.0


def test_ties_share():
    seen = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    made = np.array([[2.0, 2, 0], [0, 1, 0], [5.0, 5, 5]])
    np.testing.assert_allclose(n_way_identification(seen, made), [1 / 2, 1, 1 / 3])


def test_guesses_score_one_in_n():
    rng = np.random.default_rng(0)
    draws = [n_way_identification(*rng.standard_normal((2, 5, 30))).mean() for _ in range(400)]
    mean, error = mean_and_error(draws)
    assert abs(mean - 1 / 5) < 3 * error


@pytest.mark.parametrize("score", [two_way_identification, n_way_identification])
def test_a_fold_of_one_picture_has_no_candidates(score):
    rng = np.random.default_rng(0)
    responses, targets, pictures = brain(rng, n_pictures=4)
    with pytest.raises(ValueError, match="identification needs"):
        score_in_folds(responses, targets, leave_pictures_out(pictures, 4, rng), ridge, score, rng=rng)


def test_designs_that_cannot_be_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="pictures have 1 to 2 repeats, expected the same number, two or more"):
        leave_repeats_out(np.array([0, 0, 1]))
    for n_folds in (1, 4):
        with pytest.raises(ValueError, match=f"n_folds is {n_folds}, expected 2 to 3, the number of pictures"):
            leave_pictures_out(np.arange(3), n_folds, rng)
    with pytest.raises(ValueError, match="got 2 pictures, expected three or more"):
        leave_pairs_out(np.array([0, 1, 1]))
    design = FoldDesign(np.array([0, 5]), (np.array([0]),))
    with pytest.raises(ValueError, match="got 2 rows of responses, targets of 3 pictures, and a design of 2 rows"):
        list(decode_in_folds(np.zeros((2, 4)), np.zeros((3, 2)), design, ridge))
