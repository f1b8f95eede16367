"""Recordings of a lab's own go the whole way to a page."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from braindiffuser.errors import BrainDiffuserError, RecordingError
from braindiffuser.experiment import Experiment
from braindiffuser.recording_check import WIDTH, check_recording
from braindiffuser.run import Run

N_STIMULI, N_VOXELS = 30, 80
CHANGES = {
    "regression": {"n_folds": 3},
    "generator": {"diffusion": {"n_steps": 4}, "batch_size": 6},
    "evaluation": {"n_resamples": 100},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Pictures of any size, no captions, no split, odd names of regions: five pictures were shown four times, the rest twice."""
    folder, rng = tmp_path_factory.mktemp("lab"), np.random.default_rng(0)
    (folder / "pictures").mkdir()
    colours = rng.integers(0, 256, (N_STIMULI, 3)).astype(np.uint8)
    for number, colour in enumerate(colours):
        raw = np.broadcast_to(colour, (48, 64 + number % 2, 3)).copy()
        raw[:20] = 255 - colour
        Image.fromarray(raw).save(folder / "pictures" / f"p{number:02}.png")
    shown = rng.permutation(np.repeat(np.arange(N_STIMULI), np.where(np.arange(N_STIMULI) < 5, 4, 2)))
    betas = colours[shown] / 255 @ rng.normal(size=(3, N_VOXELS)) + rng.normal(size=(len(shown), N_VOXELS))
    np.save(folder / "responses.npy", betas.astype(np.float32))
    table = pd.DataFrame(
        {"session": np.arange(len(shown)) // 35 + 1, "stim_file": [f"p{number:02}.png" for number in shown]}
    )
    table.to_csv(folder / "trials.csv", index=False)
    np.savez(folder / "rois.npz", **{"patch 7": np.arange(N_VOXELS) < 20, "calcarine": np.arange(N_VOXELS) >= 50})
    (folder / "lab.yaml").write_text(
        "preset: demo\nname: lab\n"
        "dataset: {kind: arrays, responses: responses.npy, unit: z, trials: trials.csv, pictures: pictures,\n"
        "  rois: rois.npz, roi_aliases: {faces: patch 7, V1: [calcarine]}}\n"
    )
    return folder


@pytest.fixture(scope="module")
def finished(lab, tmp_path_factory):
    said = []
    run = Run.open(
        Experiment.load(lab / "lab.yaml").changed(CHANGES),
        tmp_path_factory.mktemp("run"),
        progress=lambda label, done, total: said.append(label),
    )
    run.run_all()
    return run, said


def test_a_file_of_a_few_lines_goes_to_a_page(finished):
    run, said = finished
    page = (run.results.folder / "report" / "index.html").read_text()
    for sentence in (
        "The recording does not say which stimuli test: the 5 that were shown 4 times or more are taken",
        "no captions, so no text is decoded",
        "are not square: the middle square of each is taken",
    ):
        assert sentence in page
        assert any(sentence in line for line in said)
    assert "z units, as they came" in page
    assert any(f'<span class="name">p{number:02}.png</span>' in page for number in range(5))
    assert len(run.results.read_array("stimuli/test_ids")) == 5


def test_regions_under_any_names_are_maximised(finished):
    run, _ = finished
    section = json.loads((run.results.folder / "sections" / "analyse.roi_maximisation.json").read_text())
    groups = next(block["groups"] for block in section["blocks"] if "groups" in block)
    assert [(group["name"], group["note"]) for group in groups] == [("faces", "20 voxels"), ("V1", "30 voxels")]
    page = (run.results.folder / "report" / "index.html").read_text()
    assert "The region V1 is calcarine (30 voxels)." in page


def test_the_same_command_again_has_nothing_to_do(lab, finished):
    run, _ = finished
    again = Run.open(Experiment.load(lab / "lab.yaml").changed(CHANGES), run.results.folder)
    assert all(again.state(step) == "finished" for step in again.steps())


def test_another_split_asks_for_new_results(lab, finished, tmp_path):
    run, _ = finished
    (tmp_path / "test.txt").write_text("p03.png\np07.png\n")
    other = Experiment.load(lab / "lab.yaml").changed(
        CHANGES | {"split": {"kind": "listed", "test": str(tmp_path / "test.txt")}}
    )
    with pytest.raises(Exception, match="other settings or inputs"):
        Run.open(other, run.results.folder)
    own = Run.open(other, tmp_path / "run")
    own.do("prepare")
    assert own.results.read_array("stimuli/test_ids").tolist() == [3, 7]
    (tmp_path / "test.txt").write_text("p03.png\np08.png\n")
    with pytest.raises(Exception, match=r"split/test\.txt was changed"):
        Run.open(other, tmp_path / "run")


def test_check_prints_what_was_understood_and_the_command(lab):
    lines = list(check_recording(str(lab / "lab.yaml")))
    told = {line[:WIDTH].strip(): line[WIDTH:] for line in lines if not line.startswith(("Note", "Run"))}
    assert told["Trials"] == "70"
    assert told["Stimuli"] == "25 for training, 5 for testing"
    assert told["Repeats"] == "each stimulus 2, 4 times"
    assert told["Voxels"] == "80 analysed, no place is known"
    assert told["Captions"] == "none"
    assert told["Regions"] == "patch 7 (20), calcarine (30), faces (20), V1 (30)"
    assert told["Decoded"] == "latents, vision, drawn by brain_diffuser_vision"
    assert sum(line.startswith("Note: ") for line in lines) == 5
    assert lines[-1] == f"Run it: braindiffuser run --config {lab / 'lab.yaml'} --out runs/lab"


@pytest.mark.parametrize(
    ("n_test", "words"), [(0, "no stimulus tests"), (1, "the test set test has one stimulus"), (2, None)]
)
def test_check_refuses_what_run_refuses_at_once(lab, n_test, words):
    table = pd.read_csv(lab / "trials.csv")
    names = sorted(table["stim_file"].unique())[:n_test]
    table.assign(split=np.where(table["stim_file"].isin(names), "test", "train")).to_csv(lab / f"{n_test}.csv")
    file = lab / f"{n_test}.yaml"
    file.write_text((lab / "lab.yaml").read_text().replace("trials.csv", f"{n_test}.csv"))
    if words is None:
        assert list(check_recording(str(file)))[-1].startswith("Run it: ")
    else:
        with pytest.raises(RecordingError, match=words):
            list(check_recording(str(file)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "trials.csv").unlink(), r"(?s)trials\.csv is missing; .*session,run,stim_file,split"),
        (lambda folder: (folder / "pictures" / "p03.png").unlink(), r"shows 'p03\.png', but .* holds no such picture"),
        (lambda folder: (folder / "lab.yaml").write_text("preset: demo\ndataset: {kind: arrays}\n"), "unit"),
    ],
)
def test_check_names_what_is_missing(lab, tmp_path, change, words):
    shutil.copytree(lab, tmp_path / "lab")
    change(tmp_path / "lab")
    with pytest.raises(BrainDiffuserError, match=words):
        list(check_recording(str(tmp_path / "lab" / "lab.yaml")))


def test_check_of_folds_names_the_command_for_all_of_them(lab):
    (lab / "folds.yaml").write_text((lab / "lab.yaml").read_text() + "split: {kind: folds, n_folds: 5}\n")
    *_, folds, one = check_recording(str(lab / "folds.yaml"), ["my.parts"])
    assert folds == f"All folds: braindiffuser folds {lab / 'folds.yaml'} --with my.parts --out runs/lab-folds"
    assert one.endswith(f"run --config {lab / 'folds.yaml'} --with my.parts --out runs/lab")


def test_a_simulated_recording_has_nothing_to_check():
    assert next(iter(check_recording("demo"))).startswith("The recording is made when it is run")
