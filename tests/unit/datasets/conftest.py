"""A tiny tree of random numbers in NSD's own layout: 2 subjects, 3 sessions of unequal length, 12 × 10 × 8 voxels."""

from dataclasses import dataclass, field
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from braindiffuser.datasets.splits import number_repeats

GRID = (12, 10, 8)
AFFINE = np.array([[1.8, 0, 0, -9.9], [0, 1.8, 0, -8.1], [0, 0, 1.8, -6.3], [0, 0, 0, 1.0]])
N_SHARED, N_OWN, N_SUBJECTS, N_STIMULI = 6, 30, 2, 54
TRIALS_PER_SESSION = (34, 26, 30)
HDF5, NIFTI = "betas_fithrf_GLMdenoise_RR", "betas_fithrf"
INVALID = (5, 4, 3)
"""A voxel of the mask that has no data in session 2 of subject 1."""


@dataclass
class Tree:
    """What was written, as plain arrays: the truth that readers are compared with."""

    root: Path
    mask: np.ndarray
    labels: dict[str, np.ndarray]
    masterordering: np.ndarray
    subjectim: np.ndarray
    sharedix: np.ndarray
    pictures: np.ndarray
    captions: np.ndarray
    stored: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    def betas_folder(self, version: str = HDF5, subject: int = 1) -> Path:
        return self.root / "nsddata_betas/ppdata" / f"subj{subject:02d}" / "func1pt8mm" / version

    def roi_folder(self, subject: int = 1) -> Path:
        return self.root / "nsddata/ppdata" / f"subj{subject:02d}" / "func1pt8mm/roi"

    @property
    def label_folder(self) -> Path:
        return self.root / "nsddata/freesurfer/subj01/label"


def write_nifti(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), path)


def write_hdf5(path: Path, values: np.ndarray) -> None:
    """Write (x, y, z, trial) as h5py shows what MATLAB wrote: (trial, z, y, x), one voxel per chunk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("betas", data=values.transpose(3, 2, 1, 0), chunks=(values.shape[3], 1, 1, 1))


def make_stimpattern(rng: np.random.Generator) -> np.ndarray:
    pattern = np.zeros((len(TRIALS_PER_SESSION), 4, 10))
    for session, n_trials in enumerate(TRIALS_PER_SESSION):
        pattern[session].flat[np.sort(rng.permutation(40)[:n_trials])] = 1
    return pattern


def make_labels(rng: np.random.Generator, mask: np.ndarray) -> dict[str, np.ndarray]:
    """Label volumes: −1 outside cortex, here half of the grid; mTL-bodies is empty."""
    cortex = rng.random(GRID) < 0.7
    n_labels = {
        "prf-visualrois": 7,
        "prf-eccrois": 5,
        "floc-faces": 5,
        "floc-words": 5,
        "floc-places": 3,
        "floc-bodies": 3,
    }
    volumes = {name: np.where(cortex, rng.integers(0, n + 1, GRID), -1) for name, n in n_labels.items()}
    return {"nsdgeneral": np.where(mask, 1, np.where(cortex, 0, -1)), **volumes}


def write_nsd_tree(root: Path) -> Tree:
    rng = np.random.default_rng(20)
    ids = rng.permutation(N_STIMULI) + 1
    shared = np.sort(ids[:N_SHARED])
    own = ids[N_SHARED:].reshape(N_SUBJECTS, -1)
    subjectim = np.hstack([np.tile(shared, (N_SUBJECTS, 1)), own])
    mask = np.zeros(GRID, bool)
    mask[2:9, 1:7, 1:6] = rng.random((7, 6, 5)) < 0.3
    mask[INVALID] = True
    tree = Tree(
        root=root,
        mask=mask,
        labels=make_labels(rng, mask),
        masterordering=rng.permutation(np.repeat(np.arange(1, N_OWN + 1), 3)),
        subjectim=subjectim,
        sharedix=shared,
        pictures=rng.integers(0, 256, (N_STIMULI, 12, 12, 3), dtype=np.uint8),
        captions=np.array(
            [[f"picture {i}", "", " ", f"again {i}" if i % 2 else "", ""] for i in range(N_STIMULI)], "<U250"
        ),
    )
    _write_design_and_stimuli(tree, rng)
    for subject in range(1, N_SUBJECTS + 1):
        for name, volume in tree.labels.items():
            write_nifti(tree.roi_folder(subject) / f"{name}.nii.gz", volume.astype(np.float64))
        _write_betas(tree, subject, rng)
    return tree


def _write_design_and_stimuli(tree: Tree, rng: np.random.Generator) -> None:
    design = tree.root / "nsddata/experiments/nsd/nsd_expdesign.mat"
    stimuli = tree.root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
    captions = tree.root / "annots/COCO_73k_annots_curated.npy"
    for path in (design, stimuli, captions):
        path.parent.mkdir(parents=True)
    variables = {
        "masterordering": tree.masterordering[None],
        "subjectim": tree.subjectim,
        "sharedix": tree.sharedix[None],
        "stimpattern": make_stimpattern(rng),
    }
    savemat(design, {name: value.astype(np.float64) for name, value in variables.items()})
    with h5py.File(stimuli, "w") as file:
        file["imgBrick"] = tree.pictures
    np.save(captions, tree.captions)


def _write_betas(tree: Tree, subject: int, rng: np.random.Generator) -> None:
    """Percent signal change = the picture's response + the session's drift + noise, 0 outside the brain."""
    signal = rng.normal(size=(*GRID, N_OWN + 1))
    first = 0
    write_nifti(tree.betas_folder(HDF5, subject) / "ncsnr.nii.gz", np.ones(GRID))
    for session, n_trials in enumerate(TRIALS_PER_SESSION, start=1):
        order = tree.masterordering[first : first + n_trials]
        percent = signal[..., order] + 0.5 * rng.normal(size=(*GRID, 1)) + rng.normal(size=(*GRID, n_trials))
        percent[0] = 0
        if (subject, session) == (1, 2):
            percent[INVALID] = 0
        stored = np.rint(percent * 300).astype(np.int16)
        tree.stored[subject, session] = stored
        write_hdf5(tree.betas_folder(HDF5, subject) / f"betas_session{session:02d}.hdf5", stored)
        write_nifti(tree.betas_folder(NIFTI, subject) / f"betas_session{session:02d}.nii.gz", stored)
        first += n_trials


@pytest.fixture(scope="session")
def nsd_tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """One tree for all tests that only read."""
    return write_nsd_tree(tmp_path_factory.mktemp("nsd"))


@pytest.fixture
def damaged_tree(tmp_path: Path) -> Tree:
    """A tree of one's own, to damage."""
    return write_nsd_tree(tmp_path / "nsd")


@dataclass
class Trials:
    """A trial table and its betas, session by session."""

    table: pd.DataFrame
    betas: dict[int, np.ndarray]

    @property
    def n_voxels(self) -> int:
        return next(iter(self.betas.values())).shape[1]


def make_trials(seed: int, n_sessions: int = 3, n_stimuli: int = 12, n_voxels: int = 5, max_repeats: int = 4) -> Trials:
    """Random trials: stimuli 0, 3, 6 … are test; repeats from 1 to `max_repeats`, every session has training trials."""
    rng = np.random.default_rng(seed)
    repeats = rng.integers(1, max_repeats + 1, n_stimuli)
    repeats[1] = 3
    stimulus_ids = rng.permutation(np.repeat(np.arange(n_stimuli), repeats))
    stimulus_ids = np.concatenate([stimulus_ids, np.tile([100, 101, 102], n_sessions)])
    sessions = np.concatenate([rng.integers(1, n_sessions + 1, repeats.sum()), np.repeat(range(1, n_sessions + 1), 3)])
    order = np.argsort(sessions, kind="stable")
    table = pd.DataFrame(
        {
            "subject": "subj01",
            "session": sessions[order],
            "run": 1,
            "trial": np.arange(len(order)),
            "stimulus_id": stimulus_ids[order],
            "repeat": number_repeats(stimulus_ids[order]),
            "split": np.where((stimulus_ids[order] % 3 == 0) & (stimulus_ids[order] < 100), "test", "train"),
        }
    )
    betas = {
        session: (rng.normal(size=(int((table["session"] == session).sum()), n_voxels)) + session).astype(np.float32)
        for session in range(1, n_sessions + 1)
    }
    return Trials(table, betas)


@pytest.fixture(scope="session")
def trials_factory():
    return make_trials


@pytest.fixture(scope="session")
def file_writers():
    """Writers of NIfTI and HDF5 files, for tests that damage a tree."""
    return write_nifti, write_hdf5
