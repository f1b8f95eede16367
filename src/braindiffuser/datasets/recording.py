"""What every stage needs of a recording, whatever its files look like."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from braindiffuser.arrays import Betas, Pictures
from braindiffuser.datasets.checked_betas import checked_betas
from braindiffuser.datasets.dataset import Unit
from braindiffuser.datasets.known_regions import Further, KnownRegions
from braindiffuser.datasets.label_volumes import LabelVolumes
from braindiffuser.datasets.noise_ceiling import check_ceilings
from braindiffuser.datasets.splits import check_split, stimuli_of
from braindiffuser.datasets.subject_names import of_subject
from braindiffuser.datasets.voxel_maps import VoxelMaps
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError

TRIAL_COLUMNS = ("subject", "session", "run", "trial", "stimulus_id", "repeat", "split")

LONGEST_SUBJECT = 64
"""Characters of a subject's name."""
UNIT_NAMES = {"percent": "percent signal change", "z": "z units, as they came", "raw": "their own unit"}
"""Unit → its name on the page."""


def _no_pictures(stimulus_ids: Int[np.ndarray, " n"]) -> Pictures:
    raise RecordingError("this recording was opened without its pictures")


@dataclass(frozen=True, eq=False)
class Recording:
    """One subject's trials and voxels; betas are read a session at a time.

    Attributes:
        subject: name, such as "subj01"; UNNAMED of `subject_names` if it has none.
        trials: one row per trial, in the order of the betas, with the columns
            `subject`, `session` (as numbered on disk, ascending), `run` (within session), `trial` (0-based, within subject),
            `stimulus_id` (0-based), `repeat` (0-based showing of that stimulus to the subject) and
            `split` ("train", "test", "out" for neither, or "" throughout if the recording does not say).
        voxels: the analysed voxels, and where they lie.
        roi_masks: name → (n_voxels,) bool, relative to the analysed voxels; all False is legal.
        read_session: session number → betas (n_trials_of_session, n_voxels), float32.
        unit: of the betas.
        missing_rois: names of regions that have no file.
        label_volumes: volumes whose labels are regions too, and are read only if an expression names them.
        voxel_maps: name → a number per voxel (n_voxels,), such as `ecc` (degrees), `angle`, `size` or `R2`, NaN where it is not
            known; each is read only if it is asked for.
        pictures: reads stimuli by their 0-based ids: (n,) → (n, 3, side, side), square, float32 in [0, 1]. Where it has an
            attribute `paths` (id → file), equal files on both sides are found.
        stimuli: what is known of the stimuli, by id: the column `name`, and any others, such as a category; None if they have
            numbers alone.
        described: reads what is known of stimuli that have numbers alone, by id: a table without names, which only analyses
            ask for; None if there is none.
        n_pictures: returns how many pictures ids count, also those that were not shown; None: it is known only where ids of
            trials are 0 to n - 1.
        captions: reads the captions of one stimulus by its id, a tuple of texts; None if the recording has none.
        further_test_sets: name → ids of test stimuli that are scored separately from all others, under that name.
        ncsnr: noise ceiling signal-to-noise ratio per voxel, where the recording brings one; None derives it from repeats.
        notes: name of a further test set → its title and what a reader should know of it, for the page.
        shared: reads the ids of stimuli that every subject of the data set saw, and how that is known, as an end of a sentence;
            None if the layout does not tell. A column `shared` of `stimuli` comes first (see `shared_stimuli`).
        session_files: session number → names of the files that its betas are read from, as the dataset lists them.
        apart: sessions of other experiments than the one that decoders are fitted on: they hold trials of further test sets
            alone, and enter no noise ceiling.
        imagined: further test sets whose stimuli were imagined, not seen; they enter no noise ceiling.
        simulated: True if no brain was recorded.
        split_remark: where the split comes from, a sentence or more for the page; a new split replaces it (`with_split`).
        remarks: sentences for the log and the page about what a reader might not expect, such as sessions that are not there.

    Raises:
        RecordingError: the subject has no name that can be printed, a column is missing, a stimulus is in both splits, the mask
            is empty, an ROI has another length, noise ceilings are no ratios, a session apart holds other trials than those of
            further test sets, or a set that is imagined is no further test set.
    """

    subject: str
    trials: pd.DataFrame
    voxels: Voxels
    roi_masks: Mapping[str, Bool[np.ndarray, " n_voxels"]]
    read_session: Callable[[int], Betas]
    unit: Unit
    missing_rois: tuple[str, ...] = ()
    label_volumes: LabelVolumes = field(default_factory=LabelVolumes)
    voxel_maps: VoxelMaps = field(default_factory=VoxelMaps)
    pictures: Callable[[Int[np.ndarray, " n"]], Pictures] = _no_pictures
    stimuli: pd.DataFrame | None = None
    described: Callable[[], pd.DataFrame] | None = None
    n_pictures: Callable[[], int] | None = None
    captions: Callable[[int], tuple[str, ...]] | None = None
    further_test_sets: Mapping[str, Int[np.ndarray, " _"]] = field(default_factory=dict)
    ncsnr: Float[np.ndarray, " n_voxels"] | None = None
    notes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    shared: Callable[[], tuple[Int[np.ndarray, " _"], str]] | None = None
    session_files: Callable[[int], tuple[str, ...]] = lambda session: ()
    apart: tuple[int, ...] = ()
    imagined: tuple[str, ...] = ()
    simulated: bool = False
    split_remark: str = ""
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check subject, table, mask and ROIs."""
        if not (0 < len(self.subject) <= LONGEST_SUBJECT and self.subject.isprintable() and self.subject.strip()):
            found = repr(self.subject) if self.subject.strip() else "empty"
            raise RecordingError(
                f"the subject's name is {found}; expected 1 to {LONGEST_SUBJECT} characters that can be printed"
            )
        lacking = [column for column in TRIAL_COLUMNS if column not in self.trials]
        if lacking:
            raise RecordingError(f"the trial table lacks the columns {lacking}; expected {list(TRIAL_COLUMNS)}")
        if not self.trials["session"].is_monotonic_increasing:
            raise RecordingError("the trial table is not in order of sessions; sort it as the betas are stored")
        if self.has_split:
            check_split(self.trials)
        self._check_further_sets()
        self._check_voxels()

    def _check_further_sets(self) -> None:
        """Check names of further test sets, and what is said of them."""
        for name in self.further_test_sets:
            if name == "test" or not re.fullmatch(r"[a-z0-9_]{1,64}", name):
                raise RecordingError(
                    f"{name!r} is not a valid name of a further test set: use up to 64 of a–z, 0–9, _, and not test"
                )
        unknown = [name for name in self.imagined if name not in self.further_test_sets]
        if unknown:
            raise RecordingError(
                f"the test set {unknown[0]} is said to be imagined, but the further test sets are "
                f"{', '.join(self.further_test_sets) or '(none)'}: name one of these"
            )
        if self.apart and not set(self.stimuli_apart) <= {
            number for ids in self.further_test_sets.values() for number in ids.tolist()
        }:
            raise RecordingError(
                f"sessions {ranges(self.apart)} are apart, but show stimuli of no further test set: name them in one"
            )

    def _check_voxels(self) -> None:
        if self.ncsnr is not None:
            check_ceilings(self.ncsnr, self.n_voxels)
        for name, mask in self.roi_masks.items():
            if mask.shape != (self.n_voxels,):
                raise RecordingError(
                    f"ROI {name} has shape {mask.shape}; expected ({self.n_voxels},), one value per analysed voxel"
                )

    @property
    def n_voxels(self) -> int:
        """Number of analysed voxels."""
        return self.voxels.n

    @property
    def known_regions(self) -> KnownRegions:
        """All that an expression of regions may name."""
        return KnownRegions(self.roi_masks, lambda: Further(self.label_volumes, self.voxel_maps))

    @property
    def has_split(self) -> bool:
        """Whether the recording says which stimuli train and which test."""
        return bool((self.trials["split"] != "").any())

    @property
    def names(self) -> dict[int, str]:
        """Names of the stimuli that were shown, by id; {} if they have numbers alone."""
        return {} if self.stimuli is None else names_of(self.stimuli)

    def known_stimuli(self) -> pd.DataFrame | None:
        """Return what is known of the stimuli, by id, such as a category; None if they have numbers alone."""
        return self.described() if self.stimuli is None and self.described else self.stimuli

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that stand for the subject and the analysed voxels."""
        return hashlib.sha256(f"{self.subject} ".encode() + self.voxels.fingerprint).hexdigest()[:16]

    @property
    def test_sets(self) -> dict[str, Int[np.ndarray, " _"]]:
        """Test set → ascending ids of its stimuli: "test", then the further sets; empty sets are left out."""
        ids = stimuli_of(self.trials, "test")[0]
        apart = {name: np.intersect1d(ids, wanted) for name, wanted in self.further_test_sets.items()}
        rest = np.setdiff1d(ids, np.concatenate([*apart.values(), np.empty(0, np.int64)]))
        return {name: found for name, found in {"test": rest, **apart}.items() if len(found)}

    @property
    def stimuli_apart(self) -> list[int]:
        """Ids of stimuli that enter no noise ceiling, ascending: those shown in sessions apart, and imagined ones."""
        shown = self.trials.loc[self.trials["session"].isin(self.apart), "stimulus_id"]
        imagined = [number for name in self.imagined for number in self.further_test_sets[name].tolist()]
        return sorted({*map(int, shown), *imagined})

    @property
    def sets_apart(self) -> list[str]:
        """Test sets whose stimuli enter no noise ceiling."""
        return [name for name, ids in self.test_sets.items() if np.isin(ids, self.stimuli_apart).all()]

    @property
    def session_numbers(self) -> tuple[int, ...]:
        """Sessions in the trial table, ascending."""
        return tuple(int(number) for number in self.trials["session"].unique())

    def trials_of(self, session: int) -> pd.DataFrame:
        """Return the rows of one session, in the order of its betas."""
        return self.trials[self.trials["session"] == session]

    def sessions(self) -> Iterator[tuple[int, Betas]]:
        """Yield (session number, betas), reading each session only when it is asked for; errors as in `betas_of`."""
        for session in self.session_numbers:
            yield session, self.betas_of(session)

    def betas_of(self, session: int) -> Betas:
        """Read the betas of one session, (trials in the table, voxels in the mask), float32.

        Raises:
            RecordingError: as `checked_betas`; names the session and its files.
        """
        read, what = self.read_session(session), f"session {session}{of_subject(self.subject)}"
        if named := self.session_files(session):
            what += f" ({', '.join(named[:3])}{' …' if named[3:] else ''})"
        return checked_betas(read, what, (len(self.trials_of(session)), self.n_voxels))


def names_of(stimuli: pd.DataFrame) -> dict[int, str]:
    """Return id → name of a table of stimuli."""
    return dict(zip(stimuli.index.to_numpy(dtype=np.int64).tolist(), stimuli["name"].astype(str), strict=True))


def ranges(numbers: Iterable[int]) -> str:
    """Print numbers in short.

    >>> ranges([1, 2, 3, 5])
    '1–3, 5'
    """
    said: list[list[int]] = []
    for number in sorted(numbers):
        if said and said[-1][-1] == number - 1:
            said[-1].append(number)
        else:
            said.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in said)
