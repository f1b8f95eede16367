"""Tables and figures outside a page: what they hold is what the page holds, and nothing in them is read as a command."""

import csv
import io
from importlib.resources import files

import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas
from PIL import Image

from braindiffuser.report.figures import CSS_COLOURS, as_svg, metric_panel
from braindiffuser.report.sections import Cell, Figure, Figures, Row, Section, Table, Text
from braindiffuser.report.standalone_figures import LIGHT, figure_png, standalone_svg
from braindiffuser.report.written_tables import save_files, table_csv, table_latex, table_markdown, written_files

ODD = r"50 % & $x_1$ \input{a} | <b> #1 ~ ^"


@pytest.fixture
def table():
    rows = (
        Row(label="PixCorr ↑", cells=(Cell(value="0.25", interval="0.20 – 0.30"), Cell(value="–"))),
        Row(label=ODD, cells=(Cell(value="a,b"), Cell(value='"x"\ny'))),
    )
    return Table(caption=f"Values {ODD}", corner="Metric", columns=("subj_01", "Mean"), rows=rows)


def entry(**changes):
    return {
        "label": "PixCorr",
        "higher_is_better": True,
        "chance": 0.5,
        "value": 0.3,
        "ci95": [0.2, 0.4],
        "ceiling": 0.5,
        "ceiling_ci95": [0.4, 0.6],
        "baselines": {"mean_image": 0.1, "shuffled_responses": 0.3},
        "baselines_ci95": {},
        **changes,
    }


CONDITIONS = {"reconstruction": "R", "ceiling": "C", "mean_image": "M <&>", "shuffled_responses": "S"}


def test_csv_gives_back_what_the_table_holds(table):
    read = list(csv.reader(io.StringIO(table_csv(table))))
    assert read == [
        ["Metric", "subj_01", "subj_01 (95 %)", "Mean"],
        ["PixCorr ↑", "0.25", "0.20 – 0.30", "–"],
        [ODD, "a,b", "", '"x"\ny'],
    ]


def test_markdown_keeps_every_text_in_its_cell(table):
    head, rule, first, second, _, caption = table_markdown(table).splitlines()
    assert (head, rule) == ("| Metric | subj\\_01 | Mean |", "| --- | ---: | ---: |")
    assert first == "| PixCorr ↑ | 0.25 [0.20 – 0.30] | – |"
    assert second.replace("\\|", "").count("|") == 4
    assert "<b>" not in second + caption


def test_latex_escapes_what_it_would_take_for_a_command(table):
    written = table_latex(table, "tab:scores")
    assert r"PixCorr $\uparrow$ & 0.25 {\scriptsize [0.20 -- 0.30]} & -- \\" in written
    body = written[written.index(r"\midrule") : written.index(r"\bottomrule")]
    assert r"50 \% \& \$x\_1\$ \textbackslash{}input\{a\} \textbar{} \textless{}b\textgreater{} \#1" in body
    assert r"\input" not in written
    assert r"\begin{tabular}{lrr}" in written
    assert r"\label{tab:scores}" in written
    for line in written.splitlines():
        if line.endswith(r"\\"):
            assert line.replace(r"\&", "").count("&") == 2


def test_colours_outside_a_page_are_those_of_its_light_mode():
    style = (files("braindiffuser.report") / "assets" / "style.css.jinja").read_text(encoding="utf-8")
    light = style[: style.index("@media")]
    assert LIGHT.keys() == CSS_COLOURS.keys()
    assert all(f"--{name}: {colour};" in light for name, colour in LIGHT.items())


def test_svg_stands_alone():
    written = standalone_svg(metric_panel([entry()], CONDITIONS, "x"))
    assert written.startswith("<?xml")
    assert "var(" not in written
    assert 'xmlns="http://www.w3.org/2000/svg"' in written
    assert 'width="440" height="' in written
    assert ' href="' not in written
    assert "M &lt;&amp;&gt;" in written


def canvas(colour):
    """A drawing of all that matplotlib's parts write as SVG."""
    figure = Canvas(figsize=(5, 4))
    axes = figure.subplots(2, 2).ravel()
    axes[0].bar(range(5), range(5), color=colour("diffusion"), alpha=0.5)
    axes[0].bar(range(5), [3, 3, 2, 1, 1], facecolor="none", edgecolor=colour("baseline"), hatch="//")
    axes[0].set_ylabel("counts")
    axes[1].scatter(np.arange(9), np.arange(9) ** 2, c=colour("ceiling"))
    axes[1].fill_between(range(9), range(9), alpha=0.3)
    axes[2].imshow(np.arange(12).reshape(3, 4))
    axes[2].text(1, 1, "turned", rotation=45, color=colour("paper"))
    axes[3].errorbar(range(3), range(3), yerr=1, fmt="s--", capsize=3, label="a")
    axes[3].plot([0, 2], [2, 0], ls=(0, (2, 2)), color=colour("ink"))
    axes[3].legend()
    figure.set_facecolor(colour("paper"))
    return figure


def test_png_is_the_drawing_that_matplotlib_makes_itself():
    svg = as_svg(canvas(CSS_COLOURS.get), "drawn", "a drawing")
    own, expected = io.BytesIO(figure_png(svg, 150)), io.BytesIO()
    canvas(LIGHT.get).savefig(expected, format="png", dpi=150, facecolor=LIGHT["paper"])
    made, direct = (np.asarray(Image.open(file).convert("RGB"), np.float64) for file in (own, expected))
    assert made.shape == direct.shape
    assert np.corrcoef(made.ravel(), direct.ravel())[0, 1] > 0.995
    assert np.abs(made - direct).mean() < 1


@pytest.mark.parametrize(
    ("svg", "words"),
    [
        ('<svg viewBox="0 0 9 9"><circle r="2"/></svg>', "<circle> of a figure cannot be drawn"),
        ('<svg viewBox="0 0 9 9"><path d="M 0 0 A 1 1 0 0 0 2 2"/></svg>', "path 'M 0 0 A"),
        ('<svg viewBox="0 0 9 9"><g transform="skewX(3)"><path d="M 0 0"/></g></svg>', "transformation 'skewX"),
        ('<svg viewBox="0 0 9 9"><g style="fill: red"><path d="M 0 0"/></g></svg>', "a style of its own"),
        ('<svg viewBox="0 0 9 9"><text><tspan>a</tspan></text></svg>', "has parts"),
        ('<svg viewBox="0 0 9 9"><use href="#none"/></svg>', "copies #none"),
        ('<svg viewBox="0 0 9 9"><path d="M 0 0" clip-path="url(#no)"/></svg>', "clipped by no"),
        ('<svg viewBox="0 0 9 9"><path d="M 0 0" style="fill: url(#no)"/></svg>', "filled with no"),
        ("<svg><path/></svg>", "says no size"),
        ('<svg viewBox="0 0 9 9"><path style="fill: var(--none)"/></svg>', "has the colour none"),
    ],
)
def test_what_would_be_drawn_in_part_is_refused(svg, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        figure_png(svg)


def test_files_are_named_by_their_sections(table):
    panel = metric_panel([entry()], CONDITIONS, "x")
    drawn = Figures(figures=(Figure(svg=panel, title="Pixel metrics"), Figure(svg=panel, title="Two-way")))
    untitled = Figures(figures=(Figure(svg=panel),))
    sections = [
        Section(name="scores", title="S", blocks=(Text(text="t"), table, table, drawn)),
        Section(name="more", title="M", blocks=(untitled,)),
    ]
    written = written_files(sections)
    names = {name.rpartition(".")[0] for name in written}
    assert names == {
        "tables/scores",
        "tables/scores-2",
        "figures/scores-pixel-metrics",
        "figures/scores-two-way",
        "figures/more",
    }
    assert {name.rpartition(".")[2] for name in written} == {"csv", "md", "tex", "svg", "png"}
    assert written["figures/more.png"].startswith(b"\x89PNG")


def test_a_figure_that_cannot_be_png_is_named_and_keeps_its_svg(table, tmp_path):
    odd = Figures(figures=(Figure(svg='<svg viewBox="0 0 9 9"><circle r="2"/></svg>'),))
    section = Section(name="lab", title="L", blocks=(table, odd))
    with pytest.raises(ValueError, match="<circle> of a figure"):
        written_files([section])
    assert save_files(tmp_path, [section]) == ["lab"]
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert names == {"tables/lab.csv", "tables/lab.md", "tables/lab.tex", "figures/lab.svg"}
