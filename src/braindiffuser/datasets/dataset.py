"""Datasets: where a recording comes from and how it is read. One file is one kind."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, WithJsonSchema

from braindiffuser.errors import RecordingError
from braindiffuser.part import FolderPath, Part, runtime
from braindiffuser.paths import absolute
from braindiffuser.progress import Progress

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording

ROLES = ("design", "regions", "betas", "stimuli", "captions", "maps")
"""Roles of a recording's files: design (which trial showed what), regions (masks and ROIs), betas, stimuli (pictures),
captions, maps (label volumes and maps of numbers that are read only if an expression of regions names them)."""

Unit = Literal["percent", "z", "raw"]
"""Unit of betas. `percent`: percent signal change; `z`: z-scored by whoever made them; `raw`: any other."""

Folder = Annotated[FolderPath, AfterValidator(absolute)]
"""Folder; a relative path becomes absolute on reading, from the folder of the file that names it."""
File = Folder
"""Path of a file; a relative one becomes absolute, as `Folder`."""
ArrayEntry = Annotated[str, AfterValidator(lambda entry: str(absolute(entry)))]
"""Array in a file, `file` or `file:key`; likewise."""


def _is_file(mask: str) -> bool:
    return mask.endswith((".nii", ".nii.gz"))


MaskEntry = Annotated[str, AfterValidator(lambda mask: str(absolute(mask)) if _is_file(mask) else mask)]
"""Name of a mask, or a NIfTI file; the path of a file likewise becomes absolute."""


def _sessions(given: Any) -> Any:
    """Read a number of sessions, or a list of their numbers, which becomes ascending."""
    numbers = list(given) if isinstance(given, list | tuple) else [given]
    if given is not None and not (numbers and all(type(number) is int and number > 0 for number in numbers)):
        raise ValueError(
            f"must be a number of sessions from 1, or a list of their numbers such as [1, 2, 4], but is {given}"
        )
    twice = [number for number in numbers if numbers.count(number) > 1]
    if twice:
        raise ValueError(f"names session {twice[0]} twice ({list(numbers)}): name each session once")
    return tuple(sorted(set(given))) if isinstance(given, list | tuple) else given


Sessions = Annotated[
    PositiveInt | Annotated[tuple[PositiveInt, ...], Field(min_length=1)] | None, BeforeValidator(_sessions)
]
"""How many sessions, from the first, or their numbers, ascending; None: all."""


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


RegionName = Annotated[str, Field(min_length=1)]
RegionNames = Annotated[
    tuple[RegionName, ...],
    BeforeValidator(_as_list),
    Field(min_length=1),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
            ]
        }
    ),
]
"""Expressions of regions; one alone may be written without a list."""


class Dataset(Part):
    """A recording of one subject: what was shown when, the betas, the pictures."""

    makes_files: ClassVar[bool] = False
    """Whether the recording is made by `make`, inside the run's folder."""

    not_of_design: ClassVar[tuple[str, ...]] = ("roi_aliases", "unit", "mask", "regions")
    """Entries that say how responses are made, and on which none of "what was shown when" depends."""

    default_subjects: ClassVar[tuple[str, ...]] = ()
    """Values of the entry `subject` that a reproduction takes where none are named; (): that of the experiment."""

    roi_aliases: dict[RegionName, RegionNames] = Field(
        {},
        description="Region → expressions of regions that it unites, such as {faces: [FFA1, OFA], fovea: V1 & ecc<1}; ROI "
        "maximisation draws faces, words, places, bodies, V1 to V4 and ecc_0.5 to ecc_4+.",
    )
    label_volumes: dict[RegionName, File] = runtime(
        {},
        description="Name → NIfTI file of labels on the grid of the betas, such as {kastner: k.nii.gz}: regions kastner:5, or "
        "kastner:V1v with a table of names (.ctab, .tsv) beside it.",
    )
    voxel_maps: dict[RegionName, File] = runtime(
        {},
        description="Name → NIfTI file of numbers on the grid of the betas, such as {ecc: eccentricity.nii.gz}, which "
        "expressions of regions compare: ecc<1.",
    )

    @abstractmethod
    def open(self, made: Path) -> Recording:
        """Open the recording, with its own regions (`recording` adds aliases); betas and pictures are read later.

        Args:
            made: folder that `make` wrote to; ignored unless `makes_files`.

        Raises:
            RecordingError: if a file is missing, damaged, or does not fit the others.
        """

    def recording(self, made: Path) -> Recording:
        """Open the recording, with label volumes and maps of one's own, and the regions of `roi_aliases` beside its own.

        Args:
            made: as in `open`.

        Raises:
            RecordingError: as `open`, or an alias names a region that there is not.
        """
        from braindiffuser.datasets.own_volumes import with_volumes
        from braindiffuser.datasets.roi_aliases import with_aliases

        recording = with_volumes(self.open(made), self.label_volumes, self.voxel_maps)
        return with_aliases(recording, self.roi_aliases)

    def without_split(self) -> Dataset:
        """Return the dataset as it is opened where another split than its own divides it; here as it is."""
        return self

    def split_family(self, name: str) -> tuple[str, ...]:
        """Return the values of the entry `split` that a name stands for, whose results are averaged; by default it alone.

        Raises:
            RecordingError: some of them are not there.
        """
        return (name,)

    def make(self, folder: Path, progress: Progress) -> None:
        """Generate the files (if `makes_files`); resumes after an interruption."""

    def made_at(self, folder: Path) -> Dataset:
        """Return the dataset that reads what `make` wrote to a folder, if it makes files; several runs can then share them.

        Raises:
            RecordingError: it makes files, and does not say which dataset reads them.
        """
        if self.makes_files:
            raise RecordingError(
                f"{self.kind} makes files, but its class does not say which dataset reads them: define made_at"
            )
        return self

    def files(self) -> Mapping[str, Mapping[str, Path]]:
        """Return role (of `ROLES`) → name → path; names are relative, so moving the folder keeps them.

        The contents of these files are the recording's identity. Missing files are left out. A generated recording returns
        {}, since its settings identify it.
        """
        return {}

    def all_files(self) -> dict[str, dict[str, Path]]:
        """Return `files` with those of `label_volumes`, of the tables beside them, and of `voxel_maps` as the role "maps"."""
        from braindiffuser.datasets.own_volumes import list_volumes

        files = {role: dict(named) for role, named in self.files().items()}
        own = list_volumes(self.label_volumes, self.voxel_maps)
        return files | ({"maps": {**files.get("maps", {}), **own}} if own else {})

    def files_of_others(self) -> Mapping[str, Path]:
        """Return name → path of the tables that say which stimuli other subjects saw; {} if the layout has none."""
        return {}

    @property
    def has_captions(self) -> bool:
        """Whether stimuli have captions, by what can be told without reading betas or pictures."""
        return True

    @property
    def folder(self) -> Path | None:
        """Folder that holds the recording; None if it has no folder of its own. A run's folder must not overlap it."""
        return None

    @property
    def more_stimuli(self) -> str:
        """What to write for more test stimuli, for messages."""
        sessions = "read more sessions (dataset.sessions), or " if getattr(self, "sessions", None) is not None else ""
        return f"{sessions}choose them by the part split, such as `split: {{kind: folds, n_folds: 5}}`"

    def leaving_out(self, others: Sequence[int]) -> str:
        """Return what to write so that only some sessions are read, for messages; "" if the reader has no way.

        Args:
            others: numbers of the sessions that stay.
        """
        return f"write `sessions: {list(others)}` in dataset" if "sessions" in type(self).model_fields else ""

    def influences(self, device: str) -> dict[str, Any]:
        """Return all entries that results depend on; `roi_aliases` only where there are any."""
        own = super().influences(device)
        return own if self.roi_aliases else {name: value for name, value in own.items() if name != "roi_aliases"}

    def influences_of(self, role: str, device: str) -> dict[str, Any]:
        """Return the entries that one role depends on: "design" (which stimuli) or "betas" (their responses)."""
        own = self.influences(device)
        return {name: value for name, value in own.items() if role != "design" or name not in self.not_of_design}


class FolderDataset(Dataset):
    """A recording in one folder, in a layout without captions; some of its regions may be chosen. Subclasses have a `subject`."""

    root: Folder = runtime(description="Folder that holds the recording; relative to the file that names it.")
    regions: tuple[str, ...] = Field(
        (), description="Expressions of the regions whose voxels are analysed; none: all voxels."
    )
    captions: File | None = runtime(
        None, description="Table with stim_file and caption, one row per caption; null: no captions."
    )
    side: PositiveInt | None = Field(
        None,
        description="Pixels a side that pictures are cropped and resized to; null: their shortest side, at most 512.",
    )

    @property
    def has_captions(self) -> bool:
        """Whether a table of captions is given; the layout has none."""
        return self.captions is not None

    @property
    def folder(self) -> Path:
        """The folder `root`."""
        return self.root
