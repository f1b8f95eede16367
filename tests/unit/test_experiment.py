"""Laws of experiments: files and objects are the same thing, and the identity changes with what matters only."""

import json
import os
import re
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from braindiffuser.errors import RunError
from braindiffuser.experiment import LARGEST_FILE, Experiment, ResponsesConfig, merged, preset_names
from braindiffuser.generators.generator import Generator, Variant
from braindiffuser.networks.checkpoint_folders import BUNDLED, downloads_folder
from braindiffuser.step_states import flatten

pytestmark = pytest.mark.usefixtures("types_unchecked_here")

MINIMAL = {
    "name": "mine",
    "dataset": {"kind": "nsd", "root": "/data/nsd"},
    "targets": {
        "latents": {"kind": "vdvae", "checkpoint": "a/vdvae"},
        "vision": {"kind": "clip_vision", "checkpoint": "a/clip"},
        "text": {"kind": "clip_text", "checkpoint": "a/clip"},
    },
    "regression": {"kind": "ridge"},
    "generator": {
        "kind": "brain_diffuser",
        "vdvae": "a/vdvae",
        "autoencoder": "a/autoencoder",
        "unet": "/elsewhere/unet",
    },
}
CHANGES = {
    "seed": 7,
    "device": "cuda:1",
    "dataset": {"subject": 5, "sessions": 37},
    "responses": {"normalisation": "training", "rois": ["V1"]},
    "targets": {"latents": {"n_layers": 10, "posterior": "mean"}},
    "regression": {"alphas": {"latents": [1.0, 10.0]}, "n_folds": 3, "calibration": "transductive"},
    "generator": {"low_level": {"temperature": 0.0}, "batch_size": 3, "diffusion": {"n_steps": 20}},
    "pictures": {"ceiling": False, "ablations": []},
    "evaluation": {"n_resamples": 10, "metrics": {"again": {"kind": "pixcorr"}}},
    "analyses": [{"kind": "roi_maximisation"}, {"kind": "roi_maximisation", "name": "as-published"}],
}
RICH = merged(MINIMAL, CHANGES)

keys = st.text(min_size=1, max_size=3)
leaves = st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)


def mappings(of):
    return st.dictionaries(keys, st.recursive(of, lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=8))


filled, nested = mappings(leaves), mappings(st.none() | leaves)


def an_experiment(entries=MINIMAL, **changes):
    return Experiment.model_validate(merged(entries, changes))


def at(dotted, value):
    """A mapping that holds one value at a nested place."""
    key, _, rest = dotted.partition(".")
    return {key: at(rest, value) if rest else value}


def write(path, content):
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


# Files


@pytest.mark.parametrize("entries", [MINIMAL, RICH], ids=["minimal", "rich"])
def test_an_experiment_survives_its_file(tmp_path, entries):
    experiment = an_experiment(entries)
    (tmp_path / "mine.yaml").write_text(experiment.to_yaml())
    loaded = Experiment.load(tmp_path / "mine.yaml")
    assert loaded == experiment
    assert loaded.uid == experiment.uid
    assert loaded.to_yaml() == experiment.to_yaml()
    assert Experiment.model_validate(json.loads(experiment.model_dump_json())) == experiment


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_an_experiment(tmp_path, name):
    preset = Experiment.load(name)
    assert preset.name == name
    (tmp_path / "copy.yaml").write_text(preset.to_yaml())
    assert Experiment.load(str(tmp_path / "copy.yaml")) == preset


def test_presets_are_the_demonstration_and_the_paper():
    assert preset_names() == ["brain-diffuser", "demo"]
    paper = Experiment.load("brain-diffuser")
    alphas = [paper.regression.alphas_of(group) for group in ("latents", "vision", "text")]
    assert alphas == [(50_000.0,), (60_000.0,), (100_000.0,)]
    assert paper.ablations == {
        "low_level_only": "low_level",
        "without_low_level": "without_low_level",
        "without_text": "without_text",
        "without_vision": "without_vision",
    }


def test_a_file_may_begin_from_a_preset_and_say_only_what_differs(tmp_path):
    path = write(tmp_path / "mine.yaml", {"preset": "demo", "name": "mine", "targets": {"latents": {"n_layers": 3}}})
    expected = Experiment.load("demo").changed({"name": "mine", "targets": {"latents": {"n_layers": 3}}})
    assert Experiment.load(path) == expected


def test_a_part_of_another_kind_replaces_the_presets(tmp_path):
    path = write(tmp_path / "mine.yaml", {"preset": "demo", "dataset": {"kind": "nsd", "root": "/data/nsd"}})
    assert Experiment.load(path).dataset.model_dump(mode="json") == an_experiment().dataset.model_dump(mode="json")


def test_a_folder_of_a_presets_name_does_not_hide_the_preset(tmp_path, monkeypatch):
    expected = Experiment.load("demo")
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert Experiment.load("demo") == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_is_read_with_the_byte_order_marks_that_editors_write(encoding, tmp_path):
    (tmp_path / "mine.yaml").write_bytes("preset: demo\nname: café\n".encode(encoding))
    assert Experiment.load(tmp_path / "mine.yaml").name == "café"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name: café".encode("latin-1"), "byte 10 is not UTF-8: save it as text in UTF-8"),
        (bytes(range(256)), "is not UTF-8"),
        (b"\x89HDF\r\n", "byte 1 is not UTF-8"),
        (b"\xff\xfea", "is not UTF-8"),
        (b"preset: demo\0", "holds NUL characters, so it is no text"),
        (b"", "holds no entries"),
        (b" \n# nothing\n", "holds no entries"),
        (b"#" * (LARGEST_FILE + 1), "it has 10 MB, and an experiment file a few kB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_text_is_said_to_be_none(content, words, tmp_path):
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(RunError, match=f"mine.yaml is not an experiment: .*{words}"):
        Experiment.load(tmp_path / "mine.yaml")


def test_a_pipe_is_no_experiment_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunError, match="pipe is no ordinary file: name an experiment file"):
        Experiment.load(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["con", "nul", "aux", "com1", "lpt9"])
def test_target_groups_have_names_that_files_can_have_everywhere(name):
    target = Experiment.load("demo").targets["vision"]
    with pytest.raises(RunError, match="device on Windows"):
        Experiment.load("demo").changed({"targets": {name: target}})
    assert (
        f"{name}x"
        in Experiment.load("demo").changed({"targets": {f"{name}x": target}, "regression": {"alphas": None}}).targets
    )


def test_what_is_neither_file_nor_preset_is_an_error(tmp_path):
    words = r"no file dmeo and no preset of that name; presets: brain-diffuser, demo"
    with pytest.raises(RunError, match=words):
        Experiment.load("dmeo")
    with pytest.raises(RunError, match="is a folder: name an experiment file or a preset"):
        Experiment.load(tmp_path)


@pytest.mark.parametrize(("preset", "said"), [("dmeo", "dmeo"), (None, "empty"), (["demo"], r"\['demo'\]"), ("", "$")])
def test_a_file_begins_from_a_preset_that_there_is(tmp_path, preset, said):
    path = write(tmp_path / "mine.yaml", {"preset": preset})
    with pytest.raises(RunError, match=rf"mine\.yaml .* preset must be brain-diffuser or demo, but is {said}"):
        Experiment.load(path)


def test_null_beside_a_preset_restores_a_default_but_hides_no_misspelling(tmp_path):
    changes = {"preset": "brain-diffuser", "device": None, "pictures": None}
    loaded = Experiment.load(write(tmp_path / "mine.yaml", changes))
    assert (loaded.device, loaded.ablations) == ("cpu", Experiment.load("demo").ablations)
    with pytest.raises(RunError, match="devise: there is no such entry"):
        Experiment.load(write(tmp_path / "mine.yaml", {"preset": "demo", "devise": None}))


@pytest.mark.parametrize(
    ("dotted", "value"),
    [
        ("sed", 3),
        ("dataset.sesions", 3),
        ("dataset.subject", 0),
        ("dataset.kind", "ndsd"),
        ("targets.latents.posterior", "mode"),
        ("targets.latents.chekpoint", "x"),
        ("targets.Depth", {"kind": "vdvae", "checkpoint": "x"}),
        ("regression.alpha", 3.0),
        ("regression.alphas.image", [3.0]),
        ("regression.alphas.latents", []),
        ("regression.alphas.latents", [-1.0]),
        ("regression.alphas.latents", [float("inf")]),
        ("regression.alphas.latents", [float("nan")]),
        ("regression.n_folds", 1),
        ("generator.vae", "x"),
        ("generator.low_level.temprature", 1.0),
        ("generator.diffusion.stength", 0.5),
        ("pictures.ablations", ["without_colour"]),
        ("evaluation.n_resamples", 0),
        ("evaluation.metrics.mine", {"kind": "pixcorr", "size": 3}),
    ],
)
def test_entries_that_are_unknown_or_out_of_range_are_named(tmp_path, dotted, value):
    path = write(tmp_path / "mine.yaml", merged(MINIMAL, at(dotted, value)))
    named = dotted.removesuffix(".kind")
    words = rf"mine\.yaml is not an experiment: (.*: )?{re.escape(named)}[.:]"
    with pytest.raises(RunError, match=words) as caught:
        Experiment.load(path)
    assert "Value error" not in str(caught.value)


def test_all_faults_are_listed(tmp_path):
    targets = {"latents": {"kind": "vdvae", "n_layers": 0}, "depth": {"kind": "detph"}, "text": {}}
    content = {"name": "mine", "sed": 1, "evaluation": {"n_resamples": 0}, "targets": targets}
    with pytest.raises(RunError) as caught:
        Experiment.load(write(tmp_path / "mine.yaml", content))
    places = ["sed", "evaluation.n_resamples", "dataset", "regression", "generator"]
    places += [f"targets.{name}" for name in ("latents.checkpoint", "latents.n_layers", "depth", "text")]
    listed = str(caught.value).split(" is not an experiment: ")[1].split("; ")
    assert all(any(fault.startswith(f"{place}: ") for fault in listed) for place in places)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"pictures": {"n_recovered": 1}},
            "pictures.n_recovered: is 1, and one picture cannot be scored among others: give 0, a whole number from 2, or all",
        ),
        ({"pictures": {"n_sampled": True}}, "pictures.n_sampled: is True: give 0, a whole number from 2, or all"),
        ({"pictures": {"n_sampled": 2.5}}, "pictures.n_sampled: is 2.5: give 0, a whole number from 2, or all"),
        ({"pictures": {"n_sampled": -3}}, "pictures.n_sampled: is -3: give 0, a whole number from 2, or all"),
        ({"pictures": {"n_sampled": "a"}}, "pictures.n_sampled: is 'a': give 0, a whole number from 2, or all"),
        (
            {"pictures": {"ablations": 3}},
            "pictures.ablations: is 3; expected 'default' or 'all', or must be a list, such as [one, two]",
        ),
    ],
)
def test_what_may_be_of_several_kinds_is_named_by_its_entry_alone(changes, said):
    with pytest.raises(RunError) as caught:
        Experiment.load("demo").changed(changes)
    assert str(caught.value) == said


@pytest.mark.parametrize("n", [0, 2, 60.0, 300, "all"])
def test_none_several_or_all_pictures_may_be_drawn_besides(n):
    assert Experiment.load("demo").changed({"pictures": {"n_recovered": n}}).pictures.n_recovered == n


@pytest.mark.parametrize(
    "text", ["", "- a\n- b\n", "name: [unclosed\n", "name: !!python/name:os.system\n", "seed: " + 5000 * "9"]
)
def test_files_that_are_no_mapping_are_errors(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RunError, match=r"mine\.yaml is not an experiment: it (cannot be read|holds no entries)"):
        Experiment.load(path)


@pytest.mark.parametrize(
    ("text", "key", "lines"),
    [
        ("preset: demo\nseed: 1\nseed: 2\n", "seed", "2 and 3"),
        ("preset: demo\ndataset:\n  seed: 1\n  n_test: 9\n  'seed': 2\n", "seed", "3 and 5"),
        ("preset: demo\ntargets: {text: {},\n latents: {}, text: {}}\n", "text", "2 and 3"),
        ("preset: demo\nevaluation: {}\npreset: brain-diffuser\n", "preset", "1 and 3"),
    ],
)
def test_a_key_that_is_given_twice_is_named_with_its_lines(tmp_path, text, key, lines):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RunError, match=rf"mine\.yaml .*: {key} is given twice, in lines {lines}"):
        Experiment.load(path)


def test_merged_mappings_of_yaml_may_be_overridden(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "preset: demo\n"
        "analyses:\n"
        "- &one {kind: roi_maximisation, lengths: as-published}\n"
        "- &two {<<: *one, name: two}\n"
        "- {<<: *two, name: three}\n"
    )
    assert [analysis.label for analysis in Experiment.load(path).analyses] == ["roi_maximisation", "two", "three"]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        101 * "[" + 101 * "]",
        20000 * "[",
        3000 * "{a: ",
        "\n".join(f"{' ' * depth}a:" for depth in range(1500)),
    ],
)
def test_a_file_that_is_nested_too_deeply_is_an_error(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(
        RunError, match=r"mine\.yaml is not an experiment: it cannot be read: its entries are nested too"
    ):
        Experiment.load(path)


def test_powers_of_ten_are_numbers(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("preset: demo\nregression: {default_alphas: [1e5, 5E-2, .5e+3]}\n")
    loaded = Experiment.load(path)
    assert loaded.regression.default_alphas == (1e5, 0.05, 500.0)


NUMBERS = ("seed", "evaluation.n_resamples", "responses.min_noise_ceiling", "regression.default_alphas.0")


def number_in(experiment, dotted):
    for key in dotted.split("."):
        experiment = experiment[int(key)] if key.isdigit() else getattr(experiment, key)
    return experiment


def a_file(tmp_path, dotted, written):
    """An experiment file with one entry as it is written."""
    *above, last = dotted.removesuffix(".0").split(".")
    value = f"[{written}]" if dotted.endswith(".0") else written
    lines = [f"{'  ' * depth}{key}:" for depth, key in enumerate(above)] + [f"{'  ' * len(above)}{last}: {value}"]
    (tmp_path / "mine.yaml").write_text("\n".join(["preset: demo", *lines]))
    return tmp_path / "mine.yaml"


@pytest.mark.parametrize("dotted", NUMBERS)
@pytest.mark.parametrize("written", ["'7'", "'7.0'", "!!str 7", "true", "True"])
def test_a_number_is_made_neither_of_text_nor_of_true(tmp_path, dotted, written):
    said = "true" if written[0] in "tT" else "the text '"
    with pytest.raises(RunError, match=rf"mine\.yaml .*: {dotted}: is {said}.*: write a number, without quotes"):
        Experiment.load(a_file(tmp_path, dotted, written))


@pytest.mark.parametrize("dotted", NUMBERS)
@pytest.mark.parametrize(
    "written", ["no", "on", "2024-01-01", "seven", ".inf", "-.inf", ".nan", "1e400", "-1", "010", "1_0"]
)
def test_what_is_no_number_that_an_entry_takes_is_refused_in_a_sentence(tmp_path, dotted, written):
    with pytest.raises(RunError, match=rf"mine\.yaml .*: ({dotted}: |it cannot be read: line \d)") as caught:
        Experiment.load(a_file(tmp_path, dotted, written))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dotted", NUMBERS)
@pytest.mark.parametrize("written", ["20", "20.0", "2e1", "2.0e+1", "+20", "200E-1"])
def test_a_whole_number_may_be_written_with_a_point_or_a_power_of_ten(tmp_path, dotted, written):
    found = number_in(Experiment.load(a_file(tmp_path, dotted, written)), dotted)
    assert (found, type(found)) == (20, float if "alphas" in dotted or "ceiling" in dotted else int)


@pytest.mark.parametrize("dotted", ["seed", "dataset.seed"])
@pytest.mark.parametrize(
    ("seed", "taken"), [("-1", False), ("0", True), (2**63 - 1, True), (2**63, False), ("1.5", False)]
)
def test_seeds_are_those_that_generators_of_random_numbers_take(tmp_path, dotted, seed, taken):
    if taken:
        assert number_in(Experiment.load(a_file(tmp_path, dotted, seed)), dotted) == int(seed)
    else:
        with pytest.raises(RunError, match=rf"mine\.yaml .*: {dotted}: (Input should be|must be a whole number)"):
            Experiment.load(a_file(tmp_path, dotted, seed))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: 3", "name: must be text: put it in quotes"),
        ("responses: {rois: V1}", r"responses\.rois: must be a list"),
        ("responses: {rois: [[V1]]}", r"responses\.rois\.0: must be text"),
    ],
)
def test_entries_of_another_kind_are_told_what_they_must_be(tmp_path, text, words):
    (tmp_path / "mine.yaml").write_text(f"preset: demo\n{text}\n")
    with pytest.raises(RunError, match=rf"mine\.yaml is not an experiment: .*{words}"):
        Experiment.load(tmp_path / "mine.yaml")


def test_no_is_a_name_where_a_name_belongs_and_false_where_a_choice_does(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "preset: demo\nname: no\nresponses: {rois: [on, V1]}\npictures: {ceiling: no}\n"
    )
    loaded = Experiment.load(tmp_path / "mine.yaml")
    assert (loaded.name, loaded.responses.rois, loaded.pictures.ceiling) == ("no", ("on", "V1"), False)


@settings(deadline=None, max_examples=200)
@given(name=st.text(), roi=st.text("ab :#'\"\n-?.1e5[]\t\r\0\x85\u2028\u2029\ufeff\ud800", max_size=20))
@example(name="one\x85two\u2028three\u2029\r\x00\ufeff", roi="1e5")
@example(name="2020-01-01", roi="0x1F")
def test_any_text_survives_a_file(tmp_path_factory, name, roi):
    experiment = an_experiment(name=name, responses={"rois": [roi, name]})
    path = tmp_path_factory.mktemp("text") / "mine.yaml"
    path.write_bytes(experiment.to_yaml().encode())
    assert Experiment.load(path) == experiment


def test_experiments_are_frozen():
    experiment = an_experiment()
    with pytest.raises(ValidationError, match="frozen"):
        experiment.seed = 3
    with pytest.raises(ValidationError, match="frozen"):
        experiment.dataset.subject = 2


def test_changes_leave_the_experiment_as_it_is():
    demo = Experiment.load("demo")
    text = demo.to_yaml()
    assert demo.changed({}) == demo
    assert demo.changed({"targets": {"vision": {"resizing": "as-published"}}}) != demo
    assert demo.to_yaml() == text


@given(nested, nested)
def test_what_is_laid_over_wins_and_the_rest_stays(below, above):
    result = merged(below, above)
    assert merged(below, {}) == below
    for key in below.keys() | above.keys():
        if isinstance(below.get(key), dict) and isinstance(above.get(key), dict) and "kind" not in above[key]:
            assert result[key] == merged(below[key], above[key])
        elif key in above:
            assert key not in result if above[key] is None and key in below else result[key] == above[key]
        else:
            assert result[key] == below[key]


@given(nested, filled)
def test_what_is_laid_over_twice_is_laid_over_once(below, above):
    result = merged(below, above)
    assert merged(result, above) == result


class Plain(Generator):
    """Draws from latents alone."""

    uses = ("latents",)
    variants: ClassVar = {"full": Variant("Plain")}

    def open(self, variant, null, networks, seed):
        return None


def test_a_group_of_a_preset_can_be_taken_out():
    changes = {
        "targets": {"text": None},
        "regression": {"alphas": {"text": None}},
        "generator": {"kind": f"{__name__}:Plain"},
    }
    fewer = Experiment.load("demo").changed(changes)
    assert list(fewer.targets) == ["latents", "vision"]
    with pytest.raises(RunError, match=r"^dataset: is not given: the recording"):
        Experiment.load("demo").changed({"dataset": None})


def test_checkpoints_are_bundled_or_downloaded_or_anywhere():
    experiment = an_experiment(targets={"vision": {"checkpoint": "demo/clip"}})
    assert experiment.checkpoints == {
        "targets.latents.checkpoint": downloads_folder() / "a" / "vdvae",
        "targets.vision.checkpoint": BUNDLED / "demo" / "clip",
        "targets.text.checkpoint": downloads_folder() / "a" / "clip",
        "generator.vdvae": downloads_folder() / "a" / "vdvae",
        "generator.autoencoder": downloads_folder() / "a" / "autoencoder",
        "generator.unet": Path("/elsewhere/unet"),
    }


# Parts that must fit each other


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"regression": {"alphas": {"image": [1.0]}}},
            "regression.alphas.image: there is no such target group; known groups: latents, vision, text",
        ),
        (
            {"pictures": {"ablations": ["without_colour", "low_level_only"]}},
            "pictures.ablations: generator brain_diffuser has no without_colour; "
            "it has low_level_only, without_low_level, without_text, without_vision",
        ),
        (
            {"analyses": [{"kind": "roi_maximisation"}, {"kind": "roi_maximisation", "lengths": "as-published"}]},
            "analyses: two analyses are called roi_maximisation: give one another `name`",
        ),
        (
            {"responses": {"rows": "trials"}, "regression": {"weights": "repeats"}},
            "has no meaning with responses.rows 'trials': set weights: equal",
        ),
        ({"evaluation": {"profile": "mine"}}, "evaluation: there is no profile mine, choose one of"),
        (
            {"evaluation": {"metrics": {"ssim": {"kind": "ssim"}}}},
            "evaluation: the profile demo has metrics ssim already",
        ),
    ],
)
def test_parts_that_do_not_fit_are_named(changes, words):
    with pytest.raises(RunError) as caught:
        an_experiment().changed(changes)
    assert words in str(caught.value)
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize("group", ["latents", "vision", "text"])
def test_the_groups_that_a_generator_draws_from_must_be_there(group):
    targets = {name: target for name, target in MINIMAL["targets"].items() if name != group}
    words = f"generator brain_diffuser draws from latents, vision, text; targets lack {group}"
    with pytest.raises(ValidationError, match=words):
        Experiment.model_validate(MINIMAL | {"targets": targets})


def test_groups_that_no_generator_draws_from_are_welcome():
    more = an_experiment(targets={"more": {"kind": "clip_text", "checkpoint": "a/clip"}})
    assert list(more.targets) == ["latents", "vision", "text", "more"]
    assert more.regression.alphas_of("more") == more.regression.default_alphas


# Identity


@pytest.mark.parametrize("preset", ["demo", "brain-diffuser"])
def test_the_identity_changes_with_all_that_results_depend_on_and_nothing_else(preset, changes):
    """Entry by entry, on a GPU, where every entry is in force."""
    experiment = Experiment.load(preset).changed({"device": "cuda"})
    changed = {entry.name: entry for entry in changes(experiment)}
    assert {"seed", "device", "responses.rois", "generator.diffusion.offload", "analyses.0.lengths"} < changed.keys()
    for entry in changed.values():
        own = experiment.uid.removeprefix(experiment.name), entry.config.uid.removeprefix(entry.config.name)
        assert (own[0] == own[1]) == (entry.runtime or entry.name == "name"), entry.name


def test_what_cannot_change_a_result_is_this_and_nothing_else(changes):
    """A list of its own: what a run's identity leaves out is written twice, so that no entry falls out of it by a slip."""
    experiment = Experiment.load("brain-diffuser").changed({"device": "cuda"})
    left_out = {entry.name for entry in changes(experiment) if entry.runtime}
    batches = {f"targets.{group}.batch_size" for group in experiment.targets} | {"generator.batch_size"}
    volumes = {"dataset.label_volumes", "dataset.voxel_maps"}  # their contents count, as the role "maps"
    assert left_out == {"dataset.root", "device", "generator.diffusion.offload", *batches, *volumes}


def test_precision_counts_as_it_is_in_force():
    half = an_experiment(generator={"diffusion": {"precision": "half"}})
    uids = {device: half.changed({"device": device}).uid for device in ("cpu", "cuda", "cuda:1")}
    assert uids["cuda"] == uids["cuda:1"] != uids["cpu"]
    assert uids["cpu"] == an_experiment(device="cuda").uid


def test_a_recording_that_was_moved_is_the_same():
    moved = an_experiment(dataset={"root": "/elsewhere/nsd"})
    assert moved != an_experiment()
    assert moved.uid == an_experiment().uid


def test_a_relative_folder_is_made_absolute_when_it_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = an_experiment(dataset={"root": "nsd"}).to_yaml()
    monkeypatch.chdir("/")
    assert Experiment.model_validate(yaml.safe_load(text)).dataset.root == tmp_path / "nsd"


def test_the_name_is_read_but_not_hashed():
    assert re.fullmatch(r"mine-[0-9a-f]{8}", an_experiment().uid)
    assert an_experiment(name="other").uid == an_experiment().uid.replace("mine", "other")


def test_defaults_written_out_are_the_same_experiment():
    assert Experiment.model_validate(an_experiment().model_dump()).uid == an_experiment().uid


@settings(deadline=None, max_examples=25)
@given(nested)
def test_flatten_leaves_no_mapping_but_empty_ones(content):
    flat = flatten(content)
    assert not any(isinstance(value, dict) and value for value in flat.values())
    assert flatten(flat) == flat


def test_empty_mappings_stay_apart_from_nothing():
    assert flatten({"a": {"b": {}}, "c": None}) == {"a.b": {}, "c": None}


def test_without_captions_no_group_is_made_of_them_and_the_rest_is_the_same():
    demo = Experiment.load("demo").changed({"pictures": {"ablations": ["without_text", "without_low_level"]}})
    without = demo.without_captions()
    assert set(without.targets) == {"latents", "vision"}
    assert set(without.regression.alphas) == {"latents", "vision"}
    assert without.generator.kind == "brain_diffuser_vision"
    assert without.pictures.ablations == ("without_low_level",)
    shared = ("name", "seed", "dataset", "split", "responses", "evaluation", "analyses")
    assert all(getattr(without, name) == getattr(demo, name) for name in shared)
    assert without.generator.diffusion == demo.generator.diffusion
    assert without.without_captions() is without
    assert Experiment.model_validate(without.model_dump(mode="json")) == without


def test_a_generator_that_draws_from_captions_alone_is_told():
    with pytest.raises(RunError, match="the recording has no captions, and generator brain_diffuser draws from text"):
        Experiment.load("demo").changed(
            {"targets": {"vision": {"kind": "clip_text", "checkpoint": "demo/clip"}}}
        ).without_captions()


def test_entries_that_came_later_are_influences_only_where_they_are_set():
    """So the finished runs of earlier versions, whose records lack them, stay up to date."""
    assert "voxel_choice" not in ResponsesConfig().influences("cpu")
    assert ResponsesConfig(voxel_choice="transductive").influences("cpu")["voxel_choice"] == "transductive"


def test_a_word_that_is_none_of_those_expected_is_named(tmp_path):
    (tmp_path / "mine.yaml").write_text("preset: demo\nresponses: {normalisation: zscore}\n")
    with pytest.raises(RunError, match=r"responses\.normalisation: is 'zscore'; expected 'session', 'training'"):
        Experiment.load(tmp_path / "mine.yaml")


OF_DEMO = ["roi_maximisation", "split_audit", "profile_comparison"]


def test_one_more_analysis_is_added_once_by_its_kind_or_label():
    demo = Experiment.load("demo")
    more = demo.with_analysis("voxel_weights", {"n_random": 10})
    assert [analysis.label for analysis in more.analyses] == [*OF_DEMO, "voxel_weights"]
    assert more.with_analysis("voxel_weights") == more
    named = demo.changed({"analyses": [{"kind": "roi_maximisation", "name": "own"}]})
    assert named.with_analysis("roi_maximisation") == named.with_analysis("own") == named
    with pytest.raises(RunError, match=r"analyses\.3: there is no kind colour; known kinds: "):
        demo.with_analysis("colour")


def test_another_name_adds_an_analysis_and_renames_none():
    one = Experiment.load("demo").with_analysis("voxel_weights", {"name": "one", "n_random": 10})
    two = one.with_analysis("voxel_weights", {"name": "two", "n_random": 20})
    assert [analysis.label for analysis in two.analyses] == [*OF_DEMO, "one", "two"]
    assert [analysis.n_random for analysis in two.analyses[-2:]] == [10, 20]
    assert two.with_analysis("voxel_weights", {"name": "two", "n_random": 20}) == two  # the same command goes on
    unnamed = two.with_analysis("voxel_weights", {"name": ""})
    assert [analysis.label for analysis in unnamed.analyses] == [*OF_DEMO, "one", "two", "voxel_weights"]
    with pytest.raises(RunError, match="one is an analysis of the experiment, and results keep its name"):
        two.with_analysis("one", {"name": "three"})


def test_an_entry_makes_no_other_analysis_of_one():
    more = Experiment.load("demo").with_analysis("decoder_accuracy")
    for name in ("decoder_accuracy", "attribution"):
        with pytest.raises(
            RunError, match=r"kind=voxel_weights makes another analysis of .*analyse voxel_weights --out RUN`"
        ):
            more.with_analysis(name, {"kind": "voxel_weights"})
    assert more.with_analysis("decoder_accuracy", {"kind": "decoder_accuracy"}) == more


def test_an_analysis_is_taken_away_by_its_kind_or_label():
    demo = Experiment.load("demo")
    more = demo.with_analysis("voxel_weights", {"name": "own"})
    assert more.without_analysis("own") == more.without_analysis("voxel_weights") == demo
    with pytest.raises(
        RunError,
        match="has no analysis own; it has roi_maximisation, split_audit, profile_comparison: name one of them",
    ):
        demo.without_analysis("own")


def test_ablations_are_of_as_many_pictures_as_metrics_need():
    few = {"pictures": {"n_ablated": 30}, "evaluation": {"profile": "recommended"}}
    with pytest.raises(RunError, match=r"pictures\.n_ablated is 30, but clip_among_50 needs 50 pictures or more"):
        Experiment.load("demo").changed(few)
    assert Experiment.load("demo").changed({**few, "pictures": {"n_ablated": 30, "ablations": []}})
    assert Experiment.load("demo").changed({**few, "pictures": {"n_ablated": 50}})
