"""Commands that texts tell to type can be typed as they stand: known, with the options and arguments that they need."""

import ast
import re
import shlex
from pathlib import Path

import pytest
import typer

import braindiffuser
from braindiffuser.cli import app
from braindiffuser.cli.app import SeveralValues, with_repeated_options

ROOT = Path(__file__).parents[3]
SOURCES = sorted(Path(braindiffuser.__file__).parent.rglob("*.py"))
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAM = typer.main.get_command(app)
QUOTED = r"(?:`|\*\*)braindiffuser (\w[^`*]*)(?:`|\*\*)"


def texts(path):
    """Yield the strings of a module; what is filled in is a word."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(piece.value if isinstance(piece, ast.Constant) else "word" for piece in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def commands_of(path):
    """List what stands after "braindiffuser" in a module or a page."""
    if path.suffix == ".py":
        return [found for text in texts(path) for found in re.findall(QUOTED, text)]
    page = path.read_text(encoding="utf-8")
    return [*re.findall(QUOTED, page), *re.findall(r"^    braindiffuser (.+)$", page, re.MULTILINE)]


def fault(line):
    """Say why a command cannot be typed; "" if it can. A command alone, or with one option, is its name."""
    words = shlex.split(line.split(" > ")[0].replace("…", ""), comments=True)
    names_it = len(words) == 1 or (len(words) == 2 and words[1].startswith("--"))
    command, *rest = words
    group = PROGRAM
    while hasattr(group, "commands"):
        if command not in group.commands:
            return f"there is no {command}"
        group = group.commands[command]
        if hasattr(group, "commands"):
            command, *rest = rest
    if names_it:
        return "" if len(words) == 1 or any(words[1] in option.opts for option in group.params) else f"no {words[1]}"
    rest = with_repeated_options(rest) if isinstance(group, SeveralValues) else rest
    context = typer.Context(group, info_name=words[0], resilient_parsing=False)
    try:
        given, left, _ = group.make_parser(context).parse_args(rest)
    except Exception as error:  # typer keeps its own copy of click's errors
        return f"{line}: {error!r}"
    lacking = [option.opts[0] for option in group.params if option.required and not given.get(option.name)]
    return f"{line}: lacks {lacking}, has {left} too many" if lacking or left else ""


@pytest.mark.parametrize("path", [*SOURCES, *DOCS], ids=lambda path: path.stem)
def test_commands_can_be_typed_as_they_stand(path):
    for line in commands_of(path):
        if r"\|" not in line and not line.startswith("word"):  # several stages at once, in a table and in a shared help
            assert not fault(line), (line, fault(line))


@pytest.mark.parametrize(
    "line",
    ["analyse split_audit", "analyse", "analyse split_audit --uot RUN", "audit --out RUN", "curve RUN", "run --out"],
)
def test_commands_that_lack_something_are_found(line):
    assert bool(fault(line)) == (line not in ("analyse", "run --out"))
