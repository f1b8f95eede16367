import io
import re
from html import unescape
from importlib.resources import files

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from braindiffuser.report.figures import (
    ABLATION_MARKS,
    CSS_COLOURS,
    MARKS,
    as_figure,
    as_png,
    as_svg,
    marks_of,
    metric_panel,
    noise_ceiling_panel,
)
from braindiffuser.report.sections import Figure as PageFigure
from braindiffuser.report.tables import COMPARED


def identification(value, low, high):
    facts = {"label": "CLIP", "higher_is_better": True, "chance": 0.5}
    return {**facts, "value": value, "ci95": [low, high]}


def texts(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_panel_prints_each_row_with_its_value():
    svg = metric_panel([identification(0.9, 0.88, 0.92)], COMPARED, "figure").svg
    assert "CLIP ↑" in texts(svg)
    assert "90.0 %" in texts(svg)
    assert set(COMPARED.values()) <= set(texts(svg))
    assert texts(svg).count("–") == len(COMPARED) - 1


@pytest.mark.parametrize("low", [0.0, 0.3, 0.6, 0.9])
def test_identification_axis_always_shows_chance(low):
    svg = metric_panel([identification(low + 0.05, low, low + 0.1)], {"reconstruction": "Both"}, "figure").svg
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


def test_every_condition_has_a_mark_of_its_own_while_there_are_enough():
    ablations = [f"without_{number}" for number in range(len(ABLATION_MARKS))]
    marks = marks_of([*ablations, *MARKS])
    assert list(marks) == [*ablations, *MARKS]
    assert len(set(marks.values())) == len(marks)
    assert {name: marks[name] for name in MARKS} == MARKS


def test_more_ablations_than_marks_begin_again():
    marks = marks_of([f"without_{number}" for number in range(len(ABLATION_MARKS) + 1)])
    assert list(marks.values()) == [*ABLATION_MARKS, ABLATION_MARKS[0]]


@pytest.mark.parametrize("n", [1, 3, 9])
def test_panel_draws_any_number_of_ablations(n):
    ablations = {f"without_{number}": f"Without {number}" for number in range(n)}
    entry = identification(0.9, 0.88, 0.92) | {"ablations": {name: 0.6 + 0.01 * k for k, name in enumerate(ablations)}}
    shown = texts(metric_panel([entry], {**ablations, "reconstruction": "Whole method"}, "figure").svg)
    assert shown[-2 * (n + 1) :: 2] == [*ablations.values(), "Whole method"]
    assert shown[-2 * n - 1 :: 2] == [*(f"{60 + k}.0 %" for k in range(n)), "90.0 %"]


def drawing(title="", colour=CSS_COLOURS["ink"]):
    figure = Figure(figsize=(4, 2))
    axes = figure.add_subplot()
    axes.plot([1, 2], "o", color=colour)
    axes.set_title(title)
    return figure


def test_svg_is_one_element_of_the_size_of_the_figure():
    svg = as_svg(drawing(), "mine", 'two "dots" & <more>')
    assert svg.startswith('<svg viewBox="0 0 288 144" role="img" aria-label="two &quot;dots&quot; &amp; &lt;more&gt;">')
    assert svg.endswith("</svg>")
    assert not re.search(r"<!|<\?|metadata|xlink|http", svg)


def test_same_drawing_same_bytes_and_another_name_shares_no_id():
    first, second = (as_svg(drawing(), name, "") for name in ("a", "b"))
    assert first == as_svg(drawing(), "a", "")
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for svg, known in zip((first, second), ids, strict=True):
        assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg)) <= known


def test_colours_of_the_page_become_variables_and_others_stay():
    assert "var(--ceiling)" in as_svg(drawing(colour=CSS_COLOURS["ceiling"]), "mine", "")
    assert "#123456" in as_svg(drawing(colour="#123456"), "mine", "")


def test_colours_are_those_of_the_pages_light_mode_and_no_two_are_the_same():
    style = (files("braindiffuser.report") / "assets" / "style.css.jinja").read_text(encoding="utf-8")
    light = style[: style.index("@media")]
    assert all(f"--{name}: {colour};" in light for name, colour in CSS_COLOURS.items())
    assert len(set(CSS_COLOURS.values())) == len(CSS_COLOURS)


def test_png_is_the_same_drawing_on_the_ground_of_the_page():
    figure = drawing(colour=CSS_COLOURS["ceiling"])
    svg = as_svg(figure, "mine", "")
    shown = np.asarray(Image.open(io.BytesIO(as_png(figure, 100))).convert("RGB"))
    height, width, _ = shown.shape
    assert 150 < height < 250
    assert 330 < width < 450
    assert (shown[[0, -1]] == shown[0, 0]).all()
    assert (shown[:, [0, -1]] == shown[0, 0]).all()
    found = {"#{:02x}{:02x}{:02x}".format(*colour) for colour in np.unique(shown.reshape(-1, 3), axis=0)}
    assert {CSS_COLOURS["paper"], CSS_COLOURS["ceiling"]} <= found
    assert as_svg(figure, "mine", "") == svg


def test_the_drawing_is_not_stored_with_the_section():
    made = as_figure(drawing(), "mine", "", "Dots")
    assert made.drawing is not None
    stored = PageFigure.model_validate_json(made.model_dump_json())
    assert stored.drawing is None
    assert stored == made
    assert hash(stored) == hash(made)
    assert stored != made.model_copy(update={"title": "Others"})
    assert set(made.model_dump()) == {"svg", "title", "note"}


def test_text_stays_text():
    svg = as_svg(drawing(title="</svg><script>alert(1)</script> -->"), "mine", "")
    assert "<script" not in svg
    assert "</svg><script>alert(1)</script> -->" in [unescape(text) for text in texts(svg)]
