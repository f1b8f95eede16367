"""The command `curve` asks for an analysis, as `analyse curve` does."""

import pytest
from typer.testing import CliRunner

from braindiffuser.cli import app
from braindiffuser.experiment import Experiment
from braindiffuser.plain_data import read_entries

runner = CliRunner()


@pytest.fixture
def asked(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "braindiffuser.cli.curve_commands.analyse",
        lambda out, name, entries, **options: asked.append((out, name, entries)),
    )
    return asked


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["repeats", "--points", "1,2,3"], {"over": "repeats", "points": (1.0, 2.0, 3.0), "pictures": None}),
        (["strength", "--pictures", "30"], {"over": "strength", "points": (), "pictures": 30}),
        (["sessions", "--goal", "0.5"], {"over": "sessions", "goal": 0.5}),
    ],
)
def test_a_curve_is_an_analysis_of_the_run(words, expected, asked, tmp_path):
    result = runner.invoke(app, ["curve", str(tmp_path / "run"), *words])
    assert result.exit_code == 0, result.output
    ((out, name, entries),) = asked
    assert (out, name) == (tmp_path / "run", "curve")
    added = Experiment.load("demo").with_analysis(name, read_entries(entries)).analyses[-1]
    assert added.label == f"curve_{words[0]}"
    for entry, value in expected.items():
        assert getattr(added, entry) == value


def test_auto_goes_back_to_points_that_suit_the_run(asked, tmp_path):
    experiment = Experiment.load("demo")
    found = []
    for words in (["--points", "25"], [], ["--points", "auto"]):
        assert runner.invoke(app, ["curve", str(tmp_path / "run"), "training", *words]).exit_code == 0
        experiment = experiment.with_analysis("curve", read_entries(asked[-1][2]))
        found.append(experiment.analyses[-1].points)
    assert found == [(25.0,), (25.0,), ()]


def test_several_curves_of_a_run_stand_beside_each_other(asked, tmp_path):
    experiment = Experiment.load("demo")
    for over in ("rank", "repeats", "rank"):
        runner.invoke(app, ["curve", str(tmp_path / "run"), over])
        experiment = experiment.with_analysis("curve", read_entries(asked[-1][2]))
    assert [analysis.label for analysis in experiment.analyses[-2:]] == ["curve_rank", "curve_repeats"]
