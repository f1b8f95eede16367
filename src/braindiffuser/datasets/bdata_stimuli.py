"""What was shown in the trials of a bdata file: ids, and the pictures that they stand for.

Generic Object Decoding names a picture by a number of six decimals, `stimulus_id`: 1518878.010042 is `n01518878_10042`. Deeprecon
counts pictures in `image_index`, which a table joins to files. Newer files label the column `stimulus_name`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from braindiffuser.datasets.bdata_files import BDataFile
from braindiffuser.datasets.tables import read_table
from braindiffuser.datasets.trial_tables import SPLITS
from braindiffuser.errors import RecordingError

DECIMALS = 6
"""Decimals of `stimulus_id`; texts of it lose trailing zeros, so they are always written out."""
EXAMPLE = """image_index,stim_file,split
1,n01518878_10042.JPEG,train
1,n01443537_22563.JPEG,test"""

Names: TypeAlias = list[str | None]


def stimuli_of_rows(source: BDataFile, table: Path | None, sides: Sequence[str]) -> tuple[Names, Names]:
    """Return the name of each trial's stimulus, and the name of its picture; None where a trial has none.

    Args:
        source: the file.
        table: joins a column of the file to `stim_file`; None reads `stimulus_id`, or labels of `stimulus_name`.
        sides: of each trial: "train", "test", or "" for an imagined one, which may be unknown and counts as the test set does.

    Raises:
        RecordingError: the file does not say what was shown, or the table does not know it.
    """
    if table is not None:
        names = _by_table(table, source, sides)
        return names, names
    ids = source.column("stimulus_id")
    if ids is None:
        names = _by_labels(source)
        return names, names
    if source.dtype.itemsize < np.dtype(np.float64).itemsize:
        raise RecordingError(
            f"{source.path} holds {source.dtype}, in which stimulus_id loses its {DECIMALS} decimals: give a file in float64, or "
            f"a stimulus_table, such as\n{EXAMPLE}"
        )
    names = [f"{number:.{DECIMALS}f}" if np.isfinite(number) else None for number in ids]
    return names, [picture_name(name) if name else None for name in names]


def picture_name(stimulus_id: str) -> str:
    """Return the picture's name without its suffix.

    >>> picture_name("1518878.010042")
    'n01518878_10042'
    """
    synset, image = stimulus_id.split(".")
    return f"n{int(synset):08}_{int(image)}"


def _by_labels(source: BDataFile) -> Names:
    numbers, labels = source.column("stimulus_name"), source.labels("stimulus_name")
    if numbers is None or not labels:
        raise RecordingError(
            f"{source.path} lacks the column stimulus_id, which says what was shown; it has the keys {', '.join(source.values)}: "
            f"give a stimulus_table, such as\n{EXAMPLE}"
        )
    return [labels.get(float(number)) for number in numbers]


def _by_table(path: Path, source: BDataFile, sides: Sequence[str]) -> Names:
    """Look pictures up by a column of the file that the table names, and by the split if it has one."""
    table = read_table(path, ["stim_file"], EXAMPLE)
    key = next((str(name) for name in table if name in source.values), None)
    numbers = None if key is None else source.column(key)
    if key is None or numbers is None:
        raise RecordingError(
            f"{path} has no column that {source.path} has too; its columns are {', '.join(map(str, table))}, the file's "
            f"keys are {', '.join(source.values)}; an example is\n{EXAMPLE}"
        )
    picture_of = _pictures_by_id(table, key, path)
    names: Names = []
    for row, (number, side) in enumerate(zip(numbers, sides, strict=True)):
        entry = _id(number), (side or "test") if "split" in table else ""
        if np.isfinite(number) and side and entry not in picture_of:
            raise RecordingError(
                f"{path} has no {key} {' of '.join(filter(None, entry))}, which trial {row} of {source.path}, counted from 0, "
                f"shows: add its row, such as\n{EXAMPLE}"
            )
        names.append(picture_of.get(entry))
    return names


def _pictures_by_id(table: pd.DataFrame, key: str, path: Path) -> dict[tuple[str, str], str]:
    """Return (id, split) → picture; the split is empty if the table has none."""
    sides = pd.Series("", index=table.index)
    if "split" in table:
        words = table["split"].astype(str).str.strip().str.lower()
        unknown = words[~words.isin(list(SPLITS))]
        if len(unknown):
            raise RecordingError(f"{path}: column split holds {unknown.iloc[0]!r}; expected train or test")
        sides = words.map(SPLITS)
    ids = [_id(number) for number in pd.to_numeric(table[key], errors="coerce").astype(np.float64)]
    entries = list(zip(ids, sides, strict=True))
    picture_of = dict(zip(entries, table["stim_file"].astype(str), strict=True))
    if len(picture_of) < len(entries):
        twice = next(entry for entry in entries if entries.count(entry) > 1)
        raise RecordingError(
            f"{path} has two rows for {key} {' of '.join(filter(None, twice))}: write one for each, with a column split where "
            f"training and test count apart, such as\n{EXAMPLE}"
        )
    return picture_of


def _id(number: float) -> str:
    """Write an id with six decimals, so that equal ids are equal texts; a whole number without."""
    return f"{number:.{DECIMALS}f}".removesuffix("." + "0" * DECIMALS)
