import json
import shutil
from dataclasses import replace

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from safetensors.numpy import load_file
from scipy.io import loadmat

from braindiffuser.datasets.noise_ceiling import NoiseCeilingAccumulator, noise_ceiling
from braindiffuser.datasets.nsd_layout import SIMULATED, held_out_ids, open_captions, open_nsd
from braindiffuser.datasets.region_expressions import evaluate
from braindiffuser.datasets.simulated import Simulated
from braindiffuser.datasets.simulation import simulate as simulated
from braindiffuser.datasets.simulation.brain import draw_brain
from braindiffuser.datasets.simulation.nsd_files import draw_design
from braindiffuser.datasets.simulation.scenes import load_scene_kit
from braindiffuser.datasets.simulation.simulate import simulate
from braindiffuser.datasets.simulation.subject import SimulatedSubject
from braindiffuser.datasets.voxel_maps import VoxelMaps
from braindiffuser.errors import RecordingError, RunError
from braindiffuser.files import alone_in

CONFIG = SimulatedSubject(
    n_train=120,
    n_test=18,
    n_held_out=6,
    trials_per_session=72,
    grid=(10, 12, 10),
    n_early=150,
    n_higher=150,
    size=32,
)
BETAS = "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR"
FUNCTIONAL = "nsddata/ppdata/subj01/func1pt8mm"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("simulated"), CONFIG)


@pytest.fixture(scope="module")
def recording(folder):
    return open_nsd(folder, 1)


@pytest.fixture(scope="module")
def betas(recording):
    return np.concatenate([betas for _, betas in recording.sessions()])


@pytest.fixture(scope="module")
def responses(folder):
    return load_file(folder / "truth/responses.safetensors")["responses"]


@pytest.fixture(scope="module")
def voxels(folder):
    return pd.read_csv(folder / "truth/voxels.csv")


def volume(folder, name):
    return np.asarray(nib.load(folder / name).dataobj)


def arrays_of(folder):
    """Read everything that a simulation wrote, by file name."""
    contents = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.suffix == ".hdf5":
            with h5py.File(path) as file:
                contents |= {(path.name, name): dataset[:].tobytes() for name, dataset in file.items()}
        elif path.suffix == ".gz":
            contents[str(path.relative_to(folder))] = np.asarray(nib.load(path).dataobj).tobytes()
        elif path.suffix == ".mat":  # its header holds the date
            contents[path.name] = {name: values.tobytes() for name, values in loadmat(path).items() if name[0] != "_"}
        else:
            contents[str(path.relative_to(folder))] = path.read_bytes()
    return contents


def test_default_subject_fills_its_sessions():
    config = SimulatedSubject()
    assert (config.n_pictures, config.n_designed_sessions, config.n_sessions) == (3200, 20, 19)


def test_a_recording_that_was_not_simulated_has_no_held_out_photographs(tmp_path):
    assert len(held_out_ids(tmp_path)) == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_train": 3001}, "do not fill sessions"),
        ({"n_held_out": 1}, "scores compare two or more pictures: give 0, or 2 or more"),
        ({"n_missing_sessions": 20}, "must be smaller"),
        ({"n_dropouts": 10_000}, "more than the 3600 voxels"),
        ({"n_trian": 3}, "there is no such entry; known entries: subject, n_train, "),
    ],
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(ValidationError, match=words):
        SimulatedSubject(**settings)


def test_design_is_double_and_counts_from_one(folder):
    design = loadmat(folder / "nsddata/experiments/nsd/nsd_expdesign.mat")
    ordering, stimuli, shared, pattern = (
        design[name] for name in ("masterordering", "subjectim", "sharedix", "stimpattern")
    )
    assert all(table.dtype == np.float64 for table in (ordering, stimuli, shared, pattern))
    assert ordering.shape == (1, 432)
    assert np.array_equal(np.bincount(ordering[0].astype(int)), [0] + [3] * 144)
    assert np.array_equal(np.sort(stimuli, axis=1), np.tile(np.arange(1, 145), (8, 1)))
    assert np.array_equal(stimuli[:, :24], np.tile(shared, (8, 1)))
    assert (np.diff(shared[0]) > 0).all()
    assert pattern.sum((1, 2)).tolist() == [72] * 6
    assert (pattern == 0).any()


def test_last_sessions_lose_repeats_but_no_picture():
    ordering = draw_design(20, 200, 3, 60, np.random.default_rng(0)).ordering
    n_shown = np.bincount(ordering[:540], minlength=201)[1:]
    assert set(n_shown) == {2, 3}


def test_stimulus_table_and_behaviour_agree_with_the_design(folder, recording):
    table = pd.read_csv(folder / "nsddata/experiments/nsd/nsd_stim_info_merged.csv", index_col=0)
    assert len(table.columns) == 40
    assert table["shared1000"].sum() == 24
    first_trials = recording.trials[recording.trials["repeat"] == 0].set_index("stimulus_id")["trial"]
    assert (table.loc[first_trials.index, "subject1_rep0"] == first_trials + 1).all()
    behaviour = pd.read_csv(folder / "nsddata/ppdata/subj01/behav/responses.tsv", sep="\t")
    assert len(behaviour.columns) == 19
    assert (behaviour["73KID"] - 1 == recording.trials["stimulus_id"]).all()
    assert (behaviour["SESSION"] == recording.trials["session"]).all()
    assert (behaviour["ISOLD"] == (recording.trials["repeat"] > 0)).all()
    assert behaviour.groupby(["SESSION", "RUN"])["TRIAL"].agg(
        ["min", "max", "size"]
    ).drop_duplicates().values.tolist() == [[1, 6, 6]]
    assert (behaviour["TIME"].diff().dropna() > 0).all()


def test_pictures_and_captions_show_the_scenes(folder):
    captions = open_captions(folder)
    scenes = pd.read_csv(folder / "truth/scenes.csv")
    assert len(captions.texts) == len(scenes) == 144
    with h5py.File(folder / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5") as file:
        assert (file["imgBrick"].shape, file["imgBrick"].dtype) == ((144, 32, 32, 3), np.uint8)
    raw = np.load(folder / "annots/COCO_73k_annots_curated.npy")
    assert (raw.shape, raw.dtype) == ((144, 5), np.dtype("<U250"))
    assert all(name in captions.captions(number)[0] for number, name in enumerate(scenes["object"]))


def test_held_out_photographs_are_in_the_test_set_only(folder, recording):
    scenes = pd.read_csv(folder / "truth/scenes.csv").set_index("stimulus_id")
    held_out_names = {photo.name for photo in load_scene_kit().split("held_out").objects}
    held_out = scenes[scenes["split"] == "held_out"]
    assert len(held_out) == 6
    assert set(held_out["object"]) <= held_out_names
    assert set(held_out_ids(folder)) == set(held_out.index)
    split = recording.trials.drop_duplicates("stimulus_id").set_index("stimulus_id")["split"]
    assert (scenes.loc[split.index, "split"].replace("held_out", "test") == split).all()
    assert list(recording.test_sets) == ["test", "held_out"]
    assert set(recording.test_sets["held_out"]) == set(held_out.index)
    assert set(recording.test_sets["test"]) == set(split.index[split == "test"]) - set(held_out.index)


def test_what_scenes_show_is_known_but_is_no_name(folder, recording):
    scenes = pd.read_csv(folder / "truth/scenes.csv").set_index("stimulus_id")
    described = recording.described()
    assert described["category"].tolist() == scenes["category"].tolist()
    assert list(described) == ["object", "category", "background", "background_category"]
    assert recording.names == {}


def test_a_simulated_recording_says_so(recording):
    assert recording.simulated


def test_betas_are_int16_and_zero_outside_the_brain(folder):
    with h5py.File(folder / BETAS / "betas_session01.hdf5") as file:
        betas = file["betas"]
        assert (betas.shape, betas.dtype, betas.chunks) == ((72, 10, 12, 10), np.int16, (72, 1, 1, 1))
        stored = betas[:].transpose(3, 2, 1, 0)
    brain = volume(folder, f"{FUNCTIONAL}/brainmask.nii.gz") > 0
    assert not stored[~brain].any()
    assert np.abs(stored).max() < 32767
    assert 0.5 < (stored[brain] / 300).std() < 3
    assert not (folder / BETAS / "betas_session06.hdf5").exists()


def test_nifti_betas_are_the_hdf5_betas_transposed(folder, tmp_path):
    other = tmp_path / "nifti"
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("betas_session*"))
    config = CONFIG.model_copy(update={"betas_format": "nii.gz"})
    (other / "simulated.json").write_text(json.dumps({"config": config.model_dump(mode="json"), "complete": False}))
    simulate(other, config)
    with h5py.File(folder / BETAS / "betas_session02.hdf5") as file:
        expected = file["betas"][:].transpose(3, 2, 1, 0)
    image = nib.load(other / BETAS / "betas_session02.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj), expected)
    assert (image.get_data_dtype(), int(image.header["sform_code"]), int(image.header["qform_code"])) == (
        np.int16,
        1,
        0,
    )
    np.testing.assert_allclose(image.header.get_zooms(), (1.8, 1.8, 1.8, 4 / 3), rtol=1e-6)
    np.testing.assert_allclose(image.affine[:3, 3], (1 - (np.array([10, 12, 10]) + 1) / 2) * 1.8)


def test_rois_use_minus_one_zero_and_labels_in_both_hemispheres(folder):
    for name in ("nsdgeneral", "prf-visualrois", "prf-eccrois", "floc-bodies", "floc-places", "floc-food", "streams"):
        both, left, right = (volume(folder, f"{FUNCTIONAL}/roi/{side}{name}.nii.gz") for side in ("", "lh.", "rh."))
        assert both.dtype == np.float64
        assert set(np.unique(both)) >= {-1, 0, 1}
        assert np.array_equal(both, np.maximum(left, right))
        assert not ((left >= 0) & (right >= 0)).any()
        assert (left[5:] == -1).all()
    for name in ("floc-faces", "floc-words"):
        assert set(np.unique(volume(folder, f"{FUNCTIONAL}/roi/{name}.nii.gz"))) == {-1, 0}
    table = (folder / "nsddata/freesurfer/subj01/label/prf-visualrois.mgz.ctab").read_text()
    assert table.splitlines()[:2] == ["0 Unknown", "1 V1v"]


def test_reader_finds_regions_where_the_truth_has_them(recording, voxels):
    analysed = voxels[voxels["nsdgeneral"] > 0]
    assert np.array_equal(np.argwhere(recording.voxels.mask), analysed[["x", "y", "z"]])
    assert np.array_equal(recording.roi_masks["V2"], analysed["prf-visualrois"].isin([3, 4]))
    limits = {"ecc_0.5": (0, 0.5), "ecc_1": (0.5, 1), "ecc_2": (1, 2), "ecc_4": (2, 4), "ecc_4+": (4, np.inf)}
    for region, (lower, upper) in limits.items():
        true = (analysed["prf_eccentricity"] > lower) & (analysed["prf_eccentricity"] <= upper)
        assert np.array_equal(recording.roi_masks[region], true)
    assert not recording.roi_masks["faces"].any()


def test_expressions_find_the_regions_of_the_truth_by_labels_and_by_maps(recording, voxels):
    known, analysed = recording.known_regions, voxels[voxels["nsdgeneral"] > 0]
    ecc = analysed["prf_eccentricity"].to_numpy()
    for written, expected in {
        "V1v|V1d": analysed["prf-visualrois"].isin([1, 2]),
        "prf-visualrois & !hV4": analysed["prf-visualrois"].isin([1, 2, 3, 4, 5, 6]),
        "ecc<1": ecc < 1,  # NaN where there is no receptive field
        "1<=ecc<3 & V1-V4": (ecc >= 1) & (ecc < 3),
        "angle>180": analysed["prf_angle"] > 180,
    }.items():
        np.testing.assert_array_equal(evaluate(written, known), expected, err_msg=written)
    bands = replace(recording, voxel_maps=VoxelMaps()).known_regions
    for limit in (0.5, 1, 2, 4):
        np.testing.assert_array_equal(evaluate(f"ecc<{limit}", bands), evaluate(f"ecc<{limit}", known))


def test_retinotopy_volumes_hold_the_truth(folder, voxels):
    early = voxels[voxels["kind"] == "early"]
    for name in ("angle", "eccentricity", "size"):
        told = volume(folder, f"{FUNCTIONAL}/prf_{name}.nii.gz")
        np.testing.assert_allclose(told[early["x"], early["y"], early["z"]], early[f"prf_{name}"], rtol=1e-5)


def test_dropouts_are_zero_in_their_session_only(folder, recording, voxels):
    analysed = voxels[voxels["nsdgeneral"] > 0].reset_index(drop=True)
    dropouts = analysed["dropout_session"].dropna()
    assert len(dropouts) == 2
    shares = volume(folder, f"{FUNCTIONAL}/valid.nii.gz")[recording.voxels.mask]
    for session, betas in recording.sessions():
        dead = ~betas.any(axis=0)
        assert np.flatnonzero(dead).tolist() == dropouts.index[dropouts == session].tolist()
        valid = volume(folder, f"{FUNCTIONAL}/valid_session{session:02}.nii.gz")
        assert np.array_equal(valid[recording.voxels.mask] == 0, dead)
    np.testing.assert_allclose(shares[dropouts.index], 0.8)
    assert (np.delete(shares, dropouts.index) == 1).all()


def test_some_repeats_are_missing(recording):
    assert set(recording.trials.groupby("stimulus_id").size()) == {2, 3}
    assert len(recording.session_numbers) == 5


def test_single_trials_follow_the_noiseless_responses(recording, betas, responses):
    shown = responses[recording.trials["stimulus_id"]]
    score = [np.corrcoef(shown[:, voxel], betas[:, voxel])[0, 1] for voxel in range(recording.n_voxels)]
    wrong = [np.corrcoef(np.roll(shown[:, v], 7), betas[:, v])[0, 1] for v in range(recording.n_voxels)]
    assert 0.3 < np.median(score) < 0.7
    assert abs(np.median(wrong)) < 0.05


def test_training_responses_have_the_drawn_mean_and_signal(recording, responses, voxels):
    analysed = voxels[voxels["nsdgeneral"] > 0]
    training = responses[recording.trials.loc[recording.trials["split"] == "train", "stimulus_id"].unique()]
    np.testing.assert_allclose(training.mean(0), analysed["mean"], atol=1e-4)
    np.testing.assert_allclose(training.std(0, ddof=1), analysed["signal_sd"], rtol=1e-3)


def test_measured_noise_ceiling_is_near_the_drawn_one(folder, recording, voxels):
    measured = volume(folder, f"{BETAS}/ncsnr.nii.gz")
    assert measured.dtype == np.float32
    analysed = voxels[voxels["nsdgeneral"] > 0]
    ceiling = noise_ceiling(measured[recording.voxels.mask], 3)
    assert np.corrcoef(ceiling, analysed["noise_ceiling"])[0, 1] > 0.7  # 96 pictures, 3 trials
    assert abs(np.median(ceiling) - analysed["noise_ceiling"].median()) < 6
    blind = voxels[voxels["kind"] == "unresponsive"]
    assert np.median(noise_ceiling(measured[blind["x"], blind["y"], blind["z"]], 3)) < 10


def test_measured_ncsnr_approaches_the_drawn_one_with_many_pictures():
    rng = np.random.default_rng(0)
    brain = draw_brain(CONFIG.grid, CONFIG.n_early, CONFIG.n_higher, rng)
    analysed = brain[brain["nsdgeneral"] > 0]
    signals = rng.standard_normal((1500, len(analysed)))
    responses = (analysed["mean"].to_numpy() + analysed["signal_sd"].to_numpy() * signals).astype(np.float32)
    order = rng.permutation(np.repeat(np.arange(1500), 3))
    accumulator = NoiseCeilingAccumulator(pd.DataFrame({"stimulus_id": order}), len(brain))
    for number, shown in enumerate(np.split(order, 3), 1):
        accumulator.add(shown, simulated._record_session(CONFIG, number, brain, responses[shown]))
    measured = noise_ceiling(accumulator.finish(), 3)[analysed.index]
    assert np.abs(measured - analysed["noise_ceiling"]).median() < 2
    assert np.corrcoef(measured, analysed["noise_ceiling"])[0, 1] > 0.98


def test_sessions_drift(recording, voxels):
    alive = voxels[voxels["nsdgeneral"] > 0]["dropout_session"].isna().to_numpy()
    means = np.stack([betas[:, alive].mean(0) for _, betas in recording.sessions()])
    sd = np.stack([betas[:, alive].std(0) for _, betas in recording.sessions()])
    from_noise = np.sqrt((sd**2).mean() / CONFIG.trials_per_session)
    between = np.sqrt(means.var(0, ddof=1).mean())
    assert between > 1.5 * from_noise
    np.testing.assert_allclose(between, np.hypot(simulated.DRIFT_OFFSET, from_noise), rtol=0.2)


def test_noise_has_unit_variance_and_neighbours_share_it():
    noise = simulated._spatial_noise(200, (8, 9, 7), np.random.default_rng(0))
    np.testing.assert_allclose(noise.std(), 1, rtol=0.01)
    assert 0.2 < (noise[:, 1:] * noise[:, :-1]).mean() < 0.32
    assert abs((noise[:, 3:] * noise[:, :-3]).mean()) < 0.02


def test_same_settings_give_the_same_recording_and_another_seed_another(folder, tmp_path):
    again = simulate(tmp_path / "again", CONFIG)
    assert arrays_of(again) == arrays_of(folder)
    other = simulate(tmp_path / "other", CONFIG.model_copy(update={"seed": 1}))
    here, there = arrays_of(folder), arrays_of(other)
    assert here.keys() == there.keys()
    assert here["betas_session01.hdf5", "betas"] != there["betas_session01.hdf5", "betas"]
    assert here["nsd_stimuli.hdf5", "imgBrick"] != there["nsd_stimuli.hdf5", "imgBrick"]


@pytest.mark.parametrize("lost", [("betas_session02*", "betas_session04*"), ("truth", "ncsnr*", "roi")])
def test_interrupted_simulation_completes_to_the_same_files(folder, tmp_path, lost):
    other = tmp_path / "interrupted"
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns(*lost))
    summary = json.loads((other / "simulated.json").read_text())
    (other / "simulated.json").write_text(json.dumps(summary | {"complete": False}))
    simulate(other, CONFIG)
    assert arrays_of(other) == arrays_of(folder)


def test_lost_session_of_a_complete_recording_is_written_again(folder, tmp_path):
    other = tmp_path / "lost"
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("betas_session03*"))
    simulate(other, CONFIG)
    assert arrays_of(other) == arrays_of(folder)


def test_complete_recording_is_kept(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    heard = []
    assert simulate(folder, CONFIG, lambda *news: heard.append(news)) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert heard == []


def test_progress_is_told(folder, tmp_path):
    other = tmp_path / "heard"
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("betas_session0*"))
    heard = []
    simulate(other, CONFIG, lambda *news: heard.append(news))
    assert [news for news in heard if news[0] == "recording sessions"] == [
        ("recording sessions", number, 5) for number in range(1, 6)
    ]


def test_other_settings_and_foreign_recordings_are_refused(folder, tmp_path):
    with pytest.raises(RecordingError, match=r"other settings \(seed 0\)"):
        simulate(folder, CONFIG.model_copy(update={"seed": 5}))


@pytest.mark.parametrize("name", ["nsddata", "nsddata_betas", "nsddata_stimuli", "annots", "truth"])
def test_a_folder_that_holds_foreign_files_is_refused(name, folder, tmp_path):
    assert (folder / name).is_dir()
    (tmp_path / name).mkdir()
    with pytest.raises(RecordingError, match=f"{name}, which was not simulated: choose an empty folder"):
        simulate(tmp_path, CONFIG)


def test_every_folder_of_a_recording_is_known(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted([*simulated.TOPS, SIMULATED.name, ".lock"])


@pytest.mark.parametrize("content", ["", "the user's", "[]", "{}", '{"config": 3}'])
def test_a_foreign_summary_is_refused(content, tmp_path):
    (tmp_path / "simulated.json").write_text(content)
    with pytest.raises(RecordingError, match=r"simulated\.json is damaged, or not of a simulated recording"):
        simulate(tmp_path, CONFIG)
    assert (tmp_path / "simulated.json").read_text() == content


@pytest.mark.parametrize("name", ["responses.safetensors", "betas_session03.hdf5"])
def test_a_file_that_was_changed_meanwhile_is_not_believed_when_a_simulation_resumes(name, folder, tmp_path):
    def stop_at_session_4(label, done, total):
        if (label, done) == ("recording sessions", 4):
            raise KeyboardInterrupt

    other = tmp_path / "interrupted"
    with pytest.raises(KeyboardInterrupt):
        simulate(other, CONFIG, stop_at_session_4)
    (path,) = other.rglob(name)
    content = bytearray(path.read_bytes())
    content[-1000:] = bytes(1000)
    path.write_bytes(content)
    heard = []
    simulate(other, CONFIG, lambda *news: heard.append(news))
    assert arrays_of(other) == arrays_of(folder)
    assert (other / SIMULATED).read_bytes() == (folder / SIMULATED).read_bytes()


def test_two_simulations_in_one_folder_are_refused_and_a_run_keeps_its_own_lock(tmp_path):
    with alone_in(tmp_path), pytest.raises(RunError, match=f"another process works in {tmp_path}: wait"):
        simulate(tmp_path, CONFIG)
    Simulated(**CONFIG.model_dump()).make(tmp_path / "nsd", lambda *_: None)
    assert not list((tmp_path / "nsd").rglob(".*"))


def test_what_an_interrupted_simulation_noted_is_not_made_again(tmp_path, monkeypatch):
    def stop(label, done, total):
        if (label, done) == ("recording sessions", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path, CONFIG, stop)
    written, write = [], simulated.files.write_betas
    monkeypatch.setattr(simulated, "_early_signals", None)  # would be called for the responses
    monkeypatch.setattr(
        simulated.files, "write_betas", lambda path, *rest: (written.append(path.name), write(path, *rest))[1]
    )
    simulate(tmp_path, CONFIG)
    assert written == [f"betas_session0{number}.hdf5" for number in (3, 4, 5)]


@pytest.mark.parametrize("name", ["*_stimuli.hdf5", "nsd_expdesign.mat", "nsdgeneral.nii.gz", "scenes.csv"])
def test_any_lost_file_of_a_complete_recording_is_written_again(name, folder, tmp_path):
    other = tmp_path / "lost"
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns(name))
    simulate(other, CONFIG)
    assert arrays_of(other) == arrays_of(folder)


@pytest.mark.parametrize("name", ["nsd_stimuli.hdf5", "betas_session02.hdf5", "scenes.csv"])
def test_a_file_that_was_cut_is_not_taken_for_the_recordings(name, folder, tmp_path):
    other = tmp_path / "cut"
    shutil.copytree(folder, other)
    (path,) = other.rglob(name)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RecordingError, match=f"{name} was changed since it was written"):
        simulate(other, CONFIG)


def test_a_repair_leaves_the_summary_as_it_was_and_an_older_recording_stays_complete(folder, tmp_path):
    other = tmp_path / "older"
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("betas_session02*"))
    simulate(other, CONFIG)
    assert (other / "simulated.json").read_bytes() == (folder / "simulated.json").read_bytes()
    (other / "truth" / "files.json").unlink()  # as versions before this one left it
    before = {path: path.stat().st_mtime_ns for path in other.rglob("*")}
    simulate(other, CONFIG)
    assert {path: path.stat().st_mtime_ns for path in other.rglob("*")} == before
