"""Laws of recordings as folders: what was saved is read back, by a file of at most six lines."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import braindiffuser
from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.responses import average_responses
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError
from braindiffuser.experiment import Experiment
from braindiffuser.recording_check import check_recording
from braindiffuser.run import Run

N_TRIALS = 40
NAMES = ("0012", "a.jpg", "sub/b", "sub/b.c.tif", "x y.png", "ä", "7")
SINGLE = np.array([[1.8, 0, 0, -9.9], [0, 1.8, 0, -8.1], [0, 0, 1.8, -6.3], [0, 0, 0, 1.0]])


@pytest.fixture(params=[0, 1])
def recording(request):
    """Ids with gaps, names of every kind, sessions with gaps, two test sets, stimuli in neither."""
    rng = np.random.default_rng(request.param)
    ids = np.sort(rng.choice(100, len(NAMES), replace=False))
    mask = rng.random((4, 5, 3)) < 0.5
    shown = rng.permutation(np.concatenate([np.arange(len(NAMES)), rng.integers(0, len(NAMES), N_TRIALS - len(NAMES))]))
    session = np.sort(rng.choice([2, 5, 9], N_TRIALS))
    trials = pd.DataFrame(
        {
            "subject": "ann",
            "session": session,
            "run": rng.integers(1, 4, N_TRIALS),
            "trial": np.arange(N_TRIALS),
            "stimulus_id": ids[shown],
            "repeat": pd.Series(shown).groupby(shown).cumcount(),
            "split": np.array(["train", "train", "test", "test", "out", "train", "test"])[shown],
        }
    )
    betas = rng.normal(size=(N_TRIALS, mask.sum())).astype(np.float32)
    levels = rng.integers(0, 256, (100, 3, 12, 12)).astype(np.float32)
    return Recording(
        subject="ann",
        trials=trials,
        voxels=Voxels.in_volume(mask, SINGLE),
        roi_masks={"V1": rng.random(mask.sum()) < 0.5, "file": np.zeros(mask.sum(), bool)},
        read_session=lambda number: betas[session == number],
        unit="percent",
        pictures=lambda numbers: levels[numbers] / np.float32(255),
        stimuli=pd.DataFrame({"name": NAMES, "category": list("abcabca")}, index=ids),
        captions={int(number): ("one, two", "one, two", f"0{number}") for number in ids}.__getitem__,
        further_test_sets={"imagery": ids[[3]]},
        ncsnr=rng.random(mask.sum()),
        remarks=("Said once.",),
    )


def read_back(file):
    return Experiment.load(file).dataset.open(Path())


def by_name(recording, column):
    return [recording.names[number] for number in recording.trials["stimulus_id"]], recording.trials[column].tolist()


def test_what_was_saved_is_read_back(recording, tmp_path):
    file = braindiffuser.save_recording(recording, tmp_path / "shared")
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 6
    back = read_back(file)
    for column in ("subject", "session", "run", "trial", "repeat", "split"):
        assert by_name(back, column) == by_name(recording, column)
    for number, betas in recording.sessions():
        np.testing.assert_array_equal(back.betas_of(number), betas)
    assert back.fingerprint == recording.fingerprint
    assert {k: v.tolist() for k, v in back.roi_masks.items()} == {k: v.tolist() for k, v in recording.roi_masks.items()}
    np.testing.assert_allclose(back.ncsnr, recording.ncsnr)
    id_of = {name: number for number, name in back.names.items()}
    for number, name in recording.names.items():
        own = id_of[name]
        np.testing.assert_array_equal(back.pictures(np.array([own])), recording.pictures(np.array([number])))
        assert back.captions(own) == recording.captions(number)
        assert back.stimuli.loc[own, "category"] == recording.stimuli.loc[number, "category"]
    sets = {name: {back.names[number] for number in ids} for name, ids in back.test_sets.items()}
    assert sets == {name: {recording.names[n] for n in ids} for name, ids in recording.test_sets.items()}
    assert (back.unit, back.simulated) == (recording.unit, recording.simulated)


def test_a_folder_that_is_saved_again_is_the_same(recording, tmp_path):
    first = braindiffuser.save_recording(recording, tmp_path / "shared")
    again = braindiffuser.save_recording(
        replace(read_back(first), remarks=recording.remarks), tmp_path / "again/shared"
    )
    digests = [
        {p.relative_to(file.parent): hashlib.sha256(p.read_bytes()).hexdigest() for p in file.parent.rglob("*.[!n]*")}
        for file in (first, again)
    ]
    changed = {str(path) for path in digests[0] if digests[0][path] != digests[1][path]}
    assert digests[0].keys() == digests[1].keys()
    assert not changed - {"mask.nii.gz", "captions.csv"}  # a time inside; order of ids


@pytest.mark.parametrize(
    "voxels",
    [
        lambda n: Voxels(n),
        lambda n: Voxels(n, coordinates=np.random.default_rng(0).normal(size=(n, 3))),
        lambda n: Voxels.in_volume(np.ones((n, 1, 1), bool)),
        lambda n: Voxels.in_volume(np.ones((n, 1, 1), bool), SINGLE + 1e-4 * np.eye(4) * [[0.5], [0.5], [0.5], [0]]),
        lambda n: Voxels.in_volume(np.ones((n, 1, 1), bool), SINGLE + 49.50005 * np.eye(4, k=3)),
    ],
)
def test_voxels_keep_their_place(recording, voxels, tmp_path):
    moved = replace(recording, voxels=voxels(recording.n_voxels), ncsnr=None)
    assert read_back(braindiffuser.save_recording(moved, tmp_path / "shared")).fingerprint == moved.fingerprint


def test_without_what_is_optional(recording, tmp_path):
    bare = replace(
        recording,
        trials=recording.trials.assign(split=""),
        voxels=Voxels(recording.n_voxels),
        roi_masks={},
        stimuli=None,
        captions=None,
        further_test_sets={},
        ncsnr=None,
        remarks=(),
        simulated=True,
    )
    back = read_back(braindiffuser.save_recording(bare, tmp_path / "shared"))
    assert not back.has_split
    assert back.captions is None
    assert back.ncsnr is None
    assert back.simulated
    numbers = [int(back.names[number].removesuffix(".png")) for number in back.trials["stimulus_id"]]
    assert numbers == bare.trials["stimulus_id"].tolist()


def test_a_run_takes_what_was_put_together_in_python(tmp_path):
    """From arrays to responses: one row for each stimulus, averaged over its trials."""
    rng = np.random.default_rng(0)
    shown = rng.permutation(np.repeat(np.arange(12), 3))
    betas = rng.normal(size=(36, 20)).astype(np.float32)
    held = braindiffuser.recording(
        betas,
        pd.DataFrame({"stim_file": shown, "caption": [f"picture {number}" for number in shown]}),
        unit="z",
        pictures=rng.integers(0, 256, (12, 16, 16, 3)).astype(np.uint8),
        split=["1", "5", "7"],
    )
    run = Run.open(Experiment.load(braindiffuser.save_recording(held, tmp_path / "mine")), tmp_path / "run")
    run.do("prepare")
    expected = average_responses(held)
    for name in ("train", "test"):
        np.testing.assert_allclose(run.results.read_array(f"responses/{name}"), getattr(expected, name), atol=1e-5)


def test_check_takes_what_was_saved(recording, tmp_path):
    file = braindiffuser.save_recording(recording, tmp_path / "shared")
    assert f"Run it: braindiffuser run --config {file} --out runs/shared" in list(check_recording(str(file)))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("n/a", *NAMES[1:]), "'n/a' cannot be a file of that name"),
        ((" a", *NAMES[1:]), "' a' cannot be a file of that name"),
        (("../a", *NAMES[1:]), "no plain path below a folder"),
        (("/a", *NAMES[1:]), "no plain path below a folder"),
        (("a?", *NAMES[1:]), "characters that files must not have"),
        (("A.JPG", *NAMES[1:]), "'A.JPG' and 'a.jpg' would be the same file: rename one"),
    ],
)
def test_names_that_no_file_can_have_are_named(recording, names, words, tmp_path):
    with pytest.raises(RecordingError, match=words):
        braindiffuser.save_recording(replace(recording, stimuli=recording.stimuli.assign(name=names)), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_nothing_is_overwritten_and_pictures_are_needed(recording, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(RecordingError, match="full is there already and is not an empty folder: name a new one"):
        braindiffuser.save_recording(recording, tmp_path / "full")
    with pytest.raises(RecordingError, match="opened without its pictures"):
        braindiffuser.save_recording(replace(recording, pictures=Recording.pictures), tmp_path / "new")
