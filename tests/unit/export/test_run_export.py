"""An export holds what the run holds, and is written into a folder of its own."""

import hashlib
import json
import os
import re
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from braindiffuser.cli import app
from braindiffuser.datasets.bids_labels import labels_of
from braindiffuser.datasets.noise_ceiling import noise_ceiling
from braindiffuser.errors import RecordingError, RunError
from braindiffuser.export.run_export import export_run

from .conftest import AFFINE, prepare, write_lab

STEM = "sub-07/func/sub-07_space-individual"


def contents(folder):
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*") if path.is_file()}


def mask_of(out, name):
    image = nib.load(out / f"{STEM}_{name}_mask.nii.gz")
    np.testing.assert_allclose(image.affine, AFFINE)
    values = np.asarray(image.dataobj)
    assert set(np.unique(values)) <= {0, 1}
    return values == 1


def arrays_of(path):
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


# Maps


def test_maps_hold_the_chosen_voxels_at_their_places(lab, tmp_path):
    run = prepare(lab, tmp_path / "run", responses={"rois": ["V1", "floc faces"]})
    export_run(tmp_path / "run", tmp_path / "out")
    chosen = lab.rois["V1"] | lab.rois["floc faces"]
    places = np.zeros(lab.mask.shape, bool)
    places[lab.mask] = chosen
    np.testing.assert_array_equal(mask_of(tmp_path / "out", "desc-analysed"), lab.mask)
    np.testing.assert_array_equal(mask_of(tmp_path / "out", "desc-chosen"), places)
    for name, label in {"V1": "V1", "v-1": "v1x2", "floc faces": "flocfaces"}.items():
        region = mask_of(tmp_path / "out", f"label-{label}")
        np.testing.assert_array_equal(region[lab.mask], lab.rois[name] & chosen)
        assert not region[~lab.mask].any()
        assert f"Voxels of {name} " in (tmp_path / "out" / f"{STEM}_label-{label}_mask.json").read_text()
    ncsnr = run.results.read_array("ncsnr")
    percent = noise_ceiling(ncsnr, run.results.read_array("responses/n_repeats_train"))
    for stat, values, unit in (("ncsnr", ncsnr, "1"), ("noiseceiling", percent, "%")):
        image = nib.load(tmp_path / "out" / f"{STEM}_stat-{stat}_statmap.nii.gz")
        volume = np.asarray(image.dataobj)
        np.testing.assert_allclose(volume[places], values, rtol=1e-6)
        assert np.isnan(volume[~places]).all()
        np.testing.assert_allclose(image.affine, AFFINE)
        assert json.loads((tmp_path / "out" / f"{STEM}_stat-{stat}_statmap.json").read_text())["Units"] == unit


def test_voxels_chosen_by_their_ceiling_are_found_again(lab, tmp_path):
    run = prepare(lab, tmp_path / "run", responses={"min_noise_ceiling": 60})
    export_run(tmp_path / "run", tmp_path / "out")
    chosen = mask_of(tmp_path / "out", "desc-chosen")
    n_chosen = run.results.read_json("voxels.json")["n_chosen"]
    assert chosen.sum() == n_chosen
    assert n_chosen < lab.n
    assert not chosen[lab.mask][-5:].all()  # these have no signal
    ceiling = np.asarray(nib.load(tmp_path / "out" / f"{STEM}_stat-noiseceiling_statmap.nii.gz").dataobj)
    assert np.isfinite(ceiling).sum() == n_chosen
    every = prepare(lab, tmp_path / "all").results.read_array("responses/train")
    np.testing.assert_array_equal(every[:, chosen[lab.mask]], run.results.read_array("responses/train"))


def test_ceilings_that_the_recording_brings_choose_voxels_only_under_the_name_transductive(tmp_path):
    lab = write_lab(tmp_path / "lab", volume=False)
    given = np.random.default_rng(1).uniform(0, 3, lab.n)
    given[0] = np.nan
    pd.DataFrame({"ncsnr": given}).to_csv(lab.root / "voxels.csv", index=False, na_rep="n/a")
    run = prepare(lab, tmp_path / "run", responses={"min_noise_ceiling": 60, "voxel_choice": "transductive"})
    inductive = prepare(lab, tmp_path / "inductive", responses={"min_noise_ceiling": 60})
    expected = np.nan_to_num(noise_ceiling(given, 3)) >= 60
    assert 0 < expected.sum() < lab.n
    every = prepare(lab, tmp_path / "all")
    train = every.results.read_array("responses/train")
    np.testing.assert_array_equal(run.results.read_array("responses/train"), train[:, expected])
    said = [(r.results.folder / "sections/prepare.recording.json").read_text() for r in (run, every, inductive)]
    words = "chosen by the noise ceilings that the recording brings, so test trials may have entered"
    assert [words in text for text in said] == [True, False, False]
    export_run(tmp_path / "run", tmp_path / "out")
    table = pd.read_csv(tmp_path / "out/sub-07/func/sub-07_desc-chosen_voxels.tsv", sep="\t")
    assert table["voxel"].tolist() == np.flatnonzero(expected).tolist()
    pd.DataFrame({"ncsnr": given[::-1]}).to_csv(lab.root / "voxels.csv", index=False, na_rep="n/a")
    again = prepare(lab, tmp_path / "again", responses={"min_noise_ceiling": 60})
    np.testing.assert_array_equal(
        again.results.read_array("responses/train"), inductive.results.read_array("responses/train")
    )


def test_a_recording_without_ceilings_cannot_choose_by_them(lab, tmp_path):
    with pytest.raises(RecordingError, match="the recording brings no noise ceilings: leave voxel_choice out"):
        prepare(lab, tmp_path / "run", responses={"min_noise_ceiling": 60, "voxel_choice": "transductive"})


def test_without_such_ceilings_it_is_said_that_training_trials_choose(lab, tmp_path):
    run = prepare(lab, tmp_path / "run", responses={"min_noise_ceiling": 60})
    assert "ceilings of training trials alone" in (run.results.folder / "sections/prepare.recording.json").read_text()


def test_the_space_is_named_by_whoever_knows_it(run, tmp_path):
    export_run(run.results.folder, tmp_path / "out", space="func1pt8mm")
    assert (tmp_path / "out/sub-07/func/sub-07_space-func1pt8mm_desc-chosen_mask.nii.gz").is_file()


def test_without_a_volume_a_table_has_a_row_per_voxel(tmp_path):
    lab = write_lab(tmp_path / "lab", volume=False)
    run = prepare(lab, tmp_path / "run", responses={"rois": ["V1"]})
    remarks = export_run(tmp_path / "run", tmp_path / "out")
    assert any("no volume" in line for line in remarks)
    assert not list((tmp_path / "out").rglob("*.nii.gz"))
    table = pd.read_csv(tmp_path / "out/sub-07/func/sub-07_desc-chosen_voxels.tsv", sep="\t")
    assert table["voxel"].tolist() == np.flatnonzero(lab.rois["V1"]).tolist()
    np.testing.assert_allclose(table[["x", "y", "z"]], lab.places[lab.rois["V1"]])
    np.testing.assert_allclose(table["ncsnr"], run.results.read_array("ncsnr"), rtol=1e-6)
    assert (table["roi_V1"] == 1).all()
    assert (table["roi_v-1"] == 0).all()
    meanings = json.loads((tmp_path / "out/sub-07/func/sub-07_desc-chosen_voxels.json").read_text())
    assert list(meanings) == list(table)


def test_labels_differ_on_any_disk():
    labels = labels_of(["V1", "v1", "V-1", "V1x2", "..", "é"])
    assert len({label.casefold() for label in labels.values()}) == len(labels)
    assert all(label.isascii() and label.isalnum() for label in labels.values())


def test_the_folder_says_what_made_it(run, tmp_path):
    export_run(run.results.folder, tmp_path / "out")
    said = json.loads((tmp_path / "out/dataset_description.json").read_text())
    assert said["DatasetType"] == "derivative"
    assert said["GeneratedBy"][0]["Name"] == "braindiffuser"
    assert {"Name", "BIDSVersion"} <= said.keys()


# Arrays


@pytest.mark.parametrize("side", ["train", "test"])
def test_responses_have_names_and_test_sets(lab, run, tmp_path, side):
    export_run(run.results.folder, tmp_path / "out")
    written = arrays_of(tmp_path / f"out/responses/{side}.npz")
    ids = run.results.read_array(f"stimuli/{side}_ids")
    np.testing.assert_array_equal(written["responses"], run.results.read_array(f"responses/{side}"))
    assert written["stimulus_id"].tolist() == ids.tolist()
    assert written["stimulus_name"].tolist() == [run.recording().names[number] for number in ids.tolist()]
    assert written["n_repeats"].tolist() == [3] * len(ids)
    assert ("test_set" in written) == (side == "test")
    assert set(written.get("test_set", ["test"])) == {"test"}


def test_features_are_those_of_the_run_and_what_is_not_decoded_is_said(run, tmp_path):
    said = export_run(run.results.folder, tmp_path / "before")
    groups = list(run.experiment.targets)
    assert [line for line in said if "not decoded yet" in line and any(f"of {g} are" in line for g in groups)] == list(
        said
    )
    assert not (tmp_path / "before/features").exists()
    run.do("extract")
    run.do("fit")
    assert export_run(run.results.folder, tmp_path / "out") == ()
    for group in groups:
        train, test = (arrays_of(tmp_path / f"out/features/{group}_{side}.npz") for side in ("train", "test"))
        np.testing.assert_array_equal(train["true"], run.results.read_array(f"targets/{group}"))
        np.testing.assert_array_equal(test["true"], run.results.read_array(f"truth/{group}"))
        np.testing.assert_array_equal(test["decoded"], run.results.read_array(f"predictions/{group}"))
        assert "decoded" not in train
        assert len(test["stimulus_name"]) == len(test["test_set"]) == len(test["decoded"])


# Where it is written


def test_the_run_and_its_recording_stay_as_they_are(lab, run, tmp_path):
    copied = shutil.copytree(run.results.folder, tmp_path / "copied")
    for path in [*copied.rglob("*"), *lab.root.rglob("*")]:
        os.utime(path, (1, 1))  # as if all had been copied from elsewhere: files are hashed anew
    before = contents(copied) | contents(lab.root)
    export_run(copied, tmp_path / "out")
    assert contents(copied) | contents(lab.root) == before


def test_a_folder_with_other_files_is_refused(run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"other files, such as notes\.txt: name a new folder"):
        export_run(run.results.folder, out)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    (out / "notes.txt").rename(out / "dataset_description.json")
    with pytest.raises(RunError, match="not exported from these results"):
        export_run(run.results.folder, out)
    assert (out / "dataset_description.json").read_text() == "mine"


@pytest.mark.parametrize("place", ["run", "run/export"])
def test_a_folder_inside_the_run_is_refused(run, tmp_path, place):
    before = contents(run.results.folder)
    with pytest.raises(RunError, match="overlaps the run"):
        export_run(run.results.folder, tmp_path / place)
    assert contents(run.results.folder) == before


def test_an_interrupted_export_is_completed_by_the_same_command(run, tmp_path):
    out = tmp_path / "out"

    def stop(label, done, total):
        if label == "exporting" and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_run(run.results.folder, out, progress=stop)
    assert len(contents(out)) == 4
    export_run(run.results.folder, out)
    export_run(run.results.folder, tmp_path / "whole")
    assert {p.relative_to(out) for p in contents(out)} == {
        p.relative_to(tmp_path / "whole") for p in contents(tmp_path / "whole")
    }


def test_other_results_go_to_another_folder(lab, run, tmp_path):
    export_run(run.results.folder, tmp_path / "out")
    prepare(lab, tmp_path / "other", responses={"normalisation": "training"})
    with pytest.raises(RunError, match="not exported from these results"):
        export_run(tmp_path / "other", tmp_path / "out")


def test_the_command_exports_and_says_what_is_left_out(run, tmp_path):
    result = CliRunner().invoke(app, ["export", str(run.results.folder), str(tmp_path / "out"), "--space", "T1w"])
    assert result.exit_code == 0
    assert "Features of latents are left out" in result.output
    assert (tmp_path / "out/sub-07/func/sub-07_space-T1w_desc-chosen_mask.nii.gz").is_file()
    refused = CliRunner().invoke(app, ["export", str(run.results.folder), str(run.results.folder)])
    assert refused.exit_code == 1
    assert "overlaps the run" in " ".join(refused.output.split())


def test_a_run_that_changes_meanwhile_is_told(lab, run, tmp_path):
    def change(label, done, total):
        if label == "exporting" and done == 4:
            step = run.results.folder / "steps/prepare.responses.json"
            step.unlink()

    with pytest.raises(RunError, match="was changed while it was exported"):
        export_run(run.results.folder, tmp_path / "out", progress=change)


# What is exported must be whole and up to date


def test_a_run_without_responses_is_refused(tmp_path):
    with pytest.raises(RunError, match="holds no run"):
        export_run(tmp_path / "none", tmp_path / "out")


def test_a_damaged_result_is_refused_by_name(run, tmp_path):
    (run.results.folder / "rois.npz").write_bytes(b"")
    with pytest.raises(RunError, match=r"rois\.npz is empty: run `braindiffuser run"):
        export_run(run.results.folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["trials.csv", "rois.npz", "responses.npy"])
def test_a_recording_that_changed_is_refused(lab, run, tmp_path, name):
    if name == "trials.csv":
        text = (lab.root / name).read_text()
        (lab.root / name).write_text(text.replace("p00", "swap").replace("p01", "p00").replace("swap", "p01"))
    elif name == "rois.npz":
        np.savez(lab.root / name, **{roi: ~mask for roi, mask in lab.rois.items()})
    else:
        np.save(lab.root / name, np.load(lab.root / name) + 1)
    with pytest.raises(RunError, match=rf"out of date .*{name}"):
        export_run(run.results.folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_subject_without_a_name_has_a_label_that_says_so(lab, tmp_path):
    """BIDS asks for a label, so there is one, and it is told which."""
    del lab.dataset["subject"]
    prepare(lab, tmp_path / "run", name="")
    remarks = export_run(tmp_path / "run", tmp_path / "out")
    assert "The subject has no name: names of files have sub-unnamed, since BIDS asks for a label." in remarks
    assert (tmp_path / "out" / "sub-unnamed" / "func").is_dir()
    readme = (tmp_path / "out" / "README").read_text()
    assert "from a run, of a subject without a name: names of files have sub-unnamed" in readme
    assert json.loads((tmp_path / "out" / "dataset_description.json").read_text())["Name"] == "braindiffuser"
    for path in (tmp_path / "out").rglob("*"):
        assert not re.search("None|sub-subject|sub-x", path.name)
        if path.suffix in (".json", ".tsv", "") and path.is_file():
            assert not re.search(r'None|""\W|subject subject', path.read_text())


def test_a_subject_with_a_name_keeps_it(lab, tmp_path):
    prepare(lab, tmp_path / "run")
    assert not any("no name" in line for line in export_run(tmp_path / "run", tmp_path / "out"))
    readme = (tmp_path / "out" / "README").read_text()
    assert 'from the run "lab", of subject sub-07.' in readme
    assert "\nsub-07/func/         noise ceilings" in readme
