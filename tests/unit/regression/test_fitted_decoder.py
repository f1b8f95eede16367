import json

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.testing import assert_array_equal
from safetensors.numpy import save_file

from braindiffuser.errors import RunError
from braindiffuser.regression.fitted_decoder import FORMAT, FittedDecoder, load_decoder, save_decoder

HEADER = {"voxels": "voxels-1", "rows": "rows-1"}


@pytest.fixture
def fitted():
    arrays = {"alphas": np.array([1.5, 0.1]), "means": np.arange(6, dtype=np.float32).reshape(2, 3).T}
    return FittedDecoder(arrays, {"alpha": 1e5, "at_edge": True, "names": ["a", None]})


def test_reload_is_bit_equal(tmp_path, fitted):
    save_decoder(tmp_path / "latents.safetensors", fitted, HEADER)
    loaded = load_decoder(tmp_path / "latents.safetensors", HEADER)
    assert loaded.facts == fitted.facts
    assert loaded.arrays.keys() == fitted.arrays.keys()
    for name, values in fitted.arrays.items():
        assert loaded.arrays[name].dtype == values.dtype
        assert_array_equal(loaded.arrays[name], values)


@pytest.mark.parametrize("entry", HEADER)
def test_what_was_fitted_to_something_else_is_refused(tmp_path, fitted, entry):
    path = tmp_path / "latents.safetensors"
    save_decoder(path, fitted, HEADER)
    with pytest.raises(RunError, match=rf"with {entry} '{entry}-1', but here it is '{entry}-2': fit it again"):
        load_decoder(path, HEADER | {entry: f"{entry}-2"})
    with pytest.raises(RunError, match=r"with digest None, but here it is 'x': fit it again"):
        load_decoder(path, {"digest": "x"})


def test_missing_damaged_and_foreign_files_are_refused(tmp_path, fitted):
    path = tmp_path / "latents.safetensors"
    with pytest.raises(RunError, match=r"there is no decoder at .*fit it first"):
        load_decoder(path, HEADER)
    save_decoder(path, fitted, HEADER)
    whole = path.read_bytes()
    for damaged in (whole[:-4], whole[:5], b"", b"\xff" * 100):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match=r"damaged or not a decoder .*fit it again"):
            load_decoder(path, HEADER)
    save_file({"alphas": np.zeros(2)}, path)
    with pytest.raises(RunError, match="format None, expected 'braindiffuser-decoder-2'"):
        load_decoder(path, HEADER)


@pytest.mark.parametrize(
    "header",
    [
        "{",
        "[]",
        "null",
        "3",
        "[" * 100_000,
        json.dumps({"format": FORMAT}),
        *(json.dumps({"format": FORMAT, "facts": facts}) for facts in ("{", "[]", "null", 3, None, {})),
    ],
    ids=lambda header: header[:60],
)
def test_odd_headers_are_damage(tmp_path, header):
    path = tmp_path / "latents.safetensors"
    save_file({"alphas": np.zeros(2)}, path, {"header": header})
    with pytest.raises(RunError, match=r"damaged or not a decoder .*fit it again"):
        load_decoder(path, {})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn])
def test_arrays_that_numpy_does_not_know_are_damage(tmp_path, dtype):
    path = tmp_path / "latents.safetensors"
    header = json.dumps({"format": FORMAT, "facts": "{}"})
    safetensors.torch.save_file({"alphas": torch.ones(2).to(dtype)}, path, {"header": header})
    with pytest.raises(RunError, match=r"damaged or not a decoder .*fit it again"):
        load_decoder(path, {})


@pytest.mark.parametrize(
    "values",
    [np.array(["a"]), np.array([None]), np.array([1j]), np.array([1, np.nan]), np.array([1j], np.complex64)],
)
def test_arrays_that_a_file_cannot_hold_are_refused(tmp_path, values):
    with pytest.raises(ValueError, match="a decoder's arrays must be of real numbers"):
        save_decoder(tmp_path / "latents.safetensors", FittedDecoder({"alphas": values}, {}), HEADER)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["__metadata__", 3, None])
def test_names_that_a_file_cannot_hold_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f"an array is called {name!r}, which a file cannot hold"):
        save_decoder(tmp_path / "latents.safetensors", FittedDecoder({name: np.ones(2)}, {}), HEADER)
    assert not list(tmp_path.iterdir())


def test_a_failed_save_leaves_the_old_file_and_nothing_beside(tmp_path, fitted, monkeypatch):
    path = tmp_path / "latents.safetensors"
    save_decoder(path, fitted, HEADER)
    before = path.read_bytes()

    def interrupted(arrays, unfinished, header):
        unfinished.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("braindiffuser.regression.fitted_decoder.save_file", interrupted)
    with pytest.raises(OSError, match="disk full"):
        save_decoder(path, fitted, HEADER)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_json_cannot_hold_and_entries_of_its_own_are_refused(tmp_path, fitted):
    for fact in (float("nan"), np.zeros(2)):
        with pytest.raises(ValueError, match="must be JSON"):
            save_decoder(tmp_path / "latents.safetensors", fitted._replace(facts={"score": fact}), HEADER)
    with pytest.raises(ValueError, match="entry 'facts' is written by save_decoder itself"):
        save_decoder(tmp_path / "latents.safetensors", fitted, {"facts": "mine"})
    assert not list(tmp_path.iterdir())
