"""A recording in plain files: an array of betas, a table of trials, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Discriminator, Field, NonNegativeInt, PositiveInt, Tag

from braindiffuser.datasets.dataset import ArrayEntry, Dataset, File, RegionName, Unit
from braindiffuser.datasets.subject_names import UNNAMED
from braindiffuser.part import runtime

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording


RegionFiles = Annotated[
    Annotated[File, Tag("file")] | Annotated[dict[RegionName, ArrayEntry], Tag("regions")],
    Discriminator(lambda given: "regions" if isinstance(given, Mapping) else "file"),
]
"""A file of all regions, or region → its own file."""


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
        UNNAMED,
        min_length=1,
        max_length=64,
        description=f"Name of the subject, as the page shows it; {UNNAMED}: it has none.",
    )
    mask: File | None = runtime(
        None,
        description="NIfTI file whose voxels above 0, in C order, are the columns of the betas; null: no volume is known.",
    )
    voxels: File | None = runtime(
        None,
        description="Table with one row per column of the betas: x, y, z (millimetres), ncsnr (noise ceiling), regions as "
        "columns of 0 and 1, and maps such as map_ecc; null: none.",
    )
    rois: RegionFiles | None = runtime(
        None,
        description="Regions: an .npz file, NAME → one truth value per column of the betas, or a file each, such as "
        "{V1: v1.nii.gz, V2: v2.npy} (0 and 1; NIfTI on the grid of the mask); null: none.",
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
    remarks: File | None = runtime(
        None,
        description="Text file of sentences, one a line, that `check` and the page say of the recording; null: none.",
    )
    split_remark: str = Field(
        "", description="Where the split in the table comes from, which the page says unless another split is chosen."
    )
    imagined: tuple[str, ...] = Field(
        (), description="Sets of the column test_set whose pictures were imagined, not seen."
    )
    apart: tuple[NonNegativeInt, ...] = Field(
        (),
        description="Sessions of other experiments: their trials belong to sets of the column test_set alone, and enter no noise "
        "ceiling.",
    )

    def open(self, made: Path) -> Recording:
        """Open the files."""
        from braindiffuser.datasets.array_recordings import open_arrays

        return open_arrays(self)

    def files(self) -> Mapping[str, Mapping[str, Path]]:
        """List the files."""
        from braindiffuser.datasets.array_recordings import list_files

        return list_files(self)

    def leaving_out(self, others: Sequence[int]) -> str:
        """Return what to write so that only some sessions are read, for messages."""
        return f"write 1 for its trials in a column is_catch of {self.trials.name}"

    def influences(self, device: str) -> dict[str, Any]:
        """Return all entries that results depend on; those that say what is special of a recording only where they are given."""
        own = super().influences(device)
        return {name: own[name] for name in own if own[name] or name not in ("split_remark", "imagined", "apart")}

    @property
    def has_captions(self) -> bool:
        """Whether there is a table of captions, or a column of them in the table of trials."""
        from braindiffuser.datasets.tables import read_table

        return self.captions is not None or (self.trials.is_file() and "caption" in read_table(self.trials))
