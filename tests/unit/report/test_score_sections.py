import json
import re
from dataclasses import replace
from html import unescape

import numpy as np
import pandas as pd
import pytest

from braindiffuser.report import score_sections as score_sections_module
from braindiffuser.report.figures import ABLATION_MARKS
from braindiffuser.report.page import Header, render_page
from braindiffuser.report.run_section import run_section
from braindiffuser.report.score_sections import noise_ceiling_section, score_sections
from braindiffuser.report.sections import ContactSheet, Facts, Figures, Gallery, GalleryRow, Headlines, Table, Text
from braindiffuser.report.tables import BASELINES, COMPARED

HEADER = Header(experiment="demo", subject="subj01", simulated=True, version="0.1")
NAMES = [f"without_{letter}" for letter in "abcdefgh"]


def blocks(section, kind):
    return [block for block in section.blocks if isinstance(block, kind)]


def by_name(sections):
    return {section.name: section for section in sections}


def texts(section, style=None):
    return [block.text for block in blocks(section, Text) if style in (None, block.style)]


def printed(entry, value):
    """Print a score as every reader would: identification in percent, all else with three decimals."""
    return "–" if value is None else f"{100 * value:.1f} %" if entry["chance"] else f"{value:.3f}"


def interval(entry, bounds):
    return " – ".join(printed(entry, bound) for bound in bounds).replace(" %", "", 1) if bounds else ""


def written(figures):
    return [unescape(text) for figure in figures.figures for text in re.findall(r"<text[^>]*>([^<]*)<", figure.svg)]


def labelled(names):
    return {name: name.replace("_", " ").capitalize() for name in names}


def test_sections_in_their_order(scored):
    sections = score_sections([scored(), scored(9, name="held_out", first=15)])
    assert [section.name for section in sections] == ["scores", "gallery", "test-set-held-out", "how-to-read"]
    assert [section.appendix for section in sections] == [False, False, False, True]
    sections = score_sections([scored(ablations=labelled(NAMES[:1]))])
    assert [section.name for section in sections] == ["scores", "ablations", "gallery", "how-to-read"]


def test_table_of_scores_holds_the_numbers_of_the_scores(scored):
    test = scored()
    (table,) = blocks(by_name(score_sections([test]))["scores"], Table)
    assert table.columns == (*COMPARED.values(), "Chance")
    assert table.main == "Reconstruction"
    for row, entry in zip(table.rows, test.scores["metrics"].values(), strict=True):
        expected = [(entry["value"], entry["ci95"]), (entry["ceiling"], entry["ceiling_ci95"])]
        expected += [(entry["baselines"][name], entry["baselines_ci95"][name]) for name in BASELINES]
        expected += [(entry["chance"], None)]
        cells = [(cell.value, cell.interval) for cell in row.cells]
        assert cells == [(printed(entry, value), interval(entry, bounds)) for value, bounds in expected]
        assert row.label == f"{entry['label']} {'↑' if entry['higher_is_better'] else '↓'}"


def test_table_of_ablations_holds_the_numbers_of_the_scores(scored):
    test = scored(ablations=labelled(NAMES[:3]))
    (table,) = blocks(by_name(score_sections([test]))["ablations"], Table)
    assert table.columns == (*labelled(NAMES[:3]).values(), "Whole method")
    for row, entry in zip(table.rows, test.scores["metrics"].values(), strict=True):
        values = [*(entry["ablations"][name] for name in NAMES[:3]), entry["value"]]
        assert [cell.value for cell in row.cells] == [printed(entry, value) for value in values]


def test_figures_hold_the_numbers_of_the_tables(scored):
    sections = by_name(score_sections([scored(ablations=labelled(NAMES[:2])), scored(9, name="more", first=15)]))
    for name in ("scores", "ablations", "test-set-more"):
        (table,), (figures,) = blocks(sections[name], Table), blocks(sections[name], Figures)
        shown = written(figures)
        assert [figure.title for figure in figures.figures] == ["Pixel metrics", "Two-way identification", "Distances"]
        n_conditions = len([column for column in table.columns if column != "Chance"])
        for row in table.rows:
            start = shown.index(row.label) + 1
            drawn = shown[start : start + 2 * n_conditions]
            assert drawn[::2] == list(table.columns[:n_conditions])
            assert drawn[1::2] == [cell.value for cell in row.cells[:n_conditions]]


def test_headlines_are_those_metrics_with_interval_ceiling_and_best_baseline(scored):
    test = scored()
    (headlines,) = blocks(score_sections([test])[0], Headlines)
    pixcorr, distance = headlines.items[0], headlines.items[3]
    assert pixcorr.label == "PixCorr\u00a0↑"
    assert pixcorr.value == "0.600"
    assert pixcorr.notes == ("95 %: 0.590 – 0.610", "ceiling 0.900", "best baseline 0.500")
    assert distance.label == "SwAV\u00a0↓"
    assert distance.notes[-1] == "best baseline 0.151"


def test_baselines_of_chosen_training_pictures_are_explained_by_what_they_were_chosen_by(scored):
    plain = scored()
    test = replace(
        plain,
        scores=plain.scores
        | {
            "chosen_by": {
                "nearest_training_picture": {"features": "vision"},
                "category_only": {"column": "kind", "n_categories": 7, "n_without_training_picture": 2},
            }
        },
    )
    explained = [blocks(by_name(score_sections([each]))["how-to-read"], Facts)[0].facts for each in (test, plain)]
    assert "features (vision)" in explained[0]["Nearest training picture"]
    category = explained[0]["True category alone"]
    assert "column kind, 7 categories" in category
    assert "told the truth" in category
    assert category.endswith("2 test pictures have no training picture of their category, and get any.")
    assert not {"Nearest training picture", "True category alone"} & explained[1].keys()


def test_headlines_are_those_that_the_profile_names(scored, entry):
    test = replace(scored(), headlines=("two", "one"))
    test.scores["metrics"].update({name: entry(name) for name in ("one", "two")})
    (headlines,) = blocks(score_sections([test])[0], Headlines)
    assert [item.label.split("\u00a0")[0] for item in headlines.items] == ["two", "one"]


@pytest.mark.parametrize("baselines", [(), ("mean_image",), ("mean_image", "shuffled_responses"), tuple(BASELINES)])
@pytest.mark.parametrize("ceiling", [None, 0.9])
def test_the_page_speaks_only_of_what_was_computed(scored, coded, outline, baselines, ceiling):
    sections = score_sections([scored(baselines=baselines, ceiling=ceiling)])
    scores, how = by_name(sections)["scores"], by_name(sections)["how-to-read"]
    (table,), (facts,) = blocks(scores, Table), blocks(how, Facts)
    said = " ".join(texts(scores))
    count = {0: "no baseline.", 1: "its baseline on", 2: "both baselines on", 5: "all five baselines on"}[
        len(baselines)
    ]
    assert count in texts(scores, "verdict")[0]
    ending = {0: "", 1: "one baseline.", 2: "two baselines.", 5: "five baselines."}[len(baselines)]
    assert texts(scores, "plain")[0].endswith(ending)
    assert ("ceiling" in said) == ("Ceiling" in facts.facts) == (ceiling is not None)
    assert ("Baselines" in facts.facts) == bool(baselines)
    assert "and for ." not in said
    assert len(table.columns) == 2 + len(baselines) + (ceiling is not None)
    assert len(outline(render_page(HEADER, sections, coded)).images()) == 12 * 3 + 15


@pytest.mark.parametrize(("n", "said"), [(15, False), (14, True)])
def test_pictures_of_ablations_are_said_to_be_some_only_where_they_are(n, said, scored):
    test = scored(15, ablations=labelled(NAMES[:1]))
    for entry in test.scores["metrics"].values():
        entry["ablated"] = {"n_images": n, "value": entry["value"], "ci95": entry["ci95"]}
    (note,) = texts(by_name(score_sections([test]))["ablations"], "note")
    assert (f"are of {n} of the 15 test pictures" in note) == said


@pytest.mark.parametrize("n", [0, 1, 2, 5, 8])
def test_any_number_of_ablations_is_told_apart(scored, coded, n):
    ablations = labelled(NAMES[:n])
    sections = by_name(score_sections([scored(ablations=ablations)]))
    render_page(HEADER, list(sections.values()), coded)
    assert ("ablations" in sections) == bool(n)
    if n:
        section = sections["ablations"]
        said = texts(section, "verdict")
        assert [line.split(":")[0] for line in said] == list(ablations.values())
        (figures,) = blocks(section, Figures)
        assert [text for text in written(figures) if text in ablations.values()][:n] == list(ablations.values())
        assert len(ABLATION_MARKS) == len(set(ABLATION_MARKS))


def test_verdicts_on_ablations_are_true(scored):
    test = scored(ablations=labelled(["without_a", "without_b", "without_c"]), half=0.02)
    entries = test.scores["metrics"].values()
    for entry in entries:
        for name, change in (("without_a", -0.3), ("without_b", 0.3), ("without_c", 0.0)):
            value = entry["value"] + (change if entry["higher_is_better"] else -change)
            entry["ablations"][name], entry["ablations_ci95"][name] = value, [value - 0.02, value + 0.02]
    labels = "PixCorr, EffNet-Lite0 last, CLIP and SwAV"
    assert texts(by_name(score_sections([test]))["ablations"], "verdict") == [
        f"Without a: what it leaves out earns its place; the whole method is better on {labels}, worse on none.",
        f"Without b: what it leaves out does not earn its place; the whole method is better on no metric, worse on {labels}.",
        "Without c: what it leaves out is not shown to earn its place; the whole method is better on no metric, worse on none, "
        f"undecided on {labels}.",
    ]


def test_gallery_ranks_by_the_score_that_it_states(scored):
    test = scored(15)
    gallery_section = by_name(score_sections([test]))["gallery"]
    (gallery,) = blocks(gallery_section, Gallery)
    assert gallery.ranking == "EffNet-Lite0 last"
    assert texts(gallery_section)[0].startswith(
        "Not chosen by hand: test pictures are ordered by their score in EffNet-Lite0 last, "
    )
    rows = [row for rows in gallery.rows.values() for row in rows]
    keys = ["efficientnet_lite0_last", "pixcorr", "number"]
    ranked = test.per_image.sort_values(keys, ascending=[False, False, True], ignore_index=True)
    places = [1, 2, 3, 4, 6, 7, 8, 9, 12, 13, 14, 15]
    assert [row.place for row in rows] == places
    assert [row.number for row in rows] == [ranked["number"][place - 1] for place in places]
    assert [row.stimulus_id for row in rows] == [ranked["stimulus_id"][place - 1] for place in places]
    assert len({row.stimulus_id for row in rows}) == len(rows)
    assert {name: len(rows) for name, rows in gallery.rows.items()} == {"Best": 4, "Median": 4, "Worst": 4}
    assert gallery.n_ranked == 15


def test_gallery_rows_print_the_scores_of_their_picture(scored):
    test = scored(15)
    (gallery,) = blocks(by_name(score_sections([test]))["gallery"], Gallery)
    by_number = test.per_image.set_index("number")
    for row in (row for rows in gallery.rows.values() for row in rows):
        expected = {
            entry["label"]: printed(entry, by_number.loc[row.number, key])
            for key, entry in test.scores["metrics"].items()
        }
        assert row.scores == expected


def test_gallery_rows_name_their_stimulus_where_it_has_a_name(scored, coded):
    bare = scored(15)
    ids = bare.per_image["stimulus_id"].tolist()
    named = replace(bare, names={number: f"scene <{number}>.png" for number in ids[:9]})
    (gallery,) = blocks(by_name(score_sections([named]))["gallery"], Gallery)
    rows = [row for own in gallery.rows.values() for row in own]
    assert {row.name != "" for row in rows} == {True, False}
    page = render_page(HEADER, score_sections([named]), coded)
    for row in rows:
        assert row.name == named.names.get(row.stimulus_id, "")
        assert (f"scene &lt;{row.stimulus_id}&gt;.png" in page) == (row.stimulus_id in named.names)
        stored = json.loads(row.model_dump_json())
        assert ("name" in stored) == bool(row.name)  # so that sections of recordings without names stay as they are
        assert GalleryRow.model_validate(stored) == row


def test_gallery_without_the_stated_score_ranks_by_another_and_says_so(scored):
    test = scored(15)
    del test.scores["metrics"]["efficientnet_lite0_last"]
    section = by_name(score_sections([test]))["gallery"]
    (gallery,) = blocks(section, Gallery)
    assert gallery.ranking == "SwAV"
    assert "their score in SwAV, ties by PixCorr" in texts(section)[0]
    best = gallery.rows["Best"][0]
    assert test.per_image.set_index("number").loc[best.number, "swav"] == test.per_image["swav"].min()


@pytest.mark.parametrize("n", [2, 3, 5, 11])
def test_few_stimuli_appear_once_each(scored, n):
    (gallery,) = blocks(by_name(score_sections([scored(n)]))["gallery"], Gallery)
    numbers = [row.number for rows in gallery.rows.values() for row in rows]
    assert len(numbers) == len(set(numbers)) == 3 * (n // 3)


def test_pictures_of_the_page_are_those_of_gallery_and_sheet(scored, coded, outline):
    sections = score_sections([scored(15), scored(9, name="more", first=250)])
    images = outline(render_page(HEADER, sections, coded)).images()
    named = [coded.name(picture) for label, picture in images if "stimulus" in label]
    galleries = [block for section in sections for block in blocks(section, Gallery)]
    assert named == [
        (kind, row.number)
        for gallery in galleries
        for rows in gallery.rows.values()
        for row in rows
        for kind in ("seen", "low_level", "final")
    ]
    assert len(named) == 3 * (12 + 3)


def test_contact_sheets_hold_all_stimuli_in_test_order_whatever_the_order_of_rows(scored):
    test = scored(15, first=40)
    shuffled = type(test)(
        **{**vars(test), "per_image": test.per_image.sample(frac=1, random_state=1, ignore_index=True)}
    )
    assert score_sections([shuffled]) == score_sections([test])
    (sheet,) = blocks(by_name(score_sections([test]))["gallery"], ContactSheet)
    table = test.per_image
    assert [strip.number for strip in sheet.strips] == list(range(40, 55))
    assert [strip.stimulus_id for strip in sheet.strips] == table["stimulus_id"].to_list()
    assert [strip.score for strip in sheet.strips] == [f"{100 * v:.1f} %" for v in table["efficientnet_lite0_last"]]


def test_contact_sheets_hold_every_score_flag_and_neighbour_of_their_own_pictures(scored):
    test = scored(4, first=7)
    test.per_image.loc[1, "pixcorr"] = np.nan
    names = {int(test.per_image["stimulus_id"][1]): "a shed.png"}
    told = replace(test, names=names, flags={8: ("a", "b"), 99: ("c",)}, neighbours={n: (n, 7) for n in range(7, 11)})
    (sheet,) = blocks(by_name(score_sections([told]))["gallery"], ContactSheet)
    entries = test.scores["metrics"]
    assert [metric.label for metric in sheet.metrics] == [entry["label"] for entry in entries.values()]
    assert [metric.in_percent for metric in sheet.metrics] == [entry["chance"] == 0.5 for entry in entries.values()]
    assert [metric.higher_is_better for metric in sheet.metrics] == [True, True, True, False]
    for strip, row in zip(sheet.strips, test.per_image.to_dict("records"), strict=True):
        assert strip.number == row["number"]
        assert strip.scores == tuple(None if np.isnan(row[key]) else row[key] for key in entries)
        assert strip.flags == (("a", "b") if strip.number == 8 else ())
        assert strip.neighbours == (strip.number, 7)
        assert strip.stimulus_name == ("a shed.png" if strip.number == 8 else "")
    assert (sheet.scored, sheet.scores_of, sheet.n_pictures) == ("final", "Reconstruction", 0)
    assert sheet.profile == told.scores["profile"] != ""
    of_others = score_sections([replace(test, scored_kind="none", scores_of="mean over subjects")])
    (other,) = blocks(by_name(of_others)["gallery"], ContactSheet)
    assert (other.scored, other.scores_of) == ("", "mean over subjects")


def test_of_very_many_pictures_evenly_spaced_ones_are_shown_and_that_is_said(scored, coded, monkeypatch):
    monkeypatch.setattr(score_sections_module, "MOST_STRIPS", 4)
    sections = score_sections([scored(16)])
    (sheet,) = blocks(by_name(sections)["gallery"], ContactSheet)
    assert [strip.number for strip in sheet.strips] == [0, 5, 10, 15]
    assert sheet.n_pictures == 16
    page = " ".join(render_page(HEADER, sections, coded).split())
    assert "<summary>4 of 16, evenly spaced: test pictures, in test order</summary>" in page


def test_sections_say_which_test_set_they_are_on_where_there_are_several(scored):
    one, several = score_sections([scored()]), score_sections([scored(), scored(9, name="held_out", first=15)])
    assert {section.test_set for section in one} == {""}
    assert {section.name: section.test_set for section in several} == {
        "scores": "test",
        "gallery": "test",
        "test-set-held-out": "held_out",
        "how-to-read": "",
    }


def test_further_test_sets_show_their_own_numbers_and_no_others(scored):
    words = ("Photographs of others", "They {n} are from elsewhere.")
    more = replace(scored(9, name="held_out", first=15, baselines=()), heading=words)
    for entry in more.scores["metrics"].values():
        entry["value"] = 0.123
    sections = by_name(score_sections([scored(), more]))
    section = sections.pop("test-set-held-out")
    assert section.title == "Photographs of others"
    assert texts(section)[0].startswith("9 further test pictures. They are scored among themselves")
    assert texts(section)[0].endswith("They {n} are from elsewhere.")
    (table,), (gallery,) = blocks(section, Table), blocks(section, Gallery)
    assert {row.cells[0].value for row in table.rows} == {"0.123", "12.3 %"}
    assert {row.number for rows in gallery.rows.values() for row in rows} < set(range(15, 24))
    assert not any("0.123" in other.model_dump_json() for other in sections.values())


@pytest.mark.parametrize("name", ["gallery", "run", "scores", "Lab's <own> Set", "how_to_read", "../x", "Ä", "{n}"])
def test_test_sets_may_have_any_name(scored, coded, name):
    sections = score_sections([scored(), scored(9, name=name, first=15)])
    manifest = {"uid": "u", "seed": 0, "versions": {}, "experiment": {}}
    page = render_page(HEADER, [*sections, run_section(manifest, {})], coded)
    assert f"Test set {name}" in unescape(page)
    assert "9 further test pictures. " in page


def test_what_was_left_out_is_said(scored):
    test = scored(profile="brain-diffuser-2023")
    (facts,) = blocks(score_sections([test])[-1], Facts)
    assert not facts.facts.keys() & {"Left out", "Stand-in networks"}
    test.scores["missing"].extend(["swav", "alexnet"])
    (facts,) = blocks(score_sections([test])[-1], Facts)
    assert "swav, alexnet" in facts.facts["Left out"]


def test_every_metric_is_explained_and_the_profiles_notes_are_there(scored):
    test = replace(scored(), notes={"Stand-in networks": "They stand in."})
    (facts,) = blocks(score_sections([test])[-1], Facts)
    assert facts.facts["Stand-in networks"] == "They stand in."
    assert "15 test pictures" in facts.facts["Intervals"]
    for entry in test.scores["metrics"].values():
        assert facts.facts[entry["label"]] == entry["description"]


def test_scores_without_identification_do_not_explain_it(scored):
    test = scored()
    for key in ("efficientnet_lite0_last", "clip"):
        del test.scores["metrics"][key]
    (facts,) = blocks(score_sections([test])[-1], Facts)
    assert "Two-way identification" not in facts.facts


def test_scores_of_one_metric_without_anything_else_make_a_page(scored, coded, outline):
    bare = {"label": "SwAV", "value": 0.4, "higher_is_better": False, "chance": None}
    table = pd.DataFrame({"number": [0, 1], "stimulus_id": [4, 5], "swav": [0.4, float("nan")]})
    test = type(scored())(
        "test", {"profile": "own", "metrics": {"swav": bare}}, table, {"final": "Drawn"}, {"a": "No a"}
    )
    sections = by_name(score_sections([test]))
    assert outline(render_page(HEADER, list(sections.values()), coded)).images()
    (line,) = texts(sections["ablations"], "verdict")
    assert line == "No a: not tested: no metric has intervals for both."
    (sheet,) = blocks(sections["gallery"], ContactSheet)
    assert [strip.score for strip in sheet.strips] == ["0.400", "–"]


@pytest.mark.parametrize(
    ("note", "ending"),
    [(None, "voxels."), ("for three trials", "voxels. For three trials."), ("For all.", "voxels. For all.")],
)
def test_noise_ceilings_are_drawn_and_empty_regions_named(note, ending):
    rois = {
        "V1": {"n_voxels": 1320, "median": 38.2, "quartiles": [20.1, 52.3]},
        "faces": {"n_voxels": 0, "note": "The scenes show no faces."},
        "words": {"n_voxels": 0},
    }
    section = noise_ceiling_section({"rois": rois, "note": note})
    assert texts(section)[0].endswith(ending)
    assert texts(section, "note") == ["faces is empty: The scenes show no faces.", "words is empty: no voxels"]
    (figures,) = blocks(section, Figures)
    assert written(figures)[-6:] == ["V1", "1,320", "faces", "empty", "words", "empty"]


def test_an_alarm_stands_above_the_scores_if_none_is_beyond_chance(scored):
    def verdicts(p_values):
        test = scored()
        for entry, p in zip(test.scores["metrics"].values(), p_values, strict=False):
            entry["p"] = p
        return texts(by_name(score_sections([test]))["scores"], "verdict")

    assert not any("misaligned" in text for text in verdicts([]))
    assert not any("misaligned" in text for text in verdicts([0.001, 0.5]))
    first, *_ = verdicts([0.3, 0.5])
    assert first.startswith("None of the 2 metrics is beyond chance (smallest p = 0.300; corrected for 2: p = 0.600)")


def test_both_directions_of_identification_are_a_folded_table(scored):
    test = scored()
    assert len(blocks(by_name(score_sections([test]))["scores"], Table)) == 1
    entry = test.scores["metrics"]["clip"]
    entry |= {"other_direction": {"direction": "per_reconstruction", "value": 0.9, "ci95": [0.8, 0.95]}, "p": 0.001}
    _, table = blocks(by_name(score_sections([test]))["scores"], Table)
    assert table.fold
    (row,) = table.rows
    assert [cell.value for cell in row.cells] == ["90.0 %", printed(entry, entry["value"]), "0.001"]
