import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from braindiffuser.analyses.random_masks import N_BINS, ceiling_classes, random_masks, shuffled_masks


@given(st.integers(1, 80), st.integers(0, 1000))
def test_sets_have_as_many_voxels_of_each_class_of_ceilings(n_own, seed):
    rng = np.random.default_rng(seed)
    ceilings = rng.uniform(0, 80, 100)
    ceilings[rng.random(100) < 0.1] = np.nan
    mask = np.isin(np.arange(100), rng.choice(100, n_own, replace=False))
    classes = ceiling_classes(ceilings) + 1
    for drawn in random_masks(mask, 3, rng, ceilings):
        np.testing.assert_array_equal(
            np.bincount(classes[drawn], minlength=11), np.bincount(classes[mask], minlength=11)
        )


def test_without_ceilings_every_voxel_is_drawn_alike():
    mask = np.arange(40) < 10
    shares = random_masks(mask, 4000, np.random.default_rng(0)).mean(axis=0)
    assert np.abs(shares - 0.25).max() < 0.03


def test_classes_are_equally_full_and_ordered():
    ceilings = np.random.default_rng(0).permutation(200).astype(float)
    classes = ceiling_classes(ceilings)
    np.testing.assert_array_equal(np.bincount(classes), np.full(N_BINS, 20))
    assert ceilings[classes == 0].max() < ceilings[classes == 1].min()


@given(st.integers(0, 1000), st.booleans())
def test_sets_that_are_drawn_together_share_what_their_regions_share(seed, by_ceiling):
    rng = np.random.default_rng(seed)
    masks = rng.random((3, 50)) < [[0.2], [0.5], [0.9]]
    ceilings = rng.uniform(0, 80, 50) if by_ceiling else None
    classes = ceiling_classes(ceilings) if by_ceiling else np.zeros(50, int)
    own = masks.astype(int) @ masks.T
    for drawn in shuffled_masks(masks, 3, rng, ceilings):
        np.testing.assert_array_equal(drawn.astype(int) @ drawn.T, own)
        for one, mask in zip(drawn, masks, strict=True):
            np.testing.assert_array_equal(
                np.bincount(classes[one], minlength=10), np.bincount(classes[mask], minlength=10)
            )


def test_sets_that_are_drawn_together_take_every_voxel_alike():
    masks = np.stack([np.arange(40) < 10, np.arange(40) >= 30])
    shares = np.mean(list(shuffled_masks(masks, 4000, np.random.default_rng(0))), axis=0)
    assert np.abs(shares - 0.25).max() < 0.03
