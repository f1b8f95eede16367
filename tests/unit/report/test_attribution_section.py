"""Regions are named where test stimuli confirm the category and maps of exchanged labels are exceeded: constructed cases."""

import pytest

from braindiffuser.report.attribution_section import attribution_section


def region(mean=0.5, random=0.01, shuffled=0.01):
    nulls = {"random": random, "shuffled": shuffled}
    beside = {
        name: {"middle_95": [-0.1, 0.1], "p": p / 2, "p_corrected": p} for name, p in nulls.items() if p is not None
    }
    return {"mean": mean, **beside}


def facts_of(regions, low=0.2, kind="category", name="category face", n_shuffled=500):
    accuracy = (
        {"r": None, "low": None, "high": None} if low is None else {"r": low + 0.1, "low": low, "high": low + 0.2}
    )
    direction = {"name": name, "kind": kind, "group": "vision", "n_shown": 20}
    return {
        "regions": dict.fromkeys(regions, 20),
        "remarks": [],
        "n_shuffled": n_shuffled,
        "directions": [{**direction, "accuracy": accuracy, "regions": regions}],
    }


def said(*arguments, **entries):
    blocks = attribution_section("attribution", facts_of(*arguments, **entries), {}).blocks
    return [block.text for block in blocks if getattr(block, "style", "") == "verdict"]


def test_regions_beyond_exchanged_labels_are_said_with_the_largest_mean():
    (text,) = said({"V1": region(0.2), "faces": region(0.5), "places": region(0.9, shuffled=0.2)})
    assert text.startswith(
        "Category face: its map is beyond those of exchanged labels in V1 and faces, with the largest mean in faces;"
    )
    assert "r = 0.30" in text


def test_scattered_voxels_decide_nothing():
    """Regions are made of neighbours, which are alike: they are beyond scattered voxels, whatever they carry."""
    for chance in ({"random": 0.06}, {"random": None}):
        (text,) = said({"faces": region(**chance)})
        assert "beyond those of exchanged labels in faces alone;" in text


def test_names_keep_their_letters():
    (text,) = said({"MT+": region()}, name="category MT+ Street")
    assert text.startswith("Category MT+ Street: its map is beyond those of exchanged labels in MT+ alone;")


def test_within_exchanged_labels_it_is_said_that_none_is_told():
    none = "No category's map is told from exchanged labels in any region"
    assert said({"faces": region(shuffled=0.06)}) == [f"{none}."]
    facts = facts_of({"faces": region(shuffled=0.06)})
    facts["directions"] += facts_of({"faces": region()}, low=-0.1)["directions"]
    texts = [block.text for block in attribution_section("a", facts, {}).blocks if block.type == "text"]
    assert f"{none}, of the 1 of 2 categories whose r on the test set is above 0." in texts


@pytest.mark.parametrize(
    ("n", "regions", "counted", "needed"),
    [(0, ["V1"], "one region", 19), (18, ["V1"], "one region", 19), (38, ["V1", "V2"], "each of 2 regions alone", 39)],
)
def test_too_few_exchanges_are_said_and_not_taken_for_none(n, regions, counted, needed):
    text = f"{n} exchanges of labels are too few to tell {counted} from chance: set n_shuffled to {needed} or more."
    unsure = dict.fromkeys(regions, region(shuffled=0.06) if n else region(shuffled=None))
    assert said(unsure, n_shuffled=n) == [text]
    assert "too few" not in said(unsure, n_shuffled=needed)[0]
    first, second = said(dict.fromkeys(regions, region()), n_shuffled=n)  # what is told is told
    assert "its map is beyond" in first
    assert second == text


@pytest.mark.parametrize("low", [-0.01, 0.0, None])
def test_where_test_stimuli_do_not_show_it_no_region_is_named(low):
    assert said({"faces": region()}, low=low) == [
        "No region is named, since r on the test set is not above 0 for any category."
    ]


@pytest.mark.parametrize("kind", ["place", "feature"])
def test_of_places_and_features_nothing_is_said(kind):
    assert said({"faces": region()}, kind=kind) == []


def test_both_kinds_of_chance_stand_below_the_mean():
    blocks = attribution_section("attribution", facts_of({"faces": region(), "V1": {"mean": 0.1}}), {}).blocks
    table = next(block for block in blocks if block.type == "table" and block.corner.startswith("Region"))
    cells = {row.label: row.cells[0] for row in table.rows}
    assert cells["faces (20)"].interval == "random −0.10 – 0.10; exchanged −0.10 – 0.10"
    assert not cells["V1 (20)"].interval
