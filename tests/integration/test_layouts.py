"""A recording in each layout goes the whole way to a page, and `check` prints the command that does it."""

import os
import sys
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from markupsafe import escape

from braindiffuser.datasets import Things
from braindiffuser.datasets.bold5000 import Bold5000
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


def imported(*names):
    """Import modules of the repository that are not installed."""
    sys.path.append(ROOT)
    try:
        return [import_module(name) for name in names]
    finally:
        sys.path.remove(ROOT)


def written(layout, root):
    """Write a tiny recording as the unit tests of its reader do; return what an experiment file says of it."""
    module, drawn = imported(f"tests.unit.datasets.test_{layout}", "tests.unit.datasets.layouts_drawn")
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
            assert str(escape(line.removeprefix("Note: "))) in page
    assert run.is_finished("report")


# No file decides what a recording is without being a part of its identity

OPENED: list[set[str]] = []
"""Files that were opened, while anyone looks."""


def _note(event, args):
    if OPENED and event == "open" and isinstance(args[0], str | bytes | os.PathLike):
        OPENED[-1].add(os.path.realpath(os.fsdecode(args[0])))


sys.addaudithook(_note)  # stays, and notes nothing while no test looks


@pytest.fixture
def opened(monkeypatch):
    """Paths of files that are opened in Python or by HDF5."""
    init = h5py.File.__init__

    def noting(self, name, *args, **kwargs):
        if isinstance(name, str | bytes | os.PathLike):
            OPENED[-1].add(os.path.realpath(os.fsdecode(name)))
        init(self, name, *args, **kwargs)

    monkeypatch.setattr(h5py.File, "__init__", noting)
    OPENED.append(set())
    yield OPENED[-1]
    OPENED.pop()


@pytest.mark.parametrize("layout", ["bids", "bold5000", "bdata", "glmsingle", "laion_fmri", "things"])
def test_every_file_that_a_reader_opens_is_listed(layout, tmp_path, opened):
    root = tmp_path / "recording"
    root.mkdir()
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(SMALL | written(layout, root)))
    experiment = Experiment.load(file)
    dataset, split = experiment.dataset, experiment.split
    opened.clear()
    recording = split.divide(dataset.recording(Path()))
    assert all(len(betas) for _, betas in recording.sessions())
    recording.pictures(np.array(sorted(recording.names)))
    if recording.captions is not None:
        assert all(recording.captions(number) for number in recording.names)
    if recording.shared is not None and dataset.files_of_others():
        recording.shared()
    read = {path for path in opened if path.startswith(os.path.realpath(root)) and Path(path).is_file()}
    listed = [*dataset.files().values(), dataset.files_of_others(), split.files()]
    assert len(read) > 2
    assert read <= {os.path.realpath(path) for files in listed for path in files.values()}


# The comparison with layouts that others write finds what is wrong


def truth_of(drawn, names):
    regions = {f"roi_{name}": mask for name, mask in drawn.rois.items()}
    captions = np.array([f"picture {name}" for name in names])
    shown = {"stimulus": drawn.stimulus, "is_test": drawn.is_test, "betas": drawn.betas}
    return {"names": np.array(names), "captions": captions, **shown, **regions}


EQUAL = {"stimuli_equal": True, "split_equal": True, "rois_equal": True, "captions_equal": True}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("layout", ["things", "bold5000"])
def test_the_benchmark_finds_a_drawn_layout_equal_and_every_change_of_it_unequal(layout, seed, tmp_path):
    benchmark, module, drawn = imported(
        "benchmarks.layouts", f"tests.unit.datasets.test_{layout}", "tests.unit.datasets.layouts_drawn"
    )
    subject = drawn.draw(seed)
    names = module.write(tmp_path, subject)
    names = names.names if layout == "things" else names
    truth = truth_of(subject, names)
    if layout == "bold5000":  # EarlyVis is V1 here, and V1 with V2 there
        truth["roi_V2"] = np.zeros_like(truth["roi_V1"])
    said = {name: (caption, f"again {caption}") for name, caption in zip(names, truth["captions"], strict=True)}
    rows = [(name, caption) for name, captions in said.items() for caption in captions]
    pd.DataFrame(rows, columns=["stim_file", "caption"]).to_csv(tmp_path / "said.csv", index=False)
    kind = Things if layout == "things" else Bold5000
    entries = {"unit": "percent"} if layout == "things" else {}
    recording = kind(root=tmp_path, captions=tmp_path / "said.csv", **entries).open(tmp_path)

    def compared(truth, said=said):
        found = benchmark.compare(recording, truth, said)
        return found.pop("max_abs_diff"), found

    difference, found = compared(truth)
    assert difference < 1e-4
    assert found == EQUAL
    assert compared(truth | {"betas": truth["betas"][::-1]})[0] > 0.1
    assert compared(truth | {"is_test": ~truth["is_test"]})[1] == EQUAL | {"split_equal": False}
    assert compared(truth | {"roi_LOC": ~truth["roi_LOC"]})[1] == EQUAL | {"rois_equal": False}
    assert compared(truth | {"captions": truth["captions"][::-1]})[1] == EQUAL | {"captions_equal": False}
    assert compared(truth, said | {names[0]: said[names[0]][:1]})[1] == EQUAL | {"captions_equal": False}
    more = {"stimulus": truth["stimulus"].copy(), "names": np.append(truth["names"], "never.jpg")}
    more["stimulus"][np.flatnonzero(subject.is_test[subject.stimulus])[0]] = len(names)
    more["is_test"], more["captions"] = np.append(truth["is_test"], True), np.append(truth["captions"], "x")
    assert not compared(truth | more)[1]["stimuli_equal"]
    assert benchmark.captions_written(tmp_path, truth)[names[0]] == (truth["captions"][0],)


def test_the_benchmark_names_scripts_that_no_reader_is_known_for(tmp_path, monkeypatch, capsys):
    (benchmark,) = imported("benchmarks.layouts")
    (tmp_path / "of_others.py").write_text("raise SystemExit(1)")
    monkeypatch.setattr(sys, "argv", ["layouts.py", "--layouts", str(tmp_path)])
    benchmark.main()
    assert capsys.readouterr().out == '{"layout": "of_others", "reader": null}\n'
