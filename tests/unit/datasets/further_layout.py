"""Writes tiny further experiments of NSD, NSD-synthetic and NSD-Imagery, beside a recording in NSD's layout."""

from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from scipy.io import savemat

N_COMMON, N_OWN = 7, 4
SIZE = (24, 40)
"""Height and width of the pictures of NSD-synthetic."""
RUNS = ("visA", "attA", "imgA_1", "visB", "attB", "imgB_1", "visC", "attC", "imgC_1", "imgA_2", "imgB_2", "imgC_2")
CUES = {"A": "HRV", "B": "WKB", "C": "SZ"}
WITH_PICTURES = "HRVWKB"
N_IN_RUN = 6
VERSION = "betas_fithrf_GLMdenoise_RR"


@dataclass
class Further:
    """What was written, as plain arrays.

    Attributes:
        root: of the recording.
        masterordering: picture of each trial of NSD-synthetic, from 1.
        runs: run of each, from 1.
        linear: (n_pictures, height, width, 3), as stored.
        events: of NSD-Imagery: kind, letter and volume, of each trial.
        letters: letter → its picture.
        stored: experiment → betas (x, y, z, trial), int16.
    """

    root: Path
    masterordering: np.ndarray
    runs: np.ndarray
    linear: np.ndarray
    events: list[tuple[str, str, int]] = field(default_factory=list)
    letters: dict[str, np.ndarray] = field(default_factory=dict)
    stored: dict[str, np.ndarray] = field(default_factory=dict)

    def betas(self, name: str, suffix: str = "hdf5", subject: int = 1) -> Path:
        folder = self.root / "nsddata_betas/ppdata" / f"subj{subject:02}" / "func1pt8mm" / f"nsd{name}{VERSION}"
        return folder / f"betas_nsd{name}.{suffix}"

    @property
    def synthetic_design(self) -> Path:
        return self.root / "nsddata/experiments/nsdsynthetic/nsdsynthetic_expdesign.mat"

    @property
    def synthetic_stimuli(self) -> tuple[Path, Path]:
        folder = self.root / "nsddata_stimuli/stimuli/nsdsynthetic"
        return folder / "nsdsynthetic_stimuli.hdf5", folder / "nsdsynthetic_colorstimuli_subj01.hdf5"

    def imagery_trials(self, run: str) -> Path:
        return self.root / "nsddata/bdata/nsdimagery" / f"nsdimagery_subj01_{run}.tsv"

    @property
    def by_cue(self) -> Path:
        return self.root / "nsddata_stimuli/stimuli/nsdimagery/by_cue"


def write_further(root: Path, grid: tuple[int, int, int], seed: int = 0) -> Further:
    """Write both experiments of subject 1; betas are noise."""
    rng = np.random.default_rng(seed)
    n_pictures = N_COMMON + N_OWN
    order = rng.permutation(np.concatenate([np.repeat(np.arange(n_pictures), 3), [0, 1, 2]])) + 1
    pattern = np.zeros((1, 4, 20))
    pattern[0].flat[np.sort(rng.permutation(80)[: len(order)])] = 1
    runs = np.repeat(np.arange(1, 5), pattern[0].sum(axis=1).astype(int))
    further = Further(root, order, runs, rng.integers(1, 256, (n_pictures, *SIZE, 3), dtype=np.uint8))
    _write_synthetic(further, pattern)
    _write_imagery(further, rng)
    for name, n_trials in (("synthetic", len(order)), ("imagery", sum(_n_betas(run) for run in RUNS))):
        further.stored[name] = np.rint(300 * rng.normal(size=(*grid, n_trials))).astype(np.int16)
        write_betas(further, name)
    return further


def write_betas(further: Further, name: str) -> None:
    path, values = further.betas(name), further.stored[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["betas"] = values.transpose(3, 2, 1, 0)


def write_synthetic_design(further: Further, masterordering: np.ndarray, pattern: np.ndarray) -> None:
    variables = {"masterordering": masterordering[None].astype(float), "stimpattern": pattern.astype(float)}
    savemat(further.synthetic_design, variables)


def _write_synthetic(further: Further, pattern: np.ndarray) -> None:
    further.synthetic_design.parent.mkdir(parents=True)
    write_synthetic_design(further, further.masterordering, pattern)
    common, own = further.synthetic_stimuli
    common.parent.mkdir(parents=True)
    for path, pictures in ((common, further.linear[:N_COMMON]), (own, further.linear[N_COMMON:])):
        with h5py.File(path, "w") as file:
            file["imgBrick"] = pictures


def _n_betas(run: str) -> int:
    return N_IN_RUN * (2 if run.startswith("att") else 1)


def _write_imagery(further: Further, rng: np.random.Generator) -> None:
    volume = 0
    for run in RUNS:
        path = further.imagery_trials(run)
        path.parent.mkdir(parents=True, exist_ok=True)
        letters = rng.permutation(np.resize(list(CUES[run[3]]), N_IN_RUN)).tolist()
        path.write_text("SUBJECT\tCONDITION\n" + "".join(f"1\t{letter}\n" for letter in letters))
        for letter in letters:
            last = volume + (1 if run.startswith("att") else 0)
            further.events.append((run[:3], letter, last))
            volume = last + 1
    further.by_cue.mkdir(parents=True)
    for letter in WITH_PICTURES:
        further.letters[letter] = rng.integers(1, 256, (30, 30, 3), dtype=np.uint8)
        Image.fromarray(further.letters[letter]).save(further.by_cue / f"{letter}.png")
