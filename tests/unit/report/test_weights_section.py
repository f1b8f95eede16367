"""What the page says of regions follows from their numbers."""

import re

import pytest

from braindiffuser.report.weights_section import differences_panel, weights_section, weights_sentences


def maps(difference, p, stricter=None):
    return {
        "percentiles": {"latents": 50.0, "vision": 50 * (1 + difference)},
        "differences": {"vision": difference},
        "null": {"vision": [-0.05, 0.05]},
        "p": {"vision": p},
        "null_contiguous": None if stricter is None else {"vision": [-0.3, 0.3]},
        "p_contiguous": None if stricter is None else {"vision": stricter},
    }


def facts(weights, patterns):
    """Facts of regions: name → difference, p and stricter p."""
    regions = {
        name: {"n_voxels": 1200, **maps(*own), "patterns": maps(*patterns[name])} for name, own in weights.items()
    }
    return {
        "groups": ["latents", "vision"],
        "reference": "latents",
        "n_voxels": 5000,
        "n_random": 1000,
        "contiguous": all(len(own) > 2 for own in weights.values()),
        "remarks": [],
        "regions": regions,
    }


WEIGHTS = {"V1": (-0.2, 0.002, 0.3), "V4": (-0.01, 0.6, 0.9), "faces": (0.3, 0.002, 0.01)}
PATTERNS = {"V1": (0.1, 0.002, 0.01), "V4": (0.2, 0.001, 0.06), "faces": (-0.3, 0.051, 0.2)}


def cut(regions, n):
    return {name: own[:n] for name, own in regions.items()}


def test_a_region_is_named_by_sign_and_by_p_among_regions_of_neighbours():
    by_weights, by_patterns = weights_sentences(facts(WEIGHTS, PATTERNS))
    assert by_weights == "By weights: vision lies above latents in faces; no difference beyond chance in V1 and V4."
    assert (
        by_patterns
        == "By Haufe patterns: vision lies above latents in V1; no difference beyond chance in V4 and faces."
    )


def test_scattered_voxels_stand_in_where_places_are_not_known():
    by_weights, _ = weights_sentences(facts(cut(WEIGHTS, 2), cut(PATTERNS, 2)))
    assert by_weights == (
        "By weights: vision lies above latents in faces; vision lies below latents in V1; no difference beyond chance in V4."
    )


def test_p_is_corrected_over_groups_too():
    content = facts({"V1": (0.2, 0.03, 0.03)}, {"V1": (0.2, 0.03, 0.03)})
    assert "vision lies above" in weights_sentences(content)[0]
    assert not any("lies above" in said for said in weights_sentences(with_text(content)))


def with_text(content):
    """Add a group `text` that is as `vision` is everywhere."""
    for region in content["regions"].values():
        for made in (region, region["patterns"]):
            for own in made.values():
                if isinstance(own, dict) and "vision" in own:
                    own["text"] = own["vision"]
    return content | {"groups": [*content["groups"], "text"]}


def test_a_group_without_any_difference_is_named():
    """Two groups without one have two sentences, not the same one twice."""
    none = dict.fromkeys(("V1", "V4"), (0.1, 0.6, 0.9))
    said = weights_sentences(with_text(facts(none, none)))
    assert said[:2] == [
        f"By weights: no difference of {group} from latents beyond chance in V1 and V4." for group in ("vision", "text")
    ]
    assert len(set(said)) == 4


def test_random_regions_are_enough_for_all_groups_or_for_none():
    """Of 100 the smallest p is 2 / 101, which one group of three regions would need 119 for, and two need 239."""
    least = dict.fromkeys(("V1", "V2", "V3"), (1.0, 2 / 101, 2 / 101))
    for n, few in ((100, True), (238, True), (239, False)):
        content = with_text(facts(least, least)) | {"n_random": n}
        assert [("set n_random to 239" in said) for said in weights_sentences(content)] == [few] * 4


def test_one_region_is_called_one():
    content = facts(cut({"V1": WEIGHTS["V1"]}, 3), {"V1": PATTERNS["V1"]}) | {"n_random": 1}
    assert "from chance in one region: set n_random to 39 or more" in weights_sentences(content)[0]


def test_too_few_random_regions_are_said_and_not_taken_for_no_difference():
    content = facts(WEIGHTS, PATTERNS) | {"n_random": 118}
    assert (
        weights_sentences(content)[0]
        == "By weights: 118 random regions are too few to tell vision from chance in 3 regions: set n_random to 119 or more."
    )
    assert "too few" not in weights_sentences(content | {"n_random": 119})[0]


@pytest.mark.parametrize("places", [True, False])
def test_the_page_says_what_chance_is(places):
    n = 3 if places else 2
    section = weights_section("weights", facts(cut(WEIGHTS, n), cut(PATTERNS, n)))
    said = " ".join(block.text for block in section.blocks if block.type == "text")
    assert ("Places of voxels are not known" in said) != places
    assert "labels are shuffled over voxels, 1,000 times" in said
    first = next(block for block in section.blocks if block.type == "table")
    cells = dict(zip(first.columns, first.rows[0].cells, strict=True))
    assert cells["vision − latents"].value == "−20.0 %"
    assert cells["p, vision"].value == "0.002"
    assert cells["p, vision"].interval == ("(0.300)" if places else "")


def test_one_group_alone_is_compared_with_nothing():
    content = facts(WEIGHTS, PATTERNS) | {"groups": ["latents"]}
    assert weights_section("weights", content).blocks[0].text.startswith("There is one target group alone")


DIFFERENCES = {"V1": {"vision": -0.1, "text": -0.2}, "<faces>": {"vision": 0.1, "text": 0.3}}


def test_the_figure_has_a_bar_for_each_region_and_group_and_names_them():
    svg = differences_panel(DIFFERENCES, ("vision", "text"), "latents", "a").svg
    assert svg == differences_panel(DIFFERENCES, ("vision", "text"), "latents", "a").svg
    for word in ("V1", "&lt;faces&gt;", "vision − latents", "text − latents", "+20 %"):
        assert word in svg


def test_the_figure_takes_error_bars_over_subjects_and_bands_of_chance():
    errors = {region: {"vision": 0.02, "text": 0.04} for region in DIFFERENCES}
    bands = {region: {"vision": (-0.05, 0.05), "text": (-0.05, 0.05)} for region in DIFFERENCES}
    plain, with_errors, with_bands = (
        differences_panel(DIFFERENCES, ("vision", "text"), "latents", "a", **given).svg
        for given in ({}, {"errors": errors}, {"bands": bands})
    )
    count = [len(re.findall("<path|<use", svg)) for svg in (plain, with_errors, with_bands)]
    assert count[1] > count[0]
    assert count[2] > count[0]
