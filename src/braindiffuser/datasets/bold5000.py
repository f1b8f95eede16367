"""BOLD5000, and recordings in its file layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from braindiffuser.datasets.dataset import Folder, FolderDataset
from braindiffuser.part import runtime

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording


class Bold5000(FolderDataset):
    """One subject of BOLD5000, release 2.0 (Chang et al. 2019, doi 10.1038/s41597-019-0052-3)."""

    not_of_design: ClassVar[tuple[str, ...]] = (*FolderDataset.not_of_design, "betas")

    root: Folder = runtime(
        description="Folder that holds the betas, the stimuli and, for regions, the spm derivatives, at any depth; relative to "
        "the file that names it."
    )
    subject: str = Field("CSI1", pattern=r"^[A-Za-z0-9]{1,64}$", description="Name of the subject: CSI1 to CSI4.")
    betas: Literal["TYPEA", "TYPEB", "TYPEC", "TYPED"] = Field(
        "TYPED", description="GLM that the betas come from; TYPED is GLMsingle with all three steps."
    )
    regions: tuple[str, ...] = Field(
        (),
        description="Regions whose voxels are analysed, such as [EarlyVis, LOC]; none: all voxels of the brain mask.",
    )

    def open(self, made: Path) -> Recording:
        """Open the recording under `root`."""
        from braindiffuser.datasets.bold5000_layout import open_bold5000

        return open_bold5000(self)

    def files(self) -> Mapping[str, Mapping[str, Path]]:
        """List the files of this subject under `root`."""
        from braindiffuser.datasets.bold5000_layout import list_files

        return list_files(self)

    def files_of_others(self) -> Mapping[str, Path]:
        """List the tables of trials of the other subjects."""
        from braindiffuser.datasets.bold5000_layout import tables_of_others

        return {f"{subject}/{path.name}": path for subject, path in tables_of_others(self).items()}
