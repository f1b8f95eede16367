"""Laws of experiments: files and objects are the same thing, and the identity changes with what matters only."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from braindiffuser.config import WITHOUT_INFLUENCE, CheckpointsConfig, Experiment, flatten, identity, preset_names
from braindiffuser.errors import RunError
from braindiffuser.models.weights import BUNDLED
from braindiffuser.weight_files import weights_folder

FOLDERS = {"vdvae": "a/vdvae", "clip": "a/clip", "autoencoder": "a/autoencoder", "unet": "/elsewhere/unet"}
MINIMAL = {"name": "mine", "checkpoints": FOLDERS}
RICH = MINIMAL | {
    "seed": 7,
    "device": "cuda:1",
    "simulation": {},
    "data": {"root": "/data/nsd", "subject": 5, "sessions": 37, "normalisation": "training"},
    "latents": {"n_layers": 10, "posterior": "mean"},
    "regression": {"alphas": {"latents": [1.0, 10.0]}, "n_folds": 3, "calibration": "transductive"},
    "low_level": {"temperature": 0.0, "output": "mean", "batch_size": 3},
    "diffusion": {"n_steps": 20, "strength": 0.5},
    "evaluation": {"n_resamples": 10},
}

keys = st.text(st.characters(exclude_characters="."), min_size=1, max_size=3)
leaves = st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
nested = st.dictionaries(
    keys, st.recursive(leaves, lambda inner: st.dictionaries(keys, inner, min_size=1, max_size=3), max_leaves=8)
)


def change(entries, dotted, value):
    """Entries with one nested value replaced."""
    key, _, rest = dotted.partition(".")
    return entries | {key: change(entries.get(key, {}), rest, value) if rest else value}


def uid(entries):
    return Experiment.model_validate(entries).uid


def nest(flat):
    content = {}
    for dotted, value in flat.items():
        *parents, last = dotted.split(".")
        inner = content
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    return content


# Files


@pytest.mark.parametrize("entries", [MINIMAL, RICH], ids=["minimal", "rich"])
def test_an_experiment_survives_its_file(tmp_path, entries):
    experiment = Experiment.model_validate(entries)
    (tmp_path / "mine.yaml").write_text(experiment.to_yaml())
    loaded = Experiment.load(tmp_path / "mine.yaml")
    assert loaded == experiment
    assert loaded.uid == experiment.uid
    assert loaded.to_yaml() == experiment.to_yaml()


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_an_experiment(tmp_path, name):
    preset = Experiment.load(name)
    assert preset.name == name
    (tmp_path / "copy.yaml").write_text(preset.to_yaml())
    assert Experiment.load(str(tmp_path / "copy.yaml")) == preset


def test_the_demo_is_a_preset():
    assert "demo" in preset_names()


def test_what_is_neither_file_nor_preset_is_an_error(tmp_path):
    with pytest.raises(RunError, match=r"no file dmeo and no preset of that name; presets: .*demo"):
        Experiment.load("dmeo")
    with pytest.raises(RunError, match="no file"):
        Experiment.load(tmp_path)


@pytest.mark.parametrize(
    ("dotted", "value"),
    [
        ("sed", 3),
        ("data.sesions", 3),
        ("data.subject", 0),
        ("checkpoints.vae", "x"),
        ("regression.alpha", 3.0),
        ("regression.alphas.image", [3.0]),
        ("regression.n_folds", 1),
        ("latents.posterior", "mode"),
        ("low_level.temprature", 1.0),
        ("diffusion.stength", 0.5),
        ("evaluation.n_resamples", 0),
    ],
)
def test_entries_that_are_unknown_or_out_of_range_are_named(tmp_path, dotted, value):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(change(MINIMAL, dotted, value)))
    with pytest.raises(RunError, match=rf"mine\.yaml is not an experiment: {re.escape(dotted)}: "):
        Experiment.load(path)


def test_all_faults_are_listed(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"name": "mine", "sed": 1, "evaluation": {"n_resamples": 0}}))
    with pytest.raises(RunError) as caught:
        Experiment.load(path)
    assert all(entry in str(caught.value) for entry in ("checkpoints: ", "sed: ", "evaluation.n_resamples: "))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "name: [unclosed\n", "name: !!python/name:os.system\n"])
def test_files_that_are_no_mapping_are_errors(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RunError, match=r"mine\.yaml is not an experiment: "):
        Experiment.load(path)


def test_experiments_are_frozen():
    experiment = Experiment.model_validate(MINIMAL)
    with pytest.raises(ValidationError, match="frozen"):
        experiment.seed = 3
    with pytest.raises(ValidationError, match="frozen"):
        experiment.data.subject = 2


def test_the_defaults_are_the_papers_penalties():
    alphas = Experiment.model_validate(MINIMAL).regression.alphas
    assert (alphas.latents, alphas.vision, alphas.text) == ((50_000.0,), (60_000.0,), (100_000.0,))


def test_relative_checkpoints_are_bundled_or_downloaded_and_absolute_ones_are_anywhere():
    checkpoints = CheckpointsConfig.model_validate(FOLDERS)
    assert checkpoints.folder("clip") == weights_folder() / "a" / "clip"
    bundled = checkpoints.model_copy(update={"clip": Path("demo/clip")})
    assert bundled.folder("clip") == BUNDLED / "demo" / "clip"
    assert checkpoints.folder("unet") == Path("/elsewhere/unet")


# Identity


@pytest.mark.parametrize(
    ("dotted", "value"),
    [
        ("device", "cpu"),
        ("data.root", "/other"),
        ("data.root", None),
        ("low_level.batch_size", 9),
        ("diffusion.batch_size", 9),
        ("diffusion.offload", True),
    ],
)
def test_what_cannot_change_a_result_is_not_in_the_identity(dotted, value):
    assert uid(change(RICH, dotted, value)) == uid(RICH)


@pytest.mark.parametrize(
    ("dotted", "value"),
    [
        ("seed", 8),
        ("simulation", None),
        ("data.subject", 1),
        ("data.sessions", 36),
        ("data.normalisation", "session"),
        ("checkpoints.unet", "a/unet"),
        ("latents.n_layers", 11),
        ("regression.alphas.latents", [1.0, 11.0]),
        ("regression.alphas.text", [1.0]),
        ("regression.calibration", "inductive"),
        ("low_level.output", "sample"),
        ("diffusion.strength", 0.51),
        ("evaluation.n_resamples", 11),
    ],
)
def test_what_can_change_a_result_is_in_the_identity(dotted, value):
    assert uid(change(RICH, dotted, value)) != uid(RICH)


def test_precision_counts_as_it_is_in_force():
    half = change(RICH, "diffusion.precision", "half")
    uids = {device: uid(change(half, "device", device)) for device in ("cpu", "cuda", "cuda:1")}
    assert uids["cuda"] == uids["cuda:1"] != uids["cpu"]
    assert uids["cpu"] == uid(change(change(RICH, "diffusion.precision", "full"), "device", "cuda"))


def test_the_name_is_read_but_not_hashed():
    assert re.fullmatch(r"mine-[0-9a-f]{8}", uid(MINIMAL))
    assert uid(MINIMAL | {"name": "other"}) == uid(MINIMAL).replace("mine", "other")


def test_defaults_written_out_are_the_same_experiment():
    assert uid(Experiment.model_validate(MINIMAL).model_dump()) == uid(MINIMAL)


def test_entries_without_influence_exist():
    assert set(WITHOUT_INFLUENCE) <= flatten(Experiment.model_validate(MINIMAL).model_dump()).keys()


def test_identity_is_a_hash_of_the_sorted_entries():
    content = {"b": {"y": 1.5, "x": None}, "a": [1, 2], "device": "cpu"}
    expected = hashlib.sha256(b'{"a": [1, 2], "b.x": null, "b.y": 1.5}').hexdigest()[:8]
    assert identity(content) == expected
    assert identity(dict(reversed(content.items()))) == expected
    assert identity(content, without=()) != expected


@settings(deadline=None, max_examples=25)
@given(nested)
def test_flatten_loses_nothing(content):
    flat = flatten(content)
    assert nest(flat) == content
    assert not any(isinstance(value, dict) for value in flat.values())
    assert flatten(flat) == flat
    assert identity(json.loads(json.dumps(content)), without=()) == identity(content, without=())


def test_empty_mappings_stay_apart_from_nothing():
    assert flatten({"a": {"b": {}}, "c": None}) == {"a.b": {}, "c": None}


def test_single_trials_are_not_weighed_by_their_repeats():
    with pytest.raises(ValidationError, match="every trial counts already"):
        Experiment.load("demo").changed({"data": {"rows": "trials"}, "regression": {"weights": "repeats"}})


@pytest.mark.parametrize("alphas", [[], [-1.0], [float("inf")], [float("nan")]])
def test_alphas_are_finite_and_there_is_one(alphas):
    with pytest.raises(ValidationError, match=r"regression\.alphas\.latents"):
        Experiment.load("demo").changed({"regression": {"alphas": {"latents": alphas}}})
