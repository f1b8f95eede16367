import gzip
import re
import shutil
from functools import partialmethod

import h5py
import nibabel as nib
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from braindiffuser.datasets.beta_files import read_betas
from braindiffuser.datasets.nsd_layout import list_files, open_captions, open_nsd, open_stimuli, read_design
from braindiffuser.errors import RecordingError
from braindiffuser.splits import Shared

AFFINE = np.array([[1.8, 0, 0, -9.9], [0, 1.8, 0, -8.1], [0, 0, 1.8, -6.3], [0, 0, 0, 1.0]])
HDF5, NIFTI = "betas_fithrf_GLMdenoise_RR", "betas_fithrf"
LENGTHS = (34, 26, 30)
ROLES = ["design", "regions", "betas", "stimuli", "captions"]


def resave_design(tree, **changes):
    path = tree.root / "nsddata/experiments/nsd/nsd_expdesign.mat"
    variables = {name: value for name, value in loadmat(path).items() if not name.startswith("__")} | changes
    savemat(path, {name: value for name, value in variables.items() if value is not None})


def test_each_trial_shows_the_picture_of_the_design(nsd_tree):
    """The 1-based trap: 0-based trial t shows subjectim[subject − 1, masterordering[t] − 1] − 1."""
    for subject in (1, 2):
        recording = open_nsd(nsd_tree.root, subject)
        trials = recording.trials
        assert recording.n_pictures() == len(recording.pictures(np.arange(recording.n_pictures())))
        for trial, number in enumerate(nsd_tree.masterordering):
            row = trials.iloc[trial]
            assert row["trial"] == trial
            assert row["stimulus_id"] + 1 == nsd_tree.subjectim[subject - 1, number - 1]
            assert row["split"] == ("test" if row["stimulus_id"] + 1 in nsd_tree.sharedix else "train")
            assert row["repeat"] == (nsd_tree.masterordering[:trial] == number).sum()


def test_sessions_have_the_lengths_of_the_stimulus_pattern(nsd_tree):
    trials = open_nsd(nsd_tree.root, "subj01").trials
    assert trials["session"].value_counts(sort=False).tolist() == list(LENGTHS)
    assert trials["session"].is_monotonic_increasing
    assert set(trials["subject"]) == {"subj01"}


@pytest.mark.parametrize("version", [HDF5, NIFTI])
def test_betas_are_the_stored_integers_over_300_in_c_order(nsd_tree, version):
    recording = open_nsd(nsd_tree.root, 2, betas_version=version)
    for session, betas in recording.sessions():
        stored = nsd_tree.stored[2, session]
        assert betas.dtype == np.float32
        for column, (x, y, z) in enumerate(np.argwhere(recording.voxels.mask)):
            np.testing.assert_allclose(betas[:, column], stored[x, y, z] / 300, rtol=1e-6)


def test_both_formats_give_equal_betas(nsd_tree):
    hdf5, nifti = (open_nsd(nsd_tree.root, 1, betas_version=version) for version in (HDF5, NIFTI))
    for (_, first), (_, second) in zip(hdf5.sessions(), nifti.sessions(), strict=True):
        np.testing.assert_array_equal(first, second)


@given(st.integers(0, 1000), st.sampled_from([0.02, 0.3, 1.0]))
@settings(deadline=None, max_examples=15)
def test_any_mask_picks_the_same_voxels_from_both_formats(nsd_tree, seed, share):
    mask = np.random.default_rng(seed).random(nsd_tree.mask.shape) < share
    mask[3, 2, 1] = True
    expected = nsd_tree.stored[1, 1][mask].T / np.float32(300)
    np.testing.assert_array_equal(read_betas(nsd_tree.betas_folder() / "betas_session01.hdf5", mask), expected)
    np.testing.assert_array_equal(read_betas(nsd_tree.betas_folder(NIFTI) / "betas_session01.nii.gz", mask), expected)


@pytest.mark.parametrize(("sessions", "expected"), [(None, (1, 2, 3)), (2, (1, 2)), ([3, 1], (1, 3)), ((2,), (2,))])
def test_sessions_can_be_chosen(nsd_tree, sessions, expected):
    recording = open_nsd(nsd_tree.root, 1, sessions=sessions)
    everything = open_nsd(nsd_tree.root, 1).trials
    assert recording.session_numbers == expected
    kept = everything[everything["session"].isin(expected)].reset_index(drop=True)
    assert recording.trials.equals(kept)


def test_only_sessions_on_disk_are_opened(damaged_tree):
    (damaged_tree.betas_folder() / "betas_session02.hdf5").unlink()
    assert open_nsd(damaged_tree.root, 1).session_numbers == (1, 3)
    assert open_nsd(damaged_tree.root, 2).session_numbers == (1, 2, 3)


def test_a_mask_of_ones_own(nsd_tree, tmp_path, file_writers):
    mask = np.zeros(nsd_tree.mask.shape)
    mask[4, 5, 6] = 1
    file_writers[0](tmp_path / "mine.nii.gz", mask)
    recording = open_nsd(nsd_tree.root, 1, mask=tmp_path / "mine.nii.gz")
    assert np.argwhere(recording.voxels.mask).tolist() == [[4, 5, 6]]
    assert open_nsd(nsd_tree.root, 1, mask="floc-faces").n_voxels == (nsd_tree.labels["floc-faces"] > 0).sum()


MIRRORED = AFFINE * [-1, 1, 1, 1] + np.array([[0, 0, 0, 2 * 9.9]] + 3 * [4 * [0]])


def write_masks(tree, affine, flip=False):
    """Write the mask and all regions of subject 1 with another affine."""
    for name, volume in tree.labels.items():
        values = (volume[::-1] if flip else volume).astype(np.float64)
        nib.save(nib.Nifti1Image(values, affine), tree.roi_folder() / f"{name}.nii.gz")


@pytest.mark.parametrize("beside", ["ncsnr.nii.gz", "meanbeta_session02.nii.gz", "R2.nii.gz"])
@pytest.mark.parametrize(
    ("affine", "words"),
    [(MIRRORED, "has the axes"), (AFFINE + 1.8 * np.eye(4, k=3), "is shifted"), (np.eye(4), "has the axes")],
)
def test_masks_are_compared_with_volumes_beside_betas_in_hdf5(damaged_tree, file_writers, beside, affine, words):
    (damaged_tree.betas_folder() / "ncsnr.nii.gz").unlink()
    file_writers[0](damaged_tree.betas_folder() / beside, np.ones(damaged_tree.mask.shape))
    assert open_nsd(damaged_tree.root, 1).remarks == ()
    write_masks(damaged_tree, affine, flip=affine is MIRRORED)
    with pytest.raises(RecordingError, match=f"{beside} {words}.*nsdgeneral"):
        open_nsd(damaged_tree.root, 1)


def test_a_mask_that_nothing_can_be_compared_with_is_said(damaged_tree):
    (damaged_tree.betas_folder() / "ncsnr.nii.gz").rename(damaged_tree.root / "ncsnr.nii.gz")
    (said,) = open_nsd(damaged_tree.root, 1).remarks
    assert "whether the mask is mirrored or shifted against them is not checked" in said
    assert open_nsd(damaged_tree.root, 1, betas_version=NIFTI).remarks == ()
    (damaged_tree.root / "ncsnr.nii.gz").rename(damaged_tree.betas_folder() / "ncsnr.nii.gz")
    for name, volume in damaged_tree.labels.items():
        nib.save(nib.Nifti1Image(volume.astype(np.float64), None), damaged_tree.roi_folder() / f"{name}.nii.gz")
    (said,) = open_nsd(damaged_tree.root, 1).remarks
    assert "the mask does not say it either" in said


def test_regions_come_along_and_missing_ones_are_named(damaged_tree):
    (damaged_tree.roi_folder() / "floc-faces.nii.gz").unlink()
    recording = open_nsd(damaged_tree.root, 1)
    assert recording.missing_rois == ("faces",)
    assert set(recording.roi_masks) >= {"V1", "V4", "ecc_4+", "words", "places", "bodies"}


def test_float_files_are_percent_signal_change_already(damaged_tree, file_writers):
    percent = (damaged_tree.stored[1, 1] / 300).astype(np.float32)
    file_writers[0](damaged_tree.betas_folder(NIFTI) / "betas_session01.nii.gz", percent)
    recording = open_nsd(damaged_tree.root, 1, betas_version=NIFTI, sessions=1)
    np.testing.assert_array_equal(recording.read_session(1), percent[damaged_tree.mask].T)


def test_nan_voxels_are_counted_and_refused(damaged_tree, file_writers):
    percent = (damaged_tree.stored[1, 1] / 300).astype(np.float32)
    percent[5, 4, 3, 7] = np.nan
    percent[0, 0, 0] = np.nan
    file_writers[1](damaged_tree.betas_folder() / "betas_session01.hdf5", percent)
    recording = open_nsd(damaged_tree.root, 1)
    with pytest.raises(
        RecordingError,
        match=r"session01\.hdf5 has NaN .* in 1 of .* voxels, in 1 of 34 trials \(first: trial 7, counted from 0\): take these",
    ):
        next(recording.sessions())


def test_missing_files_are_named_with_a_remedy(damaged_tree):
    root = damaged_tree.root
    (damaged_tree.betas_folder() / "betas_session03.hdf5").unlink()
    with pytest.raises(
        RecordingError, match=r"has betas of the sessions 1–2, but .* asks for 3 too: write `sessions: 2`, or"
    ):
        open_nsd(root, 1, sessions=3)
    with pytest.raises(RecordingError, match="betas_assumehrf is missing; download"):
        open_nsd(root, 1, betas_version="betas_assumehrf")
    with pytest.raises(RecordingError, match=r"missing\.nii\.gz is missing"):
        open_nsd(root, 1, mask="missing")
    (root / "nsddata/experiments/nsd/nsd_expdesign.mat").unlink()
    with pytest.raises(RecordingError, match=r"nsd_expdesign\.mat is missing"):
        open_nsd(root, 1)


@pytest.mark.parametrize("inside", ["nsddata", "nsddata_betas/ppdata"])
def test_a_root_that_is_another_folder_is_named(nsd_tree, inside):
    with pytest.raises(
        RecordingError, match="holds none of nsddata, nsddata_betas, nsddata_stimuli: name the folder that does"
    ):
        open_nsd(nsd_tree.root / inside, 1)


def test_a_root_that_is_not_there_is_said_to_be_so(nsd_tree):
    with pytest.raises(RecordingError, match="nowhere does not exist: name the folder that holds nsddata"):
        open_nsd(nsd_tree.root / "nowhere", 1)


def test_a_subject_that_is_not_there_is_named_with_those_that_are(damaged_tree):
    for top in ("nsddata", "nsddata_betas"):
        shutil.rmtree(damaged_tree.root / top / "ppdata" / "subj02")
    with pytest.raises(RecordingError, match=r"holds subj01, not subj02: choose dataset\.subject"):
        open_nsd(damaged_tree.root, 2)
    assert open_nsd(damaged_tree.root, 1).subject == "subj01"


@pytest.mark.parametrize("subject", [0, 3, "subj09"])
def test_unknown_subjects_are_refused(nsd_tree, subject):
    with pytest.raises(RecordingError, match="has the subjects 1 … 2"):
        open_nsd(nsd_tree.root, subject)


def test_a_name_that_is_no_subject_is_refused(nsd_tree):
    with pytest.raises(RecordingError, match="no subject 'anna'"):
        open_nsd(nsd_tree.root, "anna")


@pytest.mark.parametrize(("sessions", "words"), [(4, "no session 4"), ([0], "no session 0"), ([], "no betas to read")])
def test_sessions_beyond_the_design_are_refused(nsd_tree, sessions, words):
    with pytest.raises(RecordingError, match=words):
        open_nsd(nsd_tree.root, 1, sessions=sessions)


@pytest.mark.parametrize(("sessions", "instead"), [(37, 3), ([2, 3, 9], [2, 3]), ([8], None)])
def test_what_to_write_for_sessions_beyond_the_design_is_said_and_works(nsd_tree, sessions, instead):
    with pytest.raises(RecordingError) as refused:
        open_nsd(nsd_tree.root, 1, sessions=sessions)
    written = yaml.safe_load(re.search("write `(sessions: [^`]*)`", str(refused.value))[1])
    assert written == {"sessions": instead}
    expected = (1, 2, 3) if instead is None else tuple(instead) if isinstance(instead, list) else (1, 2, 3)[:instead]
    assert open_nsd(nsd_tree.root, 1, **written).session_numbers == expected


@pytest.mark.parametrize("version", [HDF5, NIFTI])
def test_a_session_with_other_trial_numbers_is_refused(damaged_tree, file_writers, version):
    short = damaged_tree.stored[1, 2][..., :-1]
    suffix = "hdf5" if version == HDF5 else "nii.gz"
    file_writers[version == HDF5](damaged_tree.betas_folder(version) / f"betas_session02.{suffix}", short)
    with pytest.raises(RecordingError, match="has 25 trials, but the design has 26"):
        open_nsd(damaged_tree.root, 1, betas_version=version)


def test_another_grid_is_refused(damaged_tree, file_writers):
    swapped = damaged_tree.stored[1, 1].transpose(2, 1, 0, 3)
    file_writers[1](damaged_tree.betas_folder() / "betas_session01.hdf5", swapped)
    with pytest.raises(
        RecordingError, match=r"grid \(8, 10, 12\), but the analysis mask .*nsdgeneral.* has \(12, 10, 8\)"
    ):
        open_nsd(damaged_tree.root, 1)


@pytest.mark.parametrize(
    ("axes", "words"),
    [(np.s_[..., 0], "session01.nii.gz has 1 trials, but the design"), (np.s_[..., 0, 0], "has 2 axes; expected four")],
)
def test_betas_of_one_volume_are_one_trial(damaged_tree, file_writers, axes, words):
    flat = damaged_tree.stored[1, 1][axes].astype(np.int16)
    file_writers[0](damaged_tree.betas_folder(NIFTI) / "betas_session01.nii.gz", flat)
    with pytest.raises(RecordingError, match=words):
        open_nsd(damaged_tree.root, 1, betas_version=NIFTI)


def test_a_download_cut_short_is_refused_when_read(damaged_tree):
    path = damaged_tree.betas_folder(NIFTI) / "betas_session01.nii.gz"
    path.write_bytes(path.read_bytes()[:20_000])
    recording = open_nsd(damaged_tree.root, 1, betas_version=NIFTI)
    with pytest.raises(RecordingError, match=r"betas_session01\.nii\.gz is damaged, cut short"):
        recording.read_session(1)
    path = damaged_tree.betas_folder() / "betas_session01.hdf5"
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(RecordingError, match=r"betas_session01\.hdf5 is damaged, cut short"):
        open_nsd(damaged_tree.root, 1)


def test_a_session_that_was_not_opened_is_refused(nsd_tree):
    with pytest.raises(RecordingError, match=r"session 3 was not opened; this recording has \[1, 2\]"):
        open_nsd(nsd_tree.root, 1, sessions=2).read_session(3)


def test_compressed_files_are_opened_once_and_read_forward(nsd_tree, monkeypatch):
    """Opening anew for each block, or going back, would decompress everything before it again."""
    starts = []

    def count_and_call(reader, original, *args):
        starts.append(original)
        return original(reader, *args)

    for name in ("__init__", "_rewind"):
        original = getattr(gzip._GzipReader, name)
        monkeypatch.setattr(gzip._GzipReader, name, partialmethod(count_and_call, original))
    read_betas(nsd_tree.betas_folder(NIFTI) / "betas_session01.nii.gz", nsd_tree.mask)
    assert len(starts) <= 3  # the header, the betas, and at most one step back between them


def test_a_design_that_contradicts_itself_is_refused(damaged_tree):
    pattern = np.ones((3, 2, 2))
    resave_design(damaged_tree, stimpattern=pattern)
    with pytest.raises(RecordingError, match="stimpattern plans 12 trials, but masterordering lists 90"):
        read_design(damaged_tree.root, 1)
    resave_design(damaged_tree, masterordering=np.array([[0.0, 31.0]]))
    with pytest.raises(RecordingError, match="runs from 0 to 31, but a subject has pictures 1 … 30"):
        read_design(damaged_tree.root, 1)
    resave_design(damaged_tree, sharedix=None)
    with pytest.raises(RecordingError, match=r"lacks the variables \['sharedix'\]"):
        read_design(damaged_tree.root, 1)
    for text in ("<html>403</html>" * 20, "<html>", ""):
        (damaged_tree.root / "nsddata/experiments/nsd/nsd_expdesign.mat").write_text(text)
        with pytest.raises(RecordingError, match=r"nsd_expdesign\.mat is damaged"):
            read_design(damaged_tree.root, 1)


def shuffled(tree, seed=0):
    return np.random.default_rng(seed).permutation(tree.sharedix)[None].astype(float)


def rotated(tree):
    """Shared pictures that are not the first ones of a subject's list."""
    return np.roll(tree.subjectim, 3, axis=1).astype(float)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (lambda tree: {"subjectim": rotated(tree)}, "first 6 pictures in subjectim are not those of sharedix"),
        (lambda tree: {"sharedix": tree.sharedix[None] + 1.0}, "are not those of sharedix"),
        (lambda tree: {"sharedix": np.arange(1.0, 7)[None]}, "are not those of sharedix"),
        (
            lambda tree: {"subjectim": tree.subjectim - 1.0, "sharedix": tree.sharedix[None] - 1.0},
            "begin at 0, but ids count",
        ),
        (lambda tree: {"masterordering": tree.masterordering[None] - 1.0}, "masterordering runs from 0"),
        (lambda tree: {"masterordering": tree.masterordering[None] + 0.25}, "masterordering holds fractions"),
        (
            lambda tree: {"subjectim": np.where(tree.subjectim == 9, np.nan, tree.subjectim)},
            "subjectim holds fractions",
        ),
        (lambda tree: {"subjectim": np.where(tree.subjectim == 9, 1e12, tree.subjectim)}, "too large for ids"),
        (lambda tree: {"sharedix": np.repeat(tree.sharedix[:1], 6)[None] + 0.0}, "names a picture twice"),
        (lambda tree: {"stimpattern": np.full((3, 3, 10), 1.0)[:, :, :] * 2}, "other numbers than 0 and 1"),
        (lambda tree: {"masterordering": "text"}, "masterordering is no table of numbers"),
        (lambda tree: {"sharedix": np.zeros((1, 0))}, "sharedix is no table of numbers"),
        (lambda tree: {"subjectim": np.array([["a", [1, 2]]], dtype=object)}, "subjectim is no table of numbers"),
    ],
)
def test_what_a_design_says_twice_must_agree(damaged_tree, changes, words):
    resave_design(damaged_tree, **changes(damaged_tree))
    with pytest.raises(RecordingError, match=words):
        read_design(damaged_tree.root, 1)


def test_the_order_of_the_shared_pictures_does_not_matter(damaged_tree):
    before = read_design(damaged_tree.root, 2)
    resave_design(damaged_tree, sharedix=shuffled(damaged_tree))
    assert read_design(damaged_tree.root, 2).equals(before)


def test_a_session_missing_in_the_middle_is_said(damaged_tree):
    assert open_nsd(damaged_tree.root, 1).remarks == ()
    (damaged_tree.betas_folder() / "betas_session02.hdf5").unlink()
    (remark,) = open_nsd(damaged_tree.root, 1).remarks
    assert remark.startswith("No betas of session 2 of 3 are there")
    assert open_nsd(damaged_tree.root, 1, sessions=[1, 3]).remarks == ()  # as asked for
    (damaged_tree.betas_folder() / "betas_session03.hdf5").unlink()
    assert open_nsd(damaged_tree.root, 1).remarks == ()  # the last ones were not recorded yet


@pytest.mark.parametrize("name", ["betas_session04.HDF5", "betas_session04.h5", "betas_session02.hdf5.part"])
def test_files_that_are_not_read_are_said(damaged_tree, name):
    (damaged_tree.betas_folder() / name).touch()
    assert open_nsd(damaged_tree.root, 1).remarks == (f"Not read: {name}.",)


def test_fewer_sessions_than_asked_for_are_said_with_what_to_write(damaged_tree):
    with pytest.raises(RecordingError, match="the design has 1 to 3"):
        open_nsd(damaged_tree.root, 1, sessions=37)
    (damaged_tree.betas_folder() / "betas_session01.hdf5").unlink()
    with pytest.raises(RecordingError, match=r"of the sessions 2–3, but .* asks for 1 too: write `sessions: \[2, 3\]`"):
        open_nsd(damaged_tree.root, 1, sessions=3)


@given(st.lists(st.integers(0, 53), max_size=12))
@settings(deadline=None, max_examples=25)
def test_pictures_come_in_any_order_and_more_than_once(nsd_tree, ids):
    stimuli = open_stimuli(nsd_tree.root)
    assert stimuli.shape == (54, 12, 12, 3)
    np.testing.assert_array_equal(stimuli.pictures(ids), nsd_tree.pictures[np.array(ids, dtype=np.int64)])


@pytest.mark.parametrize("stimulus_id", [-1, 54])
def test_stimuli_outside_the_set_are_refused(nsd_tree, stimulus_id):
    for read in (lambda i: open_stimuli(nsd_tree.root).pictures([0, i]), open_captions(nsd_tree.root).captions):
        with pytest.raises(RecordingError, match=r"ids are 0-based, 0 … 53"):
            read(stimulus_id)


def test_only_captions_with_words_are_returned(nsd_tree):
    captions = open_captions(nsd_tree.root)
    assert len(captions.texts) == 54
    assert captions.captions(3) == ("picture 3", "again 3")
    assert captions.captions(4) == ("picture 4",)


def test_broken_stimulus_files_are_refused(damaged_tree):
    pictures = damaged_tree.root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
    captions = damaged_tree.root / "annots/COCO_73k_annots_curated.npy"
    with h5py.File(pictures, "w") as file:
        file["imgBrick"] = np.zeros((2, 3, 4, 4), np.uint8)
    np.save(captions, np.zeros((3, 5)))
    with pytest.raises(RecordingError, match=r"expected uint8 \(n_pictures, height, width, 3\)"):
        open_stimuli(damaged_tree.root)
    with pytest.raises(RecordingError, match=r"expected texts \(n_pictures, 5\)"):
        open_captions(damaged_tree.root)
    np.save(captions, np.array([["a"]], object), allow_pickle=True)
    with pytest.raises(RecordingError, match="no text array, saved as"):
        open_captions(damaged_tree.root)
    pictures.write_text("no HDF5")
    with pytest.raises(RecordingError, match="no HDF5 file with a dataset imgBrick"):
        open_stimuli(damaged_tree.root)
    pictures.unlink()
    captions.unlink()
    for reader in (open_stimuli, open_captions):
        with pytest.raises(RecordingError, match="is missing"):
            reader(damaged_tree.root)


def test_captions_of_another_number_of_pictures_are_refused_when_opened(damaged_tree):
    captions = damaged_tree.root / "annots/COCO_73k_annots_curated.npy"
    np.save(captions, damaged_tree.captions[:-1])
    with pytest.raises(RecordingError, match=r"has captions of 53 stimuli, but .*nsd_stimuli\.hdf5 holds 54 pictures"):
        open_nsd(damaged_tree.root, 1)
    captions.unlink()
    assert open_nsd(damaged_tree.root, 1).subject == "subj01"


def test_a_mirrored_session_is_refused(damaged_tree, file_writers):
    path = damaged_tree.betas_folder(NIFTI) / "betas_session01.nii.gz"
    affine = nib.load(path).affine.copy()
    affine[0, 0] *= -1
    file_writers[0](path, damaged_tree.stored[1, 1], affine)
    with pytest.raises(RecordingError, match="without flipping or resampling"):
        open_nsd(damaged_tree.root, 1, betas_version=NIFTI)


@pytest.mark.parametrize(
    ("shift", "refused"), [((1, 0, 0), True), ((0, -2, 3), True), ((0, 0, 0.6), True), ((0.4, 0, 0), False)]
)
def test_a_volume_that_is_shifted_by_voxels_is_refused(damaged_tree, file_writers, shift, refused):
    """Of the same shape and axes, so nothing else tells."""
    path = damaged_tree.roi_folder() / "floc-faces.nii.gz"
    affine = nib.load(path).affine.copy()
    affine[:3, 3] += 1.8 * np.array(shift)
    file_writers[0](path, damaged_tree.labels["floc-faces"].astype(np.float64), affine)
    if refused:
        with pytest.raises(
            RecordingError, match=r"floc-faces\.nii\.gz is shifted against the analysis mask .*nsdgeneral\.nii\.gz by"
        ):
            open_nsd(damaged_tree.root, 1)
    else:
        open_nsd(damaged_tree.root, 1)


def test_an_origin_or_orientation_that_was_not_recorded_is_not_compared(damaged_tree, file_writers):
    path = damaged_tree.betas_folder(NIFTI) / "betas_session01.nii.gz"
    affine = nib.load(path).affine.copy()
    affine[:3, 3] = 0
    file_writers[0](path, damaged_tree.stored[1, 1], affine)
    open_nsd(damaged_tree.root, 1, betas_version=NIFTI)
    image = nib.Nifti1Image(damaged_tree.stored[1, 1], None)
    assert (image.header["sform_code"], image.header["qform_code"]) == (0, 0)
    nib.save(image, path)
    open_nsd(damaged_tree.root, 1, betas_version=NIFTI)


def test_a_mask_without_orientation_opens(nsd_tree, tmp_path):
    nib.save(nib.Nifti1Image(nsd_tree.mask.astype(np.int16), None), tmp_path / "mask.nii.gz")
    recording = open_nsd(nsd_tree.root, 1, mask=tmp_path / "mask.nii.gz")
    assert recording.voxels.affine is None
    assert recording.fingerprint != open_nsd(nsd_tree.root, 1).fingerprint
    np.testing.assert_array_equal(recording.voxels.mask, nsd_tree.mask)


# What a recording is known by


@pytest.mark.parametrize("sessions", [None, 2])
@pytest.mark.parametrize("version", [HDF5, NIFTI])
def test_a_recording_is_made_of_its_listed_files_alone(nsd_tree, tmp_path, sessions, version):
    listed = list_files(nsd_tree.root, 1, sessions, version, "nsdgeneral")
    assert list(listed) == ROLES
    for name, path in {name: path for files in listed.values() for name, path in files.items()}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, tmp_path / name)
    one, other = (open_nsd(root, 1, sessions=sessions, betas_version=version) for root in (nsd_tree.root, tmp_path))
    assert other.trials.equals(one.trials)
    assert other.fingerprint == one.fingerprint
    assert other.missing_rois == one.missing_rois
    for name, mask in one.roi_masks.items():
        np.testing.assert_array_equal(other.roi_masks[name], mask)
    for (_, ours), (_, theirs) in zip(other.sessions(), one.sessions(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(other.pictures(np.arange(5)), one.pictures(np.arange(5)))
    assert other.captions(3) == one.captions(3) == ("picture 3", "again 3")
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == {
        name for files in list_files(tmp_path, 1, sessions, version, "nsdgeneral").values() for name in files
    }


def test_listed_betas_are_those_that_are_read(nsd_tree):
    recording = open_nsd(nsd_tree.root, 1, sessions=2)
    read = [name for session in recording.session_numbers for name in recording.session_files(session)]
    assert read == list(list_files(nsd_tree.root, 1, 2, HDF5, "nsdgeneral")["betas"])


def test_files_that_are_not_there_are_not_listed(damaged_tree, tmp_path):
    (damaged_tree.betas_folder() / "betas_session02.hdf5").unlink()
    (damaged_tree.root / "annots" / "COCO_73k_annots_curated.npy").unlink()
    listed = list_files(damaged_tree.root, 1, None, HDF5, "nsdgeneral")
    assert [name[-6:] for name in listed["betas"]] == ["1.hdf5", "3.hdf5"]
    assert listed["captions"] == {}
    assert list_files(tmp_path / "nowhere", 1, None, HDF5, "nsdgeneral") == {role: {} for role in ROLES}


def test_a_mask_of_ones_own_is_listed_by_its_name(nsd_tree, tmp_path, file_writers):
    file_writers[0](tmp_path / "mine.nii.gz", np.ones(nsd_tree.mask.shape))
    regions = list_files(nsd_tree.root, 1, None, HDF5, str(tmp_path / "mine.nii.gz"))["regions"]
    assert regions["mine.nii.gz"] == tmp_path / "mine.nii.gz"


def test_shared_pictures_are_those_of_the_design_that_were_shown(nsd_tree):
    for subject in (1, 2):
        recording = open_nsd(nsd_tree.root, subject, sessions=2)
        ids, how = recording.shared()
        assert set(ids.tolist()) == set((nsd_tree.sharedix.ravel() - 1).tolist())
        assert "sharedix" in how
        divided = Shared().divide(recording)
        assert divided.trials["split"].tolist() == recording.trials["split"].tolist()
