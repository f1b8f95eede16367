"""Parts are the exchangeable pieces of an experiment: frozen configs whose methods do the work.

There are seven families: `Dataset`, `Split`, `Target`, `Regressor`, `Generator`, `Metric` and `Analysis`. Each family is a
folder of the package; its base class (`targets/target.py`) says what a part must do; every other file with a subclass is a kind:

    targets:
      latents: {kind: vdvae, checkpoint: demo/vdvae}        # braindiffuser/targets/vdvae.py
      depth:   {kind: my_lab.depth:Depth, size: 32}         # class Depth of the module my_lab.depth

A class outside the package is used only if its module is imported already (`--with my_lab.depth` on the command line imports
it): an experiment file alone runs nobody's code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from inspect import isabstract
from pathlib import Path, PurePath
from types import ModuleType
from typing import Annotated, Any, ClassVar, TypeAlias, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from braindiffuser.networks.checkpoint_folders import checkpoint_folder, is_bundled
from braindiffuser.paths import expand, resolve_beside

__all__ = ["FolderPath", "Part", "Seed", "Settings", "runtime"]

Family = TypeVar("Family", bound="Part")

RUNTIME = "runtime"
"""Marks a field that cannot change a result, such as a batch size, in its `json_schema_extra`."""


def runtime(default: Any = ..., *, description: str, **limits: Any) -> Any:
    """Declare a field that cannot change a result, such as a batch size; it is left out of the hash of results."""
    return Field(default, description=description, json_schema_extra={RUNTIME: True}, **limits)


def _read_path(path: Any) -> Any:
    if path is None:
        raise ValueError('is empty: name a folder or file; a home folder is written in quotes, as "~"')
    if isinstance(path, Path):  # given from Python
        return Path(expand(str(path)))
    if not isinstance(path, str) or (path.strip() and is_bundled(path)):
        return path
    return resolve_beside(path)


FolderPath = Annotated[
    Path,
    BeforeValidator(_read_path),
    PlainSerializer(PurePath.as_posix, when_used="json"),
    WithJsonSchema({"type": "string", "format": "path", "minLength": 1}),
]
"""Path of a checkpoint folder: absolute, beside the file that names it, or a name that `checkpoint_folder` looks up."""

Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**63)]
"""A seed that all generators of random numbers take."""


class Settings(BaseModel):
    """A frozen config that refuses unknown entries and names those that it knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _name_known_entries(cls, content: Any, validate: Any) -> Any:
        try:
            settings = validate(content)
        except ValidationError as error:
            raise ValidationError.from_exception_data(
                cls.__name__, [_reworded(fault, cls) for fault in error.errors()]
            ) from None
        given = content if isinstance(content, Mapping) else {}
        faults = [
            fault
            for name in cls.model_fields
            for fault in _numbers_from_text(given.get(name), getattr(settings, name), (name,))
        ]
        if faults:
            raise ValidationError.from_exception_data(cls.__name__, faults)
        return settings

    def influences(self, device: str) -> dict[str, Any]:
        """Return every entry that results depend on, as JSON values: those that are not declared runtime-only.

        Override if an entry means something else on another device.

        Args:
            device: where networks run.
        """
        return {
            name: _influences(getattr(self, name), device)
            for name, field in type(self).model_fields.items()
            if not is_runtime(field.json_schema_extra)
        }


def without_defaults(settings: Settings, influences: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return influences without the entries `names` where these have their defaults.

    So an entry that is added later leaves the results of earlier versions as they are.
    """
    fields = type(settings).model_fields
    dropped = [name for name in names if getattr(settings, name) == fields[name].get_default(call_default_factory=True)]
    return {name: value for name, value in influences.items() if name not in dropped}


def is_runtime(extra: Any) -> bool:
    """Return whether a field is declared runtime-only in its `json_schema_extra`."""
    return isinstance(extra, Mapping) and bool(extra.get(RUNTIME))


class Part(Settings):
    """Base of all families. In YAML a mapping with `kind`; in Python, call the class."""

    folder_entries: ClassVar[tuple[str, ...]] = ()
    """Names of the fields that hold checkpoint folders."""

    @property
    def kind(self) -> str:
        """Name in experiment files: the file's name for the package's own parts, `module:Class` for all others."""
        return kind_of(type(self))

    @model_validator(mode="before")
    @classmethod
    def _drop_kind(cls, content: Any) -> Any:
        if not isinstance(content, Mapping) or "kind" not in content:
            return content
        if content["kind"] != kind_of(cls):
            raise PydanticCustomError(
                "kind", "kind is {given}, but this part is {own}", {"given": content["kind"], "own": kind_of(cls)}
            )
        return {key: value for key, value in content.items() if key != "kind"}

    @model_serializer(mode="wrap")
    def _add_kind(self, serialise: Any) -> dict[str, Any]:
        return {"kind": self.kind, **serialise(self)}

    def influences(self, device: str) -> dict[str, Any]:
        """Return the kind and every entry that results depend on, without checkpoint folders, since their files are hashed."""
        own = super().influences(device)
        return {"kind": self.kind, **{key: value for key, value in own.items() if key not in self.folder_entries}}

    @property
    def checkpoints(self) -> dict[str, Path]:
        """Checkpoint folders that this part loads networks from, by the name of their entry."""
        return {name: checkpoint_folder(getattr(self, name)) for name in self.folder_entries}

    def check_configs(self) -> None:
        """Compare entries with the `config.json` of this part's checkpoints, before anything is computed; here nothing.

        Raises:
            ValueError: if they do not fit; names the entry.
        """


def kind_of(part: type[Part]) -> str:
    """Return the name of a part's class in experiment files."""
    package, _, module = part.__module__.rpartition(".")
    inside = package.startswith(f"{__package__}.") and _package_of(family_of(part)) == package
    return module if inside else f"{part.__module__}:{part.__qualname__}"


def family_of(part: type[Part]) -> type[Part]:
    """Return the family of a part's class."""
    return next(base for base in part.__mro__ if Part in base.__bases__)


def _package_of(family: type[Part]) -> str:
    return family.__module__.rpartition(".")[0]


@cache
def known_kinds(family: type[Part]) -> tuple[str, ...]:
    """List the kinds of a family that come with the package: the files of its folder that define a class of the family.

    Files are read, not imported, since others in the folder import large libraries.
    """
    own = sys.modules[family.__module__]
    bases = {name for name, value in vars(own).items() if isinstance(value, type) and issubclass(value, family)}
    folder = Path(str(own.__file__)).parent
    sources = {path.stem: _bases_in(path.read_text("utf-8")) for path in folder.glob("*.py") if path.stem != "__init__"}
    del sources[Path(str(own.__file__)).stem]
    kinds: set[str] = set()
    while (
        found := {stem for stem, classes in sources.items() if any(bases & named for named in classes.values())} - kinds
    ):
        kinds |= found  # a class of another kind's class is a kind too
        bases |= {name for stem in found for name, named in sources[stem].items() if bases & named}
    return tuple(sorted(kinds))


def _bases_in(source: str) -> dict[str, set[str]]:
    """Return the classes of a source file, each with the names that it derives from."""
    return {
        name: {base.strip() for base in bases.split(",")}
        for name, bases in re.findall(r"^class (\w+)\(([^)]*)\):", source, re.MULTILINE)
    }


def as_part(family: type[Family], content: Any) -> Family:
    """Build a part from its mapping; a part is returned unchanged.

    Raises:
        ValidationError: if an entry of the part is wrong.
        PydanticCustomError: if the content is no mapping, or its kind is missing or unknown.
    """
    if isinstance(content, family):
        return content
    if not isinstance(content, Mapping):
        raise PydanticCustomError(
            "part", "expected a mapping with its kind, such as kind: {kind}", {"kind": known_kinds(family)[0]}
        )
    if not isinstance(content.get("kind"), str):
        raise PydanticCustomError(
            "kind",
            "kind {fault}; known kinds: {known}",
            {"fault": "must be text" if "kind" in content else "is missing", "known": ", ".join(known_kinds(family))},
        )
    return class_of(family, content["kind"]).model_validate(dict(content))


def class_of(family: type[Family], kind: str) -> type[Family]:
    """Find the class of a kind.

    Raises:
        PydanticCustomError: if the kind is unknown, its module is not imported, or the class does not define all that its
            family requires.
    """
    module_name, colon, name = kind.partition(":")
    if colon:
        found = _outside(kind, module_name, name)
    else:
        if kind not in known_kinds(family):
            raise PydanticCustomError(
                "kind",
                "there is no kind {kind}; known kinds: {known}, or module:Class of your own",
                {"kind": kind, "known": ", ".join(known_kinds(family))},
            )
        module = import_module(f"{_package_of(family)}.{kind}")
        found = next(
            part
            for part in vars(module).values()
            if _is_class(part, family) and not isabstract(part) and part.__module__ == module.__name__
        )
    if not _is_class(found, family):
        raise PydanticCustomError("kind", "{kind} is no {family}", {"kind": kind, "family": family.__name__})
    lacking = sorted({*found.__abstractmethods__, *(name for name in found.__class_vars__ if not hasattr(found, name))})
    if lacking:
        raise PydanticCustomError(
            "kind", "{kind} does not define {lacking}", {"kind": kind, "lacking": ", ".join(lacking)}
        )
    chosen: type[Family] = found
    return chosen


def _outside(kind: str, module_name: str, name: str) -> Any:
    module = sys.modules.get(module_name)
    if not issubclass(type(module), ModuleType):
        raise PydanticCustomError(
            "kind",
            "{kind} is in a module that is not imported: name it with --with {module}, or import it first in Python",
            {"kind": kind, "module": module_name},
        )
    found = ModuleType.__getattribute__(module, "__dict__").get(name)  # a lazy module stays unread
    if found is None:
        raise PydanticCustomError(
            "kind", "the module {module} has no class {name}", {"module": module_name, "name": name}
        )
    return found


def _is_class(found: Any, family: type[Part]) -> bool:
    """Return whether something is a class of a family; isinstance() could run the object's own code."""
    return issubclass(type(found), type) and issubclass(found, family) and found is not family


def _influences(value: Any, device: str) -> Any:
    if isinstance(value, Settings):
        return value.influences(device)
    if isinstance(value, Mapping):
        return {str(key): _influences(entry, device) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_influences(entry, device) for entry in value]
    return value.as_posix() if isinstance(value, PurePath) else value


def _numbers_from_text(given: Any, taken: Any, place: tuple[Any, ...]) -> Iterator[InitErrorDetails]:
    """List the places where pydantic took a number from text, or from true or false."""
    if isinstance(given, Mapping) and isinstance(taken, Mapping):
        for key in taken:
            yield from _numbers_from_text(given.get(key), taken[key], (*place, key))
    elif isinstance(given, list | tuple) and isinstance(taken, tuple | list):
        for i, (each, number) in enumerate(zip(given, taken, strict=False)):
            yield from _numbers_from_text(each, number, (*place, i))
    elif type(taken) in (int, float) and isinstance(given, str | bytes | bool):
        shown = str(given).lower() if isinstance(given, bool) else f"the text {given!r}"
        error = PydanticCustomError("number", "is {shown}: write a number, without quotes", {"shown": shown})
        yield InitErrorDetails(type=error, loc=place, input=given)


_EXPECTED = {
    "string_type": "must be text: put it in quotes",
    "tuple_type": "must be a list, such as [one, two]",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
}
"""Kind of a pydantic error → what we say instead."""


def _reworded(fault: Any, settings: type[Settings]) -> InitErrorDetails:
    """Reword a pydantic error: list known entries, or describe the missing one."""
    kind = fault["type"]
    message = _EXPECTED.get(kind) or fault["msg"].removeprefix("Value error, ")
    own = len(fault["loc"]) == 1
    if kind == "extra_forbidden":
        kind = "unknown_entry"
        if own:
            message = f"there is no such entry; known entries: {', '.join(settings.model_fields)}"
            close = get_close_matches(str(fault["loc"][0]), settings.model_fields, 1, 0.8)
            message += f"; did you mean {close[0]}?" if close else ""
    if kind == "literal_error":
        kind = "unknown_word"  # outer settings reword what inner ones did not
        message = f"is {fault['input']!r}; expected {fault['msg'].removeprefix('Input should be ')}"
    if kind == "missing" and own:
        kind, message = "missing_entry", "is not given"
        description = settings.model_fields[fault["loc"][0]].description
        if description:
            message += f": {description[0].lower()}{description[1:]}"
    error = PydanticCustomError(kind, "{message}", {"message": message})
    return InitErrorDetails(type=error, loc=fault["loc"], input=fault["input"])
