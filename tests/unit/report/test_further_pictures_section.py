"""What the page says of categories follows from p, corrected over regions: constructed cases."""

import numpy as np
import pytest

from braindiffuser.analyses.region_pictures import summarise_measures
from braindiffuser.report.further_pictures_section import MEASURES, _expected_said, further_blocks

EXPECTED = {"places": "building", "bodies": "animal", "food": "food", "words": "writing", "faces": "person"}


def measured(n_higher, n=99, regions=EXPECTED):
    """Regions of which so many of n random sets show the expected category as much."""
    found = {}
    for region, higher in zip(regions, n_higher, strict=True):
        null = np.where(np.arange(n) < higher, 0.6, 0.1)
        found[region] = summarise_measures({EXPECTED[region]: np.full(4, 0.5)}, {EXPECTED[region]: null})
    return found


def told(said):
    return [sentence.split()[2] for sentence in said if " more often than those of scattered voxels" in sentence]


def test_p_is_corrected_over_regions():
    """Of five, p = .01 is the largest that stands alone; the next may be .0125, .02 would do without correction."""
    assert told(_expected_said(EXPECTED, measured([0, 50, 50, 50, 50]))) == ["places"]
    assert told(_expected_said(EXPECTED, measured([1, 50, 50, 50, 50]))) == []
    assert told(_expected_said(EXPECTED, measured([0, 1, 50, 50, 50]))) == ["places"]
    assert told(_expected_said({"places": "building"}, measured([4], regions=["places"]))) == ["places"]


def test_p_stands_beside_what_is_said():
    first, second, *_ = _expected_said(EXPECTED, measured([0, 20, 50, 50, 50]))
    assert first == (
        "Pictures of places show the category building more often than those of scattered voxels, which regions of neighbours "
        "are easily beyond (mean probability 0.50, of 99 random sets 0.10; p = 0.010 before correction over 5 regions)."
    )
    assert second.startswith("Pictures of bodies are not told from those of scattered voxels by the category animal")
    assert "p = 0.210 before" in second
    (alone,) = _expected_said({"places": "building"}, measured([0], regions=["places"]))
    assert alone.endswith("p = 0.010).")


@pytest.mark.parametrize(("n", "n_regions", "needed"), [(98, 5, 99), (20, 5, 99), (1, 1, 19), (38, 2, 39)])
def test_too_few_sets_to_show_it_are_said(n, n_regions, needed):
    names = list(EXPECTED)[:n_regions]
    (said,) = _expected_said({name: EXPECTED[name] for name in names}, measured([0] * n_regions, n, names))
    assert f"is not said, since {n} random sets of voxels were drawn and" in said
    assert said.endswith(f"need {needed}.") or said.endswith(f"needs {needed}.")


def test_regions_that_are_one_more_random_set_are_seldom_said_to_show_it():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        made = {
            region: summarise_measures({group: rng.beta(0.5, 2, 1)}, {group: rng.beta(0.5, 2, 99)})
            for region, group in EXPECTED.items()
        }
        hits += bool(told(_expected_said(EXPECTED, made)))
    assert hits / 300 < 0.08


def test_without_random_sets_nothing_is_said():
    alone = {"places": summarise_measures({"building": np.full(4, 0.5)}, None)}
    assert _expected_said(EXPECTED, alone) == []


@pytest.mark.parametrize(("n", "outside"), [(5, "37 %"), (20, "14 %"), (999, "5 %")])
def test_it_is_said_how_much_the_middle_of_few_sets_holds(n, outside):
    rng = np.random.default_rng(0)
    keys = [*MEASURES, "building"]
    own = summarise_measures({key: np.zeros(4) for key in keys}, {key: rng.standard_normal(n) for key in keys})
    facts = {"measures": {"full": {"V1": own}}, "expected": {}, "n_samples": 4, "categories": "", "regions": ["V1"]}
    text = next(block.text for block in further_blocks("roi", facts, []) if block.type == "text")
    assert f"of {n} random sets of scattered voxels" in text
    assert f"one more such set lies outside about {outside} of the time" in text


def test_a_dot_is_not_said_to_be_rare_where_regions_are_of_neighbours():
    """Where maps are smooth every pair has one, though maps know no region."""
    even = {"cosine": [[1.0, 0.5], [0.5, 1.0]], "p_less_alike": [[1.0, 0.01], [0.01, 1.0]]}
    facts = {"regions": ["V1", "V2"], "likeness": {"vision": even}}
    (figures,) = further_blocks("roi", facts, [])
    note = figures.figures[0].note
    assert "random sets of scattered voxels" in note
    assert "Regions of neighbours, which are alike within each, are easily beyond these" in note
    assert "twenty" not in note


def test_one_more_set_lies_outside_as_often_as_is_said():
    draws = np.random.default_rng(0).standard_normal((4000, 21))
    low, high = np.quantile(draws[:, 1:], [0.025, 0.975], axis=1)
    assert ((draws[:, 0] < low) | (draws[:, 0] > high)).mean() == pytest.approx(0.14, abs=0.02)


def test_tables_are_folded_below_the_sentences_that_they_hold_the_numbers_of():
    measures = {
        region: {**{key: {"value": 0.5} for key in MEASURES}, "building": found[EXPECTED[region]]}
        for region, found in measured([0] * 5).items()
    }
    facts = {
        "regions": list(EXPECTED),
        "contrasts": [],
        "n_samples": 1,
        "strengths": [],
        "measures": {"full": measures},
        "expected": {"places": "building"},
        "categories": "",
        "likeness": {},
    }
    tables = [block for block in further_blocks("r", facts, []) if block.type == "table"]
    assert [table.fold for table in tables] == [f"{table.caption}: the numbers" for table in tables]
    assert len(tables) == 2
