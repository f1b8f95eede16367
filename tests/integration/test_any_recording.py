"""Recordings of a lab's own go the whole way to a page."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from braindiffuser.errors import BrainDiffuserError
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
    """Pictures of any size, no captions, no split: five pictures were shown four times, the rest twice."""
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
    (folder / "lab.yaml").write_text(
        "preset: demo\nname: lab\n"
        "dataset: {kind: arrays, responses: responses.npy, unit: z, trials: trials.csv, pictures: pictures}\n"
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


def test_a_file_of_four_lines_goes_to_a_page(finished):
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
    assert len(run.results.read_array("stimuli/test_ids")) == 5


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
    assert told["Captions"] == told["Regions"] == "none"
    assert told["Decoded"] == "latents, vision, drawn by brain_diffuser_vision"
    assert sum(line.startswith("Note: ") for line in lines) == 3
    assert lines[-1] == f"Run it: braindiffuser run --config {lab / 'lab.yaml'} --out runs/lab"


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


def test_a_simulated_recording_has_nothing_to_check():
    assert next(iter(check_recording("demo"))).startswith("The recording is made when it is run")
