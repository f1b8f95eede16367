import unicodedata

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from braindiffuser.datasets import picture_sets
from braindiffuser.datasets.picture_faults import RefusedPicturesError
from braindiffuser.datasets.picture_sets import (
    PictureArray,
    PictureFiles,
    first_trials,
    rows_named,
    shown_pictures,
    square,
)
from braindiffuser.errors import RecordingError

RNG = np.random.default_rng(0)


def save(path, height=32, width=32):
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = RNG.integers(0, 256, (height, width, 3)).astype(np.uint8)
    Image.fromarray(raw).save(path, quality=95) if path.suffix != ".png" else Image.fromarray(raw).save(path)
    return raw


def find(folder, *names, side=None):
    return PictureFiles.find(folder, dict(enumerate(names)), dict.fromkeys(range(len(names)), "t: row 4"), side)


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
    with pytest.raises(RecordingError, match=r"t: row 4 shows 'b\.png', but .* holds no such picture: add it"):
        find(tmp_path, "b.png")
    with pytest.raises(RecordingError, match=r"several pictures of that name \(one/a\.png, two/a\.png\)"):
        find(tmp_path, "a.png")
    with pytest.raises(RecordingError, match="is no folder"):
        find(tmp_path / "three", "a.png")
    (tmp_path / "c.png").write_bytes(b"no picture")
    with pytest.raises(RecordingError, match=r"c\.png is damaged, or no picture"):
        find(tmp_path, "c.png")


@pytest.mark.parametrize(
    "name", ["stim/a.png", "lab/deep/er/a.png", "er/a.jpg", "a.JPG", "stim/a", r"C:\stim\a.png", r"er\a.png", "./a.png"]
)
def test_a_name_may_have_folders_or_another_suffix(tmp_path, name):
    save(tmp_path / "deep" / "er" / "a.png" if "er" in name else tmp_path / "a.png")
    save(tmp_path / "b.png")
    assert find(tmp_path, name, "b.png").paths[0].name == "a.png"
    listed = PictureFiles.listed([*tmp_path.rglob("*.png")], {0: name, 1: "b"}, {0: "trial 4", 1: "trial 5"}, None)
    assert listed.paths[0].name == "a.png"


@pytest.mark.parametrize(
    ("files", "name", "words"),
    [
        (("a.png", "a.webp"), "a.jpg", r"several pictures of that name \(a\.png, a\.webp\)"),
        (("one/a.png", "two/a.png"), "a.jpg", "several pictures"),
        (("one/a.png", "b.png"), "two/a.png", "holds no such picture"),
        (("one/a.png", "b.png"), "c/two/a.png", "holds no such picture"),
        (("a1.png", "b.png"), "a.png", "holds no such picture"),
        (("a.png", "b.png"), "a.001", "holds no such picture"),
    ],
)
def test_no_picture_is_guessed(tmp_path, files, name, words):
    for file in files:
        save(tmp_path / file)
    with pytest.raises(RecordingError, match=words):
        find(tmp_path, name)


def test_the_very_suffix_comes_before_others(tmp_path):
    for file in ("a.png", "a.webp"):
        save(tmp_path / file)
    assert find(tmp_path, "stim/a.webp").paths[0].name == "a.webp"


def test_where_most_names_fail_both_sides_are_shown(tmp_path):
    for number in range(5):
        save(tmp_path / f"p{number:02}.png")
    words = r"holds no such picture, nor .*: 4 of 5 names are not found \(p0, p1, p2 …\), and it holds p00\.png, p01\.png, p02"
    with pytest.raises(RecordingError, match=words):
        find(tmp_path, "p0", "p1", "p2", "p3", "p04")
    with pytest.raises(RecordingError, match="t: row 4 shows 'p1'"):
        find(tmp_path, "p00", "p1", "p02", "p03", "p04")


def test_pictures_of_names_as_they_are_found_are_among_those_that_are_hashed(tmp_path):
    save(tmp_path / "deep" / "a.png")
    for name in ("a", "a.jpg", "deep/a.png", r"C:\deep\a.png", "x/deep/a.jpg"):
        found = find(tmp_path, name).paths[0]
        assert found in shown_pictures(tmp_path, [name]).values()


def test_sizes_that_differ_are_cropped_resized_and_said(tmp_path):
    raw = save(tmp_path / "wide.png", 32, 48)
    save(tmp_path / "large.jpg", 64, 64)
    pictures = find(tmp_path, "wide.png", "large.jpg")
    assert pictures.side == 32
    np.testing.assert_array_equal(np.rint(255 * pictures(np.array([0])))[0], raw[:, 8:40].transpose(2, 0, 1))
    assert pictures.remarks == (
        "1 of 2 pictures are not square: the middle square of each is taken.",
        "Pictures of 32 to 64 pixels on their shorter side are resized to 32 (the smallest is wide.png).",
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
    with pytest.raises(RecordingError, match=r"a\.png is 10 pixels wide or high; expected 11 or more"):
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


@pytest.mark.parametrize(("of_file", "of_table"), [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("name", ["\u00e9t\u00e9.png", "\u00e9t\u00e9", "d\u00e9j\u00e0/\u00e9t\u00e9.png"])
def test_accents_are_the_same_however_they_are_stored(tmp_path, of_file, of_table, name):
    path = tmp_path / unicodedata.normalize(of_file, "d\u00e9j\u00e0/\u00e9t\u00e9.png")
    save(path)
    asked = unicodedata.normalize(of_table, name)
    assert find(tmp_path, asked).paths == {0: path}
    assert PictureFiles.listed([path], {0: asked}, {0: "t"}, None).paths == {0: path}
    assert list(shown_pictures(tmp_path, [asked]).values()) == [path]


def test_of_two_files_of_one_stem_the_whole_name_decides(tmp_path):
    for name in ("a.png", "a.jpg"):
        save(tmp_path / name)
    assert find(tmp_path, "a.jpg", "a.png").paths == {0: tmp_path / "a.jpg", 1: tmp_path / "a.png"}
    with pytest.raises(
        RecordingError, match=r"shows 'a', but .* several pictures of that name \(a\.jpg, a\.png\): write their"
    ):
        find(tmp_path, "a")
    with pytest.raises(RecordingError, match=r"shows 'a\.bmp', but .* holds several pictures of that name"):
        find(tmp_path, "a.bmp")


def test_two_names_of_one_file_are_refused_in_a_list_as_in_a_folder(tmp_path):
    save(tmp_path / "a.png")
    names, trials = {0: "a", 1: "a.png"}, {0: "t", 1: "t"}
    with pytest.raises(RecordingError, match=r"'a' and 'a\.png' are one picture of the list of pictures: write one"):
        PictureFiles.listed([tmp_path / "a.png"], names, trials, None)
    with pytest.raises(RecordingError, match="are one picture of"):
        PictureFiles.find(tmp_path, names, trials, None)


def test_a_trial_is_described_by_its_row_in_the_users_table():
    trials = pd.DataFrame(
        {"stimulus_id": [7, 7, 3], "trial": [0, 1, 2], "table_row": [5, 2, 9], "session": [1, 1, 2], "run": [4, 4, 6]}
    )
    assert first_trials(trials) == {7: "trial 0, counted from 0,", 3: "trial 2, counted from 0,"}
    assert first_trials(trials, "t.csv")[3] == "t.csv: row 9, counted from 0,"
    assert first_trials(trials, "root", by_run=True)[7] == (
        "root: row 5, counted from 0, of the table of session 1, run 4,"
    )


def bad(folder, content, *names):
    for name in names:
        (folder / name).write_bytes(content) if isinstance(content, bytes) else content.save(folder / name)


def test_all_that_is_wrong_with_a_folder_is_one_message_by_reason(tmp_path):
    """Names of no file, of several files and two of one; broken files and too small ones: nobody mends one at a time."""
    for name in ("good.png", "twice.png", "twice.jpg", "one.png"):
        save(tmp_path / name)
    save(tmp_path / "small.png", 10, 30)
    bad(tmp_path, b"no picture", "c0.png", "c1.png", "c2.png", "c3.png", "c4.png", "c5.png")
    asked = ("good", "good.png", "m0", "m1", "twice", "small", "one", *(f"c{number}" for number in range(6)))
    with pytest.raises(RefusedPicturesError) as refused:
        find(tmp_path, *asked)
    said = str(refused.value)
    assert said.startswith("11 of 13 pictures cannot be taken: t: row 4 shows 'm0', but ")
    for part in (
        "holds no such picture: add it (likewise 'm1' of t: row 4)",
        "t: row 4 shows 'twice', but ",
        "'good' and 'good.png' are one picture of ",
        "c0.png is damaged, or no picture of the formats",
        f"(likewise {tmp_path}/c1.png, {tmp_path}/c2.png, {tmp_path}/c3.png and 2 more)",
        "small.png is 10 pixels wide or high",
    ):
        assert part in said
    assert "one.png" not in said
    assert ". " not in said
    with pytest.raises(RefusedPicturesError) as listed:
        PictureFiles.listed([*tmp_path.iterdir()], dict(enumerate(asked)), dict.fromkeys(range(13), "t: row 4"), None)
    assert len(listed.value.faults) == len(refused.value.faults) == 11


def test_what_headers_do_not_tell_is_one_message_too_when_pictures_are_read(tmp_path):
    clear = Image.new("RGBA", (16, 16), (9, 9, 9, 0))
    dark = Image.fromarray(RNG.integers(0, 1000, (16, 16)).astype(np.uint16))
    names = ["good.png", "a.png", "b.png", "c.png", "d.png", "e.png"]
    save(tmp_path / "good.png", 16, 16)
    bad(tmp_path, clear, "a.png", "b.png")
    bad(tmp_path, dark, "c.png", "d.png")
    raw = tmp_path / "e.png"
    save(raw, 16, 16)
    content = bytearray(raw.read_bytes())
    content[-13] ^= 1  # of the checksum of the pixels
    raw.write_bytes(content)
    pictures = find(tmp_path, *names)
    with pytest.raises(RefusedPicturesError) as refused:
        pictures(np.arange(6))
    said = str(refused.value)
    assert said.startswith(f"5 of 6 pictures cannot be taken: {tmp_path}/a.png is transparent in places")
    assert f"(likewise {tmp_path}/b.png); {tmp_path}/c.png has 16 bits, but levels of 0 to " in said
    assert f"(likewise {tmp_path}/d.png); {tmp_path}/e.png is damaged or cut short" in said
    with pytest.raises(RecordingError, match=r"^\S+/a\.png is transparent in places"):
        pictures(np.array([0, 1]))
    assert pictures(np.array([0])).shape == (1, 3, 16, 16)


def test_headers_are_read_once_each_and_pixels_not_at_all(tmp_path, monkeypatch):
    """A folder of thousands of files on a network is opened no slower for it, whether pictures are refused or not."""
    looked = []
    monkeypatch.setattr(picture_sets, "size_of_picture", lambda path: looked.append(path.name) or (32, 32))
    monkeypatch.setattr(picture_sets, "read_picture", None)
    for name in ("a.png", "b.png", "c.png"):
        save(tmp_path / name)
    find(tmp_path, "a", "b", "c")
    assert sorted(looked) == ["a.png", "b.png", "c.png"]
    with pytest.raises(RecordingError, match="shows 'm'"):
        find(tmp_path, "a", "b", "c", "m")
    assert len(looked) == 6


def test_plain_pictures_of_an_array_are_read_like_files(tmp_path):
    """Whether one may be meant is told by `picture_doubts`, whatever reads them."""
    raw = RNG.integers(0, 256, (6, 16, 16, 3)).astype(np.uint8)
    raw[1] = 128
    np.save(tmp_path / "p.npy", raw)
    pictures = PictureArray.open(str(tmp_path / "p.npy"), {number: number for number in range(6)}, None)
    np.testing.assert_allclose(pictures(np.array([1]))[0], 128 / 255, rtol=1e-6)
