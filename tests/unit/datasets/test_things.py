"""THINGS-fMRI's tables, written small: `to_hdf` of pandas is written with h5py, as PyTables 3.10 stores it."""

import shutil
from types import SimpleNamespace

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braindiffuser.datasets.noise_ceiling import ncsnr_of, noise_ceiling
from braindiffuser.datasets.pandas_frames import PandasFrame
from braindiffuser.datasets.region_expressions import evaluate
from braindiffuser.datasets.things import Things
from braindiffuser.errors import RecordingError

from .layouts_drawn import AFFINE, assert_equals, assert_files_are_listed, betas_of, draw, save_picture


def write_frame(path, betas, voxel_ids, names=None, pickled=False, parts=1):
    """Write (voxels, trials) as pandas does: a block of fractions (or several), and one of the whole numbers voxel_id."""
    names = [str(i) for i in range(betas.shape[1])] if names is None else names
    with h5py.File(path, "w") as file:
        group = file.create_group("ResponseData")
        group.attrs["pandas_type"] = np.bytes_(b"frame")
        group.attrs["nblocks"] = parts + 1
        blocks = [
            *zip(np.array_split(betas.astype(np.float64), parts, axis=1), np.array_split(names, parts), strict=True),
            (voxel_ids[:, None], np.array(["voxel_id"])),
        ]
        for number, (values, items) in enumerate(blocks):
            group[f"block{number}_values"] = values
            if pickled and items[0] != "voxel_id":
                stored = group.create_dataset(f"block{number}_items", (1,), dtype=h5py.vlen_dtype(np.uint8))
                stored[0] = np.frombuffer(b"cos\nsystem\n(S'touch pickled'\ntR.", np.uint8)
            else:
                group[f"block{number}_items"] = items.astype(np.bytes_)
        group["axis0"] = np.array(["voxel_id", *names], np.bytes_)
        group["axis1"] = np.arange(len(betas))


@pytest.fixture(params=[0, 1, 2])
def layout(request, tmp_path):
    return write(tmp_path, draw(request.param))


@pytest.fixture
def one(tmp_path):
    return write(tmp_path, draw(0))


def write(root, drawn):
    """Write the layout; returns what was written."""
    tables = root / "betas_csv"
    tables.mkdir()
    concepts = [f"thing{i % 4}" for i in range(len(drawn.is_test))]
    names = [f"{concept}_{i:02}s.jpg" for i, concept in enumerate(concepts)]
    for concept, name, picture in zip(concepts, names, drawn.pictures, strict=True):
        save_picture(root / "images" / concept / name, picture)
    save_picture(root / "images" / "never" / "never_01b.jpg", drawn.pictures[0])
    n_voxels = drawn.betas.shape[1]
    write_frame(tables / "sub-01_ResponseData.h5", drawn.betas.T, np.arange(n_voxels))
    shown = drawn.stimulus
    trials = pd.DataFrame(
        {
            "trial_type": np.where(drawn.is_test[shown], "test", "train"),
            "session": drawn.session,
            "run": drawn.run,
            "subject_id": 1,
            "trial_id": np.arange(len(shown)),
            "stimulus": [names[i] for i in shown],
            "concept": [concepts[i] for i in shown],
        }
    )
    places = np.argwhere(drawn.mask)
    rng = np.random.default_rng(len(shown))
    voxels = pd.DataFrame(
        {
            "voxel_id": np.arange(n_voxels),
            "subject_id": 1,
            **dict(zip(("voxel_x", "voxel_y", "voxel_z"), places.T, strict=True)),
            "nc_singletrial": rng.uniform(0, 30, n_voxels),
            "nc_testset": rng.uniform(0, 80, n_voxels),
            "splithalf_corrected": 0.0,
            "prf-rsquared": 0.0,
            **{name: roi.astype(int) for name, roi in drawn.rois.items()},
        }
    )
    written = SimpleNamespace(root=root, drawn=drawn, names=names, trials=trials, voxels=voxels, places=places)
    save(written)
    return written


def save(written):
    folder = written.root / "betas_csv"
    written.trials.to_csv(folder / "sub-01_StimulusMetadata.csv", index=False)
    written.voxels.to_csv(folder / "sub-01_VoxelMetadata.csv", index=False)


def open_(written, **entries):
    return Things(**{"root": written.root, "unit": "z", **entries}).open(written.root)


def responses(written):
    return written.root / "betas_csv" / "sub-01_ResponseData.h5"


def test_what_was_written_is_read(layout):
    recording = open_(layout)
    assert_equals(recording, layout.drawn, layout.names, layout.drawn.rois)
    assert recording.trials["run"].tolist() == layout.drawn.run.tolist()
    assert (recording.unit, recording.subject, recording.captions) == ("z", "sub-01", None)
    np.testing.assert_array_equal(recording.voxels.coordinates, layout.places)
    assert recording.stimuli["concept"].tolist() == [name.split("_")[0] for name in recording.names.values()]
    assert_files_are_listed(Things(root=layout.root, unit="z"))


def test_the_unit_has_no_default(one):
    with pytest.raises(ValueError, match="unit of the betas: percent"):
        Things(root=one.root)


def test_columns_that_are_no_regions_are_left_out_even_if_they_hold_0_and_1(layout):
    assert set(open_(layout).roi_masks) == {"V1", "LOC"}


def test_regions_of_both_hemispheres_are_united_too(layout):
    layout.voxels["lFFA"], layout.voxels["rFFA"], layout.voxels["lonely"] = layout.voxels["V1"], layout.voxels["LOC"], 0
    save(layout)
    masks, rois = open_(layout).roi_masks, layout.drawn.rois
    np.testing.assert_array_equal(masks["FFA"], rois["V1"] | rois["LOC"])
    np.testing.assert_array_equal(masks["lFFA"], rois["V1"])
    assert "onely" not in masks


def test_ceilings_of_the_test_set_come_back_in_percent(layout):
    recording = open_(layout)
    n_repeats = recording.trials[recording.trials["split"] == "test"].groupby("stimulus_id").size().to_numpy()
    np.testing.assert_allclose(noise_ceiling(recording.ncsnr, n_repeats), layout.voxels["nc_testset"])
    assert "Noise ceilings are the recording's own (nc_testset)." in recording.remarks


def test_ceilings_of_single_trials_stand_in_for_those_of_the_test_set(layout):
    del layout.voxels["nc_testset"]
    save(layout)
    np.testing.assert_allclose(noise_ceiling(open_(layout).ncsnr, 1), layout.voxels["nc_singletrial"])
    del layout.voxels["nc_singletrial"]
    save(layout)
    assert open_(layout).ncsnr is None


@pytest.mark.parametrize("n_repeats", [1, 12, np.array([3, 4, 4])])
def test_ncsnr_and_ceiling_are_inverse(n_repeats):
    percent = np.array([0.0, 0.5, 50.0, 99.0, 100.0, np.nan])
    np.testing.assert_allclose(noise_ceiling(ncsnr_of(percent, n_repeats), n_repeats), percent)


@pytest.mark.parametrize("value", [-1.0, 120.0])
def test_a_ceiling_that_is_no_percent_is_refused(one, value):
    one.voxels.loc[3, "nc_testset"] = value
    save(one)
    with pytest.raises(RecordingError, match=r"column nc_testset lies between .* expected percent, 0 to 100"):
        open_(one)


def test_ceilings_that_may_be_fractions_are_doubted_aloud(one):
    one.voxels["nc_testset"] /= 100
    save(one)
    assert any("between 0 and 1 and are read as percent" in remark for remark in open_(one).remarks)


def test_voxels_go_by_their_number_not_their_row(layout):
    layout.voxels = layout.voxels.sample(frac=1, random_state=1)
    save(layout)
    recording = open_(layout)
    assert_equals(recording, layout.drawn, layout.names, layout.drawn.rois)
    np.testing.assert_array_equal(recording.voxels.coordinates, layout.places)


def test_trials_go_by_the_name_of_their_column_not_its_place(layout):
    order = np.random.default_rng(0).permutation(len(layout.trials))
    betas = layout.drawn.betas.T
    write_frame(responses(layout), betas[:, order], np.arange(len(betas)), names=[str(i) for i in order], parts=3)
    assert_equals(open_(layout), layout.drawn, layout.names, layout.drawn.rois)


def test_pickled_names_of_columns_are_not_read_and_that_is_said(layout, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    betas = layout.drawn.betas.T
    write_frame(responses(layout), betas, np.arange(len(betas)), pickled=True)
    recording = open_(layout)
    np.testing.assert_array_equal(betas_of(recording), layout.drawn.betas)
    assert any("stored as a pickle, which is not read" in remark for remark in recording.remarks)
    assert not (tmp_path / "pickled").exists()


def test_a_part_of_the_table_is_held_at_a_time(layout, monkeypatch):
    monkeypatch.setattr("braindiffuser.datasets.pandas_frames.BYTES_PER_READ", 200)
    np.testing.assert_array_equal(betas_of(open_(layout)), layout.drawn.betas)


@pytest.mark.parametrize("kind", ["empty", "table", "two", "text", "cut"])
def test_a_file_that_is_no_such_table_is_named(one, kind):
    path = responses(one)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:500])
    else:
        with h5py.File(path, "a" if kind in ("two", "text") else "w") as file:
            if kind == "table":
                file["ResponseData/table"] = np.zeros(3)
            if kind == "two":
                file["Other/block0_values"] = np.zeros((3, 3))
            if kind == "text":
                del file["ResponseData/block1_values"]
                file["ResponseData/block1_values"] = np.array([[b"a"]])
    with pytest.raises(RecordingError, match=r"sub-01_ResponseData\.h5 (holds|is damaged)"):
        PandasFrame.open(path)


@pytest.mark.parametrize("column", ["trial_type", "session", "run", "stimulus"])
def test_a_missing_column_of_trials_is_named_with_an_example(one, column):
    del one.trials[column]
    save(one)
    with pytest.raises(RecordingError, match=rf"lacks the column {column};[\s\S]*train,1,1,1,0,dog_01b\.jpg,dog"):
        open_(one)


def test_a_missing_number_of_voxels_is_named_with_an_example(one):
    del one.voxels["voxel_id"]
    save(one)
    with pytest.raises(RecordingError, match=r"lacks the column voxel_id;[\s\S]*0,12,40,31,4.2,22.5,1"):
        open_(one)


@pytest.mark.parametrize("name", ["ResponseData.h5", "StimulusMetadata.csv", "VoxelMetadata.csv"])
def test_a_missing_file_is_named(one, name):
    next(one.root.rglob(f"sub-01_{name}")).unlink()
    with pytest.raises(RecordingError, match=f"^sub-01_{name} is missing below"):
        open_(one)


def test_all_missing_files_are_in_one_message(one):
    responses(one).unlink()
    shutil.rmtree(one.root / "images")
    with pytest.raises(
        RecordingError, match=r"lacks sub-01_ResponseData\.h5 \(betas\), images \(folder .*, gone\.csv \(cap"
    ):
        open_(one, captions=one.root / "gone.csv")


def test_another_subject_is_not_there(one):
    with pytest.raises(
        RecordingError, match=r"holds files of sub-01, and lacks sub-02_ResponseData\.h5 .*: choose dataset"
    ):
        open_(one, subject=2)


def test_columns_that_may_be_left_out(layout):
    layout.trials = layout.trials.drop(columns=["trial_id", "concept", "subject_id"])
    layout.voxels = layout.voxels[["voxel_id"]]
    save(layout)
    recording = open_(layout)
    assert_equals(recording, layout.drawn, layout.names, {})
    assert recording.voxels.coordinates is None
    assert recording.roi_masks == {}


@pytest.mark.parametrize("change", ["fewer", "other", "twice"])
def test_trials_and_columns_that_do_not_fit_are_refused(one, change):
    if change == "fewer":
        one.trials = one.trials.iloc[:-1]
    else:
        one.trials.loc[0, "trial_id"] = {"other": 999, "twice": 1}[change]
    save(one)
    with pytest.raises(RecordingError, match=r"has columns of \d+ trials|holds a trial_id twice"):
        open_(one)


def test_voxels_that_do_not_fit_are_refused(one):
    one.voxels.loc[0, "voxel_id"] = 77
    save(one)
    with pytest.raises(RecordingError, match="expected the same voxel_id in both"):
        open_(one)


def test_catch_trials_are_left_out(layout):
    layout.trials.loc[2, ["trial_type", "stimulus"]] = "catch", "blank.jpg"
    save(layout)
    np.testing.assert_array_equal(betas_of(open_(layout)), np.delete(layout.drawn.betas, 2, axis=0))


def test_another_type_of_trial_is_refused(one):
    one.trials.loc[0, "trial_type"] = "rest"
    save(one)
    with pytest.raises(RecordingError, match="column split holds 'rest'; expected train, test"):
        open_(one)


def test_regions_choose_the_voxels_that_are_read(layout):
    recording, chosen = open_(layout, regions=["V1"]), layout.drawn.rois["V1"]
    np.testing.assert_array_equal(betas_of(recording), layout.drawn.betas[:, chosen])
    np.testing.assert_array_equal(recording.voxels.coordinates, layout.places[chosen])
    assert recording.ncsnr.shape == (chosen.sum(),)


def test_a_brain_mask_gives_the_volume(layout):
    path = layout.root / "brainmask.nii.gz"
    nib.save(nib.Nifti1Image(layout.drawn.mask.astype(np.uint8), AFFINE), path)
    recording = open_(layout, mask=path)
    np.testing.assert_array_equal(recording.voxels.mask, layout.drawn.mask)
    np.testing.assert_array_equal(recording.voxels.affine, AFFINE)
    assert Things(root=layout.root, unit="z", mask=path).files()["regions"].keys() >= {"brainmask.nii.gz"}
    nib.save(nib.Nifti1Image(layout.drawn.mask[::-1].astype(np.uint8), AFFINE), path)
    with pytest.raises(RecordingError, match=r"brainmask\.nii\.gz .* must be the same in the same order"):
        open_(layout, mask=path)


def test_pictures_may_lie_elsewhere_in_one_folder(layout):
    for path in list((layout.root / "images").rglob("*.jpg")):
        path.rename(layout.root / path.name)
    with pytest.raises(RecordingError, match=r"StimulusMetadata\.csv: row \d+, counted from 0, shows 'thing"):
        open_(layout)
    assert_equals(open_(layout, pictures=layout.root), layout.drawn, layout.names, {})


def test_a_missing_folder_of_pictures_is_named_with_an_example(one):
    with pytest.raises(RecordingError, match=r"images2 is missing; .* such as images/dog/dog_01b\.jpg"):
        open_(one, pictures=one.root / "images2")


def test_equal_names_in_two_folders_are_told_apart_by_their_concept(layout):
    path = next((layout.root / "images").rglob("thing0_00s.jpg"))
    save_picture(layout.root / "images" / "thumbnails" / path.name, layout.drawn.pictures[0])
    assert_equals(open_(layout), layout.drawn, layout.names, {})


def test_captions_may_come_in_a_table(layout):
    path = layout.root / "captions.csv"
    path.write_text("stim_file,caption\n" + "".join(f"{name},about {name}\n" for name in layout.names))
    recording = open_(layout, captions=path)
    assert [recording.captions(number) for number in recording.names] == [
        (f"about {name}",) for name in recording.names.values()
    ]


def test_pictures_that_all_subjects_saw_are_told_by_their_tables(layout):
    part = Things(root=layout.root, unit="z")
    with pytest.raises(RecordingError, match="holds no table of trials of another subject"):
        part.open(layout.root).shared()
    assert part.files_of_others() == {}
    for number, names in ((2, layout.names[1:]), (3, layout.names[:-1])):
        rows = pd.DataFrame({"trial_type": "train", "session": 1, "run": 1, "stimulus": [*names, None]})
        rows.to_csv(layout.root / "betas_csv" / f"sub-{number:02}_StimulusMetadata.csv", index=False)
    recording = part.open(layout.root)
    ids, how = recording.shared()
    assert {recording.names[number] for number in ids.tolist()} == set(layout.names[1:-1])
    assert "(sub-02, sub-03)" in how
    assert [path.name for path in part.files_of_others().values()] == [
        "sub-02_StimulusMetadata.csv",
        "sub-03_StimulusMetadata.csv",
    ]


@pytest.mark.parametrize("as_words", [False, True])
def test_regions_of_fractions_are_refused(one, as_words):
    fractions = one.voxels["V1"] * 0.7
    one.voxels["V1"] = fractions.astype(object).where(fractions > 0, "false") if as_words else fractions
    save(one)
    with pytest.raises(RecordingError, match=r"VoxelMetadata\.csv: column V1 holds 0\.7"):
        open_(one)


def test_sessions_that_are_not_there_are_said(one):
    one.trials["session"] = one.trials["session"].replace({2: 4, 3: 5})
    save(one)
    assert "Sessions 2–3 are not there: see that the recording is complete." in open_(one).remarks


def test_columns_of_receptive_fields_are_maps_that_regions_compare(layout):
    ecc = np.where(np.arange(len(layout.voxels)) % 5 == 0, np.nan, np.arange(len(layout.voxels)) / 10)
    layout.voxels["prf-eccentricity"] = ecc
    save(layout)
    recording = open_(layout)
    assert set(recording.voxel_maps) == {"ecc", "R2"}
    assert "ecc" not in recording.roi_masks
    np.testing.assert_array_equal(evaluate("V1 & ecc<1", recording.known_regions), layout.drawn.rois["V1"] & (ecc < 1))
    chosen = open_(layout, regions=["V1 | ecc<1"])
    assert chosen.n_voxels == (layout.drawn.rois["V1"] | (ecc < 1)).sum()
    np.testing.assert_array_equal(chosen.voxel_maps["ecc"], ecc[layout.drawn.rois["V1"] | (ecc < 1)])
