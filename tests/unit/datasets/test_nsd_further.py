"""NSD-synthetic and NSD-Imagery: trials show what their design says, test apart, and change nothing of the main experiment."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from braindiffuser.datasets.dataset import Dataset
from braindiffuser.datasets.nsd import NSD
from braindiffuser.datasets.plausibility import doubts
from braindiffuser.datasets.recording_facts import facts_of
from braindiffuser.datasets.responses import ResponseAccumulator, average_responses
from braindiffuser.datasets.saved_recordings import save_recording
from braindiffuser.errors import BrainDiffuserError, RecordingError
from braindiffuser.experiment import Experiment
from braindiffuser.images import to_uint8
from braindiffuser.part import as_part
from braindiffuser.splits.folds import Folds

from .further_layout import N_COMMON, SIZE, WITH_PICTURES, write_betas, write_further, write_synthetic_design

BOTH = ("synthetic", "imagery")
N_PLANNED = 3
KINDS = {"vis": "imagery_vision", "att": "imagery_attention", "img": "imagery_imagination"}


@pytest.fixture(scope="module")
def shared(nsd_tree, tmp_path_factory):
    """The tree that all tests read, with further experiments beside it, in a folder of its own."""
    root = tmp_path_factory.mktemp("further")
    for folder in nsd_tree.root.iterdir():
        _link(folder, root / folder.name)
    return write_further(root, nsd_tree.mask.shape)


@pytest.fixture
def own(damaged_tree):
    return write_further(damaged_tree.root, damaged_tree.mask.shape)


def _link(source, target):
    """Repeat folders, and link files, so that nothing is written into the source."""
    for path in source.rglob("*"):
        if path.is_file():
            there = target / path.relative_to(source)
            there.parent.mkdir(parents=True, exist_ok=True)
            there.symlink_to(path)


def opened(further, names=BOTH, **entries):
    return NSD(root=further.root, subject=1, further=names, **entries).open(Path())


def test_each_trial_of_synthetic_shows_the_picture_of_the_design(shared, nsd_tree):
    recording = opened(shared, ("synthetic",))
    trials = recording.trials_of(N_PLANNED + 1)
    ids = trials["stimulus_id"].to_numpy()
    assert (np.unique(ids, return_inverse=True)[1] + 1 == shared.masterordering).all()
    assert trials["run"].tolist() == shared.runs.tolist()
    assert set(trials["split"]) == {"test"}
    betas = recording.betas_of(N_PLANNED + 1)
    np.testing.assert_allclose(betas, shared.stored["synthetic"][nsd_tree.mask].T / 300, rtol=1e-6)


def test_pictures_of_synthetic_are_shown_as_the_square_root_of_the_middle_square(shared):
    recording = opened(shared, ("synthetic",))
    ids = np.unique(recording.trials_of(N_PLANNED + 1)["stimulus_id"])
    side = recording.pictures(np.array([0])).shape[-1]
    left = (SIZE[1] - SIZE[0]) // 2
    for position in (0, N_COMMON - 1, N_COMMON, len(ids) - 1):
        linear = shared.linear[position][:, left : left + SIZE[0]]
        levels = np.rint(np.sqrt(linear / 255.0) * 255).astype(np.uint8)
        expected = np.asarray(Image.fromarray(levels).resize((side, side), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(to_uint8(recording.pictures(ids[position : position + 1]))[0], expected)


def test_pictures_of_all_experiments_come_in_the_order_asked_for(shared):
    recording = opened(shared)
    ids = recording.trials.groupby("session")["stimulus_id"].first().to_numpy()[::-1]
    together = recording.pictures(ids)
    for picture, number in zip(together, ids, strict=True):
        np.testing.assert_array_equal(picture, recording.pictures(np.array([number]))[0])


@pytest.mark.parametrize("names", [("imagery",), BOTH])
def test_each_trial_of_imagery_has_its_own_beta_and_the_picture_of_its_letter(shared, nsd_tree, names):
    recording = opened(shared, names)
    trials, betas = recording.trials_of(N_PLANNED + 2), recording.betas_of(N_PLANNED + 2)
    used = [event for event in shared.events if event[1] in WITH_PICTURES]
    assert len(trials) == len(used) < len(shared.events)
    side = recording.pictures(np.array([0])).shape[-1]
    seen = {}
    for (kind, letter, volume), number, beta in zip(used, trials["stimulus_id"], betas, strict=True):
        np.testing.assert_allclose(beta, shared.stored["imagery"][nsd_tree.mask][:, volume] / 300, rtol=1e-6)
        assert seen.setdefault((kind, letter), number) == number
        assert number in recording.further_test_sets[KINDS[kind]]
        expected = Image.fromarray(shared.letters[letter]).resize((side, side), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(to_uint8(recording.pictures(np.array([number])))[0], np.asarray(expected))
    assert len(set(seen.values())) == len(seen)


def test_sets_are_apart_and_named_on_the_page(shared):
    recording = opened(shared)
    assert set(recording.sets_apart) == {"synthetic", *KINDS.values()} <= set(recording.notes)
    everything = np.concatenate(list(recording.test_sets.values()))
    assert len(everything) == len(np.unique(everything))
    said = " ".join(recording.remarks)
    for words in (
        "Session 4 is NSD-synthetic",
        "Session 5 is NSD-Imagery",
        "NSD-synthetic: 11 of 11 pictures are not square: the middle square",
        "shown as √(v / 255) · 255",
        "NSD-Imagery: trials of S, Z are left out",
    ):
        assert words in said
    assert recording.captions(int(recording.further_test_sets["synthetic"][0])) == ("",)
    assert recording.captions(0) == ("picture 0",)


@pytest.mark.parametrize("normalisation", ["training", "none", "session-all-trials"])
def test_nothing_of_the_main_experiment_changes(shared, normalisation):
    alone, together = opened(shared, ()), opened(shared)
    main = together.trials[~together.trials["session"].isin(together.apart)]
    assert main.equals(alone.trials)
    assert together.test_sets["test"].tolist() == alone.test_sets["test"].tolist()
    first, second = average_responses(alone, normalisation), average_responses(together, normalisation)
    for name in ("train", "train_ids", "n_repeats_train", "ncsnr", "mean_", "std_"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    np.testing.assert_array_equal(second.test[np.isin(second.test_ids, first.test_ids)], first.test)
    assert facts_of(alone)["Noise ceilings"] == facts_of(together)["Noise ceilings"]


def test_betas_of_further_sessions_would_change_ceilings_if_they_entered(shared):
    together = opened(shared)
    entering = replace(together, apart=())
    assert not np.array_equal(
        average_responses(together, "training").ncsnr, average_responses(entering, "training").ncsnr
    )


def test_sums_go_on_from_a_state_of_any_session(shared):
    recording = opened(shared)
    whole = average_responses(recording, "training")
    begun = ResponseAccumulator(recording.trials, recording.n_voxels, "training", True, apart=recording.stimuli_apart)
    for session, betas in reversed(list(recording.sessions())):
        begun.add(session, betas)
        begun = ResponseAccumulator.from_state(recording.trials, begun.state(), recording.stimuli_apart)
    resumed = begun.finish()
    np.testing.assert_allclose(resumed.ncsnr, whole.ncsnr, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(resumed.test, whole.test, rtol=1e-4, atol=1e-5)
    alone = opened(shared, ())
    main = ResponseAccumulator(alone.trials, alone.n_voxels, "training", True)
    for session, betas in reversed(list(alone.sessions())):
        main.add(session, betas)
    np.testing.assert_allclose(resumed.training_ncsnr, main.finish().training_ncsnr, rtol=1e-4, atol=1e-5)


def test_sessions_without_training_trials_are_refused_where_they_give_means(shared):
    with pytest.raises(
        RecordingError, match=r"session 4 has 0 training trials.*learns from test responses; training or none"
    ):
        average_responses(opened(shared), "session")


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("factor", [1, 15])
def test_a_further_experiment_in_another_unit_is_doubted(own, name, factor):
    own.stored[name] = (own.stored[name] * factor / 300).astype(np.float32)
    write_betas(own, name)
    recording = opened(own)
    number = recording.apart[BOTH.index(name)]
    said = [
        text for text in doubts(average_responses(recording, "training").sessions) if "is the unit the same?" in text
    ]
    assert [text.split(" vary ")[0] for text in said] == ([f"Betas of session {number}"] if factor > 1 else [])


def test_no_split_trains_on_further_experiments(shared):
    divided = Folds(n_folds=3, fold=1).divide(opened(shared))
    apart = divided.trials[divided.trials["session"].isin(divided.apart)]
    assert set(apart["split"]) == {"test"}
    assert "train" in set(divided.trials["split"])


def test_both_formats_give_the_same(own, file_writers):
    first = opened(own, ("synthetic",)).betas_of(N_PLANNED + 1)
    own.betas("synthetic").unlink()
    file_writers[0](own.betas("synthetic", "nii.gz"), own.stored["synthetic"])
    np.testing.assert_array_equal(opened(own, ("synthetic",)).betas_of(N_PLANNED + 1), first)


def test_a_saved_recording_keeps_the_test_sets(shared, tmp_path):
    recording = opened(shared)
    saved = Experiment.load(save_recording(recording, tmp_path / "saved")).dataset.open(Path())
    assert {name: len(ids) for name, ids in saved.test_sets.items()} == {
        name: len(ids) for name, ids in recording.test_sets.items()
    }
    first = int(saved.test_sets["synthetic"][0])
    assert [text.strip() for text in saved.captions(first)] == [""]
    for session in recording.session_numbers:
        np.testing.assert_array_equal(saved.betas_of(session), recording.betas_of(session))


@pytest.mark.parametrize("name", BOTH)
def test_files_that_are_read_are_listed(shared, name):
    dataset, without = (NSD(root=shared.root, further=names) for names in ((name,), ()))
    listed, main = dataset.files(), without.files()
    further = {role: set(listed[role]) - set(main[role]) for role in listed}
    assert all(set(main[role]) <= set(listed[role]) for role in main)
    recording = dataset.open(Path())
    assert set(recording.session_files(recording.apart[0])) == further["betas"]
    assert recording.session_files(1) == without.open(Path()).session_files(1)
    assert {"synthetic": 1, "imagery": 12}[name] == len(further["design"])
    assert {"synthetic": 2, "imagery": len(WITH_PICTURES)}[name] == len(further["stimuli"])


@pytest.mark.parametrize(
    ("names", "missing", "words"),
    [
        (
            ("synthetic",),
            lambda own: own.synthetic_design,
            "which trial showed what: download it by .braindiffuser fetch nsd_synth",
        ),
        (
            ("synthetic",),
            lambda own: own.synthetic_stimuli[0],
            r"nsdsynthetic_stimuli\.hdf5 is missing; it holds pictures",
        ),
        (
            ("synthetic",),
            lambda own: own.synthetic_stimuli[1],
            r"colorstimuli_subj01\.hdf5 is missing.*or leave synthetic out",
        ),
        (("synthetic",), lambda own: own.betas("synthetic"), r"betas_nsdsynthetic\.hdf5 \(or \.nii\.gz\) is missing"),
        (
            ("imagery",),
            lambda own: own.betas("imagery"),
            r"betas_nsdimagery\.hdf5 \(or .*leave imagery out of dataset\.further",
        ),
        (
            ("imagery",),
            lambda own: own.imagery_trials("attB"),
            r"nsdimagery_subj01_attB\.tsv is missing.*fetch nsd_imagery",
        ),
    ],
)
def test_a_missing_file_is_named_with_where_it_comes_from(own, names, missing, words):
    missing(own).unlink()
    with pytest.raises(RecordingError, match=words):
        opened(own, names)
    opened(own, tuple(set(BOTH) - set(names)))


def test_pictures_of_letters_are_asked_for(own):
    for path in own.by_cue.iterdir():
        path.unlink()
    with pytest.raises(RecordingError, match=r"by_cue holds pictures of 0 of the letters B, H, .*such as B\.png"):
        opened(own, ("imagery",))
    for name in ("H.png", "H.jpg", "V.png"):
        Image.fromarray(own.letters["H"]).save(own.by_cue / name)
    with pytest.raises(RecordingError, match=r"holds two pictures of the letter H: keep one$"):
        opened(own, ("imagery",))
    Image.fromarray(own.letters["H"]).save(own.by_cue / "V.jpg")
    with pytest.raises(RecordingError, match=r"2 of 2 .* two pictures of the letter H: keep one \(likewise V\)"):
        opened(own, ("imagery",))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda order, pattern: (order[1:], pattern), r"stimpattern plans 36 trials, but masterordering lists 35"),
        (lambda order, pattern: (order + 1, pattern), r"runs from 2 to 12, but there are pictures 1 … 11"),
        (lambda order, pattern: (order - 1, pattern), r"runs from 0 to 10, but there are pictures 1 … 11"),
        (lambda order, pattern: (order, 2 * pattern), "holds other numbers than 0 and 1"),
    ],
)
def test_a_design_that_does_not_fit_is_refused(own, change, words):
    n = len(own.masterordering)
    write_synthetic_design(own, *change(own.masterordering, np.ones((1, 4, n // 4))))
    with pytest.raises(RecordingError, match=words):
        opened(own, ("synthetic",))


@pytest.mark.parametrize("name", BOTH)
def test_betas_of_another_number_of_trials_or_grid_are_refused(own, name):
    own.stored[name] = own.stored[name][..., :-1]
    write_betas(own, name)
    n = own.stored[name].shape[-1]
    with pytest.raises(
        RecordingError, match=rf"betas_nsd{name}\.hdf5 has {n} trials, but .* plans {n + 1}: download both"
    ):
        opened(own, (name,))
    own.stored[name] = own.stored[name].transpose(2, 1, 0, 3)
    write_betas(own, name)
    with pytest.raises(RecordingError, match=r"grid \(8, 10, 12\), but the analysis mask"):
        opened(own, (name,))


def test_pictures_of_two_sizes_and_trials_without_a_letter_are_refused(own):
    with h5py.File(own.synthetic_stimuli[1], "w") as file:
        file["imgBrick"] = own.linear[:2, :, :-2]
    with pytest.raises(RecordingError, match=r"colorstimuli_subj01\.hdf5: imgBrick is uint8 .* the same size"):
        opened(own, ("synthetic",))
    own.imagery_trials("imgB_2").write_text("SUBJECT\tCONDITION\n1\tH\n1\tn/a\n")
    with pytest.raises(RecordingError, match=r"imgB_2\.tsv: column CONDITION is empty in row 1"):
        opened(own, ("imagery",))


def test_without_further_experiments_the_identity_is_as_before():
    dataset = NSD(root=Path("/data/nsd"))
    assert "further" not in dataset.influences("cpu")
    assert set(dataset.influences_of("design", "cpu")) == {"kind", "subject", "sessions"}
    other = NSD(root=Path("/data/nsd"), further=("imagery",))
    assert other.influences_of("design", "cpu")["further"] == ["imagery"]


def test_names_are_read_in_any_order_and_once():
    entries = {"kind": "nsd", "root": "/data/nsd", "further": ["imagery", "synthetic", "imagery"]}
    assert as_part(Dataset, entries).further == BOTH
    with pytest.raises((BrainDiffuserError, ValueError), match="synthetic"):
        as_part(Dataset, {**entries, "further": ["core"]})
