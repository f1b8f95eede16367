import json

import numpy as np
import pytest
from typer.testing import CliRunner

from braindiffuser.cli import app
from braindiffuser.data.scenes import compose_scenes
from braindiffuser.images import from_uint8, save_png

N = 6


@pytest.fixture
def folders(tmp_path):
    raw, _ = compose_scenes(N, seed=5)
    for folder, pictures in (("seen", raw), ("made", raw // 2)):
        (tmp_path / folder).mkdir()
        for number, picture in enumerate(from_uint8(pictures)):
            save_png(picture[np.newaxis], tmp_path / folder / f"{number:04d}.png")
    return tmp_path / "seen", tmp_path / "made"


def test_command_writes_scores_and_says_what_is_missing(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("BRAINDIFFUSER_WEIGHTS", str(tmp_path))
    arguments = ["--profile", "brain-diffuser-2023", "--json", str(tmp_path / "scores.json")]
    result = CliRunner().invoke(app, ["evaluate", *map(str, folders), *arguments])
    assert result.exit_code == 0
    assert "alexnet is missing" in result.output
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["profile"] == "brain-diffuser-2023"
    assert scores["n_images"] == N


@pytest.mark.parametrize("arguments", [[], ["seen"], ["seen", "made", "--out", "run"]])
def test_command_wants_a_run_or_two_folders(arguments):
    result = CliRunner().invoke(app, ["evaluate", *arguments])
    assert result.exit_code == 1
    assert "name either a run (--out RUN" in result.output
