"""How a command ends: expected errors as one sentence, Ctrl-C and SIGTERM as one, each with its exit status."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pydantic import ValidationError

from braindiffuser.cli.screen import console, fail
from braindiffuser.errors import BrainDiffuserError, lacks_package, reason
from braindiffuser.experiment import list_faults
from braindiffuser.system_errors import is_of_the_system, sentence

CONTINUES = "the same command continues"


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Print expected errors as one sentence, and exit with 1: ours, invalid settings, files and packages that are not there."""
    try:
        yield
    except BrainDiffuserError as error:
        fail(str(error))
    except ValidationError as error:
        fail(list_faults(error))
    except BrokenPipeError:  # of `| head`; typer ends the command
        raise
    except OSError as error:
        fail(sentence(error) if is_of_the_system(error) else f"a file cannot be read or written: {error}")
    except ModuleNotFoundError as error:
        said = lacks_package(error)
        if not said:
            raise
        fail(said)
    except MemoryError as error:
        fail(f"memory ran out ({reason(error)}): free memory that other programs use")
    except EOFError as error:
        fail(f"a file ends too early: {reason(error)}")


@contextmanager
def stoppable(then: str) -> Iterator[None]:
    """On Ctrl-C say in one sentence what the same command does next time; exit with 130, or 143 on SIGTERM."""
    try:
        yield
    except KeyboardInterrupt as error:
        with suppress(OSError):
            console.print(f"stopped: {then}", highlight=False, soft_wrap=True)
        sys.exit(128 + int((error.args or _received or (signal.SIGINT,))[-1]))


STOPPING = (signal.SIGINT, signal.SIGTERM)
"""Signals that end a command: Ctrl-C, and how clusters end a job."""
_received: list[int] = []
"""Signals that were received; a KeyboardInterrupt may be raised anew on its way, without its number."""


def stop_once(patience: float = 1.0) -> Callable[[int, object], None]:
    """Return a handler of signals that raises KeyboardInterrupt, but not again within `patience` seconds."""
    last = -patience

    def stop(number: int, _frame: object) -> None:
        nonlocal last
        earlier, last = last, time.monotonic()
        _received.append(number)
        if last - earlier > patience:
            raise KeyboardInterrupt(number)

    return stop
