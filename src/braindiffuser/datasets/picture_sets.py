"""Pictures as labs have them: folders of files of any size, or arrays; cropped to squares of one size, and said so."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np
import pandas as pd
from jaxtyping import Int, UInt8
from PIL import Image

from braindiffuser.arrays import Pictures
from braindiffuser.datasets.array_files import ArrayFile, Rows
from braindiffuser.datasets.picture_faults import Fault, PictureFaults
from braindiffuser.datasets.picture_names import composed, is_tail, path_parts, without_suffix
from braindiffuser.datasets.reading import reading
from braindiffuser.errors import RecordingError
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
            RecordingError: the folder is missing.
            RefusedPicturesError: pictures are missing, names fit several files, two fit one, or files are no pictures; names all.
        """
        if not folder.is_dir():
            raise RecordingError(f"{folder} is no folder; expected the folder of the pictures that were shown")
        return cls._found(folder, names, list_pictures(folder), trials_of, side)

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
            RecordingError: names are numbers, and fewer files are listed.
            RefusedPicturesError: as in `find`.
        """
        known = {end for path in files for end in (path.name, path.stem)}
        if all(name.isdecimal() for name in names.values()) and not known & set(names.values()):
            last = max(map(int, names.values()))
            if last >= len(files):
                raise RecordingError(
                    f"pictures lists {len(files)} files, but trials show number {last}, counted from 0"
                )
            return cls._checked({number: files[int(name)] for number, name in names.items()}, names, LISTED, side, [])
        shared = os.path.commonpath([path.absolute().parent for path in files]) if files else ""
        ends = {path.absolute().relative_to(shared).as_posix(): path for path in files}
        return cls._found(None, names, ends, trials_of, side)

    @classmethod
    def _found(
        cls,
        folder: Path | None,
        names: Mapping[int, str],
        files: Mapping[str, Path],
        trials_of: Mapping[int, str],
        side: int | None,
    ) -> PictureFiles:
        paths, faults = _find_all(folder, names, files, trials_of)
        return cls._checked(paths, names, folder or LISTED, side, faults)

    @classmethod
    def _checked(
        cls, paths: dict[int, Path], names: Mapping[int, str], where: object, side: int | None, lacking: list[Fault]
    ) -> PictureFiles:
        """Read the sizes of the pictures that were found, and refuse all that cannot be taken in one message."""
        faults = PictureFaults()
        faults.found += [*lacking, *_shared(names, {number: path.resolve() for number, path in paths.items()}, where)]
        sizes = _sizes({path: path for path in paths.values()}, lambda path, _: size_of_picture(path), faults)
        faults.found += [_too_small(path.name, min(size)) for path, size in sizes.items() if min(size) < SMALLEST_SIDE]
        faults.refuse(len(names))
        smallest = min(sizes, key=lambda path: min(sizes[path])).name
        return cls(paths, *_target(Counter(sizes.values()), side, smallest))

    def __call__(self, stimulus_ids: Int[np.ndarray, " n"]) -> Pictures:
        """Read pictures in the order asked for, (n, 3, side, side) in [0, 1].

        Raises:
            RefusedPicturesError: some cannot be read, or have no one meaning as RGB; names all of them.
        """
        out, faults = np.empty((len(stimulus_ids), self.side, self.side, 3), np.uint8), PictureFaults()
        for row, number in enumerate(stimulus_ids):
            path = self.paths[int(number)]
            with faults.collecting(path):
                out[row] = square(read_picture(path), self.side)
        faults.refuse(len(out))
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
            RecordingError: the file cannot be read.
        """
        rows = np.array([self.row_of[int(number)] for number in stimulus_ids], dtype=np.int64)
        raw = self.array.rows(rows)
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
    rows, faults = {number: int(name) for number, name in names.items()}, PictureFaults()
    faults.found += _shared(names, rows, entry)
    faults.refuse(len(names))
    return rows


def _shared(names: Mapping[int, str], places: Mapping[int, Hashable], where: object) -> list[Fault]:
    """List the names that stand for the picture of an earlier name, which thus could train and test."""
    first: dict[Hashable, str] = {}
    faults = []
    for number, place in places.items():
        other = first.setdefault(place, names[number])
        if other != names[number]:
            pair = f"{other!r} and {names[number]!r}"
            faults.append(Fault.of(pair, f"{pair} are one picture of {where}: write one name for it"))
    return faults


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
            RefusedPicturesError: some of those that are looked at are no pictures; names them.
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
        contents, faults = {name: content for content, name in opened._contents(looked)}, PictureFaults()
        sizes = _sizes(contents, size_of_encoded, faults)
        faults.refuse(len(contents))
        target, remarks = _target(Counter(sizes.values()), side)
        if remarks and every > 1:
            remarks = (*remarks, f"This is told by {len(looked)} of {len(names):,} pictures, evenly spread.")
        return cls(path, key, n, names, background, target, remarks)

    def __call__(self, stimulus_ids: Int[np.ndarray, " n"]) -> Pictures:
        """Read pictures in the order asked for, (n, 3, side, side) in [0, 1].

        Raises:
            RefusedPicturesError: some cannot be read, or have no one meaning as RGB; names all of them.
        """
        out, faults = np.empty((len(stimulus_ids), self.side, self.side, 3), np.uint8), PictureFaults()
        for row, (content, name) in enumerate(self._contents(stimulus_ids.tolist())):
            with faults.collecting(name):
                out[row] = square(decode_picture(content, name, self.background), self.side)
        faults.refuse(len(out))
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
    wanted = {composed(name) for path in names for name in (path_parts(path)[-1], Path(path_parts(path)[-1]).stem)}
    return {
        name: path
        for name, path in list_pictures(folder).items()
        if {composed(path.name), composed(path.stem)} & wanted
    }


LISTED = "the list of pictures"
NAMES_SHOWN = 3
"""Names of each side that a message shows where most pictures are not found."""


def _find_all(
    folder: Path | None, names: Mapping[int, str], files: Mapping[str, Path], trials_of: Mapping[int, str]
) -> tuple[dict[int, Path], list[Fault]]:
    """Find the file of every stimulus, and list those that have none, or several.

    Args:
        folder: that is searched; None: a list of files.
        names: stimulus id → name.
        files: path below the folder, or below the folder that all listed files share → path.
        trials_of: stimulus id → its first trial, as `first_trials` describes it.
    """
    by_stem: dict[str, list[tuple[str, Path]]] = {}
    for end, path in files.items():
        for stem in {path.stem, path.name}:
            by_stem.setdefault(composed(stem), []).append((composed(end), path))
    place, paths, missing, faults = folder or LISTED, dict[int, Path](), list[int](), list[Fault]()
    for number, name in names.items():
        found = _find(folder, name, by_stem)
        if len(found) == 1:
            paths[number] = found[0]
        elif found:
            shown = ", ".join(str(path.relative_to(folder) if folder else path) for path in found[:2])
            said = f"{place} holds several pictures of that name ({shown}): write their paths into the table"
            faults.append(_of_trial(trials_of[number], name, said, "several"))
        else:
            missing.append(number)
    return paths, [*_missing(missing, names, place, files, trials_of), *faults]


def _missing(
    missing: Sequence[int],
    names: Mapping[int, str],
    place: object,
    files: Mapping[str, Path],
    trials_of: Mapping[int, str],
) -> list[Fault]:
    """Return a fault for each name that is not found; if these are most, one that shows names of both sides."""
    said = f"{place} holds no such picture"
    if len(missing) <= max(1, len(names) / 2):
        return [_of_trial(trials_of[number], names[number], f"{said}: add it", "missing") for number in missing]
    shown, there = (", ".join([*some][:NAMES_SHOWN]) for some in (map(names.__getitem__, missing), files))
    said += (
        f", nor those of most others: {len(missing)} of {len(names)} names are not found ({shown} …), and it holds "
        f"{there or 'none'}{' …' if len(files) > NAMES_SHOWN else ''}: write the names of files into the table, or give another "
        "folder"
    )
    return [_of_trial(trials_of[missing[0]], names[missing[0]], said, "missing", len(missing))]


def _of_trial(trial: str, name: str, said: str, kind: str, n: int = 1) -> Fault:
    return Fault(f"{name!r} of {trial.rstrip(',')}", f"{trial} shows {name!r}, but {said}", kind, n)


def _find(folder: Path | None, name: str, by_stem: Mapping[str, Sequence[tuple[str, Path]]]) -> list[Path]:
    """Find the files that have the name of a stimulus."""
    if folder is not None and (folder / name).is_file():
        return [folder / name]
    *above, last = path_parts(composed(name))
    stem = without_suffix(last)
    for wanted in dict.fromkeys((last, stem)):  # first the very suffix, then any
        found = [
            path
            for end, path in by_stem.get(wanted, ())
            if is_tail(above, path_parts(end)[:-1]) and (wanted == last or composed(path.stem) == stem)
        ]
        if found:
            return found
    return []


Place = TypeVar("Place", bound=Hashable)
Content = TypeVar("Content")


def _sizes(
    contents: Mapping[Place, Content], size_of: Callable[[Content, Place], tuple[int, int]], faults: PictureFaults
) -> dict[Place, tuple[int, int]]:
    """Read the (height, width) of pictures, and take note of those that have none."""
    sizes = {}
    for name, content in contents.items():
        with faults.collecting(name):
            sizes[name] = size_of(content, name)
    return sizes


def _too_small(name: str, side: int) -> Fault:
    said = f"is {side} pixels wide or high; expected {SMALLEST_SIDE} or more, which SSIM takes"
    return Fault.of(name, f"{name} {said}")


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
