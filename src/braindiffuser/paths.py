"""Paths as users write them: `~`, `$VARIABLE`, and relative to the file that names them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_VARIABLE = re.compile(r"\$(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|\{(?P<braced>[^}]*)\})")
_FOLDER: ContextVar[Path | None] = ContextVar("folder", default=None)
"""Folder of the experiment file that is being read."""


@contextmanager
def written_in(file: Path) -> Iterator[None]:
    """Relative paths that are read inside count from the folder of this file."""
    token = _FOLDER.set(file.absolute().parent)
    try:
        yield
    finally:
        _FOLDER.reset(token)


def expand(text: str) -> str:
    """Replace a leading `~` or `~user`, `$NAME` and `${NAME}`; what comes back is left unchanged by a second call.

    Raises:
        ValueError: if it is empty or holds a NUL, or a variable or user is not known; names it.
    """
    if not text.strip():
        raise ValueError("is empty: name a folder or file")
    if text != text.strip():
        raise ValueError(f"begins or ends with a space or a line end ({text!r}): remove it")
    if re.match(r"[a-z][a-z0-9+.-]+://", text, re.IGNORECASE):
        raise ValueError(f"is an address ({text}), and files are read from disk: write the path of a file or folder")
    replaced = _VARIABLE.sub(lambda found: os.environ.get(found["name"] or found["braced"]) or found[0], text)
    unknown = _VARIABLE.search(replaced)
    if unknown:
        raise ValueError(
            f"uses {unknown[0]}, and no environment variable of that name is set, or it is empty: set it, or write the path out"
        )
    if "\0" in replaced:
        raise ValueError("holds a NUL character, which no path can: remove it")
    path = os.path.expanduser(replaced)  # noqa: PTH111  which leaves what it does not know
    if path.startswith("~"):
        raise ValueError(f"begins with {Path(path).parts[0]}, whose home folder is not known: write the path out")
    return path


def absolute(path: str | Path) -> Path:
    """Return an absolute path; a relative one counts from the folder of the file that names it, else from the working folder."""
    return without_parents((_FOLDER.get() or Path.cwd()) / expand(str(path)))


def without_parents(path: Path) -> Path:
    """Return an absolute path without `..`: what stands before is resolved, since it may be a link; the rest stays."""
    if ".." not in path.parts:
        return path
    after = len(path.parts) - path.parts[::-1].index("..")
    return Path(*path.parts[:after]).resolve().joinpath(*path.parts[after:])


def resolve_beside(path: str) -> Path:
    """Return the absolute path of a folder beside the file that is being read, if it is there or its path begins with a dot.

    Any other path is returned as it is: it may be a name that is looked up elsewhere.
    """
    expanded, folder = expand(path), _FOLDER.get()
    if folder is None or Path(expanded).is_absolute():
        return Path(expanded)
    has_dot = Path(expanded).parts[:1] == ("..",) or expanded.startswith(("./", f".{os.sep}"))
    is_there = "/" in expanded.replace(os.sep, "/") and (folder / expanded).is_dir()
    return folder / expanded if has_dot or is_there else Path(expanded)
