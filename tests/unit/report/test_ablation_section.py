"""Verdicts follow from the intervals: constructed cases."""

import numpy as np
import pytest

from braindiffuser.report.ablation_section import ablation_section, no_ablation_section
from braindiffuser.report.share_figure import Share, draw_shares


def facts_of(differences, way="without by masking", crossed=True):
    """Facts in which layout loses more than random sets do where the difference is positive, and content less."""
    loss = {"difference": 0.1, "low": 0.4, "high": 0.6, "value": 0.2}

    def losses(difference):
        sign = np.sign(difference["random"]["further"]) if difference and difference["random"] else 1
        shares = {"pixcorr": 0.5 + 0.2 * sign, "clip": 0.5 - 0.2 * sign if crossed else 0.5 + 0.1 * sign}
        random = {"n": 10, "mean": 0.5, "lowest": 0.4, "highest": 0.6}
        return {key: {**loss, "share": share, "random": random} for key, share in shares.items()}

    regions = [
        {
            "name": name,
            "n_voxels": 10,
            "ablations": {way: {"n_kept": 5, "lost": losses(difference), "layout_minus_content": difference}},
        }
        for name, difference in differences.items()
    ]
    return {
        "n_images": 5,
        "calibration": "inductive",
        "layout": {"key": "pixcorr", "label": "PixCorr"},
        "content": {"key": "clip", "label": "CLIP"},
        "labels": {"pixcorr": "PixCorr", "clip": "CLIP"},
        "whole": {"pixcorr": 0.3, "clip": 0.9},
        "nothing": {"pixcorr": 0.1, "clip": 0.5},
        "remarks": ["No chosen voxel lies in words."],
        "regions": regions,
    }


def verdicts(facts):
    blocks = ablation_section("roi_ablation", facts, {}, 0).blocks
    return [block.text for block in blocks if getattr(block, "style", "") == "verdict"]


def apart(further, width, p=0.001, n=10):
    """A region whose difference of shares is 0.3, as those of random sets are, and `further` more."""
    random = {"n": n, "mean": 0.3, "lowest": 0.2, "highest": 0.4, "further": further, "p": p}
    beside = {**random, "low": further - width, "high": further + width}
    return {"value": 0.3 + further, "low": 0.2 + further, "high": 0.4 + further, "random": beside}


MORE, LESS, UNSURE = apart(0.4, 0.1), apart(-0.4, 0.1), apart(0.1, 0.3)


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


@pytest.mark.parametrize(
    "difference",
    [
        UNSURE,
        apart(0.0, 0.1),  # far from 0, but as random sets are
        apart(0.4, 0.1, p=0.03),  # one of two regions: Holm asks for .025
        apart(0.4, 0.1, p=None),
    ],
)
def test_what_random_sets_differ_by_too_says_nothing(difference):
    (text,) = verdicts(facts_of({"early": difference, "places": apart(0.0, 0.1, p=0.9)}))
    assert text.startswith("Without the region, by masking: no region is told from random voxels")


def test_what_costs_more_of_both_carries_neither_more():
    (text,) = verdicts(facts_of({"early": MORE}, crossed=False))
    assert "no region is told from random voxels" in text


def test_without_ten_random_sets_it_is_not_said():
    (text,) = verdicts(facts_of({"early": apart(0.4, 0.1, n=9)}))
    assert text.endswith("what regions carry is not said, since 9 random sets of voxels were drawn and 10 are needed.")
    (none,) = verdicts(facts_of({"early": {**MORE, "random": None}}))
    assert "since 0 random sets" in none
    (text,) = verdicts(facts_of({"early": None}))
    assert "have shares to compare" in text


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
    assert ablation_section("a", facts_of({"V1": MORE}), {}, 0).blocks[-1].text == "No chosen voxel lies in words."
