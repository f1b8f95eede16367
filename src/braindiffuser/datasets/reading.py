"""Reading a recording's files: whatever goes wrong becomes one sentence that names the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from braindiffuser.batches import lacks_memory
from braindiffuser.errors import RecordingError, reason
from braindiffuser.system_errors import is_of_the_system, sentence


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
