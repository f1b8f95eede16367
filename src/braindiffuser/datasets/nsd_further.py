"""Joins further experiments with the same person to a recording of NSD: sessions after the last, that only test.

Their betas are stored as those of NSD, whole numbers as percent signal change × 300, in folders beside them:
`nsdsynthetic<version>/betas_nsdsynthetic.hdf5`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
from jaxtyping import Int

from braindiffuser.arrays import Betas, Pictures, VoxelMask
from braindiffuser.datasets import nsd_imagery, nsd_synthetic
from braindiffuser.datasets.beta_files import SUFFIXES, inspect_betas, read_betas
from braindiffuser.datasets.further_experiments import FurtherExperiment, fetch_of
from braindiffuser.datasets.nsd_layout import (
    BETAS_VERSION,
    betas_folder,
    find_betas,
    functional_folder,
    name_under,
    open_stimuli,
    path_of_mask,
    read_design,
)
from braindiffuser.datasets.picture_faults import PictureFaults
from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.splits import number_repeats
from braindiffuser.datasets.volumes import check_grid
from braindiffuser.errors import RecordingError

IDS = 1_000_000
"""Ids of the n-th further experiment begin at n times this: NSD has 73,000 pictures."""
_Opener = Callable[[Path, int, int, int], FurtherExperiment]
OPENERS: dict[str, tuple[_Opener, ModuleType]] = {
    "synthetic": (nsd_synthetic.open_synthetic, nsd_synthetic),
    "imagery": (nsd_imagery.open_imagery, nsd_imagery),
}
"""Name in `dataset.further` → what opens it, and its module; the n-th is the n-th session after those that NSD planned."""


@dataclass(frozen=True, eq=False)
class _Session:
    """A further experiment, its number as a session, its betas, and where its ids begin."""

    number: int
    experiment: FurtherExperiment
    betas: Path
    first_id: int


def with_further(
    recording: Recording, root: Path, subject: int, further: Sequence[str], betas_version: str, mask: str | Path
) -> Recording:
    """Return a recording of NSD with further experiments, each a session of its own that tests in test sets of its own.

    Args:
        recording: of the main experiment.
        root: folder that holds `nsddata`, `nsddata_betas` and `nsddata_stimuli`.
        subject: number from 1.
        further: names in `OPENERS`.
        betas_version: GLM of the main experiment's betas; those of the others are of the same.
        mask: as in `open_nsd`.

    Raises:
        RecordingError: a file is missing or damaged, or does not fit design or mask.
    """
    design = read_design(root, subject)
    side = open_stimuli(root).shape[1]
    mask_file = path_of_mask(functional_folder(root, subject) / "roi", mask)
    sessions = []
    for place, (name, (open_one, _)) in enumerate(OPENERS.items(), start=1):
        if name in further:
            experiment = open_one(root, subject, place * IDS, side)
            betas = _betas(root, subject, name, betas_version)
            _check_betas(betas, experiment, recording, mask_file)
            sessions.append(_Session(int(design["session"].max()) + place, experiment, betas, place * IDS))
    experiments = [session.experiment for session in sessions]
    return replace(
        recording,
        trials=pd.concat([recording.trials, *_tables(recording.subject, len(design), sessions)], ignore_index=True),
        read_session=_reader(recording, sessions),
        pictures=_pictures(recording, sessions, side),
        captions=_captions(recording),
        further_test_sets=dict(
            [*recording.further_test_sets.items(), *(pair for one in experiments for pair in one.sets.items())]
        ),
        notes=dict([*recording.notes.items(), *(pair for one in experiments for pair in one.notes.items())]),
        imagined=(*recording.imagined, *(name for one in experiments for name in one.imagined)),
        session_files=_session_files(recording, root, sessions),
        remarks=(
            *recording.remarks,
            *(remark for session in sessions for remark in (_said(session), *session.experiment.remarks)),
        ),
        apart=tuple(session.number for session in sessions),
    )


def list_files(root: Path, subject: int, further: Sequence[str], betas_version: str) -> dict[str, dict[str, Path]]:
    """List the files of further experiments: role → name below the root → path; those that are not there are left out."""
    listed: dict[str, dict[str, Path]] = {}
    for name, (_, module) in OPENERS.items():
        if name in further:
            wanted: dict[str, list[Path]] = module.list_files(root, subject)
            found = find_betas(*_place_of_betas(root, subject, name, betas_version))
            for role, paths in {**wanted, "betas": [found] if found else []}.items():
                listed.setdefault(role, {}).update({name_under(root, path): path for path in paths if path.is_file()})
    return listed


def _place_of_betas(root: Path, subject: int, name: str, version: str) -> tuple[Path, str]:
    """Return the folder and the name, without its suffix, of an experiment's betas."""
    return betas_folder(root, subject, f"nsd{name}{version}"), f"betas_nsd{name}"


def _betas(root: Path, subject: int, name: str, version: str) -> Path:
    folder, stem = _place_of_betas(root, subject, name, version)
    found = find_betas(folder, stem)
    if found is None:
        public = version == BETAS_VERSION
        remedy = (
            f"download it by `{fetch_of(root, subject, f'nsd_{name}')}`" if public else "choose another betas_version"
        )
        raise RecordingError(
            f"{folder / stem}{SUFFIXES[0]} (or .nii.gz) is missing; it holds betas of the same GLM as {version}: {remedy}, or "
            f"leave {name} out of dataset.further"
        )
    return found


def _check_betas(path: Path, experiment: FurtherExperiment, recording: Recording, mask_file: Path) -> None:
    """Compare a file's header with the mask and the design."""
    stored, mask = inspect_betas(path), _mask_of(recording)
    check_grid(path, stored.grid, stored.affine, mask_file, mask.shape, recording.voxels.affine)
    if stored.n_trials != experiment.n_betas:
        raise RecordingError(
            f"{path} has {stored.n_trials} trials, but {experiment.design} plans {experiment.n_betas}: download both again"
        )


def _mask_of(recording: Recording) -> VoxelMask:
    mask = recording.voxels.mask
    if mask is None:
        raise RecordingError("the recording has no mask, expected voxels in a volume, as NSD's are")
    return mask


def _tables(subject: str, n_trials: int, sessions: Sequence[_Session]) -> Iterator[pd.DataFrame]:
    """Yield the trials of each session, with the columns of `Recording.trials`; `trial` counts betas on from NSD's."""
    for session in sessions:
        ids = session.experiment.stimulus_ids
        yield pd.DataFrame(
            {
                "subject": subject,
                "session": session.number,
                "run": session.experiment.runs,
                "trial": n_trials + session.experiment.rows,
                "stimulus_id": ids,
                "repeat": number_repeats(ids),
                "split": "test",
            }
        )
        n_trials += session.experiment.n_betas


def _reader(recording: Recording, sessions: Sequence[_Session]) -> Callable[[int], Betas]:
    own = {session.number: session for session in sessions}

    def read(number: int) -> Betas:
        if number not in own:
            return recording.read_session(number)
        betas: Betas = read_betas(own[number].betas, _mask_of(recording))[own[number].experiment.rows]
        return betas

    return read


def _session_files(recording: Recording, root: Path, sessions: Sequence[_Session]) -> Callable[[int], tuple[str, ...]]:
    own = {session.number: (name_under(root, session.betas),) for session in sessions}
    return lambda number: own[number] if number in own else recording.session_files(number)


def _pictures(
    recording: Recording, sessions: Sequence[_Session], side: int
) -> Callable[[Int[np.ndarray, " n"]], Pictures]:
    readers = {0: recording.pictures, **{session.first_id // IDS: session.experiment.pictures for session in sessions}}

    def read(stimulus_ids: Int[np.ndarray, " n"]) -> Pictures:
        out, faults = np.empty((len(stimulus_ids), 3, side, side), np.float32), PictureFaults()
        of_experiment = np.asarray(stimulus_ids) // IDS
        for place in np.unique(of_experiment).tolist():
            chosen = of_experiment == place
            with faults.collecting("a picture"):
                out[chosen] = readers[place](np.asarray(stimulus_ids)[chosen])
        faults.refuse(len(out))
        return out

    return read


def _captions(recording: Recording) -> Callable[[int], tuple[str, ...]] | None:
    """Return a reader of captions; further experiments have none, which is the empty text."""
    read = recording.captions
    return None if read is None else lambda number: ("",) if number >= IDS else read(number)


def _said(session: _Session) -> str:
    own = session.experiment
    return (
        f"Session {session.number} is {own.title} ({len(own.rows)} trials): it tests apart from all else, and enters neither "
        "training nor noise ceilings."
    )
