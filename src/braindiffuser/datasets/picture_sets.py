"""Pictures as labs have them: folders of files of any size, or arrays; cropped to squares of one size, and said so."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
from braindiffuser.picture_files import decode_picture, read_picture, size_of_encoded, size_of_picture

LARGEST_SIDE = 512
"""Pixels a side that pictures are resized to at most: what the published diffusion model draws."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")


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
        cls, folder: Path, names: Mapping[int, str], trials_of: Mapping[int, int], side: int | None
    ) -> PictureFiles:
        """Find the file of every stimulus, and read all sizes.

        A name is a path below the folder, or, where only one file has it, the end of one, with or without its suffix.

        Args:
            folder: of the pictures.
            names: stimulus id → name.
            trials_of: stimulus id → its first trial, counted from 0, for messages.
            side: pixels a side; None takes the shortest side of all pictures, at most LARGEST_SIDE.

        Raises:
            RecordingError: the folder or a picture is missing, a name fits several files, or a picture cannot be read.
        """
        if not folder.is_dir():
            raise RecordingError(f"{folder} is no folder; expected the folder of the pictures that were shown")
        by_end = _files_by_end(folder)
        paths = {number: _find(folder, name, by_end, trials_of[number]) for number, name in names.items()}
        _refuse_shared(names, {number: path.resolve() for number, path in paths.items()}, folder)
        sizes = Counter(_size(path) for path in paths.values())
        return cls(paths, *_target(sizes, side))

    @classmethod
    def listed(
        cls, files: Sequence[Path], names: Mapping[int, str], trials_of: Mapping[int, int], side: int | None
    ) -> PictureFiles:
        """Find every stimulus in a list of files: by the file's name, or, if all names are numbers, by its place from 0.

        Args:
            files: of the pictures.
            names: stimulus id → name of a file with or without its suffix, or the end of its path.
            trials_of: as in `find`.
            side: as in `find`.

        Raises:
            RecordingError: a picture is not listed, listed several times by one name, or cannot be read.
        """
        by_end = _by_ends(files)
        if all(name.isdecimal() for name in names.values()) and not by_end.keys() & set(names.values()):
            last = max(map(int, names.values()))
            if last >= len(files):
                raise RecordingError(
                    f"pictures lists {len(files)} files, but trials show number {last}, counted from 0"
                )
            paths = {number: files[int(name)] for number, name in names.items()}
        else:
            paths = {number: _find(None, name, by_end, trials_of[number]) for number, name in names.items()}
        return cls(paths, *_target(Counter(_size(path) for path in paths.values()), side))

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
        height, width = array.shape[1:3]
        return cls(array, row_of, *_target(Counter({(height, width): len(row_of)}), side))

    def __call__(self, stimulus_ids: Int[np.ndarray, " n"]) -> Pictures:
        """Read pictures in the order asked for, (n, 3, side, side) in [0, 1]."""
        raw = self.array.rows(np.array([self.row_of[int(number)] for number in stimulus_ids], dtype=np.int64))
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


def first_trials(trials: pd.DataFrame) -> dict[int, int]:
    """Return stimulus id → its first trial, counted from 0."""
    first = trials.drop_duplicates("stimulus_id")
    return dict(zip(first["stimulus_id"].tolist(), first["trial"].tolist(), strict=True))


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
    wanted = {name for path in names for name in (Path(path).name, Path(path).stem)}
    return {name: path for name, path in list_pictures(folder).items() if {path.name, path.stem} & wanted}


def _files_by_end(folder: Path) -> dict[str, list[Path]]:
    """Return the picture files of a folder and those below it, by their names with and without suffix."""
    return _by_ends(list_pictures(folder).values())


def _by_ends(files: Iterable[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in files:
        for end in (path.name, path.stem):
            found.setdefault(end, []).append(path)
    return found


def _find(folder: Path | None, name: str, by_end: Mapping[str, Sequence[Path]], trial: int) -> Path:
    """Find a stimulus in a folder, or, if that is None, in a list of files."""
    if folder is not None and (folder / name).is_file():
        return folder / name
    found = [other for other in by_end.get(Path(name).name, ()) if f"/{other.as_posix()}".endswith(f"/{name}")]
    stems = [
        other for other in by_end.get(Path(name).name, ()) if other.with_suffix("").as_posix().endswith(f"/{name}")
    ]
    candidates, place = list(dict.fromkeys([*found, *stems])), folder or "the list of pictures"
    if len(candidates) > 1:
        shown = ", ".join(str(path.relative_to(folder) if folder else path) for path in candidates[:2])
        raise RecordingError(
            f"trial {trial}, counted from 0, shows {name!r}, but {place} holds several pictures of that name ({shown}): write "
            "their paths into the table"
        )
    if not candidates:
        raise RecordingError(
            f"trial {trial}, counted from 0, shows {name!r}, but {place} holds no such picture: add it, or leave its trials out"
        )
    return candidates[0]


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


def _target(sizes: Mapping[tuple[int, int], int], side: int | None) -> tuple[int, tuple[str, ...]]:
    """Choose the side of all pictures from their sizes (height, width), and say what is changed."""
    shortest = min(min(size) for size in sizes)
    if shortest < SMALLEST_SIDE:
        raise RecordingError(
            f"a picture is {shortest} pixels wide or high; expected {SMALLEST_SIDE} or more, which SSIM takes"
        )
    target = side or min(shortest, LARGEST_SIDE)
    said = []
    if any(height != width for height, width in sizes):
        n = sum(count for (height, width), count in sizes.items() if height != width)
        said.append(f"{n:,} of {sum(sizes.values()):,} pictures are not square: the middle square of each is taken.")
    if any(min(size) != target for size in sizes):
        low, high = min(map(min, sizes)), max(map(min, sizes))
        before = f"{low} pixels a side" if low == high else f"{low} to {high} pixels on their shorter side"
        said.append(f"Pictures of {before} are resized to {target}.")
    return target, tuple(said)
