"""What scores of features say of constructed decoders: good ones, shuffled ones, and those that know less than it seems."""

import json

import numpy as np
import pytest

from braindiffuser.metrics._correlation import correlation_matrix
from braindiffuser.metrics.feature_scores import DecodedGroup, feature_scores
from braindiffuser.metrics.inference import permutation_null, permutation_p_value
from braindiffuser.metrics.intervals import share_interval
from braindiffuser.metrics.linear_reach import linear_reach
from braindiffuser.metrics.nearest_rows import mean_row, nearest_rows
from braindiffuser.metrics.places import Places, n_way, two_way_within

N, N_TRAIN, D, K = 60, 400, 30, 5


class World:
    """Stimuli of a few categories: features are those of the category and what is the picture's own."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.centres = 1.5 * self.rng.normal(size=(K, D))
        self.categories = self.rng.integers(K, size=N)
        self.train = self._drawn(self.rng.integers(K, size=N_TRAIN)).astype(np.float16)
        self.truth = self._drawn(self.categories)
        self.mean = mean_row(self.train)

    def _drawn(self, categories):
        return (3 + self.centres[categories] + self.rng.normal(size=(len(categories), D))).astype(np.float32)

    def scores(self, decoded, categories=None, truth=None):
        truth = self.truth if truth is None else truth
        nearest = nearest_rows(decoded, self.train, self.mean)
        decoded, truth = ((x - self.mean).astype(np.float32) for x in (decoded, truth))
        reach = linear_reach(truth, self.train, self.mean)
        group = DecodedGroup(decoded, truth, nearest, reach, N_TRAIN)
        return feature_scores(group, np.random.default_rng(1), categories, 200).facts

    def noisy(self, noise):
        return (self.truth + noise * self.rng.normal(size=self.truth.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(scope="module")
def good(world):
    return world.scores(world.noisy(0.3), world.categories)


def shares(facts):
    return {name: facts[name] for name in ("two_way", "two_way_per_stimulus", "top1", "top5", "novelty")}


def test_a_good_decoder_is_right_by_every_score(good):
    assert all(entry["value"] > 0.9 for entry in shares(good).values())
    assert good["within_category"]["value"] > 0.95
    assert good["median_rank"]["value"] == 1
    assert good["p"] == good["two_way"]["p"] == 1 / 201
    assert good["pattern_correlation"]["value"] > 0.9
    assert good["profile_correlation"]["value"] > 0.9
    assert good["best_linear"]["value"] == pytest.approx(1, abs=1e-4)


def test_perfect_features_reach_the_ends(world):
    facts = world.scores(world.truth)
    assert all(entry["value"] == 1 for entry in shares(facts).values())
    assert all(entry["value"] == 1 for entry in facts["n_way"].values())
    assert facts["effective_dimension"]["decoded"] == facts["effective_dimension"]["true"]


def test_a_decoder_that_knows_categories_alone_looks_good_until_asked(world):
    by_category = np.stack([world.train[np.arange(N_TRAIN) % K == 0].mean(axis=0)] * K) * 0 + 3 + world.centres
    facts = world.scores(
        (by_category[world.categories] + 0.05 * world.rng.normal(size=(N, D))).astype(np.float32), world.categories
    )
    assert facts["two_way"]["value"] > 0.85
    assert facts["p"] < 0.01
    assert facts["novelty"]["value"] < 0.1
    low, high = facts["within_category"]["ci95"]
    assert low < 0.5 < high
    assert facts["nearest_training"]["value"] > facts["pattern_correlation"]["value"]
    assert facts["effective_dimension"]["decoded"] < facts["effective_dimension"]["true"]


def test_shuffled_pictures_are_at_chance(world):
    decoded = world.noisy(0.3)[world.rng.permutation(N)]
    facts = world.scores(decoded, world.categories)
    for name in ("two_way", "two_way_per_stimulus"):
        assert facts[name]["ci95"][0] < 0.5 < facts[name]["ci95"][1]
    assert facts["p"] > 0.05
    assert facts["pattern_correlation"]["p"] > 0.05


def test_a_picture_that_also_trains_is_not_novel(world):
    leaked = World(3)
    leaked.train[:N] = leaked.truth
    truth = leaked.truth.astype(leaked.train.dtype).astype(np.float32)  # as targets are stored
    facts = leaked.scores(leaked.truth + 0.1 * leaked.rng.normal(size=(N, D)).astype(np.float32), truth=truth)
    assert facts["novelty"]["value"] == 0
    assert facts["top1"]["value"] == 1


def test_what_a_linear_decoder_cannot_reach_is_told(world):
    small = World(4)
    small.train = small.train[:10]
    small.mean = mean_row(small.train)
    best = small.scores(small.noisy(0.3))["best_linear"]
    assert 0.3 < best["value"] < 0.95
    assert best["ci95"][0] < best["value"] < best["ci95"][1]


def test_the_mean_of_training_is_no_part_of_the_likeness(world, good):
    """All pictures share it; with it left in, everything would correlate."""
    moved = World()
    moved.train = (moved.train + 4).astype(np.float16)
    moved.truth = moved.truth + 4
    moved.mean = mean_row(moved.train)
    facts = moved.scores(moved.noisy(0.3), moved.categories)
    assert facts["pattern_correlation"]["value"] == pytest.approx(good["pattern_correlation"]["value"], abs=0.02)


def test_every_score_lies_in_its_interval_and_has_its_chance(good):
    entries = [entry for entry in good.values() if isinstance(entry, dict) and "value" in entry]
    entries += list(good["n_way"].values())
    for entry in entries:
        low, high = entry["ci95"]
        assert low <= entry["value"] <= high
    assert list(good["n_way"]) == ["2", "10", "50", "all"]
    assert good["n_way"]["2"] == {key: good["two_way"][key] for key in ("value", "ci95", "chance")}
    assert good["n_way"]["all"] == good["top1"]
    assert good["n_way"]["10"]["chance"] == 0.1
    assert good["novelty"]["chance"] == 1 / (N_TRAIN + 1)
    for name in ("decoded", "true"):
        low, high = good["effective_dimension"][f"{name}_ci95"]
        assert low < good["effective_dimension"][name] < high
    assert json.loads(json.dumps(good, allow_nan=False)) == good


def test_too_few_pictures_have_no_scores(world):
    decoded = world.noisy(0.3)
    group = DecodedGroup(
        (decoded - world.mean).astype(np.float32),
        (world.truth - world.mean).astype(np.float32),
        nearest_rows(decoded, world.train, world.mean),
        None,
        N_TRAIN,
    )
    assert "best_linear" not in feature_scores(group.of(slice(0, 3)), np.random.default_rng(0), None, 9).facts
    with pytest.raises(ValueError, match="got 2 pictures, expected 3 or more"):
        feature_scores(group.of(slice(0, 2)), np.random.default_rng(0))


def test_p_is_that_of_its_own_direction():
    """Some decoded features resemble all stimuli alike, which weighs differently in the two directions."""
    rng = np.random.default_rng(0)
    train, truth = (rng.normal(size=(n, 20)).astype(np.float32) for n in (N_TRAIN, 40))
    decoded = 0.12 * truth + rng.normal(size=truth.shape) + 6 * rng.random((40, 1)) * rng.normal(size=20)
    group = DecodedGroup(decoded.astype(np.float32), truth, nearest_rows(decoded, train), None, N_TRAIN)
    facts = feature_scores(group, np.random.default_rng(1), None, 2000).facts
    expected = {}
    for name, direction in (("two_way", "per_reconstruction"), ("two_way_per_stimulus", "per_stimulus")):
        null = permutation_null(group.truth, group.decoded, np.random.default_rng(2), 2000, direction)
        expected[name] = permutation_p_value(facts[name]["value"], null)
        assert facts[name]["p"] == pytest.approx(expected[name], abs=0.05)
    assert abs(expected["two_way"] - expected["two_way_per_stimulus"]) > 0.15


def test_intervals_of_identification_allow_for_shares_of_many_comparisons():
    """Where nearly all pictures are right, a few decide, and degrees of freedom are fewer."""
    rng = np.random.default_rng(0)
    train, truth = (rng.normal(size=(n, D)).astype(np.float32) for n in (N_TRAIN, N))
    decoded = truth + (0.2 + 4 * (np.arange(N) % 6 == 0))[:, None] * rng.normal(size=truth.shape)
    categories = rng.integers(4, size=N)
    group = DecodedGroup(decoded.astype(np.float32), truth, nearest_rows(decoded, train), None, N_TRAIN)
    facts = feature_scores(group, np.random.default_rng(1), categories, 9).facts
    places = Places.of(correlation_matrix(group.truth, group.decoded))
    for name, found in (("two_way", n_way(places, 2)), ("within_category", two_way_within(places, categories))):
        value = float(found.scores.mean())
        assert facts[name]["ci95"] == pytest.approx(share_interval(value, found.left_out, 0.5, graded=True))
        assert facts[name]["ci95"] != pytest.approx(share_interval(value, found.left_out, 0.5), abs=1e-4)


def test_chance_of_being_among_the_best_is_their_share_of_all(good):
    assert (good["top1"]["chance"], good["top5"]["chance"]) == (1 / N, 5 / N)
