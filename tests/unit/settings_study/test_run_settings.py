"""Laws of what a study of settings says of its runs: no subject is passed over, and nothing that test responses entered."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from braindiffuser.experiment import Experiment
from braindiffuser.planned_runs.making import MadeRun
from braindiffuser.planned_runs.planned import PlannedRun, Setting
from braindiffuser.run import Run
from braindiffuser.settings_study import run_settings
from braindiffuser.settings_study.run_settings import doubts_of
from braindiffuser.store.results import Results
from braindiffuser.study.members import Member


@pytest.mark.parametrize("different", ["first", "second", None])
def test_a_setting_is_compared_only_if_every_subject_saw_the_same_pictures(monkeypatch, different):
    monkeypatch.setattr(
        run_settings, "other_pictures", lambda one, other, _: f"{other.name} differs" if one.name == different else ""
    )
    demo, place = Experiment.load("demo"), Path("run")
    subjects = [
        Member(place, name, "", True, demo, Results(place), pd.DataFrame(), {}, {}) for name in ("first", "second")
    ]
    said = run_settings._not_paired(subjects, subjects, "early")
    assert said == (f"{different} under early differs" if different else "")


class Finished(Run):
    """A run of which only the verdict is known."""

    def __init__(self, *conclusions):
        self.conclusions = conclusions

    def verdict(self):
        return self.conclusions


def test_doubts_are_what_puts_runs_in_doubt_and_what_test_responses_entered():
    wrong = SimpleNamespace(kind="wrong", name="collapse", sentence="Decoded features collapsed")
    entered = SimpleNamespace(kind="note", name="transductive", sentence="Test responses entered")
    chosen = SimpleNamespace(kind="note", name="voxels_by_test_trials", sentence="Test trials chose the voxels")
    harmless = SimpleNamespace(kind="note", name="few", sentence="There are few pictures")
    demo = Experiment.load("demo")
    made = [
        MadeRun(PlannedRun(subject, Setting(setting, setting, {}), demo), Finished(*conclusions), {})
        for setting, subject, conclusions in (
            ("a", "s1", (entered, harmless)),
            ("b", "s1", (chosen, wrong)),
            ("b", "s2", (entered,)),
        )
    ]
    assert [(each["name"], each["runs"]) for each in doubts_of(made)] == [
        ("collapse", ["b, s1"]),
        ("transductive", ["a, s1", "b, s2"]),
        ("voxels_by_test_trials", ["b, s1"]),
    ]
