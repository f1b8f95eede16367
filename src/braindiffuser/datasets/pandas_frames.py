"""Tables that pandas wrote to HDF5 (`to_hdf`, its format "fixed"), read without pandas and PyTables, which unpickle.

| dataset of the group | content |
|---|---|
| `axis0`, `axis1` | names of columns, and of rows |
| `block0_values`, `block1_values`, … | (rows, columns of one number type) |
| `block0_items`, … | names of the block's columns |

Names that are not all texts are stored as a pickle; such names are not read, and columns go by their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Bool, Float, Shaped

from braindiffuser.datasets.beta_kinds import check_kind
from braindiffuser.datasets.reading import reading
from braindiffuser.errors import RecordingError
from braindiffuser.written_chunks import check_written

BYTES_PER_READ = 1 << 26
"""Part of a table that is held at a time, in bytes."""


@dataclass(frozen=True, eq=False)
class PandasFrame:
    """A table in an HDF5 file; each call opens and closes the file.

    Attributes:
        path: of the file.
        n_rows: of the table.
        columns: name → (dataset, column in it); numbers are written as text.
        named: False if the names are stored as a pickle: then columns of fractions are named "0", "1", … by their place.
    """

    path: Path
    n_rows: int
    columns: dict[str, tuple[str, int]]
    named: bool

    @classmethod
    def open(cls, path: Path) -> PandasFrame:
        """Read the names of the columns.

        Raises:
            RecordingError: the file is unreadable, or holds no such table, or several.
        """
        with reading(path, "HDF5 file of a pandas table"), h5py.File(path, "r") as file:
            groups = [file[name] for name in file if isinstance(file[name], h5py.Group)]
            frames = [group for group in groups if "block0_values" in group]
            if len(frames) != 1:
                other = any("table" in group for group in groups)
                found = "pandas' format table, whose names are a pickle" if other else ", ".join(file) or "nothing"
                raise RecordingError(
                    f"{path} holds {found}; expected one table in pandas' format fixed, as written by "
                    "frame.to_hdf(path, key='ResponseData')"
                )
            return cls(path, *_columns(frames[0]))

    def check_betas(self, names: Sequence[str]) -> None:
        """Refuse columns that are no betas: unsigned numbers, or what was never written.

        Raises:
            RecordingError: names the file.
        """
        with reading(self.path, "HDF5 file of a pandas table"), h5py.File(self.path, "r") as file:
            for dataset in sorted({self.columns[name][0] for name in names}):
                check_kind(file[dataset].dtype, self.path)
                check_written(file[dataset], self.path)

    def column(self, name: str) -> Shaped[np.ndarray, " n_rows"]:
        """Read one column as it is stored.

        Raises:
            RecordingError: the file cannot be read.
        """
        dataset, place = self.columns[name]
        with reading(self.path, "HDF5 file of a pandas table"), h5py.File(self.path, "r") as file:
            return np.asarray(file[dataset][:, place])

    def read(
        self, names: Sequence[str], rows: Bool[np.ndarray, " n_rows"]
    ) -> Float[np.ndarray, "n_chosen_rows n_names"]:
        """Read columns in the order asked for as float32, some rows of them; a part of the table at a time.

        Raises:
            RecordingError: the file cannot be read.
        """
        out = np.empty((np.count_nonzero(rows), len(names)), np.float32)
        with reading(self.path, "HDF5 file of a pandas table"), h5py.File(self.path, "r") as file:
            for dataset in sorted({self.columns[name][0] for name in names}):
                wanted = [i for i, name in enumerate(names) if self.columns[name][0] == dataset]
                _read_block(file[dataset], np.array([self.columns[names[i]][1] for i in wanted]), rows, out, wanted)
        return out


def _read_block(
    block: h5py.Dataset,
    columns: Shaped[np.ndarray, " n"],
    rows: Bool[np.ndarray, " n_rows"],
    out: Float[np.ndarray, "n_chosen_rows n_names"],
    places: Sequence[int],
) -> None:
    """Read columns of a block into the places of `out`, from the first to the last of them, some rows at a time."""
    first, end = int(columns.min()), int(columns.max()) + 1
    step, done = max(1, BYTES_PER_READ // (block.dtype.itemsize * (end - first))), 0
    for start in range(0, len(rows), step):
        chosen = rows[start : start + step]
        n = int(np.count_nonzero(chosen))
        if n:
            part = block[start : start + step, first:end][chosen]
            with np.errstate(over="ignore"):  # what overflows is refused by name
                out[done : done + n, places] = part[:, columns - first]
        done += n


def _columns(frame: h5py.Group) -> tuple[int, dict[str, tuple[str, int]], bool]:
    """Return the number of rows, where each column lies, and whether names could be read."""
    blocks = {name: frame[name] for name in frame if name.startswith("block") and name.endswith("_values")}
    for name, block in blocks.items():
        if block.ndim != 2 or block.dtype.kind not in "iuf":
            raise ValueError(f"{name} is {block.dtype} {block.shape}, expected columns of numbers")
    items = {name: frame[name.replace("_values", "_items")] for name in blocks}
    named = all(item.dtype.kind in "SiuU" for item in items.values())
    columns: dict[str, tuple[str, int]] = {}
    for name, block in blocks.items():
        if named:
            texts = [_text(item) for item in items[name][...]]
        elif block.dtype.kind == "f":
            texts = [str(number) for number in range(block.shape[1])]
        else:
            texts = [f"{name} {number}" for number in range(block.shape[1])]
        if len(texts) != block.shape[1] or columns.keys() & set(texts):
            raise ValueError(f"{name} has {block.shape[1]} columns with {len(texts)} names, or names occur twice")
        columns |= {text: (block.name, number) for number, text in enumerate(texts)}
    n_rows = {block.shape[0] for block in blocks.values()}
    if len(n_rows) != 1:
        raise ValueError(f"its blocks have {sorted(n_rows)} rows, expected the same number")
    return n_rows.pop(), columns, named


def _text(item: object) -> str:
    return item.decode("utf-8") if isinstance(item, bytes) else str(item)
