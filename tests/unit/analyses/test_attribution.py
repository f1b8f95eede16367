"""Maps recover which voxels truly carry a category and a place; weights need not."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from braindiffuser.analyses.attribution import Attribution, correlation, preferred_place, standardised
from braindiffuser.errors import RunError
from braindiffuser.regression.rows import TrainingRows
from braindiffuser.regression.solvers import coefficients, gram, solve
from braindiffuser.regression.voxel_weights import direction_maps

from .linear_world import N_TRAIN, linear_world


@pytest.fixture(scope="module")
def world():
    return linear_world()


@pytest.fixture(scope="module")
def outcome(world):
    return Attribution(drawn=(), words=("house",), features={"vision": (0,)}, n_random=50).run(world)


def test_a_category_lies_where_voxels_respond_to_it(world, outcome):
    pattern = outcome.maps["category face"].values
    assert np.argsort(-pattern)[:20].min() >= 30
    is_face = (world.stimuli("train")["category"] == "face").to_numpy()
    responses = world.responses("train")
    selectivity = responses[is_face].mean(0) - responses[~is_face].mean(0)
    rho = spearmanr(pattern, selectivity / responses.std(0)).statistic
    shuffled = [spearmanr(pattern, np.random.default_rng(k).permutation(selectivity)).statistic for k in range(100)]
    assert rho > 0.6
    assert rho > max(shuffled)


def test_words_of_captions_are_categories_too(outcome):
    np.testing.assert_allclose(
        outcome.maps["category house"].values, -outcome.maps["category face"].values, rtol=1e-3, atol=1e-4
    )


def test_regions_that_carry_it_lie_beyond_random_voxels(outcome):
    face = next(each for each in outcome.facts["directions"] if each["name"] == "category face")
    assert face["regions"]["faces"]["mean"] > face["regions"]["faces"]["random"][1]
    assert face["regions"]["faces"]["p"] < 0.05
    assert face["regions"]["V1"]["mean"] < face["regions"]["faces"]["random"][0]
    assert face["accuracy"]["low"] > 0.5
    said = [block.text for block in outcome.section.blocks if getattr(block, "style", "") == "verdict"]
    assert any(text.startswith("Category face: faces carries it most") for text in said)


def test_a_feature_is_a_direction_too(outcome):
    """The first vision feature is what tells faces apart here."""
    rho = spearmanr(outcome.maps["feature vision 0"].values, outcome.maps["category face"].values).statistic
    assert rho > 0.95


def test_patterns_are_correlations_with_what_is_decoded():
    rng = np.random.default_rng(0)
    responses, z = rng.standard_normal((50, 8)), rng.standard_normal((50, 2))
    responses[:, 3] = 1.0
    system = gram(responses)
    inverse = solve(system, 5.0)
    maps = direction_maps(system, inverse, z)
    found = standardised(responses, None, maps.weights, maps.patterns)
    decoded = responses @ coefficients(system, inverse, z)[0]
    varying = np.delete(np.arange(8), 3)
    expected = np.corrcoef(np.concatenate([decoded, responses[:, varying]], 1).T)[:2, 2:]
    np.testing.assert_allclose(found[:, varying], expected, rtol=1e-5)
    assert (found[:, 3] == 0).all()
    twice = standardised(np.repeat(responses, 2, axis=0), None, maps.weights, maps.patterns)
    weighted = standardised(responses, np.full(50, 2.0), maps.weights, maps.patterns)
    np.testing.assert_allclose(twice, weighted, rtol=1e-5)


def test_a_noise_voxel_has_weight_but_no_pattern():
    """Haufe et al. 2014: x_1 = z + noise, x_2 = noise; the decoder subtracts x_2, which carries nothing of z."""
    rng = np.random.default_rng(0)
    z, noise = rng.standard_normal((2, 4000, 1))
    responses = np.concatenate([z + noise, noise], axis=1)
    system = gram(responses)
    maps = direction_maps(system, solve(system, 1.0), z)
    found = standardised(responses, None, maps.weights, maps.patterns)[0]
    assert abs(maps.weights[0, 1]) > 0.9
    assert abs(found[1]) < 0.05
    assert found[0] > 0.6


def test_the_preferred_place_is_the_centre_of_the_patterns():
    patterns = np.zeros((9, 3))
    patterns[2, 0] = 1  # top right
    patterns[[3, 5], 1] = 1  # left and right of the centre
    patterns[:, 2] = -1
    right, up = preferred_place(patterns, 3)
    np.testing.assert_allclose(right[:2], [2 / 3, 0], atol=1e-12)
    np.testing.assert_allclose(up[:2], [2 / 3, 0], atol=1e-12)
    assert np.isnan([right[2], up[2]]).all()


def test_places_are_mapped_to_the_voxels_that_see_them():
    """Voxels that respond to the left half of the picture alone prefer a place on the left."""
    data = linear_world(pixels=12)
    rng = np.random.default_rng(1)
    pictures = {side: data.seen(side)[:] for side in ("train", "test")}
    cells = {side: values[:, 0].reshape(len(values), 12, 12) for side, values in pictures.items()}
    halves = {side: np.stack([v[:, :, :6].mean((1, 2)), v[:, :, 6:].mean((1, 2))], 1) for side, v in cells.items()}
    responses = {
        side: (np.repeat(v, 10, axis=1) * 10 + 0.2 * rng.standard_normal((len(v), 20))).astype(np.float32)
        for side, v in halves.items()
    }
    decoders = replace(data.decoders(), rows=TrainingRows(responses["train"] - responses["train"].mean(0)))
    own = replace(
        data,
        decoders=lambda: decoders,
        responses=lambda side: responses[side] - responses["train"].mean(0),
        rois={},
        noise_ceiling=np.full(20, np.nan),
    )
    found = Attribution(columns=(), drawn=(), places=2, place_of="luminance").run(own)
    right = found.maps["place right"].values
    assert right[:10].max() < 0 < right[10:].min()
    assert all(each["accuracy"]["low"] > 0 for each in found.facts["directions"])


def test_what_cannot_be_mapped_is_said(world):
    with pytest.raises(RunError, match=r"shown are dog 0 times: name others, of face, house"):
        Attribution(categories=("dog",)).run(world)
    with pytest.raises(RunError, match=r"analyses\.attribution\.group names sound, which is no target group"):
        Attribution(group="sound", drawn=()).run(world)
    with pytest.raises(RunError, match="maps feature 30 of vision, which has 30"):
        Attribution(features={"vision": (30,)}, drawn=(), columns=()).run(world)
    nothing = Attribution(columns=(), places=0).run(world)
    assert "nothing was mapped" in nothing.section.blocks[0].text
    assert "not linear" in Attribution().run(replace(world, is_linear=False)).section.blocks[0].text


def test_maps_are_drawn_where_voxels_lie_in_a_volume(world):
    drawn = Attribution(places=0, categories=("face",), n_random=0).run(world)
    figure = next(block for block in drawn.section.blocks if block.type == "figures").figures[0]
    assert "data:image/png;base64," in figure.svg
    assert len(figure.svg) < 200_000
    assert len(drawn.maps["category face"].values) == 60


def test_correlations_of_what_does_not_vary_are_not_known():
    assert correlation(np.zeros(5), np.arange(5.0)) == {"r": None, "low": None, "high": None}
    found = correlation(np.arange(5.0), np.array([0, 1, 2, 4, 3.0]))
    assert found["r"] == pytest.approx(0.9)
    assert found["low"] < 0.9 < found["high"]


def test_training_stimuli_alone_make_a_map(world, outcome):
    """Other test stimuli, other accuracies, the same maps."""
    other = replace(world, responses=lambda side: world.responses(side) * (1 if side == "train" else -1))
    again = Attribution(drawn=(), words=("house",), features={"vision": (0,)}, n_random=50).run(other)
    for name, each in outcome.maps.items():
        np.testing.assert_array_equal(again.maps[name].values, each.values)
    assert N_TRAIN > 100
