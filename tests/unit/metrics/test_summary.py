import json
from dataclasses import replace

import numpy as np
import pytest

from braindiffuser.metrics.pixcorr import PixCorr
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.ssim import SSIM
from braindiffuser.metrics.summary import ScoreSets, summarise

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
