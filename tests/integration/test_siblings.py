"""Steps that a run takes from another: the bytes are those that it makes alone, and only what was made of the same is taken."""

import shutil

import pytest
from fakes import fake_experiment, write_recording

from braindiffuser.errors import RunError
from braindiffuser.files import state_of
from braindiffuser.progress import silent
from braindiffuser.recording_hashes import RecordingHashes
from braindiffuser.run import Run
from braindiffuser.stages import stages
from braindiffuser.store.checked_json import write_checked
from braindiffuser.store.results import Store

STRENGTH = {"generator": {"strength": 0.75}}
OF_THE_RUN = {"manifest.json", "written.json", "recording.json", "experiment.yaml", ".lock"}
"""Files that say when and where a run was made."""
INPUTS = ("uid", "key", "settings", "needs", "contents", "available")


def contents(folder):
    """Name → bytes of all results of a run but its page, which has its name and times on it."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    wanted = {name for name in paths if name not in OF_THE_RUN and not name.startswith(("steps/", "report/"))}
    return {name: paths[name].read_bytes() for name in wanted}


def inputs(folder):
    store = Store(folder)
    return {step: {name: store.record(step)[name] for name in INPUTS} for step in store.steps() if step != "report"}


def drawn(run):
    """Do the stages up to the pictures."""
    for stage in ("prepare", "extract", "fit", "reconstruct"):
        run.do(stage)
    return run


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_recording(tmp_path_factory.mktemp("siblings") / "told")


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("first") / "run"
    Run.open(fake_experiment(root), folder).run_all()
    return folder


@pytest.fixture
def first(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "first")


@pytest.fixture
def computed(monkeypatch):
    """Steps that were computed, not taken."""
    done, compute = [], Run._compute

    def noting(run, stage, pending):
        done.extend(map(str, pending))
        return compute(run, stage, pending)

    monkeypatch.setattr(Run, "_compute", noting)
    return done


def test_a_run_of_the_same_computes_nothing_but_its_page(root, first, tmp_path, computed):
    said = []
    run = Run.open(
        fake_experiment(root, name="again"),
        tmp_path / "second",
        siblings=[first],
        progress=lambda label, *_: said.append(label),
    )
    run.run_all()
    assert computed == ["report"]
    assert contents(tmp_path / "second") == contents(first)
    assert inputs(tmp_path / "second") == inputs(first)
    assert f"fit.a: taken from {first} (same settings and inputs)" in said
    assert not any("checking" in label for label in said), "hashes of the recording are known, too"
    assert all(
        Run.open(None, folder).is_finished(stage) for folder in (first, tmp_path / "second") for stage in stages()
    )
    del said[:]
    Run.open(fake_experiment(root, name="again"), tmp_path / "second", progress=lambda label, *_: said.append(label))
    assert not any("checking" in label for label in said), "hashes are the run's own from then on"


def test_only_steps_that_settings_change_are_computed_and_bytes_are_those_of_the_run_alone(
    root, first, tmp_path, computed
):
    other = fake_experiment(root, **STRENGTH)
    Run.open(other, tmp_path / "beside", siblings=[first]).run_all()
    assert {step.partition(".")[0] for step in computed} == {"reconstruct", "evaluate", "analyse", "report"}
    assert "reconstruct.seen" not in computed
    Run.open(other, tmp_path / "alone").run_all()
    assert contents(tmp_path / "beside") == contents(tmp_path / "alone") != contents(first)
    assert inputs(tmp_path / "beside") == inputs(tmp_path / "alone")


def test_versions_and_times_are_those_of_the_run_that_computed(root, first, tmp_path):
    store = Store(first)
    store.update_record("fit.a", versions={"python": "3.0"}, finished="2001-01-01T00:00:00.000+00:00")
    run = Run.open(fake_experiment(root), tmp_path / "second", siblings=[first])
    for stage in ("prepare", "extract", "fit"):
        run.do(stage)
    record = Store(tmp_path / "second").record("fit.a")
    assert record["versions"] == {"python": "3.0"}
    assert record["taken_from"] == first.as_posix()
    assert record["finished"].startswith("2001")


def test_damaged_steps_are_computed(root, first, tmp_path, computed):
    store, whole = Store(first), contents(first)
    changed, gone = (
        next(name for name in store.record(step)["files"] if name.endswith(".png"))
        for step in ("reconstruct.final", "reconstruct.rough")
    )
    (first / changed).write_bytes(b"another picture")
    (first / gone).unlink()
    (first / "steps" / "fit.a.json").write_text("{}")
    damaged = contents(first)
    drawn(Run.open(fake_experiment(root), tmp_path / "second", siblings=[first]))
    assert computed[:3] == ["fit.a", "reconstruct.rough", "reconstruct.final"]
    assert "reconstruct.without_rough" not in computed
    assert contents(first) == damaged, "the sibling is not repaired"
    assert contents(tmp_path / "second").items() <= whole.items()


def test_steps_of_another_recording_are_not_taken(first, tmp_path, computed):
    other = write_recording(tmp_path / "other", seed=1)
    for folder, siblings in (("beside", [first]), ("alone", [])):
        run = Run.open(fake_experiment(other), tmp_path / folder, siblings=siblings)
        for stage in ("prepare", "extract", "fit"):
            run.do(stage)
    assert inputs(tmp_path / "beside") == inputs(tmp_path / "alone")
    assert contents(tmp_path / "beside") == contents(tmp_path / "alone")
    assert "prepare.responses" in computed


def test_a_change_of_the_recording_is_noticed_though_a_sibling_knew_its_hashes(root, first, tmp_path, computed):
    copy = shutil.copytree(root, tmp_path / "copy")
    session = copy / "sessions" / "1.npy"
    raw = bytearray(session.read_bytes())
    raw[-1] ^= 1
    session.write_bytes(raw)
    run = Run.open(fake_experiment(copy), tmp_path / "second", siblings=[first])
    run.do("prepare")
    assert "prepare.responses" in computed


def test_what_is_taken_is_the_runs_own(root, first, tmp_path):
    """A run that loses its sibling, or whose sibling is made anew, keeps what it took."""
    drawn(Run.open(fake_experiment(root), tmp_path / "second", siblings=[first]))
    expected = contents(tmp_path / "second")
    drawn(Run.open(fake_experiment(root, **STRENGTH), first, overwrite=True))
    assert contents(tmp_path / "second") == expected
    shutil.rmtree(first)
    again = Run.open(fake_experiment(root), tmp_path / "second", siblings=[first, tmp_path / "nowhere"])
    assert all(again.is_finished(stage) for stage in ("prepare", "extract", "fit", "reconstruct"))
    assert contents(tmp_path / "second") == expected


def test_a_run_that_is_stopped_between_taking_and_computing_goes_on(root, first, tmp_path, monkeypatch, computed):
    other = fake_experiment(root, **STRENGTH)
    compute = Run._compute

    def stop(run, stage, pending):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "_compute", stop)
    run = Run.open(other, tmp_path / "second", siblings=[first])
    with pytest.raises(KeyboardInterrupt):
        drawn(run)
    monkeypatch.setattr(Run, "_compute", compute)
    drawn(Run.open(other, tmp_path / "second"))
    assert not {"prepare.responses", "extract.a", "fit.a"} & set(computed)
    drawn(Run.open(other, tmp_path / "alone"))
    assert contents(tmp_path / "second") == contents(tmp_path / "alone")


def test_the_formats_of_other_versions_are_refused_by_name(root, first, tmp_path):
    write_checked(first / "steps" / "fit.a.json", {**Store(first).record("fit.a"), "format": 1})
    run = Run.open(fake_experiment(root), tmp_path / "second", siblings=[first])
    with pytest.raises(RunError, match="first was written by another version of braindiffuser"):
        drawn(run)


@pytest.mark.parametrize("is_same_file", [True, False])
def test_hashes_are_known_of_the_same_files_alone(is_same_file, tmp_path):
    """Two files of equal names, sizes and times may be written in one tick of the clock."""
    own, other = tmp_path / "a" / "trials.csv", tmp_path / "b" / "trials.csv"
    for path in (own, other):
        path.parent.mkdir()
        path.write_text("1, 2")
    state = state_of(own)._replace(sha256="known")
    sibling = Store(tmp_path / "sibling")
    sibling.folder.mkdir()
    write_checked(sibling.folder / "recording.json", {"design": {"trials": state}})
    read = {"design": {"trials": tmp_path / "b" / ".." / "a" / "trials.csv" if is_same_file else other}}
    hashes = RecordingHashes(Store(tmp_path / "run"), {"design": {"trials": own}}, silent, others=[(sibling, read)])
    assert (hashes.digests("design")["trials"] == "known") == is_same_file
    assert (tmp_path / "run" / "recording.json").is_file()
