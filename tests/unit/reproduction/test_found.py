"""From the facts of runs to findings and their page: constructed runs, whose numbers are known."""

import csv
import io

import pytest

from braindiffuser.datasets.rois import CATEGORY_REGIONS, EARLY_REGIONS
from braindiffuser.report.finding_scores import position_sentences
from braindiffuser.report.finding_sections import finding_sections
from braindiffuser.report.sections import Gallery, Table, Text
from braindiffuser.report.written_tables import table_csv, written_files
from braindiffuser.reproduction.found import findings

METRICS = {"pixcorr": ("PixCorr", True, None), "clip": ("CLIP", True, 0.5), "swav": ("SwAV", False, None)}
LABELS = {"low_level_only": "Low level only", "without_text": "Without text"}


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


def page(runs):
    found = findings(runs) | {"studies": {}}
    return {section.name: section for section in finding_sections(found, {}, {})}


def said(section):
    return " ".join(block.text for block in section.blocks if isinstance(block, Text))


def tables(section):
    return [block for block in section.blocks if isinstance(block, Table)]


def cells(table):
    return {row.label: dict(zip(table.columns, row.cells, strict=True)) for row in table.rows}


def test_the_score_that_orders_pictures_is_stated():
    found = findings([run("a"), run("b")]) | {"studies": {}}

    def shown(*metrics):
        galleries = {
            subject: Gallery(kinds={"run0.final": "whole"}, rows={}, n_ranked=3, ranking=ranking, tie=tie)
            for subject, (ranking, tie) in zip("ab", metrics, strict=True)
        }
        return said(next(each for each in finding_sections(found, galleries, {}) if each.name == "finding-1"))

    both = shown(("CLIP", "PixCorr"), ("CLIP", "PixCorr"))
    assert "ordered by their score in CLIP, ties by PixCorr, and cut at the top" in both
    assert both.endswith("Subject a Subject b")
    other = shown(("CLIP", "PixCorr"), ("PixCorr", ""))
    assert "Subject a, by their score in CLIP, ties by PixCorr Subject b, by their score in PixCorr" in other


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


def test_the_table_of_patterns_holds_patterns():
    """Weights and patterns of a region differ, so neither may stand for the other."""
    runs = [run("a"), run("b")]
    for each in runs:
        region = each["weights"]["regions"]["V1"]
        region["patterns"] = {**region["patterns"], "differences": {"vision": -0.5, "text": 0.7}}
    table = cells(tables(page(runs)["finding-4"])[0])
    assert table["V1"]["CLIP-Vision, patterns"].value == "−50.0 %"
    assert table["V1"]["CLIP-Text, patterns"].value == "+70.0 %"
    assert table["V1"]["CLIP-Vision, weights"].value == "−15.0 %"


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
        entry["patterns"] = {"differences": own, "p": entry["p"]}
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
