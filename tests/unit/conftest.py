"""What tests share: every entry of a config, each changed to another valid value; two folders of pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import pytest
from pydantic import ValidationError

from braindiffuser.datasets.simulation.scenes import compose_scenes
from braindiffuser.part import Settings, is_runtime

from .picture_folders import N, write


class Changed(NamedTuple):
    """One entry of a config, and the config with that entry changed."""

    name: str
    runtime: bool
    config: Settings


class Leaf(NamedTuple):
    place: tuple[str | int, ...]
    runtime: bool
    annotation: Any


def leaves(config, place=(), runtime=False):
    """Every entry that is not a config itself, those of nested configs too."""
    for name, field in type(config).model_fields.items():
        hidden = runtime or is_runtime(field.json_schema_extra)
        yield from leaves_of_value(getattr(config, name), (*place, name), hidden, field.annotation)


def leaves_of_value(value, place, runtime, annotation):
    if get_origin(annotation) is Literal and len(get_args(annotation)) == 1:
        return  # there is no other value yet
    of_configs = isinstance(value, tuple) and any(isinstance(entry, Settings) for entry in value)
    if isinstance(value, Settings):
        yield from leaves(value, place, runtime)
    elif value and (isinstance(value, Mapping) or of_configs):
        for key, entry in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from leaves_of_value(entry, (*place, key), runtime, annotation)
    else:
        yield Leaf(place, runtime, annotation)


def candidates(value, annotation):
    """Values that might be another choice."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, tuple):
        chosen = [(choice,) for part in get_args(annotation) for choice in get_args(part)]
        others = [(other, *value[1:]) for other in (candidates(value[0], None) if value else ())]
        return [*others, value[:-1], ("V1",), (7,), (("V1", "V2"),), *chosen]
    if isinstance(value, int | float):
        return [value * 1.25, *(value + step for step in (0.1, *range(1, 700))), value / 2]
    if isinstance(value, Path):
        return [value / "other"]
    if isinstance(value, dict):
        return [{"further": {"kind": "pixcorr"}}, {"further": [3.0]}, {"further": "a word"}]
    choices = [choice for part in (annotation, *get_args(annotation)) for choice in get_args(part)]
    return [*choices, f"{value or ''}x", "cuda:1", "demo", "brain-diffuser-2023", 1, 0.5, 2, 200, (), ("V1",)]


def change(config, leaf):
    """The config with another valid value at one place."""
    content = config.model_dump()
    inner = content
    for key in leaf.place[:-1]:
        inner = inner[key]
    value = inner[leaf.place[-1]]
    for candidate in candidates(value, leaf.annotation):
        inner[leaf.place[-1]] = candidate
        try:
            changed = type(config).model_validate(content)
        except ValidationError:
            continue
        if changed != config:
            return changed
    raise AssertionError(f"no other value of {leaf.place} is valid")


@pytest.fixture(scope="session")
def changes():
    """A function from a config to all of its entries, and the config with each changed."""

    def changed(config):
        return [Changed(".".join(map(str, leaf.place)), leaf.runtime, change(config, leaf)) for leaf in leaves(config)]

    return changed


@pytest.fixture
def folders(tmp_path):
    """A folder of scenes, and one of the same scenes mixed with others."""
    raw, _ = compose_scenes(N, seed=5)
    names = [f"{number:04d}" for number in range(N)]
    made = raw // 2 + compose_scenes(N, seed=6)[0] // 2
    return write(tmp_path / "seen", raw, names), write(tmp_path / "made", made, names)
