"""A recording in each layout goes the whole way to a page, and `check` prints the command that does it."""

import sys
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
import yaml

from braindiffuser.experiment import Experiment
from braindiffuser.recording_check import check_recording
from braindiffuser.run import Run

SMALL = {
    "preset": "demo",
    "responses": {"normalisation": "training"},
    "regression": {"n_folds": 2},
    "generator": {"diffusion": {"n_steps": 2}, "batch_size": 8},
    "pictures": {"ceiling": False, "ablations": []},
    "evaluation": {"profile": "pixels", "n_resamples": 50},
}
ROOT = str(Path(__file__).parents[2])
WORDS = ("apple", "arch", "badger", "antelope", "avocado", "apricot", "amphitheatre")
"""Of captions that the demonstration's tokenizer knows."""


def written(layout, root):
    """Write a tiny recording as the unit tests of its reader do; return what an experiment file says of it."""
    sys.path.append(ROOT)
    try:
        module, drawn = (import_module(f"tests.unit.datasets.{name}") for name in (f"test_{layout}", "layouts_drawn"))
    finally:
        sys.path.remove(ROOT)
    if layout == "bids":
        truth = module.write(root, 0)
        names = sorted(set(truth.trials["name"]))
        (root / "test.txt").write_text("\n".join(names[:3]))
        return {
            "dataset": {"kind": "bids", "root": str(root), "unit": "percent"},
            "split": {"kind": "listed", "test": str(root / "test.txt")},
        }
    if layout == "glmsingle":
        module.write(root, 0)
        betas = next(root.rglob("*TYPED*.hdf5"))
        files = {
            "betas": betas,
            "conditions": root / "conditions.csv",
            "pictures": root / "stimuli",
            "mask": root / "mask.nii",
        }
        return {
            "dataset": {
                "kind": "glmsingle",
                **{name: str(path) for name, path in files.items()},
                "rois": {"V1": str(root / "V1.nii")},
            }
        }
    if layout == "bdata":
        made = module.make(root, 0)
        made.matrix.write(made.path)
        return {
            "dataset": {
                "kind": "bdata",
                "responses": str(made.path),
                "pictures": str(root / "images"),
                "unit": "percent",
            }
        }
    if layout == "laion_fmri":
        module.write(root, 0)
        path = root / "stimuli" / "task-images_desc-captions.csv"
        table = pd.read_csv(path)
        table["caption"] = [f"an {WORDS[row % 7]} and an {WORDS[row // 7 % 7]}" for row in range(len(table))]
        table.to_csv(path, index=False)
        return {"dataset": {"kind": "laion_fmri", "root": str(root), "subject": "sub-01"}}
    module.write(root, drawn.draw(0))
    return {"dataset": {"kind": layout, "root": str(root)} | ({"unit": "percent"} if layout == "things" else {})}


@pytest.mark.parametrize("layout", ["bids", "bold5000", "bdata", "glmsingle", "laion_fmri", "things"])
def test_a_layout_goes_to_a_page(layout, tmp_path):
    root = tmp_path / "recording"
    root.mkdir()
    file = tmp_path / f"{layout}.yaml"
    file.write_text(yaml.safe_dump(SMALL | written(layout, root) | {"name": layout}))
    lines = list(check_recording(str(file)))
    assert lines[-1] == f"Run it: braindiffuser run --config {file} --out runs/{layout}"
    run = Run.open(Experiment.load(file), tmp_path / "run")
    page = run.run_all().read_text(encoding="utf-8")
    for line in lines:
        if line.startswith("Note: "):
            assert line.removeprefix("Note: ").split("'")[0].split(":")[0][:60] in page
    assert run.is_finished("report")
