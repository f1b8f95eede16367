"""The command line is a veneer: it finds commands, passes arguments on, and turns our errors into one sentence."""

import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

import braindiffuser
from braindiffuser.cli import app
from braindiffuser.cli.endings import stop_once
from braindiffuser.cli.screen import print_analysis
from braindiffuser.datasets.nsd import NSD
from braindiffuser.datasets.simulation.subject import SimulatedSubject
from braindiffuser.errors import RunError
from braindiffuser.experiment import EvaluationConfig, Experiment, preset_names
from braindiffuser.experiment_file import experiment_schema
from braindiffuser.files import alone_in
from braindiffuser.report.sections import PictureGroup, PictureGroups, PictureRef, Section, Table, Text
from braindiffuser.run import Run
from braindiffuser.stages import stages

runner = CliRunner()
COMMANDS = [
    "demo",
    "run",
    *stages(),
    "curve",
    "check",
    "folds",
    "reproduce",
    "study",
    "export",
    "fetch",
    "simulate",
    "info",
    "checkpoints",
    "ratings",
    "share",
    "decode",
]
pytestmark = pytest.mark.usefixtures("types_unchecked_here")

MODULE = """
from braindiffuser.analyses.analysis import Analysis


class Question(Analysis):
    def run(self, data):
        raise ValueError("not asked")
"""


@pytest.fixture
def asked(monkeypatch):
    """What was asked for, instead of doing it: stage, experiment, folder, overwrite."""
    asked = []

    def opened(experiment, folder, overwrite=False, progress=None, shared=None, note_when_done=False, workers=None):
        run = Run.__new__(Run)
        run.experiment = experiment
        run.steps = lambda: ()

        def do(stage, again=False):
            assert again == (overwrite and stage == "report")  # a page is drawn anew
            asked.append((stage, experiment, folder, overwrite))

        run.do = do
        run.run_all = lambda: asked.append((None, experiment, folder, overwrite))
        return run

    monkeypatch.setattr(Run, "open", opened)
    monkeypatch.setattr("braindiffuser.cli.run_commands.print_result", lambda run: None)
    monkeypatch.setattr("braindiffuser.cli.run_commands.print_analysis", lambda run, label: None)
    return asked


def words_of(result):
    return " ".join(result.output.split())


# Commands


def test_the_commands_are_the_stages_and_a_few_more():
    assert sorted(info.name or info.callback.__name__ for info in app.registered_commands) == sorted(COMMANDS)
    assert not app.registered_groups


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"Example: braindiffuser {command}" in words_of(result)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_whole_on_a_screen_of_80_columns(command):
    result = runner.invoke(app, [command, "--help"], terminal_width=80)
    assert max(map(len, result.output.splitlines())) == 80
    assert "…" not in result.output


@pytest.mark.parametrize("stage", list(stages()))
def test_a_stages_command_says_what_it_does_and_does_that_stage(stage, asked, tmp_path):
    if stage != "evaluate":  # which also scores two folders
        assert stages()[stage].does in words_of(runner.invoke(app, [stage, "--help"], terminal_width=300))
    (tmp_path / "run" / "steps").mkdir(parents=True)  # as of a run that was begun
    result = runner.invoke(app, [stage, "--preset", "demo", "--out", str(tmp_path / "run"), "--overwrite"])
    assert result.exit_code == 0
    assert asked == [(stage, Experiment.load("demo"), tmp_path / "run", True)]


def test_a_folder_of_shared_features_reaches_the_run(tmp_path, monkeypatch):
    given = []

    def opened(experiment, folder, overwrite, progress, shared, note_when_done, workers):
        given.append(shared)
        raise RunError("enough")

    monkeypatch.setattr(Run, "open", opened)
    for more in (["--shared", str(tmp_path / "features")], []):
        runner.invoke(app, ["run", "--preset", "demo", "--out", str(tmp_path / "run"), *more])
    assert given == [tmp_path / "features", None]


def test_workers_are_started_as_they_were_asked_for_and_reach_the_run(tmp_path, monkeypatch):
    asked, given = [], []

    @contextmanager
    def open_cluster(n_workers, file, progress):
        asked.append((n_workers, file))
        yield "connect"
        asked.append("closed")

    def opened(experiment, folder, overwrite, progress, shared, note_when_done, workers):
        given.append(workers)
        raise RunError("enough")

    monkeypatch.setattr("braindiffuser.clusters.open_cluster", open_cluster)
    monkeypatch.setattr(
        "braindiffuser.dask_workers.DaskCluster", lambda connect, modules, progress: (connect, *modules)
    )
    monkeypatch.setattr(Run, "open", opened)
    file = tmp_path / "slurm.yaml"
    for more in (["--workers", "2"], ["--cluster", str(file), "--with", "json"], []):
        runner.invoke(app, ["run", "--preset", "demo", "--out", str(tmp_path / "run"), *more])
    assert [each for each in asked if each != "closed"] == [(2, None), (None, file)]
    assert given == [("connect",), ("connect", "json"), None]


def test_only_commands_that_workers_compute_for_take_them():
    from braindiffuser.stages import stages

    takes = {
        command.name or command.callback.__name__
        for command in app.registered_commands
        if "workers" in inspect.signature(command.callback).parameters
    }
    assert takes == {"run", "demo", "curve", "folds", "reproduce", "study"} | {
        name for name, stage in stages().items() if stage.workers != "none"
    }


PICTURES = PictureGroups(
    groups=(
        PictureGroup(name="V1", note="", pictures=(PictureRef(kind="a", number=0, label="x"),)),
        PictureGroup(name="faces", note="", pictures=(PictureRef(kind="a", number=1, label="x"),)),
    )
)


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ((Text(text="How.", style="verdict"), PICTURES), ["- How."]),
        ((Text(text="How it is done."), PICTURES, PICTURES), ["- Pictures of V1 and faces are on the page."]),
        ((Text(text="How it is done."), Table(caption="", columns=(), rows=())), []),
        ((Text(text="There is nothing to draw."), Text(text="A note.")), ["- There is nothing to draw."]),
    ],
)
def test_an_analysis_that_concludes_nothing_is_not_printed_as_if_it_did(blocks, said, tmp_path, capsys):
    """How it was done is no conclusion: what was drawn is printed, or why there is nothing, or neither."""
    stored = Section(name="own", title="Own", blocks=blocks).model_dump(mode="json")
    results = SimpleNamespace(folder=tmp_path, read_json=lambda name: stored)
    print_analysis(SimpleNamespace(results=results), "own")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:-1] == ["Own", *said]
    assert lines[-1].startswith("Page: ")


@pytest.mark.parametrize("command", [["run", "--preset", "demo"], ["run"], ["demo"]])
def test_a_run_does_all_stages(command, asked, tmp_path):
    result = runner.invoke(app, [*command, "--out", str(tmp_path / "run")])
    assert result.exit_code == 0
    assert asked == [(None, Experiment.load("demo"), tmp_path / "run", False)]


def test_help_lists_every_command():
    result = runner.invoke(app, ["--help"])
    assert all(command in result.output for command in COMMANDS)


# Information


@pytest.mark.parametrize("preset", preset_names())
def test_info_prints_a_file_that_runs_as_it_stands(preset, asked, tmp_path):
    printed = runner.invoke(app, ["info", "--preset", preset])
    assert (printed.exit_code, printed.stderr) == (0, "")
    (tmp_path / "mine.yaml").write_text(printed.stdout, encoding="utf-8")
    again = runner.invoke(app, ["info", "--config", str(tmp_path / "mine.yaml")])
    assert again.stdout == printed.stdout
    assert runner.invoke(app, ["run", "--config", str(tmp_path / "mine.yaml"), "--out", "runs/mine"]).exit_code == 0
    assert asked[0][1] == Experiment.load(preset)


def test_info_prints_what_a_file_says(tmp_path):
    name = ":smile: [bold]two[/bold]\tlines\n# no comment"
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"preset": "demo", "name": name}))
    printed = runner.invoke(app, ["info", "--config", str(tmp_path / "mine.yaml")], terminal_width=40).stdout
    assert yaml.safe_load(printed) == Experiment.load(tmp_path / "mine.yaml").model_dump(mode="json")


def test_info_says_which_checkpoints_are_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINDIFFUSER_CHECKPOINTS", str(tmp_path))
    said = runner.invoke(app, ["info", "--preset", "brain-diffuser"]).stdout
    for entry, network in {"generator.vdvae": "vdvae", "targets.vision.checkpoint": "clip"}.items():
        assert f"# Checkpoint {entry} is missing, expected at {tmp_path / 'brain-diffuser' / network}" in said
    assert "# braindiffuser checkpoints --download --convert" in said


def test_info_says_which_modules_a_run_needs(tmp_path, monkeypatch):
    for name in ("questions", "more_questions"):
        (tmp_path / f"{name}.py").write_text(MODULE)
    kinds = [{"kind": f"{name}:Question", "name": name} for name in ("questions", "more_questions")]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"preset": "demo", "analyses": kinds}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    needed = "--with more_questions --with questions"
    try:
        printed = runner.invoke(app, ["info", "--config", "mine.yaml", *needed.split()]).stdout
    finally:
        for name in ("questions", "more_questions"):
            sys.modules.pop(name, None)
    assert f"# Run this file: braindiffuser run --config FILE --out RUN {needed}\n" in printed
    assert "--with" not in runner.invoke(app, ["info"]).stdout


def test_info_prints_the_schema_of_files():
    assert json.loads(runner.invoke(app, ["info", "--schema"]).stdout) == experiment_schema()


@pytest.mark.parametrize(
    ("command", "option", "settings", "entry"),
    [
        ("run", "--nsd", NSD, "root"),
        ("run", "--subject", NSD, "subject"),
        ("fit", "--device", Experiment, "device"),
        ("evaluate", "--profile", EvaluationConfig, "profile"),
        ("simulate", "--train-pictures", SimulatedSubject, "n_train"),
        ("simulate", "--test-pictures", SimulatedSubject, "n_test"),
        ("simulate", "--trials-per-session", SimulatedSubject, "trials_per_session"),
        ("simulate", "--subject", SimulatedSubject, "subject"),
        ("simulate", "--seed", SimulatedSubject, "seed"),
        ("simulate", "--betas-format", SimulatedSubject, "betas_format"),
    ],
)
def test_options_that_are_entries_are_described_as_these(command, option, settings, entry):
    said = " ".join(runner.invoke(app, [command, "--help"]).output.replace("│", " ").split())
    field = settings.model_fields[entry]
    default = f" [default: {field.default}]" if command == "simulate" else ""
    assert re.search(rf"{option} <[^>]+>( \[[^]]+\])? {re.escape(field.description + default)}", said)


# Choices


def test_choices_of_the_command_line_enter_the_experiment(tmp_path):
    arguments = ["--preset", "demo", "--nsd", str(tmp_path / "nsd"), "--subject", "5", "--device", "cuda:7"]
    result = runner.invoke(app, ["prepare", *arguments, "--out", str(tmp_path / "run")])
    assert result.exit_code == 1  # there is no NSD
    stored = Experiment.load(tmp_path / "run" / "experiment.yaml")
    assert stored.dataset.kind == "nsd"
    assert (stored.dataset.root, stored.dataset.subject, stored.device) == (tmp_path / "nsd", 5, "cuda:7")
    result = runner.invoke(app, ["prepare", "--device", "cpu", "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert Experiment.load(tmp_path / "run" / "experiment.yaml") == stored.changed({"device": "cpu"})
    result = runner.invoke(app, ["run", "--device", "cuda:7", "--out", str(tmp_path / "run")])
    assert "use --device cpu or another index" in words_of(result)


def test_choices_leave_other_entries_of_the_preset(asked, tmp_path):
    arguments = ["--preset", "brain-diffuser", "--nsd", str(tmp_path), "--subject", "7", "--out", "runs/subj07"]
    assert runner.invoke(app, ["run", *arguments]).exit_code == 0
    expected = Experiment.load("brain-diffuser").changed({"dataset": {"root": tmp_path, "subject": 7}})
    assert asked[0][1] == expected
    assert expected.dataset.sessions == 37


def test_the_subject_of_a_simulation_may_be_chosen_too(asked):
    assert runner.invoke(app, ["run", "--subject", "3", "--out", "runs/new"]).exit_code == 0
    assert asked[0][1] == Experiment.load("demo").changed({"dataset": {"subject": 3}})


def test_the_profile_of_a_run_may_be_chosen(asked, tmp_path):
    (tmp_path / "steps").mkdir()
    arguments = ["--preset", "demo", "--out", str(tmp_path), "--profile", "brain-diffuser-2023"]
    assert runner.invoke(app, ["evaluate", *arguments]).exit_code == 0
    assert asked[0][1] == Experiment.load("demo").changed({"evaluation": {"profile": "brain-diffuser-2023"}})


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["seen"],
        ["seen", "made", "--out", "run"],
        ["--json", "scores.json"],
        ["one", "two", "three"],
        ["--seen", "seen"],
        ["one", "--seen", "seen", "--out", "run"],
    ],
)
def test_a_run_is_scored_or_pictures_but_not_both(arguments):
    result = runner.invoke(app, ["evaluate", *arguments])
    assert result.exit_code == 1
    assert "name either a run" in words_of(result)


@pytest.mark.parametrize("options", [["--csv", "a.csv"], ["--page", "a.html", "--no-cache"], ["--against", "ours"]])
def test_options_of_folders_are_refused_for_a_run_and_its_own_files_are_named(options):
    result = runner.invoke(app, ["evaluate", "--out", "run", *options])
    assert result.exit_code == 1
    for words in (
        options[0],
        "for folders and stacks",
        "run/report/scores.md",
        "run/scores.json",
        "run/report/index.html",
    ):
        assert words in words_of(result)


def test_folds_pass_choices_on_and_print_what_comes_back(tmp_path, monkeypatch):
    came = []
    entry = {"label": "PixCorr", "higher_is_better": True, "value": 0.25, "ci95": [0.125, 0.5]}
    entry["baselines"], entry["baselines_ci95"] = {"shuffled_training": 0.0625}, {}

    def instead(experiment, out, n_shuffled, overwrite, progress, workers):
        came.append((experiment, out, n_shuffled, overwrite))
        return {"metrics": {"pixcorr": entry}}

    monkeypatch.setattr("braindiffuser.fold_runs.run_folds", instead)
    (tmp_path / "mine.yaml").write_text("preset: demo\nsplit: {kind: folds, n_folds: 3}\n")
    command = ["folds", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "all")]
    result = runner.invoke(app, [*command, "--shuffled", "4", "--device", "cuda:1", "--overwrite"])
    assert result.exit_code == 0
    experiment = Experiment.load(tmp_path / "mine.yaml")
    assert came == [(experiment.changed({"device": "cuda:1"}), tmp_path / "all", 4, True)]
    for printed in ("0.250", "[0.125 – 0.500]", "0.062", f"Page: {tmp_path / 'all' / 'index.html'}"):
        assert printed in words_of(result)
    assert runner.invoke(app, command).exit_code == 0
    assert came[1] == (experiment, tmp_path / "all", 0, False)
    assert runner.invoke(app, [*command, "--shuffled", "-1"]).exit_code == 2


def test_a_study_passes_choices_on_and_prints_what_comes_back(tmp_path, monkeypatch):
    came = []
    entry = {"label": "PixCorr", "higher_is_better": True, "value": 0.25, "ci95": [0.125, 0.5], "ci95_subjects": None}
    entry |= {"subjects": {"subj01": 0.125}, "subjects_ci95": {"subj01": [0.0625, 0.75]}}

    def instead(runs, out, **options):
        came.append((runs, out, {name: value for name, value in options.items() if name != "progress"}))
        return {"metrics": {"pixcorr": entry}, "subjects": [{"name": "subj01"}]}

    monkeypatch.setattr("braindiffuser.study.study.run_study", instead)
    monkeypatch.setenv("RUNS", str(tmp_path))
    command = ["study", "$RUNS/a", str(tmp_path / "b"), "--out", str(tmp_path / "all")]
    result = runner.invoke(app, [*command, "--no-average", "--permutations", "9", "--device", "cuda:1", "--overwrite"])
    assert result.exit_code == 0
    options = {"average": False, "n_permutations": 9, "device": "cuda:1", "overwrite": True}
    assert came == [([tmp_path / "a", tmp_path / "b"], tmp_path / "all", options)]
    for printed in ("subj01", "0.125", "0.250", f"Page: {tmp_path / 'all' / 'index.html'}"):
        assert printed in words_of(result)
    assert runner.invoke(app, command).exit_code == 0
    assert came[1][2] == {"average": True, "n_permutations": 1000, "device": None, "overwrite": False}
    assert runner.invoke(app, [*command, "--permutations", "-1"]).exit_code == 2


def test_folders_without_runs_make_no_study(tmp_path):
    result = runner.invoke(app, ["study", str(tmp_path), "--out", str(tmp_path / "all")])
    assert result.exit_code == 1
    assert "lies in the run" in words_of(result)
    result = runner.invoke(app, ["study", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "all")])
    assert result.exit_code == 1
    assert "a is not there: name the folder of a finished run" in words_of(result)
    assert not (tmp_path / "all").exists()


def test_folds_of_another_split_are_refused_in_a_sentence(tmp_path):
    result = runner.invoke(app, ["folds", "demo", "--out", str(tmp_path / "all")])
    assert result.exit_code == 1
    assert "error: split is layout, and all folds are made of folds: write" in words_of(result)
    assert not (tmp_path / "all").exists()


# Classes of others


def test_classes_of_others_are_used_if_their_module_is_named(asked, tmp_path, monkeypatch):
    (tmp_path / "questions.py").write_text(MODULE)
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"preset": "demo", "analyses": [{"kind": "questions:Question"}]}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    arguments = ["run", "--config", str(file), "--out", "run"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 1
    refusal = "analyses.0: questions:Question is in a module that is not imported: name it with --with questions"
    assert refusal in words_of(result)
    assert "questions" not in sys.modules
    try:
        assert runner.invoke(app, [*arguments, "--with", "questions"]).exit_code == 0
    finally:
        sys.modules.pop("questions", None)
    assert [analysis.kind for analysis in asked[0][1].analyses] == ["questions:Question"]


def test_a_module_that_cannot_be_imported_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    result = runner.invoke(app, ["run", "--with", "no_such_module", "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert "--with no_such_module cannot be imported" in words_of(result)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", [".fakes", "./fakes", "fakes.py", "a b", "json.nothing"])
def test_what_is_no_module_is_told_in_a_sentence(name, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    result = runner.invoke(app, ["run", "--with", name, "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert "name a module, such as lab.depth for lab/depth.py" in words_of(result)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ValueError('no depth')", "line 2 of {file} fails with ValueError: no depth"),
        ("import sys; sys.exit()", "line 2 of {file} fails with SystemExit"),
        ("import sys; sys.exit(0)", "line 2 of {file} fails with SystemExit: 0"),
        ("raise GeneratorExit", "line 2 of {file} fails with GeneratorExit"),
        ("import numpyy", "line 2 of {file} fails with ModuleNotFoundError: No module named 'numpyy'"),
        ("import faulty.more", "line 2 of {file} fails with ModuleNotFoundError: No module named 'faulty.more'"),
        ("from json import nothing", "line 2 of {file} fails with ImportError: cannot import name 'nothing'"),
        ("import json; json.loads('x')", "line 2 of {file} fails with json.decoder.JSONDecodeError"),
        ("def f(:", "line 2 of {file} is not Python: SyntaxError"),
    ],
)
@pytest.mark.parametrize("command", [["run", "--out", "run"], ["info"], ["evaluate", "--out", "run"]])
def test_a_module_that_fails_is_named_with_its_line(code, said, command, tmp_path, monkeypatch):
    (tmp_path / "faulty.py").write_text(f"# A module\n{code}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    result = runner.invoke(app, [*command, "--with", "faulty"])
    assert result.exit_code == 1
    expected = f"error: --with faulty cannot be imported: {said.format(file=tmp_path / 'faulty.py')}"
    assert expected in words_of(result)
    assert "name a module" not in words_of(result)
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["faulty.py"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "at all")
    result = runner.invoke(app, ["prepare", "--config", "demo", "--out", str(tmp_path / "link")])
    assert result.exit_code == 1
    assert "cannot be read or written" in words_of(result)
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_a_run_whose_manifest_is_gone_is_not_taken_for_a_new_one(tmp_path):
    (tmp_path / "steps").mkdir()
    (tmp_path / "experiment.yaml").write_text(Experiment.load("demo").to_yaml())
    result = runner.invoke(app, ["run", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert f"--config {tmp_path / 'experiment.yaml'}" in words_of(result).replace("\n", "")


@pytest.mark.parametrize("stage", [stage.name for stage in stages().values() if stage.needs])
@pytest.mark.parametrize("preset", [[], ["--preset", "demo"]])
def test_a_stage_that_needs_others_makes_no_folder(stage, preset, tmp_path):
    result = runner.invoke(app, [stage, *preset, "--out", str(tmp_path / "typo" / "run")])
    assert result.exit_code == 1
    assert f"{tmp_path / 'typo' / 'run'} holds no run: name the folder of a run, or begin one with" in words_of(result)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        *((["run", option, ""], option) for option in ("--out", "--config", "--preset", "--nsd", "--device", "--with")),
        (["run", "--out="], "--out="),
        (["demo", "--out", ""], "--out"),
        (["fit", "--out", ""], "--out"),
        (["info", "--config", ""], "--config"),
        (["simulate", ""], "simulate"),
        (["evaluate", "", "made"], "evaluate"),
        (["evaluate", "seen", ""], "seen"),
        (["evaluate", "seen", "made", "--json", ""], "--json"),
        (["evaluate", "made", "--seen", ""], "--seen"),
        (["evaluate", "--out", "run", "--profile", ""], "--profile"),
        (["run", "--device", " "], "--device"),
        (["run", "--out", "\t"], "--out"),
        (["run", "--device= "], "--device="),
    ],
)
def test_empty_values_are_refused(arguments, option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, arguments)
    assert result.exit_code == 1
    assert f"error: the value after {option} is empty: give one, or leave the option out" in words_of(result)
    assert not list(tmp_path.iterdir())


# Scores of two folders


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two folders of three pictures, in the working folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for folder in ("seen", "made"):
        Path(folder).mkdir()
        for number in range(3):
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(f"{folder}/{number}.png")
    return tmp_path


def score_to(path):
    return runner.invoke(app, ["evaluate", "seen", "made", "--profile", "pixels", "--json", str(path)])


def test_scores_replace_earlier_ones_or_an_empty_file_and_a_link_stays_a_link(folders):
    (folders / "real").mkdir()
    (folders / "link.json").symlink_to("real/scores.json")
    (folders / "empty.json").touch()
    for path in ("new/scores.json", "link.json", "link.json", "empty.json"):
        assert score_to(path).exit_code == 0
    assert (folders / "link.json").is_symlink()
    for path in ("new/scores.json", "real/scores.json", "empty.json"):
        assert json.loads((folders / path).read_text())["names"] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("seen/0.png", None),
        ("made/2.png", None),
        ("notes.txt", b"the user's"),
        ("other.json", b'{"a": 1}'),
        ("list.json", b"[]"),
        ("deep.json", 100_000 * b"["),
        ("run/scores.json", b'{"profile": "demo", "metrics": {}, "n_images": 3}'),
    ],
)
def test_scores_replace_nothing_else(path, content, folders):
    (folders / path).parent.mkdir(exist_ok=True)
    if content is not None:
        (folders / path).write_bytes(content)
    (folders / "link.json").symlink_to(path)
    before = (folders / path).read_bytes()
    for named in (path, "link.json"):
        result = score_to(named)
        assert result.exit_code == 1
        assert f"--json {named} is a file already, and was not written by this option" in words_of(result)
    assert (folders / path).read_bytes() == before
    assert "--json seen is a folder: name a file" in words_of(score_to("seen"))


@pytest.mark.parametrize("named", ["file/scores.json", "file/deep/scores.json", f"{'n' * 255}.json", "circle.json"])
def test_scores_that_cannot_be_written_are_known_before_anything_is_scored(named, folders, monkeypatch):
    monkeypatch.setattr("braindiffuser.folder_scores.scoring.open_methods", None)
    (folders / "file").touch()
    (folders / "circle.json").symlink_to("circle.json")
    before = sorted(folders.iterdir())
    result = score_to(named)
    assert result.exit_code == 1
    assert f"{named} cannot be read or written" in words_of(result)
    assert sorted(folders.iterdir()) == before


@pytest.mark.parametrize("forbidden", ["scores.json", "folder/scores.json"])
def test_missing_permission_is_known_before_anything_is_scored(forbidden, folders, monkeypatch):
    (folders / "folder").mkdir()
    assert score_to("scores.json").exit_code == 0
    earlier = (folders / "scores.json").read_bytes()

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.access", lambda path, mode: mode == os.R_OK or str(path) != forbidden)
    monkeypatch.setattr("pathlib.Path.touch", refuse)
    monkeypatch.setattr("braindiffuser.folder_scores.scoring.open_methods", None)
    result = score_to(forbidden)
    assert result.exit_code == 1
    assert f"--json {forbidden} cannot be read or written: you have no permission" in words_of(result)
    assert (folders / "scores.json").read_bytes() == earlier
    assert not list((folders / "folder").iterdir())


def test_scores_are_printed_even_if_they_cannot_be_written(folders, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device", "scores.json")

    monkeypatch.setattr("braindiffuser.folder_scores.scores_file.write_text", fail)
    result = score_to("scores.json")
    assert result.exit_code == 1
    assert "PixCorr" in words_of(result)
    assert "scores.json cannot be read or written" in words_of(result)
    assert not (folders / "scores.json").exists()


TABLES = {"--csv": "t.csv", "--markdown": "t.md", "--latex": "t.tex", "--page": "t.html", "--json": "t.json"}


def test_several_methods_are_compared_and_written_in_every_form_again_and_again(folders):
    stack = np.stack([np.asarray(Image.open(f"made/{number}.png"))[::-1] for number in range(3)])
    np.save("other.npy", stack)
    options = [word for pair in TABLES.items() for word in pair]
    for against in ([], ["--against", "other"]):
        command = ["evaluate", "made", "other.npy", "--seen", "seen", "--profile", "pixels", "--no-cache"]
        result = runner.invoke(app, [*command, *options, *against])
        assert result.exit_code == 0
        assert "other.npy have no names, and are taken in the order of the names of seen" in words_of(result)
        scores = json.loads((folders / "t.json").read_text())
        assert (list(scores["methods"]), scores["against"]) == (["made", "other"], (against or ["made"])[-1])
        value = f"{abs(scores['methods']['made']['metrics']['ssim']['value']):.3f}"
        for option in TABLES.keys() - {"--json"}:
            assert value in (folders / TABLES[option]).read_text(), option


MINE = [
    "Metric,My own numbers\nssim,0.4\nnotes,three weeks of work\n",
    "Metric,ours,Chance\nssim,0.4,\n",
    'Metric,ours,"ours, shuffled",Chance\nnotes,0.4,0.1,\n',
    'Metric,ours,"ours, shuffled",Chance,notes\nssim,0.4,0.1,,mine\n',
    'Metric,ours,"ours, shuffled",Chance\nssim,0.4,0.1,,mine\n',
    "Metric,",
]


@pytest.mark.parametrize("content", MINE)
def test_a_table_of_somebody_else_that_begins_like_ours_stays(content, folders, monkeypatch):
    monkeypatch.setattr("braindiffuser.folder_scores.scoring.open_methods", None)
    (folders / "mine.csv").write_text(content)
    result = runner.invoke(app, ["evaluate", "seen", "made", "--csv", "mine.csv"])
    assert "--csv mine.csv is a file already, and was not written by this option" in words_of(result)
    assert (folders / "mine.csv").read_text() == content


def test_tables_of_methods_of_any_name_are_replaced_and_rows_that_were_added_are_not(folders):
    names = ["=1+2, low", "Chance", "a, shuffled"]
    for name in names:
        shutil.copytree("made", name)
        Image.fromarray(np.asarray(Image.open(f"{name}/0.png"))[::-1]).save(f"{name}/0.png")
    command = ["evaluate", *names, "--seen", "seen", "--profile", "pixels", "--no-cache", "--csv", "t.csv"]
    assert [runner.invoke(app, command).exit_code for _ in range(2)] == [0, 0]
    with (folders / "t.csv").open("a") as file:
        file.write("notes\n")
    assert runner.invoke(app, command).exit_code == 1


def test_stopped_while_tables_are_made_nothing_was_written_as_it_says(folders, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("braindiffuser.folder_scores.printed.method_page", stop)
    options = [word for pair in TABLES.items() for word in pair]
    result = runner.invoke(app, ["evaluate", "seen", "made", "--profile", "pixels", "--no-cache", *options])
    assert result.exit_code == 130
    assert "stopped: nothing was written; the same command begins again" in words_of(result)
    assert not any((folders / name).exists() for name in TABLES.values())


def test_stopped_while_files_are_written_it_says_that_some_may_be(folders, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("braindiffuser.folder_scores.scores_file.write_text", stop)
    options = ["--json", "t.json", "--csv", "t.csv"]
    result = runner.invoke(app, ["evaluate", "seen", "made", "--profile", "pixels", "--no-cache", *options])
    assert result.exit_code == 130
    assert "stopped: some of the files may be written; the same command writes all of them" in words_of(result)


def test_one_method_with_seen_named_is_the_same_as_two_folders(folders):
    assert score_to("two.json").exit_code == 0
    command = ["evaluate", "made", "--seen", "seen", "--profile", "pixels", "--json", "one.json", "--page", "one.html"]
    result = runner.invoke(app, command)
    assert result.exit_code == 0
    assert (folders / "one.json").read_bytes() == (folders / "two.json").read_bytes()
    scores = json.loads((folders / "one.json").read_text())
    assert (scores["seen"], scores["made"]) == ("seen", "made")
    assert "made, scored against what was seen" in (folders / "one.html").read_text()


def test_what_is_taken_for_seen_is_said_first_and_how_to_name_it_where_only_order_told(folders):
    words = {
        (
            "seen",
            "made",
        ): "made is scored as reconstructions of seen (what was seen, since it is named first; to compare two",
        ("made", "--seen", "seen"): "made is scored as reconstructions of seen (what was seen)",
    }
    for arguments, said in words.items():
        result = runner.invoke(app, ["evaluate", *arguments, "--profile", "pixels", "--no-cache", "--latex", "t.tex"])
        assert result.stdout.startswith(said)
        assert "made is scored as reconstructions of seen" in (folders / "t.tex").read_text().splitlines()[0]


@pytest.mark.parametrize("option", TABLES)
def test_tables_and_pages_replace_nothing_else(option, folders, monkeypatch):
    monkeypatch.setattr("braindiffuser.folder_scores.scoring.open_methods", None)
    (folders / "mine.txt").write_text("<!DOCTYPE html> mine")
    result = runner.invoke(app, ["evaluate", "seen", "made", option, "mine.txt"])
    assert result.exit_code == 1
    assert f"{option} mine.txt is a file already, and was not written by this option" in words_of(result)
    assert (folders / "mine.txt").read_text() == "<!DOCTYPE html> mine"


def test_notes_that_were_written_into_tables_and_pages_stay(folders):
    options = [word for option in ("--markdown", "--latex", "--page") for word in (option, TABLES[option])]
    command = ["evaluate", "seen", "made", "--profile", "pixels", "--no-cache"]
    assert [runner.invoke(app, [*command, *options]).exit_code for _ in range(2)] == [0, 0]
    for option, name in zip(options[::2], options[1::2], strict=True):
        noted = (folders / name).read_text() + "three weeks of work\n"
        (folders / name).write_text(noted)
        result = runner.invoke(app, [*command, option, name])
        assert (
            f"{name} is a file already, and was not written by this option, was changed since, or is of an earlier version"
            in words_of(result)
        )
        assert (folders / name).read_text() == noted


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--csv", "a.csv", "--markdown", "./a.csv"],
            "--csv and --markdown name the same file a.csv: give each its own",
        ),
        (["--against", "best"], "there is no method best to compare with: name one of made"),
        (["--cache", "kept", "--no-cache"], "--cache names a folder, and --no-cache keeps nothing"),
    ],
)
def test_options_that_cannot_be_are_known_before_anything_is_scored(arguments, said, folders, monkeypatch):
    monkeypatch.setattr("braindiffuser.folder_scores.scoring.score_methods", None)
    result = runner.invoke(app, ["evaluate", "made", "--seen", "seen", "--profile", "pixels", *arguments])
    assert result.exit_code == 1
    assert said in words_of(result)


def test_features_are_kept_where_networks_are_unless_another_folder_is_named(folders, monkeypatch):
    given = []

    def instead(opened, against, device, cache):
        given.append(cache)
        raise RunError("enough")

    monkeypatch.setenv("BRAINDIFFUSER_CHECKPOINTS", str(folders / "networks"))
    monkeypatch.setattr("braindiffuser.folder_scores.scoring.score_methods", instead)
    for options in ([], ["--cache", "kept"], ["--no-cache"]):
        runner.invoke(app, ["evaluate", "seen", "made", "--profile", "pixels", *options])
    assert given == [folders / "networks" / "features", Path("kept"), None]


def test_scores_that_replace_others_keep_permissions(folders):
    path = folders / "scores.json"
    assert score_to(path).exit_code == 0
    path.chmod(0o640)
    path.write_text(path.read_text().replace("{", "{ ", 1))
    assert score_to(path).exit_code == 0
    assert (path.stat().st_mode & 0o777, path.read_text()[:2]) == (0o640, "{\n")


def test_scores_are_not_named_like_a_picture(folders):
    result = score_to("made/3.PNG")
    assert result.exit_code == 1
    assert "--json made/3.PNG would be taken for a picture: name a file that ends in .json" in words_of(result)
    assert not (folders / "made" / "3.PNG").exists()


def test_scores_are_written_straight_to_what_is_no_file(folders):
    os.mkfifo(folders / "pipe")
    reader = os.open(folders / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert score_to("pipe").exit_code == 0
        assert json.loads(os.read(reader, 100_000))["names"] == ["0", "1", "2"]
    finally:
        os.close(reader)
    assert score_to("/dev/null").exit_code == 0
    assert (folders / "pipe").is_fifo()
    assert Path("/dev/null").is_char_device()


# Errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--config", "no-such-preset"], "there is no file no-such-preset and no preset of that name"),
        (["reconstruct"], "reconstruct needs prepare first"),
        (["prepare"], "holds no run: name the folder of a run, or begin one with `braindiffuser prepare --config FILE"),
        (["prepare", "--nsd", "/nsd"], "holds no run: name the folder of a run"),
        (["run", "--preset", "brain-diffuser"], "targets.latents.checkpoint names"),
        (["run", "--device", "abacus"], "there is no device 'abacus'"),
        (["evaluate", "--profile", "mine"], "error: evaluation: there is no profile mine, choose one of"),
    ],
)
def test_our_errors_are_one_sentence_and_status_one(arguments, words, tmp_path):
    result = runner.invoke(app, [*arguments, "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert words in words_of(result)
    assert "Traceback" not in result.output


def test_unknown_entry_in_an_experiment_is_named(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(Experiment.load("demo").to_yaml() + "gidance: 3\n", encoding="utf-8")
    result = runner.invoke(app, ["run", "--config", str(file), "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert "gidance: there is no such entry; known entries: name, seed," in words_of(result)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--train-pictures", "7"], "error: 207 pictures × 3 repeats = 621 trials do not fill sessions of 480 trials"),
        (["--subject", "9"], "error: subject: Input should be less than or equal to 8"),
    ],
)
def test_simulated_sizes_that_cannot_be_are_refused(arguments, words, tmp_path):
    result = runner.invoke(app, ["simulate", str(tmp_path / "recording"), *arguments])
    assert result.exit_code == 1
    assert words in words_of(result)


@pytest.mark.parametrize("option", [["--config", "demo"], ["--overwrite"], ["--with", "lab.depth"]])
def test_options_of_runs_are_refused_for_two_folders(option):
    result = runner.invoke(app, ["evaluate", "seen", "made", *option])
    assert result.exit_code == 1
    assert "apply to runs only" in result.output


def test_the_version_is_printed():
    result = runner.invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"braindiffuser {braindiffuser.__version__}\n")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"targets": {"latents": {"n_layers": 31}}},
            "targets.latents.n_layers is 31, but the network in .* has 14: give 14 or",
        ),
        (
            {"targets": {"vision": {"checkpoint": "demo/vdvae"}}},
            "targets.vision.checkpoint names .* holds a VDVAE, not a CLIP",
        ),
        ({"generator": {"unet": "demo/vdvae"}}, "generator.unet names .* holds a VDVAE, not a dual-guided UNet"),
        (
            {"generator": {"autoencoder": "demo/unet"}},
            "generator.autoencoder names .* holds a dual-guided UNet, not a KL",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_its_entry_is_told_before_anything_is_computed(changes, words, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text(Experiment.load("demo").changed(changes).to_yaml())
    result = runner.invoke(app, ["run", "--config", str(config), "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert re.search(words, result.output.replace("\n", " "))
    assert not (tmp_path / "run" / "steps").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "config.json cannot be used: .* is not JSON"),
        ('{"dec_blocks": ""}', "config.json is not that of a VDVAE"),
        (None, "cannot"),
    ],
)
def test_an_odd_config_of_a_checkpoint_is_one_sentence_that_names_the_entry(content, words, tmp_path):
    folder = tmp_path / "vdvae"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"")
    if content is not None:
        (folder / "config.json").write_text(content)
    config = tmp_path / "mine.yaml"
    config.write_text(Experiment.load("demo").changed({"targets": {"latents": {"checkpoint": str(folder)}}}).to_yaml())
    result = runner.invoke(app, ["run", "--config", str(config), "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert re.search(
        f"error: targets.latents.checkpoint names .*vdvae, whose {words}|{words}", result.output.replace("\n", " ")
    )
    assert "errors.pydantic.dev" not in result.output


def test_a_log_shows_what_runs_and_a_stopped_run_says_how_to_continue(tmp_path, monkeypatch):
    def stopped(run):
        run._progress("averaging sessions", 0, 9)
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "run_all", stopped)
    result = runner.invoke(app, ["run", "--out", str(tmp_path / "run")])
    assert result.exit_code == 130
    assert "averaging sessions: 9\n" in result.output
    assert "stopped: the same command continues" in result.output


def test_a_published_file_of_another_size_is_marked(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINDIFFUSER_CHECKPOINTS", str(tmp_path))
    (tmp_path / "clip-vit-large-patch14-tokenizer.json").write_bytes(b"{}")
    printed = runner.invoke(app, ["checkpoints"]).output
    assert re.search(r"^ +damaged +2 MB +clip-vit-large-patch14-tokenizer\.json", printed, re.MULTILINE)
    assert re.search(r"^ +missing +500 MB", printed, re.MULTILINE)


# What the operating system says


def command(arguments, **environment):
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "braindiffuser", *arguments],
        capture_output=True,
        check=False,
        env=os.environ | environment,
    )


@pytest.mark.parametrize("given", ["info", "check demo"])
def test_a_closed_output_is_said(given):
    closed = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m braindiffuser {given} >&-', sys.executable], capture_output=True, check=False
    )
    assert (closed.returncode, closed.stderr) == (1, b"error: there is no standard output to print to: it was closed\n")


@pytest.mark.parametrize("arguments", [["info"], ["checkpoints"], ["--version"], ["run", "--help"]])
def test_output_into_a_pipe_that_was_closed_is_no_success_and_no_traceback(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as pipe:  # noqa: PTH123  of a descriptor
        result = subprocess.run(
            [sys.executable, "-m", "braindiffuser", *arguments], stdout=pipe, stderr=subprocess.PIPE, check=False
        )
    assert (result.returncode, result.stderr) == (1, b"")


@pytest.mark.parametrize(
    "arguments", [["info"], ["info", "--schema"], ["checkpoints"], ["--version"], ["check", "demo"]]
)
def test_output_that_cannot_be_written_is_said(arguments):
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            [sys.executable, "-m", "braindiffuser", *arguments], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert result.returncode == 1
    assert result.stderr == (
        b"error: the standard output cannot be read or written: the disk is full: free room, then run the same command "
        b"again\n"
    )


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_file_is_utf_8_whatever_the_terminal_shows(encoding, tmp_path):
    printed = command(["info"], PYTHONIOENCODING=encoding)
    assert (printed.returncode, printed.stderr) == (0, b"")
    (tmp_path / "mine.yaml").write_bytes(printed.stdout)
    assert Experiment.load(tmp_path / "mine.yaml") == Experiment.load("demo")
    failed = command(["info", "--config", "é→"], PYTHONIOENCODING=encoding)
    assert failed.returncode == 1
    assert failed.stderr.startswith(b"error: there is no file ")
    assert b"Traceback" not in failed.stderr


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_scores_are_printed_whatever_the_terminal_shows(encoding, folders):
    printed = command(["evaluate", "seen", "made", "--profile", "pixels"], PYTHONIOENCODING=encoding)
    assert (printed.returncode, printed.stderr) == (0, b"")
    assert b"PixCorr \\u2191" in printed.stdout


def test_a_path_of_an_option_is_expanded_where_shells_leave_it(asked, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LAB", str(tmp_path / "lab"))
    arguments = ["run", "--out=~/run", "--nsd=$LAB/nsd"]
    assert runner.invoke(app, arguments).exit_code == 0
    assert asked[0][2] == tmp_path / "run"
    assert asked[0][1].dataset.root == tmp_path / "lab" / "nsd"


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--out", "$NO_LAB/x"],
        ["run", "--out", "x", "--nsd", "${NO_LAB}/x"],
        ["run", "--out", "x", "--config", "$NO_LAB/x"],
        ["info", "--config", "$NO_LAB/x"],
        ["simulate", "$NO_LAB/x"],
        ["evaluate", "$NO_LAB/x", "made"],
        ["evaluate", "seen", "$NO_LAB/x"],
        ["evaluate", "seen", "made", "--json", "$NO_LAB/x"],
        ["evaluate", "made", "--seen", "$NO_LAB/x"],
        ["demo", "--out", "$NO_LAB/x"],
    ],
)
def test_a_variable_that_is_not_set_is_named(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, arguments)
    assert result.exit_code == 1
    assert re.search(r"error: \S+ uses \$\{?NO_LAB\}?, and no environment variable", words_of(result))
    assert not list(tmp_path.iterdir())


ODD = [
    "file",
    "folder",
    "n" * 300,
    "n" * 10_000,
    "/a\0b",
    "é→🧠",
    "[/bold]",
    "-1",
    "1e400",
    "/dev/null",
    "/proc/x",
    "file/x",
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: ascii(odd)[:12])
@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--out"],
        ["prepare", "--config", "bad.yaml", "--out"],
        ["fit", "--out"],
        ["run", "--out", "run", "--config"],
        ["run", "--out", "run", "--subject"],
        ["run", "--out", "run", "--with"],
        ["evaluate", "--out", "run", "--profile"],
        ["info", "--config"],
        ["info", "--with"],
        ["evaluate", "seen"],
        ["evaluate", "seen", "made", "--device"],
        ["evaluate", "made", "--seen"],
        ["evaluate", "seen", "made", "--csv"],
        ["simulate", "--train-pictures"],
        ["simulate", "there", "--seed"],
    ],
    ids=" ".join,
)
def test_odd_values_end_in_a_sentence(arguments, odd, asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("braindiffuser.datasets.simulation.simulate.simulate", lambda *_: None)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    result = runner.invoke(app, [*arguments, odd])
    assert isinstance(result.exception, SystemExit | None)
    if result.exit_code:
        assert result.stderr.strip()
        assert "Traceback" not in result.output
    assert "nothing was changed" not in result.output


def test_what_a_module_prints_or_where_it_goes_does_not_touch_the_command(tmp_path, monkeypatch):
    (tmp_path / "loud.py").write_text("import os\nprint('hello')\nos.chdir('/')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    try:
        result = runner.invoke(app, ["info", "--with", "loud"])
    finally:
        sys.modules.pop("loud", None)
    assert result.exit_code == 0
    assert result.stdout == runner.invoke(app, ["info"]).stdout
    assert "hello" in result.stderr
    assert Path.cwd() == tmp_path


# Stopping

STOPS = [
    (["run", "--out", "run"], "braindiffuser.run.Run.run_all", "the same command continues"),
    (["demo", "--out", "run"], "braindiffuser.run.Run.run_all", "the same command continues"),
    (["prepare", "--config", "demo", "--out", "run"], "braindiffuser.run.Run.do", "the same command continues"),
    (["simulate", "sim"], "braindiffuser.datasets.simulation.simulate.simulate", "the same command continues"),
    (["folds", "demo", "--out", "all"], "braindiffuser.fold_runs.run_folds", "the same command continues"),
    (
        ["evaluate", "seen", "made", "--profile", "pixels"],
        "braindiffuser.folder_scores.scoring.open_methods",
        "nothing was written; the same command begins again",
    ),
    (
        ["checkpoints", "--download"],
        "braindiffuser.networks.published.download_all",
        "the same command continues; a file that was being downloaded or converted begins again",
    ),
    (
        ["checkpoints", "--convert"],
        "braindiffuser.networks.published.convert_all",
        "the same command continues; a file that was being downloaded or converted begins again",
    ),
    (["info"], "braindiffuser.experiment_file.starting_file", "nothing was changed"),
]


@pytest.mark.parametrize(("number", "status"), [((), 130), ((signal.SIGINT,), 130), ((signal.SIGTERM,), 143)])
@pytest.mark.parametrize(("arguments", "place", "said"), STOPS, ids=lambda value: value[0] if value else "")
def test_ctrl_c_says_whether_the_same_command_continues(arguments, place, said, number, status, folders, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt(*number)

    monkeypatch.setenv("BRAINDIFFUSER_CHECKPOINTS", str(folders / "cache"))
    monkeypatch.setattr(place, stop)
    result = runner.invoke(app, arguments)
    assert result.exit_code == status
    assert result.stderr.strip().endswith(f"stopped: {said}")


def test_a_signal_is_known_also_where_its_interrupt_was_raised_anew(folders, monkeypatch):
    """Libraries that catch a KeyboardInterrupt may raise another one, without the signal's number."""
    monkeypatch.setattr("braindiffuser.cli.endings._received", [])

    def stop(*_, **__):
        with pytest.raises(KeyboardInterrupt):
            stop_once()(signal.SIGTERM, None)
        raise KeyboardInterrupt

    monkeypatch.setattr("braindiffuser.experiment_file.starting_file", stop)
    assert runner.invoke(app, ["info"]).exit_code == 143


def test_a_second_signal_in_quick_succession_is_ignored_and_a_later_one_is_not():
    stop = stop_once(patience=0.2)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            stop(signal.SIGINT, None)
        stop(signal.SIGINT, None)
        time.sleep(0.3)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_process_that_is_stopped_twice_ends_in_a_sentence(number, status, tmp_path):
    (tmp_path / "slow.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "braindiffuser", "run", "--with", "slow", "--out", "run"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr.readline() == "ready\n"
    for _ in range(3):
        process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status
    assert said.strip() == "stopped: the same command continues"


# Two at once


def test_a_second_simulation_in_one_folder_is_refused(tmp_path):
    with alone_in(tmp_path):
        result = runner.invoke(app, ["simulate", str(tmp_path)])
    assert result.exit_code == 1
    assert f"another process works in {tmp_path}: wait until it ends" in words_of(result)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_folder_that_was_not_simulated_gets_no_file(tmp_path):
    (tmp_path / "nsddata").mkdir()
    result = runner.invoke(app, ["simulate", str(tmp_path)])
    assert result.exit_code == 1
    assert "holds nsddata, which was not simulated: choose an empty folder" in words_of(result)
    assert [path.name for path in tmp_path.iterdir()] == ["nsddata"]


# Checkpoints


def test_nothing_to_convert_is_no_success(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINDIFFUSER_CHECKPOINTS", str(tmp_path))
    result = runner.invoke(app, ["checkpoints", "--convert"])
    assert result.exit_code == 1
    assert f"error: vdvae is not converted, since {tmp_path} lacks imagenet64-iter" in words_of(result)
    monkeypatch.setattr("braindiffuser.networks.published._is_done", lambda *_: True)
    assert runner.invoke(app, ["checkpoints", "--convert"]).exit_code == 0


def test_a_file_is_no_folder_of_checkpoints(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("BRAINDIFFUSER_CHECKPOINTS", str(tmp_path / "file"))
    result = runner.invoke(app, ["checkpoints"])
    assert result.exit_code == 1
    assert "file is a file: name a folder with BRAINDIFFUSER_CHECKPOINTS" in words_of(result)


def test_without_a_home_folder_what_is_bundled_works_and_downloads_say_what_to_set(tmp_path, monkeypatch):
    def no_home(path):
        return path

    for name in ("BRAINDIFFUSER_CHECKPOINTS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", no_home)
    monkeypatch.chdir(tmp_path)
    assert runner.invoke(app, ["info"]).exit_code == 0
    for option in ([], ["--convert"], ["--download"]):
        result = runner.invoke(app, ["checkpoints", *option])
        assert isinstance(result.exception, SystemExit | None)
    assert "no home folder is known to keep checkpoints in: name one with BRAINDIFFUSER_CHECKPOINTS" in words_of(result)
    assert result.exit_code == 1
    assert not list(tmp_path.iterdir())


# Logs


def test_a_log_takes_colours_but_no_moving_bars():
    code = (
        "from braindiffuser.cli.screen import progress_on_screen\nwith progress_on_screen() as p:\n"
        "    p('averaging', 0, 9); p('averaging', 9, 9)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=os.environ | {"FORCE_COLOR": "1"}
    )
    assert result.stderr.decode() == "averaging: 9\n"


def test_one_more_analysis_is_run_and_put_on_the_page(asked, tmp_path):
    (tmp_path / "run" / "steps").mkdir(parents=True)  # as of a run that was begun
    entries = ["--set", "column=category", "--set", "kinds=[final, low_level]"]
    command = ["analyse", "picture_groups", *entries, "--preset", "demo", "--out", str(tmp_path / "run")]
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    assert [stage for stage, *_ in asked] == ["analyse", "report"]
    analyses = asked[0][1].analyses
    assert [analysis.label for analysis in analyses] == [
        "roi_maximisation",
        "split_audit",
        "profile_comparison",
        "picture_groups",
    ]
    assert analyses[-1].column == "category"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "column=kind"], "--set gives an entry of one analysis: name it"),
        (["picture_groups", "--set", "column"], "'column' is no entry: write entry=value"),
        (["picture_groups", "--set", "colum=kind"], "there is no such entry; known entries: .* did you mean column"),
        (["--remove"], "--remove takes one analysis from the run: name it"),
        (["nothing", "--remove"], "has no analysis nothing; it has roi_maximisation, split_audit, profile_comparison"),
        (["roi_maximisation", "--remove", "--set", "n=1"], "write one of the two"),
        (["roi_maximisation", "--remove", "--device", "cuda:7"], "leave --device, --workers and --cluster out"),
        (["roi_maximisation", "--remove", "--workers", "2"], "leave --device, --workers and --cluster out"),
        (["nothing"], "there is no kind nothing; known kinds: .*voxel_weights"),
    ],
)
def test_an_analysis_that_cannot_be_is_one_sentence(options, message, asked, tmp_path):
    (tmp_path / "run" / "steps").mkdir(parents=True)
    result = runner.invoke(app, ["analyse", *options, "--preset", "demo", "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert re.search(message, words_of(result))
    assert not asked


def test_an_analysis_is_taken_from_the_page_again(asked, tmp_path):
    (tmp_path / "run" / "steps").mkdir(parents=True)
    command = ["analyse", "roi_maximisation", "--remove", "--preset", "demo", "--out", str(tmp_path / "run")]
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    ((stage, experiment, *_),) = asked
    assert (stage, [analysis.label for analysis in experiment.analyses]) == (
        "report",
        ["split_audit", "profile_comparison"],
    )


def test_of_an_unfinished_run_an_analysis_is_taken_and_what_is_left_is_said(asked, tmp_path, monkeypatch):
    (tmp_path / "run" / "steps").mkdir(parents=True)
    monkeypatch.setattr("braindiffuser.cli.run_commands._is_unfinished", lambda run: True)
    out = str(tmp_path / "run")
    result = runner.invoke(app, ["analyse", "roi_maximisation", "--remove", "--preset", "demo", "--out", out])
    assert result.exit_code == 0, result.output
    assert "roi_maximisation was taken from the run; left to do: `braindiffuser run --out" in words_of(result)
    assert not asked


def test_a_reproduction_is_given_subjects_splits_and_files(monkeypatch, tmp_path):
    given = {}

    def reproduce(experiments, folder, subjects, splits, ablated, overwrite, progress, workers):
        given.update(names=[each.name for each in experiments], folder=folder, subjects=subjects, splits=splits)
        given.update(ablated=ablated, overwrite=overwrite, device=experiments[0].device)
        return {}

    monkeypatch.setattr("braindiffuser.reproduction.reproduce.reproduce", reproduce)
    monkeypatch.setattr("braindiffuser.reproduction.page.print_findings", lambda found, show: None)
    out = str(tmp_path / "paper")
    command = ["reproduce", "--preset", "demo", "--subjects", "1", "2", "--splits", "layout", "folds:n_folds=2"]
    result = runner.invoke(app, [*command, "--ablated", "20", "--device", "cuda:1", "--out", out])
    assert result.exit_code == 0, result.output
    assert given == {
        "names": ["demo"],
        "folder": tmp_path / "paper",
        "subjects": ["1", "2"],
        "splits": ["layout", "folds:n_folds=2"],
        "ablated": 20,
        "overwrite": False,
        "device": "cuda:1",
    }
    assert f"Page: {tmp_path / 'paper' / 'index.html'}" in words_of(result)
