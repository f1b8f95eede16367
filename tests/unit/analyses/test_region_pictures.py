"""Samples, strengths, opposites and contrasts are what they say; likeness and measures are held against random sets."""

from dataclasses import replace

import numpy as np
import pytest

from braindiffuser.analyses import region_pictures
from braindiffuser.analyses.further_pictures import _Directions
from braindiffuser.analyses.picture_measures import RANGES, Colour, Place
from braindiffuser.analyses.region_pictures import (
    compare_similarities,
    contrast_directions,
    measure,
    similarities,
    summarise_measures,
)
from braindiffuser.analyses.roi_maximisation import ROIMaximisation, training_length
from braindiffuser.datasets.known_regions import KnownRegions
from braindiffuser.errors import DependencyError, RunError

from .linear_world import linear_world

RNG = np.random.default_rng(0)
LABEL = "roi_maximisation"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr("braindiffuser.analyses.further_pictures.category_network", lambda device: (None, "none here"))


@pytest.fixture(scope="module")
def world():
    """A run whose generator keeps what it was given, and adds noise by the id."""
    data, given = linear_world(), []

    def draw(features, ids):
        given.append((features, ids))
        drawn = data.draw(features, ids)["full"]
        noise = np.stack([np.random.default_rng(int(k)).uniform(0, 0.01, drawn.shape[1:]) for k in ids])
        return {"full": np.clip(drawn + noise, 0, 1).astype(np.float32)}

    return replace(data, draw=draw), given


def run(world, **entries):
    data, given = world
    given.clear()
    return ROIMaximisation(**entries).run(data), given


def distances(data, features, group="latents"):
    targets = data.decoders().targets[group]
    return np.linalg.norm(features[group] - targets.mean(0), axis=1) / training_length(targets.std(0))


def test_what_is_not_asked_for_changes_no_picture(world):
    plain, given = run(world, measured=False)
    assert len(given) == 1
    assert set(plain.pictures) == {f"{LABEL}_full"}
    assert "further" not in plain.facts
    further, _ = run(world, n_samples=3, strengths=(0.5,), opposite=True, contrasts=(("V1", "faces"),), n_random=3)
    np.testing.assert_array_equal(further.pictures[f"{LABEL}_full"], plain.pictures[f"{LABEL}_full"])
    assert further.facts["regions"] == plain.facts["regions"]


def test_samples_differ_by_noise_alone(world):
    found, given = run(world, measured=False, n_samples=3)
    features, ids = given[1]
    assert ids.tolist() == [1, 2] * 4
    first = given[0][0]
    for group in first:
        np.testing.assert_allclose(features[group][::2], first[group], rtol=1e-5)
        np.testing.assert_array_equal(features[group][::2], features[group][1::2])
    assert len(found.pictures[f"{LABEL}_samples_full"]) == 8


def test_strength_is_a_multiple_of_the_length_and_the_opposite_lies_beyond_the_mean(world):
    _, given = run(world, measured=False, strengths=(0.5, 2.0), opposite=True)
    (first, _), (features, ids) = given
    np.testing.assert_allclose(distances(world[0], first), 1, rtol=1e-4)
    np.testing.assert_allclose(distances(world[0], features), np.repeat([0.5, 2, 1], 4), rtol=1e-4)
    mean = world[0].decoders().targets["vision"].mean(0)
    np.testing.assert_allclose(features["vision"][8:] - mean, mean - first["vision"], rtol=1e-2, atol=1e-3)
    assert (ids == 0).all()


def test_a_contrast_is_the_difference_of_mean_responses():
    directions = {"latents": np.array([[10.0, 0], [0, 30]])}
    masks = {"V1": np.arange(40) < 10, "faces": np.arange(40) >= 10}
    found = contrast_directions(directions, masks, [("V1", "faces"), ("faces", "V1")])
    np.testing.assert_allclose(found["latents"], [[1, -1], [-1, 1]])


def test_a_contrast_of_a_region_that_is_not_drawn_is_refused(world):
    with pytest.raises(
        RunError, match=r"contrasts names V9, which is none of the regions that are drawn: faces, places, V1, V2"
    ):
        run(world, contrasts=(("V1", "V9"),))


def test_regions_of_their_own_directions_are_less_alike_than_random_voxels():
    own = np.eye(2, 30)
    random = own.sum(axis=0) + 0.3 * RNG.standard_normal((39, 2, 30))
    found = compare_similarities(own, random)
    assert found["cosine"][0][1] == pytest.approx(0)
    assert found["random"][0][1] > 0.3
    assert found["p_less_alike"][0][1] == pytest.approx(1 / 40)


def test_likeness_is_drawn_for_each_group(world):
    found, _ = run(world, n_random=9)
    further = found.facts["further"]
    assert set(further["likeness"]) == {"latents", "vision"}
    np.testing.assert_allclose(np.diag(further["likeness"]["latents"]["cosine"]), 1)
    assert len(next(block for block in found.section.blocks if block.type == "figures").figures) == 2


def test_p_of_likeness_is_uniform_where_labels_are_shuffled(world):
    """Regions share no voxel, so random sets must not either."""
    data, p = world[0], {"latents": [], "vision": []}
    sizes = np.repeat(np.arange(5), (20, 10, 15, 10, 5))
    for seed in range(40):
        order = np.random.default_rng(seed).permutation(60)
        masks = {f"R{k}": sizes[order] == k for k in range(4)}
        ceilings = replace(data, noise_ceiling=np.full(60, np.nan), seed=1000 + seed)
        likeness = _Directions(ROIMaximisation(n_random=19), ceilings, masks).likeness()
        for group, own in p.items():
            own += np.array(likeness[group]["p_less_alike"])[np.triu_indices(4, 1)].tolist()
    for own in p.values():
        assert np.mean(np.array(own) <= 0.05) < 0.12
        assert np.mean(own) == pytest.approx(0.525, abs=0.08)


def of_their_own_ceilings(data):
    """Two regions, each a whole class of noise ceilings: random sets of equal ceilings are the regions themselves."""
    rois = {"V1": np.arange(60) < 6, "faces": (np.arange(60) >= 30) & (np.arange(60) < 36)}
    ceilings = np.linspace(10, 20, 60) + 50 * rois["V1"] + 30 * rois["faces"]
    return replace(data, rois=rois, known_regions=KnownRegions(rois), noise_ceiling=ceilings), rois


def test_random_sets_have_the_noise_ceilings_of_their_regions(world):
    data, rois = of_their_own_ceilings(world[0])
    directions = _Directions(ROIMaximisation(n_random=3), data, rois)
    for group, draws in directions._random.items():
        for drawn in draws:
            np.testing.assert_allclose(drawn, directions._own[group], rtol=1e-4, atol=1e-6)


def test_random_sets_are_drawn_as_their_regions_are(world):
    """The same voxels, with the noise of every sample, have the same mean of every measure."""
    data, _ = of_their_own_ceilings(world[0])
    found, _ = run((data, world[1]), n_samples=3, n_random=2, n_random_drawn=2)
    by_region = found.facts["further"]["measures"]["full"]
    assert set(by_region) == {"V1", "faces"}
    assert by_region["V1"]["luminance"]["value"] != pytest.approx(by_region["faces"]["luminance"]["value"], rel=1e-5)
    for measures in by_region.values():
        for own in measures.values():
            assert own["random"]["n"] == 2
            assert own["random"]["mean"] == pytest.approx(own["value"], rel=1e-5, abs=1e-6)
            assert own["random"]["middle_95"] == pytest.approx([own["value"]] * 2, rel=1e-5, abs=1e-6)


def test_energy_is_that_beyond_the_mean_picture_of_the_same_noise(world, monkeypatch):
    """A generator that shows noise alone: nothing is added to the mean picture, whatever the noise."""
    compared = []

    def kept(pictures, reference, classify):
        compared.append((pictures, reference))
        return measure(pictures, reference, classify)

    def noise(features, ids):
        return {"full": np.stack([np.random.default_rng(int(k)).random((3, 12, 12), np.float32) for k in ids])}

    monkeypatch.setattr("braindiffuser.analyses.further_pictures.measure", kept)
    run((replace(world[0], draw=noise), world[1]), n_samples=3, n_random=2, n_random_drawn=1)
    assert len(compared) == 3
    for pictures, reference in compared:
        np.testing.assert_array_equal(pictures, reference)


def test_cosines_do_not_depend_on_lengths():
    rows = RNG.standard_normal((4, 9))
    np.testing.assert_allclose(similarities(rows), similarities(rows * RNG.uniform(1, 5, (4, 1))))
    assert (similarities(np.zeros((2, 3))) == 0).all()


def test_measures_are_means_over_samples_beside_random_sets():
    samples, random = {"right": np.array([0.5, 0.7, 0.6, 0.55, 0.65])}, {"right": np.linspace(-0.4, 0.4, 19)}
    found = summarise_measures(samples, random)["right"]
    assert found["value"] == pytest.approx(0.6)
    assert found["interval"] == pytest.approx([0.6 - 0.0982, 0.6 + 0.0982], abs=1e-3)  # t of 4 times .0354
    assert found["random"]["p_higher"] == pytest.approx(1 / 20)
    assert found["random"]["p_lower"] == pytest.approx(1)
    assert "interval" not in summarise_measures({"right": np.array([0.5, 0.7, 0.6, 0.55])}, None)["right"]


def test_random_sets_are_measured_and_all_pictures_are_in_the_table(world):
    found, given = run(world, n_samples=2, n_random=5, n_random_drawn=3)
    further = found.facts["further"]
    assert further["measures"]["full"]["V1"]["right"]["random"]["n"] == 3
    table = found.tables["measures"]
    assert table["pictures"].value_counts().to_dict() == {"region": 4, "samples": 4, "random": 24}
    assert not table.isna().any().any()
    assert not any("random" in kind or "mean" in kind for kind in found.pictures)
    assert len(given) == 2
    assert any("none here" in getattr(block, "text", "") for block in found.section.blocks)


def test_categories_are_added_where_there_is_a_network():
    pictures = RNG.random((3, 3, 12, 12), dtype=np.float32)
    found = measure(pictures, pictures, lambda made: {"animal": np.full(len(made), 0.25)})
    assert found["animal"].tolist() == [0.25] * 3
    assert set(found) > {"luminance", "right", "eccentricity"}


@pytest.mark.parametrize(
    ("places", "said"), [(0.9, "show the category building more often than"), (0.3, "are not told from")]
)
def test_the_page_says_whether_regions_show_their_own_category_beyond_random_sets(places, said, world, monkeypatch):
    """Pictures of regions come first, then those of random sets."""
    shown = iter([{"building": np.full(4, places)}, {"building": np.linspace(0, 0.5, 76)}])
    monkeypatch.setattr(
        "braindiffuser.analyses.further_pictures.category_network", lambda device: (lambda made: next(shown), "")
    )
    found, _ = run(world, n_random=19, n_random_drawn=19)
    assert found.facts["further"]["expected"] == {"faces": "person", "places": "building"}
    verdicts = [block.text for block in found.section.blocks if getattr(block, "style", "") == "verdict"]
    assert len(verdicts) == 1
    assert f"Pictures of places {said} those of scattered voxels" in verdicts[0]


def test_random_sets_are_averaged_over_noise_set_by_set(world, monkeypatch):
    """Of three sets, four regions and two noises, in this order: 0 and 1, 8 and 9, 16 and 17 are of the first region."""
    numbered = lambda made: {"building": np.arange(len(made), dtype=np.float32)}  # noqa: E731
    monkeypatch.setattr("braindiffuser.analyses.further_pictures.category_network", lambda device: (numbered, ""))
    found, _ = run(world, n_samples=2, n_random=3, n_random_drawn=3)
    by_region = found.facts["further"]["measures"]["full"]
    for place, region in enumerate(found.facts["further"]["regions"]):
        beside = by_region[region]["building"]["random"]
        means = np.array([0.5, 8.5, 16.5]) + 2 * place
        assert beside["middle_95"] == pytest.approx(np.quantile(means, [0.025, 0.975]).tolist())
        assert beside["mean"] == pytest.approx(means.mean())


def test_a_network_that_is_not_installed_is_said(monkeypatch):
    def missing(*_):
        raise DependencyError("EfficientNet-Lite0 needs a package")

    monkeypatch.undo()
    monkeypatch.setattr("braindiffuser.networks.efficientnet_lite.load_efficientnet_lite", missing)
    assert region_pictures.category_network("cpu") == (None, "EfficientNet-Lite0 needs a package")


@pytest.mark.parametrize(
    ("measure", "values", "end", "bound"),
    [
        ("building", (1, 1, 1, 1, 0.5), 1, 1.0),
        ("food", (0, 0, 0, 0, 0.1), 0, 0.0),
        ("right", (1, 1, 1, 1, 0.2), 1, 1.0),
    ],
)
def test_intervals_end_where_a_measure_does(measure, values, end, bound):
    found = summarise_measures({measure: np.array(values, np.float64)}, None)[measure]
    assert found["interval"][end] == bound


def test_every_measure_has_a_range():
    assert set(RANGES) == {*Colour._fields, *Place._fields}
