"""Laws of missing files: all in one message, and a command of `fetch` that brings what it says."""

import shutil
from fnmatch import fnmatchcase

import pytest

from braindiffuser.datasets import laion_files, nsd_layout
from braindiffuser.datasets.bdata_recordings import GOD as GOD_FILE
from braindiffuser.datasets.bold5000_layout import LONG_SESSIONS
from braindiffuser.datasets.missing_files import Missing, fetch_command, lacking, numbered, refuse_missing
from braindiffuser.datasets.nsd_layout import open_nsd
from braindiffuser.errors import RecordingError
from braindiffuser.open_data.catalogue import BOLD5000, GOD, LAION_FMRI, NSD

from .fetch_commands import fetched

DESIGN = "nsddata/experiments/nsd/nsd_expdesign.mat"
ROI = "nsddata/ppdata/subj01/func1pt8mm/roi"
BETAS = "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR"
STIMULI = "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
CAPTIONS = "annots/COCO_73k_annots_curated.npy"


def refused(opened):
    with pytest.raises(RecordingError) as caught:
        opened()
    return str(caught.value)


@pytest.mark.parametrize("sessions", [None, 3, [2, 3]])
@pytest.mark.parametrize(
    "gone", [(DESIGN, STIMULI), (DESIGN, CAPTIONS, STIMULI), (f"{ROI}/nsdgeneral.nii.gz", DESIGN), (BETAS, STIMULI)]
)
def test_all_files_that_nsd_lacks_are_listed_and_the_command_brings_them(damaged_tree, gone, sessions):
    root = damaged_tree.root
    for name in gone:
        (shutil.rmtree if (root / name).is_dir() else type(root / name).unlink)(root / name)
    message = refused(lambda: open_nsd(root, 1, sessions=sessions))
    folder, patterns = fetched(message)
    assert folder == str(root)
    for name in gone:
        assert name in message
        for each in [f"{BETAS}/betas_session03.hdf5"] if name == BETAS else [name] if name != CAPTIONS else []:
            assert any(fnmatchcase(each, pattern) for pattern in patterns)
    if BETAS in gone and sessions is not None:
        assert f"{BETAS}/betas_session{'01 to 03' if sessions == 3 else '02 to 03'} (betas)" in message
    assert message.count("\n") == 0


def test_files_of_another_glm_or_of_no_subject_of_nsd_are_not_downloaded(damaged_tree):
    root = damaged_tree.root
    (root / DESIGN).unlink()
    message = refused(lambda: open_nsd(root, 1, betas_version="mine", sessions=2))
    assert "mine/betas_session01 to 02 (betas, of another GLM or space than those that can be downloaded" in message
    assert message.endswith("--files design`, and put the others there")
    (root / "simulated.json").write_text("{}")
    assert "fetch" not in refused(lambda: open_nsd(root, 1, betas_version="mine"))


def test_sessions_beyond_the_design_are_not_missing(damaged_tree):
    shutil.rmtree(damaged_tree.root / "nsddata_stimuli")
    with pytest.raises(RecordingError, match="the design has 1 to 3"):
        open_nsd(damaged_tree.root, 1, sessions=9)


def test_one_missing_file_is_left_to_its_reader_and_none_is_none(damaged_tree):
    root = damaged_tree.root
    (root / STIMULI).unlink()
    (root / CAPTIONS).unlink()
    assert open_nsd(root, 1).subject == "subj01"  # a later step asks for pictures
    refuse_missing("x", [Missing("a", "betas", "betas"), Missing("b", "captions", needed=False)], "nsd", "subj01")
    (root / DESIGN).unlink()
    with pytest.raises(RecordingError, match=r"lacks .*expdesign\.mat .*, .*nsd_stimuli\.hdf5 .*not needed.* annots"):
        open_nsd(root, 1)


def test_what_comes_by_hand_alone_has_no_command(tmp_path):
    (tmp_path / "c").mkdir()
    files = [(tmp_path / name, Missing("", f"the {name}")) for name in "abc"]
    absent = lacking(tmp_path, [*files, (tmp_path / "d", Missing("shown", "the d", needed=False))])
    assert refused(lambda: refuse_missing("here", absent, "things", "sub-01")) == (
        "here lacks a (the a), b (the b); not needed, and not there: shown (the d): put them there"
    )
    assert fetch_command("here", absent, "things", "sub-01") == ""
    assert numbered([1]) == "01"


def test_the_constants_of_layouts_are_those_that_fetch_knows():
    assert tuple(NSD.sessions.values()) == nsd_layout.PUBLIC_SESSIONS
    assert dict.fromkeys(laion_files.PUBLIC_SUBJECTS, laion_files.PUBLIC_SESSIONS) == LAION_FMRI.sessions
    assert set(BOLD5000.sessions) == set(LONG_SESSIONS)
    assert all(GOD_FILE.fullmatch(f"{subject}.h5") for subject in GOD.sessions)
