"""Nothing of a table is cut on a narrow terminal."""

import io

import pytest
from rich.console import Console
from rich.markdown import Markdown

from braindiffuser.cli.screen import print_out
from braindiffuser.cli.terminal_tables import TerminalMarkdown

NAMES = ["reconstructions_of_the_second_version", "reconstructions_of_the_third_version", "baseline", "other"]
TABLE = f"| Metric | {' | '.join(NAMES)} |\n| --- | ---: | ---: | ---: | ---: |\n| PixCorr | 0.5 [0.4 – 0.6] | 2 | 3 | 4 |\n"


@pytest.mark.parametrize("width", [40, 60, 80])
def test_every_letter_of_a_heading_is_there(width):
    stream = io.StringIO()
    Console(file=stream, width=width).print(TerminalMarkdown(TABLE))
    assert "…" not in stream.getvalue()
    assert {letter: stream.getvalue().count(letter) for letter in "abcdefg_"} == {
        letter: TABLE.count(letter) for letter in "abcdefg_"
    }
    assert max(map(len, stream.getvalue().splitlines())) <= width


def test_commands_print_such_tables(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    print_out(Markdown(TABLE))
    printed = capsys.readouterr().out
    assert "PixCorr" in printed
    assert "…" not in printed
