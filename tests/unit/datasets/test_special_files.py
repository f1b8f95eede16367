"""Laws of pipes, sockets and devices in the place of files: refused at once, since to open one may wait without end."""

import os
import shutil
import signal
import socket
from pathlib import Path

import numpy as np
import pytest

from braindiffuser.datasets.array_files import ArrayFile
from braindiffuser.datasets.bdata_files import BDataFile
from braindiffuser.datasets.pandas_frames import PandasFrame
from braindiffuser.datasets.picture_sets import PictureFiles
from braindiffuser.datasets.reading import read_text
from braindiffuser.datasets.restricted_pickle import read_pickled_dict
from braindiffuser.datasets.tables import read_table
from braindiffuser.datasets.volumes import open_nifti, read_mask
from braindiffuser.errors import RecordingError
from braindiffuser.files import state_of


def find_picture(path):
    return PictureFiles.find(path.parent, {0: path.name}, {0: "trial 0"}, None)


def open_header(path):
    with open_nifti(path, header_only=True):
        pass


READERS = {
    "t.csv": read_table,
    "t.parquet": read_table,
    "b.npy": lambda path: ArrayFile.open(str(path)),
    "b.npz": lambda path: ArrayFile.open(str(path)),
    "b.h5": lambda path: ArrayFile.open(str(path)),
    "b.zarr": lambda path: ArrayFile.open(str(path)),
    "frame.h5": PandasFrame.open,
    "bdata.h5": BDataFile.open,
    "design.npy": read_pickled_dict,
    "mask.nii.gz": read_mask,
    "betas.nii": open_header,
    "p.png": find_picture,
    "names.txt": lambda path: read_text(path, "list"),
}


@pytest.fixture
def no_waiting():
    """Whatever waits is interrupted."""

    def stop(*_):
        raise TimeoutError("it waited for a pipe")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=["pipe", "socket", "device", "link to a pipe"])
def make(request, tmp_path):
    """Return make(path), which puts something that is no file there."""
    if request.param == "pipe":
        return os.mkfifo
    if request.param == "device":
        return lambda path: path.symlink_to("/dev/zero")

    def make_link(path):
        os.mkfifo(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")

    def make_socket(path):
        made = Path("/tmp") / f"socket{os.getpid()}"  # noqa: S108  names of sockets must be short
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(str(made))
        shutil.move(made, path)

    return make_socket if request.param == "socket" else make_link


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_refused_by_name(make, name, tmp_path):
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / name
    make(path)
    with pytest.raises(RecordingError, match=rf"{name} .*(a pipe|is missing)"):
        READERS[name](path)


@pytest.mark.usefixtures("no_waiting")
def test_it_is_not_hashed_either(make, tmp_path):
    path = tmp_path / "p.png"
    make(path)
    with pytest.raises(OSError, match=r"p\.png"):
        state_of(path)


@pytest.mark.parametrize("name", [name for name in READERS if name != "b.zarr"])
def test_a_folder_in_the_place_of_a_file_is_refused(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(RecordingError, match=name):
        READERS[name](tmp_path / name)


def test_files_and_folders_are_read_as_before(tmp_path):
    np.save(tmp_path / "b.npy", np.ones((2, 3)))
    assert ArrayFile.open(str(tmp_path / "b.npy")).shape == (2, 3)
