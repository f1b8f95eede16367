"""What the page says of decoded features follows from their numbers."""

import pytest

from braindiffuser.report.feature_section import feature_section, feature_sentences
from braindiffuser.report.sections import Section, Table, Text


def entry(value, half=0.02, **more):
    return {"value": value, "ci95": [max(value - half, 0), min(value + half, 1)], "chance": 0.5, **more}


def scores(two_way=0.98, novelty=0.3, p=0.001, within=None, decoded=20.0, best=None):
    return {
        "n_images": 100,
        "n_train": 2800,
        "n_features": 64,
        "p": p,
        "profile_correlation": entry(0.4),
        "pattern_correlation": entry(0.5),
        "two_way": entry(two_way, p=p),
        "two_way_per_stimulus": entry(0.97, p=p),
        "n_way": {"2": entry(two_way), "10": entry(0.8), "50": entry(0.6), "all": entry(0.5)},
        "top1": entry(0.5),
        "top5": entry(0.7),
        "median_rank": {"value": 1.0, "ci95": [1.0, 2.0], "chance": 50.5},
        **({} if within is None else {"within_category": entry(within, n_images=90)}),
        "novelty": entry(novelty),
        "nearest_training": entry(0.6),
        "effective_dimension": {
            "decoded": decoded,
            "true": 25.0,
            "decoded_ci95": [decoded - 1, decoded + 1],
            "true_ci95": [24.0, 26.0],
        },
        **({} if best is None else {"best_linear": entry(best)}),
    }


def of_set(groups, remarks=(), column=None):
    return {"n_images": 100, "category_column": column, "groups": groups, "remarks": list(remarks)}


@pytest.mark.parametrize(
    ("changes", "words", "absent"),
    [
        (
            {},
            "wins against another test picture in 98.0 % of comparisons (95 %: 96.0 – 100.0 %), but 30.0 % of pictures",
            "directions",
        ),
        ({}, "than to those of every one of 2,800 training pictures.", "category"),
        ({"novelty": 0.97}, ", and 97.0 % of pictures", "but"),
        ({"within": 0.51}, "among pictures of the same category nothing is shown to be left (51.0 %)", "directions"),
        ({"within": 0.8}, "but 30.0 %", "category"),
        ({"decoded": 6.0}, "decoded features vary along 6.0 directions where true ones vary along 25.0", "linear"),
        ({"best": 0.7}, "no linear decoder of these training pictures can correlate more than 0.70", "directions"),
        ({"best": 0.99}, "but 30.0 %", "linear"),
    ],
)
def test_sentences_follow_from_the_numbers(changes, words, absent):
    (sentence,) = feature_sentences(of_set({"vision": scores(**changes)}))
    assert sentence.startswith("vision: ")
    assert words in sentence
    assert absent not in sentence


def test_a_group_at_chance_beside_one_that_is_not_is_no_alarm():
    vision, text = feature_sentences(of_set({"vision": scores(), "text": scores(two_way=0.52, p=0.3)}))
    assert "but" in vision
    assert text.startswith("text: not told apart beyond chance. The own picture wins against another in 52.0 %")
    assert "p = 0.300" in text


def test_all_groups_at_chance_are_an_alarm_that_comes_first():
    groups = {name: scores(two_way=0.5, p=0.3) for name in ("vision", "text")}
    alarm, *others = feature_sentences(of_set(groups))
    assert "None of the 2 groups of features is beyond chance" in alarm
    assert "trials and pictures are probably misaligned" in alarm
    assert len(others) == 2


def test_groups_are_told_apart_together_as_the_alarm_tests_them():
    groups = {name: scores(two_way=0.7, p=p) for name, p in (("latents", 0.4), ("vision", 0.02), ("text", 0.3))}
    alarm, *others = feature_sentences(of_set(groups))
    assert "None of the 3 groups" in alarm
    assert all("not told apart beyond chance" in other for other in others)
    assert "p = 0.020, too large where 3 groups are tested" in others[1]
    (alone,) = feature_sentences(of_set({"vision": groups["vision"]}))
    assert "not told apart" not in alone


def test_the_section_has_a_table_for_each_test_set_and_only_the_first_is_open():
    content = {
        "test": of_set({"vision": scores(within=0.7), "text": scores()}, column="category"),
        "held_out": of_set({"vision": scores()}),
        "few": of_set({}, ["Test set few has too few pictures for scores of features."]),
    }
    section = feature_section(content)
    assert Section.model_validate_json(section.model_dump_json()) == section
    tables = [block for block in section.blocks if isinstance(block, Table)]
    assert [bool(table.fold) for table in tables] == [False, True, True, True]
    first, further, second, _ = tables
    assert [row.label for row in first.rows] == ["vision", "text"]
    assert first.main == "Novelty"
    assert first.columns[:4] == ("Two-way", "Novelty", "Among all 100", "Same category")
    assert first.rows[1].cells[3].value == "–"
    assert "Same category" not in second.columns
    assert further.columns[:4] == ("1 of 2", "1 of 10", "1 of 50", "1 of 100")
    assert further.fold == "More on test set test: identification among 2, 10, 50 and 100, other direction, ranks"
    assert any(isinstance(block, Text) and "few has too few" in block.text for block in section.blocks)


def test_identification_among_all_pictures_is_printed_once():
    own = {**of_set({"vision": scores()}), "n_images": 10}
    further = [block for block in feature_section({"test": own}).blocks if block.type == "table"][1]
    assert further.columns[:3] == ("1 of 2", "1 of 10", "Two-way, per stimulus")
    assert further.rows[0].cells[1].value == "50.0 %"


def test_without_scores_it_says_so():
    section = feature_section({"test": of_set({}, ["Test set test has too few pictures for scores of features."])})
    assert "There are no scores of features" in section.blocks[0].text
