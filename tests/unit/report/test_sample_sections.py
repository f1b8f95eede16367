import pytest

from braindiffuser.report.sample_sections import sample_sections
from braindiffuser.report.sections import PictureGroups, Table, Text

AGREEMENT = {
    "features": "vision",
    "value": 0.97,
    "ci95": [0.95, 0.98],
    "p_value": 0.001,
    "flagged_below": 0.9,
    "flagged": [3, 7],
}
SAMPLES = {
    "n_samples": 4,
    "n_images": 20,
    "metrics": {
        "a": {
            "label": "A",
            "higher_is_better": True,
            "chance": 0.5,
            "mean": 0.8,
            "mean_ci95": [0.75, 0.85],
            "best_of": 0.95,
            "generator_share": {"seed": 1.0, "picture": 3.0, "share": 0.25, "ci95": [0.2, 0.3]},
        }
    },
    "agreement": {"features": "clip image", "value": 0.9, "ci95": [0.88, 0.92], "flagged_below": 0.9, "flagged": [5]},
}


def said(section, style):
    return [block.text for block in section.blocks if isinstance(block, Text) and block.style == style]


def pictures(section):
    groups = [group for block in section.blocks if isinstance(block, PictureGroups) for group in block.groups]
    return [[(ref.kind, ref.number) for ref in group.pictures] for group in groups]


def test_nothing_is_said_of_what_was_not_computed():
    assert sample_sections({"n_images": 20}) == []


def test_pictures_that_show_what_was_decoded_and_those_that_do_not():
    (section,) = sample_sections({"n_images": 20, "agreement": AGREEMENT})
    assert said(section, "verdict")[0].startswith("Pictures follow the decoded features")
    assert "97.0 % (95 %: 95.0 – 98.0 %" in said(section, "verdict")[0]
    assert said(section, "note")[0] == (
        "A picture is flagged where more than 10 % of all decoded features of other pictures come before its own: 2 of 20 "
        "pictures (flags.csv)."
    )
    assert pictures(section) == [[("seen", 3), ("final", 3)], [("seen", 7), ("final", 7)]]


@pytest.mark.parametrize("changes", [{"value": 0.5, "ci95": [0.44, 0.56], "p_value": 0.4}, {"p_value": 0.2}])
def test_a_generator_that_ignores_the_brain_is_named(changes):
    (section,) = sample_sections({"n_images": 20, "agreement": AGREEMENT | changes})
    assert said(section, "verdict")[0].startswith("Pictures are not shown to follow the decoded features")
    assert said(section, "verdict")[0].endswith("If they do not follow them, what is on them is the generator's.")


def test_samples_have_a_mean_and_the_best_is_called_no_score():
    (section,) = sample_sections({"n_images": 20, "samples": SAMPLES})
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    assert table.columns == ("Mean over samples", "Best of 4 (no score)", "Share of variance: generator")
    assert table.main == "Mean over samples"
    assert [(cell.value, cell.interval) for cell in table.rows[0].cells] == [
        ("80.0 %", "75.0 – 85.0 %"),
        ("95.0 %", ""),
        ("25 %", "20 – 30 %"),
    ]
    assert "the noise of the generator has 25 % to 25 %" in said(section, "verdict")[0]
    assert said(section, "note")[0].endswith(
        "samples of other pictures come before its own: 1 of 20 pictures (flags.csv)."
    )
    assert table.fold
    kinds = ("seen", "final", "final_sample_1", "final_sample_2", "final_sample_3")
    assert pictures(section) == [[(kind, 5) for kind in kinds]]


def test_without_a_network_samples_are_not_compared_and_where_nothing_varies_no_share_is_printed():
    one = SAMPLES["metrics"]["a"] | {"generator_share": {"seed": 0.0, "picture": 0.0, "share": None, "ci95": None}}
    bare = {"n_samples": 4, "n_images": 20, "metrics": {"a": one}}
    (section,) = sample_sections({"n_images": 20, "samples": bare})
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    assert table.rows[0].cells[2].value == "–"
    assert said(section, "verdict") == ["No score differs between samples or pictures."]
    assert pictures(section) == []


def test_samples_of_some_pictures_are_said_to_be_of_some():
    whole, part = (sample_sections({"n_images": n, "samples": SAMPLES})[0] for n in (20, 300))
    assert "of 20 test pictures, evenly spaced and scored among themselves," in said(part, "plain")[0]
    assert "evenly spaced" not in said(whole, "plain")[0]
