"""Files are written whole, into a folder that holds nothing else."""

import zipfile

import numpy as np
import pytest

from braindiffuser.errors import RunError
from braindiffuser.export.written_files import (
    DESCRIPTION,
    ROWS,
    UID,
    check_folder,
    json_file,
    npz_file,
    text_file,
    write_files,
)
from braindiffuser.progress import silent

FILES = {DESCRIPTION: json_file({UID: "one"}), "a/b.txt": text_file("whole")}


def check(folder, uid="one", **outside):
    check_folder(folder, outside, list(FILES), uid)


def test_what_was_written_may_be_written_again(tmp_path):
    check(tmp_path / "out")
    for _ in range(2):
        write_files(tmp_path / "out", FILES, silent)
        check(tmp_path / "out")
    with pytest.raises(RunError, match="not exported from these results"):
        check(tmp_path / "out", uid="other")


def test_a_file_that_fails_leaves_what_was_there(tmp_path):
    write_files(tmp_path, FILES, silent)

    def fail(path):
        path.write_text("half")
        raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        write_files(tmp_path, {"a/b.txt": fail}, silent)
    assert (tmp_path / "a/b.txt").read_text() == "whole"
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b.txt"]


def test_links_and_files_are_no_folders_to_write_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is a file"):
        check(tmp_path / "file")
    (tmp_path / "elsewhere.txt").write_text("mine")
    write_files(tmp_path / "out", FILES, silent)
    (tmp_path / "out/a/b.txt").unlink()
    (tmp_path / "out/a/b.txt").symlink_to(tmp_path / "elsewhere.txt")
    with pytest.raises(RunError, match=r"other files, such as a/b\.txt"):
        check(tmp_path / "out")


@pytest.mark.parametrize("inside", ["", "export", "a/b"])
def test_the_recordings_folder_is_left_alone(tmp_path, inside):
    (tmp_path / "link").symlink_to(tmp_path)
    for way in (tmp_path, tmp_path / "link"):
        with pytest.raises(RunError, match="overlaps the recording"):
            check(way / "data" / inside, recording=tmp_path / "data")


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64", "<U7"])
def test_arrays_come_back_without_pickle(tmp_path, dtype):
    rng = np.random.default_rng(0)
    arrays = {f"a{n}": rng.integers(0, 99, (n, 3)).astype(dtype) for n in (0, 1, ROWS, ROWS + 1)}
    arrays["strided"] = arrays["a128"].T
    npz_file(lambda: arrays)(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert set(file) == set(arrays)
        for name, values in arrays.items():
            np.testing.assert_array_equal(file[name], values)
            assert file[name].dtype == values.dtype
    assert zipfile.ZipFile(tmp_path / "a.npz").testzip() is None


def test_json_is_strict():
    with pytest.raises(ValueError, match="JSON"):
        json_file({"value": float("nan")})
