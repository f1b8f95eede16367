"""Profiles compared: every number is what the profile alone gives, and what moves most is found."""

from types import SimpleNamespace

import numpy as np
import pytest

from braindiffuser.datasets.simulation.scenes import compose_scenes
from braindiffuser.errors import RunError
from braindiffuser.images import from_uint8, resize
from braindiffuser.metrics.blend import Blend
from braindiffuser.metrics.many_way_identification import ManyWayIdentification
from braindiffuser.metrics.pixcorr import PixCorr
from braindiffuser.metrics.profile_comparison import compare_profiles, comparison_facts, moved
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.scorer import Scorer
from braindiffuser.metrics.ssim import SSIM
from braindiffuser.metrics.summary import ScoreSets, summarise
from braindiffuser.metrics.two_way_identification import TwoWayIdentification

LAYER = {"network": "rows", "layer": "all", "description": "Of rows."}
SMALL = Profile(
    name="small",
    metrics={"pixcorr": PixCorr(), "ssim": SSIM(label="S"), "rows": TwoWayIdentification(**LAYER, label="R")},
)
TWICE = Profile(
    name="twice",
    prints={"S": "ssim_24", "R": "rows_per_stimulus"},
    metrics={
        "ssim_24": SSIM(sizes=(24, 40), label="SSIM by 24"),
        "rows_per_stimulus": TwoWayIdentification(**LAYER, label="Rows, other way", direction="per_stimulus"),
        "pixcorr": PixCorr(),
    },
)
MIXED = TWICE.model_copy(update={"name": "mixed", "blend": Blend(blurry_share=0.5, size=24)})
MANY = Profile(name="many", metrics={"among": ManyWayIdentification(**LAYER, label="Among 50"), "pixcorr": PixCorr()})


@pytest.fixture(scope="module")
def pictures():
    raw, _ = compose_scenes(12, seed=3)
    seen = from_uint8(raw)
    return SimpleNamespace(seen=seen, made=resize(resize(seen, 20), 64)[:, ::-1].copy(), blurry=resize(seen, 12))


def rows(pictures):
    return {"all": resize(pictures, 16)[:, :, 5].reshape(len(pictures), -1)}


def loading(asked):
    def load(profile):
        asked.append(sorted(profile.metrics))
        return {"rows": rows}, {}

    return load


def test_every_number_is_what_the_profile_gives_alone(pictures):
    asked = []
    found = compare_profiles([SMALL, TWICE, MIXED], pictures.seen, pictures.made, pictures.blurry, loading(asked))
    assert asked == [["rows", "rows_per_stimulus"]]  # the network is loaded once
    blend = MIXED.blend.of(pictures.made, pictures.blurry)
    for profile, made in ((SMALL, pictures.made), (TWICE, pictures.made), (MIXED, blend)):
        alone = Scorer(pictures.seen, profile, {"rows": rows}).score(made)
        assert list(found[profile.name].scores) == list(alone)
        for key, scores in alone.items():
            np.testing.assert_array_equal(found[profile.name].scores[key], scores)


def test_what_cannot_be_computed_is_left_out_and_named(pictures):
    def load(profile):
        return {}, {"rows": "it from there"}

    found = compare_profiles([SMALL, MIXED, MANY], pictures.seen, pictures.made, None, load)
    assert list(found["small"].scores) == ["pixcorr", "ssim"]
    assert found["small"].missing == {"rows": "it from there"}
    assert found["mixed"].without_blend
    assert found["mixed"].scores == {}
    assert found["many"].too_few == ("Among 50",)
    assert list(found["many"].scores) == ["pixcorr"]
    facts = comparison_facts(found)
    assert facts["profiles"]["mixed"]["without_blend"]
    assert facts["profiles"]["small"]["prints"] == {"PixCorr": "pixcorr", "S": "ssim"}
    assert [own["name"] for own in facts["moved"]] == ["PixCorr"]
    assert facts["moved"][0]["difference"] == 0
    with pytest.raises(RunError, match="no metric of the profiles mixed can be computed on this machine"):
        comparison_facts({"mixed": found["mixed"]})


def test_shared_metrics_have_one_value_and_interval(pictures):
    found = compare_profiles([SMALL, TWICE], pictures.seen, pictures.made, None, loading([]))
    facts = comparison_facts(found)
    one, two = (facts["profiles"][name]["metrics"]["pixcorr"] for name in ("small", "twice"))
    assert one == two
    assert facts["n_images"] == 12
    by_name = {own["name"]: own for own in facts["moved"]}
    values = [
        facts["profiles"]["small"]["metrics"]["ssim"]["value"],
        facts["profiles"]["twice"]["metrics"]["ssim_24"]["value"],
    ]
    assert by_name["S"]["difference"] == pytest.approx(max(values) - min(values))


def test_every_interval_is_that_of_the_scores_file(pictures):
    wide = Profile(
        name="wide", metrics={"all": ManyWayIdentification(**LAYER, label="Best of all", n="all"), **SMALL.metrics}
    )
    found = compare_profiles([SMALL, wide, MIXED], pictures.seen, pictures.made, pictures.blurry, loading([]))
    facts = comparison_facts(found)["profiles"]
    for profile, made in (
        (SMALL, pictures.made),
        (wide, pictures.made),
        (MIXED, MIXED.blend.of(pictures.made, pictures.blurry)),
    ):
        scores = Scorer(pictures.seen, profile, {"rows": rows}).score(made)
        alone = summarise(profile, ScoreSets(scores), np.random.default_rng(0))["metrics"]
        own = {key: entry["ci95"] for key, entry in facts[profile.name]["metrics"].items()}
        assert own == {key: entry["ci95"] for key, entry in alone.items()}
        assert set(found[profile.name].scores.other_way) == set(scores.other_way) != set()


def entry(value, half, **facts):
    return {"value": value, "ci95": [value - half, value + half], "chance": None, "higher_is_better": True, **facts}


def test_what_moves_most_intervals_comes_first_and_unlike_numbers_are_not_compared():
    profiles = {
        "a": {"metrics": {"p": entry(0.2, 0.1), "s": entry(0.3, 0.01), "c": entry(0.9, 0.1, chance=0.5)}},
        "b": {"metrics": {"p": entry(0.6, 0.1), "s": entry(0.4, 0.03), "c": entry(0.2, 0.1, chance=0.02)}},
        "c": {"metrics": {"p": entry(0.5, 0.1), "own": entry(0.5, 0.1)}},
    }
    for own in profiles.values():
        own["prints"] = {key.upper(): key for key in own["metrics"]}
    found = moved(profiles)
    assert [own.name for own in found] == ["S", "P"]  # 0.1 / 0.02 before 0.4 / 0.1
    assert (found[0].low, found[0].high, found[0].half_width) == ("a", "b", pytest.approx(0.02))
    assert (found[1].low, found[1].high, found[1].difference) == ("a", "b", pytest.approx(0.4))


def test_one_key_with_two_meanings_is_refused(pictures):
    other = Profile(name="other", metrics={"ssim": SSIM(sizes=(24,))})
    with pytest.raises(ValueError, match="profile other computes ssim otherwise than another profile"):
        compare_profiles([SMALL, other], pictures.seen, pictures.made, None, loading([]))
