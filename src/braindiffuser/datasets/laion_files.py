"""Where LAION-fMRI keeps its files, and which sessions are there.

derivatives/glmsingle-tedana/sub-01/ses-01/func/…_desc-SingletrialBetas_statmap.nii.gz   betas, a volume per trial
derivatives/glmsingle-tedana/sub-01/ses-01/func/…_desc-SingletrialBetas_trials.tsv       what was shown when
derivatives/glmsingle-tedana/sub-01/…_desc-R2mean_statmap.nii.gz                         mask: where it is above 0
derivatives/glmsingle-tedana/sub-01/…_desc-Noiseceiling12rep_statmap.nii.gz              noise ceilings
derivatives/anatomical/sub-01/ses-PrismaAnat/anat/…_res-1pt8_desc-brain_mask.nii.gz      anatomical mask
derivatives/rois/sub-01/CATEGORY/…_res-1pt8_label-NAME_mask.nii.gz                       regions on the grid of the betas
stimuli/task-images_stimuli.h5, task-images_metadata.csv                                 pictures and their names
stimuli/task-images_desc-captions.csv                                                    captions
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from braindiffuser.datasets.recording import ranges
from braindiffuser.errors import RecordingError

BUCKET = "brain data are in the public bucket s3://laion-fmri, without an agreement"
GATE = "pictures and their table come after an agreement, at https://laion-fmri.hebartlab.com/request"
PUBLIC_SUBJECTS, PUBLIC_SESSIONS = ("sub-01", "sub-03", "sub-05", "sub-06", "sub-07"), 30
"""Subjects whose brain data are in the bucket, and the sessions of each."""
BETAS = Path("derivatives") / "glmsingle-tedana"
SUFFIXES = (".nii.gz", ".nii")


@dataclass(frozen=True)
class LaionFiles:
    """Paths of one subject's files; a file may be missing.

    Attributes:
        root: folder that holds `derivatives` and `stimuli`.
        subject: such as "sub-01".
    """

    root: Path
    subject: str

    @property
    def betas_folder(self) -> Path:
        """Folder of the subject's sessions."""
        return self.root / BETAS / self.subject

    @cached_property
    def session_folders(self) -> dict[int, Path]:
        """Session number → its folder, ascending, whatever is in it."""
        folders = self.betas_folder.glob("ses-*") if self.betas_folder.is_dir() else ()
        found = ((re.fullmatch(r"ses-(\d+)", path.name), path) for path in folders)
        return dict(sorted((int(match[1]), path) for match, path in found if match))

    def betas(self, session: int) -> Path:
        """File of a session's betas; where there is none, the name that it should have."""
        return _existing(f"{self._stem(session)}_space-T1w_stat-effect_desc-SingletrialBetas_statmap")

    def trials(self, session: int) -> Path:
        """Table of a session's trials."""
        return Path(f"{self._stem(session)}_desc-SingletrialBetas_trials.tsv")

    @property
    def r2mean(self) -> Path:
        """Map of R² of the GLM, averaged over sessions."""
        return _existing(f"{self._subject_stem}_space-T1w_stat-rsquare_desc-R2mean_statmap")

    def ceilings(self, name: str) -> Path:
        """Map of noise ceilings: 4rep, 12rep or Allrep."""
        return _existing(f"{self._subject_stem}_space-T1w_desc-Noiseceiling{name}_statmap")

    @property
    def anatomical(self) -> Path:
        """Mask of the brain."""
        folder = self.root / "derivatives" / "anatomical" / self.subject / "ses-PrismaAnat" / "anat"
        return _existing(f"{folder / self.subject}_ses-PrismaAnat_space-T1w_res-1pt8_desc-brain_mask")

    @property
    def regions_folder(self) -> Path:
        """Folder of the regions, one folder per category."""
        return self.root / "derivatives" / "rois" / self.subject

    @property
    def pictures(self) -> Path:
        """All pictures, of all subjects."""
        return self.root / "stimuli" / "task-images_stimuli.h5"

    @property
    def metadata(self) -> Path:
        """Table of all pictures; row i names picture i."""
        return self.root / "stimuli" / "task-images_metadata.csv"

    @property
    def captions(self) -> Path:
        """Table of captions."""
        return self.root / "stimuli" / "task-images_desc-captions.csv"

    @property
    def sessions(self) -> tuple[int, ...]:
        """Sessions whose betas are there, ascending."""
        return tuple(number for number in self.session_folders if self.betas(number).is_file())

    def name_of(self, path: Path) -> str:
        """Return a path below the root; of a file elsewhere, its name."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.name

    @property
    def _subject_stem(self) -> str:
        return f"{self.betas_folder / self.subject}_task-images"

    def _stem(self, session: int) -> str:
        folder = self.session_folders.get(session, self.betas_folder / f"ses-{session:02d}")
        return f"{folder / 'func' / self.subject}_{folder.name}_task-images"


def choose_sessions(files: LaionFiles, asked: int | Sequence[int] | None) -> tuple[list[int], tuple[str, ...]]:
    """Choose the sessions to read.

    Args:
        files: of the subject.
        asked: None: all that are there; n: sessions 1 to n; or a list of numbers.

    Returns:
        Session numbers, ascending; and sentences on sessions that are not there.

    Raises:
        RecordingError: the subject or a session that is asked for is not there; says which file, and where it comes from.
    """
    if not re.fullmatch(r"sub-[A-Za-z0-9]+", files.subject):
        raise RecordingError(
            f"dataset.subject is {files.subject!r}; expected the name of a subject's folder in {BETAS.as_posix()}, such as sub-01"
        )
    there = files.sessions
    if not there:
        raise RecordingError(_no_betas(files))
    wanted = wanted_sessions(files, asked)
    missing = sorted(set(wanted) - set(there))
    if missing:
        raise RecordingError(
            f"{files.betas(missing[0])} is missing, but dataset.sessions asks for session {missing[0]}; betas of {ranges(there)} "
            f"are there: download it ({BUCKET}; some sessions are held out), or write `sessions: {list(there)}`"
        )
    known = {*files.session_folders, *range(1, there[-1] + 1)} if asked is None else set()
    absent = sorted(known - set(there))
    if not absent:
        return wanted, ()
    which = f"{'session' if len(absent) == 1 else 'sessions'} {ranges(absent)}"
    return wanted, (f"No betas of {which} are there, so they are left out: held out, or not downloaded.",)


def wanted_sessions(files: LaionFiles, asked: int | Sequence[int] | None) -> list[int]:
    """Return the numbers of the sessions that are asked for, ascending, whether they are there or not."""
    if asked is None:
        return list(files.sessions)
    return list(range(1, asked + 1)) if isinstance(asked, int) else sorted(set(asked))


def _existing(stem: str) -> Path:
    paths = [Path(f"{stem}{suffix}") for suffix in SUFFIXES]
    return next((path for path in paths if path.is_file()), paths[0])


def _no_betas(files: LaionFiles) -> str:
    above = files.betas_folder.parent
    if not above.is_dir():
        return f"{above} is missing: name the folder that holds derivatives/glmsingle-tedana as dataset.root; {BUCKET}"
    others = sorted(path.name for path in above.glob("sub-*") if path.name != files.subject)
    if not files.betas_folder.is_dir():
        has = f"{above} has {', '.join(others) or 'no subject'}"
        return f"{files.betas_folder} is missing; {has}: choose another subject, or download this one ({BUCKET})"
    return f"{files.betas(1)} is missing, and betas of all other sessions too: download some ({BUCKET})"
