"""Maps recover which voxels truly carry a category and a place; weights need not."""

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from braindiffuser.analyses.attribution import (
    Attributed,
    Attribution,
    _of_regions,
    correlation,
    p_values_of_regions,
    preferred_place,
    standardised,
)
from braindiffuser.analyses.roi_maximisation import ROIMaximisation
from braindiffuser.analyses.run_decoders import RunDecoders
from braindiffuser.analyses.voxel_weights import VoxelWeights
from braindiffuser.datasets.known_regions import KnownRegions
from braindiffuser.errors import RecordingError, RunError
from braindiffuser.regression.rows import TrainingRows
from braindiffuser.regression.solvers import coefficients, gram, solve
from braindiffuser.regression.voxel_weights import direction_maps
from braindiffuser.stages import StageContext, analyse
from braindiffuser.store.draft import Draft

from .linear_world import N_TRAIN, linear_world


@pytest.fixture(scope="module")
def world():
    return linear_world()


@pytest.fixture(scope="module")
def outcome(world):
    return Attribution(drawn=(), words=("a house",), features={"vision": (0,)}).run(world)


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


@pytest.mark.parametrize("kind", [Attribution, VoxelWeights, ROIMaximisation])
def test_regions_are_looked_up_where_a_decoder_has_no_weights_too(kind, world, monkeypatch):
    monkeypatch.setattr(analyse, "_run_data", lambda context, analysis, draft: replace(world, is_linear=False))
    with pytest.raises(RecordingError, match=r"'V9'.*which analyses\..*\.regions names"):
        analyse._run_analysis(Mock(spec=StageContext), kind(regions=("V9",)), Mock(spec=Draft))


def test_words_of_captions_are_categories_too(outcome):
    np.testing.assert_allclose(
        outcome.maps["category a house"].values, -outcome.maps["category face"].values, rtol=1e-3, atol=1e-4
    )


def test_a_word_that_is_a_category_of_other_stimuli_is_refused(world):
    other = replace(world, captions=lambda side: world.captions(side)[::-1])
    with pytest.raises(
        RunError, match=r"house of `words` is also a category, a value of the columns category, .*: leave it out"
    ):
        Attribution(drawn=(), words=("house",)).run(other)


def test_regions_that_carry_it_lie_beyond_random_voxels(outcome):
    face = next(each for each in outcome.facts["directions"] if each["name"] == "category face")
    faces = face["regions"]["faces"]
    for null in ("random", "shuffled"):
        assert faces["mean"] > faces[null]["middle_95"][1]
        assert faces[null]["p"] <= faces[null]["p_corrected"] < 0.05
    assert face["regions"]["V1"]["mean"] < faces["random"]["middle_95"][0]
    assert face["accuracy"]["low"] > 0.5
    said = [block.text for block in outcome.section.blocks if getattr(block, "style", "") == "verdict"]
    assert any(text.startswith("Category face: its map is beyond those of exchanged labels in faces") for text in said)


def with_labels(world, labels):
    return replace(world, stimuli=lambda side: pd.DataFrame({"category": labels[side]}))


def test_of_labels_that_say_nothing_no_region_carries_anything(world):
    """Whatever direction is asked for is decoded well; that test stimuli show the category is not."""
    said, r, p = [], [], []
    for seed in range(12):
        rng = np.random.default_rng(1000 + seed)
        labels = {
            side: np.where(rng.random(len(world.stimulus_ids(side))) < 0.3, "x", "y") for side in ("train", "test")
        }
        asked = Attribution(places=0, drawn=(), categories=("x",), n_random=100, n_shuffled=120)
        found = asked.run(with_labels(world, labels))
        said += [block.text for block in found.section.blocks if getattr(block, "style", "") == "verdict"]
        (direction,) = found.facts["directions"]
        r.append(direction["accuracy"]["r"])
        p += [own["shuffled"]["p"] for own in direction["regions"].values()]
    assert len(said) == 12
    assert all(text.startswith(("No region is named", "No category's map is told")) for text in said)
    assert abs(np.mean(r)) < 0.15
    assert np.mean(np.array(p) <= 0.05) < 0.2
    assert 0.3 < np.mean(p) < 0.7


class Unmoved(np.random.Generator):
    """Exchanges nothing."""

    def permutation(self, x):
        return np.arange(x)


def test_exchanges_that_move_no_label_give_the_map_itself_also_where_rows_have_weights(world, monkeypatch):
    weights = np.random.default_rng(3).integers(1, 6, N_TRAIN).astype(np.float64)
    of_world = world.decoders()
    rows = replace(of_world.rows, weights=weights)
    regressor = of_world.regressor
    fitted = regressor.fit(rows, of_world.targets, "cpu")
    weighted = replace(world, decoders=lambda: RunDecoders(regressor, fitted, rows, of_world.targets))
    monkeypatch.setattr(np.random, "default_rng", lambda seed: Unmoved(np.random.PCG64(0)))
    asked = Attribution(places=0, drawn=(), categories=("face",), n_random=0, n_shuffled=2)
    (found,) = asked.run(weighted).facts["directions"]
    for own in found["regions"].values():
        assert own["shuffled"]["middle_95"] == pytest.approx([own["mean"]] * 2, abs=1e-4)


def test_accuracy_is_whether_test_stimuli_that_show_it_are_told_from_others(world):
    """Of the first test set alone, and of labels; test stimuli that show nothing leave it unknown."""
    halves = replace(world, test_sets={"test": slice(0, 20), "more": slice(20, 40)})
    asked = Attribution(places=0, drawn=(), categories=("face",), n_random=0, n_shuffled=0)
    (found,) = asked.run(halves).facts["directions"]
    is_face = {side: (world.stimuli(side)["category"] == "face").to_numpy() for side in ("train", "test")}
    targets = world.decoders().targets["vision"]
    u = targets[is_face["train"]].mean(0) - targets[~is_face["train"]].mean(0)
    decoded = world.predictions("vision")[:20] @ u
    assert found["accuracy"]["r"] == pytest.approx(np.corrcoef(decoded, is_face["test"][:20])[0, 1], abs=1e-5)
    labels = {"train": np.where(is_face["train"], "face", "house"), "test": np.full(40, "house")}
    (nobody,) = asked.run(with_labels(world, labels)).facts["directions"]
    assert nobody["accuracy"]["r"] is None


def test_random_sets_have_the_noise_ceilings_of_their_regions(world):
    """Where faces hold the highest ceilings, random sets of equal ceilings are the faces themselves."""
    ceilings = np.where(world.rois["faces"], 60.0, 10.0) + np.linspace(0, 1, 60)
    asked = Attribution(places=0, drawn=(), categories=("face",), n_random=100, n_shuffled=0)
    (found,) = asked.run(replace(world, noise_ceiling=ceilings)).facts["directions"]
    faces = found["regions"]["faces"]
    assert faces["random"]["middle_95"][0] > 0.8 * faces["mean"]
    assert faces["random"]["p"] > 0.05 or faces["random"]["middle_95"][1] <= faces["mean"] + 1e-9


def test_p_of_regions_is_corrected_for_their_number():
    rng = np.random.default_rng(0)
    scale = np.array([1.0, 10, 1, 1])
    hits = []
    for _ in range(200):
        drawn = rng.standard_normal((100, 4)) * scale
        alone, corrected = p_values_of_regions(drawn[0], drawn[1:])
        assert (alone <= corrected).all()
        hits.append((corrected <= 0.05).any())
    assert np.mean(hits) < 0.1
    alone, corrected = p_values_of_regions(np.array([9.0, 0, 0, 0]), rng.standard_normal((99, 4)) * scale)
    assert alone[0] == pytest.approx(0.01)
    assert corrected[0] <= 0.04


def test_draws_that_equal_what_was_observed_count():
    alone, corrected = p_values_of_regions(np.array([0.5, 0.5]), np.full((9, 2), 0.5))
    np.testing.assert_array_equal([alone, corrected], 1.0)


def test_what_is_stored_as_corrected_is_corrected():
    rng = np.random.default_rng(2)
    regions = {name: np.arange(40) // 8 == number for number, name in enumerate("abcde")}
    pattern, null = rng.standard_normal(40), rng.standard_normal((99, 5)) / 3
    each = Attributed("category x", "category", "vision", 20, pattern, np.zeros(3), np.zeros(3), null)
    found = _of_regions(each, regions, 2 * null)
    means = np.array([pattern[mask].mean() for mask in regions.values()])
    for what, draws in (("shuffled", null), ("random", 2 * null)):
        alone, corrected = p_values_of_regions(means, draws)
        assert (alone < corrected).any()
        np.testing.assert_array_equal([own[what]["p"] for own in found.values()], alone)
        np.testing.assert_array_equal([own[what]["p_corrected"] for own in found.values()], corrected)


@pytest.mark.parametrize("n_others", [4, 5])
def test_nearly_all_stimuli_showing_a_category_is_as_few_as_nearly_none(world, n_others):
    n = len(world.stimulus_ids("train"))
    for first, other in (("x", "y"), ("y", "x")):
        labels = {
            "train": np.where(np.arange(n) < n_others, other, first),
            "test": np.full(len(world.stimulus_ids("test")), "x"),
        }
        asked = Attribution(places=0, drawn=(), categories=("x",), n_random=0, n_shuffled=0)
        if n_others == 5:
            assert len(asked.run(with_labels(world, labels)).facts["directions"]) == 1
        else:
            with pytest.raises(RunError, match="maps categories that at least 5 of"):
                asked.run(with_labels(world, labels))


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
        known_regions=KnownRegions({}),
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
    again = Attribution(drawn=(), words=("a house",), features={"vision": (0,)}).run(other)
    for name, each in outcome.maps.items():
        np.testing.assert_array_equal(again.maps[name].values, each.values)
