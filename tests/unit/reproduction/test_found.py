"""From the facts of runs to findings and their page: constructed runs, whose numbers are known."""

import csv
import io
import re

import pytest

from braindiffuser.datasets.rois import CATEGORY_REGIONS, EARLY_REGIONS
from braindiffuser.report.finding_scores import position_sentences
from braindiffuser.report.finding_sections import RankedPictures, finding_sections, recordings_section
from braindiffuser.report.sections import Gallery, Table, Text
from braindiffuser.report.written_tables import table_csv, written_files
from braindiffuser.reproduction import claims
from braindiffuser.reproduction.found import findings
from braindiffuser.reproduction.page import print_findings

pytestmark = pytest.mark.usefixtures("types_unchecked_here")

METRICS = {"pixcorr": ("PixCorr", True, None), "clip": ("CLIP", True, 0.5), "swav": ("SwAV", False, None)}
LABELS = {"low_level_only": "Low level only", "without_text": "Without text"}


@pytest.fixture(autouse=True)
def few_exchanges(monkeypatch):
    """How often claims hold by chance has tests of its own."""
    monkeypatch.setattr(claims, "N_SHUFFLED", 20)


def metric(key, value):
    label, higher_is_better, chance = METRICS[key]
    return {
        "label": label,
        "is_low_level": key == "pixcorr",
        "higher_is_better": higher_is_better,
        "chance": chance,
        "value": value,
        "ci95": [value - 0.02, value + 0.02],
        "ablations": {"low_level_only": value - 0.1, "without_text": value - 0.05},
    }


def weights(scale, p):
    signs = {**dict.fromkeys(EARLY_REGIONS, -1), **dict.fromkeys(CATEGORY_REGIONS, 1)}
    regions = {}
    for place, (region, sign) in enumerate(signs.items()):
        own = {
            "differences": {"vision": sign * scale, "text": 1.5 * sign * scale},
            "p": {"vision": p, "text": p},
            "p_contiguous": None,
        }
        regions[region] = {"n_voxels": 1000 + place, **own, "patterns": own}
    return {"reference": "latents", "groups": ["latents", "vision", "text"], "regions": regions}


def run(subject, split="layout", averaged="", **changes):
    number = {"a": 0, "b": 1}[subject]
    return {
        "subject": subject,
        "split": split,
        "averaged_as": averaged or split,
        "dataset": "nsd",
        "simulated": False,
        "page": f"{subject}/{split}/report/index.html",
        "warnings": [],
        "counts": {"voxels": 1, "training pictures": 2, "test pictures": 3, "sessions": 4},
        "n_ablated": 3,
        "metrics": {key: metric(key, 0.25 + 0.1 * number) for key in METRICS},
        "missing": [],
        "notes": {},
        "without": [],
        "labels": LABELS,
        "weights": weights(0.1 + 0.1 * number, (0.0004, 0.5)[number]),
        "accuracy": {"text": {"r2": [-0.1 + 0.3 * number, -0.2, 0.3], "correlation": [0.3, 0.2, 0.4]}},
        "regions": {},
        "groups": {},
        "trained_on": {},
        **changes,
    }


def page(runs, galleries=None):
    found = findings(runs) | {"studies": {}}
    return {section.name: section for section in finding_sections(found, galleries or {}, {})}


def said(section):
    return " ".join(block.text for block in section.blocks if isinstance(block, Text))


def tables(section):
    return [block for block in section.blocks if isinstance(block, Table)]


def cells(table):
    return {row.label: dict(zip(table.columns, row.cells, strict=True)) for row in table.rows}


def test_metrics_and_networks_that_a_run_lacks_are_said_to_be_left_out():
    complete = page([run("a"), run("b")])["finding-2"]
    assert "Left out" not in said(complete)
    fewer = run("b", missing=["swav_resnet50"])
    fewer["metrics"] = {key: own for key, own in fewer["metrics"].items() if key != "swav"}
    section = page([run("a"), fewer])["finding-2"]
    assert (
        findings([run("a"), fewer])["unexpected"][-1] == "SwAV (swav) is left out, since it was not scored in b/layout."
    )
    assert "metrics of swav_resnet50" in said(section)
    assert "SwAV ↓" not in cells(tables(section)[0])


def test_ablations_are_called_as_on_the_pages_of_the_runs():
    table = tables(page([run("a"), run("b")])["finding-3"])[0]
    assert table.columns == ("Whole method", "Low level only", "Without text")


def test_every_p_stands_beside_its_region_and_subject():
    section = page([run("a"), run("b")])["finding-4"]
    means, by_subject = tables(section)
    first = cells(means)["V1"]["CLIP-Vision, weights"]
    assert (first.value, first.interval) == ("−15.0 %", "SEM 5.0 %")
    own = cells(by_subject)
    assert {name: cell.value for name, cell in own["V1: voxels"].items()} == {"a": "1,000", "b": "1,000"}
    for what in ("weights", "patterns"):
        row = own[f"places: CLIP-Text, {what}"]
        assert (row["a"].value, row["a"].interval) == ("+15.0 %", "p < 0.001")
        assert (row["b"].value, row["b"].interval) == ("+30.0 %", "p = 0.500")
    assert "two-sided" in by_subject.caption


def with_chance_of_neighbours(own, p):
    """Return weights whose p among regions of neighbouring voxels is known, another for patterns."""
    for entry in own["regions"].values():
        entry["patterns"] = {**entry["patterns"], "p_contiguous": dict.fromkeys(("vision", "text"), p / 2)}
        entry["p_contiguous"] = dict.fromkeys(("vision", "text"), p)
    return own


def test_the_p_of_a_subject_is_that_among_regions_of_neighbours_where_places_are_known():
    known = run("a", weights=with_chance_of_neighbours(weights(0.1, 0.001), 0.4))
    runs = [known, run("b", weights=with_chance_of_neighbours(weights(0.2, 0.001), 0.6))]
    by_subject = tables(page(runs)["finding-4"])[1]
    own = cells(by_subject)
    assert own["V1: CLIP-Text, weights"]["a"].interval == "p = 0.400"
    assert own["V1: CLIP-Text, patterns"]["b"].interval == "p = 0.300"
    assert (
        "against random regions of as many neighbouring voxels of the same subject, not corrected" in by_subject.caption
    )
    assert findings(runs)["weights"]["patterns"]["text"]["V1"]["p"] == {"a": 0.001, "b": 0.001}
    mixed = tables(page([known, run("b")])["finding-4"])[1]
    assert cells(mixed)["V1: CLIP-Text, weights"]["b"].interval == "p = 0.500"
    assert (
        "neighbouring voxels of the same subject; of b against random sets of as many scattered voxels" in mixed.caption
    )
    unknown = tables(page([run("a"), run("b")])["finding-4"])[1]
    assert "p: two-sided, against random sets of as many scattered voxels, beyond which regions of" in unknown.caption


def test_patterns_are_in_the_columns_of_patterns():
    own = weights(0.1, 0.5)
    for entry in own["regions"].values():
        entry["patterns"] = {**entry["patterns"], "differences": {"vision": -0.5, "text": 0.7}}
    row = cells(tables(page([run("a", weights=own)])["finding-4"])[0])["V1"]
    assert {name: cell.value for name, cell in row.items()} == {
        "CLIP-Vision, weights": "−10.0 %",
        "CLIP-Text, weights": "−15.0 %",
        "CLIP-Vision, patterns": "−50.0 %",
        "CLIP-Text, patterns": "+70.0 %",
    }


NULL = "This is a null, no result: its 9 training pictures were exchanged."


def test_what_the_pages_of_the_runs_say_first_stands_first_with_whose_it_is():
    runs = [run("a", warnings=[NULL]), run("b", warnings=[NULL, "Session 2 is odd."])]
    sections = page([*runs, run("a", "tau"), run("b", "tau")])
    assert next(iter(sections)) == "the-recording"
    assert [block.text for block in sections["the-recording"].blocks] == [
        f"a, layout, b, layout: {NULL}",
        "b, layout: Session 2 is odd.",
    ]
    assert [block.text for block in recordings_section(findings(runs)).blocks] == [NULL, "b: Session 2 is odd."]
    assert recordings_section(findings([run("a"), run("b")])) is None
    shown = []
    print_findings(findings(runs), shown.append)
    assert shown[:2] == [NULL, "b: Session 2 is odd."]


def gallery(order):
    made = Gallery(kinds={}, rows={}, n_ranked=0, ranking=order.partition(",")[0])
    return RankedPictures(made, order)


def test_the_score_that_orders_pictures_is_stated_for_each_subject_where_they_differ():
    same = said(page([run("a"), run("b")], dict.fromkeys("ab", gallery("SwAV, ties by PixCorr")))["finding-1"])
    assert same.count("ordered by their score in SwAV, ties by PixCorr, and cut at the top") == 1
    other = said(page([run("a"), run("b")], {"a": gallery("SwAV"), "b": gallery("CLIP")})["finding-1"])
    assert re.search(
        r"Subject a Not chosen .* score in SwAV, and cut.*Subject b Not chosen .* score in CLIP, and cut", other
    )


def test_numbers_of_pictures_are_told_apart_from_names_of_subjects():
    text = said(page([run("a", n_ablated=6), run("b", n_ablated=7)])["finding-3"])
    assert "on the same test pictures: 6 (a), 7 (b)." in text


def test_every_number_of_a_claims_sentence_is_in_the_file():
    found = findings([run("a"), run("b")])
    claims = [*found["ablations"]["claims"], *found["weights"]["claims"], *found["weights"]["pattern_claims"]]
    tested = [claim for claim in claims if claim["tested"]]
    assert tested
    for claim in tested:
        mean, low, high = claim["shuffled"]
        assert f"({claim['n_held']} of " in claim["sentence"]
        assert f" give {mean:.1f} [{low:.0f}–{high:.0f}]" in claim["sentence"]
    alone = run("a", weights=None)
    alone["metrics"] = {key: {**entry, "ablations": {}} for key, entry in alone["metrics"].items()}
    assert {claim["shuffled"] for claim in findings([alone])["ablations"]["claims"]} == {None}


def test_regions_that_a_subject_lacks_stay_empty():
    fewer = weights(0.2, 0.5)
    del fewer["regions"]["faces"]
    section = page([run("a"), run("b", weights=fewer)])["finding-4"]
    means, by_subject = tables(section)
    assert cells(by_subject)["faces: voxels"]["b"].value == "–"
    assert cells(means)["faces"]["CLIP-Vision, weights"].interval == ""


def test_features_are_scored_by_subject_and_over_subjects():
    (table,) = tables(page([run("a"), run("b")])["accuracy"])
    row = cells(table)["text, R²"]
    assert (row["a"].value, row["a"].interval, row["b"].value) == ("−0.100", "−0.200 – 0.300", "0.200")
    assert (row["Mean over subjects"].value, row["Mean over subjects"].interval) == ("0.050", "SEM 0.150")
    assert "accuracy" not in page([run("a", accuracy={}), run("b", accuracy={})])


def test_where_the_replication_is_an_average_the_page_names_the_run_that_is_shown():
    names = ("cluster_k5_0", "cluster_k5_1")
    averaged = [run(subject, split, "cluster_k5") for subject in "ab" for split in names]
    averaged[1]["weights"] = weights(0.7, 0.5)
    sections = page(averaged)
    text = "Shown is the first run of a subject: a cluster_k5_0, of 2 runs, b cluster_k5_0, of 2 runs."
    assert all(text in said(sections[name]) for name in ("finding-1", "accuracy"))
    assert cells(tables(sections["finding-4"])[1])["V1: CLIP-Vision, weights"]["a"].value == "−40.0 %"
    assert all(text not in said(section) for section in page([run("a"), run("b")]).values())


def test_published_values_lie_within_above_or_below():
    scores = findings([run("a"), run("b")])["scores"]
    first, _ = position_sentences(scores)
    assert first == (
        "Against “Table 1” (within: a subject's 95 % interval holds the published value): PixCorr 0.254: 1 within, 1 above; "
        "CLIP 91.5 %: 2 below; SwAV 0.423: 2 below."
    )


def test_files_of_tables_say_what_stands_beside_each_value():
    sections = page([run("a"), run("b")])
    headings = {
        name: [next(csv.reader(io.StringIO(table_csv(table)))) for table in tables(section)]
        for name, section in sections.items()
    }
    assert headings["finding-2"][0][:3] == ["Metric", "a", "a, low"]
    assert headings["finding-3"][0][2] == "Whole method, SEM"
    assert headings["finding-4"][0][2] == "CLIP-Vision, weights, SEM"
    assert headings["finding-4"][1][2] == "a (p)"
    written = written_files(list(sections.values()))
    assert {"figures/finding-4-weights-as-in-the-paper.png", "figures/finding-4-patterns.svg"} <= written.keys()


@pytest.mark.parametrize("n", [1, 2])
def test_bars_are_drawn_with_and_without_errors_over_subjects(n):
    runs = [run("a"), run("b")][:n]
    figures = next(block for block in page(runs)["finding-4"].blocks if block.type == "figures").figures
    assert [figure.title for figure in figures] == ["Weights, as in the paper", "Patterns"]
    assert all("CLIP-Vision − VDVAE" in figure.svg for figure in figures)


def test_a_profile_with_two_ssims_is_compared_on_the_papers_metrics():
    """Later papers print the two-dimensional SSIM; the claims count one SSIM."""
    runs = [run("a"), run("b")]
    for each in runs:
        each["metrics"] |= {
            key: {**metric("pixcorr", 0.4), "label": label}
            for key, label in (("ssim_column_mean", "SSIM"), ("ssim", "SSIM (2-D)"), ("effnet", "EffNet-B"))
        }
    found = findings(runs)
    assert found["scores"]["ssim_column_mean"]["original"] == {"Table 1": 0.356}
    assert found["scores"]["ssim"]["original"] == {"Re-scored by later papers": 0.365}
    assert found["scores"]["effnet"]["original"].keys() == {"Table 1", "Re-scored by later papers"}
    assert found["scores"]["effnet"]["position"].keys() == {"Table 1"}
    assert "SSIM (2-D)" not in found["ablations"]["claims"][0]["tested"]
    assert "of other weights of that network" in said(page(runs)["finding-2"])


def test_counts_other_than_the_papers_are_said_of_subjects_of_nsd():
    whole = {"voxels": 14278, "training pictures": 8859, "test pictures": 982, "sessions": 37}
    of_nsd = {**run("a"), "subject": "subj02", "counts": whole}
    assert findings([of_nsd])["unexpected"] == []
    fewer = {**of_nsd, "counts": {**whole, "training pictures": 8800}}
    assert findings([fewer])["unexpected"] == ["subj02 has 8,800 training pictures, where the paper has 8,859."]
    for other in ({"dataset": "laion_fmri"}, {"simulated": True}, {"subject": "subj03"}):
        assert findings([{**fewer, **other}])["unexpected"] == []


def test_ablations_stand_beside_the_whole_method_on_the_same_pictures():
    some = run("a")
    some["metrics"]["pixcorr"] |= {"ablated": {"n_images": 3, "value": 0.9, "ci95": None}}
    table = findings([some])["ablations"]["metrics"]
    assert table["pixcorr"]["mean"] == {
        "full": 0.9,
        "low_level_only": pytest.approx(0.15),
        "without_text": pytest.approx(0.2),
    }
    assert table["clip"]["mean"]["full"] == 0.25


def test_claims_on_patterns_are_of_patterns():
    turned = weights(0.1, 0.5)
    for entry in turned["regions"].values():
        own = {group: -value for group, value in entry["differences"].items()}
        entry["patterns"] = {"differences": own, "p": entry["p"], "p_contiguous": None}
    found = findings([run("a", weights=turned)])["weights"]
    assert [claim["verdict"] for claim in found["claims"][:2]] == ["holds", "holds"]
    assert [claim["verdict"] for claim in found["pattern_claims"][:2]] == ["does not hold", "does not hold"]


def test_a_split_of_several_runs_generalises_by_their_mean():
    runs = [
        run("a"),
        *(run("a", f"tau_{i}", "tau", metrics={"pixcorr": metric("pixcorr", v)}) for i, v in enumerate((0.2, 0.6))),
    ]
    found = findings(runs)["generalisation"]["pixcorr"]["splits"]
    assert found["tau"]["subjects"] == {"a": pytest.approx(0.4)}
    assert (found["layout"]["mean"], found["tau"]["n_runs"]) == (0.25, 2)


def test_scores_of_stand_in_networks_are_held_against_no_published_value():
    notes = {"Stand-in networks": "Not to be compared with published numbers."}
    text = said(page([run("a", notes=notes)])["finding-2"])
    assert "Stand-in networks: Not to be compared" in text
    assert "Against “Table 1”" not in text
    other = said(page([run("a", dataset="laion_fmri")])["finding-2"])
    assert other.startswith("Published values are of 982 test pictures of NSD, not of these.")
    assert "Against “Table 1”" in other


def test_what_a_recording_without_captions_cannot_have_is_said():
    sections = page([run("a", without=["text"]), run("b")])
    for name in ("finding-3", "finding-4"):
        assert "text was not decoded in a, since the recording has no captions" in said(sections[name])
    assert "captions" not in said(page([run("a"), run("b")])["finding-3"])
