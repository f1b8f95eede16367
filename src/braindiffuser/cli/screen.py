"""What a command prints: results to standard output, remarks, errors and progress bars to standard error."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.text import Text

from braindiffuser.errors import RunError
from braindiffuser.progress_bars import progress_bars
from braindiffuser.system_errors import naming

if TYPE_CHECKING:
    from braindiffuser.progress import Progress
    from braindiffuser.run import Run


console = Console(stderr=True)
"""The standard error, where a command says what it does."""
OUTPUT = "the standard output"


def print_out(content: Any) -> None:
    """Print results, as they are, to standard output; tables in Markdown as wide as the terminal is."""
    from rich.markdown import Markdown

    if isinstance(content, Markdown):
        from braindiffuser.cli.terminal_tables import TerminalMarkdown

        content = TerminalMarkdown(content.markup)
    with naming(OUTPUT):
        Console().print(content, highlight=False, markup=False, soft_wrap=isinstance(content, str))


def say(*lines: str) -> None:
    """Print remarks, as they are, to the standard error."""
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def require_output() -> None:
    """Refuse a standard output that was closed."""
    if sys.stdout is None:
        raise RunError("there is no standard output to print to: it was closed")


def print_result(opened: Run) -> None:
    """Print the scores of a run, and where its page is."""
    from rich.markdown import Markdown

    from braindiffuser.report.tables import baseline_sentence, brief_scores_markdown

    page = opened.results.folder / "report" / "index.html"
    if opened.is_finished("evaluate"):
        scores = opened.results.read_json("scores.json")
        print_out(Markdown(brief_scores_markdown(scores)))
        print_out(baseline_sentence(scores))
    if opened.is_finished("report"):
        print_out(f"All baselines, and chance: {page.with_name('scores.md')}")
        print_out(f"Page: {page}")


def print_analysis(opened: Run, label: str) -> None:
    """Print what an analysis concludes, as its section on the page says it, or else what it drew, and where the page is."""
    from braindiffuser.report.numbers import join
    from braindiffuser.report.sections import PictureGroups, Section, Text

    section = Section.model_validate(opened.results.read_json(f"sections/analyse.{label}.json"))
    texts = [block for block in section.blocks if isinstance(block, Text)]
    said = [block.text for block in texts if block.style == "verdict"]
    shown = [block.groups for block in section.blocks if isinstance(block, PictureGroups)]
    drawn = list(dict.fromkeys(group.name for groups in shown for group in groups))
    if not said and drawn:
        said = [f"Pictures of {join(drawn)} are on the page."]
    if not said and len(texts) == len(section.blocks):  # why there is nothing to show
        said = [block.text for block in texts[:1]]
    print_out("\n".join([section.title, *(f"- {text}" for text in said)]))
    print_out(f"Page: {opened.results.folder / 'report' / 'index.html'}")


def fail(message: str) -> NoReturn:
    """Print an error, and exit with 1."""
    with suppress(OSError):  # a log on a full disk takes no more
        console.print(Text.assemble(("error: ", "bold red"), message), highlight=False, soft_wrap=True)
    sys.exit(1)


def progress_on_screen() -> AbstractContextManager[Progress]:
    """Return progress bars, on the standard error."""
    return progress_bars(console)
