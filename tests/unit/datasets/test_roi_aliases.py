"""Laws of regions under the user's names."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from braindiffuser.datasets import NSD, Arrays
from braindiffuser.datasets.dataset import Dataset
from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.roi_aliases import with_aliases
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError
from braindiffuser.part import known_kinds

N_VOXELS = 12


def recording(rois):
    trials = pd.DataFrame({"subject": "me", "session": 1, "run": 1, "trial": range(4), "stimulus_id": range(4)})
    trials["repeat"], trials["split"] = 0, ["train", "train", "test", "test"]
    masks = {name: np.isin(np.arange(N_VOXELS), voxels) for name, voxels in rois.items()}
    return Recording(
        "me",
        trials,
        Voxels(N_VOXELS),
        masks,
        lambda s: np.zeros((4, N_VOXELS), np.float32),
        "z",
        missing_rois=("V1", "V2"),
    )


ODD = {"FFA1": [0, 1], "FFA2": [1, 2], "OFA": [5], "patch 7": [8, 9], "none": [], "V4": [11]}


@given(st.dictionaries(st.sampled_from("abc"), st.sets(st.sampled_from(sorted(ODD)), min_size=1), min_size=1))
def test_an_alias_is_the_union_of_its_parts_and_all_other_regions_stay(aliases):
    before = recording(ODD)
    after = with_aliases(before, {name: sorted(parts) for name, parts in aliases.items()})
    for name, parts in aliases.items():
        assert set(np.flatnonzero(after.roi_masks[name])) == {voxel for part in parts for voxel in ODD[part]}
    for name, mask in before.roi_masks.items():
        np.testing.assert_array_equal(after.roi_masks[name], mask)
    assert after.fingerprint == before.fingerprint


def test_no_alias_changes_nothing():
    before = recording(ODD)
    assert with_aliases(before, {}) is before


def test_names_may_differ_in_hyphens_and_case_where_one_region_alone_does():
    after = with_aliases(recording(ODD), {"faces": ["FFA-1", "ofa"]})
    assert np.flatnonzero(after.roi_masks["faces"]).tolist() == [0, 1, 5]
    assert after.remarks == ("The region faces is FFA1 + OFA (3 voxels).",)
    twice = recording({"ffa1": [0], "FFA_1": [1]})
    with pytest.raises(RecordingError, match="there is no region 'FFA-1'"):
        with_aliases(twice, {"faces": ["FFA-1"]})
    assert np.flatnonzero(with_aliases(twice, {"faces": ["ffa1"]}).roi_masks["faces"]).tolist() == [0]


def test_regions_that_were_missing_and_have_an_alias_are_there():
    assert with_aliases(recording(ODD), {"V1": ["OFA"]}).missing_rois == ("V2",)


@pytest.mark.parametrize(
    ("aliases", "said"),
    [
        ({"faces": ["FFA1", "FFA2"]}, ["faces is FFA1 + FFA2 (3 voxels); 1 voxels are in more than one of these."]),
        ({"faces": ["none", "OFA"]}, ["faces is none + OFA (1 voxels); no analysed voxel lies in none."]),
        ({"V4": ["OFA"]}, ["V4 is OFA (1 voxels); the recording's own region of that name is not used."]),
        ({"V4": ["V4", "OFA"]}, ["V4 is V4 + OFA (2 voxels)."]),
        ({"face": ["OFA"]}, ["face is OFA (1 voxels); ROI maximisation draws faces, words, places, bodies, V1,"]),
        ({"faces": ["FFA1"], "V1": ["FFA2"]}, ["faces is", "V1 is", "The regions faces and V1 share 1 voxels."]),
    ],
)
def test_what_is_unusual_is_said(aliases, said):
    remarks = with_aliases(recording(ODD), aliases).remarks
    assert len(remarks) == len(said)
    assert all(words in remark for words, remark in zip(said, remarks, strict=True)), remarks


def test_a_replaced_region_is_the_new_one():
    assert np.flatnonzero(with_aliases(recording(ODD), {"V4": ["OFA"]}).roi_masks["V4"]).tolist() == [5]


def test_unknown_names_are_refused_with_those_that_there_are():
    words = (
        r"no region 'FFA9' \(closest: FFA2, FFA1\), which dataset\.roi_aliases\.faces names; this recording has FFA1, FFA2, "
        "OFA, V4, none, patch 7"
    )
    with pytest.raises(RecordingError, match=words):
        with_aliases(recording(ODD), {"faces": ["FFA1", "FFA9"]})
    with pytest.raises(RecordingError, match="this recording has no regions"):
        with_aliases(replace(recording(ODD), roi_masks={}), {"faces": ["FFA1"]})


@pytest.mark.parametrize("kind", known_kinds(Dataset))
def test_every_kind_takes_aliases_which_decide_responses_and_never_what_was_shown(kind):
    part = next(
        value
        for value in vars(import_module(f"braindiffuser.datasets.{kind}")).values()
        if isinstance(value, type) and issubclass(value, Dataset) and value.__module__.endswith(f".{kind}")
    )
    value = (Path("x"),) if kind == "bdata" else "x"
    bare = part.model_construct(**{name: value for name, field in part.model_fields.items() if field.is_required()})
    named = bare.model_copy(update={"roi_aliases": {"faces": ("OFA",)}})
    assert part.model_fields["roi_aliases"].default == {}
    assert "roi_aliases" not in bare.influences_of("betas", "cpu")  # so results of earlier versions stay
    assert named.influences_of("design", "cpu") == bare.influences_of("design", "cpu")
    assert named.influences_of("betas", "cpu")["roi_aliases"] == {"faces": ["OFA"]}


def test_a_part_opens_its_recording_with_aliases(tmp_path):
    np.save(tmp_path / "betas.npy", np.random.default_rng(0).normal(size=(4, 3)))
    np.save(tmp_path / "pictures.npy", np.zeros((4, 16, 16, 3), np.uint8))
    np.savez(tmp_path / "rois.npz", **{"odd name": np.array([True, False, True])})
    (tmp_path / "trials.csv").write_text("stim_file,split\n0,train\n1,train\n2,test\n3,test\n")
    part = Arrays(
        responses=str(tmp_path / "betas.npy"),
        trials=tmp_path / "trials.csv",
        pictures=str(tmp_path / "pictures.npy"),
        rois=tmp_path / "rois.npz",
        unit="z",
        roi_aliases={"V1": "odd name"},
    )
    assert part.recording(Path()).roi_masks["V1"].tolist() == [True, False, True]


@pytest.mark.parametrize("aliases", [{"faces": []}, {"": ["a"]}, {"faces": 3}, {"faces": ""}, {"faces": [""]}])
def test_aliases_without_a_name_are_refused(aliases):
    with pytest.raises(ValidationError, match="roi_aliases"):
        NSD(root="/data/nsd", roi_aliases=aliases)
