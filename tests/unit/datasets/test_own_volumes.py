"""Laws of label volumes and maps that an experiment adds: the same for every kind whose voxels lie in a volume."""

from importlib import import_module
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braindiffuser.datasets import Arrays
from braindiffuser.datasets.dataset import Dataset
from braindiffuser.datasets.recording_facts import further_regions
from braindiffuser.datasets.region_expressions import evaluate
from braindiffuser.errors import RecordingError
from braindiffuser.part import known_kinds

GRID, AFFINE = (3, 4, 2), np.diag([2.0, 2.0, 2.0, 1.0])
RNG = np.random.default_rng(0)
MASK = RNG.random(GRID) < 0.7
LABELS, ECC = RNG.integers(0, 4, GRID), RNG.uniform(0, 6, GRID)


def save(path, values):
    nib.save(nib.Nifti1Image(values.astype(np.float64), AFFINE), path)
    return path


@pytest.fixture
def lab(tmp_path):
    """Entries of a recording in plain files, and of volumes that are added to it."""
    np.save(tmp_path / "betas.npy", RNG.normal(size=(4, MASK.sum())).astype(np.float32))
    np.save(tmp_path / "pictures.npy", np.zeros((4, 16, 16, 3), np.uint8))
    (tmp_path / "trials.csv").write_text("stim_file,split\n0,train\n1,train\n2,test\n3,test\n")
    (tmp_path / "atlas.tsv").write_text("index\tname\n1\tV1v\n2\tV1d\n")
    pd.DataFrame({"map_size": RNG.uniform(0, 3, MASK.sum()), "V9": 1}).to_csv(tmp_path / "voxels.csv", index=False)
    return {
        "responses": str(tmp_path / "betas.npy"),
        "trials": tmp_path / "trials.csv",
        "pictures": str(tmp_path / "pictures.npy"),
        "voxels": tmp_path / "voxels.csv",
        "mask": save(tmp_path / "mask.nii", MASK),
        "unit": "z",
        "label_volumes": {"atlas": save(tmp_path / "atlas.nii", LABELS)},
        "voxel_maps": {"ecc": save(tmp_path / "ecc.nii.gz", ECC)},
    }


def test_labels_maps_and_columns_of_maps_can_be_named(lab):
    recording = Arrays(**lab, roi_aliases={"core": "atlas:V1v & ecc<3 & size>=1", "rest": "atlas & !V1v"}).recording(
        Path()
    )
    labels, ecc, size = LABELS[MASK], ECC[MASK], pd.read_csv(lab["voxels"])["map_size"].to_numpy()
    np.testing.assert_array_equal(recording.roi_masks["core"], (labels == 1) & (ecc < 3) & (size >= 1))
    np.testing.assert_array_equal(recording.roi_masks["rest"], labels > 1)
    np.testing.assert_array_equal(evaluate("atlas:3", recording.known_regions), labels == 3)
    assert set(recording.roi_masks) == {"V9", "core", "rest"}


def test_what_expressions_may_name_is_listed_without_reading_it(lab):
    for path in (lab["label_volumes"]["atlas"], lab["voxel_maps"]["ecc"]):
        path.write_bytes(b"damaged")
    numbered = save(lab["mask"].with_name("other.nii"), LABELS)
    recording = Arrays(**lab | {"label_volumes": {**lab["label_volumes"], "other": numbered}}).recording(Path())
    facts = {"Label volumes": "atlas (V1d, V1v); other (labels by number)", "Maps": "ecc, size"}
    assert further_regions(recording) == (facts, [])
    without = {key: value for key, value in lab.items() if key not in ("voxels", "label_volumes", "voxel_maps")}
    assert further_regions(Arrays(**without).recording(Path())) == ({}, [])


def test_a_label_table_that_is_damaged_is_said_and_names_no_labels(lab):
    table = lab["label_volumes"]["atlas"].with_name("atlas.tsv")
    table.write_text("number\n1\n")
    facts, (fault,) = further_regions(Arrays(**lab).recording(Path()))
    assert "atlas" not in facts.get("Label volumes", "")
    assert table.name in fault


def test_what_nobody_names_is_not_read(lab):
    for path in (lab["label_volumes"]["atlas"], lab["voxel_maps"]["ecc"]):
        path.write_bytes(b"damaged")
    recording = Arrays(**lab, roi_aliases={"all": "V9"}).recording(Path())
    for written, name in (("atlas:V1v", "atlas.nii"), ("ecc<1", "ecc.nii.gz")):
        with pytest.raises(RecordingError, match=name):
            evaluate(written, recording.known_regions)


@pytest.mark.parametrize("entry", ["label_volumes", "voxel_maps"])
def test_files_that_cannot_be_used_are_refused_at_once(lab, entry):
    ((name, path),) = lab[entry].items()
    with pytest.raises(RecordingError, match=rf"gone\.nii is missing \(dataset\.{entry}\.{name}\)"):
        Arrays(**lab | {entry: {name: path.with_name("gone.nii")}}).recording(Path())
    with pytest.raises(RecordingError, match=rf"dataset\.{entry} names 'a:b'"):
        Arrays(**lab | {entry: {"a:b": path}}).recording(Path())
    without = {key: value for key, value in lab.items() if key not in ("mask", "label_volumes", "voxel_maps")}
    with pytest.raises(RecordingError, match=f"dataset.{entry} names {name}, but this recording has no mask"):
        Arrays(**without, **{entry: {name: path}}).recording(Path())


def test_they_are_files_of_the_recording_and_not_of_its_results(lab):
    bare = Arrays(**{key: value for key, value in lab.items() if key not in ("label_volumes", "voxel_maps")})
    full = Arrays(**lab)
    assert full.all_files()["maps"].keys() == {
        "labels/atlas/atlas.nii",
        "labels/atlas/atlas.tsv",
        "maps/ecc/ecc.nii.gz",
    }
    assert (
        {role: files for role, files in full.all_files().items() if role != "maps"} == bare.all_files() == bare.files()
    )
    assert full.influences("cpu") == bare.influences("cpu")


@pytest.mark.parametrize("kind", known_kinds(Dataset))
def test_every_kind_takes_them(kind):
    classes = vars(import_module(f"braindiffuser.datasets.{kind}")).values()
    part = next(
        value
        for value in classes
        if isinstance(value, type) and issubclass(value, Dataset) and value.__module__.endswith(f".{kind}")
    )
    assert {"label_volumes", "voxel_maps"} <= part.model_fields.keys()
