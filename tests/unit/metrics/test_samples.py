from itertools import permutations

import numpy as np
import pytest

from braindiffuser.metrics.intervals import share_interval
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.samples import sample_agreement, summarise_samples, variance_share
from braindiffuser.metrics.scored_pictures import ScoredPictures
from braindiffuser.metrics.two_way_identification import two_way_identification


@pytest.fixture
def rng():
    return np.random.default_rng(0)


class TestVarianceShare:
    def test_of_constructed_scores(self):
        scores = np.array([[0.0, 2.0], [10.0, 12.0], [20.0, 22.0]])
        found = variance_share(scores)
        assert found.seed == pytest.approx(2.0)  # variance of two scores that differ by 2
        assert found.picture == pytest.approx(100.0 - 2.0 / 2)  # that of the means, less what noise adds to them
        assert found.share == pytest.approx(2 / 101)

    def test_all_is_the_generators_where_pictures_have_the_same_mean(self):
        found = variance_share(np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
        assert (found.picture, found.share, found.high) == (0.0, 1.0, 1.0)

    def test_nothing_is_where_samples_are_equal(self):
        found = variance_share(np.repeat(np.arange(5.0)[:, None], 3, axis=1))
        assert (found.seed, found.share, found.low, found.high) == (0.0, 0.0, 0.0, 0.0)

    def test_is_unknown_where_nothing_differs(self):
        assert variance_share(np.ones((3, 2)))[2:] == (None, None, None)

    def test_is_the_same_in_other_units_and_orders(self, rng):
        scores = rng.normal(size=(20, 1)) + rng.normal(size=(20, 4))
        share = variance_share(scores).share
        assert variance_share(7 - 3 * scores).share == pytest.approx(share)
        assert variance_share(rng.permuted(rng.permutation(scores), axis=1)).share == pytest.approx(share)

    @pytest.mark.parametrize("truth", [0.2, 0.7])
    @pytest.mark.parametrize("n_samples", [2, 5])
    def test_finds_what_was_planted_and_its_interval_covers_it(self, truth, n_samples, rng):
        found = [
            variance_share(
                np.sqrt(1 - truth) * rng.normal(size=(40, 1)) + np.sqrt(truth) * rng.normal(size=(40, n_samples))
            )
            for _ in range(400)
        ]
        assert np.mean([each.seed for each in found]) == pytest.approx(truth, abs=0.02)
        assert np.mean([each.share for each in found]) == pytest.approx(truth, abs=0.03)
        assert 0.92 <= np.mean([each.low <= truth <= each.high for each in found]) <= 0.98

    @pytest.mark.parametrize("shape", [(1, 3), (3, 1)])
    def test_needs_two_of_each(self, shape):
        with pytest.raises(ValueError, match="two pictures and two samples, got"):
            variance_share(np.zeros(shape))


class TestAgreement:
    def test_is_one_where_samples_resemble_each_other_most(self, rng):
        pictures = rng.normal(size=(30, 50))
        samples = [pictures + 0.1 * rng.normal(size=pictures.shape) for _ in range(3)]
        np.testing.assert_array_equal(sample_agreement(samples).scores, np.ones(30))

    def test_is_a_half_where_they_have_nothing_in_common(self, rng):
        found = sample_agreement([rng.normal(size=(200, 20)) for _ in range(4)]).scores
        assert found.mean() == pytest.approx(0.5, abs=0.03)

    def test_finds_the_picture_whose_samples_spread(self, rng):
        pictures = rng.normal(size=(40, 60))
        samples = [pictures + 0.2 * rng.normal(size=pictures.shape) for _ in range(3)]
        for sample in samples:
            sample[7] = rng.normal(size=60)
        found = sample_agreement(samples).scores
        assert found.argmin() == 7
        assert found[7] < 0.9 < np.delete(found, 7).min()

    def test_is_two_way_identification_of_all_pairs_of_samples_also_without_a_picture(self, rng):
        pictures = rng.normal(size=(6, 8))
        samples = [pictures + 0.7 * rng.normal(size=(6, 8)) for _ in range(3)]
        found, pairs = sample_agreement(samples), list(permutations(range(3), 2))
        np.testing.assert_allclose(
            found.scores, np.mean([two_way_identification(samples[s], samples[t]) for s, t in pairs], axis=0)
        )
        others = [
            sample_agreement([np.delete(sample, number, axis=0) for sample in samples]).scores.mean()
            for number in range(6)
        ]
        np.testing.assert_allclose(found.left_out, others)

    def test_needs_two_samples(self):
        with pytest.raises(ValueError, match="two or more; got 1"):
            sample_agreement([np.zeros((3, 4))])


def test_the_best_sample_is_printed_beside_the_mean_and_never_as_it(rng):
    profile = Profile.load("pixels").without(set())
    samples = [{key: rng.random(30) for key in profile.metrics} for _ in range(4)]
    found = summarise_samples(profile, samples)
    assert found["n_samples"] == 4
    for key, entry in found["metrics"].items():
        scores = np.stack([sample[key] for sample in samples])
        assert entry["mean"] == pytest.approx(scores.mean())
        assert entry["best_of"] == pytest.approx(scores.max(axis=0).mean())
        assert entry["by_sample"] == pytest.approx(scores.mean(axis=1).tolist())
        low, high = entry["mean_ci95"]
        assert low < entry["mean"] < high < entry["best_of"]
        assert "value" not in entry


def test_of_a_distance_the_smallest_is_the_best(rng):
    profile = Profile.load("brain-diffuser-2023")
    samples = [{key: rng.random(30) for key in profile.metrics} for _ in range(2)]
    found = summarise_samples(profile, samples)["metrics"]
    for key, metric in profile.metrics.items():
        best = np.maximum if metric.higher_is_better else np.minimum
        assert found[key]["best_of"] == pytest.approx(best(samples[0][key], samples[1][key]).mean())
    assert {metric.higher_is_better for metric in profile.metrics.values()} == {True, False}


def test_the_interval_of_the_mean_leaves_a_picture_out_of_every_sample(rng):
    profile = Profile.load("demo").limited_to(["clip_demo"])
    samples = [ScoredPictures({"clip_demo": rng.random(9)}, {"clip_demo": rng.random(9)}) for _ in range(3)]
    entry = summarise_samples(profile, samples)["metrics"]["clip_demo"]
    left_out = np.mean([sample.left_out["clip_demo"] for sample in samples], axis=0)
    assert entry["mean_ci95"] == pytest.approx(share_interval(entry["mean"], left_out, 0.5, graded=True))
