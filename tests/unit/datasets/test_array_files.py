import pickle

import h5py
import numpy as np
import pytest
import zarr
from scipy.io import savemat

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
    with pytest.raises(
        RecordingError, match=r"objects\.npy holds Python objects \(1,\), in a pickle, which is never read"
    ):
        ArrayFile.open(str(tmp_path / "objects.npy"))
    np.save(tmp_path / "dict.npy", {"a": 1}, allow_pickle=True)
    with pytest.raises(RecordingError, match=r"dict\.npy holds one Python object, such as a dict, .* kind: glmsingle"):
        ArrayFile.open(str(tmp_path / "dict.npy"))
    np.savez(tmp_path / "all.npz", numbers=VALUES, objects=np.array([{"a": 1}], dtype=object))
    assert ArrayFile.open(f"{tmp_path}/all.npz:numbers").shape == VALUES.shape
    with pytest.raises(RecordingError, match=r"all\.npz: objects holds Python objects"):
        ArrayFile.open(f"{tmp_path}/all.npz:objects")
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(
        RecordingError, match=r"pickle\.npy is a pickle, which is never read: write the array with numpy\.save"
    ):
        ArrayFile.open(str(tmp_path / "pickle.npy"))
    with pytest.raises(RecordingError, match=r"is no array: expected a file that ends in \.npy"):
        ArrayFile.open(str(tmp_path / "betas.pkl"))


@pytest.mark.parametrize("version", ["4", "5"])
def test_matlab_files_before_hdf5_are_called_so(tmp_path, version):
    savemat(tmp_path / "old.mat", {"betas": VALUES}, format=version)
    with pytest.raises(
        RecordingError,
        match=r"old\.mat is a MATLAB file before version 7\.3, which holds betas \(9, 4\): save it in MATLAB",
    ):
        ArrayFile.open(str(tmp_path / "old.mat"))
    for content in ((tmp_path / "old.mat").read_bytes()[:20], bytes(512)):
        (tmp_path / "old.mat").write_bytes(content)
        with pytest.raises(RecordingError, match=r"old\.mat is damaged, cut short or no array"):
            ArrayFile.open(str(tmp_path / "old.mat"))


@pytest.fixture
def linked(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = VALUES
    layout = h5py.VirtualLayout(VALUES.shape, VALUES.dtype)
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", VALUES.shape)
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["group/betas"] = VALUES
        file["hard"] = file["group/betas"]
        file["soft"], file["folder"] = h5py.SoftLink("/group/betas"), h5py.SoftLink("group")
        file["group/beside"] = h5py.SoftLink("./betas")
        file["twice"], file["nowhere"] = h5py.SoftLink("/folder/beside"), h5py.SoftLink("/no")
        file["one"], file["two"] = h5py.SoftLink("/two"), h5py.SoftLink("/one")
        file["away"], file["leads_away"] = h5py.ExternalLink("other.h5", "/x"), h5py.SoftLink("/away")
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("raw", VALUES.shape, "f4", external=[(str(tmp_path / "raw.bin"), 0, VALUES.nbytes)])
    return str(tmp_path / "all.h5")


@pytest.mark.parametrize(
    "key", ["group/betas", "/group/betas", "hard", "soft", "/soft", "folder/betas", "group/beside", "twice"]
)
def test_links_within_a_file_are_followed(linked, key):
    rows = np.array([3, 1])
    np.testing.assert_array_equal(ArrayFile.open(f"{linked}:{key}").rows(rows), VALUES[rows])


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (
            "away",
            r"away is a link to the file other\.h5, and .* name that file itself, as other\.h5:x \(beside all\.h5\)",
        ),
        ("leads_away", r"away is a link to the file other\.h5"),
        ("virtual", "the values of virtual may lie in other files"),
        ("raw", "the values of raw may lie in other files"),
        ("nowhere", "holds no array 'nowhere'; it holds group/betas"),
        ("one", "holds no array 'one'"),
        ("group", "holds no array 'group'"),
        ("group/betas/x", "holds no array 'group/betas/x'"),
    ],
)
def test_links_to_other_files_or_to_nothing_are_refused(linked, key, words):
    """What lies elsewhere may change while the file that names it stays the same."""
    with pytest.raises(RecordingError, match=words):
        ArrayFile.open(f"{linked}:{key}")


@pytest.mark.parametrize("key", ["deep/er/betas", "/deep/er/betas", ""])
def test_arrays_in_groups_of_zarr_are_found(tmp_path, key):
    group = zarr.open_group(tmp_path / "all.zarr", mode="w").create_group("deep").create_group("er")
    group.create_array("betas", data=VALUES)
    entry = f"{tmp_path}/all.zarr" + (f":{key}" if key else "")
    np.testing.assert_array_equal(ArrayFile.open(entry).rows(np.array([2, 0])), VALUES[[2, 0]])
    with pytest.raises(RecordingError, match="holds no array 'betas'; it holds deep/er/betas"):
        ArrayFile.open(f"{tmp_path}/all.zarr:betas")
