import errno
import gc
import io
import tempfile
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from braindiffuser.errors import RunError
from braindiffuser.images import load_png
from braindiffuser.paired_pictures.opened_pictures import LEFT_FREE, decode_once

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
    opened, expected = decode_once(paths, room), load_png(paths)
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


@pytest.mark.parametrize("n", [4, 5])
@pytest.mark.parametrize("made", [FullDisk, CutShort])
def test_a_full_disk_is_given_back(made, n, paths, decoded, monkeypatch):
    """Writing to a disk that is nearly full can also end early without an error."""
    file = made()
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: file)
    opened = decode_once(paths[:n], 9**9)
    assert file.getvalue() == b""
    del decoded[:]
    np.testing.assert_array_equal(opened[:], load_png(paths[:n]))
    assert decoded == list(range(n))


@pytest.mark.parametrize(("more", "kept"), [(-PICTURE, 0), (0, 0), (2 * PICTURE, 2), (1000 * PICTURE, N)])
def test_room_is_left_on_the_disk(more, kept, paths, decoded, monkeypatch):
    """Results may have to be written there too."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=LEFT_FREE + more))
    opened = decode_once(paths, 9**9)
    del decoded[:]
    np.testing.assert_array_equal(opened[:], load_png(paths))
    assert decoded == list(range(kept, N))


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (WIDTH, HEIGHT + 1), (HEIGHT, WIDTH)])
@pytest.mark.parametrize("changed", [[2], list(range(N))])
def test_pictures_that_change_before_they_are_decoded_again_are_refused(changed, size, paths):
    if size == (HEIGHT, WIDTH):  # as many black pixels as before
        Image.new("RGB", (WIDTH, HEIGHT)).save(paths[2])
    kept, not_kept = decode_once(paths, 9**9), decode_once(paths, 2 * PICTURE)
    expected = kept[:]
    for number in changed:
        Image.new("RGB", size).save(paths[number])
    np.testing.assert_array_equal(kept[:], expected)
    np.testing.assert_array_equal(not_kept[:2], expected[:2])
    with pytest.raises(RunError, match=r"2\.png was changed while it was scored: run the same command again"):
        not_kept[:]


@pytest.mark.parametrize("damage", [b"", b"\0"])
def test_what_was_kept_is_decoded_again_if_it_is_not_what_was_written(damage, paths, monkeypatch):
    """Disks of networks can tell after the end that a write has failed."""
    files, make = [], tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **how: files.append(make(**how)) or files[0])
    opened, expected = decode_once(paths, 9**9), load_png(paths)
    files[0].truncate(3 * PICTURE)
    if damage:
        files[0].truncate(N * PICTURE)  # with a hole
    np.testing.assert_array_equal(opened[:], expected)
    Image.new("RGB", (WIDTH, HEIGHT), "white").save(paths[3])
    np.testing.assert_array_equal(opened[:3], expected[:3])
    with pytest.raises(RunError, match=r"3\.png was changed while it was scored"):
        opened[3:]


def test_threads_read_the_pictures_that_they_ask_for(paths):
    opened, expected = decode_once(paths, 9**9), load_png(paths)
    asked = np.random.default_rng(1).integers(N, size=2000)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: opened[slice(number, number + 1)][0], asked.tolist()))
    assert all(np.array_equal(own, expected[number]) for own, number in zip(found, asked, strict=True))


def test_each_picture_is_noted_once(paths):
    noted = []
    decode_once(paths, 0, lambda path, raw: noted.append((path, raw.shape)))
    assert noted == [(path, (HEIGHT, WIDTH, 3)) for path in paths]


def test_without_a_folder_for_temporary_files_pictures_are_decoded_again(paths, monkeypatch):
    def refuse(**_):
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    np.testing.assert_array_equal(decode_once(paths, 9**9)[:], load_png(paths))


def test_the_temporary_file_is_closed_with_the_pictures(paths, monkeypatch):
    files, make = [], tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **how: files.append(make(**how)) or files[0])
    opened = decode_once(paths, 9**9)
    assert not files[0].closed
    del opened
    gc.collect()
    assert files[0].closed


def test_files_are_whole_and_of_one_size(paths):
    other = paths[0].with_name("9.png")
    Image.new("RGB", (WIDTH + 1, HEIGHT)).save(other)
    paths[3].write_bytes(paths[3].read_bytes()[:-40])
    with pytest.raises(RunError, match=r"9\.png is \(4, 7\), but .*0\.png is \(4, 6\) .*: make all of one size"):
        decode_once([paths[0], other], 9**9)
    with pytest.raises(RunError, match=r"3\.png is damaged or cut short"):
        decode_once(paths, 0)
    with pytest.raises(ValueError, match="expected at least one picture file, got none"):
        decode_once([], 0)
