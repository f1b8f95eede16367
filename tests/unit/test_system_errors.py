"""Every error of the operating system is a sentence with the file, the cause and what to do."""

import errno
import os
import resource
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from braindiffuser.system_errors import is_of_the_system, naming, sentence

NUMBERS = st.sampled_from(sorted(errno.errorcode))


@given(NUMBERS, st.text(min_size=1, alphabet=st.characters(categories=("L", "N"))))
def test_whatever_the_system_says_is_one_line_that_names_the_file(number, name):
    for error, path in ((OSError(number, os.strerror(number), name), None), (OSError(number, "said"), name)):
        said = sentence(error, path)
        assert said.startswith(f"{name} cannot be read or written: ")
        assert "\n" not in said
        assert not said.endswith(".")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ENOSPC", "the disk is full: free room"),
        ("EACCES", "no permission"),
        ("EROFS", "read-only"),
        ("EISDIR", "it is a folder"),
        ("ENOTDIR", "is a file, where a folder is needed"),
        ("EMFILE", "too many files are open"),
        ("EIO", "the disk reports a fault"),
        ("ESTALE", "the network disk has lost it"),
        ("ENOLCK", "has no file locks"),
        ("ENAMETOOLONG", "too long"),
        ("ETIMEDOUT", "does not answer"),
        (
            "EAGAIN",
            "holds it locked, or has not yet read what was written to it",
        ),  # a file, or a pipe that does not block
    ],
)
def test_causes_come_with_their_remedy(name, words):
    assert words in sentence(OSError(getattr(errno, name), "said"), "file")


def test_what_is_not_known_is_said_in_the_systems_words():
    assert sentence(OSError(errno.ENOSYS, "Function not implemented"), "file").endswith(": Function not implemented")


def test_what_another_program_holds_open_on_windows_is_no_lack_of_permission():
    error = PermissionError(errno.EACCES, "The process cannot access the file", "scores.json")
    error.winerror = 32
    assert "close that program" in sentence(error)


def test_a_name_that_a_system_lacks_is_left_out(monkeypatch):
    from importlib import reload

    from braindiffuser import system_errors

    for name in ("EDQUOT", "ESTALE", "ENOLCK"):
        monkeypatch.delattr(errno, name)
    try:
        assert "the disk is full" in reload(system_errors).sentence(OSError(errno.ENOSPC, "said"), "file")
    finally:
        monkeypatch.undo()
        reload(system_errors)


def test_errors_that_libraries_raise_about_content_are_not_the_systems(tmp_path):
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(OSError, match="Unable") as raised:
        h5py.File(tmp_path / "cut.h5", "r")
    assert not is_of_the_system(raised.value)


def test_a_locked_hdf5_file_is_said_to_be_locked(tmp_path):
    import fcntl

    with h5py.File(tmp_path / "betas.hdf5", "w") as file:
        file["betas"] = np.zeros(3)
    with (tmp_path / "betas.hdf5").open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="lock") as raised:
            h5py.File(tmp_path / "betas.hdf5", "r")
    assert is_of_the_system(raised.value)
    assert "betas.hdf5 cannot be read or written: another program holds it" in sentence(raised.value, "betas.hdf5")


def test_a_deleted_working_folder_is_named(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(FileNotFoundError) as raised:
        Path("run").mkdir()
    assert (
        sentence(raised.value)
        == "run cannot be read or written: the working folder was deleted: change to another folder"
    )


# Files that are written


def write_bundle(path):
    with path.open("wb", buffering=0) as file:
        np.savez(file, a=np.zeros(100_000))


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("betas", data=np.zeros(100))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))


@pytest.fixture
def small_files():
    """Files of 4 kB at most, as a stand-in for a full disk: writing more raises EFBIG."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(bytes(100_000)),
        lambda path: save_file({"a": np.zeros(100_000)}, path),
        write_bundle,
        lambda path: np.save(path.with_suffix(".npy"), np.zeros(100_000)),
        write_hdf5,
    ],
)
def test_what_does_not_fit_the_disk_is_named(write, tmp_path, small_files):
    with pytest.raises(OSError, match=r"large|space") as raised, naming("scores.json"):
        write(tmp_path / "file")
    assert raised.value.filename == "scores.json"
    assert raised.value.errno in (errno.EFBIG, errno.ENOSPC)  # numpy tells no cause


@pytest.mark.parametrize(
    "error", [ValueError("no number"), KeyError("x"), OSError("not an image"), KeyboardInterrupt()]
)
def test_other_errors_are_left_as_they_are(error):
    with pytest.raises(type(error)) as raised, naming("scores.json"):
        raise error
    assert raised.value is error
    assert getattr(error, "filename", None) is None


def test_a_file_that_an_error_names_is_kept():
    with pytest.raises(OSError, match="inner") as raised, naming("outer"):
        raise OSError(errno.EIO, "fault", "inner")
    assert raised.value.filename == "inner"
