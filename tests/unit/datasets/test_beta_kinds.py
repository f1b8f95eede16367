"""Betas of unsigned numbers are refused whatever file they come in: those below 0 have become large numbers."""

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest

import braindiffuser
from braindiffuser.datasets.bdata_files import BDataFile
from braindiffuser.datasets.pandas_frames import PandasFrame
from braindiffuser.datasets.volumes import read_volumes
from braindiffuser.errors import RecordingError

BETAS = np.random.default_rng(0).normal(0, 300, (12, 8)).round()
TABLE = pd.DataFrame({"stim_file": [f"{k % 4}" for k in range(12)]})
KINDS = ("array", ".npy", ".h5", "image", ".nii", "bdata", "pandas")


def read(kind, dtype, folder):
    """Write betas as a type, and read them in one of the ways in which betas are read."""
    values = BETAS.astype(np.int64).astype(dtype)  # wraps around
    volume = np.zeros((2, 2, 2, 12), dtype)
    volume[:] = values.T.reshape(2, 2, 2, 12)
    image, mask = nib.Nifti1Image(volume, np.eye(4)), nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4))
    if kind == "bdata":
        with h5py.File(folder / "b.h5", "w") as file:
            file["dataset"], file["metadata/key"], file["metadata/value"] = values, [b"VoxelData"], np.ones((1, 8))
        return BDataFile.open(folder / "b.h5").betas(np.arange(12), np.ones(8, bool))
    if kind == "pandas":
        with h5py.File(folder / "b.h5", "w") as file:
            file["t/block0_items"], file["t/block0_values"] = np.arange(12).astype("S2"), values.T
        frame = PandasFrame.open(folder / "b.h5")
        frame.check_betas([str(number) for number in range(12)])
        return frame.read([str(number) for number in range(12)], np.ones(8, bool)).T
    if kind == ".nii":
        nib.save(image, folder / "b.nii")
        return read_volumes(folder / "b.nii", np.ones((2, 2, 2), bool))
    if kind.startswith("image"):
        return braindiffuser.recording(image, TABLE, unit="raw", mask=mask).betas_of(1)
    given = {"array": values, ".npy": folder / "b.npy", ".h5": folder / "b.h5"}[kind]
    np.save(folder / "b.npy", values)
    with h5py.File(folder / "b.h5", "w") as file:
        file["x"] = values
    return braindiffuser.recording(given, TABLE, unit="raw").betas_of(1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_unsigned_betas_are_refused_and_others_read(tmp_path, kind, dtype):
    if dtype == np.int16:
        np.testing.assert_array_equal(read(kind, dtype, tmp_path), BETAS)
    else:
        with pytest.raises(RecordingError, match=r"holds betas as uint16, .* expected real numbers with a sign"):
            read(kind, dtype, tmp_path)


def test_an_unsigned_image_that_its_header_scales_is_read(tmp_path):
    image = nib.Nifti1Image(np.zeros((2, 2, 2, 12)), np.eye(4))
    image.set_data_dtype(np.uint16)
    nib.save(nib.Nifti1Image(BETAS.T.reshape(2, 2, 2, 12), np.eye(4), image.header), tmp_path / "b.nii")
    np.testing.assert_allclose(read_volumes(tmp_path / "b.nii", np.ones((2, 2, 2), bool)), BETAS, atol=0.1)
    mask = nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4))
    found = braindiffuser.recording(nib.load(tmp_path / "b.nii"), TABLE, unit="raw", mask=mask)
    np.testing.assert_allclose(found.betas_of(1), BETAS, atol=0.1)
