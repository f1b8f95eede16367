"""Laws of NSD's further volumes: labels and maps by name, which change nothing unless they are named."""

import numpy as np
import pytest

from braindiffuser.datasets import NSD
from braindiffuser.datasets.nsd_layout import open_nsd
from braindiffuser.datasets.region_expressions import evaluate
from braindiffuser.errors import RecordingError


@pytest.fixture
def tree(damaged_tree, file_writers):
    """A tree with an atlas, whose table lies with fsaverage, one hemisphere of it, and maps of receptive fields."""
    rng, write = np.random.default_rng(5), file_writers[0]
    damaged_tree.atlas = rng.integers(-1, 4, damaged_tree.mask.shape)
    damaged_tree.ecc = np.where(
        rng.random(damaged_tree.mask.shape) < 0.2, np.nan, rng.uniform(0, 9, damaged_tree.mask.shape)
    )
    write(damaged_tree.roi_folder() / "HCP_MMP1.nii.gz", damaged_tree.atlas.astype(np.float64))
    write(damaged_tree.roi_folder() / "lh.HCP_MMP1.nii.gz", np.where(damaged_tree.atlas == 1, 1.0, -1.0))
    write(damaged_tree.roi_folder().parent / "prf_eccentricity.nii.gz", damaged_tree.ecc)
    names = damaged_tree.root / "nsddata/freesurfer/fsaverage/label/HCP_MMP1.mgz.ctab"
    names.parent.mkdir(parents=True)
    names.write_text("0 Unknown\n1 V1\n2 MST\n3 9-46d\n")
    return damaged_tree


def test_labels_of_any_volume_are_regions(tree):
    known, inside = open_nsd(tree.root, 1).known_regions, tree.atlas[tree.mask]
    visual = tree.labels["prf-visualrois"][tree.mask]
    expected = {
        "V1v|V1d": np.isin(visual, [1, 2]),
        "V1v": visual == 1,
        "V1": np.isin(visual, [1, 2]),
        "HCP_MMP1:V1": inside == 1,
        "hcp-mmp1:9-46d": inside == 3,
        "9-46D": inside == 3,
        "MST | V1v": (inside == 2) | (visual == 1),
        "lh.HCP_MMP1:V1": inside == 1,
        "floc-places & nsdgeneral": tree.labels["floc-places"][tree.mask] > 0,
        "PPA": tree.labels["floc-places"][tree.mask] == 2,
        "nsdgeneral": np.ones(tree.mask.sum(), bool),
        "V1-V4": visual > 0,
    }
    for written, mask in expected.items():
        np.testing.assert_array_equal(evaluate(written, known), mask, err_msg=written)


def test_maps_are_compared_and_come_before_bands(tree):
    known, ecc = open_nsd(tree.root, 1).known_regions, tree.ecc[tree.mask]
    np.testing.assert_array_equal(evaluate("0.7 <= ecc < 3", known), (ecc >= 0.7) & (ecc < 3))


def test_an_eccentricity_of_0_is_unknown(tree, file_writers):
    """As in NSD's files where no receptive field was fitted: the angle is NaN there."""
    file_writers[0](tree.roi_folder().parent / "prf_eccentricity.nii.gz", np.where(tree.atlas == 1, 0.0, tree.ecc))
    known, ecc = open_nsd(tree.root, 1).known_regions, tree.ecc[tree.mask]
    np.testing.assert_array_equal(evaluate("ecc<3", known), (ecc < 3) & (tree.atlas[tree.mask] != 1))


def test_each_map_is_read_from_its_own_file(tree, file_writers):
    """A size of 0 is unknown; an angle of 0 is the right horizontal."""
    rng, shape = np.random.default_rng(6), tree.mask.shape
    angle = np.where(rng.random(shape) < 0.2, 0.0, rng.uniform(0, 360, shape))
    size = np.where(rng.random(shape) < 0.2, 0.0, rng.uniform(0, 9, shape))
    files = {"prf_angle": angle, "prf_size": size, "prf_R2": 10 * size, "prf_gain": -size, "prf_exponent": size / 10}
    for stem, values in files.items():
        file_writers[0](tree.roi_folder().parent / f"{stem}.nii.gz", values)
    known = open_nsd(tree.root, 1).known_regions
    expected = {
        "angle<90": angle < 90,
        "size<3": (size > 0) & (size < 3),
        "R2<30": size < 3,
        "gain<-3": size > 3,
        "exponent<0.3": size < 3,
    }
    for written, mask in expected.items():
        np.testing.assert_array_equal(evaluate(written, known), mask[tree.mask], err_msg=written)


def test_without_a_map_bands_are_taken(nsd_tree):
    known = open_nsd(nsd_tree.root, 1).known_regions
    np.testing.assert_array_equal(
        evaluate("ecc<1", known), np.isin(nsd_tree.labels["prf-eccrois"][nsd_tree.mask], [1, 2])
    )


def test_damaged_volumes_do_no_harm_unless_they_are_named(tree):
    before = open_nsd(tree.root, 1)
    for path in (tree.roi_folder() / "HCP_MMP1.nii.gz", tree.roi_folder().parent / "prf_eccentricity.nii.gz"):
        path.write_bytes(path.read_bytes()[:90])
    after = NSD(root=tree.root, roi_aliases={"early": "V1-V3", "mine": "V1v & floc-places"}).recording(tree.root)
    for name, mask in before.roi_masks.items():
        np.testing.assert_array_equal(after.roi_masks[name], mask)
    assert set(after.roi_masks) - set(before.roi_masks) == {"early", "mine"}
    with pytest.raises(RecordingError, match=r"HCP_MMP1\.nii\.gz"):
        NSD(root=tree.root, roi_aliases={"mine": "MST"}).recording(tree.root)
    with pytest.raises(RecordingError, match=r"prf_eccentricity\.nii\.gz"):
        NSD(root=tree.root, roi_aliases={"mine": "ecc<1"}).recording(tree.root)


def test_maps_and_tables_of_others_are_files_of_the_role_maps(tree, nsd_tree):
    names = {path.split("/")[-1] for path in NSD(root=tree.root).files()["maps"]}
    assert names == {"prf_eccentricity.nii.gz", "HCP_MMP1.mgz.ctab"}
    assert "maps" not in NSD(root=nsd_tree.root).files()


def test_aliases_may_be_any_expression_and_say_so(tree):
    recording = NSD(root=tree.root, roi_aliases={"core": ["V1 & !ecc_4+", "MST"], "early": "V1-V2"}).recording(
        tree.root
    )
    np.testing.assert_array_equal(
        recording.roi_masks["core"], evaluate("(V1 & !ecc_4+) | MST", open_nsd(tree.root, 1).known_regions)
    )
    n = int(recording.roi_masks["core"].sum())
    assert any(f"The region core is V1 & !ecc_4+ | MST ({n:,} voxels)" in remark for remark in recording.remarks)
    assert any("The region early is V1 + V2 (" in remark for remark in recording.remarks)
