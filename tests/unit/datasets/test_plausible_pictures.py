"""Laws of pictures: one plain picture may be meant, several alike cannot, whatever reads them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from braindiffuser.datasets.plausible_pictures import picture_doubts
from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError

N = 70
IDS = np.arange(N)
GREY = np.float32(0.5)


def recording(change=lambda pictures: None):
    """Seventy pictures, more than are read at a time, as any reader gives them."""
    pictures = np.random.default_rng(0).random((N, 3, 12, 12), dtype=np.float32)
    change(pictures)
    trials = pd.DataFrame({"subject": "me", "session": 1, "run": 1, "trial": IDS, "stimulus_id": IDS, "repeat": 0})
    return Recording(
        "me",
        trials.assign(split=""),
        Voxels(3),
        {},
        lambda session: np.zeros((N, 3), np.float32),
        "z",
        pictures=lambda ids: pictures[ids],
    )


def test_usual_pictures_are_not_remarked_on():
    assert picture_doubts(recording(), IDS) == ()


@pytest.mark.parametrize("colour", [0, GREY, 1])
@pytest.mark.parametrize("places", [[0, 69], [3, 4], [0, 30, 31, 60, 69]])
def test_pictures_of_the_same_flat_colour_are_refused_wherever_they_lie(colour, places):
    def blank(pictures):
        pictures[places] = colour

    levels = f"{255 * colour:.0f}"
    with pytest.raises(RecordingError, match=rf"{len(places)} stimuli \({places[0]}, {places[1]}.* {levels}, {levels}"):
        picture_doubts(recording(blank), IDS)
    names = pd.DataFrame({"name": [f"p{number}.png" for number in IDS]})
    with pytest.raises(RecordingError, match=rf"\(p{places[0]}\.png, p{places[1]}\.png"):
        picture_doubts(replace(recording(blank), stimuli=names), IDS)
    assert len(picture_doubts(recording(blank), np.delete(IDS, places[1:]))) == 1


@pytest.mark.parametrize("colours", [[0], [GREY], [0, 1, GREY]])
def test_plain_pictures_that_may_be_meant_are_said(colours):
    def plain(pictures):
        for number, colour in enumerate(colours):
            pictures[40 + number] = colour

    (said,) = picture_doubts(recording(plain), IDS)
    assert said.startswith(f"{len(colours)} of 70 pictures are of one flat colour throughout (40")


@pytest.mark.parametrize(("factor", "is_said"), [(0.25, True), (0.49, True), (0.51, False)])
def test_pictures_that_are_all_dim_are_said(factor, is_said):
    def dim(pictures):
        pictures *= np.float32(factor) / pictures.max()

    said = picture_doubts(recording(dim), IDS)
    assert [sentence.startswith(f"No picture is brighter than {factor:.0%} of white") for sentence in said] == [
        True
    ] * is_said
