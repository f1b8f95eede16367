"""Laws of what a public host runs: each command is one of the Makefile, and each version of Python one that is allowed."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


JOBS = {
    f"{path.stem}.{name}": job
    for path in WORKFLOWS
    for name, job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].items()
}


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_commands_are_those_of_the_makefile(job):
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands
    for command in commands:
        assert re.fullmatch(r"make [a-z]+", command)
        assert command.split()[1] in TARGETS
    assert job["timeout-minutes"] <= 90


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_versions_of_python_are_those_that_are_allowed(job):
    least = tuple(map(int, PROJECT["requires-python"].removeprefix(">=").split(".")))
    tried = job.get("strategy", {}).get("matrix", {}).get("python", [])
    fixed = [step["with"]["python-version"] for step in job["steps"] if "setup-python" in step.get("uses", "")]
    assert fixed
    for version in (*tried, *(text for text in fixed if "{" not in text)):
        assert tuple(map(int, version.split("."))) >= least


def test_all_that_the_project_checks_itself_by_runs_on_a_public_host():
    commands = {step.get("run") for job in JOBS.values() for step in job["steps"]}
    assert {"make check", "make test", "make unit", "make docs", "make wheel"} <= commands


def test_the_hook_before_a_commit_is_a_command_of_the_makefile():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    for hook in repository["hooks"]:
        assert hook["entry"].removeprefix("make ") in TARGETS


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda path: path.stem
)
def test_forms_have_names_and_fields_of_their_own(form):
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert content["name"]
    assert content["description"]
    ids = [field["id"] for field in content["body"]]
    assert len(ids) == len(set(ids))


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    init = (ROOT / "src/braindiffuser/__init__.py").read_text(encoding="utf-8")
    version = re.search(r'__version__ = "(.+)"', init)[1]
    assert citation["version"] == version
    bibtex = (ROOT / "docs/paper.md").read_text(encoding="utf-8")
    assert f"version = {{{version.removesuffix('.dev0')}}}" in bibtex
    assert citation["preferred-citation"]["doi"] in bibtex
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert version.removesuffix(".dev0") == newest
    assert citation["preferred-citation"]["doi"] in PROJECT["urls"]["Paper"]
