import re

import pytest

from braindiffuser.report.figures import metric_panel, noise_ceiling_panel
from braindiffuser.report.tables import COMPARED


def identification(value, low, high):
    facts = {"label": "CLIP", "higher_is_better": True, "chance": 0.5}
    return {**facts, "value": value, "ci95": [low, high]}


def texts(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_panel_prints_each_row_with_its_value():
    svg = metric_panel([identification(0.9, 0.88, 0.92)], COMPARED, "figure")
    assert "CLIP ↑" in texts(svg)
    assert "90.0 %" in texts(svg)
    assert set(COMPARED.values()) <= set(texts(svg))
    assert texts(svg).count("–") == len(COMPARED) - 1


@pytest.mark.parametrize("low", [0.0, 0.3, 0.6, 0.9])
def test_identification_axis_always_shows_chance(low):
    svg = metric_panel([identification(low + 0.05, low, low + 0.1)], {"reconstruction": "Both"}, "figure")
    assert "50 %" in texts(svg)


def test_ids_carry_the_name_and_nothing_is_dated():
    svg = noise_ceiling_panel({"V1": {"n_voxels": 3, "median": 20.0, "quartiles": [10.0, 30.0]}}, "regions")
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert ids
    assert all(identifier.startswith("regions-") for identifier in ids)
    assert "metadata" not in svg
    assert "http" not in svg


def test_empty_region_keeps_its_row():
    svg = noise_ceiling_panel(
        {"faces": {"n_voxels": 0}, "V1": {"n_voxels": 1200, "median": 1, "quartiles": [0, 2]}}, "r"
    )
    assert texts(svg)[-4:] == ["faces", "empty", "V1", "1,200"]
