"""A recording in plain files: an array of betas, a table of trials, pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt

from braindiffuser.datasets.dataset import ArrayEntry, Dataset, File, Unit
from braindiffuser.part import runtime

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording


class Arrays(Dataset):
    """Betas as an array, one row per trial, with a table of trials and pictures: any recording can be written so."""

    responses: ArrayEntry = runtime(
        description="Betas, one row per trial: .npy, .npz, HDF5 or zarr, with :NAME for an array inside. Further axes, such as "
        "channels and time points, are joined."
    )
    unit: Unit = Field(description="Unit of the betas: percent (signal change), z, or raw (any other).")
    trials: File = runtime(
        description="Table (.csv, .tsv, .parquet) with one row per trial, in the order of the betas: stim_file, and if known "
        "session, run, split (train, test), test_set, is_catch, caption."
    )
    pictures: ArrayEntry = runtime(
        description="Folder of the pictures that stim_file names, or an array (n, height, width, 3) of 8-bit pictures whose rows "
        "it counts from 0."
    )
    subject: str = Field(
        "subject", min_length=1, max_length=64, description="Name of the subject, as the page shows it."
    )
    mask: File | None = runtime(
        None,
        description="NIfTI file whose voxels above 0, in C order, are the columns of the betas; null: no volume is known.",
    )
    voxels: File | None = runtime(
        None,
        description="Table with one row per column of the betas: x, y, z (millimetres), ncsnr (noise ceiling), and regions as "
        "columns of 0 and 1; null: none.",
    )
    rois: File | None = runtime(
        None, description="Regions in an .npz file: NAME → one truth value per column of the betas; null: none."
    )
    captions: File | None = runtime(
        None,
        description="Table with stim_file and caption, one row per caption; null: the column caption of trials, if any.",
    )
    side: PositiveInt | None = Field(
        None,
        description="Pixels a side that pictures are cropped and resized to; null: their shortest side, at most 512.",
    )

    simulated: bool = Field(False, description="Whether no brain was recorded, which the page says.")

    def open(self, made: Path) -> Recording:
        """Open the files."""
        from braindiffuser.datasets.array_recordings import open_arrays

        return open_arrays(self)

    def files(self) -> Mapping[str, Mapping[str, Path]]:
        """List the files."""
        from braindiffuser.datasets.array_recordings import list_files

        return list_files(self)

    @property
    def has_captions(self) -> bool:
        """Whether there is a table of captions, or a column of them in the table of trials."""
        from braindiffuser.datasets.tables import read_table

        return self.captions is not None or (self.trials.is_file() and "caption" in read_table(self.trials))
