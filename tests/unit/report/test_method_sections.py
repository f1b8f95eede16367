"""Laws of what is said of several methods: every number is in the scores, and verdicts follow adjusted p values alone."""

import csv
import io
import re

import pytest

from braindiffuser.report.method_sections import (
    comparison_table,
    kinds_of,
    method_sections,
    methods_table,
    programs_table,
    verdict_sentences,
)
from braindiffuser.report.page import Header, render_page
from braindiffuser.report.sections import Cell
from braindiffuser.report.written_tables import table_csv, table_latex, table_markdown

from .conftest import CodedPictures, Outline

N = 9
FACTS = {
    "pixcorr": ("PixCorr", None, True),
    "clip": ("CLIP", 0.5, True),
    "swav": ("SwAV", None, False),
}
VALUES = {"ours": (0.5, 0.9, 0.4), "<b>theirs": (0.25, 0.8, 0.3), "a | b": (0.125, 0.85, 0.5)}
COMPARED = {
    "<b>theirs": {"pixcorr": (-0.25, 0.01), "clip": (-0.1, 0.06), "swav": (-0.1, 0.05)},
    "a | b": {"pixcorr": (-0.375, 0.001), "clip": (-0.05, 1.0), "swav": (0.1, 0.02)},
}


@pytest.fixture
def scores():
    """What `evaluate_methods` returns, of planted numbers."""

    def entry(key, value):
        label, chance, higher = FACTS[key]
        return {
            "label": label,
            "description": f"Of {label}.",
            "chance": chance,
            "higher_is_better": higher,
            "value": value,
            "ci95": [value - 0.05, value + 0.0625],
            "baselines": {"shuffled_pictures": 0.0625},
            "baselines_ci95": {"shuffled_pictures": [0.03125, 0.1]},
        }

    return {
        "profile": "planted",
        "n_images": N,
        "seen": "pictures/seen",
        "against": "ours",
        "methods": {
            name: {
                "source": f"pictures/{name}",
                "metrics": {key: entry(key, value) for key, value in zip(FACTS, values, strict=True)},
                "per_image": {key: [(place * 4 + 2) % N / N for place in range(N)] for key in FACTS},
            }
            for name, values in VALUES.items()
        },
        "comparisons": {
            name: {
                key: {
                    "difference": difference,
                    "ci95": [difference - 0.03, difference + 0.03],
                    "p": p / 2,
                    "p_holm": p,
                }
                for key, (difference, p) in own.items()
            }
            for name, own in COMPARED.items()
        },
        "missing": {"alexnet": "it here"},
        "remarks": [],
        "unmatched": {},
        "names": [f"picture {number}" for number in range(N)],
    }


def alone(scores):
    return {**scores, "methods": {"ours": scores["methods"]["ours"]}, "comparisons": {}}


def test_every_method_has_a_column_with_its_own_values(scores):
    table = methods_table(scores)
    assert table.columns == ("ours", "<b>theirs", "a | b", "ours, shuffled", "Chance")
    assert table.main == "ours"
    assert [row.label for row in table.rows] == ["PixCorr ↑", "CLIP ↑", "SwAV ↓"]
    assert [[cell.value for cell in row.cells] for row in table.rows] == [
        ["0.500", "0.250", "0.125", "0.062", "–"],
        ["90.0 %", "80.0 %", "85.0 %", "6.2 %", "50.0 %"],
        ["0.400", "0.300", "0.500", "0.062", "–"],
    ]
    assert table.rows[0].cells[1].interval == "0.200 – 0.312"


def test_columns_keep_the_order_of_methods_whichever_is_the_reference(scores):
    table = methods_table({**scores, "against": "a | b"})
    assert table.columns == ("ours", "<b>theirs", "a | b", "a | b, shuffled", "Chance")
    assert [cell.value for cell in table.rows[0].cells[:3]] == ["0.500", "0.250", "0.125"]
    assert table.main == "a | b"


def test_differences_are_in_rows_with_both_p_values_and_a_verdict(scores):
    table = comparison_table(scores)
    assert [[row.label, *(cell.value for cell in row.cells)] for row in table.rows] == [
        ["<b>theirs: PixCorr ↑", "−0.250", "0.005", "0.010", "worse"],
        ["<b>theirs: CLIP ↑", "−10.0 pp", "0.030", "0.060", "not shown"],
        ["<b>theirs: SwAV ↓", "−0.100", "0.025", "0.050", "better"],
        ["a | b: PixCorr ↑", "−0.375", "< 0.001", "0.001", "worse"],
        ["a | b: CLIP ↑", "−5.0 pp", "0.500", "1.000", "not shown"],
        ["a | b: SwAV ↓", "+0.100", "0.010", "0.020", "worse"],
    ]
    assert table.rows[1].cells[0].interval == "−13.0 – −7.0 pp"
    assert "all 6 (Holm)" in table.caption
    assert "pp: percentage points" in table.caption


def test_differences_of_any_identification_are_in_percentage_points_and_of_nothing_else(scores):
    for own in scores["methods"].values():
        own["metrics"]["clip"]["chance"] = 0.02  # among fifty
    table = comparison_table(scores)
    assert table.rows[1].cells[0] == Cell(value="−10.0 pp", interval="−13.0 – −7.0 pp")
    assert "percentage points" in table.caption
    for own in scores["methods"].values():
        del own["metrics"]["clip"]
    for compared in scores["comparisons"].values():
        del compared["clip"]
    assert "percentage points" not in comparison_table(scores).caption


def test_notes_of_the_profile_are_on_the_page(scores):
    (explained,) = method_sections({**scores, "notes": {"Stand-in networks": "They are small."}}, [])[-1].blocks
    assert explained.facts["Stand-in networks"] == "They are small."


def test_sentences_say_what_the_table_says(scores):
    assert verdict_sentences(scores) == [
        "<b>theirs, compared with ours on the same pictures: better on SwAV; worse on PixCorr; no difference is shown on CLIP.",
        "a | b, compared with ours on the same pictures: worse on PixCorr and SwAV; no difference is shown on CLIP.",
    ]
    assert verdict_sentences(alone(scores)) == []


def test_programs_read_all_numbers_from_one_table(scores):
    rows = list(csv.DictReader(io.StringIO(table_csv(programs_table(scores)))))
    assert [row["Metric"] for row in rows] == list(FACTS)
    for row, key in zip(rows, FACTS, strict=True):
        for name, own in scores["methods"].items():
            assert float(row[name]) == pytest.approx(own["metrics"][key]["value"], abs=1e-3)
            assert float(row[f"{name}, high"]) == pytest.approx(own["metrics"][key]["ci95"][1], abs=1e-3)
        for name, compared in scores["comparisons"].items():
            assert float(row[f"{name} - ours"]) == pytest.approx(compared[key]["difference"], abs=1e-3)
            assert float(row[f"{name} - ours, low"]) == pytest.approx(compared[key]["ci95"][0], abs=1e-3)
            assert float(row[f"{name} - ours, p"]) == pytest.approx(compared[key]["p"], abs=1e-5)
            assert float(row[f"{name} - ours, p (Holm)"]) == pytest.approx(compared[key]["p_holm"], abs=1e-5)


def test_names_of_methods_end_no_cell_and_run_nothing(scores):
    written = table_markdown(methods_table(scores)) + table_markdown(comparison_table(scores))
    assert "<b>" not in written
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in written.splitlines() if line.startswith("|")} == {7, 6}
    assert r"\textless{}b\textgreater{}theirs" in table_latex(methods_table(scores))


def test_the_page_shows_seen_and_all_methods_side_by_side_in_the_order_of_the_reference(scores):
    sections = method_sections(
        scores | {"alarms": ["notes that doubt the pictures"]}, ["a note", "notes that doubt the pictures"]
    )
    assert [section.name for section in sections] == ["scores", "comparison", "gallery", "how-to-read"]
    (gallery,) = [block for block in sections[2].blocks if block.type == "gallery"]
    assert list(gallery.kinds.values()) == ["Seen", "ours", "<b>theirs", "a | b"]
    assert list(gallery.kinds)[1:] == list(kinds_of(scores))
    ranked = scores["methods"]["ours"]["per_image"]["swav"]
    assert [row.number for row in gallery.rows["Best"]] == sorted(range(N), key=lambda k: ranked[k])[:3]
    assert gallery.rows["Best"][0].name.startswith("picture ")
    header = Header(experiment="e", subject="", simulated=False, version="0", title="<b>Title", lead="Lead.")
    html = render_page(header, sections, CodedPictures())
    page = Outline(html)
    said = " ".join(" ".join(page.texts).split())
    assert "<b>Title Lead." in said
    assert said.index("notes that doubt the pictures.") < said.index("PixCorr") < said.index("a note.")
    assert "picture 0" in said
    shown = html[: html.rindex("<script>")]
    for words in ("Stimulus 0", "stimulus 0", "Test picture", "test order"):
        assert words not in shown
    for words in ("a note.", "a person saw", "Ozcelik", "by the SwAV of ours", "Metrics of alexnet"):
        assert (words in said) == (words not in ("a person saw", "Ozcelik")), words


def test_one_method_alone_has_no_comparison(scores):
    sections = method_sections(alone(scores), [])
    assert [section.name for section in sections] == ["scores", "gallery", "how-to-read"]
    assert methods_table(alone(scores)).columns == ("ours", "ours, shuffled", "Chance")
