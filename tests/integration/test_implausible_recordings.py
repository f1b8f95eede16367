"""Recordings that cannot be right are refused by file and session; what is unusual is on the page."""

import json
import re
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from fakes import fake_experiment
from fakes import write_recording as write_fake_recording
from PIL import Image

from braindiffuser.datasets.nsd_layout import CAPTIONS, STIMULI, betas_folder
from braindiffuser.datasets.splits import number_repeats
from braindiffuser.errors import RecordingError
from braindiffuser.experiment import Experiment
from braindiffuser.recording_check import check_recording
from braindiffuser.run import Run


@pytest.fixture
def root(recording_root, tmp_path):
    return shutil.copytree(recording_root, tmp_path / "recording")


def betas_of(root, session):
    return betas_folder(root, 1) / f"betas_session{session:02d}.hdf5"


def change(root, session, edit):
    with h5py.File(betas_of(root, session), "r+") as file:
        values = file["betas"][:]
        edit(values)
        file["betas"][:] = values


def replace(root, session, make):
    """Write a session anew, in another type of numbers."""
    with h5py.File(betas_of(root, session), "r+") as file:
        values = make(file["betas"][:])
        del file["betas"]
        file["betas"] = values


def opened(experiment, root, tmp_path, **dataset):
    return Run.open(experiment.changed({"dataset": {"root": str(root), **dataset}}), tmp_path / "run")


def refused(experiment, root, tmp_path, words):
    run = opened(experiment, root, tmp_path)
    with pytest.raises(RecordingError, match=words):
        run.do("prepare")
    assert not (tmp_path / "run" / "arrays" / "responses").exists()


def never_written(root, session):
    """The right size, but nothing in it: HDF5 stores no chunk until it is written."""
    with h5py.File(betas_of(root, session), "r+") as file:
        shape = file["betas"].shape
        del file["betas"]
        file.create_dataset("betas", shape, np.int16, chunks=(shape[0], 1, 1, 1))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda root: change(root, 2, lambda betas: betas.fill(0)), "no analysed voxel varies"),
        (lambda root: change(root, 2, lambda betas: betas[-9:].fill(0)), r"9 trials have the same beta.*trial 39"),
        (lambda root: replace(root, 2, lambda betas: betas.astype(np.float32)), "not in the same unit"),
        (lambda root: shutil.copyfile(betas_of(root, 1), betas_of(root, 2)), "its betas are those of session 1"),
    ],
)
def test_a_session_that_cannot_be_is_refused_by_its_file(experiment, root, tmp_path, damage, words):
    damage(root)
    refused(experiment, root, tmp_path, rf"session 2 \(nsddata_betas/.*betas_session02\.hdf5\): .*{words}")


def test_a_session_that_was_never_written_is_refused_by_its_file(experiment, root, tmp_path):
    never_written(root, 2)
    refused(experiment, root, tmp_path, r"betas_session02\.hdf5: .* chunks of the array are not there")


def test_one_trial_of_1e30_is_refused(experiment, root, tmp_path):
    def broken(betas):
        percent = betas.astype(np.float32) / 300
        percent[17] = 1e30 * np.sign(percent[17])
        return percent

    replace(root, 3, broken)
    refused(experiment, root, tmp_path, r"betas_session03\.hdf5\): trial 17, counted from 0, is -?1e\+30")


def test_after_a_mend_the_same_run_goes_on(experiment, root, tmp_path):
    whole = betas_of(root, 2).read_bytes()
    change(root, 2, lambda betas: betas.fill(0))
    refused(experiment, root, tmp_path, "no analysed voxel varies")
    betas_of(root, 2).write_bytes(whole)
    run = opened(experiment, root, tmp_path)
    run.do("prepare")
    assert run.is_finished("prepare")


def test_what_is_unusual_stands_first_on_the_page(experiment, root, tmp_path):
    (betas_of(root, 2)).unlink()
    change(root, 3, lambda betas: np.multiply(betas, 4, out=betas))
    said = []
    run = Run.open(
        experiment.changed({"dataset": {"root": str(root)}}),
        tmp_path / "run",
        progress=lambda *line: said.append(line[0]),
    )
    run.do("prepare")
    section = run.results.read_json("sections/prepare.recording.json")
    assert not section["appendix"]
    texts = [block["text"] for block in section["blocks"] if block["type"] == "text"]
    assert any("No betas of session 2 of" in text for text in texts)
    assert any("vary 0.25 times as much as in session 3" in text for text in texts)
    assert set(texts) <= set(said)
    page = run.report().html
    assert page.index("No betas of session 2") < page.index("What was run")


def test_an_ordinary_recording_is_described_in_the_appendix(experiment, root, tmp_path):
    run = opened(experiment, root, tmp_path, sessions=[1, 3])
    run.do("prepare")
    section = run.results.read_json("sections/prepare.recording.json")
    assert section["appendix"]
    assert [block["type"] for block in section["blocks"]] == ["facts", "table"]
    facts, table = section["blocks"]
    assert facts["facts"]["Sessions"] == "1, 3"
    assert facts["facts"]["Trials"] == "96"
    assert [row["label"] for row in table["rows"]] == ["1", "3"]


def test_stimuli_that_cannot_be_scored_are_known_before_betas_are_read(experiment, root, tmp_path):
    with h5py.File(root / STIMULI, "r+") as file:
        pictures = file["imgBrick"][:, :9, :9]
        del file["imgBrick"]
        file["imgBrick"] = pictures
    (root / "truth" / "scenes.csv").unlink()
    with pytest.raises(RecordingError, match=r"9 × 9 pixels; expected square ones of 11 pixels"):
        opened(experiment, root, tmp_path).do("prepare")
    assert not list((tmp_path / "run" / "steps").glob("*"))


def test_a_picture_that_was_never_written_is_known_before_betas_are_read(experiment, root, tmp_path):
    with h5py.File(root / STIMULI, "r+") as file:
        file["imgBrick"][-1] = 0
    with pytest.raises(RecordingError, match=r"stimulus \d+ is black throughout"):
        opened(experiment, root, tmp_path).do("prepare")
    assert not list((tmp_path / "run" / "steps").glob("*"))


def check(experiment, root, tmp_path):
    """What `check` prints of the recording."""
    file = tmp_path / "checked.yaml"
    file.write_text(experiment.changed({"dataset": {"root": str(root)}}).to_yaml())
    return "\n".join(check_recording(str(file)))


def test_a_caption_that_is_not_there_is_known_before_betas_are_read(experiment, root, tmp_path):
    texts = np.load(root / CAPTIONS)
    texts[7] = ""
    np.save(root / CAPTIONS, texts)
    words = r"annots/COCO.* has no caption of stimulus 7: write one, or move the file away to decode no text"
    for begin in (lambda: opened(experiment, root, tmp_path).do("prepare"), lambda: check(experiment, root, tmp_path)):
        with pytest.raises(RecordingError, match=words):
            begin()
    assert not list((tmp_path / "run" / "steps").glob("*"))
    (root / CAPTIONS).rename(tmp_path / "captions.npy")  # as the message says
    opened(experiment, root, tmp_path / "second").do("prepare")


def test_without_the_file_of_captions_no_text_is_decoded_and_the_page_says_so(experiment, root, tmp_path):
    (root / CAPTIONS).unlink()
    run = opened(experiment, root, tmp_path)
    assert "text" not in run.experiment.targets
    run.do("prepare")
    run.do("extract")
    said = json.dumps(run.results.read_json("sections/prepare.recording.json"))
    assert "no text is decoded" in said
    assert "annots/COCO_73k_annots_curated.npy is not there" in said
    checked = check(experiment, root, tmp_path)
    assert re.search("^Captions +none$", checked, re.MULTILINE)
    assert "is not there" in checked


def test_check_looks_for_the_pictures_that_a_run_needs(experiment, root, tmp_path):
    (root / STIMULI).unlink()
    (root / "truth" / "scenes.csv").unlink()
    with pytest.raises(RecordingError, match=r"nsd_stimuli\.hdf5 is missing"):
        check(experiment, root, tmp_path)


# Advice that works when it is followed


def test_a_session_is_left_out_as_the_message_says(experiment, root, tmp_path):
    change(root, 2, lambda values: values.__setitem__(slice(0, 3), 0))
    with pytest.raises(RecordingError, match="leave the session out: write `") as refused:
        opened(experiment, root, tmp_path).do("prepare")
    advice = yaml.safe_load(re.search("write `([^`]*)` in dataset", str(refused.value))[1])
    opened(experiment, root, tmp_path / "second", **advice).do("prepare")


@pytest.fixture
def plain(tmp_path):
    """An experiment on plain files, four pictures of two sessions; and its folder."""
    folder = tmp_path / "lab"
    (folder / "pictures").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(folder / "pictures" / f"p{number:02}.png")
    shown = np.concatenate([rng.permutation(12) for _ in range(6)])
    np.save(folder / "betas.npy", rng.normal(size=(72, 60)).astype(np.float32))
    names = [f"p{number:02}.png" for number in shown]
    split = np.where(shown < 4, "test", "train")
    table = pd.DataFrame({"session": np.repeat([1, 2, 3], 24), "stim_file": names, "split": split})
    table.to_csv(folder / "trials.csv", index=False)
    dataset = {"kind": "arrays", "responses": str(folder / "betas.npy"), "unit": "z"}
    dataset |= {"trials": str(folder / "trials.csv"), "pictures": str(folder / "pictures")}
    experiment = Experiment.load("demo").changed({"dataset": dataset, "regression": {"n_folds": 3}})
    return experiment, folder, table


def test_plain_files_leave_a_session_out_as_the_message_says(plain, tmp_path):
    experiment, folder, table = plain
    betas = np.load(folder / "betas.npy")
    betas[30] = np.nan
    np.save(folder / "betas.npy", betas)
    words = r"of session 2 .*leave the session out: write 1 for its trials in a column is_catch of trials\.csv$"
    with pytest.raises(RecordingError, match=words):
        Run.open(experiment, tmp_path / "run").do("prepare")
    table.assign(is_catch=(table["session"] == 2).astype(int)).to_csv(folder / "trials.csv", index=False)
    Run.open(experiment, tmp_path / "second").do("prepare")


@pytest.mark.parametrize("n_test", [0, 1])
def test_plain_files_get_test_stimuli_as_the_message_says(plain, tmp_path, n_test):
    experiment, folder, table = plain
    chosen = table["stim_file"].isin([f"p{number:02}.png" for number in range(n_test)])
    table.assign(split=np.where(chosen, "test", "train")).to_csv(folder / "trials.csv", index=False)
    with pytest.raises(RecordingError, match="choose them by the part split") as refused:
        Run.open(experiment, tmp_path / "run").do("prepare")
    assert "sessions" not in str(refused.value)
    advice = yaml.safe_load(re.search("such as `([^`]*)`$", str(refused.value))[1])
    Run.open(experiment.changed(advice), tmp_path / "second").do("prepare")


# Any number of repeats


@pytest.mark.parametrize("most", [1, 2])
def test_a_recording_with_any_number_of_repeats_has_a_page(most, tmp_path):
    root = write_fake_recording(tmp_path / "recording")
    design = pd.read_csv(root / "design.csv")
    kept = number_repeats(design["stimulus_id"].to_numpy()) < most
    for path in (root / "sessions").glob("*.npy"):
        np.save(path, np.load(path)[kept[design["session"] == int(path.stem)]])
    design[kept].to_csv(root / "design.csv", index=False)
    run = Run.open(fake_experiment(root, analyses=[]), tmp_path / "run")
    run.run_all()
    region = run.results.read_json("noise_ceiling.json")["rois"]["V1"]
    if most == 1:
        assert "shown more than once" in region["note"]
    else:
        assert 0 < region["median"] <= 100
