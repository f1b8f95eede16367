"""Scores by groups of pictures follow from the scores of each picture."""

import re
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from braindiffuser.analyses.picture_groups import PictureGroups
from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.images import PictureReader
from braindiffuser.report.group_section import interaction_sentences
from braindiffuser.stages import StageContext
from braindiffuser.stages.analyse import _n_pictures
from braindiffuser.stages.prepare import check_named_columns

from .linear_world import linear_world

N = 40


def world(planted=0.0, **changes):
    """Pictures whose scores are known: the whole method gains 1 everywhere, and `planted` more in the first group."""
    data, rng = linear_world(), np.random.default_rng(0)
    first = np.arange(N) < 15
    difficulty = 3 * first + rng.standard_normal(N)
    kinds = {
        "low_level": difficulty + 0.1 * rng.standard_normal(N),
        "final": difficulty + 1 + planted * first + 0.1 * rng.standard_normal(N),
    }
    pictures = {kind: PictureReader(np.arange(N), lambda numbers, kind=kind: {"kind": kind}) for kind in kinds}
    asked = iter(("final", "low_level"))
    known = {
        "test_sets": {"test": slice(0, N)},
        "stimulus_ids": lambda side: np.arange(N),
        "stimuli": lambda side: pd.DataFrame(
            {"source": np.where(first, "laion", "coco"), "name": [f"p{i}" for i in range(N)]}
        ),
        "n_pictures": lambda: None,
        "made": lambda kind: pictures[kind],
        "score": lambda made, name: {"own": kinds[next(asked)]},
        "metrics": lambda: {"own": {"label": "Own", "chance": None, "higher_is_better": True, "bounds": [-9.0, 9.0]}},
    }
    return replace(data, **{**known, **changes})


@pytest.mark.parametrize(("planted", "found"), [(0.5, True), (0.0, False)])
def test_a_planted_effect_of_a_group_is_found_and_none_where_there_is_none(planted, found):
    outcome = PictureGroups(column="source", n_permutations=500).run(world(planted))
    facts = outcome.facts
    assert facts["reference"] == "coco"
    assert facts["groups"] == {"coco": 25, "laion": 15}
    each = facts["metrics"]["own"]["interactions"]["laion"]
    assert each["value"] == pytest.approx(planted, abs=0.1)
    assert (each["p_value"] < 0.01) == found
    assert each["ci95"][0] <= planted <= each["ci95"][1]
    (sentence,) = interaction_sentences(facts)
    assert ("the whole method does better on Own than in coco" in sentence) == found
    table = outcome.tables["per_image"]
    assert list(table.columns) == ["stimulus_id", "group", "final_own", "low_level_own"]


def test_a_table_names_the_groups(tmp_path):
    path = tmp_path / "kinds.csv"
    path.write_text("name,kind\n" + "".join(f"p{i},{'ab'[i % 2]}\n" for i in reversed(range(N - 1))) + f"p{N - 1},\n")
    facts = PictureGroups(column="kind", table=path, n_permutations=50).run(world()).facts
    assert facts["groups"] == {"a": 20, "b": 19}
    assert facts["left_out"] == {"without a value": 1}


@pytest.mark.parametrize("by", ["name", "stimulus_id"])
def test_a_table_in_any_order_gives_each_stimulus_its_own_group(tmp_path, by):
    kinds = np.array(["a"] * 25 + ["b"] * 15)
    order = np.random.default_rng(0).permutation(N)
    path = tmp_path / "kinds.csv"
    lines = [f"{f'p{i}' if by == 'name' else i},{kinds[i]}" for i in order]
    path.write_text("\n".join([f"{by},kind", *lines]) + "\n")
    table = PictureGroups(column="kind", table=path, n_permutations=50).run(world()).tables["per_image"]
    np.testing.assert_array_equal(table["group"], kinds)


def test_groups_of_few_pictures_are_left_out():
    few = pd.DataFrame({"source": ["a"] * 20 + ["b"] * 15 + ["c"] * 4 + [None]})
    outcome = PictureGroups(column="source", n_permutations=50).run(world(stimuli=lambda side: few))
    assert outcome.facts["groups"] == {"a": 20, "b": 15}
    assert outcome.facts["left_out"] == {"c": 4, "without a value": 1}
    assert any(
        "five pictures or more: without a value: 1, c: 4" in getattr(block, "text", "")
        for block in outcome.section.blocks
    )


def test_the_sentence_follows_from_p_corrected_for_all_metrics():
    facts = PictureGroups(column="source", n_permutations=50).run(world(0.5)).facts
    each = facts["metrics"]["own"]["interactions"]["laion"]
    each["p_value"], each["p_corrected"] = 0.01, 0.2
    (sentence,) = interaction_sentences(facts)
    assert "no interaction is shown (p > 0.05 on the only metric)" in sentence


def many_groups(p_corrected, values=None, n_permutations=2000):
    """Facts of a reference and as many groups as there are lists of p, one p for each metric."""
    groups = [f"g{number}" for number in range(len(p_corrected))]
    n_metrics = len(p_corrected[0])
    values = [[1.0] * n_metrics] * len(groups) if values is None else values
    metrics = {
        str(k): {
            "label": f"M{k}",
            "higher_is_better": k % 2 == 0,
            "interactions": {
                group: {"value": own[k], "p_corrected": p[k]}
                for group, own, p in zip(groups, values, p_corrected, strict=True)
            },
        }
        for k in range(n_metrics)
    }
    kinds = ["final", "low_level"]
    every = {"web": 50, **dict.fromkeys(groups, 12)}
    return {"groups": every, "reference": "web", "kinds": kinds, "metrics": metrics, "n_permutations": n_permutations}


def test_p_is_corrected_over_groups_too():
    """Of three, p = .0166 stands alone, then .025 for the next of two, and .05 for the last; metrics of a group as the group."""
    said = interaction_sentences(many_groups([[0.016, 0.017], [0.024, 0.026], [0.05, 0.9]]))
    assert [text.partition(": ")[2].partition(" (p")[0] for text in said] == [
        "against the low level alone, the whole method does better on M0 than in web",
        "against the low level alone, the whole method does better on M0 than in web",
        "against the low level alone, the whole method does better on M0 than in web",
    ]
    assert "(p ≤ 0.05, corrected over 2 metrics and 3 groups; 1 of 2 metrics)" in said[0]
    none = interaction_sentences(many_groups([[0.02, 0.9], [0.02, 0.9], [0.02, 0.9]]))
    assert all(
        "no interaction is shown (p > 0.05 on every metric, corrected over 2 metrics and 3" in text for text in none
    )


def test_of_many_groups_without_an_interaction_one_is_seldom_named():
    rng = np.random.default_rng(0)
    pages = [
        any(" does " in text for text in interaction_sentences(many_groups(rng.random((12, 1)).tolist())))
        for _ in range(400)
    ]
    assert np.mean(pages) < 0.08


def test_neither_sentence_says_that_a_variant_gains_where_it_may_lose():
    """The value tells how the difference of variants differs between groups, not its sign in either."""
    both = interaction_sentences(many_groups([[0.01, 0.01], [0.9, 0.9]], [[-1.0, -1.0], [0.0, 0.0]]))
    assert not any(" gains " in text for text in both)
    assert "against the low level alone, the whole method does better on M1 and worse on M0 than in web" in both[0]
    assert "the whole method differs from the low level alone as much as in web" in both[1]


def test_too_few_exchanges_for_all_groups_are_said():
    said = interaction_sentences(many_groups([[0.05]] * 3, n_permutations=58))
    assert all("not said, since 58 exchanges of labels were drawn and 3 groups need 59" in text for text in said)
    assert not any("not said" in text for text in interaction_sentences(many_groups([[0.05]] * 3, n_permutations=59)))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"column": "colour"}, "there is no column colour of stimuli; there are source, name"),
        ({"column": "name"}, "no value of the column name has 5 test pictures"),
        ({"column": "source", "reference": "things"}, "reference is things, but the groups .* are coco, laion"),
    ],
)
def test_groups_that_are_not_there_are_said(choice, message):
    with pytest.raises(RunError, match=message):
        PictureGroups(**choice).run(world())


def test_rows_of_a_table_that_are_of_no_stimulus_are_said(tmp_path):
    def written(ids, **changes):
        path = tmp_path / "kinds.csv"
        path.write_text(
            "stimulus_id,kind\n" + "".join(f"{number},{'ab'[place % 2]}\n" for place, number in enumerate(ids))
        )
        told = []
        data = world(progress=lambda *said: told.append(said[0]), **changes)
        outcome = PictureGroups(column="kind", table=path, n_permutations=20).run(data)
        said = [text for text in told if "kinds.csv" in text]
        notes = [getattr(block, "text", "") for block in outcome.section.blocks]
        assert outcome.facts.get("remarks", []) == said == [text for text in notes if "kinds.csv" in text]
        return said

    assert written(range(N)) == []
    assert written([*range(N), N + 7, N + 8]) == [
        f"2 of {N + 2} rows of kinds.csv are of no training or test stimulus of this run."
    ]
    assert written(range(1, N + 1)) == [
        begins := "Ids count from 0, and those of kinds.csv begin at 1: if it counts from 1, subtract 1.",
        f"1 of {N} rows of kinds.csv are of no training or test stimulus of this run.",
    ]
    ids = {"stimulus_ids": lambda side: np.arange(N) + 1, "stimuli": lambda side: pd.DataFrame(index=range(N))}
    assert written(range(1, N + 1), **ids) == []  # of exactly these stimuli
    assert written(range(1, N), **ids) == [begins]  # the run's smallest id is 1, and the last has no row
    assert written(range(1, 100), **ids)[0] == begins
    with pytest.raises(
        RunError,
        match=r"kinds\.csv has the stimulus_id 99, and ids count from 0 to 98: if it counts from 1, subtract 1 from each",
    ):
        written(range(1, 100), n_pictures=lambda: 99, **ids)
    with pytest.raises(RunError, match="from 0 to 98: if it counts from 1"):
        written([6, 14, 50, 99], n_pictures=lambda: 99)  # 1 is not among them
    with pytest.raises(RunError, match="from 0 to 98: name the stimuli of this recording"):
        written([*range(N), 1000], n_pictures=lambda: 99)
    assert written(range(99), n_pictures=lambda: 99, **ids) == [
        "59 of 99 rows of kinds.csv are of no training or test stimulus of this run."
    ]


@pytest.mark.parametrize("wrong", ["40.2", "abc", "", "nan", "-1", "1e30"])
def test_ids_of_a_table_that_are_no_whole_numbers_are_named(wrong, tmp_path):
    path = tmp_path / "kinds.csv"
    path.write_text("stimulus_id,kind\n" + "".join(f"{number},a\n" for number in [*range(N), wrong, wrong]))
    with pytest.raises(RunError, match=f"has the stimulus_id '{wrong}': expected whole numbers from 0"):
        PictureGroups(column="kind", table=path).run(world())


@pytest.mark.parametrize(
    ("ids", "own", "found"), [([0, 2, 1, 1], None, 3), ([0, 2], None, None), ([1, 2], None, None), ([0, 2], 73, 73)]
)
def test_the_number_of_pictures_is_known_where_all_were_shown_or_the_recording_says_it(ids, own, found):
    trials, said = pd.DataFrame({"stimulus_id": ids}), None if own is None else lambda: own
    recording = SimpleNamespace(trials=trials, n_pictures=said)
    assert _n_pictures(Mock(spec=StageContext, open_recording=lambda: recording)) == found


def test_a_table_that_is_gone_is_said_to_be(tmp_path):
    asked = PictureGroups(column="kind", table=tmp_path / "kinds.csv", name="own")
    remedy = "`braindiffuser analyse own --remove --out RUN`"
    said = f"missing: put {tmp_path / 'kinds.csv'} back, or take the analysis away by {remedy}"
    with pytest.raises(RunError, match=f"own.table is {re.escape(said)}"):
        asked.run(world())
    assert asked.influences("cpu")["table"] == said
    (tmp_path / "kinds.csv").write_text("stimulus_id,kind\n")
    assert len(asked.influences("cpu")["table"]) == 64


def test_two_variants_are_compared():
    with pytest.raises(ValueError, match="names final twice"):
        PictureGroups(column="kind", kinds=("final", "final"))


def test_a_column_that_is_not_there_is_said_before_anything_is_computed():
    stimuli = pd.DataFrame({"name": ["a"], "kind": ["b"]})
    asked = Experiment.load("demo").changed({"analyses": [{"kind": "picture_groups", "column": "source"}]})
    with pytest.raises(RunError, match="there is no column source of stimuli; there are name, kind"):
        check_named_columns(SimpleNamespace(stimuli=stimuli, described=None), asked)
    with pytest.raises(RunError, match=r"there are \(none\)"):
        check_named_columns(SimpleNamespace(stimuli=None, described=None), asked)
    check_named_columns(SimpleNamespace(stimuli=None, described=lambda: None), asked)
    check_named_columns(SimpleNamespace(stimuli=stimuli.assign(source="x"), described=None), asked)
    own = asked.changed({"analyses": [{"kind": "picture_groups", "column": "source", "table": "own.csv"}]})
    check_named_columns(SimpleNamespace(stimuli=stimuli, described=None), own)
