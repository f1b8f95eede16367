"""What a config says of itself: every entry has a description, which states the published value where the default differs."""

import re
from importlib import import_module

import pytest
from pydantic_core import PydanticUndefined

from braindiffuser.analyses.analysis import Analysis
from braindiffuser.analyses.roi_maximisation import PUBLISHED_LATENTS_NORM, PUBLISHED_LENGTHS, ROIMaximisation
from braindiffuser.clusters import ClusterFile
from braindiffuser.datasets.dataset import Dataset
from braindiffuser.experiment import Experiment
from braindiffuser.generators.generator import Generator
from braindiffuser.generators.settings import DiffusionConfig
from braindiffuser.metrics.metric import Metric
from braindiffuser.networks.samplers import image_to_image_timesteps
from braindiffuser.networks.vdvae import VDVAEConfig
from braindiffuser.networks.versatile import VersatileConfig
from braindiffuser.part import Settings, known_kinds
from braindiffuser.regression.regressor import Regressor
from braindiffuser.targets.target import Target

FAMILIES = (Dataset, Target, Regressor, Generator, Metric, Analysis)
for family in FAMILIES:
    for kind in known_kinds(family):
        import_module(f"{family.__module__.rpartition('.')[0]}.{kind}")


def classes_below(base):
    for below in base.__subclasses__():
        yield below
        yield from classes_below(below)


SETTINGS = {each for each in classes_below(Settings) if each.__module__.startswith("braindiffuser.")}
CONFIGS = sorted(
    SETTINGS | {ClusterFile, VDVAEConfig, VersatileConfig}, key=lambda each: f"{each.__module__}.{each.__name__}"
)


def entries(settings, place=""):
    """Every entry of nested settings: its place, its field and its value."""
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        yield f"{place}{name}", field, value
        inner = (
            dict(enumerate(value)) if isinstance(value, tuple) else value if isinstance(value, dict) else {"": value}
        )
        for key, each in inner.items():
            if isinstance(each, Settings):
                yield from entries(each, f"{place}{name}.{key}." if key != "" else f"{place}{name}.")


def test_all_families_are_looked_at():
    assert set(FAMILIES) | {Experiment} < SETTINGS
    assert {
        type(part) for name in ("demo", "brain-diffuser") for part in Experiment.load(name).parts.values()
    } < SETTINGS


@pytest.mark.parametrize("config", CONFIGS, ids=lambda each: each.__name__)
def test_every_entry_is_described_in_a_sentence(config):
    for name, field in config.model_fields.items():
        assert re.fullmatch(r"[A-Z].*\.", field.description or ""), f"{name}: {field.description}"
        assert len(field.description) < 200, name


def test_where_the_paper_differs_from_the_default_the_description_says_so():
    differing = {
        place: (field.description, value)
        for place, field, value in entries(Experiment.load("brain-diffuser"))
        if isinstance(value, bool | int | float | str)
        and field.default not in (PydanticUndefined, value)
        and place != "device"
    }
    assert {"dataset.sessions", "regression.calibration", "analyses.0.lengths"} < differing.keys()
    for place, (description, value) in differing.items():
        said = re.search(rf"\b(published|the paper|{re.escape(str(value))})\b", description, re.IGNORECASE)
        assert said, f"{place} is {value} as published: {description}"


def test_published_penalties_are_described():
    ridge = Experiment.load("brain-diffuser").regression
    description = type(ridge).model_fields["alphas"].description
    assert all(f"{alpha:,.0f}" in description for (alpha,) in ridge.alphas.values())


def test_published_numbers_are_those_of_the_preset_wherever_they_are_quoted():
    """A number before "published", or after "Published:", is the entry's value in the preset."""
    quoted = {}
    for place, field, value in entries(Experiment.load("brain-diffuser")):
        found = re.search(r"([\d.]+) published|Published: ([\d.]+\d)", field.description or "")
        if found:
            quoted[place] = value
            assert float(found[1] or found[2]) == value, place
    assert quoted == {
        "generator.low_level.temperature": 1.0,
        "generator.diffusion.strength": 0.75,
        "generator.diffusion.guidance_scale": 7.5,
    }


def test_numbers_that_follow_from_others_are_described_as_they_follow():
    diffusion = DiffusionConfig()
    described = DiffusionConfig.model_fields
    noised, denoised = image_to_image_timesteps(diffusion.n_steps, diffusion.strength, "as-published")
    assert f"{len(denoised)} of {diffusion.n_steps} steps" in described["strength"].description
    assert (
        f"{noised}; denoised from {denoised[0]}); consistent: the first that is denoised ({denoised[0]})"
        in described["noise_level"].description
    )
    lengths = ", ".join(f"{PUBLISHED_LENGTHS[group]:g}" for group in ("latents", "vision", "text"))
    assert (
        f"({lengths}; latents then {PUBLISHED_LATENTS_NORM:g})" in ROIMaximisation.model_fields["lengths"].description
    )
