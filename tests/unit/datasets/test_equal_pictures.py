"""Laws of equal pictures: two names of one file are found across sides, and nothing else is."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from braindiffuser.datasets.equal_pictures import BEGINNING, equal_pictures, trained_pictures
from braindiffuser.datasets.picture_sets import PictureFiles
from braindiffuser.datasets.plausible_pictures import picture_doubts
from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.recording_facts import notes_on
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.stages.prepare import _facts_of_further

SPLIT = ["train", "train", "train", "test", "test", "out"]
NAMES = [f"{letter}.bmp" for letter in "abcdef"]
"""Bitmaps without compression, all of one size."""


@pytest.fixture
def recording(tmp_path):
    rng = np.random.default_rng(0)
    for name in NAMES:
        Image.fromarray(rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)).save(tmp_path / name)
    names = dict(enumerate(NAMES))
    n = len(NAMES)
    trials = pd.DataFrame({"subject": "me", "session": 1, "run": 1, "trial": range(n), "stimulus_id": range(n)})
    pictures = PictureFiles.find(tmp_path, names, dict.fromkeys(names, ""), None)
    return Recording(
        "me",
        trials.assign(repeat=0, split=SPLIT),
        Voxels(2),
        {},
        lambda session: np.zeros((n, 2), np.float32),
        "z",
        pictures=pictures,
        stimuli=pd.DataFrame({"name": NAMES}),
    )


def copy(folder, source, target):
    (folder / target).write_bytes((folder / source).read_bytes())


def test_one_picture_under_two_names_on_both_sides_is_said(recording, tmp_path):
    assert equal_pictures(recording) == []
    copy(tmp_path, "d.bmp", "b.bmp")
    (said,) = equal_pictures(recording)
    assert said.startswith("1 test stimulus has the same picture as a training stimulus")
    assert "d.bmp tests and b.bmp trains" in said
    assert said in notes_on(recording)


@pytest.mark.parametrize(("source", "target"), [("a.bmp", "b.bmp"), ("d.bmp", "e.bmp"), ("a.bmp", "f.bmp")])
def test_equal_pictures_on_one_side_or_on_neither_are_none(recording, tmp_path, source, target):
    copy(tmp_path, source, target)
    assert equal_pictures(recording) == []


def test_files_that_differ_in_their_last_byte_are_not_equal(recording, tmp_path):
    content = bytes(2 * BEGINNING)
    (tmp_path / "a.bmp").write_bytes(content + b"0")
    (tmp_path / "e.bmp").write_bytes(content + b"1")
    assert equal_pictures(recording) == []
    copy(tmp_path, "e.bmp", "a.bmp")
    assert "e.bmp tests and a.bmp trains" in equal_pictures(recording)[0]


def test_pictures_without_files_and_recordings_without_a_split_are_not_compared(recording, tmp_path):
    copy(tmp_path, "d.bmp", "b.bmp")
    assert equal_pictures(replace(recording, pictures=lambda ids: np.zeros((len(ids), 3, 16, 16), np.float32))) == []
    assert equal_pictures(replace(recording, trials=recording.trials.assign(split=""))) == []


@pytest.mark.parametrize("imagined", [True, False])
def test_each_test_set_has_a_sentence_and_a_remedy_that_can_apply(recording, tmp_path, imagined):
    """Stimuli of a further set test in any split, so neither a name nor a group puts them on the other side."""
    copy(tmp_path, "d.bmp", "b.bmp")
    copy(tmp_path, "e.bmp", "c.bmp")
    own = replace(recording, further_test_sets={"more": np.array([4])}, imagined=("more",) if imagined else ())
    assert trained_pictures(own) == {"test": {3: 1}, "more": {4: 2}}
    test, more = equal_pictures(own)
    assert test.startswith("1 test stimulus has")
    assert "a column groups keeps" in test
    assert more.startswith(
        f"1 {'imagined ' * imagined}stimulus of the test set more has the same picture as a training"
    )
    assert "e.bmp tests and c.bmp trains" in more
    assert "split: {kind: listed, test: FILE}" in more
    assert "groups" not in more
    listed = own.trials.assign(split=["train", "train", "test", "test", "test", "out"])
    assert list(trained_pictures(replace(own, trials=listed))) == ["test"]


def test_what_is_stored_of_further_sets(recording, tmp_path):
    copy(tmp_path, "e.bmp", "c.bmp")
    copy(tmp_path, "d.bmp", "b.bmp")
    assert _facts_of_further(recording) == {}
    own = replace(recording, further_test_sets={"more": np.array([4])})
    assert _facts_of_further(own) == {"trained": {"more": [4]}}
    own = replace(own, imagined=("more",), notes={"more": ("Title", "Note.")})
    assert _facts_of_further(own) == {
        "sets_apart": ["more"],
        "imagined": ["more"],
        "notes": {"more": ["Title", "Note."]},
        "trained": {"more": [4]},
    }


def read(recording):
    return picture_doubts(recording, np.arange(len(NAMES)))


def test_pictures_that_are_equal_in_every_pixel_are_found_once_they_are_read(recording, tmp_path):
    assert read(recording) == ()
    Image.open(tmp_path / "b.bmp").save(tmp_path / "d.png")
    (tmp_path / "d.bmp").unlink()
    own = replace(
        recording, pictures=PictureFiles.find(tmp_path, dict(enumerate(NAMES)), dict.fromkeys(range(6), ""), None)
    )
    assert equal_pictures(own) == []
    (said,) = read(own)
    assert said.startswith(
        "1 test stimulus has the same picture as a training stimulus, under another name: d.bmp tests and b.bmp"
    )
    assert "equal in every pixel" in said


@pytest.mark.parametrize(
    ("source", "target", "is_said"), [(0, 3, True), (1, 4, True), (0, 1, False), (3, 4, False), (5, 0, False)]
)
def test_pictures_of_an_array_are_compared_across_sides_alone(recording, source, target, is_said):
    pictures = np.random.default_rng(1).random((len(NAMES), 3, 16, 16), dtype=np.float32)
    pictures[target] = pictures[source]
    assert bool(read(replace(recording, pictures=lambda ids: pictures[ids]))) == is_said
    pictures[target, 0, 0, 0] += 0.5 - pictures[target, 0, 0, 0].round()
    assert not read(replace(recording, pictures=lambda ids: pictures[ids]))


def test_files_that_are_equal_are_said_once(recording, tmp_path):
    copy(tmp_path, "d.bmp", "b.bmp")
    assert len(equal_pictures(recording)) == 1
    assert read(recording) == ()
