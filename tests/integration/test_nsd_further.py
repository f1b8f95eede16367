"""A decoder fitted on NSD is tested on NSD-synthetic and NSD-Imagery: scored apart, with the main experiment as without them."""

import shutil
import sys
from importlib import import_module
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braindiffuser.errors import BrainDiffuserError
from braindiffuser.export.finished_run import FinishedRun
from braindiffuser.progress import silent
from braindiffuser.recording_check import check_recording
from braindiffuser.run import Run

ROOT = str(Path(__file__).parents[2])
SETS = ["synthetic", "imagery_vision", "imagery_attention", "imagery_imagination"]


def layout():
    sys.path.append(ROOT)
    try:
        return import_module("tests.unit.datasets.further_layout")
    finally:
        sys.path.remove(ROOT)


@pytest.fixture(scope="module")
def root(recording_root, tmp_path_factory):
    root = tmp_path_factory.mktemp("nsd") / "recording"
    shutil.copytree(recording_root, root)
    grid = nib.load(root / "nsddata/ppdata/subj01/func1pt8mm/roi/nsdgeneral.nii.gz").shape
    layout().write_further(root, grid)
    return root


def changed(experiment, root, further):
    return experiment.changed(
        {
            "dataset": {"kind": "nsd", "root": str(root), "further": further},
            "responses": {"normalisation": "training", "min_noise_ceiling": 1.0},
            "pictures": {"ablations": []},
        }
    )


@pytest.fixture(scope="module")
def runs(experiment, root, tmp_path_factory):
    """A whole run with both, and the responses of one without."""
    together = Run.open(changed(experiment, root, ["synthetic", "imagery"]), tmp_path_factory.mktemp("together"))
    together.run_all()
    alone = Run.open(changed(experiment, root, []), tmp_path_factory.mktemp("alone"))
    alone.do("prepare")
    return together, alone


def test_the_page_lists_the_sets_apart(runs):
    page = (runs[0].results.folder / "report" / "index.html").read_text()
    for words in (
        "NSD-synthetic: pictures unlike photographs",
        "NSD-Imagery: seen",
        "NSD-Imagery: attended",
        "NSD-Imagery: imagined",
        "They are scored among themselves, and enter no other score of this page",
        "11 of 11 pictures are not square",
        "shown as √(v / 255) · 255",
    ):
        assert words in page
    for name in SETS:
        scores = runs[0].results.read_json(f"scores_{name}.json")
        assert scores["n_images"] == (11 if name == "synthetic" else 6)


def test_the_main_experiment_is_as_without_them(runs):
    together, alone = (run.results for run in runs)
    assert list(together.read_json("test_sets.json")) == ["test", "held_out", *SETS]
    assert together.read_json("subject.json")["sets_apart"] == SETS
    assert "sets_apart" not in alone.read_json("subject.json")
    for name in ("ncsnr", "responses/train", "responses/n_repeats_train", "stimuli/train_ids"):
        np.testing.assert_array_equal(together.read_array(name), alone.read_array(name))
    n = len(alone.read_array("stimuli/test_ids"))
    for name in ("responses/test", "responses/n_repeats_test", "stimuli/test_ids"):
        np.testing.assert_array_equal(together.read_array(name)[:n], alone.read_array(name))
    assert (together.path("rois.npz")).read_bytes() == (alone.path("rois.npz")).read_bytes()


def test_repeats_of_sets_apart_do_not_enter_ceilings(runs):
    from braindiffuser.stages.prepare import ceilings_of_tests

    together, alone = (run.results for run in runs)
    assert set(together.read_array("responses/n_repeats_test")) > set(alone.read_array("responses/n_repeats_test"))
    np.testing.assert_array_equal(ceilings_of_tests(together), ceilings_of_tests(alone))


def test_what_is_exported_of_voxels_is_as_without_them(runs):
    exported = [FinishedRun.open(run.results.folder, silent) for run in runs]
    np.testing.assert_array_equal(*(one.chosen for one in exported))
    np.testing.assert_array_equal(*(one.noise_ceilings for one in exported))


def test_check_says_what_they_are_and_refuses_the_demos_normalisation(root, tmp_path):
    dataset = f"dataset: {{kind: nsd, root: {root}, further: [synthetic, imagery]}}\n"
    (tmp_path / "mine.yaml").write_text(f"preset: demo\n{dataset}responses: {{normalisation: training}}\n")
    lines = list(check_recording(str(tmp_path / "mine.yaml")))
    assert any("11 synthetic, 6 imagery_vision, 6 imagery_attention, 6 imagery_imagination" in line for line in lines)
    assert any(line.startswith("Note: Session") and "NSD-Imagery" in line for line in lines)
    (tmp_path / "mine.yaml").write_text(f"preset: demo\n{dataset}")
    with pytest.raises(BrainDiffuserError, match=r"has 0 training trials .* choose session-all-trials"):
        list(check_recording(str(tmp_path / "mine.yaml")))
