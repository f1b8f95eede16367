"""Laws of pictures: one plain picture may be meant, several alike cannot, whatever reads them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from braindiffuser.datasets.picture_faults import RefusedPicturesError
from braindiffuser.datasets.picture_sets import PictureFiles
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


def test_what_is_wrong_in_several_batches_is_one_message(tmp_path):
    """Seventy files are read in more than one batch; transparent ones of the first and last, and two flat colours."""
    rng = np.random.default_rng(0)
    for number in IDS:
        picture = Image.fromarray(rng.integers(0, 256, (12, 12, 3)).astype(np.uint8))
        if number in (5, 69):
            picture.putalpha(0)
        flat = {7: 40, 68: 40, 8: 90, 9: 90, 10: 90}.get(int(number))
        (Image.new("RGB", (12, 12), (flat,) * 3) if flat else picture).save(tmp_path / f"p{number}.png")
    names = {int(number): f"p{number}.png" for number in IDS}
    files = PictureFiles.find(tmp_path, names, dict.fromkeys(names, "t"), None)
    held = replace(recording(), pictures=files, stimuli=pd.DataFrame({"name": names}))
    with pytest.raises(RefusedPicturesError) as refused:
        picture_doubts(held, IDS)
    said = str(refused.value)
    assert said.startswith("7 of 70 pictures cannot be taken: ")
    assert (
        f"p5.png is transparent in places: put it on the background that was meant, and save it as 8-bit RGB PNG (likewise "
        f"{tmp_path}/p69.png); the pictures of " in said
    )
    assert "(likewise p8.png, p9.png, p10.png: 90, 90, 90)" in said
    usual = np.setdiff1d(IDS, [5, 69, 68, 9, 10])
    assert len(picture_doubts(held, usual)) == 1
