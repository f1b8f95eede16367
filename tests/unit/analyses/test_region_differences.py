import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from braindiffuser.analyses.region_differences import (
    chance,
    contiguous_regions,
    percentiles,
    places_of,
    relative_difference,
    scattered_regions,
)
from braindiffuser.datasets.voxels import Voxels


def test_percentiles_are_shares_of_voxels_with_as_little_or_less():
    norms = np.random.default_rng(0).gamma(2, size=200)
    norms[:5] = norms[5]
    assert_allclose(percentiles(norms), [stats.percentileofscore(norms, norm, kind="weak") for norm in norms])
    assert_array_equal(percentiles(np.exp(norms)), percentiles(norms))  # order alone counts


def test_differences_are_those_of_means_as_a_share_of_the_references():
    assert relative_difference(np.array([30.0, 60.0]), np.array([20.0, 40.0])) == 0.5
    both = relative_difference(np.array([[30.0, 60.0], [1.0, 1.0]]), np.array([[20.0, 40.0], [1.0, 3.0]]))
    assert_array_equal(both, [0.5, -0.5])


def test_scattered_regions_are_draws_without_replacement_of_all_voxels():
    drawn = scattered_regions(20, 7, 3000, np.random.default_rng(0))
    assert drawn.shape == (3000, 7)
    assert all(len(set(region)) == 7 for region in drawn.tolist())
    counts = np.bincount(drawn.ravel(), minlength=20)
    assert_allclose(counts, 3000 * 7 / 20, rtol=0.1)


def test_contiguous_regions_are_a_voxel_and_its_nearest():
    voxels = Voxels.in_volume(np.ones((5, 4, 3), bool), np.diag([2.0, 2.0, 3.0, 1.0]))
    places = places_of(voxels)
    assert_array_equal(places[1], [0, 0, 3])
    for region in contiguous_regions(places, 9, 50, np.random.default_rng(0)):
        assert len(set(region.tolist())) == 9
        spans = [np.linalg.norm(places - centre, axis=1) for centre in places[region]]
        assert any(own[region].max() <= np.delete(own, region).min() + 1e-9 for own in spans)


def test_a_region_may_be_all_voxels():
    places = np.random.default_rng(0).standard_normal((6, 3))
    assert sorted(contiguous_regions(places, 6, 1, np.random.default_rng(0))[0].tolist()) == list(range(6))


def test_places_are_those_that_the_recording_gives():
    coordinates = np.arange(12.0).reshape(4, 3)
    assert_array_equal(places_of(Voxels(4, coordinates=coordinates)), coordinates)
    assert places_of(Voxels(4)) is None
    assert_array_equal(places_of(Voxels.in_volume(np.eye(2, dtype=bool)[None])), [[0, 0, 0], [0, 1, 1]])


def test_p_of_a_random_region_is_uniform():
    rng = np.random.default_rng(0)
    own, reference = (percentiles(rng.random(300)) for _ in range(2))
    p_values = []
    for region in scattered_regions(300, 20, 300, rng):
        observed = float(relative_difference(own[region], reference[region]))
        p_values.append(chance(own, reference, observed, scattered_regions(300, 20, 99, rng)).p)
    assert stats.kstest(p_values, "uniform").statistic < 0.1
    assert np.mean(np.array(p_values) <= 0.1) == pytest.approx(0.1, abs=0.05)


def test_the_band_holds_what_is_drawn_and_p_counts_the_ties():
    own, reference = np.array([1.0, 2, 3, 4]), np.ones(4)
    drawn = np.array([[0], [1], [2], [3]])
    made = chance(own, reference, 3.0, drawn)
    assert made.low == pytest.approx(0.075)
    assert made.high == pytest.approx(2.925)
    assert made.p == pytest.approx(2 * 2 / 5)
    assert chance(own, reference, 9.0, drawn).p == pytest.approx(2 / 5)
    assert chance(own, reference, 1.5, drawn).p == 1
