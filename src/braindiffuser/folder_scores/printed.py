"""What is said of the scores of folders and stacks of pictures: tables, a page, and notes on what was left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from braindiffuser import __version__
from braindiffuser.report.numbers import join
from braindiffuser.report.tables import FOLDERS, scores_markdown

if TYPE_CHECKING:
    from rich.console import Console

    from braindiffuser.arrays import Pictures
    from braindiffuser.folder_scores.scoring import OpenedMethods

SIGNATURE = "Made by braindiffuser evaluate"
"""Begins the files that hold tables, where their format has comments, so that they may be replaced later."""
GREY = 0.5
"""Fills pictures that are not square, where a page shows them."""


def roles_sentence(seen: str, made: Sequence[str], by_order: bool) -> str:
    """Say which pictures are taken for what was seen, and which for reconstructions of it.

    Args:
        seen: how messages call the stimuli.
        made: how they call each method.
        by_order: whether the stimuli are only known by being named first.

    >>> roles_sentence("a", ["b.pt"], by_order=True)
    'b.pt is scored as reconstructions of a (what was seen, since it is named first; to compare two methods give --seen)'
    """
    why = ", since it is named first; to compare two methods give --seen" if by_order else ""
    return f"{join(list(made))} {'is' if len(made) == 1 else 'are'} scored as reconstructions of {seen} (what was seen{why})"


def print_folder_scores(scores: Mapping[str, Any], print_result: Callable[[Any], None], console: Console) -> None:
    """Print the scores of two folders.

    Args:
        scores: as `evaluate_folders` returns them.
        print_result: prints the table.
        console: takes the notes.
    """
    from rich.markdown import Markdown

    print_result(Markdown(scores_markdown(scores, FOLDERS)))
    _print_notes(scores, console)


def print_method_scores(scores: Mapping[str, Any], print_result: Callable[[Any], None], console: Console) -> None:
    """Print the scores of several methods, and how they differ.

    Args:
        scores: as `evaluate_methods` returns them.
        print_result: prints tables and sentences.
        console: takes the notes.
    """
    from rich.markdown import Markdown

    from braindiffuser.report.method_sections import comparison_table, methods_table, verdict_sentences
    from braindiffuser.report.written_tables import table_markdown

    print_result(Markdown(table_markdown(methods_table(scores))))
    if scores["comparisons"]:
        print_result(Markdown(table_markdown(comparison_table(scores))))
    for sentence in verdict_sentences(scores):
        print_result(sentence)
    _print_notes(scores, console)


def _print_notes(scores: Mapping[str, Any], console: Console) -> None:
    for note in folder_notes(scores):
        console.print(note, style="yellow", soft_wrap=True, markup=False)


def folder_notes(scores: Mapping[str, Any]) -> list[str]:
    """List pictures without a partner, metrics without their network, and remarks, one sentence each."""
    unmatched = {folder: names for folder, names in scores["unmatched"].items() if names}
    why = "that not all methods have" if len(scores.get("methods", ())) > 1 else "without a partner"
    return [
        *(
            f"{folder}: {len(names)} {'picture' if len(names) == 1 else 'pictures'} {why} {'is' if len(names) == 1 else 'are'} "
            f"left out ({names[0]}{', …' if len(names) > 1 else ''})"
            for folder, names in unmatched.items()
        ),
        *(
            f"{network} is missing, so its metrics are left out: get {remedy}"
            for network, remedy in scores["missing"].items()
        ),
        *scores["remarks"],
    ]


def method_files(scores: Mapping[str, Any]) -> dict[str, str]:
    """Return the tables as texts: "csv" (one table for programs), "markdown" and "latex" (scores, then differences).

    Args:
        scores: as `evaluate_methods` returns them.
    """
    from braindiffuser.report.method_sections import comparison_table, methods_table, programs_table
    from braindiffuser.report.written_tables import table_csv, table_latex, table_markdown

    tables = [methods_table(scores), *([comparison_table(scores)] if scores["comparisons"] else [])]
    labels = ("tab:scores", "tab:comparison")
    sources = [own["source"] for own in scores["methods"].values()]
    roles = " ".join(roles_sentence(scores["seen"], sources, by_order=False).split()).replace("-->", "→")  # one comment
    return {
        "csv": table_csv(programs_table(scores)),
        "markdown": "\n".join([f"<!-- {SIGNATURE}: {roles} -->\n", *map(table_markdown, tables)]),
        "latex": "\n".join([f"% {SIGNATURE}: {roles}", *map(table_latex, tables, labels)]),
    }


def method_page(scores: Mapping[str, Any], opened: OpenedMethods) -> str:
    """Return a page of its own on the methods, with the pictures that were seen beside those of each method.

    Args:
        scores: as `evaluate_methods` returns them.
        opened: the same pictures.
    """
    from braindiffuser.report.method_sections import SEEN, kinds_of, method_sections
    from braindiffuser.report.page import Header, render_page

    partners = opened.partners
    readers = {SEEN: partners.pictures} | {kind: partners.made[name] for kind, name in kinds_of(scores).items()}

    def read(kind: str, numbers: Sequence[int]) -> Pictures:
        return squared(readers[kind].take(np.array(numbers, np.int64))[:])

    names = list(scores["methods"])
    title = f"{join(names)}, scored against what was seen"
    methods = "one method" if len(names) == 1 else f"{len(names)} methods"
    lead = f"Pictures by {methods} of the same {scores['n_images']:,} stimuli."
    header = Header(
        experiment="braindiffuser evaluate",
        subject="",
        simulated=False,
        version=__version__,
        title=title,
        lead=lead,
    )
    return render_page(header, method_sections(scores, folder_notes(scores)), read)


def squared(pictures: Pictures) -> Pictures:
    """Put pictures that are not square into the middle of grey squares."""
    n, _, height, width = pictures.shape
    if height == width:
        return pictures
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    canvas = np.full((n, 3, side, side), GREY, np.float32)
    canvas[:, :, top : top + height, left : left + width] = pictures
    return canvas
