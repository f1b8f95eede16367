"""Kamitani lab's bdata format, written small: Generic Object Decoding in one file, Deeprecon in two."""

import shutil
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from braindiffuser.datasets.bdata import BData
from braindiffuser.datasets.bdata_files import BDataFile
from braindiffuser.datasets.bdata_stimuli import picture_name
from braindiffuser.errors import RecordingError
from braindiffuser.splits.most_repeated import MostRepeated

from .fetch_commands import fetched
from .layouts_drawn import assert_equals, assert_files_are_listed, betas_of, draw, save_picture

AXES = ("voxel_x", "voxel_y", "voxel_z")


class Matrix:
    """A bdata file in the making: voxels with their metadata, then columns by name."""

    def __init__(self, betas, rois, places):
        self.betas, self.columns = betas, {}
        self.metadata = {"VoxelData": np.ones(betas.shape[1])}
        self.metadata |= {f"ROI_{name}": roi.astype(float) for name, roi in rois.items()}
        self.metadata |= dict(zip(AXES, places.T, strict=True))

    def rows(self, chosen):
        """Keep some rows."""
        other = Matrix(self.betas[chosen], {}, np.zeros((self.betas.shape[1], 3)))
        other.metadata, other.columns = dict(self.metadata), {key: value[chosen] for key, value in self.columns.items()}
        return other

    def add(self, betas, **columns):
        """Add rows; a column that is not given is NaN."""
        self.betas = np.concatenate([self.betas, betas])
        for key, values in self.columns.items():
            self.columns[key] = np.append(values, np.broadcast_to(columns.get(key, np.nan), len(betas)))

    def write(self, path, old=False, dtype=np.float64, first=()):
        """Write it; `first` names columns that stand before the voxels."""
        names = [*first, *(key for key in self.columns if key not in first)]
        own = [self.columns[key][:, None] for key in names]
        matrix = np.concatenate([*own[: len(first)], self.betas, *own[len(first) :]], axis=1)
        voxels = np.arange(self.betas.shape[1]) + len(first)
        places = np.setdiff1d(np.arange(matrix.shape[1]), voxels)
        keys, values = [], []
        for key, column in [*self.metadata.items(), *zip(names, np.ones(len(names)), strict=True)]:
            row = np.full(matrix.shape[1], np.nan)
            row[voxels if key in self.metadata else places[names.index(key)]] = column
            keys.append(key)
            values.append(row)
        with h5py.File(path, "w") as file:
            file.create_dataset("dataSet" if old else "dataset", data=matrix.astype(dtype), compression="gzip")
            group = file.create_group("metaData" if old else "metadata")
            group.create_dataset("key", data=keys, dtype=h5py.string_dtype())
            group.create_dataset("description", data=keys, dtype=h5py.string_dtype())
            group.create_dataset("value", data=np.array(values))
        return path


def make(root, seed):
    """Draw a subject and its pictures; ids end in zeros for some, which texts of them lose."""
    drawn = draw(seed)
    ids = [1518878 + 1000 * i + (10040 + 10 * i) / 1e6 for i in range(len(drawn.is_test))]
    names = [f"{number:.6f}" for number in ids]
    for name, picture, test in zip(names, drawn.pictures, drawn.is_test, strict=True):
        save_picture(root / "images" / ("test" if test else "training") / f"{picture_name(name)}.JPEG", picture)
    matrix = Matrix(drawn.betas, {"VC": np.ones(drawn.betas.shape[1]), **drawn.rois}, 2.0 * np.argwhere(drawn.mask))
    matrix.columns = {
        "Session": drawn.session.astype(float),
        "Run": drawn.run.astype(float),
        "DataType": np.where(drawn.is_test[drawn.stimulus], 2.0, 1.0),
        "stimulus_id": np.array(ids)[drawn.stimulus],
    }
    return SimpleNamespace(root=root, drawn=drawn, ids=ids, names=names, matrix=matrix, path=root / "Subject1.h5")


@pytest.fixture(params=[0, 1, 2])
def layout(request, tmp_path):
    return make(tmp_path, request.param)


@pytest.fixture
def one(tmp_path):
    return make(tmp_path, 0)


def part_of(made, **entries):
    return BData(**{"responses": made.path, "pictures": made.root / "images", "unit": "percent", **entries})


def open_(made, **entries):
    return part_of(made, **entries).open(made.root)


def imagine(made, ids, **columns):
    """Add an imagery trial per id, whose betas are all its number; returns the file."""
    n_voxels = made.drawn.betas.shape[1]
    betas = np.repeat(np.arange(len(ids), dtype=np.float32)[:, None], n_voxels, axis=1)
    made.matrix.add(betas, Session=4, Run=9, DataType=3, stimulus_id=np.array(ids, dtype=float), **columns)
    return made.matrix.write(made.path)


def test_what_was_written_is_read(layout):
    layout.matrix.write(layout.path)
    recording = open_(layout)
    assert_equals(recording, layout.drawn, layout.names, {**layout.drawn.rois, "VC": np.ones(recording.n_voxels)})
    assert recording.trials["run"].tolist() == layout.drawn.run.tolist()
    np.testing.assert_array_equal(recording.voxels.coordinates, 2 * np.argwhere(layout.drawn.mask))
    assert (recording.unit, recording.captions, dict(recording.further_test_sets)) == ("percent", None, {})
    assert_files_are_listed(part_of(layout))


def test_the_unit_has_no_default(one):
    with pytest.raises(ValueError, match="unit of the betas: percent"):
        BData(responses=one.path, pictures=one.root)


def test_columns_are_found_by_metadata_wherever_they_stand(layout):
    layout.matrix.write(layout.path, first=("stimulus_id", "Run"))
    assert_equals(open_(layout), layout.drawn, layout.names, layout.drawn.rois)


def test_the_old_spelling_is_read(layout):
    layout.matrix.write(layout.path, old=True)
    assert_equals(open_(layout), layout.drawn, layout.names, layout.drawn.rois)


def test_without_voxel_data_the_regions_say_which_columns_are_voxels(layout):
    del layout.matrix.metadata["VoxelData"]
    layout.matrix.write(layout.path)
    assert_equals(open_(layout), layout.drawn, layout.names, layout.drawn.rois)


def test_ids_keep_their_six_decimals(one):
    assert one.names[0] == "1518878.010040"
    assert picture_name("1518878.010040") == "n01518878_10040"
    one.matrix.write(one.path)
    assert open_(one).names[0] == "1518878.010040"


def test_ids_that_lost_their_decimals_are_refused(one):
    one.matrix.write(one.path, dtype=np.float32)
    with pytest.raises(
        RecordingError, match=r"float32, in which stimulus_id loses its 6 decimals[\s\S]*image_index,stim"
    ):
        open_(one)


def test_a_part_of_the_matrix_is_held_at_a_time(layout, monkeypatch):
    monkeypatch.setattr("braindiffuser.datasets.bdata_files.BYTES_PER_READ", 900)
    layout.matrix.write(layout.path)
    np.testing.assert_array_equal(betas_of(open_(layout)), layout.drawn.betas)


def test_sessions_need_not_stand_together(layout):
    order = np.random.default_rng(0).permutation(len(layout.drawn.stimulus))
    layout.matrix.rows(order).write(layout.path)
    recording = open_(layout)
    by_session = order[np.argsort(layout.drawn.session[order], kind="stable")]
    np.testing.assert_array_equal(betas_of(recording), layout.drawn.betas[by_session])


# Imagery


def test_imagery_is_a_test_set_of_its_own_of_the_pictures_that_were_seen(layout):
    tested = np.flatnonzero(layout.drawn.is_test)
    imagine(layout, [layout.ids[i] for i in (*tested, tested[0])])
    recording, n_seen = open_(layout), len(layout.names)
    ids = recording.further_test_sets["imagery"]
    assert ids.tolist() == list(range(n_seen, n_seen + len(tested)))
    assert [recording.names[i] for i in ids] == sorted(f"{layout.names[i]} (imagined)" for i in tested)
    seen = recording.trials["stimulus_id"] < n_seen
    np.testing.assert_array_equal(betas_of(recording)[seen], layout.drawn.betas)
    assert (recording.trials.loc[~seen, "split"] == "test").all()
    assert betas_of(recording)[~seen][:, 0].tolist() == list(range(len(tested) + 1))
    assert {name: len(test_ids) for name, test_ids in recording.test_sets.items()} == {
        "test": len(tested),
        "imagery": len(tested),
    }
    id_of = {name: number for number, name in recording.names.items()}
    seen_ids = np.array([id_of[recording.names[i].removesuffix(" (imagined)")] for i in ids])
    np.testing.assert_array_equal(recording.pictures(ids), recording.pictures(seen_ids))
    assert recording.notes["imagery"][0] == "Imagery"


def test_imagery_without_an_id_is_left_out_and_said(layout):
    test = layout.ids[np.flatnonzero(layout.drawn.is_test)[0]]
    training = layout.ids[np.flatnonzero(~layout.drawn.is_test)[0]]
    imagine(layout, [np.nan, test, training])
    recording = open_(layout)
    assert len(recording.further_test_sets["imagery"]) == 1
    assert any(remark.startswith("2 of 3 imagery trials are left out") for remark in recording.remarks)
    assert betas_of(recording)[-1, 0] == 1


def test_imagery_that_a_table_joins_to_a_training_picture_is_left_out(one):
    """Only a label of the file itself names a picture that did not test."""
    numbers = [np.flatnonzero(one.drawn.is_test == side)[0] for side in (True, False)]
    imagine(one, [one.ids[number] for number in numbers])
    table = one.root / "pictures.csv"
    names = [f"{name},{picture_name(name)}.JPEG" for name in one.names]
    table.write_text("\n".join(["stimulus_id,stim_file", *names]))
    recording = open_(one, stimulus_table=table)
    shown = [recording.names[i] for i in recording.further_test_sets["imagery"]]
    assert shown == [f"{picture_name(one.names[numbers[0]])}.JPEG (imagined)"]
    assert any(remark.startswith("1 of 2 imagery trials are left out") for remark in recording.remarks)


def test_imagery_without_any_id_leaves_the_seen_trials_as_they_are(layout):
    imagine(layout, [np.nan, np.nan])
    recording = open_(layout)
    assert_equals(recording, layout.drawn, layout.names, layout.drawn.rois)
    assert recording.further_test_sets == {}
    assert any(remark.startswith("2 of 2 imagery trials are left out") for remark in recording.remarks)


def test_the_id_of_a_category_stands_for_its_one_test_picture(layout):
    test = np.flatnonzero(layout.drawn.is_test)[1]
    training = np.flatnonzero(~layout.drawn.is_test)[0]
    imagine(layout, [int(layout.ids[test]), int(layout.ids[training])])
    recording = open_(layout)
    assert [recording.names[i] for i in recording.further_test_sets["imagery"]] == [f"{layout.names[test]} (imagined)"]


def test_no_split_makes_training_data_of_imagined_pictures(layout):
    tested = np.flatnonzero(layout.drawn.is_test)
    imagine(layout, [layout.ids[i] for i in tested])
    other = MostRepeated(n_repeats=4).divide(open_(layout))
    assert len(other.test_sets["imagery"]) == len(tested)


# Several files, and tables of pictures


def as_deeprecon(made):
    """Write training and test as files of their own, with picture numbers that count apart; returns entries."""
    matrix, test = made.matrix, made.drawn.is_test[made.drawn.stimulus]
    for key in ("DataType", "stimulus_id"):
        del matrix.columns[key]
    matrix.columns["image_index"] = np.zeros(len(test))
    rows = []
    for side in (False, True):
        own = np.flatnonzero(made.drawn.is_test == side)
        matrix.columns["image_index"][test == side] = np.searchsorted(own, made.drawn.stimulus[test == side]) + 1
        rows += [
            f"{k + 1},{picture_name(made.names[i])}.JPEG,{'test' if side else 'train'}\n" for k, i in enumerate(own)
        ]
        matrix.rows(test == side).write(made.root / ("Test.h5" if side else "Training.h5"))
    (made.root / "pictures.csv").write_text("image_index,stim_file,split\n" + "".join(rows))
    table = made.root / "pictures.csv"
    return {"responses": made.root / "Training.h5", "test": made.root / "Test.h5", "stimulus_table": table}


def test_training_and_test_may_be_files_with_a_table_of_pictures(layout):
    entries, test = as_deeprecon(layout), layout.drawn.is_test[layout.drawn.stimulus]
    recording = open_(layout, **entries)
    order = np.argsort(test, kind="stable")
    np.testing.assert_array_equal(betas_of(recording), layout.drawn.betas[order])
    assert [recording.names[i] for i in recording.trials["stimulus_id"]] == [
        f"{picture_name(layout.names[i])}.JPEG" for i in layout.drawn.stimulus[order]
    ]
    assert (recording.trials["split"] == "test").tolist() == test[order].tolist()
    n_sessions = len(np.unique(layout.drawn.session[~test])), len(np.unique(layout.drawn.session[test]))
    assert len(recording.session_numbers) == sum(n_sessions)
    assert any(remark.startswith("Sessions are counted through all files") for remark in recording.remarks)
    assert recording.session_files(recording.session_numbers[0]) == ("Training.h5",)
    assert recording.session_files(recording.session_numbers[-1]) == ("Test.h5",)
    assert_files_are_listed(part_of(layout, **entries))


def test_a_further_file_of_imagery_shows_the_test_pictures(layout):
    entries, tested = as_deeprecon(layout), np.flatnonzero(layout.drawn.is_test)
    matrix = layout.matrix.rows(np.arange(len(tested)))
    matrix.columns["image_index"] = np.arange(len(tested)) + 1.0
    recording = open_(layout, **entries, imagery=matrix.write(layout.root / "Imagery.h5"))
    assert [recording.names[i] for i in recording.further_test_sets["imagery"]] == [
        f"{picture_name(layout.names[i])}.JPEG (imagined)" for i in tested
    ]
    np.testing.assert_array_equal(betas_of(recording)[-len(tested) :], matrix.betas)


def test_a_table_without_split_must_not_give_two_pictures_one_number(one):
    entries = as_deeprecon(one)
    table = entries["stimulus_table"]
    table.write_text("\n".join(line.rpartition(",")[0] for line in table.read_text().splitlines()))
    with pytest.raises(RecordingError, match=r"two rows for image_index 1: .* a column split where training and test"):
        open_(one, **entries)


def test_a_table_that_lacks_a_picture_or_column_is_named_with_an_example(one):
    entries = as_deeprecon(one)
    table, text = entries["stimulus_table"], entries["stimulus_table"].read_text()
    table.write_text(text.replace("\n1,", "\n999,"))
    with pytest.raises(RecordingError, match=r"has no image_index 1 of train, which trial \d+ .*shows"):
        open_(one, **entries)
    table.write_text(text.replace("image_index", "number"))
    with pytest.raises(
        RecordingError, match=r"has no column that .*Training\.h5 has too[\s\S]*image_index,stim_file,split"
    ):
        open_(one, **entries)
    table.write_text(text.replace("stim_file", "name"))
    with pytest.raises(RecordingError, match=r"lacks the column stim_file"):
        open_(one, **entries)
    table.write_text(text.replace(",train", ",rest"))
    with pytest.raises(RecordingError, match=r"column split holds 'rest'; expected train or test"):
        open_(one, **entries)


def test_names_of_pictures_may_be_labels(layout):
    del layout.matrix.columns["stimulus_id"]
    layout.matrix.columns["stimulus_name"] = layout.drawn.stimulus + 1.0
    layout.matrix.write(layout.path)
    names = [picture_name(name) for name in layout.names]
    with h5py.File(layout.path, "a") as file:
        for i, name in enumerate(names):
            file.create_dataset(f"vmap/stimulus_name/{i + 1}", data=name, dtype=h5py.string_dtype())
    assert_equals(open_(layout), layout.drawn, names, layout.drawn.rois)


def test_files_of_other_voxels_are_refused(one):
    entries = as_deeprecon(one)
    one.matrix.metadata["ROI_V1"] = one.matrix.metadata["ROI_V1"][::-1]
    one.matrix.write(entries["test"])
    with pytest.raises(RecordingError, match=r"Test\.h5 has other voxels than .*Training\.h5"):
        open_(one, **entries)


def test_files_of_one_name_are_refused(one):
    with pytest.raises(ValueError, match=r"name two files Subject1\.h5"):
        part_of(one, test=[one.root / "other" / one.path.name])


def test_what_a_file_is_named_as_is_a_part_of_the_identity(one):
    other = one.root / "Other.h5"
    first, second = part_of(one, test=other), part_of(one, responses=other, test=one.path)
    assert first.influences_of("design", "cpu") != second.influences_of("design", "cpu")
    regions = part_of(one, test=other, regions=["V1"])
    assert first.influences_of("design", "cpu") == regions.influences_of("design", "cpu")
    assert first.influences_of("betas", "cpu") != regions.influences_of("betas", "cpu")


def test_a_file_named_as_test_whose_rows_say_otherwise_is_refused(one):
    one.matrix.write(one.path)
    one.matrix.write(one.root / "Test.h5")
    with pytest.raises(RecordingError, match=r"Test\.h5 is named as test, but its column DataType says otherwise"):
        open_(one, test=one.root / "Test.h5")


# What is left out or wrong


def test_trials_without_an_id_are_left_out_and_said(layout):
    layout.matrix.columns["stimulus_id"][2] = np.nan
    layout.matrix.write(layout.path)
    recording = open_(layout)
    np.testing.assert_array_equal(betas_of(recording), np.delete(layout.drawn.betas, 2, axis=0))
    assert "Trials without the id of a stimulus are left out: 1." in recording.remarks


@pytest.mark.parametrize("value", [0, 4, np.nan])
def test_an_unknown_type_of_trial_is_refused(one, value):
    one.matrix.columns["DataType"][3] = value
    one.matrix.write(one.path)
    with pytest.raises(RecordingError, match=r"DataType is .* in row 3, .* expected 1 \(training\), 2 \(test\) or 3"):
        open_(one)


def test_a_session_that_is_no_whole_number_is_refused(one):
    one.matrix.columns["Session"][3] = 1.5
    one.matrix.write(one.path)
    with pytest.raises(RecordingError, match=r"Session is 1\.5 in row 3, counted from 0; expected a whole number"):
        open_(one)


@pytest.mark.parametrize("key", ["Session", "Run", "DataType", *AXES])
def test_keys_that_may_be_left_out(layout, key):
    layout.matrix.columns.pop(key, None)
    layout.matrix.metadata.pop(key, None)
    layout.matrix.write(layout.path)
    recording = open_(layout)
    assert len(recording.trials) == len(layout.drawn.stimulus)
    if key == "Session":
        assert recording.session_numbers == (1,)
    if key == "DataType":
        assert set(recording.trials["split"]) == {"train"}
    assert (recording.voxels.coordinates is None) == (key in AXES)


def test_a_missing_column_of_ids_is_named_with_an_example(one):
    del one.matrix.columns["stimulus_id"]
    one.matrix.write(one.path)
    with pytest.raises(RecordingError, match=r"lacks the column stimulus_id.*[\s\S]*image_index,stim_file,split"):
        open_(one)


def test_a_file_without_voxels_is_refused(one):
    one.matrix.metadata = {}
    one.matrix.write(one.path)
    with pytest.raises(RecordingError, match="marks no column as a voxel: expected a key VoxelData or ROI_VC"):
        open_(one)


@pytest.mark.parametrize("lost", ["dataset", "metadata", "metadata/key", "metadata/value"])
def test_a_file_without_a_part_of_the_format_is_named(one, lost):
    one.matrix.write(one.path)
    with h5py.File(one.path, "a") as file:
        del file[lost]
    with pytest.raises(RecordingError, match=r"Subject1\.h5 (has no|is damaged)"):
        BDataFile.open(one.path)


def test_all_missing_files_are_in_one_message(one):
    one.matrix.write(one.path)
    gone = [one.root / name for name in ("Subject3.h5", "mine.h5", "captions.csv")]
    shutil.rmtree(one.root / "images")
    with pytest.raises(RecordingError) as caught:
        open_(one, responses=[one.path, *gone[:2]], captions=gone[2])
    message = str(caught.value)
    assert all(str(path) in message for path in (*gone, one.root / "images"))
    assert message.startswith("the recording lacks")
    assert fetched(message) == (str(one.root), ["Subject3.h5"])


def test_missing_and_damaged_files_are_named(one):
    with pytest.raises(RecordingError, match=r"Subject1\.h5 is missing; expected a file in the bdata format"):
        open_(one)
    one.path.write_bytes(b"no HDF5")
    with pytest.raises(RecordingError, match=r"Subject1\.h5 is damaged, cut short or no bdata file"):
        open_(one)


def test_a_missing_picture_is_named_with_its_trial(one):
    one.matrix.write(one.path)
    next((one.root / "images").rglob("n01518878_10040.JPEG")).unlink()
    with pytest.raises(RecordingError, match=r"trial \d+, counted from 0, shows 'n01518878_10040'"):
        open_(one)


def test_values_that_are_not_finite_are_refused(one):
    one.matrix.betas = one.matrix.betas.copy()
    one.matrix.betas[0, 1] = np.nan
    one.matrix.write(one.path)
    with pytest.raises(RecordingError, match=r"Subject1\.h5\) has NaN or infinite betas in 1 of"):
        open_(one).betas_of(1)


def test_regions_choose_the_voxels_that_are_read(layout):
    layout.matrix.write(layout.path)
    recording, chosen = open_(layout, regions=["V1", "LOC"]), layout.drawn.rois["V1"] | layout.drawn.rois["LOC"]
    np.testing.assert_array_equal(betas_of(recording), layout.drawn.betas[:, chosen])
    np.testing.assert_array_equal(recording.roi_masks["V1"], layout.drawn.rois["V1"][chosen])
    with pytest.raises(
        RecordingError,
        match=r"no region 'V7' \(closest: VC, V1\), which dataset\.regions names; this recording has LOC, V1, VC",
    ):
        open_(layout, regions=["V7"])


def test_captions_may_come_in_a_table_by_the_names_of_pictures(layout):
    imagine(layout, [layout.ids[np.flatnonzero(layout.drawn.is_test)[0]]])
    path = layout.root / "captions.csv"
    lines = [f"{picture_name(name)}{'.JPEG' if i % 2 else ''},about {name}\n" for i, name in enumerate(layout.names)]
    path.write_text("stim_file,caption\n" + "".join(lines))
    recording = open_(layout, captions=path)
    for number, name in recording.names.items():
        assert recording.captions(number) == (f"about {name.removesuffix(' (imagined)')}",)


@pytest.mark.parametrize("key", ["ROI_V1", "VoxelData"])
@pytest.mark.parametrize("value", [0.6, 0.9999])
def test_regions_of_fractions_are_refused(one, key, value):
    marked = one.matrix.metadata[key]
    one.matrix.metadata[key] = np.where((marked == 1) & (np.arange(len(marked)) % 2 == 0), value, marked)
    one.matrix.write(one.path)
    with pytest.raises(RecordingError, match=rf"Subject1\.h5: {key} holds {value}"):
        open_(one)


def test_sessions_that_are_not_there_are_said(one):
    one.matrix.columns["Session"] = np.where(one.drawn.session == 3, 5.0, one.drawn.session)
    one.matrix.write(one.path)
    assert "Sessions 3–4 are not there: see that the recording is complete." in open_(one).remarks
