"""Laws of bars: every label is seen, and nothing is printed where nothing is reported."""

import io

import pytest
from rich.console import Console

from braindiffuser.progress_bars import progress_bars

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
"""What a terminal takes to hide and show its cursor."""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def printed(reports, terminal):
    stream = Terminal() if terminal else io.StringIO()
    with progress_bars(Console(file=stream, force_terminal=terminal, width=100)) as report:
        for each in reports:
            report(*each)
    return stream.getvalue()


def test_a_log_has_a_line_where_a_bar_begins_and_each_message():
    reports = [("averaging", 0, 9), ("a [odd] message", 1, 1), ("averaging", 4, 9), ("averaging", 9, 9), ("fit", 2, 3)]
    assert printed(reports, terminal=False).splitlines()[:3] == ["averaging: 9", "a [odd] message", "fit: 3"]


def test_a_terminal_has_a_bar_per_label():
    shown = printed([("averaging [x]", 0, 9), ("averaging [x]", 9, 9), ("fit", 1, 3)], terminal=True)
    for text in ("averaging [x]", "9/9", "fit", "1/3"):
        assert text in shown
    assert "averaging [x]: 9" not in shown


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_printed_where_nothing_is_reported(terminal):
    assert printed([], terminal) == ""


def fail_after_a_report(console):
    with progress_bars(console) as report:
        report("averaging", 0, 9)
        raise ValueError("no")


def test_bars_end_where_work_fails():
    stream = Terminal()
    console = Console(file=stream, force_terminal=True)
    with pytest.raises(ValueError, match="no"):
        fail_after_a_report(console)
    assert HIDE in stream.getvalue()
    assert stream.getvalue().rindex(SHOW) > stream.getvalue().rindex(HIDE)
    with progress_bars(console) as report:
        report("fit", 0, 9)
    assert "fit" in stream.getvalue()
