"""Recordings in Kamitani lab's file format, bdata: Generic Object Decoding, Deeprecon."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from braindiffuser.datasets.dataset import Dataset, File, Folder, Unit
from braindiffuser.datasets.subject_names import UNNAMED
from braindiffuser.part import runtime

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, str | Path) else given


Files = Annotated[tuple[File, ...], BeforeValidator(_as_list)]


class BData(Dataset):
    """One subject in bdata HDF5 files (Horikawa & Kamitani 2017, doi 10.1038/ncomms15037; Shen et al. 2019)."""

    responses: Files = Field(
        min_length=1,
        description="File, or list of files, such as Subject1.h5. Their column DataType says which trials train, test, or were "
        "imagined; without it, all train.",
    )
    test: Files = Field((), description="Further files without a column DataType whose trials all test.")
    imagery: Files = Field((), description="Further files without a column DataType whose trials were all imagined.")
    pictures: Folder = runtime(
        description="Folder of the pictures, at any depth below it, such as n01518878_10042.JPEG."
    )
    unit: Unit = Field(description="Unit of the betas: percent (signal change), z, or raw (any other).")
    subject: str = Field(
        UNNAMED,
        min_length=1,
        max_length=64,
        description=f"Name of the subject, as the page shows it; {UNNAMED}: it has none.",
    )
    regions: tuple[str, ...] = Field(
        (), description="Regions whose voxels are analysed, such as [VC]; none: all voxels of the file."
    )
    stimulus_table: File | None = runtime(
        None,
        description="Table that joins a column of the file, such as image_index, to stim_file, and, where training and test "
        "count pictures apart, to split; null: the column stimulus_id names pictures.",
    )
    captions: File | None = runtime(
        None, description="Table with stim_file and caption, one row per caption; null: no captions."
    )
    side: PositiveInt | None = Field(
        None,
        description="Pixels a side that pictures are cropped and resized to; null: their shortest side, at most 512.",
    )

    @model_validator(mode="after")
    def _check_names(self) -> BData:
        names = [path.name for path in (*self.responses, *self.test, *self.imagery)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"responses, test and imagery name two files {twice[0]}: give each another name")
        return self

    def open(self, made: Path) -> Recording:
        """Open the files."""
        from braindiffuser.datasets.bdata_recordings import open_bdata

        return open_bdata(self)

    def files(self) -> Mapping[str, Mapping[str, Path]]:
        """List the files; one file of the format holds design, regions and betas."""
        from braindiffuser.datasets.bdata_recordings import list_files

        return list_files(self)

    @property
    def has_captions(self) -> bool:
        """Whether a table of captions is given; the format has none."""
        return self.captions is not None

    def influences(self, device: str) -> dict[str, Any]:
        """Return all entries that results depend on: of files their names, since what they are named as decides what trains."""
        roles = {role: [path.name for path in getattr(self, role)] for role in ("responses", "test", "imagery")}
        return {**super().influences(device), **roles}
