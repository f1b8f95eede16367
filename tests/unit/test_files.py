"""Laws of files: whole or absent, known by their content, deleted by name alone."""

import errno
import os
import shutil
import signal
import subprocess
import sys

import pytest

from braindiffuser.errors import RunError
from braindiffuser.files import (
    UNFINISHED,
    alone_in,
    as_states,
    changed_files,
    output,
    remove_files,
    remove_leftovers,
    replacing,
    state_of,
    sync,
)


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


# Leftovers of killed processes

KILLED = """
import os, signal, sys
from pathlib import Path
from braindiffuser.files import replacing

with replacing(Path(sys.argv[1])) as beside:
    beside.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_while_writing(path):
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == -signal.SIGKILL
    (leftover,) = path.parent.glob(f"{UNFINISHED}*-{path.name}")
    return leftover


def test_what_a_killed_process_left_is_deleted_when_the_same_file_is_written(tmp_path):
    leftover = kill_while_writing(tmp_path / "scores.json")
    with replacing(tmp_path / "scores.json") as beside:
        assert not leftover.exists()
        beside.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["scores.json"]


def test_what_others_are_writing_and_files_of_a_user_are_no_leftovers(tmp_path):
    leftover = kill_while_writing(tmp_path / "scores.json")
    machine, process, name = leftover.name.removeprefix(UNFINISHED).split("-")
    names = {
        "of a living process": f"{UNFINISHED}{machine}-{os.getppid()}-{name}",
        "of this process": f"{UNFINISHED}{machine}-{os.getpid()}-{name}",
        "the user's": f"{UNFINISHED}notes",
        "too": f"{UNFINISHED}{process}-{name}",
        "a folder": f"{UNFINISHED}{machine}-{process}-folder",
        "a link": f"{UNFINISHED}{machine}-{process}-link",
    }
    elsewhere = tmp_path / f"{UNFINISHED}00000000-{process}-{name}"
    for what, each in names.items():
        if what == "a folder":
            (tmp_path / each).mkdir()
        elif what == "a link":
            (tmp_path / each).symlink_to(tmp_path / names["the user's"])
        else:
            (tmp_path / each).write_text(what)
    elsewhere.write_text("of another machine")
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*names.values(), elsewhere.name}
    remove_leftovers(tmp_path, locked=True)
    assert {path.name for path in tmp_path.iterdir()} == {*names.values()}


def test_a_leftover_that_may_not_be_deleted_stays(tmp_path, monkeypatch):
    leftover = kill_while_writing(tmp_path / "scores.json")

    def refuse(*_, **__):
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "unlink", refuse)
        remove_leftovers(tmp_path)
    assert leftover.exists()


def test_a_write_that_the_system_refuses_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No space") as raised, replacing(tmp_path / "scores.json"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as file.write raises it, without a name
    assert raised.value.filename == str(tmp_path / "scores.json")


@pytest.mark.parametrize("name", ["n" * 250 + ".json", "é" * 120 + ".json", ".x", "x" * 63, "x" * 64])
def test_every_name_that_the_disk_takes_can_be_written(name, tmp_path):
    with replacing(tmp_path / name) as beside:
        beside.write_text("whole")
        assert beside.name.endswith(name[-5:])
        assert beside.name.startswith(UNFINISHED)
    assert [path.name for path in tmp_path.iterdir()] == [name]


# Other systems, emulated


def test_windows_opens_no_folder_and_flushes_what_is_open_for_writing(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(os, "O_BINARY", 0, raising=False)
    monkeypatch.setattr(os, "fsync", lambda descriptor: opened.append(os.get_blocking(descriptor)))
    real = os.open

    def windows_open(path, flags):
        if os.path.isdir(path):  # noqa: PTH112
            raise PermissionError(errno.EACCES, "Permission denied", path)
        assert flags & os.O_RDWR  # else FlushFileBuffers fails
        return real(path, flags)

    (tmp_path / "file").touch()
    monkeypatch.setattr(os, "open", windows_open)
    sync(tmp_path, system="nt")
    sync(tmp_path / "file", system="nt")
    assert len(opened) == 1


@pytest.mark.parametrize(("place", "refused"), [("", False), ("file", True)])
def test_a_network_disk_that_cannot_flush_folders_is_used_all_the_same(place, refused, tmp_path, monkeypatch):
    def invalid(descriptor):
        raise OSError(errno.EINVAL, "Invalid argument")

    (tmp_path / "file").touch()
    monkeypatch.setattr(os, "fsync", invalid)
    if refused:
        with pytest.raises(OSError, match="file"):
            sync(tmp_path / place)
    else:
        sync(tmp_path / place)


def test_names_that_lead_out_of_a_folder_are_refused_in_windows_own_manner_too(monkeypatch):
    from pathlib import PureWindowsPath

    monkeypatch.setattr("braindiffuser.files.PurePath", PureWindowsPath)
    for name in ("C:/x", "..\\x", "a\\..\\..\\x", "/x"):
        with pytest.raises(RunError, match="lies outside its folder"):
            as_states({name: [0, "", 0, 0]})
    assert as_states({"arrays/a/zarr.json": [0, "", 0, 0]})


# One process at a time

HOLDING = """
import sys, time
from pathlib import Path
from braindiffuser.files import alone_in

with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that works in the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLDING, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path, holder):
    with pytest.raises(RunError, match=f"another process works in {tmp_path}: wait until it ends"), alone_in(tmp_path):
        pass
    holder.kill()
    holder.wait()
    assert (tmp_path / ".lock").exists()
    with alone_in(tmp_path):
        pass


def test_a_second_process_may_wait(tmp_path, holder):
    told = []
    with alone_in(tmp_path, lambda: (told.append(1), holder.kill())):
        assert told == [1]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_refused_in_a_sentence(number, tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    with (
        pytest.raises(RunError, match=r"\.lock cannot .* has no file locks: use a folder on a local disk"),
        alone_in(tmp_path),
    ):
        pass


def test_an_older_filelock_says_the_same(tmp_path, monkeypatch):
    def acquire(*_, **__):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("filelock.FileLock.acquire", acquire)
    with pytest.raises(RunError, match="has no file locks"), alone_in(tmp_path):
        pass


def test_a_lock_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(IsADirectoryError) as raised, alone_in(tmp_path):
        pass
    assert raised.value.filename == str(tmp_path / ".lock")
