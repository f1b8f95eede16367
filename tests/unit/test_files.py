"""Laws of files: whole or absent, known by their content, deleted by name alone."""

import os
import shutil

import pytest

from braindiffuser.files import UNFINISHED, as_states, changed_files, output, remove_files, replacing, state_of


def states(folder, *names):
    return {name: state_of(folder / name) for name in names}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a").write_bytes(b"first")
    (tmp_path / "deep" / "b").write_bytes(b"second")
    return tmp_path


@pytest.mark.parametrize("earlier", [b"old", None])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, earlier):
    path = tmp_path / "deep" / "file"
    if earlier is not None:
        path.parent.mkdir()
        path.write_bytes(earlier)

    def fail():
        with replacing(path) as beside:
            beside.write_bytes(b"half")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        fail()
    assert not list(tmp_path.rglob(f"{UNFINISHED}*"))
    assert (path.read_bytes() if path.exists() else None) == earlier


def test_content_and_names_are_on_the_disk_before_a_file_counts(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, type(tmp_path).replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("sync"), fsync(descriptor)))
    monkeypatch.setattr(type(tmp_path), "replace", lambda *paths: (order.append("rename"), replace(*paths))[1])
    with replacing(tmp_path / "file") as beside:
        beside.write_bytes(b"whole")
    assert order == ["sync", "rename", "sync"]


@pytest.mark.parametrize("there", [True, False])
def test_output_replaces_what_a_link_leads_to(tmp_path, there):
    (tmp_path / "real").mkdir()
    target, link, further = tmp_path / "real" / "file", tmp_path / "link", tmp_path / "further"
    link.symlink_to("real/file")
    further.symlink_to(link)
    if there:
        target.write_bytes(b"old")
    with output(further) as place:
        place.write_bytes(b"new")
        assert (target.read_bytes() if target.exists() else None) == (b"old" if there else None)
    assert (link.is_symlink(), further.is_symlink(), target.read_bytes()) == (True, True, b"new")
    assert not list(tmp_path.rglob(f"{UNFINISHED}*"))


def test_output_to_links_in_a_circle_is_an_error(tmp_path):
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(OSError, match="one"), output(tmp_path / "one"):
        pass
    assert (tmp_path / "one").is_symlink()


def test_output_to_what_is_no_file_goes_straight_there(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        for name in ("pipe", "link"):
            with output(tmp_path / name) as place:
                place.write_bytes(b"content")
            assert os.read(reader, 100) == b"content"
    finally:
        os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


def test_what_is_as_it_was_is_not_read(folder, monkeypatch):
    known = state_of(folder / "a")
    monkeypatch.setattr("hashlib.file_digest", None)
    assert state_of(folder / "a", known) is known


def test_a_copy_or_a_touched_file_is_the_same(folder, tmp_path_factory):
    known = states(folder, "a", "deep/b")
    copy = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(folder, copy, copy_function=shutil.copyfile)
    os.utime(folder / "a", (0, 0))
    assert changed_files(copy, known) == {}
    assert changed_files(folder, known) == {}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"fir"), "is cut short"),
        (lambda path: path.write_bytes(b"fIrst"), "was changed"),
        (lambda path: path.write_bytes(b"first and more"), "was changed"),
        (lambda path: (path.unlink(), path.mkdir()), "is missing"),
    ],
)
def test_every_damage_is_noticed_and_named(folder, damage, said):
    known = states(folder, "a", "deep/b")
    damage(folder / "a")
    assert changed_files(folder, known) == {"a": said}


def test_a_change_that_hides_its_time_is_noticed(folder):
    known = states(folder, "a")
    facts = (folder / "a").stat()
    (folder / "a").write_bytes(b"fIrst")
    os.utime(folder / "a", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert changed_files(folder, known) == {"a": "was changed"}


def test_only_named_files_are_deleted_and_folders_that_are_empty_then(folder):
    (folder / "deep" / "deeper").mkdir()
    (folder / "deep" / "deeper" / "c").write_bytes(b"third")
    (folder / "other").mkdir()
    (folder / "other" / "notes").write_bytes(b"the user's")
    remove_files(folder, ["deep/b", "deep/deeper/c", "other/ours", "never there"])
    assert sorted(path.name for path in folder.rglob("*")) == ["a", "notes", "other"]


def test_states_survive_json(folder):
    import json

    known = states(folder, "a")
    assert as_states(json.loads(json.dumps(known))) == known
