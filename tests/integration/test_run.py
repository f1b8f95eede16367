"""Laws of a run: it notices what changed, repairs what was lost, deletes nothing that is not its own, and survives kills.

The chain is of fake parts, so that every law can be tried on every step.
"""

import json
import os
import shutil
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import fakes
import numpy as np
import pandas as pd
import pytest
from fakes import fake_experiment, write_recording
from kills import kill_at

from braindiffuser import stages
from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.responses import ResponseAccumulator
from braindiffuser.errors import BrainDiffuserError, RecordingError, RunError
from braindiffuser.experiment import Experiment
from braindiffuser.machine import versions
from braindiffuser.networks.catalogue import SCORING_NETWORKS
from braindiffuser.progress import silent
from braindiffuser.run import Run
from braindiffuser.stages import evaluate, prepare
from braindiffuser.store.draft import Draft
from braindiffuser.store.results import Store

STEPS = [
    "prepare.stimuli",
    "prepare.responses",
    "extract.a",
    "extract.b",
    "fit.a",
    "fit.b",
    "compare",
    "reconstruct.rough",
    "reconstruct.rough_from_true_features",
    "reconstruct.final",
    "reconstruct.from_true_features",
    "reconstruct.without_b",
    "reconstruct.without_rough",
    "evaluate",
    "analyse.names",
    "report",
]
PAGE = "report/index.html"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_recording(tmp_path_factory.mktemp("recordings") / "told")


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory):
    """A finished run, which tests copy."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    Run.open(fake_experiment(root), folder).run_all()
    return folder


@pytest.fixture
def copy(finished, root, tmp_path):
    """A copy of the recording and of its finished run, elsewhere."""
    shutil.copytree(root, tmp_path / "recording")
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path


def reopen(copy, overwrite=False, progress=silent, **changes):
    return Run.open(fake_experiment(copy / "recording", **changes), copy / "run", overwrite, progress)


def results(folder):
    """All results by name, but the page, which holds times, and the run's own files."""
    files = (path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    own = ("manifest.json", "experiment.yaml", "recording.json", "written.json", ".lock", PAGE)
    return {name: content for name, content in named.items() if name not in own and not name.startswith("steps/")}


def records(folder):
    """What is known of each step, but when its files were touched."""
    found = {step: Store(folder).record(step) for step in Store(folder).steps()}
    return {
        step: record | {"files": {name: state[:2] for name, state in record["files"].items()}}
        for step, record in found.items()
    }


def made_again(before, after):
    return [step for step in STEPS if before[step]["finished"] != after[step]["finished"]]


def stale(run):
    return [str(step) for step in run.steps() if run.state(step) == "unfinished"]


# What it is


def test_every_step_leaves_a_record_and_only_files_that_its_stage_declares(finished):
    assert sorted(records(finished)) == sorted(STEPS)
    owned = set()
    for step, content in records(finished).items():
        patterns = stages.stages()[step.partition(".")[0]].writes
        for name in content["files"]:
            assert any(fnmatch(name, pattern) for pattern in patterns), name
            assert name not in owned
            owned.add(name)
    assert owned == {*results(finished), PAGE}


def test_a_finished_run_computes_nothing(copy):
    before, told = records(copy / "run"), []
    reopen(copy, progress=lambda *said: told.append(said)).run_all()
    assert [label for label, _, _ in told if not label.endswith("(already finished)") and "checking" not in label] == []
    reopen(copy).run_all()
    assert records(copy / "run") == before


def test_a_page_of_an_earlier_version_is_drawn_anew_where_it_is_asked_for(copy):
    page, before = copy / "run" / PAGE, records(copy / "run")
    earlier = page.read_text()
    run = reopen(copy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("braindiffuser.stages.report.build_report", lambda context: SimpleNamespace(html="anew"))
        run.do("report")
        assert page.read_text() == earlier
        run.do("report", again=True)
        assert page.read_text() == "anew"
    assert run.is_finished("report")
    assert {step for step, own in records(copy / "run").items() if own != before[step]} == {"report"}
    reopen(copy).do("report", again=True)
    assert page.read_text()[:10_000] == earlier[:10_000]  # the times at its end are others


def test_the_same_experiment_gives_the_same_bytes(finished, root, tmp_path):
    Run.open(fake_experiment(root), tmp_path).run_all()
    assert results(tmp_path) == results(finished)


def test_a_new_folder_needs_an_experiment(tmp_path):
    with pytest.raises(
        RunError,
        match=r"holds no run yet, or its manifest\.json is damaged: name .* by `braindiffuser run --config FILE --out .*`$",
    ):
        Run.open(None, tmp_path)


def test_a_begun_folder_knows_its_experiment(copy, finished):
    assert Run.open(None, finished).experiment == Run.open(None, copy / "run").experiment


def test_a_stage_needs_those_before_it(root, tmp_path):
    run = Run.open(fake_experiment(root), tmp_path)
    with pytest.raises(RunError, match="reconstruct needs prepare first: `braindiffuser prepare --out"):
        run.do("reconstruct")


def test_an_analysis_that_asks_for_an_unknown_stage_is_told_which_there_are(root, tmp_path):
    with pytest.raises(RunError, match="analysis paints needs paint, but analyses may need only: prepare, extract"):
        Run.open(fake_experiment(root, analyses=[{"kind": "fakes:Paints"}]), tmp_path)


# Noticing what changed


def replace_session(recording):
    betas = np.load(recording / "sessions" / "2.npy")
    np.save(recording / "sessions" / "2.npy", -betas)


def repair_session_in_secret(recording):
    """Another content of the same size, under the old modification time."""
    path = recording / "sessions" / "2.npy"
    facts = path.stat()
    replace_session(recording)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def swap_stimuli(recording):
    """Let two trials of two stimuli, one that trains and one that tests, have been the other way round."""
    trials = pd.read_csv(recording / "design.csv")
    one, other = (trials.index[trials["split"] == split][0] for split in ("train", "test"))
    columns = ["stimulus_id", "split"]
    trials.loc[[one, other], columns] = trials.loc[[other, one], columns].to_numpy()
    trials.to_csv(recording / "design.csv", index=False)


def change_mask(recording):
    mask = np.load(recording / "mask.npy")
    mask[1, 1, 1] = False
    np.save(recording / "mask.npy", mask)


def change_text(name, old, new):
    def change(recording):
        path = recording / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


AFTER_FIT = STEPS[6:]
FROM_PREDICTIONS = [
    step for step in STEPS if step.startswith(("fit", "compare", "reconstruct", "evaluate", "analyse", "report"))
]
NOTICED = {
    "other betas": (replace_session, "betas: sessions/2.npy was changed", "prepare.responses", "extract"),
    "a repaired session": (
        repair_session_in_secret,
        "betas: sessions/2.npy was changed",
        "prepare.responses",
        "extract",
    ),
    "other captions": (
        change_text("captions.txt", "caption 3\n", "a longer caption\n"),
        "captions.txt",
        "extract.b",
        "prepare",
    ),
    "other stimuli": (change_text("brightness.txt", "100", "101"), "stimuli: brightness.txt", "extract.a", "prepare"),
    "another mask under the same name": (change_mask, "regions: mask.npy was changed", "prepare.responses", "extract"),
    "another design": (swap_stimuli, "design: design.csv was changed", "prepare.stimuli", "none"),
}


@pytest.mark.parametrize(
    "stage", ["prepare", "extract", "fit", "compare", "reconstruct", "evaluate", "analyse", "report"]
)
@pytest.mark.parametrize("change", NOTICED)
def test_every_command_notices_a_changed_recording(change, stage, copy):
    alter, words, _, _ = NOTICED[change]
    alter(copy / "recording")
    with pytest.raises(RunError, match=words) as caught:
        reopen(copy).do(stage)
    assert "with other settings or inputs" in str(caught.value)
    assert "--overwrite" in str(caught.value)


@pytest.mark.parametrize("change", NOTICED)
def test_what_a_change_reaches_is_made_anew_and_nothing_else(change, copy, tmp_path):
    alter, _, first, spared = NOTICED[change]
    alter(copy / "recording")
    before = records(copy / "run")
    reopen(copy, overwrite=True).run_all()
    again = made_again(before, records(copy / "run"))
    assert first in again
    assert "report" in again
    assert not any(step.startswith(spared) for step in again)
    fresh = tmp_path / "fresh"
    Run.open(fake_experiment(copy / "recording"), fresh).run_all()
    assert results(fresh) == results(copy / "run")


def test_a_session_that_came_later_is_noticed(root, tmp_path):
    shutil.copytree(root, tmp_path / "recording")
    third = tmp_path / "third.npy"
    (tmp_path / "recording" / "sessions" / "3.npy").rename(third)
    Run.open(fake_experiment(tmp_path / "recording"), tmp_path / "run").run_all()
    third.rename(tmp_path / "recording" / "sessions" / "3.npy")
    with pytest.raises(RunError, match=r"betas: sessions/3\.npy is new"):
        reopen(tmp_path)
    reopen(tmp_path, overwrite=True).run_all()
    Run.open(fake_experiment(tmp_path / "recording"), tmp_path / "fresh").run_all()
    assert results(tmp_path / "fresh") == results(tmp_path / "run")


def test_a_session_that_was_taken_away_is_noticed(copy, tmp_path):
    (copy / "recording" / "sessions" / "2.npy").unlink()
    with pytest.raises(RunError, match=r"betas: sessions/2\.npy is gone"):
        reopen(copy)
    reopen(copy, overwrite=True).run_all()
    Run.open(fake_experiment(copy / "recording"), tmp_path / "fresh").run_all()
    assert results(tmp_path / "fresh") == results(copy / "run")


def test_betas_that_were_all_deleted_leave_their_results(copy):
    shutil.rmtree(copy / "recording" / "sessions")
    told = []
    run = reopen(copy, progress=lambda *said: told.append(said[0]))
    assert stale(run) == []
    assert "all files of betas are missing, so changes in them cannot be detected" in told


def test_another_recording_under_the_same_path_is_noticed(copy, tmp_path):
    shutil.rmtree(copy / "recording")
    write_recording(copy / "recording", seed=5)
    with pytest.raises(RunError, match=r"prepare\.stimuli, prepare\.responses"):
        reopen(copy)


@pytest.mark.parametrize(
    ("changes", "said", "first", "spared"),
    [
        ({"seed": 8}, "seed was 7, now 8", "extract.a", "prepare"),
        (
            {"targets": {"a": {"shift": 1}}},
            "targets.a.shift was 0, now 1",
            "extract.a",
            ("prepare", "extract.b", "fit.b"),
        ),
        (
            {"targets": {"b": {"nothing": 8}}},
            "targets.b.nothing was 9, now 8",
            "extract.b",
            ("prepare", "extract.a", "fit.a", "reconstruct.rough"),
        ),
        (
            {"regression": {"penalty": {"b": 2.0}}},
            "regression.penalty was 0.0, now 2.0",
            "fit.b",
            ("extract", "fit.a", "reconstruct.rough"),
        ),
        (
            {"generator": {"strength": 0.25}},
            "generator.strength was 0.5, now 0.25",
            "reconstruct.final",
            ("prepare", "extract", "fit"),
        ),
        (
            {"evaluation": {"n_resamples": 30}},
            "evaluation.n_resamples was 20, now 30",
            "evaluate",
            ("prepare", "extract", "fit", "compare", "reconstruct", "analyse"),
        ),
        (
            {"analyses": [{"kind": "fakes:Names", "word": "seen"}]},
            "analyses.names.word was found, now seen",
            "analyse.names",
            ("prepare", "reconstruct", "evaluate"),
        ),
        (
            {"responses": {"normalisation": "training"}},
            "responses.normalisation was session, now training",
            "prepare.responses",
            ("prepare.stimuli", "extract"),
        ),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_another_setting_is_named_and_reaches_only_what_looks_at_it(changes, said, first, spared, copy, root, tmp_path):
    with pytest.raises(RunError) as caught:
        reopen(copy, **changes)
    assert said in str(caught.value)
    assert first in str(caught.value)
    before = records(copy / "run")
    reopen(copy, overwrite=True, **changes).run_all()
    again = made_again(before, records(copy / "run"))
    assert first in again
    assert not any(step.startswith(spared) for step in again)
    Run.open(fake_experiment(root, **changes), tmp_path / "fresh").run_all()
    assert results(copy / "run") == results(tmp_path / "fresh")


def test_another_name_makes_the_page_again_unasked(copy, root, tmp_path):
    before = records(copy / "run")
    reopen(copy, name="other").run_all()
    assert made_again(before, records(copy / "run")) == ["report"]
    Run.open(fake_experiment(root, name="other"), tmp_path / "fresh").run_all()
    assert results(copy / "run") == results(tmp_path / "fresh")


def test_a_further_group_leaves_the_others_alone(copy):
    further = {"targets": {"c": {"kind": "fakes:Code", "group": 3}}}
    before, order = records(copy / "run"), results(copy / "run")
    run = reopen(copy, **further)
    for stage in ("prepare", "extract", "fit"):
        run.do(stage)
    after = records(copy / "run")
    assert {step: after[step] for step in STEPS[:6]} == {step: before[step] for step in STEPS[:6]}
    assert {"extract.c", "fit.c"} <= after.keys()
    assert order.items() <= results(copy / "run").items()


def test_a_recording_without_captions_is_refused_only_where_they_are_asked_for(root, tmp_path):
    shutil.copytree(root, tmp_path / "recording")
    (tmp_path / "recording" / "captions.txt").unlink()
    with pytest.raises(RunError, match="the recording has no captions, and targets b are made from them: remove"):
        reopen(tmp_path).do("prepare")
    reopen(tmp_path, targets={"b": {"kind": "fakes:Code", "group": 2}}).do("prepare")


# What is free


def test_moved_folders_are_the_same(copy, tmp_path):
    (copy / "recording").rename(tmp_path / "moved recording")
    (copy / "run").rename(tmp_path / "moved run")
    run = Run.open(fake_experiment(tmp_path / "moved recording"), tmp_path / "moved run")
    assert all(run.state(step) == "finished" for step in run.steps())


def test_touched_files_are_the_same(copy):
    for path in [*(copy / "recording").rglob("*"), *(copy / "run").rglob("*")]:
        os.utime(path, (1, 1))
    assert stale(reopen(copy)) == []


@pytest.mark.parametrize("changes", [{"device": "cpu"}, {"generator": {"batch_size": 2}}])
def test_what_cannot_change_a_result_is_free(changes, copy):
    before = records(copy / "run")
    reopen(copy, **changes).run_all()
    assert made_again(before, records(copy / "run")) == []


def test_a_recording_that_is_gone_leaves_its_results(copy):
    shutil.rmtree(copy / "recording")
    told = []
    run = reopen(copy, progress=lambda *said: told.append(said[0]))
    assert stale(run) == []
    assert any("cannot be detected" in label for label in told)


# Repair


@pytest.mark.parametrize(
    ("step", "damage"),
    [
        *((step, damage) for step in STEPS if step != "report" for damage in ("lost", "changed")),
        *(("fit.a", damage) for damage in ("cut", "emptied")),
    ],
)
def test_damaged_outputs_are_repaired_by_the_same_command(step, damage, copy, finished):
    files = sorted(records(copy / "run")[step]["files"])
    for name in (files[0], files[len(files) // 2], files[-1]):
        path = copy / "run" / name
        content = path.read_bytes()
        if damage == "lost":
            path.unlink()
        else:
            flipped = content[:-1] + bytes([content[-1] ^ 1]) if content else b""
            path.write_bytes({"cut": content[: len(content) // 2], "emptied": b"", "changed": flipped}[damage])
    run = reopen(copy)
    assert {str(found): run.state(found) for found in run.steps()}[step] == "damaged"
    run.run_all()
    assert results(copy / "run") == results(finished)
    assert all(run.state(found) == "finished" for found in run.steps())


def test_one_sentence_says_what_to_repair_and_the_advice_works(copy, finished):
    (copy / "run" / "decoders" / "a.safetensors").unlink()
    (copy / "run" / "reconstructions" / "final" / "0002.png").unlink()
    run = reopen(copy)
    with pytest.raises(
        RunError, match=r"reconstruct needs fit first \(decoders/a\.safetensors is missing\): `braindiffuser fit"
    ):
        run.do("reconstruct")
    for stage in ("fit", "reconstruct"):
        reopen(copy).do(stage)
    assert results(copy / "run") == results(finished)


@pytest.mark.parametrize("step", STEPS)
def test_a_lost_record_costs_that_step_and_no_other(step, copy, finished):
    before = records(copy / "run")
    (copy / "run" / "steps" / f"{step}.json").unlink()
    reopen(copy).run_all()
    assert set(made_again(before, records(copy / "run"))) <= {step}
    assert results(copy / "run") == results(finished)


@pytest.mark.parametrize("name", ["manifest.json", "recording.json", "experiment.yaml"])
@pytest.mark.parametrize("damage", [None, "", '{"half'])
def test_damaged_books_are_written_anew(name, damage, copy, finished):
    path = copy / "run" / name
    if damage is None:
        path.unlink()
    else:
        path.write_text(damage)
    reopen(copy).run_all()
    assert results(copy / "run") == results(finished)
    assert name == "experiment.yaml" or path.read_text() != damage


# Only what it wrote


def test_a_users_files_are_never_deleted(copy):
    notes = {
        folder: folder / "my notes.txt"
        for folder in [copy / "run", *(p for p in (copy / "run").rglob("*") if p.is_dir())]
    }
    for path in notes.values():
        path.write_text("precious")
    mixed = {"seed": 9, "evaluation": {"n_resamples": 40}, "responses": {"normalisation": "training"}, "name": "other"}
    reopen(copy, overwrite=True, **mixed).run_all()
    reopen(copy, overwrite=True, pictures={"ablations": []}, **mixed).run_all()
    assert all(path.read_text() == "precious" for path in notes.values())


@pytest.mark.parametrize("out", ["recording", "recording/run", "recording/deep/run", "."])
def test_a_run_is_not_written_in_at_or_around_the_recording(out, root, tmp_path, monkeypatch):
    shutil.copytree(root, tmp_path / "recording")
    before = results(tmp_path)
    with pytest.raises(RunError, match="overlaps the recording"):
        Run.open(fake_experiment(tmp_path / "recording"), tmp_path / out, overwrite=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="overlaps the recording"):
        Run.open(fake_experiment(Path("recording")), Path(out), overwrite=True)
    assert results(tmp_path) == before


def test_a_link_into_the_recording_is_seen_through(root, tmp_path):
    shutil.copytree(root, tmp_path / "recording")
    (tmp_path / "link").symlink_to(tmp_path / "recording")
    with pytest.raises(RunError, match="overlaps the recording"):
        Run.open(fake_experiment(tmp_path / "recording"), tmp_path / "link" / "run")


def test_a_folder_of_other_things_is_refused(root, tmp_path):
    (tmp_path / "scores.json").write_text("somebody's")
    with pytest.raises(RunError, match=r"holds scores\.json but no run's manifest: choose an empty folder"):
        Run.open(fake_experiment(root), tmp_path)
    assert (tmp_path / "scores.json").read_text() == "somebody's"
    assert [path.name for path in tmp_path.iterdir()] == ["scores.json"]


def test_a_users_experiment_file_stays_as_it_is(root, tmp_path):
    file = tmp_path / "experiment.yaml"
    text = "# mine\n" + fake_experiment(root).to_yaml()
    file.write_text(text)
    told = []
    Run.open(Experiment.load(file), tmp_path, progress=lambda *said: told.append(said[0]))
    assert file.read_text() == text
    Run.open(fake_experiment(root, name="other"), tmp_path)
    assert file.read_text() == text


def test_results_that_the_experiment_no_longer_asks_for_stay_and_are_named(copy):
    told, changes = [], {"pictures": {"ablations": []}}
    reopen(copy, overwrite=True, progress=lambda *said: told.append(said[0]), **changes).run_all()
    said = next(
        label for label in told if label.startswith("results of steps that this experiment does not have are kept")
    )
    assert "reconstruct.without_b" in said
    assert (copy / "run" / "reconstructions" / "without_b" / "0000.png").exists()
    assert "Without b" not in (copy / "run" / PAGE).read_text()


def test_a_file_is_no_folder(root, tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(RunError, match="is a file: name a folder"):
        Run.open(fake_experiment(root), tmp_path / "file")


def test_old_results_stay_until_the_new_ones_are_there(copy):
    old = (copy / "run" / "scores.json").read_bytes()
    changes = {"evaluation": {"n_resamples": 30}}
    reopen(copy, overwrite=True, **changes)
    assert (copy / "run" / "scores.json").read_bytes() == old
    assert stale(reopen(copy, **changes)) == ["evaluate", "report"]  # nothing to be asked twice
    assert stale(reopen(copy)) == []  # the old settings find their results
    with pytest.raises(RunError, match="or recompute what changed with --overwrite"):
        reopen(copy, **changes)  # whoever went back is asked again
    reopen(copy, overwrite=True, **changes)
    reopen(copy, **changes).run_all()
    assert (copy / "run" / "scores.json").read_bytes() != old


def test_scores_without_a_network_stay_until_its_checkpoint_has_come(copy, tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINDIFFUSER_CHECKPOINTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    changes = {"evaluation": {"metrics": {"alex": _alexnet()}}}
    run = reopen(copy, overwrite=True, **changes)
    run.run_all()
    scores = (copy / "run" / "scores.json").read_bytes()
    assert set(json.loads(scores)["missing"]) == {"alexnet"}
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / SCORING_NETWORKS["alexnet"].name).write_bytes(b"not yet whole")
    again = reopen(copy, **changes)
    assert stale(again)[0] == "evaluate"
    assert (copy / "run" / "scores.json").read_bytes() == scores
    assert (copy / "run" / PAGE).exists()


def _alexnet():
    facts = {"label": "Alex", "description": "-", "network": "alexnet", "layer": "2"}
    return {"kind": "two_way_identification", **facts}


# Versions, and other processes


def test_a_run_continued_by_other_versions_says_so(copy):
    store = Store(copy / "run")
    store.update_record("fit.a", versions=store.record("fit.a")["versions"] | {"torch": "1.0"})
    told = []
    page = reopen(copy, progress=lambda *said: told.append(said[0])).report().html
    said = f"fit.a was made by torch 1.0; the present version is {versions()['torch']}."
    assert said in told
    assert said in page


def test_consent_to_replace_results_is_for_one_setting_alone(copy):
    reopen(copy, overwrite=True, evaluation={"n_resamples": 30})
    with pytest.raises(RunError, match=r"evaluation\.n_resamples was 20, now 40"):
        reopen(copy, evaluation={"n_resamples": 40})
    reopen(copy, evaluation={"n_resamples": 30}).run_all()


def test_the_page_shows_nothing_of_other_settings(copy):
    run = reopen(copy, overwrite=True, evaluation={"n_resamples": 30})
    page = run.report().html
    assert "Not finished, and therefore not on this page: evaluate." in page
    assert 'id="scores"' not in page
    run.do("evaluate")
    assert 'id="scores"' in run.report().html


def test_a_session_that_changes_while_the_run_works_is_noticed(root, tmp_path):
    shutil.copytree(root, tmp_path / "recording")

    def change(label, done, total):
        if (label, done) == ("averaging sessions", 2):
            repair_session_in_secret(tmp_path / "recording")

    with pytest.raises(
        RecordingError, match="sessions were changed while they were averaged: run the same command again"
    ):
        reopen(tmp_path, progress=change).run_all()
    reopen(tmp_path).run_all()
    Run.open(fake_experiment(tmp_path / "recording"), tmp_path / "fresh").run_all()
    assert results(tmp_path / "run") == results(tmp_path / "fresh")


@pytest.mark.parametrize("lacking", ["facts_incomplete", "facts_one_value", None])
def test_partial_sums_of_an_earlier_version_are_made_again(root, finished, tmp_path, lacking):
    """They lack facts that are checked now: that is said, and the results are the same."""
    shutil.copytree(root, tmp_path / "recording")
    state = ResponseAccumulator.state

    def stop(label, done, total):
        if (label, done) == ("averaging sessions", 1):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResponseAccumulator, "state", lambda self: {k: v for k, v in state(self).items() if k != lacking})
        with pytest.raises(KeyboardInterrupt):
            reopen(tmp_path, progress=stop).run_all()
    told = []
    reopen(tmp_path, progress=lambda *said: told.append(said)).run_all()
    assert any("Partial sums of an earlier version" in said[0] for said in told) == (lacking is not None)
    assert any(said[:2] == ("averaging sessions", 1) for said in told) == (lacking is not None)
    assert results(tmp_path / "run") == results(finished)


def test_sums_that_take_long_to_store_are_stored_after_some_sessions_and_the_last(root, finished, tmp_path):
    """A run that is killed goes on from the last ones, with the same results."""
    shutil.copytree(root, tmp_path / "recording")
    stored, told = [], []

    def note(draft, name, arrays):
        if name == prepare.SUMS:
            stored.append(len(arrays["sessions_done"]))
        write(draft, name, arrays)

    def stop(label, done, total):
        if (label, done) == ("averaging sessions", 2):
            raise KeyboardInterrupt

    write = Draft.write_bundle
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Draft, "write_bundle", note)
        patch.setattr(prepare, "LONG", 0.0)
        patch.setattr(prepare, "READ_PER_STORE", 1e6)
        with pytest.raises(KeyboardInterrupt):
            reopen(tmp_path, progress=stop).run_all()
        assert stored == [1]
        reopen(tmp_path, progress=lambda *said: told.append(said)).run_all()
    done = [said[1] for said in told if said[0] == "averaging sessions"]
    assert stored == [1, 2, 3]
    assert done[0] == 2, "the first session is not read again"
    assert results(tmp_path / "run") == results(finished)


def test_stimuli_that_change_while_the_run_works_are_noticed(root, tmp_path):
    shutil.copytree(root, tmp_path / "recording")

    def change(label, done, total):
        if label == "extracting: test a":
            (tmp_path / "recording" / "brightness.txt").write_text("101")

    with pytest.raises(
        RunError, match=r"files that extract\.a reads were changed while it worked: run the same command"
    ):
        reopen(tmp_path, progress=change).run_all()
    reopen(tmp_path).run_all()
    Run.open(fake_experiment(tmp_path / "recording"), tmp_path / "fresh").run_all()
    assert results(tmp_path / "run") == results(tmp_path / "fresh")


class Stopped(BaseException):
    """Stands for what stops a run, such as Ctrl-C."""


def before_calling(owner, name, change):
    """Let a function change files before it does what it does."""
    own = getattr(owner, name)

    def changed(*arguments):
        change(*arguments)
        return own(*arguments)

    return owner, name, changed


REPLACED = {
    "stimuli while a network is loaded": (
        "brightness.txt",
        lambda path: before_calling(fakes.Code, "null", lambda *_: path.write_text("7")),
        "extracting: train a",
    ),
    "stimuli while they are copied for the page": (
        "brightness.txt",
        lambda path: before_calling(evaluate, "_copy_seen", lambda *_: path.write_text("7")),
        "scoring 5 pictures",
    ),
    "a session after it was hashed": (
        "sessions/2.npy",
        lambda path: before_calling(
            Recording, "betas_of", lambda _, session: session == 2 and np.save(path, 3 * np.load(path) + 1)
        ),
        "averaging sessions",
    ),
}


@pytest.mark.parametrize("case", REPLACED)
def test_what_was_read_from_a_replaced_file_does_not_count_after_the_file_is_put_back(case, root, finished, tmp_path):
    """The run would be stopped before it ends, where it looks once more."""
    name, replacing, label = REPLACED[case]
    shutil.copytree(root, tmp_path / "recording")
    path = tmp_path / "recording" / name
    content = path.read_bytes()

    def stop(said, done, total):
        if said == label and path.read_bytes() != content:
            raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*replacing(path))
        with pytest.raises(BrainDiffuserError, match=r"were changed while .* run the same command again"):
            reopen(tmp_path, progress=stop).run_all()
    path.write_bytes(content)
    reopen(tmp_path).run_all()
    assert results(tmp_path / "run") == results(finished)


READ_WHILE_COMPUTED = {
    "responses while decoders are fitted": ("arrays/responses/train/c/0/0", "fit", (fakes.Oracle, "fit")),
    "responses while they are decoded": ("arrays/responses/train/c/0/0", "fit", (fakes.Oracle, "decode")),
    "targets while they are decoded": ("arrays/targets/a/c/0/0", "fit", (fakes.Oracle, "decode")),
    "decoded features while pictures are drawn": (
        "arrays/predictions/a/c/0/0",
        "reconstruct",
        (fakes.Tracer, "open"),
    ),
}


@pytest.mark.parametrize("how", ["missing", "changed"])
@pytest.mark.parametrize("case", READ_WHILE_COMPUTED)
def test_what_was_made_of_results_that_were_damaged_meanwhile_does_not_count(case, how, root, finished, tmp_path):
    """zarr reads a chunk that is missing as zeros, and arrays have no checksum: what was read is known by the files alone."""
    name, stage, (owner, function) = READ_WHILE_COMPUTED[case]
    shutil.copytree(root, tmp_path / "recording")
    run = reopen(tmp_path)
    for before in ("prepare", "extract", "fit", "compare")[: 2 if stage == "fit" else 4]:
        run.do(before)
    path = tmp_path / "run" / name
    content = path.read_bytes()

    def damage(*_):
        if path.exists():
            path.unlink()
        if how == "changed":
            path.write_bytes(bytes(len(content)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*before_calling(owner, function, damage))
        with pytest.raises(
            RunError, match=rf"{name} .*, and {stage}\..* was being made from it: `braindiffuser run --out"
        ):
            run.do(stage)
    reopen(tmp_path).run_all()
    assert results(tmp_path / "run") == results(finished)


@pytest.fixture
def extracted(root, tmp_path):
    """A run of a recording of its own, up to its features."""
    shutil.copytree(root, tmp_path / "recording")
    run = reopen(tmp_path)
    for stage in ("prepare", "extract"):
        run.do(stage)
    return run


def test_what_is_unfinished_of_damaged_results_does_not_count(extracted, finished, tmp_path):
    """A kill left decoders that were fitted to damaged responses."""
    (tmp_path / "run/arrays/responses/train/c/0/0").unlink()

    def stop(*_):
        raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "_require", lambda *_: None)  # the damage came after it looked
        patch.setattr(*before_calling(fakes.Oracle, "decode", stop))
        with pytest.raises(Stopped):
            reopen(tmp_path).do("fit")
    assert list((tmp_path / "run/unfinished").glob("fit.*/decoders/*"))
    reopen(tmp_path).do("prepare")
    assert not list((tmp_path / "run/unfinished").glob("fit.*/decoders/*"))
    reopen(tmp_path).run_all()
    assert results(tmp_path / "run") == results(finished)


def test_what_is_unfinished_of_a_step_that_the_experiment_does_not_have_does_not_count_either(
    extracted, finished, tmp_path
):
    """A curve that was added by a command and killed; then `run`, which does not know it, makes damaged results again."""
    curve, other = (tmp_path / "run/unfinished" / name for name in ("analyse.curve_training", "extract.a"))
    for name in (curve.name, other.name):
        extracted._store.draft(name, "key").write_json("kept/1.json", {"made_from": "what was damaged"})
    (tmp_path / "run/arrays/responses/train/c/0/0").unlink()
    reopen(tmp_path).do("prepare")
    assert not curve.exists()
    assert other.exists()  # it reads no responses
    shutil.rmtree(other)
    reopen(tmp_path).run_all()
    assert results(tmp_path / "run") == results(finished)


def test_a_step_that_fails_since_its_inputs_are_damaged_says_that(extracted, finished, tmp_path):
    """Arrays that are cut short cannot be read as they should, each library in its own words."""
    name = "arrays/responses/train/c/0/0"
    path = tmp_path / "run" / name

    def cut(*_):
        path.write_bytes(path.read_bytes()[:-5])
        raise ValueError("cannot reshape array")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*before_calling(fakes.Oracle, "decode", cut))
        with pytest.raises(
            RunError, match=rf"^{name} .*, and fit\.a was being made from it: `braindiffuser run"
        ) as caught:
            extracted.do("fit")
    assert isinstance(caught.value.__context__, ValueError)
    run = reopen(tmp_path)
    run.run_all()
    assert results(tmp_path / "run") == results(finished)


def test_a_step_that_fails_by_itself_says_why(root, tmp_path):
    shutil.copytree(root, tmp_path / "recording")

    def fail(*_):
        raise ValueError("of its own")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*before_calling(fakes.Oracle, "decode", fail))
        with pytest.raises(ValueError, match="of its own"):
            reopen(tmp_path).run_all()


def test_single_trials_of_a_session_that_was_replaced_after_averaging_do_not_count(root, tmp_path):
    shutil.copytree(root, tmp_path / "recording")
    path, rows = tmp_path / "recording" / "sessions" / "2.npy", {"rows": "trials"}
    content, read = path.read_bytes(), []

    def replace(_, session):
        read.append(session)
        if read.count(2) == 2:
            np.save(path, 3 * np.load(path) + 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*before_calling(Recording, "betas_of", replace))
        with pytest.raises(RecordingError, match="sessions were changed while they were averaged"):
            reopen(tmp_path, responses=rows).do("prepare")
    assert read.count(2) == 2
    path.write_bytes(content)
    reopen(tmp_path, responses=rows).do("prepare")
    Run.open(fake_experiment(root, responses=rows), tmp_path / "fresh").do("prepare")
    assert results(tmp_path / "run") == results(tmp_path / "fresh")


def test_a_session_that_is_replaced_after_averaging_is_not_recorded_as_what_was_averaged(root, tmp_path):
    shutil.copytree(root, tmp_path / "recording")
    run = reopen(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        change = before_calling(Draft, "write_table", lambda *_: repair_session_in_secret(tmp_path / "recording"))
        patch.setattr(*change)
        with pytest.raises(RecordingError, match="sessions were changed while they were averaged"):
            run.do("prepare")
    assert Store(tmp_path / "run").record("prepare.responses") is None


def test_what_the_open_recording_holds_of_a_replaced_file_does_not_count(root, tmp_path):
    """Captions are read when the recording is opened, long before the step that depends on them begins."""
    shutil.copytree(root, tmp_path / "recording")

    def replace(label, done, total):
        if (label, done) == ("averaging sessions", 1):
            (tmp_path / "recording" / "captions.txt").write_text(
                "\n".join("new" for _ in range(fakes.N_TRAIN + fakes.N))
            )

    with pytest.raises(
        RunError, match=r"files that extract\.b reads were changed since the recording was opened: run the same command"
    ):
        reopen(tmp_path, progress=replace).run_all()
    reopen(tmp_path).run_all()
    assert set(Store(tmp_path / "run").read_array("targets/b")[:, 3]) == {3}


def test_two_processes_do_not_work_in_one_folder(copy):
    run = reopen(copy)
    with run._alone(), pytest.raises(RunError, match="another process works in"):
        reopen(copy)


KILLS = {
    "prepare": ("checking@1", "averaging@2", "wrote sums@1", "wrote arrays/responses/test@1", "wrote voxels@1"),
    "extract": ("extracting: train a@1", "extracting: test b@1"),
    "fit": ("choosing@1", "wrote decoders@1", "predicting@1"),
    "compare": ("comparing@1", "wrote feature_scores@1"),
    "reconstruct": ("reconstructing: rough@2", "reconstructing: final@2", "reconstructing: without@1"),
    "evaluate": ("scoring@4", "wrote scores@2"),
    "analyse": ("drawing@2", "wrote reconstructions/names@1"),
    "report": ("wrote report@1", "wrote report@2"),
}


@pytest.mark.parametrize("stage", KILLS)
def test_a_run_that_was_killed_again_and_again_ends_with_the_same_bytes(stage, root, finished, tmp_path):
    kill_at(KILLS[stage], fake_experiment(root), tmp_path / "run")
    Run.open(fake_experiment(root), tmp_path / "run").run_all()
    assert results(tmp_path / "run") == results(finished)
    assert not list((tmp_path / "run" / "unfinished").rglob("*"))


@pytest.mark.parametrize("moment", ["averaging@2", "wrote arrays/responses/test@1", "wrote voxels@1"])
def test_what_a_killed_run_made_of_a_session_that_changed_is_not_gone_on_with(moment, root, tmp_path):
    shutil.copytree(root, tmp_path / "recording")
    kill_at([moment], fake_experiment(tmp_path / "recording"), tmp_path / "run")
    repair_session_in_secret(tmp_path / "recording")
    reopen(tmp_path).run_all()
    Run.open(fake_experiment(tmp_path / "recording"), tmp_path / "fresh").run_all()
    assert results(tmp_path / "run") == results(tmp_path / "fresh")


def test_what_a_killed_run_drew_from_other_features_is_not_gone_on_with(root, tmp_path):
    kill_at(["reconstructing: final@1"], fake_experiment(root), tmp_path / "run")
    changes = {"targets": {"b": {"nothing": 8}}}
    Run.open(fake_experiment(root, **changes), tmp_path / "run", overwrite=True).run_all()
    Run.open(fake_experiment(root, **changes), tmp_path / "fresh").run_all()
    assert results(tmp_path / "run") == results(tmp_path / "fresh")
