"""Label volumes, such as atlases: their labels are regions that are read when they are named, and cost nothing else.

A region is named by volume and label (`Kastner2015:V1v`, `streams:5`), by the volume alone (all its labels ≥ 1), or by the label
alone where one volume has it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from braindiffuser.datasets.region_names import alike, own_name, plain
from braindiffuser.datasets.rois import read_label_table
from braindiffuser.datasets.tables import read_table
from braindiffuser.datasets.volumes import check_grid, read_labels, value_doubts
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError

WITHIN = ":"
"""Stands between a volume and its label."""
LARGEST = np.iinfo(np.int32).max
"""Number of a label, at most."""
TABLES = (".ctab", ".mgz.ctab", ".tsv")
"""Ends of the names of tables of labels, beside a volume."""
TABLE_EXAMPLE = "index\tname\n1\tV1\n2\tV2"
HEMISPHERES = ("lh.", "rh.")
"""Beginnings of the names of volumes of one hemisphere, whose labels have the names of both."""


@dataclass(frozen=True, eq=False)
class LabelVolume:
    """A volume of whole numbers on the grid of the analysis mask; nothing is read before it is asked for.

    Attributes:
        path: NIfTI file.
        voxels: the analysed voxels.
        mask_path: file of the analysis mask, for messages.
        table: names of the labels (.ctab of FreeSurfer, or .tsv with index and name), if there is one.
        built_in: number → name, where there is no table.
    """

    path: Path
    voxels: Voxels
    mask_path: object
    table: Path | None = None
    built_in: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def numbers(self) -> dict[str, tuple[int, ...]]:
        """Name of a label → its numbers, by table; {} without names. Two numbers of one name are one region."""
        names = self.built_in if self.table is None else read_names(self.table)
        found: dict[str, tuple[int, ...]] = {}
        for number, name in names.items():
            found[name] = (*found.get(name, ()), number)
        return found

    @cached_property
    def _labels(self) -> tuple[set[int], Int[np.ndarray, " n_voxels"]]:
        """Return all labels ≥ 1 of the volume, and the labels of the analysed voxels."""
        if self.voxels.mask is None:
            raise RecordingError(
                f"{self.path} holds labels, but no mask says where voxels lie: write mask: FILE, or leave it out"
            )
        labels, affine = read_labels(self.path)
        check_grid(self.path, labels.shape, affine, self.mask_path, self.voxels.mask.shape, self.voxels.affine)
        return {int(number) for number in np.unique(labels[labels > 0])}, labels[self.voxels.mask]

    def find(self, written: str) -> list[str]:
        """Return the labels that a written name or number may mean, as `mask` takes them; reads the volume only for numbers."""
        found = alike(written, self.numbers)
        if found or not written.isdecimal() or len(written) > len(str(LARGEST)):
            return found
        number = int(written)
        named = [name for name, own in self.numbers.items() if number in own]
        return named or ([str(number)] if number in self._labels[0] else [])

    @property
    def doubts(self) -> tuple[str, ...]:
        """Say which labels of the volume its table does not name, such as percent; () without a table."""
        named = {number for own in self.numbers.values() for number in own}
        return value_doubts(self._labels[1], self.path, named) if named else ()

    def mask(self, label: str | None = None) -> Bool[np.ndarray, " n_voxels"]:
        """Return the voxels of a label, or of all labels ≥ 1.

        Raises:
            RecordingError: the file is missing or damaged, holds fractions, or lies on another grid.
        """
        labels = self._labels[1]
        if label is None:
            return labels > 0
        inside: Bool[np.ndarray, " n_voxels"] = np.isin(labels, self.numbers.get(label) or (int(label),))
        return inside


@dataclass(frozen=True, eq=False)
class LabelVolumes:
    """Label volumes by name.

    Attributes:
        volumes: name → volume.
        first: volumes whose labels come first where a label is named alone, such as a person's own regions before an atlas.
        chosen: which of the analysed voxels masks are of; None: all.
    """

    volumes: Mapping[str, LabelVolume] = field(default_factory=dict)
    first: Collection[str] = ()
    chosen: Bool[np.ndarray, " n_analysed"] | None = None

    def find(self, written: str) -> list[str]:
        """Return the regions that a written name may mean, `VOLUME` or `VOLUME:LABEL`; several if it is ambiguous."""
        if found := alike(written, self.volumes):
            return found
        for place in (match.start() for match in re.finditer(WITHIN, written)):
            title = own_name(written[:place].strip(), self.volumes)
            if title is not None:
                labels = self.volumes[title].find(written[place + 1 :].strip())
                return [f"{title}{WITHIN}{label}" for label in labels]
        return [] if plain(written).isdecimal() else self._by_label(written)

    @cached_property
    def _by_spelling(self) -> list[dict[str, list[str]]]:
        """Label as written, and in plain spelling → regions, of `first` volumes, then of all others; not of one hemisphere."""
        groups = [[title for title in self.titles if (title in self.first) == is_first] for is_first in (True, False)]
        found: list[dict[str, list[str]]] = []
        for titles in groups:
            for spelled in (str, plain):
                names: dict[str, list[str]] = {}
                for title in titles:
                    for label in self._numbers_of(title):
                        names.setdefault(spelled(label), []).append(f"{title}{WITHIN}{label}")
                found.append(names)
        return found

    def _by_label(self, written: str) -> list[str]:
        """Find a label that is named without its volume; labels of one hemisphere are not meant."""
        first, first_plain, others, others_plain = self._by_spelling
        spelled = plain(written)
        return first.get(written) or first_plain.get(spelled) or others.get(written) or others_plain.get(spelled) or []

    def _numbers_of(self, title: str) -> Mapping[str, tuple[int, ...]]:
        """Return the labels of a volume that have names; none of a damaged table, which is said if the volume is named."""
        try:
            return self.volumes[title].numbers
        except RecordingError:
            return {}

    def _title_of(self, name: str) -> str:
        return next(title for title in self.volumes if name == title or name.startswith(f"{title}{WITHIN}"))

    def mask(self, name: str) -> Bool[np.ndarray, " n_voxels"]:
        """Return a region that `find` returned; errors as `LabelVolume.mask`."""
        title = self._title_of(name)
        inside = self.volumes[title].mask(name[len(title) + 1 :] or None)
        return inside if self.chosen is None else inside[self.chosen]

    def doubts(self, name: str) -> tuple[str, ...]:
        """Say what is odd of the volume of a region that `find` returned."""
        return self.volumes[self._title_of(name)].doubts

    @property
    def titles(self) -> list[str]:
        """Names of the volumes, without those of one hemisphere."""
        return [title for title in self.volumes if not title.startswith(HEMISPHERES)]

    def labels_of(self, title: str) -> list[str]:
        """Return the names of a volume's labels by its table, in its order; [] without one, or of a damaged one."""
        return list(self._numbers_of(title))

    def names(self) -> list[str]:
        """Return the names of volumes and of labels that have names, for messages; reads tables alone."""
        return [
            name
            for title in self.titles
            for name in (title, *(f"{title}{WITHIN}{own}" for own in self._numbers_of(title)))
        ]

    @cached_property
    def signs(self) -> set[str]:
        """All characters in names of volumes and labels; reads tables alone."""
        return {sign for title in self.volumes for name in (title, *self._numbers_of(title)) for sign in name}

    def and_also(self, others: Mapping[str, LabelVolume]) -> LabelVolumes:
        """Return these volumes and others, which come first where names are the same."""
        return replace(self, volumes={**self.volumes, **others}, first=(*self.first, *others))

    def within(self, chosen: Bool[np.ndarray, " n_analysed"]) -> LabelVolumes:
        """Return the same volumes with masks of some of the analysed voxels."""
        return replace(self, chosen=chosen)


def read_names(path: Path) -> dict[int, str]:
    """Read number → name of the labels above 0 in a table.

    Args:
        path: `.ctab` of FreeSurfer (`number name …`, separated by whitespace), or `.tsv` with the columns index and name.

    Raises:
        RecordingError: it is damaged, lacks a column, gives a number twice, or one that no volume holds.
    """
    names = _read_tsv(path) if path.suffix == ".tsv" else read_label_table(path)
    if names and max(names) > LARGEST:
        raise RecordingError(
            f"{path} has the index {max(names)!s:.20}, and a label is {LARGEST:,} at most: write the numbers that the volume "
            "holds"
        )
    return names


def _read_tsv(path: Path) -> dict[int, str]:
    from braindiffuser.datasets.trial_tables import whole_numbers

    table = read_table(path, ["index", "name"], TABLE_EXAMPLE).dropna(subset=["index", "name"])
    numbers, names = whole_numbers(table, "index", path).tolist(), table["name"].astype(str).tolist()
    twice = sorted({number for number in numbers if numbers.count(number) > 1})
    if twice:
        raise RecordingError(f"{path} has two rows with the index {twice[0]}: write one for each label")
    return {number: name for number, name in zip(numbers, names, strict=True) if number > 0}


def table_beside(path: Path) -> Path | None:
    """Return the table of labels beside a volume `NAME.nii.gz`: `NAME.ctab`, `NAME.mgz.ctab` or `NAME.tsv`; None without one."""
    stem = re.sub(r"\.nii(\.gz)?$", "", path.name)
    return next((found for end in TABLES if (found := path.with_name(f"{stem}{end}")).is_file()), None)
