import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import bootstrap

from braindiffuser.metrics.pixcorr import PixCorr
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.ssim import SSIM
from braindiffuser.metrics.trust import (
    ScoreSets,
    bootstrap_interval,
    derangement,
    draw_training,
    mean_image,
    permutation_null,
    permutation_p_value,
    summarise,
)
from braindiffuser.metrics.two_way_identification import two_way_identification

PIXELS = Profile(name="pixels", metrics={"pixcorr": PixCorr(), "ssim": SSIM()})
BASELINES = ("mean_image", "random_train_image", "shuffled_responses")
ABLATIONS = ("low_level_only", "without_low_level")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def score_sets(rng) -> ScoreSets:
    def scores():
        return {"pixcorr": rng.random(20), "ssim": rng.random(20)}

    return ScoreSets(scores(), scores(), {name: scores() for name in BASELINES}, {name: scores() for name in ABLATIONS})


class TestBootstrapInterval:
    def test_covers_a_known_mean_at_about_the_nominal_rate(self, rng):
        covered = 0
        for _ in range(300):
            low, high = bootstrap_interval(rng.exponential(size=100), rng, n_resamples=300, level=0.9)
            covered += low <= 1 <= high
        assert 0.84 < covered / 300 < 0.95

    def test_agrees_with_scipy(self, rng):
        per_picture = rng.normal(size=200)
        expected = bootstrap((per_picture,), np.mean, n_resamples=20_000, method="percentile", rng=rng)
        low, high = bootstrap_interval(per_picture, rng, n_resamples=20_000)
        assert low == pytest.approx(expected.confidence_interval.low, abs=0.01)
        assert high == pytest.approx(expected.confidence_interval.high, abs=0.01)

    @settings(deadline=None, max_examples=25)
    @given(arrays(np.float64, st.integers(1, 30), elements=st.floats(-1, 1)), st.integers(0, 99))
    def test_lies_within_the_scores(self, per_picture, seed):
        low, high = bootstrap_interval(per_picture, np.random.default_rng(seed), n_resamples=50)
        assert per_picture.min() - 1e-12 <= low <= high <= per_picture.max() + 1e-12

    def test_a_higher_level_and_fewer_pictures_make_it_wider(self, rng):
        per_picture = rng.normal(size=400)

        def width(scores, level=0.95):
            low, high = bootstrap_interval(scores, np.random.default_rng(1), level=level)
            return high - low

        assert width(per_picture, 0.99) > width(per_picture) > width(per_picture, 0.5)
        assert width(per_picture[:50]) > width(per_picture)

    def test_the_same_state_gives_the_same_interval(self):
        per_picture = np.arange(10.0)
        assert bootstrap_interval(per_picture, np.random.default_rng(3)) == bootstrap_interval(
            per_picture, np.random.default_rng(3)
        )

    def test_equal_scores_have_an_interval_of_no_width(self, rng):
        assert bootstrap_interval(np.full(7, 0.5), rng) == (0.5, 0.5)

    @pytest.mark.parametrize("scores", [np.array([]), np.array([0.1, np.nan])])
    def test_scores_must_be_finite_and_there(self, rng, scores):
        with pytest.raises(ValueError, match="finite scores, at least one"):
            bootstrap_interval(scores, rng)

    def test_level_is_a_share(self, rng):
        with pytest.raises(ValueError, match=r"between 0 and 1, e\.g\. 0\.95, got 95"):
            bootstrap_interval(np.ones(3), rng, level=95.0)


class TestPermutationNull:
    @pytest.mark.parametrize("direction", ["per_reconstruction", "per_stimulus"])
    def test_is_centred_on_chance(self, rng, direction):
        seen, made = rng.normal(size=(2, 40, 20))
        null = permutation_null(seen, made, rng, 500, direction)
        assert null.shape == (500,)
        assert null.mean() == pytest.approx(0.5, abs=0.01)

    @pytest.mark.parametrize("direction", ["per_reconstruction", "per_stimulus"])
    def test_each_draw_is_the_score_of_shuffled_reconstructions(self, rng, direction):
        seen = rng.normal(size=(9, 20))
        made = seen + rng.normal(size=seen.shape)
        null = permutation_null(seen, made, np.random.default_rng(7), 3, direction)
        orders = np.random.default_rng(7)
        shuffled = [two_way_identification(seen, made[orders.permutation(9)], direction).mean() for _ in range(3)]
        np.testing.assert_allclose(null, shuffled, atol=1e-12)

    def test_p_values_are_uniform_when_nothing_is_decoded(self, rng):
        p_values = []
        for _ in range(200):
            seen, made = rng.normal(size=(2, 15, 10))
            null = permutation_null(seen, made, rng, 99)
            p_values.append(permutation_p_value(two_way_identification(seen, made).mean(), null))
        assert np.mean(np.array(p_values) <= 0.1) == pytest.approx(0.1, abs=0.07)
        assert np.mean(p_values) == pytest.approx(0.5, abs=0.07)

    def test_a_decoder_beats_it(self, rng):
        seen = rng.normal(size=(30, 20))
        made = seen + rng.normal(size=seen.shape)
        null = permutation_null(seen, made, rng, 199)
        assert permutation_p_value(two_way_identification(seen, made).mean(), null) == 1 / 200


class TestBaselines:
    @pytest.mark.parametrize("n", [1, 5, 70])
    def test_mean_image_is_the_mean(self, rng, n):
        train_pictures = rng.random((n, 3, 6, 4), dtype=np.float32)
        picture = mean_image(train_pictures)
        assert picture.shape == (1, 3, 6, 4)
        assert picture.dtype == np.float32
        np.testing.assert_allclose(picture[0], train_pictures.mean(axis=0), atol=1e-6)

    @settings(deadline=None, max_examples=50)
    @given(st.integers(1, 30), st.integers(1, 60), st.integers(0, 99))
    def test_drawn_pictures_come_from_training_and_differ_if_they_can(self, n_train, n, seed):
        drawn = draw_training(n_train, n, np.random.default_rng(seed))
        assert len(drawn) == n
        assert set(drawn) <= set(range(n_train))
        assert n > n_train or len(set(drawn)) == n

    def test_the_same_state_draws_the_same_pictures(self):
        first, second = (draw_training(9, 4, np.random.default_rng(2)) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_need_training_pictures(self, rng):
        with pytest.raises(ValueError, match="needs training pictures, got none"):
            mean_image(np.zeros((0, 3, 6, 4), np.float32))
        with pytest.raises(ValueError, match="needs training pictures, got none"):
            draw_training(0, 2, rng)


class TestDerangement:
    @settings(deadline=None)
    @given(st.integers(2, 60), st.integers(0, 999))
    def test_is_an_order_in_which_nothing_stays_in_its_place(self, n, seed):
        order = derangement(n, np.random.default_rng(seed))
        assert sorted(order) == list(range(n))
        assert (order != np.arange(n)).all()

    def test_everything_comes_to_every_other_place_about_as_often(self, rng):
        n, draws = 5, 4000
        came = np.zeros((n, n))
        for _ in range(draws):
            came[np.arange(n), derangement(n, rng)] += 1 / draws
        np.testing.assert_allclose(came, (1 - np.eye(n)) / (n - 1), atol=0.03)

    @pytest.mark.parametrize("n", [0, 1])
    def test_one_thing_cannot_leave_its_place(self, rng, n):
        with pytest.raises(ValueError, match=f"two or more are needed .*, got {n}"):
            derangement(n, rng)


class TestSummarise:
    def test_has_every_number_of_every_set(self, rng, score_sets):
        summary = summarise(PIXELS, score_sets, rng, n_resamples=50)
        assert summary["profile"] == "pixels"
        assert summary["n_images"] == 20
        assert list(summary["metrics"]) == ["pixcorr", "ssim"]
        for key, row in summary["metrics"].items():
            assert row["value"] == score_sets.final[key].mean()
            assert row["ceiling"] == score_sets.ceiling[key].mean()
            assert row["baselines"] == {name: score_sets.baselines[name][key].mean() for name in BASELINES}
            assert row["ablations"] == {name: score_sets.ablations[name][key].mean() for name in ABLATIONS}
            for name in BASELINES:
                low, high = row["baselines_ci95"][name]
                assert low < row["baselines"][name] < high
            assert row["ablations_ci95"].keys() == row["ablations"].keys()
            assert row["ci95"][0] < row["value"] < row["ci95"][1]
            assert row["ceiling_ci95"][0] < row["ceiling"] < row["ceiling_ci95"][1]

    def test_carries_the_declared_facts(self, rng, score_sets):
        row = summarise(PIXELS, score_sets, rng, n_resamples=10)["metrics"]["pixcorr"]
        metric = PixCorr()
        assert (row["label"], row["description"], row["citation"]) == (
            metric.label,
            metric.description,
            metric.citation,
        )
        assert (row["higher_is_better"], row["chance"], row["bounds"]) == (True, None, [-1.0, 1.0])

    def test_survives_json(self, rng, score_sets):
        summary = summarise(PIXELS, score_sets, rng, n_resamples=10)
        assert json.loads(json.dumps(summary, allow_nan=False)) == summary

    def test_an_interval_does_not_depend_on_other_sets_or_metrics(self, score_sets):
        alone = ScoreSets(score_sets.final, score_sets.ceiling)
        only_ssim = Profile(name="ssim", metrics={"ssim": SSIM()})
        expected = summarise(PIXELS, score_sets, np.random.default_rng(1), n_resamples=50)["metrics"]["ssim"]
        row = summarise(only_ssim, alone, np.random.default_rng(1), n_resamples=50)["metrics"]["ssim"]
        assert row["ci95"] == expected["ci95"]
        assert row["baselines"] == {}

    def test_names_the_set_that_lacks_a_metric(self, rng, score_sets):
        broken = ScoreSets(score_sets.final, {"pixcorr": score_sets.ceiling["pixcorr"]})
        with pytest.raises(ValueError, match=r"the set ceiling has no ssim, it has \['pixcorr'\]"):
            summarise(PIXELS, broken, rng)

    def test_all_sets_score_the_same_pictures(self, rng, score_sets):
        fewer = {key: scores[:5] for key, scores in score_sets.final.items()}
        with pytest.raises(ValueError, match=r"the same pictures.*'final/pixcorr': 20.*'ceiling/pixcorr': 5"):
            summarise(PIXELS, ScoreSets(score_sets.final, fewer), rng)
