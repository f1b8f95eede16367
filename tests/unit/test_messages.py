"""Messages of errors have one form: one sentence that follows "error: ", so no capital first, and no full stop in it or last."""

import ast
import re
import shlex
from pathlib import Path

import pytest

import braindiffuser
from braindiffuser.errors import command_line

SOURCES = sorted(Path(braindiffuser.__file__).parent.rglob("*.py"))
NAMES = ("SSIM", "ROI", "EfficientNet", "CLIP", "Python", "V1")


def messages(path):
    """Yield the pieces of every message that an error is raised with; None stands for a value that is filled in."""
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id.endswith("Error")
            and call.args
        ):
            text = call.args[0]
            pieces = text.values if isinstance(text, ast.JoinedStr) else [text]
            values = [piece.value if isinstance(piece, ast.Constant) else None for piece in pieces]
            yield [value if isinstance(value, str) else None for value in values]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_messages_have_one_form(path):
    for pieces in messages(path):
        first, last = pieces[0] or "", pieces[-1] or ""
        assert first[:1] == first[:1].lower() or first.startswith(NAMES), first
        assert not last.endswith("."), last
        assert not any(". " in piece for piece in pieces if piece), pieces


def typed_commands(path):
    """Yield texts with a command of the program up to a value that is filled in, where it stands in them unquoted."""
    for text in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(text, ast.JoinedStr):
            said = "".join(str(piece.value) if isinstance(piece, ast.Constant) else "\0" for piece in text.values)
            yield from re.findall(r"\bbraindiffuser [a-z]+[^`\0]*\0", said)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_paths_in_commands_are_quoted(path):
    assert not list(typed_commands(path))


@pytest.mark.parametrize("folder", ["runs/a", "my runs/a", "it's", "$HOME", "a;b"])
def test_a_command_is_read_back_by_a_shell(folder):
    assert shlex.split(command_line("run", "--out", Path(folder)).strip("`")) == [
        "braindiffuser",
        "run",
        "--out",
        folder,
    ]
