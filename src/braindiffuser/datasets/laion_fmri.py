"""LAION-fMRI, and recordings in its file layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from braindiffuser.datasets.dataset import Dataset, Folder, MaskEntry, Sessions, Unit
from braindiffuser.part import runtime

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


class LaionFMRI(Dataset):
    """One subject of LAION-fMRI (github.com/ViCCo-Group/LAION-fMRI), whose brain data are open (CC0)."""

    not_of_design: ClassVar[tuple[str, ...]] = (*Dataset.not_of_design, "ceilings")

    root: Folder = runtime(description="Folder that holds derivatives and stimuli; relative to the file that names it.")
    subject: str = Field(
        min_length=1,
        max_length=64,
        description="Name of the subject's folder, such as sub-01; the p01 to p05 in names of pictures are not these numbers.",
    )
    sessions: Sessions = Field(
        None, description="How many sessions, from the first, or a list of their numbers; null: all on disk."
    )
    mask: MaskEntry = Field(
        "R2mean",
        description="Mask of the analysed voxels: R2mean (voxels whose mean R² of the GLM is above 0), anatomical (the brain "
        "mask, which is wider), or a NIfTI file (relative to the file that names it).",
    )
    unit: Unit = Field(
        "z", description="Unit of the betas: z, as published (z-scored within a session), percent, or raw (any other)."
    )
    pool: str | None = Field(
        None, pattern=NAME, description="Pool of the split: shared, pooled, or a subject; null: the subject's own."
    )
    split: str | None = Field(
        "tau",
        pattern=NAME,
        description="Name of the split: tau, cluster_k5_0 to cluster_k5_4, random_0 to random_4 or ood; null: none.",
    )
    variant: int = Field(0, ge=0, description="Which of the split's variants.")
    splits: Folder | None = runtime(
        None,
        description="Folder of the splits, which holds POOL/NAME.json; null: laion_fmri/splits/data or splits under root, else "
        "that of the installed package laion_fmri.",
    )
    ood: Literal["together", "kinds"] = Field(
        "together",
        description="Test sets of out-of-distribution pictures, which never train: one, or one per kind of picture.",
    )
    ceilings: Literal["4rep", "12rep", "Allrep"] | None = Field(
        None,
        description="Which of the recording's own maps of noise ceilings to report; null: derive them from repeats.",
    )
    captions: bool = Field(
        True, description="Whether to read human captions, if their file is there; AI captions never."
    )
    side: PositiveInt | None = Field(
        None, description="Pixels a side that pictures are resized to; null: their shortest side, at most 512."
    )

    def open(self, made: Path) -> Recording:
        """Open the recording under `root`."""
        from braindiffuser.datasets.laion_recordings import open_laion

        return open_laion(self)

    def without_split(self) -> LaionFMRI:
        """Return the same without `split`, whose file is then not needed."""
        return self.model_copy(update={"split": None})

    def split_family(self, name: str) -> tuple[str, ...]:
        """Return the numbered splits of a name, such as cluster_k5_0 to _4 of cluster_k5; where there are none, it alone."""
        from braindiffuser.datasets.laion_splits import numbered_splits, splits_folder

        return numbered_splits(splits_folder(self.root, self.splits), self.pool or self.subject, name)

    def files(self) -> Mapping[str, Mapping[str, Path]]:
        """List the files of this subject under `root`, and the split's file."""
        from braindiffuser.datasets.laion_recordings import list_files

        return list_files(self)

    @property
    def has_captions(self) -> bool:
        """Whether captions are wanted and there."""
        from braindiffuser.datasets.laion_files import LaionFiles

        return self.captions and LaionFiles(self.root, self.subject).captions.is_file()

    @property
    def folder(self) -> Path:
        """The folder `root`."""
        return self.root

    def influences(self, device: str) -> dict[str, Any]:
        """Return all entries that results depend on.

        A mask file enters by name, since its content is hashed with the regions; the pool is the subject's own if it is null.
        """
        return {**super().influences(device), "mask": Path(self.mask).name, "pool": self.pool or self.subject}
