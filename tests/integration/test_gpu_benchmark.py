"""The benchmark of a GPU runs on a CPU at small size, and its parts cannot stop each other."""

import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import psutil
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FAULTY = """
import os, subprocess, sys, time

def good(setting, ends_at):
    yield {"setting": setting, "ends_at": ends_at}
    yield {"process": os.getpid()}

def raises(setting, ends_at):
    yield {"before": 1}
    raise ValueError("it broke. Nobody knows why")

def dies(setting, ends_at):
    yield {"before": 1}
    os._exit(3)

def hangs(setting, ends_at):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield {"child": child.pid}
    time.sleep(600)
"""


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    (tmp_path / "faulty_parts.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(BENCHMARKS)
    return import_module("timed_parts")


def test_after_a_part_that_fails_the_others_go_on(faulty):
    timed_parts = faulty
    runs = {
        "first": "faulty_parts:good",
        "raises": "faulty_parts:raises",
        "dies": "faulty_parts:dies",
        "last": "faulty_parts:good",
    }
    found = dict(timed_parts.run_parts({name: timed_parts.Part(run, 100) for name, run in runs.items()}, "here"))
    assert list(found) == list(runs)
    assert all(result.pop("seconds") < 100 for result in found.values())
    assert found["raises"] == {"before": 1, "failed": "ValueError: it broke"}
    assert found["dies"] == {"before": 1, "failed": "its process ended with exit status 3"}
    assert found["first"].keys() == found["last"].keys() == {"setting", "ends_at", "process"}
    assert found["first"]["process"] != found["last"]["process"]
    assert found["last"]["ends_at"] - found["first"]["ends_at"] == pytest.approx(
        300
    )  # all budgets, whoever needed them


def test_a_part_whose_time_is_up_is_stopped_with_all_that_it_started(faulty):
    timed_parts = faulty
    worker = timed_parts.Worker()
    try:
        assert "failed" not in worker.result_of("faulty_parts:good", None, time.monotonic() + 100)
        found = worker.result_of("faulty_parts:hangs", None, time.monotonic() + 1)
    finally:
        worker.end()
    assert found["failed"] == "stopped after 1 s, when its time was up"
    assert is_over(found["child"])


def is_over(pid):
    try:
        psutil.Process(pid).wait(10)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What is printed, and the content of the file."""
    path = tmp_path_factory.mktemp("gpu") / "result.json"
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--device", "cpu", "--small", "--json", str(path)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    return ended.stdout, json.loads(path.read_text())


@pytest.fixture
def parts(ran):
    return ran[1]["parts"]


PARTS = [
    "device",
    "half_precision",
    "half_precision_at_published_size",
    "loop",
    "out_of_memory",
    "ridge",
    "training",
    "channels_last",
    "compiled",
]


def test_every_part_runs_and_the_budgets_hold_eight_minutes(ran, parts, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    gpu = import_module("gpu")
    printed, result = ran
    assert list(parts) == PARTS
    assert {name: part["failed"] for name, part in parts.items() if "failed" in part} == {}
    assert result["budget_s"] / 10 == sum(part.budget_s for part in gpu.PARTS.values()) < 480  # a CPU may be busy
    assert {"device": "cpu", "small": True}.items() <= result.items()
    assert {"machine", "versions", "seconds"} <= result.keys()
    rows = printed[printed.index("| part | measured | result |") :].splitlines()[2:]
    assert len(rows) == sum(len(part) for part in parts.values())


def test_half_precision_gives_nearly_the_same_pictures_and_scores(parts):
    found, random = parts["half_precision"], parts["half_precision_at_published_size"]
    assert found["scenes_grey_levels_mean"] < 0.5
    assert found["pixcorr_float32"] > 0.5
    for metric in ("pixcorr", "ssim"):
        assert abs(found[f"{metric}_half_less_full"]) < 0.01
    assert 0 < random["random_step_relative_difference"] < 0.01
    assert random["random_grey_levels_mean"] < 5


@pytest.mark.parametrize("name", ["loop", "channels_last", "compiled"])
def test_the_loop_is_timed_at_each_batch_and_computes_the_same(parts, name):
    found = parts[name]
    for batch in (1, 2, 4):  # 1, 4 and 16 at published size
        assert found[f"seconds_a_picture_batch_{batch}"] > 0
        assert found[f"steps_timed_batch_{batch}"] == "4 of 4"
    assert found.get("step_relative_difference", 0) < 1e-4


def test_a_batch_that_does_not_fit_becomes_smaller_and_gives_the_same_pictures(parts):
    found = parts["out_of_memory"]
    assert found["batches_tried"] == [16, 8, 4, 4, 4, 4]
    assert found["became_smaller"]
    assert found["equal_to_pictures_of_that_batch"]
    assert found["one_batch_grey_levels_max"] < 0.1


def test_ridge_on_the_device_is_the_solution_in_float64(parts):
    assert parts["ridge"]["relative_difference_from_float64"] < 1e-5
    assert parts["ridge"]["times_reading"] > 0


@pytest.mark.parametrize("name", ["vdvae", "clip", "autoencoder", "unet"])
def test_each_bundled_network_takes_training_steps_that_are_saved_and_resumed(parts, name):
    found = parts["training"]
    assert found[f"{name}_losses_are_finite"]
    assert found[f"{name}_resumed"]
    assert abs(found[f"{name}_first_loss_less_that_on_cpu"]) < 0.01
    assert found[f"{name}_seconds_a_step"] > 0


def test_without_a_card_the_command_says_so():
    hidden = {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(BENCHMARKS / "gpu.py")]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **hidden})
    assert ended.returncode == 1
    assert ended.stderr.strip().startswith("device is cuda, but torch finds 0 GPUs")
