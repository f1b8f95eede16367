"""The Natural Scenes Dataset, and recordings in its file layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, PositiveInt

from braindiffuser.datasets.dataset import Dataset, Folder, MaskEntry, Sessions
from braindiffuser.part import runtime

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording


FurtherName = Literal["synthetic", "imagery"]
Further = Annotated[tuple[FurtherName, ...], AfterValidator(lambda names: tuple(sorted(set(names), reverse=True)))]
"""Names of further experiments, each once, in the order of their sessions."""


class NSD(Dataset):
    """One subject of the Natural Scenes Dataset (Allen et al. 2022, doi 10.1038/s41593-021-00962-x)."""

    default_subjects: ClassVar[tuple[str, ...]] = ("1", "2", "5", "7")  # of the paper
    not_of_design: ClassVar[tuple[str, ...]] = (*Dataset.not_of_design, "betas_version")

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
    further: Further = Field(
        (),
        description="Further experiments with this person, which test apart and never train: synthetic (NSD-synthetic), imagery "
        "(NSD-Imagery), or both, such as [synthetic, imagery].",
    )

    def open(self, made: Path) -> Recording:
        """Open the recording under `root`."""
        from braindiffuser.datasets.nsd_layout import open_nsd

        recording = open_nsd(
            self.root, self.subject, sessions=self.sessions, betas_version=self.betas_version, mask=self.mask
        )
        if not self.further:
            return recording
        from braindiffuser.datasets.nsd_further import with_further

        return with_further(recording, self.root, self.subject, self.further, self.betas_version, self.mask)

    def files(self) -> Mapping[str, Mapping[str, Path]]:
        """List the files of this subject under `root`."""
        from braindiffuser.datasets.nsd_layout import list_files

        listed = list_files(self.root, self.subject, self.sessions, self.betas_version, self.mask)
        if not self.further:
            return listed
        from braindiffuser.datasets.nsd_further import list_files as list_further

        further = list_further(self.root, self.subject, self.further, self.betas_version)
        return {role: {**named, **further.get(role, {})} for role, named in listed.items()}

    @property
    def has_captions(self) -> bool:
        """Whether the file of captions, which is not part of NSD, is there; True where no recording is, which `open` says."""
        from braindiffuser.datasets.nsd_layout import CAPTIONS, DESIGN

        return (self.root / CAPTIONS).is_file() or not (self.root / DESIGN).is_file()

    @property
    def folder(self) -> Path:
        """The folder `root`."""
        return self.root

    def influences(self, device: str) -> dict[str, Any]:
        """Return all entries that results depend on.

        A mask file enters by name, since its content is hashed with the regions; `further` only where it names something.
        """
        own = {**super().influences(device), "mask": Path(self.mask).name}
        return own if self.further else {key: own[key] for key in own if key != "further"}
