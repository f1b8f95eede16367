"""Laws of all folds as one command: ordinary runs that share features alone, and a page from stored numbers."""

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fakes import FURTHER_IDS, IMAGINED, N_TEST, N_TRAIN, fake_experiment, levels, write_recording
from safetensors.numpy import load_file
from typer.testing import CliRunner

from braindiffuser import fold_runs
from braindiffuser.cli import app
from braindiffuser.errors import RunError
from braindiffuser.fold_runs import check_folder_of_folds, run_folds
from braindiffuser.images import load_png
from braindiffuser.report.recording_section import warnings_of
from braindiffuser.report.sections import Section
from braindiffuser.run import Run
from braindiffuser.store.results import Store

N_FOLDS, SEEN = 2, range(N_TRAIN + len(FURTHER_IDS) + N_TEST)
DEALT = [number for number in SEEN if number not in FURTHER_IDS]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    root = write_recording(tmp_path_factory.mktemp("recordings") / "told")
    (root / "remarks.txt").write_text("Half of the trials <were> lost.\nThe scanner was warm.\n")
    (root / "imagined.txt").touch()
    split = {"kind": "folds", "n_folds": N_FOLDS, "seed": 2}
    return fake_experiment(root, split=split, pictures={"ablations": []}, analyses=[])


@pytest.fixture(scope="module")
def finished(experiment, tmp_path_factory):
    """The folder of all folds with one null, and what was returned."""
    folder = tmp_path_factory.mktemp("runs") / "all"
    return folder, run_folds(experiment, folder, 1)


def runs_in(folder):
    return [folder / parent / f"fold-{fold}" for parent in ("", "shuffled-0") for fold in range(N_FOLDS)]


def test_folds_divide_all_stimuli_and_further_sets_test_in_each(finished):
    folder, joint = finished
    tested = [pd.read_csv(path / "per_image.csv").groupby("set")["stimulus_id"].apply(list) for path in runs_in(folder)]
    assert sorted(number for sets in tested[:N_FOLDS] for number in sets["test"]) == DEALT
    assert all(sets["further"] == list(FURTHER_IDS) for sets in tested)
    for fold in range(N_FOLDS):
        train = Store(folder / f"fold-{fold}").read_array("stimuli/train_ids").tolist()
        assert sorted([*train, *tested[fold]["test"]]) == DEALT
        assert tested[fold]["test"] == tested[N_FOLDS + fold]["test"]
    assert joint["n_images"] == len(DEALT)
    assert joint["test_sets"]["further"]["n_images"] == len(FURTHER_IDS)


def test_no_run_is_begun_in_the_folder_of_all_folds(finished):
    for command in (["analyse", "voxel_weights"], ["report"], ["run", "--config", "demo"]):
        result = CliRunner().invoke(app, [*command, "--out", str(finished[0])])
        assert result.exit_code == 1
        assert "holds a run of each fold: name one of its runs" in " ".join(result.output.split())


def test_numbers_are_means_over_pictures_of_what_the_runs_stored(finished):
    folder, joint = finished
    assert json.loads((folder / "scores.json").read_text()) == joint
    tables = [pd.read_csv(path / "per_image.csv") for path in runs_in(folder)]
    for name, scores in {"test": joint, **joint["test_sets"]}.items():
        for key, entry in scores["metrics"].items():
            values = [table.loc[table["set"] == name, key] for table in tables]
            assert entry["value"] == pytest.approx(pd.concat(values[:N_FOLDS]).mean())
            assert entry["null"]["values"] == [pytest.approx(pd.concat(values[N_FOLDS:]).mean())]
            assert entry["folds"] == pytest.approx([own.mean() for own in values[:N_FOLDS]])
    assert joint["seeds"] == {"experiment": 7, "split": 2, "shuffled": [0]}
    uids = [json.loads((path / "manifest.json").read_text())["uid"] for path in runs_in(folder)]
    assert [run["uid"] for run in [*joint["folds"], *joint["nulls"][0]]] == uids


def test_a_null_differs_from_its_fold_by_exchanged_training_pictures_alone(finished):
    folder, _ = finished
    for fold in range(N_FOLDS):
        plain, null = (Store(folder / parent / f"fold-{fold}") for parent in ("", "shuffled-0"))
        for name in ("stimuli/train_ids", "stimuli/test_ids", "targets/a"):
            np.testing.assert_array_equal(plain.read_array(name), null.read_array(name))
        own, exchanged = plain.read_array("responses/train"), null.read_array("responses/train")
        order = [int(np.abs(own - row).sum(axis=1).argmin()) for row in exchanged]
        assert sorted(order) == list(range(len(own))) != order
        np.testing.assert_allclose(own[order], exchanged, atol=1e-5)
        np.testing.assert_allclose(plain.read_array("responses/test"), null.read_array("responses/test"), atol=1e-5)
        page = (null.folder / "report" / "index.html").read_text()
        assert "null, training pictures exchanged" in page[: page.index("<h1>")]
        assert page.index("This is a null, no result") < page.index('id="scores"')
        assert not (null.folder / "reconstructions" / "from_true_features").exists()


def test_features_are_extracted_once_for_all_runs(finished):
    folder, _ = finished
    for group in (path for path in (folder / "shared").iterdir() if path.is_dir()):
        ids = [number for path in group.glob("rows-*") for number in load_file(path)["ids"].tolist()]
        assert set(ids) == set(SEEN)


def test_a_folder_of_others_where_features_are_shared_is_refused(experiment, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"shared holds notes\.txt but no pool\.json"):
        run_folds(experiment, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["shared"]


def test_the_page_links_all_runs_and_numbers_pictures_through(finished):
    folder, _ = finished
    page = (folder / "index.html").read_text()
    for path in runs_in(folder):
        assert f'href="{path.relative_to(folder).as_posix()}/report/index.html"' in page
        assert (path / "report" / "index.html").is_file()
    assert page.count('alt="Test picture ') == len(DEALT)
    table = pd.read_csv(folder / "per_image.csv")
    assert table["number"].tolist() == list(range(len(table)))
    for row in table.to_dict("records"):
        seen = load_png([folder / f"fold-{row['fold']}/reconstructions/seen/{row['number_in_fold']:04}.png"])[0]
        assert levels(seen)[0] == row["stimulus_id"] + 1


def test_what_the_pages_of_folds_say_first_is_said_first_on_theirs(finished):
    folder, _ = finished
    page = (folder / "index.html").read_text()
    before = re.sub("</?code>", "`", html.unescape(page[: page.index('id="scores"')]))
    for path in runs_in(folder)[:N_FOLDS]:
        (section,) = (path / "sections").glob("prepare.recording.json")
        told = warnings_of([Section.model_validate_json(section.read_text())])
        assert {"Half of the trials <were> lost.", "The scanner was warm."} < set(told)
        assert all(sentence in before for sentence in told)
    assert before.count("The scanner was warm.") == 1
    assert "This is a null" not in page


def test_a_set_of_imagined_pictures_has_its_title_and_says_that_they_may_have_trained(finished):
    folder, joint = finished
    facts = {"heading": list(IMAGINED), "imagined": True, "n_trained": 0, "trained_in": None}
    assert joint["test_sets"]["further"]["facts"] == facts
    assert "facts" not in joint
    page = html.unescape((folder / "index.html").read_text())
    own = page[page.index('id="test-set-further"') :]
    assert all(text in own for text in (*IMAGINED, "trained on responses to seeing the very picture that was imagined"))


def test_the_same_command_again_computes_nothing_and_writes_the_same(experiment, finished):
    folder, joint = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("steps/*.json")}
    texts = [(folder / name).read_bytes() for name in ("scores.json", "per_image.csv", "index.html")]
    assert len(before) > 2 * N_FOLDS
    assert run_folds(experiment, folder, 1) == joint
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("steps/*.json")} == before
    assert [(folder / name).read_bytes() for name in ("scores.json", "per_image.csv", "index.html")] == texts


@pytest.mark.parametrize("moment", ["fold-1: extracting: train b", "shuffled-0/fold-0: scoring"])
def test_a_command_that_was_stopped_goes_on_and_ends_with_the_same(experiment, finished, tmp_path, moment):
    def stop(label, done, total):
        if label.startswith(moment):
            raise KeyboardInterrupt

    folder = tmp_path / "runs"
    with pytest.raises(KeyboardInterrupt):
        run_folds(experiment, folder, 1, progress=stop)
    assert not (folder / "index.html").exists()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("steps/*.json")}
    assert run_folds(experiment, folder, 1)["metrics"] == finished[1]["metrics"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for name in ("scores.json", "per_image.csv", "index.html"):
        assert (folder / name).read_bytes() == (finished[0] / name).read_bytes()


def test_a_fold_that_was_begun_by_itself_is_taken_and_other_settings_are_not(experiment, tmp_path):
    own = Run.open(experiment.changed({"split": {"fold": 0}}), tmp_path / "fold-0")
    own.do("prepare")
    record = own.results.record("prepare.responses")
    other = experiment.changed({"split": {"seed": 3}})
    with pytest.raises(RunError, match=r"fold-0 holds .* of a run with other settings .*split.seed was 2, now 3"):
        run_folds(other, tmp_path)
    run_folds(experiment, tmp_path)
    assert Store(tmp_path / "fold-0").record("prepare.responses") == record


def add_noise(root):
    for number, path in enumerate(sorted((root / "sessions").glob("*.npy"))):
        betas = np.load(path)
        np.save(path, (betas + np.random.default_rng(number).normal(size=betas.shape)).astype(betas.dtype))


def brighten(root):
    (root / "brightness.txt").write_text("7")


@pytest.mark.parametrize(
    ("change", "named", "moment", "n_shuffled"),
    [
        (add_noise, "betas: ", "fold-1: ", 0),
        (brighten, "stimuli: ", "fold-1: ", 0),
        (add_noise, "betas: ", "shuffled-0/fold-0: ", 1),
    ],
)
def test_runs_of_two_recordings_are_never_joined(tmp_path, change, named, moment, n_shuffled):
    root = write_recording(tmp_path / "told")
    split = {"kind": "folds", "n_folds": N_FOLDS, "seed": 2}
    own = fake_experiment(root, split=split, pictures={"ablations": []}, analyses=[])
    changes = [change]

    def between(label, done, total):
        if label.startswith(moment) and changes:
            changes.pop()(root)

    folder, of = tmp_path / "runs", moment.removesuffix(": ")
    with pytest.raises(RunError, match=rf"runs/{of} was made from other inputs than .*fold-0 \({named}.*--overwrite"):
        run_folds(own, folder, n_shuffled, progress=between)
    assert not changes
    assert not (folder / "scores.json").exists()
    if (change, n_shuffled) == (add_noise, 0):
        run_folds(own, folder, n_shuffled, overwrite=True)
        records = [Store(path).record("prepare.responses")["contents"] for path in runs_in(folder)[:N_FOLDS]]
        assert all(record == records[0] for record in records)


def test_files_of_others_in_any_fold_are_found_before_anything_is_run(experiment, tmp_path):
    (tmp_path / "shuffled-0" / "fold-1").mkdir(parents=True)
    (tmp_path / "shuffled-0" / "fold-1" / "scores.json").write_text("mine")
    with pytest.raises(RunError, match=r"shuffled-0/fold-1 holds scores\.json but no run's manifest"):
        run_folds(experiment, tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["shuffled-0"]


@pytest.mark.parametrize("damage", [lambda path: path.write_text('{"folds":'), Path.unlink], ids=["cut", "lost"])
def test_scores_that_are_cut_or_lost_are_written_again(experiment, finished, damage):
    folder, joint = finished
    damage(folder / "scores.json")
    assert run_folds(experiment, folder, 1) == joint
    assert json.loads((folder / "scores.json").read_text()) == joint


def test_runs_that_are_no_part_of_the_scores_are_named(experiment, finished):
    said = []
    run_folds(experiment, finished[0], 0, progress=lambda label, done, total: said.append(label))
    run_folds(experiment, finished[0], 1)
    assert sum("also holds shuffled-0/fold-0, shuffled-0/fold-1, kept" in label for label in said) == 1


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (None, "split is layout, and all folds are made of folds: write `split: {kind: folds, n_folds: 5}`"),
        ({"kind": "folds", "n_folds": 3, "shuffled": 1}, "split.shuffled is 1, so these folds would be a null"),
    ],
)
def test_only_folds_without_a_null_are_made(experiment, tmp_path, split, words):
    with pytest.raises(RunError, match=words):
        run_folds(experiment.changed({"split": split}), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_what_is_there_is_never_replaced(finished, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="is a file"):
        check_folder_of_folds(tmp_path / "file")
    with pytest.raises(RunError, match="fold-0 holds a run: name another folder"):
        check_folder_of_folds(finished[0] / "fold-0")
    for name in ("scores.json", "per_image.csv", "index.html"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("{}")
        with pytest.raises(RunError, match=f"holds {name}, but no scores of folds.* move .*{name} away or delete it"):
            check_folder_of_folds(tmp_path / name)
    check_folder_of_folds(tmp_path / "new")
    check_folder_of_folds(finished[0])


def test_the_page_is_written_again_without_torch(experiment, finished, tmp_path):
    folder, _ = finished
    (folder / "index.html").unlink()
    (tmp_path / "mine.yaml").write_text(experiment.to_yaml())
    code = (
        f"import sys; sys.path.append({str(Path(__file__).parent)!r}); import fakes\n"
        "from braindiffuser.experiment import Experiment\nfrom braindiffuser.fold_runs import run_folds\n"
        f"run_folds(Experiment.load({str(tmp_path / 'mine.yaml')!r}), {str(folder)!r}, 1)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "False"
    assert (folder / "index.html").is_file()


@pytest.mark.parametrize("name", ["fold-0", "shared", "shuffled-0"])
def test_folds_write_through_no_link(name, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "theirs")
    root = write_recording(tmp_path / "told")
    own = fake_experiment(root, split={"kind": "folds", "n_folds": 3})
    with pytest.raises(RunError, match=f"{name} is a link, and only"):
        run_folds(own, tmp_path / "out", n_shuffled=1)
    assert not list((tmp_path / "theirs").iterdir())


def test_a_stale_fold_is_said_before_the_first_is_made(experiment, finished, tmp_path):
    folder = Path(shutil.copytree(finished[0], tmp_path / "folds"))
    shutil.rmtree(folder / "fold-0")
    store = Store(folder / "fold-1")
    settings = store.record("fit.a")["settings"]
    store.update_record("fit.a", settings={**settings, "another": 1})
    with pytest.raises(RunError, match=r"fold-1 holds fit\.a.* of a run with other settings"):
        run_folds(experiment, folder, 1)
    assert not (folder / "fold-0").exists()


def test_a_fold_that_is_made_anew_while_scores_are_joined_is_not_mixed_in(experiment, finished, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(finished[0], tmp_path / "folds"))
    before, join = (folder / "scores.json").read_bytes(), fold_runs._join

    def late(*arguments):
        Store(folder / "fold-1").update_record("evaluate", uid="another")
        return join(*arguments)

    monkeypatch.setattr(fold_runs, "_join", late)
    with pytest.raises(RunError, match=r"evaluate of .*fold-1 was made anew while"):
        run_folds(experiment, folder, 1)
    assert (folder / "scores.json").read_bytes() == before
