import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braindiffuser.datasets.equal_trials import (
    TrialFacts,
    chance_of_equal_trials,
    check_copies,
    equal_doubts,
    find_equal,
    n_single_values,
    share_trials,
)
from braindiffuser.errors import RecordingError

N_TRIALS, N_VOXELS = 30, 50


def facts(betas, stimulus_ids):
    return TrialFacts.of(betas.astype(np.float32), np.asarray(stimulus_ids))


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(2, 4))
@settings(deadline=None, max_examples=20)
def test_the_chance_of_equal_trials_is_how_often_two_drawn_ones_are_equal(seed, n_voxels, n_values):
    """Where each combination of values is there once, voxels are independent, and pairs can be counted."""
    values = np.random.default_rng(seed).normal(size=(n_voxels, n_values)).astype(np.float32)
    betas = np.stack(np.meshgrid(*values), axis=-1).reshape(-1, n_voxels)
    equal = (betas[:, None] == betas).all(axis=-1).mean()
    assert chance_of_equal_trials(betas) == pytest.approx(equal)


@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(1, 9), st.integers(1, 4))
@settings(deadline=None, max_examples=25)
def test_single_values_are_those_that_no_other_trial_has(seed, n_trials, n_voxels, n_values):
    betas = np.random.default_rng(seed).integers(0, n_values + 1, (n_trials, n_voxels)).astype(np.float32)
    expected = [
        sum(value != 0 and (betas[:, voxel] == value).sum() == 1 for voxel, value in enumerate(row)) for row in betas
    ]
    assert n_single_values(betas).tolist() == expected


@given(st.integers(0, 10_000), st.integers(1, 5))
@settings(deadline=None, max_examples=25)
def test_each_copy_is_found_with_its_place_and_nothing_else_is(seed, n_copied):
    rng = np.random.default_rng(seed)
    betas = [rng.normal(size=(N_TRIALS, N_VOXELS)) for _ in range(3)]
    places = rng.permutation(N_TRIALS)[:n_copied], rng.permutation(N_TRIALS)[:n_copied]
    betas[2][places[1]] = betas[0][places[0]]
    sessions = {k: facts(own, np.arange(N_TRIALS) + k * N_TRIALS) for k, own in enumerate(betas)}
    found = find_equal(sessions[2], {k: sessions[k] for k in (0, 1)})
    assert sorted(found.others) == sorted((int(there), 0, int(here)) for here, there in zip(*places, strict=True))
    assert found.repeats == []
    assert find_equal(sessions[1], {0: sessions[0]}).others == []


@pytest.mark.parametrize("same", [True, False])
def test_equal_betas_are_said_of_one_stimulus_and_refused_of_two(same):
    betas = np.random.default_rng(0).normal(size=(N_TRIALS, N_VOXELS))
    ids = np.arange(N_TRIALS)
    sessions = {4: facts(betas, ids), 6: facts(betas[:3], ids[:3] if same else ids[:3] + 100)}
    if same:
        check_copies(sessions[6], {4: sessions[4]})
        (said,) = equal_doubts(sessions)
        assert "of the same stimulus (session 6: 3 of 3; first: trial 0 of session 6 and trial 0 of session 4" in said
    else:
        with pytest.raises(RecordingError, match="its betas are those of session 4, perhaps in another order"):
            check_copies(sessions[6], {4: sessions[4]})


def test_many_sessions_are_listed_in_part():
    betas = np.random.default_rng(0).normal(size=(N_TRIALS, N_VOXELS))
    (said,) = equal_doubts({k: facts(betas, np.arange(N_TRIALS)) for k in range(9)})
    assert "session 5: 30 of 30, and 3 more sessions; first: trial 0 of session 1 and trial 0 of session 0" in said


@pytest.mark.parametrize(("n_shared", "expected"), [(0, False), (1, True), (N_TRIALS, True)])
def test_one_trial_of_both_makes_two_recordings_one_persons_whatever_else_they_hold(n_shared, expected):
    rng = np.random.default_rng(n_shared)
    one, other, further = rng.normal(size=(3, N_TRIALS, N_VOXELS))
    other[:n_shared] = one[rng.permutation(N_TRIALS)[:n_shared]]
    sides = [facts(one, np.arange(N_TRIALS))], [facts(own, np.arange(N_TRIALS)) for own in (further, other)]
    assert share_trials(*sides) is expected
    assert share_trials(*sides[::-1]) is expected


@pytest.mark.parametrize("kind", ["silent", "coarse", "none"])
def test_trials_that_are_alike_by_chance_do_not_tell(kind):
    rng = np.random.default_rng(0)
    betas = {
        "silent": np.zeros((N_TRIALS, N_VOXELS)),
        "coarse": rng.integers(0, 2, (N_TRIALS, N_VOXELS)),
        "none": rng.normal(size=(N_TRIALS, N_VOXELS)),
    }[kind]
    own = [facts(betas, np.arange(N_TRIALS))]
    assert share_trials(own, [] if kind == "none" else own) is None


def test_chance_is_that_of_any_pair_of_trials():
    """Ten voxels of four values each: one pair in a million is equal, and so of 400 × 400 pairs some may be."""
    rng, n = np.random.default_rng(0), 400
    one, other = (
        [TrialFacts(np.arange(n), rng.integers(0, 255, (n, 16)).astype(np.uint8), np.ones(n, bool), 4.0**-10)]
        for _ in range(2)
    )
    assert share_trials(one, other) is None
    few = [
        [TrialFacts(each.stimulus_ids[:1], each.digests[:1], each.telling[:1], each.chance)] for (each,) in (one, other)
    ]
    assert share_trials(*few) is False
