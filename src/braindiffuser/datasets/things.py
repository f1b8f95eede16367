"""THINGS-fMRI as tables: betas with a row per voxel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt

from braindiffuser.datasets.dataset import File, Folder, FolderDataset, Unit
from braindiffuser.part import runtime

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording


class Things(FolderDataset):
    """One subject of THINGS-fMRI, in its form `betas_csv` (Hebart et al. 2023, doi 10.7554/eLife.82580)."""

    root: Folder = runtime(
        description="Folder that holds sub-01_ResponseData.h5, sub-01_StimulusMetadata.csv and sub-01_VoxelMetadata.csv, at any "
        "depth; relative to the file that names it."
    )
    subject: PositiveInt = Field(1, description="Number of the subject, from 1; THINGS-fMRI has 3.")
    unit: Unit = Field(description="Unit of the betas: percent (signal change), z, or raw (any other).")
    regions: tuple[str, ...] = Field(
        (),
        description="Regions whose voxels are analysed, such as [V1, V2, IT]; none: all voxels of the table, the whole brain.",
    )
    pictures: Folder | None = runtime(
        None, description="Folder of the pictures, at any depth below it; null: the folder images of root."
    )
    mask: File | None = runtime(
        None,
        description="NIfTI file of the brain mask whose voxels the table lists, so that maps can be written; null: places alone.",
    )

    def open(self, made: Path) -> Recording:
        """Open the recording under `root`."""
        from braindiffuser.datasets.things_layout import open_things

        return open_things(self)

    def files(self) -> Mapping[str, Mapping[str, Path]]:
        """List the files of this subject."""
        from braindiffuser.datasets.things_layout import list_files

        return list_files(self)

    def files_of_others(self) -> Mapping[str, Path]:
        """List the tables of trials of the other subjects."""
        from braindiffuser.datasets.things_layout import tables_of_others

        return {f"{subject}/{path.name}": path for subject, path in tables_of_others(self).items()}
