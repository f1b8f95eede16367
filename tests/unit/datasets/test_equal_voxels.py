import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braindiffuser.datasets.equal_trials import COPIED
from braindiffuser.datasets.equal_voxels import VoxelKeys, equal_by_chance, share_voxels
from braindiffuser.datasets.session_facts import describe

N_TRIALS, N_VOXELS = 30, 40


def keys(*sessions):
    return VoxelKeys.of(describe(np.asarray(betas, np.float32), np.arange(len(betas))) for betas in sessions)


@pytest.mark.parametrize(("n_shared", "expected"), [(0, False), (COPIED - 1, False), (COPIED, True), (N_VOXELS, True)])
def test_voxels_of_both_make_two_recordings_one_persons_whatever_else_they_hold(n_shared, expected):
    rng = np.random.default_rng(n_shared)
    one, other, further = 100 + rng.normal(size=(3, N_TRIALS, N_VOXELS))
    other[:, rng.permutation(N_VOXELS)[:n_shared]] = one[:, rng.permutation(N_VOXELS)[:n_shared]]
    sides = keys(one), keys(further[:, :-9], other)
    assert share_voxels(*sides) is share_voxels(*sides[::-1]) is expected


def test_voxels_are_the_same_in_whatever_order_of_trials_and_of_memory():
    rng = np.random.default_rng(0)
    betas = 100 + rng.normal(size=(750, N_VOXELS)).astype(np.float32)
    other = np.asfortranarray(betas[rng.permutation(750), 3:])
    assert keys(other).counts.sum() == np.isin(keys(other).values, keys(betas).values).sum()


def z_scored(values, dtype):
    values = values.astype(np.float32)
    return (values - values.mean(axis=0, dtype=dtype)) / values.std(axis=0, dtype=dtype)


CHANCE = {
    "counts": lambda values: np.round(2 * values),
    "two values": lambda values: values > 1,
    "thresholded": lambda values: np.maximum(values - 2, 0),
    "z-scored": lambda values: z_scored(values, np.float64),
    "roughly z-scored": lambda values: z_scored(values, np.float32),
    "without signal": lambda values: np.where(np.arange(values.shape[1]) < 30, 0, values),
    "constant": lambda values: np.where(np.arange(values.shape[1]) < 30, 7, values),
}


@pytest.mark.parametrize("kind", CHANCE)
@given(seed=st.integers(0, 10_000), n_voxels=st.sampled_from([35, 200, 2000]), n_trials=st.sampled_from([10, 40]))
@settings(deadline=None, max_examples=12)
def test_values_that_chance_makes_equal_make_no_two_people_one(kind, seed, n_voxels, n_trials):
    rng = np.random.default_rng(seed)
    people = (CHANCE[kind](rng.normal(size=(2, n_trials, n_voxels))[own]) for own in range(2))
    assert not share_voxels(*map(keys, people))


@given(seed=st.integers(0, 10_000), n_values=st.integers(2, 4))
@settings(deadline=None, max_examples=20)
def test_as_many_pairs_of_voxels_are_expected_as_chance_makes_equal_or_more(seed, n_values):
    rng = np.random.default_rng(seed)
    one, other = (keys(rng.integers(0, n_values, (6, 300))) for _ in range(2))
    both = np.intersect1d(one.values, other.values)
    counts = [own.counts[np.isin(own.values, both)] for own in (one, other)]
    assert equal_by_chance(one, other) > counts[0] @ counts[1]


def test_nothing_is_shared_with_what_is_not_known():
    assert not share_voxels(keys(), keys(np.random.default_rng(0).normal(size=(N_TRIALS, N_VOXELS))))
