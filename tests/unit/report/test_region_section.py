import pytest

from braindiffuser.report.page import Header, render_page
from braindiffuser.report.region_section import regions_section
from braindiffuser.report.sections import PictureGroups, Section, Text

HEADER = Header(experiment="demo", subject="subj01", simulated=True, version="0.1")
FACTS = {"lengths": "from-training", "regions": [{"name": "V1", "n_voxels": 321}, {"name": "<V2>", "n_voxels": 1}]}
KINDS = ["wants_low_level", "wants_full"]


def texts(section):
    return [block.text for block in section.blocks if isinstance(block, Text)]


def test_each_region_shows_its_own_pictures_of_every_kind(coded, outline):
    section = regions_section("wants", FACTS, KINDS)
    images = outline(render_page(HEADER, [section], coded)).images()
    assert [coded.name(picture) for _, picture in images] == [(kind, number) for number in (0, 1) for kind in KINDS]
    assert [label for label, _ in images] == [
        "V1, low level",
        "V1, whole method",
        "<V2>, low level",
        "<V2>, whole method",
    ]
    (pictures,) = (block for block in section.blocks if isinstance(block, PictureGroups))
    assert [(group.name, group.note) for group in pictures.groups] == [("V1", "321 voxels"), ("<V2>", "1 voxel")]
    assert texts(section)[-1] == "From left to right: low level, whole method."
    assert Section.model_validate_json(section.model_dump_json()) == section


@pytest.mark.parametrize(
    ("lengths", "said"), [("from-training", "training targets"), ("as-published", "the authors' constant")]
)
def test_the_rule_of_lengths_is_said(lengths, said):
    text = texts(regions_section("wants", FACTS | {"lengths": lengths}, KINDS))[0]
    assert [rule in text for rule in ("training targets", "the authors' constant")] == [
        said == "training targets",
        said == "the authors' constant",
    ]


def test_no_regions_are_said_and_nothing_is_drawn(coded, outline):
    section = regions_section("wants", FACTS | {"regions": []}, [])
    assert "nothing to draw" in texts(section)[0]
    assert outline(render_page(HEADER, [section], coded)).images() == []


@pytest.mark.parametrize(
    ("kinds", "said"),
    [(["wants_full"], "whole method."), (["wants_a", "wants_b_c", "wants_full"], "a, b c, whole method.")],
)
def test_pictures_are_named_from_left_to_right(kinds, said):
    assert texts(regions_section("wants", FACTS, kinds))[-1] == f"From left to right: {said}"


def test_a_region_shows_what_it_is_made_of_and_its_ceiling_and_remarks_are_said():
    regions = [
        {"name": "core", "expression": "V1 & !ecc_0.5", "n_voxels": 12, "noise_ceiling": 33.4},
        {"name": "V2", "expression": "V2", "n_voxels": 3, "noise_ceiling": None},
    ]
    section = regions_section("wants", FACTS | {"regions": regions, "remarks": ["One.", "Two."]}, KINDS)
    (pictures,) = (block for block in section.blocks if isinstance(block, PictureGroups))
    assert [group.note for group in pictures.groups] == ["V1 & !ecc_0.5, 12 voxels, noise ceiling 33 %", "3 voxels"]
    assert texts(section)[-1] == "One. Two."
