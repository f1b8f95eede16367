import errno
import gc
import io
import tempfile

import numpy as np
import pytest
from PIL import Image

from braindiffuser.errors import RunError
from braindiffuser.images import load_png
from braindiffuser.paired_pictures.opened_pictures import open_pictures

N, HEIGHT, WIDTH = 5, 4, 6
PICTURE = HEIGHT * WIDTH * 3


@pytest.fixture
def paths(tmp_path):
    rng = np.random.default_rng(0)
    made = [tmp_path / f"{number}.png" for number in range(N)]
    for path in made:
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save(path)
    return made


@pytest.fixture
def decoded(monkeypatch):
    """Numbers of the files in the order in which they are decoded."""
    from braindiffuser.paired_pictures import opened_pictures

    numbers, read = [], opened_pictures.read_picture

    def counting(path):
        numbers.append(int(path.stem))
        return read(path)

    monkeypatch.setattr(opened_pictures, "read_picture", counting)
    return numbers


@pytest.mark.parametrize(
    ("room", "kept"), [(0, 0), (PICTURE - 1, 0), (3 * PICTURE, 3), (4 * PICTURE - 1, 3), (9**9, N)]
)
def test_only_what_does_not_fit_is_decoded_again(room, kept, paths, decoded):
    opened, expected = open_pictures(paths, room), load_png(paths)
    assert decoded == list(range(N))
    for order in ([4, 0, 2, 2], [3, 1]):
        del decoded[:]
        np.testing.assert_array_equal(opened.take(np.array(order))[:], expected[order])
        assert decoded == [number for number in order if number >= kept]


class FullDisk(io.BytesIO):
    """A file on a disk with room for two pictures and a half."""

    cut = False

    def write(self, content):
        room = 5 * PICTURE // 2 - len(self.getbuffer())
        if room < len(content) and not self.cut:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(content[:room])


class CutShort(FullDisk):
    cut = True


@pytest.mark.parametrize("made", [FullDisk, CutShort])
def test_a_full_disk_is_given_back(made, paths, decoded, monkeypatch):
    """Writing to a disk that is nearly full can also end early without an error."""
    file = made()
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: file)
    opened = open_pictures(paths, 9**9)
    assert file.getvalue() == b""
    del decoded[:]
    np.testing.assert_array_equal(opened[:], load_png(paths))
    assert decoded == list(range(N))


def test_without_a_folder_for_temporary_files_pictures_are_decoded_again(paths, monkeypatch):
    def refuse(**_):
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    np.testing.assert_array_equal(open_pictures(paths, 9**9)[:], load_png(paths))


def test_the_temporary_file_is_closed_with_the_pictures(paths, monkeypatch):
    files, make = [], tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **how: files.append(make(**how)) or files[0])
    opened = open_pictures(paths, 9**9)
    assert not files[0].closed
    del opened
    gc.collect()
    assert files[0].closed


def test_files_are_whole_and_of_one_size(paths):
    other = paths[0].with_name("9.png")
    Image.new("RGB", (WIDTH + 1, HEIGHT)).save(other)
    paths[3].write_bytes(paths[3].read_bytes()[:-40])
    with pytest.raises(RunError, match=r"9\.png is \(4, 7\), but .*0\.png is \(4, 6\) .*: make all of one size"):
        open_pictures([paths[0], other], 9**9)
    with pytest.raises(RunError, match=r"3\.png is damaged or cut short"):
        open_pictures(paths, 0)
    with pytest.raises(ValueError, match="expected at least one picture file, got none"):
        open_pictures([], 0)
