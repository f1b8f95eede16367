"""Verdicts follow from the intervals: constructed cases."""

import pytest

from braindiffuser.report.ablation_section import ablation_section, no_ablation_section
from braindiffuser.report.share_figure import Share, draw_shares


def facts_of(pairs, way="without by masking"):
    """Facts in which regions lose shares of layout and content as `loss` makes them."""
    regions = [
        {
            "name": name,
            "n_voxels": 10,
            "ablations": {
                way: {
                    "n_kept": 5,
                    "lost": dict(zip(("pixcorr", "clip"), pair, strict=True)),
                    "layout_minus_content": {},
                }
            },
        }
        for name, pair in pairs.items()
    ]
    return {
        "n_images": 5,
        "n_test_images": 40,
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


def loss(further, p=0.001, width=0.1, n=10):
    """A share of 50 %, and `further` beyond that of random sets."""
    random = {"n": n, "mean": 0.5, "lowest": 0.4, "highest": 0.6, "further": further, "p": p}
    beside = {**random, "low": further - width, "high": further + width}
    share = {"share": 0.5 + further, "low": 0.4 + further, "high": 0.6 + further}
    return {"difference": 0.1, "value": 0.2, **share, "random": beside if n else None}


NO_SHARE = {"difference": 0.1, "value": 0.2, "share": None, "low": None, "high": None, "random": None}
MORE, LESS = (loss(0.2), loss(-0.2)), (loss(-0.2), loss(0.2))
EVEN = loss(0.0, p=0.9), loss(0.0, p=0.9)
NOT_TOLD = "no region loses more of one score and less of the other"


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("without by masking", "early carries layout more than content; places carries content more than layout"),
        ("only by refitting", "places carries layout more than content; early carries content more than layout"),
    ],
)
def test_a_region_carries_what_is_lost_without_it_or_kept_with_it(way, said):
    (text,) = verdicts(facts_of({"early": MORE, "places": LESS, "V4": EVEN, "food": (loss(0.2), NO_SHARE)}, way))
    assert said in text
    assert "V4" not in text
    assert "food" not in text


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "near",
    [
        loss(0.004, p=0.1, width=0.001),  # beyond pictures, and not beyond other sets of voxels
        loss(0.004, p=0.001, width=0.01),  # beyond other sets, and not beyond pictures
        loss(0.004, p=0.06, width=0.001),  # one of two regions: Holm asks for .025 of one side
        loss(0.004, p=None, width=0.001),  # all sets lose the same
        loss(-0.2),  # less of both
        loss(0.0, p=0.9),  # at its floor, as random sets are
    ],
)
def test_both_excesses_must_be_shown(near, turned):
    """Less of the one score is lost, beyond all doubt; of the other hardly more."""
    pair = (near, loss(-0.2)) if turned else (loss(-0.2), near)
    (text,) = verdicts(facts_of({"early": pair, "places": EVEN}))
    assert text.startswith(f"Without the region, by masking: {NOT_TOLD}")


def test_what_costs_more_of_both_carries_neither_more():
    (text,) = verdicts(facts_of({"early": (loss(0.4), loss(0.1, width=0.05))}))
    assert NOT_TOLD in text


def test_regions_are_corrected_for_each_other():
    """Of one region p = .04 of one side suffices; of two, another one without an effect makes it .08."""
    unsure = loss(0.2, p=0.08), loss(-0.2, p=0.001)
    assert "early carries layout" in verdicts(facts_of({"early": unsure}))[0]
    for other in (EVEN, (loss(0.2, p=None), loss(-0.2))):
        assert NOT_TOLD in verdicts(facts_of({"early": unsure, "places": other}))[0]


def test_without_ten_random_sets_it_is_not_said():
    (text,) = verdicts(facts_of({"early": (loss(0.2, n=9), loss(-0.2, n=9))}))
    assert text.endswith("what regions carry is not said, since 9 random sets of voxels were drawn and 10 are needed.")
    (none,) = verdicts(facts_of({"early": (loss(0.2, n=0), loss(-0.2, n=0))}))
    assert "since 0 random sets" in none


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ((NO_SHARE, EVEN[1]), "PixCorr (0.300 with all voxels, 0.100 with none): its gain over no voxel is"),
        ((EVEN[0], NO_SHARE), "CLIP (0.900 with all voxels, 0.500 with none): its gain over no voxel is"),
        (
            (NO_SHARE, NO_SHARE),
            "PixCorr (0.300 with all voxels, 0.100 with none) and CLIP (0.900 with all voxels, 0.500 with none): their gains "
            "over no voxel are",
        ),
    ],
)
def test_a_score_without_shares_is_named_with_its_numbers_and_what_may_help(pair, said):
    """A gain that is large in the mean, and not above 0 in every resample of few pictures, is not called none."""
    facts = facts_of({"early": pair, "V4": pair})
    start = f"Without the region, by masking: what regions carry is not said, since there are no shares of {said} not above 0"
    few = f"{start} in every resample of 5 pictures"
    assert verdicts(facts) == [f"{few}; more of them (`n_images`) may show it."]
    assert verdicts(facts | {"n_test_images": 5}) == [f"{few}."]  # there are no more


def scores_table(facts):
    (table,) = (block for block in ablation_section("a", facts, {}, 0).blocks if block.type == "table")
    return {row.label: dict(zip(table.columns, row.cells, strict=True)) for row in table.rows}


def test_a_share_stands_beside_what_the_sentence_rests_on():
    cells = scores_table(facts_of({"V1": (loss(0.2, p=0.03), NO_SHARE), "V2": (loss(-0.2, p=None), loss(0.1, n=0))}))
    assert cells["V1"]["PixCorr"].value == "70 %"
    assert cells["V1"]["PixCorr"].interval == "60 % to 80 %; random 50 %, beyond it +20 % (+10 % to +30 %), p = 0.030"
    assert cells["V1"]["CLIP"].value == "–"
    assert (
        cells["V1"]["CLIP"].interval
        == "0.200; no share: with all voxels it is not better than with none in every resample"
    )
    assert cells["V2"]["PixCorr"].interval.endswith("random 50 %, beyond it −20 % (−30 % to −10 %)")
    assert cells["V2"]["CLIP"].interval == "50 % to 70 %"


def test_several_regions_are_listed():
    (text,) = verdicts(facts_of({"V1": MORE, "V2": MORE, "V3": MORE}))
    assert "V1, V2 and V3 carry layout more than content" in text


def test_shares_that_are_not_known_are_drawn_as_gaps():
    figure = draw_shares({"V1": [Share(None), Share(0.5, 0.4, 0.6, 0.1)], "$V_2$": [Share(-0.1)]}, "shares", "Shares")
    assert figure.startswith("<svg")
    assert "$V_2$" in figure
    nan = facts_of({"V1": (loss(0.2), NO_SHARE)})
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
