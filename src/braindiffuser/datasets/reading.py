"""Reading a recording's files: whatever goes wrong becomes one sentence that names the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from braindiffuser.batches import lacks_memory
from braindiffuser.errors import RecordingError, reason
from braindiffuser.lfs_pointers import pointer_sentence
from braindiffuser.system_errors import is_of_the_system, is_special, sentence


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


def refuse_special(path: Path) -> None:
    """Raise RecordingError for a pipe, a socket or a device."""
    if is_special(path):
        raise RecordingError(f"{path} is a pipe, a socket or a device, expected a file: name a file, or move it away")


def read_text(path: Path, expected: str) -> str:
    """Read a text file in UTF-8, with or without its mark.

    Args:
        path: of the file.
        expected: as in `reading`.

    Raises:
        RecordingError: it is missing, cannot be read, or is in another encoding.
    """
    with reading(path, expected):
        content = path.read_bytes()
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise RecordingError(
                f"{path} is no text in UTF-8 from byte {error.start} on, but in another encoding, such as Latin-1 or UTF-16, or "
                "damaged: save it as UTF-8"
            ) from error
    if "\0" in text:
        raise RecordingError(f"{path} holds NUL characters, as texts in UTF-16 or damaged ones do: save it as UTF-8")
    return text


@contextmanager
def reading(path: Path, expected: str) -> Iterator[None]:
    """Raise a RecordingError for what fails inside: the system's reason, or that the file is damaged, or a git-lfs pointer.

    A lack of memory stays what it is. Pipes, sockets and devices are refused before anything is opened.

    Args:
        path: of the file.
        expected: what it should be, such as "NIfTI file".
    """
    refuse_special(path)
    pointer = pointer_sentence(path)
    if pointer:
        raise RecordingError(pointer)
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
