"""Laws of the LAION-fMRI reader: what was written is found again, and whatever is missing or wrong is named."""

import hashlib
import io
import json
import re
import shutil
import sys
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from pydantic import ValidationError

from braindiffuser.datasets.laion_fmri import LaionFMRI
from braindiffuser.datasets.noise_ceiling import noise_ceiling
from braindiffuser.errors import RecordingError
from braindiffuser.experiment import Experiment
from braindiffuser.recording_check import check_recording
from braindiffuser.splits.folds import Folds
from braindiffuser.splits.layout import Layout
from braindiffuser.splits.most_repeated import MostRepeated
from braindiffuser.splits.shared import Shared

from .fetch_commands import fetched

GRID, SIDE, SUB = (6, 7, 5), 24, "sub-01"
AFFINE = np.array([[1.8, 0, 0, -5.0], [0, 1.8, 0, -6], [0, 0, 1.8, -4], [0, 0, 0, 1]])
OOD = (
    "shared_4rep_OOD_cropped_air_pump.png",
    "shared_4rep_OOD_cropped_fan.png",
    "shared_4rep_OOD_illusion-classic_Screenshot 2024-05-06 at 14.45.09.jpg",
    "shared_4rep_OOD_gabor_3.jpg",
)
SHARED = (
    "shared_12rep_LAION_cluster_113_i0.jpg",
    "shared_12rep_LAION_cluster_3164_sorted-out_i0.jpg",
    "shared_12rep_THINGS+_kmeans_211_bracelet2.jpg",
    "shared_4rep_NSD_special1000_100.jpg",
)
OWN = tuple(f"unique_LAION_initial_cluster_{n}_i{n}_p01.jpg" for n in range(10))
FOREIGN = tuple(f"unique_LAION_initial_cluster_{n}_i{n}_p02.jpg" for n in range(3))
BETAS = "derivatives/glmsingle-tedana/sub-01"
ROIS = "derivatives/rois/sub-01"


@dataclass
class Tree:
    """What was written."""

    root: Path
    mask: np.ndarray
    order: list[str]
    pictures: dict[str, np.ndarray]
    trials: pd.DataFrame
    betas: np.ndarray
    rois: dict[str, np.ndarray] = field(default_factory=dict)
    without_fit: tuple[int, ...] = ()

    def open(self, **entries):
        return LaionFMRI(root=self.root, subject=SUB, **entries).open(Path())

    def files(self, **entries):
        return LaionFMRI(root=self.root, subject=SUB, **entries).files()

    def func(self, session):
        return self.root / BETAS / f"ses-{session:02}" / "func"

    def table(self, session):
        return self.func(session) / f"{SUB}_ses-{session:02}_task-images_desc-SingletrialBetas_trials.tsv"

    def volumes(self, session):
        stem = f"{SUB}_ses-{session:02}_task-images_space-T1w_stat-effect_desc-SingletrialBetas_statmap.nii.gz"
        return self.func(session) / stem

    def map(self, desc):
        return self.root / BETAS / f"{SUB}_task-images_space-T1w_{desc}_statmap.nii.gz"

    def roi(self, path, resolution="1pt8"):
        category, name = path.split("/")
        return self.root / ROIS / category / f"{SUB}_space-T1w_res-{resolution}_label-{name}_mask.nii.gz"

    def split(self, pool=SUB, name="tau"):
        return self.root / "laion_fmri/splits/data" / pool / f"{name}.json"

    @property
    def stimuli(self):
        return self.root / "stimuli/task-images_stimuli.h5"

    @property
    def metadata(self):
        return self.root / "stimuli/task-images_metadata.csv"

    @property
    def captions(self):
        return self.root / "stimuli/task-images_desc-captions.csv"

    @property
    def anatomical(self):
        name = f"{SUB}_ses-PrismaAnat_space-T1w_res-1pt8_desc-brain_mask.nii.gz"
        return self.root / "derivatives/anatomical/sub-01/ses-PrismaAnat/anat" / name


def save(volume, path, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume, affine), path)


def unmask(mask, values):
    volume = np.zeros(GRID, np.asarray(values).dtype)
    volume[mask] = values
    return volume


def encode(name, picture):
    buffer = io.BytesIO()
    if name.endswith(".png"):
        alpha = np.full((SIDE, SIDE), 255, np.uint8)
        alpha[:4], alpha[4] = 0, 128
        Image.fromarray(np.dstack([picture, alpha])).save(buffer, "PNG")
    else:
        Image.fromarray(picture).save(buffer, "JPEG", quality=95)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def write_split(path, train, test):
    path.parent.mkdir(parents=True, exist_ok=True)
    variants = [{"variant_id": 0, "train_ids": list(train), "test_ids": list(test)}]
    path.write_text(
        json.dumps({"name": path.stem, "pool": "prose (14 images)", "splitter": "tiny", "variants": variants})
    )


def write(root, seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(GRID) < 0.4
    shown = [*SHARED, *OWN, *OOD]
    order = [([*shown, *FOREIGN])[i] for i in rng.permutation(len(shown) + len(FOREIGN))]
    pictures = {name: np.full((SIDE, SIDE, 3), rng.integers(20, 230, 3), np.uint8) for name in order}
    labels = [name for name in shown for _ in range(12 if "_12rep_" in name else 3 if name == OWN[0] else 4)]
    labels = [labels[i] for i in rng.permutation(len(labels))]
    session = np.repeat([1, 2], [len(labels) // 2, len(labels) - len(labels) // 2])
    trials = pd.DataFrame({"session": session, "run": rng.integers(1, 4, len(labels)), "label": labels})
    n_voxels = int(mask.sum())
    tree = Tree(root, mask, order, pictures, trials, rng.normal(size=(len(labels), n_voxels)).astype(np.float32))
    as_in_bucket = seed % 2 == 1
    outside = np.argwhere(~mask)
    tree.without_fit = tuple(outside[0])
    for number, rows in trials.groupby("session"):
        volumes = np.stack([unmask(mask, tree.betas[row]) for row in rows.index], axis=-1)
        volumes[tree.without_fit] = np.nan
        save(volumes, tree.volumes(number))
        table = rows.assign(beta_index=np.arange(len(rows)))
        if as_in_bucket:
            table["session"], table["run"] = f"ses-{number:02}", [f"run-{run:02}" for run in rows["run"]]
        table[["session", "run", "beta_index", "label"]].to_csv(tree.table(number), sep="\t", index=False)
    save(unmask(mask, rng.uniform(0.02, 0.5, n_voxels).astype(np.float32)), tree.map("stat-rsquare_desc-R2mean"))
    wide = mask.copy()
    wide[tree.without_fit] = True
    save(wide.astype(np.uint8), tree.anatomical)
    sources = [f"bids::x/sub-01_ses-0{n}_task-images.nii.gz" for n in (1, 2)]
    for desc in ("4rep", "12rep", "Allrep"):
        path = tree.map(f"desc-Noiseceiling{desc}")
        save(unmask(mask, rng.uniform(1, 70, n_voxels).astype(np.float32)), path)
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps({"Sources": sources}))
    hyphens = as_in_bucket or seed == 2
    for path in ("retinotopy/V1v", "retinotopy/V1d", "retinotopy/V3v", "retinotopy/hV4", "object/l-objects",
                 "object/v-objects", "face/FFA-1", "face/OFA", "laion/laion-EVC"):  # fmt: skip
        inside = rng.random(n_voxels) < 0.3
        tree.rois[path.split("/")[1].replace("-", "")] = inside
        save(unmask(mask, inside.astype(np.uint8)), tree.roi(path if hyphens else path.replace("-", "")))
        save(np.ones((9, 9, 9), np.uint8), tree.roi(path, "1pt5"))
    tree.stimuli.parent.mkdir(parents=True)
    with h5py.File(tree.stimuli, "w") as file:
        images = file.create_dataset("images", (len(order),), dtype=h5py.vlen_dtype(np.uint8))
        for row, name in enumerate(order):
            images[row] = encode(name, pictures[name])
    kinds = [name.partition("_")[0] for name in order]
    metadata = pd.DataFrame({"image_name": order, "dataset": "LAION", "participant": SUB, "unique_or_shared": kinds})
    metadata.to_csv(tree.metadata, index=False)
    said = [(name, rank, "human", f"{rank} of {name}") for name in order for rank in (3, 1, 2)]
    said += [(name, 0, "ai", "The picture shows something.") for name in SHARED]
    pd.DataFrame(said, columns=["image_name", "caption_idx", "source", "caption"]).to_csv(tree.captions, index=False)
    write_split(tree.split(), OWN, SHARED)
    write_split(tree.split(name="cluster_k5_0"), [*OWN[:5], *SHARED[:2]], [*OWN[5:], *SHARED[2:]])
    write_split(tree.split(name="ood"), [*OWN, *SHARED], OOD)
    write_split(tree.split("shared"), SHARED[:2], SHARED[2:])
    write_split(tree.split("pooled"), [*OWN, *FOREIGN], SHARED)
    write_split(tree.split("sub-06"), FOREIGN, SHARED)
    return tree


@pytest.fixture(params=[0, 1, 2])
def any_tree(request, tmp_path):
    return write(tmp_path / "laion", request.param)


@pytest.fixture
def tree(tmp_path):
    return write(tmp_path / "laion", 1)


def names_in(recording, split):
    rows = recording.trials[recording.trials["split"] == split]
    return {recording.names[number] for number in rows["stimulus_id"]}


def names_of_set(recording, name):
    return {recording.names[number] for number in recording.test_sets[name].tolist()}


def shown_by_trial(recording):
    return recording.trials["stimulus_id"].map(recording.names).tolist()


# What was written is found again


def test_betas_and_trials_are_those_that_were_written(any_tree):
    recording = any_tree.open()
    np.testing.assert_array_equal(np.concatenate([betas for _, betas in recording.sessions()]), any_tree.betas)
    assert shown_by_trial(recording) == any_tree.trials["label"].tolist()
    for column in ("session", "run"):
        assert recording.trials[column].tolist() == any_tree.trials[column].tolist()
    np.testing.assert_array_equal(recording.voxels.mask, any_tree.mask)
    np.testing.assert_allclose(recording.voxels.affine, AFFINE, atol=1e-4)
    assert recording.subject == SUB
    assert recording.unit == "z"


def test_repeats_of_12_4_and_3_are_counted(any_tree):
    recording = any_tree.open()
    repeats = recording.trials.groupby("stimulus_id").size().rename(recording.names)
    assert repeats[SHARED[0]] == 12
    assert repeats[OWN[0]] == 3
    assert repeats[OWN[1]] == repeats[OOD[0]] == 4
    assert sorted(
        recording.trials.loc[recording.trials["stimulus_id"].map(recording.names) == SHARED[0], "repeat"]
    ) == list(range(12))


def test_volumes_are_taken_by_beta_index(tree):
    table = pd.read_csv(tree.table(1), sep="\t")
    table.iloc[::-1].iloc[1:].to_csv(tree.table(1), sep="\t", index=False)
    recording = tree.open()
    first = tree.trials[tree.trials["session"] == 1]
    np.testing.assert_array_equal(recording.betas_of(1), tree.betas[first.index[:-1][::-1]])
    assert f"Session 1: 1 of {len(first)} volumes of betas have no trial, and are left out." in recording.remarks


def test_pictures_are_joined_by_name_and_lie_over_mid_grey(any_tree):
    recording = any_tree.open()
    numbers = np.array(sorted(recording.names))[::-1]
    for number, picture in zip(numbers, recording.pictures(numbers), strict=True):
        name = recording.names[number]
        expected = any_tree.pictures[name] / 255
        assert np.abs(picture[:, 6:].transpose(1, 2, 0) - expected[6:]).max() < 0.03
        if name.endswith(".png"):
            np.testing.assert_allclose(picture[:, :4], 128 / 255, atol=1e-6)
            np.testing.assert_allclose(picture[:, 4].T, (expected[4] + 128 / 255) / 2, atol=0.01)
    assert any("mid-grey" in said for said in recording.remarks)


def test_pictures_that_this_person_never_saw_are_no_stimuli(any_tree):
    assert set(any_tree.open().names.values()) == {*SHARED, *OWN, *OOD}


def test_stimuli_have_what_the_metadata_say(any_tree):
    stimuli = any_tree.open().stimuli.set_index("name")
    assert stimuli.loc[SHARED[0], "unique_or_shared"] == "shared"
    assert stimuli.loc[OWN[3], "unique_or_shared"] == "unique"


def test_captions_are_human_and_the_best_comes_first(any_tree):
    recording = any_tree.open()
    for number, name in recording.names.items():
        assert recording.captions(number) == tuple(f"{rank} of {name}" for rank in (1, 2, 3))


def test_regions_have_names_without_hyphens_and_are_united(any_tree):
    recording = any_tree.open()
    own, found = any_tree.rois, recording.roi_masks
    united = {
        "V1": own["V1v"] | own["V1d"],
        "V3": own["V3v"],
        "V4": own["hV4"],
        "LOC": own["lobjects"] | own["vobjects"],
        "faces": own["FFA1"] | own["OFA"],
    }
    assert set(found) == {*own, *united}
    for name, mask in (own | united).items():
        np.testing.assert_array_equal(found[name], mask)
    assert recording.missing_rois == ("V2", "words", "places", "bodies")
    assert "V3 is V3v alone, since there is no file of its other part." in recording.remarks


def test_a_region_of_that_very_name_is_not_replaced(tree):
    own = np.arange(tree.mask.sum()) == 0
    save(unmask(tree.mask, own.astype(np.uint8)), tree.roi("retinotopy/V1"))
    np.testing.assert_array_equal(tree.open().roi_masks["V1"], own)


def test_the_finer_grid_and_surfaces_are_not_read(tree):
    assert all("res-1pt5" not in name for name in tree.files()["regions"])


# Masks


def test_the_anatomical_mask_is_wider_and_voxels_without_data_are_zero(any_tree):
    recording = any_tree.open(mask="anatomical")
    assert recording.n_voxels == any_tree.mask.sum() + 1
    betas = recording.betas_of(1)
    column = np.flatnonzero(~any_tree.mask[recording.voxels.mask])
    assert not betas[:, column].any()
    assert any("have no fit" in said for said in recording.remarks)


def test_a_file_is_a_mask(tree, tmp_path):
    half = tree.mask.copy()
    half[:3] = False
    save(half.astype(np.uint8), tmp_path / "half.nii.gz")
    recording = tree.open(mask=str(tmp_path / "half.nii.gz"))
    np.testing.assert_array_equal(recording.betas_of(1), tree.betas[tree.trials["session"] == 1][:, half[tree.mask]])
    assert "half.nii.gz" in tree.files(mask=str(tmp_path / "half.nii.gz"))["regions"]


def test_nan_in_some_trials_is_refused(tree):
    image = nib.load(tree.volumes(1))
    values = image.dataobj[...]
    values[(*np.argwhere(tree.mask)[3], 2)] = np.nan
    save(values, tree.volumes(1))
    with pytest.raises(RecordingError, match=r"statmap\.nii\.gz\) has NaN or infinite betas in 1 of"):
        tree.open().betas_of(1)


def test_a_mask_on_another_grid_is_refused(tree, tmp_path):
    save(np.ones((3, 3, 3), np.uint8), tmp_path / "other.nii.gz")
    with pytest.raises(RecordingError, match=r"has the grid \(6, 7, 5\), but the analysis mask .*other\.nii\.gz"):
        tree.open(mask=str(tmp_path / "other.nii.gz"))


def test_an_empty_map_of_r2_is_refused(tree):
    save(np.zeros(GRID, np.float32), tree.map("stat-rsquare_desc-R2mean"))
    with pytest.raises(RecordingError, match="has no voxel above 0"):
        tree.open()


def test_an_unknown_mask_is_refused(tree):
    with pytest.raises(RecordingError, match=r"dataset\.mask is 'nsdgeneral'; expected R2mean, anatomical, or a NIfTI"):
        tree.open(mask="nsdgeneral")


# Splits


def test_tau_is_the_split_and_ood_pictures_test_apart(any_tree):
    recording = any_tree.open()
    assert names_in(recording, "train") == set(OWN)
    assert names_in(recording, "test") == {*SHARED, *OOD}
    assert names_of_set(recording, "test") == set(SHARED)
    assert names_of_set(recording, "ood") == set(OOD)
    title, text = recording.notes["ood"]
    assert title == "Out-of-distribution pictures"
    assert "2 cropped, 1 gabor, 1 illusion-classic" in text


@pytest.mark.parametrize(
    ("entries", "train", "test"),
    [
        ({"split": "cluster_k5_0"}, [*OWN[:5], *SHARED[:2]], [*OWN[5:], *SHARED[2:]]),
        ({"split": "ood"}, [*OWN, *SHARED], []),
        ({"pool": "shared"}, SHARED[:2], SHARED[2:]),
        ({"pool": "pooled"}, OWN, SHARED),
    ],
)
def test_splits_go_by_pool_and_name(entries, train, test, tree):
    recording = tree.open(**entries)
    assert names_in(recording, "train") == set(train)
    assert names_in(recording, "test") == {*test, *OOD}
    assert names_in(recording, "out") == {*OWN, *SHARED} - {*train, *test}
    assert names_of_set(recording, "ood") == set(OOD)


def test_the_splits_file_is_a_part_of_the_identity_and_its_hash_is_said(tree):
    name = "splits/sub-01/tau.json"
    assert tree.files()["design"][name] == tree.split()
    digest = hashlib.sha256(tree.split().read_bytes()).hexdigest()
    assert f"(SHA-256 of its file: {digest[:16]}…)" in tree.open().split_remark
    assert "splits/pooled/tau.json" in tree.files(pool="pooled")["design"]


def test_splits_lie_in_a_folder_that_is_named(tree, tmp_path):
    before = tree.open()
    moved = tmp_path / "elsewhere"
    shutil.move(tree.root / "laion_fmri/splits/data", moved)
    recording = tree.open(splits=moved)
    pd.testing.assert_frame_equal(recording.trials, before.trials)
    assert tree.files(splits=moved)["design"]["splits/sub-01/tau.json"] == moved / SUB / "tau.json"


def test_splits_are_found_in_the_installed_package_without_running_it(tree, tmp_path, monkeypatch):
    package = tmp_path / "site" / "laion_fmri"
    shutil.move(tree.root / "laion_fmri", package)
    (package / "__init__.py").write_text("raise SystemExit('this package must not run')")
    monkeypatch.syspath_prepend(package.parent)
    assert names_in(tree.open(), "train") == set(OWN)
    assert tree.files()["design"]["splits/sub-01/tau.json"] == package / "splits/data/sub-01/tau.json"
    assert "laion_fmri" not in sys.modules


def test_without_any_splits_the_message_says_where_they_come_from(tree):
    shutil.rmtree(tree.root / "laion_fmri")
    with pytest.raises(RecordingError, match=r"sub-01/tau\.json of the split tau was not found: install the package"):
        tree.open()
    assert "splits/sub-01/tau.json" not in tree.files()["design"]


@pytest.mark.parametrize("split", [MostRepeated(n_repeats=12), Folds(n_folds=2), Shared()], ids=str)
def test_the_splits_file_is_not_opened_where_another_split_divides(split, tree, tmp_path):
    path = tmp_path / "mine.yaml"
    dataset = {"kind": "laion_fmri", "root": str(tree.root), "subject": SUB}
    path.write_text(yaml.safe_dump({"preset": "demo", "dataset": dataset, "split": split.model_dump(mode="json")}))
    there = Experiment.load(path).recording(tmp_path)
    assert not any("tau" in said or "neither side" in said for said in there.remarks)
    shutil.rmtree(tree.root / "laion_fmri")
    absent = Experiment.load(path).recording(tmp_path)
    assert absent.trials["split"].tolist() == there.trials["split"].tolist()
    assert names_of_set(absent, "ood") == set(OOD)


@pytest.mark.parametrize("entries", [{"split": "tau2"}, {"pool": "sub-09"}])
def test_a_split_that_is_not_there_is_named_with_those_that_are(entries, tree):
    with pytest.raises(
        RecordingError, match=r"\.json is missing; (pool sub-01 has cluster_k5_0, ood, tau|pools there are)"
    ):
        tree.open(**entries)


def test_a_pool_of_another_subject_is_refused(tree):
    with pytest.raises(RecordingError, match="lists 3 training pictures, none of which this subject saw"):
        tree.open(pool="sub-06")


def test_a_variant_that_is_not_there_is_refused(tree):
    with pytest.raises(RecordingError, match=r"tau\.json is no split"):
        tree.open(variant=1)


def test_ood_pictures_never_train_even_if_a_split_says_so(tree):
    write_split(tree.split(), [*OWN, *OOD[:2]], SHARED)
    recording = tree.open()
    assert names_in(recording, "train") == set(OWN)
    assert "trains on 2 out-of-distribution pictures" in recording.split_remark


@pytest.mark.parametrize("split", [Layout(), MostRepeated(n_repeats=12)])
def test_ood_pictures_never_train_with_another_split_either(split, tree):
    recording = split.divide(tree.open(split=None))
    assert names_of_set(recording, "ood") == set(OOD)
    assert names_of_set(recording, "test") == set(SHARED[:3])
    assert names_in(recording, "train") == {*OWN, SHARED[3]}
    assert "splits/sub-01/tau.json" not in tree.files(split=None)["design"]


def test_kinds_of_ood_pictures_are_sets_of_their_own_where_there_are_two(tree):
    recording = tree.open(ood="kinds")
    assert names_of_set(recording, "ood_cropped") == set(OOD[:2])
    assert names_of_set(recording, "ood") == set(OOD[2:])
    assert list(recording.test_sets) == ["test", "ood_cropped", "ood"]
    assert recording.notes["ood_cropped"][0] == "Out-of-distribution pictures: cropped"


def test_one_ood_picture_alone_is_left_out(tree):
    for session in (1, 2):
        table = pd.read_csv(tree.table(session), sep="\t")
        table[~table["label"].isin(OOD[1:])].to_csv(tree.table(session), sep="\t", index=False)
    recording = tree.open()
    assert list(recording.test_sets) == ["test"]
    assert OOD[0] not in recording.names.values()
    assert any(said.startswith(f"{OOD[0]} is left out") for said in recording.remarks)


# Noise ceilings


@pytest.mark.parametrize("scale", [1.0, 0.01])
@pytest.mark.parametrize("name", ["4rep", "12rep", "Allrep"])
def test_ceilings_are_those_of_the_map_whatever_its_range(name, scale, tree):
    path = tree.map(f"desc-Noiseceiling{name}")
    percent = nib.load(path).dataobj[...]
    save((percent * scale).astype(np.float32), path)
    recording = tree.open(ceilings=name)
    repeats = recording.trials["stimulus_id"].value_counts().to_numpy() if name == "Allrep" else int(name[:-3])
    np.testing.assert_allclose(noise_ceiling(recording.ncsnr, repeats), percent[tree.mask], rtol=1e-4)
    unit = "percent (0 to 100)" if scale == 1 else "shares (0 to 1)"
    assert any(f"read as {unit}" in said for said in recording.remarks)
    assert tree.files(ceilings=name)["regions"][f"{BETAS}/{path.name}"] == path


def test_ceilings_are_derived_unless_they_are_asked_for(tree):
    assert tree.open().ncsnr is None
    assert not any("Noiseceiling" in name for name in tree.files()["regions"])


@pytest.mark.parametrize("value", [-1, 101, np.nan])
def test_a_map_that_holds_no_ceilings_is_refused(value, tree):
    save(np.full(GRID, value, np.float32), tree.map("desc-Noiseceiling4rep"))
    with pytest.raises(RecordingError, match=r"Noiseceiling4rep_statmap\.nii\.gz holds .* expected noise ceilings"):
        tree.open(ceilings="4rep")


def test_a_map_of_all_repeats_needs_the_sessions_that_it_came_from(tree):
    with pytest.raises(RecordingError, match="was computed from 2 sessions, but 1 are read"):
        tree.open(ceilings="Allrep", sessions=1)
    assert tree.open(ceilings="12rep", sessions=1).ncsnr is not None


# Sessions


def test_sessions_without_betas_are_left_out_and_said(tree):
    (tree.root / BETAS / "ses-31" / "func").mkdir(parents=True)
    tree.volumes(1).unlink()
    recording = tree.open()
    assert recording.session_numbers == (2,)
    assert (
        "No betas of sessions 1, 31 are there, so they are left out: held out, or not downloaded." in recording.remarks
    )
    assert not any("ses-01" in name for role in ("design", "betas") for name in tree.files()[role])


def test_a_session_that_is_asked_for_must_be_there(tree):
    with pytest.raises(
        RecordingError, match=r"ses-31_task-.*statmap\.nii\.gz is missing, but dataset\.sessions asks for"
    ) as error:
        tree.open(sessions=[1, 31])
    assert "s3://laion-fmri" in str(error.value)
    assert "`sessions: [1, 2]`" in str(error.value)


@pytest.mark.parametrize("sessions", [1, [1]])
def test_sessions_can_be_chosen(sessions, tree):
    recording = tree.open(sessions=sessions)
    assert recording.session_numbers == (1,)
    assert recording.session_files(1)[0] in tree.files(sessions=sessions)["betas"]
    assert len(tree.files(sessions=sessions)["betas"]) == 1


def test_files_that_are_not_compressed_are_read(tree):
    image = nib.load(tree.volumes(1))
    save(image.dataobj[...], Path(str(tree.volumes(1)).removesuffix(".gz")))
    tree.volumes(1).unlink()
    np.testing.assert_array_equal(tree.open().betas_of(1), tree.betas[tree.trials["session"] == 1])


# What is missing or wrong


def test_every_file_is_listed_by_role_under_the_root(tree):
    files = tree.files()
    assert {role: len(named) for role, named in files.items()} == {
        "design": 4,
        "regions": 10,
        "betas": 2,
        "stimuli": 1,
        "captions": 1,
    }
    assert all(not Path(name).is_absolute() for named in files.values() for name in named)
    assert all(path.is_file() for named in files.values() for path in named.values())


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (
            lambda tree: tree.stimuli,
            r"stimuli\.h5 is missing: pictures and their table come after an agreement, at https://",
        ),
        (lambda tree: tree.metadata, r"metadata\.csv is missing: pictures .*\nimage_name,dataset"),
        (lambda tree: tree.table(2), r"trials\.tsv is missing: .*s3://laion-fmri.*\nsession\trun\tbeta_index\tlabel"),
        (
            lambda tree: tree.map("stat-rsquare_desc-R2mean"),
            r"R2mean_statmap\.nii\.gz is missing; dataset\.mask names it",
        ),
        (lambda tree: tree.root / BETAS, r"sub-01 is missing; .*glmsingle-tedana has no subject: choose another"),
        (lambda tree: tree.root / "derivatives", r"glmsingle-tedana is missing: name the folder that holds"),
    ],
)
def test_a_missing_file_is_named_with_where_it_comes_from(file, said, tree):
    path = file(tree)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(RecordingError, match=f"(?s){said}") as error:
        tree.open()
    assert ". " not in str(error.value)
    assert not str(error.value).endswith(".")


@pytest.mark.parametrize("mask", ["anatomical", "mine.nii.gz"])
def test_a_missing_mask_is_named(mask, tree):
    tree.anatomical.unlink()
    with pytest.raises(RecordingError, match=r"\.nii\.gz is missing; dataset\.mask names it"):
        tree.open(mask=mask)


def test_a_missing_map_of_ceilings_is_named(tree):
    tree.map("desc-Noiseceiling12rep").unlink()
    with pytest.raises(
        RecordingError, match=r"Noiseceiling12rep_statmap\.nii\.gz is missing; dataset\.ceilings names it"
    ):
        tree.open(ceilings="12rep")


@pytest.mark.parametrize("column", ["session", "run", "beta_index", "label"])
def test_a_missing_column_of_trials_is_named_with_an_example(column, tree):
    pd.read_csv(tree.table(1), sep="\t").drop(columns=column).to_csv(tree.table(1), sep="\t", index=False)
    with pytest.raises(
        RecordingError, match=rf"trials\.tsv lacks the column {column}; .*\nsession\trun\tbeta_index\tlabel"
    ):
        tree.open()


@pytest.mark.parametrize("column", ["image_name", "caption_idx", "source", "caption"])
def test_a_missing_column_of_captions_is_named_with_an_example(column, tree):
    pd.read_csv(tree.captions).drop(columns=column).to_csv(tree.captions, index=False)
    with pytest.raises(RecordingError, match=rf"captions\.csv lacks the column {column}; .*\nimage_name,caption_idx"):
        tree.open()


def test_metadata_without_names_are_refused(tree):
    pd.read_csv(tree.metadata).drop(columns="image_name").to_csv(tree.metadata, index=False)
    with pytest.raises(RecordingError, match=r"metadata\.csv lacks the column image_name; .*\nimage_name,dataset"):
        tree.open()


def test_without_captions_the_recording_has_none_and_says_so(tree):
    assert LaionFMRI(root=tree.root, subject=SUB).has_captions
    tree.captions.unlink()
    assert tree.open().captions is None
    assert not LaionFMRI(root=tree.root, subject=SUB).has_captions
    assert any("captions.csv is not there" in said for said in tree.open().remarks)


def test_captions_can_be_left_out(tree):
    recording = tree.open(captions=False)
    assert recording.captions is None
    assert not tree.files(captions=False)["captions"]
    assert not any("captions" in said for said in recording.remarks)


def change_trials(tree, **columns):
    pd.read_csv(tree.table(1), sep="\t").assign(**columns).to_csv(tree.table(1), sep="\t", index=False)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"session": "ses-02"}, r"trials\.tsv: column session holds 'ses-02' in row 0, .* expected 1, as the file"),
        ({"run": "first"}, r"trials\.tsv: column run holds 'first' in row 0, .* such as run-01"),
        ({"label": "other.jpg"}, r"trials\.tsv: row 0, .* shows 'other\.jpg', but .*metadata\.csv has no such"),
        ({"beta_index": 0}, r"trials\.tsv: column beta_index should hold the number"),
        ({"beta_index": lambda table: table["beta_index"] + 1}, r"trials\.tsv names the volume \d+, .* but .* has \d+"),
    ],
)
def test_trials_that_do_not_fit_are_refused(columns, said, tree):
    change_trials(tree, **columns)
    with pytest.raises(RecordingError, match=said):
        tree.open()


def test_names_given_twice_are_refused(tree):
    table = pd.read_csv(tree.metadata)
    table.loc[3, "image_name"] = table.loc[1, "image_name"]
    table.to_csv(tree.metadata, index=False)
    with pytest.raises(RecordingError, match=r"metadata\.csv: image_name in row 3, .* given twice"):
        tree.open()


def test_tables_and_pictures_of_different_lengths_are_refused(tree):
    table = pd.read_csv(tree.metadata)
    pd.concat([table, table.tail(1).assign(image_name="more.jpg")]).to_csv(tree.metadata, index=False)
    with pytest.raises(RecordingError, match=r"stimuli\.h5 holds 21 pictures, but .*metadata\.csv names 22"):
        tree.open()


def test_a_damaged_picture_is_named(tree):
    recording = tree.open()
    with h5py.File(tree.stimuli, "a") as file:
        row = tree.order.index(SHARED[1])
        file["images"][row] = file["images"][row][:300]
    with pytest.raises(RecordingError, match=rf"stimuli\.h5, row {row} \({SHARED[1]}\) is damaged"):
        recording.pictures(np.array([row]))


@pytest.mark.parametrize("content", [b"no HDF5", None])
def test_a_file_that_holds_no_pictures_is_refused(content, tree):
    tree.stimuli.unlink()
    if content:
        tree.stimuli.write_bytes(content)
    else:
        with h5py.File(tree.stimuli, "w") as file:
            file["pictures"] = np.zeros(3)
    with pytest.raises(RecordingError, match=r"stimuli\.h5 (is damaged|holds no array images; it holds pictures)"):
        tree.open()


def test_two_different_files_of_one_region_are_refused(tree):
    save(np.zeros(GRID, np.uint8), tree.roi("face/FFA1"))
    with pytest.raises(RecordingError, match=r"differs from another file of the region FFA1"):
        tree.open()


def test_a_region_on_another_grid_is_refused(tree):
    save(np.ones((3, 3, 3), np.uint8), tree.roi("face/FFA-1"))
    with pytest.raises(RecordingError, match=r"label-FFA-1_mask\.nii\.gz has the grid \(3, 3, 3\)"):
        tree.open()


def test_another_subject_is_named_with_those_that_are_there(tree):
    with pytest.raises(RecordingError, match=r"sub-03 is missing; .* has sub-01: choose another subject"):
        LaionFMRI(root=tree.root, subject="sub-03").open(Path())


@pytest.mark.parametrize("entries", [{"subject": SUB, "pool": "../sub-01"}, {"subject": SUB, "split": "a/b"}])
def test_names_that_are_paths_are_refused(entries, tree):
    with pytest.raises(ValidationError):
        LaionFMRI(root=tree.root, **entries)


def test_the_split_is_a_part_of_what_results_depend_on(tree):
    own = LaionFMRI(root=tree.root, subject=SUB)
    assert LaionFMRI(root=tree.root, subject=SUB, pool=SUB).influences("cpu") == own.influences("cpu")
    for entries in ({"pool": "shared"}, {"split": "ood"}, {"ood": "kinds"}, {"variant": 1}, {"side": 12}):
        other = LaionFMRI(root=tree.root, subject=SUB, **entries)
        assert other.influences_of("design", "cpu") != own.influences_of("design", "cpu")
    for entries in ({"mask": "anatomical"}, {"unit": "raw"}, {"ceilings": "4rep"}):
        other = LaionFMRI(root=tree.root, subject=SUB, **entries)
        assert other.influences_of("design", "cpu") == own.influences_of("design", "cpu")
        assert other.influences_of("betas", "cpu") != own.influences_of("betas", "cpu")


def test_pictures_can_be_made_smaller(tree):
    recording = tree.open(side=12)
    assert recording.pictures(np.array([min(recording.names)])).shape == (1, 3, 12, 12)
    assert "Pictures of 24 pixels a side are resized to 12." in recording.remarks


@pytest.mark.parametrize("subject", ["01", "subj01", "sub-01/x", "../sub-01"])
def test_a_subject_is_the_name_of_its_folder(subject, tree):
    config = LaionFMRI(root=tree.root, subject=subject)
    with pytest.raises(RecordingError, match=r"expected the name of a subject's folder in .*, such as sub-01"):
        config.open(Path())
    assert not config.files()["betas"]


def test_a_recording_that_was_moved_is_the_same(tree, tmp_path):
    names = {role: list(named) for role, named in tree.files().items()}
    shutil.move(tree.root, tmp_path / "moved")
    moved = LaionFMRI(root=tmp_path / "moved", subject=SUB)
    assert {role: list(named) for role, named in moved.files().items()} == names
    assert moved.influences("cpu") == LaionFMRI(root=tree.root, subject=SUB).influences("cpu")


def test_the_example_is_a_recording_that_check_takes(tmp_path):
    """examples/laion_fmri.yaml, beside a folder in the layout that it names."""
    example = Path(__file__).parents[3] / "examples/laion_fmri.yaml"
    write(tmp_path / "laion-fmri", 1)
    shutil.copy(example, tmp_path)
    *facts, command = check_recording(str(tmp_path / example.name))
    assert command == f"Run it: braindiffuser run --config {tmp_path / example.name} --out runs/laion-sub-01"
    sets = f"{len(OWN)} for training, {len(SHARED)} for testing, {len(OOD)} ood"
    assert any(re.fullmatch(rf"Stimuli +{sets}", line) for line in facts)
    assert len(example.read_text(encoding="utf-8").splitlines()) <= 6


@pytest.mark.parametrize("column", [True, False])
def test_the_shared_pool_is_told_by_the_metadata_or_by_names(any_tree, column):
    if not column:
        pd.read_csv(any_tree.metadata).drop(columns="unique_or_shared").to_csv(any_tree.metadata, index=False)
    recording = any_tree.open(split=None)
    ids, how = recording.shared()
    assert {recording.names[number] for number in ids.tolist()} == {*SHARED, *OOD}
    assert ("unique_or_shared" in how) == column
    divided = Shared().divide(recording)
    assert names_of_set(divided, "test") == set(SHARED)
    assert names_in(divided, "train") == set(OWN)


def test_aliases_replace_what_is_united_by_default(any_tree):
    part = LaionFMRI(root=any_tree.root, subject=SUB, split=None, roi_aliases={"faces": ["FFA-1"], "V1": ["laion-EVC"]})
    own, aliased = part.open(Path()), part.recording(Path())
    np.testing.assert_array_equal(own.roi_masks["faces"], any_tree.rois["FFA1"] | any_tree.rois["OFA"])
    np.testing.assert_array_equal(aliased.roi_masks["faces"], any_tree.rois["FFA1"])
    np.testing.assert_array_equal(aliased.roi_masks["V1"], any_tree.rois["laionEVC"])
    np.testing.assert_array_equal(aliased.roi_masks["V4"], own.roi_masks["V4"])
    assert any(
        "The region faces is FFA1 (" in said and "own region of that name is not used" in said
        for said in aliased.remarks
    )


def test_all_missing_files_are_in_one_message_with_the_command_that_downloads_them(tree):
    gone = [tree.metadata, tree.table(2), next(tree.root.rglob("*R2mean_statmap.nii.gz"))]
    for path in gone:
        path.unlink()
    with pytest.raises(RecordingError) as caught:
        tree.open()
    message, (folder, patterns) = str(caught.value), fetched(str(caught.value))
    assert folder == str(tree.root)
    for path in gone:
        name = path.relative_to(tree.root).as_posix()
        assert name in message
        assert path == tree.metadata or any(fnmatchcase(name, pattern) for pattern in patterns)
    assert "come after an agreement, at https://" in message
    assert message.endswith("--subjects sub-01 --sessions 2 --files design regions`, and put the others there")


def test_a_split_that_is_not_found_is_in_the_same_message(tree):
    tree.stimuli.unlink()
    shutil.rmtree(tree.root / "laion_fmri")
    with pytest.raises(
        RecordingError, match=r"lacks .*stimuli\.h5 .*, splits/sub-01/tau\.json \(the split; install laion_fmri"
    ):
        tree.open()


def test_a_name_stands_for_all_splits_that_are_numbered_so_and_for_none_of_them_in_silence(tmp_path):
    (tmp_path / "sub-01").mkdir()
    names = ["ood", *(f"random_{k}" for k in range(12)), *(f"cluster_k10_{k}" for k in range(5)), "tau", "tau_0"]
    for name in names:
        (tmp_path / "sub-01" / f"{name}.json").touch()
    own = LaionFMRI(root=tmp_path, subject="sub-01", splits=tmp_path)
    assert own.split_family("random") == tuple(f"random_{k}" for k in range(12))
    assert [own.split_family(name) for name in ("ood", "tau", "random_3", "other")] == [
        (name,) for name in ("ood", "tau", "random_3", "other")
    ]
    with pytest.raises(
        RecordingError, match=r"has 5 of the 10 splits cluster_k10, without cluster_k10_5\.json: put it there"
    ):
        own.split_family("cluster_k10")
