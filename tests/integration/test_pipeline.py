"""The whole chain on a tiny simulated subject: what it leaves behind, and that it survives being killed anywhere."""

import shutil
import subprocess
import sys
import weakref

import numpy as np
import pandas as pd
import pytest
import torch

from braindiffuser import images, pipeline
from braindiffuser.data.rois import MAXIMISED_REGIONS
from braindiffuser.errors import RunError
from braindiffuser.models.weights import load_clip, load_unet, load_vdvae
from braindiffuser.pipeline import STAGES, extract, reconstruct, run_all
from braindiffuser.report.html import PICTURE_KINDS
from braindiffuser.run import OUTPUTS, Run
from braindiffuser.run_summary import summarise_run
from braindiffuser.scoring import evaluate_run

KEYS = {
    "pixcorr",
    "ssim",
    "efficientnet_lite0_early",
    "efficientnet_lite0_middle",
    "efficientnet_lite0_last",
    "clip_demo",
}

KILL_ITSELF = """
import os, signal, sys
from pathlib import Path
import torch
from braindiffuser import pipeline
from braindiffuser.config import Experiment
from braindiffuser.run import Run

folder, source, label, threads = sys.argv[1:]
torch.set_num_threads(int(threads))

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def listen(said, done, total):
    if said.startswith(label) and done:
        die()

if label == "report":
    pipeline.render_page = die
pipeline.run_all(Run.open(Experiment.load(source), Path(folder), progress=listen))
"""


@pytest.fixture(scope="module")
def finished(experiment, tmp_path_factory):
    run = Run.open(experiment, tmp_path_factory.mktemp("finished"))
    run_all(run)
    return run


def pictures_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.glob("reconstructions/*/*.png"))}


def test_leaves_what_others_read(finished):
    scores = finished.store.read_json("scores.json")
    assert set(scores["metrics"]) == KEYS
    assert scores["n_images"] == 10
    for entry in scores["metrics"].values():
        low, high = entry["ci95"]
        assert low <= entry["value"] <= high
        assert set(entry["baselines"]) == {"mean_image", "random_train_image", "shuffled_responses"}
        assert np.isfinite([entry["ceiling"], *entry["baselines"].values(), *entry["ablations"].values()]).all()
    stages = finished.store.manifest["stages"]
    assert list(stages) == list(STAGES)
    assert all(stage["seconds"] > 0 and 0 < stage["peak_memory_gb"] < 6 for stage in stages.values())
    assert len(list((finished.store.folder / "reconstructions" / "final").glob("*.png"))) == 14
    page = (finished.store.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "simulated" in page.lower()
    assert "What each region wants to see" in page
    ceilings = finished.store.read_json("noise_ceiling.json")["rois"]
    assert ceilings["faces"]["n_voxels"] == 0
    assert 0 < ceilings["V1"]["median"] < 100


def test_second_run_computes_nothing(finished):
    before = {path: path.stat().st_mtime_ns for path in finished.store.folder.rglob("*.png")}
    stages = finished.store.manifest["stages"]
    run_all(Run.open(None, finished.store.folder))
    assert {path: path.stat().st_mtime_ns for path in finished.store.folder.rglob("*.png")} == before
    assert finished.store.manifest["stages"] == stages


def test_same_seed_same_bytes(finished, experiment, tmp_path):
    again = Run.open(experiment, tmp_path)
    run_all(again)
    assert pictures_of(tmp_path) == pictures_of(finished.store.folder)
    assert (tmp_path / "scores.json").read_bytes() == (finished.store.folder / "scores.json").read_bytes()


@pytest.mark.parametrize(
    "label",
    [
        "averaging sessions",
        "extracting: train vision",
        "predicting features",
        "reconstructing: final",
        "scoring",
        "drawing what regions",
        "report",
    ],
)
def test_killed_run_goes_on_to_the_same_scores(label, finished, experiment, tmp_path):
    source = tmp_path / "experiment.yaml"
    source.write_text(experiment.to_yaml(), encoding="utf-8")
    folder = tmp_path / "run"
    threads = str(torch.get_num_threads())  # sums are rounded alike only on as many threads
    killed = subprocess.run([sys.executable, "-c", KILL_ITSELF, str(folder), str(source), label, threads], check=False)
    assert killed.returncode == -9
    run_all(Run.open(experiment, folder))
    assert pictures_of(folder) == pictures_of(finished.store.folder)
    assert (folder / "scores.json").read_bytes() == (finished.store.folder / "scores.json").read_bytes()


@pytest.mark.parametrize(
    "choices",
    [
        {"data": {"rows": "trials"}},
        {"regression": {"weights": "repeats"}},
        {"data": {"rois": ("V1", "V2")}},
        {"data": {"min_noise_ceiling": 25.0}},
    ],
    ids=lambda choices: str(next(iter(next(iter(choices.values()))))),
)
def test_rows_weights_and_voxels_are_choices(choices, finished, experiment, tmp_path):
    run = Run.open(experiment.changed(choices), tmp_path)
    for stage in ("prepare", "extract", "fit"):
        STAGES[stage](run)
    ours, theirs = run.store.read_array("predictions/latents"), finished.store.read_array("predictions/latents")
    assert ours.shape == theirs.shape
    assert np.isfinite(ours).all()
    assert not np.allclose(ours, theirs, rtol=1e-3)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.5
    voxels, rois = run.store.manifest["voxels"], run.store.read_bundle("rois.npz")
    masks = finished.store.read_bundle("rois.npz")
    wanted = (masks["V1"] | masks["V2"]).sum() if "rois" in choices.get("data", {}) else len(masks["V1"])
    assert voxels["n_chosen"] == len(rois["V1"]) == run.store.read_array("responses/test").shape[1]
    if "min_noise_ceiling" in choices.get("data", {}):
        assert 0 < voxels["n_chosen"] < wanted
    else:
        assert voxels["n_chosen"] == wanted
    same = voxels["fingerprint"] == finished.store.manifest["voxels"]["fingerprint"]
    assert same == (voxels["n_chosen"] == len(masks["V1"]))


def test_truth_of_test_stimuli_never_reaches_a_reconstruction(finished, experiment, tmp_path):
    """Remove all that was learnt from test stimuli: the reconstructions stay the same, byte for byte."""
    run = Run.open(experiment, tmp_path)
    for stage in ("prepare", "extract", "fit"):
        STAGES[stage](run)
    for name in ("latents", "vision", "text"):
        array, _ = run.store.blocks(f"truth/{name}", run.store.read_array(f"truth/{name}").shape)
        array[:] = np.zeros(array.shape, np.float32)
    reconstruct(run)
    kinds = ("low_level", "final", "without_low_level")
    ours, theirs = pictures_of(tmp_path), pictures_of(finished.store.folder)
    kept = [path for path in theirs if path.parts[-2] in kinds]
    assert len(kept) == 42
    assert all(ours[path] == theirs[path] for path in kept)


@pytest.mark.parametrize("stage", ["reconstruct", "analyse"])
def test_the_first_stages_network_is_gone_before_the_seconds_come(stage, finished, tmp_path, monkeypatch):
    shutil.copytree(finished.store.folder, tmp_path / "run")
    run = Run.open(None, tmp_path / "run")
    run.store.discard({stage: OUTPUTS[stage], "report": OUTPUTS["report"]})
    first, order = [], []

    def load_first(folder):
        network = load_vdvae(folder)
        first.append(weakref.ref(network))
        return network

    def load_second(folder, dtype):
        order.append([network() for network in first])
        return load_unet(folder, dtype)

    monkeypatch.setattr(pipeline, "load_vdvae", load_first)
    monkeypatch.setattr(pipeline, "load_unet", load_second)
    STAGES[stage](run)
    assert order == [[None]]
    made, theirs = pictures_of(tmp_path / "run"), pictures_of(finished.store.folder)
    assert any(path.parts[-2] == {"reconstruct": "final", "analyse": "roi"}[stage] for path in made)
    assert all(theirs[path] == content for path, content in made.items())


def test_offloading_changes_no_picture(finished, experiment, tmp_path):
    shutil.copytree(finished.store.folder, tmp_path / "run")
    other = experiment.changed({"diffusion": {"offload": True}})
    run = Run.open(other, tmp_path / "run", overwrite=True)
    run.store.discard({stage: OUTPUTS[stage] for stage in ("reconstruct", "evaluate", "analyse", "report")})
    reconstruct(run)
    ours, theirs = pictures_of(tmp_path / "run"), pictures_of(finished.store.folder)
    assert len(ours) == 70
    assert all(theirs[path] == content for path, content in ours.items())


def test_stages_need_the_ones_before(experiment, tmp_path):
    run = Run.open(experiment, tmp_path)
    with pytest.raises(RunError, match="reconstruct needs prepare first: braindiffuser prepare --out"):
        reconstruct(run)


def test_more_folds_than_training_stimuli_are_refused_before_anything_is_extracted(experiment, tmp_path):
    run = Run.open(experiment.changed({"regression": {"n_folds": 51}}), tmp_path)
    with pytest.raises(
        RunError, match=r"regression\.n_folds is 51, but there are 50 training stimuli: use fewer folds"
    ):
        STAGES["prepare"](run)


def test_a_damaged_network_is_named(experiment, tmp_path):
    folder = tmp_path / "vdvae"
    shutil.copytree(experiment.checkpoints.folder("vdvae"), folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    checkpoints = experiment.checkpoints.model_copy(update={"vdvae": folder})
    run = Run.open(experiment.model_copy(update={"checkpoints": checkpoints}), tmp_path / "run")
    STAGES["prepare"](run)
    with pytest.raises(RunError, match=r"checkpoints\.vdvae cannot be used: .*is damaged or cut short"):
        extract(run)


def test_scores_of_the_manifest_are_of_the_pictures_on_disk(finished):
    table = finished.store.read_table("per_image.csv")
    assert list(table["number"]) == list(range(14))
    for name, file in {"test": "scores.json", "held_out": "scores_held_out.json"}.items():
        rows, scores = table[table["set"] == name], finished.store.read_json(file)
        assert len(rows) == scores["n_images"]
        for key, entry in scores["metrics"].items():
            assert entry["value"] == pytest.approx(rows[key].mean(), abs=1e-9)


def test_every_region_with_voxels_has_a_picture(finished):
    facts = finished.store.read_json("roi_maximisation.json")
    rois = finished.store.read_bundle("rois.npz")
    names = [region["name"] for region in facts["regions"]]
    assert set(names) == {name for name in MAXIMISED_REGIONS if rois[name].any()}
    assert "V1" in names
    assert "faces" not in names  # the scenes show none
    for kind in ("roi", "roi_low_level"):
        pictures = finished.store.read_pictures(kind, len(names))
        assert len(np.unique(pictures.reshape(len(names), -1), axis=0)) == len(names)


def test_scores_do_not_depend_on_how_many_pictures_are_held(finished, monkeypatch):
    held, load = [], images.load_png

    def counting(paths):
        held.append(len(paths))
        return load(paths)

    monkeypatch.setattr(images, "BATCH", 4)
    monkeypatch.setattr(images, "load_png", counting)
    _, per_image = evaluate_run(finished, lambda: load_clip(finished.experiment.checkpoints.folder("clip")))
    assert max(held) == 4
    stored = finished.store.read_table("per_image.csv")
    pd.testing.assert_frame_equal(per_image.reset_index(drop=True), stored, atol=1e-5)


def test_a_summary_reads_no_picture_before_it_is_drawn(finished, monkeypatch):
    summary = summarise_run(finished)
    monkeypatch.setattr(images, "load_png", lambda paths: pytest.fail("a picture was read"))
    assert summary.held_out is not None
    for scored, n in ((summary, 10), (summary.held_out, 4)):
        assert {kind: len(pictures) for kind, pictures in scored.pictures.items()} == dict.fromkeys(PICTURE_KINDS, n)
    monkeypatch.undo()
    stored = finished.store.read_pictures("final", 14)
    np.testing.assert_array_equal(summary.held_out.picture("final", 12), stored[12:13])


def test_held_out_photographs_are_scored_apart(finished, recording_root):
    table = finished.store.read_table("per_image.csv")
    scenes = pd.read_csv(recording_root / "truth" / "scenes.csv").set_index("stimulus_id")
    shown = scenes.loc[table["stimulus_id"], "split"]
    assert shown.to_list() == table["set"].to_list() == ["test"] * 10 + ["held_out"] * 4
    assert "Photographs that no network has seen" in (finished.store.folder / "report" / "index.html").read_text(
        "utf-8"
    )
