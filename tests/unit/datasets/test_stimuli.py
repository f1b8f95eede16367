"""Laws of stimulus files: what is read is what was written, and what was not written or is damaged is refused by name."""

import fcntl

import h5py
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from braindiffuser.datasets.stimuli import StimulusCaptions, StimulusPictures
from braindiffuser.errors import RecordingError

N, SIDE = 5, 16
RAW = np.random.default_rng(0).integers(1, 256, (N, SIDE, SIDE, 3), np.uint8)
CAPTIONS = np.array([[f"caption {k}", "" if k % 2 else f"again {k}\n"] for k in range(N)], "<U20")


def write(path, raw=RAW, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("imgBrick", data=raw, **options)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "stimuli.hdf5"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (RAW.astype(np.float32) / 255, r"imgBrick is float32 \(5, 16, 16, 3\); expected uint8 \(n_pictures"),
        (RAW.astype(np.uint16), r"imgBrick is uint16 \(5, 16, 16, 3\); expected uint8"),
        (
            RAW.transpose(0, 3, 1, 2),
            r"imgBrick is uint8 \(5, 3, 16, 16\); expected uint8 \(n_pictures, height, width, 3\)",
        ),
        (RAW[..., 0], r"imgBrick is uint8 \(5, 16, 16\); expected uint8"),
        (RAW[:, :12], "imgBrick holds 5 pictures of 12 × 16 pixels; expected square ones of 11 pixels a side or more"),
        (RAW[:, :10, :10], "imgBrick holds 5 pictures of 10 × 10 pixels; expected square ones of 11 pixels"),
        (RAW[:0], "imgBrick holds 0 pictures"),
        (h5py.Empty("u1"), "is damaged, cut short or no HDF5 file with a dataset imgBrick"),
    ],
)
def test_pictures_of_another_form_are_refused_when_opened(raw, words, path):
    with pytest.raises(RecordingError, match=rf"stimuli\.hdf5.* {words}|stimuli\.hdf5: {words}"):
        StimulusPictures.open(write(path, raw))


def test_a_filter_that_is_not_installed_is_named_when_opened(path):
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((1, SIDE, SIDE, 3))
    plan.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (0,))
    with h5py.File(path, "w") as file:
        h5py.h5d.create(file.id, b"imgBrick", h5py.h5t.NATIVE_UINT8, h5py.h5s.create_simple(RAW.shape), plan)
    with pytest.raises(
        RecordingError, match=r"compressed by the HDF5 filters .*32001.* not installed: write it with gzip"
    ):
        StimulusPictures.open(path)


@pytest.mark.parametrize(
    ("chunks", "fill", "unwritten"),
    [
        (None, 0, 3),
        ((1, SIDE, SIDE, 3), 0, 3),
        ((1, SIDE, SIDE, 3), 128, 3),
        ((2, 4, 8, 1), 0, 2),
        ((2, 4, 8, 1), 128, 2),
    ],
)
def test_what_was_never_written_is_refused_by_its_number(chunks, fill, unwritten, path):
    with h5py.File(path, "w") as file:
        brick = file.create_dataset("imgBrick", RAW.shape, np.uint8, chunks=chunks, fillvalue=fill)
        brick[:2], brick[4] = RAW[:2], RAW[4]
    stimuli = StimulusPictures.open(path)
    np.testing.assert_array_equal(stimuli.pictures([4, 0, 1, 1]), RAW[[4, 0, 1, 1]])
    with pytest.raises(
        RecordingError, match=r"stimuli\.hdf5: stimulus [23] is black throughout, or parts of it were never"
    ):
        stimuli.pictures([0, 3 if chunks is None or chunks[0] == 1 else 2])


def test_a_part_that_was_never_written_is_refused(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("imgBrick", RAW.shape, np.uint8, chunks=(1, 4, SIDE, 3))[:, :12] = RAW[:, :12]
    with pytest.raises(RecordingError, match="stimulus 0 is black throughout, or parts of it were never written"):
        StimulusPictures.open(path).pictures([0])


def test_black_that_was_written_is_refused_too_but_a_black_band_is_not(path):
    raw = RAW.copy()
    raw[1], raw[2, :8] = 0, 0
    stimuli = StimulusPictures.open(write(path, raw, chunks=(1, 8, SIDE, 3)))
    np.testing.assert_array_equal(stimuli.pictures([2]), raw[[2]])
    with pytest.raises(RecordingError, match="stimulus 1 is black throughout"):
        stimuli.pictures([2, 1])


def test_a_file_that_another_program_locks_is_not_to_be_downloaded_again(path):
    with write(path).open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(
            RecordingError, match=r"stimuli\.hdf5 cannot be read or written: another program holds it locked"
        ):
            StimulusPictures.open(path)


def test_no_permission_is_told_from_damage(path, monkeypatch):
    stimuli = StimulusPictures.open(write(path))

    def fail(*_, **__):
        raise PermissionError(13, "Unable to open file (Permission denied)")

    monkeypatch.setattr("h5py.File", fail)
    for read in (lambda: stimuli.pictures([0]), lambda: StimulusPictures.open(path)):
        with pytest.raises(RecordingError, match=r"stimuli\.hdf5 cannot be read or written: you have no permission"):
            read()


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from(["flip", "cut", "replace"]),
    st.sampled_from([{"fletcher32": True}, {"compression": "gzip"}, {"compression": "gzip", "fletcher32": True}]),
    st.data(),
)
def test_damaged_pictures_are_refused_or_the_same(tmp_path_factory, damage, filters, data):
    """Both filters store a checksum with every chunk; that of zeros is zero in fletcher32, so they pass for black there."""
    assume(damage != "replace" or "compression" in filters)
    path = tmp_path_factory.mktemp("damaged") / "stimuli.hdf5"
    write(path, chunks=(1, 8, SIDE, 3), **filters)
    with h5py.File(path, "r") as file:
        chunks = [file["imgBrick"].id.get_chunk_info(number) for number in range(2 * N)]
    content, chunk = path.read_bytes(), data.draw(st.sampled_from(chunks))
    start = chunk.byte_offset + data.draw(st.integers(0, chunk.size - 1))
    after = {
        "flip": bytes([content[start] ^ data.draw(st.integers(1, 255))]) + content[start + 1 :],
        "cut": b"",
        "replace": bytes(chunk.byte_offset + chunk.size - start) + content[chunk.byte_offset + chunk.size :],
    }
    path.write_bytes(content[:start] + after[damage])
    try:
        found = StimulusPictures.open(path).pictures(range(N))
    except RecordingError as error:
        found, named = RAW, str(path) in str(error)
    else:
        named = True
    assert named
    np.testing.assert_array_equal(found, RAW)


# Captions


@pytest.fixture
def captions(tmp_path):
    return tmp_path / "captions.npy"


def test_captions_with_words_are_returned(captions):
    np.save(captions, CAPTIONS)
    assert StimulusCaptions.open(captions).captions(2) == ("caption 2", "again 2\n")
    assert StimulusCaptions.open(captions).captions(3) == ("caption 3",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" ", "has no caption of stimulus 1: write one, or move the file away to decode no text"),
        ("a cat\0s", "captions of stimulus 1 hold characters that stand for damaged text"),
        ("caf\ufffd", "captions of stimulus 1 hold characters that stand for damaged text"),
        (f"caf{chr(0xDCE9)}", "captions of stimulus 1 hold characters that stand for damaged text"),
    ],
)
def test_captions_that_are_none_are_refused_by_number(text, words, captions):
    changed = CAPTIONS.copy()
    changed[1, 0] = text
    np.save(captions, changed)
    opened = StimulusCaptions.open(captions)
    assert opened.captions(0)
    with pytest.raises(RecordingError, match=rf"captions\.npy.*{words}"):
        opened.captions(1)


def test_numbers_that_are_no_characters_are_refused(captions):
    np.save(captions, CAPTIONS)
    content = captions.read_bytes()
    captions.write_bytes(content[:-160] + bytes([255]) * 160)
    with pytest.raises(RecordingError, match=r"captions\.npy: captions of stimulus 4 hold characters"):
        StimulusCaptions.open(captions).captions(N - 1)
    assert StimulusCaptions.open(captions).captions(N - 2)


@pytest.mark.parametrize("texts", [CAPTIONS.astype("S20"), CAPTIONS[:, 0], np.zeros((N, 2))])
def test_captions_of_another_form_are_refused_when_opened(texts, captions):
    np.save(captions, texts)
    with pytest.raises(RecordingError, match=r"captions\.npy is .*; expected texts \(n_pictures, 5\)"):
        StimulusCaptions.open(captions)


def test_captions_that_are_cut_short_are_refused_when_opened(captions):
    np.save(captions, CAPTIONS)
    captions.write_bytes(captions.read_bytes()[:-10])
    with pytest.raises(RecordingError, match=r"captions\.npy is damaged, cut short or no text array"):
        StimulusCaptions.open(captions)
