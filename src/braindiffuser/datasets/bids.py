"""Single-trial betas in a BIDS folder: a 4-D NIfTI file per run or session, with its table of trials or events."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt

from braindiffuser.datasets.dataset import Dataset, File, Folder, Sessions, Unit
from braindiffuser.part import runtime

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording

CHOICE = "null: the only one there is."


class BIDS(Dataset):
    """Betas of single trials as BIDS derivatives (bids.neuroimaging.io), one 4-D NIfTI file per run or session."""

    root: Folder = runtime(
        description="BIDS folder that holds the betas of one subject or more, such as a data set with its derivatives."
    )
    unit: Unit = Field(description="Unit of the betas: percent (signal change), z, or raw (any other).")
    subject: str | None = Field(None, description=f"Label of the subject, such as 01; {CHOICE}")
    derivative: str | None = Field(
        None, description=f"Folder of the betas below root, without sub-…, such as derivatives/lss; {CHOICE}"
    )
    task: str | None = Field(None, description=f"Label of the task; {CHOICE}")
    space: str | None = Field(None, description=f"Label of the space; {CHOICE}")
    desc: str | None = Field(None, description=f"Label of the description, such as LSS; {CHOICE}")
    entities: dict[str, str] = Field(
        {}, description="Labels of further entities that choose among betas, such as {acq: highres, res: 2}."
    )
    suffix: str = Field("betas", min_length=1, description="Suffix of the files of betas: …_betas.nii.gz.")
    sessions: Sessions = Field(
        None, description="How many sessions, from the first, or a list of their numbers; null: all with betas."
    )
    trial_types: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Which events have a beta, by trial_type; null: all that name a picture. Other events are left out.",
    )
    raw: Folder | None = runtime(None, description="BIDS folder with the raw events.tsv; null: root.")
    pictures: Folder | None = runtime(
        None, description="Folder of the pictures that stim_file names; null: stimuli in raw or root."
    )
    mask: File | None = runtime(
        None,
        description="NIfTI file whose voxels above 0 are analysed; null: all files …_desc-brain_mask of the subject in the "
        "betas' space, and of these the voxels that all have.",
    )
    atlases: tuple[str, ...] | None = runtime(
        None,
        description="Labels (desc, else atlas or seg) of the …_dseg files in the betas' space whose regions are read; null: all "
        "with a table of names.",
    )
    captions: File | None = runtime(
        None,
        description="Table with stim_file and caption, one row per caption; null: the column caption of the trials, if any.",
    )
    side: PositiveInt | None = Field(
        None,
        description="Pixels a side that pictures are cropped and resized to; null: their shortest side, at most 512.",
    )

    def open(self, made: Path) -> Recording:
        """Open the files."""
        from braindiffuser.datasets.bids_recordings import open_bids

        return open_bids(self)

    def files(self) -> Mapping[str, Mapping[str, Path]]:
        """List the files; none where several fit and no entry chooses, which `open` says."""
        from braindiffuser.datasets.bids_recordings import list_files

        return list_files(self)

    def files_of_others(self) -> Mapping[str, Path]:
        """List the tables of trials of the other subjects; none where several fit and no entry chooses, which `open` says."""
        from braindiffuser.datasets.bids_recordings import files_of_others

        return files_of_others(self)

    @property
    def has_captions(self) -> bool:
        """Whether there is a table of captions, or a column of them in the tables of trials."""
        from braindiffuser.datasets.bids_recordings import has_captions

        return has_captions(self)
