"""Laws of fetching: only what is asked for comes, whole or not at all, and each file that does not come is named."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from braindiffuser.errors import RunError
from braindiffuser.files import UNFINISHED
from braindiffuser.open_data import fetch
from braindiffuser.open_data.catalogue import Files as Kept
from braindiffuser.open_data.catalogue import OpenData
from braindiffuser.open_data.fetch import Choice, Wanted, _kept, download, plan
from braindiffuser.open_data.servers import RemoteFile

from .served import Served, refused, silent_server

CONTENTS = {
    f"{subject}/{name}": f"{subject} {name}".encode() * 50
    for subject in ("a", "b")
    for name in ("s01.bin", "s02.bin", "s03.bin", "roi/V1.nii", "roi/V2.nii", "roi/notes.txt")
} | {"all/design.mat": b"design", "all/captions.csv": b"said"}


@pytest.fixture
def served():
    return Served(dict(CONTENTS))


@pytest.fixture
def data(served, monkeypatch):
    made = OpenData(
        name="made",
        holds="made up",
        size="small",
        licence="CC0",
        page="https://example.org",
        sessions={"a": 3, "b": 2},
        files=(
            Kept("design", served, ("all/design.mat",)),
            Kept("regions", served, ("{subject}/roi/*.nii",)),
            Kept("betas", served, ("{subject}/s{session:02}.bin",)),
            Kept("captions", served, ("all/captions.csv",), needed=False),
        ),
        by_hand=(),
        experiment=lambda folder, subject, sessions: {"kind": "none"},
    )
    monkeypatch.setattr(fetch, "ALL", (made,))
    return made


def get(folder, subjects=("a",), sessions=(), roles=(), progress=lambda *_: None, replace=False):
    planned = plan(Choice.of("made", subjects, sessions, roles), folder)
    return [*planned.faults, *download(planned, folder, progress, replace)]


def kept(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.mark.parametrize(
    ("subjects", "sessions", "roles", "expected"),
    [
        (["a"], ["2"], [], "all/design.mat all/captions.csv a/roi/V1.nii a/roi/V2.nii a/s02.bin"),
        (["a"], ["1-2"], ["betas"], "a/s01.bin a/s02.bin"),
        (["a"], [], ["betas"], "a/s01.bin a/s02.bin a/s03.bin"),
        (["a", "b"], ["2", "3"], ["betas"], "a/s02.bin a/s03.bin b/s02.bin"),
        (["b", "b"], [], ["regions", "design"], "all/design.mat b/roi/V1.nii b/roi/V2.nii"),
    ],
)
def test_what_is_asked_for_comes_and_nothing_else(subjects, sessions, roles, expected, data, tmp_path):
    assert get(tmp_path, subjects, sessions, roles) == []
    assert kept(tmp_path) == {name: CONTENTS[name] for name in expected.split()}


def test_a_plan_says_number_and_size_and_brings_nothing(data, served, tmp_path):
    planned = plan(Choice.of("made", ["a"], ["1"], ["betas", "regions"]), tmp_path)
    size = sum(len(CONTENTS[name]) for name in ("a/s01.bin", "a/roi/V1.nii", "a/roi/V2.nii"))
    assert str(planned) == f"3 files, {size / 1e6:.1f} MB, would come"
    assert kept(tmp_path) == {}
    assert served.sent == []


def test_whole_files_are_kept_and_only_the_others_come_again(data, served, tmp_path):
    get(tmp_path)
    whole = {name: (tmp_path / name).stat().st_mtime_ns for name in kept(tmp_path)}
    (tmp_path / "a/s01.bin").unlink()
    served.sent.clear()
    planned = plan(Choice.of("made", ["a"], [], []), tmp_path)
    assert [wanted.file.name for wanted in planned.missing] == ["a/s01.bin"]
    assert f"{len(whole) - 1} more are here" in str(planned)
    assert get(tmp_path) == []
    assert served.sent == ["a/s01.bin"]
    assert all((tmp_path / name).stat().st_mtime_ns == whole[name] for name in whole if name != "a/s01.bin")


@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize("wrong", [bytes, lambda n: b"x" * n, lambda n: b"<html>".ljust(n)])
def test_a_changed_file_of_the_right_size_is_named_and_comes_again_if_asked_for(hashed, wrong, data, served, tmp_path):
    served.hashed = hashed
    get(tmp_path, roles=["betas"])
    (tmp_path / "a/s01.bin").write_bytes(wrong(len(CONTENTS["a/s01.bin"])))
    served.sent.clear()
    (fault,) = get(tmp_path, roles=["betas"])
    assert fault.endswith("was kept: give --replace to replace it, or move it away")
    assert served.sent == []
    assert get(tmp_path, roles=["betas"], replace=True) == []
    assert (tmp_path / "a/s01.bin").read_bytes() == CONTENTS["a/s01.bin"]
    assert served.sent == ["a/s01.bin"]


def test_a_file_that_may_have_come_in_other_parts_is_said_not_to_be_comparable(types_unchecked, tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"whole")
    wanted = Wanted(RemoteFile("a.bin", 5, "", "a.bin", "0" * 32 + "-3"), SimpleNamespace(where="there"), path)
    assert "cannot be compared with what there lists" in _kept(wanted)
    path.write_bytes(b"<html")
    assert "another content" in _kept(wanted)


@pytest.mark.parametrize("content", [bytes, lambda n: b"<html><title>log in".ljust(n)])
def test_another_file_of_the_right_size_is_not_kept(content, data, served, tmp_path, monkeypatch):
    served.hashed = False
    send = served.get

    def lie(file, path, received):
        send(file, path, received)
        if file.name == "a/s01.bin":
            path.write_bytes(content(file.size))

    monkeypatch.setattr(served, "get", lie)
    (fault,) = get(tmp_path, roles=["betas"])
    assert fault.startswith("a/s01.bin came damaged from")
    assert "states no MD5, and it" in fault
    assert "a/s01.bin" not in kept(tmp_path)


@pytest.mark.parametrize("size", ["same", "larger", "smaller"])
def test_a_file_that_is_not_the_listed_one_is_replaced_only_if_that_is_said(size, data, served, tmp_path):
    right, path = CONTENTS["a/s01.bin"], tmp_path / "a/s01.bin"
    mine = {"same": bytes(len(right)), "larger": b"mine" * len(right), "smaller": b"mine"}[size]
    path.parent.mkdir()
    path.write_bytes(mine)
    planned = plan(Choice.of("made", ["a"], [], []), tmp_path)
    assert [each.path for each in planned.in_the_way] == ([path] if size != "same" else [])
    assert (
        f"1 that are here with another size would stay, unless you give --replace (such as {path})" in str(planned)
    ) == (size != "same")
    faults = get(tmp_path)
    assert [f"{path} is here with another" in fault for fault in faults] == [True]
    assert path.read_bytes() == mine
    assert "a/s01.bin" not in served.sent
    assert kept(tmp_path).keys() == {name for name in CONTENTS if name[:2] != "b/" and not name.endswith("notes.txt")}
    assert get(tmp_path, replace=True) == []
    assert path.read_bytes() == right


def test_files_without_a_listed_md5_are_counted(data, served, tmp_path):
    get(tmp_path)
    assert "without a listed MD5" not in str(plan(Choice.of("made", ["a"], [], []), tmp_path))
    served.hashed = False
    n = len(kept(tmp_path))
    said = f"{n} more are here ({n} without a listed MD5: a noted hash is compared, or they must open as a whole)"
    assert said in str(plan(Choice.of("made", ["a"], [], []), tmp_path))


@pytest.mark.parametrize(("status", "said"), [(403, "held back"), (404, "taken away"), (416, "status 416")])
def test_a_refused_file_is_named_and_the_rest_comes(status, said, data, served, tmp_path):
    served.answers["a/s01.bin"] = refused(status)
    (fault,) = get(tmp_path)
    assert fault.startswith("a/s01.bin did not come")
    assert said in fault
    assert str(status) in fault
    assert "a/s01.bin" not in kept(tmp_path)
    assert {"a/s02.bin", "a/s03.bin", "all/design.mat"} < kept(tmp_path).keys()
    assert not list(tmp_path.rglob(f"{UNFINISHED}*"))


def test_refusals_of_both_kinds_are_told_apart(data, served, tmp_path):
    served.answers |= {"a/s01.bin": refused(403), "a/s02.bin": refused(404)}
    first, second = get(tmp_path)
    assert "(403)" in first
    assert "(404)" in second


def test_what_is_needed_and_not_listed_is_named(data, served, tmp_path):
    del served.contents["a/s02.bin"], served.contents["all/captions.csv"]
    (fault,) = get(tmp_path)
    assert fault.startswith("a/s02.bin is not in the listing")
    assert data.page in fault
    assert "a/s03.bin" in kept(tmp_path)


def test_a_refused_listing_is_survived(data, served, tmp_path):
    served.silences["a/roi/"] = refused(403)
    (fault,) = get(tmp_path)
    assert fault.startswith("a/roi/*.nii cannot be looked up")
    assert "a/s01.bin" in kept(tmp_path)


def test_damaged_content_is_not_kept(data, served, tmp_path):
    listing = served.find
    wrong = {"a/s01.bin": 1, "a/s02.bin": 0}  # of another size; of another MD5
    served.find = lambda prefix: [
        replace(file, size=file.size + wrong[file.name], md5="0" * 32) if file.name in wrong else file
        for file in listing(prefix)
    ]
    faults = get(tmp_path)
    assert [fault.partition(" ")[0] for fault in faults] == ["a/s01.bin", "a/s02.bin"]
    assert all("damaged" in fault for fault in faults)
    assert not wrong.keys() & kept(tmp_path).keys()


def test_a_server_that_falls_silent_ends_it_and_the_next_time_goes_on(data, served, tmp_path):
    served.answers["a/s02.bin"] = silent_server()
    with pytest.raises(RunError, match=r"a/s02\.bin \(no answer\): the same command continues"):
        get(tmp_path)
    assert "a/s01.bin" in kept(tmp_path)
    assert "a/s02.bin" not in kept(tmp_path)
    served.answers.clear()
    served.sent.clear()
    assert get(tmp_path) == []
    assert "a/s01.bin" not in served.sent
    served.silences["all/design.mat"] = silent_server()
    with pytest.raises(RunError, match="cannot be reached"):
        get(tmp_path / "other")


@pytest.mark.parametrize("name", ["a/roi/../../../V1.nii", "a/roi/..\\V1.nii", "a/roi/c:V1.nii"])
def test_no_file_is_written_outside_the_folder(name, data, served, tmp_path):
    served.contents[name] = b"no"
    with pytest.raises(RunError, match="outside"):
        get(tmp_path / "inner")
    assert not (tmp_path / "V1.nii").exists()


def test_too_little_room_is_said_before_anything_comes(data, served, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(RunError, match="has room for"):
        get(tmp_path)
    assert served.sent == []


def test_a_folder_in_a_files_place_is_named(data, tmp_path):
    (tmp_path / "a/s01.bin").mkdir(parents=True)
    (fault,) = get(tmp_path)
    assert "a/s01.bin is a folder" in fault


def test_progress_only_grows_and_ends_at_the_whole(data, served, tmp_path):
    served.contents["a/s01.bin"] = bytes(3_000_000)
    told = []
    get(tmp_path, progress=lambda label, done, total: told.append((done, total)))
    done, totals = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert set(totals) == {4}
    assert set(done) >= {0, 3, 4}
    assert done[-1] == 4


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("other", ["a"], [], []), "choose one of made"),
        (("made", ["c"], [], []), "has no subject c: choose with --subjects from a, b"),
        (("made", [], [], []), "no subject is named"),
        (("made", ["b"], ["3"], []), "session 3 is not public: b of made have 1 to 2"),
        (("made", ["a"], ["0"], []), "0 is no session"),
        (("made", ["a"], ["3-1"], []), "3-1 is no session"),
        (("made", ["a"], [], ["brains"]), "no files of the kind brains: choose with --files from design"),
    ],
)
def test_what_there_is_not_is_named_with_what_there_is(asked, said, data):
    with pytest.raises(RunError, match=said):
        Choice.of(*asked)
