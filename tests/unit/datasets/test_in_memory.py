"""Laws of recordings that are put together in Python."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import zarr
from PIL import Image

import braindiffuser
from braindiffuser.datasets import Arrays
from braindiffuser.errors import RecordingError

GRID, AFFINE = (5, 4, 3), np.array([[2.0, 0, 0, -7], [0, 2, 0, -6], [0, 0, 2.5, -5], [0, 0, 0, 1]])
N_TRIALS, N_STIMULI = 30, 9


class FakeMasker:
    """What a fitted NiftiMasker of nilearn has."""

    def __init__(self, mask, **settings):
        self.mask_img_ = mask
        vars(self).update(settings)

    def transform(self, image):
        return np.asanyarray(image.dataobj)[np.asanyarray(self.mask_img_.dataobj) > 0].T


@pytest.fixture(params=[0, 1])
def held(request, tmp_path):
    """Betas, trials and pictures as arrays, as images, and as files."""
    rng = np.random.default_rng(request.param)
    mask = rng.random(GRID) < 0.5
    betas = rng.normal(size=(N_TRIALS, mask.sum())).astype(np.float32)
    volumes = np.full((*GRID, N_TRIALS), np.nan, np.float32)
    volumes[mask] = betas.T
    shown = np.concatenate([np.arange(N_STIMULI), rng.integers(0, N_STIMULI, N_TRIALS - N_STIMULI)])
    names = [f"scene_{number:02}.png" for number in range(N_STIMULI)]
    pictures = rng.integers(0, 256, (N_STIMULI, 16, 16, 3)).astype(np.uint8)
    (tmp_path / "pictures").mkdir()
    for name, picture in zip(names, pictures, strict=True):
        Image.fromarray(picture).save(tmp_path / "pictures" / name)
    labels = rng.integers(0, 4, GRID).astype(np.int16)
    table = pd.DataFrame(
        {
            "session": rng.permutation(np.arange(N_TRIALS) % 3 + 1),
            "stim_file": [names[number] for number in shown],
            "split": np.where(shown % 4 == 0, "test", "train"),
            "caption": [f"picture {number}" for number in shown],
        }
    )
    held = {
        "folder": tmp_path,
        "betas": betas,
        "image": nib.Nifti1Image(volumes, AFFINE),
        "mask": nib.Nifti1Image(mask.astype(np.uint8), AFFINE),
        "labels": nib.Nifti1Image(labels, AFFINE),
        "inside": labels[mask],
        "table": table,
        "pictures": pictures,
        "names": names,
    }
    for name in ("image", "mask", "labels"):
        nib.save(held[name], tmp_path / f"{name}.nii.gz")
    np.save(tmp_path / "responses.npy", betas)
    zarr.save_array(tmp_path / "responses.zarr", betas)
    table.to_csv(tmp_path / "trials.csv", index=False)
    return held


def build(held, responses=None, trials=None, **given):
    given = {"unit": "z", "pictures": held["folder"] / "pictures"} | given
    chosen = held["betas"] if responses is None else responses
    return braindiffuser.recording(chosen, held["table"] if trials is None else trials, **given)


def same(one, other):
    """Whether two recordings hold the same: trials, betas, voxels, regions, stimuli, captions."""
    pd.testing.assert_frame_equal(one.trials, other.trials, check_dtype=False)
    for (_, betas), (_, others) in zip(one.sessions(), other.sessions(), strict=True):
        np.testing.assert_array_equal(betas, others)
    assert one.fingerprint == other.fingerprint
    assert {k: v.tolist() for k, v in one.roi_masks.items()} == {k: v.tolist() for k, v in other.roi_masks.items()}
    assert one.names == other.names
    ids = np.array(sorted(one.names))
    np.testing.assert_array_equal(one.pictures(ids), other.pictures(ids))
    assert [one.captions(number) for number in ids] == [other.captions(number) for number in ids]
    return True


def test_what_is_held_is_what_files_hold(held):
    folder = held["folder"]
    rois = {"V1": held["inside"] == 1}
    np.savez(folder / "rois.npz", **rois)
    config = Arrays(
        responses=str(folder / "responses.npy"),
        unit="z",
        trials=folder / "trials.csv",
        pictures=str(folder / "pictures"),
        mask=folder / "mask.nii.gz",
        rois=folder / "rois.npz",
    )
    assert same(build(held, mask=held["mask"], rois=rois), config.open(folder))


@pytest.mark.parametrize("kind", ["npy", "zarr", "nifti", "image", "opened", "volumes", "masker", "array and masker"])
def test_betas_come_in_any_form(held, kind):
    folder, expected = held["folder"], build(held, mask=held["mask"])
    if "masker" in kind:
        responses = held["image"] if kind == "masker" else held["betas"]
        assert same(build(held, responses, masker=FakeMasker(held["mask"])), expected)
        return
    volumes = [nib.Nifti1Image(volume, AFFINE) for volume in np.moveaxis(held["image"].get_fdata(), 3, 0)]
    responses = {
        "npy": folder / "responses.npy",
        "zarr": str(folder / "responses.zarr"),
        "nifti": folder / "image.nii.gz",
        "image": held["image"],
        "opened": nib.load(folder / "image.nii.gz"),
        "volumes": volumes,
    }[kind]
    mask = folder / "mask.nii.gz" if kind == "nifti" else held["mask"]
    trials = folder / "trials.csv" if kind == "npy" else None
    assert same(build(held, responses, trials, mask=mask), expected)


def test_regions_come_in_any_form(held):
    folder, inside = held["folder"], held["inside"]
    volume = np.asanyarray(held["labels"].dataobj) == 2
    as_image = nib.Nifti1Image(volume.astype(np.uint8), AFFINE)
    nib.save(as_image, folder / "region.nii.gz")
    given = {
        "column": inside == 2,
        "volume": volume,
        "image": as_image,
        "path": folder / "region.nii.gz",
    }
    found = build(held, mask=held["mask"], rois=given).roi_masks
    assert set(found) == set(given)
    for mask in found.values():
        np.testing.assert_array_equal(mask, inside == 2)
    table = pd.DataFrame({"index": [0, 1, 2, 3], "name": ["none", "V1", "V2", "V1"]})
    atlas = build(held, mask=held["mask"], rois=(folder / "labels.nii.gz", table)).roi_masks
    np.testing.assert_array_equal(atlas["V1"], np.isin(inside, [1, 3]))
    np.testing.assert_array_equal(atlas["V2"], inside == 2)
    assert set(atlas) == {"V1", "V2"}


def test_channels_and_time_points_are_columns(held):
    cube = np.random.default_rng(0).normal(size=(N_TRIALS, 6, 4)).astype(np.float32)
    recording = build(held, cube, rois={"occipital": np.arange(6) < 2})
    np.testing.assert_array_equal(recording.roi_masks["occipital"], np.repeat(np.arange(6) < 2, 4))
    rows = recording.trials["beta_index"].to_numpy()
    np.testing.assert_array_equal(
        np.concatenate([b for _, b in recording.sessions()]), cube.reshape(N_TRIALS, 24)[rows]
    )


def test_pictures_come_in_any_form(held):
    expected = build(held)
    ids = np.array(sorted(expected.names))
    paths = [held["folder"] / "pictures" / name for name in held["names"]]
    rows = held["table"].assign(stim_file=[held["names"].index(name) for name in held["table"]["stim_file"]])
    for recording in (
        build(held, pictures=paths[::-1]),
        build(held, pictures=[str(path) for path in paths], trials=rows),
        build(held, pictures=held["pictures"], trials=rows),
    ):
        np.testing.assert_array_equal(recording.pictures(ids), expected.pictures(ids))
    with pytest.raises(RecordingError, match="opened without its pictures"):
        build(held, pictures=None).pictures(ids)


def test_captions_come_in_any_form(held):
    bare = held["table"].drop(columns="caption")
    assert build(held, trials=bare).captions is None
    said = {name: (f"a {name}", "the same", "the same") for name in held["names"]}
    rows = pd.DataFrame([(name, text) for name in said for text in said[name]], columns=["stim_file", "caption"])
    rows.to_csv(held["folder"] / "captions.csv", index=False)
    for captions in (said, rows, held["folder"] / "captions.csv"):
        recording = build(held, trials=bare, captions=captions)
        assert {recording.names[n]: recording.captions(n) for n in recording.names} == said


def test_a_split_is_given_by_names_or_by_trials(held):
    bare = held["table"].drop(columns="split")
    assert not build(held, trials=bare).has_split
    names = sorted(set(held["table"].loc[held["table"]["split"] == "test", "stim_file"]))
    expected = build(held).trials["split"].tolist()
    for split in (names, held["table"]["split"].tolist()):
        assert build(held, trials=bare, split=split).trials["split"].tolist() == expected
    assert set(build(held, split=names[:1]).test_sets["test"]) == {0}


@pytest.mark.parametrize(
    "setting", [{"standardize": "zscore_sample"}, {"detrend": True}, {"high_variance_confounds": True}]
)
def test_a_masker_that_mixes_trials_is_refused_unless_asked_for(held, setting):
    plain = FakeMasker(held["mask"], standardize=False, detrend=False, high_pass=None)
    assert build(held, held["image"], masker=plain).remarks == ()
    mixing = FakeMasker(held["mask"], **setting)
    with pytest.raises(RecordingError, match=rf"test trials included \({next(iter(setting))}\): switch that off"):
        build(held, held["image"], masker=mixing)
    (remark,) = build(held, held["image"], masker=mixing, transductive=True).remarks
    assert next(iter(setting)) in remark
    assert "transductive" in remark


def shifted(held):
    moved = AFFINE.copy()
    moved[0, 3] += 4
    return nib.Nifti1Image(np.asanyarray(held["mask"].dataobj), moved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda held: {"responses": held["betas"][1:]}, r"responses has 29 rows, but trials has 30: write one row"),
        (lambda held: {"responses": held["image"]}, "responses are volumes, but no voxels are chosen: give a mask"),
        (lambda held: {"responses": held["mask"], "mask": held["mask"]}, r"expected \(x, y, z, trial\)"),
        (lambda held: {"responses": held["image"], "mask": shifted(held)}, "responses is shifted against .* mask mask by"),
        (lambda held: {"mask": held["labels"]}, r"mask has \d+ voxels above 0, but betas have"),
        (lambda held: {"mask": held["mask"], "masker": FakeMasker(held["mask"])}, "mask and masker are both given"),
        (lambda held: {"masker": FakeMasker(None)}, r"masker \(FakeMasker\) has no mask_img_; .* call masker.fit\(\)"),
        (lambda held: {"rois": {"V1": held["labels"]}}, "region V1 is a volume, but it is not known where voxels lie"),
        (lambda held: {"rois": {"V1": shifted(held)}, "mask": held["mask"]}, "rois: region V1 is shifted against"),
        (lambda held: {"rois": {"V1": np.ones(3)}}, r"rois: region V1 is float64 \(3,\); expected 0 or 1"),
        (lambda held: {"rois": [1, 2]}, "rois is a list; expected name → region, or an atlas"),
        (lambda held: {"rois": (held["labels"], held["table"]), "mask": held["mask"]}, "table of rois lacks the column index"),
        (lambda held: {"pictures": held["pictures"]}, "trials names the stimulus 'scene_00.png', but pictures is an array"),
        (lambda held: {"pictures": ["a.png"]}, "shows 'scene_00.png', but the list of pictures holds no such picture"),
        (lambda held: {"captions": {"scene_00.png": "one"}}, "8 of 9 stimuli have no caption"),
        (lambda held: {"split": ["scene_99.png"]}, "split names the stimulus 'scene_99.png', which trials does not show"),
        (lambda held: {"split": ["train", "test"]}, "split has 2 entries, but trials has 30 rows"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(held, change, words):
    with pytest.raises(RecordingError, match=words):
        build(held, **change(held))


class Hidden(FakeMasker):
    """Has no settings that could be read; `mix` changes the betas (n_trials, n_voxels)."""

    def __init__(self, mask, mix):
        super().__init__(mask)
        self._mix = mix

    def transform(self, image):
        return self._mix(super().transform(image))


def needs_several(betas):
    if len(betas) < 2:
        raise ValueError("one volume has no spread")
    return betas


@pytest.mark.parametrize("form", ["image", "list"])
@pytest.mark.parametrize(
    ("mix", "mixes"),
    [
        (lambda betas: betas - betas.mean(axis=0), True),
        (lambda betas: betas / betas.std(), True),
        (lambda betas: betas - 0.05 * np.roll(betas, 1, axis=0), True),
        (needs_several, True),
        (lambda betas: betas * 2 + 1, False),
        (lambda betas: betas - betas.mean(axis=1, keepdims=True), False),
    ],
)
def test_a_masker_whose_settings_cannot_be_read_is_tried_out(held, mix, mixes, form):
    masker, image = Hidden(held["mask"], mix), held["image"]
    responses = image if form == "image" else nib.four_to_three(image)
    if not mixes:
        assert build(held, responses, masker=masker).remarks == ()
        return
    with pytest.raises(RecordingError, match=r"statistics of all trials.*a volume alone becomes other betas"):
        build(held, responses, masker=masker)
    (remark,) = build(held, responses, masker=masker, transductive=True).remarks
    assert "transductive" in remark


def test_a_real_masker(held):
    maskers = pytest.importorskip("nilearn.maskers")
    masker = maskers.NiftiMasker(mask_img=held["mask"], standardize=None).fit()
    finite = nib.Nifti1Image(np.nan_to_num(held["image"].get_fdata(dtype=np.float32)), AFFINE)
    for responses in (finite, held["betas"]):
        assert same(build(held, responses, masker=masker), build(held, mask=held["mask"]))
    unfitted = maskers.NiftiMasker(mask_img=held["mask"])
    with pytest.raises(RecordingError, match=r"masker \(NiftiMasker\) has no mask_img_; expected a fitted"):
        build(held, finite, masker=unfitted)


def masked(values):
    values = np.ma.masked_array(values)
    values[0, 1] = np.ma.masked
    return values


@pytest.mark.parametrize(
    ("argument", "given"),
    [
        ("responses", lambda held: {"responses": masked(held["betas"])}),
        ("responses", lambda held: {"responses": list(masked(held["betas"]))}),
        ("pictures", lambda held: {"pictures": masked(held["pictures"])}),
        ("rois: region V1", lambda held: {"rois": {"V1": np.ma.masked_equal(held["inside"] == 1, True)}}),
        (
            "rois: region V1",
            lambda held: {
                "rois": {"V1": nib.Nifti1Image(masked(np.ones(GRID, np.int16)), AFFINE)},
                "mask": held["mask"],
            },
        ),
    ],
)
def test_values_below_a_mask_are_not_taken(held, argument, given):
    with pytest.raises(RecordingError, match=rf"{argument} is a masked array, in which [\d,]+ values are masked"):
        build(held, **given(held))


def test_a_masked_array_without_masked_values_is_an_array(held):
    assert same(build(held, np.ma.masked_array(held["betas"])), build(held))


@pytest.mark.parametrize("form", ["held", "csv"])
def test_rows_of_pictures_may_be_fractional_where_some_trials_show_none(held, form):
    numbers = held["table"]["stim_file"].str.extract(r"(\d+)", expand=False).astype(int).astype(str)
    table = held["table"].assign(stim_file=numbers.astype(float), split=None)
    table.loc[12, "stim_file"] = np.nan
    table = table.drop(columns="split").drop(columns="caption")
    given = {"pictures": held["pictures"], "captions": {number: f"p{number}" for number in range(N_STIMULI)}}
    table.to_csv(held["folder"] / "numbers.csv", index=False)
    trials = table if form == "held" else held["folder"] / "numbers.csv"
    found = build(held, trials=trials, split=["1.0", "2.0"], **given)
    expected = build(held, trials=table.assign(stim_file=numbers.where(numbers.index != 12)), split=["1", "2"], **given)
    assert same(found, expected)
    assert sum(map(len, found.test_sets.values())) == 2
    with pytest.raises(
        RecordingError, match=r"names the stimulus '0\.5', but pictures is an array: write the picture's row"
    ):
        build(held, trials=table.assign(stim_file=0.5), **given | {"captions": None})


def test_a_test_set_tests_beside_the_names_that_are_given_and_waits_for_a_split(held):
    table = held["table"].drop(columns="split")
    table = table.assign(test_set=np.where(table["stim_file"].isin(held["names"][:2]), "imagery", None))
    found = build(held, trials=table, split=held["names"][4:6])
    assert {name: [found.names[n] for n in ids] for name, ids in found.test_sets.items()} == {
        "test": held["names"][4:6],
        "imagery": held["names"][:2],
    }
    waiting = build(held, trials=table)
    assert not waiting.has_split
    assert set(waiting.further_test_sets) == {"imagery"}


def test_an_index_of_any_kind_does_not_matter(held):
    odd = held["table"].drop(columns="split").set_axis([7] * N_TRIALS)
    odd.iloc[3, odd.columns.get_loc("stim_file")] = None
    plain = odd.reset_index(drop=True)
    assert same(*(build(held, trials=table, split=held["names"][2:4]) for table in (odd, plain)))
