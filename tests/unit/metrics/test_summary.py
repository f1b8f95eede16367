import json
from dataclasses import replace

import numpy as np
import pytest

from braindiffuser.metrics.correlation_distance import CorrelationDistance
from braindiffuser.metrics.intervals import mean_interval, share_interval
from braindiffuser.metrics.pixcorr import PixCorr
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.scorer import Scorer, extract_features
from braindiffuser.metrics.ssim import SSIM
from braindiffuser.metrics.summary import ScoreSets, summarise
from braindiffuser.metrics.two_way_identification import TwoWayIdentification

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

    def test_ablations_on_some_pictures_have_the_whole_method_on_these_beside_them(self, score_sets):
        some = [0, 5, 11]

        def of_some(scores):
            return {key: values[some] for key, values in scores.items()}

        own = replace(
            score_sets,
            final_of_ablated=of_some(score_sets.final),
            ablations={name: of_some(scores) for name, scores in score_sets.ablations.items()},
        )
        whole = summarise(PIXELS, score_sets, np.random.default_rng(1), n_resamples=50)["metrics"]
        for key, row in summarise(PIXELS, own, np.random.default_rng(1), n_resamples=50)["metrics"].items():
            assert row["ablated"]["n_images"] == 3
            assert row["ablated"]["value"] == score_sets.final[key][some].mean()
            assert row["ablated"]["ci95"][0] <= row["ablated"]["value"] <= row["ablated"]["ci95"][1]
            assert row["ablations"] == {name: score_sets.ablations[name][key][some].mean() for name in ABLATIONS}
            assert {name: row[name] for name in ("value", "ci95", "ceiling", "baselines")} == {
                name: whole[key][name] for name in ("value", "ci95", "ceiling", "baselines")
            }
        with pytest.raises(ValueError, match="all sets must score the same pictures"):
            summarise(PIXELS, replace(own, ablations=score_sets.ablations), np.random.default_rng(1))


LAYER = {"network": "colours", "layer": "all", "description": "Of colours."}
TOLD_APART = Profile(
    name="told apart",
    metrics={
        "two_way": TwoWayIdentification(**LAYER, label="Two-way"),
        "distance": CorrelationDistance(**LAYER, label="Distance"),
        "ssim": SSIM(),
    },
)


def colours(pictures):
    return {"all": pictures.reshape(len(pictures), -1)}


class TestIdentification:
    @pytest.fixture
    def seen(self, rng):
        return rng.random((12, 3, 16, 16), dtype=np.float32)

    def summary(self, seen, made, n=99):
        scorer, features = Scorer(seen, TOLD_APART, {"colours": colours}), None
        features = extract_features(made, TOLD_APART, {"colours": colours})
        sets = ScoreSets(scorer.score(made, features), pairs=scorer.score_all_pairs(made, features))
        return sets.final, summarise(TOLD_APART, sets, np.random.default_rng(1), n)["metrics"]

    def test_its_interval_allows_for_other_distractors(self, rng, seen):
        made = np.clip(seen + 3 * rng.normal(size=seen.shape), 0, 1).astype(np.float32)
        scores, metrics = self.summary(seen, made)
        value, left_out = metrics["two_way"]["value"], scores.left_out["two_way"]
        assert metrics["two_way"]["ci95"] == list(share_interval(value, left_out, 0.5, graded=True))
        for key in ("distance", "ssim"):
            assert metrics[key]["ci95"] == pytest.approx(mean_interval(scores[key]))

    def test_perfect_pictures_leave_room_below_and_none_above(self, seen):
        _, metrics = self.summary(seen, seen)
        low, high = metrics["two_way"]["ci95"]
        assert 0.5 < low < 0.95
        assert high == 1
        assert metrics["distance"]["ci95"] == pytest.approx([0, 0], abs=1e-9)

    def test_a_single_picture_is_anywhere_within_the_bounds(self, rng):
        own = summarise(PIXELS, ScoreSets({"pixcorr": rng.random(1), "ssim": rng.random(1)}), rng)["metrics"]
        assert own["pixcorr"]["ci95"] == [-1, 1]

    def test_own_pictures_are_beyond_chance_and_others_are_not(self, rng, seen):
        own = self.summary(seen, seen)[1]
        assert own["two_way"]["p"] == own["distance"]["p"] == 1 / 100  # of a distance the lowest are best
        assert "p" not in own["ssim"]
        others = self.summary(seen, rng.random(seen.shape, dtype=np.float32))[1]
        assert all(others[key]["p"] > 0.05 for key in ("two_way", "distance"))

    def test_the_other_direction_is_that_of_a_metric_with_it(self, rng, seen):
        made = np.clip(0.3 * seen + rng.normal(size=seen.shape), 0, 1).astype(np.float32)
        other = self.summary(seen, made)[1]["two_way"]["other_direction"]
        metric = TwoWayIdentification(**LAYER, label="Two-way", direction="per_stimulus")
        layers = colours(seen)["all"], colours(made)["all"]
        assert other["direction"] == "per_stimulus"
        assert other["value"] == pytest.approx(metric.compare(*layers).mean())
        assert other["ci95"] == list(
            share_interval(other["value"], metric.compare_among(*layers).left_out, 0.5, graded=True)
        )
