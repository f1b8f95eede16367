"""A step's files in a separate folder until all are complete.

Every file is written whole, flushed to disk, and only then noted in a journal; after a kill or a power cut, what the
journal notes is not made again, and everything else is. Before it is noted, what the step reads is looked at again: if that
is not what it was when the draft was opened, the file does not count. Contents are compared, so a file that was replaced and
put back between two looks goes unnoticed.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from braindiffuser import images
from braindiffuser.arrays import Pictures
from braindiffuser.errors import RunError, reason
from braindiffuser.files import LEFTOVER, FileState, as_states, remove_files, replacing, state_of, sync
from braindiffuser.progress import Progress, silent
from braindiffuser.real_numbers import real_numbers
from braindiffuser.store.checked_json import write_checked
from braindiffuser.system_errors import naming

if TYPE_CHECKING:
    import pandas as pd
    import zarr

BLOCK = 128
"""Rows in a block of an array."""
COLUMNS = 4096
"""Chunk width in columns, so that a block of columns can be read for all rows."""

JOURNAL = "journal.jsonl"
_HALF_BLOCK = re.compile(r".+\.[0-9a-f]{32}\.partial")
"""Names of blocks that zarr is writing."""
OVERSHOOT = 0.01
"""How far beyond [0, 1] pictures may go by rounding, which is clipped; values further outside raise."""
LARGEST_ROUNDING = 0.03
"""Largest allowed rms rounding error, as a share of a column's standard deviation; 3 % lowers a correlation by 0.05 %."""
ROUNDED_COLUMNS = 0.01
"""Share of the columns that may be rounded more."""
FEWEST_ROWS = 4
"""Rows that a standard deviation is estimated from, at least."""
EPS = float(np.finfo(np.float32).eps)
NOISE = 64
"""Up to this many machine epsilons of its rms value, the standard deviation of a column is noise of its computation."""


class Draft:
    """Files of one step that is being run; paths are those that they will have in the run's folder."""

    def __init__(
        self,
        folder: Path,
        key: str,
        is_as_before: Callable[[], bool] = lambda: True,
        changed: str = "",
    ) -> None:
        """Resume a draft of the same key, else start empty.

        Args:
            folder: of this draft alone.
            key: hash of settings and inputs.
            is_as_before: returns whether settings and inputs still have this hash; asked before a file counts.
            changed: what is said if they have not.
        """
        self.folder, self.key = folder, key
        self._is_as_before, self._changed = is_as_before, changed
        self._journal = folder / JOURNAL
        self.files: dict[str, FileState] = {}
        self._sizes: dict[str, tuple[int, ...]] = {}
        self.lost = False
        """Whether a file that the journal or the published result lists is missing or changed."""
        begun, noted = self._read_journal()
        if begun == key:
            self.files = {name: state for name, state in noted.items() if self._is_there(name, state)}
            damaged = noted.keys() - self.files.keys()
            self.lost = bool(damaged)
            remove_files(folder, damaged)
        elif begun is not None:
            self.remove(noted)
        self._write_journal()  # without a last line that was cut short

    def _write_journal(self) -> None:
        with replacing(self._journal) as path:
            lines = [{"key": self.key}, *({name: state} for name, state in self.files.items())]
            path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def clear(self, further: Iterable[str] = ()) -> None:
        """Delete all files, and further ones that are not noted, to start over."""
        self.remove(further)
        self._write_journal()

    def refuse_changes(self, new: Iterable[str] = ()) -> None:
        """Check that settings and inputs are what they were, so that what was made of them may count.

        Args:
            new: files that are written but not noted yet.

        Raises:
            RunError: they are not; all files are deleted, or a step would go on from them if what it reads is put back.
        """
        if not self._is_as_before():
            self.clear(new)
            raise RunError(self._changed)

    def _read_journal(self) -> tuple[str | None, dict[str, FileState]]:
        """Return (key, states); (None, {}) without a journal, ("", {}) if it is damaged."""
        if not self._journal.is_file():
            return None, {}
        text = self._journal.read_text(encoding="utf-8", errors="replace")
        lines = text.split("\n")[:-1]  # a last line without its end was cut short
        try:
            entries = [json.loads(line) for line in lines]
            return str(entries[0]["key"]), as_states(
                {name: state for entry in entries[1:] for name, state in entry.items()}
            )
        except (RunError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return "", {}

    def _is_there(self, name: str, state: FileState) -> bool:
        path = self.folder / name
        return path.is_file() and state_of(path, state).is_same_content(state)

    def note(self, names: Iterable[str]) -> None:
        """Flush files of this draft to disk, and note them as whole; raises what `refuse_changes` raises."""
        new, lines = list(names), []
        if new:
            self.refuse_changes(new)
        for name in new:
            sync(self.folder / name)
            self.files[name] = state_of(self.folder / name)
            lines.append(json.dumps({name: self.files[name]}) + "\n")
        with self._journal.open("a", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())

    def adopt(self, published: Path, files: Mapping[str, FileState]) -> None:
        """Reuse intact published files of the same step, by hard link where possible.

        Args:
            published: the run's folder.
            files: name → state; those that are not as they were are left out.
        """
        adopted = []
        for name, state in files.items():
            source, place = published / name, self.folder / name
            if name not in self.files and source.is_file() and state_of(source, state).is_same_content(state):
                place.parent.mkdir(parents=True, exist_ok=True)
                place.unlink(missing_ok=True)
                try:
                    os.link(source, place)
                except OSError:  # the disk has no links
                    with replacing(place) as beside:
                        beside.write_bytes(source.read_bytes())
                adopted.append(name)
        self.note(adopted)
        self.lost |= not files.keys() <= self.files.keys()

    def remove(self, names: Iterable[str] = ()) -> None:
        """Delete the draft: these files, those that it notes, those that a kill left half written, and its journal."""
        discard(self.folder, [*names, *self.files])
        self.files, self._sizes = {}, {}

    def _place(self, name: str) -> Path:
        """Return where a file of this draft is to be written; raises RunError for names outside the folder."""
        as_states({name: (0, "", 0, 0)}, f"the draft {self.folder}")
        return self.folder / name

    def is_as_noted(self, name: str) -> bool:
        """Return whether a file is noted and has not been written to since."""
        return name in self.files and self._is_there(name, self.files[name])

    def holds(self, name: str) -> bool:
        """Return whether a file is there and whole."""
        return name in self.files

    # Arrays

    def fill(
        self,
        name: str,
        shape: tuple[int, ...],
        make: Callable[[slice], Shaped[np.ndarray, " ..."]],
        progress: Progress = silent,
        label: str = "",
        dtype: str = "float32",
        may_be_nan: bool = False,
    ) -> None:
        """Write the missing blocks of an array, one after the other, as `fill_blocks` does.

        Args:
            name: of the array.
            shape: of all of it.
            make: returns a slice of its rows.
            progress: as in `fill_blocks`.
            label: as in `fill_blocks`.
            dtype: as in `fill_blocks`.
            may_be_nan: as in `fill_blocks`.

        Raises:
            RunError: what `fill_blocks` raises.
        """

        def make_blocks(missing: list[slice]) -> Iterator[tuple[slice, Shaped[np.ndarray, " ..."]]]:
            return ((rows, make(rows)) for rows in missing)

        self.fill_blocks(name, shape, make_blocks, progress, label, dtype, may_be_nan)

    def fill_blocks(
        self,
        name: str,
        shape: tuple[int, ...],
        make_blocks: Callable[[list[slice]], Iterator[tuple[slice, Shaped[np.ndarray, " ..."]]]],
        progress: Progress = silent,
        label: str = "",
        dtype: str = "float32",
        may_be_nan: bool = False,
    ) -> None:
        """Write the missing blocks of an array.

        Args:
            name: of the array.
            shape: of all of it.
            make_blocks: yields each of the slices of rows that it is given with these rows, in order.
            progress: called as progress(label, rows_done, n_rows) after each block.
            label: says what is written; empty: the name.
            dtype: under which it is stored.
            may_be_nan: whether NaN is allowed, as "not known".

        Raises:
            RunError: if rows come in another shape or are not real numbers, a value is not finite as stored, or the stored
                type rounds away differences between rows; what `refuse_changes` raises. Each block is judged by itself, the
                shorter last one beside the block before it, so that interrupted arrays are judged like others.
        """
        truth = np.bool_ if np.dtype(dtype) == np.bool_ else None
        real_numbers(np.empty(0, dtype), f"{name} came as", dtype=truth)
        array, missing = self._blocks(name, shape, dtype)
        done = shape[0] - sum(rows.stop - rows.start for rows in missing)
        for rows, block in make_blocks(missing):
            came = f"rows {rows.start} to {rows.stop - 1} of {name} came as"
            made = real_numbers(block, came, (rows.stop - rows.start, *shape[1:]), truth)
            with np.errstate(over="ignore"):  # what overflows is refused by name
                values = made.astype(dtype, copy=False)
            if not may_be_nan:
                _refuse_infinite(name, rows, made, values)
                if made.dtype != values.dtype:
                    whole = len(values) == array.chunks[0]
                    before = made if whole else np.asarray(array[rows.start - array.chunks[0] : rows.start])
                    _refuse_rounded(name, rows, made, values, before)
            with naming(self.folder / f"arrays/{name}"):
                array[rows] = values
            self.note(self._files_of_block(name, array, rows.start // array.chunks[0]))
            done += rows.stop - rows.start
            progress(label or name, done, shape[0])

    def shape_of(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of an array that was begun; None if it was not."""
        if not self.holds(f"arrays/{name}/zarr.json"):
            return None
        import zarr

        return zarr.open_array(self.folder / "arrays" / name, mode="r").shape

    def _blocks(self, name: str, shape: tuple[int, ...], dtype: str) -> tuple[zarr.Array[Any], list[slice]]:
        import zarr

        place, header = f"arrays/{name}", f"arrays/{name}/zarr.json"
        chunks = _chunks(shape)
        if not self.holds(header):
            (self._place(header)).unlink(missing_ok=True)  # left by a kill
            array = zarr.create_array(
                self.folder / place, shape=shape, chunks=chunks, dtype=dtype, compressors=None
            )  # not compressed: most of the numbers are noise
            self.note([header])
        else:
            array = zarr.open_array(self.folder / place, mode="r+")
        if array.shape != shape or array.dtype != np.dtype(dtype):
            raise RunError(
                f"{self.folder / place} holds {array.dtype} of shape {array.shape}, expected {dtype} of {shape}: delete "
                f"{self.folder}, then run the same command again"
            )
        # write all-zero chunks too, otherwise they look unfinished
        array = array.with_config({"write_empty_chunks": True})
        starts = range(0, shape[0], chunks[0])
        blocks = [slice(start, min(start + chunks[0], shape[0])) for start in starts]
        return array, [
            rows
            for number, rows in enumerate(blocks)
            if not all(self.holds(file) for file in self._files_of_block(name, array, number))
        ]

    def _files_of_block(self, name: str, array: zarr.Array[Any], number: int) -> list[str]:
        across = (range(-(-side // chunk)) for side, chunk in zip(array.shape[1:], array.chunks[1:], strict=True))
        places = itertools.product(*across)
        return [f"arrays/{name}/{array.metadata.encode_chunk_key((number, *place))}" for place in places]

    def write_array(self, name: str, values: Shaped[np.ndarray, " ..."], may_be_nan: bool = False) -> None:
        """Write a whole array; raises what `fill` raises."""
        self.fill(name, values.shape, lambda rows: values[rows], dtype=str(values.dtype), may_be_nan=may_be_nan)

    def is_constant(self, name: str) -> bool:
        """Return whether all rows of an array, two or more, are the same but for the noise of float32 computations."""
        import zarr

        array = zarr.open_array(self.folder / "arrays" / name, mode="r")
        first, n = np.asarray(array[:1], np.float32), array.shape[0]
        blocks = (np.asarray(array[start : start + BLOCK], np.float32) for start in range(0, n, BLOCK))
        return n > 1 and all(np.isclose(block, first, rtol=8 * EPS, atol=0).all() for block in blocks)

    # Pictures

    def write_pictures(self, kind: str, numbers: Iterable[int], pictures: Pictures) -> None:
        """Write pictures of a kind (`low_level`, `final`, …) under their numbers.

        Raises:
            RunError: what `check_pictures` and `refuse_changes` raise; if their size is not that of earlier pictures of the
                kind.
        """
        names = [picture_name(kind, number) for number in numbers]
        check_pictures(names, pictures)
        self._check_size(kind, pictures.shape[-2:])
        for name, picture in zip(names, pictures, strict=True):
            with replacing(self._place(name)) as beside:
                images.save_png(picture[None], beside)
        self.note(names)

    def _check_size(self, kind: str, size: tuple[int, ...]) -> None:
        """Raise RunError if pictures of a kind that were written before have another height or width."""
        if kind not in self._sizes:
            folder = Path(picture_name(kind, 0)).parent
            written = next((name for name in self.files if Path(name).parent == folder), None)
            self._sizes[kind] = size if written is None else images.load_png([self.folder / written]).shape[-2:]
        if size != self._sizes[kind]:
            raise RunError(
                f"pictures {kind} came as {size} (height, width), after others of {self._sizes[kind]}: draw all of one size"
            )

    def missing_pictures(self, kind: str, n: int) -> list[int]:
        """Numbers below n whose picture is not there yet."""
        return [number for number in range(n) if not self.holds(picture_name(kind, number))]

    def refuse_blank(self, kind: str, numbers: int | Sequence[int]) -> None:
        """Raise RunError if more than half of some pictures, two or more, are of one flat colour each; all are deleted.

        Args:
            kind: of pictures.
            numbers: of the pictures; one number n stands for 0 … n − 1.
        """
        wanted = range(numbers) if isinstance(numbers, int) else numbers
        n = len(wanted)
        pictures = (images.load_png([self.folder / picture_name(kind, number)]) for number in wanted)
        n_flat = sum(int(images.are_flat(picture).sum()) for picture in pictures)
        if 2 * n_flat > n > 1:
            self.clear()  # otherwise they would count as drawn, whatever is mended
            raise RunError(
                f"{n_flat} of {n} pictures {kind} are of one flat colour each: check the checkpoints of the generator and the "
                "features that it draws from"
            )

    def write_image(self, name: str, image: Image.Image) -> None:
        """Write a drawn picture as PNG."""
        drawn = io.BytesIO()
        image.save(drawn, format="PNG")
        self.write_bytes(name, drawn.getvalue())

    # Text, tables and bundles of arrays

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file."""
        with replacing(self._place(name)) as beside:
            beside.write_bytes(content)
        self.note([name])

    def write_text(self, name: str, text: str) -> None:
        """Write a text file."""
        self.write_bytes(name, text.encode("utf-8"))

    def write_json(self, name: str, content: Any) -> None:
        """Write JSON; raises RunError for what it cannot hold, such as NaN or an array."""
        try:
            text = json.dumps(content, indent=2, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise RunError(f"{name} cannot be written as JSON: {reason(error)}") from error
        self.write_text(name, text + "\n")

    def write_checked(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a mapping as JSON with its checksum."""
        write_checked(self._place(name), content)
        self.note([name])

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as CSV."""
        self.write_text(name, table.to_csv(index=False))

    def write_bundle(self, name: str, arrays: Mapping[str, Shaped[np.ndarray, " ..."]]) -> None:
        """Write named arrays as one `.npz` file, without a copy of them in memory."""
        with replacing(self._place(name)) as beside, beside.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        self.note([name])

    def read_bundle(self, name: str) -> dict[str, Shaped[np.ndarray, " ..."]]:
        """Read back what `write_bundle` wrote."""
        return read_bundle(self.folder / name)


def discard(folder: Path, names: Iterable[str]) -> None:
    """Delete files of a draft, those that a kill left half written, and its journal."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    half = [path for path in files if LEFTOVER.fullmatch(path.name) or _HALF_BLOCK.fullmatch(path.name)]
    remove_files(folder, [*names, *(str(path.relative_to(folder)) for path in half), JOURNAL])
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def picture_name(kind: str, number: int) -> str:
    """Name of a picture's file in the run's folder."""
    return f"reconstructions/{kind}/{number:04d}.png"


def check_pictures(names: Sequence[str], drawn: Any) -> Pictures:
    """Return what a part has drawn as an array, if it is pictures (n, 3, height, width), one for each name.

    Raises:
        RunError: if their shape is wrong, they are not floating-point numbers, a value is not finite, or one lies further than
            OVERSHOOT outside [0, 1].
    """
    which = names[0] if names else "of nothing"
    pictures = real_numbers(drawn, f"pictures {which} … came as", (len(names), 3, None, None))
    if pictures.dtype.kind != "f":
        raise RunError(f"pictures {which} … came as {pictures.dtype}, expected floating-point numbers from 0 to 1")
    for name, picture in zip(names, pictures, strict=True):
        if not np.isfinite(picture).all():
            raise RunError(
                f"picture {name} has values that are not finite: if a network drew it, compute in float32 "
                "(generator.diffusion.precision: full)"
            )
        if picture.min() < -OVERSHOOT or picture.max() > 1 + OVERSHOOT:
            raise RunError(
                f"picture {name} has values from {picture.min():.3g} to {picture.max():.3g}, expected 0 to 1: scale or clip it"
            )
    return pictures


def read_bundle(path: Path, beginning: str = "") -> dict[str, Shaped[np.ndarray, " ..."]]:
    """Read named arrays of one `.npz` file, or only those whose names begin in a way."""
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:  # np.load leaves a damaged file open
        return {key: file[key] for key in file.files if key.startswith(beginning)}


def _refuse_infinite(
    name: str, rows: slice, made: Shaped[np.ndarray, " ..."], values: Shaped[np.ndarray, " ..."]
) -> None:
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
        broken = int(np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))[0])
        overflowed = np.isfinite(made[broken]).all()
        why = _remedy(values.dtype) if overflowed else "their computation overflowed, or an input is damaged"
        raise RunError(
            f"{name} has values that are not finite as {values.dtype}, first in row {rows.start + broken}: {why}"
        )


def _refuse_rounded(
    name: str,
    rows: slice,
    made: Shaped[np.ndarray, " ..."],
    values: Shaped[np.ndarray, " ..."],
    reference: Shaped[np.ndarray, " ..."],
) -> None:
    """Raise if rounding takes more than LARGEST_ROUNDING of the standard deviation, in more than ROUNDED_COLUMNS of all.

    Columns are judged one by one, since each is decoded by itself. The standard deviation is that of reference rows; columns
    that differ by the noise of their computation alone count as constant. It is computed row by row, to save memory.
    """
    if len(reference) < FEWEST_ROWS:
        return
    rounding, size, offset, spread = np.zeros((4, *made.shape[1:]))
    for row, own in zip(made, values, strict=True):
        rounding += np.square(np.subtract(row, own, dtype=np.float64)) / len(made)
    for row in reference:
        step = np.subtract(row, reference[0], dtype=np.float64)  # exactly 0 in columns that are constant
        offset += step / len(reference)
        spread += np.square(step) / len(reference)
        size += np.square(row, dtype=np.float64) / len(reference)
    spread -= np.square(offset)
    computed_in = np.float32 if values.dtype == np.float16 else np.float64
    varies = spread > (NOISE * np.finfo(computed_in).eps) ** 2 * size
    shares = np.sqrt(rounding[varies] / spread[varies])
    worst = np.sort(shares)[-1 - int(ROUNDED_COLUMNS * len(shares))] if shares.size else 0
    if worst > LARGEST_ROUNDING:
        raise RunError(
            f"{values.dtype} rounds {name} by {worst:.1%} of the standard deviation of a column, in rows {rows.start} to "
            f"{rows.stop - 1}, expected {LARGEST_ROUNDING:.0%} or less: {_remedy(values.dtype)}"
        )


def _remedy(dtype: np.dtype[Any]) -> str:
    wider = 'set stored_as = "float32" in the class of this target group, or ' if dtype == np.float16 else ""
    return f"{wider}scale the values, or subtract what all rows have in common"


def _chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    rows = min(BLOCK, max(1, shape[0]))
    if len(shape) == 1:
        return (rows,)
    return (rows, min(shape[1], max(1, COLUMNS // max(1, math.prod(shape[2:])))), *shape[2:])
