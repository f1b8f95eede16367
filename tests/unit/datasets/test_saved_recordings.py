"""Laws of recordings as folders: what was saved is read back, by the file that was written beside it."""

import hashlib
import re
import shutil
from collections import deque
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import braindiffuser
from braindiffuser.datasets.arrays import Arrays
from braindiffuser.datasets.dataset import Dataset
from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.recording_facts import notes_on
from braindiffuser.datasets.responses import average_responses
from braindiffuser.datasets.shared_stimuli import shared_stimuli
from braindiffuser.datasets.subject_names import UNNAMED
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import BrainDiffuserError, RecordingError
from braindiffuser.experiment import Experiment
from braindiffuser.recording_check import check_recording
from braindiffuser.run import Run
from braindiffuser.splits import Folds

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


def named(recording, ids):
    return {recording.names[int(number)] for number in ids}


def betas_of(recording):
    return np.concatenate([betas for _, betas in recording.sessions()])


def pictures_of(recording):
    return {name: recording.pictures(np.array([number])).tobytes() for number, name in recording.names.items()}


def sets_of(recording):
    return {name: named(recording, ids) for name, ids in recording.test_sets.items()}


SAME = {
    "subject": lambda recording: recording.subject,
    "trials": lambda recording: [by_name(recording, c) for c in ("session", "run", "trial", "repeat", "split")],
    "voxels": lambda recording: recording.voxels.fingerprint,
    "roi_masks": lambda recording: {name: mask.tolist() for name, mask in recording.roi_masks.items()},
    "read_session": lambda recording: betas_of(recording).tobytes(),
    "unit": lambda recording: recording.unit,
    "pictures": pictures_of,
    "stimuli": lambda recording: recording.stimuli.set_index("name")["category"].to_dict(),
    "captions": lambda recording: {name: recording.captions(number) for number, name in recording.names.items()},
    "further_test_sets": sets_of,
    "ncsnr": lambda recording: np.round(recording.ncsnr, 9).tolist(),
    "shared": lambda recording: named(recording, shared_stimuli(recording)[0]),
    "apart": lambda recording: recording.apart,
    "imagined": lambda recording: recording.imagined,
    "simulated": lambda recording: recording.simulated,
    "split_remark": lambda recording: recording.split_remark,
}
"""Field of a recording → what must be read back of it."""
SAID = {
    "missing_rois": lambda recording: recording.missing_rois,
    "notes": lambda recording: [text for note in recording.notes.values() for text in note],
    "remarks": lambda recording: recording.remarks,
}
"""Field → texts that must be among the notes that `check` and the page show."""
LOST = {"session_files", "described", "label_volumes", "voxel_maps", "n_pictures"}
"""The files are others; label volumes and maps stay where they are (docs); only simulated stimuli are known without names; saved
pictures are those that were shown."""


def test_every_field_of_a_recording_is_kept_or_said(recording, tmp_path):
    """A session apart, in which a picture was imagined, and all that can be said of a recording."""
    imagined = recording.trials["stimulus_id"] == recording.further_test_sets["imagery"][0]
    more = recording.trials[imagined].iloc[[0]].assign(session=11, trial=N_TRIALS, repeat=int(imagined.sum()))
    ids = recording.stimuli.index
    full = replace(
        recording,
        trials=pd.concat([recording.trials, more], ignore_index=True),
        read_session=lambda number: recording.betas_of(number) if number < 11 else recording.betas_of(2)[:1],
        missing_rois=("V2", "V3"),
        notes={"imagery": ("Imagined", "Nothing was seen: scored apart.")},
        shared=lambda: (ids[[0, 2, 3]].to_numpy(), "by their names"),
        session_files=lambda number: (f"{number}.npy",),
        apart=(11,),
        imagined=("imagery",),
        simulated=True,
        described=lambda: pd.DataFrame({"category": "animal"}, index=ids),
        n_pictures=lambda: 100,
        split_remark="Split: 2 of 6, 'tau' of the pool: # as given.",
        remarks=("Scores may be too high: a masker saw all trials.", "In two\nlines."),
    )
    given = {field.name for field in fields(Recording) if getattr(full, field.name) is not field.default}
    assert given == {field.name for field in fields(Recording)} == {*SAME, *SAID, *LOST}
    file = braindiffuser.save_recording(full, tmp_path / "shared")
    back = read_back(file)
    assert {name: of(back) for name, of in SAME.items()} == {name: of(full) for name, of in SAME.items()}
    said = " ".join(notes_on(back))
    assert all(" ".join(text.split()) in said for texts in SAID.values() for text in texts(full))


def test_check_repeats_the_remarks_of_a_null_and_forgets_a_split_that_is_replaced(tmp_path):
    null = Folds(n_folds=3, shuffled=0).divide(put_together(split=None))
    file = braindiffuser.save_recording(null, tmp_path / "shared")
    lines = list(check_recording(str(file)))
    assert any("This is a null, no result" in line for line in lines)
    assert f"Note: {null.split_remark}" in lines
    file.write_text(file.read_text(encoding="utf-8") + "split: {kind: folds, n_folds: 4, seed: 3}\n", encoding="utf-8")
    again = [line for line in check_recording(str(file)) if line.startswith(("Note: Split", "Note: This is a null"))]
    assert len(again) == 2
    assert any("fold 0 (from 0) of 4 by seed 3" in line for line in again)


def test_remarks_are_a_part_of_the_identity_and_a_missing_file_is_named(recording, tmp_path):
    file = braindiffuser.save_recording(recording, tmp_path / "shared")
    dataset = Experiment.load(file).dataset
    assert dataset.files()["design"]["remarks.txt"] == file.with_name("remarks.txt")
    for entry, value in {"split_remark": "x", "imagined": ("imagery",), "apart": (2,)}.items():
        assert entry not in dataset.influences("cpu")
        assert dataset.model_copy(update={entry: value}).influences_of("design", "cpu")[entry]
    file.with_name("remarks.txt").unlink()
    with pytest.raises(RecordingError, match=r"remarks\.txt"):
        dataset.open(Path())


def test_a_folder_that_is_saved_again_is_the_same(recording, tmp_path):
    first = braindiffuser.save_recording(recording, tmp_path / "shared")
    again = braindiffuser.save_recording(read_back(first), tmp_path / "again/shared")
    digests = [
        {p.relative_to(file.parent): hashlib.sha256(p.read_bytes()).hexdigest() for p in file.parent.rglob("*.[!n]*")}
        for file in (first, again)
    ]
    changed = {str(path) for path in digests[0] if digests[0][path] != digests[1][path]}
    assert digests[0].keys() == digests[1].keys()
    assert not changed - {"mask.nii.gz", "captions.csv", "remarks.txt"}  # a time inside; order of ids; what readers add
    assert read_back(again).remarks == read_back(first).remarks


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


def put_together(**given):
    """A recording of 12 stimuli, 3 of which test, that can be run."""
    rng = np.random.default_rng(0)
    shown = rng.permutation(np.repeat(np.arange(12), 3))
    return braindiffuser.recording(
        rng.normal(size=(36, 20)).astype(np.float32),
        pd.DataFrame({"stim_file": shown, "caption": [f"picture {number}" for number in shown]}),
        unit="z",
        pictures=rng.integers(0, 256, (12, 16, 16, 3)).astype(np.uint8),
        **{"split": ["1", "5", "7"]} | given,
    )


def test_a_run_takes_what_was_put_together_in_python(tmp_path):
    """From arrays to responses: one row for each stimulus, averaged over its trials."""
    held = put_together()
    run = Run.open(Experiment.load(braindiffuser.save_recording(held, tmp_path / "mine")), tmp_path / "run")
    run.do("prepare")
    expected = average_responses(held)
    for name in ("train", "test"):
        np.testing.assert_allclose(run.results.read_array(f"responses/{name}"), getattr(expected, name), atol=1e-5)


def test_check_takes_what_was_saved(tmp_path):
    file = braindiffuser.save_recording(put_together(), tmp_path / "shared")
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


@pytest.mark.parametrize("subject", ["1", "true", "x: y", " a", "#", "\U0001f9e0", "a" * 64])
def test_a_subject_of_any_name_is_read_back(subject, tmp_path):
    file = braindiffuser.save_recording(put_together(subject=subject), tmp_path / "shared")
    assert read_back(file).subject == subject
    assert any(line.endswith(f" {subject}") for line in check_recording(str(file)))


@pytest.mark.parametrize("given", [{}, {"subject": None}, {"subject": UNNAMED}])
def test_a_subject_without_a_name_is_called_nothing(given, tmp_path):
    """Neither None, nor a name that nobody gave, nor quotes around nothing."""
    held = put_together(**{"subject": None} | given)
    file = braindiffuser.save_recording(held, tmp_path / "shared")
    assert read_back(file).subject == held.subject
    (line,) = (line for line in check_recording(str(file)) if line.startswith("Subject"))
    assert line.split(maxsplit=1) == ["Subject", "has no name"]
    broken = replace(held, read_session=lambda session: np.full((1, 1), np.nan, np.float32))
    with pytest.raises(RecordingError) as refused:
        broken.betas_of(held.session_numbers[0])
    assert not re.search(r"None|''|\bof subject|\(\)", str(refused.value))
    with pytest.raises(RecordingError, match="the subject's name is empty; expected 1 to 64"):
        replace(held, subject="")


@pytest.mark.parametrize("subject", ["", " ", "a" * 65, "\ud800", "a\nb", "\0"])
def test_a_subject_whose_name_cannot_be_read_back_is_refused(recording, subject):
    with pytest.raises(RecordingError, match=r"subject's name is .*; expected 1 to 64 characters that can be printed"):
        replace(recording, subject=subject)


@pytest.mark.parametrize("name", ["\ud800", "V1\n", "\0"])
def test_a_region_whose_name_cannot_be_read_back_is_refused(recording, name, tmp_path):
    with pytest.raises(RecordingError, match="has a name that cannot be printed: rename it"):
        braindiffuser.save_recording(
            replace(recording, roi_masks={name: recording.roi_masks["V1"]}), tmp_path / "shared"
        )
    assert not (tmp_path / "shared").exists()


def test_stimuli_of_a_further_set_that_train_keep_their_split(recording, tmp_path):
    train = recording.trials.loc[recording.trials["split"] == "train", "stimulus_id"].iloc[:1]
    sets = {"imagery": np.array([*recording.further_test_sets["imagery"], *train])}
    back = read_back(braindiffuser.save_recording(replace(recording, further_test_sets=sets), tmp_path / "shared"))
    assert by_name(back, "split") == by_name(recording, "split")
    named = {name: {back.names[number] for number in ids} for name, ids in back.test_sets.items()}
    assert named == {name: {recording.names[n] for n in ids} for name, ids in recording.test_sets.items()}


def test_check_says_the_same_of_a_folder_that_was_copied_elsewhere(tmp_path, monkeypatch):
    file = braindiffuser.save_recording(put_together(), tmp_path / "shared")
    before = list(check_recording(str(file)))
    copied = shutil.copytree(file.parent, tmp_path / "else where" / "copy")
    shutil.rmtree(file.parent)
    assert list(check_recording(str(copied / file.name)))[:-1] == before[:-1]
    monkeypatch.chdir(copied)
    assert list(check_recording(file.name)) == [
        *before[:-1],
        f"Run it: braindiffuser run --config {file.name} --out runs/shared",
    ]


@pytest.mark.parametrize(
    ("sides", "sets", "words"),
    [
        (["train"] * 9 + ["out"] * 3, {}, "^no stimulus tests, but scores"),
        (["train"] * 11 + ["test"], {}, "the test set test has one stimulus"),
        (["train"] * 9 + ["test"] * 3, {"imagery": [9]}, "the test set imagery has one stimulus"),
        (
            ["train"] * 9 + ["test"] * 3,
            {"imagery": [9, 10, 11]},
            r"all test stimuli belong to further test sets \(imagery\)",
        ),
        (["train"] + ["out"] * 8 + ["test"] * 3, {}, "^1 stimuli train, but scores"),
        (["train"] * 2 + ["out"] * 7 + ["test"] * 3, {}, "folds"),
    ],
)
def test_check_gives_no_command_where_no_run_can_be_scored(sides, sets, words, tmp_path):
    held = put_together()
    trials = held.trials.assign(split=np.array(sides)[held.trials["stimulus_id"]])
    changed = replace(held, trials=trials, further_test_sets={name: np.array(ids) for name, ids in sets.items()})
    file = braindiffuser.save_recording(changed, tmp_path / "shared")
    lines = check_recording(str(file))
    assert next(lines).startswith("Subject")
    with pytest.raises(BrainDiffuserError, match=words):
        deque(line for line in lines if line.startswith("Run it") and pytest.fail(line))
    with pytest.raises(BrainDiffuserError, match=words):
        Run.open(Experiment.load(file), tmp_path / "run").do("prepare")


def test_check_and_run_refuse_a_kind_that_promises_captions_and_has_none(tmp_path, monkeypatch):
    file = braindiffuser.save_recording(replace(put_together(), captions=None), tmp_path / "shared")
    monkeypatch.setattr(
        Arrays, "has_captions", Dataset.has_captions
    )  # as a class of one's own that says nothing of them
    words = "the recording has no captions, and targets text are made from them: .* let its has_captions return False"
    with pytest.raises(BrainDiffuserError, match=words):
        deque(line for line in check_recording(str(file)) if line.startswith("Run it") and pytest.fail(line))
    with pytest.raises(BrainDiffuserError, match=words):
        Run.open(Experiment.load(file), tmp_path / "run").do("prepare")


def test_nothing_is_overwritten_and_pictures_are_needed(recording, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(RecordingError, match="full is there already and is not an empty folder: name a new one"):
        braindiffuser.save_recording(recording, tmp_path / "full")
    with pytest.raises(RecordingError, match="opened without its pictures"):
        braindiffuser.save_recording(replace(recording, pictures=Recording.pictures), tmp_path / "new")
