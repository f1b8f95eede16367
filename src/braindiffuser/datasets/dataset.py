"""Datasets: where a recording comes from and how it is read. One file is one kind."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator

from braindiffuser.part import FolderPath, Part
from braindiffuser.paths import absolute
from braindiffuser.progress import Progress

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording

ROLES = ("design", "regions", "betas", "stimuli", "captions")
"""Roles of a recording's files: design (which trial showed what), regions (masks and ROIs), betas, stimuli (pictures),
captions."""

Folder = Annotated[FolderPath, AfterValidator(absolute)]
"""Folder; a relative path becomes absolute on reading, from the folder of the file that names it."""


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
    def folder(self) -> Path | None:
        """Folder that holds the recording; None if it has no folder of its own. A run's folder must not overlap it."""
        return None

    def influences_of(self, role: str, device: str) -> dict[str, Any]:
        """Return the entries that one role depends on: "design" (which stimuli) or "betas" (their responses)."""
        return self.influences(device)
