"""Laws of picture files that are stored as bytes in an HDF5 file."""

import io

import h5py
import numpy as np
import pytest
from PIL import Image

from braindiffuser.datasets.picture_sets import LOOKED_AT, EncodedPictures
from braindiffuser.errors import RecordingError, RunError
from braindiffuser.picture_files import decode_picture, size_of_encoded


def png(picture, **options):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", **options)
    return buffer.getvalue()


def grey(level, height=12, width=12):
    return np.full((height, width, 3), level, np.uint8)


def write(path, contents, name="images"):
    with h5py.File(path, "w") as file:
        stored = file.create_dataset(name, (len(contents),), dtype=h5py.vlen_dtype(np.uint8))
        for row, content in enumerate(contents):
            stored[row] = np.frombuffer(content, np.uint8)
    return path


def test_pictures_are_read_by_their_rows_in_any_order(tmp_path):
    path = write(tmp_path / "a.h5", [png(grey(level)) for level in (10, 20, 30)])
    pictures = EncodedPictures.open(path, "images", {0: "a", 2: "c"}, None)
    read = pictures(np.array([2, 0, 2]))
    np.testing.assert_allclose(read[:, 0, 0, 0] * 255, [30, 10, 30], atol=1e-4)
    assert pictures.n == 3
    assert not pictures.remarks


def test_sizes_are_told_by_some_pictures_and_this_is_said(tmp_path):
    n = 2 * LOOKED_AT + 5
    path = write(tmp_path / "a.h5", [png(grey(0, 14, 12))] * n)
    pictures = EncodedPictures.open(path, "images", dict.fromkeys(range(n), "a"), None)
    assert pictures.side == 12
    assert pictures.remarks[-1] == f"This is told by {-(-n // 3)} of {n} pictures, evenly spread."
    few = EncodedPictures.open(path, "images", {0: "a", 1: "b"}, None)
    assert few.remarks == ("2 of 2 pictures are not square: the middle square of each is taken.",)


def test_arrays_of_another_kind_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = np.zeros((3, 4), np.uint8)
    with pytest.raises(
        RecordingError, match=r"a\.h5: images is uint8 \(3, 4\); expected the bytes of one picture file"
    ):
        EncodedPictures.open(tmp_path / "a.h5", "images", {0: "a"}, None)
    with pytest.raises(RecordingError, match="holds no array pictures; it holds images"):
        EncodedPictures.open(tmp_path / "a.h5", "pictures", {0: "a"}, None)


def test_a_row_that_is_not_there_and_bytes_that_are_no_picture_are_named(tmp_path):
    path = write(tmp_path / "a.h5", [png(grey(10)), b"", png(grey(10))])
    with pytest.raises(RecordingError, match="holds 3 pictures, but trials show number 3, counted from 0"):
        EncodedPictures.open(path, "images", {3: "d"}, None)
    with pytest.raises(RecordingError, match=r"a\.h5, row 1 \(b\) is damaged, or no picture"):
        EncodedPictures.open(path, "images", {1: "b"}, None)


@pytest.mark.parametrize("background", [0, 128, 255])
def test_transparent_pixels_lie_over_the_background(background):
    alpha = np.tile(np.array([0, 51, 255], np.uint8), (12, 4))
    content = png(np.dstack([grey(200), alpha]))
    expected = background + (200 - background) * (alpha / 255.0)
    assert np.abs(decode_picture(content, "a", background)[..., 0] - expected).max() <= 1


def test_opaque_pictures_do_not_depend_on_the_background():
    content = png(np.dstack([grey(200), np.full((12, 12), 255, np.uint8)]))
    np.testing.assert_array_equal(decode_picture(content, "a"), decode_picture(content, "a", 128))


def test_without_a_background_transparent_pictures_are_refused_by_name():
    with pytest.raises(RunError, match="row 3 is transparent in places"):
        decode_picture(png(np.dstack([grey(200), np.zeros((12, 12), np.uint8)])), "row 3")


def test_sizes_are_those_that_pictures_come_in():
    for orientation in (1, 3, 6, 8):
        buffer, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(grey(9, 12, 20)).save(buffer, "JPEG", exif=exif)
        assert size_of_encoded(buffer.getvalue(), "a") == decode_picture(buffer.getvalue(), "a").shape[:2]
