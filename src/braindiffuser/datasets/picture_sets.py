"""Pictures as labs have them: folders of files of any size, or arrays; cropped to squares of one size, and said so."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import h5py
import numpy as np
import pandas as pd
from jaxtyping import Int, UInt8
from PIL import Image

from braindiffuser.arrays import Pictures
from braindiffuser.datasets.array_files import ArrayFile, Rows
from braindiffuser.datasets.reading import reading
from braindiffuser.errors import RecordingError, RunError
from braindiffuser.images import SMALLEST_SIDE, from_uint8
from braindiffuser.picture_files import SUFFIXES, decode_picture, read_picture, size_of_encoded, size_of_picture

LARGEST_SIDE = 512
"""Pixels a side that pictures are resized to at most: what the published diffusion model draws."""


def square(raw: UInt8[np.ndarray, "height width 3"], side: int) -> UInt8[np.ndarray, "{side} {side} 3"]:
    """Cut the largest square out of the middle of a picture and resize it (bicubic, with antialias); sides that fit stay."""
    height, width = raw.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    cut = raw[top : top + short, left : left + short]
    if short == side:
        return np.ascontiguousarray(cut)
    return np.asarray(Image.fromarray(np.ascontiguousarray(cut)).resize((side, side), Image.Resampling.BICUBIC))


@dataclass(frozen=True, eq=False)
class PictureFiles:
    """Picture files by stimulus id, read when asked for.

    Attributes:
        paths: stimulus id → file.
        side: pixels a side of what is returned.
        remarks: what was cropped or resized, for the page.
    """

    paths: Mapping[int, Path]
    side: int
    remarks: tuple[str, ...]

    @classmethod
    def find(
        cls, folder: Path, names: Mapping[int, str], trials_of: Mapping[int, str], side: int | None
    ) -> PictureFiles:
        """Find the file of every stimulus, and read all sizes.

        A name is a path below the folder; or, where that leads to one file only, the end of such a path, or a path that ends in
        one; with its suffix, without, or with that of another format.

        Args:
            folder: of the pictures.
            names: stimulus id → name.
            trials_of: stimulus id → its first trial, as `first_trials` describes it, for messages.
            side: pixels a side; None takes the shortest side of all pictures, at most LARGEST_SIDE.

        Raises:
            RecordingError: the folder or a picture is missing, a name fits several files, or a picture cannot be read.
        """
        if not folder.is_dir():
            raise RecordingError(f"{folder} is no folder; expected the folder of the pictures that were shown")
        paths = _find_all(folder, names, list_pictures(folder), trials_of)
        _refuse_shared(names, {number: path.resolve() for number, path in paths.items()}, folder)
        return cls(paths, *_target_of_files(paths.values(), side))

    @classmethod
    def listed(
        cls, files: Sequence[Path], names: Mapping[int, str], trials_of: Mapping[int, str], side: int | None
    ) -> PictureFiles:
        """Find every stimulus in a list of files: by the file's name, or, if all names are numbers, by its place from 0.

        Args:
            files: of the pictures.
            names: stimulus id → name of a file with or without its suffix, or the end of its path.
            trials_of: as in `find`.
            side: as in `find`.

        Raises:
            RecordingError: a picture is not listed, listed several times by one name or asked for by two, or cannot be read.
        """
        known = {end for path in files for end in (path.name, path.stem)}
        if all(name.isdecimal() for name in names.values()) and not known & set(names.values()):
            last = max(map(int, names.values()))
            if last >= len(files):
                raise RecordingError(
                    f"pictures lists {len(files)} files, but trials show number {last}, counted from 0"
                )
            paths = {number: files[int(name)] for number, name in names.items()}
        else:
            shared = os.path.commonpath([path.absolute().parent for path in files]) if files else ""
            ends = {path.absolute().relative_to(shared).as_posix(): path for path in files}
            paths = _find_all(None, names, ends, trials_of)
        _refuse_shared(names, {number: path.resolve() for number, path in paths.items()}, LISTED)
        return cls(paths, *_target_of_files(paths.values(), side))

    def __call__(self, stimulus_ids: Int[np.ndarray, " n"]) -> Pictures:
        """Read pictures in the order asked for, (n, 3, side, side) in [0, 1].

        Raises:
            RecordingError: one cannot be read, or has no one meaning as RGB.
        """
        out = np.empty((len(stimulus_ids), self.side, self.side, 3), np.uint8)
        for row, number in enumerate(stimulus_ids):
            try:
                out[row] = square(read_picture(self.paths[int(number)]), self.side)
            except RunError as error:
                raise RecordingError(str(error)) from error
        return from_uint8(out)


@dataclass(frozen=True, eq=False)
class PictureArray:
    """8-bit pictures (n, height, width, 3) in an array, by stimulus id.

    Attributes:
        array: of the pictures.
        row_of: stimulus id → row.
        side: pixels a side of what is returned.
        remarks: what was cropped or resized, for the page.
    """

    array: Rows
    row_of: Mapping[int, int]
    side: int
    remarks: tuple[str, ...]

    @classmethod
    def open(cls, entry: str | Rows, row_of: Mapping[int, int], side: int | None) -> PictureArray:
        """Check the array.

        Args:
            entry: `file` or `file:key`, or the array.
            row_of: stimulus id → row.
            side: as in `PictureFiles.find`.

        Raises:
            RecordingError: it is missing, or holds no 8-bit RGB pictures, or fewer than the trials ask for.
        """
        array = ArrayFile.open(entry) if isinstance(entry, str) else entry
        entry = str(array.path)
        if len(array.shape) != 4 or array.shape[3] != 3 or array.dtype != np.uint8:
            raise RecordingError(
                f"{entry} is {array.dtype} {array.shape}; expected pictures as uint8 (n, height, width, 3)"
            )
        last = max(row_of.values())
        if last >= array.shape[0]:
            raise RecordingError(
                f"{entry} holds {array.shape[0]} pictures, but trials show number {last}, counted from 0"
            )
        if isinstance(array, ArrayFile):
            array.check_written(np.array(sorted(row_of.values())))
        height, width = array.shape[1:3]
        return cls(array, row_of, *_target(Counter({(height, width): len(row_of)}), side))

    def __call__(self, stimulus_ids: Int[np.ndarray, " n"]) -> Pictures:
        """Read pictures in the order asked for, (n, 3, side, side) in [0, 1].

        Raises:
            RecordingError: the file cannot be read, or a picture is of one level throughout, as if it was never written.
        """
        rows = np.array([self.row_of[int(number)] for number in stimulus_ids], dtype=np.int64)
        raw = self.array.rows(rows)
        for row, picture in zip(rows, raw, strict=True):
            if picture.min() == picture.max():
                raise RecordingError(
                    f"{self.array.path}: picture {row}, counted from 0, is {picture.min()} throughout, as if it was never "
                    "written: write it again, or leave the trials of this stimulus out"
                )
        return from_uint8(np.stack([square(picture, self.side) for picture in raw]))


def rows_named(names: Mapping[int, str], entry: object, where: object) -> dict[int, int]:
    """Return stimulus id → row of an array of pictures, from names that are numbers.

    Args:
        names: stimulus id → name.
        entry: the array, for the message.
        where: table of trials, likewise.

    Raises:
        RecordingError: a name is no number.
    """
    for name in names.values():
        if not name.isdecimal():
            raise RecordingError(
                f"{where} names the stimulus {name!r}, but {entry} is an array: write the picture's row, counted from 0"
            )
    rows = {number: int(name) for number, name in names.items()}
    _refuse_shared(names, rows, entry)
    return rows


def _refuse_shared(names: Mapping[int, str], places: Mapping[int, Hashable], where: object) -> None:
    """Raise RecordingError if two names stand for one picture, which thus could train and test."""
    first: dict[Hashable, str] = {}
    for number, place in places.items():
        other = first.setdefault(place, names[number])
        if other != names[number]:
            raise RecordingError(f"{other!r} and {names[number]!r} are one picture of {where}: write one name for it")


LOOKED_AT = 64
"""Pictures of an HDF5 file whose sizes are read when it is opened, since each is read whole for it."""


@dataclass(frozen=True, eq=False)
class EncodedPictures:
    """Picture files of any format, stored as bytes in an array of an HDF5 file; a stimulus id is a row.

    Attributes:
        path: of the HDF5 file.
        key: name of the array inside, (n,) of uint8 of any length.
        n: pictures in it, shown or not.
        names: stimulus id → name, for messages.
        background: grey level, 0 to 255, that transparent pixels are shown over; None refuses them.
        side: pixels a side of what is returned.
        remarks: what was cropped or resized, for the page.
    """

    path: Path
    key: str
    n: int
    names: Mapping[int, str]
    background: int | None
    side: int
    remarks: tuple[str, ...]

    @classmethod
    def open(
        cls, path: Path, key: str, names: Mapping[int, str], side: int | None, background: int | None = None
    ) -> EncodedPictures:
        """Check the array, and read the sizes of LOOKED_AT pictures or fewer, evenly spread over those that were shown.

        Args:
            path: of the HDF5 file.
            key: name of the array inside.
            names: stimulus id → name, of the stimuli that were shown.
            side: as in `PictureFiles.find`.
            background: as in the class.

        Raises:
            RecordingError: the file is missing or damaged, holds no such array, or has fewer pictures.
        """
        with reading(path, "HDF5 file of pictures"), h5py.File(path, "r") as file:
            array = file.get(key)
            if not isinstance(array, h5py.Dataset):
                raise RecordingError(f"{path} holds no array {key}; it holds {', '.join(file) or 'nothing'}")
            if array.ndim != 1 or h5py.check_vlen_dtype(array.dtype) != np.uint8:
                raise RecordingError(
                    f"{path}: {key} is {array.dtype} {array.shape}; expected the bytes of one picture file a row, as uint8 of "
                    "any length"
                )
            n = int(array.shape[0])
        if max(names) >= n:
            raise RecordingError(f"{path} holds {n} pictures, but trials show number {max(names)}, counted from 0")
        every = -(-len(names) // LOOKED_AT)
        looked = sorted(names)[::every]
        opened = cls(path, key, n, names, background, 0, ())
        sizes = Counter(_size_of(content, name) for content, name in opened._contents(looked))
        target, remarks = _target(sizes, side)
        if remarks and every > 1:
            remarks = (*remarks, f"This is told by {len(looked)} of {len(names):,} pictures, evenly spread.")
        return cls(path, key, n, names, background, target, remarks)

    def __call__(self, stimulus_ids: Int[np.ndarray, " n"]) -> Pictures:
        """Read pictures in the order asked for, (n, 3, side, side) in [0, 1].

        Raises:
            RecordingError: one cannot be read, or has no one meaning as RGB; names it.
        """
        out = np.empty((len(stimulus_ids), self.side, self.side, 3), np.uint8)
        for row, (content, name) in enumerate(self._contents(stimulus_ids.tolist())):
            try:
                out[row] = square(decode_picture(content, name, self.background), self.side)
            except RunError as error:
                raise RecordingError(str(error)) from error
        return from_uint8(out)

    def _contents(self, rows: Sequence[int]) -> list[tuple[bytes, str]]:
        """Read the bytes of pictures, each with what messages call it."""
        with reading(self.path, "HDF5 file of pictures"), h5py.File(self.path, "r") as file:
            array = file[self.key]
            return [
                (np.asarray(array[row]).tobytes(), f"{self.path}, row {row} ({self.names.get(row, 'not shown')})")
                for row in rows
            ]


def first_trials(trials: pd.DataFrame, where: object = None, by_run: bool = False) -> dict[int, str]:
    """Describe the first trial of each stimulus, for messages: stimulus id → "trials.csv: row 9, counted from 0,".

    Args:
        trials: of a recording; with the column `table_row` if `where` is given.
        where: table whose rows the trials are; None names the trial by its number.
        by_run: whether each run has a table of its own, below `where`.
    """
    first = trials.drop_duplicates("stimulus_id")
    ids = first["stimulus_id"].tolist()
    if where is None:
        return {number: f"trial {trial}, counted from 0," for number, trial in zip(ids, first["trial"], strict=True)}
    runs = [
        f" of the table of session {s}, run {r}," if by_run else ""
        for s, r in zip(first["session"], first["run"], strict=True)
    ]
    rows = zip(ids, first["table_row"], runs, strict=True)
    return {number: f"{where}: row {row}, counted from 0,{run}" for number, row, run in rows}


def list_pictures(folder: Path) -> dict[str, Path]:
    """Return the picture files of a folder and those below it: path below the folder → path."""
    found = {}
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(place) / name
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                found[path.relative_to(folder).as_posix()] = path
    return found


def shown_pictures(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Return the picture files below a folder whose name, with or without its suffix, is among `names`, as `list_pictures`."""
    wanted = {_composed(name) for path in names for name in (_parts(path)[-1], Path(_parts(path)[-1]).stem)}
    return {
        name: path
        for name, path in list_pictures(folder).items()
        if {_composed(path.name), _composed(path.stem)} & wanted
    }


LISTED = "the list of pictures"
NAMES_SHOWN = 3
"""Names of each side that a message shows where most pictures are not found."""


def _find_all(
    folder: Path | None, names: Mapping[int, str], files: Mapping[str, Path], trials_of: Mapping[int, str]
) -> dict[int, Path]:
    """Find the file of every stimulus.

    Args:
        folder: that is searched; None: a list of files.
        names: stimulus id → name.
        files: path below the folder, or below the folder that all listed files share → path.
        trials_of: stimulus id → its first trial, as `first_trials` describes it.
    """
    by_stem: dict[str, list[tuple[str, Path]]] = {}
    for end, path in files.items():
        for stem in {path.stem, path.name}:
            by_stem.setdefault(_composed(stem), []).append((_composed(end), path))
    found = {number: _find(folder, name, by_stem, trials_of[number]) for number, name in names.items()}
    missing = [number for number, path in found.items() if path is None]
    if not missing:
        return {number: path for number, path in found.items() if path is not None}
    first, place = missing[0], folder or LISTED
    said = f"{trials_of[first]} shows {names[first]!r}, but {place} holds no such picture"
    if len(missing) <= max(1, len(names) / 2):
        raise RecordingError(f"{said}: add it")
    shown, there = (", ".join([*some][:NAMES_SHOWN]) for some in (map(names.__getitem__, missing), files))
    raise RecordingError(
        f"{said}, nor those of most others: {len(missing)} of {len(names)} names are not found ({shown} …), and it holds "
        f"{there or 'none'}{' …' if len(files) > NAMES_SHOWN else ''}: write the names of files into the table, or give another "
        "folder"
    )


def _composed(text: str) -> str:
    """Return a text with composed accents (NFC): tables and file systems differ in how they store them."""
    return unicodedata.normalize("NFC", text)


def _parts(name: str) -> tuple[str, ...]:
    r"""Return the parts of a path that may have been written on Windows.

    >>> _parts(r"C:\stim\a.png"), _parts("stim/a.png")
    (('C:', 'stim', 'a.png'), ('stim', 'a.png'))
    """
    return PurePosixPath(name.replace("\\", "/")).parts or (name,)


def _find(folder: Path | None, name: str, by_stem: Mapping[str, Sequence[tuple[str, Path]]], trial: str) -> Path | None:
    """Find a stimulus: None if no file has its name; raise RecordingError if several have."""
    if folder is not None and (folder / name).is_file():
        return folder / name
    *above, last = _parts(_composed(name))
    stem = Path(last).stem if Path(last).suffix.lower() in SUFFIXES else last
    for wanted in dict.fromkeys((last, stem)):  # first the very suffix, then any
        found = [
            path
            for end, path in by_stem.get(wanted, ())
            if _is_tail(above, _parts(end)[:-1]) and (wanted == last or _composed(path.stem) == stem)
        ]
        if len(found) > 1:
            shown = ", ".join(str(path.relative_to(folder) if folder else path) for path in found[:2])
            raise RecordingError(
                f"{trial} shows {name!r}, but {folder or LISTED} holds several pictures of that name "
                f"({shown}): write their paths into the table"
            )
        if found:
            return found[0]
    return None


def _is_tail(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether the shorter path of folders is the end of the longer one."""
    n = min(len(one), len(other))
    return not n or tuple(one[-n:]) == tuple(other[-n:])


def _target_of_files(paths: Iterable[Path], side: int | None) -> tuple[int, tuple[str, ...]]:
    """Choose the side of all pictures, as `_target`, which names the smallest file."""
    sizes = {path: _size(path) for path in paths}
    return _target(Counter(sizes.values()), side, min(sizes, key=lambda path: min(sizes[path])).name)


def _size(path: Path) -> tuple[int, int]:
    try:
        return size_of_picture(path)
    except RunError as error:
        raise RecordingError(str(error)) from error


def _size_of(content: bytes, name: str) -> tuple[int, int]:
    try:
        return size_of_encoded(content, name)
    except RunError as error:
        raise RecordingError(str(error)) from error


def _target(sizes: Mapping[tuple[int, int], int], side: int | None, smallest: str = "") -> tuple[int, tuple[str, ...]]:
    """Choose the side of all pictures from their sizes (height, width), and say what is changed, by which smallest picture."""
    shortest = min(min(size) for size in sizes)
    if shortest < SMALLEST_SIDE:
        raise RecordingError(
            f"{smallest or 'a picture'} is {shortest} pixels wide or high; expected {SMALLEST_SIDE} or more, which SSIM takes"
        )
    target = side or min(shortest, LARGEST_SIDE)
    said = []
    if any(height != width for height, width in sizes):
        n = sum(count for (height, width), count in sizes.items() if height != width)
        said.append(f"{n:,} of {sum(sizes.values()):,} pictures are not square: the middle square of each is taken.")
    if any(min(size) != target for size in sizes):
        low, high = min(map(min, sizes)), max(map(min, sizes))
        before = f"{low} pixels a side" if low == high else f"{low} to {high} pixels on their shorter side"
        named = f" (the smallest is {smallest})" if smallest and low < high else ""
        said.append(f"Pictures of {before} are resized to {target}{named}.")
    return target, tuple(said)
