"""Tables of trials, voxels and captions, as labs write them: CSV, TSV or parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from braindiffuser.datasets.reading import read_text, reading, refuse_special
from braindiffuser.errors import RecordingError

SUFFIXES = (".csv", ".tsv", ".parquet")
STIMULUS_COLUMNS = ("stim_file", "stimulus", "image", "image_name", "label")
"""Names of the column that says what was shown, of which the first that is there is taken. `nan` is a name there like any other,
so that no trial is lost for it."""
TEXTS = (*STIMULUS_COLUMNS, "caption", "test_set", "groups")
"""Columns whose values are texts even where all look like numbers, such as 0012."""
KNOWN = (
    *TEXTS,
    "session",
    "run",
    "split",
    "is_test",
    "is_catch",
    "beta_index",
    "subject",
    "shared",
    "trial_type",
    "ncsnr",
)
"""Columns that readers look for."""
MISSING = ("n/a", "", "nan", "NaN")
"""How a table writes that it has no value."""
MISSING_NAMES = ("n/a", "")
"""How a table writes that a trial shows no stimulus."""


def read_table(path: Path, required: Sequence[str] = (), example: str = "") -> pd.DataFrame:
    """Read a table; texts stay texts; `n/a`, `nan` and empty cells are missing values, but `nan` names a stimulus.

    Args:
        path: `.csv`, `.tsv` or `.parquet`.
        required: columns that it must have.
        example: what such a table looks like, for the message.

    Raises:
        RecordingError: it is missing, unreadable or empty, or lacks a column; the message shows the example.
    """
    shown = f", such as\n{example}" if example else ""
    if path.suffix.lower() not in SUFFIXES:
        raise RecordingError(f"{path} is no table: expected a file that ends in {', '.join(SUFFIXES)}{shown}")
    refuse_special(path)
    if not path.is_file():
        columns = f" with the columns {', '.join(required)}" if required else ""
        raise RecordingError(f"{path} is missing; expected a table{columns}{shown}")
    with reading(path, f"table ({path.suffix})"):
        table = with_known_names(_read_parquet(path) if path.suffix.lower() == ".parquet" else _read_text(path), path)
    lacking = [name for name in required if name not in table]
    if lacking:
        raise RecordingError(
            f"{path} lacks the column {lacking[0]}; it has {', '.join(map(str, table.columns))}{shown}"
        )
    if table.empty:
        raise RecordingError(f"{path} has no rows: write one per trial{shown}")
    return table


def _read_text(path: Path) -> pd.DataFrame:
    """Read a table of texts, of which every row must have as many cells as the header."""
    text = read_text(path, f"table ({path.suffix})")
    separator = _separator(next((line for line in text.splitlines() if line.strip()), ""), path.suffix.lower())
    _check_rows(text, separator, path)
    header = pd.read_csv(io.StringIO(text), sep=separator, nrows=0, index_col=False)
    named = {name: str(name).strip().lower() for name in header.columns}
    return pd.read_csv(
        io.StringIO(text),
        sep=separator,
        keep_default_na=False,
        na_values={
            name: list(MISSING_NAMES if known in STIMULUS_COLUMNS else MISSING) for name, known in named.items()
        },
        index_col=False,
        usecols=range(len(named)),  # cells beyond the header are empty
        dtype={name: str for name, known in named.items() if known in TEXTS},
    )


def _check_rows(text: str, separator: str, path: Path) -> None:
    """Refuse a row that is longer than the header, as by a comma without quotes in a caption, or shorter; blank ones are none.

    Raises:
        RecordingError: names the row, or a column that is there twice.
    """
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    header = next((row for row in rows if any(map(str.strip, row))), [])
    _our_names([name for name in header if name.strip()], path)  # pandas would make `split.1` of a second `split`
    number = 0
    for row in rows:
        if len(row) < 2 and not any(map(str.strip, row)):
            continue
        if len(row) < len(header) or any(map(str.strip, row[len(header) :])):
            shown = ", ".join(repr(cell if len(cell) < 60 else f"{cell[:60]} …") for cell in row[-3:])
            hint = (
                "put texts that hold a separator or a line end in double quotes"
                if len(row) > len(header)
                else "write n/a where there is no value"
            )
            raise RecordingError(
                f"{path}: row {number}, counted from 0 (line {rows.line_num}), has {len(row)} cells ({'… ' * (len(row) > 3)}"
                f"{shown}), but the header has {len(header)}: {hint}"
            )
        number += 1


def _separator(header: str, suffix: str) -> str:
    """Return what separates columns: tab in .tsv, comma in .csv; another where the first line holds that and not these."""
    usual = "\t" if suffix == ".tsv" else ","
    return next((separator for separator in (usual, "\t", ";", ",") if separator in header), usual)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except ImportError as error:
        raise RecordingError(
            f"{path} cannot be read, since pyarrow is not installed: pip install pyarrow, or save it as .csv"
        ) from error


def with_known_names(table: pd.DataFrame, where: object) -> pd.DataFrame:
    """Return a table in which columns that we know have our names, whatever their case and spaces around them.

    Raises:
        RecordingError: two columns have one name.
    """
    return table.set_axis(_our_names(table.columns, where), axis="columns")


def _our_names(columns: Iterable[object], where: object) -> list[str]:
    names = [str(name).strip() for name in columns]
    names = [name.lower() if name.lower() in KNOWN else name for name in names]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise RecordingError(f"{where} has two columns {twice[0]!r}: rename one")
    return names


def truth_values(table: pd.DataFrame, column: str, where: object) -> np.ndarray:
    """Return a column of yes or no as bool; 1, 0, true, false, yes, no are known, and nothing is no.

    Raises:
        RecordingError: another value is in it.
    """
    words = table[column].map(lambda value: "" if pd.isna(value) else str(value).strip().lower())
    known = {
        "1": True,
        "1.0": True,
        "true": True,
        "yes": True,
        "": False,
        "0": False,
        "0.0": False,
        "false": False,
        "no": False,
    }
    unknown = sorted(set(words) - known.keys())
    if unknown:
        raise RecordingError(f"{where}: column {column} holds {unknown[0]!r}, expected 1 or 0, true or false")
    return words.map(known).to_numpy(dtype=bool)
