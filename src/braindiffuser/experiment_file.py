"""Experiment files for users: commented YAML and a JSON schema."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, get_args, get_origin

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from braindiffuser import __version__
from braindiffuser.experiment import Experiment, preset_names
from braindiffuser.part import Part, Settings, as_part, class_of, family_of, kind_of, known_kinds
from braindiffuser.plain_data import as_yaml

WIDTH = 100
"""Columns that comments are wrapped at."""
OUTSIDE: Mapping[str, Any] = {
    "description": "A class of your own: module:Class.",
    "type": "object",
    "properties": {"kind": {"type": "string", "pattern": r"^[\w.]+:\w+$"}},
    "required": ["kind"],
}
"""JSON schema of a part from outside the package, whose entries are not known here."""

NULL = {"type": "null"}
"""JSON schema of null: beside a preset it removes the entry, so its default applies."""


def starting_file(experiment: Experiment) -> str:
    """Return an experiment as a file to start from: version, presets and checkpoints, then every entry with its description."""
    files = {name: folder / "model.safetensors" for name, folder in experiment.checkpoints.items()}
    sizes = {name: path.stat().st_size for name, path in files.items() if path.exists()}
    modules = sorted({part.kind.partition(":")[0] for part in experiment.parts.values() if ":" in part.kind})
    above = [
        f"braindiffuser {__version__}; presets: {', '.join(preset_names())}",
        " ".join(["Run this file: braindiffuser run --config FILE --out RUN", *(f"--with {name}" for name in modules)]),
        "Paths: ~, $NAME and ${NAME} are replaced; relative ones count from the folder of this file",
        *(f"Checkpoint {name} is here: {size / 1e6:.1f} MB" for name, size in sizes.items()),
        *(f"Checkpoint {name} is missing, expected at {path}" for name, path in files.items() if name not in sizes),
    ]
    if len(sizes) < len(files):
        above.append("braindiffuser checkpoints --download --convert fetches and converts the published ones")
    lines = [line for sentence in above for line in _comment(sentence, 1000)]
    return "\n".join([*lines, "", commented_yaml(experiment)])


def commented_yaml(settings: Settings) -> str:
    """Return settings as YAML, each entry below its description; parsed, it equals `settings.model_dump(mode="json")`."""
    content = settings.model_dump(mode="json")
    return "\n\n".join("\n".join(_entry(settings, name, entry, WIDTH)) for name, entry in content.items())


def _comment(text: str, width: int) -> list[str]:
    """Return text as the lines of a YAML comment; characters that cannot be printed become spaces."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    lines = textwrap.wrap(printable, max(width - 2, 40), break_long_words=False, break_on_hyphens=False)
    return [f"# {line}" for line in lines]


def _entry(parent: Any, name: str, content: Any, width: int) -> list[str]:
    """Return the lines of one entry: its description, its key and its value, which is nested if it holds settings."""
    described, value = [], None
    if isinstance(parent, Settings):
        described, value = _comment(_description(parent, name), width), getattr(parent, name, None)
    elif isinstance(parent, Mapping):
        value = parent.get(name)
    inner = _nested(value, content, width - 2)
    if not inner:
        return described + _dump({name: content}, width)
    *above, key = _dump({name: None}, width)
    return [*described, *above, key.removesuffix(" null"), *_indented(inner)]


def _nested(value: Any, content: Any, width: int) -> list[str]:
    """Return the lines of nested settings, or of a collection that holds some; [] for a plain value."""
    if not _holds_settings(value):
        return []
    if isinstance(content, dict):
        return [line for name, entry in content.items() for line in _entry(value, name, entry, width)]
    if isinstance(content, list) and isinstance(value, tuple | list) and len(value) == len(content):
        return [line for each, entry in zip(value, content, strict=True) for line in _item(each, entry, width)]
    return []


def _item(value: Any, content: Any, width: int) -> list[str]:
    """Return the lines of an item of a list; the dash stands before its first entry, below the comment."""
    inner = _nested(value, content, width - 2)
    if not inner:
        return _dump([content], width)
    first = next(number for number, line in enumerate(inner) if not line.startswith("#"))
    return [*inner[:first], f"- {inner[first]}", *_indented(inner[first + 1 :])]


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" if line else "" for line in lines]


def _holds_settings(value: Any) -> bool:
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
    return isinstance(value, Settings) or any(map(_holds_settings, inside))


def _description(settings: Settings, name: str) -> str:
    """Return an entry's description, with other kinds or choices."""
    if isinstance(settings, Part) and name == "kind":
        others = [kind for kind in known_kinds(family_of(type(settings))) if kind != settings.kind]
        return _summary(type(settings)) + (f" Other kinds: {', '.join(others)}." if others else "")
    field = type(settings).model_fields.get(name)
    if field is None or not field.description:
        return ""
    choices = [str(choice) for choice in get_args(field.annotation)] if get_origin(field.annotation) is Literal else []
    named = all(choice in field.description.lower() for choice in choices)
    return field.description if named else f"{field.description} Choices: {', '.join(choices)}."


def _summary(settings: type[Settings]) -> str:
    return (inspect.getdoc(settings) or "").partition("\n")[0]


def _dump(content: Any, width: int) -> list[str]:
    """Return content as lines of YAML; lists of numbers or words stand in one line."""
    values = content.values() if isinstance(content, dict) else content
    flow = None if any(isinstance(value, list | dict) for value in values) else False
    return as_yaml(content, width=width, default_flow_style=flow).splitlines()


def experiment_schema() -> dict[str, Any]:
    """Return the JSON schema of an experiment file: a whole experiment, or a preset and what differs from it.

    A part is one of the known kinds of its family, with the entries of that kind, or a class from outside with any entries.
    Rules that concern several entries are not in the schema; loading checks them.
    """
    whole = Experiment.model_json_schema(schema_generator=_SchemaOfKinds)
    definitions = {**whole.pop("$defs"), "Experiment": whole}
    presets = {name: Experiment.load(name).model_dump(mode="json") for name in preset_names()}
    beside = {name: _changes(whole, content, definitions) for name, content in presets.items()}
    for name, changes in beside.items():
        changes["properties"]["preset"] = {"description": "Preset that the file begins from.", "const": name}
    return {
        "$schema": _SchemaOfKinds.schema_dialect,
        "title": "Experiment file of braindiffuser",
        "properties": {"preset": {"enum": preset_names()}},
        "allOf": [
            {"if": _states("preset", {"const": name}), "then": {"$ref": f"#/$defs/Changed-{name}"}} for name in beside
        ],
        "if": _states("preset", {}),
        "else": {"$ref": "#/$defs/Experiment"},
        "$defs": definitions | {f"Changed-{name}": changes for name, changes in beside.items()},
    }


def _states(entry: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"properties": {entry: schema}, "required": [entry]}


class _SchemaOfKinds(GenerateJsonSchema):
    """Lists the known kinds wherever an experiment holds a part."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """Write what `as_part` reads: any kind of the family."""
        read: Any = schema["function"]["function"]
        if not (isinstance(read, partial) and read.func is as_part):
            return super().function_before_schema(schema)
        (family,) = read.args
        kinds = [class_of(family, kind).__pydantic_core_schema__ for kind in known_kinds(family)]
        return {"anyOf": [*map(self.generate_inner, kinds), OUTSIDE]}

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Return the schema of a settings class; parts get a required `kind`."""
        made, settings = super().model_schema(schema), schema["cls"]
        made["description"] = _summary(settings)
        if issubclass(settings, Part):
            made["properties"] = {"kind": {"const": kind_of(settings)}, **made.get("properties", {})}
            made["required"] = ["kind", *made.get("required", [])]
        return made

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Return the schema of a mapping; if keys have a pattern, no others are allowed."""
        made = super().dict_schema(schema)
        return made | {"additionalProperties": False} if "patternProperties" in made else made

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Leave out titles, which only repeat the names."""
        return False


def _changes(schema: Mapping[str, Any], content: Any, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an entry in a file that begins from a preset.

    A mapping may be given in part, everything else is replaced whole (see `merged`).

    Args:
        schema: of the whole entry.
        content: of the entry in the preset; mappings are changed, everything else is replaced.
        definitions: schemas that `schema` refers to.
    """
    if not isinstance(content, Mapping):
        return dict(schema)
    if "$ref" in schema:
        own = definitions[schema["$ref"].removeprefix("#/$defs/")]
        if own.get("properties", {}).get("kind", {}).get("const") not in (None, content.get("kind")):
            return dict(schema)
        return _changes(own, content, definitions)
    changed = {key: value for key, value in schema.items() if key not in ("required", "minProperties", "default")}
    if "anyOf" in schema:
        changed["anyOf"] = [
            each if each == OUTSIDE else _changes(each, content, definitions) for each in schema["anyOf"]
        ]
    ((pattern, others),) = schema.get("patternProperties", {"": schema.get("additionalProperties", {})}).items()
    if pattern:
        changed["patternProperties"] = {f"^(?!({'|'.join(content)})$){pattern.removeprefix('^')}": others}
    stated = {name: schema.get("properties", {}).get(name, others) for name in content}
    changed["properties"] = {
        name: _changes(entry, content[name], definitions)
        if name in schema.get("required", ())
        else {"anyOf": [_changes(entry, content[name], definitions), NULL]}
        for name, entry in stated.items()
    }
    return changed
