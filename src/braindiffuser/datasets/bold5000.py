"""BOLD5000, and recordings in its file layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveInt

from braindiffuser.datasets.dataset import Dataset, File, Folder
from braindiffuser.part import runtime

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording


class Bold5000(Dataset):
    """One subject of BOLD5000, release 2.0 (Chang et al. 2019, doi 10.1038/s41597-019-0052-3)."""

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
    captions: File | None = runtime(
        None, description="Table with stim_file and caption, one row per caption; null: no captions."
    )
    side: PositiveInt | None = Field(
        None,
        description="Pixels a side that pictures are cropped and resized to; null: their shortest side, at most 512.",
    )

    def open(self, made: Path) -> Recording:
        """Open the recording under `root`."""
        from braindiffuser.datasets.bold5000_layout import open_bold5000

        return open_bold5000(self)

    def files(self) -> Mapping[str, Mapping[str, Path]]:
        """List the files of this subject under `root`."""
        from braindiffuser.datasets.bold5000_layout import list_files

        return list_files(self)

    @property
    def has_captions(self) -> bool:
        """Whether a table of captions is given; the layout has none."""
        return self.captions is not None

    @property
    def folder(self) -> Path:
        """The folder `root`."""
        return self.root

    def influences_of(self, role: str, device: str) -> dict[str, Any]:
        """Return the entries that a role depends on: which stimuli were shown depends on neither GLM nor regions."""
        own = self.influences(device)
        return own if role != "design" else {key: own[key] for key in ("kind", "subject", "side")}
