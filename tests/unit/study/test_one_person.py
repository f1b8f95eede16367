"""Laws of who is who: betas tell, names and files only where betas cannot."""

import numpy as np
import pytest

from braindiffuser.datasets.session_facts import as_arrays, describe
from braindiffuser.study.one_person import Betas, same_person

N_TRIALS, N_VOXELS = 20, 30


def betas_of(seed, subject="", files=("file",), n_voxels=N_VOXELS, shown=None, sessions=(1, 2)):
    """Return what a run keeps of a person, each of whose sessions has a seed of its own."""
    own = {}
    for number in sessions:
        rng = np.random.default_rng([seed, number])
        ids = rng.permutation(N_TRIALS) if shown is None else shown
        own[number] = describe(rng.normal(size=(N_TRIALS, n_voxels)).astype(np.float32), ids)
    return Betas(subject, frozenset(files), f"responses of {seed}, {sessions}, {n_voxels}", own)


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
        (("a", "a"), ("file",), "one"),  # other sessions of one file
        (("", "b"), ("file",), "one"),
    ],
)
def test_without_a_trial_of_both_a_file_is_one_persons_where_names_are_not_two(names, files, answer):
    assert same_person(betas_of(1, names[0]), betas_of(2, names[1], files)) == answer


def test_of_other_voxels_of_a_file_the_stimuli_tell():
    order = np.random.default_rng(0).permutation(N_TRIALS)
    one = betas_of(1, "a", shown=order)
    assert same_person(one, betas_of(1, "b", n_voxels=40, shown=order)) == "one"
    assert same_person(one, betas_of(1, "b", n_voxels=40)) == "perhaps one"
    assert same_person(one, betas_of(1, "b", ("another",), n_voxels=40)) == "two"


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
    raw = (tmp_path / "sums.npz").read_bytes()
    (tmp_path / "sums.npz").write_bytes(raw[: len(raw) // 2])
    assert Betas.of_run("a", record, Results(tmp_path)).sessions == {}
    (tmp_path / "sums.npz").unlink()
    assert Betas.of_run("a", record, Results(tmp_path)).sessions == {}
