from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braindiffuser.datasets.nsd_layout import open_nsd
from braindiffuser.datasets.rois import read_label_table, read_roi_masks
from braindiffuser.datasets.volumes import check_grid, mask_doubts, read_labels, read_mask
from braindiffuser.errors import RecordingError

AFFINE = np.diag([1.8, 1.8, 1.8, 1.0])


MASK = Path("mine.nii.gz")


def test_regions_are_the_published_labels(nsd_tree):
    masks, missing, _ = read_roi_masks(nsd_tree.roi_folder(), MASK, nsd_tree.mask, AFFINE)
    assert missing == ()
    for number, region in enumerate(["V1", "V2", "V3"]):
        expected = np.isin(nsd_tree.labels["prf-visualrois"], [2 * number + 1, 2 * number + 2])[nsd_tree.mask]
        np.testing.assert_array_equal(masks[region], expected)
    np.testing.assert_array_equal(masks["V4"], nsd_tree.labels["prf-visualrois"][nsd_tree.mask] == 7)
    for number, region in enumerate(["ecc_0.5", "ecc_1", "ecc_2", "ecc_4", "ecc_4+"], start=1):
        np.testing.assert_array_equal(masks[region], nsd_tree.labels["prf-eccrois"][nsd_tree.mask] == number)
    for category in ("faces", "words", "places", "bodies"):
        expected = nsd_tree.labels[f"floc-{category}"][nsd_tree.mask] >= 1
        np.testing.assert_array_equal(masks[category], expected)


def test_voxels_outside_cortex_are_in_no_region(nsd_tree):
    masks, _, _ = read_roi_masks(nsd_tree.roi_folder(), MASK, nsd_tree.mask, AFFINE)
    outside = nsd_tree.labels["floc-faces"][nsd_tree.mask] == -1
    assert outside.any()
    assert not any(mask[outside].any() for mask in masks.values())


def test_missing_files_are_named_not_fatal(damaged_tree):
    (damaged_tree.roi_folder() / "floc-words.nii.gz").unlink()
    (damaged_tree.roi_folder() / "prf-visualrois.nii.gz").unlink()
    masks, missing, _ = read_roi_masks(damaged_tree.roi_folder(), MASK, damaged_tree.mask, AFFINE)
    assert missing == ("V1", "V2", "V3", "V4", "words")
    assert not set(missing) & set(masks)


def test_a_category_of_ones_own_becomes_a_region(damaged_tree, file_writers):
    volume = np.full(damaged_tree.mask.shape, -1.0)
    volume[5, 4, 3] = 2
    file_writers[0](damaged_tree.roi_folder() / "floc-food.nii.gz", volume)
    masks, _, _ = read_roi_masks(damaged_tree.roi_folder(), MASK, damaged_tree.mask, AFFINE)
    assert masks["food"].sum() == 1


def test_a_ctab_overrules_the_built_in_numbers(damaged_tree):
    damaged_tree.label_folder.mkdir(parents=True)
    ctab = damaged_tree.label_folder / "prf-visualrois.mgz.ctab"
    ctab.write_text("0  Unknown\n7 \t V1v\n6   V1d 10 20 30 0\n\n1 hV4\n")
    assert read_label_table(ctab) == {7: "V1v", 6: "V1d", 1: "hV4"}
    masks, _, _ = read_roi_masks(damaged_tree.roi_folder(), MASK, damaged_tree.mask, AFFINE, damaged_tree.label_folder)
    labels = damaged_tree.labels["prf-visualrois"][damaged_tree.mask]
    np.testing.assert_array_equal(masks["V1"], np.isin(labels, [6, 7]))
    np.testing.assert_array_equal(masks["V2"], np.isin(labels, [3, 4]))


def test_a_ctab_may_spell_names_otherwise(damaged_tree):
    damaged_tree.label_folder.mkdir(parents=True)
    (damaged_tree.label_folder / "prf-visualrois.mgz.ctab").write_text("7 v1-V\n6 V1D\n")
    masks, _, _ = read_roi_masks(damaged_tree.roi_folder(), MASK, damaged_tree.mask, AFFINE, damaged_tree.label_folder)
    labels = damaged_tree.labels["prf-visualrois"][damaged_tree.mask]
    np.testing.assert_array_equal(masks["V1"], np.isin(labels, [6, 7]))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((0, 1), ""),
        ((0, 255), ""),
        ((-1, 0, 1), ""),
        ((0, 1, 2, 3), "the labels 1 to 3, and every value above 0 counts."),
        ((0, 73), "the value 73, and every value above 0 counts"),
        ((0, 50, 100), "the values 50, 100, and every value above 0 counts"),
        ((0, 85, 170, 255), "the values 85, 170, 255,"),
        (tuple(range(0, 101, 10)), "the values 10, 20, 30, 40 … 100,"),
    ],
)
def test_values_of_a_mask_that_may_be_probabilities_are_said(values, said, tmp_path):
    volume = np.resize(np.array(values, np.int16), (4, 5, 6))
    nib.save(nib.Nifti1Image(volume, AFFINE), tmp_path / "prob.nii.gz")
    found = mask_doubts(tmp_path / "prob.nii.gz")
    assert read_mask(tmp_path / "prob.nii.gz")[0].sum() == (volume > 0).sum()
    assert len(found) == bool(said)
    assert all(f"prob.nii.gz holds {said}" in sentence for sentence in found)


@pytest.mark.parametrize(("name", "factor"), [("floc-places", 73), ("prf-visualrois", 20), ("floc-food", 40)])
def test_labels_that_a_collection_does_not_have_are_said(damaged_tree, file_writers, name, factor):
    assert read_roi_masks(damaged_tree.roi_folder(), MASK, damaged_tree.mask, AFFINE)[2] == ()
    labels = damaged_tree.labels.get(name, damaged_tree.labels["floc-faces"])
    file_writers[0](damaged_tree.roi_folder() / f"{name}.nii.gz", labels.astype(np.float64))
    assert read_roi_masks(damaged_tree.roi_folder(), MASK, damaged_tree.mask, AFFINE)[2] == ()
    file_writers[0](damaged_tree.roi_folder() / f"{name}.nii.gz", np.clip(labels, 0, 9).astype(np.float64) * factor)
    (said,) = read_roi_masks(damaged_tree.roi_folder(), MASK, damaged_tree.mask, AFFINE)[2]
    assert said.startswith(f"{name}.nii.gz holds the values {factor}, {2 * factor}")
    assert open_nsd(damaged_tree.root, 1).remarks[-1] == said


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_labels_are_rounded_whatever_their_type(tmp_path, dtype):
    values = np.array([-1, 0, 3], dtype).reshape(3, 1, 1)
    if dtype != np.int16:
        values = values + dtype(0.0001)
    nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "x.nii.gz")
    labels, affine = read_labels(tmp_path / "x.nii.gz")
    assert labels.ravel().tolist() == [-1, 0, 3]
    np.testing.assert_allclose(affine, AFFINE)
    assert read_mask(tmp_path / "x.nii.gz")[0].ravel().tolist() == [False, False, True]


def test_an_empty_mask_and_a_series_are_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.full((2, 2, 2), -1.0), AFFINE), tmp_path / "empty.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2, 5)), AFFINE), tmp_path / "series.nii.gz")
    (tmp_path / "text.nii.gz").write_text("<html>403</html>")
    with pytest.raises(RecordingError, match="no voxel above 0"):
        read_mask(tmp_path / "empty.nii.gz")
    with pytest.raises(RecordingError, match="expected one volume"):
        read_labels(tmp_path / "series.nii.gz")
    with pytest.raises(RecordingError, match="no NIfTI file"):
        read_labels(tmp_path / "text.nii.gz")


def test_another_grid_is_refused(nsd_tree):
    with pytest.raises(
        RecordingError, match=r"grid \(12, 10, 8\), but the analysis mask mine\.nii\.gz has \(12, 10, 7\)"
    ):
        read_roi_masks(nsd_tree.roi_folder(), MASK, nsd_tree.mask[:, :, :-1], AFFINE)


def test_a_mirrored_volume_is_refused_and_another_origin_is_not(tmp_path):
    moved = AFFINE.copy()
    moved[:3, 3] = [0, 5, 9]
    check_grid(tmp_path, (2, 2, 2), moved, MASK, (2, 2, 2), AFFINE)
    with pytest.raises(RecordingError, match="without flipping or resampling"):
        check_grid(tmp_path, (2, 2, 2), np.diag([-1.8, 1.8, 1.8, 1.0]), MASK, (2, 2, 2), AFFINE)
