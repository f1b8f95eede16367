from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.numpy import save_file

from braindiffuser.errors import RunError
from braindiffuser.regression import Calibration, Decoder, Ridge, RidgeCV, load_decoder, save_decoder


def example(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((40, 10)).astype(np.float32)
    Y = (X @ rng.standard_normal((10, 3)) + rng.standard_normal((40, 3))).astype(np.float32)
    return X, Y


@pytest.fixture
def decoder():
    metadata = {"subject": "subj01", "shape": [3], "versions": {"numpy": "2"}}
    return Decoder.from_estimator(RidgeCV().fit(*example()), "voxels-1", metadata=metadata)


@pytest.mark.parametrize("name", ["inductive", "transductive", "none"])
def test_reload_is_bit_equal(tmp_path, name):
    fitted = Decoder.from_estimator(RidgeCV().fit(*example()), "voxels-1", name, {"subject": "subj01", "alphas": [1.5]})
    path = tmp_path / "decoder.safetensors"
    save_decoder(path, fitted)
    loaded = load_decoder(path, "voxels-1")
    for attribute in ("coef", "intercept", "alphas"):
        saved, read = getattr(fitted, attribute), getattr(loaded, attribute)
        assert saved.dtype == read.dtype
        assert_array_equal(saved, read)
    assert loaded.metadata == fitted.metadata
    assert loaded.calibration.name == name
    assert loaded.calibration.to_arrays().keys() == fitted.calibration.to_arrays().keys()
    for statistic, values in fitted.calibration.to_arrays().items():
        assert_array_equal(loaded.calibration.to_arrays()[statistic], values)
    assert_array_equal(loaded.decode(example(1)[0]), fitted.decode(example(1)[0]))


def test_decodes_as_the_estimator_predicts():
    X, Y = example()
    estimator = RidgeCV().fit(X, Y)
    fitted = Decoder.from_estimator(estimator, "voxels-1")
    assert_allclose(fitted.predict(X), estimator.predict(X), rtol=1e-5, atol=1e-6)
    statistics = Y.mean(0), Y.std(0), estimator.cv_prediction_mean_, estimator.cv_prediction_std_
    by_hand = (estimator.predict(X) - statistics[2]) / statistics[3] * statistics[1] + statistics[0]
    assert_allclose(fitted.decode(X), by_hand, rtol=1e-4, atol=1e-5)


def test_inductive_decoder_decodes_one_picture_as_in_any_batch(decoder):
    X, _ = example(1)
    assert_allclose(decoder.decode(X[:1]), decoder.decode(X)[:1], rtol=1e-5, atol=1e-6)


def test_a_single_vector_of_targets_makes_a_decoder_of_one_target():
    X, Y = example()
    fitted = Decoder.from_estimator(Ridge().fit(X, Y[:, 0]), "voxels-1", "none")
    assert fitted.predict(X).shape == (40, 1)


def test_other_voxels_are_refused(tmp_path, decoder):
    path = tmp_path / "decoder.safetensors"
    save_decoder(path, decoder)
    with pytest.raises(RunError, match=r"have fingerprint 'voxels-2', but .* fingerprint 'voxels-1'.*fit it again"):
        load_decoder(path, "voxels-2")
    with pytest.raises(ValueError, match="responses of 9 voxels, expected 10"):
        decoder.predict(example()[0][:, :9])


def test_missing_damaged_and_foreign_files_are_refused(tmp_path, decoder):
    path = tmp_path / "decoder.safetensors"
    with pytest.raises(RunError, match=r"there is no decoder at .*fit it first"):
        load_decoder(path, "voxels-1")
    save_decoder(path, decoder)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(RunError, match="damaged or not a decoder"):
        load_decoder(path, "voxels-1")
    save_file({"coef": np.zeros((2, 2))}, path)
    with pytest.raises(RunError, match="format None, expected 'braindiffuser-decoder-1'"):
        load_decoder(path, "voxels-1")


def test_a_failed_save_leaves_the_old_file_and_nothing_beside(tmp_path, decoder, monkeypatch):
    path = tmp_path / "decoder.safetensors"
    save_decoder(path, decoder)
    before = path.read_bytes()

    def interrupted(arrays, unfinished, header):
        unfinished.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("braindiffuser.regression.storage.save_file", interrupted)
    with pytest.raises(OSError, match="disk full"):
        save_decoder(path, decoder)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_metadata_must_be_json(tmp_path, decoder):
    with pytest.raises(ValueError, match="metadata must be JSON"):
        save_decoder(tmp_path / "decoder.safetensors", replace(decoder, metadata={"mean": np.zeros(2)}))


def test_inductive_needs_cross_validation():
    estimator = Ridge().fit(*example())
    with pytest.raises(ValueError, match=r"'inductive' needs prediction_mean, prediction_std: .*RidgeCV"):
        Decoder.from_estimator(estimator, "voxels-1")
    assert isinstance(Decoder.from_estimator(estimator, "voxels-1", "transductive").calibration, Calibration)
