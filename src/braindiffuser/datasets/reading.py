"""Reading a recording's files: whatever goes wrong becomes one sentence that names the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from braindiffuser.batches import lacks_memory
from braindiffuser.errors import RecordingError, reason
from braindiffuser.system_errors import is_of_the_system, sentence


def files_below(folder: Path) -> list[Path]:
    """List the files in a folder and below it, by name."""
    return sorted(Path(place) / name for place, _, names in os.walk(folder) for name in names)


def find_below(folder: Path, name: str, what: str) -> Path:
    """Return the one file of a name in a folder or below it.

    Args:
        folder: where to look.
        name: of the file.
        what: the file holds, for the message.

    Raises:
        RecordingError: there is none, or there are several.
    """
    found = [path for path in files_below(folder) if path.name == name]
    if not found:
        missing = "" if folder.is_dir() else ", which is no folder"
        raise RecordingError(f"{name} is missing below {folder}{missing}: put it there; it holds {what}")
    if len(found) > 1:
        raise RecordingError(
            f"{folder} holds several files {name} ({', '.join(str(path.relative_to(folder)) for path in found)}): keep one"
        )
    return found[0]


@contextmanager
def reading(path: Path, expected: str) -> Iterator[None]:
    """Raise a RecordingError for what fails inside: the system's reason, or that the file is damaged.

    A lack of memory stays what it is.

    Args:
        path: of the file.
        expected: what it should be, such as "NIfTI file".
    """
    try:
        yield
    except RecordingError:
        raise
    except Exception as error:  # of the libraries' many kinds, for arbitrary bytes
        if lacks_memory(error):
            raise
        if is_of_the_system(error):
            raise RecordingError(sentence(error, path)) from error
        raise RecordingError(
            f"{path} is damaged, cut short or no {expected} ({reason(error)}): download or write it again"
        ) from error
