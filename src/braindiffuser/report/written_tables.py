"""Tables and figures of sections as files of their own, for a report or a paper: CSV, Markdown, LaTeX, SVG and PNG."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TypeVar

from braindiffuser.report.figures import as_png
from braindiffuser.report.markdown_text import markdown_text
from braindiffuser.report.numbers import MISSING
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


NUMBER = r"([+\u2212-]?[\d,]*\.?\d+)( %| pp)?"
"""A number as pages print it, in percent or percentage points if it is of shares."""
NUMBERS = r"[+-]?[\d., ]*\d(E[+-]?\d+)?( ?[A-Za-z]+| %)?"
"""Numbers as programs read them, and what they count."""


def table_csv(table: Table) -> str:
    """Write a table as CSV: a column of names, then each column, and its interval in columns beside it where there is any.

    Numbers are plain: percentages and percentage points are shares of 1, what is missing is empty, and the ends of intervals and
    standard errors have columns of their own. What is no number stands as it is printed, under the heading of `Table.beside`.
    Text that a spreadsheet would take for a formula, since it begins with =, +, - or @, has an apostrophe before it.

    >>> from braindiffuser.report.sections import Row
    >>> rows = (Row(label="PixCorr", cells=(Cell(value="66.8 %", interval="0.2 – 0.3"), Cell(value="–"))),)
    >>> print(table_csv(Table(caption="", corner="Metric", columns=("a", "b"), rows=rows)), end="")
    Metric,a,"a, low","a, high",b
    PixCorr,0.668,0.2,0.3,
    """
    columns = [(table.corner, [row.label for row in table.rows])]
    for place, name in enumerate(table.columns):
        columns += _csv_columns(name, [row.cells[place] for row in table.rows], table.beside)
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\n")
    lines.writerow([_no_formula(name) for name, _ in columns])
    lines.writerows(
        [_no_formula(value) for value in values] for values in zip(*(own for _, own in columns), strict=True)
    )
    return written.getvalue()


def _no_formula(text: str) -> str:
    """Put an apostrophe before text that begins as formulas in spreadsheets do; numbers and their units stay as they are.

    >>> _no_formula("=1+2"), _no_formula("-2+3"), _no_formula("-12, 4 mm"), _no_formula("ours - theirs")
    ("'=1+2", "'-2+3", '-12, 4 mm', 'ours - theirs')
    """
    plain = text.replace("−", "-")
    begins = plain.lstrip().startswith(("=", "+", "-", "@"))
    return f"'{plain}" if begins and not re.fullmatch(NUMBERS, plain) else plain


def _csv_columns(name: str, cells: Sequence[Cell], beside: str) -> list[tuple[str, list[str]]]:
    values, texts = [_plain(cell.value) for cell in cells], [cell.interval for cell in cells]
    made = [(name, values)]
    ends = [re.fullmatch(f"{NUMBER} – {NUMBER}", text) for text in texts]
    errors = [re.fullmatch(f"SEM {NUMBER}", text) for text in texts]
    if not any(texts):
        return made
    if all(found or not text for found, text in zip(ends, texts, strict=True)):
        pairs = [_plain_pair(found) for found in ends]
        return [*made, (f"{name}, low", [low for low, _ in pairs]), (f"{name}, high", [high for _, high in pairs])]
    if all(found or not text for found, text in zip(errors, texts, strict=True)):
        return [*made, (f"{name}, SEM", [_plain(text.removeprefix("SEM ")) for text in texts])]
    return [*made, (f"{name} ({beside})", texts)]


def _plain_pair(found: re.Match[str] | None) -> tuple[str, str]:
    """Return both ends of an interval; a unit after the second holds for both."""
    if found is None:
        return "", ""
    low, unit_of_low, high, unit = found.groups(default="")
    return _plain(f"{low}{unit_of_low or unit}"), _plain(f"{high}{unit}")


def _plain(text: str) -> str:
    """Return a printed number as programs read it; any other text as it is, and nothing where it is missing."""
    found = re.fullmatch(NUMBER, text)
    if found is None:
        return "" if text == MISSING else text
    value = Decimal(found[1].replace(",", "").replace("−", "-"))
    return str(value.scaleb(-2) if found[2] else value)


def table_markdown(table: Table) -> str:
    """Write a table in Markdown, with intervals in brackets, and its caption below it."""
    lines = [
        [markdown_text(text) for text in (table.corner, *table.columns)],
        ["---", *("---:" for _ in table.columns)],
    ]
    lines += [[markdown_text(row.label), *(_markdown_cell(cell) for cell in row.cells)] for row in table.rows]
    body = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{body}\n{markdown_text(table.caption)}\n" if table.caption else body


def table_latex(table: Table, label: str = "") -> str:
    """Write a table in LaTeX, for the package booktabs; what LaTeX would take for a command is escaped.

    Args:
        table: to write.
        label: by which a text refers to it; empty: none.
    """
    header = " & ".join([_first_latex(table.corner), *map(_latex, table.columns)])
    rows = [" & ".join([_first_latex(row.label), *(_latex_cell(cell) for cell in row.cells)]) for row in table.rows]
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


def _markdown_cell(cell: Cell) -> str:
    value = markdown_text(cell.value)
    return f"{value} [{markdown_text(cell.interval)}]" if cell.interval else value


def _latex(text: str) -> str:
    return text.replace("\n", " ").translate(_LATEX)


def _first_latex(text: str) -> str:
    """Write the first cell of a line, before which stand commands that would take what begins with [ or * for their own."""
    written = _latex(text)
    return f"{{}}{written}" if text.lstrip().startswith(("[", "*")) else written


def _latex_cell(cell: Cell) -> str:
    return rf"{_latex(cell.value)} {{\scriptsize [{_latex(cell.interval)}]}}" if cell.interval else _latex(cell.value)
