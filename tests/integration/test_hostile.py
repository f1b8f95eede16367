"""Laws of unlucky and hostile folders: nothing of others is written or deleted, and nothing damaged is taken for whole."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import ClassVar

import fakes
import numpy as np
import pytest
from fakes import fake_experiment, write_recording
from filelock import FileLock
from kills import kill_at
from typer.testing import CliRunner

from braindiffuser.cli import app
from braindiffuser.datasets.recording import Recording
from braindiffuser.errors import RecordingError, RunError
from braindiffuser.files import UNFINISHED
from braindiffuser.progress import silent
from braindiffuser.run import Run
from braindiffuser.run_folder import stored_experiment
from braindiffuser.store.checked_json import read_checked, write_checked
from braindiffuser.store.draft import JOURNAL
from braindiffuser.store.results import FORMAT, READY, Store


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_recording(tmp_path_factory.mktemp("recordings") / "told")


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "finished"
    Run.open(fake_experiment(root), folder).run_all()
    return folder


@pytest.fixture
def copy(finished, root, tmp_path):
    shutil.copytree(root, tmp_path / "recording")
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path


def reopen(copy, overwrite=False, progress=silent, **changes):
    return Run.open(fake_experiment(copy / "recording", **changes), copy / "run", overwrite, progress)


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def results(folder):
    own = ("manifest.json", "experiment.yaml", "recording.json", "written.json", ".lock", "report/index.html")
    return {name: text for name, text in tree(folder).items() if name not in own and not name.startswith("steps/")}


# Links


@pytest.mark.parametrize(
    "place",
    ["arrays", "arrays/predictions", "reconstructions/final", "steps", "unfinished", "report", "nsd", "sections"],
)
def test_nothing_is_written_or_deleted_through_a_link(place, copy):
    theirs = copy / "theirs"
    link = copy / "run" / place
    if link.exists():
        shutil.move(link, theirs)
    else:
        theirs.mkdir()
    (theirs / "0000.png").write_text("precious")
    link.symlink_to(theirs)
    before = tree(theirs)
    with pytest.raises(RunError, match=f"{link} is a link, and a run writes only into its own folder"):
        reopen(copy, overwrite=True, seed=9).run_all()
    assert tree(theirs) == before


@pytest.mark.parametrize("place", ["unfinished/fit.a", "unfinished/fit.a/journal.jsonl", ".lock"])
def test_what_is_unfinished_holds_no_links(place, copy):
    (copy / "theirs").write_text("precious")
    link = copy / "run" / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(copy / "theirs")
    with pytest.raises(RunError, match="is a link"):
        reopen(copy)
    assert (copy / "theirs").read_text() == "precious"


def test_a_run_is_not_written_where_a_folder_of_the_recording_is_linked_to(copy):
    (copy / "recording" / "sessions").rename(copy / "disk")
    (copy / "recording" / "sessions").symlink_to(copy / "disk")
    with pytest.raises(RunError, match="overlaps the recording"):
        Run.open(fake_experiment(copy / "recording"), copy / "disk" / "run")
    Run.open(fake_experiment(copy / "recording"), copy / "elsewhere")


# Files of others


def theirs_at(copy, name):
    path = copy / "run" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("precious")
    return path


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("decoders/c.safetensors", {"targets": {"c": {"kind": "fakes:Code", "group": 3}}}),
        ("analyses/second.json", {"analyses": [{"kind": "fakes:Names"}, {"kind": "fakes:Names", "name": "second"}]}),
        ("reconstructions/second_regions/0000.png", {"analyses": [{"kind": "fakes:Names", "name": "second"}]}),
    ],
)
def test_a_users_file_where_something_new_is_to_go_is_refused_and_stays(name, changes, copy):
    path = theirs_at(copy, name)
    with pytest.raises(
        RunError, match="which would replace it: move it, then run the same command again; finished work is kept"
    ):
        reopen(copy, overwrite=True, **changes).run_all()
    assert path.read_text() == "precious"
    path.rename(copy / "kept")
    reopen(copy, overwrite=True, **changes).run_all()
    assert (copy / "kept").read_text() == "precious"


def test_notes_in_the_place_of_a_result_whose_record_is_lost_are_not_replaced(copy, finished):
    (copy / "run" / "steps" / "evaluate.json").unlink()
    path = theirs_at(copy, "per_image.csv")
    with pytest.raises(RunError, match="which would replace it"):
        reopen(copy).run_all()
    assert path.read_text() == "precious"
    path.unlink()
    reopen(copy).run_all()
    assert results(copy / "run") == results(finished)


def test_a_repair_is_announced_with_what_happened_to_the_file(copy):
    with (copy / "run" / "per_image.csv").open("a") as file:
        file.write("a line of the user's\n")
    told = []
    reopen(copy, progress=lambda *said: told.append(said[0])).run_all()
    assert "recomputing damaged files of evaluate: per_image.csv was changed" in told


@pytest.mark.parametrize("content", ["[]", '{"name": "my app"}', "not JSON"])
def test_somebody_elses_manifest_makes_no_run(content, root, tmp_path):
    for name in ("manifest.json", "recording.json", "nsd/betas"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "one.json").write_text("{}")
    before = tree(tmp_path)
    with pytest.raises(RunError, match="but no run's manifest"):
        Run.open(fake_experiment(root), tmp_path)
    assert tree(tmp_path) == before


# What is ready, or half done, and damaged


def ready(copy, **files):
    """A draft of evaluate as a kill leaves it between its last file and its move, for which files are given."""
    store, run = Store(copy / "run"), reopen(copy, overwrite=True, evaluation={"n_resamples": 30})
    step = next(step for step in run.steps() if str(step) == "evaluate")
    with run._alone():
        drafts = {"": run._step_results.draft(step)}
        assert list(run.experiment and _computed(run, drafts)) == [""]
    draft = drafts[""]
    facts = {**run.states.inputs(step), "uid": "u", "key": draft.key, "versions": {}, "finished": ""}
    write_checked(draft.folder / READY, {"facts": facts, "files": draft.files})
    return store, draft


def _computed(run, drafts):
    from braindiffuser.stages import stages

    return stages()["evaluate"].compute(run._context, drafts)


@pytest.mark.parametrize("damage", ["changed", "emptied", "lost", "record"])
def test_a_draft_that_was_damaged_when_it_was_ready_is_not_published(damage, copy, root, tmp_path):
    changes = {"evaluation": {"n_resamples": 30}}
    _, draft = ready(copy)
    path = draft.folder / "scores.json"
    if damage == "record":
        (draft.folder / READY).write_text("{}")
    elif damage == "lost":
        path.unlink()
    else:
        path.write_text("" if damage == "emptied" else path.read_text().replace("0", "1"))
    reopen(copy, **changes).run_all()
    Run.open(fake_experiment(root, **changes), tmp_path / "fresh").run_all()
    assert results(copy / "run") == results(tmp_path / "fresh")


def test_a_ready_draft_does_not_replace_a_users_file(copy):
    folder = copy / "run" / "unfinished" / "evaluate"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("evil")
    path = theirs_at(copy, "notes.txt")
    from braindiffuser.files import state_of

    write_checked(folder / READY, {"facts": {}, "files": {"notes.txt": state_of(folder / "notes.txt")}})
    with pytest.raises(RunError, match="which would replace it"):
        reopen(copy)
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    "damage", ["", "\0\0\0", '{"key": ', "[]\n[]\n", '{"key": "x"}\n{"a": [1]}\n', '{"key": "x"}\n7\n']
)
def test_a_damaged_journal_costs_a_step_and_no_more(damage, root, finished, tmp_path):
    kill_at(["reconstructing: final@1"], fake_experiment(root), tmp_path / "run")
    (journal,) = (tmp_path / "run" / "unfinished").glob(f"*/{JOURNAL}")
    journal.write_text(damage)
    Run.open(fake_experiment(root), tmp_path / "run").run_all()
    assert results(tmp_path / "run") == results(finished)


@pytest.mark.parametrize(
    "name", ["recording.json", "manifest.json", "steps/fit.a.json", "steps/prepare.responses.json"]
)
def test_a_book_of_which_one_digit_changed_is_not_believed(name, copy, finished):
    path = copy / "run" / name
    text = path.read_text()
    place = next(k for k in range(len(text) // 2, len(text)) if text[k] in "0123456789")
    path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
    assert read_checked(path) is None
    reopen(copy).run_all()
    assert results(copy / "run") == results(finished)


def test_damaged_responses_are_not_made_again_of_a_recording_that_is_gone(copy):
    shutil.rmtree(copy / "recording" / "sessions")
    (copy / "run" / "rois.npz").unlink()
    before = tree(copy / "run" / "arrays")
    with pytest.raises(RunError, match=r"rois\.npz is missing, and prepare\.responses cannot be made again: the betas"):
        reopen(copy).run_all()
    assert tree(copy / "run" / "arrays") == before


def test_a_session_that_is_gone_and_a_file_that_is_lost_are_no_mixture(copy, tmp_path):
    (copy / "recording" / "sessions" / "3.npy").unlink()
    (copy / "run" / "sums.npz").unlink()
    with pytest.raises(RunError, match=r"sessions/3\.npy is gone"):
        reopen(copy)
    reopen(copy, overwrite=True).run_all()
    Run.open(fake_experiment(copy / "recording"), tmp_path / "fresh").run_all()
    assert results(copy / "run") == results(tmp_path / "fresh")


# Two at once


def test_a_run_that_another_one_replaced_does_not_go_on(copy):
    first = reopen(copy, overwrite=True, seed=8)
    first.do("extract")
    second = reopen(copy, overwrite=True, seed=9)
    with pytest.raises(RunError, match=r"another experiment \(fakes-.*\) was begun since this run of .* was opened"):
        first.do("fit")
    second.run_all()
    page = (copy / "run" / "report" / "index.html").read_text()
    assert "seed: 9" in page


def test_a_page_is_made_anew_unasked_where_an_analysis_is_taken_away_or_put_back(copy):
    page = copy / "run" / "report" / "index.html"
    before, uid = page.read_text(), Store(copy / "run").record("analyse.names")["uid"]
    reopen(copy, analyses=[]).do("report")
    without = page.read_text()
    reopen(copy).do("report")
    assert ">Names<" in before
    assert ">Names<" not in without
    assert ">Names<" in page.read_text()
    assert Store(copy / "run").record("analyse.names")["uid"] == uid


def test_the_experiments_file_is_written_anew_after_a_kill(copy):
    run = reopen(copy, overwrite=True, seed=8)
    with pytest.MonkeyPatch.context() as patch:

        def killed(*_):
            raise KeyboardInterrupt

        patch.setattr(Store, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            reopen(copy, overwrite=True, seed=9)
    assert "seed: 8" in (copy / "run" / "experiment.yaml").read_text()
    reopen(copy, overwrite=True, seed=9)
    assert "seed: 9" in (copy / "run" / "experiment.yaml").read_text()
    assert run.experiment.seed == 8


# Parts that do not do what they should


class Forgetful(fakes.Oracle):
    """Decodes less, or in another order, than it was asked for."""

    how: str = "order"

    def fit(self, rows, targets, device, progress=silent):
        fitted = super().fit(rows, targets, device, progress)
        return {"a": fitted["a"]} if self.how == "fit" else fitted

    def decode(self, fitted, rows, targets, responses, device, progress=silent):
        for group, decoded in super().decode(fitted, rows, targets, responses, device, progress):
            if self.how == "group" and group == "b":
                continue
            if self.how == "order":
                decoded = dict(sorted(decoded.items()))
            if self.how == "set":
                decoded.pop("further")
            if self.how == "rows":
                decoded["test"] = decoded["test"][:-1]
            yield group, decoded


def forgetful(root, how):
    return fake_experiment(root, regression={"kind": f"{__name__}:Forgetful", "how": how})


def test_test_sets_may_be_decoded_in_any_order(root, finished, tmp_path):
    run = Run.open(forgetful(root, "order"), tmp_path)
    for stage in ("prepare", "extract", "fit"):
        run.do(stage)
    theirs = Store(finished)
    for group in ("a", "b"):
        ours = run.results.read_array(f"predictions/{group}")
        np.testing.assert_array_equal(ours, theirs.read_array(f"predictions/{group}"))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("fit", "fit of the regressor .*Forgetful gave target groups a, expected a, b"),
        ("group", "decode of the regressor .*Forgetful gave target groups a, expected a, b"),
        ("set", "decode of the regressor .*Forgetful gave test sets of a test, expected further, test"),
        ("rows", r"Forgetful decoded a of test as float32 of shape \(4, 4\), expected real numbers of shape \(5, 4\)"),
    ],
)
def test_a_regressor_that_forgets_something_is_told(how, words, root, tmp_path):
    run = Run.open(forgetful(root, how), tmp_path)
    for stage in ("prepare", "extract"):
        run.do(stage)
    with pytest.raises(RunError, match=words):
        run.do("fit")


class One(fakes.Code):
    """Returns one row whatever it is asked for."""

    def extract(self, stimuli, networks, seed):
        return super().extract(stimuli, networks, seed)[:1]


def test_a_target_that_returns_too_few_rows_is_told(root, tmp_path):
    targets = {"a": {"kind": f"{__name__}:One", "group": 1}}
    run = Run.open(fake_experiment(root, targets=targets), tmp_path)
    run.do("prepare")
    with pytest.raises(
        RunError,
        match=r"One\.extract\(\) returned float32 of shape \(1, 4\), expected real numbers of shape \(21, any, …\)",
    ):
        run.do("extract")


class Loud(fakes.Tracer):
    """Draws in 0 … 255, or too few pictures."""

    how: str = "scale"

    def open(self, variant, null, networks, seed):
        draw = super().open(variant, null, networks, seed)
        return lambda *given: draw(*given) * 255 if self.how == "scale" else draw(*given)[:, :1]


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("scale", "has values from 0 to .*, expected 0 to 1: scale or clip it"),
        ("shape", r"came as float32 of shape \(3, 1, 16, 16\), expected real numbers of shape \(3, 3"),
    ],
)
def test_pictures_of_another_scale_or_shape_are_refused(how, words, root, tmp_path):
    run = Run.open(fake_experiment(root, generator={"kind": f"{__name__}:Loud", "how": how}), tmp_path)
    for stage in ("prepare", "extract", "fit"):
        run.do(stage)
    with pytest.raises(RunError, match=words):
        run.do("reconstruct")


class Misnamed(fakes.Told):
    """Calls things by names that mean something else."""

    role: str = "betas"
    further: str = "further"
    kinds: ClassVar = {}

    def open(self, made):
        recording = super().open(made)
        from dataclasses import replace

        return replace(recording, further_test_sets={self.further: recording.further_test_sets["further"]})

    def files(self):
        files = dict(super().files())
        files[self.role] = files.pop("betas")
        return files


@pytest.mark.parametrize("name", ["test", "../escaped", "a/b", ""])
def test_a_test_set_has_a_name_that_files_can_have(name, root, tmp_path):
    dataset = {"kind": f"{__name__}:Misnamed", "root": str(root), "further": name}
    with pytest.raises(RecordingError, match="is not a valid name of a further test set"):
        Run.open(fake_experiment(root, dataset=dataset), tmp_path / "run").do("prepare")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_an_unknown_role_is_refused(root, tmp_path):
    dataset = {"kind": f"{__name__}:Misnamed", "root": str(root), "role": "beta"}
    with pytest.raises(RunError, match="lists files of the role beta; known roles: design, regions, betas"):
        Run.open(fake_experiment(root, dataset=dataset), tmp_path / "run")


def test_facts_that_json_cannot_hold_are_told(root, tmp_path, monkeypatch):
    run = fakes.Names.run
    for fact, words in ((np.float32(1), "not JSON serializable"), (float("nan"), "not JSON compliant")):

        def with_fact(analysis, data, fact=fact):
            outcome = run(analysis, data)
            outcome.facts["fact"] = fact
            return outcome

        monkeypatch.setattr(fakes.Names, "run", with_fact)
        opened = Run.open(fake_experiment(root), tmp_path)
        for stage in ("prepare", "extract", "fit"):
            opened.do(stage)
        with pytest.raises(RunError, match=rf"analyses/names\.json cannot be written as JSON: .*{words}"):
            opened.do("analyse")


@pytest.mark.usefixtures("types_unchecked")
def test_an_analysis_that_returns_something_else_is_told(root, tmp_path, monkeypatch):
    for answer, words in (
        (lambda *_: {}, "analysis names returned dict, expected an Outcome"),
        (
            lambda *_: fakes.Section(name="A b", title=3, blocks=()),
            r"a section of analysis names is not valid \(Section\): name: ",
        ),
    ):
        monkeypatch.setattr(fakes.Names, "run", answer)
        opened = Run.open(fake_experiment(root), tmp_path)
        for stage in ("prepare", "extract", "fit"):
            opened.do(stage)
        with pytest.raises(RunError, match=words):
            opened.do("analyse")


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize(
    ("arrays", "facts", "words"),
    [
        ({"n_rows": np.array([1])}, {"score": np.float32(1)}, "a decoder's facts must be JSON"),
        ({"n_rows": np.array(["one"])}, {}, "a decoder's arrays must be of real numbers"),
    ],
)
def test_decoders_that_a_file_cannot_hold_are_told(arrays, facts, words, root, tmp_path, monkeypatch):
    def fit(part, rows, targets, device, progress=silent):
        return {group: fakes.FittedDecoder(arrays, facts) for group in targets}

    monkeypatch.setattr(fakes.Oracle, "fit", fit)
    run = Run.open(fake_experiment(root), tmp_path)
    for stage in ("prepare", "extract"):
        run.do(stage)
    with pytest.raises(RunError, match=rf"fakes:Oracle fitted a, but it cannot be stored: {words}"):
        run.do("fit")


def test_an_unknown_stage_is_answered_with_those_there_are(root, tmp_path):
    with pytest.raises(RunError, match="there is no stage fitt; stages: prepare, extract, fit"):
        Run.open(fake_experiment(root), tmp_path).do("fitt")


def test_books_are_json_that_anyone_can_read(finished):
    for path in [finished / "manifest.json", *(finished / "steps").iterdir()]:
        assert json.loads(path.read_text())["checksum"]


# Of a second look


def test_the_book_of_what_was_written_is_replaced_and_not_written_through(copy):
    theirs = copy / "theirs"
    theirs.write_text("precious")
    (copy / "run" / "written.json").unlink()
    (copy / "run" / "written.json").symlink_to(theirs)
    (copy / "run" / "per_image.csv").unlink()
    reopen(copy).run_all()
    assert theirs.read_text() == "precious"


def test_a_users_folder_in_the_place_of_a_result_is_named(copy, finished):
    (copy / "run" / "scores.json").unlink()
    notes = theirs_at(copy, "scores.json/notes.txt")
    with pytest.raises(
        RunError, match=r"run/scores\.json is a folder, where the run keeps a file of that name: move it"
    ):
        reopen(copy)
    assert notes.read_text() == "precious"
    shutil.rmtree(notes.parent)
    reopen(copy).run_all()
    assert results(copy / "run") == results(finished)


def test_a_damaged_format_is_a_damaged_manifest(copy, finished):
    path = copy / "run" / "manifest.json"
    path.write_text(path.read_text().replace(f'"format": {FORMAT}', '"format": 77'))
    reopen(copy).run_all()
    assert results(copy / "run") == results(finished)


def test_a_session_that_comes_while_the_run_is_open_is_noticed(root, tmp_path):
    shutil.copytree(root, tmp_path / "recording")
    third = tmp_path / "recording" / "sessions" / "3.npy"
    third.rename(tmp_path / "3.npy")
    run = reopen(tmp_path)
    shutil.copy(tmp_path / "3.npy", third)
    with pytest.raises(
        RecordingError, match=r"betas file sessions/3\.npy was added after this run was opened: run the same"
    ):
        run.run_all()
    reopen(tmp_path, overwrite=True).run_all()
    Run.open(fake_experiment(tmp_path / "recording"), tmp_path / "fresh").run_all()
    assert results(tmp_path / "run") == results(tmp_path / "fresh")


def test_an_analysis_looks_at_what_regressor_and_generator_say_of_themselves(copy):
    class Other(fakes.Oracle):
        linear: ClassVar[bool] = True

    Other.__module__, Other.__qualname__ = __name__, "Other"
    globals()["Other"] = Other
    run = reopen(copy, overwrite=True, regression={"kind": f"{__name__}:Other"})
    (step,) = run.steps("analyse")
    assert "regression.linear was False, now True" in run.states.reasons(step)


class TooMany(fakes.Tracer):
    """Draws one picture too many."""

    def open(self, variant, null, networks, seed):
        draw = super().open(variant, null, networks, seed)
        return lambda *given: np.concatenate([draw(*given)[:1], draw(*given)])


def test_as_many_pictures_are_drawn_as_were_asked_for(root, tmp_path):
    run = Run.open(fake_experiment(root, generator={"kind": f"{__name__}:TooMany"}), tmp_path)
    for stage in ("prepare", "extract", "fit"):
        run.do(stage)
    with pytest.raises(
        RunError,
        match=r"pictures rough 0 … came as float32 of shape \(4, 3, 16, 16\), expected .* of shape \(3, 3, any, any\)",
    ):
        run.do("reconstruct")


class Wider(fakes.Code):
    """Gives test stimuli another width."""

    def extract(self, stimuli, networks, seed):
        rows = super().extract(stimuli, networks, seed)
        return rows if stimuli.ids[0] < fakes.N_TRAIN else np.concatenate([rows, rows], axis=1)


def test_features_of_test_stimuli_have_the_shape_of_the_others(root, tmp_path):
    run = Run.open(fake_experiment(root, targets={"a": {"kind": f"{__name__}:Wider", "group": 1}}), tmp_path)
    run.do("prepare")
    with pytest.raises(
        RunError, match=r"Wider\.extract\(\) returned rows of shapes \[\(4,\), \(8,\)\]: a row must have the same"
    ):
        run.do("extract")


class Tiny(fakes.Code):
    """Gives features that float16 cannot hold."""

    scale: float = 1e-8

    def extract(self, stimuli, networks, seed):
        return super().extract(stimuli, networks, seed) * np.float32(self.scale)


class TinyInFloat32(Tiny):
    """The same, stored as the message says."""

    stored_as: ClassVar = "float32"


@pytest.mark.parametrize(("scale", "words"), [(1e-8, "float16 rounds targets/a by"), (1e4, "not finite as float16")])
def test_features_that_their_precision_swallows_are_refused_with_a_remedy_that_works(scale, words, root, tmp_path):
    def extract(kind):
        targets = {"a": {"kind": f"{__name__}:{kind}", "group": 1, "scale": scale}}
        run = Run.open(fake_experiment(root, targets=targets), tmp_path, overwrite=True)
        run.do("prepare")
        run.do("extract")
        return run.results.read_array("targets/a")

    with pytest.raises(RunError, match=rf'{words}.*: set stored_as = "float32" in the class of this target group'):
        extract("Tiny")
    assert np.unique(extract("TinyInFloat32")[:, 2]).size == fakes.N_TRAIN


class Elsewhere(fakes.OwnByFeatures):
    """Loads another network under the same name."""

    def load_network(self, device):
        return super().load_network(device)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("first_row", "loads another network under the name first_row"),
        ("clip_demo", "name clip_demo, which the package has"),
        ("alexnet", "name alexnet, which the package has"),
    ],
)
def test_two_networks_have_two_names(network, words, copy):
    metrics = {"other": {"kind": f"{__name__}:Elsewhere", "network": network}}
    with pytest.raises(RunError, match=words):
        reopen(copy, overwrite=True, evaluation={"metrics": metrics}).run_all()


def test_a_checkpoint_that_is_replaced_while_a_stage_works_is_noticed(root, tmp_path):
    for number in (1, 2):
        (tmp_path / f"net{number}").mkdir()
        (tmp_path / f"net{number}" / "model.safetensors").write_text(str(number))
    targets = {"a": {"kind": f"{__name__}:Loaded", "group": 1, "checkpoint": str(tmp_path / "net1")}}

    def replace(label, done, total):
        if label == "extracting: train a":
            shutil.copy(tmp_path / "net2" / "model.safetensors", tmp_path / "net1" / "model.safetensors")

    run = Run.open(fake_experiment(root, targets=targets), tmp_path / "run", progress=replace)
    run.do("prepare")
    with pytest.raises(RunError, match=r"files that extract\.a reads were changed while it worked"):
        run.do("extract")
    left = (path.relative_to(tmp_path / "run").as_posix() for path in (tmp_path / "run" / "unfinished").rglob("*"))
    assert not [name for name in left if "arrays" in name]  # which would count again with the checkpoint put back


class Loaded(fakes.Code):
    """Depends on a checkpoint."""

    folder_entries: ClassVar[tuple[str, ...]] = ("checkpoint",)

    checkpoint: Path


def test_checked_json_takes_any_key_that_json_takes(tmp_path):
    write_checked(tmp_path / "checked.json", {"a": {9: 1, 10: 2}})
    assert read_checked(tmp_path / "checked.json") == {"a": {"9": 1, "10": 2}}


# Folders of other versions, and of killed processes


@pytest.mark.parametrize("manifest", ["there", "gone", "damaged"])
def test_a_run_of_another_version_is_refused_by_its_records_whatever_became_of_its_manifest(manifest, copy):
    for path in [copy / "run" / "manifest.json", *(copy / "run" / "steps").iterdir()]:
        write_checked(path, read_checked(path) | {"format": FORMAT - 1})
    path = copy / "run" / "manifest.json"
    if manifest == "damaged":
        path.write_text(path.read_text().replace("seed", "sEed"))
    elif manifest == "gone":
        path.unlink()
    before = tree(copy / "run")
    with pytest.raises(RunError, match="was written by another version of braindiffuser: choose another folder"):
        reopen(copy, overwrite=True).run_all()
    assert tree(copy / "run") == before


BOOKS = ("manifest.json", "recording.json", "written.json", "experiment.yaml", "steps/fit.a.json")


def test_what_a_killed_process_left_beside_the_books_is_deleted_when_a_run_is_opened(copy, finished):
    half = [copy / "run" / name for name in BOOKS]
    half = [path.with_name(f"{UNFINISHED}0123abcd-4711-{path.name}") for path in half]
    for path in half:
        path.write_text("{")
    notes = [theirs_at(copy, name) for name in (f"{UNFINISHED}notes", f"steps/{UNFINISHED}4711-fit.a.json")]
    with FileLock(copy / "run" / ".lock"), pytest.raises(RunError, match="another process works in"):
        reopen(copy)
    assert all(path.exists() for path in half)
    reopen(copy).run_all()
    assert not [path for path in half if path.exists()]
    assert all(path.read_text() == "precious" for path in notes)
    for path in notes:
        path.unlink()
    assert results(copy / "run") == results(finished)


@pytest.mark.parametrize("name", ["manifest.json", "recording.json", "written.json", "steps/evaluate.json"])
def test_nothing_half_written_is_left_when_a_killed_run_is_done(name, root, finished, tmp_path):
    kill_at([f"half {name}@1"], fake_experiment(root), tmp_path / "run")
    assert list((tmp_path / "run").rglob(f"{UNFINISHED}*"))
    Run.open(fake_experiment(root), tmp_path / "run").run_all()
    assert not list((tmp_path / "run").rglob(f"{UNFINISHED}*"))
    assert results(tmp_path / "run") == results(finished)


# Memory that runs out


@pytest.mark.parametrize("words", ["CUDA out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when"])
@pytest.mark.parametrize(
    ("part", "method", "step", "remedy"),
    [
        (fakes.Code, "null", "extract.a", "other programs use"),
        (fakes.Oracle, "fit", "fit.a", "other programs use"),
        (fakes.Tracer, "open", "reconstruct.rough", "other programs use"),
        (fakes.OwnByFeatures, "load_network", "evaluate", "other programs use"),
    ],
)
def test_memory_that_runs_out_is_said_with_step_device_and_remedies(
    part, method, step, remedy, words, copy, monkeypatch
):
    def fail(*_, **__):
        raise RuntimeError(f"{words}\nsee the documentation of memory management")

    monkeypatch.setattr(part, method, fail)
    run = reopen(copy, overwrite=True, seed=8, responses={"rois": ["V1"]})
    with pytest.raises(RunError, match=rf"{step} ran out of main memory \({words}.*\): .*{remedy}") as refused:
        run.run_all()
    assert "documentation" not in str(refused.value)


def test_other_errors_of_a_part_are_not_taken_for_a_lack_of_memory(copy, monkeypatch):
    def fail(*_):
        raise RuntimeError("another")

    monkeypatch.setattr(fakes.Tracer, "open", fail)
    with pytest.raises(RuntimeError, match="another"):
        reopen(copy, overwrite=True, seed=8).run_all()


def test_batches_that_become_smaller_give_the_same_bytes(root, finished, tmp_path, monkeypatch):
    """Targets, generator and scoring network each hold one row at a time."""

    def one_at_a_time(function, n_of):
        def limited(*given):
            if n_of(*given) > 1:
                raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")
            return function(*given)

        return limited

    extract, opened, load = fakes.Code.extract, fakes.Tracer.open, fakes.OwnByFeatures.load_network
    monkeypatch.setattr(fakes.Code, "extract", one_at_a_time(extract, lambda part, stimuli, *_: len(stimuli.ids)))
    monkeypatch.setattr(
        fakes.Tracer, "open", lambda *given: one_at_a_time(opened(*given), lambda features, ids, start: len(ids))
    )
    monkeypatch.setattr(fakes.OwnByFeatures, "load_network", lambda *given: one_at_a_time(load(*given), len))
    told = set()
    Run.open(fake_experiment(root), tmp_path / "run", progress=lambda *said: told.add(said[0])).run_all()
    assert results(tmp_path / "run") == results(finished)
    assert "batches of 3 do not fit in memory: continuing with 1" in told


# What is known to be wrong before the betas are read


def test_a_region_that_the_recording_lacks_is_told_before_any_session_is_read(root, tmp_path):
    told = []
    run = Run.open(
        fake_experiment(root, responses={"rois": ["V1", "V9"]}), tmp_path, progress=lambda *said: told.append(said[0])
    )
    with pytest.raises(
        RecordingError, match=r"no region 'V9' \(closest: V[0-9, V]*\), which responses\.rois names; this recording has"
    ):
        run.do("prepare")
    assert not [label for label in told if "averaging" in label]


def test_a_test_set_of_one_stimulus_is_told_before_any_session_is_read(root, tmp_path, monkeypatch):
    sets = Recording.test_sets.fget
    monkeypatch.setattr(Recording, "test_sets", property(lambda own: {**sets(own), "more": np.array([0])}))
    told = []
    run = Run.open(fake_experiment(root), tmp_path, progress=lambda *said: told.append(said[0]))
    with pytest.raises(RecordingError, match="the test set more has one stimulus, but scores compare two or more"):
        run.do("prepare")
    assert not [label for label in told if "averaging" in label]


# What the operating system says


@pytest.mark.parametrize(
    ("name", "word"),
    [
        *((name, "folder") for name in (*BOOKS, ".lock", "scores.json", "per_image.csv", "decoders/a.safetensors")),
        *(
            (name, "file")
            for name in ("steps", "unfinished", "arrays", "arrays/truth", "reconstructions/seen", "report")
        ),
    ],
)
def test_a_folder_in_the_place_of_a_file_is_named_when_a_run_is_opened_and_a_file_in_that_of_a_folder(name, word, copy):
    path = copy / "run" / name
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.mkdir() if word == "folder" else path.touch()
    with pytest.raises(RunError, match=rf"{path} is a {word}, where the run keeps a \w+ of that name: move it away"):
        reopen(copy)


def refusing(function, number, wanted):
    """The function of a file system that refuses one path."""

    def refused(path, *given, **named):
        if str(path).endswith(wanted):
            raise OSError(number, os.strerror(number), str(path))
        return function(path, *given, **named)

    return refused


@pytest.mark.parametrize("name", ["manifest.json", "steps/evaluate.json", "recording.json"])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE])
def test_a_record_that_cannot_be_read_is_not_taken_for_damaged(name, number, copy, finished, monkeypatch):
    monkeypatch.setattr(Path, "read_text", refusing(Path.read_text, number, name))
    with pytest.raises(OSError, match=name):
        reopen(copy)
    assert results(copy / "run") == results(finished)


@pytest.mark.parametrize(
    ("stage", "number"),
    [
        *(("prepare", number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)),
        ("extract", errno.ENOSPC),
        ("evaluate", errno.ENOSPC),
    ],
)
def test_a_disk_that_is_full_stops_a_stage_with_the_files_name_and_the_same_command_goes_on(
    stage, number, root, finished, tmp_path, monkeypatch
):
    run = Run.open(fake_experiment(root), tmp_path / "run")
    for before in ("prepare", "extract", "fit", "compare", "reconstruct"):
        if before == stage:
            break
        run.do(before)

    def full(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=str(tmp_path)) as raised:
        run.do(stage)
    monkeypatch.undo()
    assert (raised.value.errno, str(raised.value.filename).startswith(str(tmp_path))) == (number, True)
    Run.open(fake_experiment(root), tmp_path / "run").run_all()
    assert results(tmp_path / "run") == results(finished)


@pytest.mark.parametrize("name", ["[bold]", "[", "[red]run[blue]\\[", "é 🧠", "a b's"])
def test_a_folder_of_any_name_is_printed_as_it_is(name, copy):
    (copy / "run").rename(copy / name)
    result = CliRunner().invoke(app, ["run", "--out", str(copy / name)])
    assert result.exit_code == 0, result.output
    assert f"Page: {copy / name / 'report' / 'index.html'}\n" in result.stdout


def test_a_further_analysis_that_fails_leaves_the_run_as_it_was(copy):
    run, runner = copy / "run", CliRunner()
    command = ["analyse", "fakes:Curious", "--set", "name=more", "--out", str(run)]
    before = results(run)
    assert runner.invoke(app, command).exit_code == 1
    for words in (["run"], ["report"]):
        again = runner.invoke(app, [*words, "--out", str(run)])
        assert again.exit_code == 0, again.output
    assert {name: text for name, text in results(run).items() if not name.startswith("unfinished/")} == before
    added = runner.invoke(app, ["analyse", "fakes:Names", "--set", "name=more", "--out", str(run)])
    assert added.exit_code == 0, added.output
    section = json.loads((run / "sections" / "analyse.more.json").read_text())
    assert added.stdout.startswith(f"{section['title']}\n")  # what was asked for, and not all scores
    assert 'id="analysis-more"' in (run / "report" / "index.html").read_text()
    assert [own.label for own in stored_experiment(run).analyses] == ["names", "more"]
    removed = runner.invoke(app, ["analyse", "more", "--remove", "--out", str(run)])
    assert removed.exit_code == 0, removed.output
    assert 'id="analysis-more"' not in (run / "report" / "index.html").read_text()
    assert [own.label for own in stored_experiment(run).analyses] == ["names"]


def test_no_analyses_are_nothing_to_do(copy):
    told = []
    reopen(copy, analyses=[], overwrite=True, progress=lambda *said: told.append(said[0])).do("analyse")
    assert told[-1] == "analyse (nothing to do: the experiment asks for none)"


def test_zeros_of_a_map_that_voxels_are_chosen_by_are_said_first_and_on_the_page(root, tmp_path):
    import nibabel as nib

    values = np.where(np.arange(8).reshape(2, 2, 2) < 5, 0.0, 3.0)
    assert np.load(root / "mask.npy").shape == values.shape
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "ecc.nii")
    dataset = {"root": str(root), "voxel_maps": {"ecc": str(tmp_path / "ecc.nii")}}
    experiment = fake_experiment(root, dataset=dataset, responses={"rois": ["ecc<1"]}, analyses=[])
    (tmp_path / "x.yaml").write_text(experiment.to_yaml())
    words = "voxels of the map ecc are exactly 0, and a region takes them"
    result = CliRunner().invoke(app, ["check", str(tmp_path / "x.yaml")])
    assert words in " ".join(result.output.split())
    Run.open(experiment, tmp_path / "run").do("prepare")
    assert words in (tmp_path / "run" / "sections" / "prepare.recording.json").read_text()
