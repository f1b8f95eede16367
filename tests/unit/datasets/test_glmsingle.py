"""Laws of the GLMsingle reader: the same trials from all three kinds of file, and one sentence for what does not fit."""

import os
from dataclasses import dataclass
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from braindiffuser.datasets.glmsingle import GLMsingle
from braindiffuser.datasets.glmsingle_files import read_design
from braindiffuser.errors import RecordingError

AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])
SHAPE = (5, 4, 6)
NAME = "TYPED_FITHRF_GLMDENOISE_RR"
KINDS = (".hdf5", ".mat", ".npy")


@dataclass
class Truth:
    root: Path
    conditions: np.ndarray
    sessions: np.ndarray
    runs: np.ndarray
    betas: np.ndarray
    mask: np.ndarray
    info: dict

    @property
    def names(self):
        return [f"scene_{number:02}.png" for number in self.conditions]

    def write_info(self, **changes):
        info = {key: value for key, value in (self.info | changes).items() if value is not None}
        np.save(self.root / "DESIGNINFO.npy", info, allow_pickle=True)

    def config(self, kind=".hdf5", **entries):
        given = {
            "betas": self.root / f"{NAME}{kind}",
            "conditions": self.root / "conditions.csv",
            "mask": self.root / "mask.nii",
        }
        return GLMsingle(**{**given, "pictures": self.root / "stimuli", **entries})

    def open(self, kind=".hdf5", **entries):
        return self.config(kind, **entries).open(self.root)


def write_betas(root: Path, betas: np.ndarray) -> None:
    """Write (x, y, z, trial) as Python and MATLAB do."""
    np.save(
        root / f"{NAME}.npy",
        {"betasmd": betas, "R2": betas[..., 0], "pcnum": 3, "list": [betas[0]] * 2},
        allow_pickle=True,
    )
    with h5py.File(root / f"{NAME}.hdf5", "w") as file:
        file["betasmd"] = betas
        file.attrs["pcnum"] = 3
    with h5py.File(root / f"{NAME}.mat", "w", userblock_size=512) as file:
        file.create_dataset("modelmd", data=betas.transpose(3, 2, 1, 0), compression="gzip")
        file["HRFindex"] = np.ones(SHAPE[::-1])
    with (root / f"{NAME}.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(128))


def matrices_of(order, per_run, n_conditions) -> list[np.ndarray]:
    """Return a matrix (time, conditions) per run, with an onset every third volume."""
    matrices = []
    for own in np.split(np.asarray(order), np.cumsum(per_run)[:-1]):
        matrices.append(np.zeros((3 * len(own) + 4, n_conditions), np.uint8))
        matrices[-1][3 * np.arange(len(own)), own] = 1
    return matrices


def write(root: Path, seed: int) -> Truth:
    rng = np.random.default_rng(seed)
    n_pictures = 8 + seed
    per_run = [7 + seed, 5, 6, 2 * n_pictures - 18 - seed + 4]
    order = np.concatenate([rng.permutation(n_pictures), rng.permutation(n_pictures), rng.integers(0, n_pictures, 4)])
    session_of_run, run_of_session = np.array([1, 1, 2, 2]), np.array([1, 2, 1, 2])
    mask = rng.random(SHAPE) < 0.4
    betas = rng.normal(size=(len(order), mask.sum())).astype(np.float32)
    whole = np.full((*SHAPE, len(order)), np.nan, np.float32)
    whole[mask] = betas.T
    (root / "stimuli").mkdir(parents=True)
    for number in range(n_pictures):
        picture = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(picture).save(root / f"stimuli/scene_{number:02}.png")
    write_betas(root, whole)
    info = {
        "stimorder": [np.int64(number) for number in order],
        "numtrialrun": per_run,
        "design": matrices_of(order, per_run, n_pictures),
        "condcounts": np.bincount(order, minlength=n_pictures).tolist(),
        "stimdur": 2.0,
        "params": {
            "sessionindicator": session_of_run[None],
            "wantpercentbold": 1,
            "hrf": None,
            "fracs": np.linspace(1, 0.05, 20),
        },
    }
    truth = Truth(
        root, order, np.repeat(session_of_run, per_run), np.repeat(run_of_session, per_run), betas, mask, info
    )
    truth.write_info()
    table = pd.DataFrame({"condition": np.arange(n_pictures), "is_test": (np.arange(n_pictures) < 3).astype(int)})
    table["stim_file"] = [f"scene_{number:02}.png" for number in range(n_pictures)]
    table.iloc[rng.permutation(n_pictures)].to_csv(root / "conditions.csv", index=False)
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), AFFINE), root / "mask.nii")
    for name, volume in {"V1": rng.random(SHAPE) < 0.5, "empty": np.zeros(SHAPE, bool)}.items():
        nib.save(nib.Nifti1Image(volume.astype(np.uint8), AFFINE), root / f"{name}.nii")
    return truth


@pytest.fixture
def truth(tmp_path):
    return write(tmp_path / "lab", 0)


def assert_found(truth: Truth, recording, sessions=(1, 2)) -> None:
    own = np.isin(truth.sessions, sessions)
    assert recording.trials["stimulus_id"].map(recording.names).tolist() == np.array(truth.names)[own].tolist()
    np.testing.assert_array_equal(recording.trials[["session", "run"]], np.stack([truth.sessions, truth.runs], 1)[own])
    for session in sessions:
        np.testing.assert_array_equal(recording.betas_of(session), truth.betas[truth.sessions == session])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_what_was_written_is_found_again(tmp_path, seed, kind):
    truth = write(tmp_path / "lab", seed)
    rois = {name: truth.root / f"{name}.nii" for name in ("V1", "empty")}
    recording = truth.open(kind, rois=rois)
    assert_found(truth, recording)
    test = recording.test_sets["test"]
    assert [recording.names[number] for number in test] == ["scene_00.png", "scene_01.png", "scene_02.png"]
    assert recording.unit == "percent"
    assert recording.captions is None
    np.testing.assert_array_equal(recording.voxels.mask, truth.mask)
    stored = nib.load(rois["V1"]).get_fdata() > 0
    np.testing.assert_array_equal(recording.roi_masks["V1"], stored[truth.mask])
    assert not recording.roi_masks["empty"].any()
    raw = np.asarray(Image.open(truth.root / "stimuli" / recording.names[4])).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(recording.pictures(np.array([4]))[0], raw, atol=1e-6)
    assert ("is a pickle" in " ".join(recording.remarks)) is (kind == ".npy")


@pytest.mark.parametrize("kind", KINDS)
def test_slabs_do_not_matter(truth, kind, monkeypatch):
    monkeypatch.setattr("braindiffuser.datasets.glmsingle_files.SLAB", 1)
    assert_found(truth, truth.open(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_sessions_may_be_chosen_and_interleaved(truth, kind):
    assert_found(truth, truth.open(kind, sessions=[2]), [2])
    with pytest.raises(RecordingError, match=r"has the sessions 1–2, but dataset.sessions asks for 3 too"):
        truth.open(kind, sessions=3)
    truth.write_info(params={"sessionindicator": np.array([[2, 1, 2, 1]])})
    recording, n = truth.open(kind), truth.info["numtrialrun"]
    first = np.concatenate([np.arange(n[0], n[0] + n[1]), np.arange(sum(n[:3]), sum(n))])
    np.testing.assert_array_equal(recording.betas_of(1), truth.betas[first])


def test_files_are_all_that_is_read(truth):
    config = truth.config(rois={"V1": truth.root / "V1.nii"})
    files = config.files()
    assert {role: list(named) for role, named in files.items() if role != "stimuli"} == {
        "design": ["conditions.csv", "DESIGNINFO.npy"],
        "regions": ["rois/V1/V1.nii", "mask.nii"],
        "betas": [f"{NAME}.hdf5"],
        "captions": [],
    }
    assert set(config.open(truth.root).session_files(1)) <= set(files["betas"])
    assert not config.has_captions


def write_matlab_design(truth: Truth, options: str) -> None:
    """Write DESIGNINFO.mat, whose conditions count from 1, as doubles."""
    with h5py.File(truth.root / "DESIGNINFO.mat", "w") as file:
        file["stimorder"] = truth.conditions[:, None] + 1.0
        file["numtrialrun"] = np.array(truth.info["numtrialrun"], float)[:, None]
        file[f"{options}/sessionindicator"] = np.array([[1.0], [1], [2], [2]])
        file[f"{options}/wantpercentbold"] = np.array([[1.0]])


@pytest.mark.parametrize("options", ["opt", "params"])
def test_a_design_of_matlab_counts_from_1_as_its_table_does(truth, options):
    write_matlab_design(truth, options)
    with pytest.raises(RecordingError, match=r"DESIGNINFO.npy and DESIGNINFO.mat: write which one"):
        truth.open(".mat")
    with pytest.raises(
        RecordingError, match=r"does not list condition 8 .*stimorder runs from 1 to 8, the table from 0 to 7"
    ):
        truth.open(".mat", design=truth.root / "DESIGNINFO.mat")
    table = pd.read_csv(truth.root / "conditions.csv")
    table.assign(condition=table["condition"] + 1).to_csv(truth.root / "conditions.csv", index=False)
    assert_found(truth, truth.open(".mat", design=truth.root / "DESIGNINFO.mat"))


def test_conditions_without_a_picture_are_left_out(truth):
    path = truth.root / "conditions.csv"
    path.write_text(path.read_text().replace("scene_03.png", "n/a"))
    recording = truth.open()
    shown = truth.conditions != 3
    assert recording.trials["stimulus_id"].map(recording.names).tolist() == np.array(truth.names)[shown].tolist()
    np.testing.assert_array_equal(recording.betas_of(1), truth.betas[shown & (truth.sessions == 1)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_matrix_needs_no_mask(truth, kind):
    write_betas(truth.root, truth.betas.T[:, None, None])
    recording = truth.open(kind, mask=None)
    assert recording.voxels.mask is None
    assert_found(truth, recording)
    with_mask = truth.open(kind)  # whose voxels, in C order, are the rows
    assert_found(truth, with_mask)


def test_captions_come_from_a_column_or_a_file(truth):
    table = pd.read_csv(truth.root / "conditions.csv")
    table.assign(caption="a picture of " + table["stim_file"]).to_csv(truth.root / "captioned.csv", index=False)
    config = truth.config(conditions=truth.root / "captioned.csv")
    assert config.has_captions
    assert config.open(truth.root).captions(2) == ("a picture of scene_02.png",)
    said = table[["stim_file"]].assign(caption="one")
    pd.concat([said, said.assign(caption="two")]).to_csv(truth.root / "captions.csv", index=False)
    assert truth.open(captions=truth.root / "captions.csv").captions(2) == ("one", "two")


def test_the_unit_must_not_contradict_the_design(truth):
    with pytest.raises(RecordingError, match=r"unit is raw, but .*wantpercentbold = 1: write unit: percent"):
        truth.open(unit="raw")
    truth.write_info(params={"wantpercentbold": False})
    with pytest.raises(RecordingError, match="wantpercentbold = 0: write unit: raw"):
        truth.open()
    recording = truth.open(unit="raw")
    assert recording.session_numbers == (1,)
    assert "does not say which run belongs to which session" in recording.remarks[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stimorder": None}, r"lacks stimorder; it has .*such as stimorder: \[4, 17, 4\]"),
        ({"numtrialrun": None}, r"lacks numtrialrun; it has"),
        ({"numtrialrun": [3, 4]}, r"stimorder has 20 trials, but the runs of numtrialrun have 7"),
        ({"stimorder": [0.5] * 20}, r"stimorder is no list of whole numbers"),
        ({"stimorder": "words"}, r"stimorder is no list of whole numbers"),
        ({"params": {"sessionindicator": [1, 1]}}, r"sessionindicator has 2 runs, but numtrialrun has 4"),
    ],
)
def test_a_design_that_contradicts_itself_is_refused(truth, changes, message):
    truth.write_info(**changes)
    with pytest.raises(RecordingError, match=message):
        truth.open()


def permuted(order):
    return np.random.default_rng(0).permutation(order)


CONTRADICTIONS = {
    "reversed": lambda order: order[::-1],
    "permuted": permuted,
    "swapped": lambda order: np.where(order == 1, 6, np.where(order == 6, 1, order)),
    "shifted": lambda order: order + 1,
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
@pytest.mark.parametrize("said", ["design", "array of objects", "one array"])
def test_an_order_that_is_not_that_of_the_design_matrices_is_refused(truth, name, said):
    design = truth.info["design"]
    if said == "one array":
        longest = max(len(matrix) for matrix in design)
        design = np.stack([np.pad(matrix, ((0, longest - len(matrix)), (0, 0))) for matrix in design])
    elif said == "array of objects":
        design = np.array([*design, None], dtype=object)[:-1]
    truth.write_info(design=design, condcounts=None)
    assert_found(truth, truth.open())
    truth.write_info(design=design, condcounts=None, stimorder=list(CONTRADICTIONS[name](truth.conditions)))
    with pytest.raises(
        RecordingError, match=r"DESIGNINFO.npy contradicts itself: in trial \d+ of run \d, .* an onset of"
    ):
        truth.open()


@pytest.mark.parametrize("name", ["swapped", "shifted"])
def test_an_order_with_other_numbers_of_trials_than_stated_is_refused(truth, name):
    order = truth.conditions.copy()
    order[np.flatnonzero(order == 1)[0]] = 6  # so that 1 and 6 are not shown as often
    counts = np.bincount(order).tolist()
    truth.write_info(design=None, stimorder=list(order), condcounts=counts)
    truth.open()
    truth.write_info(design=None, stimorder=list(CONTRADICTIONS[name](order)), condcounts=counts)
    with pytest.raises(RecordingError, match=r"stimorder has \d trials of condition \d, but condcounts, .* says \d"):
        truth.open()


def test_runs_of_other_lengths_than_their_matrices_are_refused(truth):
    per_run = truth.info["numtrialrun"]
    truth.write_info(numtrialrun=[per_run[0] - 1, per_run[1] + 1, *per_run[2:]])
    with pytest.raises(RecordingError, match=r"gives run 1 6 trials, but its design matrix has 7 onsets"):
        truth.open()


@pytest.mark.parametrize("design", [None, [[1.0, 2.0]] * 4, [np.zeros(3)] * 4, [np.zeros((3, 2))] * 2, "words", 3])
def test_designs_of_another_form_are_not_required(truth, design):
    truth.write_info(design=design, condcounts=None)
    assert_found(truth, truth.open())


def write_cells(file, matrices, sparse):
    """Write a cell array of matrices as MATLAB does."""
    references = []
    for number, matrix in enumerate(matrices):
        name = f"#refs#/{number}"
        if sparse:
            group = file.create_group(name)
            columns, rows = np.nonzero(matrix.T)
            group.attrs["MATLAB_sparse"] = np.uint64(len(matrix))
            group["jc"] = np.searchsorted(columns, np.arange(matrix.shape[1] + 1)).astype(np.uint64)
            group["ir"], group["data"] = rows.astype(np.uint64), np.ones(len(rows))
        else:
            file[name] = matrix.T.astype(float)
        references.append(file[name].ref)
    file.create_dataset("design", data=np.array(references, dtype=h5py.ref_dtype)[None])


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_matrices_of_matlab_are_compared_too(truth, sparse, name):
    table = pd.read_csv(truth.root / "conditions.csv")
    table.assign(condition=table["condition"] + 1).to_csv(truth.root / "conditions.csv", index=False)
    write_matlab_design(truth, "opt")
    path = truth.root / "DESIGNINFO.mat"
    with h5py.File(path, "r+") as file:
        write_cells(file, truth.info["design"], sparse)
    assert_found(truth, truth.open(".mat", design=path))
    with h5py.File(path, "r+") as file:
        file["stimorder"][...] = CONTRADICTIONS[name](truth.conditions)[:, None] + 1.0
    with pytest.raises(RecordingError, match=r"DESIGNINFO.mat contradicts itself: in trial .* an onset of condition"):
        truth.open(".mat", design=path)


def test_lists_of_lists_do_not_fill_the_memory(truth):
    nested = [0]
    for _ in range(60):
        nested = [nested, nested]
    truth.write_info(stimorder=nested)
    with pytest.raises(RecordingError, match="stimorder is no list of whole numbers"):
        truth.open()


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["DESIGNINFO", NAME])
def test_pickles_run_nothing(truth, name):
    mark = truth.root / "mark"
    np.save(truth.root / f"{name}.npy", truth.info | {"betasmd": Attack(mark)}, allow_pickle=True)
    with pytest.raises(RecordingError, match=rf"{name}\.npy is a pickle that asks for \w+\.mkdir"):
        truth.open(".npy").betas_of(1)
    assert not mark.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_betas_that_do_not_fit_are_refused(truth, kind):
    whole = np.zeros((*SHAPE, len(truth.betas)), np.float32)
    for wrong, message in {
        "trials": (whole[..., :-1], r"expected four axes, the last with the 20 trials of stimorder"),
        "grid": (whole[:-1], r"has the grid \(4, 4, 6\), but the analysis mask"),
        "kind": (whole.astype(bool), r"holds betas as bool; expected real numbers"),
        "nan": (whole * np.nan, r"NaN or infinite betas"),
    }.values():
        write_betas(truth.root, wrong)
        with pytest.raises(RecordingError, match=message):
            truth.open(kind).betas_of(1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_something_else_is_refused(truth, kind):
    (truth.root / f"{NAME}{kind}").write_bytes(b"something else" * 100)
    with pytest.raises(RecordingError, match=NAME):
        truth.open(kind).betas_of(1)
    with pytest.raises(
        RecordingError, match=r"is none of GLMsingle's files: expected one that ends in \.hdf5, \.mat or \.npy"
    ):
        truth.open(".txt")


def test_betas_under_another_name_are_refused(truth):
    with h5py.File(truth.root / f"{NAME}.hdf5", "w") as file:
        file["R2"] = np.zeros(3)
    with pytest.raises(RecordingError, match="holds no array 'betasmd'; it holds R2"):
        truth.open()
    np.save(truth.root / f"{NAME}.npy", {"R2": 1}, allow_pickle=True)
    with pytest.raises(RecordingError, match="lacks betasmd; it has R2"):
        truth.open(".npy").betas_of(1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"{NAME}.hdf5", r"is missing; expected GLMsingle's betas, such as TYPED_"),
        ("DESIGNINFO.npy", r"is missing; expected the DESIGNINFO\.npy or \.mat .*with stimorder and numtrialrun"),
        (
            "conditions.csv",
            r"is missing; expected a table with the columns condition, such as\ncondition,stim_file,split",
        ),
        ("mask.nii", r"mask\.nii is missing"),
        ("stimuli", r"stimuli is no folder"),
        ("V1.nii", r"V1\.nii is missing"),
    ],
)
def test_what_is_missing_is_named(truth, name, message):
    (truth.root / name).rename(truth.root / "away")
    config = truth.config(rois={"V1": truth.root / "V1.nii"})
    with pytest.raises(RecordingError, match=message) as caught:
        config.open(truth.root)
    assert ". " not in str(caught.value)
    config.files()


@pytest.mark.parametrize("column", ["condition", "stim_file"])
def test_a_missing_column_is_named(truth, column):
    path = truth.root / "conditions.csv"
    pd.read_csv(path).drop(columns=column).to_csv(path, index=False)
    with pytest.raises(RecordingError, match=rf"lacks the column {column}; it has .*, such as\ncondition,stim_file"):
        truth.open()


def test_conditions_must_be_numbers_and_listed_once(truth):
    path = truth.root / "conditions.csv"
    table = pd.read_csv(path)
    pd.concat([table, table.iloc[:1]]).to_csv(path, index=False)
    with pytest.raises(RecordingError, match=r"lists condition \d twice"):
        truth.open()
    table.assign(condition="a").to_csv(path, index=False)
    with pytest.raises(RecordingError, match="column condition holds 'a' in row 0"):
        truth.open()


def test_volumes_need_a_mask(truth):
    with pytest.raises(
        RecordingError, match=r"holds volumes \(5, 4, 6\), so a mask must say .*such as mask: brain_mask"
    ):
        truth.open(mask=None)
    write_betas(truth.root, truth.betas.T[:, None, None])
    with pytest.raises(RecordingError, match=r"V1\.nii is a region, but no mask says"):
        truth.open(mask=None, rois={"V1": truth.root / "V1.nii"})


def test_all_regions_that_are_missing_are_in_one_message(truth):
    rois = {name: truth.root / f"{name}.nii" for name in ("gone", "V1", "lost")}
    with pytest.raises(
        RecordingError, match=r"names 2 files .*: gone: .*gone\.nii is missing; .*; lost: .*lost\.nii is"
    ):
        truth.open(rois=rois)


def test_a_design_of_an_older_matlab_is_named(tmp_path):
    (tmp_path / "DESIGNINFO.mat").write_bytes(b"MATLAB 5.0 MAT-file" * 20)
    with pytest.raises(
        RecordingError, match=r"no MATLAB file of version 7.3, or cut short: save it in MATLAB with -v7.3"
    ):
        read_design(tmp_path / "DESIGNINFO.mat")


def test_a_column_of_test_sets_is_honoured(truth):
    table = pd.read_csv(truth.root / "conditions.csv")
    shown = sorted(set(truth.names))
    sides = np.where(table["stim_file"].isin(shown[:4]), "test", "train")
    sets = np.where(table["stim_file"].isin(shown[:2]), "odd", None)
    table = table.drop(columns="is_test").assign(split=sides, test_set=sets)
    table.to_csv(truth.root / "sets.csv", index=False)
    recording = truth.open(conditions=truth.root / "sets.csv")
    found = {name: [recording.names[number] for number in ids] for name, ids in recording.test_sets.items()}
    assert found == {"test": shown[2:4], "odd": shown[:2]}


def test_a_picture_that_is_missing_is_named_with_its_place_in_stimorder(truth):
    gone = truth.names[5]
    next(path for path in truth.root.rglob(gone)).unlink()
    with pytest.raises(RecordingError, match=rf"stimorder: row \d+, counted from 0, shows '{gone}'") as said:
        truth.open()
    assert f"stimorder: row {truth.names.index(gone)}," in str(said.value)
