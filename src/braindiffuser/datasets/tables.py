"""Tables of trials, voxels and captions, as labs write them: CSV, TSV or parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from braindiffuser.datasets.reading import reading
from braindiffuser.errors import RecordingError

SUFFIXES = (".csv", ".tsv", ".parquet")
TEXTS = ("stimulus", "stim_file", "image", "image_name", "label", "caption", "test_set", "groups")
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
    "groups",
    "trial_type",
    "ncsnr",
)
"""Columns that readers look for."""
MISSING = ("n/a", "", "nan", "NaN")
"""How a table writes that it has no value."""


def read_table(path: Path, required: Sequence[str] = (), example: str = "") -> pd.DataFrame:
    """Read a table; texts stay texts, and `n/a` or nothing is a missing value.

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
    if not path.is_file():
        columns = f" with the columns {', '.join(required)}" if required else ""
        raise RecordingError(f"{path} is missing; expected a table{columns}{shown}")
    with reading(path, f"table ({path.suffix})"):
        if path.suffix.lower() == ".parquet":
            table = _read_parquet(path)
        else:
            separator = "\t" if path.suffix.lower() == ".tsv" else ","
            header = pd.read_csv(path, sep=separator, encoding="utf-8-sig", nrows=0, index_col=False)
            table = pd.read_csv(
                path,
                sep=separator,
                encoding="utf-8-sig",
                keep_default_na=False,
                na_values=list(MISSING),
                index_col=False,
                dtype={name: str for name in header.columns if str(name).strip().lower() in TEXTS},
            )
        table = with_known_names(table, path)
    lacking = [name for name in required if name not in table]
    if lacking:
        raise RecordingError(
            f"{path} lacks the column {lacking[0]}; it has {', '.join(map(str, table.columns))}{shown}"
        )
    if table.empty:
        raise RecordingError(f"{path} has no rows: write one per trial{shown}")
    return table


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
    names = {name: str(name).strip() for name in table.columns}
    names |= {name: text.lower() for name, text in names.items() if text.lower() in KNOWN}
    found = list(names.values())
    twice = [name for name in found if found.count(name) > 1]
    if twice or len(found) < len(table.columns):
        raise RecordingError(f"{where} has two columns {twice[0] if twice else 'of one name'!r}: rename one")
    return table.rename(columns=names)


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
