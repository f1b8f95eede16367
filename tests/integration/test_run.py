"""A run's folder belongs to one experiment, and its stages to the settings they depend on."""

import shutil

import pytest

from braindiffuser.errors import RunError
from braindiffuser.pipeline import STAGES, prepare
from braindiffuser.run import Run


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
    assert unchanged == ["prepare", "extract", "fit", "reconstruct"]


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
