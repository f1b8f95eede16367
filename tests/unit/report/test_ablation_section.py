"""Verdicts follow from the intervals: constructed cases."""

import pytest

from braindiffuser.report.ablation_section import ablation_section, no_ablation_section
from braindiffuser.report.share_figure import Share, draw_shares


def facts_of(differences, way="without by masking"):
    loss = {"difference": 0.1, "share": 0.5, "low": 0.4, "high": 0.6, "value": 0.2, "random": None}
    regions = [
        {
            "name": name,
            "n_voxels": 10,
            "ablations": {
                way: {"n_kept": 5, "lost": {"pixcorr": loss, "clip": loss}, "layout_minus_content": difference}
            },
        }
        for name, difference in differences.items()
    ]
    return {
        "n_images": 5,
        "calibration": "inductive",
        "layout": {"key": "pixcorr", "label": "PixCorr"},
        "content": {"key": "clip", "label": "CLIP"},
        "whole": {"pixcorr": 0.3, "clip": 0.9},
        "nothing": {"pixcorr": 0.1, "clip": 0.5},
        "empty": ["words"],
        "regions": regions,
    }


def verdicts(facts):
    blocks = ablation_section("roi_ablation", facts, {}, 0).blocks
    return [block.text for block in blocks if getattr(block, "style", "") == "verdict"]


MORE, LESS, UNSURE = ({"value": v, "low": v - w, "high": v + w} for v, w in ((0.4, 0.1), (-0.4, 0.1), (0.1, 0.3)))


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("without by masking", "early carries layout more than content; places carries content more than layout"),
        ("only by refitting", "places carries layout more than content; early carries content more than layout"),
    ],
)
def test_a_region_carries_what_is_lost_without_it_or_kept_with_it(way, said):
    (text,) = verdicts(facts_of({"early": MORE, "places": LESS, "V4": UNSURE, "food": None}, way))
    assert said in text


def test_intervals_that_hold_zero_say_nothing():
    (text,) = verdicts(facts_of({"early": UNSURE, "places": None}))
    assert text == "Without the region, by masking: no region's interval tells layout from content."


def test_several_regions_are_listed():
    (text,) = verdicts(facts_of({"V1": MORE, "V2": MORE, "V3": MORE}))
    assert "V1, V2 and V3 carry layout more than content" in text


def test_shares_that_are_not_known_are_drawn_as_gaps():
    figure = draw_shares({"V1": [Share(None), Share(0.5, 0.4, 0.6, 0.1)], "$V_2$": [Share(-0.1)]}, "shares", "Shares")
    assert figure.startswith("<svg")
    assert "$V_2$" in figure
    nan = facts_of({"V1": None})
    nan["regions"][0]["ablations"]["without by masking"]["lost"]["clip"] = {
        **{"difference": 0.0, "share": None, "low": None, "high": None, "value": 0.5},
        "random": None,
    }
    cells = [
        cell
        for block in ablation_section("a", nan, {}, 0).blocks
        if block.type == "table"
        for cell in block.rows[0].cells
    ]
    assert cells[-1].value == "–"


def test_regions_without_a_voxel_are_said():
    assert "words" in no_ablation_section("a", ["words"]).blocks[0].text
    assert ablation_section("a", facts_of({"V1": MORE}), {}, 0).blocks[-1].text == "No voxel in: words."
