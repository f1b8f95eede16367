"""Laws of datasets: one that lies somewhere is known by its files, one that makes its files by its settings."""

import inspect
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from braindiffuser import datasets
from braindiffuser.datasets.bold5000 import Bold5000
from braindiffuser.datasets.dataset import ROLES, Dataset
from braindiffuser.datasets.nsd import NSD
from braindiffuser.datasets.nsd_layout import open_nsd
from braindiffuser.datasets.simulated import Simulated
from braindiffuser.datasets.simulation.subject import SimulatedSubject
from braindiffuser.datasets.things import Things

SMALL = {"n_train": 20, "n_test": 4, "trials_per_session": 24, "n_early": 60, "n_higher": 40, "grid": (10, 12, 10)}


@pytest.fixture(scope="module")
def simulated():
    return Simulated(**SMALL)


@pytest.fixture(scope="module")
def made(simulated, tmp_path_factory):
    folder, told = tmp_path_factory.mktemp("run") / "nsd", []
    simulated.make(folder, lambda *progress: told.append(progress))
    assert told[-1][1] == told[-1][2]
    return folder


def test_a_simulation_is_opened_where_it_was_made(simulated, made):
    recording = simulated.open(made)
    assert recording.simulated
    assert recording.subject == "subj01"
    assert {name: len(ids) for name, ids in recording.test_sets.items()} == {"test": 4}
    assert recording.n_voxels > 80


def test_a_simulation_is_known_by_its_settings(simulated):
    assert simulated.makes_files
    assert simulated.folder is None
    assert simulated.files() == {}
    assert set(simulated.influences("cpu")) == {"kind", *SimulatedSubject.model_fields}
    assert simulated.influences_of("design", "cpu") == simulated.influences("cpu")


def test_what_reads_a_simulation_has_all_entries_that_every_dataset_has(simulated, made, tmp_path):
    given = {
        "roi_aliases": {"early": ("V1", "V2")},
        "label_volumes": {"own": tmp_path / "own.nii.gz"},
        "voxel_maps": {"ecc": tmp_path / "ecc.nii.gz"},
    }
    assert given.keys() == Dataset.model_fields.keys()
    reading = Simulated(**SMALL, **given).made_at(made)
    assert {name: getattr(reading, name) for name in given} == given


def test_what_was_simulated_is_a_recording_like_any_other(simulated, made, tmp_path):
    dataset = NSD(root=made)
    one, other = simulated.open(made), dataset.open(tmp_path / "not looked at")
    assert other.trials.equals(one.trials)
    np.testing.assert_array_equal(other.betas_of(1), one.betas_of(1))
    assert dataset.folder == made
    assert not dataset.makes_files


def test_sessions_are_a_number_or_a_list(made):
    assert NSD(root=made, sessions=1).open(made).session_numbers == (1,)
    listed = NSD.model_validate({"kind": "nsd", "root": str(made), "sessions": [2]})
    assert listed.open(made).session_numbers == (2,)
    assert [Path(name).name for name in listed.files()["betas"]] == ["betas_session02.hdf5"]
    assert listed.influences("cpu")["sessions"] == [2]
    for wrong in ([], 0, [0], [1, -1], "all", [1, 2, 2]):
        with pytest.raises(ValidationError):
            NSD.model_validate({"kind": "nsd", "root": str(made), "sessions": wrong})


def test_a_recording_is_known_by_names_that_do_not_depend_on_its_place(made):
    listed = NSD(root=made).files()
    assert tuple(listed) == ROLES
    assert all(path == made / name for files in listed.values() for name, path in files.items())
    assert all(files for files in listed.values())
    betas = [name for session in open_nsd(made, 1).session_numbers for name in open_nsd(made, 1).session_files(session)]
    assert list(listed["betas"]) == betas
    assert list(NSD(root=made, sessions=1).files()["betas"]) == betas[:1]


def test_which_stimuli_were_shown_depends_on_neither_betas_nor_mask():
    one = NSD(root=Path("/data"), subject=2, sessions=3)
    for change in ({"betas_version": "betas_assumehrf"}, {"mask": "floc-faces"}, {"root": Path("/elsewhere")}):
        other = one.model_copy(update=change)
        assert other.influences_of("design", "cpu") == one.influences_of("design", "cpu")
        assert (other.influences_of("betas", "cpu") == one.influences_of("betas", "cpu")) == ("root" in change)
    for change in ({"subject": 1}, {"sessions": 2}):
        other = one.model_copy(update=change)
        assert other.influences_of("design", "cpu") != one.influences_of("design", "cpu")


def test_a_home_folder_is_expanded():
    assert NSD(root="~/nsd").root == Path.home() / "nsd"


def test_a_mask_that_is_a_file_counts_by_its_content_not_its_place():
    here, there = (NSD(root="/data", mask=f"/{place}/my_mask.nii.gz").influences("cpu") for place in ("here", "there"))
    assert here == there
    assert here != NSD(root="/data").influences("cpu")


@pytest.mark.parametrize(
    ("kind", "how_responses_are_made"),
    [(Things, {"unit": "raw", "regions": ("V1",)}), (Bold5000, {"betas": "TYPEB", "regions": ("LOC",)})],
)
def test_which_stimuli_a_folder_shows_depends_on_the_subject_and_the_size_of_pictures_alone(
    kind, how_responses_are_made
):
    given = {"root": "/data", "unit": "z"} if kind is Things else {"root": "/data"}
    one = kind(**given)
    assert one.folder == Path("/data")
    assert not one.has_captions
    assert kind(**given, captions="/data/said.csv").has_captions
    for entry, value in how_responses_are_made.items():
        other = one.model_copy(update={entry: value})
        assert other.influences_of("design", "cpu") == one.influences_of("design", "cpu")
        assert other.influences_of("betas", "cpu") != one.influences_of("betas", "cpu")
    for change in ({"subject": 2 if kind is Things else "CSI2"}, {"side": 64}):
        assert one.model_copy(update=change).influences_of("design", "cpu") != one.influences_of("design", "cpu")


KINDS = [
    kind for name in datasets.__all__ if isinstance(kind := getattr(datasets, name), type) and issubclass(kind, Dataset)
]
OF_RESPONSES = {
    "unit": "raw",
    "mask": Path("/data/other.nii.gz"),
    "regions": ("V1",),
    "roi_aliases": {"faces": ("OFA",)},
    "betas_version": "other",
    "ceilings": "12rep",
}
"""Entries that change responses in every kind that has them, but never what was shown."""


def least_of(kind):
    """A part with the entries that it needs."""
    needed = {name for name, field in kind.model_fields.items() if field.is_required()}
    return kind.model_validate({**dict.fromkeys(needed, "/data/x"), **{n: v for n, v in KNOWN.items() if n in needed}})


KNOWN = {"unit": "percent", "subject": "sub-01"}


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        (kind, entry)
        for kind in KINDS
        if not inspect.isabstract(kind)
        for entry in OF_RESPONSES
        if entry in kind.model_fields
    ],
)
def test_what_changes_responses_alone_leaves_what_was_shown_alone_in_every_kind(kind, entry):
    one = least_of(kind)
    other = one.model_copy(update={entry: OF_RESPONSES[entry]})
    assert other.influences_of("design", "cpu") == one.influences_of("design", "cpu")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "side" in kind.model_fields])
def test_the_size_of_pictures_is_a_part_of_what_was_shown_in_every_kind(kind):
    one = least_of(kind)
    assert one.model_copy(update={"side": 64}).influences_of("design", "cpu") != one.influences_of("design", "cpu")
