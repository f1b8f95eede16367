"""The files of a simulated recording, in NSD's own layout: names, shapes, number types, index base and axis order.

Facts about the layout: Allen et al. 2022, doi 10.1038/s41593-021-00962-x, and the NSD Data Manual. Ids in the design
and behaviour files, trials, sessions and runs count from 1; `nsdId` and the rows of pictures and captions from 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
from jaxtyping import Float32, Int, Shaped
from scipy.io import savemat

from braindiffuser.arrays import RawPictures
from braindiffuser.datasets.beta_files import BETA_SCALE, read_betas
from braindiffuser.datasets.noise_ceiling import NoiseCeilingAccumulator
from braindiffuser.datasets.nsd_layout import CAPTIONS, DESIGN, STIMULI, betas_folder, functional_folder, label_folder
from braindiffuser.files import replacing

MAT_HEADER = b"MATLAB 5.0 MAT-file, simulated by braindiffuser"
"""Text at the beginning of a .mat file; readers skip its 116 bytes."""
N_SUBJECTS = 8
VOXEL_SIZE = 1.8
RUNS = 12
BLANKS = 0.2
"""At least this share of a run's slots shows no picture."""
TRIAL_SECONDS = 4
CAPTION_TYPE = "<U250"


@dataclass(frozen=True)
class Design:
    """Which picture each trial shows; all numbers 1-based, as NSD stores them."""

    ordering: Int[np.ndarray, " n_trials"]
    """Number of the picture in the subject's own list, trial by trial; at most `len(shared)` for shared pictures."""
    subject_stimuli: Int[np.ndarray, "8 n_pictures"]
    """Each subject's own list of stimulus ids; the shared ones come first."""
    shared: Int[np.ndarray, " n_shared"]
    """Ids of the shared stimuli, ascending."""
    trial_pattern: Int[np.ndarray, "n_sessions n_runs n_slots"]
    """1 where a picture is shown, 0 for a blank."""

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli."""
        return int(self.subject_stimuli.shape[1])

    def trial_stimuli(self, subject: int) -> Int[np.ndarray, " n_trials"]:
        """Return the 0-based stimulus id of each trial of a subject (1-based)."""
        stimuli: Int[np.ndarray, " n_trials"] = self.subject_stimuli[subject - 1, self.ordering - 1] - 1
        return stimuli


def draw_design(
    n_shared: int, n_pictures: int, n_repeats: int, trials_per_session: int, rng: np.random.Generator
) -> Design:
    """Draw the order of trials, with the repeats of a picture spread over the sessions.

    Repeat r of a picture comes at time r + 1.5 u with u uniform in [0, 1]. With three repeats, the last fifth of the
    trials are all third ones: leaving out a few last sessions loses repeats but no picture.

    In NSD subjects see different pictures beside the shared ones. Here they see the same, in other places of their
    lists.
    """
    times = np.arange(n_repeats) + 1.5 * rng.random((n_pictures, n_repeats))
    ordering = np.argsort(times, axis=None) // n_repeats + 1
    ids = rng.permutation(n_pictures) + 1
    shared, others = np.sort(ids[:n_shared]), ids[n_shared:]
    lists = [np.concatenate([shared, rng.permutation(others)]) for _ in range(N_SUBJECTS)]
    n_runs = min(RUNS, trials_per_session)
    n_slots = int(np.ceil(-(-trials_per_session // n_runs) / (1 - BLANKS)))
    pattern = np.zeros((len(ordering) // trials_per_session, n_runs, n_slots), int)
    for session in pattern:
        for run, n_shown in zip(session, _split_evenly(trials_per_session, n_runs), strict=True):
            run[rng.choice(n_slots, n_shown, replace=False)] = 1
    return Design(ordering, np.stack(lists), shared, pattern)


def _split_evenly(n: int, parts: int) -> list[int]:
    return [n // parts + (part < n % parts) for part in range(parts)]


def write_design(folder: Path, design: Design) -> None:
    """Write `nsd_expdesign.mat` (all double, 1-based) and `nsd_stim_info_merged.csv`."""
    variables = {
        "masterordering": design.ordering[None],
        "subjectim": design.subject_stimuli,
        "sharedix": design.shared[None],
        "stimpattern": design.trial_pattern,
    }
    with replacing(folder / DESIGN) as path:
        savemat(path, {name: values.astype(np.float64) for name, values in variables.items()})
        with path.open("r+b") as file:  # SciPy writes the time here; the same settings must give the same bytes
            file.write(MAT_HEADER.ljust(116))
    with replacing(folder / DESIGN.with_name("nsd_stim_info_merged.csv")) as path:
        _stimulus_table(design).to_csv(path)


def _stimulus_table(design: Design) -> pd.DataFrame:
    """Tabulate stimuli with NSD's columns; a simulated stimulus has no COCO id, so `cocoId` is 0."""
    n = design.n_stimuli
    columns: dict[str, Any] = {"cocoId": 0, "cocoSplit": "simulated", "cropBox": "(0.0, 0.0, 0.0, 0.0)", "loss": 0.0}
    columns |= {"nsdId": np.arange(n), "flagged": False, "BOLD5000": False}
    columns["shared1000"] = np.isin(np.arange(n) + 1, design.shared)
    columns |= {f"subject{subject}": 1 for subject in range(1, N_SUBJECTS + 1)}
    for subject in range(1, N_SUBJECTS + 1):
        # stable sorting keeps the trials of a stimulus in order: row = stimulus, column = repeat
        trials = np.argsort(design.trial_stimuli(subject), kind="stable").reshape(n, -1) + 1
        columns |= {f"subject{subject}_rep{repeat}": numbers for repeat, numbers in enumerate(trials.T)}
    return pd.DataFrame(columns, index=np.arange(n))


def write_stimuli(folder: Path, raw: RawPictures, captions: Sequence[Sequence[str]]) -> None:
    """Write `nsd_stimuli.hdf5` and five captions per stimulus, both by 0-based id."""
    with replacing(folder / STIMULI) as path, h5py.File(path, "w") as file:
        file.create_dataset("imgBrick", data=raw)
    with replacing(folder / CAPTIONS) as path:
        np.save(path, np.array(captions, CAPTION_TYPE))


def write_behaviour(folder: Path, subject: int, design: Design, n_trials: int, rng: np.random.Generator) -> None:
    """Write `responses.tsv`: one row per recorded trial, in the order of the betas, with simulated judgements."""
    stimuli = design.trial_stimuli(subject)[:n_trials]
    runs = design.trial_pattern.sum(2)  # (n_sessions, n_runs)
    slots = np.argwhere(design.trial_pattern)[:n_trials]  # session, run and slot of each trial, 0-based
    session = slots[:, 0]
    start_of_run = np.concatenate([[0], np.cumsum(runs.ravel())])[session * runs.shape[1] + slots[:, 1]]
    trials = pd.Series(np.arange(n_trials))
    previous, first = trials.groupby(stimuli).shift(), trials.groupby(stimuli).transform("min")
    is_old = previous.notna()
    old_in_session = trials.groupby([stimuli, session]).cumcount() > 0
    correct = rng.random(n_trials) < 0.85
    seconds = slots[:, 1] * TRIAL_SECONDS * design.trial_pattern.shape[2] + slots[:, 2] * TRIAL_SECONDS
    table = {
        "SUBJECT": subject,
        "SESSION": session + 1,
        "RUN": slots[:, 1] + 1,
        "TRIAL": trials - start_of_run + 1,
        "73KID": stimuli + 1,
        "10KID": design.ordering[:n_trials],
        "TIME": 7 * session + 0.5 + seconds / 86400,  # days; one session a week, at noon
        "ISOLD": is_old.astype(int),
        "ISCORRECT": correct.astype(int),
        "RT": np.round(rng.lognormal(6.6, 0.3, n_trials), 3),  # ms
        "CHANGEMIND": 0,
        "MEMORYRECENT": trials - previous - 1,
        "MEMORYFIRST": (trials - first - 1).where(is_old),
        "ISOLDCURRENT": old_in_session.astype(int),
        "ISCORRECTCURRENT": (correct == (old_in_session == is_old)).astype(int),
        "TOTAL1": (correct != is_old).astype(int),  # presses of "new"
        "TOTAL2": (correct == is_old).astype(int),  # presses of "old"
        "BUTTON": 1 + (correct == is_old).astype(int),
        "MISSINGDATA": 0,
    }
    with replacing(functional_folder(folder, subject).with_name("behav") / "responses.tsv") as temporary:
        pd.DataFrame(table).to_csv(temporary, sep="\t", index=False, na_rep="NaN")


def write_anatomy(
    folder: Path, subject: int, grid: tuple[int, int, int], brain: pd.DataFrame, labels: Mapping[str, Sequence[str]]
) -> None:
    """Write brain mask, pRF volumes, ROI volumes (−1 no cortex, 0 no label, from 1 the labels) and label tables."""
    functional = functional_folder(folder, subject)
    _write_volume(functional / "brainmask.nii.gz", np.ones(len(brain), np.int16), brain, grid)
    for name in ("angle", "eccentricity", "size"):
        outside = np.nan if name == "angle" else 0.0  # as where eccentricity is 0
        values = brain[f"prf_{name}"].fillna(outside).to_numpy(np.float32)
        _write_volume(functional / f"prf_{name}.nii.gz", values, brain, grid, outside)
    cortex, left = brain["cortex"], brain["hemisphere"] == "lh"
    for roi, names in labels.items():
        for prefix, side in {"": cortex, "lh.": cortex & left, "rh.": cortex & ~left}.items():
            values = np.where(side, brain[roi], -1).astype(np.float64)
            _write_volume(functional / "roi" / f"{prefix}{roi}.nii.gz", values, brain, grid, -1.0)
        lines = [f"{number} {name}" for number, name in enumerate(["Unknown", *names])]
        with replacing(label_folder(folder, subject) / f"{roi}.mgz.ctab") as path:
            path.write_text("\n".join(lines) + "\n")


def write_validity(
    folder: Path,
    subject: int,
    grid: tuple[int, int, int],
    brain: pd.DataFrame,
    valid: Shaped[np.ndarray, " n_brain"],
    session: int | None = None,
) -> None:
    """Write `valid_sessionNN.nii.gz` (0 or 1), or without a session `valid.nii.gz` (share of sessions)."""
    name = "valid.nii.gz" if session is None else f"valid_session{session:02}.nii.gz"
    _write_volume(functional_folder(folder, subject) / name, valid, brain, grid)


def write_betas(
    path: Path, percent: Float32[np.ndarray, "n_trials n_brain"], brain: pd.DataFrame, grid: tuple[int, int, int]
) -> None:
    """Write one session: int16 of percent signal change × 300.

    HDF5 holds (trial, z, y, x) in chunks of all trials of one voxel, NIfTI (x, y, z, trial).
    """
    volume = np.zeros((len(percent), *grid[::-1]), np.int16)
    limits = np.iinfo(np.int16)
    betas = np.clip(np.rint(percent * np.float32(BETA_SCALE)), limits.min, limits.max)
    volume[:, brain["z"], brain["y"], brain["x"]] = betas
    with replacing(path) as temporary:
        if path.suffix == ".hdf5":
            with h5py.File(temporary, "w") as file:
                file.create_dataset("betas", data=volume, chunks=(len(percent), 1, 1, 1))
        else:
            nib.save(_nifti(volume.transpose(3, 2, 1, 0)), temporary)


def write_ncsnr(folder: Path, subject: int, session_paths: Sequence[Path], design: Design, brain: pd.DataFrame) -> None:
    """Measure `ncsnr.nii.gz` on the betas that were written (session 1 first), as NSD does."""
    grid = nib.load(functional_folder(folder, subject) / "brainmask.nii.gz").shape
    mask = np.zeros(grid, bool)
    mask[brain["x"], brain["y"], brain["z"]] = True  # the brain's rows are in C order
    per_session = np.split(design.trial_stimuli(subject), len(design.trial_pattern))[: len(session_paths)]
    trials = pd.DataFrame({"stimulus_id": np.concatenate(per_session)})
    accumulator = NoiseCeilingAccumulator(trials, len(brain), "three-trials")
    for path, stimulus_ids in zip(session_paths, per_session, strict=True):
        accumulator.add(stimulus_ids, read_betas(path, mask))
    _write_volume(betas_folder(folder, subject) / "ncsnr.nii.gz", accumulator.finish(), brain, grid)


def _write_volume(
    path: Path,
    values: Shaped[np.ndarray, " n_brain"],
    brain: pd.DataFrame,
    grid: tuple[int, int, int],
    outside: float = 0.0,
) -> None:
    volume = np.full(grid, outside, values.dtype)
    volume[brain["x"], brain["y"], brain["z"]] = values
    with replacing(path) as temporary:
        nib.save(_nifti(volume), temporary)


def _nifti(volume: Shaped[np.ndarray, "x y z *trials"]) -> nib.Nifti1Image:
    """Wrap a volume with NSD's header: world 0 at the centre, sform_code 1, qform_code 0."""
    affine = np.diag([VOXEL_SIZE, VOXEL_SIZE, VOXEL_SIZE, 1.0])
    affine[:3, 3] = [(1 - (n + 1) / 2) * VOXEL_SIZE for n in volume.shape[:3]]
    image = nib.Nifti1Image(volume, affine)
    image.set_sform(affine, 1)
    image.set_qform(None, 0)
    if volume.ndim == 4:
        image.header["pixdim"][4] = 4 / 3
    return image
