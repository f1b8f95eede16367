"""Laws of a run's folder: results are published whole, replaced when new ones are there, and nothing else is deleted."""

import json
import os

import numpy as np
import pytest

from braindiffuser.errors import RunError
from braindiffuser.files import UNFINISHED
from braindiffuser.store.checked_json import read_json, write_checked
from braindiffuser.store.results import FORMAT, READY, WRITTEN, Store


class Killed(BaseException):
    """Stands for whatever ends a process; not an Exception, so nothing may swallow it."""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "run")


def publish(store, step="fit", key="one", texts=None, **facts):
    draft = store.draft(step, key)
    for name, text in (texts or {"a.txt": f"{step} {key}"}).items():
        draft.write_text(name, text)
    store.publish(step, draft, facts_of(key) | facts)
    return draft


def facts_of(key):
    rest = {"settings": {}, "contents": {}, "needs": {}, "available": [], "versions": {}, "finished": "now"}
    return {"uid": f"uid of {key}", "key": key, **rest}


def tree(store):
    files = (path for path in store.folder.rglob("*") if path.is_file() and path.name != WRITTEN)
    return {path.relative_to(store.folder).as_posix(): path.read_bytes() for path in files}


def test_results_appear_with_their_record_and_nothing_of_the_draft_stays(store):
    publish(store, texts={"deep/a.txt": "whole", "b.txt": "too"}, settings={"x": 1})
    assert set(tree(store)) == {"deep/a.txt", "b.txt", "steps/fit.json"}
    record = store.record("fit")
    assert record["uid"] == "uid of one"
    assert record["settings"] == {"x": 1}
    assert set(record["files"]) == {"deep/a.txt", "b.txt"}
    assert store.damaged_files("fit") == {}
    assert list(store.steps()) == ["fit"]


def test_nothing_is_seen_of_a_draft(store):
    draft = store.draft("fit", "one")
    draft.write_array("x", np.ones((3, 2), np.float32))
    with pytest.raises(RunError, match="there is no result"):
        store.read_array("x")


def test_old_results_stay_until_the_new_ones_are_there(store):
    publish(store, key="one", texts={"a.txt": "old", "b.txt": "old"})
    draft = store.draft("fit", "two")
    draft.write_text("a.txt", "new")
    assert (store.folder / "a.txt").read_text() == "old"
    assert store.damaged_files("fit") == {}
    store.publish("fit", draft, facts_of("two"))
    assert set(tree(store)) == {"a.txt", "steps/fit.json"}
    assert (store.folder / "a.txt").read_text() == "new"


@pytest.mark.parametrize("moment", range(12))
def test_a_kill_while_publishing_ends_in_the_new_results(store, moment, monkeypatch):
    """Stop at every call that changes the disk; opening the run again completes what was begun."""
    publish(store, key="one", texts={"a.txt": "old", "b.txt": "old", "c.txt": "old"})
    draft = store.draft("fit", "two")
    for name in ("a.txt", "b.txt", "d.txt"):
        draft.write_text(name, f"new {name}")
    counted = 0

    def kill_at(call):
        def counting(*arguments, **named):
            nonlocal counted
            counted += 1
            if counted > moment:
                raise Killed
            return call(*arguments, **named)

        return counting

    killed = False
    with monkeypatch.context() as patched:
        path_type = type(store.folder)
        patched.setattr(path_type, "replace", kill_at(path_type.replace))
        patched.setattr(path_type, "unlink", kill_at(path_type.unlink))
        try:
            store.publish("fit", draft, facts_of("two"))
        except Killed:
            killed = True
    again = Store(store.folder)
    ready = (store.folder / "unfinished" / "fit" / READY).exists()
    again.finish_publishing()
    if not killed or ready or again.record("fit")["key"] == "two":
        assert {name: text for name, text in tree(again).items() if name.endswith(".txt")} == {
            name: f"new {name}".encode() for name in ("a.txt", "b.txt", "d.txt")
        }
        assert again.record("fit")["key"] == "two"
        assert again.damaged_files("fit") == {}
    else:
        assert again.record("fit")["key"] == "one"
        assert again.damaged_files("fit") == {}


def test_what_a_user_put_there_is_never_deleted(store):
    publish(store, texts={"report/index.html": "old", "report/old.png": "old"})
    (store.folder / "report" / "notes.txt").write_text("the user's")
    publish(store, key="two", texts={"report/index.html": "new"})
    assert set(tree(store)) == {"report/index.html", "report/notes.txt", "steps/fit.json"}


def test_a_file_of_ours_that_a_user_changed_is_not_deleted(store):
    publish(store, texts={"a.txt": "old", "b.txt": "old"})
    (store.folder / "b.txt").write_text("edited by the user")
    publish(store, key="two", texts={"a.txt": "new"})
    assert (store.folder / "b.txt").read_text() == "edited by the user"


@pytest.mark.parametrize("owner", ["a user", "another step"])
def test_a_file_in_the_way_is_refused_and_nothing_is_lost(store, owner):
    if owner == "a user":
        store.folder.mkdir()
        (store.folder / "a.txt").write_text("precious")
    else:
        publish(store, step="extract", texts={"a.txt": "precious"})
    draft = store.draft("fit", "one")
    draft.write_text("a.txt", "new")
    with pytest.raises(RunError, match=r"a\.txt was not written by fit, which would replace it: move it, then run"):
        store.publish("fit", draft, facts_of("one"))
    assert (store.folder / "a.txt").read_text() == "precious"
    (store.folder / "a.txt").rename(store.folder / "kept.txt")
    store.publish("fit", store.draft("fit", "one"), facts_of("one"))
    assert (store.folder / "a.txt").read_text() == "new"
    assert (store.folder / "kept.txt").read_text() == "precious"


def test_a_result_whose_record_was_lost_is_made_again_over_itself(store):
    publish(store)
    (store.folder / "steps" / "fit.json").unlink()
    publish(store)
    assert store.damaged_files("fit") == {}


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"uid": 1}', "\0\0"])
def test_a_damaged_record_is_no_record(store, damage):
    publish(store)
    (store.folder / "steps" / "fit.json").write_text(damage)
    assert store.record("fit") is None


def test_a_damaged_step_begins_with_its_whole_files(store):
    publish(store, texts={"a.txt": "whole", "b.txt": "to be damaged"})
    (store.folder / "b.txt").write_text("")
    assert store.damaged_files("fit") == {"b.txt": "is empty"}
    draft = store.draft("fit", "one", adopt=True)
    assert draft.holds("a.txt")
    assert not draft.holds("b.txt")
    draft.write_text("b.txt", "to be damaged")
    store.publish("fit", draft, facts_of("one"))
    assert store.damaged_files("fit") == {}
    assert (store.folder / "a.txt").read_text() == "whole"


def test_a_moved_folder_is_read_once(store, tmp_path, monkeypatch):
    publish(store)
    os.utime(store.folder / "a.txt", (1, 1))
    assert store.damaged_files("fit") == {}
    monkeypatch.setattr("hashlib.file_digest", None)
    assert store.damaged_files("fit") == {}


def test_the_manifest_keeps_what_is_not_changed(store):
    assert store.manifest == {}
    store.update_manifest(uid="demo-1", seed=3)
    store.update_manifest(seed=4)
    assert store.manifest["uid"] == "demo-1"
    assert store.manifest["seed"] == 4


@pytest.mark.parametrize("content", [{"format": 1}, {"format": 2, "uid": "demo"}])
def test_a_folder_of_another_version_is_refused(store, content):
    store.folder.mkdir()
    (store.folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match="was written by another version of braindiffuser"):
        _ = store.manifest


@pytest.mark.parametrize("found", [FORMAT - 1, None])
@pytest.mark.parametrize("with_manifest", [True, False])
def test_a_record_of_another_version_makes_no_run(store, found, with_manifest):
    publish(store)
    if with_manifest:
        store.update_manifest(uid="demo-1")
    record = {name: value for name, value in store.record("fit").items() if name != "format"}
    write_checked(store.folder / "steps" / "fit.json", record if found is None else record | {"format": found})
    before = tree(store)
    for look in (lambda: store.record("fit"), lambda: store.damaged_files("fit")):
        with pytest.raises(RunError, match="was written by another version of braindiffuser: choose another folder"):
            look()
    if not with_manifest:
        with pytest.raises(RunError, match="another version"):
            store.is_run()
    assert tree(store) == before


def test_a_damaged_json_file_is_named(store):
    store.folder.mkdir()
    (store.folder / "scores.json").write_text('{"a": ')
    with pytest.raises(RunError, match=r"scores\.json is not JSON, so damaged"):
        read_json(store.folder / "scores.json")


@pytest.mark.parametrize("name", ["../precious.txt", "deep/../../precious.txt", "/precious.txt"])
def test_a_list_of_files_that_leads_out_of_the_folder_is_not_followed(store, name):
    """A run folder may come from somebody else: what its lists name elsewhere is neither moved nor deleted."""
    precious = store.folder.parent / "precious.txt"
    publish(store)
    precious.write_text("precious")
    name = name if name.startswith("..") or name.startswith("deep") else str(precious)
    state = [8, "0" * 64, 0, 0]
    write_checked(store.folder / "steps" / "fit.json", store.record("fit") | {"files": {name: state}})
    assert store.record("fit") is None
    folder = store.folder / "unfinished" / "extract"
    folder.mkdir(parents=True)
    write_checked(folder / READY, {"facts": facts_of("k"), "files": {name: state}})
    with pytest.raises(RunError, match="lies outside its folder"):
        store.finish_publishing()
    assert precious.read_text() == "precious"


def test_what_a_killed_process_left_among_the_records_is_no_step(store):
    publish(store)
    (store.folder / "steps" / f"{UNFINISHED}4711-fit.json").write_text("{")
    assert list(store.steps()) == ["fit"]
