"""BOLD5000's layout, written small."""

import re
import shutil
from fnmatch import fnmatchcase
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braindiffuser.datasets.bold5000 import Bold5000
from braindiffuser.datasets.bold5000_layout import LONG_SESSIONS, _check_counts
from braindiffuser.errors import RecordingError

from .fetch_commands import fetched
from .layouts_drawn import AFFINE, assert_equals, assert_files_are_listed, betas_of, draw, save_picture

ZERO_ORIGIN = np.diag([2.0, 2.0, 2.0, 1.0])
NAME = "CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-{:02}.nii.gz"


def name_of(i):
    return (f"scene{i}.jpg", f"COCO_train2014_{i:012}.jpg", f"n01440764_{i}.JPEG")[i % 3]


def write(root, drawn):
    """Write the layout; returns the names of the pictures."""
    betas, stimuli, spm = root / "betas", root / "BOLD5000_Stimuli/Scene_Stimuli", root / "derivatives/spm/sub-CSI1"
    for folder in (betas, stimuli, spm):
        folder.mkdir(parents=True)
    names = [name_of(i) for i in range(len(drawn.is_test))]
    for i, picture in enumerate(drawn.pictures):
        save_picture(stimuli / "Presented_Stimuli" / ("Scene", "COCO", "ImageNet")[i % 3] / names[i], picture)
    for session in np.unique(drawn.session):
        save(betas / NAME.format(session), drawn.volumes(np.flatnonzero(drawn.session == session)), ZERO_ORIGIN)
    save(betas / "CSI1_brainmask.nii.gz", drawn.mask.astype(np.float32), ZERO_ORIGIN)
    (betas / "CSI1_imgnames.txt").write_text("".join(f"{names[i]}\n" for i in drawn.stimulus))
    listed = [name for name, test in zip(names, drawn.is_test, strict=True) if test]
    (stimuli / "repeated_stimuli_113_list.txt").write_text("".join(f"{name}\n" for name in listed))
    left = np.argwhere(drawn.mask)[:, 0] < 2
    for region, truth in {"EarlyVis": drawn.rois["V1"], "LOC": drawn.rois["LOC"]}.items():
        for side, half in (("LH", left), ("RH", ~left)):
            volume = np.zeros(drawn.mask.shape, np.uint8)
            volume[drawn.mask] = truth & half
            save(spm / f"sub-CSI1_mask-{side}{region}.nii.gz", volume, AFFINE)
    return names


def save(path, volume, affine):
    nib.save(nib.Nifti1Image(volume, affine), path)


@pytest.fixture(params=[0, 1, 2])
def layout(request, tmp_path):
    drawn = draw(request.param)
    return tmp_path, drawn, write(tmp_path, drawn)


@pytest.fixture
def root(tmp_path):
    write(tmp_path, draw(0))
    return tmp_path


def find(root, name):
    return next(root.rglob(name))


def open_(root, **entries):
    return Bold5000(root=root, **entries).open(root)


def test_what_was_written_is_read(layout):
    root, drawn, names = layout
    recording = open_(root)
    assert_equals(recording, drawn, names, {"EarlyVis": drawn.rois["V1"], "LOC": drawn.rois["LOC"]})
    assert recording.unit == "percent"
    assert recording.missing_rois == ("OPA", "PPA", "RSC")
    assert recording.captions is None
    np.testing.assert_array_equal(recording.voxels.mask, drawn.mask)
    assert_files_are_listed(Bold5000(root=root))


def test_an_origin_of_0_is_said_and_not_compared_with_that_of_regions(root):
    assert any("origin is 0" in remark for remark in open_(root).remarks)


@pytest.mark.parametrize(("kept", "drifted"), [("LHLOC", "LHLO"), ("RHLOC", "RHlo")])
def test_names_of_regions_may_drift(layout, kept, drifted):
    root, drawn, _ = layout
    path = find(root, f"sub-CSI1_mask-{kept}.nii.gz")
    path.rename(path.with_name(f"sub-CSI1_mask-{drifted}.nii.gz"))
    np.testing.assert_array_equal(open_(root).roi_masks["LOC"], drawn.rois["LOC"])


def test_a_doubled_letter_in_a_name_of_a_region_is_put_right(root):
    path = find(root, "sub-CSI1_mask-LHLOC.nii.gz")
    path.rename(path.with_name("sub-CSI1_mask-RHRRSC.nii.gz"))
    recording = open_(root)
    assert {"RSC", "LOC"} <= set(recording.roi_masks)
    assert "The region RSC has a mask for the right hemisphere alone." in recording.remarks


def test_two_masks_of_one_region_are_refused(root):
    path = find(root, "sub-CSI1_mask-LHLOC.nii.gz")
    path.with_name("sub-CSI1_mask-LHLO.nii.gz").write_bytes(path.read_bytes())
    with pytest.raises(RecordingError, match="masks of the same region and hemisphere"):
        open_(root)


@pytest.mark.parametrize(
    ("shape", "affine", "message"),
    [((2, 2, 2), AFFINE, "has the grid"), (None, np.diag([-1, 1, 1, 1]) @ AFFINE, "axes")],
)
def test_a_region_on_another_grid_is_refused(root, shape, affine, message):
    path = find(root, "sub-CSI1_mask-LHLOC.nii.gz")
    save(path, np.ones(shape or nib.load(path).shape, np.uint8), affine)
    with pytest.raises(RecordingError, match=f"LHLOC.*{message}"):
        open_(root)


@pytest.mark.parametrize("typed", ["TYPEB-FITHRF", "TYBEB-FITHRF", "typeb-fithrf"])
def test_types_are_matched_leniently(layout, typed):
    root, drawn, _ = layout
    for session in np.unique(drawn.session):
        other = find(root, NAME.format(session)).with_name(f"CSI1_GLMbetas-{typed}_ses-{session:02}.nii.gz")
        save(other, drawn.volumes(np.flatnonzero(drawn.session == session)) + 1, ZERO_ORIGIN)
    brain = open_(root, betas="TYPEB")
    np.testing.assert_allclose(betas_of(brain), drawn.betas + 1, rtol=1e-6)
    np.testing.assert_array_equal(betas_of(open_(root)), drawn.betas)


def test_lists_may_carry_the_prefix_of_repeated_pictures(layout):
    root, drawn, names = layout
    for name in ("CSI1_imgnames.txt", "repeated_stimuli_113_list.txt"):
        path = find(root, name)
        path.write_text("".join(f"rep_{line}\n" for line in path.read_text().split()))
    assert_equals(open_(root), drawn, names, {})


def test_pictures_of_the_list_that_were_not_shown_are_counted(root):
    path = find(root, "repeated_stimuli_113_list.txt")
    path.write_text(path.read_text() + "elsewhere.jpg\n")
    assert open_(root).split_remark.startswith("1 of 4 pictures of repeated_stimuli")


def test_without_the_list_of_repeated_pictures_the_split_is_not_known(root):
    find(root, "repeated_stimuli_113_list.txt").unlink()
    recording = open_(root)
    assert not recording.has_split
    assert "repeated_stimuli_113_list.txt is not there" in recording.split_remark


def test_a_list_of_other_pictures_is_refused(root):
    find(root, "repeated_stimuli_113_list.txt").write_text("a.jpg\nb.jpg\n")
    with pytest.raises(RecordingError, match=r"lists 2 pictures .* of which 0 were shown; names are such as"):
        open_(root)


def test_sessions_at_the_end_may_be_missing_and_that_is_said(layout):
    root, drawn, names = layout
    find(root, NAME.format(3)).unlink()
    recording, kept = open_(root), drawn.session < 3
    np.testing.assert_array_equal(betas_of(recording), drawn.betas[kept])
    assert [recording.names[i] for i in recording.trials["stimulus_id"]] == [names[i] for i in drawn.stimulus[kept]]
    assert any("recorded after session 2" in remark for remark in recording.remarks)


def test_a_session_missing_between_others_is_refused(root):
    find(root, NAME.format(2)).unlink()
    with pytest.raises(RecordingError, match=r"sessions 1, 3 of CSI1, but not of 2.*_ses-02\.nii\.gz"):
        open_(root)


def test_fewer_names_than_trials_are_refused(root):
    path = find(root, "CSI1_imgnames.txt")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(RecordingError, match="expected one name a line for each, such as COCO_train2014"):
        open_(root)


@pytest.mark.parametrize("name", ["CSI1_imgnames.txt", "CSI1_brainmask.nii.gz"])
def test_a_missing_file_is_named(root, name):
    find(root, name).unlink()
    with pytest.raises(RecordingError, match=f"^{name} is missing below"):
        open_(root)


@pytest.mark.parametrize("sessions", ["all", "first"])
def test_all_missing_files_are_in_one_message_with_the_command_that_downloads_them(root, sessions):
    gone = sorted(root.rglob("CSI1_GLMbetas*"))[: None if sessions == "all" else 1]
    for path in (*gone, find(root, "CSI1_brainmask.nii.gz"), find(root, "CSI1_imgnames.txt")):
        path.unlink()
    shutil.rmtree(find(root, "Presented_Stimuli"))
    with pytest.raises(RecordingError) as caught:
        open_(root)
    message, (folder, patterns) = str(caught.value), fetched(str(caught.value))
    assert folder == str(root)
    assert all(
        name in message for name in ("CSI1_brainmask.nii.gz", "CSI1_imgnames.txt", "Presented_Stimuli/ (folder of")
    )
    assert ("--sessions 1 " in message) == (sessions == "first")
    for name in (
        "CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-01.nii.gz",
        "CSI1_brainmask.nii.gz",
        "CSI1_imgnames.txt",
    ):
        assert name in message
        assert any(fnmatchcase(name, pattern) for pattern in patterns)


def test_missing_betas_are_named_with_an_example_and_the_types_that_are_there(root):
    with pytest.raises(RecordingError, match=r"no betas TYPEC of CSI1.*CSI1_GLMbetas-TYPEC.*there are betas of TYPED"):
        open_(root, betas="TYPEC")
    with pytest.raises(
        RecordingError, match=r"holds files of CSI1, and lacks CSI2_GLMbetas-TYPED.*: choose dataset\.subject"
    ):
        open_(root, subject="CSI2")
    with pytest.raises(RecordingError, match="is no folder"):
        open_(root / "elsewhere")


def test_missing_pictures_are_named(root):
    find(root, "COCO_train2014_000000000001.jpg").unlink()
    with pytest.raises(
        RecordingError, match=r"row \d+, counted from 0, shows 'COCO_train2014_000000000001.jpg'"
    ) as said:
        open_(root)
    row = int(re.search(r"row (\d+)", str(said.value))[1])
    assert find(root, "CSI1_imgnames.txt").read_text().split()[row].endswith("COCO_train2014_000000000001.jpg")
    find(root, "Presented_Stimuli").rename(root / "other")
    with pytest.raises(
        RecordingError, match=r"no folder Presented_Stimuli.*such as Presented_Stimuli/COCO/COCO_train2014"
    ):
        open_(root)


def test_a_session_that_is_there_twice_is_refused(root):
    path = find(root, NAME.format(1))
    save(path.with_name(path.name.removesuffix(".gz")), nib.load(path).get_fdata(dtype=np.float32), ZERO_ORIGIN)
    with pytest.raises(RecordingError, match="several files of betas of session 1"):
        open_(root)


def test_integers_are_refused_since_their_unit_is_not_percent(root):
    path = find(root, NAME.format(1))
    save(path, (nib.load(path).get_fdata() * 300).astype(np.int16), ZERO_ORIGIN)
    with pytest.raises(RecordingError, match="holds int16; expected float32, percent signal change"):
        open_(root)


def test_a_voxel_without_data_in_a_session_is_0_and_other_nan_are_refused(layout):
    root, drawn, _ = layout
    path, rows = find(root, NAME.format(1)), drawn.session == 1
    volumes, (x, y, z) = drawn.volumes(np.flatnonzero(rows)), np.argwhere(drawn.mask)[2]
    volumes[x, y, z] = np.nan
    save(path, volumes, ZERO_ORIGIN)
    betas = open_(root).betas_of(1)
    assert (betas[:, 2] == 0).all()
    np.testing.assert_array_equal(np.delete(betas, 2, axis=1), np.delete(drawn.betas[rows], 2, axis=1))
    volumes[x, y, z, 1:] = 1
    save(path, volumes, ZERO_ORIGIN)
    with pytest.raises(RecordingError, match="NaN or infinite betas in 1 of"):
        open_(root).betas_of(1)


def test_regions_choose_the_voxels_that_are_read(layout):
    root, drawn, _ = layout
    recording, chosen = open_(root, regions=["LOC"]), drawn.rois["LOC"]
    np.testing.assert_array_equal(betas_of(recording), drawn.betas[:, chosen])
    assert recording.roi_masks["LOC"].all()
    assert not recording.roi_masks["EarlyVis"].any()
    np.testing.assert_array_equal(recording.voxels.mask[drawn.mask], chosen)
    with pytest.raises(
        RecordingError, match=r"no region 'V9', which dataset\.regions names; this recording has EarlyVis, LOC"
    ):
        open_(root, regions=["V9"])


def test_captions_may_come_in_a_table(layout):
    root, _, names = layout
    path = root / "captions.csv"
    path.write_text("stim_file,caption\n" + "".join(f"{name},picture {i}\n" for i, name in enumerate(names)))
    part = Bold5000(root=root, captions=path)
    recording = part.open(root)
    assert part.has_captions
    assert [recording.captions(number) for number in recording.names] == [
        (f"picture {names.index(name)}",) for name in recording.names.values()
    ]
    assert not Bold5000(root=root).has_captions


def test_pictures_that_all_subjects_saw_are_told_by_their_lists(layout):
    root, _, names = layout
    part = Bold5000(root=root)
    with pytest.raises(RecordingError, match="holds no table of trials of another subject"):
        part.open(root).shared()
    (root / "betas" / "CSI4_imgnames.txt").write_text("".join(f"rep_{name}\n" for name in names[2:]))
    recording = part.open(root)
    ids, how = recording.shared()
    assert {recording.names[number] for number in ids.tolist()} == set(names[2:])
    assert "(CSI4)" in how
    assert list(part.files_of_others()) == ["CSI4/CSI4_imgnames.txt"]


def cut(root, session, n):
    path = find(root, NAME.format(session))
    image = nib.load(path)
    values = np.asanyarray(image.dataobj)[..., :-n]
    path.unlink()
    save(path, values, image.affine)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("session", [1, 2, 3])
def test_a_session_that_lacks_volumes_never_shifts_the_names_of_later_ones(tmp_path, seed, session):
    root, drawn = tmp_path, draw(seed)
    drawn.session = np.sort(np.arange(len(drawn.session)) % 3) + 1
    write(root, drawn)
    cut(root, session, 1)
    n = np.count_nonzero(drawn.session == session) - 1
    with pytest.raises(
        RecordingError, match=rf"betas are of 1 fewer \(.*{n} in session {session}.* names of later ones"
    ):
        open_(root)


@pytest.mark.parametrize("subject", LONG_SESSIONS)
def test_published_lists_tell_the_length_of_each_session(subject):
    n_sessions = 9 if subject == "CSI4" else 15
    counts = {session: 370 if session in LONG_SESSIONS[subject] else 333 for session in range(1, n_sessions + 1)}
    n_names = {"CSI4": 3108}.get(subject, 5254)  # as published
    where = Path(f"{subject}_imgnames.txt")
    assert sum(counts.values()) == n_names
    for last in counts:  # whatever was downloaded so far
        there = {session: n for session, n in counts.items() if session <= last}
        _check_counts(there, n_names, where)
        for session in there:
            with pytest.raises(
                RecordingError, match=rf"^session {session} has {counts[session] - 2} volumes of betas, expected"
            ):
                _check_counts(there | {session: counts[session] - 2}, n_names, where)


def test_an_empty_line_among_the_names_is_refused(root):
    path = find(root, "CSI1_imgnames.txt")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, "", " "]))
    open_(root)
    lines[2] = ""
    path.write_text("\n".join([*lines, "more.jpg"]))
    with pytest.raises(RecordingError, match=r"imgnames\.txt: line 3 is empty"):
        open_(root)
