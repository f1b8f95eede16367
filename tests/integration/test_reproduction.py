"""Laws of a reproduction: ordinary runs of each subject and split, findings from what they stored, and a page."""

import html
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from fakes import fake_experiment, write_recording

from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.reproduction.planned_runs import named_splits, plan
from braindiffuser.reproduction.reproduce import FINDINGS, PAGE, reproduce
from braindiffuser.store.results import Store

SPLITS = ("layout", "folds:n_folds=2,fold=1")
NAMES = ("layout", "folds-n_folds-2-fold-1")
SUBJECTS = ("a", "b")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return fake_experiment(write_recording(tmp_path_factory.mktemp("recordings") / "told"))


@pytest.fixture(scope="module")
def finished(experiment, tmp_path_factory):
    """The folder of all runs, and what was found."""
    folder = tmp_path_factory.mktemp("runs") / "paper"
    return folder, reproduce([experiment], folder, SUBJECTS, SPLITS)


def test_every_subject_and_split_is_a_run_of_its_own(finished):
    folder, found = finished
    assert [(run["subject"], run["split"]) for run in found["runs"]] == [(s, n) for s in SUBJECTS for n in NAMES]
    for run in found["runs"]:
        experiment = Store(folder / run["subject"] / run["split"]).manifest["experiment"]
        assert experiment["dataset"]["subject"] == run["subject"]
        assert experiment["pictures"]["ablations"] == "all"
        assert (folder / run["page"]).is_file()


def test_findings_are_means_of_what_the_runs_stored(finished):
    folder, found = finished
    assert json.loads((folder / FINDINGS).read_text()) == json.loads(json.dumps(found))
    for key, entry in found["scores"].items():
        own = {
            subject: json.loads((folder / subject / "layout" / "scores.json").read_text())["metrics"][key]
            for subject in SUBJECTS
        }
        assert {s: values[0] for s, values in entry["subjects"].items()} == {s: e["value"] for s, e in own.items()}
        assert entry["mean"] == pytest.approx(np.mean([each["value"] for each in own.values()]))
        splits = found["generalisation"][key]["splits"]
        assert list(splits) == list(NAMES)
        assert splits["layout"]["mean"] == pytest.approx(entry["mean"])
        variants = found["ablations"]["metrics"][key]["subjects"]["b"]
        assert variants == {"full": own["b"]["value"], **own["b"]["ablations"]}


def test_the_page_has_every_finding_and_links_to_every_run(finished):
    folder, found = finished
    page = html.unescape((folder / PAGE).read_text())
    assert all(f'id="finding-{number}"' in page for number in range(1, 6))
    assert all(f'href="{run["page"]}"' in page for run in found["runs"])
    assert all(claim["sentence"] in page for claim in found["ablations"]["claims"])


def test_the_same_command_computes_nothing_again(experiment, finished):
    folder, found = finished
    before = {path: path.stat().st_mtime_ns for path in sorted(folder.glob("*/*/*.json"))}
    assert reproduce([experiment], folder, SUBJECTS, SPLITS) == found
    records = {path: path.stat().st_mtime_ns for path in sorted(folder.glob("*/*/scores.json"))}
    assert records.items() <= before.items()


@pytest.mark.parametrize("name", ["manifest.json", PAGE])
def test_a_folder_of_something_else_is_refused(name, experiment, tmp_path):
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunError, match="name another folder"):
        reproduce([experiment], tmp_path, SUBJECTS)
    assert (tmp_path / name).read_text() == "mine"


def test_splits_of_a_dataset_are_taken_by_their_names_and_averaged_in_fives(tmp_path):
    laion = fake_experiment(
        tmp_path, dataset={"kind": "laion_fmri", "root": str(tmp_path), "subject": "sub-01"}, split={"kind": "layout"}
    )
    found = named_splits(laion, ["random_0", "cluster_k5", "ood"])
    assert [split.name for split in found] == ["random_0", *(f"cluster_k5_{k}" for k in range(5)), "ood"]
    assert {split.together for split in found} == {"random_0", "cluster_k5", "ood"}
    assert found[1].changes["dataset"] == {"split": "cluster_k5_0"}
    planned = plan([laion], ["sub-01", "sub-03"], ["tau"])
    assert [(each.folder, each.experiment.dataset.subject) for each in planned] == [
        ("sub-01/tau", "sub-01"),
        ("sub-03/tau", "sub-03"),
    ]


@pytest.mark.parametrize(
    ("subjects", "splits", "message"),
    [
        (("a", "a"), (), "two subjects are called a: name each subject once"),
        (("a",), ("random_0",), "there is no split random_0; known kinds: .*layout"),
        (("a",), ("layout", "layout"), "the split layout is named twice"),
        (("a",), ("folds:n_folds",), "'n_folds' is no entry: write entry=value"),
    ],
)
def test_what_cannot_be_planned_is_said(subjects, splits, message, experiment):
    with pytest.raises(RunError, match=message):
        plan([experiment], subjects, splits)


def test_several_files_are_one_subject_each(experiment):
    other = experiment.changed({"dataset": {"subject": "z"}})
    assert [each.subject for each in plan([experiment, other])] == ["subj01", "z"]
    with pytest.raises(RunError, match="leave --subjects out"):
        plan([experiment, other], ("a",))


def test_the_makefile_makes_four_simulated_subjects_with_two_splits():
    root = Path(__file__).parents[2]
    command = re.search(r"reproduce (.*?--out runs/study)", (root / "Makefile").read_text(), re.DOTALL)[1].replace(
        "\\", ""
    )
    words = shlex.split(command)
    options = {}
    for word in words:
        if word.startswith("--"):
            options[last := word] = []
        else:
            options[last].append(word)
    study = Experiment.load(root / options["--config"][0])
    planned = plan([study], options["--subjects"], options["--splits"], int(options["--ablated"][0]))
    assert len(planned) == 8
    assert len({each.folder for each in planned}) == 8
    assert {each.experiment.pictures.n_ablated for each in planned} == {20}
    assert {each.experiment.dataset.subject for each in planned} == {1, 2, 3, 4}
