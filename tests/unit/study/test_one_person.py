"""Laws of who is who: betas tell, names and files only where betas cannot."""

from dataclasses import replace

import numpy as np
import pytest

from braindiffuser.datasets.session_facts import as_arrays, describe
from braindiffuser.study.one_person import Betas, same_person

N_TRIALS, N_VOXELS = 20, 30


def betas_of(seed, subject="", files=("file",), voxels=slice(0, N_VOXELS), shown=None, sessions=(1, 2), places="grid"):
    """Return what a run keeps of a person, each of whose sessions has a seed of its own, in some voxels."""
    own = {}
    for number in sessions:
        rng = np.random.default_rng([seed, number])
        ids = rng.permutation(N_TRIALS) if shown is None else shown
        own[number] = describe(rng.normal(size=(N_TRIALS, 2 * N_VOXELS)).astype(np.float32)[:, voxels], ids)
    return Betas(subject, frozenset(files), f"responses of {seed}, {sessions}, {voxels}", own, f"{places} {voxels}")


@pytest.mark.parametrize("names", [("a", "b"), ("a", "a"), ("", "")])
@pytest.mark.parametrize("files", [("file",), ("a copy",)])
def test_a_session_of_both_is_one_person_whatever_names_and_files(names, files):
    one = betas_of(1, names[0], sessions=(1, 2))
    assert same_person(one, betas_of(1, names[1], files, sessions=(2, 3))) == "one"
    assert same_person(betas_of(1, names[1], files, sessions=(3, 2)), one) == "one"


@pytest.mark.parametrize(
    ("names", "files", "answer"),
    [
        (("a", "b"), ("file",), "two"),  # one file for all subjects
        (("a", "b"), ("another",), "two"),
        (("a", "a"), ("another",), "two"),
        (("", ""), ("another",), "two"),
        (("a", "a"), ("file",), "one by name"),  # other sessions of one file
        (("", "b"), ("file",), "one by name"),
    ],
)
def test_without_a_trial_of_both_a_file_is_one_persons_where_names_are_not_two(names, files, answer):
    assert same_person(betas_of(1, names[0]), betas_of(2, names[1], files)) == answer


@pytest.mark.parametrize("files", [("file",), ("a copy",)])
@pytest.mark.parametrize(
    "voxels",
    [slice(5, N_VOXELS + 5), slice(0, N_VOXELS - 5), slice(0, 2 * N_VOXELS), slice(N_VOXELS - 6, 2 * N_VOXELS)],
    ids=["as many", "fewer", "more", "few of both"],
)
def test_voxels_of_both_are_one_person_under_whatever_names_and_files(files, voxels):
    one, other = betas_of(1, "a"), betas_of(1, "b", files, voxels, sessions=(2, 3))
    assert same_person(one, other) == same_person(other, one) == "one"


@pytest.mark.parametrize("voxels", [slice(0, N_VOXELS), slice(0, N_VOXELS - 5), slice(0, 5)])
def test_an_order_of_stimuli_that_all_saw_makes_nobody_one(voxels):
    order = np.random.default_rng(0).permutation(N_TRIALS)
    found = same_person(*(betas_of(seed, name, voxels=voxels, shown=order) for seed, name in ((1, "a"), (2, "b"))))
    assert found == ("two" if voxels.stop > 5 else "perhaps one")  # trials of five voxels do not tell
    other = betas_of(2, "b", voxels=slice(0, N_VOXELS - 1), shown=order)
    assert same_person(betas_of(1, "a", voxels=voxels, shown=order), other) == "perhaps one"


@pytest.mark.parametrize("person", [1, 2])
@pytest.mark.parametrize(
    "changes",
    [
        {"voxels": slice(N_VOXELS, 2 * N_VOXELS)},  # such as the other hemisphere
        {"voxels": slice(N_VOXELS, 2 * N_VOXELS - 1)},
        {"sessions": (3, 4)},
    ],
)
def test_what_trials_could_not_be_compared_in_is_left_open_where_a_file_is_of_both(person, changes):
    one = betas_of(1, "a")
    assert same_person(one, betas_of(person, "b", **changes)) == "perhaps one"
    assert same_person(one, betas_of(person, "b", ("another",), **changes)) == "two"
    assert same_person(one, replace(betas_of(2, "b"), places="")) == "perhaps one"


def test_equal_responses_are_one_persons():
    one = Betas("a", frozenset(["one"]), "the same")
    assert same_person(one, Betas("b", frozenset(["two"]), "the same")) == "one"
    assert same_person(one, Betas("b", frozenset(["two"]), "")) == "two"


def test_what_a_run_has_kept_is_read_and_damage_makes_it_unknown(tmp_path):
    from braindiffuser.store.results import Results

    facts = betas_of(3).sessions
    np.savez(tmp_path / "sums.npz", sums_train=np.zeros(3), **as_arrays(facts))
    record = {"files": {"arrays/responses/train/c/0": [1, "hash"]}, "contents": {"betas": {"a": "x", "b": ""}}}
    found = Betas.of_run("a", record, Results(tmp_path))
    assert (found.subject, found.files, found.n_voxels) == ("a", {"x"}, N_VOXELS)
    assert same_person(found, betas_of(3)) == "one"
    assert found.places == ""  # of an earlier version
    (tmp_path / "voxels.json").write_text('{"places": "here"}')
    assert Betas.of_run("a", record, Results(tmp_path)).places == "here"
    raw = (tmp_path / "sums.npz").read_bytes()
    (tmp_path / "sums.npz").write_bytes(raw[: len(raw) // 2])
    assert Betas.of_run("a", record, Results(tmp_path)).sessions == {}
    (tmp_path / "sums.npz").unlink()
    assert Betas.of_run("a", record, Results(tmp_path)).sessions == {}
