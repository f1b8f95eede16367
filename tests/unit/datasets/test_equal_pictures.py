"""Laws of equal pictures: two names of one file are found across sides, and nothing else is."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from braindiffuser.datasets.equal_pictures import BEGINNING, equal_pictures
from braindiffuser.datasets.picture_sets import PictureFiles
from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.recording_facts import notes_on
from braindiffuser.datasets.voxels import Voxels

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
    assert said.startswith("1 test stimuli are the same picture as a training stimulus")
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
