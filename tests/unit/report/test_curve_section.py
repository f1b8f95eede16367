"""What is said of a curve follows from its numbers."""

import numpy as np
import pytest

from braindiffuser.metrics.growth import LogLine
from braindiffuser.report.curve_section import curve_section, curve_sentences


def facts(over="sessions", bend=(-0.01, 0.01), slope=(0.02, 0.04), reached=12.0, high=None, goal_given=True):
    scores = {"pattern.vision": 0.4, "two_way.vision": 0.9}
    entries = {
        "pattern.vision": {"label": "vision", "higher_is_better": True, "chance": None, "of": "pattern", "floor": 0.0},
        "two_way.vision": {"label": "vision", "higher_is_better": True, "chance": 0.5, "of": "two_way", "floor": 0.5},
    }
    estimate = {"value": 0.03, "ci95": list(slope)}
    line = {
        "per_doubling": estimate,
        "goal": 0.45,
        "goal_given": goal_given,
        "reached_at": {"value": reached, "ci95": [7.0, high]},
        "sought_to": 128.0,
        "line": [{"value": 0.3, "ci95": [0.2, 0.4]}] * 3,
        "bend": {"value": 0.0, "ci95": list(bend)},
        "last_doubling": estimate,
        "next_doubling": estimate,
    }
    points = [
        {
            "at": at,
            "scores": {
                key: {"value": value + 0.01 * at, "ci95": [value, value + 0.1], "n_draws": 1}
                for key, value in scores.items()
            },
        }
        for at in (1.0, 4.0, 8.0)
    ]
    return {
        "over": over,
        "title": "A curve",
        "axis": "sessions",
        "unit": "sessions",
        "how_to_read": "Nothing else differs.",
        "doubles": over == "sessions",
        "is_logarithmic": True,
        "of_generator": False,
        "own": 8.0,
        "n": 30,
        "n_test": 30,
        "n_drawn": 0,
        "entries": entries,
        "points": points,
        "lines": {"pattern.vision": line, "two_way.vision": line},
        "differences": {
            key: [{"at": at, "value": -0.05, "ci95": [-0.08, -0.02], "p": 0.001} for at in (1.0, 4.0)]
            for key in entries
        },
        **({"r90": {"pattern.vision": {"value": 4.0, "ci95": [1.0, 8.0]}}} if over == "rank" else {}),
    }


def test_what_lies_beyond_the_data_is_called_extrapolated():
    (said,) = curve_sentences(facts())
    assert said.startswith(
        "vision: pattern correlation 0.480 with 8 sessions; twice as many add 0.030 (95 % interval: 0.020 – 0.040)"
    )
    assert (
        "the line reaches 0.450 at 12 sessions (interval: 7 – more than 128), which is extrapolated beyond the 8"
        in said
    )
    assert "16 sessions would give" in said
    assert "growth slows" not in said
    (inside,) = curve_sentences(facts(reached=5.0, high=9.0, goal_given=False))
    assert "the line reaches 95 % of 0.480 at 5 sessions (interval: 7 – 9); 16 sessions" in inside


@pytest.mark.parametrize(("low", "said"), [(None, "below 1"), (0.3, "below 1"), (1.5, "1.5")])
def test_no_interval_begins_below_what_there_is_and_each_share_has_its_own_word(low, said):
    made = facts(reached=5.0, high=9.0, goal_given=False)
    made["lines"]["pattern.vision"]["reached_at"]["ci95"][0] = low
    (sentence,) = curve_sentences(made)
    assert f"at 5 sessions (interval: {said} – 9)" in sentence
    assert sentence.count("95 %") == 2
    assert sentence.count("95 % interval") == 1


def test_a_goal_is_looked_for_as_far_as_the_page_says():
    amounts, rng = np.array([1.0, 2.0, 4.0, 8.0]), np.random.default_rng(0)
    line = LogLine(amounts, 0.1 * np.log2(amounts)[:, None] + 0.1 * rng.standard_normal((4, 20)))
    goals = (line.at(line.sought_to).value, line.at(2 * line.sought_to).value)
    made = facts(high=None)
    for goal, begin in zip(goals, ("", "more than 128), which"), strict=True):
        found = line.reaching(goal)
        assert found.high == np.inf
        made["lines"]["pattern.vision"] |= {
            "sought_to": line.sought_to,
            "reached_at": {"value": found.value, "ci95": [found.low, None]},
        }
        (said,) = curve_sentences(made)
        assert "more than 128), which is extrapolated" in said
        assert begin in said


def test_growth_that_slows_is_said():
    (said,) = curve_sentences(facts(bend=(-0.02, -0.01)))
    assert "growth slows, and the last doubling adds 0.030" in said
    assert "that were measured, and too few, since growth slows" in said


def test_where_nothing_grows_nothing_is_promised():
    (said,) = curve_sentences(facts(slope=(-0.01, 0.04)))
    assert said.endswith("twice as many add 0.030 (95 % interval: −0.010 – 0.040): growth is not shown.")


@pytest.mark.parametrize(
    ("over", "words"),
    [
        (
            "repeats",
            "0.410 with a single trial, 0.480 with the average of 8 (averaging helps: +0.050, 95 % interval: 0.020 – 0.080)",
        ),
        ("noise", "0.410 at 1 sessions, 0.480 at 8 (more: +0.050, 95 % interval: 0.020 – 0.080)"),
        ("rank", "it has 90 % of its gain with 4 of at most 8 directions (95 % interval: 1 – 8)"),
    ],
)
def test_other_curves_say_what_they_are_for(over, words):
    (said,) = curve_sentences(facts(over))
    assert words in said


def test_another_setting_is_named_only_where_it_is_shown_to_be_better():
    made = facts("strength") | {"of_generator": True, "axis": "strength", "n_drawn": 20}
    (worse,) = curve_sentences(made)
    assert worse.startswith("By vision and vision, no other strength is shown to be better than the run's 8")
    for each in made["differences"]["two_way.vision"]:
        each["value"], each["ci95"] = 0.04, [0.02, 0.08]
    better, _ = curve_sentences(made)
    assert better == "vision: strength 1 is better than the run's 8 (102.0 % against 98.0 %, p = 0.001, 20 pictures)."


@pytest.mark.parametrize(("over", "has_line"), [("sessions", True), ("noise", False), ("strength", False)])
def test_a_curve_says_itself_how_to_read_it(over, has_line):
    section = curve_section(f"curve_{over}", facts(over), [])
    assert section.blocks[-1].text.startswith("Nothing else differs.")
    assert ("least squares" in section.blocks[-1].text) == has_line


def test_each_kind_of_score_has_a_figure():
    section = curve_section("curve_sessions", facts(), [])
    (figures,) = [block for block in section.blocks if block.type == "figures"]
    assert [figure.title for figure in figures.figures] == [
        "Pattern correlation of decoded features",
        "Two-way identification by decoded features",
    ]
    assert all("Dashed" in figure.note for figure in figures.figures)
