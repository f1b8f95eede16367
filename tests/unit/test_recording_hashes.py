"""Laws of a recording's contents: a file is read once, wherever it lies, until it changes."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from braindiffuser import files
from braindiffuser.recording_hashes import RECORDING, RecordingHashes, differences
from braindiffuser.store.results import Store

NAMES = {"betas": ("session01", "session02", "session03"), "design": ("design",), "captions": ()}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "run")


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "recording"
    root.mkdir()
    for role, names in NAMES.items():
        for name in names:
            (root / name).write_text(f"{role} of {name}")
    return root


@pytest.fixture
def read(monkeypatch):
    """Names of the files whose content was read, in order."""
    names = []

    def counting(file, digest):
        names.append(Path(file.name).name)
        return original(file, digest)

    original = hashlib.file_digest
    monkeypatch.setattr(files.hashlib, "file_digest", counting)
    return names


@pytest.fixture
def told():
    return []


@pytest.fixture
def opened(store, root, told):
    """Opens the contents anew, as the next process does."""

    def contents(root=root):
        listed = {
            role: {name: root / name for name in names if (root / name).is_file()} for role, names in NAMES.items()
        }
        return RecordingHashes(store, listed, lambda *progress: told.append(progress))

    return contents


def all_of(contents):
    return {role: contents.digests(role) for role in NAMES}


def test_hashes_are_those_of_the_files(opened, root):
    digests = all_of(opened())
    assert digests["design"] == {"design": hashlib.sha256((root / "design").read_bytes()).hexdigest()}
    assert {role: tuple(found) for role, found in digests.items()} == NAMES
    assert opened().digests("no such role") == {}


def test_every_file_is_read_once(opened, read):
    contents = opened()
    assert read == []
    digests = all_of(contents)
    assert sorted(read) == sorted(name for names in NAMES.values() for name in names)
    read.clear()
    assert all_of(contents) == digests
    assert all_of(opened()) == digests
    assert read == []


def test_only_files_that_are_asked_for_are_read(opened, read):
    contents = opened()
    contents.take("betas", ["session02"])
    assert read == ["session02"]
    assert list(contents.digests_of("betas", ["session03", "session02", "session09"])) == ["session03", "session02"]
    assert read == ["session02", "session03"]
    contents.digests("betas")
    assert read == ["session02", "session03", "session01"]


def test_names_and_sizes_are_known_without_reading(opened, root, read):
    contents = opened()
    assert contents.names("betas") == dict.fromkeys(NAMES["betas"], "")
    assert contents.sizes("betas") == {name: (root / name).stat().st_size for name in NAMES["betas"]}
    assert contents.names("captions") == contents.sizes("captions") == {}
    assert read == []


def test_only_what_is_read_is_told(opened, told):
    opened().digests("betas")
    assert told == [("checking betas", number, 3) for number in (1, 2, 3)]
    told.clear()
    opened().digests("betas")
    assert told == []


def test_what_is_known_is_kept_in_the_runs_folder(opened, store, read):
    opened().take("betas", ["session01"])
    assert set(store.read_json(RECORDING)["betas"]) == {"session01"}
    (store.folder / RECORDING).unlink()
    opened().digests_of("betas", ["session01"])
    assert read == ["session01", "session01"]


def test_a_recording_that_was_moved_or_copied_is_the_same(opened, root, read):
    digests = all_of(opened())
    read.clear()
    moved, copied = root.rename(root.with_name("moved")), root.with_name("copied")
    assert all_of(opened(moved)) == digests
    assert read == []  # moving a folder leaves its files as they are
    shutil.copytree(moved, copied)
    assert all_of(opened(copied)) == digests
    assert len(read) == 4
    assert all_of(opened(copied)) == digests
    assert len(read) == 4


def test_a_touched_file_is_read_again_and_is_the_same(opened, root, read):
    digests = all_of(opened())
    read.clear()
    os.utime(root / "session01")
    assert all_of(opened()) == digests
    assert read == ["session01"]


@pytest.mark.parametrize("content", ["other of session02", "betas of session03", "longer than it was before", ""])
def test_a_changed_file_is_found_whatever_its_size_and_time(opened, root, content):
    digests = all_of(opened())
    before = (root / "session02").stat()
    (root / "session02").write_text(content)
    os.utime(root / "session02", ns=(before.st_atime_ns, before.st_mtime_ns))
    now = all_of(opened())
    assert {name for name in now["betas"] if now["betas"][name] != digests["betas"][name]} == {"session02"}
    assert differences(digests, now) == ["betas: session02 was changed"]


def test_a_new_file_is_a_difference_and_one_that_is_gone_where_others_stay(opened, root):
    whole = all_of(opened())
    (root / "session03").unlink()
    fewer = all_of(opened())
    assert set(fewer["betas"]) == {"session01", "session02"}
    assert differences(whole, fewer) == ["betas: session03 is gone"]
    assert differences(fewer, whole) == ["betas: session03 is new"]


def test_differences_are_listed_by_role_and_only_of_roles_that_count():
    recorded = {"betas": {"one": "1", "two": "2"}, "stimuli": {"pictures": "p"}}
    now = {"betas": {"one": "1", "two": "other", "three": "3"}, "names of betas": {"one": ""}}
    assert differences(recorded, recorded) == []
    assert differences(recorded, now) == [
        "betas: three is new",
        "betas: two was changed",
        "betas: one is new",
    ]
    assert differences(recorded, {}) == []
    assert differences(recorded, {"betas": {"one": "1"}}) == ["betas: two is gone"]
    assert differences(recorded, {"betas": {}}) == []  # deleted to save space


def test_many_files_are_said_by_the_first_and_their_number():
    before = {f"session{number:02}": "1" for number in range(8)}
    (said,) = differences({"betas": before}, {"betas": {"session00": "1"}})
    assert said == "betas: session01, session02, session03 and 4 more are gone"
    (said,) = differences({"names of betas": before}, {"names of betas": {"session00": "1"}})
    assert said.startswith("betas: session01, ")
