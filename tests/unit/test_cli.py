"""The command line is a veneer: it finds commands, passes arguments on, and turns our errors into one sentence."""

import pytest
import yaml
from braindiffuser.config import Experiment
from typer.testing import CliRunner

from braindiffuser import memory_plan
from braindiffuser.cli import app

runner = CliRunner()
COMMANDS = [
    "demo",
    "run",
    "prepare",
    "extract",
    "fit",
    "reconstruct",
    "evaluate",
    "analyse",
    "report",
    "simulate",
    "info",
    "weights",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"Example: braindiffuser {command}" in " ".join(result.output.split())


def test_analyses_have_help_of_their_own():
    result = runner.invoke(app, ["analyse", "roi", "--help"])
    assert result.exit_code == 0
    assert "Example: braindiffuser analyse roi" in " ".join(result.output.split())


def test_help_lists_every_command():
    result = runner.invoke(app, ["--help"])
    assert all(command in result.output for command in COMMANDS)


def test_info_prints_an_experiment_that_loads_again(tmp_path):
    result = runner.invoke(app, ["info", "--preset", "demo"])
    assert result.exit_code == 0
    file = tmp_path / "experiment.yaml"
    file.write_text(result.output.split("# demo-", 1)[1].split("\n", 1)[1], encoding="utf-8")
    assert Experiment.load(file) == Experiment.load("demo")


def test_info_says_what_the_published_preset_lacks(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINDIFFUSER_WEIGHTS", str(tmp_path))
    result = runner.invoke(app, ["info", "--preset", "brain-diffuser"], terminal_width=250)
    assert result.exit_code == 0
    said = " ".join(result.output.split())
    assert f"vdvae: missing: expected at {tmp_path / 'brain-diffuser' / 'vdvae'}" in said
    assert "6,660 MB" in said
    assert "calibration: transductive" in said


def test_info_says_what_fits_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINDIFFUSER_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(memory_plan, "gpu_of_this_machine", lambda device: ("Small GPU", 2e9))
    output = runner.invoke(app, ["info", "--preset", "brain-diffuser"], terminal_width=100).output
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if "GPU" in line]
    assert ["GPU of 8 GB", "16", "half", "false", "6.6 GB"] in cells
    assert ["this machine: Small GPU, 2 GB", "4", "half", "true", "1.7 GB"] in cells
    setting = output.split("write in the experiment file: ")[1].splitlines()[0]
    assert Experiment.load("demo").changed(yaml.safe_load(setting)).diffusion.offload
    assert "no GPU" not in output


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        (None, "This machine has no GPU: CPU, float32, about 0.9 GB of main memory"),
        (("Small GPU", 2e9), "This machine has Small GPU, 2 GB: diffusion: {batch_size: 16, precision: full"),
    ],
)
def test_info_says_of_the_demonstration_what_this_machine_has_room_for(gpu, words, monkeypatch):
    monkeypatch.setattr(memory_plan, "gpu_of_this_machine", lambda device: gpu)
    output = runner.invoke(app, ["info", "--preset", "demo"]).output
    assert words in output
    assert "GPU of 8 GB" not in output


def test_choices_of_the_command_line_enter_the_experiment(tmp_path):
    arguments = ["--preset", "demo", "--nsd", str(tmp_path), "--subject", "5", "--device", "cuda:7"]
    result = runner.invoke(app, ["prepare", *arguments, "--out", str(tmp_path / "run")])
    assert result.exit_code == 1  # there is no NSD
    stored = Experiment.load(tmp_path / "run" / "experiment.yaml")
    assert (stored.data.root, stored.data.subject, stored.device) == (tmp_path, 5, "cuda:7")
    result = runner.invoke(app, ["prepare", "--device", "cpu", "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert Experiment.load(tmp_path / "run" / "experiment.yaml").device == "cpu"
    result = runner.invoke(app, ["run", "--device", "cuda:7", "--out", str(tmp_path / "run")])
    assert "--device cpu does without" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--config", "no-such-preset"], "there is no file no-such-preset and no preset of that name"),
        (["reconstruct"], "reconstruct needs prepare first"),
        (["run", "--preset", "brain-diffuser"], "checkpoints.vdvae names"),
        (["run", "--device", "abacus"], "there is no device 'abacus'"),
    ],
)
def test_our_errors_are_one_sentence_and_status_one(arguments, words, tmp_path):
    result = runner.invoke(app, [*arguments, "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output


def test_unknown_entry_in_an_experiment_is_named(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(Experiment.load("demo").to_yaml() + "gidance: 3\n", encoding="utf-8")
    result = runner.invoke(app, ["run", "--config", str(file), "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert "gidance" in result.output


def test_simulated_sizes_that_cannot_be_are_refused(tmp_path):
    result = runner.invoke(app, ["simulate", str(tmp_path / "recording"), "--train-pictures", "7"])
    assert result.exit_code == 1
    assert "sessions" in result.output
