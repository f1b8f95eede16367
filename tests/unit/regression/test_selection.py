from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import pearsonr
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from braindiffuser.regression import selection
from braindiffuser.regression.rows import TrainingRows
from braindiffuser.regression.selection import grouped_folds

ALPHAS = [0.1, 10.0, 1e3, 1e5]


def cross_validate(X, Y, alphas, groups=None, **settings):
    return selection.cross_validate(TrainingRows(X), {"y": Y}, {"y": alphas}, groups, **settings)["y"]


def example(n_stimuli=60, n_voxels=20, n_targets=6, noise=2.0, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_stimuli, n_voxels)) + 1
    Y = X @ rng.standard_normal((n_voxels, n_targets)) + noise * rng.standard_normal((n_stimuli, n_targets)) + 5
    return X, Y


def repeated_pictures(n_pictures, seed=0):
    rng = np.random.default_rng(seed)
    return rng.permutation(np.repeat(np.arange(n_pictures), rng.integers(1, 4, n_pictures)))


@pytest.mark.parametrize("n_voxels", [20, 80])
def test_scores_agree_with_scikit_learn(n_voxels):
    groups = repeated_pictures(30)
    X, Y = example(len(groups), n_voxels)
    result = cross_validate(X, Y, ALPHAS, groups, n_folds=4)
    folds = list(GroupKFold(4).split(X, groups=groups))
    for number, alpha in enumerate(ALPHAS):
        predictions = cross_val_predict(SklearnRidge(alpha=alpha), X, Y, groups=groups, cv=GroupKFold(4))
        assert_allclose(result.r2[number], r2_score(Y, predictions, multioutput="raw_values"), rtol=1e-6, atol=1e-9)
        expected = np.mean(
            [[pearsonr(Y[test, t], predictions[test, t]).statistic for t in range(6)] for _, test in folds], axis=0
        )
        assert_allclose(result.correlation[number], expected, rtol=1e-6, atol=1e-9)


def test_prediction_statistics_are_those_of_the_best_alpha():
    X, Y = example()
    Y[:, 3:] = np.random.default_rng(1).standard_normal((60, 3))  # unpredictable: wants another alpha
    result = cross_validate(X, Y, ALPHAS)
    predictions = cross_val_predict(SklearnRidge(result.best_alpha), X, Y, groups=range(60), cv=GroupKFold(5))
    assert_allclose(result.prediction_mean, predictions.mean(0), rtol=1e-8)
    assert_allclose(result.prediction_std, predictions.std(0), rtol=1e-6)


@pytest.mark.parametrize("each_in_parts", [False, True])
def test_some_stimuli_are_predicted_from_all_others(each_in_parts):
    """Decoders are fitted to whole folds; only what they are scored on becomes less."""
    X, Y = example()
    rows, given = TrainingRows(X), {"y": Y}

    def each(part, items):
        return ((item, part(rows, given, "cpu", item)) for item in items)

    result = selection.cross_validate(rows, given, {"y": ALPHAS}, n_predicted=13, each=each if each_in_parts else None)[
        "y"
    ]
    chosen, predicted, correlations = [], [], []
    for kept, left_out in selection._thinned(list(grouped_folds(np.arange(60), 5)), 13):
        assert len(left_out) == 3  # 13 of 5 folds
        some = left_out
        made = [SklearnRidge(alpha).fit(X[kept], Y[kept]).predict(X[some]) for alpha in ALPHAS]
        chosen.append(some)
        predicted.append(made)
        correlations.append([[pearsonr(Y[some, t], p[:, t]).statistic for t in range(6)] for p in made])
    y, p = Y[np.concatenate(chosen)], np.concatenate(predicted, axis=1)
    r2 = 1 - np.square(y - p).sum(axis=1) / np.square(y - Y.mean(axis=0)).sum(axis=0)
    assert_allclose(result.r2, r2, rtol=1e-6, atol=1e-9)
    assert_allclose(result.correlation, np.mean(correlations, axis=0), rtol=1e-6, atol=1e-9)
    best = ALPHAS.index(result.best_alpha)
    assert best == r2.mean(axis=1).argmax()
    assert_allclose(result.prediction_mean, p[best].mean(axis=0), rtol=1e-8)
    assert_allclose(result.prediction_std, p[best].std(axis=0), rtol=1e-6)


def test_stimuli_that_are_predicted_are_drawn_from_what_each_fold_leaves_out():
    """At random, since every n-th stimulus of a design may be of one kind; and the same each time."""
    folds = list(grouped_folds(np.arange(1000), 5))
    thinned = selection._thinned(folds, 200)
    for (kept, left_out), (kept_of_thinned, some) in zip(folds, thinned, strict=True):
        assert_array_equal(kept, kept_of_thinned)
        assert set(some) < set(left_out)
        assert len(some) == 40
        assert (np.diff(some) > 0).all()
        assert len(np.unique(np.diff(some))) > 5
        for period in (2, 3, 5, 8):
            shares = np.bincount(np.searchsorted(left_out, some) % period, minlength=period) / 40
            assert shares.max() < 1 / period + 0.25
    for one, again in zip(thinned, selection._thinned(folds, 200), strict=True):
        assert_array_equal(one[1], again[1])
    assert [len(some) for _, some in selection._thinned(folds, 1)] == [2] * 5


@pytest.mark.parametrize("n_predicted", [60, 1000])
def test_as_many_as_there_are_is_all(n_predicted):
    X, Y = example()
    some, whole = cross_validate(X, Y, ALPHAS, n_predicted=n_predicted), cross_validate(X, Y, ALPHAS)
    for field in fields(whole):
        assert_array_equal(getattr(some, field.name), getattr(whole, field.name))


def test_best_alpha_maximises_mean_r2():
    X, Y = example()
    Y[:, 3:] = np.random.default_rng(1).standard_normal((60, 3))
    result = cross_validate(X, Y, ALPHAS)
    assert result.best_alpha == ALPHAS[int(result.r2.mean(axis=1).argmax())]
    assert len(set(result.r2.argmax(axis=0))) > 1  # single targets want others


@pytest.mark.parametrize("columns_per_block", [1, 2, 5, 6, 1000])
def test_blocks_of_targets_change_nothing(columns_per_block, monkeypatch):
    X, Y = example()
    whole = cross_validate(X, Y, ALPHAS)
    monkeypatch.setattr("braindiffuser.regression.streaming.COLUMNS_PER_BLOCK", columns_per_block)
    blocks = cross_validate(X, Y, ALPHAS)
    for name in ("r2", "correlation", "best_alpha", "prediction_mean", "prediction_std"):
        assert_allclose(getattr(blocks, name), getattr(whole, name), rtol=1e-10)


def test_order_of_targets_and_a_constant_change_nothing():
    X, Y = example()
    order = np.random.default_rng(0).permutation(6)
    one, other = cross_validate(X, Y, ALPHAS), cross_validate(X, Y[:, order] + 100, ALPHAS)
    assert_allclose(other.r2, one.r2[:, order], rtol=1e-8)
    assert_allclose(other.prediction_mean, one.prediction_mean[order] + 100)
    assert_allclose(other.prediction_std, one.prediction_std[order], rtol=1e-8)


def test_perfect_case_scores_1():
    X, Y = example(noise=0.0)
    result = cross_validate(X, Y, [0.0])
    assert_allclose(result.r2, 1)
    assert_allclose(result.correlation, 1)
    assert_allclose(result.prediction_std, Y.std(0))


@pytest.mark.parametrize("alpha", [10.0, 1e8])
def test_chance_is_0_at_any_alpha(alpha):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((100, 10)), rng.standard_normal((100, 400))
    result = cross_validate(X, Y, [alpha])
    assert abs(result.correlation.mean()) < 0.02
    assert result.r2.mean() < 0


def test_repeats_of_a_picture_do_not_leak():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 2)
    X = np.repeat(rng.standard_normal((30, 200)), 2, axis=0)
    Y = np.repeat(rng.standard_normal((30, 50)), 2, axis=0)  # unrelated to X, but equal between repeats
    assert cross_validate(X, Y, [0.1], groups).correlation.mean() < 0.05
    assert cross_validate(X, Y, [0.1]).correlation.mean() > 0.5


GRIDS = ([1e4, 1e3], [1e-4, 1e3, 1e4], list(np.geomspace(1e3, 1e5, 10)), [0.0], [1e4])
"""Solved in float32, in float64, by eigendecomposition, by pseudo-inverse, and without a choice."""


@pytest.mark.parametrize("own", range(len(GRIDS)))
def test_a_groups_result_is_the_same_bits_whichever_other_groups_come_with_it(own):
    X, Y = (values.astype(np.float32) for values in example(n_voxels=80))
    rows, targets = TrainingRows(X), {str(number): Y + number for number in range(len(GRIDS))}
    alphas = {str(number): grid for number, grid in enumerate(GRIDS)}
    together = selection.cross_validate(rows, targets, alphas)[str(own)]
    alone = selection.cross_validate(rows, {"one": Y + own}, {"one": GRIDS[own]})["one"]
    for field in fields(alone):
        assert_array_equal(getattr(together, field.name), getattr(alone, field.name))


def test_parts_that_others_compute_give_the_same_bits(monkeypatch):
    monkeypatch.setattr("braindiffuser.regression.streaming.COLUMNS_PER_BLOCK", 12)
    monkeypatch.setattr(selection, "COLUMNS_PER_PART", 30)
    X, Y = (values.astype(np.float32) for values in example(n_voxels=80, n_targets=231))
    rows, targets = TrainingRows(X), {"flat": Y, "tokens": Y.reshape(60, 77, 3), "one": Y[:, :1]}
    alphas, given, told = dict.fromkeys(targets, ALPHAS), [], []

    def each(part, items):
        given.extend(items)
        for item in items:
            yield item, part(TrainingRows(X.copy()), {name: Y.copy() for name, Y in targets.items()}, "cpu", item)

    parts = selection.cross_validate(rows, targets, alphas, each=each, progress=lambda *said: told.append(said))
    whole = selection.cross_validate(rows, targets, alphas)
    for name in targets:
        for field in fields(whole[name]):
            assert_array_equal(getattr(parts[name], field.name), getattr(whole[name], field.name))
    n_columns = 5 * (231 + 231 + 1)
    assert len(given) == len(told) == 5 * (10 + 10 + 1)  # 231 by 24, and 77 tokens by 8: two whole blocks of 12 targets
    assert told[-1] == (selection.LABEL, n_columns, n_columns)


@settings(deadline=None, max_examples=25)
@given(n_pictures=st.integers(2, 30), n_folds=st.integers(2, 8), seed=st.integers(0, 99))
def test_folds_never_straddle_and_cover_every_row_once(n_pictures, n_folds, seed):
    n_folds = min(n_folds, n_pictures)
    groups = repeated_pictures(n_pictures, seed)
    left_out = []
    for train, test in grouped_folds(groups, n_folds):
        assert not set(groups[train]) & set(groups[test])
        assert len(train) + len(test) == len(groups)
        left_out += test.tolist()
    assert sorted(left_out) == list(range(len(groups)))


def test_groups_may_be_names():
    X, Y = example(n_stimuli=40)
    numbers = np.repeat(np.arange(10), 4)
    names = np.array([f"picture {number}" for number in numbers])
    assert_allclose(cross_validate(X, Y, ALPHAS, names).r2, cross_validate(X, Y, ALPHAS, numbers).r2)


def test_at_edge_tells_a_grid_too_narrow():
    X, Y = example(noise=8.0)
    inside = cross_validate(X, Y, [1e-3, 1e-1, 10.0, 1e3, 1e5])
    assert not inside.at_edge
    best = inside.best_alpha
    assert cross_validate(X, Y, [best, 100 * best]).at_edge
    assert cross_validate(X, Y, [best / 100, best]).at_edge
    assert not cross_validate(X, Y, [best, 100 * best, best / 100]).at_edge  # the grid need not be sorted
    assert not cross_validate(X, Y, [best]).at_edge  # nothing was chosen


def test_a_target_that_never_varies_scores_0():
    X, Y = example()
    Y[:, 2] = 0.1
    result = cross_validate(X.astype(np.float32), Y.astype(np.float32), ALPHAS)
    assert_array_equal(result.r2[:, 2], 0)
    assert_array_equal(result.correlation[:, 2], 0)
    assert_allclose(result.prediction_mean[2], 0.1, rtol=1e-6)
    assert result.prediction_std[2] < 1e-8
    assert (result.r2[0, [0, 1, 3, 4, 5]] > 0.3).all()


def test_float32_scores_are_close_to_float64():
    X, Y = example(n_voxels=100)
    single = cross_validate(X.astype(np.float32), Y.astype(np.float32), ALPHAS)
    double = cross_validate(X, Y, ALPHAS)
    assert_allclose(single.r2, double.r2, atol=1e-4)
    assert_allclose(single.prediction_std, double.prediction_std, rtol=1e-4)


@pytest.mark.usefixtures("types_unchecked")
def test_errors_say_what_came_and_what_was_expected():
    X, Y = example(n_stimuli=12)
    with pytest.raises(ValueError, match=r"n_folds=5 for 3 groups .*use fewer folds"):
        cross_validate(X, Y, ALPHAS, np.repeat([0, 1, 2], 4))
    with pytest.raises(ValueError, match="got 11 groups, expected one for each of the 12 rows"):
        cross_validate(X, Y, ALPHAS, np.arange(11))
    with pytest.raises(ValueError, match="responses of 12 stimuli and y of 9"):
        cross_validate(X, Y[:9], ALPHAS)
    with pytest.raises(ValueError, match="n_folds=1 for 12 groups"):
        cross_validate(X, Y, ALPHAS, n_folds=1)
    for alphas in ([], [-1.0], [[1.0]], [np.nan]):
        with pytest.raises(ValueError, match="alphas must be a non-empty list of finite numbers ≥ 0"):
            cross_validate(X, Y, alphas)
