"""Laws of extras: the core works where nothing else is installed, and what is missing is said with the extra that brings it."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest

from braindiffuser import machine
from braindiffuser.cli.endings import errors_as_sentences
from braindiffuser.errors import EXTRAS, DependencyError, lacks_package
from braindiffuser.images import save_png

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def named(requirements):
    return {re.split(r"[\[<>=; ]", requirement)[0].lower().replace("_", "-") for requirement in requirements}


def without_extras(folder, *words):
    absent = ",".join(each for packages in EXTRAS.values() for each in packages)
    command = [sys.executable, str(ROOT / "tests/without_packages.py"), absent, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_installs_what_is_said_to_be_of_it(extra):
    installed, wanted = packages_distributions(), named(PROJECT["optional-dependencies"][extra])
    for package in EXTRAS[extra]:
        names = {name.lower().replace("_", "-") for name in installed[package]}
        needed_by_another = extra == "cluster" and package == "dask"
        assert names & wanted or needed_by_another, package
        assert not names & named(PROJECT["dependencies"])


@pytest.mark.parametrize("words", [["--version"], ["info"], ["check", "demo"], ["evaluate", "--help"]], ids=" ".join)
def test_the_core_needs_no_extra(tmp_path, words):
    done = without_extras(tmp_path, *words)
    assert done.returncode == 0, done.stderr


def test_the_core_checks_and_prepares_a_recording(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "betas.npy", rng.normal(size=(24, 30)).astype(np.float32))
    (tmp_path / "pictures").mkdir()
    for number in range(12):
        save_png(rng.random((1, 3, 32, 32), np.float32), tmp_path / "pictures" / f"{number}.png")
    rows = [
        f"{trial // 8 + 1},1,{trial % 12}.png,a scene,{'test' if trial % 12 < 3 else 'train'}" for trial in range(24)
    ]
    (tmp_path / "trials.csv").write_text("\n".join(["session,run,stim_file,caption,split", *rows]), encoding="utf-8")
    dataset = {"kind": "arrays", "responses": "betas.npy", "unit": "z", "trials": "trials.csv", "pictures": "pictures"}
    own = {"preset": "demo", "name": "own", "dataset": dataset}
    (tmp_path / "own.yaml").write_text(json.dumps(own), encoding="utf-8")
    checked = without_extras(tmp_path, "check", "own.yaml")
    assert checked.returncode == 0, checked.stderr
    said = " ".join(checked.stdout.split())
    assert "Note: whether the checkpoints fit each other was not checked, since torch is not installed" in said
    assert "Run it: braindiffuser run" in said
    prepared = without_extras(tmp_path, "prepare", "--config", "own.yaml", "--out", "run")
    assert prepared.returncode == 0, prepared.stderr


def test_the_core_scores_pictures_by_their_pixels(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("seen", "made"):
        (tmp_path / folder).mkdir()
        for number in range(4):
            save_png(rng.random((1, 3, 32, 32), np.float32), tmp_path / folder / f"{number}.png")
    done = without_extras(tmp_path, "evaluate", "seen", "made", "--profile", "pixels")
    assert done.returncode == 0, done.stderr
    assert "SSIM" in done.stdout


@pytest.mark.parametrize(
    "words", [["demo", "--out", "run"], ["run", "--config", "demo", "--out", "run"]], ids=lambda words: words[0]
)
def test_what_computes_says_before_it_begins_what_to_install(tmp_path, words):
    done = without_extras(tmp_path, *words)
    assert done.returncode == 1
    assert " ".join(done.stderr.split()).endswith(
        "this needs torch, which is not installed: pip install 'braindiffuser[generate]'"
    )


def test_networks_need_torch(monkeypatch):
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=r"this needs torch.*braindiffuser\[generate\]"):
        machine.check_networks("cpu")


def test_a_package_that_no_extra_brings_is_a_fault_of_the_program(capsys):
    assert lacks_package(ModuleNotFoundError(name="no_such_package")) == ""
    with pytest.raises(ModuleNotFoundError), errors_as_sentences():
        raise ModuleNotFoundError(name="no_such_package")
    with pytest.raises(SystemExit), errors_as_sentences():
        raise ModuleNotFoundError(name="nilearn.plotting")
    assert "braindiffuser[brain]" in " ".join(capsys.readouterr().err.split())
