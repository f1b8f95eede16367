"""Messages of errors have one form: no capital at the beginning, no full stop at the end, since they follow "error: "."""

import ast
from pathlib import Path

import pytest

import braindiffuser

SOURCES = sorted(Path(braindiffuser.__file__).parent.rglob("*.py"))
NAMES = ("SSIM", "ROI", "EfficientNet", "CLIP", "Python", "V1")


def messages(path):
    """Yield the first and the last piece of text of every message that an error is raised with."""
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id.endswith("Error")
            and call.args
        ):
            text = call.args[0]
            pieces = text.values if isinstance(text, ast.JoinedStr) else [text]
            first, last = pieces[0], pieces[-1]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value, ""
            if isinstance(last, ast.Constant) and isinstance(last.value, str):
                yield "", last.value


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_messages_have_one_form(path):
    for first, last in messages(path):
        assert first[:1] == first[:1].lower() or first.startswith(NAMES), first
        assert not last.endswith("."), last
