"""Laws of a study of settings: ordinary runs, what they have in common computed once, and differences of what they stored."""

import html
import json
import re
import shutil
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from fakes import fake_experiment, write_recording
from typer.testing import CliRunner

from braindiffuser.cli import app
from braindiffuser.errors import RunError
from braindiffuser.images import load_png
from braindiffuser.metrics.paired_comparison import sign_flip_p
from braindiffuser.metrics.subjects import interval_over_pictures
from braindiffuser.run import Run
from braindiffuser.settings_study.run_settings import RESULT, _reader, run_settings
from braindiffuser.settings_study.study_file import StudyFile
from braindiffuser.several_tests import holm
from braindiffuser.store.results import Store
from braindiffuser.study.members import open_member

SETTINGS = {"plain": {}, "stronger": {"generator": {"strength": 0.75}}}
SUBJECTS = ("a", "b")
OF_COMMANDS = ("manifest.json", "experiment.yaml", ".lock")
"""Files that each command writes to."""
FAST = {"pictures": {"ablations": [], "ceiling": False}, "analyses": []}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the experiment file of each subject."""
    folder = tmp_path_factory.mktemp("settings")
    for number, name in enumerate(SUBJECTS):
        root = write_recording(folder / f"recording-{name}", seed=number)
        own = fake_experiment(root, dataset={"root": str(root), "subject": name}, **FAST)
        (folder / f"{name}.yaml").write_text(own.to_yaml())
    return folder


def write(place, name="study.yaml", **entries):
    content = {"experiment": [f"{subject}.yaml" for subject in SUBJECTS], "settings": SETTINGS, **entries}
    (place / name).write_text(yaml.safe_dump(content, sort_keys=False))
    return place / name


@pytest.fixture(scope="module")
def finished(place):
    """The folder of all runs, what was found, and the steps that were computed."""
    computed, compute = [], Run._compute

    def noting(run, stage, pending):
        computed.extend((run.results.folder.relative_to(place / "out").as_posix(), str(step)) for step in pending)
        return compute(run, stage, pending)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "_compute", noting)
        found = run_settings(write(place), place / "out", n_permutations=20)
    return place / "out", found, computed


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the folder of all runs, to be spoilt."""
    return Path(shutil.copytree(finished[0], tmp_path / "copy"))


def test_every_subject_and_setting_is_a_run_and_what_they_share_is_computed_once(finished):
    folder, found, computed = finished
    for subject in SUBJECTS:
        for setting, strength in (("plain", 0.5), ("stronger", 0.75)):
            experiment = Store(folder / subject / setting).manifest["experiment"]
            assert (experiment["dataset"]["subject"], experiment["generator"]["strength"]) == (subject, strength)
            assert (folder / found["settings"][setting]["runs"][subject]).is_file()
        stages = [step.partition(".")[0] for run, step in computed if run == f"{subject}/stronger"]
        assert sorted(set(stages)) == ["evaluate", "reconstruct", "report"]
    assert len(computed) == len(set(computed))


def test_differences_are_those_of_the_scores_that_runs_stored(finished):
    folder, found, _ = finished
    assert json.loads((folder / RESULT).read_text()) == json.loads(json.dumps(found))
    tables = {
        setting: [Store(folder / subject / setting).read_table("per_image.csv") for subject in SUBJECTS]
        for setting in SETTINGS
    }
    compared, p = found["comparisons"]["stronger"], {}
    assert list(found["comparisons"]) == ["stronger"]
    for key, own in compared.items():
        differences = np.array(
            [
                after[after["set"] == "test"][key] - before[before["set"] == "test"][key]
                for after, before in zip(tables["stronger"], tables["plain"], strict=True)
            ]
        )
        assert own["subjects"] == pytest.approx(dict(zip(SUBJECTS, differences.mean(axis=1), strict=True)))
        assert own["difference"] == pytest.approx(differences.mean())
        p[key] = sign_flip_p(differences.mean(axis=0), np.random.default_rng(0))
        assert own["p"] == pytest.approx(p[key])
    assert {key: own["p_holm"] for key, own in compared.items()} == pytest.approx(holm(p))
    assert compared["pixcorr"]["difference"] != 0
    assert compared["stimulus"]["difference"] == 0
    for setting in SETTINGS:
        for key, entry in found["settings"][setting]["metrics"].items():
            own = [Store(folder / s / setting).read_json("scores.json")["metrics"][key]["value"] for s in SUBJECTS]
            assert entry["value"] == pytest.approx(np.mean(own))


def test_the_page_says_what_varies_and_leads_to_every_run_and_study(finished):
    folder, found, _ = finished
    page = html.unescape((folder / "index.html").read_text())
    assert "stronger, compared with plain on the same pictures:" in page
    assert "generator.strength" in page
    assert all(f'href="{path}"' in page for own in found["settings"].values() for path in own["runs"].values())
    assert all(f'href="studies/{setting}/index.html"' in page for setting in SETTINGS)
    assert (folder / "tables" / "comparison.csv").is_file()
    assert found["doubts"]
    words = re.sub("</?code>", "`", page).replace("\u00a0", " ")
    assert all(each["sentence"] in words for each in found["doubts"])


def test_the_same_command_computes_nothing_again(finished, place, monkeypatch):
    folder, found, _ = finished
    monkeypatch.setattr(Run, "_compute", None)
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in OF_COMMANDS]
    before = {path: path.stat().st_mtime_ns for path in files if path.parent.name != "steps"}
    assert run_settings(place / "study.yaml", folder, n_permutations=20) == found
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_further_setting_is_added_and_another_may_be_the_reference(copy, place, monkeypatch):
    done, compute = [], Run._compute

    def noting(run, stage, pending):
        done.extend((run.results.folder.name, step.stage) for step in pending)
        return compute(run, stage, pending)

    monkeypatch.setattr(Run, "_compute", noting)
    settings = {**SETTINGS, "other seed": {"seed": 8}}
    found = run_settings(
        write(place, "more.yaml", settings=settings, against="stronger"), copy, average=False, n_permutations=0
    )
    assert list(found["comparisons"]) == ["plain", "other seed"]
    assert {name for name, _ in done} == {"other-seed"}
    assert found["settings"]["other seed"]["study"] == "other-seed"
    assert found["settings"]["other seed"]["changes"] == {"seed": "8"}
    assert found["settings"]["plain"]["entries"] == {"generator.strength": "0.5", "seed": "7"}
    every = {(name, key): own["p"] for name, compared in found["comparisons"].items() for key, own in compared.items()}
    assert {
        (name, key): own["p_holm"] for name, compared in found["comparisons"].items() for key, own in compared.items()
    } == pytest.approx(holm(every)), "adjusted for all of them together"


def test_the_gallery_shows_each_subject_and_setting(finished):
    folder, found, _ = finished
    members = {setting: [open_member(folder / s / setting, s) for s in SUBJECTS] for setting in SETTINGS}
    read = _reader(members, "plain")
    for subject in range(len(SUBJECTS)):
        for kind, setting, own in (("seen", "plain", "seen"), ("0", "plain", "final"), ("1", "stronger", "final")):
            results, start = members[setting][subject].results, members[setting][subject].test_sets["test"].start
            expected = load_png([results.picture_path(own, start + number) for number in (2, 0)])
            np.testing.assert_array_equal(read(f"{subject}.{kind}", [2, 0]), expected)
    assert found["subjects"] == list(SUBJECTS)


def test_one_subject_has_no_study_and_no_interval_over_subjects(place, tmp_path):
    found = run_settings(write(place, "one.yaml", experiment="a.yaml"), tmp_path / "out")
    assert (found["subjects"], found["studies"]) == (["a"], {})
    assert found["comparisons"]["stronger"]["pixcorr"]["ci95_subjects"] is None
    page = html.unescape((tmp_path / "out" / "index.html").read_text())
    assert "What a saw was reconstructed" in page
    assert "95 % over subjects" not in page


@pytest.mark.parametrize("against", ["plain", "fold"])
def test_subjects_who_saw_other_pictures_under_one_setting_are_joined_as_such(against, place, tmp_path):
    """One subject did not see three training pictures, so its folds test others, and fewer."""
    root = shutil.copytree(place / "recording-b", tmp_path / "fewer")
    design = pd.read_csv(root / "design.csv")
    kept = ~design["stimulus_id"].isin([0, 1, 2])
    for path in (root / "sessions").iterdir():
        np.save(path, np.load(path)[kept[design["session"] == int(path.stem)]])
    design[kept].to_csv(root / "design.csv", index=False)
    fewer = fake_experiment(root, dataset={"root": str(root), "subject": "b"}, **FAST)
    (tmp_path / "b.yaml").write_text(fewer.to_yaml())
    shutil.copy(place / "a.yaml", tmp_path / "a.yaml")
    settings = {"plain": {}, "fold": {"split": {"kind": "folds", "n_folds": 2, "fold": 0}}}
    file = write(tmp_path, settings=settings, against=against)
    found = run_settings(file, tmp_path / "out", average=False, n_permutations=0)
    was_shared = {}
    for setting, own in found["settings"].items():
        members = [Store(tmp_path / "out" / subject / setting) for subject in SUBJECTS]
        tables = [member.read_table("per_image.csv").query("set == 'test'") for member in members]
        was_shared[setting] = tables[0]["stimulus_id"].tolist() == tables[1]["stimulus_id"].tolist()
        known = interval_over_pictures(
            [table["pixcorr"].to_numpy() for table in tables], (-1.0, 1.0), shared=was_shared[setting]
        )
        assert own["metrics"]["pixcorr"]["ci95"] == pytest.approx(known)
    (other,) = {"plain", "fold"} - {against}
    assert f"under {other}" in found["not_compared"][other]
    assert was_shared == {"plain": True, "fold": False}
    assert "why_not" in found["studies"]["fold"]


def test_settings_of_other_test_pictures_are_not_compared(place, tmp_path):
    settings = {"plain": {}, "fold": {"split": {"kind": "folds", "n_folds": 2, "fold": 1}}}
    found = run_settings(write(place, "folds.yaml", experiment="a.yaml", settings=settings), tmp_path / "out")
    assert found["comparisons"] == {}
    assert "test pictures" in found["not_compared"]["fold"]
    page = html.unescape((tmp_path / "out" / "index.html").read_text())
    assert "fold is not compared picture by picture with plain: " in page
    assert "test all subjects on the same pictures" not in page, "advice that is no one's here"


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"settings": {"plain": {}}}, r"settings: .*at least 2 items"),
        ({"settings": {"plain": {}, "same": {"seed": 7}}}, "settings plain and same make the same runs"),
        ({"settings": {"plain": {}, "same": {"generator": {"batch_size": 2}}}}, "plain and same make the same runs"),
        ({"settings": {"plain": {}, "same": {"device": "cuda"}}}, "plain and same make the same runs"),
        (
            {
                "settings": {
                    "one": {"evaluation": {"metrics": {"own": {"kind": "ssim"}}}},
                    "two": {"evaluation": {"metrics": {"own": {"kind": "ssim_column_mean"}}}},
                }
            },
            r"would be scored by other metrics \(own\)",
        ),
        (
            {
                "settings": {
                    "one": {"evaluation": {"profile": "mindeye-2023"}},
                    "two": {"evaluation": {"profile": "mindeye2-2024"}},
                }
            },
            "would be scored by other metrics",
        ),
        ({"settings": {"a b": {}, "a-b": {"seed": 8}}}, "settings a b and a-b would have the same folder"),
        ({"settings": {"plain": {}, "x": {"generator": {"strenght": 1}}}}, r"settings\.x: .*strenght"),
        ({"settings": {"plain": {}, "x": {"dataset": {"subject": "c"}}}}, r"settings\.x changes dataset\.subject"),
        ({"settings": {"plain": {}, "x": {"name": "y"}}}, r"settings\.x changes name, and the study names its runs"),
        ({"settings": {"plain": {}, "x": {"preset": "demo"}}}, r"settings\.x changes preset"),
        ({"settings": {"plain": {}, "x": 3}}, r"settings\.x: Input should be a valid dictionary"),
        ({"settings": {"plain": {}, "recording": {"seed": 8}}}, "recording is the name of a folder or file"),
        ({"against": "nobody"}, "against is nobody, expected one of plain, stronger"),
        ({"subject": ["a"]}, "subject"),
        ({"experiment": "nowhere.yaml"}, r"there is no file .*nowhere\.yaml"),
        ({"experiment": ""}, r"wrong\.yaml: experiment is empty"),
        ({"experiment": "${NO_SUCH}/a.yaml"}, r"wrong\.yaml: experiment uses \$\{NO_SUCH\}"),
        ({"settings": {"plain": {}, "gpu": {"device": "cuda", "seed": 8}}}, "cuda"),
        ({"settings": {"plain": {}, "x": False}}, r"settings\.x: Input should be a valid dictionary"),
        ({"settings": {"A": {}, "a": {"seed": 8}}}, "settings A and a would have the same folder"),
        ({"experiment": ["a.yaml", "a.yaml"]}, "two subjects are called a"),
        ({"subjects": ["a"]}, "so leave the subjects out"),
        ({"settings": {"plain": {}, "x": {"evaluation": {"metrics": None}}}}, "would be scored by other metrics"),
    ],
)
def test_what_cannot_be_run_is_said_before_the_first_run(entries, said, place, tmp_path):
    with pytest.raises(RunError, match=said):
        run_settings(write(place, "wrong.yaml", **entries), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe\x00", "cannot be read"),
        (b"settings: [", "cannot be read as YAML"),
        (b"preset: demo\nname: mine\n", "is an experiment, and a study needs a file with the entries"),
        (b"[1, 2]", "is no study of settings"),
        (b"", "is no study of settings"),
        (b"settings:\n  a: {}\n  a: {}\nexperiment: demo\n", "given twice|more than once|twice"),
    ],
)
def test_files_that_are_no_study_are_refused_by_name(content, said, tmp_path):
    (tmp_path / "file.yaml").write_bytes(content)
    with pytest.raises(RunError, match=said) as raised:
        StudyFile.load(tmp_path / "file.yaml")
    assert "file.yaml" in str(raised.value)


def test_a_folder_of_something_else_is_refused(copy, place, tmp_path):
    with pytest.raises(RunError, match="holds a comparison of settings: name one of its runs, or another folder"):
        Run.open(fake_experiment(place / "recording-a"), copy)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    with pytest.raises(RunError, match=r"holds index\.html, but no comparison of settings"):
        run_settings(write(place), tmp_path / "mine")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["study.yaml", "out/a/plain"], "names? it alone|name it alone"),
        (["out/a/plain", "out/b/plain", "--workers", "2"], "these are finished: leave them out"),
        (["nowhere.yaml"], "there is no file"),
    ],
)
def test_files_and_folders_of_runs_are_told_apart(given, said, finished, place, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    write(place)
    result = CliRunner().invoke(app, ["study", *given, "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert re.search(said, " ".join(result.output.split()))


def test_the_command_prints_scores_and_sentences(copy, place):
    write(place)
    result = CliRunner().invoke(app, ["study", str(place / "study.yaml"), "--out", str(copy), "--permutations", "20"])
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "stronger, compared with plain on the same pictures:" in said
    assert "Page: " in said


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": {"responses": "other.npy"}},
        {"dataset": {"trials": "other.csv"}},
        {"split": {"kind": "listed", "test": "other.txt"}},
    ],
)
def test_settings_may_differ_in_the_files_that_are_read(changes, tmp_path):
    """Two preprocessings of one recording are what such a study is for."""
    dataset = {
        "kind": "arrays",
        "unit": "z",
        "responses": "own.npy",
        "trials": "own.csv",
        "pictures": "pictures",
        "subject": "anna",
    }
    split = {"kind": "listed", "test": "own.txt"}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump({"preset": "demo", "dataset": dataset, "split": split}))
    file = write(tmp_path, experiment="base.yaml", settings={"one": {}, "two": changes})
    one, two = StudyFile.load(file).plan(file)
    assert one.experiment != two.experiment
    again = write(tmp_path, experiment="base.yaml", settings={"one": changes, "two": {**changes, "device": "cuda"}})
    with pytest.raises(RunError, match="make the same runs"):
        StudyFile.load(again).plan(again)


def test_the_example_is_planned_as_the_docs_say():
    file = Path(__file__).parents[2] / "examples" / "settings.yaml"
    planned = StudyFile.load(file).plan(file)
    names = ("inductive", "transductive", "uncalibrated")
    assert [each.folder for each in planned] == [f"subj{number:02}/{name}" for number in (1, 2) for name in names]
    assert [each.experiment.regression.calibration for each in planned[:3]] == ["inductive", "transductive", "none"]
    shown = (Path(__file__).parents[2] / "docs" / "concepts" / "studies.md").read_text(encoding="utf-8")
    block = textwrap.dedent(shown[shown.index("    name: calibration") : shown.index("    runs/settings/")])
    assert yaml.safe_load(block) == yaml.safe_load(file.read_text(encoding="utf-8"))
