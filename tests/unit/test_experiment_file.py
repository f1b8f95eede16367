"""Laws of the file that `info` prints: it says the same as the experiment, and describes every entry; and of its JSON schema."""

import re
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import Field, ValidationError

from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment, preset_names
from braindiffuser.experiment_file import WIDTH, commented_yaml, experiment_schema, starting_file
from braindiffuser.part import Settings
from braindiffuser.targets.target import Target

pytestmark = pytest.mark.usefixtures("types_unchecked_here")

ROOT = Path(__file__).parents[2]
TINY = {
    "name": "tiny",
    "dataset": {"n_train": 50, "n_test": 10, "n_held_out": 4, "trials_per_session": 48, "grid": [12, 14, 10]},
    "responses": {"rois": ["V1", "V2"]},
    "evaluation": {"n_resamples": 200, "metrics": {"again": {"kind": "pixcorr"}}},
    "analyses": [
        {"kind": "roi_maximisation"},
        {"kind": "roi_maximisation", "name": "again", "lengths": "as-published"},
    ],
}
EXPERIMENTS = {name: Experiment.load(name) for name in preset_names()}
EXPERIMENTS |= {"tiny": EXPERIMENTS["demo"].changed(TINY), "bare": EXPERIMENTS["demo"].changed({"analyses": []})}
EACH = pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)

texts = st.text(max_size=30) | st.text("ab :#'\"\n-?[]{}&*!|>%@`,\\\t\x85\u2028é", max_size=200)


class Empty(Settings):
    """Nothing."""


class Inner(Settings):
    """Entries of all sorts."""

    text: str = Field("", description="A text: with # signs,\nlines\x85and\u2028ends.")
    texts: tuple[str, ...] = Field((), description="Texts.")
    by_text: dict[str, str] = Field({}, description="Texts by a text.")


class Odd(Target):
    one: Inner = Field(Inner(), description="One.")
    many: tuple[Inner | Empty, ...] = Field((), description="Many.")
    by_name: dict[str, Inner | tuple[Inner, ...] | int] = Field({}, description="By a name.")
    undescribed: int = 0
    reads: ClassVar[tuple[str, ...]] = ("stimuli",)

    def extract(self, stimuli, networks, seed):
        return None


inner = st.builds(Inner, text=texts, texts=st.tuples(texts, texts), by_text=st.dictionaries(texts, texts, max_size=2))
many = st.lists(inner | st.just(Empty()), max_size=3).map(tuple)
by_name = st.dictionaries(texts, inner | st.lists(inner, max_size=2).map(tuple) | st.integers(), max_size=3)
odd = st.builds(Odd, one=inner, many=many, by_name=by_name)


def entries(content):
    """Keys of nested entries with settings, in the order of the file."""
    for key, value in content.items():
        yield key
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict) and key != "alphas":
                yield from entries(each)


# The file says the same as the experiment


@EACH
def test_the_commented_file_is_the_experiment(experiment, tmp_path):
    text = starting_file(experiment)
    assert yaml.safe_load(text) == experiment.model_dump(mode="json")
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    assert Experiment.load(tmp_path / "mine.yaml") == experiment
    assert all(len(line) <= WIDTH for line in commented_yaml(experiment).splitlines())


@settings(deadline=None, max_examples=200)
@given(name=texts, rois=st.lists(texts, max_size=3))
@example(name="a: b # c", rois=["- '\"", "#", "two\n\nlines # no comment"])
@example(name="one\x85two\u2028three", rois=["\x85", "é\n# 'ü'"])
def test_any_text_survives(name, rois):
    experiment = EXPERIMENTS["tiny"].changed({"name": name, "responses": {"rois": rois}})
    assert yaml.safe_load(starting_file(experiment)) == experiment.model_dump(mode="json")


@settings(deadline=None, max_examples=200)
@given(odd)
def test_any_shape_of_settings_survives(part):
    assert yaml.safe_load(commented_yaml(part)) == part.model_dump(mode="json")


# Every entry is described


@EACH
def test_every_entry_stands_below_its_description(experiment):
    lines = commented_yaml(experiment).splitlines()
    described = [
        line.lstrip(" -").partition(":")[0]
        for above, line in pairwise(lines)
        if above.lstrip().startswith("# ") and not line.lstrip().startswith("# ")
    ]
    named = set(experiment.targets) | set(experiment.evaluation.metrics)
    assert described == [key for key in entries(experiment.model_dump(mode="json")) if key not in named]


class Sided(Settings):
    """An entry whose description does not name its choices."""

    side: Literal["left", "right"] = Field("left", description="Where it lies.")


def test_comments_say_what_else_there_is():
    text = commented_yaml(EXPERIMENTS["demo"])
    assert "\n  # A simulated subject with known ground truth, in NSD's file layout. Other kinds: arrays," in text
    assert "number of averaged\n  # trials.\n  weights: equal" in text
    assert "\n  - kind: roi_maximisation\n    # Name of the results" in text
    assert "    latents: [100.0, 300.0, 1000.0, 3000.0, 10000.0, 30000.0, 100000.0]\n" in text
    assert commented_yaml(Sided()) == "# Where it lies. Choices: left, right.\nside: left"


def test_a_class_of_others_is_printed_with_what_it_says_of_itself():
    text = commented_yaml(Odd(many=(Inner(text="x"),)))
    assert text.startswith("# One group of features that a decoder learns to predict. Other kinds: clip_text,")
    assert "many:\n  # A text: with # signs, lines and ends.\n  - text: x\n    # Texts.\n    texts: []" in text
    assert text.endswith("by_name: {}\n\nundescribed: 0")


def test_the_head_says_which_checkpoints_are_here(tmp_path, monkeypatch):
    here = starting_file(EXPERIMENTS["demo"])
    assert re.search(r"^# Checkpoint generator\.unet is here: \d+\.\d MB$", here, re.MULTILINE)
    assert "is missing" not in here
    monkeypatch.setenv("BRAINDIFFUSER_CHECKPOINTS", str(tmp_path / "two\nlines"))
    lacking = starting_file(EXPERIMENTS["brain-diffuser"])
    place = f"{tmp_path}/two lines/brain-diffuser/vdvae/model.safetensors"
    assert f"# Checkpoint generator.vdvae is missing, expected at {place}\n" in lacking
    assert "# braindiffuser checkpoints --download --convert" in lacking


# JSON schema


@pytest.fixture(scope="module")
def valid():
    schema = experiment_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema).is_valid


@pytest.mark.parametrize("experiment", [EXPERIMENTS[name] for name in ("tiny", *preset_names())])
def test_experiments_are_valid_and_so_is_every_entry_changed(experiment, valid, changes):
    assert valid(experiment.model_dump(mode="json"))
    for changed in changes(experiment):
        assert valid(changed.config.model_dump(mode="json")), changed.name


@pytest.mark.parametrize("path", [*ROOT.glob("src/braindiffuser/presets/*"), *ROOT.glob("examples/extend/*.yaml")])
def test_presets_and_examples_are_valid_as_they_are_written(path, valid):
    assert valid(yaml.safe_load(path.read_text(encoding="utf-8")))


def at(content, dotted, value):
    """A copy with another value at one place; ... takes the entry away."""
    key, _, rest = dotted.partition(".")
    if isinstance(content, list):
        return [at(each, rest, value) for each in content]
    kept = {name: entry for name, entry in content.items() if name != key}
    new = at(content.get(key, {}), rest, value) if rest else value
    return kept if new is ... else kept | {key: new}


@pytest.mark.parametrize(
    ("dotted", "value"),
    [
        ("sed", 3),
        ("seed", -1),
        ("name", ...),
        ("dataset", ...),
        ("dataset.kind", ...),
        ("dataset.kind", "nsdd"),
        ("dataset.kind", "vdvae"),
        ("dataset.subject", 9),
        ("dataset.betas_format", "mat"),
        ("targets", {}),
        ("targets.latents.checkpoint", ...),
        ("targets.latents.n_layers", "nine"),
        ("targets.latents.posterior", "mode"),
        ("targets.Depth", {"kind": "vdvae", "checkpoint": "x"}),
        ("targets.text", None),
        ("regression.n_folds", 1),
        ("regression.alphas.latents", [-1.0]),
        ("regression.alphas.latents", []),
        ("generator.diffusion.strength", 1.5),
        ("generator.diffusion.noise_level", "as_published"),
        ("generator.diffusion.stength", 0.5),
        ("responses.min_noise_ceiling", 100),
        ("evaluation.metrics.mine", {"kind": "pixcorr", "size": 3}),
        ("analyses.0.kind", ...),
        ("analyses.0.lengths", "long"),
        ("preset", "demo2"),
    ],
)
def test_what_cannot_be_is_not_valid(dotted, value, valid):
    content = EXPERIMENTS["tiny"].model_dump(mode="json")
    assert valid(content)
    assert not valid(at(content, dotted, value))


def test_a_class_of_others_may_have_any_entries(valid):
    content = EXPERIMENTS["demo"].model_dump(mode="json")
    assert valid(at(content, "generator", {"kind": "my_lab.draws:Mosaic", "size": 3}))
    assert not valid(at(content, "generator", {"kind": "my_lab.draws", "size": 3}))


@pytest.mark.parametrize(
    ("differs", "is_valid"),
    [
        ({}, True),
        ({"name": "mine", "targets": {"latents": {"n_layers": 3}}}, True),
        ({"targets": {"text": None}, "generator": {"kind": "my_lab.draws:Mosaic"}}, True),
        ({"dataset": {"kind": "nsd"}}, False),
        ({"dataset": {"kind": "nsd", "root": ""}}, False),
        ({"dataset": None}, False),
        ({"targets": {"mine": {"kind": "clip_text"}}}, False),
        ({"seed": "1"}, False),
        ({"dataset": {"kind": "nsd", "root": "/data/nsd"}, "seed": None}, True),
        ({"targets": {"mine": {"kind": "my_lab.depth:Depth", "size": 3}}}, True),
        ({"targets": {"latents": {"n_layer": 3}}}, False),
        ({"targets": {"latents": {"n_layers": 0}}}, False),
        ({"dataset": {"kind": "nsdd"}}, False),
        ({"analyses": [{"lengths": "as-published"}]}, False),
        ({"gidance": 3}, False),
    ],
)
def test_a_file_that_begins_from_a_preset_states_what_differs(differs, is_valid, valid):
    assert valid({"preset": "demo"} | differs) == is_valid
    assert not valid(differs)


NOT_OF_ONE_ENTRY = (
    "draws from",
    "trials do not fill sessions",
    "there is no such target group",
    "generator brain_diffuser has no x",
)


def nested_at(path, value):
    """A mapping that holds one value at a nested place."""
    return {path[0]: nested_at(path[1:], value)} if path else value


def places(content):
    """Every place of nested mappings, and one more that is not there."""
    yield ("more",)
    for key, value in content.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, *rest) for rest in places(value))


def loaded(file):
    """The experiment of a file's content, as `Experiment.load` reads it."""
    changes = {key: value for key, value in file.items() if key != "preset"}
    return EXPERIMENTS[file["preset"]].changed(changes) if "preset" in file else Experiment.model_validate(file)


@pytest.mark.parametrize("value", [None, "x", "", 0.5, -1, [], [1], {}, {"kind": "x"}], ids=repr)
@pytest.mark.parametrize("preset", preset_names())
def test_the_schema_and_loading_agree(preset, value, valid):
    """Whatever stands at any place, in a whole file and beside a preset, as far as it concerns one entry."""
    whole = EXPERIMENTS[preset].model_dump(mode="json")
    for place in places(whole):
        for file in (at(whole, ".".join(place), value), {"preset": preset} | nested_at(place, value)):
            try:
                loaded(file)
                fault = ""
            except (ValidationError, RunError) as error:
                fault = str(error)
            if not any(words in fault for words in NOT_OF_ONE_ENTRY):
                assert valid(file) == (not fault), (place, fault)


def test_the_schema_describes_entries_with_defaults_and_limits():
    schema = experiment_schema()["$defs"]
    strength = schema["DiffusionConfig"]["properties"]["strength"]
    assert strength["description"].startswith("Share of the steps")
    assert (strength["default"], strength["minimum"], strength["maximum"]) == (0.75, 0, 1)
    assert schema["NSD"]["properties"]["kind"] == {"const": "nsd"}
    assert schema["NSD"]["description"].startswith("One subject of the Natural Scenes Dataset")
    assert schema["NSD"]["required"] == ["kind", "root"]
