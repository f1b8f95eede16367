"""Laws of memory: reading a session holds its masked voxels and a few volumes, however many volumes the session has."""

import io
import tracemalloc

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from braindiffuser.datasets import beta_files, volumes
from braindiffuser.datasets.beta_files import read_betas
from braindiffuser.datasets.bids import BIDS
from braindiffuser.datasets.laion_fmri import LaionFMRI

SIDE, FEW, MANY = 28, 32, 128
VOLUME = SIDE**3 * 4
"""Bytes of a volume."""
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


@pytest.fixture(scope="module")
def mask():
    """Thirty voxels, so that what is kept weighs nothing beside a volume."""
    rng = np.random.default_rng(0)
    mask = np.zeros((SIDE, SIDE, SIDE), bool)
    mask.ravel()[rng.choice(mask.size, 30, replace=False)] = True
    return mask


def session(mask, n):
    """Betas of n trials, and their volumes: (x, y, z, n) float32, 0 outside the mask."""
    betas = np.random.default_rng(n).normal(size=(n, mask.sum())).astype(np.float32)
    values = np.zeros((*mask.shape, n), np.float32)
    values[mask] = betas.T
    return betas, values


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, AFFINE), path)


def picture():
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "JPEG")
    return stream.getvalue()


def bids(root, mask, values, suffix):
    """A run of a BIDS folder; returns what reads its betas."""
    n, stem = values.shape[-1], root / "sub-01/func/sub-01_task-x"
    save(stem.with_name(f"{stem.name}_betas{suffix}"), values)
    save(stem.with_name(f"{stem.name}_desc-brain_mask.nii.gz"), mask.astype(np.uint8))
    names = [f"p{number % 4}.jpg" for number in range(n)]
    pd.DataFrame({"stim_file": names}).to_csv(f"{stem}_trials.tsv", sep="\t", index=False)
    (root / "stimuli").mkdir()
    for name in set(names):
        (root / "stimuli" / name).write_bytes(picture())
    recording = BIDS(root=root, unit="z").open(root)
    return lambda: recording.betas_of(1)


def laion(root, mask, values, suffix):
    n, stem = values.shape[-1], root / "derivatives/glmsingle-tedana/sub-01/ses-01/func/sub-01_ses-01_task-images"
    save(stem.with_name(f"{stem.name}_space-T1w_stat-effect_desc-SingletrialBetas_statmap{suffix}"), values)
    subject = root / "derivatives/glmsingle-tedana/sub-01"
    save(subject / "sub-01_task-images_space-T1w_stat-rsquare_desc-R2mean_statmap.nii.gz", mask.astype(np.float32))
    names = [f"unique_{number % 4}.jpg" for number in range(n)]
    rows = {"session": "ses-01", "run": "run-01", "beta_index": range(n), "label": names}
    pd.DataFrame(rows).to_csv(f"{stem}_desc-SingletrialBetas_trials.tsv", sep="\t", index=False)
    (root / "stimuli").mkdir()
    pd.DataFrame({"image_name": names[:4]}).to_csv(root / "stimuli/task-images_metadata.csv", index=False)
    with h5py.File(root / "stimuli/task-images_stimuli.h5", "w") as file:
        images = file.create_dataset("images", (4,), dtype=h5py.vlen_dtype(np.uint8))
        for row in range(4):
            images[row] = np.frombuffer(picture(), np.uint8)
    recording = LaionFMRI(root=root, subject="sub-01", split=None).open(root)
    return lambda: recording.betas_of(1)


def nsd(root, mask, values, suffix):
    path = root / f"betas_session01{suffix}"
    root.mkdir(parents=True, exist_ok=True)
    if suffix == ".hdf5":
        with h5py.File(path, "w") as file:
            file["betas"] = values.transpose(3, 2, 1, 0)
    else:
        save(path, values)
    return lambda: read_betas(path, mask)


READERS = [
    *((reader, suffix) for reader in (bids, laion, nsd) for suffix in (".nii.gz", ".nii")),
    (nsd, ".hdf5"),
]


def peak_of(root, mask, n, reader, suffix):
    """Bytes that reading a session takes at most; what is read is compared with what was written."""
    betas, values = session(mask, n)
    read = reader(root / f"{n}", mask, values, suffix)
    del values
    tracemalloc.start()
    try:
        found = read()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found, betas)
    return peak


def growth(root, mask, reader, suffix):
    """Bytes by which the peak grows with further volumes, as a share of these volumes' own bytes."""
    few, many = (peak_of(root, mask, n, reader, suffix) for n in (FEW, MANY))
    return (many - few) / ((MANY - FEW) * VOLUME)


@pytest.mark.parametrize(("reader", "suffix"), READERS, ids=lambda each: getattr(each, "__name__", each))
def test_peak_memory_does_not_grow_with_the_number_of_volumes(tmp_path, mask, monkeypatch, reader, suffix):
    monkeypatch.setattr(beta_files, "SLAB_BYTES", VOLUME)
    assert growth(tmp_path, mask, reader, suffix) < 0.02


@pytest.mark.parametrize(("reader", "suffix"), READERS, ids=lambda each: getattr(each, "__name__", each))
def test_a_reader_of_the_whole_array_would_be_noticed(tmp_path, mask, monkeypatch, reader, suffix):
    monkeypatch.setattr(volumes, "VOLUMES_PER_BLOCK", 10 * MANY)
    monkeypatch.setattr(beta_files, "_read_hdf5", whole_hdf5)
    assert growth(tmp_path, mask, reader, suffix) > 0.9


def whole_hdf5(path, mask):
    with h5py.File(path, "r") as file:
        return file["betas"][()].transpose(3, 2, 1, 0)[mask].T


@pytest.mark.parametrize("budget", [1, 5 * SIDE * FEW * 4, 1 << 25])
def test_slabs_of_any_size_give_the_same_betas(tmp_path, mask, monkeypatch, budget):
    monkeypatch.setattr(beta_files, "SLAB_BYTES", budget)
    wide = mask | (np.random.default_rng(1).random(mask.shape) < 0.3)
    betas, values = session(wide, FEW)
    np.testing.assert_array_equal(nsd(tmp_path, wide, values, ".hdf5")(), betas)
