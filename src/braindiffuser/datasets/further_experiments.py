"""Further experiments with a person of NSD: what their readers return, and how a file that is not there is told."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from braindiffuser.arrays import Pictures
from braindiffuser.errors import RecordingError


@dataclass(frozen=True, eq=False)
class FurtherExperiment:
    """An experiment of one session, whose trials test decoders that were fitted on NSD, and never train.

    Attributes:
        title: its name on the page.
        design: file that says what was shown, for messages.
        n_betas: betas that the design plans.
        rows: the beta of each trial that is used, counted from 0, ascending.
        runs: run of each trial, from 1.
        stimulus_ids: what each trial showed, or asked to imagine.
        pictures: reads stimuli by these ids: (n,) → (n, 3, side, side), float32 in [0, 1].
        sets: name of a test set → ids of its stimuli, ascending.
        notes: name of a test set → its title and what a reader should know of it.
        imagined: names of those test sets whose stimuli were imagined, not seen.
        remarks: sentences on what a reader might not expect.
    """

    title: str
    design: Path
    n_betas: int
    rows: Int[np.ndarray, " n_trials"]
    runs: Int[np.ndarray, " n_trials"]
    stimulus_ids: Int[np.ndarray, " n_trials"]
    pictures: Callable[[Int[np.ndarray, " n"]], Pictures]
    sets: Mapping[str, Int[np.ndarray, " _"]]
    notes: Mapping[str, tuple[str, str]]
    imagined: tuple[str, ...]
    remarks: tuple[str, ...]


def fetch_of(root: Path, subject: int, fetched_as: str) -> str:
    """Return the command that brings the files of an experiment."""
    return shlex.join(["braindiffuser", "fetch", fetched_as, str(root), "--subjects", f"subj{subject:02}"])


def require(path: Path, holds: str, fetched_as: str, root: Path, subject: int) -> Path:
    """Return the path of a file that is there.

    Args:
        path: of the file.
        holds: what is in it.
        fetched_as: name of the experiment in `braindiffuser fetch`.
        root: below which it lies.
        subject: number from 1.

    Raises:
        RecordingError: it is missing; says where it comes from.
    """
    if not path.is_file():
        name = fetched_as.removeprefix("nsd_")
        raise RecordingError(
            f"{path} is missing; it holds {holds}: download it by `{fetch_of(root, subject, fetched_as)}`, or leave "
            f"{name} out of dataset.further"
        )
    return path
