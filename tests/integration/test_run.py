"""A run's folder belongs to one experiment, and its stages to the settings they depend on."""

import shutil

import pytest

from braindiffuser.errors import RunError
from braindiffuser.evaluation.published_networks import NETWORKS
from braindiffuser.pipeline import STAGES, prepare
from braindiffuser.run import NEEDS, Run


def test_a_new_folder_needs_an_experiment(tmp_path):
    with pytest.raises(RunError, match="holds no run yet: name a preset or an experiment file"):
        Run.open(None, tmp_path)


def test_a_begun_folder_knows_its_experiment(experiment, tmp_path):
    Run.open(experiment, tmp_path)
    assert Run.open(None, tmp_path).experiment == experiment


def test_other_settings_are_refused_unless_overwritten(experiment, tmp_path):
    prepare(Run.open(experiment, tmp_path))
    other = experiment.model_copy(update={"data": experiment.data.model_copy(update={"normalisation": "training"})})
    with pytest.raises(RunError, match="holds prepare of a run with other settings"):
        Run.open(other, tmp_path)
    run = Run.open(other, tmp_path, overwrite=True)
    assert not run.store.is_finished("prepare")
    assert not (tmp_path / "arrays" / "responses").exists()


def test_settings_of_a_later_stage_leave_earlier_ones(experiment, tmp_path):
    other = experiment.model_copy(update={"evaluation": experiment.evaluation.model_copy(update={"n_resamples": 100})})
    run, mine = Run.open(other, tmp_path / "other"), Run.open(experiment, tmp_path / "mine")
    unchanged = [stage for stage in STAGES if run.stage_uid(stage) == mine.stage_uid(stage)]
    assert unchanged == ["prepare", "extract", "fit", "reconstruct", "analyse"]


def test_another_network_under_the_same_name_is_another_result(experiment, tmp_path):
    folder = tmp_path / "unet"
    shutil.copytree(experiment.checkpoints.folder("unet"), folder)
    checkpoints = experiment.checkpoints.model_copy(update={"unet": folder})
    run = Run.open(experiment.model_copy(update={"checkpoints": checkpoints}), tmp_path / "run")
    before = {stage: run.stage_uid(stage) for stage in STAGES}
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"0")
    changed = [stage for stage in STAGES if run.stage_uid(stage) != before[stage]]
    assert changed == ["reconstruct", "evaluate", "analyse", "report"]


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"seed": 1}, "extract"),
        ({"data": {"normalisation": "training"}}, "prepare"),
        ({"data": {"root": None}}, "prepare"),
        ({"roi": {"lengths": "as-published"}}, "analyse"),
        ({"name": "other"}, "report"),
    ],
)
def test_a_setting_belongs_to_the_first_stage_that_looks_at_it(changes, first, experiment, tmp_path):
    run, other = Run.open(experiment, tmp_path / "one"), Run.open(experiment.changed(changes), tmp_path / "other")
    changed = [stage for stage in STAGES if run.stage_uid(stage) != other.stage_uid(stage)]
    assert changed == [stage for stage in STAGES if stage == first or first in NEEDS[stage]]


def test_a_run_begun_in_half_on_a_gpu_is_another_one_on_a_cpu_from_the_pictures_on(experiment, tmp_path):
    def uids(**changes):
        run = Run.open(experiment.changed(changes), tmp_path / "run")
        return {stage: run.stage_uid(stage) for stage in STAGES}

    half = {"precision": "half"}
    on_gpu, on_cpu = uids(device="cuda:1", diffusion=half), uids(device="cpu", diffusion=half)
    changed = [stage for stage in STAGES if on_gpu[stage] != on_cpu[stage]]
    assert changed == ["reconstruct", "evaluate", "analyse", "report"]
    assert on_gpu == uids(device="cuda", diffusion=half)
    assert on_cpu == uids(device="cpu") == uids(device="cuda")


def test_a_missing_network_is_named_before_anything_is_done(experiment, tmp_path):
    checkpoints = experiment.checkpoints.model_copy(update={"clip": tmp_path / "nowhere"})
    with pytest.raises(RunError, match=r"checkpoints\.clip names .*nowhere, which is not a checkpoint folder"):
        Run.open(experiment.model_copy(update={"checkpoints": checkpoints}), tmp_path / "run")


def test_another_simulation_is_simulated_anew_if_told_to(experiment, tmp_path):
    small = {"n_train": 20, "n_test": 4, "trials_per_session": 24, "n_early": 60, "n_higher": 40, "grid": (10, 12, 10)}
    first = experiment.changed({"data": {"root": None}, "simulation": small})
    prepare(Run.open(first, tmp_path))
    second = first.changed({"simulation": {"seed": 5}})
    with pytest.raises(RunError, match="with other settings"):
        Run.open(second, tmp_path)
    run = Run.open(second, tmp_path, overwrite=True)
    prepare(run)
    assert run.store.is_finished("prepare")


def test_scores_without_a_network_are_forgotten_when_its_weights_come(experiment, tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINDIFFUSER_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    run = Run.open(experiment, tmp_path / "run")
    with run.store.stage("evaluate", run.stage_uid("evaluate")):
        run.store.write_json("scores.json", {"missing": {"alexnet": "fetch it"}})
    assert Run.open(None, tmp_path / "run").store.is_finished("evaluate")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / NETWORKS["alexnet"].file.name).write_bytes(b"")
    assert not Run.open(None, tmp_path / "run").store.is_finished("evaluate")
    assert not (tmp_path / "run" / "scores.json").exists()
