"""What is written in the bdata format, the reader of that format reads back."""

import h5py
import numpy as np
import pandas as pd
import pytest

from braindiffuser.datasets.bdata import BData
from braindiffuser.datasets.bdata_files import BDataFile
from braindiffuser.export.run_export import export_run

from .conftest import AFFINE, prepare, write_lab


def read(out, lab):
    return BData(responses=out / "bdata/responses.h5", pictures=lab.root / "pictures", unit="z").open(out)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("volume", [True, False])
def test_the_reader_reads_equal_responses(tmp_path, seed, volume):
    lab = write_lab(tmp_path / "lab", seed, volume)
    run = prepare(lab, tmp_path / "run", responses={"rois": ["V1", "v-1"]})
    export_run(tmp_path / "run", tmp_path / "out")
    recording, own = read(tmp_path / "out", lab), run.recording()
    betas = np.concatenate([values for _, values in recording.sessions()])
    shown = [recording.names[number] for number in recording.trials["stimulus_id"]]
    for side in ("train", "test"):
        rows = (recording.trials["split"] == side).to_numpy()
        names = [own.names[number] for number in run.results.read_array(f"stimuli/{side}_ids").tolist()]
        assert [name for name, is_own in zip(shown, rows, strict=True) if is_own] == names
        np.testing.assert_array_equal(betas[rows], run.results.read_array(f"responses/{side}"))
    chosen = lab.rois["V1"] | lab.rois["v-1"]
    for name, mask in lab.rois.items():
        np.testing.assert_array_equal(recording.roi_masks[name], mask[chosen])
    places = np.argwhere(lab.mask) @ AFFINE[:3, :3].T + AFFINE[:3, 3] if volume else lab.places
    np.testing.assert_allclose(recording.voxels.coordinates, places[chosen])
    ids = np.array(sorted(recording.names))
    pictures_own = {name: number for number, name in own.names.items()}
    np.testing.assert_array_equal(
        recording.pictures(ids), own.pictures(np.array([pictures_own[recording.names[number]] for number in ids]))
    )


def test_indices_of_the_volume_are_given_too(lab, run, tmp_path):
    export_run(run.results.folder, tmp_path / "out")
    file = BDataFile.open(tmp_path / "out/bdata/responses.h5")
    indices = np.stack([file.of_voxels(f"voxel_{axis}") for axis in "ijk"], axis=1)
    np.testing.assert_array_equal(indices, np.argwhere(lab.mask))


def test_every_key_says_what_it_means_and_every_number_has_its_label(run, tmp_path):
    export_run(run.results.folder, tmp_path / "out")
    path = tmp_path / "out/bdata/responses.h5"
    file = BDataFile.open(path)
    for key in ("stimulus_name", "test_set"):
        assert set(file.column(key)) == set(file.labels(key))
    with h5py.File(path) as opened:
        assert len(opened["metadata/description"]) == len(opened["metadata/key"])
        assert all(opened["metadata/description"][...])


def test_imagined_stimuli_come_back_as_imagined(lab, run, tmp_path):
    """A run on a bdata file with imagery, exported and read again."""
    export_run(run.results.folder, tmp_path / "seen")
    source = tmp_path / "seen/bdata/responses.h5"
    with h5py.File(source, "r+") as file:
        keys = [key.decode() for key in file["metadata/key"][...]]
        values = file["metadata/value"][...]
        column = {key: int(np.argmax(values[keys.index(key)] == 1)) for key in ("DataType", "stimulus_name")}
        matrix = file["dataset"][...]
        imagined = matrix[matrix[:, column["DataType"]] == 2]
        imagined[:, column["DataType"]] = 3
        imagined[:, : lab.n] += np.random.default_rng(0).normal(size=(len(imagined), lab.n))
        del file["dataset"]
        file["dataset"] = np.concatenate([matrix, imagined])
    dataset = {"kind": "bdata", "responses": str(source), "pictures": str(lab.root / "pictures"), "unit": "z"}
    lab.dataset = dataset
    again = prepare(lab, tmp_path / "again", responses={"normalisation": "training"})
    export_run(tmp_path / "again", tmp_path / "out")
    recording = read(tmp_path / "out", lab)
    assert set(again.results.read_json("test_sets.json")) == {"test", "imagery"}
    assert {name: len(ids) for name, ids in recording.test_sets.items()} == {"test": 5, "imagery": 5}
    betas = np.concatenate([values for _, values in recording.sessions()])
    rows = recording.trials["stimulus_id"].isin(recording.further_test_sets["imagery"]).to_numpy()
    start, stop = again.results.read_json("test_sets.json")["imagery"]
    np.testing.assert_array_equal(betas[rows], again.results.read_array("responses/test")[start:stop])


@pytest.mark.parametrize("trains", [True, False])
def test_imagined_stimuli_with_pictures_of_their_own_come_back(lab, trains, tmp_path):
    """Their labels are those of no test picture: pictures of their own, or, in a bdata file, the picture that they share."""
    table = pd.read_csv(lab.root / "trials.csv")
    test = sorted(set(table.loc[table["split"] == "test", "stim_file"]))
    table["test_set"] = table["stim_file"].map(dict.fromkeys(test[:2], "imagery"))
    table.to_csv(lab.root / "trials.csv", index=False)
    lab.dataset |= {"imagined": ["imagery"]}
    run = prepare(lab, tmp_path / "run")
    export_run(tmp_path / "run", tmp_path / "out")
    path, names = tmp_path / "out/bdata/responses.h5", test[:2]
    if trains:  # as where what was imagined is the picture of a training stimulus
        with h5py.File(path, "r+") as file:
            labels = {file[f"vmap/stimulus_name/{key}"][()].decode(): key for key in file["vmap/stimulus_name"]}
            train = sorted(set(table.loc[table["split"] == "train", "stim_file"]))
            names = train[:2]
            for own, seen in zip(test[:2], names, strict=True):
                del file[f"vmap/stimulus_name/{labels[own]}"]
                file[f"vmap/stimulus_name/{labels[own]}"] = seen
    recording = read(tmp_path / "out", lab)
    ids = recording.further_test_sets["imagery"]
    assert recording.imagined == ("imagery",)
    assert [recording.names[number] for number in ids] == [f"{name} (imagined)" for name in names]
    betas = np.concatenate([values for _, values in recording.sessions()])
    start, stop = run.results.read_json("test_sets.json")["imagery"]
    rows = recording.trials["stimulus_id"].isin(ids).to_numpy()
    np.testing.assert_array_equal(betas[rows], run.results.read_array("responses/test")[start:stop])
    assert len(betas) == 16
    own = run.recording()
    id_of = {name: number for number, name in own.names.items()}
    np.testing.assert_array_equal(recording.pictures(ids), own.pictures(np.array([id_of[name] for name in names])))
    for name in names:
        (lab.root / "pictures" / name).unlink()
    if not trains:
        left = read(tmp_path / "out", lab)
        assert left.further_test_sets == {}
        assert any(remark.startswith("2 of 2 imagery trials are left out") for remark in left.remarks)


@pytest.mark.parametrize("name", ["imagery", "imagery_imagination"])
@pytest.mark.parametrize("imagined", [True, False])
def test_what_was_imagined_is_told_by_the_recording_not_by_the_name_of_a_set(lab, name, imagined, tmp_path):
    table = pd.read_csv(lab.root / "trials.csv")
    test = sorted(set(table.loc[table["split"] == "test", "stim_file"]))
    table["test_set"] = table["stim_file"].map(dict.fromkeys(test[:2], name))
    table.to_csv(lab.root / "trials.csv", index=False)
    lab.dataset |= {"imagined": [name]} if imagined else {}
    prepare(lab, tmp_path / "run")
    export_run(tmp_path / "run", tmp_path / "out")
    file = BDataFile.open(tmp_path / "out/bdata/responses.h5")
    sets = [file.labels("test_set")[number] for number in file.column("test_set")]
    kinds = set(zip(sets, file.column("DataType").tolist(), strict=True))
    assert kinds == {("train", 1.0), ("test", 2.0), (name, 3.0 if imagined else 2.0)}
