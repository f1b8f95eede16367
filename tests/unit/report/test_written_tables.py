"""Tables and figures outside a page: what they hold is what the page holds, and nothing in them is read as a command."""

import csv
import io

import pytest

from braindiffuser.report.figures import metric_panel
from braindiffuser.report.sections import Cell, Figure, Figures, Row, Section, Table, Text
from braindiffuser.report.standalone_figures import standalone_svg
from braindiffuser.report.written_tables import table_csv, table_latex, table_markdown, written_files

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
        ["Metric", "subj_01", "subj_01, low", "subj_01, high", "Mean"],
        ["PixCorr ↑", "0.25", "0.20", "0.30", ""],
        [ODD, "a,b", "", "", '"x"\ny'],
    ]


def test_csv_says_what_stands_beside_a_value_and_has_minus_signs_that_programs_read(table):
    cells = (Cell(value="−1.5 %", interval="SEM 0.2 %"), Cell(value="1,234"))
    own = table.model_copy(update={"rows": (Row(label="V1", cells=cells),), "beside": "SEM"})
    assert table_csv(own).splitlines() == ['Metric,subj_01,"subj_01, SEM",Mean', "V1,-0.015,0.002,1234"]
    cells = (Cell(value="66.8 %", interval="64.0 – 70.1 %"), Cell(value="+0.3", interval="p < 0.001"))
    own = table.model_copy(update={"rows": (Row(label="V1", cells=cells),), "beside": "p"})
    assert table_csv(own).splitlines()[1] == "V1,0.668,0.640,0.701,0.3,p < 0.001"


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


@pytest.fixture
def named():
    """A table whose names are commands elsewhere."""
    rows = tuple(Row(label=name, cells=(Cell(value="−0.5", interval="−1.0 – 0.2"),)) for name in COMMANDS)
    return Table(caption="[here](http://x)", corner="[Metric]", columns=("=1+2",), rows=rows)


COMMANDS = ("=HYPERLINK(1)", "+1+2", "-2+3|x", "@SUM(1)", "[x](http://x)", "*y", "`z` &lt;")


def test_no_name_is_a_formula_of_a_spreadsheet(named):
    header, *lines = csv.reader(io.StringIO(table_csv(named)))
    assert header == ["[Metric]", "'=1+2", "'=1+2, low", "'=1+2, high"]
    assert [line[0] for line in lines] == [*(f"'{name}" for name in COMMANDS[:4]), *COMMANDS[4:]]
    assert all(line[1:] == ["-0.5", "-1.0", "0.2"] for line in lines)


def test_no_name_is_a_link_or_markup_in_markdown(named):
    written = table_markdown(named)
    assert "\\[x\\](http://x) | −0.5 [−1.0 – 0.2] |" in written
    assert "\\[here\\](http://x)" in written
    assert "\\`z\\` &amp;lt;" in written


def test_no_name_is_an_argument_of_what_ends_the_line_before(named):
    lines = table_latex(named).splitlines()
    assert [line[:4] for line in lines if "0.5" in line][-3:] == ["{}[x", "{}*y", "`z` "]
    assert lines[lines.index(r"\toprule") + 1].startswith("{}[Metric]")


def test_svg_stands_alone():
    written = standalone_svg(metric_panel([entry()], CONDITIONS, "x").svg)
    assert written.startswith("<?xml")
    assert "var(" not in written
    assert 'xmlns="http://www.w3.org/2000/svg"' in written
    assert 'width="440" height="' in written
    assert ' href="' not in written
    assert "M &lt;&amp;&gt;" in written


@pytest.mark.parametrize(
    ("svg", "words"),
    [
        ("<svg><path/></svg>", "says no size"),
        ('<svg viewBox="0 0 9 9"><path style="fill: var(--none)"/></svg>', "has the colour none"),
    ],
)
def test_what_a_page_alone_can_show_is_refused(svg, words):
    with pytest.raises(ValueError, match=words):
        standalone_svg(svg)


def test_files_are_named_by_their_sections(table):
    panel = metric_panel([entry()], CONDITIONS, "x")
    titles = ("Pixel metrics", "Two-way", "")
    first, second, untitled = (panel.model_copy(update={"title": title}) for title in titles)
    drawn, untitled = Figures(figures=(first, second)), Figures(figures=(untitled,))
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


def test_a_figure_without_its_drawing_is_named():
    stored = Figure.model_validate_json(metric_panel([entry()], CONDITIONS, "x").model_dump_json())
    with pytest.raises(ValueError, match="the figure lab-two-way-identification has no drawing"):
        written_files([Section(name="lab", title="L", blocks=(Figures(figures=(stored,)),))])
