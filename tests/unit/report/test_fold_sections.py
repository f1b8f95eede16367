import pytest

from braindiffuser.report.fold_sections import CONDITIONS, NULL, conditions_of, fold_sections, null_sentence
from braindiffuser.report.page import Header, render_page
from braindiffuser.report.recording_section import joint_recording_section, warnings_of
from braindiffuser.report.sections import Links, Section, Table, Text
from braindiffuser.report.tables import format_score

SIZES = (5, 4, 6)


@pytest.fixture
def joint(scored):
    """Numbers of three folds with two repetitions of a null, and their pictures."""

    def make(n_nulls=2, null_below=0.3, ablations=None):
        pictures = scored(sum(SIZES), ablations=ablations)
        for place, entry in enumerate(pictures.scores["metrics"].values()):
            entry |= {"folds": [0.31 + place / 50, 0.42, 0.53], "folds_ci95": [[0.11, 0.97], [0.12, 0.96], None]}
            if n_nulls:
                low = entry["value"] - null_below if entry["higher_is_better"] else entry["value"] + null_below
                entry["baselines"][NULL], entry["baselines_ci95"][NULL] = low, [low - 0.01, low + 0.01]
                entry["null"] = {"values": [low + 0.001 * n for n in range(n_nulls)], "p_value": 1 / (1 + n_nulls)}
        runs = [
            {"page": f"fold-{n}/report/index.html", "uid": f"u{n}", "n_images": size} for n, size in enumerate(SIZES)
        ]
        nulls = [
            [run | {"page": f"shuffled-{seed}/{run['page']}", "shuffled": seed} for run in runs]
            for seed in range(n_nulls)
        ]
        further = {"metrics": pictures.scores["metrics"], "n_images": 9}
        facts = {
            "n_images": sum(SIZES),
            "test_sets": {"imagery": further},
            "folds": [run | {"shuffled": None} for run in runs],
            "nulls": nulls,
            "seeds": {"experiment": 7, "split": 3, "shuffled": list(range(n_nulls))},
        }
        pictures.scores.update(facts)
        return pictures

    return make


def blocks(sections, kind):
    return [block for section in sections for block in section.blocks if isinstance(block, kind)]


def test_every_value_of_every_fold_and_repetition_is_printed(joint):
    scored = joint()
    tables = blocks(fold_sections(scored.scores, scored), Table)
    main, folds, nulls, _ = tables
    assert main.columns == (*(CONDITIONS[name] for name in conditions_of(scored.scores)), "Chance")
    assert folds.columns == ("Fold 0 (5)", "Fold 1 (4)", "Fold 2 (6)")
    assert nulls.columns == ("Reconstruction", "Null 0", "Null 1", "p")
    for place, entry in enumerate(scored.scores["metrics"].values()):
        printed = [cell.value for cell in folds.rows[place].cells]
        assert printed == [format_score(entry, value) for value in entry["folds"]]
        printed = [cell.value for cell in nulls.rows[place].cells]
        assert printed == [format_score(entry, value) for value in (entry["value"], *entry["null"]["values"])] + [
            "0.333"
        ]
        assert format_score(entry, entry["baselines"][NULL]) in [cell.value for cell in main.rows[place].cells]


def test_intervals_are_not_said_to_be_resampled(joint):
    scored = joint()
    said = " ".join(section.model_dump_json() for section in fold_sections(scored.scores, scored))
    assert "jackknife" in said
    assert "resampl" not in said


def test_all_runs_are_linked(joint):
    scored = joint()
    links = [path for block in blocks(fold_sections(scored.scores, scored), Links) for path in block.links.values()]
    runs = [*scored.scores["folds"], *(run for null in scored.scores["nulls"] for run in null)]
    assert links == [run["page"] for run in runs]
    assert len(links) == 9


def test_ablations_are_shown_if_there_are_any(joint):
    scored = joint(ablations={"text_only": "Text only"})
    tables = blocks(fold_sections(scored.scores, scored), Table)
    (own,) = (table for table in tables if table.columns == ("Text only", "Whole method"))
    for row, entry in zip(own.rows, scored.scores["metrics"].values(), strict=True):
        assert row.cells[0].value == format_score(entry, entry["ablations"]["text_only"])
    assert len(tables) == len(blocks(fold_sections(joint().scores, joint()), Table)) + 1


def test_without_a_null_the_page_says_how_to_get_one(joint):
    scored = joint(n_nulls=0)
    sections = fold_sections(scored.scores, scored)
    assert "There is no null: with --shuffled 1" in null_sentence(scored.scores)
    assert CONDITIONS[NULL] not in blocks(sections, Table)[0].columns
    assert [text.text for text in blocks(sections, Text) if text.style == "verdict"] == [null_sentence(scored.scores)]


@pytest.mark.parametrize(
    ("below", "words"), [(0.3, "On 4 of 4 metrics"), (0.005, "On 0 of 4 metrics"), (-0.3, "On 0 of")]
)
def test_the_verdict_follows_from_the_numbers(joint, below, words):
    scored = joint(null_below=below)
    assert words in null_sentence(scored.scores)
    labels = [entry["label"] for entry in scored.scores["metrics"].values()]
    assert all((label in null_sentence(scored.scores)) == (below < 0.1) for label in labels)


def test_they_make_a_page_and_come_back_from_json(joint, coded, outline):
    scored = joint()
    sections = fold_sections(scored.scores, scored)
    header = Header(experiment="mine", subject="subj01", simulated=False, version="0.1")
    page = render_page(header, sections, coded)
    stored = [Section.model_validate_json(section.model_dump_json()) for section in sections]
    assert render_page(header, stored, type(coded)()) == page
    links = [attributes["href"] for tag, attributes in outline(page).tags if tag == "a"]
    assert [link for link in links if not link.endswith("/report/index.html")] == []
    assert len(links) == 9


def texts_of(section):
    return [block.text for block in section.blocks if isinstance(block, Text)]


@pytest.mark.parametrize(
    ("facts", "said", "unsaid"),
    [
        ({}, (), ("imagined", "same file")),
        ({"imagined": True}, ("imagined, not seen",), ("same file",)),
        (
            {"n_trained": 4, "trained_in": [1, 2]},
            ("4 of 9 pictures have the same file", "each in 1 to 2 of 3"),
            ("imag",),
        ),
        ({"imagined": True, "n_trained": 9, "trained_in": [2, 2]}, ("9 of 9 pictures", "each in 2 of 3 folds"), ()),
        ({"heading": ["Own title", "Own note."]}, ("Own note.",), ("imagined",)),
    ],
)
def test_a_further_set_says_what_of_it_may_have_trained(joint, facts, said, unsaid):
    scored = joint()
    scored.scores["test_sets"]["imagery"]["facts"] = facts
    (section,) = (one for one in fold_sections(scored.scores, scored) if one.name == "test-set-imagery")
    text = " ".join(texts_of(section))
    assert "whose responses no fold trained on" in text
    assert all(words in text for words in said)
    assert not any(words in text for words in unsaid)
    assert section.title == facts.get("heading", ["Test set imagery"])[0]


def test_the_smallest_p_that_repetitions_can_give_is_said(joint):
    """With N repetitions it is 1/(1 + N)."""
    for n, smallest in ((1, "0.5"), (2, "0.333"), (3, "0.25")):
        scored = joint(n_nulls=n)
        (table,) = (one for one in blocks(fold_sections(scored.scores, scored), Table) if one.columns[-1] == "p")
        assert f"p is {smallest} at least" in table.caption


def test_sentences_of_all_folds_come_once_and_those_of_some_name_them():
    told = [
        ["Split: fold 0", "Late: one", "Everywhere.", "Everywhere."],
        ["Split: fold 1", "Everywhere.", "Late: one"],
        ["Split: fold 2", "Everywhere.", "Only here."],
    ]
    section = joint_recording_section(told)
    assert texts_of(section) == [
        "Everywhere.",
        "In folds 0, 1: Late: one",
        "In fold 2: Only here.",
        *(f"In fold {fold}: Split: fold {fold}" for fold in range(3)),
    ]
    assert not section.appendix
    assert warnings_of([section]) == texts_of(section)[:3]
    assert joint_recording_section([["Split: 0"], ["Split: 1"]]).appendix
    assert joint_recording_section([[], []]) is None
