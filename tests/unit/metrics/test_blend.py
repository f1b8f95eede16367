"""Blends: shares add up, sizes meet, and reading in any slices gives the same."""

import numpy as np
import pytest
from pydantic import ValidationError

from braindiffuser.images import PictureReader, resize_without_antialias
from braindiffuser.metrics.blend import Blend, blended


def pictures(seed, n=5, side=12):
    return np.random.default_rng(seed).random((n, 3, side, side), np.float32)


def test_a_blend_is_between_both_by_its_share():
    made, blurry = pictures(0), pictures(1)
    np.testing.assert_allclose(blended(made, blurry, 0.25, 12), 0.75 * made + 0.25 * blurry, atol=1e-6)
    np.testing.assert_allclose(blended(made, made, 0.4, 12), made, atol=1e-6)
    np.testing.assert_allclose(blended(made, blurry, 0.0, 12), made, atol=1e-6)


def test_both_are_resized_first():
    made, blurry = pictures(0, side=16), pictures(1, side=6)
    expected = 0.5 * resize_without_antialias(made, 8) + 0.5 * resize_without_antialias(blurry, 8)
    np.testing.assert_allclose(blended(made, blurry, 0.5, 8), expected, atol=1e-6)


def test_pictures_are_blended_when_they_are_read_in_any_order():
    made, blurry, blend = pictures(0), pictures(1), Blend(blurry_share=0.25, size=12)
    whole = blended(made, blurry, 0.25, 12)
    reader = blend.of(PictureReader(np.arange(5), lambda numbers: made[numbers]), blurry)
    assert len(reader) == 5
    np.testing.assert_array_equal(reader[1:4], whole[1:4])
    order = np.array([3, 1, 4, 1])
    np.testing.assert_array_equal(reader.take(order)[:], whole[order])
    np.testing.assert_array_equal(reader.take(np.array([3, 1, 5 - 1]))[:], whole[[3, 1, 4]])
    assert reader[5:5].shape == (0, 3, 12, 12)


def test_other_numbers_of_pictures_and_shares_are_refused():
    with pytest.raises(ValueError, match="got 5 reconstructions and 4 blurry ones; expected the same number"):
        Blend(blurry_share=0.25, size=12).of(pictures(0), pictures(1, 4))
    with pytest.raises(ValidationError):
        Blend(blurry_share=1.0, size=12)
