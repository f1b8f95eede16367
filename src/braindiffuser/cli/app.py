"""The command-line program: what all commands have in common, and its entry point."""

from __future__ import annotations

import io
import re
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from braindiffuser import __version__
from braindiffuser.cli.endings import STOPPING, errors_as_sentences, stop_once, stoppable
from braindiffuser.cli.screen import fail, print_out

ONE_RUN, STAGES, SEVERAL_RUNS, RECORDINGS = PANELS = (
    "One run",
    "Stages of a run",
    "Several runs",
    "Recordings, experiment files and networks",
)
"""Headings that `braindiffuser --help` lists commands under, in its order."""


class _Commands(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        """Return names of commands in the order of their headings; stages, whose help begins with a number, by it."""

        def place(name: str) -> tuple[int, str]:
            heading = getattr(self.commands[name], "rich_help_panel", ONE_RUN)
            return PANELS.index(heading), (self.commands[name].help or "") if heading == STAGES else ""

        return sorted(super().list_commands(ctx), key=place)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse empty values: an empty path would be the working folder."""
        for before, given in zip(["braindiffuser", *args], args, strict=False):
            if not given.strip() or re.fullmatch(r"--[a-z-]+=\s*", given):
                fail(f"the value after {given.strip() or before} is empty: give one, or leave the option out")
        return super().parse_args(ctx, args)

    def main(self, *args: Any, **options: Any) -> Any:
        """Read the command line and run a command; whatever is expected to go wrong is one sentence."""
        with errors_as_sentences():
            return super().main(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; Ctrl-C is one sentence."""
        with stoppable("nothing was changed"):
            return super().invoke(ctx)


SEVERAL = ("--subjects", "--sessions", "--files", "--splits", "--config")
"""Options after which several values may stand."""


class SeveralValues(TyperCommand):
    """A command some of whose options take several values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read several values after one option."""
        return super().parse_args(ctx, with_repeated_options(args))


def with_repeated_options(args: list[str]) -> list[str]:
    """Write an option before each of several values.

    >>> with_repeated_options(["--sessions", "1", "2", "--out", "RUN"])
    ['--sessions', '1', '--sessions', '2', '--out', 'RUN']
    """
    repeated: list[str] = []
    option, is_first = "", False
    for given in args:
        if given.startswith("-"):
            option, is_first = given if given in SEVERAL else "", True
        elif option and not is_first:
            repeated.append(option)
        else:
            is_first = False
        repeated.append(given)
    return repeated


def _print_version(asked: bool) -> bool:
    if asked:
        print_out(f"braindiffuser {__version__}")
        raise typer.Exit
    return asked


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Reconstruct what a person saw from their fMRI (Brain-Diffuser, Ozcelik & VanRullen 2023).",
    epilog="Start here: **braindiffuser demo**, which simulates a subject, decodes it and writes a page.",
)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Entry point of `braindiffuser`."""
    for stream in (sys.stdout, sys.stderr):  # a log shows each line when it is written
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # of characters that it cannot show
    stop = stop_once()
    for number in STOPPING:
        signal.signal(number, stop)
    try:
        app()
    finally:
        for number in STOPPING:  # while the interpreter ends, one more would change the exit status
            signal.signal(number, signal.SIG_IGN)
