"""What scores are computed of: folders and stacks of pictures, which of them are partners, and what is said of that."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from braindiffuser.errors import RunError
from braindiffuser.images import PictureReader, to_uint8
from braindiffuser.paired_pictures.opened_pictures import decode_once
from braindiffuser.paired_pictures.paired_names import (
    NamedPictures,
    SmallPicture,
    find_shift,
    list_pictures,
    made_small,
    match_names,
)
from braindiffuser.picture_files import RawPicture, read_picture
from braindiffuser.picture_stacks import Stack, is_stack, open_stack, split_key

ROOM = 2**31
"""Bytes that decoded pictures of all folders may take in temporary files; further ones are decoded each time."""


@dataclass(frozen=True, eq=False)
class PictureInput:
    """A folder of pictures, or a stack.

    Attributes:
        label: how messages call it.
        place: its folder or file.
        content: the pictures of a folder by name, or those of a stack in order.
    """

    label: str
    place: Path
    content: NamedPictures | Stack

    @classmethod
    def open(cls, entry: str | Path) -> PictureInput:
        """List the pictures of a folder, or open a stack.

        Raises:
            RunError: it is neither, or cannot be read.
        """
        if is_stack(str(entry)):
            stack = open_stack(str(entry))
            return cls(f"{stack.path}:{stack.key}" if stack.key else str(stack.path), stack.path, stack)
        path, key = Path(entry), split_key(str(entry))[1]
        if path.is_file():
            raise RunError(
                f"{path} is a file, expected a folder of pictures, or a stack in a file whose ending is known (.npy, .npz, .pt, "
                ".zarr, .h5)"
            )
        if key:
            raise RunError(f"{entry} names an array in a folder of pictures: name the folder alone")
        return cls(str(path), path, list_pictures(path))

    @property
    def folder(self) -> NamedPictures | None:
        """The pictures by name, if it is a folder."""
        return None if isinstance(self.content, Stack) else self.content

    @property
    def stack(self) -> Stack | None:
        """The pictures in order, if it is a stack."""
        return self.content if isinstance(self.content, Stack) else None

    @property
    def names(self) -> list[str]:
        """Names in the form in which they are compared, in the order of the files' names; of a stack, numbers from 0."""
        if self.folder is None:
            return [str(number) for number in range(len(self))]
        return [key for key, _ in sorted(self.folder.files.items(), key=lambda item: item[1].stem)]

    def shown(self, name: str) -> str:
        """Return a name as it is written."""
        return name if self.folder is None else self.folder.files[name].stem

    def picture(self, name: str) -> RawPicture:
        """Read one picture (height, width, 3), 8-bit RGB; that of a stack is rounded to 8 bits.

        Raises:
            RunError: its file cannot be read.
        """
        if not isinstance(self.content, Stack):
            return read_picture(self.content.files[name])
        made: RawPicture = to_uint8(self.content.pictures.take(np.array([int(name)]))[:])[0]
        return made

    def without(self, names: Sequence[str]) -> list[str]:
        """Return the names of all other pictures, as they are written."""
        taken = set(names)
        return [self.shown(name) for name in self.names if name not in taken]

    def is_same_as(self, other: PictureInput) -> bool:
        """Return whether both are one folder, or one array of one file."""
        keys = [each.stack.key if each.stack else "" for each in (self, other)]
        return keys[0] == keys[1] and self.place.samefile(other.place)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.content.pictures if isinstance(self.content, Stack) else self.content.files)


@dataclass(frozen=True, eq=False)
class Partners:
    """Pictures that all inputs have.

    Attributes:
        names: of the pictures, as the stimuli's files are called; of a stack of stimuli, numbers from 0.
        pictures: the stimuli's pictures, in this order.
        made: name of each method → its pictures, in the same order.
        labels: name of each method → how messages call its folder or file.
        unmatched: label of each input → names of those pictures that are left out.
        remarks: sentences on what was assumed.
    """

    names: list[str]
    pictures: PictureReader
    made: Mapping[str, PictureReader]
    labels: Mapping[str, str]
    unmatched: Mapping[str, list[str]]
    remarks: list[str]


def find_partners(seen: PictureInput, methods: Sequence[PictureInput]) -> Partners:
    """Find the pictures that the stimuli and all methods have.

    Two folders are paired by names, as `match_names` does. A stack has no names: it must hold as many pictures as there are
    stimuli, in their order; that of a folder is the order of its names.

    Args:
        seen: the stimuli.
        methods: reconstructions by one method or several.

    Raises:
        RunError: an input is given twice, a stack has another number of pictures, the order of a folder's names is not clear,
            names do not match, or fewer than two pictures are in all inputs.
    """
    refuse_twice(methods)
    partners = [partners_of(seen, method) for method in methods]
    shared = [name for name in seen.names if all(name in own for own in partners)]
    if len(shared) < 2:
        held = "; ".join(
            f"{method.label} has {len(own)} of them" for method, own in zip(methods, partners, strict=True)
        )
        raise RunError(
            f"of {len(seen)} pictures of {seen.label}, {len(shared)} are in all methods, and scores need two or more: {held}"
        )
    n_folders = sum(each.folder is not None for each in (seen, *methods))
    room, small = ROOM // max(1, n_folders), dict[Path, SmallPicture]()
    chosen = {seen.label: (seen, shared)}
    chosen |= {
        method.label: (method, [own[name] for name in shared]) for method, own in zip(methods, partners, strict=True)
    }
    opened = {label: _read(each, taken, room, small) for label, (each, taken) in chosen.items()}
    remarks = [remark for each in (seen, *methods) for remark in (each.stack.remarks if each.stack else ())]
    for method in methods:
        remarks += order_remarks(seen, method, small)
    labels = dict(
        zip(distinct_names([method.label for method in methods]), (each.label for each in methods), strict=True)
    )
    return Partners(
        names=[seen.shown(name) for name in shared],
        pictures=opened[seen.label],
        made={name: opened[label] for name, label in labels.items()},
        labels=labels,
        unmatched={label: each.without(taken) for label, (each, taken) in chosen.items()},
        remarks=remarks,
    )


def refuse_twice(methods: Sequence[PictureInput]) -> None:
    """Raise RunError if two methods are one folder, or one array of one file."""
    for place, method in enumerate(methods):
        for other in methods[:place]:
            if method.is_same_as(other):
                raise RunError(f"{method.label} and {other.label} are the same pictures: name each method once")


def partners_of(seen: PictureInput, method: PictureInput) -> dict[str, str]:
    """Return the name of each stimulus → that of its reconstruction, by names or by order as `find_partners` says.

    Raises:
        RunError: as `find_partners`, for one method.
    """
    if seen.folder is not None and method.folder is not None:
        match_names(seen.folder, method.folder)
        return {name: name for name in seen.names if name in method.folder.files}
    if len(seen) != len(method):
        raise RunError(
            f"{seen.label} holds {len(seen):,} pictures, and {method.label} {len(method):,}: a stack has no names, so both need "
            "the same number, in the same order"
        )
    for each in (seen, method):
        if each.folder is not None:
            _refuse_unclear_order(each.label, [each.shown(name) for name in each.names])
    return dict(zip(seen.names, method.names, strict=True))


def order_remarks(seen: PictureInput, method: PictureInput, small: Mapping[Path, SmallPicture]) -> list[str]:
    """Say in which order pictures without names are taken, and whether numbers in names count from elsewhere in one folder.

    Args:
        seen: the stimuli.
        method: reconstructions of them.
        small: pictures of folders that `made_small` was given already.
    """
    if seen.folder is not None and method.folder is not None:
        return find_shift(seen.folder, method.folder, small)
    return [
        f"pictures of {stack.label} have no names, and are taken in the order of the names of {folder.label}: the first for "
        f"{folder.shown(folder.names[0])}, the last for {folder.shown(folder.names[-1])}"
        for folder, stack in ((seen, method), (method, seen))
        if folder.folder is not None
    ]


def _refuse_unclear_order(label: str, names: Sequence[str]) -> None:
    """Raise RunError if names have another order where numbers in them are read as numbers, as 10 comes before 2."""
    counted = sorted(names, key=lambda name: [(not word.isdecimal(), int(word) if word.isdecimal() else word)
                                              for word in re.split(r"(\d+)", name) if word])  # fmt: skip
    for name, other in zip(names, counted, strict=True):
        if name != other:
            raise RunError(
                f"pictures of a stack are taken in the order of names, but that of {label} is not clear: as words, {name} comes "
                f"before {other}, and as numbers after it: give numbers the same length, as in 0002 and 0010"
            )


def _read(of: PictureInput, names: Sequence[str], room: int, small: dict[Path, SmallPicture]) -> PictureReader:
    """Open pictures; what `made_small` makes of those of a folder goes into `small`."""

    def note(path: Path, raw: RawPicture) -> None:
        small[path] = made_small(raw)

    if isinstance(of.content, Stack):
        return of.content.pictures.take(np.array([int(name) for name in names]))
    files = of.content.files
    return decode_once([files[name] for name in names], room, note)


def distinct_names(labels: Sequence[str]) -> list[str]:
    """Name methods by the ends of their paths, as long as it takes to tell them apart.

    >>> distinct_names(["runs/mine", "lab/other.npy"]), distinct_names(["a/final", "b/final"])
    (['mine', 'other'], ['a/final', 'b/final'])
    >>> distinct_names(["made.h5:a", "made.h5:b"])
    ['made:a', 'made:b']
    """
    split = [split_key(label) for label in labels]
    stems = [path.stem if is_stack(label) else path.name for label, (path, _) in zip(labels, split, strict=True)]
    keyed = [f"{stem}:{key}" if key else stem for stem, (_, key) in zip(stems, split, strict=True)]
    parts = [Path(label).parts for label in labels]
    longer = (["/".join(own[-length:]) for own in parts] for length in range(2, max(map(len, parts)) + 1))
    for names in (stems, keyed, *longer):
        if len(set(names)) == len(names) and all(names):
            return names
    return list(labels)
