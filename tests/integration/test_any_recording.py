"""Recordings of a lab's own go the whole way to a page."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from braindiffuser.cli import app
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
    assert "Pictures that a person looked at" in page
    assert "<dt>Subject</dt><dd>has no name</dd>" in page
    assert not re.search(r"subject subject|[Ss]ubject None|· subject|– subject", page)
    assert any(f'<span class="name">p{number:02}.png</span>' in page for number in range(5))
    assert len(run.results.read_array("stimuli/test_ids")) == 5


def test_regions_under_any_names_are_maximised(finished):
    run, _ = finished
    section = json.loads((run.results.folder / "sections" / "analyse.roi_maximisation.json").read_text())
    groups = next(block["groups"] for block in section["blocks"] if "groups" in block)
    said = [(group["name"], group["note"].partition(", noise ceiling ")[0]) for group in groups]
    assert said == [("faces", "20 voxels"), ("V1", "30 voxels")]
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


@pytest.mark.parametrize(("name", "out"), [("name: my first run\n", "'runs/my first run'"), ("", "runs/mine")])
def test_the_command_can_be_pasted_and_its_folder_is_named_after_the_experiment_or_its_file(lab, name, out):
    file = lab / "mine.yaml"
    file.write_text((lab / "lab.yaml").read_text().replace("name: lab\n", name))
    assert list(check_recording(str(file)))[-1] == f"Run it: braindiffuser run --config {file} --out {out}"


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


@pytest.mark.parametrize(
    ("responses", "said"),
    [
        ("{}", "80 of 80 (all that are analysed)"),
        ("{rois: [patch 7, V1]}", "50 of 80 (in patch 7, V1)"),
        (
            "{rois: [V1], min_noise_ceiling: 30, voxel_choice: transductive}",
            " with a noise ceiling of 30 % or more, as the",
        ),
        (
            "{rois: [V1], min_noise_ceiling: 5}",
            "at most 30 of 80 (in V1); how many of them have a noise ceiling of 5 % or more",
        ),
    ],
)
def test_check_says_how_many_voxels_run_chooses_where_it_can_know(lab, tmp_path, responses, said):
    """The number is that of the stage `prepare`; where betas decide, it is an upper limit and is called so."""
    shutil.copytree(lab, tmp_path / "lab")
    ncsnr = np.random.default_rng(1).uniform(0.1, 1.5, N_VOXELS)
    pd.DataFrame({"ncsnr": ncsnr}).to_csv(tmp_path / "lab" / "voxels.csv", index=False)
    file = tmp_path / "lab" / "lab.yaml"
    file.write_text(
        file.read_text().replace("rois: rois.npz", "rois: rois.npz, voxels: voxels.csv") + f"responses: {responses}\n"
    )
    (line,) = (line for line in check_recording(str(file)) if line.startswith("Voxels chosen"))
    assert said in line
    run = Run.open(Experiment.load(file), tmp_path / "run")
    run.do("prepare")
    n_chosen = run.results.read_json("voxels.json")["n_chosen"]
    number = int(line[WIDTH:].removeprefix("at most ").split()[0])
    assert 0 < n_chosen <= number < 81
    if not line[WIDTH:].startswith("at most"):
        assert number == n_chosen


def test_check_describes_the_regions_that_responses_and_analyses_name(lab, tmp_path):
    shutil.copytree(lab, tmp_path / "lab")
    ncsnr = np.where(np.arange(N_VOXELS) < 50, np.nan, 1.0)
    table = {"ncsnr": ncsnr, "map_ecc": np.arange(N_VOXELS) / 10}
    pd.DataFrame(table).to_csv(tmp_path / "lab" / "voxels.csv", index=False, na_rep="n/a")
    file = tmp_path / "lab" / "lab.yaml"
    entries = file.read_text().replace("rois: rois.npz", "rois: rois.npz, voxels: voxels.csv")
    entries += 'responses: {rois: ["patch-7 | V1"]}\n'
    quoted, named = '"!ecc<9"', "regions: {inner: calcarine & ecc<6, none: patch 7 & V1, lost: NAME}"
    file.write_text(entries + f"analyses: [{{kind: roi_maximisation, {named.replace('NAME', quoted)}}}]\n")
    entry = "analyses.roi_maximisation.regions"
    assert [line[WIDTH:] for line in check_recording(str(file)) if line.startswith("Region  ")] == [
        "patch-7 | V1 (responses.rois): 50 of 80 voxels, median noise ceiling of one trial 50 %",
        f"calcarine & ecc<6 ({entry}): 10 of 80 voxels, median noise ceiling of one trial 50 %",
        f"patch 7 & V1 ({entry}): no analysed voxel",
        f"!ecc<9 ({entry}): no analysed voxel",
    ]
    file.write_text(entries + f"analyses: [{{kind: roi_maximisation, {named.replace('NAME', 'V9')}}}]\n")
    with pytest.raises(RecordingError, match=f"no region 'V9' .*which {entry} names"):
        list(check_recording(str(file)))
    with pytest.raises(RecordingError, match=f"no region 'V9' .*which {entry} names"):
        Run.open(Experiment.load(file), tmp_path / "run").do("prepare")


def test_check_refuses_a_choice_that_leaves_no_voxel(lab):
    file = lab / "none.yaml"
    for responses, words in {
        "{min_noise_ceiling: 10, noise_ceiling: three-trials}": "no noise ceiling of training trials is known",
        "{rois: [V9]}": "there is no region 'V9'",
    }.items():
        file.write_text((lab / "lab.yaml").read_text() + f"responses: {responses}\n")
        with pytest.raises(RecordingError, match=words):
            list(check_recording(str(file)))


def test_check_prints_its_report_on_standard_output_and_refusals_on_the_other(lab):
    """So `check FILE > report.txt` holds the report, and what is refused is seen."""
    given = CliRunner().invoke(app, ["check", str(lab / "lab.yaml")])
    assert (given.exit_code, given.stderr) == (0, "")
    assert given.stdout.splitlines() == list(check_recording(str(lab / "lab.yaml")))
    file = lab / "refused.yaml"
    file.write_text((lab / "lab.yaml").read_text() + "responses: {rois: [V9]}\n")
    refused = CliRunner().invoke(app, ["check", str(file)])
    assert refused.exit_code == 1
    assert refused.stdout.startswith("Subject")
    assert "error" not in refused.stdout
    assert refused.stderr.startswith("error: there is no region 'V9'")


def test_check_of_folds_names_the_command_for_all_of_them(lab):
    (lab / "folds.yaml").write_text((lab / "lab.yaml").read_text() + "split: {kind: folds, n_folds: 5}\n")
    *_, folds, one = check_recording(str(lab / "folds.yaml"), ["my.parts"])
    assert folds == f"All folds: braindiffuser folds {lab / 'folds.yaml'} --with my.parts --out runs/lab-folds"
    assert one.endswith(f"run --config {lab / 'folds.yaml'} --with my.parts --out runs/lab")


def test_a_simulated_recording_has_nothing_to_check():
    assert next(iter(check_recording("demo"))).startswith("The recording is made when it is run")
