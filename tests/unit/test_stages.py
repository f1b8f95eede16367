"""Laws of stages: order follows from what steps need, and a setting belongs to the steps that look at it."""

import fnmatch
import json
from graphlib import TopologicalSorter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from braindiffuser import stages as package
from braindiffuser.analyses import roi_maximisation
from braindiffuser.datasets.dataset import ROLES
from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.networks.checkpoint_folders import checkpoint_folder
from braindiffuser.stages import Step, all_steps, extract, stages, stages_table
from braindiffuser.stages.prepare import _leaving_out
from braindiffuser.stages.reconstruct import kind_name, picture_kinds

PRESETS = ("demo", "brain-diffuser")
PLAIN = {"n_recovered": 0, "n_random_responses": 0, "n_samples": 1, "n_sampled": "all"}
RICHER = {
    "pictures": PLAIN,
    "device": "cuda",
    "evaluation": {"metrics": {"again": {"kind": "pixcorr"}}},
    "analyses": [{"kind": "roi_maximisation"}, {"kind": "roi_maximisation", "name": "again"}],
}
UNUSED = {"regression.default_alphas"}
"""Entries that nothing depends on in the presets, which name the alphas of every group."""
DEPTH = {"kind": "clip_text", "checkpoint": "demo/clip"}


@pytest.fixture(scope="module", params=PRESETS)
def experiment(request):
    return Experiment.load(request.param).changed(RICHER)


@pytest.fixture(scope="module")
def entries(experiment, changes):
    """Every entry of the experiment, and the steps that look at it."""
    return [(entry, differing(experiment, entry.config)) for entry in changes(experiment)]


@pytest.fixture(scope="module")
def demo():
    """The demo without pictures beside reconstructions and their ceiling."""
    return Experiment.load("demo").changed({"pictures": PLAIN})


def looked_at(experiment):
    """What each step depends on of an experiment, besides what other steps made."""
    return {
        step: (
            json.dumps(dict(stage.influences(experiment, step.unit)), sort_keys=True),
            {name: str(folder) for name, folder in stage.checkpoints(experiment, step.unit).items()},
            stage.roles(experiment, step.unit),
        )
        for stage in stages().values()
        for step in stage.steps(experiment)
    }


def differing(one, other):
    """Steps that look at something that is otherwise in the other experiment, or are only in one of them."""
    before, now = looked_at(one), looked_at(other)
    return {step for step in before.keys() | now.keys() if before.get(step) != now.get(step)}


def needs(experiment):
    return {step: stages()[step.stage].needs_of(experiment, step.unit) for step in all_steps(experiment)}


def after(steps, experiment):
    """Those steps and all that need them, directly or through others."""
    found = set(steps)
    for step, needed in needs(experiment).items():  # each after those that it needs
        if found & set(needed):
            found.add(step)
    return found


def before(stage):
    """The stages that a stage declares to come after, directly or through others."""
    return {name for needed in stages()[stage].needs for name in (needed, *before(needed))}


# Order


def test_every_file_is_a_stage():
    files = {path.stem for path in Path(package.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(stages()) == files
    assert all(name == stage.name for name, stage in stages().items())


def test_the_order_is_the_chain():
    assert list(stages()) == ["prepare", "extract", "fit", "compare", "reconstruct", "evaluate", "analyse", "report"]


def test_a_stage_comes_after_those_that_it_needs():
    order = list(stages())
    for name, stage in stages().items():
        assert all(order.index(needed) < order.index(name) for needed in stage.needs)


def test_steps_need_existing_steps_that_come_before_them(experiment):
    order = all_steps(experiment)
    assert len(set(order)) == len(order)
    for step, needed in needs(experiment).items():
        assert len(set(needed)) == len(needed)
        assert set(needed) <= set(order), step
        assert all(order.index(need) < order.index(step) for need in needed), step
        assert {need.stage for need in needed} <= before(step.stage) | {step.stage}, step
    list(TopologicalSorter(needs(experiment)).static_order())  # raises if steps need each other


def test_every_step_leads_to_the_page(experiment):
    for step in all_steps(experiment):
        assert Step("report") in after({step}, experiment)


def test_steps_have_names_that_files_can_have(experiment):
    names = [str(step) for step in all_steps(experiment)]
    assert len(set(names)) == len(names)
    assert all(name.replace(".", "").replace("_", "").replace("-", "").isalnum() for name in names)
    assert {"prepare.responses", "extract.vision", "fit.vision", "reconstruct.final", "analyse.again", "report"} <= {
        *names
    }


def test_only_recordings_that_are_made_have_a_step_that_makes_them():
    made, there = (Experiment.load(name) for name in PRESETS)
    assert Step("prepare", "recording") in all_steps(made)
    assert Step("prepare", "recording") not in all_steps(there)


def test_roles_are_roles_of_datasets(experiment):
    for step in all_steps(experiment):
        stage = stages()[step.stage]
        named = {*stage.roles(experiment, step.unit), *stage.roles_by_name(experiment, step.unit)}
        assert named <= set(ROLES)
        assert set(stage.roles_while_reading) <= set(ROLES)


# Influences


def test_every_entry_belongs_to_a_step_or_cannot_change_a_result(entries):
    for entry, touched in entries:
        assert bool(touched) == (not entry.runtime and entry.name not in UNUSED), entry.name


def test_alphas_of_groups_that_none_are_named_for_count_where_they_are_used(demo):
    more = demo.changed({"targets": {"depth": DEPTH}})
    assert differing(more, more.changed({"regression": {"default_alphas": [3.0]}})) == {Step("fit", "depth")}


@pytest.mark.parametrize(
    ("place", "steps"),
    [
        ("name", ["report"]),
        ("dataset.", ["prepare"]),
        ("responses.", ["prepare.responses"]),
        ("targets.vision.", ["extract.vision"]),
        ("targets.latents.", ["extract.latents"]),
        ("regression.alphas.vision", ["fit.vision"]),
        ("regression.n_folds", ["fit"]),
        ("generator.low_level.", ["reconstruct.low_level*", "analyse"]),
        ("generator.vdvae", ["reconstruct.low_level*", "analyse"]),
        ("generator.unet", ["reconstruct.final", "reconstruct.from*", "reconstruct.without*", "analyse"]),
        ("generator.diffusion.", ["reconstruct.final", "reconstruct.from*", "reconstruct.without*", "analyse"]),
        ("pictures.", ["evaluate", "reconstruct"]),
        ("evaluation.", ["compare", "evaluate"]),
        ("analyses.0.lengths", ["analyse.roi_maximisation"]),
    ],
)
def test_an_entry_belongs_to_no_other_steps(entries, place, steps):
    here = [(entry.name, touched) for entry, touched in entries if entry.name.startswith(place)]
    assert any(touched for _, touched in here)
    patterns = [pattern for name in steps for pattern in (name, f"{name}.*")]
    for name, touched in here:
        foreign = [step for step in map(str, touched) if not any(fnmatch.fnmatch(step, each) for each in patterns)]
        assert foreign == [], name


def test_entries_of_one_group_leave_the_other_groups_alone(experiment, entries):
    for group in experiment.targets:
        others = {Step(stage, name) for stage in ("extract", "fit") for name in experiment.targets if name != group}
        for entry, touched in entries:
            if entry.name.startswith((f"targets.{group}.", f"regression.alphas.{group}")):
                assert touched <= {Step("extract", group), Step("fit", group)}, entry.name
                assert not after(touched, experiment) & others
                assert not touched or Step("report") in after(touched, experiment)


def test_embeddings_leave_the_low_level_alone(experiment):
    drawn = after({Step("extract", "vision"), Step("extract", "text")}, experiment)
    assert Step("reconstruct", "low_level") not in drawn
    assert Step("reconstruct", "final") in drawn


def test_a_fourth_group_leaves_the_others_alone(experiment):
    more = experiment.changed({"targets": {"depth": DEPTH}})
    own = {Step("extract", "depth"), Step("fit", "depth")}
    assert differing(experiment, more) == own
    for step, needed in needs(experiment).items():
        if step.stage not in ("compare", "analyse", "report"):  # which may look at every group
            assert needs(more)[step] == needed
    assert {step.stage for step in after(own, more) - own} == {"compare", "evaluate", "analyse", "report"}


def test_precision_belongs_to_the_second_stage_as_it_is_in_force(demo):
    half = demo.changed({"generator": {"diffusion": {"precision": "half"}}})
    assert differing(half, demo) == set()  # on a CPU
    on_gpu = {name: each.changed({"device": "cuda"}) for name, each in {"half": half, "full": demo}.items()}
    touched = differing(on_gpu["half"], on_gpu["full"])
    assert {step.stage for step in touched} == {"reconstruct", "analyse"}
    assert {step.unit for step in touched if step.stage == "reconstruct"} == {
        "final",
        "from_true_features",
        "without_low_level",
    }
    assert differing(on_gpu["half"], half.changed({"device": "cuda:1"})) == set()


def test_a_recording_that_lies_elsewhere_is_known_by_its_files():
    paper = Experiment.load("brain-diffuser")
    assert differing(paper, paper.changed({"dataset": {"root": "/elsewhere"}})) == set()
    roles = {str(step): stages()[step.stage].roles(paper, step.unit) for step in all_steps(paper)}
    assert roles["prepare.stimuli"] == ("design",)
    assert set(roles["prepare.responses"]) == {"regions", "betas"}
    assert roles["extract.latents"] == roles["extract.vision"] == roles["evaluate"] == ("stimuli",)
    assert roles["extract.text"] == ("captions",)


# Pictures


def test_kinds_of_pictures_start_from_those_before_them(experiment):
    kinds = picture_kinds(experiment)
    for number, (name, kind) in enumerate(kinds.items()):
        assert name == kind_name(kind.variant, kind.source, kind.sample)
        assert kind.start is None or kind.start in list(kinds)[:number]
        if kind.start:
            assert kinds[kind.start].source == kind.source


def test_only_the_ceiling_is_drawn_from_truth(experiment):
    for name, kind in picture_kinds(experiment).items():
        sources = {need.stage for need in needs(experiment)[Step("reconstruct", name)]}
        assert (kind.source == "truth") == name.endswith("from_true_features") == ("fit" not in sources)


@pytest.mark.parametrize(
    ("pictures", "kinds"),
    [
        ({"ceiling": False, "ablations": []}, ["low_level", "final"]),
        (
            {"ceiling": True, "ablations": []},
            ["low_level", "low_level_from_true_features", "final", "from_true_features"],
        ),
        ({"ceiling": False, "ablations": ["low_level_only"]}, ["low_level", "final"]),
        ({"ceiling": False, "ablations": ["without_text"]}, ["low_level", "final", "without_text"]),
        ({"ceiling": False, "ablations": "default"}, ["low_level", "final", "without_low_level"]),
        (
            {"ceiling": False, "ablations": "all"},
            ["low_level", "final", "without_low_level", "without_text", "without_vision"],
        ),
        (
            {"ceiling": False, "ablations": ["without_text", "without_low_level", "without_vision"]},
            ["low_level", "final", "without_low_level", "without_text", "without_vision"],
        ),
        (
            {"ceiling": False, "ablations": [], "n_samples": 3, "n_random_responses": 4},
            [
                *("low_level", "final", "low_level_from_random_responses", "from_random_responses"),
                *("low_level_sample_1", "final_sample_1", "low_level_sample_2", "final_sample_2"),
            ],
        ),
        (
            {"ceiling": False, "ablations": [], "n_recovered": "all"},
            [
                *("low_level", "final", "low_level_from_true_features", "from_true_features"),
                *("vision_alone_from_true_features", "text_alone_from_true_features"),
            ],
        ),
    ],
)
def test_what_is_drawn_is_what_was_asked_for(demo, pictures, kinds):
    assert list(picture_kinds(demo.changed({"pictures": pictures}))) == kinds


def test_checkpoints_of_pictures_are_those_of_their_variant(demo):
    stage = stages()["reconstruct"]
    names = {kind: set(stage.checkpoints(demo, kind)) for kind in stage.units(demo)}
    first, second = {"generator.vdvae", "generator.autoencoder"}, {"generator.unet", "generator.autoencoder"}
    assert names == {
        "low_level": first,
        "low_level_from_true_features": first,
        "final": second,
        "from_true_features": second,
        "without_low_level": second,
    }
    for kind in names:
        for name, folder in stage.checkpoints(demo, kind).items():
            assert folder == demo.checkpoints[name]


def test_scores_depend_on_the_facts_of_every_metric_and_on_bundled_networks(demo):
    stage = stages()["evaluate"]
    profile = demo.evaluation.all_metrics().metrics
    assert stage.influences(demo, "")["evaluation"]["metrics"].keys() == profile.keys()
    assert profile["pixcorr"].influences("cpu") == stage.influences(demo, "")["evaluation"]["metrics"]["pixcorr"]
    assert stage.checkpoints(demo, "") == {"evaluation.clip_demo": checkpoint_folder(Path("demo/clip"))}
    pixels = demo.changed({"evaluation": {"profile": "pixels"}})
    assert stage.checkpoints(pixels, "") == {}


def test_published_lengths_are_for_the_groups_that_the_authors_had(demo):
    text = "lengths as-published are known for latents, vision, text, not for colours: take from-training"
    published = {"kind": "roi_maximisation", "lengths": "as-published"}
    demo.changed({"analyses": [published]})
    with pytest.raises(ValueError, match=text):
        roi_maximisation.ROIMaximisation(lengths="as-published").check_groups(("colours",))


# The table in the docs


def test_the_table_lists_every_stage_with_what_it_writes():
    lines = stages_table().splitlines()
    assert [line.split("`")[1] for line in lines[2:]] == list(stages())
    assert {line.count("|") for line in lines} == {5}
    for line, stage in zip(lines[2:], stages().values(), strict=True):
        assert stage.does in line
        assert all(f"`{pattern}`" in line for pattern in stage.writes)


def test_the_precision_of_targets_is_part_of_what_is_extracted(monkeypatch):
    experiment = Experiment.load("demo")
    before = extract.STAGE.influences(experiment, "latents")
    monkeypatch.setattr(type(experiment.targets["latents"]), "stored_as", "float32")
    assert extract.STAGE.influences(experiment, "latents") != before
    assert extract.STAGE.influences(experiment, "vision") == extract.STAGE.influences(Experiment.load("demo"), "vision")


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize(
    "features", [np.ones((2, 3), complex), np.ones((2, 3), object), np.full((2, 3), "a"), np.ones(2), np.ones((2, 0))]
)
def test_features_that_are_not_rows_of_real_numbers_are_refused(features):
    with pytest.raises(RunError, match="expected real numbers"):
        extract._checked(Experiment.load("demo").targets["latents"], "extract", features, (2, None, ...))


@pytest.mark.parametrize(
    ("session", "said"), [(2, "; or leave the session out: [1, 3]"), (4, ""), (1, "; or leave the session out: [2, 3]")]
)
def test_sessions_apart_are_none_that_a_list_of_sessions_names(types_unchecked, session, said):
    dataset = SimpleNamespace(leaving_out=str)
    context = SimpleNamespace(experiment=SimpleNamespace(dataset=dataset))
    assert _leaving_out(context, SimpleNamespace(session_numbers=[1, 2, 3, 4], apart=(4,)), session) == said
