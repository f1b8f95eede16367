"""Regions that carry layout lose layout, regions that carry content lose content; shuffled labels lose neither alone."""

import numpy as np
import pytest

from braindiffuser.analyses.roi_ablation import ROIAblation, evenly_spaced
from braindiffuser.errors import RecordingError, RunError

from .linear_world import N_TEST, linear_world

EARLY, SELECTIVE = ["V1", "V2"], ["faces", "places"]


@pytest.fixture(scope="module")
def outcome():
    return ROIAblation(n_images=None, n_random=4, content="rank").run(linear_world())


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


def test_a_score_that_is_not_there_is_asked_for():
    with pytest.raises(RunError, match=r"layout names the score 'lpips'.*it gives pixcorr, rank"):
        ROIAblation(layout="lpips", n_images=4, n_random=0, regions=("V1",)).run(linear_world())


def test_without_regions_the_section_says_so():
    data = linear_world()
    empty = data.__class__(**{**vars(data), "rois": {}})
    assert "no voxel in any region" in ROIAblation().run(empty).section.blocks[0].text


def test_a_silent_decoder_under_transductive_calibration_says_nothing():
    found = ROIAblation(regions=("V1",), how=("without",), n_images=20, n_random=0).run(
        linear_world(calibration="transductive")
    )
    assert found.facts["nothing"]["features.vision"] == pytest.approx(0.5)


@pytest.mark.parametrize(("n", "wanted"), [(10, None), (10, 20), (10, 3), (982, 30)])
def test_places_are_even(n, wanted):
    found = evenly_spaced(n, wanted)
    assert len(found) == min(n, wanted or n)
    assert len(set(found.tolist())) == len(found)
    assert np.ptp(np.diff(found)) <= 1
