"""Bars of regions are drawn on a page and outside it."""

import pytest

from braindiffuser.report.region_bars import region_bars
from braindiffuser.report.sections import Figure
from braindiffuser.report.standalone_figures import figure_png, standalone_svg

VALUES = {"CLIP − VDVAE": {"V1": (-0.2, 0.05), "places": (0.1, None)}, "Text − VDVAE": {"V1": (-0.3, 0.1)}}


def test_every_region_and_group_is_drawn():
    svg = Figure(svg=region_bars(VALUES, "relative difference", "bars", "Differences")).svg
    assert all(word in svg for word in ("V1", "places", "CLIP − VDVAE", "Text − VDVAE", "relative difference"))
    assert standalone_svg(svg).startswith("<?xml")
    assert figure_png(svg).startswith(b"\x89PNG")


def test_the_same_numbers_give_the_same_bytes():
    assert region_bars(VALUES, "x", "bars", "d") == region_bars(VALUES, "x", "bars", "d")


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="there is no region to draw"):
        region_bars({}, "x", "bars", "d")
