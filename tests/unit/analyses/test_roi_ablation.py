"""Regions that carry layout lose layout, regions that carry content lose content; shuffled labels lose neither alone."""

from dataclasses import replace

import numpy as np
import pytest

from braindiffuser.analyses.roi_ablation import Condition, ROIAblation, _losses
from braindiffuser.datasets.known_regions import KnownRegions
from braindiffuser.errors import RecordingError, RunError
from braindiffuser.metrics.two_way_identification import two_way_identification
from braindiffuser.spacing import evenly_spaced

from .linear_world import N_TEST, linear_world

EARLY, SELECTIVE = ["V1", "V2"], ["faces", "places"]


@pytest.fixture(scope="module")
def outcome():
    return ROIAblation(n_images=None, n_random=4, n_random_drawn=1, content="rank").run(linear_world())


@pytest.fixture(scope="module")
def refitted():
    return ROIAblation(
        regions=("V1|V2", "faces|places"), n_images=None, n_random=0, by=("refitting",), content="rank"
    ).run(linear_world())


def lost(outcome, region, way, key):
    found = {each["name"]: each["ablations"] for each in outcome.facts["regions"]}
    return found[region][way]["lost"][key]


def test_without_what_carries_it_a_group_is_lost(outcome):
    way = "without by masking"
    early, selective = (lost(outcome, name, way, "features.latents") for name in ("early", "category regions"))
    assert early["share"] > 0.8
    assert early["low"] > selective["high"]
    assert lost(outcome, "category regions", way, "features.vision")["share"] > 0.8
    assert lost(outcome, "early", way, "features.vision")["share"] < 0.2


def test_with_what_carries_it_alone_little_is_lost(outcome):
    assert lost(outcome, "early", "only by masking", "features.latents")["share"] < 0.2
    assert lost(outcome, "category regions", "only by masking", "features.latents")["share"] > 0.8


def test_decoders_that_are_fitted_anew_say_the_same(refitted):
    for region, group, other in (("V1|V2", "latents", "vision"), ("faces|places", "vision", "latents")):
        assert lost(refitted, region, "without by refitting", f"features.{group}")["share"] > 0.8
        assert lost(refitted, region, "without by refitting", f"features.{other}")["share"] < 0.2
        assert lost(refitted, region, "only by refitting", f"features.{group}")["share"] < 0.2


def test_pictures_that_show_latents_lose_with_early_regions(outcome):
    assert lost(outcome, "early", "without by masking", "pixcorr")["low"] > 0.5
    assert lost(outcome, "category regions", "without by masking", "pixcorr")["high"] < 0.3


def test_a_region_loses_more_than_random_voxels_where_it_carries_more(outcome):
    early = lost(outcome, "early", "without by masking", "features.latents")
    assert early["random"]["n"] == 4
    assert early["share"] > early["random"]["highest"]


def test_with_shuffled_labels_no_region_stands_out():
    shuffled = ROIAblation(n_images=None, n_random=8, n_random_drawn=0, content="rank").run(linear_world(shuffled=True))
    for name in ("early", "category regions"):
        found = lost(shuffled, name, "without by masking", "features.latents")
        random = found["random"]
        assert random["lowest"] - 0.15 <= found["share"] <= random["highest"] + 0.15


def two_channels(seed=0, shuffled=False):
    """Pictures that show latents in red, and vision in blue; red stands for layout, blue for content."""
    data = linear_world(seed, shuffled=shuffled)

    def draw(features, ids):
        pictures = data.draw(features, ids)["full"]
        blue = features["vision"].reshape(len(ids), -1)
        pictures[:, 2] = np.pad(1 / (1 + np.exp(-blue / 2)), ((0, 0), (0, 144 - blue.shape[1]))).reshape(-1, 12, 12)
        return {"full": pictures}

    seen = draw({"latents": data.truth("latents"), "vision": data.truth("vision")}, data.stimulus_ids("test"))["full"]

    def score(pictures, name, chosen=None):
        own = seen if chosen is None else seen[chosen]
        flat = [[values[:, channel].reshape(len(values), -1) for values in (own, pictures)] for channel in (0, 2)]
        red = [np.corrcoef(a, b)[0, 1] if b.std() else 0.0 for a, b in zip(*flat[0], strict=True)]
        return {"pixcorr": np.array(red), "rank": two_way_identification(*flat[1])}

    return replace(data, draw=draw, score=score)


def verdict(data, **entries):
    asked = ROIAblation(n_images=None, n_random=10, content="rank", regions=("V1 | V2", "faces | places"), **entries)
    return [block.text for block in asked.run(data).section.blocks if getattr(block, "style", "") == "verdict"]


def test_it_is_said_which_region_carries_layout_and_which_content():
    without, alone = verdict(two_channels())
    for text in (without, alone):
        assert "V1 | V2 carries layout more than content; faces | places carries content more than layout" in text


def test_of_shuffled_labels_it_is_not_said():
    said = [text for seed in range(2) for text in verdict(two_channels(seed, shuffled=True))]
    assert all("no region loses more of one score and less of the other" in text for text in said)


def test_a_region_that_carries_both_or_neither_is_not_said_to_carry_one():
    """Where both scores show latents, V1 and V2 cost all of both, faces and places nothing of either."""
    assert all("no region loses more of one score and less of the other" in text for text in verdict(linear_world()))


def test_what_regions_carry_is_not_said_beside_few_random_sets():
    (text,) = verdict(two_channels(), n_random_drawn=3, how=("without",))
    assert "not said, since 3 random sets of voxels were drawn and 10 are needed" in text


def losses_of(region, random, higher=(True, True)):
    """Losses of scores `a` and `b` of pictures, which fall from 1.5 to .5 without any voxel, or rise from 1 to 2."""
    rng = np.random.default_rng(0)
    jitter = 0.05 * rng.standard_normal((2, 60))

    def scores(shares):
        kept = [1 - share * (1 + each) for share, each in zip(shares, jitter, strict=True)]
        return {key: 0.5 + own if up else 2 - own for key, own, up in zip("ab", kept, higher, strict=True)}

    made = [
        Condition("V1", "without", "masking", np.ones(3, bool), number, True, scores(shares))
        for number, shares in enumerate((region, *random))
    ]
    directions = dict(zip("ab", higher, strict=True))
    return _losses(scores((0, 0)), scores((1, 1)), made, ("a", "b"), directions, 0)


@pytest.mark.parametrize("higher", [(True, True), (False, True), (True, False)])
def test_shares_and_their_difference_stand_beside_those_of_random_sets(higher):
    """Whichever score falls with likeness: of layout .6 is lost, .2 and .3 by random sets, of content .1, and .4 and .6."""
    found = losses_of((0.6, 0.1), [(0.2, 0.4), (0.3, 0.6)], higher)
    for key, share, mean in (("a", 0.6, 0.25), ("b", 0.1, 0.5)):
        beside = found["lost"][key]["random"]
        assert found["lost"][key]["share"] == pytest.approx(share, abs=0.01)
        assert beside["mean"] == pytest.approx(mean, abs=0.01)
        assert beside["further"] == pytest.approx(share - mean, abs=0.01)
        assert beside["low"] <= beside["further"] <= beside["high"]
    apart = found["layout_minus_content"]
    assert apart["value"] == pytest.approx(0.5, abs=0.01)
    assert apart["random"]["mean"] == pytest.approx(-0.25, abs=0.01)


def test_a_region_that_is_one_of_its_random_sets_lies_among_them():
    """Shares of both are of what the whole gains over nothing."""
    for each in losses_of((0.4, 0.2), [(0.4, 0.2)] * 3)["lost"].values():
        assert (each["random"]["further"], each["random"]["mean"]) == pytest.approx((0, each["share"]))


def test_a_region_that_is_one_of_its_random_sets_is_so_in_every_resample():
    """However much pictures vary: region and random sets are drawn anew by the same resamples."""
    rng = np.random.default_rng(0)
    whole, kept, floor = ({key: level + 0.1 * rng.standard_normal(60) for key in "ab"} for level in (1.0, 0.6, 0.0))
    every = np.ones(3, bool)
    made = [Condition("V1", "without", "masking", every, number, True, dict(kept)) for number in range(3)]
    found = _losses(whole, floor, made, ("a", "b"), {"a": True, "b": True}, 0)
    for beside in (*(each["random"] for each in found["lost"].values()), found["layout_minus_content"]["random"]):
        assert (beside["low"], beside["high"]) == pytest.approx((0, 0), abs=1e-12)


def test_random_sets_keep_as_many_voxels_as_their_region():
    data = linear_world()
    conditions = ROIAblation(n_random=3)._conditions({"V1": data.rois["V1"]}, np.random.default_rng(0))
    kept = {how: {int(each.kept.sum()) for each in conditions[2:] if each.how == how} for how in ("without", "only")}
    assert kept == {"without": {40}, "only": {20}}


def test_some_pictures_are_decoded_and_scored_as_among_all():
    """Ten evenly spaced stimuli: their own responses, truth and pictures."""
    data = linear_world()
    found = ROIAblation(regions=("V1",), how=("without",), n_images=10, n_random=0, content="rank").run(data)
    chosen = evenly_spaced(N_TEST, 10)
    features = {group: data.predictions(group)[chosen] for group in data.groups}
    expected = data.score(data.draw(features, chosen)["full"], "test", chosen)
    table = found.tables["per_image"]
    whole = table[table["how"] == "whole"]
    np.testing.assert_array_equal(whole["stimulus_id"], data.stimulus_ids("test")[chosen])
    for key, values in expected.items():
        np.testing.assert_allclose(whole[key], values, rtol=1e-4)
    mean = np.asarray(data.decoders().targets["vision"]).mean(axis=0)
    expected = two_way_identification(data.truth("vision")[chosen] - mean, features["vision"] - mean)
    np.testing.assert_allclose(whole["features.vision"], expected, rtol=1e-6)
    first = data.score(
        data.draw({g: data.predictions(g)[:10] for g in data.groups}, chosen)["full"], "test", np.arange(10)
    )
    assert np.abs(first["pixcorr"] - whole["pixcorr"]).max() > 0.01


def test_a_score_that_rises_without_a_region_is_not_lost():
    """A metric by which a blank picture is best: where the whole is worse than nothing, nothing is shared out."""
    data = linear_world()

    def score(pictures, name, chosen=None):
        spread = pictures.std(axis=(1, 2, 3))
        return {**data.score(pictures, name, chosen), "smooth": 1 - spread, "rough": spread}

    facts = {"chance": None}
    metrics = data.metrics() | {
        "smooth": {**facts, "label": "Smooth", "higher_is_better": True},
        "rough": {**facts, "label": "Rough", "higher_is_better": False},
    }
    found = ROIAblation(regions=("V1",), how=("without",), n_images=None, n_random=0, content="rank").run(
        replace(data, score=score, metrics=lambda: metrics)
    )
    for key in ("smooth", "rough"):
        assert lost(found, "V1", "without by masking", key)["share"] is None
        assert lost(found, "V1", "without by masking", key)["difference"] != 0


def test_all_and_nothing_are_the_ends_of_the_scale(outcome):
    whole, nothing = outcome.facts["whole"], outcome.facts["nothing"]
    assert whole["features.latents"] > 0.9
    assert nothing["features.latents"] == pytest.approx(0.5)
    assert nothing["rank"] == pytest.approx(0.5)


def test_every_condition_of_every_picture_is_in_the_table(outcome):
    table = outcome.tables["per_image"]
    assert len(table) % N_TEST == 0
    drawn = table[table["random"] <= 1]
    assert not drawn["pixcorr"].isna().any()
    assert table.loc[table["random"] > 1, "pixcorr"].isna().all()
    assert set(table["how"]) == {"whole", "nothing", "without", "only"}


def test_pictures_are_examples_of_each_condition(outcome):
    assert outcome.pictures["roi_ablation_whole"].shape[0] == 3
    assert "roi_ablation_without_masking_category-regions" in outcome.pictures
    verdicts = [block.text for block in outcome.section.blocks if getattr(block, "style", "") == "verdict"]
    assert verdicts


def test_names_are_those_of_the_recording_and_unions():
    data = linear_world()
    found = ROIAblation(regions=("v-1 | V2", "faces"), how=("without",), n_images=10, n_random=0, content="rank").run(
        data
    )
    assert [(each["name"], each["n_voxels"]) for each in found.facts["regions"]] == [("v-1 | V2", 30), ("faces", 20)]
    with pytest.raises(RecordingError, match=r"there is no region 'V9'.*which analyses\.roi_ablation\.regions names"):
        ROIAblation(regions=("V9",)).run(data)


@pytest.mark.parametrize("entry", ["layout", "content"])
def test_a_score_that_is_not_there_is_asked_for_before_anything_is_drawn(entry):
    def refuse(features, ids):
        raise AssertionError("drawn")

    data = replace(linear_world(), draw=refuse)
    with pytest.raises(RunError, match=rf"{entry} names the score 'lpips'.*it gives pixcorr, rank"):
        ROIAblation(**{entry: "lpips"}, n_images=4, n_random=0, regions=("V1",)).run(data)


@pytest.mark.parametrize("entry", [{"how": ("only", "only")}, {"by": ("masking", "refitting", "masking")}])
def test_each_way_is_named_once(entry):
    with pytest.raises(ValueError, match=r"names (only|masking) twice: name each once"):
        ROIAblation(**entry)


def test_without_regions_the_section_says_so():
    data = linear_world()
    empty = replace(data, known_regions=KnownRegions({}))
    assert "no voxel in any region" in ROIAblation().run(empty).section.blocks[0].text


def test_a_silent_decoder_under_transductive_calibration_says_nothing():
    found = ROIAblation(regions=("V1",), how=("without",), n_images=20, n_random=0).run(
        linear_world(calibration="transductive")
    )
    assert found.facts["nothing"]["features.vision"] == pytest.approx(0.5)
