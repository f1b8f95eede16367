"""Laws of datasets: one that lies somewhere is known by its files, one that makes its files by its settings."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from braindiffuser.datasets.dataset import ROLES
from braindiffuser.datasets.nsd import NSD
from braindiffuser.datasets.nsd_layout import open_nsd
from braindiffuser.datasets.simulated import Simulated
from braindiffuser.datasets.simulation.subject import SimulatedSubject

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
    for wrong in ([], 0, [0], [1, -1], "all"):
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
