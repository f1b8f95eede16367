"""What GLMsingle writes: single-trial betas of all sessions in one file, and the order of conditions in another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt

from braindiffuser.datasets.dataset import Dataset, File, Folder, Sessions, Unit
from braindiffuser.datasets.subject_names import UNNAMED
from braindiffuser.part import runtime

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording


class GLMsingle(Dataset):
    """Betas as GLMsingle (Prince et al. 2022, doi 10.7554/eLife.77599) writes them, in Python or MATLAB."""

    betas: File = runtime(
        description="GLMsingle's betas, such as TYPED_FITHRF_GLMDENOISE_RR.hdf5; .hdf5 of Python and .mat (v7.3) of MATLAB are "
        "read a session at a time, .npy of Python whole."
    )
    conditions: File = runtime(
        description="Table (.csv, .tsv, .parquet) with one row per condition: condition (as in stimorder), stim_file, and if "
        "known split or is_test, caption. A condition without stim_file is left out."
    )
    pictures: Folder = runtime(description="Folder of the pictures that stim_file names.")
    mask: File | None = runtime(
        None,
        description="NIfTI file on the betas' grid: voxels above 0 are analysed; null only where GLMsingle was given a matrix of "
        "voxels × time.",
    )
    design: File | None = runtime(
        None, description="GLMsingle's DESIGNINFO (.npy of Python, .mat of MATLAB); null: the one beside the betas."
    )
    rois: dict[str, File] = runtime(
        {}, description="Region → NIfTI file on the betas' grid, whose voxels above 0 belong to it."
    )
    captions: File | None = runtime(
        None,
        description="Table with stim_file and caption, one row per caption; null: the column caption of conditions, if any.",
    )
    sessions: Sessions = Field(
        None, description="How many sessions, from the first, or a list of their numbers; null: all in the file."
    )
    unit: Unit = Field(
        "percent",
        description="Unit of the betas: percent (signal change), as GLMsingle writes; raw where wantpercentbold was off.",
    )
    subject: str = Field(
        UNNAMED,
        min_length=1,
        max_length=64,
        description=f"Name of the subject, as the page shows it; {UNNAMED}: it has none.",
    )
    side: PositiveInt | None = Field(
        None,
        description="Pixels a side that pictures are cropped and resized to; null: their shortest side, at most 512.",
    )

    def open(self, made: Path) -> Recording:
        """Open the files."""
        from braindiffuser.datasets.glmsingle_files import open_glmsingle

        return open_glmsingle(self)

    def files(self) -> Mapping[str, Mapping[str, Path]]:
        """List the files."""
        from braindiffuser.datasets.glmsingle_files import list_files

        return list_files(self)

    @property
    def has_captions(self) -> bool:
        """Whether there is a table of captions, or a column of them in the table of conditions."""
        from braindiffuser.datasets.tables import read_table

        return self.captions is not None or (self.conditions.is_file() and "caption" in read_table(self.conditions))
