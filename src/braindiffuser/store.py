"""The folder of a run: arrays in blocks, pictures, tables and the manifest. The only code that writes results.

Everything is written beside its place and then moved there, so a file that exists is whole. Arrays are written a block at
a time and pictures one at a time; after a kill, the blocks and pictures that exist are not computed again.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import platform
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import zarr
from jaxtyping import Shaped
from PIL import Image

from braindiffuser import images
from braindiffuser._arrays import Pictures
from braindiffuser.errors import RunError

BLOCK = 128
"""Rows in a block of an array."""
COLUMNS = 4096
"""About so many numbers of a row lie in one file, so that columns of all rows can be read without the rest."""


class Store:
    """One run's folder."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, making it if needed."""
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    # Arrays

    def blocks(self, name: str, shape: tuple[int, ...], dtype: str = "float32") -> tuple[zarr.Array[Any], list[slice]]:
        """Open or make an array, and say which of its blocks of rows are not written yet.

        Raises:
            RunError: if the array exists with another shape or type.
        """
        path = self.folder / "arrays" / name
        chunks = _chunks(shape)
        if not (path / "zarr.json").exists():
            array = zarr.create_array(
                path, shape=shape, chunks=chunks, dtype=dtype, compressors=None
            )  # noise stays as large
        else:
            array = zarr.open_array(path, mode="r+")
        array = array.with_config(
            {"write_empty_chunks": True}
        )  # a block of zeros is a block, and finished once written
        if array.shape != shape or array.dtype != np.dtype(dtype):
            raise RunError(
                f"{path} holds {array.dtype} of shape {array.shape}, but this run makes {dtype} of shape {shape}: "
                "another run was here; choose another folder, or overwrite this one"
            )
        starts = range(0, shape[0], chunks[0])
        return array, [
            slice(s, min(s + chunks[0], shape[0])) for s in starts if not _has_row(path, array, s // chunks[0])
        ]

    def fill(
        self,
        name: str,
        shape: tuple[int, ...],
        make: Callable[[slice], Shaped[np.ndarray, " ..."]],
        progress: Callable[[int, int], None] | None = None,
        dtype: str = "float32",
    ) -> None:
        """Write the missing blocks of an array: `make(rows)` returns those rows; `progress(rows done, rows)` is told."""
        array, missing = self.blocks(name, shape, dtype)
        done = shape[0] - sum(rows.stop - rows.start for rows in missing)
        for rows in missing:
            array[rows] = make(rows)
            done += rows.stop - rows.start
            if progress:
                progress(done, shape[0])

    def write_array(self, name: str, values: Shaped[np.ndarray, " ..."]) -> None:
        """Write a whole array."""
        self.fill(name, values.shape, lambda rows: values[rows], dtype=str(values.dtype))

    def read_array(self, name: str) -> Shaped[np.ndarray, " ..."]:
        """Read a whole array.

        Raises:
            RunError: if it was never written to its end.
        """
        return np.asarray(self.open_array(name)[:])

    def open_array(self, name: str) -> zarr.Array[Any]:
        """Open a whole array that is read in parts.

        Raises:
            RunError: if it was never written to its end.
        """
        path = self.folder / "arrays" / name
        if not (path / "zarr.json").exists():
            raise RunError(f"{self.folder} has no array {name}: run the earlier stages first")
        array = zarr.open_array(path, mode="r")
        if array.nchunks_initialized < array.nchunks:
            raise RunError(
                f"{path} is written only in part: run the stage that makes it again, it goes on where it was"
            )
        return array

    # Pictures

    def picture_path(self, kind: str, number: int) -> Path:
        """Where picture `number` of a kind (`low_level`, `final`, …) is or will be."""
        return self.folder / "reconstructions" / kind / f"{number:04d}.png"

    def missing_pictures(self, kind: str, n: int) -> list[int]:
        """Numbers below n whose picture is not there yet."""
        return [number for number in range(n) if not self.picture_path(kind, number).exists()]

    def write_picture(self, kind: str, number: int, picture: Pictures) -> None:
        """Write one picture (1, 3, height, width)."""
        path = self.picture_path(kind, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _replacing(path) as unfinished:
            images.save_png(picture, unfinished)

    def open_pictures(self, kind: str, n: int) -> images.PictureReader:
        """Open pictures 0 … n − 1 of a kind; none is read yet.

        Raises:
            RunError: if one is missing.
        """
        missing = self.missing_pictures(kind, n)
        if missing:
            raise RunError(
                f"{self.folder} lacks {len(missing)} of {n} {kind} pictures, first {self.picture_path(kind, missing[0]).name}: "
                "run the stage reconstruct again, it goes on where it was"
            )
        return images.PictureReader(
            np.arange(n), lambda numbers: images.load_png([self.picture_path(kind, int(number)) for number in numbers])
        )

    def read_pictures(self, kind: str, n: int) -> Pictures:
        """Read pictures 0 … n − 1 of a kind; raises what `open_pictures` raises."""
        return self.open_pictures(kind, n)[:]

    def write_image(self, name: str, image: Image.Image) -> None:
        """Write a drawn picture as PNG."""
        with _replacing(self.path(name)) as unfinished:
            image.save(unfinished, format="PNG")

    # Text, tables and bundles of arrays

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file and return where it is."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with _replacing(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
        return path

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a mapping as JSON; numbers must be finite."""
        self.write_text(name, json.dumps(content, indent=2, allow_nan=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON file.

        Raises:
            RunError: if it is not there.
        """
        path = self.folder / name
        if not path.exists():
            raise RunError(f"{self.folder} has no {name}: run the earlier stages first")
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as CSV."""
        self.write_text(name, table.to_csv(index=False))

    def read_table(self, name: str) -> pd.DataFrame:
        """Read a CSV table."""
        return pd.read_csv(self.folder / name)

    def write_bundle(self, name: str, arrays: Mapping[str, Shaped[np.ndarray, " ..."]]) -> None:
        """Write named arrays as one `.npz` file, whole or not at all, and without a copy of them in memory."""
        with _replacing(self.path(name)) as unfinished, unfinished.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    def read_bundle(self, name: str) -> dict[str, Shaped[np.ndarray, " ..."]]:
        """Read what `write_bundle` wrote."""
        with np.load(self.folder / name, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    def path(self, name: str) -> Path:
        """Return a path in the folder, its parent made."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    # Stages

    @property
    def manifest(self) -> dict[str, Any]:
        """What is known of this run so far; empty for a new folder."""
        return self.read_json("manifest.json") if (self.folder / "manifest.json").exists() else {}

    def update_manifest(self, **entries: Any) -> None:
        """Set entries of the manifest."""
        self.write_json("manifest.json", self.manifest | entries)

    def is_finished(self, stage: str) -> bool:
        """Whether a stage has been run to its end."""
        return "finished" in self.manifest.get("stages", {}).get(stage, {})

    def discard(self, outputs: Mapping[str, Collection[str]]) -> None:
        """Delete what stages wrote, then forget them: stage name → files and folders.

        A stage counts as begun by its old settings until all is deleted, so nothing of it is taken for something newer if
        this is interrupted.
        """
        if not outputs:
            return
        noted: dict[str, dict[str, Any]] = self.manifest.get("stages", {})
        begun = {name: {"uid": facts["uid"]} if name in outputs else facts for name, facts in noted.items()}
        self.update_manifest(stages=begun)
        for path in (self.folder / name for names in outputs.values() for name in names):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        self.update_manifest(stages={name: facts for name, facts in noted.items() if name not in outputs})

    @contextmanager
    def stage(self, name: str, uid: str) -> Iterator[None]:
        """Run a stage: note its identity first, and its time and memory when it ends.

        Raises:
            RunError: if the folder holds a part of this stage that was made by something else.
        """
        stages: dict[str, dict[str, Any]] = self.manifest.get("stages", {})
        begun = stages.get(name, {}).get("uid", uid)
        if begun != uid:
            raise RunError(
                f"{self.folder} holds the stage {name} of another run ({begun}, now {uid}): its networks or settings have "
                "changed since; choose another folder, or overwrite this one"
            )
        earlier = float(stages.get(name, {}).get("seconds", 0.0))
        self.update_manifest(stages=stages | {name: {"uid": uid, "seconds": earlier}})
        _reset_peak_memory()
        started = time.monotonic()
        try:
            yield
        except BaseException:
            self._note(name, {"uid": uid, "seconds": round(earlier + time.monotonic() - started, 2)})
            raise
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        seconds = round(earlier + time.monotonic() - started, 2)
        self._note(name, {"uid": uid, "seconds": seconds, "peak_memory_gb": _peak_memory_gb(), "finished": finished})

    def _note(self, stage: str, facts: Mapping[str, Any]) -> None:
        self.update_manifest(stages=self.manifest.get("stages", {}) | {stage: dict(facts)})


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    rows = min(BLOCK, max(1, shape[0]))
    if len(shape) == 1:
        return (rows,)
    return (rows, min(shape[1], max(1, COLUMNS // max(1, math.prod(shape[2:])))), *shape[2:])


def _has_row(path: Path, array: zarr.Array[Any], number: int) -> bool:
    """Whether all files of one block of rows are there."""
    across = (range(-(-side // chunk)) for side, chunk in zip(array.shape[1:], array.chunks[1:], strict=True))
    keys = (array.metadata.encode_chunk_key((number, *place)) for place in itertools.product(*across))
    return all((path / key).exists() for key in keys)


def _reset_peak_memory() -> None:
    """Start a new peak; where the system cannot (not Linux), peaks are those of the whole process."""
    clear = Path("/proc/self/clear_refs")
    try:
        clear.write_text("5")
    except OSError:
        return


def _peak_memory_gb() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return round(int(lines["VmHWM"].split()[0]) / 2**20, 3)
    import resource  # not on every system

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3)


def environment() -> dict[str, Any]:
    """Versions of this package and those that results depend on, and this machine: `versions` and `machine`."""
    packages = (
        "braindiffuser",
        "numpy",
        "torch",
        "diffusers",
        "transformers",
        "timm",
        "scikit-learn",
        "scikit-image",
        "zarr",
    )
    versions = {"python": platform.python_version()}
    return {
        "versions": versions | {name: version(name) for name in packages},
        "machine": {
            "platform": platform.platform(),
            "cpu_count": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        },
    }
