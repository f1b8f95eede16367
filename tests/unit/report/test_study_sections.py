"""Sections on several subjects: every number is printed, and sentences follow from the numbers, tested on constructed cases."""

import html

import pandas as pd
import pytest

from braindiffuser.report.page import Header, render_page
from braindiffuser.report.score_sections import ScoredSet
from braindiffuser.report.sections import Links, Table, Text
from braindiffuser.report.study_sections import (
    ablated_sentences,
    ablation_sentence,
    ablations_section,
    average_sentence,
    average_verdicts,
    how_to_read_section,
    prevalence_sentences,
    study_sections,
    subjects_table,
    worth_sentence,
)
from braindiffuser.report.tables import format_score

NAMES = ("subj01", "a <b> & _c_", "subj05")
KEYS = {"pixcorr": ("PixCorr", True, None), "clip": ("CLIP", True, 0.5), "swav": ("SwAV", False, None)}


def loss(*values):
    return {
        "value": sum(values) / len(values),
        "ci95_subjects": [min(values), max(values)],
        "subjects": dict(zip(NAMES, values, strict=True)),
    }


def metric(place, key):
    label, higher_is_better, chance = KEYS[key]
    values = [0.31 + 0.1 * number + 0.01 * place for number in range(3)]
    return {
        "label": label,
        "description": f"What {label} is.",
        "citation": "",
        "higher_is_better": higher_is_better,
        "chance": chance,
        "bounds": [0.0, 1.0],
        "value": sum(values) / 3,
        "ci95": [0.35, 0.48],
        "ci95_subjects": [0.16, 0.66],
        "subjects": dict(zip(NAMES, values, strict=True)),
        "subjects_ci95": {name: [value - 0.02, value + 0.03] for name, value in zip(NAMES, values, strict=True)},
        "ceiling": 0.8,
        "ceiling_ci95": None,
        "baselines": {"mean_image": 0.2},
        "baselines_ci95": {},
        "baseline_wins": dict.fromkeys(NAMES, True),
        "ablations": {"without_text": 0.4},
        "ablations_ci95": {},
        "ablation_subjects": {"without_text": dict.fromkeys(NAMES, 0.4)},
        "ablation_losses": {"without_text": loss(0.1, 0.2, 0.3)},
        "subject_average": {"value": 0.55, "ci95": [0.5, 0.6], "gain": 0.1, "gain_ci95": [0.05, 0.15]},
        "prevalence": {
            "p_subjects": dict(zip(NAMES, (0.001, 0.02, 0.0004), strict=True)),
            "p_global": 1e-6,
            "p_majority": 0.13,
            "bound": 0.35,
            "largest_bound": 0.368,
            "alpha": 0.05,
            "n_permutations": 999,
            "n_images": 100 if key == "pixcorr" else 982,
        },
    }


@pytest.fixture
def joint():
    metrics = {key: metric(place, key) for place, key in enumerate(KEYS)}
    subjects = [
        {
            "name": name,
            "page": "../subj01/report/index.html" if name == "subj01" else "",
            "run": f"runs/{name}",
            "n_images": 982,
            "n_train": 8859,
            "n_voxels": 15724,
            "split": "layout",
        }
        for name in NAMES
    ]
    return {
        "profile": "p",
        "n_images": 982,
        "metrics": metrics,
        "test_sets": {"imagery": {"n_images": 9, "metrics": metrics, "heading": ["Imagined", "With closed eyes."]}},
        "shared_pictures": True,
        "subjects": subjects,
        "subject_average": {"spread": {"latents": 0.77}},
        "remarks": ["Runs differ in seed: 0 (subj01), 1 (subj05)."],
        "missing": ["swav_net"],
    }


@pytest.fixture
def scored(joint):
    table = pd.DataFrame(
        {"number": range(9), "stimulus_id": range(9), **{key: [0.1 * n for n in range(9)] for key in KEYS}}
    )
    kinds = {"seen": "Seen", **{f"member-{number}": name for number, name in enumerate(NAMES)}, "average": "Sub Avg"}
    return ScoredSet(
        name="test", scores=joint, per_image=table, kinds=kinds, ablations={}, notes={"Note": "Of the profile."}
    )


def page_of(joint, scored, coded):
    header = Header(experiment="study", subject="", simulated=False, version="1", n_subjects=3)
    return render_page(header, study_sections(joint, scored, {"without_text": "Without text"}), coded)


def test_every_value_of_every_subject_is_printed(joint):
    table = subjects_table(joint)
    assert table.columns == (*NAMES, "Mean", "95 % over subjects", "Sub Avg")
    for row, entry in zip(table.rows, joint["metrics"].values(), strict=True):
        printed = [cell.value for cell in row.cells]
        values = [*entry["subjects"].values(), entry["value"]]
        assert printed[:4] == [format_score(entry, value) for value in values]
        assert printed[5] == format_score(entry, entry["subject_average"]["value"])
        assert printed[4].startswith(format_score(entry, 0.16).removesuffix(" %"))
        assert all(cell.interval for cell in row.cells[:4])


@pytest.mark.parametrize("shared", [True, False])
def test_intervals_are_not_said_to_be_resampled(joint, shared):
    (facts,) = how_to_read_section({**joint, "shared_pictures": shared}, {}).blocks
    said = facts.facts["Intervals over pictures"]
    assert "resampl" not in said
    assert ("mean over the subjects" in said) == shared


def test_the_page_is_whole_and_names_are_shown_as_they_are(joint, scored, coded, outline):
    page = page_of(joint, scored, coded)
    text = html.unescape(page)
    assert "What 3 people saw" in text
    assert "<b>" not in page
    assert "a <b> & _c_" in "".join(outline(page).texts)
    for said in ("Imagined", "With closed eyes.", "Runs differ in seed", "swav_net", "Of the profile.", "latents 77 %"):
        assert said in text
    assert page.count('href="../subj01/report/index.html"') == 1


def test_sections_are_there_for_what_was_computed_alone(joint, scored):
    for entry in joint["metrics"].values():
        for name in ("subject_average", "prevalence"):
            entry.pop(name)
        entry["ablation_losses"] = {}
    joint |= {"subject_average": None, "test_sets": {}, "shared_pictures": False}
    sections = study_sections(joint, None, {"without_text": "Without text"})
    assert [section.name for section in sections] == ["scores", "subjects", "how-to-read"]
    assert "Sub Avg" not in subjects_table(joint).columns
    links = [block.links for section in sections for block in section.blocks if isinstance(block, Links)]
    assert links == [{"subj01": "../subj01/report/index.html"}]


def test_the_verdict_on_averaged_features_follows_from_paired_intervals(joint):
    for key, interval in {"pixcorr": [0.01, 0.1], "clip": [-0.1, 0.1], "swav": [-0.3, -0.1]}.items():
        joint["metrics"][key]["subject_average"]["gain_ci95"] = interval
    assert average_verdicts(joint) == {"pixcorr": "better", "clip": "overlap", "swav": "worse"}
    assert average_sentence(joint) == (
        "Averaging features beats the mean of the subjects on 1 of 3 metrics; it is worse on SwAV; undecided on CLIP (95 % "
        "intervals of paired differences over pictures)."
    )
    joint["metrics"]["clip"]["subject_average"]["gain_ci95"] = [0.0, 0.1]
    assert average_verdicts(joint)["clip"] == "overlap"


def test_the_verdict_on_an_ablation_asks_every_subject(joint):
    for key, values in {"pixcorr": (0.1, 0.2, 0.3), "clip": (0.1, -0.2, 0.3), "swav": (-0.1, -0.2, -0.3)}.items():
        joint["metrics"][key]["ablation_losses"]["without_text"] = loss(*values)
    section = next(
        own for own in study_sections(joint, None, {"without_text": "Without text"}) if own.name == "ablations"
    )
    table = next(block for block in section.blocks if isinstance(block, Table))
    assert table.beside == "95 %; subjects better"
    assert [row.cells[0].interval[-6:] for row in table.rows] == ["3 of 3", "2 of 3", "0 of 3"]
    assert ablation_sentence(joint, "without_text", "Without text") == (
        "Without text: in every subject the whole method is better on PixCorr and worse on SwAV, and not the same way in all on "
        "CLIP."
    )
    joint["metrics"]["pixcorr"]["ablation_losses"]["without_text"] = loss(0.0, 0.2, 0.3)
    assert "better on no metric" in ablation_sentence(joint, "without_text", "Without text")


def test_baselines_are_beaten_where_every_subject_beats_them(joint):
    assert worth_sentence(joint).startswith("On 3 of 3 metrics the reconstructions of all 3 subjects are better")
    joint["metrics"]["clip"]["baseline_wins"]["subj05"] = False
    assert worth_sentence(joint).startswith("On 2 of 3 metrics")
    assert worth_sentence(joint).endswith("not all on CLIP (2 of 3).")
    for entry in joint["metrics"].values():
        entry["baseline_wins"] = {}
    assert "compared with none" in worth_sentence(joint)


def test_prevalence_says_what_was_shown_and_what_could_be_at_most(joint):
    joint["metrics"]["swav"]["prevalence"]["bound"] = None
    first, most, test = prevalence_sentences(joint)
    assert first.startswith(
        "On 2 of 3 metrics reconstructions fit their own test pictures better than others in at least 35 %"
    )
    assert "37 % is the most that can be shown, however clear the effect: five subjects or more are needed" in most
    assert "permuted over 100 of 982 test pictures" in test
    for entry in joint["metrics"].values():
        entry["prevalence"] |= {"largest_bound": 0.6, "bound": None, "n_images": 982}
    first, most, test = prevalence_sentences(joint)
    assert first.startswith("On 0 of 3 metrics reconstructions fit their own test pictures better than others (minimum")
    assert most.endswith("60 % is the most that can be shown, however clear the effect.")
    assert "evenly spaced" not in test


@pytest.mark.parametrize(("n", "is_said"), [(2, True), (4, True), (5, False)])
def test_few_subjects_are_said(joint, n, is_said):
    names = [f"s{number}" for number in range(n)]
    joint["subjects"] = [{**joint["subjects"][0], "name": name} for name in names]
    for entry in joint["metrics"].values():
        entry["subjects"] = dict.fromkeys(names, 0.4)
        entry["subjects_ci95"] = {name: [0.3, 0.5] for name in names}
        entry["prevalence"]["p_subjects"] = dict.fromkeys(names, 0.01)
        entry["ablation_losses"] = {}
    section = study_sections(joint, None, {})[0]
    text = " ".join(block.text for block in section.blocks if isinstance(block, Text))
    assert ("subjects an interval over subjects is wide" in text) == is_said


def test_p_values_and_empty_bounds_are_printed(joint):
    joint["metrics"]["clip"]["prevalence"]["bound"] = None
    sections = study_sections(joint, None, {})
    (table,) = (
        block
        for section in sections
        if section.name == "prevalence"
        for block in section.blocks
        if isinstance(block, Table)
    )
    assert [cell.value for cell in table.rows[0].cells] == ["0.001", "0.020", "< 0.001", "< 0.001", "0.130", "35 %"]
    assert table.rows[1].cells[-1].value == "–"


@pytest.mark.parametrize("n_images", [50, None])
def test_means_of_ablations_stand_beside_the_whole_method_on_the_same_pictures(joint, n_images):
    assert ablated_sentences(joint) == []
    for entry in joint["metrics"].values():
        numbers = dict(zip(NAMES, (50, 50 if n_images else 60, 50), strict=True))
        entry["ablated"] = {"n_images": n_images, "n_images_subjects": numbers, "value": 0.777, "ci95": None}
    section = ablations_section(joint, {"without_text": "Without text"})
    means = section.blocks[-1]
    assert [row.cells[-1].value for row in means.rows] == [format_score(e, 0.777) for e in joint["metrics"].values()]
    (said,) = ablated_sentences(joint)
    assert said in [getattr(block, "text", "") for block in section.blocks]
    assert ("are of 50 test pictures of each subject" if n_images else "60 (a <b> & _c_)") in said
