"""The alarm sounds if nothing is beyond chance, and names ways to check that exist."""

import re

import pytest

from braindiffuser.report.chance_alarm import HOW_TO_CHECK, chance_alarm


@pytest.mark.parametrize(
    ("p_values", "n", "words"),
    [
        (
            {"vision": 0.4},
            100,
            "The groups (vision) are not beyond chance (smallest p = 0.400): trials and pictures are",
        ),
        (
            {"vision": 0.03, "text": 0.6, "latents": 0.2},
            100,
            "None of the 3 groups is beyond chance (smallest p = 0.030; corrected for 3: p = 0.090): trials",
        ),
        ({"vision": 0.5}, 3, "3 test pictures are too few to tell the groups from chance."),
        ({"vision": 0.5}, 5, "probably misaligned"),
        ({str(k): 0.5 for k in range(3)}, 4, "too few"),
    ],
)
def test_it_sounds_if_no_group_is_beyond_chance(p_values, n, words):
    assert words in chance_alarm(p_values, n, "groups")


@pytest.mark.parametrize(
    "p_values", [{}, {"vision": 0.05}, {"vision": 0.01, "text": 0.9, "latents": 0.9}, {"a": 0.001, "b": 0.001}]
)
def test_it_is_silent_if_one_is_or_nothing_was_tested(p_values):
    assert chance_alarm(p_values, 100, "groups") == ""


def test_it_names_commands_and_files_that_exist():
    from braindiffuser.analyses.decoder_accuracy import DecoderAccuracy
    from braindiffuser.cli import recording_commands, run_commands  # noqa: F401  they add their commands
    from braindiffuser.cli.app import app
    from braindiffuser.stages import stages

    known = {info.name or info.callback.__name__ for info in app.registered_commands}
    assert set(re.findall(r"`braindiffuser (\w+)", HOW_TO_CHECK)) <= known
    assert DecoderAccuracy().label == "decoder_accuracy"
    assert "decoder_accuracy" in HOW_TO_CHECK
    assert "trials.csv" in stages()["prepare"].writes
    assert "trials.csv" in HOW_TO_CHECK
