import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from torch.nn.functional import interpolate

from braindiffuser.errors import RunError
from braindiffuser.images import (
    BATCH,
    PictureReader,
    PictureSource,
    are_flat,
    batch_slices,
    from_uint8,
    load_png,
    resize,
    resize_without_antialias,
    save_png,
    to_uint8,
)

raw_pictures = st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda size: arrays(np.uint8, (*size, 3))
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@settings(deadline=None, max_examples=25)
@given(raw_pictures)
def test_eight_bits_survive_the_round_trip(raw):
    np.testing.assert_array_equal(to_uint8(from_uint8(raw)), raw)


@settings(deadline=None, max_examples=25)
@given(raw_pictures)
def test_converted_pictures_keep_the_convention(raw):
    pictures = from_uint8(raw)
    n, height, width, _ = raw.shape
    assert pictures.shape == (n, 3, height, width)
    assert pictures.dtype == np.float32
    assert pictures.flags.c_contiguous
    assert ((pictures >= 0) & (pictures <= 1)).all()


def test_channels_stay_red_green_blue():
    raw = np.array([[[[255, 0, 51]]]], np.uint8)
    np.testing.assert_array_equal(from_uint8(raw)[0, :, 0, 0], np.array([1, 0, 0.2], np.float32))


def test_to_uint8_rounds_to_nearest_and_clips():
    values = np.array([-0.3, 0.4 / 255, 0.6 / 255, 1, 1.7], np.float32)
    pictures = np.broadcast_to(values, (1, 3, 1, 5))
    np.testing.assert_array_equal(to_uint8(pictures)[0, 0, :, 0], [0, 0, 1, 255, 255])


def test_resize_leaves_pictures_of_that_size_alone(rng):
    pictures = rng.random((2, 3, 8, 8), dtype=np.float32)
    assert resize(pictures, 8) is pictures


@pytest.mark.parametrize("size", [5, 32])
def test_resize_is_what_pillow_does_to_each_picture(rng, size):
    raw = rng.integers(256, size=(3, 16, 16, 3), dtype=np.uint8)
    expected = [Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC) for picture in raw]
    np.testing.assert_array_equal(to_uint8(resize(from_uint8(raw), size)), np.stack(expected))


@pytest.mark.parametrize("resample", [Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.BOX])
def test_resize_keeps_a_flat_colour(resample):
    colour = from_uint8(np.full((1, 7, 7, 3), (10, 100, 200), np.uint8))
    resized = resize(colour, 20, resample)
    np.testing.assert_array_equal(resized, np.broadcast_to(colour[:, :, :1, :1], (1, 3, 20, 20)))


def test_resize_antialiases():
    checkerboard = np.indices((64, 64)).sum(0) % 2
    pictures = np.broadcast_to(checkerboard, (1, 3, 64, 64)).astype(np.float32)
    np.testing.assert_allclose(resize(pictures, 8), 0.5, atol=0.02)


def test_resize_squashes_nothing(rng):
    for size in (6, 5):
        with pytest.raises(
            RunError, match="pictures came as 5 × 6 pixels, expected square ones: crop or pad them first"
        ):
            resize(rng.random((2, 3, 5, 6), dtype=np.float32), size)


def test_resize_of_no_pictures_is_no_pictures():
    assert resize(np.zeros((0, 3, 8, 8), np.float32), 4).shape == (0, 3, 4, 4)


def test_png_files_round_trip_in_order(rng, tmp_path):
    pictures = from_uint8(rng.integers(256, size=(3, 6, 5, 3), dtype=np.uint8))
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, picture in zip(paths, pictures, strict=True):
        save_png(picture[None], path)
    np.testing.assert_array_equal(load_png(paths), pictures)
    np.testing.assert_array_equal(load_png(paths[::-1]), pictures[::-1])


def test_load_png_reads_grey_files_as_rgb(tmp_path):
    Image.new("L", (4, 4), 51).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(load_png([tmp_path / "grey.png"]), np.full((1, 3, 4, 4), 0.2, np.float32))


def test_save_png_writes_one_picture(tmp_path):
    with pytest.raises(ValueError, match="writes one picture, got 2"):
        save_png(np.zeros((2, 3, 4, 4), np.float32), tmp_path / "two.png")


def test_load_png_needs_a_file():
    with pytest.raises(ValueError, match="at least one picture file"):
        load_png([])


def test_load_png_names_the_file_of_another_size(tmp_path):
    save_png(np.zeros((1, 3, 4, 4), np.float32), tmp_path / "first.png")
    save_png(np.zeros((1, 3, 4, 6), np.float32), tmp_path / "wide.png")
    with pytest.raises(RunError, match=r"wide\.png is \(4, 6\), but .*first\.png is \(4, 4\)"):
        load_png([tmp_path / "first.png", tmp_path / "wide.png"])


@pytest.mark.parametrize("n", [0, 1, BATCH - 1, BATCH, BATCH + 1, 5 * BATCH + 3])
def test_batches_hold_every_picture_once_in_order_and_never_many(n):
    numbers = np.arange(n)
    parts = [numbers[rows] for rows in batch_slices(n)]
    np.testing.assert_array_equal(np.concatenate(parts), numbers)
    assert max(len(part) for part in parts) <= BATCH
    assert len(parts) >= 1


def test_a_reader_reads_what_is_taken_and_nothing_else(rng):
    pictures, read = rng.random((9, 3, 4, 4), dtype=np.float32), []

    def take(numbers):
        read.extend(numbers.tolist())
        return pictures[numbers]

    reader = PictureReader(np.array([8, 3, 3, 0, 5]), take)
    assert isinstance(reader, PictureSource)
    assert isinstance(pictures, PictureSource)
    turned = reader.take(np.array([4, 0, 1])).take(slice(1, None))
    assert (len(reader), len(turned), read) == (5, 2, [])
    np.testing.assert_array_equal(turned[:], pictures[[8, 3]])
    np.testing.assert_array_equal(reader[1:3], pictures[[3, 3]])
    assert read == [8, 3, 3, 3]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_do_not_become_black_or_white(value):
    pictures = np.full((3, 3, 4, 4), 0.5, np.float32)
    pictures[1, 2, 0, 0] = value
    for convert in (to_uint8, lambda pictures: resize(pictures, 2)):
        with pytest.raises(RunError, match="picture 1 of 3 has values that are not finite"):
            convert(pictures)


def test_a_picture_of_one_colour_is_flat_and_no_other():
    pictures = np.zeros((4, 3, 5, 6), np.float32)
    pictures[1] = np.float32([0.1, 0.2, 0.3])[:, None, None]
    pictures[2, 2, 4, 5] = 1e-3
    pictures[3] = np.linspace(0, 1, 6, dtype=np.float32)
    assert are_flat(pictures).tolist() == [True, True, False, False]
    assert are_flat(pictures[:0]).tolist() == []


@pytest.mark.parametrize(("side", "size"), [(12, 5), (5, 12), (7, 7), (1, 4), (9, 1), (64, 17)])
def test_resizing_without_antialias_is_that_of_torch(rng, side, size):
    pictures = rng.random((2, 3, side, side), np.float32)
    expected = interpolate(torch.from_numpy(pictures), size=(size, size), mode="bilinear", align_corners=False).numpy()
    np.testing.assert_allclose(resize_without_antialias(pictures, size), expected, rtol=0, atol=2e-6)


def test_half_the_size_is_the_mean_of_four_pixels_and_a_fifth_misses_most(rng):
    pictures = rng.random((2, 3, 10, 10), np.float32)
    means = pictures.reshape(2, 3, 5, 2, 5, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(resize_without_antialias(pictures, 5), means, atol=1e-6)
    others = pictures.copy()
    others[:, :, 0] = 0  # rows 2 and 7 alone make two rows of ten
    np.testing.assert_array_equal(resize_without_antialias(others, 2), resize_without_antialias(pictures, 2))


def test_resizing_without_antialias_leaves_sizes_that_fit_and_refuses_what_is_not_square(rng):
    pictures = rng.random((2, 3, 10, 10), np.float32)
    assert resize_without_antialias(pictures, 10) is pictures
    assert resize_without_antialias(pictures[:0], 4).shape == (0, 3, 4, 4)
    with pytest.raises(RunError, match="pictures came as 10 × 8 pixels, expected square ones"):
        resize_without_antialias(pictures[..., :8], 4)
