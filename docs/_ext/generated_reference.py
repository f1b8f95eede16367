"""Writes the pages of the reference from the code: public names, and every entry of an experiment file."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import braindiffuser
from braindiffuser.experiment_file import experiment_schema
from braindiffuser.part import Settings
from braindiffuser.plain_data import as_yaml

COMMANDS = "braindiffuser.cli"
"""Commands have their own help."""
EXPERIMENT, WHOLE = "experiment", "Experiment"
RANGES = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
KINDS = {
    "number": "number",
    "integer": "whole number",
    "string": "text",
    "boolean": "`true` or `false`",
    "null": "`null`",
}
ROUTING = (
    "set_fit_request, set_predict_request, set_score_request, set_transform_request, model_config, model_post_init"
)
"""Methods that scikit-learn and pydantic give every class."""


def public_modules() -> list[str]:
    """Name the package and its subpackages that list public names."""
    inside = pkgutil.iter_modules(braindiffuser.__path__, "braindiffuser.")
    names = [module.name for module in inside if module.ispkg]
    return [
        "braindiffuser",
        *(name for name in names if name != COMMANDS and getattr(importlib.import_module(name), "__all__", ())),
    ]


def names_page(module: str) -> str:
    """Return the page of a module's public names."""
    loaded = importlib.import_module(module)
    summary = (inspect.getdoc(loaded) or "").strip().partition("\n")[0]
    lines = [f"# {module}", "", summary, "", "```{eval-rst}"]
    for name in sorted(loaded.__all__):
        value = getattr(loaded, name)
        again = ["   :no-index:"] if module != "braindiffuser" and name in braindiffuser.__all__ else []
        if inspect.isclass(value):
            members = [] if issubclass(value, tuple) else ["   :members:", f"   :exclude-members: {ROUTING}"]
            lines += [f".. autoclass:: {module}.{name}", *members, *again, ""]
        elif inspect.isroutine(value):
            lines += [f".. autofunction:: {module}.{name}", *again, ""]
        elif not name.startswith("__"):
            lines += [f".. py:data:: {module}.{name}", ""]
    return "\n".join([*lines, "```", ""])


def entries_page() -> str:
    """Return the page of all entries of an experiment file, from their descriptions in the code."""
    kinds: dict[str, Any] = experiment_schema()["$defs"]
    families: dict[str, list[str]] = {}
    for name, content in sorted(kinds.items(), key=lambda item: item[0] != WHOLE):
        if "-" not in name:  # experiments that begin from a preset have the same entries
            families.setdefault(_family(name), []).append(_entries_of(content, kinds))
    lines = [
        "# Every entry of an experiment file",
        "",
        "`braindiffuser info` prints them as a file to start from, and `braindiffuser info --schema` as a JSON schema, with "
        "which editors complete and check entries.",
    ]
    for family in (EXPERIMENT, *sorted(set(families) - {EXPERIMENT})):
        lines += ["", f"## {family.capitalize()}", *families[family]]
    return "\n".join([*lines, ""])


def _family(name: str) -> str:
    """Return the room of the package that a class of settings is of."""
    module = _modules()[name].split(".")[1]
    return EXPERIMENT if module.startswith("experiment") else module


@cache
def _modules() -> dict[str, str]:
    """Return the module of each class of settings that is loaded."""
    found, waiting = {}, [Settings]
    while waiting:
        one = waiting.pop()
        found[one.__name__] = one.__module__
        waiting += one.__subclasses__()
    return found


def _entries_of(content: Mapping[str, Any], kinds: Mapping[str, Any]) -> str:
    lines = ["", f"### {_heading(content, kinds)}", "", content.get("description", ""), ""]
    own = {name: entry for name, entry in content["properties"].items() if name != "kind"}
    if own:
        lines += ["| entry | default | values | what it is |", "|---|---|---|---|"]
    for name, entry in own.items():
        default = "needed" if name in content.get("required", ()) else f"`{as_one_line(entry.get('default'))}`"
        cells = (f"`{name}`", default, _values(entry, kinds), entry.get("description", ""))
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines)


def _heading(content: Mapping[str, Any], kinds: Mapping[str, Any]) -> str:
    """Return the kind of a part, or the entry that holds settings which are no part."""
    kind, own = content["properties"].get("kind", {}).get("const"), f"#/$defs/{content['title']}"
    holders = (
        name
        for other in kinds.values()
        for name, entry in other.get("properties", {}).items()
        if entry.get("$ref", "") == own
    )
    return str(kind or next(holders, "all of it"))


def as_one_line(value: Any) -> str:
    """Return a default as an experiment file would have it."""
    return as_yaml(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()


def _values(entry: Mapping[str, Any], kinds: Mapping[str, Any]) -> str:  # noqa: PLR0911 (one for each form)
    """Say which values an entry may have, with their range."""
    if "$ref" in entry:
        heading = _heading(kinds[entry["$ref"].rpartition("/")[2]], kinds)
        return f"[{heading}](#{heading.replace('_', '-')})"
    if "anyOf" in entry or "oneOf" in entry:
        forms = entry.get("anyOf") or entry["oneOf"]
        return ", or ".join(dict.fromkeys(_values(each, kinds) for each in forms))
    if "enum" in entry:
        return ", ".join(f"`{as_one_line(value)}`" for value in entry["enum"])
    if "const" in entry:
        return f"`{as_one_line(entry['const'])}`"
    if entry.get("pattern"):
        return "`module:Class`"
    if entry.get("properties", {}).get("kind", {}).get("pattern"):
        return "`module:Class` of yours"
    ends = [f"{sign} {_number(entry[name])}" for name, sign in RANGES.items() if name in entry]
    several = [*entry.get("prefixItems", ()), entry.get("items")]
    if entry.get("type") == "array" and isinstance(several[0], Mapping):
        how_many = f"{len(several) - 1} of" if len(several) > 1 else "list of"
        return f"{how_many}: {_values(several[0], kinds)}"
    if entry.get("type") == "object":
        named = [*entry.get("patternProperties", {}).values(), entry.get("additionalProperties")]
        return f"name → {_values(named[0], kinds)}" if isinstance(named[0], Mapping) else "anything"
    return ", ".join([KINDS.get(entry.get("type", ""), "anything"), *ends])


def _number(value: float) -> str:
    """Write a bound; a large power of two as one."""
    exponent = int(value).bit_length() - 1
    is_power = exponent > 20 and value == 2**exponent
    return f"2{str(exponent).translate(SUPERSCRIPT)}" if is_power else f"{value:g}"


def write(app: Sphinx) -> None:
    """Write all pages; those that are as they were stay as they are, so that Sphinx does not read them again."""
    folder = Path(app.srcdir) / "reference" / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"entries": entries_page(), **{module: names_page(module) for module in public_modules()}}
    for old in folder.glob("*.md"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        page = folder / f"{name}.md"
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def as_plain_text(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Let reStructuredText find no markup in a docstring but what is in backquotes, which becomes code."""
    in_example = False
    for place, line in enumerate(lines):
        in_example = line.lstrip().startswith(">>>") or (in_example and bool(line.strip()))
        if not in_example:
            lines[place] = re.sub(r"`([^`]+)`|([*|\\_])", _escaped, line)


def _escaped(found: re.Match[str]) -> str:
    return f"``{found[1]}``" if found[1] else f"\\{found[2]}"


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the pages before any is read."""
    app.connect("builder-inited", write)
    app.connect("autodoc-process-docstring", as_plain_text, priority=400)  # before napoleon, which adds markup
    return {"parallel_read_safe": True}
