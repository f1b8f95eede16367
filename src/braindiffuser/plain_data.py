"""Plain data (what JSON can hold) as JSON and YAML: hash, read, write."""

from __future__ import annotations

import codecs
import hashlib
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from braindiffuser.errors import RunError, reason
from braindiffuser.files import replacing


def hash_json(content: Any) -> str:
    """SHA-256 of anything that JSON can hold, whatever the order of its keys.

    >>> hash_json({"a": 1, "b": [2]}) == hash_json({"b": [2], "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds a mapping.

    Raises:
        OSError: if it is missing or cannot be read.
        ValueError: if it is not JSON, holds something else, or a name is given twice; names it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_each_once)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON, so damaged or cut short ({reason(error)})") from error
    except ValueError as error:
        raise ValueError(f"{path} cannot be used: {reason(error)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__} instead of a mapping")
    return content


def write_json(path: Path, content: Any) -> None:
    """Write content as JSON, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_entries(texts: Iterable[str]) -> dict[str, Any]:
    """Read entries that are written as `entry=value`, with values in YAML.

    Raises:
        RunError: one has no entry or no sign, or its value is no YAML.

    >>> read_entries(["column=category", "regions=[V1, V2]", "n_samples=4"])
    {'column': 'category', 'regions': ['V1', 'V2'], 'n_samples': 4}
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise RunError(f"{text!r} is no entry: write entry=value, such as column=category")
        try:
            found[name.strip()] = read_yaml(value.encode())
        except ValueError as error:
            raise RunError(f"{text!r} is no entry: {error}") from error
    return found


def read_yaml(content: bytes) -> Any:
    """Read YAML 1.2 that holds plain data: text, decimal numbers, true, false, null, lists and mappings named by text.

    Numbers that versions of YAML read differently (010, 0x10, 1_000) are refused; no, on and 2024-01-01 are text.

    Raises:
        ValueError: if it is something else, a key is given twice, aliases repeat values more than MAX_VALUES times, or values
            are nested more than MAX_DEPTH deep; says in which line, and what to write instead.
    """
    try:
        made = yaml.load(_decoded(content), _Loader)  # noqa: S506  derived from SafeLoader
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is not UTF-8: save it as text in UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{where}{_plainly(error.problem or error.context or '')}") from error
    except yaml.YAMLError as error:
        raise ValueError(reason(error)) from error
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if _depth(made, {}) > MAX_DEPTH:
        raise ValueError(TOO_DEEP)
    n_values = _n_values(made, {})
    if n_values > MAX_VALUES:
        raise ValueError(f"with what its aliases (*name) repeat it holds {n_values:,} values: write out what is meant")
    return made


def _depth(content: Any, known: dict[int, float]) -> float:
    """Return how many lists and mappings lie inside each other; infinitely many where one holds itself."""
    if not isinstance(content, dict | list):
        return 0.0
    if id(content) not in known:
        known[id(content)] = math.inf  # until it is known
        inside = content.values() if isinstance(content, dict) else content
        known[id(content)] = 1 + max((_depth(value, known) for value in inside), default=0.0)
    return known[id(content)]


def _n_values(content: Any, known: dict[int, int]) -> int:
    """Count the values of content, again wherever an alias repeats them."""
    if not isinstance(content, dict | list):
        return 1
    if id(content) not in known:
        inside = content.values() if isinstance(content, dict) else content
        known[id(content)] = 1 + sum(_n_values(value, known) for value in inside)
    return known[id(content)]


def _decoded(content: bytes) -> str:
    """Return text in UTF-8, or in UTF-16 with a byte order mark, as PowerShell's `>` writes it."""
    is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if is_utf_16 else "utf-8-sig")
    if "\0" in text:
        raise ValueError("it holds NUL characters, so it is no text: name another file")
    return text


def as_yaml(content: Any, **style: Any) -> str:
    """Return content as YAML, in the order of its keys; `style` are options of PyYAML."""
    printable = json.dumps(content, ensure_ascii=False).isprintable()  # U+0085 must be escaped: YAML ends a line there
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=printable, **style)
    return text


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice} is given twice: keep one")
    return content


MAX_VALUES = 1_000_000
"""Values of a YAML file; more come from aliases of aliases, whose repetitions would fill the memory."""
MAX_DEPTH = 100
"""Lists and mappings inside each other."""
TOO_DEEP = f"its entries are nested too deeply, more than {MAX_DEPTH} deep"
MAX_DIGITS = 300
"""Digits of a whole number; more are taken for a mistake."""
_REMEDIES = {
    "found another document": "it holds several documents: keep one, without lines of ---",
    "found character '\\t'": "a tab: indent with spaces",
    "cannot start any token": "{}: put text with special characters in quotes",
    "found unexpected end of stream": "a quotation mark that begins before is not closed",
    "expected ' ', but found": "{}: put text that begins with ! in quotes",
    "expected alphabetic or numeric character": "{}: put text that begins with ! or & in quotes",
    "mapping values are not allowed here": "a colon where none may be: put text that holds one in quotes, and indent evenly",
}
"""Part of what PyYAML says → what to say instead."""


def _plainly(problem: str) -> str:
    said = next((remedy for words, remedy in _REMEDIES.items() if words in problem), "{}")
    return said.format(problem)


_TAG = "tag:yaml.org,2002:"
_AMBIGUOUS = "!ambiguous"
_PLAIN = {
    "null": ("~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": ("true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": ("[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": ("<<", ["<"]),
}
"""Text without quotes that is no text, by YAML 1.2's core schema with decimal numbers alone: kind → pattern, first letters."""


class _Loader(yaml.SafeLoader):
    """Reads the kinds of `_PLAIN`; refuses tags, and a key given twice, of which YAML keeps the last."""

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) not in (None, "!", f"{_TAG}str"):
            raise ValueError(
                f"line {event.start_mark.line + 1}: tags, such as !name, are not used here: remove this one, or "
                "put text that begins with ! in quotes"
            )
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.tag not in (f"{_TAG}str", f"{_TAG}merge"):
                shown = f", but is {key.value}: put it in quotes" if isinstance(key, yaml.ScalarNode) else ""
                raise ValueError(f"line {line}: the name of an entry must be text{shown}")
            if key.value in lines:
                raise ValueError(f"{key.value} is given twice, in lines {lines[key.value]} and {line}: keep one")
            lines[key.value] = line
        return node

    def construct_whole_number(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > MAX_DIGITS:
            raise ValueError(f"line {node.start_mark.line + 1}: a number has {len(node.value)} digits")
        return int(node.value)

    def construct_text(self, node: yaml.ScalarNode) -> str:
        return str(node.value)

    def refuse_number(self, node: yaml.ScalarNode) -> Any:
        raise ValueError(
            f"line {node.start_mark.line + 1}: programs read {node.value} as different numbers: write a number in plain decimal "
            f"digits, or '{node.value}' in quotes for text"
        )


class _Dumper(yaml.SafeDumper):
    """Quotes text that either version of YAML would take for something else."""


_Loader.yaml_implicit_resolvers = {}
for _kind, (_pattern, _first) in _PLAIN.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(rf"(?:{_pattern})\Z"), _first)
for _class in (_Loader, _Dumper):
    _others = [
        pattern for kind, pattern in yaml.SafeLoader.yaml_implicit_resolvers["0"] if kind.endswith(("int", "float"))
    ]
    for _other in (*_others, re.compile(r"[-+]?0([0-9_]+|o[0-7]+)\Z")):
        _class.add_implicit_resolver(_AMBIGUOUS, _other, list("-+.0123456789"))
_Loader.add_constructor(f"{_TAG}int", _Loader.construct_whole_number)
_Loader.add_constructor(f"{_TAG}merge", _Loader.construct_text)  # where it is no key
_Loader.add_constructor(_AMBIGUOUS, _Loader.refuse_number)
