"""A pointer of git-lfs in place of a file is said to be one, whatever the file should be."""

import pytest

from braindiffuser.datasets.array_files import ArrayFile
from braindiffuser.datasets.volumes import read_values
from braindiffuser.errors import BrainDiffuserError
from braindiffuser.lfs_pointers import pointer_sentence
from braindiffuser.networks.tensor_files import open_tensors
from braindiffuser.picture_files import read_picture, size_of_picture

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n"


@pytest.mark.parametrize(
    ("name", "read"),
    [
        *((f"betas{suffix}", lambda path: ArrayFile.open(str(path))) for suffix in (".npy", ".npz", ".h5", ".mat")),
        *((f"mask{suffix}", read_values) for suffix in (".nii", ".nii.gz")),
        *((f"picture{suffix}", read) for suffix in (".png", ".jpg") for read in (read_picture, size_of_picture)),
        *((f"model{suffix}", open_tensors) for suffix in (".safetensors", ".pth")),
    ],
)
def test_readers_say_that_a_file_was_never_fetched(name, read, tmp_path):
    (tmp_path / name).write_text(POINTER)
    with pytest.raises((BrainDiffuserError, ValueError), match=f"{name} is a pointer of git-lfs, .*git lfs pull"):
        read(tmp_path / name)


@pytest.mark.parametrize("content", ["", "version 2\n", POINTER + 2000 * " "])
def test_other_files_are_no_pointers(content, tmp_path):
    (tmp_path / "file").write_text(content)
    assert pointer_sentence(tmp_path / "file") == ""
    assert pointer_sentence(tmp_path / "nowhere") == pointer_sentence(tmp_path) == ""
