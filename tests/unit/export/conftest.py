"""A small recording of a lab, with a volume or without, and runs of it."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from braindiffuser.experiment import Experiment
from braindiffuser.run import Run

N_STIMULI = 16
AFFINE = np.array([[2.0, 0, 0, -9], [0, 2.5, 0, -10], [0, 0, 3.0, -8], [0, 0, 0, 1]])
SIGNAL = 3.0
"""Spread of the responses to pictures; noise has 1, but for the last voxels, which have no signal."""


def write_lab(root, seed=0, volume=True):
    """Draw pictures, a split, betas and regions; return what was drawn."""
    rng = np.random.default_rng(seed)
    (root / "pictures").mkdir(parents=True)
    names = [f"p{number:02}.png" for number in range(N_STIMULI)]
    for number, name in enumerate(names):
        raw = rng.integers(0, 256, (1, 1, 3), np.uint8).repeat(32, 0).repeat(32, 1)
        raw[: 4 + number] = 255 - raw[: 4 + number]
        Image.fromarray(raw).save(root / "pictures" / name)
    mask = rng.random((4, 5, 3)) < 0.6
    n = int(mask.sum())
    shown = rng.permutation(np.repeat(np.arange(N_STIMULI), 3))
    signal = rng.normal(0, SIGNAL, (N_STIMULI, n))
    signal[:, -5:] = 0
    betas = (signal[shown] + rng.normal(size=(len(shown), n))).astype(np.float32)
    kind = rng.permutation(np.arange(n) % 3)
    rois = {"V1": kind == 0, "v-1": kind == 1, "floc faces": kind == 2}
    is_test = np.isin(np.arange(N_STIMULI), rng.permutation(N_STIMULI)[:5])
    table = {"session": np.arange(len(shown)) // 24 + 1, "stim_file": [names[number] for number in shown]}
    pd.DataFrame({**table, "split": np.where(is_test[shown], "test", "train")}).to_csv(root / "trials.csv", index=False)
    np.save(root / "responses.npy", betas)
    np.savez(root / "rois.npz", **rois)
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), AFFINE), root / "mask.nii.gz")
    places = rng.normal(size=(n, 3)).round(3)
    pd.DataFrame(places, columns=list("xyz")).to_csv(root / "voxels.csv", index=False)
    files = {"responses": "responses.npy", "trials": "trials.csv", "pictures": "pictures", "rois": "rois.npz"}
    files |= {"mask": "mask.nii.gz"} if volume else {"voxels": "voxels.csv"}
    dataset = {"kind": "arrays", "unit": "z", "subject": "sub-07", **{key: str(root / f) for key, f in files.items()}}
    return SimpleNamespace(root=root, dataset=dataset, mask=mask, rois=rois, names=names, places=places, n=n)


def prepare(lab, folder, **changes):
    """Run the first stage."""
    run = Run.open(Experiment.load("demo").changed({"name": "lab", "dataset": lab.dataset, **changes}), folder)
    run.do("prepare")
    return run


@pytest.fixture
def lab(tmp_path):
    return write_lab(tmp_path / "lab")


@pytest.fixture
def run(lab, tmp_path):
    return prepare(lab, tmp_path / "run")
