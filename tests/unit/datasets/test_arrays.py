"""Laws of recordings in plain files."""

import re
import shutil

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import zarr
from PIL import Image
from pydantic import ValidationError

from braindiffuser.datasets import Arrays
from braindiffuser.datasets.region_files import region_of
from braindiffuser.errors import RecordingError
from braindiffuser.paths import written_in

N_TRIALS, N_VOXELS, N_STIMULI = 40, 24, 12


@pytest.fixture(params=[0, 1])
def lab(request, tmp_path):
    """A folder of plain files, and what it holds."""
    rng = np.random.default_rng(request.param)
    betas = rng.normal(size=(N_TRIALS, N_VOXELS)).astype(np.float32)
    shown = np.concatenate([np.arange(N_STIMULI), rng.integers(0, N_STIMULI, N_TRIALS - N_STIMULI)])
    pictures = rng.integers(0, 256, (N_STIMULI, 16, 16, 3)).astype(np.uint8)
    names = [f"scene_{number:02}.png" for number in range(N_STIMULI)]
    (tmp_path / "pictures").mkdir()
    for name, picture in zip(names, pictures, strict=True):
        Image.fromarray(picture).save(tmp_path / "pictures" / name)
    np.save(tmp_path / "responses.npy", betas)
    table = pd.DataFrame(
        {
            "session": rng.permutation(np.arange(N_TRIALS) % 3 + 1),
            "run": 1,
            "stim_file": [names[number] for number in shown],
            "split": np.where(shown % 4 == 0, "test", "train"),
            "caption": [f"picture {number}" for number in shown],
        }
    )
    table.to_csv(tmp_path / "trials.csv", index=False)
    rois = {"V1": rng.random(N_VOXELS) < 0.3, "none": np.zeros(N_VOXELS, bool)}
    np.savez(tmp_path / "rois.npz", **rois)
    return {
        "folder": tmp_path,
        "betas": betas,
        "shown": shown,
        "pictures": pictures,
        "names": names,
        "table": table,
        "rois": rois,
    }


def config(lab, **changes):
    folder = lab["folder"]
    given = {
        "responses": str(folder / "responses.npy"),
        "unit": "percent",
        "trials": folder / "trials.csv",
        "pictures": str(folder / "pictures"),
        "rois": folder / "rois.npz",
    }
    return Arrays(**given | changes)


def check(recording, lab):
    """Whether the recording is what the folder holds, trial by trial."""
    betas = np.concatenate([own for _, own in recording.sessions()])
    for trial, row in recording.trials.iterrows():
        index = row["beta_index"]
        np.testing.assert_array_equal(betas[trial], lab["betas"][index])
        assert recording.names[row["stimulus_id"]] == lab["table"]["stim_file"][index]
        assert row["session"] == lab["table"]["session"][index]
        assert row["split"] == lab["table"]["split"][index]
    ids = np.array(sorted(recording.names))
    shown = np.array([lab["names"].index(recording.names[number]) for number in ids])
    np.testing.assert_array_equal(np.rint(255 * recording.pictures(ids)), lab["pictures"][shown].transpose(0, 3, 1, 2))


def test_a_recording_is_what_the_files_hold(lab):
    recording = config(lab).open(lab["folder"])
    check(recording, lab)
    assert {name: mask.tolist() for name, mask in recording.roi_masks.items()} == {
        k: v.tolist() for k, v in lab["rois"].items()
    }
    assert recording.unit == "percent"
    assert recording.captions(0) == ("picture 0",)
    assert config(lab).has_captions


@pytest.mark.parametrize("kind", ["npz", "h5", "zarr", "float64", "beta_index"])
def test_betas_come_in_any_array(lab, kind):
    path = lab["folder"] / "betas"
    entry = {
        "npz": "betas.npz",
        "h5": "betas.h5:all/betas",
        "zarr": "betas.zarr",
        "float64": "betas.npy",
        "beta_index": "betas.npy",
    }[kind]
    if kind == "npz":
        np.savez(path.with_suffix(".npz"), betas=lab["betas"])
    elif kind == "h5":
        with h5py.File(path.with_suffix(".h5"), "w") as file:
            file["all/betas"], file["other"] = lab["betas"], 3
    elif kind == "zarr":
        zarr.save_array(path.with_suffix(".zarr"), lab["betas"])
    elif kind == "float64":
        np.save(path.with_suffix(".npy"), lab["betas"].astype(np.float64))
    else:
        order = np.random.default_rng(5).permutation(N_TRIALS + 3)
        moved = np.zeros((N_TRIALS + 3, N_VOXELS), np.float32)
        moved[order[:N_TRIALS]] = lab["betas"]
        np.save(path.with_suffix(".npy"), moved)
        lab["table"].assign(beta_index=order[:N_TRIALS]).to_csv(lab["folder"] / "trials.csv", index=False)
    recording = config(lab, responses=str(lab["folder"] / entry)).open(lab["folder"])
    if kind == "beta_index":
        betas = np.concatenate([own for _, own in recording.sessions()])
        rows = recording.trials["beta_index"].map({int(order[trial]): trial for trial in range(N_TRIALS)})
        np.testing.assert_array_equal(betas, lab["betas"][rows])
    else:
        check(recording, lab)
    assert set(recording.session_files(1)) <= set(config(lab, responses=str(lab["folder"] / entry)).files()["betas"])


@pytest.mark.parametrize("suffix", [".tsv", ".csv"])
def test_tables_of_any_kind(lab, suffix):
    path = lab["folder"] / f"table{suffix}"
    lab["table"].to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    check(config(lab, trials=path).open(lab["folder"]), lab)


def test_pictures_may_be_an_array_whose_rows_the_table_counts(lab):
    np.save(lab["folder"] / "all.npy", lab["pictures"])
    table = lab["table"].assign(stim_file=lab["shown"])
    table.to_csv(lab["folder"] / "rows.csv", index=False)
    recording = config(lab, trials=lab["folder"] / "rows.csv", pictures=str(lab["folder"] / "all.npy")).open(
        lab["folder"]
    )
    ids = np.array(sorted(recording.names))
    rows = [int(recording.names[number]) for number in ids]
    np.testing.assert_array_equal(np.rint(255 * recording.pictures(ids)), lab["pictures"][rows].transpose(0, 3, 1, 2))
    with pytest.raises(
        RecordingError, match=r"names the stimulus 'scene_.*', but .* is an array: write the picture's row"
    ):
        config(lab, pictures=str(lab["folder"] / "all.npy")).open(lab["folder"])


def test_channels_and_time_points_are_columns(lab):
    cube = lab["betas"].reshape(N_TRIALS, 6, 4)
    np.save(lab["folder"] / "meg.npy", cube)
    occipital = np.arange(6) < 2
    np.savez(lab["folder"] / "groups.npz", occipital=occipital, late=np.broadcast_to(np.arange(4) > 1, (6, 4)))
    recording = config(
        lab, responses=str(lab["folder"] / "meg.npy"), rois=lab["folder"] / "groups.npz", unit="raw"
    ).open(lab["folder"])
    check(recording, lab)
    np.testing.assert_array_equal(recording.roi_masks["occipital"], np.repeat(occipital, 4))
    np.testing.assert_array_equal(recording.roi_masks["late"], np.tile(np.arange(4) > 1, 6))


def test_voxels_lie_where_a_mask_or_a_table_says(lab):
    assert config(lab).open(lab["folder"]).voxels.mask is None
    mask = np.zeros((4, 4, 4), np.uint8)
    mask.ravel()[:N_VOXELS] = 1
    nib.save(nib.Nifti1Image(mask, np.diag([2, 2, 2, 1])), lab["folder"] / "mask.nii.gz")
    np.testing.assert_array_equal(
        config(lab, mask=lab["folder"] / "mask.nii.gz").open(lab["folder"]).voxels.mask, mask > 0
    )
    places = np.random.default_rng(0).normal(size=(N_VOXELS, 3))
    table = pd.DataFrame(places, columns=["x", "y", "z"]).assign(V2=np.arange(N_VOXELS) % 2, ncsnr=0.3)
    table.to_csv(lab["folder"] / "voxels.csv", index=False)
    recording = config(lab, voxels=lab["folder"] / "voxels.csv").open(lab["folder"])
    np.testing.assert_allclose(recording.voxels.coordinates, places)
    assert set(recording.roi_masks) == {"V1", "V2", "none"}
    np.testing.assert_array_equal(recording.roi_masks["V2"], np.arange(N_VOXELS) % 2 == 1)


def test_captions_may_have_a_table_of_their_own_or_there_are_none(lab):
    bare = lab["table"].drop(columns="caption")
    bare.to_csv(lab["folder"] / "bare.csv", index=False)
    without = config(lab, trials=lab["folder"] / "bare.csv")
    assert not without.has_captions
    assert without.open(lab["folder"]).captions is None
    said = pd.DataFrame(
        [(name, f"{text} {name}") for name in lab["names"] for text in ("a", "b")], columns=["stim_file", "caption"]
    )
    said.to_csv(lab["folder"] / "captions.csv", index=False)
    own = config(lab, trials=lab["folder"] / "bare.csv", captions=lab["folder"] / "captions.csv")
    assert own.has_captions
    assert own.open(lab["folder"]).captions(3) == (f"a {lab['names'][3]}", f"b {lab['names'][3]}")
    said.iloc[2:].to_csv(lab["folder"] / "captions.csv", index=False)
    with pytest.raises(RecordingError, match=r"1 of 12 stimuli have no caption \(first: 'scene_00.png'\)"):
        own.open(lab["folder"])


def test_files_are_listed_by_role(lab):
    listed = {role: set(named) for role, named in config(lab).files().items()}
    assert listed["design"] == {"trials.csv"}
    assert listed["betas"] == {"responses.npy"}
    assert listed["regions"] == {"rois.npz"}
    assert listed["stimuli"] == set(lab["names"])


def region_in_a_file(lab, kind, values):
    """Write a region, (n_voxels,), as one file; return its entry, and those that it needs beside it."""
    folder, grid = lab["folder"], np.zeros((2, 4, 4), bool)
    grid.ravel()[:N_VOXELS] = True
    volume = np.zeros(grid.shape, np.uint8)
    volume[grid] = values
    nib.save(nib.Nifti1Image(grid.astype(np.uint8), np.eye(4)), folder / "mask.nii")
    beside = {"mask": folder / "mask.nii"} if kind in ("nii.gz", "grid.npy") else {}
    path = folder / f"own.{kind}"
    if kind == "nii.gz":
        nib.save(nib.Nifti1Image(volume, np.eye(4)), path)
    elif kind in ("npy", "grid.npy"):
        np.save(path, volume if beside else values)
    elif kind == "npz":
        np.savez(path, alone=values)
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["a/V1"], file["b"] = values.astype(np.uint8), 3
        return f"{path}:a/V1", beside
    elif kind == "zarr":
        zarr.save_array(path, values)
    else:
        path.write_text("\n".join(str(int(value)) for value in values))
    return str(path), beside


@pytest.mark.parametrize("kind", ["nii.gz", "grid.npy", "npy", "npz", "h5", "zarr", "txt"])
def test_each_region_may_have_a_file(lab, kind):
    values = lab["rois"]["V1"]
    entry, beside = region_in_a_file(lab, kind, values)
    np.save(lab["folder"] / "other.npy", ~values)
    own = config(lab, rois={"V1": entry, "odd name": str(lab["folder"] / "other.npy")}, **beside)
    masks = own.open(lab["folder"]).roi_masks
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "V1": values.tolist(),
        "odd name": (~values).tolist(),
    }
    listed = own.files()["regions"]
    assert "rois/odd name/other.npy" in listed
    assert any(name.startswith("rois/V1/own.") for name in listed)


def test_all_regions_that_cannot_be_read_are_in_one_message(lab):
    folder = lab["folder"]
    np.save(folder / "short.npy", np.ones(5))
    np.save(folder / "good.npy", lab["rois"]["V1"])
    (folder / "words.txt").write_text("1 0 left")
    nib.save(nib.Nifti1Image(np.ones((2, 4, 3), np.uint8), np.eye(4)), folder / "v.nii")
    names = {"a": "gone.npy", "b": "short.npy", "c": "words.txt", "d": "v.nii", "e": "good.npy", "f": "x.png"}
    with pytest.raises(RecordingError) as caught:
        config(lab, rois={name: str(folder / file) for name, file in names.items()}).open(folder)
    said = str(caught.value)
    assert said.startswith("dataset.rois names 5 files that cannot be used: a: ")
    assert "gone.npy is missing; expected 0 or 1 for each column of the betas" in said
    assert "short.npy is float64 (5,); expected 0 or 1 for each of the betas' columns, (24,)" in said
    assert "words.txt holds 'left'; expected 0 and 1 alone" in said
    assert "v.nii is a region, but no mask says where voxels lie" in said
    assert "x.png is no region: expected a file that ends in .nii, .nii.gz, .npy" in said
    assert "good" not in said
    with pytest.raises(RecordingError, match=r"short\.npy is float64 .* \(dataset\.rois\.b\)$"):
        config(lab, rois={"b": str(folder / "short.npy")}).open(folder)
    np.save(folder / "part.npy", np.full(N_VOXELS, 0.5))
    with pytest.raises(
        RecordingError, match=r"part\.npy holds 0\.5, and other such values in \d+ more places; expected 0 and 1 alone"
    ):
        config(lab, rois={"b": str(folder / "part.npy")}).open(folder)


def test_a_region_alone_is_no_file_of_all_regions(lab):
    np.save(lab["folder"] / "V1.npy", lab["rois"]["V1"])
    with pytest.raises(RecordingError, match=r"V1\.npy is no \.npz file; .* such as `rois: \{V1: V1\.npy\}`"):
        config(lab, rois=lab["folder"] / "V1.npy").open(lab["folder"])


def test_files_of_regions_are_written_as_any_path(lab):
    with written_in(lab["folder"] / "mine.yaml"):
        own = config(lab, rois={"V1": "masks/v1.npy", "V2": "h.h5:V2"})
    assert own.rois == {"V1": f"{lab['folder']}/masks/v1.npy", "V2": f"{lab['folder']}/h.h5:V2"}
    assert config(lab, rois={}).open(lab["folder"]).roi_masks == {}
    for wrong in ({"V1": 3}, 3, ["a.npy"], {"": "a.npy"}):
        with pytest.raises(ValidationError, match="rois"):
            config(lab, rois=wrong)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda lab: np.save(lab["folder"] / "responses.npy", lab["betas"][:-1]),
            "has 39 rows, but .* has 40: write one row",
        ),
        (
            lambda lab: np.save(lab["folder"] / "responses.npy", lab["betas"].T),
            r"has 24 rows, but .* has 40 \(its last axis has 40: transpose",
        ),
        (lambda lab: np.save(lab["folder"] / "responses.npy", lab["betas"].astype(complex)), "expected real numbers"),
        (lambda lab: (lab["folder"] / "responses.npy").unlink(), "responses.npy is missing"),
        (
            lambda lab: (lab["folder"] / "trials.csv").unlink(),
            r"trials.csv is missing; .*, such as\nsession,run,stim_file,split",
        ),
        (
            lambda lab: (lab["folder"] / "pictures" / "scene_03.png").unlink(),
            r"shows 'scene_03.png', but .* holds no such picture",
        ),
        (lambda lab: shutil.rmtree(lab["folder"] / "pictures"), "pictures is no folder"),
        (lambda lab: (lab["folder"] / "rois.npz").unlink(), "rois.npz is missing; expected regions"),
        (
            lambda lab: np.savez(lab["folder"] / "rois.npz", V1=np.ones(5)),
            r"region V1 is float64 \(5,\); expected 0 or 1",
        ),
        (lambda lab: np.savez(lab["folder"] / "rois.npz", V1=np.full(N_VOXELS, 0.4)), "region V1 holds 0.4, and"),
    ],
)
def test_files_that_do_not_fit_are_named(lab, damage, words):
    damage(lab)
    with pytest.raises(RecordingError, match=words):
        config(lab).open(lab["folder"])


def test_betas_that_are_not_finite_are_named(lab):
    broken = lab["betas"].copy()
    broken[5, 3] = np.nan
    np.save(lab["folder"] / "responses.npy", broken)
    session = lab["table"]["session"][5]
    words = (
        rf"responses\.npy has NaN or infinite betas in 1 of 24 analysed voxels, in 1 of \d+ trials of session {session} "
        r"\(first: row 5 of the array, which is row 5 of trials\.csv, both counted from 0\)"
    )
    with pytest.raises(RecordingError, match=words):
        list(config(lab).open(lab["folder"]).sessions())


def test_betas_that_are_not_finite_are_named_by_the_rows_of_array_and_table(lab):
    """Where rows of the table stand in another order than the betas, and some of it are catch trials."""
    order = np.random.default_rng(1).permutation(N_TRIALS)
    table = lab["table"].assign(beta_index=order, is_catch=(np.arange(N_TRIALS) < 3).astype(int))
    table.to_csv(lab["folder"] / "trials.csv", index=False)
    broken = lab["betas"].copy()
    broken[order[20], 3] = np.inf
    np.save(lab["folder"] / "responses.npy", broken)
    with pytest.raises(RecordingError, match=rf"row {order[20]} of the array, which is row 20 of trials\.csv"):
        list(config(lab).open(lab["folder"]).sessions())


@pytest.mark.parametrize(
    ("first", "n_more", "said"),
    [
        (0, 0, None),
        (
            0,
            2,
            r"2 of 42 rows of responses\.npy belong to no row of trials\.csv \(the first is row 40, counted from 0\)\.",
        ),
        (
            1,
            1,
            r"1 of 41 rows .*\(the first is row 0, counted from 0\): does beta_index count from 1\? It counts from 0\.",
        ),
    ],
)
def test_rows_that_no_trial_uses_are_said(lab, first, n_more, said):
    index = np.arange(N_TRIALS) + first
    catch = (index < 4).astype(int)  # whose rows are used, though they are left out
    lab["table"].assign(beta_index=index, is_catch=catch).to_csv(lab["folder"] / "trials.csv", index=False)
    np.save(lab["folder"] / "responses.npy", np.resize(lab["betas"], (N_TRIALS + n_more, N_VOXELS)))
    remarks = [remark for remark in config(lab).open(lab["folder"]).remarks if not remark.startswith("Trials left out")]
    assert len(remarks) == (said is not None)
    assert all(re.fullmatch(said, remark) for remark in remarks)


@pytest.mark.parametrize(("index", "n_more"), [(False, 0), (True, 0), (True, 2)])
def test_rows_that_other_subjects_use_are_not_called_unused(lab, index, n_more):
    """One array and one table of three subjects, as docs/datasets/arrays.md has it: rows of no subject alone are said."""
    people = ("ann", "ben", "cleo")
    table = pd.concat([lab["table"].assign(subject=name) for name in people], ignore_index=True)
    if index:
        table = table.assign(beta_index=np.random.default_rng(0).permutation(len(table)))
    table.to_csv(lab["folder"] / "trials.csv", index=False)
    np.save(lab["folder"] / "responses.npy", np.resize(lab["betas"], (3 * N_TRIALS + n_more, N_VOXELS)))
    for name in people:
        remarks = config(lab, subject=name).open(lab["folder"]).remarks
        found = [remark for remark in remarks if "belong to no row" in remark]
        assert [remark.partition(" rows")[0] for remark in found] == [f"2 of {3 * N_TRIALS + 2}"] * bool(n_more)


@pytest.mark.parametrize("shape", [(6, 10), (60,)])
def test_regions_have_the_shape_of_a_trial(shape):
    values = np.zeros(60, bool)
    values[:7] = True
    np.testing.assert_array_equal(region_of(values.reshape(shape), (6, 10), "V1"), values)
    with pytest.raises(RecordingError, match=r"V1 is bool \(10, 6\); expected 0 or 1"):
        region_of(values.reshape(10, 6), (6, 10), "V1")


def test_transposed_betas_are_refused_also_with_an_index(lab):
    lab["table"].assign(beta_index=np.arange(N_TRIALS)).to_csv(lab["folder"] / "trials.csv", index=False)
    np.save(lab["folder"] / "responses.npy", lab["betas"].T)
    with pytest.raises(RecordingError, match="transpose the array, so that a row is a trial"):
        config(lab).open(lab["folder"])


def test_pictures_that_are_read_are_listed_wherever_they_lie(lab, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "scene_00.png"
    (lab["folder"] / "pictures" / "scene_00.png").rename(elsewhere)
    table = lab["table"].replace({"stim_file": {"scene_00.png": str(elsewhere)}})
    table.to_csv(lab["folder"] / "trials.csv", index=False)
    assert elsewhere in config(lab).files()["stimuli"].values()


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("x", "left", "hold other things than numbers"),
        ("ncsnr", -1, r"column ncsnr: voxel 3, counted from 0, has -1; expected ratios"),
        ("ncsnr", 1e30, r"csv, column ncsnr: voxel \d+, counted"),
    ],
)
def test_tables_of_voxels_hold_numbers(lab, column, value, words):
    table = pd.DataFrame({"x": 0.0, "y": 1.0, "z": 2.0, "ncsnr": 0.3}, index=range(N_VOXELS)).astype(object)
    table.loc[3, column] = value
    table.to_csv(lab["folder"] / "voxels.csv", index=False)
    with pytest.raises(RecordingError, match=words):
        config(lab, voxels=lab["folder"] / "voxels.csv").open(lab["folder"])


def test_numbers_of_columns_in_place_of_truth_values_are_known(lab):
    np.savez(lab["folder"] / "rois.npz", V1=np.array([0, 3, 7]))
    with pytest.raises(
        RecordingError, match=r"region V1 is int64 \(3,\); expected 0 or 1 .*: if these are numbers of columns, write"
    ):
        config(lab, rois=lab["folder"] / "rois.npz").open(lab["folder"])


def test_columns_of_voxels_that_are_no_regions_are_said(lab):
    path = lab["folder"] / "voxels.csv"
    places = np.arange(N_VOXELS)
    pd.DataFrame({"V2": places % 2, "size": places * 0.5, "r2": places / N_VOXELS}).to_csv(path, index=False)
    recording = config(lab, voxels=path).open(lab["folder"])
    assert "V2" in recording.roi_masks
    assert not {"size", "r2"} & recording.roi_masks.keys()
    assert "Columns of voxels.csv that are no regions are not read: size." in recording.remarks
    assert "Columns of voxels.csv that hold fractions are not read: r2. A region is 1 or 0" in " ".join(
        recording.remarks
    )


def test_trials_and_sessions_that_are_not_there_are_said(lab):
    table = lab["table"].assign(session=lab["table"]["session"].replace({2: 5}))
    table.loc[3:5, "stim_file"] = None
    table.to_csv(lab["folder"] / "trials.csv", index=False)
    said = " ".join(config(lab).open(lab["folder"]).remarks)
    assert f"Trials left out: 3 of {N_TRIALS}, since 3 show no stimulus" in said
    assert "Sessions 2, 4 are not there" in said
