import numpy as np
import pytest
import zarr
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.numpy import save_file

from braindiffuser.errors import RunError
from braindiffuser.regression import Decoder, RidgeCV, load_decoder, save_decoder
from braindiffuser.regression.decoders import Decoders, fit_decoders, load_decoders, save_decoders
from braindiffuser.regression.training import TrainingRows

ALPHAS = {"latents": (0.1, 10.0, 1e3), "vision": (5.0,)}


def example(seed=0, n_new=9):
    rng = np.random.default_rng(seed)
    weights = np.random.default_rng(100).standard_normal((12, 21)) / 3
    X = rng.standard_normal((50, 12)).astype(np.float32)
    Y = (X @ weights + rng.standard_normal((50, 21)) + 3).astype(np.float32)
    return (
        X,
        {"latents": Y[:, :9], "vision": Y[:, 9:].reshape(50, 3, 4)},
        rng.standard_normal((n_new, 12)).astype(np.float32),
    )


@pytest.fixture(params=["inductive", "transductive", "none"])
def decoders(request):
    X, targets, _ = example()
    return fit_decoders(TrainingRows(X), targets, ALPHAS, "voxels-1", calibration=request.param, n_folds=4)


def test_decodes_as_estimators_with_coefficients_do(decoders):
    X, targets, new = example()
    made = decoders.decode(new)
    for name, values in targets.items():
        estimator = RidgeCV(ALPHAS[name], n_folds=4).fit(X, values.reshape(50, -1))
        dense = Decoder.from_estimator(estimator, "voxels-1", decoders.calibration)
        assert_allclose(decoders.alphas[name], estimator.alpha_)
        assert_allclose(made[name], dense.decode(new), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("group", ["latents", "vision"])
def test_dense_decoder_decodes_alike_and_needs_no_training_data(decoders, group, tmp_path):
    _, _, new = example()
    save_decoder(tmp_path / "dense.safetensors", decoders.dense(group))
    dense = load_decoder(tmp_path / "dense.safetensors", "voxels-1")
    assert_allclose(dense.decode(new), decoders.decode(new)[group], rtol=1e-4, atol=1e-4)
    block = decoders.dense(group, slice(2, 5))
    assert_allclose(block.coef, dense.coef[2:5], rtol=1e-5, atol=1e-7)
    if decoders.calibration != "transductive":
        assert_allclose(block.decode(new), dense.decode(new)[:, 2:5], rtol=1e-4, atol=1e-4)


def test_projections_are_patterns_times_coefficients(decoders):
    _, targets, new = example()
    for name, made in decoders.project(new):
        dense = decoders.dense(name)
        assert_allclose(made.values, new @ dense.coef.T, rtol=1e-4, atol=1e-5)
        assert_allclose(made.intercept, dense.intercept, rtol=1e-5)
        assert_allclose(made.training_mean, targets[name].reshape(50, -1).mean(0), rtol=1e-5)
        assert_allclose(made.training_std, targets[name].reshape(50, -1).std(0), rtol=1e-5)


@pytest.mark.parametrize("decoders", ["inductive"], indirect=True)
def test_under_inductive_a_picture_does_not_depend_on_its_batch(decoders):
    _, _, new = example()
    together, moved = decoders.decode(new), decoders.decode(new[::-1].copy())
    for row in range(len(new)):
        alone = decoders.decode(new[row : row + 1])
        for name in together:
            assert_allclose(alone[name][0], together[name][row], rtol=1e-5, atol=1e-5)
            assert_allclose(moved[name][len(new) - 1 - row], together[name][row], rtol=1e-5, atol=1e-5)


def test_reload_is_bit_equal(decoders, tmp_path):
    X, targets, new = example()
    path = tmp_path / "decoders.safetensors"
    save_decoders(path, decoders)
    loaded = load_decoders(path, TrainingRows(X), targets, "voxels-1")
    assert loaded.metadata == decoders.metadata
    assert loaded.calibration == decoders.calibration
    for name, values in decoders.decode(new).items():
        assert_array_equal(loaded.alphas[name], decoders.alphas[name])
        assert_array_equal(loaded.decode(new)[name], values)


def test_targets_on_disk_in_half_precision_decode_nearly_alike(tmp_path):
    X, targets, new = example()
    stored = {}
    for name, values in targets.items():
        stored[name] = zarr.create_array(
            tmp_path / name, shape=values.shape, chunks=(16, *values.shape[1:]), dtype="float16"
        )
        stored[name][:] = values
    settings = {"fingerprint": "voxels-1", "n_folds": 4}
    exact = fit_decoders(TrainingRows(X), targets, ALPHAS, **settings).decode(new)
    for name, values in fit_decoders(TrainingRows(X), stored, ALPHAS, **settings).decode(new).items():
        spread = exact[name] - exact[name].mean(0)
        assert np.linalg.norm(values - exact[name]) < 1e-3 * np.linalg.norm(spread)


def test_a_single_alpha_without_inductive_calibration_needs_no_cross_validation(monkeypatch):
    X, targets, _ = example()
    monkeypatch.setattr("braindiffuser.regression.decoders.cross_validate", None)
    fit_decoders(TrainingRows(X), targets, {"latents": (1.0,), "vision": (2.0,)}, "v", calibration="transductive")
    with pytest.raises(TypeError):
        fit_decoders(TrainingRows(X), targets, {"latents": (1.0,), "vision": (2.0,)}, "v")


def test_single_trials_calibrate_on_left_out_averages():
    """Trials are noisier than their averages: predictions of averages, which come in at test time, spread less."""
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((120, 10))
    stimuli = np.repeat(np.arange(120), 3)
    trials = (signal[stimuli] + 2 * rng.standard_normal((360, 10))).astype(np.float32)
    targets = {"y": (signal @ rng.standard_normal((10, 4))).astype(np.float32)}
    made = fit_decoders(TrainingRows(trials, stimuli), targets, {"y": (1.0,)}, "v")
    rows_alone = fit_decoders(TrainingRows(trials), {"y": targets["y"][stimuli]}, {"y": (1.0,)}, "v")
    assert (made.cv_statistics["y"][1] < 0.9 * rows_alone.cv_statistics["y"][1]).all()
    predicted = made.decode(TrainingRows(trials, stimuli).averages())["y"]
    assert_allclose(predicted.std(0), targets["y"].std(0), rtol=0.15)


def test_what_it_was_fitted_to_must_be_the_same(tmp_path):
    X, targets, _ = example()
    path = tmp_path / "decoders.safetensors"
    with pytest.raises(RunError, match=r"there is no decoder at .*fit it first"):
        load_decoders(path, TrainingRows(X), targets, "voxels-1")
    save_decoders(path, fit_decoders(TrainingRows(X), targets, ALPHAS, "voxels-1"))
    with pytest.raises(RunError, match=r"have fingerprint 'voxels-2', but .* fingerprint 'voxels-1'.*fit it again"):
        load_decoders(path, TrainingRows(X), targets, "voxels-2")
    for rows in (TrainingRows(X + 1), TrainingRows(X, weights=np.ones(50)), TrainingRows(X[:49])):
        with pytest.raises(RunError, match="fitted to other responses or targets"):
            load_decoders(path, rows, targets, "voxels-1")
    with pytest.raises(RunError, match="fitted to other responses or targets"):
        load_decoders(path, TrainingRows(X), targets | {"latents": targets["latents"][:, 1:]}, "voxels-1")
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    with pytest.raises(RunError, match="damaged or not a decoder"):
        load_decoders(path, TrainingRows(X), targets, "voxels-1")
    save_file({"alphas": np.zeros(2)}, path)
    with pytest.raises(RunError, match="format None, expected 'braindiffuser-decoders-1'"):
        load_decoders(path, TrainingRows(X), targets, "voxels-1")


def test_metadata_must_be_json(tmp_path, decoders):
    X, targets, _ = example()
    odd = Decoders(TrainingRows(X), targets, decoders.alphas, "none", "v", metadata={"nan": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        save_decoders(tmp_path / "decoders.safetensors", odd)
