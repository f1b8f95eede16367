"""Tables and figures of sections as files of their own, for a report or a paper: CSV, Markdown, LaTeX, SVG and PNG."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from braindiffuser.report.figures import as_png
from braindiffuser.report.sections import Cell, Figure, Figures, Section, Table
from braindiffuser.report.standalone_figures import standalone_svg

Item = TypeVar("Item")

_LATEX: Mapping[int, str] = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "–": "--",
        "\u00a0": "~",
        "−": "$-$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "→": r"$\rightarrow$",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        "±": r"$\pm$",
        "×": r"$\times$",
        "·": r"$\cdot$",
        "²": r"$^2$",
        "α": r"$\alpha$",
        "γ": r"$\gamma$",
        "₀": r"$_0$",
        "√": r"$\sqrt{}$",
        "…": r"\ldots{}",
    }
)
"""Characters that LaTeX would take for commands, or that its fonts may lack, and how they are written."""


def table_csv(table: Table) -> str:
    """Write a table as CSV: a column of names, then each column, and its interval in a column beside it where there is any.

    Numbers have the minus sign that programs read. The heading of intervals says what `Table.beside` calls them.

    >>> from braindiffuser.report.sections import Row
    >>> rows = (Row(label="PixCorr", cells=(Cell(value="0.25", interval="0.2 – 0.3"), Cell(value="–"))),)
    >>> print(table_csv(Table(caption="", corner="Metric", columns=("a", "b"), rows=rows)), end="")
    Metric,a,a (95 %),b
    PixCorr,0.25,0.2 – 0.3,–
    """
    has_interval = [any(row.cells[place].interval for row in table.rows) for place in range(len(table.columns))]

    def spread(entries: Sequence[tuple[str, str]]) -> list[str]:
        both = zip(entries, has_interval, strict=True)
        return [text for (value, interval), wide in both for text in ([value, interval] if wide else [value])]

    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\n")
    lines.writerow([table.corner, *spread([(name, f"{name} ({table.beside})") for name in table.columns])])
    for row in table.rows:
        lines.writerow([row.label, *spread([(cell.value, cell.interval) for cell in row.cells])])
    return written.getvalue().replace("−", "-")


def table_markdown(table: Table) -> str:
    """Write a table in Markdown, with intervals in brackets, and its caption below it."""
    lines = [[table.corner, *table.columns], ["---", *("---:" for _ in table.columns)]]
    lines += [[row.label, *(_both(cell) for cell in row.cells)] for row in table.rows]
    body = "".join(f"| {' | '.join(_markdown(text) for text in line)} |\n" for line in lines)
    return f"{body}\n{_markdown(table.caption)}\n" if table.caption else body


def table_latex(table: Table, label: str = "") -> str:
    """Write a table in LaTeX, for the package booktabs; what LaTeX would take for a command is escaped.

    Args:
        table: to write.
        label: by which a text refers to it; empty: none.
    """
    header = " & ".join(_latex(text) for text in (table.corner, *table.columns))
    rows = [" & ".join([_latex(row.label), *(_latex_cell(cell) for cell in row.cells)]) for row in table.rows]
    named = [rf"\label{{{label}}}"] if label else []
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(table.caption)}}}",
        *named,
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule",
        rf"{header} \\",
        r"\midrule",
        *(rf"{row} \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def written_files(sections: Sequence[Section]) -> dict[str, bytes]:
    """Return the files of all tables and figures of sections: name → content.

    `tables/NAME.csv`, `.md`, `.tex` and `figures/NAME.svg`, `.png`, named by their section. Of several in one section,
    figures have their titles added, and tables are numbered from the second on.

    Args:
        sections: of a page, as they were made: figures of sections that were read from a file have no drawing.

    Raises:
        ValueError: a figure cannot be shown outside a page, or has no drawing.
    """
    files: dict[str, bytes] = {}
    for section in sections:
        tables = [block for block in section.blocks if isinstance(block, Table)]
        for name, table in _named(section.name, tables).items():
            files[f"tables/{name}.csv"] = table_csv(table).encode()
            files[f"tables/{name}.md"] = table_markdown(table).encode()
            files[f"tables/{name}.tex"] = table_latex(table, f"tab:{name}").encode()
        figures = [figure for block in section.blocks if isinstance(block, Figures) for figure in block.figures]
        for name, figure in _by_title(section.name, figures).items():
            files[f"figures/{name}.svg"] = standalone_svg(figure.svg).encode()
            if figure.drawing is None:
                raise ValueError(f"the figure {name} has no drawing to make PNG of: make it by figures.as_figure")
            files[f"figures/{name}.png"] = as_png(figure.drawing)
    return files


def _named(name: str, items: Sequence[Item]) -> dict[str, Item]:
    return {name if place == 1 else f"{name}-{place}": item for place, item in enumerate(items, start=1)}


def _by_title(name: str, figures: Sequence[Figure]) -> dict[str, Figure]:
    """Name figures by their titles, or numbered where these are no names: "scores-pixel-metrics"."""
    titles = ["-".join(re.findall(r"[a-z0-9]+", figure.title.lower())) for figure in figures]
    if all(titles) and len(set(titles)) == len(titles):
        return {f"{name}-{title}": figure for title, figure in zip(titles, figures, strict=True)}
    return _named(name, figures)


def _both(cell: Cell) -> str:
    return f"{cell.value} [{cell.interval}]" if cell.interval else cell.value


def _markdown(text: str) -> str:
    """Keep a text from ending its cell or from being read as HTML or as a line of its own."""
    plain = " ".join(text.split())
    return plain.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def _latex(text: str) -> str:
    return text.replace("\n", " ").translate(_LATEX)


def _latex_cell(cell: Cell) -> str:
    return rf"{_latex(cell.value)} {{\scriptsize [{_latex(cell.interval)}]}}" if cell.interval else _latex(cell.value)
