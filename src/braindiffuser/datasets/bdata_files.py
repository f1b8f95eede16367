"""Kamitani lab's bdata format: one matrix of trials × columns in HDF5, and metadata that say what each column is.

| dataset | content |
|---|---|
| `dataset` | (trials, columns): voxels, and columns such as `Run`, `DataType`, `stimulus_id` |
| `metadata/key` | names: `VoxelData`, `ROI_V1`, `voxel_x`, `Run`, … |
| `metadata/value` | (keys, columns): 1 where a column belongs to the key, or the key's value there; NaN elsewhere |
| `vmap/KEY/NUMBER` | text that a number in the column KEY stands for |

Older files write `dataSet` and `metaData`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Bool, Float, Int

from braindiffuser.arrays import Betas
from braindiffuser.datasets.beta_kinds import check_kind
from braindiffuser.datasets.reading import reading
from braindiffuser.datasets.region_columns import check_no_fractions
from braindiffuser.errors import RecordingError
from braindiffuser.written_chunks import check_written

BYTES_PER_READ = 1 << 26
"""Part of a matrix that is held at a time, in bytes."""
SPELLINGS = {"dataset": ("dataset", "dataSet"), "metadata": ("metadata", "metaData")}


@dataclass(frozen=True, eq=False)
class BDataFile:
    """A bdata file; each call opens and closes it.

    Attributes:
        path: of the file.
        n_rows: number of trials.
        dtype: of the matrix.
        values: key → (n_columns,), NaN where it does not apply.
    """

    path: Path
    n_rows: int
    dtype: np.dtype[np.generic]
    values: dict[str, Float[np.ndarray, " n_columns"]]

    @classmethod
    def open(cls, path: Path) -> BDataFile:
        """Read the metadata.

        Raises:
            RecordingError: the file is missing, unreadable, has no matrix, no metadata, or other numbers of columns in them, or
                marks a region by other numbers than 1 and 0.
        """
        if not path.is_file():
            raise RecordingError(f"{path} is missing; expected a file in the bdata format, such as Subject1.h5")
        with _open(path) as file:
            matrix, metadata = (_item(file, name) for name in SPELLINGS)
            keys, values = metadata["key"][...], np.asarray(metadata["value"][...], dtype=np.float64)
            texts = [key.decode("utf-8") if isinstance(key, bytes) else str(key) for key in keys]
            if matrix.ndim != 2:
                raise ValueError(f"its matrix is {matrix.dtype} {matrix.shape}, expected numbers (trials, columns)")
            check_kind(matrix.dtype, path)
            check_written(matrix, path)
            if values.shape != (len(texts), matrix.shape[1]):
                raise ValueError(
                    f"metadata are {values.shape} for {len(texts)} keys and {matrix.shape[1]} columns, expected (keys, columns)"
                )
            for key, own in zip(texts, values, strict=True):
                if key == "VoxelData" or key.startswith("ROI_"):
                    check_no_fractions(own, f"{path}: {key}")
            return cls(path, matrix.shape[0], matrix.dtype, dict(zip(texts, values, strict=True)))

    @property
    def voxel_columns(self) -> Int[np.ndarray, " n_voxels"]:
        """Columns of the matrix that hold voxels: those of VoxelData, or where that is missing, of any region.

        Raises:
            RecordingError: there are none.
        """
        chosen = [values == 1 for key, values in self.values.items() if key == "VoxelData"]
        chosen = chosen or [values == 1 for key, values in self.values.items() if key.startswith("ROI_")]
        columns = np.flatnonzero(np.any(chosen, axis=0)) if chosen else np.empty(0, np.int64)
        if not len(columns):
            raise RecordingError(
                f"{self.path} marks no column as a voxel: expected a key VoxelData or ROI_VC that is 1 there; it has the keys "
                f"{', '.join(self.values)}"
            )
        return columns

    def of_voxels(self, key: str) -> Float[np.ndarray, " n_voxels"]:
        """Return the values of a key for the voxels; NaN where it does not apply."""
        chosen: Float[np.ndarray, " n_voxels"] = self.values[key][self.voxel_columns]
        return chosen

    def column(self, key: str) -> Float[np.ndarray, " n_rows"] | None:
        """Read the column that a key marks; None if there is no such key.

        Raises:
            RecordingError: the key marks no column, or several.
        """
        if key not in self.values:
            return None
        places = np.flatnonzero(self.values[key] == 1)
        if len(places) != 1:
            raise RecordingError(
                f"{self.path}: the key {key} marks {len(places)} columns; expected one, with the value 1"
            )
        with _open(self.path) as file:
            return np.asarray(_item(file, "dataset")[:, int(places[0])], dtype=np.float64)

    def labels(self, key: str) -> dict[float, str]:
        """Return number → text of a column's labels; {} if there are none."""
        with _open(self.path) as file:
            group = file.get(f"vmap/{key}")
            if not isinstance(group, h5py.Group):
                return {}
            texts = {float(number): np.asarray(group[number]).ravel()[0] for number in group}
        return {
            number: text.decode("utf-8") if isinstance(text, bytes) else str(text) for number, text in texts.items()
        }

    def betas(self, rows: Int[np.ndarray, " n_trials"], voxels: Bool[np.ndarray, " n_all_voxels"]) -> Betas:
        """Read some voxels of some trials, a part of the matrix at a time.

        Args:
            rows: trials, ascending.
            voxels: which of the voxels.

        Returns:
            (n_trials, n_chosen_voxels).

        Raises:
            RecordingError: the file cannot be read.
        """
        columns = self.voxel_columns[voxels]
        first, end = int(columns.min()), int(columns.max()) + 1
        out = np.empty((len(rows), len(columns)), np.float32)
        with _open(self.path) as file, np.errstate(over="ignore"):  # what overflows is refused by name
            matrix = _item(file, "dataset")
            step = max(1, BYTES_PER_READ // (matrix.dtype.itemsize * (end - first)))
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                close = part[-1] - part[0] + 1 == len(part)
                own = slice(int(part[0]), int(part[-1]) + 1) if close else part
                out[start : start + step] = matrix[own, first:end][:, columns - first]
        return out


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    with reading(path, "bdata file"), h5py.File(path, "r") as file:
        yield file


def _item(file: h5py.File, name: str) -> h5py.Dataset | h5py.Group:
    """Return the matrix or the metadata, in either spelling."""
    found = next((file[spelling] for spelling in SPELLINGS[name] if spelling in file), None)
    if found is None:
        raise RecordingError(
            f"{file.filename} has no {name}, but {', '.join(file) or 'nothing'}: expected a bdata file with dataset, "
            "metadata/key and metadata/value"
        )
    return found
