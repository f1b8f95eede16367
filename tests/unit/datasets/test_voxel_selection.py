from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.voxel_selection import (
    check_choice,
    keep_regions,
    select_voxels,
    selected_fingerprint,
    selection_ceilings,
)
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
        RecordingError,
        match=r"no region 'V9' \(closest: V[0-9, V]*\), which responses\.rois names; this recording has V1, V2, f",
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


@pytest.fixture
def recording():
    """Four trials of two voxels, without noise ceilings."""
    trials = pd.DataFrame({"subject": "me", "session": 1, "run": 1, "trial": range(4), "stimulus_id": range(4)})
    trials = trials.assign(repeat=0, split=["train", "train", "test", "test"])
    return Recording("me", trials, Voxels(2), {}, lambda session: np.zeros((4, 2), np.float32), "z")


@pytest.mark.parametrize("own", [None, [2.0, 0.5]])
@pytest.mark.parametrize("n_repeats", [[1, 1], [3, 3], [1, 4]])
def test_ceilings_are_those_of_the_choice_for_responses_of_so_many_trials(recording, own, n_repeats):
    """100 · ncsnr² / (ncsnr² + 1/n), with 1/n averaged over responses, of training trials alone unless transductive."""
    recording = replace(recording, ncsnr=None if own is None else np.array(own))
    training, repeats = np.array([1.0, 0.25]), np.array(n_repeats)

    def expected(ncsnr):
        return 100 * ncsnr**2 / (ncsnr**2 + (1 / repeats).mean())

    found, said = selection_ceilings(recording, training, repeats, "inductive")
    np.testing.assert_allclose(found, expected(training))
    assert "training trials alone" in said
    unknown, _ = selection_ceilings(recording, None, repeats, "inductive")
    assert np.isnan(unknown).all()
    assert unknown.shape == (2,)
    if own is None:
        with pytest.raises(RecordingError, match="transductive, but the recording brings no noise ceilings"):
            selection_ceilings(recording, training, repeats, "transductive")
        return
    found, said = selection_ceilings(recording, training, repeats, "transductive")
    np.testing.assert_allclose(found, expected(np.array(own)))
    assert "test trials may have entered" in said


def test_ceilings_that_are_handed_in_are_known_somewhere_before_voxels_are_chosen_by_them(recording):
    unknown = replace(recording, ncsnr=np.full(2, np.nan))
    with pytest.raises(RecordingError, match="transductive, but the recording brings no noise ceilings"):
        check_choice(recording, "transductive", 0.0)
    with pytest.raises(
        RecordingError, match="NaN in every voxel: leave voxel_choice out, which goes by training trials"
    ):
        check_choice(unknown, "transductive", 10.0)
    check_choice(unknown, "transductive", 0.0)
    check_choice(unknown, "inductive", 10.0)
    check_choice(replace(recording, ncsnr=np.array([np.nan, 1.0])), "transductive", 10.0)


def test_names_may_be_spelled_otherwise_and_united():
    rois = {**ROIS, "FFA-1": np.array([0, 0, 0, 0, 1], bool)}
    for written in (("ffa_1", "v2"), ("FFA1 | V2",)):
        assert np.flatnonzero(select_voxels(rois, CEILINGS, written)).tolist() == [2, 4]
    voxels, kept, chosen = keep_regions(Voxels(5), rois, ["v1 | ffa1"])
    assert voxels.n == 3
    assert np.flatnonzero(chosen).tolist() == [0, 1, 4]
    assert kept["FFA-1"].tolist() == [False, False, True]
