from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.voxel_selection import check_choice, select_voxels, selected_fingerprint
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError

ROIS = {"V1": np.array([1, 1, 0, 0, 0], bool), "V2": np.array([0, 0, 1, 0, 0], bool), "faces": np.zeros(5, bool)}
CEILINGS = np.array([10.0, 40.0, 50.0, np.nan, 90.0])


@pytest.mark.parametrize(
    ("rois", "minimum", "expected"),
    [
        ((), 0.0, [0, 1, 2, 3, 4]),
        (("V1", "V2"), 0.0, [0, 1, 2]),
        ((), 40.0, [1, 2, 4]),
        (("V1", "faces"), 20.0, [1]),
    ],
)
def test_any_of_the_regions_with_as_high_a_ceiling(rois, minimum, expected):
    assert np.flatnonzero(select_voxels(ROIS, CEILINGS, rois, minimum)).tolist() == expected


def test_errors_say_what_came_and_what_was_expected():
    with pytest.raises(
        RecordingError, match=r"no region V9, which responses\.rois names; this recording has V1, V2, f"
    ):
        select_voxels(ROIS, CEILINGS, ("V1", "V9"))
    with pytest.raises(RecordingError, match=r"no noise ceiling of training trials is known.*set it to pooled"):
        select_voxels(ROIS, np.full(5, np.nan), (), 10.0)
    with pytest.raises(RecordingError, match="none of 5 voxels lies in faces: choose other regions"):
        select_voxels(ROIS, CEILINGS, ("faces",))
    with pytest.raises(
        RecordingError, match=r"none of 5 voxels lies in the mask with a noise ceiling of 95\.0 % or more"
    ):
        select_voxels(ROIS, CEILINGS, (), 95.0)


def test_fingerprint_tells_choices_apart():
    every, some, others = np.ones(9, bool), np.arange(9) < 4, np.arange(9) > 4
    assert selected_fingerprint("abc", every) == "abc"
    found = {selected_fingerprint(known, chosen) for known in ("abc", "abd") for chosen in (every, some, others)}
    assert len(found) == 6


def test_ceilings_that_are_handed_in_are_known_somewhere_before_voxels_are_chosen_by_them():
    trials = pd.DataFrame({"subject": "me", "session": 1, "run": 1, "trial": range(4), "stimulus_id": range(4)})
    trials = trials.assign(repeat=0, split=["train", "train", "test", "test"])
    none = Recording("me", trials, Voxels(2), {}, lambda session: np.zeros((4, 2), np.float32), "z")
    unknown = replace(none, ncsnr=np.full(2, np.nan))
    with pytest.raises(RecordingError, match="transductive, but the recording brings no noise ceilings"):
        check_choice(none, "transductive", 0.0)
    with pytest.raises(
        RecordingError, match="NaN in every voxel: leave voxel_choice out, which goes by training trials"
    ):
        check_choice(unknown, "transductive", 10.0)
    check_choice(unknown, "transductive", 0.0)
    check_choice(unknown, "inductive", 10.0)
    check_choice(replace(none, ncsnr=np.array([np.nan, 1.0])), "transductive", 10.0)
