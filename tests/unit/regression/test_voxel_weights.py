"""Norms and maps that never form all coefficients, against those that do."""

import numpy as np
import pytest
import torch
import zarr
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge as SklearnRidge

from braindiffuser.regression import smoothers, streaming, voxel_weights
from braindiffuser.regression.regressor import Regressor
from braindiffuser.regression.ridge import RidgeRegression
from braindiffuser.regression.rows import TrainingRows
from braindiffuser.regression.smoothers import voxel_smoothers
from braindiffuser.regression.voxel_weights import components, row_norms

SHAPES = {"dual": (30, 70), "primal": (60, 12)}
ROWS = ("averages", "weighted", "trials")


def example(form="dual", kind="averages", dtype=np.float64, seed=0):
    """Training rows; the same rows with targets and weights, as scikit-learn takes them; and targets of two groups."""
    n_stimuli, n_voxels = SHAPES[form]
    rng = np.random.default_rng(seed)
    repeats = rng.integers(1, 4, n_stimuli) if kind != "averages" else np.ones(n_stimuli, int)
    stimuli = np.arange(n_stimuli) if kind != "trials" else rng.permutation(np.repeat(np.arange(n_stimuli), repeats))
    responses = rng.standard_normal((len(stimuli), n_voxels)).astype(dtype) + 2
    responses[:, 3] = 5  # a voxel that never varies
    weights = repeats.astype(float) if kind == "weighted" else None
    rows = TrainingRows(responses, stimuli if kind == "trials" else None, weights)
    Y = rng.standard_normal((n_stimuli, 33)) + 3
    Y[:, :15] += 2 * responses[np.unique(stimuli, return_index=True)[1], :1]
    targets = {"latents": Y[:, :15].astype(np.float32), "vision": Y[:, 15:].reshape(-1, 3, 6).astype(np.float32)}
    return rows, stimuli, targets


def dense(rows, stimuli, values, alpha):
    """Coefficients (n_voxels, n_targets) of scikit-learn, and covariances of voxels with its predictions."""
    Y = values.reshape(len(values), -1).astype(float)[stimuli]
    X = rows.responses.astype(float)
    model = SklearnRidge(alpha).fit(X, Y, sample_weight=rows.weights)
    predicted = model.predict(X)
    share = np.ones(len(X)) / len(X) if rows.weights is None else rows.weights / rows.weights.sum()
    centred = X - share @ X
    return model.coef_.T, (share[:, None] * centred).T @ (predicted - share @ predicted), predicted, share


ALPHAS = {"latents": (40.0,), "vision": (7.0,)}


def fitted(rows, targets, alphas=ALPHAS):
    part = RidgeRegression(alphas=alphas, calibration="none")
    return part, part.fit(rows, targets, "cpu")


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("form", SHAPES)
def test_norms_are_those_of_scikit_learns_coefficients_and_covariances(form, kind):
    rows, stimuli, targets = example(form, kind)
    part, learnt = fitted(rows, targets)
    made = dict(part.weight_norms(learnt, rows, targets, "cpu"))
    assert made.keys() == targets.keys()
    for group, norms in made.items():
        B, covariances, _, _ = dense(rows, stimuli, targets[group], ALPHAS[group][0])
        B[3] = 0  # scikit-learn leaves rounding there
        for found, expected in (
            (norms.weights_l1, np.abs(B).sum(axis=1)),
            (norms.weights_l2, np.linalg.norm(B, axis=1)),
            (norms.patterns_l1, np.abs(covariances).sum(axis=1)),
            (norms.patterns_l2, np.linalg.norm(covariances, axis=1)),
        ):
            assert found.dtype == np.float64
            assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
        assert norms.weights_l1[3] == norms.patterns_l1[3] == 0


@pytest.mark.parametrize("form", SHAPES)
def test_patterns_follow_from_the_normal_equations(form):
    """Cov(X, X B) = Cov(X, Y) - alpha B / n: the pattern is the voxel's own covariance with the targets, less the shrinkage."""
    rows, _, targets = example(form)
    n, Y = len(rows.responses), targets["latents"].astype(float)
    alpha = 40.0
    B = SklearnRidge(alpha).fit(rows.responses, Y).coef_.T
    own = (rows.responses - rows.responses.mean(0)).T @ (Y - Y.mean(0)) / n - alpha * B / n
    (_, C) = next(voxel_smoothers(rows, {"latents": alpha}, "patterns"))
    assert_allclose(C.numpy() @ Y, own, atol=1e-10)
    assert_allclose(C.numpy().sum(axis=1), 0, atol=1e-12)


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("form", SHAPES)
def test_directions_have_scikit_learns_coefficients_and_haufes_patterns(form, kind):
    rows, stimuli, targets = example(form, kind)
    part, learnt = fitted(rows, targets)
    rng = np.random.default_rng(1)
    directions = {name: rng.standard_normal((4, values[0].size)) for name, values in targets.items()}
    for group, maps in part.direction_weights(learnt, rows, targets, directions, "cpu"):
        B, _, predicted, share = dense(rows, stimuli, targets[group], ALPHAS[group][0])
        weights = (B @ directions[group].T).T
        weights[:, 3] = 0
        assert_allclose(maps.weights, weights, rtol=1e-6, atol=1e-9)
        X = rows.responses - share @ rows.responses
        for u, pattern in zip(directions[group], maps.patterns, strict=True):
            z = predicted @ u
            z -= share @ z
            assert_allclose(pattern, (share * z) @ X / (share @ z**2), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ROWS)
def test_contrasts_of_stimuli_are_directions_that_are_not_formed(kind, monkeypatch):
    rows, _, targets = example("dual", kind)
    part, learnt = fitted(rows, targets)
    contrasts = np.random.default_rng(1).standard_normal((5, 30))
    contrasts -= contrasts.mean(axis=1, keepdims=True)
    monkeypatch.setattr(streaming, "COLUMNS_PER_BLOCK", 6)
    given = dict.fromkeys(targets, contrasts)
    own = dict(part.contrast_weights(learnt, rows, targets, given, "cpu"))
    formed = dict(Regressor.contrast_weights(part, learnt, rows, targets, given, "cpu"))
    for group, maps in own.items():
        assert_allclose(maps.weights, formed[group].weights, rtol=1e-5, atol=1e-8)
        assert_allclose(maps.patterns, formed[group].patterns, rtol=1e-4, atol=1e-7)
    with pytest.raises(
        ValueError, match=r"one number for each of 30 stimuli, with sum 0, got an array of shape \(1, 30\)"
    ):
        list(part.contrast_weights(learnt, rows, targets, {"latents": np.ones((1, 30))}, "cpu"))


def test_a_pattern_finds_the_signal_where_a_weight_shows_the_noise():
    """Haufe's example: one voxel holds signal and noise, the other the noise alone; its weight is as large, its pattern is 0."""
    rng = np.random.default_rng(0)
    signal, noise = rng.standard_normal((2, 20_000, 1))
    rows = TrainingRows(np.hstack([signal + noise, noise]))
    part, learnt = fitted(rows, {"g": signal}, {"g": (1.0,)})
    maps = dict(part.direction_weights(learnt, rows, {"g": signal}, {"g": np.ones((1, 1))}, "cpu"))["g"]
    assert_allclose(maps.weights, [[1, -1]], atol=0.01)
    assert_allclose(maps.patterns, [[1, 0]], atol=0.02)
    norms = dict(part.weight_norms(learnt, rows, {"g": signal}, "cpu"))["g"]
    assert_allclose(norms.weights_l1, [1, 1], atol=0.01)
    assert_allclose(norms.patterns_l1, [1, 0], atol=0.02)


def test_one_feature_is_a_row_of_the_identity():
    rows, _, targets = example()
    part, learnt = fitted(rows, targets)
    maps = dict(part.direction_weights(learnt, rows, targets, {"latents": np.eye(15)}, "cpu"))["latents"]
    (norms,) = (made for name, made in part.weight_norms(learnt, rows, targets, "cpu") if name == "latents")
    assert_allclose(np.abs(maps.weights).sum(axis=0), norms.weights_l1, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ["weights", "patterns"])
def test_blocks_of_any_size_give_the_same(kind, monkeypatch, tmp_path):
    rows, _, targets = example(dtype=np.float32, kind="trials")
    stored = zarr.create_array(tmp_path / "t", shape=targets["vision"].shape, chunks=(8, 2, 6), dtype="float32")
    stored[:] = targets["vision"]

    def norms(values):
        return row_norms(next(voxel_smoothers(rows, {"vision": 20.0}, kind))[1], values)

    whole = norms(targets["vision"])
    for voxels, columns in ((7, 1), (64, 10)):
        monkeypatch.setattr(smoothers, "VOXELS_AT_A_TIME", voxels)
        monkeypatch.setattr(voxel_weights, "VOXELS_AT_A_TIME", voxels)
        monkeypatch.setattr(streaming, "COLUMNS_PER_BLOCK", columns)
        for one, same in zip(norms(stored), whole, strict=True):
            assert_allclose(one, same, rtol=1e-4, atol=1e-6)


def test_any_number_of_cores_gives_the_same_bits(monkeypatch):
    monkeypatch.setattr(streaming, "COLUMNS_PER_BLOCK", 6)
    rows, _, targets = example(dtype=np.float32)
    contrasts = np.eye(30)[:4] - np.eye(30)[4:8]
    threads, found = torch.get_num_threads(), []
    try:
        for n in (1, 4):
            torch.set_num_threads(n)
            part, learnt = fitted(rows, targets)
            norms = dict(part.weight_norms(learnt, rows, targets, "cpu"))
            maps = dict(part.contrast_weights(learnt, rows, targets, dict.fromkeys(targets, contrasts), "cpu"))
            found.append({group: (*norms[group], *maps[group]) for group in targets})
    finally:
        torch.set_num_threads(threads)
    for group, arrays in found[0].items():
        for one, same in zip(arrays, found[1][group], strict=True):
            assert_array_equal(one, same)


OTHERS = {"latents": (1e-4,), "vision": (1e4,), "text": (0.0,), "depth": (1e4,)}
"""Alphas that need float64, float32, a pseudo-inverse, and float32 again, beside an equal one."""


@pytest.mark.parametrize("group", OTHERS)
def test_a_groups_maps_are_the_same_bits_alone_and_beside_others(group):
    rows, _, _ = example(dtype=np.float32)
    rng = np.random.default_rng(3)
    targets = {name: rng.standard_normal((30, 9)).astype(np.float32) for name in OTHERS}
    directions = {name: np.ones((2, 9), np.float32) for name in OTHERS}

    def maps(names):
        some = {name: targets[name] for name in names}
        part, learnt = fitted(rows, some, {name: OTHERS[name] for name in names})
        axes = {name: directions[name] for name in names}
        return (
            dict(part.weight_norms(learnt, rows, some, "cpu"))[group],
            dict(part.direction_weights(learnt, rows, some, axes, "cpu"))[group],
        )

    for together, alone in zip(maps(OTHERS), maps([group]), strict=True):
        for one, same in zip(together, alone, strict=True):
            assert_array_equal(one, same)


def test_more_directions_than_share_a_pass(monkeypatch):
    _, _, targets = example()
    directions = np.random.default_rng(0).standard_normal((5, 18))
    whole = components(directions, targets["vision"], dtype=torch.float64)
    Y = targets["vision"].reshape(30, 18).astype(float)
    assert_allclose(whole, (Y - Y.mean(0)) @ directions.T, atol=1e-6)
    monkeypatch.setattr(voxel_weights, "DIRECTIONS_AT_A_TIME", 2)
    assert_allclose(components(directions, targets["vision"], dtype=torch.float64), whole, atol=1e-6)


@pytest.mark.parametrize("directions", [np.ones((1, 14)), np.full((1, 15), np.nan)])
def test_directions_that_do_not_fit_are_refused_with_their_group(directions):
    rows, _, targets = example()
    part, learnt = fitted(rows, targets)
    with pytest.raises(ValueError, match=r"latents: directions must be finite numbers, one for each of 15 targets"):
        list(part.direction_weights(learnt, rows, targets, {"latents": directions}, "cpu"))


def test_progress_ends_where_it_said():
    rows, _, targets = example()
    part, learnt = fitted(rows, targets)
    said = []
    list(part.weight_norms(learnt, rows, targets, "cpu", lambda *told: said.append(told)))
    assert said[-1] == ("norms of voxels' patterns", 66, 66)
    assert [told[1] for told in said] == sorted(told[1] for told in said)
