"""What docs/concepts/languages.md shows of other packages runs on an export, and gives what the run holds."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from braindiffuser.export.run_export import export_run

PAGE = Path(__file__).parents[3] / "docs/concepts/languages.md"


def blocks():
    """Name of each package → the code under its heading."""
    text = PAGE.read_text(encoding="utf-8")
    return dict(re.findall(r"^## (\w+)$.*?^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))


@pytest.fixture
def shown(lab, run, tmp_path, monkeypatch):
    """Runs the code of a package beside an export, and returns its variables."""
    export_run(run.results.folder, tmp_path / "exported/mine")
    mine = tmp_path / "runs/mine"
    shutil.copytree(lab.root / "pictures", mine / "reconstructions/final")
    (mine / "per_image.csv").write_text("stimulus_id,pixcorr\n3,0.5\n8,0.25\n", encoding="utf-8")
    metric = {"label": "PixCorr", "value": 0.375, "ci95": [0.2, 0.6], "baselines": {"mean_image": 0.1}}
    (mine / "scores.json").write_text(json.dumps({"metrics": {"pixcorr": metric}}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def show(package):
        pytest.importorskip(package)
        variables = {}
        exec(blocks()[package], variables)  # noqa: S102 (our own page)
        return variables

    return show


def test_the_page_shows_each_package():
    assert list(blocks()) == ["pandas", "nilearn", "bdpy", "neuralset"]


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # one line is what people type
def test_pandas(shown):
    found = shown("pandas")
    assert found["pictures"]["pixcorr"].mean() == found["scores"].loc["pixcorr", "value"]


def test_nilearn_puts_a_row_into_the_volume_and_takes_it_out(shown, lab, run):
    found = shown("nilearn")
    own = run.results.read_array("responses/test")[0]
    volume = found["volume"].get_fdata()
    np.testing.assert_allclose(volume[lab.mask], own, rtol=1e-6)
    assert not volume[~lab.mask].any()
    np.testing.assert_allclose(np.ravel(found["row"]), own, rtol=1e-6)


@pytest.mark.filterwarnings("ignore")  # of bdpy's own
def test_bdpy(shown, lab, run):
    found = shown("bdpy")
    train = run.results.read_array("responses/train")
    np.testing.assert_allclose(found["training"], train[:, lab.rois["V1"]])
    ids = np.concatenate([run.results.read_array(f"stimuli/{side}_ids") for side in ("train", "test")])
    assert list(found["names"]) == [run.recording().names[number] for number in ids.tolist()]


@pytest.mark.filterwarnings("ignore")  # of neuralset's own
def test_neuralset(shown, lab):
    events = shown("neuralset")["events"]
    assert [Path(path).name for path in events["filepath"]] == lab.names
    assert set(events["type"]) == {"Image"}
