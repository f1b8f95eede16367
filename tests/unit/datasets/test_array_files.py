import h5py
import numpy as np
import pytest
import zarr

from braindiffuser.datasets.array_files import ArrayFile
from braindiffuser.errors import RecordingError

VALUES = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)


def write(folder, kind):
    """Write VALUES; return the entry that names them."""
    path = folder / f"betas.{kind}"
    if kind == "npy":
        np.save(path, VALUES)
    elif kind == "npz":
        np.savez(path, betas=VALUES)
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["group/betas"] = VALUES
    else:
        zarr.save_array(path, VALUES)
    return str(path)


KINDS = pytest.mark.parametrize("kind", ["npy", "npz", "h5", "zarr"])


@KINDS
def test_rows_come_in_the_order_asked_for(tmp_path, kind):
    array = ArrayFile.open(write(tmp_path, kind))
    assert (array.shape, array.dtype) == (VALUES.shape, VALUES.dtype)
    for rows in ([0, 1, 2], [5, 2, 8], [3, 3, 0]):
        np.testing.assert_array_equal(array.rows(np.array(rows)), VALUES[rows])


def test_one_of_several_arrays_is_named(tmp_path):
    np.savez(tmp_path / "all.npz", betas=VALUES, other=VALUES[:2])
    entry = str(tmp_path / "all.npz")
    assert ArrayFile.open(f"{entry}:other").shape == (2, 4)
    with pytest.raises(RecordingError, match=r"holds the arrays betas, other: write which one, as all\.npz:NAME"):
        ArrayFile.open(entry)
    with pytest.raises(RecordingError, match=r"holds no array 'x'; it holds betas, other"):
        ArrayFile.open(f"{entry}:x")


@KINDS
def test_damaged_and_missing_files_are_named(tmp_path, kind):
    entry = write(tmp_path, kind)
    with pytest.raises(RecordingError, match=r"nothing\.npy is missing; expected an array"):
        ArrayFile.open(str(tmp_path / "nothing.npy"))
    if kind == "zarr":
        (tmp_path / "betas.zarr" / "zarr.json").write_text("{")
    else:
        (tmp_path / f"betas.{kind}").write_bytes(b"\x93NUMPY no")
    with pytest.raises(RecordingError, match=rf"betas\.{kind} is damaged, cut short or no array"):
        ArrayFile.open(entry)


def test_no_pickle_is_read(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(RecordingError, match=r"objects\.npy is damaged, cut short or no array"):
        ArrayFile.open(str(tmp_path / "objects.npy"))
    with pytest.raises(RecordingError, match=r"is no array: expected a file that ends in \.npy"):
        ArrayFile.open(str(tmp_path / "betas.pkl"))
