"""An extension is one file and one line: each example does what it says, and nothing runs that was not named."""

import ast
import json
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import yaml
import zarr

from braindiffuser import images
from braindiffuser.analyses.analysis import Analysis
from braindiffuser.datasets.dataset import Dataset
from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.generators.generator import Generator
from braindiffuser.metrics.metric import Metric
from braindiffuser.regression.regressor import Regressor
from braindiffuser.regression.rows import TrainingRows
from braindiffuser.run import Run
from braindiffuser.splits.split import Split
from braindiffuser.targets.target import Stimuli, Target

ROOT = Path(__file__).parents[2]
EXTEND = ROOT / "examples" / "extend"
KINDS = {
    "dataset": ("PlainFiles", Dataset),
    "split": ("ByName", Split),
    "target": ("ColourGrid", Target),
    "regressor": ("NearestNeighbours", Regressor),
    "generator": ("Mosaic", Generator),
    "metric": ("Colourfulness", Metric),
    "analysis": ("DecodingAccuracy", Analysis),
}


def command(*arguments, folder=EXTEND):
    """Run the command line in a process of its own, in which no extension is imported."""
    words = [sys.executable, "-m", "braindiffuser", *map(str, arguments)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def succeed(*arguments, folder=EXTEND):
    done = command(*arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fail(*arguments, folder=EXTEND):
    """Return the one sentence that a mistake is answered with."""
    done = command(*arguments, folder=folder)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    return done.stderr.partition("error: ")[2].strip()


def importing(*modules):
    return [word for module in modules for word in ("--with", module)]


def write(path, content):
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.fixture
def extensions(monkeypatch):
    """The modules by name, imported as `--with` does, and forgotten afterwards."""
    monkeypatch.syspath_prepend(str(EXTEND))
    yield {name: import_module(name) for name in KINDS}
    for name in KINDS:
        del sys.modules[name]


@pytest.fixture(scope="module")
def light(recording_root):
    """An experiment without networks but those that score: a few colours decoded and drawn."""
    return {
        "name": "light",
        "dataset": {"kind": "nsd", "root": str(recording_root)},
        "targets": {"colours": {"kind": "target:ColourGrid"}},
        "regression": {"kind": "ridge", "n_folds": 3},
        "generator": {"kind": "generator:Mosaic"},
        "pictures": {"ceiling": False},
        "evaluation": {"metrics": {"colourfulness": {"kind": "metric:Colourfulness"}}, "n_resamples": 50},
        "analyses": [{"kind": "analysis:DecodingAccuracy"}],
    }


@pytest.fixture(scope="module")
def finished(light, tmp_path_factory):
    """Folder of a whole run with a generator, a target, a metric and an analysis of one's own."""
    folder = tmp_path_factory.mktemp("light")
    config = write(folder / "light.yaml", light)
    modules = importing("target", "generator", "metric", "analysis")
    succeed("run", "--config", config, *modules, "--out", folder / "run")
    return folder / "run"


def array(run, name):
    return np.asarray(zarr.open_array(run / "arrays" / name, mode="r")[:])


def pictures(run, kind):
    return images.load_png(sorted((run / "reconstructions" / kind).glob("*.png")))


def read(run, name):
    return json.loads((run / name).read_text(encoding="utf-8"))


# One file and one line


@pytest.mark.parametrize("name", KINDS)
def test_an_extension_is_the_demo_and_one_line_of_its_own(name, extensions):
    line, experiment = yaml.safe_load((EXTEND / f"{name}.yaml").read_text()), Experiment.load(EXTEND / f"{name}.yaml")
    borrowed = {"targets"} if name == "generator" else set()  # it draws from what target.py adds
    assert line.pop("preset") == "demo"
    assert len(line.keys() - borrowed) == 1
    demo, own = Experiment.load("demo").model_dump(), experiment.model_dump()
    assert {entry for entry in demo if demo[entry] != own[entry]} == set(line)


def test_the_docs_show_the_example_as_it_stands():
    example = (EXTEND / "target.py").read_text()
    shown = (ROOT / "docs" / "extend.md").read_text().partition("    class ColourGrid")[2].partition("\n\nFields")[0]
    assert all(line.strip() in example for line in shown.splitlines())
    assert "Resampling.BOX" in shown


def test_the_demo_leaves_the_choice_of_ablations_to_the_generator(extensions):
    demo, mosaic = Experiment.load("demo"), Experiment.load(EXTEND / "generator.yaml")
    assert list(demo.ablations) == ["low_level_only", "without_low_level"]
    assert list(mosaic.ablations) == ["without_colour"]


@pytest.mark.parametrize("name", KINDS)
def test_a_file_says_in_its_docstring_how_it_is_used(name):
    said = ast.get_docstring(ast.parse((EXTEND / f"{name}.py").read_text()))
    lines = [line.strip() for line in said.splitlines()]
    for line in (EXTEND / f"{name}.yaml").read_text().splitlines()[1:]:
        assert line.partition("  #")[0] in lines
    assert f"braindiffuser run --config {name}.yaml" in said
    assert f"--with {name}" in said


@pytest.mark.parametrize("name", KINDS)
def test_the_class_is_of_its_family_and_its_kind_is_read_back(name, extensions):
    class_name, family = KINDS[name]
    found = getattr(extensions[name], class_name)
    assert issubclass(found, family)
    experiment = Experiment.load(EXTEND / f"{name}.yaml")
    assert f"kind: {name}:{class_name}" in experiment.to_yaml()
    assert Experiment.model_validate(yaml.safe_load(experiment.to_yaml())) == experiment


def test_the_package_knows_nothing_of_the_extensions():
    words = [f"{name}:{class_name}" for name, (class_name, _) in KINDS.items()] + [name for name, _ in KINDS.values()]
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not [word for word in words if word in text and word != "NearestNeighbours"], path


# Dataset


@pytest.fixture
def made_up(tmp_path):
    subprocess.run([sys.executable, EXTEND / "dataset.py", tmp_path / "made-up"], check=True)
    return tmp_path / "made-up"


def plain_files(folder, root):
    line = yaml.safe_load((EXTEND / "dataset.yaml").read_text())
    return write(folder / "plain.yaml", line | {"dataset": line["dataset"] | {"root": str(root)}})


def test_responses_are_those_of_the_plain_files(made_up, tmp_path):
    run = tmp_path / "run"
    succeed("prepare", "--config", plain_files(tmp_path, made_up), *importing("dataset"), "--out", run)
    betas, stimuli = np.load(made_up / "betas.npy").astype(np.float64), array(run, "stimuli/train_ids")
    trials = np.genfromtxt(made_up / "trials.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    for session in np.unique(trials["session"]):
        own = trials["session"] == session
        training = betas[own & (trials["split"] == "train")]
        betas[own] = (betas[own] - training.mean(0)) / training.std(0, ddof=1)
    averages = np.stack([betas[trials["stimulus_id"] == stimulus].mean(0) for stimulus in stimuli])
    expected = (averages - averages.mean(0)) / averages.std(0, ddof=1)
    np.testing.assert_allclose(array(run, "responses/train"), expected, atol=1e-4)
    assert read(run, "subject.json")["simulated"] is True


def test_captions_are_those_of_the_stimulus(made_up, tmp_path, extensions):
    captions = [[f"picture {number}"] for number in range(72)]
    (made_up / "captions.json").write_text(json.dumps(captions))
    recording = Experiment.load(plain_files(tmp_path, made_up)).dataset.open(tmp_path)
    assert [list(recording.captions(number)) for number in range(72)] == captions


def test_a_recording_is_its_content_not_its_place(made_up, tmp_path, extensions):
    experiment = Experiment.load(plain_files(tmp_path, made_up))
    Run.open(experiment, tmp_path / "run").do("prepare")
    made_up.rename(tmp_path / "elsewhere")
    moved = experiment.changed({"dataset": {"root": str(tmp_path / "elsewhere")}})
    assert Run.open(moved, tmp_path / "run").is_finished("prepare")
    betas = np.load(tmp_path / "elsewhere" / "betas.npy")
    np.save(tmp_path / "elsewhere" / "betas.npy", betas * 2)
    with pytest.raises(RunError, match=r"betas: betas\.npy was changed"):
        Run.open(moved, tmp_path / "run")


def test_a_missing_file_is_named(made_up, tmp_path):
    (made_up / "captions.json").unlink()
    config = plain_files(tmp_path, made_up)
    said = fail("prepare", "--config", config, *importing("dataset"), "--out", tmp_path / "run")
    assert "made-up lacks captions.json" in said


# Target


def test_a_fourth_group_leaves_the_three_others_alone(recording_root, tmp_path):
    tiny = {
        "preset": "demo",
        "dataset": {"kind": "nsd", "root": str(recording_root)},
        "regression": {"n_folds": 3},
        "analyses": [],
    }
    line, run = yaml.safe_load((EXTEND / "target.yaml").read_text()), tmp_path / "run"
    three, four = write(tmp_path / "three.yaml", tiny), write(tmp_path / "four.yaml", tiny | line)
    opened = Run.open(Experiment.load(three), run)
    for stage in ("prepare", "extract", "fit"):
        opened.do(stage)
    before = {path.name: path.read_bytes() for path in (run / "steps").iterdir()}
    predictions = {group: array(run, f"predictions/{group}") for group in ("latents", "vision", "text")}
    for stage in ("extract", "fit"):
        succeed(stage, "--config", four, *importing("target"), "--out", run)
    after = {path.name: path.read_bytes() for path in (run / "steps").iterdir()}
    assert after.keys() - before.keys() == {"extract.colours.json", "fit.colours.json"}
    assert {name: after[name] for name in before} == before
    for group, values in predictions.items():
        np.testing.assert_array_equal(array(run, f"predictions/{group}"), values)
    assert array(run, "predictions/colours").shape == (14, 3, 4, 4)


def test_colours_are_the_means_of_tiles_whichever_pictures_come_with_them(extensions):
    shown = np.random.default_rng(0).random((3, 3, 64, 64), dtype=np.float32)
    stimuli = [Stimuli(ids, lambda ids: shown[ids], None) for ids in (np.arange(3), np.array([2]))]
    together, alone = (extensions["target"].ColourGrid(size=4).extract(some, None, 0) for some in stimuli)
    tiles = shown.reshape(3, 3, 4, 16, 4, 16).mean((3, 5))
    np.testing.assert_allclose(together, tiles, atol=1 / 255)
    np.testing.assert_array_equal(alone[0], together[2])


# Regressor


def test_neighbours_are_those_whose_responses_correlate_most(extensions):
    rng = np.random.default_rng(0)
    responses, tests = rng.normal(size=(40, 30)), {"test": rng.normal(size=(5, 30)), "other": rng.normal(size=(2, 30))}
    targets = {"near": responses[:, :6].reshape(40, 2, 3).astype(np.float16), "far": rng.normal(size=(40, 4))}
    regressor, rows = extensions["regressor"].NearestNeighbours(k=(1, 4, 20)), TrainingRows(responses)
    fitted = regressor.fit(rows, targets, "cpu")
    decoded = dict(regressor.decode(fitted, rows, targets, tests, "cpu"))
    for group, values in targets.items():
        flat, k = values.reshape(40, -1).astype(np.float32), int(fitted[group].arrays["k"])
        for name, own in tests.items():
            order = np.argsort(-np.corrcoef(own, responses)[: len(own), len(own) :], axis=1)[:, :k]
            np.testing.assert_allclose(decoded[group][name], flat[order].mean(1), rtol=1e-5, atol=1e-6)
        alone = regressor.fit(rows, {group: values}, "cpu")
        for name, own in dict(regressor.decode(alone, rows, {group: values}, tests, "cpu"))[group].items():
            np.testing.assert_array_equal(own, decoded[group][name])


def test_k_is_chosen_by_stimuli_decoded_from_all_others(extensions):
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.normal(size=(8, 30)), 5, axis=0)  # five alike: each has four of its own sort beside it
    rows = TrainingRows(centres + 0.1 * rng.normal(size=centres.shape))
    regressor = extensions["regressor"].NearestNeighbours(k=(1, 4, 20))
    noisy = {"noisy": centres + rng.normal(size=centres.shape)}
    assert int(regressor.fit(rows, noisy, "cpu")["noisy"].arrays["k"]) == 4


def test_what_needs_a_linear_decoder_says_so_on_the_page_and_does_not_stop_the_run(light, extensions, tmp_path):
    own_line = yaml.safe_load((EXTEND / "regressor.yaml").read_text())["regression"]
    content = light | {"regression": own_line, "analyses": [{"kind": "roi_maximisation"}]}
    run = Run.open(Experiment.model_validate(content), tmp_path)
    for stage in ("prepare", "extract", "fit", "analyse"):
        run.do(stage)
    section = read(tmp_path, "sections/analyse.roi_maximisation.json")
    assert "can only be decoded by linear decoders" in section["blocks"][0]["text"]
    assert not (tmp_path / "reconstructions").exists()


def test_too_few_stimuli_are_refused_before_anything_is_fitted(light, tmp_path):
    content = light | {"regression": {"kind": "regressor:NearestNeighbours", "k": [1, 50]}}
    config = write(tmp_path / "many.yaml", content)
    modules = importing("target", "generator", "metric", "analysis", "regressor")
    said = fail("prepare", "--config", config, *modules, "--out", tmp_path / "run")
    assert said.startswith("regression.k goes up to 50, but there are 50 training stimuli")


# Generator, metric, analysis: in one run


def test_pictures_are_the_enlarged_predictions(finished):
    colours = array(finished, "predictions/colours").clip(0, 1)
    np.testing.assert_array_equal(pictures(finished, "final"), images.resize(colours, 64))
    grey = images.resize(colours.mean(1, keepdims=True).repeat(3, 1), 64)
    np.testing.assert_array_equal(pictures(finished, "grey"), grey)
    scores = read(finished, "scores.json")["metrics"]["pixcorr"]
    assert scores["ablations"].keys() == {"without_colour"}
    assert "Without colour" in (finished / "report" / "index.html").read_text(encoding="utf-8")


def colourfulness(picture):
    """Hasler & Süsstrunk's formula, pixel by pixel, independently of the example."""
    red, green, blue = (picture[channel].ravel().astype(float) for channel in range(3))
    rg, yb = red - green, 0.5 * (red + green) - blue
    return np.sqrt(rg.var() + yb.var()) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2)


def test_a_metric_stands_among_the_scores_with_its_facts(finished):
    start, stop = read(finished, "test_sets.json")["test"]
    pairs = zip(pictures(finished, "seen")[start:stop], pictures(finished, "final")[start:stop], strict=True)
    expected = [abs(colourfulness(seen) - colourfulness(made)) for seen, made in pairs]
    scores = read(finished, "scores.json")["metrics"]
    assert list(scores)[-1] == "colourfulness"
    assert scores["colourfulness"]["value"] == pytest.approx(np.mean(expected), rel=1e-6)
    assert scores["colourfulness"]["higher_is_better"] is False
    assert "10.1117/12.477378" in json.dumps(scores["colourfulness"])
    assert "Colourfulness difference" in (finished / "report" / "index.html").read_text(encoding="utf-8")


def test_the_bounds_of_colourfulness_are_reached_and_not_crossed(extensions):
    low, high = extensions["metric"].Colourfulness.bounds
    reached = []
    for share in np.linspace(0, 1, 65):  # of red among red and green, half of them with blue
        n = round(64 * share)
        columns = np.array([[1, 0, 0]] * n + [[0, 1, 0]] * (64 - n), np.float32)
        blue = columns + np.array([0, 0, 1], np.float32)
        picture = np.stack([columns, blue]).transpose(2, 0, 1)[None]
        reached.append(float(extensions["metric"].colourfulness(picture)[0]))
    assert low == 0
    assert max(reached) == pytest.approx(high, rel=1e-3)
    assert max(reached) <= high
    noise = np.random.default_rng(0).integers(0, 2, (200, 3, 4, 4)).astype(np.float32)
    assert extensions["metric"].colourfulness(noise).max() <= high


def test_an_analysis_ends_in_a_section_of_the_page(finished):
    truth, predicted = (array(finished, f"{name}/colours").reshape(14, -1) for name in ("truth", "predictions"))
    found, sets = read(finished, "analyses/decodingaccuracy.json")["colours"], read(finished, "test_sets.json")
    assert found.keys() == sets.keys()
    for name, (start, stop) in sets.items():
        n = stop - start
        correlations = np.corrcoef(truth[start:stop], predicted[start:stop])[:n, n:]
        identified = [(correlations[k, k] > np.delete(correlations[:, k], k)).mean() for k in range(n)]
        value, low, high = found[name]
        assert value == pytest.approx(np.mean(identified))
        assert low <= value <= high
    blocks = read(finished, "sections/analyse.decodingaccuracy.json")["blocks"]
    assert [block["type"] for block in blocks] == ["text", "table", "figures"]
    page = (finished / "report" / "index.html").read_text(encoding="utf-8")
    assert f"Test stimuli are told apart best by colours: {100 * found['test'][0]:.1f} %" in page
    assert blocks[2]["figures"][0]["svg"] in page


# Nobody's code runs that was not named


def test_a_module_is_imported_only_if_it_is_named(tmp_path):
    code = "from pathlib import Path\nfrom target import ColourGrid\nPath('imported').touch()\nclass Mine(ColourGrid): pass\n"
    (tmp_path / "mine.py").write_text(code)
    (tmp_path / "target.py").write_text((EXTEND / "target.py").read_text())
    config = write(tmp_path / "mine.yaml", {"preset": "demo", "targets": {"mine": {"kind": "mine:Mine"}}})
    said = fail("info", "--config", config, folder=tmp_path)
    assert "targets.mine: mine:Mine is in a module that is not imported: name it with --with mine" in said
    assert not (tmp_path / "imported").exists()
    assert "kind: mine:Mine" in succeed("info", "--config", config, "--with", "mine", folder=tmp_path)
    assert (tmp_path / "imported").exists()


def test_a_folder_made_by_extensions_says_which_to_name(finished):
    said = fail("report", "--out", finished)
    assert "generator:Mosaic is in a module that is not imported: name it with --with generator" in said


SPY = """
import importlib.util, subprocess, sys, types
import os
from pydantic_core import PydanticCustomError
from braindiffuser.datasets.dataset import Dataset
from braindiffuser.part import as_part, known_kinds

class Proxy:
    def __getattribute__(self, name):
        happened.append(name)
        return object.__getattribute__(self, name)

def getter(name):
    happened.append(name)

happened, watched = [], []
lazy = types.ModuleType("lazy")
lazy.__getattr__, lazy.proxy, lazy.function = getter, Proxy(), getter
sys.modules |= {"lazy": lazy, "proxy": Proxy(), "nothing": None}
spec = importlib.util.find_spec("this")
later = importlib.util.module_from_spec(spec)
importlib.util.LazyLoader(spec.loader).exec_module(later)
sys.modules["this"] = later
events = ("exec", "compile", "import", "open", "os.system", "subprocess.Popen")
sys.addaudithook(lambda event, _: happened.append(event) if watched and event in events else None)
known_kinds(Dataset)
kinds = sys.argv[1:]
for kind in kinds:
    watched.append(kind)
    try:
        as_part(Dataset, {"kind": kind, "command": "touch here", "args": ["touch", "here"]})
    except PydanticCustomError as error:
        answer = error.message()
    watched.clear()
    print(answer)
print("happened:", happened)
"""


def test_a_kind_alone_runs_no_code(tmp_path):
    answers = {
        "os:system": "os:system is no Dataset",
        "subprocess:Popen": "subprocess:Popen is no Dataset",
        "builtins:eval": "builtins:eval is no Dataset",
        "braindiffuser.datasets.dataset:Dataset": "braindiffuser.datasets.dataset:Dataset is no Dataset",
        "lazy:Anything": "the module lazy has no class Anything",
        "lazy:function": "lazy:function is no Dataset",
        "lazy:proxy": "lazy:proxy is no Dataset",
        "proxy:Anything": "proxy:Anything is in a module that is not imported",
        "nothing:Anything": "nothing:Anything is in a module that is not imported",
        "this:Anything": "the module this has no class Anything",
        "antigravity:Anything": "antigravity:Anything is in a module that is not imported",
        "os.path": "there is no kind os.path; known kinds: arrays, bdata, bids, bold5000, glmsingle, laion_fmri, nsd, "
        "simulated, things, or module:Class of your own",
        "../nsd": "there is no kind ../nsd",
        ":": ": is in a module that is not imported",
        "": "there is no kind ;",
    }
    done = subprocess.run(
        [sys.executable, "-c", SPY, *answers], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *said, happened = done.stdout.splitlines()
    for line, expected in zip(said, answers.values(), strict=True):
        assert line.startswith(expected)
    assert happened == "happened: []"
    assert list(tmp_path.iterdir()) == []


# Mistakes


@pytest.mark.parametrize(
    ("line", "modules", "words"),
    [
        ("targets: {c: {kind: target:Colours}}", ["target"], "targets.c: the module target has no class Colours"),
        ("targets: {c: {kind: colour_grid}}", ["target"], "known kinds: clip_text, clip_vision, vdvae, or module:Class"),
        ("targets: {c: {size: 4}}", ["target"], "targets.c: kind is missing; known kinds: clip_text"),
        ("targets: {c: {kind: target:ColourGrid, side: 4}}", ["target"], "targets.c.side: there is no such entry; known entries"),
        ("targets: {c: {kind: target:ColourGrid, size: 0}}", ["target"], "targets.c.size: Input should be greater than 0"),
        ("targets: {c: {kind: metric:Colourfulness}}", ["metric"], "targets.c: metric:Colourfulness is no Target"),
        ("targets: {}", ["nowhere"], "--with nowhere cannot be imported: No module named 'nowhere'"),
        ("generator: {kind: generator:Mosaic}", ["generator"], "draws from colours; targets lack colours"),
        ("pictures: {ablations: [without_colour]}", [], "generator brain_diffuser has no without_colour; it has low_level_only"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_by_one_sentence(line, modules, words, tmp_path):
    (tmp_path / "wrong.yaml").write_text(f"preset: demo\n{line}\n", encoding="utf-8")
    said = fail("info", "--config", tmp_path / "wrong.yaml", *importing(*modules))
    assert words in said
    assert "\n" not in said


def test_a_class_that_is_not_finished_says_what_it_lacks(extensions, monkeypatch):
    class Half(Target):
        """Without `extract`."""

    monkeypatch.setattr(extensions["target"], "Half", Half, raising=False)
    with pytest.raises(RunError, match="target:Half does not define extract"):
        Experiment.load("demo").changed({"targets": {"half": {"kind": "target:Half"}}})


def test_a_base_of_ones_own_makes_no_kind_of_the_package(monkeypatch):
    """A lab's folder may be built as ours are: a base in its `__init__`, a kind in each file."""
    base = type("Lab", (Dataset,), {"__module__": "lab"})
    kind = type("Scanner", (base,), {"__module__": "lab.scanner", "open": lambda self, made: None})
    assert kind().kind == "lab.scanner:Scanner"
    assert isinstance(kind().model_dump(), Mapping)
