import numpy as np
import pytest

from braindiffuser.analyses.picture_measures import (
    added_energy,
    cell_means,
    colours,
    local_contrast,
    luminance,
    places,
)

RNG = np.random.default_rng(0)


def test_colour_of_plain_pictures_is_their_colour():
    grey = np.full((1, 3, 8, 8), 0.5, np.float32)
    found = colours(grey)
    assert [float(each[0]) for each in found] == pytest.approx([0.5, 0, 0, 0], abs=1e-6)
    half = np.zeros((1, 3, 8, 8), np.float32)
    half[..., :4] = 1
    assert colours(half).contrast[0] == pytest.approx(0.5)


def test_energy_lies_where_pictures_differ_from_the_reference():
    reference = RNG.random((1, 3, 16, 16), dtype=np.float32)
    picture = reference.copy()
    picture[..., :4, 12:] = 1 - picture[..., :4, 12:]
    energy = added_energy(picture, reference)
    assert energy[0, :4, 12:].sum() == pytest.approx(1)
    found = places(energy)
    assert found.right[0] > 0.5
    assert found.up[0] > 0.5
    assert added_energy(reference, reference)[0] == pytest.approx(np.full((16, 16), 1 / 256))
    assert places(added_energy(reference, reference)).right[0] == pytest.approx(0)


def test_mirrored_energy_lies_on_the_other_side():
    energy = RNG.random((3, 10, 10))
    energy /= energy.sum(axis=(1, 2), keepdims=True)
    there, mirrored = places(energy), places(energy[:, :, ::-1])
    np.testing.assert_allclose(there.right, -mirrored.right)
    np.testing.assert_allclose(there.eccentricity, mirrored.eccentricity)
    np.testing.assert_allclose(there.up, -places(energy[:, ::-1]).up)


@pytest.mark.parametrize("side", [1, 3, 5])
def test_cells_cover_the_picture(side):
    maps = RNG.random((2, 15, 15))
    found = cell_means(maps, side)
    assert found.shape == (2, side**2)
    np.testing.assert_allclose(found.mean(axis=1), maps.mean(axis=(1, 2)))


def test_local_contrast_is_that_of_each_cell():
    pictures = RNG.random((2, 3, 12, 12), dtype=np.float32)
    expected = [luminance(pictures)[:, :6, 6:].std(axis=(1, 2)), luminance(pictures)[:, 6:, :6].std(axis=(1, 2))]
    np.testing.assert_allclose(local_contrast(pictures, 2)[:, [1, 2]].T, expected, rtol=1e-4)
    assert local_contrast(np.full((1, 3, 12, 12), 0.3, np.float32), 3).max() < 1e-4
