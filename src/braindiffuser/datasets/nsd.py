"""The Natural Scenes Dataset, and recordings in its file layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt

from braindiffuser.datasets.dataset import Dataset, Folder, MaskEntry, Sessions
from braindiffuser.part import runtime

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording


class NSD(Dataset):
    """One subject of the Natural Scenes Dataset (Allen et al. 2022, doi 10.1038/s41593-021-00962-x)."""

    root: Folder = runtime(
        description="Folder that holds nsddata, nsddata_betas and nsddata_stimuli; relative to the file that names it."
    )
    subject: PositiveInt = Field(1, description="Number of the subject, from 1; NSD has 8.")
    sessions: Sessions = Field(
        None,
        description="How many sessions, from the first, or a list of their numbers; null: all on disk. The paper used 37 of 40; "
        "subjects 3, 4, 6 and 8 of NSD have 32, 30, 32 and 30.",
    )
    betas_version: str = Field("betas_fithrf_GLMdenoise_RR", description="GLM that the betas come from.")
    mask: MaskEntry = Field(
        "nsdgeneral",
        description="Mask of the analysed voxels: a volume of the subject's roi folder, or a NIfTI file "
        "(relative to the file that names it).",
    )

    def open(self, made: Path) -> Recording:
        """Open the recording under `root`."""
        from braindiffuser.datasets.nsd_layout import open_nsd

        return open_nsd(
            self.root, self.subject, sessions=self.sessions, betas_version=self.betas_version, mask=self.mask
        )

    def files(self) -> Mapping[str, Mapping[str, Path]]:
        """List the files of this subject under `root`."""
        from braindiffuser.datasets.nsd_layout import list_files

        return list_files(self.root, self.subject, self.sessions, self.betas_version, self.mask)

    @property
    def folder(self) -> Path:
        """The folder `root`."""
        return self.root

    def influences(self, device: str) -> dict[str, Any]:
        """Return all entries that results depend on.

        A mask file enters by name, since its content is hashed with the regions.
        """
        return {**super().influences(device), "mask": Path(self.mask).name}

    def influences_of(self, role: str, device: str) -> dict[str, Any]:
        """Return the entries that a role depends on: which stimuli were shown depends on neither GLM nor mask."""
        own = self.influences(device)
        return own if role != "design" else {key: own[key] for key in ("kind", "subject", "sessions")}
