"""Progress of commands on a terminal: a bar per label; where no bar can be drawn, such as in a log, a line when it begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import TaskID

    from braindiffuser.progress import Progress


@contextmanager
def progress_bars(console: Console) -> Iterator[Progress]:
    """Yield a callback that draws bars on a console, below which messages are printed.

    Args:
        console: where bars are drawn, if it is a terminal.
    """
    from rich import progress as rich

    columns = (
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
    )
    forced = console.is_terminal and not console.file.isatty()  # FORCE_COLOR: a log takes colours, but no moving bars
    bars = rich.Progress(*columns, console=console, disable=forced)
    tasks: dict[str, TaskID] = {}

    def report(label: str, done: int, total: int) -> None:
        if done == total == 1 and label not in tasks:
            bars.console.print(label, markup=False, highlight=False, soft_wrap=True)
            return
        if label not in tasks:
            bars.start()
            tasks[label] = bars.add_task(label, total=total)
            if forced or not console.is_terminal:  # where no bar is drawn
                console.print(f"{label}: {total}", markup=False, highlight=False, soft_wrap=True)
        bars.update(tasks[label], completed=done, total=total)

    try:
        yield report
    finally:
        if tasks:  # without any, it would print an empty line
            bars.stop()
