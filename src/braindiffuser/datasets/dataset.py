"""Datasets: where a recording comes from and how it is read. One file is one kind."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt

from braindiffuser.part import FolderPath, Part
from braindiffuser.paths import absolute
from braindiffuser.progress import Progress

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording

ROLES = ("design", "regions", "betas", "stimuli", "captions")
"""Roles of a recording's files: design (which trial showed what), regions (masks and ROIs), betas, stimuli (pictures),
captions."""

Unit = Literal["percent", "z", "raw"]
"""Unit of betas. `percent`: percent signal change; `z`: z-scored by whoever made them; `raw`: any other."""

Folder = Annotated[FolderPath, AfterValidator(absolute)]
"""Folder; a relative path becomes absolute on reading, from the folder of the file that names it."""
File = Folder
"""File; likewise."""
ArrayEntry = Annotated[str, AfterValidator(lambda entry: str(absolute(entry)))]
"""Array in a file, `file` or `file:key`; likewise."""


def _is_file(mask: str) -> bool:
    return mask.endswith((".nii", ".nii.gz"))


MaskEntry = Annotated[str, AfterValidator(lambda mask: str(absolute(mask)) if _is_file(mask) else mask)]
"""Name of a mask, or a NIfTI file; the path of a file likewise becomes absolute."""


def _sessions(given: Any) -> Any:
    """Read a number of sessions, or a list of their numbers, which becomes ascending."""
    numbers = given if isinstance(given, list | tuple) else [given]
    if given is not None and not (numbers and all(type(number) is int and number > 0 for number in numbers)):
        raise ValueError(
            f"must be a number of sessions from 1, or a list of their numbers such as [1, 2, 4], but is {given}"
        )
    return tuple(sorted(set(given))) if isinstance(given, list | tuple) else given


Sessions = Annotated[
    PositiveInt | Annotated[tuple[PositiveInt, ...], Field(min_length=1)] | None, BeforeValidator(_sessions)
]
"""How many sessions, from the first, or their numbers, ascending; None: all."""


class Dataset(Part):
    """A recording of one subject: what was shown when, the betas, the pictures."""

    makes_files: ClassVar[bool] = False
    """Whether the recording is made by `make`, inside the run's folder."""

    @abstractmethod
    def open(self, made: Path) -> Recording:
        """Open the recording; betas and pictures are read later.

        Args:
            made: folder that `make` wrote to; ignored unless `makes_files`.

        Raises:
            RecordingError: if a file is missing, damaged, or does not fit the others.
        """

    def make(self, folder: Path, progress: Progress) -> None:
        """Generate the files (if `makes_files`); resumes after an interruption."""

    def files(self) -> Mapping[str, Mapping[str, Path]]:
        """Return role (of `ROLES`) → name → path; names are relative, so moving the folder keeps them.

        The contents of these files are the recording's identity. Missing files are left out. A generated recording returns
        {}, since its settings identify it.
        """
        return {}

    @property
    def has_captions(self) -> bool:
        """Whether stimuli have captions, by what can be told without reading betas or pictures."""
        return True

    @property
    def folder(self) -> Path | None:
        """Folder that holds the recording; None if it has no folder of its own. A run's folder must not overlap it."""
        return None

    def influences_of(self, role: str, device: str) -> dict[str, Any]:
        """Return the entries that one role depends on: "design" (which stimuli) or "betas" (their responses)."""
        return self.influences(device)
