"""The whole chain on a tiny simulated subject: what it leaves behind, and that it survives being killed anywhere."""

import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import zarr
from kills import kill_at

from braindiffuser import images
from braindiffuser.datasets.rois import CATEGORY_REGIONS, MAXIMISED_REGIONS
from braindiffuser.errors import EXTRAS, RecordingError, RunError
from braindiffuser.networks import checkpoints as weights
from braindiffuser.regression import Ridge
from braindiffuser.report.tables import BASELINES
from braindiffuser.run import Run
from braindiffuser.stages import stages
from braindiffuser.stages.evaluate import _score

KEYS = {
    "pixcorr",
    "ssim",
    "efficientnet_lite0_early",
    "efficientnet_lite0_middle",
    "efficientnet_lite0_last",
    "clip_demo",
}

WITHOUT = Path(__file__).parents[1] / "without_packages.py"

KILLS = ("extracting: train latents@1", "reconstructing: low level@1", "scoring@3")
"""A moment in every stage that has networks; test_run kills in all stages, with networks that cost nothing."""


@pytest.fixture(scope="module")
def finished(experiment, tmp_path_factory):
    run = Run.open(experiment, tmp_path_factory.mktemp("finished"))
    run.run_all()
    return run


def test_the_page_of_a_finished_run_is_drawn_anew_where_no_networks_are_installed(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished.results.folder, folder)
    for words in (["report", "--out", str(folder), "--overwrite"], ["run", "--out", str(folder)]):
        (folder / "report/index.html").unlink()
        command = [sys.executable, str(WITHOUT), ",".join(EXTRAS["generate"]), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (folder / "report/index.html").is_file()


def pictures_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.glob("reconstructions/*/*.png"))}


def begun(experiment, folder, *names):
    run = Run.open(experiment, folder)
    for stage in names:
        run.do(stage)
    return run


def test_leaves_what_others_read(finished):
    folder, scores = finished.results.folder, finished.results.read_json("scores.json")
    assert set(scores["metrics"]) == KEYS
    assert scores["n_images"] == 10
    for entry in scores["metrics"].values():
        low, high = entry["ci95"]
        assert low <= entry["value"] <= high
        assert set(entry["baselines"]) == set(BASELINES)
        assert set(entry["ablations"]) == {"low_level_only", "without_low_level"}
        assert np.isfinite([entry["ceiling"], *entry["baselines"].values(), *entry["ablations"].values()]).all()
    features = scores["features"]
    assert set(features) == {"latents", "vision", "text"}
    for entry in features.values():
        assert entry["n_images"] == 10
        assert {"decoded", "true"} <= set(entry["effective_dimension"])
        assert entry["within_category"]["n_images"] <= 10  # the simulated recording says what its scenes show
        for name in ("two_way", "top1", "novelty", "within_category", "best_linear"):
            low, high = entry[name]["ci95"]
            assert 0 <= low <= entry[name]["value"] <= high <= 1
    assert features["vision"]["two_way"]["value"] > 0.7
    assert finished.results.read_json("scores_held_out.json")["features"].keys() == features.keys()
    took = finished.results.read_json("manifest.json")["stages"]
    assert list(took) == list(stages())
    assert all(stage["seconds"] > 0 and 0 < stage["peak_memory_gb"] < 6 for stage in took.values())
    assert len(list((folder / "reconstructions" / "final").glob("*.png"))) == 14
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "simulated" in page.lower()
    assert "Preferred picture of each region" in page
    assert "Are pictures told apart by their decoded features?" in page
    ceilings = finished.results.read_json("noise_ceiling.json")["rois"]
    assert ceilings["faces"]["n_voxels"] == 0
    assert 0 < ceilings["V1"]["median"] < 100


def test_a_run_that_was_killed_while_networks_worked_goes_on_to_the_same_bytes(finished, experiment, tmp_path):
    folder = tmp_path / "run"
    kill_at(KILLS, experiment, folder)
    Run.open(experiment, folder).run_all()
    assert pictures_of(folder) == pictures_of(finished.results.folder)
    for name in ("scores.json", "per_image.csv", "report/scores.md", "report/gallery.png"):
        assert (folder / name).read_bytes() == finished.results.path(name).read_bytes()


@pytest.mark.parametrize(
    "choices",
    [
        {"responses": {"rows": "trials"}},
        {"regression": {"weights": "repeats"}},
        {"responses": {"rois": ("V1", "V2")}},
        {"responses": {"min_noise_ceiling": 25.0}},
    ],
    ids=lambda choices: str(next(iter(next(iter(choices.values()))))),
)
def test_rows_weights_and_voxels_are_choices(choices, finished, experiment, tmp_path):
    run = begun(experiment.changed(choices), tmp_path, "prepare", "extract", "fit")
    ours, theirs = run.results.read_array("predictions/latents"), finished.results.read_array("predictions/latents")
    assert ours.shape == theirs.shape
    assert np.isfinite(ours).all()
    assert not np.allclose(ours, theirs, rtol=1e-3)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.5
    voxels, rois = run.results.read_json("voxels.json"), run.results.read_bundle("rois.npz")
    masks = finished.results.read_bundle("rois.npz")
    wanted = (masks["V1"] | masks["V2"]).sum() if "rois" in choices.get("responses", {}) else len(masks["V1"])
    assert voxels["n_chosen"] == len(rois["V1"]) == run.results.read_array("responses/test").shape[1]
    if "min_noise_ceiling" in choices.get("responses", {}):
        assert 0 < voxels["n_chosen"] < wanted
    else:
        assert voxels["n_chosen"] == wanted
    same = voxels["fingerprint"] == finished.results.read_json("voxels.json")["fingerprint"]
    assert same == (voxels["n_chosen"] == len(masks["V1"]))


def test_truth_of_test_stimuli_never_reaches_a_reconstruction(finished, experiment, tmp_path, monkeypatch):
    """Remove all that was computed from test stimuli: the reconstructions stay the same, byte for byte."""
    run = begun(experiment, tmp_path, "prepare", "extract", "fit")
    opened = run.results.open_array

    def without_truth(name):  # what `read_array` reads from, too
        array = opened(name)
        return zarr.array(np.zeros_like(array[:])) if name.startswith("truth/") else array

    monkeypatch.setattr(run.results, "open_array", without_truth)
    run.do("reconstruct")
    kinds = ("low_level", "final", "without_low_level")
    ours, theirs = pictures_of(tmp_path), pictures_of(finished.results.folder)
    kept = [path for path in theirs if path.parts[-2] in kinds]
    assert len(kept) == 42
    assert all(ours[path] == theirs[path] for path in kept)
    changed = [path for path in ours if "true_features" in path.parts[-2] and ours[path] != theirs[path]]
    assert len(changed) == 28


@pytest.mark.parametrize("stage", ["reconstruct", "analyse"])
def test_the_first_stages_network_is_gone_before_the_seconds_come(stage, finished, tmp_path, monkeypatch):
    shutil.copytree(finished.results.folder, tmp_path / "run")
    for path in (tmp_path / "run" / "steps").glob(f"{stage}.*.json"):
        path.unlink()
    run = Run.open(None, tmp_path / "run")
    first, order = [], []
    load_vdvae, load_unet = weights.load_vdvae, weights.load_unet

    def load_first(folder, device):
        network = load_vdvae(folder, device)
        first.append(weakref.ref(network))
        return network

    def load_second(folder, *rest):
        order.append([network() for network in first])
        return load_unet(folder, *rest)

    monkeypatch.setattr(weights, "load_vdvae", load_first)
    monkeypatch.setattr(weights, "load_unet", load_second)
    run.do(stage)
    assert order == [[None]]  # loaded once each, one after the other
    assert pictures_of(tmp_path / "run") == pictures_of(finished.results.folder)


def test_one_clip_serves_both_groups(experiment, tmp_path, monkeypatch):
    loaded, load_network = [], weights.load_network
    monkeypatch.setattr(
        weights,
        "load_network",
        lambda folder, *rest, **named: (loaded.append(folder.name), load_network(folder, *rest, **named))[1],
    )
    begun(experiment, tmp_path, "prepare", "extract")
    assert sorted(loaded) == ["clip", "vdvae"]


def test_offloading_changes_no_picture(finished, experiment, tmp_path):
    shutil.copytree(finished.results.folder, tmp_path / "run")
    for path in (tmp_path / "run" / "steps").glob("reconstruct.*.json"):
        path.unlink()
    run = Run.open(experiment.changed({"generator": {"diffusion": {"offload": True}}}), tmp_path / "run")
    run.do("reconstruct")
    assert pictures_of(tmp_path / "run") == pictures_of(finished.results.folder)


def test_more_folds_than_training_stimuli_are_refused_before_anything_is_extracted(experiment, tmp_path):
    run = Run.open(experiment.changed({"regression": {"n_folds": 51}}), tmp_path)
    with pytest.raises(
        RunError, match=r"regression\.n_folds is 51, but there are 50 training stimuli: use fewer folds"
    ):
        run.do("prepare")


def test_a_damaged_network_is_named_before_anything_is_done(experiment, tmp_path):
    folder = tmp_path / "vdvae"
    shutil.copytree(experiment.checkpoints["targets.latents.checkpoint"], folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    run = Run.open(experiment.changed({"targets": {"latents": {"checkpoint": str(folder)}}}), tmp_path / "run")
    with pytest.raises(
        RunError, match=r"targets\.latents\.checkpoint names .*vdvae/model\.safetensors is damaged, cut short"
    ):
        run.do("prepare")


def test_a_missing_network_is_named_before_anything_is_done(experiment, tmp_path):
    nowhere = {"targets": {"vision": {"checkpoint": str(tmp_path / "nowhere")}}}
    with pytest.raises(
        RunError, match=r"targets\.vision\.checkpoint names .*nowhere, which is not a checkpoint folder"
    ):
        Run.open(experiment.changed(nowhere), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_another_network_under_the_same_name_is_another_result(finished, experiment, tmp_path):
    folder = tmp_path / "unet"
    shutil.copytree(experiment.checkpoints["generator.unet"], folder)
    shutil.copytree(finished.results.folder, tmp_path / "run")
    other = experiment.changed({"generator": {"unet": str(folder)}})
    assert all(run_is_finished(Run.open(other, tmp_path / "run")).values())  # the same network elsewhere
    config = folder / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(RunError, match=r"generator\.unet was [0-9a-f]{16}, now [0-9a-f]{16}"):
        Run.open(other, tmp_path / "run")
    finished_then = run_is_finished(Run.open(other, tmp_path / "run", overwrite=True))
    assert [stage for stage, done in finished_then.items() if done] == ["prepare", "extract", "fit", "compare"]


def run_is_finished(run):
    return {stage: run.is_finished(stage) for stage in stages()}


def test_scores_are_of_the_pictures_on_disk(finished):
    table = finished.results.read_table("per_image.csv")
    assert list(table["number"]) == list(range(14))
    for name, file in {"test": "scores.json", "held_out": "scores_held_out.json"}.items():
        rows, scores = table[table["set"] == name], finished.results.read_json(file)
        assert len(rows) == scores["n_images"]
        for key, entry in scores["metrics"].items():
            assert entry["value"] == pytest.approx(rows[key].mean(), abs=1e-9)


def test_every_region_with_voxels_has_a_picture(finished):
    facts = finished.results.read_json("analyses/roi_maximisation.json")
    rois = finished.results.read_bundle("rois.npz")
    names = [region["name"] for region in facts["regions"]]
    shown = [name for name in MAXIMISED_REGIONS if rois[name].any()]
    assert names == [*shown, "V1-V4", *(f"V1-V4 | {name}" for name in shown if name in CATEGORY_REGIONS)]
    assert "V1" in names
    assert "faces" not in names  # the scenes show none
    for kind in ("roi_maximisation_full", "roi_maximisation_low_level"):
        pictures = finished.results.read_pictures(kind, len(names))
        assert len(np.unique(pictures.reshape(len(names), -1), axis=0)) == len(names)


def test_weights_of_voxels_and_accuracy_of_decoders_are_those_of_dense_ridge(finished, tmp_path):
    shutil.copytree(finished.results.folder, tmp_path / "run")
    experiment = finished.experiment.with_analysis("voxel_weights", {"n_random": 20, "regions": ["V1 | V2", "V3"]})
    experiment = experiment.with_analysis("decoder_accuracy", {"n_permutations": 20, "growth": [0.5]})
    run = Run.open(experiment, tmp_path / "run")
    run.do("analyse")
    results, sizes = run.results, run.results.read_json("test_sets.json")
    accuracy = results.read_json("analyses/decoder_accuracy.json")["groups"]["latents"]
    latents = np.asarray(results.open_array("targets/latents")[:], np.float64)
    dense = Ridge(accuracy["alpha"]).fit(results.read_array("responses/train").astype(np.float64), latents)
    (start, stop), truth = sizes["test"], results.read_array("truth/latents")
    printed = dense.score(results.read_array("responses/test")[start:stop], truth[start:stop])
    assert accuracy["sets"]["test"]["r2"]["value"] == pytest.approx(printed, abs=1e-3)
    (path,) = (tmp_path / "run/analyses/voxel_weights").glob("*desc-latentsweights_statmap.nii.gz")
    volume = np.asarray(nib.load(path).dataobj)
    np.testing.assert_allclose(volume[np.isfinite(volume)], np.abs(dense.coef_).sum(axis=0), rtol=1e-3, atol=1e-6)
    regions, rois = results.read_json("analyses/voxel_weights.json")["regions"], results.read_bundle("rois.npz")
    assert regions["V1 | V2"]["n_voxels"] == (rois["V1"] | rois["V2"]).sum()
    assert set(results.read_table("analyses/voxel_weights/regions.csv")["region"]) == {"V1 | V2", "V3"}


def test_an_analysis_names_regions_by_expression_and_nothing_else_is_made_again(finished, experiment, tmp_path):
    """Label volumes and maps are read for the analysis alone, over the chosen voxels, and are noticed when they change."""
    shutil.copytree(finished.results.folder, tmp_path / "run")
    voxels, rois = finished.recording().voxels, finished.results.read_bundle("rois.npz")
    rng = np.random.default_rng(0)
    labels, ecc = rng.integers(0, 3, voxels.n), rng.uniform(0, 5, voxels.n)
    labels_of = {"atlas": tmp_path / "atlas.nii", "unread": tmp_path / "unread.nii"}
    for path, values in ((labels_of["atlas"], labels), (tmp_path / "ecc.nii", ecc)):
        nib.save(nib.Nifti1Image(voxels.unmask(values.astype(np.float64)), voxels.affine), path)
    labels_of["unread"].write_bytes(b"damaged")
    wanted = {"early": "V1-V4", "inner": "V1 & ecc<2", "two": "atlas:2 & !V1", "none": "faces & V1"}
    changes = {
        "dataset": {"label_volumes": labels_of, "voxel_maps": {"ecc": tmp_path / "ecc.nii"}},
        "analyses": [{"kind": "roi_maximisation", "regions": wanted}],
    }

    def opened():
        run = Run.open(experiment.changed(changes), tmp_path / "run", overwrite=True)
        return run, [stage for stage, done in run_is_finished(run).items() if not done]

    run, unfinished = opened()
    assert unfinished == ["analyse", "report"]
    run.do("analyse")
    facts = run.results.read_json("analyses/roi_maximisation.json")
    assert opened()[1] == ["report"]
    early = np.any([rois[f"V{number}"] for number in range(1, 5)], axis=0)
    expected = {"early": early, "inner": rois["V1"] & (ecc < 2), "two": (labels == 2) & ~rois["V1"]}
    found = {region["name"]: region["n_voxels"] for region in facts["regions"]}
    assert found == {name: mask.sum() for name, mask in expected.items()}
    assert facts["remarks"][0] == "No chosen voxel lies in none."
    nib.save(nib.Nifti1Image(np.zeros(voxels.mask.shape), voxels.affine), labels_of["unread"])
    assert opened()[1] == ["analyse", "report"]
    changes["analyses"][0]["regions"] = {"odd": "V1 & atlas:9"}
    with pytest.raises(RecordingError, match=r"no region 'atlas:9'.*which analyses\.roi_maximisation\.regions names"):
        opened()[0].do("analyse")


def test_scores_do_not_depend_on_how_many_pictures_are_held(finished, monkeypatch):
    held, load = [], images.load_png

    def counting(paths):
        held.append(len(paths))
        return load(paths)

    monkeypatch.setattr(images, "BATCH", 4)
    monkeypatch.setattr(images, "load_png", counting)
    _, per_image, left_out = _score(finished._context)
    assert max(held) == 4
    for name, table in {"per_image.csv": per_image, "left_out.csv": left_out}.items():
        stored = finished.results.read_table(name)
        pd.testing.assert_frame_equal(table.reset_index(drop=True), stored, atol=1e-5)


def test_a_simulated_recording_lies_in_the_runs_folder_and_is_made_anew_if_damaged(experiment, tmp_path):
    small = {"kind": "simulated", "n_train": 20, "n_test": 4, "trials_per_session": 24, "n_early": 60, "n_higher": 40}
    small |= {"grid": (10, 12, 10)}
    run = begun(experiment.changed({"dataset": small}), tmp_path, "prepare")
    before = {path: path.read_bytes() for path in (tmp_path / "nsd").rglob("*") if path.is_file()}
    stimuli = next(path for path in before if path.name == "nsd_stimuli.hdf5")
    stimuli.write_bytes(b"")
    Run.open(None, tmp_path).do("prepare")
    assert {path: path.read_bytes() for path in (tmp_path / "nsd").rglob("*") if path.is_file()} == before
    second = run.experiment.changed({"dataset": {"seed": 5}})
    with pytest.raises(RunError, match=r"dataset\.seed was 0, now 5"):
        Run.open(second, tmp_path)
    Run.open(second, tmp_path, overwrite=True).do("prepare")
    after = {path: path.read_bytes() for path in (tmp_path / "nsd").rglob("*") if path.is_file()}
    assert after.keys() == before.keys()
    assert after != before


@pytest.mark.parametrize("precision", ["half", "full"])
def test_a_run_begun_in_half_on_a_gpu_is_another_one_on_a_cpu_from_the_pictures_on(precision, experiment, tmp_path):
    def settings(device):
        run = Run.open(
            experiment.changed({"device": device, "generator": {"diffusion": {"precision": precision}}}), tmp_path
        )
        return {str(step): run.states.settings(step) for step in run.steps()}

    on_gpu, on_cpu = settings("cuda:1"), settings("cpu")
    changed = {step.partition(".")[0] for step in on_gpu if on_gpu[step] != on_cpu[step]}
    assert changed == ({"reconstruct", "analyse"} if precision == "half" else set())
    assert on_gpu == settings("cuda")


def test_analyses_begin_from_the_finished_run(finished, experiment, tmp_path):
    """Scores of a part of the test set are those of the run itself; maps are NIfTI; nothing else is computed again."""
    shutil.copytree(finished.results.folder, tmp_path / "run")
    ablation = {"kind": "roi_ablation", "regions": ["V1"], "how": ["without"], "n_images": 3, "n_random": 0}
    attribution = {"kind": "attribution", "words": ["large"], "drawn": [], "places": 1, "n_random": 5}
    maximisation = {"kind": "roi_maximisation", "n_random": 2}
    comparison = {"kind": "profile_comparison", "profiles": ["pixels", "mindeye2-2024"]}
    asked = experiment.changed({"analyses": [maximisation, ablation, attribution, comparison]})
    before = pictures_of(tmp_path / "run")
    run = Run.open(asked, tmp_path / "run", overwrite=True)
    run.do("analyse")
    further = run.results.read_json("analyses/roi_maximisation.json")["further"]
    assert 0 <= further["measures"]["full"]["places"]["building"]["value"] <= 1
    assert len(further["likeness"]["text"]["cosine"]) == len(further["regions"])
    table = run.results.read_table("analyses/roi_ablation/per_image.csv")
    whole = table[table["how"] == "whole"]
    per_image = run.results.read_table("per_image.csv")
    own = per_image[per_image["set"] == "test"].iloc[[0, 4, 9]]
    assert whole["stimulus_id"].tolist() == own["stimulus_id"].tolist()
    np.testing.assert_allclose(whole["pixcorr"], own["pixcorr"], atol=0.02)  # stored pictures have 8 bits
    assert run.results.read_json("analyses/roi_ablation.json")["regions"][0]["ablations"]
    names = [path.name for path in sorted((tmp_path / "run" / "analyses" / "attribution").iterdir())]
    assert "sub-subj01_space-individual_desc-categorylarge_statmap.nii.gz" in names
    directions = run.results.read_json("analyses/attribution.json")["directions"]
    assert {"category building", "category large", "place row 1 column 1"} <= {each["name"] for each in directions}
    compared = run.results.read_json("analyses/profile_comparison.json")
    scores = run.results.read_json("scores.json")["metrics"]
    assert compared["profiles"]["pixels"]["metrics"]["ssim"]["value"] == pytest.approx(
        scores["ssim"]["value"], abs=1e-6
    )
    assert set(compared["profiles"]["mindeye2-2024"]["metrics"]) == {"pixcorr_256", "ssim_256"}
    after = pictures_of(tmp_path / "run")
    assert {name: after[name] for name in before} == before
