"""Laws of the BIDS reader: what was written is found again, what is ambiguous is asked for, what is missing is named."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from braindiffuser.datasets.bids import BIDS
from braindiffuser.datasets.bids_names import parse
from braindiffuser.errors import RecordingError
from braindiffuser.recording_check import check_recording

AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])
AFFINE[:3, 3] = -7, -6, -5
SHAPE = (5, 4, 6)
ROIS = ("V1", "V2", "LOC")


@dataclass
class Truth:
    root: Path
    trials: pd.DataFrame
    """session, run, name of each trial, in order of sessions and runs."""
    betas: np.ndarray
    mask: np.ndarray
    labels: np.ndarray

    def of(self, session, run=None):
        own = self.trials["session"] == session
        return self.betas[own if run is None else own & (self.trials["run"] == run)]

    def stem(self, session, run):
        return f"sub-01_ses-{session:02}_task-scenes_run-{run}"

    def betas_path(self, session, run):
        return (
            self.root
            / f"derivatives/lss/sub-01/ses-{session:02}/func/{self.stem(session, run)}_space-T1w_desc-LSS_betas.nii.gz"
        )

    def events_path(self, session, run):
        return self.root / f"sub-01/ses-{session:02}/func/{self.stem(session, run)}_events.tsv"

    @property
    def mask_path(self):
        return self.root / f"derivatives/fmriprep/sub-01/ses-01/func/{self.stem(1, 1)}_space-T1w_desc-brain_mask.nii.gz"

    @property
    def atlas(self):
        return self.root / "derivatives/sub-01_space-T1w_desc-visual_dseg.nii.gz"


def save(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def volumes(truth: Truth, betas: np.ndarray) -> np.ndarray:
    out = np.full((*SHAPE, len(betas)), np.nan, np.float32)  # outside the brain
    out[truth.mask] = betas.T
    return out


def write_table(path: Path, table: pd.DataFrame) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    return path


def events_of(names, rng=None) -> pd.DataFrame:
    """Every third event is a catch trial; rows come in any order."""
    shown = []
    for number, name in enumerate(names):
        shown.append(("scene", name))
        if number % 3 == 1:
            shown.append(("catch", None))
    kinds, files = zip(*shown, strict=True)
    table = pd.DataFrame(
        {"onset": 4.0 + 4.0 * np.arange(len(shown)), "duration": 2.0, "trial_type": kinds, "stim_file": files}
    )
    return table if rng is None else table.iloc[rng.permutation(len(table))]


def write(root: Path, seed: int) -> Truth:
    rng = np.random.default_rng(seed)
    n_pictures = 9 + seed
    names = [f"scene_{number:02}.png" for number in range(n_pictures)]
    order = rng.permutation(np.repeat(np.arange(n_pictures), 2))
    run_of = np.sort(np.arange(len(order)) % 4)
    mask = rng.random(SHAPE) < 0.5
    trials = pd.DataFrame({"session": run_of // 2 + 1, "run": run_of % 2 + 1, "name": [names[i] for i in order]})
    truth = Truth(
        root, trials, rng.normal(size=(len(order), mask.sum())).astype(np.float32), mask, rng.integers(0, 4, SHAPE)
    )
    (root / "stimuli").mkdir(parents=True)
    for name in names:
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(root / "stimuli" / name)
    for folder in (root, root / "derivatives/lss"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "dataset_description.json").write_text(json.dumps({"Name": "tiny", "BIDSVersion": "1.9.0"}))
    for session in (1, 2):
        for run in (1, 2):
            save(truth.betas_path(session, run), volumes(truth, truth.of(session, run)))
            own = trials[(trials["session"] == session) & (trials["run"] == run)]
            write_table(truth.events_path(session, run), events_of(own["name"], rng))
    save(truth.mask_path, mask.astype(np.uint8))
    save(truth.atlas, truth.labels.astype(np.int16))
    write_table(Path(str(truth.atlas).replace(".nii.gz", ".tsv")), pd.DataFrame({"index": [1, 2, 3], "name": ROIS}))
    return truth


@pytest.fixture
def truth(tmp_path):
    return write(tmp_path / "data", 0)


def opened(truth: Truth, **entries):
    return BIDS(root=truth.root, unit="percent", **entries).open(truth.root)


def assert_found(truth: Truth, recording, sessions=(1, 2)) -> None:
    own = truth.trials[truth.trials["session"].isin(sessions)]
    assert recording.trials["stimulus_id"].map(recording.names).tolist() == own["name"].tolist()
    assert recording.trials[["session", "run"]].values.tolist() == own[["session", "run"]].values.tolist()
    for session in sessions:
        np.testing.assert_array_equal(recording.betas_of(session), truth.of(session))


@pytest.mark.parametrize("seed", range(4))
def test_what_was_written_is_found_again(tmp_path, seed):
    truth = write(tmp_path / "data", seed)
    recording = opened(truth)
    assert_found(truth, recording)
    assert recording.subject == "sub-01"
    assert recording.unit == "percent"
    assert not recording.has_split
    assert recording.captions is None
    np.testing.assert_array_equal(recording.voxels.mask, truth.mask)
    np.testing.assert_allclose(recording.voxels.affine, AFFINE)
    for number, name in enumerate(ROIS, start=1):
        np.testing.assert_array_equal(recording.roi_masks[name], truth.labels[truth.mask] == number)
    raw = np.asarray(Image.open(truth.root / "stimuli" / recording.names[3])).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(recording.pictures(np.array([3]))[0], raw, atol=1e-6)


def test_files_are_all_that_is_read(truth):
    config = BIDS(root=truth.root, unit="z")
    files, recording = config.files(), config.open(truth.root)
    assert {role: len(named) for role, named in files.items()} == {
        "design": 4, "regions": 3, "betas": 4, "stimuli": 9, "captions": 0
    }  # fmt: skip
    assert [recording.session_files(session) for session in (1, 2)] == [
        tuple(files["betas"])[:2],
        tuple(files["betas"])[2:],
    ]
    assert not config.has_captions


def test_sessions_may_be_chosen(truth):
    assert_found(truth, opened(truth, sessions=[2]), [2])
    assert_found(truth, opened(truth, sessions=1), [1])
    assert len(BIDS(root=truth.root, unit="z", sessions=1).files()["betas"]) == 2
    with pytest.raises(RecordingError, match=r"has the sessions 1–2, but dataset.sessions asks for 3 too"):
        opened(truth, sessions=3)


def test_catch_trials_may_have_betas(truth):
    events = pd.read_csv(truth.events_path(1, 1), sep="\t", na_values="n/a").sort_values("onset")
    shown = events["stim_file"].notna().to_numpy()
    values = np.zeros((len(events), truth.mask.sum()), np.float32)
    values[shown] = truth.of(1, 1)
    save(truth.betas_path(1, 1), volumes(truth, values))
    assert_found(truth, opened(truth))


@pytest.mark.parametrize("surplus", [-1, 1])
def test_another_number_of_volumes_is_refused(truth, surplus):
    values = truth.of(1, 1)
    save(truth.betas_path(1, 1), volumes(truth, values[:-1] if surplus < 0 else np.concatenate([values, values[:1]])))
    with pytest.raises(
        RecordingError, match=r"run-1_space.*volumes, but .*events\.tsv has .* trials, .* with a picture"
    ):
        opened(truth)


def test_types_of_trials_may_be_chosen(truth):
    for session in (1, 2):
        for run in (1, 2):
            path = truth.events_path(session, run)
            path.write_text(path.read_text().replace("catch\tn/a", "catch\tscene_00.png"))
    with pytest.raises(RecordingError, match="choose trial_types"):
        opened(truth)
    assert_found(truth, opened(truth, trial_types=["scene"]))
    with pytest.raises(RecordingError, match="no trial of the types faces: its trial_type holds catch, scene"):
        opened(truth, trial_types=["faces"])


def as_sessions(truth: Truth, table: bool) -> None:
    """Write one file of betas per session in place of one per run."""
    for session in (1, 2):
        path = Path(str(truth.betas_path(session, 1)).replace("_run-1", ""))
        save(path, volumes(truth, truth.of(session)))
        for run in (1, 2):
            truth.betas_path(session, run).unlink()
        if table:
            own = truth.trials[truth.trials["session"] == session]
            write_table(path.with_name(f"sub-01_ses-{session:02}_task-scenes_trials.tsv"),
                        pd.DataFrame({"run": own["run"], "stim_file": own["name"], "is_test": 0}))  # fmt: skip


@pytest.mark.parametrize("table", [False, True])
def test_one_file_may_hold_a_session(truth, table):
    as_sessions(truth, table)
    recording = opened(truth)
    assert_found(truth, recording)
    assert recording.has_split is table


def test_a_table_of_trials_chooses_volumes(truth):
    path = truth.betas_path(2, 1)
    own = truth.trials[(truth.trials["session"] == 2) & (truth.trials["run"] == 1)]
    backwards = pd.DataFrame(
        {"beta_index": np.arange(len(own))[::-1], "stim_file": own["name"].to_numpy()[::-1], "caption": "a"}
    )
    for session, run in ((1, 1), (1, 2), (2, 2)):
        truth.betas_path(session, run).unlink()
    write_table(path.with_name(f"{truth.stem(2, 1)}_trials.tsv"), backwards.iloc[:-1])
    recording = opened(truth)
    np.testing.assert_array_equal(recording.betas_of(2), truth.of(2, 1)[::-1][:-1])
    assert recording.captions(0) == ("a",)
    assert BIDS(root=truth.root, unit="z").has_captions
    write_table(path.with_name(f"{truth.stem(2, 1)}_trials.tsv"), backwards.assign(beta_index=0))
    with pytest.raises(RecordingError, match="name each at most once"):
        opened(truth)


@pytest.mark.parametrize(
    ("old", "new", "entry"),
    [
        ("task-scenes", "task-faces", "task: faces"),
        ("space-T1w", "space-MNI", "space: MNI"),
        ("desc-LSS", "desc-LSA", "desc: LSA"),
        ("sub-01", "sub-02", "subject: 01"),
        ("derivatives/lss", "derivatives/other", "derivative: derivatives/lss"),
        ("_space", "_acq-high_space", "entities.acq: high"),
    ],
)
def test_what_is_ambiguous_must_be_chosen(truth, old, new, entry):
    for session in (1, 2):
        for run in (1, 2):
            path = truth.betas_path(session, run)
            save(Path(str(path).replace(old, new)), volumes(truth, truth.of(session, run) + 1))
    with pytest.raises(RecordingError, match=f"differ in .*write which one, such as {re.escape(entry)}"):
        opened(truth)
    assert BIDS(root=truth.root, unit="z").files()["betas"] == {}
    label = old.rpartition("-")[2] if "-" in old else old
    name = {"sub": "subject", "derivatives/lss": "derivative"}.get(entry.split(":")[0], entry.split(":")[0])
    if not entry.startswith("entities"):
        assert_found(truth, opened(truth, **{name: label}))
        with pytest.raises(RecordingError, match="holds no betas with"):
            opened(truth, **{name: "none"})
    else:
        assert_found(truth, opened(truth, entities={"acq": ""}))
        np.testing.assert_array_equal(opened(truth, entities={"acq": "high"}).betas_of(1), truth.of(1) + 1)


def test_sessions_with_names_are_numbered_and_said(truth):
    for path in sorted(truth.root.rglob("*ses-0*"), reverse=True):
        path.rename(path.with_name(path.name.replace("ses-01", "ses-early").replace("ses-02", "ses-late")))
    recording = opened(truth)
    assert_found(truth, recording)
    assert "1 is early, 2 is late" in recording.remarks[0]


def test_all_masks_count_and_it_is_said(truth):
    smaller = truth.mask.copy()
    smaller[tuple(np.argwhere(truth.mask)[0])] = False
    save(Path(str(truth.mask_path).replace("run-1", "run-2")), smaller.astype(np.uint8))
    save(
        truth.mask_path.with_name("sub-01_space-T1w_desc-brain_mask.nii.gz"), np.ones((2, 2, 2), np.uint8)
    )  # of anatomy
    recording = opened(truth)
    np.testing.assert_array_equal(recording.voxels.mask, smaller)
    assert "all 2 brain masks have; 1 others" in " ".join(recording.remarks)
    np.testing.assert_array_equal(recording.betas_of(1), truth.of(1)[:, 1:])
    np.testing.assert_array_equal(opened(truth, mask=truth.mask_path).voxels.mask, truth.mask)


def test_volumes_on_another_grid_are_refused(truth):
    shifted = AFFINE.copy()
    shifted[0, 3] += 4
    save(truth.betas_path(2, 2), volumes(truth, truth.of(2, 2)), shifted)
    with pytest.raises(RecordingError, match=r"run-2.*is shifted against the analysis mask"):
        opened(truth)


def test_nan_inside_the_mask_is_refused(truth):
    values = truth.of(1, 2).copy()
    values[1, 3] = np.nan
    save(truth.betas_path(1, 2), volumes(truth, values))
    with pytest.raises(RecordingError, match="NaN or infinite betas in 1 of"):
        opened(truth).betas_of(1)


def test_integers_are_read_as_they_are(truth):
    stored = np.rint(volumes(truth, truth.of(1, 1)) * 100)
    save(truth.betas_path(1, 1), np.nan_to_num(stored).astype(np.int16))
    found = opened(truth).betas_of(1)[: len(truth.of(1, 1))]
    np.testing.assert_array_equal(found, np.rint(truth.of(1, 1) * 100))


def test_atlases_that_do_not_fit_are_left_out_or_refused(truth):
    save(truth.root / "derivatives/sub-01_space-T1w_dseg.nii.gz", truth.labels.astype(np.int16))
    coarse = save(truth.root / "derivatives/sub-01_space-T1w_desc-coarse_dseg.nii.gz", np.ones((2, 2, 2), np.int16))
    write_table(Path(str(coarse).replace(".nii.gz", ".tsv")), pd.DataFrame({"index": [1], "name": ["V1"]}))
    recording = opened(truth)
    assert tuple(recording.roi_masks) == ROIS
    assert "no table of names): sub-01_space-T1w_dseg" in " ".join(recording.remarks)
    assert "another grid than the mask): sub-01_space-T1w_desc-coarse" in " ".join(recording.remarks)
    assert "tlas" not in " ".join(opened(truth, atlases=["visual"]).remarks)
    with pytest.raises(RecordingError, match=r"coarse_dseg.*has the grid"):
        opened(truth, atlases=["coarse"])
    with pytest.raises(RecordingError, match=r"no atlas 'other'.*there are .*coarse, visual"):
        opened(truth, atlases=["other"])
    second = save(truth.root / "derivatives/sub-01_space-T1w_desc-second_dseg.nii.gz", truth.labels.astype(np.int16))
    write_table(Path(str(second).replace(".nii.gz", ".tsv")), pd.DataFrame({"index": [1], "name": ["V1"]}))
    with pytest.raises(RecordingError, match="region V1 is in several atlases"):
        opened(truth)


def test_names_are_inherited_and_united(truth):
    """A table may stand above its atlas, with fewer entities; labels of one name are one region."""
    Path(str(truth.atlas).replace(".nii.gz", ".tsv")).unlink()
    names = pd.DataFrame({"index": [1, 2, 3], "name": ["V1", "V1", "LOC"]})
    write_table(truth.root / "derivatives/desc-visual_dseg.tsv", names)
    recording = opened(truth)
    np.testing.assert_array_equal(recording.roi_masks["V1"], np.isin(truth.labels[truth.mask], [1, 2]))


@pytest.mark.parametrize(
    ("remove", "message"),
    {
        "betas": ("derivatives/lss", r"holds no betas: expected files …_betas\.nii\.gz.*such as sub-01_ses-01"),
        "events": (
            "sub-01",
            r"no table of its trials: expected .*_trials\.tsv .*_events\.tsv, such as\nonset\tduration",
        ),
        "mask": (
            "derivatives/fmriprep",
            r"no brain mask of sub-01 .*\(T1w\).*such as sub-01_space-T1w_desc-brain_mask\.nii\.gz",
        ),
        "pictures": ("stimuli", r"stimuli is no folder"),
    }.values(),
)
def test_what_is_missing_is_named(truth, remove, message):
    (truth.root / remove).rename(truth.root / ".away")
    with pytest.raises(RecordingError, match=message) as caught:
        opened(truth)
    assert ". " not in str(caught.value)
    BIDS(root=truth.root, unit="z").files()


@pytest.mark.parametrize("column", ["onset", "stim_file"])
def test_a_missing_column_is_named(truth, column):
    path = truth.events_path(1, 1)
    write_table(path, pd.read_csv(path, sep="\t").drop(columns=column))
    with pytest.raises(
        RecordingError, match=rf"run-1_events\.tsv lacks the column {column}; it has .*, such as\nonset\tduration"
    ):
        opened(truth)


def test_a_missing_column_of_an_atlas_is_named(truth):
    write_table(Path(str(truth.atlas).replace(".nii.gz", ".tsv")), pd.DataFrame({"index": [1, 2, 3]}))
    with pytest.raises(RecordingError, match=r"dseg\.tsv lacks the column name; it has index, such as\nindex\tname"):
        opened(truth, atlases=["visual"])


def test_a_missing_picture_is_named_with_its_trial(truth):
    (truth.root / "stimuli" / truth.trials["name"][4]).unlink()
    name = truth.trials["name"][4]
    with pytest.raises(
        RecordingError, match=rf"row \d+, counted from 0, of the table of session .* shows '{name}'"
    ) as said:
        opened(truth)
    row, session, run = map(int, re.search(r"row (\d+), .* session (\d+), run (\d+)", str(said.value)).groups())
    table = pd.read_csv(truth.events_path(session, run), sep="\t")
    assert table["stim_file"][row] == name


def test_the_unit_must_be_given(truth):
    with pytest.raises(ValueError, match="unit"):
        BIDS(root=truth.root)


@pytest.mark.parametrize("name", ["sub-01_bold_x.nii", "sub-01_sub-02_bold.nii", "README", "sub-01_run-1.nii"])
def test_other_names_are_no_names(name):
    assert parse(Path(name)) is None


def test_the_example_is_a_recording_that_check_takes(tmp_path):
    """examples/bids.yaml, beside a folder in the layout that it names."""
    example = Path(__file__).parents[3] / "examples/bids.yaml"
    write(tmp_path / "scenes", 0)
    (tmp_path / "scenes/test_pictures.txt").write_text("scene_01.png\nscene_02.png\n")
    shutil.copy(example, tmp_path)
    *facts, command = check_recording(str(tmp_path / example.name))
    assert command == f"Run it: braindiffuser run --config {tmp_path / example.name} --out runs/scenes"
    assert any(re.fullmatch(r"Stimuli +7 for training, 2 for testing", line) for line in facts)
    assert len(example.read_text(encoding="utf-8").splitlines()) <= 6


def test_pictures_that_all_subjects_saw_are_told_by_the_tables_of_the_others(truth):
    with pytest.raises(RecordingError, match="holds no table of trials of another subject"):
        opened(truth).shared()
    names = sorted(set(truth.trials["name"]))
    for path in [truth.betas_path(1, 1), truth.events_path(1, 1)]:
        other = Path(str(path).replace("sub-01", "sub-02"))
        other.parent.mkdir(parents=True)
        if path.suffix == ".tsv":
            events = events_of(names[:3])
            events.loc[events["trial_type"] == "catch", "stim_file"] = names[5]
            write_table(other, events)
        else:
            save(other, volumes(truth, truth.of(1, 1)[:3]))
    entries = {"subject": "01", "trial_types": ("scene",)}
    recording = opened(truth, **entries)
    ids, how = recording.shared()
    assert {recording.names[number] for number in ids.tolist()} == set(names[:3])
    assert "(sub-02)" in how
    files = BIDS(root=truth.root, unit="z", **entries).files_of_others()
    assert list(files) == ["sub-02/ses-01/func/sub-02_ses-01_task-scenes_run-1_events.tsv"]
    assert not BIDS(root=truth.root, unit="z").files_of_others()  # which subject is not said, and open() says so


def test_a_column_of_test_sets_is_honoured(truth):
    names = sorted(truth.trials["name"].unique())
    for session, run in ((1, 1), (1, 2), (2, 1), (2, 2)):
        path = truth.events_path(session, run)
        table = pd.read_csv(path, sep="\t", na_values="n/a")
        apart = table["stim_file"].isin(names[:2])
        tests = apart | table["stim_file"].isin(names[2:5])
        write_table(path, table.assign(split=np.where(tests, "test", "train"), test_set=np.where(apart, "odd", None)))
    recording = opened(truth)
    sets = {name: [recording.names[number] for number in ids] for name, ids in recording.test_sets.items()}
    assert sets == {"test": names[2:5], "odd": names[:2]}


def test_labels_without_a_name_are_said_and_an_index_twice_is_refused(truth):
    table = Path(str(truth.atlas).replace(".nii.gz", ".tsv"))
    write_table(table, pd.DataFrame({"index": [2, 3, 9], "name": ROIS}))
    n = np.count_nonzero(truth.labels[truth.mask] == 1)
    said = f"visual_dseg.nii.gz holds labels without a name in {table.name} (1): their {n} voxels are in no region."
    assert said in " ".join(opened(truth).remarks)
    for faulty in ({"index": [1, 2, 2], "name": ROIS}, {"ID": [1, 2, 3], "name": ROIS}, {"index": [], "name": []}):
        write_table(table, pd.DataFrame(faulty))
        said = f"Atlases that are not read (a table of names that does not fit): {truth.atlas.name}."
        assert said in opened(truth).remarks
        with pytest.raises(RecordingError, match=r"visual_dseg\.tsv"):
            opened(truth, atlases=["visual"])
    write_table(table, pd.DataFrame({"index": [1, 2, 2], "name": ROIS}))
    with pytest.raises(RecordingError, match=r"visual_dseg\.tsv has two rows with the index 2 \('V2' and 'LOC'\)"):
        opened(truth, atlases=["visual"])


def test_an_atlas_of_fractions_is_refused_where_it_is_asked_for_and_said_elsewhere(truth):
    label = next(iter(opened(truth).roi_masks))
    save(truth.atlas, (truth.labels * 0.5).astype(np.float32))
    recording = opened(truth)
    assert label not in recording.roi_masks
    assert f"Atlases that are not read (values that are no labels): {truth.atlas.name}." in recording.remarks
    with pytest.raises(RecordingError, match=r"visual_dseg\.nii\.gz holds numbers that are no labels"):
        opened(truth, atlases=["visual"])


def test_an_atlas_that_is_damaged_is_said_as_such(truth):
    truth.atlas.write_bytes(truth.atlas.read_bytes()[:-9])
    assert f"Atlases that are not read (no volume that can be read): {truth.atlas.name}." in opened(truth).remarks


def edit_events(truth, column, rows, value):
    path = truth.events_path(1, 2)
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    shown = table.index[table["stim_file"] != "n/a"]
    table.loc[shown[rows], column] = value
    table.to_csv(path, sep="\t", index=False)


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "n/a", "soon"])
def test_onsets_that_are_no_times_are_refused(truth, value):
    edit_events(truth, "onset", [1], value)
    with pytest.raises(RecordingError, match=r"run-2_events\.tsv: column onset holds '.*'; expected seconds"):
        opened(truth)


def test_two_pictures_at_one_time_are_refused_and_one_shown_twice_is_not(truth):
    edit_events(truth, "stim_file", [0, 2], "scene_01.png")
    edit_events(truth, "onset", [0, 2], "160.0")
    opened(truth)
    edit_events(truth, "stim_file", [0], "scene_02.png")
    with pytest.raises(RecordingError, match=r"run-2_events\.tsv: events with betas begin at one time .* at 160 s"):
        opened(truth)


def test_runs_and_sessions_without_betas_are_said(truth):
    assert "not there" not in " ".join(opened(truth).remarks)
    assert "Events without a beta, which show no picture: 6 of 24; they are left out." in opened(truth).remarks
    kept = truth.betas_path(2, 1).read_bytes()
    truth.betas_path(2, 1).unlink()
    assert "Runs that are not there: run 1 of session 2" in " ".join(opened(truth).remarks)
    truth.betas_path(2, 1).write_bytes(kept)
    truth.betas_path(1, 2).unlink()
    assert (
        "Events without betas, so that their trials are not there: sub-01_ses-01_task-scenes_run-2."
        in opened(truth).remarks
    )
    shutil.rmtree(truth.betas_path(2, 1).parent)
    assert "trials are not there: sub-01_ses-01_task-scenes_run-2, sub-01_ses-02." in " ".join(opened(truth).remarks)
    assert "ses-02" not in " ".join(opened(truth, sessions=[1]).remarks)
