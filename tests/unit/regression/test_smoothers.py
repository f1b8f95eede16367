import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge as SklearnRidge

from braindiffuser.regression import solvers
from braindiffuser.regression.rows import TrainingRows
from braindiffuser.regression.smoothers import smoothers_by_group


def smoothers(rows, alphas, responses, patterns=None):
    """Those of a single group."""
    return smoothers_by_group(rows, {"": alphas}, responses, patterns)[""]


def example(n_stimuli=30, n_voxels=20, seed=0):
    """Averages of 1 to 3 trials, the trials, and targets."""
    rng = np.random.default_rng(seed)
    repeats = rng.integers(1, 4, n_stimuli)
    stimuli = rng.permutation(np.repeat(np.arange(n_stimuli), repeats))
    trials = rng.standard_normal((len(stimuli), n_voxels)) + rng.standard_normal((n_stimuli, n_voxels))[stimuli]
    return trials, stimuli, repeats, rng.standard_normal((n_stimuli, 4)) + 2, rng.standard_normal((6, n_voxels))


@pytest.mark.parametrize("n_voxels", [10, 200])
def test_single_trials_are_fitted_as_scikit_learn_fits_repeated_targets(n_voxels):
    trials, stimuli, _, targets, new = example(n_voxels=n_voxels)
    made = smoothers(TrainingRows(trials, stimuli), [5.0, 300.0], new, new)
    assert made.keys() == {5.0, 300.0}
    for alpha, matrix in made.items():
        reference = SklearnRidge(alpha).fit(trials, targets[stimuli])
        assert matrix.shape == (12, 30)
        assert_allclose(matrix.numpy()[:6] @ targets, reference.predict(new), rtol=1e-8)
        assert_allclose(matrix.numpy()[6:] @ targets, new @ reference.coef_.T, rtol=1e-7, atol=1e-9)


def test_weights_are_scikit_learns_sample_weights():
    trials, stimuli, repeats, targets, new = example()
    averages = TrainingRows(trials, stimuli).averages()
    matrix = smoothers(TrainingRows(averages, weights=repeats.astype(float)), [7.0], new)[7.0]
    reference = SklearnRidge(7.0).fit(averages, targets, sample_weight=repeats)
    assert_allclose(matrix.numpy() @ targets, reference.predict(new), rtol=1e-8)


def test_equal_trials_are_one_row_with_their_number_as_weight():
    trials, stimuli, repeats, targets, new = example()
    averages = TrainingRows(trials, stimuli).averages()
    same = smoothers(TrainingRows(averages[stimuli], stimuli), [7.0], new)[7.0]
    weighted = smoothers(TrainingRows(averages, weights=repeats.astype(float)), [7.0], new)[7.0]
    assert_allclose(same.numpy() @ targets, weighted.numpy() @ targets, rtol=1e-8)


FLOAT32, FLOAT64 = (1e4, 3e4), (1e-3, 1.0)
"""Alphas that these responses are solved with in float32, and in float64."""
MANY = tuple(np.geomspace(1e-2, 1e5, 12).tolist())
"""So many alphas that they are solved by eigendecomposition."""
MANY_LARGE = tuple(np.geomspace(1e4, 1e5, 9).tolist())


def single_precision(n_voxels=40):
    trials, stimuli, _, _, new = example(n_voxels=n_voxels)
    return TrainingRows(trials.astype(np.float32), stimuli), new.astype(np.float32)


grids = st.lists(st.sampled_from((*FLOAT32, *FLOAT64, *MANY, *MANY_LARGE)), min_size=1, max_size=14)


@settings(deadline=None, max_examples=40)
@given(own=grids, others=st.lists(grids, max_size=3), n_voxels=st.sampled_from([10, 200]))
def test_a_groups_matrices_are_the_same_bits_whichever_other_groups_come_with_it(own, others, n_voxels):
    rows, new = single_precision(n_voxels)
    alone = smoothers(rows, own, new, new)
    beside = {f"other {number}": grid for number, grid in enumerate(others)}
    for groups in ({"own": own, **beside}, {**beside, "own": own}):
        together = smoothers_by_group(rows, groups, new, new)
        assert together.keys() == groups.keys()
        assert together["own"].keys() == alone.keys() == set(own)
        for alpha, matrix in alone.items():
            assert_array_equal(together["own"][alpha], matrix)


def test_precision_and_method_of_these_groups_do_differ():
    """Without this the law above could hold of groups that are all solved alike."""
    rows, new = single_precision()
    groups = {"single": FLOAT32, "double": (*FLOAT32, *FLOAT64), "many": (*FLOAT32, *MANY_LARGE)}
    made = smoothers_by_group(rows, groups, new)
    for name in ("double", "many"):
        assert (made[name][1e4] != made["single"][1e4]).any()
        assert_allclose(made[name][1e4], made["single"][1e4], rtol=1e-3, atol=1e-6)


def counted(monkeypatch, module, name):
    calls, function = [], getattr(module, name)

    def counting(*arguments):
        calls.append(arguments)
        return function(*arguments)

    monkeypatch.setattr(module, name, counting)
    return calls


def test_groups_share_gram_matrices_and_factorisations(monkeypatch):
    rows, new = single_precision()
    products = counted(monkeypatch, solvers, "_gram")
    factorisations = counted(monkeypatch, solvers, "cholesky")
    decompositions = counted(monkeypatch, solvers, "solve_by_spectrum")
    made = smoothers_by_group(rows, {"a": FLOAT32, "b": FLOAT32[:1], "c": FLOAT32[1:], "d": FLOAT32}, new)
    assert (len(products), len(factorisations), len(decompositions)) == (1, 2, 0)
    assert made["a"][1e4] is made["b"][1e4] is made["d"][1e4]
    assert made["a"][3e4] is made["c"][3e4]
    smoothers_by_group(rows, {"a": FLOAT32, "b": FLOAT64, "c": FLOAT64, "d": MANY, "e": MANY}, new)
    assert [dtype for _, _, dtype, _ in products] == [torch.float32, torch.float32, torch.float64]
    assert (len(factorisations), len(decompositions)) == (2 + 2 + 2, 1)


def test_one_gram_matrix_is_held_at_a_time(monkeypatch):
    rows, new = single_precision()
    alive, make = [], solvers._gram

    def weakly(*arguments):
        assert all(matrix() is None for matrix in alive)
        system = make(*arguments)
        alive.append(weakref.ref(system))
        return system

    monkeypatch.setattr(solvers, "_gram", weakly)
    smoothers_by_group(rows, {"a": FLOAT32, "b": FLOAT64, "c": MANY}, new)
    assert len(alive) == 2
