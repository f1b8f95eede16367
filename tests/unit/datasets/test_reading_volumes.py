"""Laws of reading some volumes of a 4-D file by a mask."""

import nibabel as nib
import numpy as np
import pytest

from braindiffuser.datasets import volumes as module
from braindiffuser.datasets.volumes import read_values, read_volumes
from braindiffuser.errors import RecordingError


@pytest.fixture(params=[".nii", ".nii.gz"])
def stored(request, tmp_path):
    rng = np.random.default_rng(0)
    values = rng.integers(-300, 300, (5, 4, 3, 40)).astype(np.int16)
    path = tmp_path / f"betas{request.param}"
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    return path, values, rng.random((5, 4, 3)) < 0.5


@pytest.mark.parametrize("numbers", [np.arange(40), np.array([39, 0, 17, 16, 15]), np.array([20]), np.arange(0)])
def test_volumes_come_in_the_order_asked_for_with_voxels_in_c_order(numbers, stored):
    path, values, mask = stored
    found = read_volumes(path, mask, volumes=numbers)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values[mask].T[numbers])


def test_few_volumes_are_held_at_a_time(stored, monkeypatch):
    path, values, mask = stored
    sizes, whole = [], np.asanyarray

    def watched(array):
        read = whole(array)
        sizes.append(read.shape[3] if read.ndim == 4 else 0)
        return read

    monkeypatch.setattr(module.np, "asanyarray", watched)
    read_volumes(path, mask)
    assert 0 < max(sizes) <= module.VOLUMES_PER_BLOCK < values.shape[3]


def test_scaled_values_are_read_as_meant(tmp_path):
    image = nib.Nifti1Image(np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) / 7, np.eye(4))
    image.header.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "a.nii")
    found = read_volumes(tmp_path / "a.nii", np.ones((2, 3, 2), bool), volumes=np.array([1]))
    np.testing.assert_allclose(found[0], np.arange(1, 24, 2) / 7, atol=1e-3)


def test_a_single_volume_is_a_series_of_one(tmp_path):
    values = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
    mask = np.ones((2, 3, 2), bool)
    np.testing.assert_array_equal(read_volumes(tmp_path / "a.nii", mask, volumes=np.array([0])), values.reshape(1, -1))
    np.testing.assert_array_equal(read_values(tmp_path / "a.nii")[0], values)


def test_volumes_that_are_not_there_and_other_grids_are_refused(stored):
    path, _, mask = stored
    with pytest.raises(RecordingError, match="has 40 volumes, so none with number 40"):
        read_volumes(path, mask, volumes=np.array([40]))
    with pytest.raises(RecordingError, match=r"has shape \(5, 4, 3, 40\); expected \(4, 4, 3\)"):
        read_volumes(path, mask[1:], volumes=np.array([0]))
    with pytest.raises(RecordingError, match="expected one volume"):
        read_values(path)


def test_a_file_that_is_cut_short_is_refused(stored):
    path, _, mask = stored
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(RecordingError, match="is damaged, cut short or no NIfTI file"):
        read_volumes(path, mask, volumes=np.array([0]))
