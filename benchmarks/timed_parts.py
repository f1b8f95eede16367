"""Parts of a benchmark, each within its time in another process: where one fails or hangs, the others go on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, TypeAlias

from braindiffuser.errors import reason

Result: TypeAlias = dict[str, Any]
FAILED = "failed"
"""Entry of a part's result that says in one line why the rest of it is missing."""


class Part(NamedTuple):
    """A function that measures, and the seconds that are planned for it.

    run(setting, ends_at) yields results as they come, up to `ends_at` of `time.monotonic`, which all processes share. It is
    named, `module:function`, and imported where it runs: the command needs none of what it needs.
    """

    run: str
    budget_s: float


def run_parts(parts: Mapping[str, Part], setting: Any) -> Iterator[tuple[str, Result]]:
    """Yield each part's name and result, in order.

    A part has its own budget and what the parts before it left of theirs, so that all together take no more than all budgets.
    The process goes on from part to part; after one that fails, or is stopped, the next begins in a new process.

    Args:
        parts: name → part.
        setting: first argument of all parts.

    Yields:
        Name and result: what the part yielded, joined; its `seconds`; under `failed` why it did not end.
    """
    worker: Worker | None = None
    ends_at = time.monotonic()
    try:
        for name, part in parts.items():
            ends_at, started = ends_at + part.budget_s, time.monotonic()
            worker = worker or Worker()
            result = worker.result_of(part.run, setting, ends_at)
            if FAILED in result:
                worker.end()
                worker = None
            yield name, result | {"seconds": round(time.monotonic() - started, 1)}
    finally:
        if worker is not None:
            worker.end()


class Worker:
    """A process that runs parts."""

    def __init__(self) -> None:
        """Start the process."""
        context = multiprocessing.get_context("spawn")
        self._connection, others = context.Pipe()
        self._process = context.Process(target=_work, args=(others,))
        self._process.start()
        others.close()

    def result_of(self, run: str, setting: Any, ends_at: float) -> Result:
        """Run a part; return what it yielded, and under `failed` why it did not end."""
        result: Result = {}
        allowed = ends_at - time.monotonic()
        try:
            self._connection.send((run, setting, ends_at))
            while self._connection.poll(max(0.0, ends_at - time.monotonic())):
                found = self._connection.recv()
                if found is None:
                    return result
                result |= found
        except (EOFError, OSError):
            self._process.join()
            return result | {FAILED: f"its process ended with exit status {self._process.exitcode}"}
        return result | {FAILED: f"stopped after {allowed:.0f} s, when its time was up"}

    def end(self) -> None:
        """Kill the process and those that it started, such as compilers."""
        group = self._process.pid
        if group and self._process.is_alive() and hasattr(os, "killpg"):
            try:
                os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:  # it has not come to make its own group yet
                self._process.kill()
        self._process.kill()
        self._process.join()
        self._connection.close()


def _work(connection: Connection) -> None:
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    while True:
        try:
            run, setting, ends_at = connection.recv()
        except EOFError:  # the other side is gone
            return
        try:
            module, _, function = run.partition(":")
            for found in getattr(import_module(module), function)(setting, ends_at):
                connection.send(found)
        except Exception as error:  # the other parts go on
            connection.send({FAILED: in_one_line(error)})
        connection.send(None)


def in_one_line(error: BaseException) -> str:
    """Say what failed and why."""
    kind, said = type(error).__name__, reason(error)
    return kind if said == kind else f"{kind}: {said}"
