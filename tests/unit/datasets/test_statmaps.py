"""Maps over voxels as files that other programs read."""

import gzip
import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braindiffuser.datasets.statmaps import StatMap, nifti_bytes, statmap_files
from braindiffuser.datasets.voxels import Voxels

MASK = np.zeros((3, 4, 5), bool)
MASK[1, 1:3, 2:4] = True
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
MAPS = {
    "weights": StatMap(np.array([1.0, 2.0, 3.0, np.nan]), "Weights of voxels", "1"),
    "Weights": StatMap(np.arange(4.0), "The same name but for capitals", "%"),
}


def test_a_volume_holds_the_numbers_at_their_places(tmp_path):
    files = statmap_files(MAPS, Voxels.in_volume(MASK, AFFINE), "subj01", "func1.8mm")
    assert sorted(files) == [
        f"sub-subj01_space-func1pt8mm_desc-{label}_statmap.{end}"
        for label in ("Weightsx2", "weights")
        for end in ("json", "nii.gz")
    ]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    image = nib.load(tmp_path / "sub-subj01_space-func1pt8mm_desc-weights_statmap.nii.gz")
    np.testing.assert_array_equal(image.affine, AFFINE)
    np.testing.assert_array_equal(np.asarray(image.dataobj)[MASK], MAPS["weights"].values)
    assert np.isnan(np.asarray(image.dataobj)[~MASK]).all()
    sidecar = json.loads(files["sub-subj01_space-func1pt8mm_desc-Weightsx2_statmap.json"])
    assert sidecar["Units"] == "%"
    assert "orientation" not in sidecar["SpatialReference"]


def test_without_a_volume_there_is_one_table(tmp_path):
    places = np.arange(12.0).reshape(4, 3)
    files = statmap_files(MAPS, Voxels(4, coordinates=places), "sub-07", "T1w")
    assert sorted(files) == ["sub-07_desc-maps_voxels.json", "sub-07_desc-maps_voxels.tsv"]
    (tmp_path / "maps.tsv").write_bytes(files["sub-07_desc-maps_voxels.tsv"])
    table = pd.read_csv(tmp_path / "maps.tsv", sep="\t", na_values="n/a")
    np.testing.assert_array_equal(table[["x", "y", "z"]], places)
    np.testing.assert_array_equal(table["weights"], MAPS["weights"].values)
    assert set(json.loads(files["sub-07_desc-maps_voxels.json"])) == set(table)


def test_the_same_map_gives_the_same_bytes():
    volume = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
    assert nifti_bytes(volume, AFFINE) == nifti_bytes(volume.copy(), AFFINE)
    assert gzip.decompress(nifti_bytes(volume, None))


def test_a_map_of_other_voxels_is_refused():
    with pytest.raises(ValueError, match=r"map weights has shape \(4,\), expected one number for 5 voxels"):
        statmap_files({"weights": MAPS["weights"]}, Voxels(5), "a", "b")
