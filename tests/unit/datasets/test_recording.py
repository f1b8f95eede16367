from dataclasses import replace

import numpy as np
import pytest

from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.responses import average_responses
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError
from braindiffuser.splits.split import with_split


@pytest.fixture
def recording(trials_factory):
    trials = trials_factory(1)
    mask = np.zeros((3, 2, 2), bool)
    mask[[0, 0, 1, 2, 2], [0, 1, 0, 1, 0], [1, 0, 0, 1, 0]] = True
    return Recording(
        "subj01",
        trials.table,
        Voxels.in_volume(mask, np.eye(4)),
        {"V1": np.ones(5, bool)},
        trials.betas.__getitem__,
        "percent",
    )


def test_sessions_come_in_order_and_cover_all_trials(recording):
    assert [session for session, _ in recording.sessions()] == [1, 2, 3]
    assert sum(len(betas) for _, betas in recording.sessions()) == len(recording.trials)


def with_a_nan(betas):
    changed = betas.copy()
    changed[2, 3] = np.nan
    return changed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda betas: betas[:-1], r"betas of {what} came as float32 of shape .*, expected real numbers of shape"),
        (with_a_nan, r"{what} has NaN or infinite betas in 1 of 5 analysed voxels.*first: trial 2"),
        (lambda betas: betas.astype(np.float64) + 1e39, r"{what} has NaN or infinite betas in 5 of 5"),
        (lambda betas: betas.astype(np.complex64), r"betas of {what} came as complex64"),
        (lambda betas: betas > 0, r"betas of {what} came as bool"),
        (lambda betas: betas.astype(np.uint8), r"betas of {what} came as uint8, which holds nothing below 0"),
        (lambda betas: [*betas.tolist()[:1], [1.0]], r"betas of {what} came as no array"),
    ],
)
def test_betas_of_any_reader_are_checked_and_named(recording, change, words):
    own = replace(
        recording,
        read_session=lambda session: change(recording.read_session(session)),
        session_files=lambda session: tuple(f"{session}-{letter}.npy" for letter in "abcd"),
    )
    what = r"session 2 of subj01 \(2-a\.npy, 2-b\.npy, 2-c\.npy …\)"
    with pytest.raises(RecordingError, match=words.format(what=what)):
        own.betas_of(2)
    with pytest.raises(RecordingError, match=r"session 1 of subj01 \(1-a"):
        average_responses(own)


def test_betas_of_other_real_types_become_float32(recording):
    own = replace(recording, read_session=lambda session: np.rint(recording.read_session(session) * 9).astype(np.int16))
    for session, betas in own.sessions():
        assert betas.dtype == np.float32
        np.testing.assert_array_equal(betas, own.read_session(session))
    assert np.isfinite(average_responses(own).train).all()


def test_a_region_of_another_length_is_refused(recording):
    with pytest.raises(RecordingError, match=r"ROI V2 has shape \(4,\); expected \(5,\)"):
        replace(recording, roi_masks={"V2": np.ones(4, bool)})


def test_an_empty_mask_is_refused():
    with pytest.raises(RecordingError, match="analysis mask is empty"):
        Voxels.in_volume(np.zeros((3, 2, 2), bool))


def test_a_table_without_a_column_is_refused(recording):
    with pytest.raises(RecordingError, match=r"lacks the columns \['split'\]"):
        replace(recording, trials=recording.trials.drop(columns="split"))


def test_a_table_out_of_order_is_refused(recording):
    with pytest.raises(RecordingError, match="not in order of sessions"):
        replace(recording, trials=recording.trials.iloc[::-1])


def test_leaking_stimuli_are_refused(recording):
    leaking = recording.trials.copy()
    leaking.loc[leaking.index[leaking["stimulus_id"] == 1][0], "split"] = "test"
    with pytest.raises(RecordingError, match="1 stimuli have more than one split"):
        replace(recording, trials=leaking)


def test_fingerprint_tells_voxels_grids_and_subjects_apart(recording):
    assert replace(recording, roi_masks={}).fingerprint == recording.fingerprint
    mask, affine = recording.voxels.mask.copy(), recording.voxels.affine
    mask[tuple(np.argwhere(mask)[0])] = False
    others = [
        replace(recording, subject="subj02"),
        replace(recording, voxels=Voxels.in_volume(mask, affine), roi_masks={}),
        replace(recording, voxels=Voxels.in_volume(recording.voxels.mask, affine + 1)),
        replace(recording, voxels=Voxels(5)),
        replace(recording, voxels=Voxels(5, coordinates=np.zeros((5, 3)))),
        replace(recording, voxels=Voxels(5, coordinates=np.ones((5, 3)))),
    ]
    assert len({recording.fingerprint, *(other.fingerprint for other in others)}) == 7


def test_betas_of_one_session_are_those_of_the_sessions(recording):
    for session, betas in recording.sessions():
        np.testing.assert_array_equal(recording.betas_of(session), betas)


def test_test_sets_are_the_test_stimuli_each_in_one(recording):
    ids = np.unique(recording.trials.loc[recording.trials["split"] == "test", "stimulus_id"])
    assert list(recording.test_sets) == ["test"]
    np.testing.assert_array_equal(recording.test_sets["test"], ids)
    apart = replace(recording, further_test_sets={"held_out": ids[[2, 0]], "early": ids[1:2], "unseen": np.array([99])})
    assert {name: found.tolist() for name, found in apart.test_sets.items()} == {
        "test": ids[3:].tolist(),
        "held_out": ids[[0, 2]].tolist(),
        "early": ids[1:2].tolist(),
    }


def test_a_set_without_stimuli_is_no_set(recording):
    ids = recording.test_sets["test"]
    assert list(replace(recording, further_test_sets={"held_out": ids}).test_sets) == ["held_out"]
    training = np.unique(recording.trials.loc[recording.trials["split"] == "train", "stimulus_id"])
    assert list(replace(recording, further_test_sets={"held_out": training}).test_sets) == ["test"]
    untested = recording.trials.assign(split="train")
    assert replace(recording, trials=untested).test_sets == {}


def test_pictures_and_captions_are_optional(recording):
    assert recording.captions is None
    assert recording.session_files(1) == ()
    assert not recording.simulated
    with pytest.raises(RecordingError, match="opened without its pictures"):
        recording.pictures(np.array([0]))


def test_stimuli_of_further_test_sets_never_train_whatever_the_split(recording):
    ids = np.unique(recording.trials["stimulus_id"])
    apart = replace(recording, further_test_sets={"held_out": ids[:2]})
    divided = with_split(apart, ids[2:4].tolist(), "")
    assert {name: found.tolist() for name, found in divided.test_sets.items()} == {
        "test": ids[2:4].tolist(),
        "held_out": ids[:2].tolist(),
    }
    without = with_split(apart, ids[2:4].tolist(), "", out=ids[:1].tolist())
    assert without.test_sets["held_out"].tolist() == ids[:2].tolist()


def test_sessions_apart_hold_further_test_sets_alone(recording):
    ids = recording.trials_of(3)["stimulus_id"].unique()
    split = recording.trials["split"].where(~recording.trials["stimulus_id"].isin(ids), "test")
    further = {"first": np.sort(ids[:2]), "others": np.sort(ids[2:])}
    apart = replace(recording, trials=recording.trials.assign(split=split), further_test_sets=further, apart=(3,))
    assert apart.stimuli_apart == sorted(ids.tolist())
    assert apart.sets_apart == ["first", "others"]
    assert recording.sets_apart == replace(apart, apart=()).sets_apart == []
    imagined = replace(apart, apart=(), imagined=("first",))
    assert imagined.stimuli_apart == further["first"].tolist()
    assert imagined.sets_apart == ["first"]
    with pytest.raises(RecordingError, match="sessions 3 are apart, but show stimuli of no further test set"):
        replace(apart, further_test_sets={"first": further["first"]})
