"""What is said of the scores of two folders of pictures: their table, and notes on what was left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console

from braindiffuser.report.tables import FOLDERS, scores_markdown


def print_folder_scores(scores: Mapping[str, Any], print_result: Callable[[Any], None], console: Console) -> None:
    """Print the scores of two folders.

    Args:
        scores: as `evaluate_folders` returns them.
        print_result: prints the table.
        console: takes the notes.
    """
    from rich.markdown import Markdown

    print_result(Markdown(scores_markdown(scores, FOLDERS)))
    for note in folder_notes(scores):
        console.print(note, style="yellow", soft_wrap=True, markup=False)


def folder_notes(scores: Mapping[str, Any]) -> list[str]:
    """List pictures without a partner, metrics without their network, and remarks, one sentence each."""
    unmatched = {folder: names for folder, names in scores["unmatched"].items() if names}
    return [
        *(
            f"{folder}: {len(names)} without a partner left out, first {names[0]}"
            for folder, names in unmatched.items()
        ),
        *(
            f"{network} is missing, so its metrics are left out: get {remedy}"
            for network, remedy in scores["missing"].items()
        ),
        *scores["remarks"],
    ]
