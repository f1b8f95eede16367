import numpy as np
import pytest
from PIL import Image

from braindiffuser.datasets.picture_sets import PictureArray, PictureFiles, rows_named, square
from braindiffuser.errors import RecordingError

RNG = np.random.default_rng(0)


def save(path, height=32, width=32):
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = RNG.integers(0, 256, (height, width, 3)).astype(np.uint8)
    Image.fromarray(raw).save(path, quality=95) if path.suffix != ".png" else Image.fromarray(raw).save(path)
    return raw


def find(folder, *names, side=None):
    return PictureFiles.find(folder, dict(enumerate(names)), dict.fromkeys(range(len(names)), 4), side)


def test_pictures_of_one_size_come_as_they_are(tmp_path):
    raw = [save(tmp_path / name) for name in ("a.png", "b.png")]
    pictures = find(tmp_path, "a.png", "b.png")
    assert pictures.remarks == ()
    np.testing.assert_array_equal(
        np.rint(255 * pictures(np.array([1, 0, 1]))), np.stack(raw)[[1, 0, 1]].transpose(0, 3, 1, 2)
    )


@pytest.mark.parametrize("name", ["a.png", "a", "deep/a.png", "deep/a", "deep/er/a.png"])
def test_a_picture_is_found_by_its_path_its_end_or_without_suffix(tmp_path, name):
    save(tmp_path / "deep" / "er" / "a.png")
    save(tmp_path / "deep" / "a2.png")
    if name.startswith("deep/a"):
        save(tmp_path / "deep" / "a.png")
    found = find(tmp_path, name).paths[0]
    assert found == tmp_path / ("deep/a.png" if name.startswith("deep/a") else "deep/er/a.png")


def test_a_picture_that_is_missing_or_not_one_is_named_with_its_trial(tmp_path):
    save(tmp_path / "one" / "a.png")
    save(tmp_path / "two" / "a.png")
    with pytest.raises(
        RecordingError, match=r"trial 4, counted from 0, shows 'b\.png', but .* holds no such picture: add it"
    ):
        find(tmp_path, "b.png")
    with pytest.raises(RecordingError, match=r"several pictures of that name \(one/a\.png, two/a\.png\)"):
        find(tmp_path, "a.png")
    with pytest.raises(RecordingError, match="is no folder"):
        find(tmp_path / "three", "a.png")
    (tmp_path / "c.png").write_bytes(b"no picture")
    with pytest.raises(RecordingError, match=r"c\.png is damaged, or no picture"):
        find(tmp_path, "c.png")


def test_sizes_that_differ_are_cropped_resized_and_said(tmp_path):
    raw = save(tmp_path / "wide.png", 32, 48)
    save(tmp_path / "large.jpg", 64, 64)
    pictures = find(tmp_path, "wide.png", "large.jpg")
    assert pictures.side == 32
    np.testing.assert_array_equal(np.rint(255 * pictures(np.array([0])))[0], raw[:, 8:40].transpose(2, 0, 1))
    assert pictures.remarks == (
        "1 of 2 pictures are not square: the middle square of each is taken.",
        "Pictures of 32 to 64 pixels on their shorter side are resized to 32.",
    )
    assert find(tmp_path, "wide.png", side=20)(np.array([0])).shape == (1, 3, 20, 20)
    save(tmp_path / "huge.png", 600, 700)
    assert find(tmp_path, "huge.png").side == 512


@pytest.mark.parametrize(("height", "width"), [(10, 40), (41, 12), (11, 11)])
def test_the_square_is_the_middle_one(height, width):
    raw = RNG.integers(0, 256, (height, width, 3)).astype(np.uint8)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    np.testing.assert_array_equal(square(raw, side), raw[top : top + side, left : left + side])
    assert square(raw, 7).shape == (7, 7, 3)


def test_pictures_that_ssim_cannot_take_are_refused(tmp_path):
    save(tmp_path / "a.png", 10, 30)
    with pytest.raises(RecordingError, match="a picture is 10 pixels wide or high; expected 11 or more"):
        find(tmp_path, "a.png")


def test_rotated_photographs_are_measured_upright(tmp_path):
    image, exif = Image.new("RGB", (40, 20), (9, 8, 7)), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    save(tmp_path / "b.png", 40, 20)
    assert find(tmp_path, "a.jpg", "b.png").remarks[0].startswith("2 of 2 pictures are not square")
    assert find(tmp_path, "a.jpg")(np.array([0])).shape == (1, 3, 20, 20)


def test_an_array_of_pictures_is_read_by_rows(tmp_path):
    raw = RNG.integers(0, 256, (5, 16, 16, 3)).astype(np.uint8)
    np.save(tmp_path / "p.npy", raw)
    pictures = PictureArray.open(str(tmp_path / "p.npy"), {0: 3, 7: 1}, None)
    np.testing.assert_array_equal(np.rint(255 * pictures(np.array([7, 0]))), raw[[1, 3]].transpose(0, 3, 1, 2))
    with pytest.raises(RecordingError, match="holds 5 pictures, but trials show number 5, counted from 0"):
        PictureArray.open(str(tmp_path / "p.npy"), {0: 5}, None)
    np.save(tmp_path / "f.npy", raw / 255)
    with pytest.raises(RecordingError, match=r"is float64 \(5, 16, 16, 3\); expected pictures as uint8"):
        PictureArray.open(str(tmp_path / "f.npy"), {0: 0}, None)


def test_two_names_of_one_picture_are_refused(tmp_path):
    """Otherwise one picture could train and test."""
    save(tmp_path / "a.png")
    for other in ("a", "./a.png"):
        with pytest.raises(RecordingError, match=rf"'a\.png' and '{other}' are one picture of"):
            find(tmp_path, "a.png", other)
    with pytest.raises(RecordingError, match="'1' and '001' are one picture of p"):
        rows_named({0: "1", 1: "001"}, "p", "t")


def test_a_picture_of_a_folder_of_another_name_is_no_other_picture(tmp_path):
    save(tmp_path / "11" / "a.png")
    with pytest.raises(RecordingError, match="holds no such picture"):
        find(tmp_path, "1/a.png")
