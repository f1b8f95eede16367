"""Peak memory and time of reading one session of LAION-fMRI's size: 143³ voxels × 1,060 volumes of float32 in a .nii.gz file.

    python benchmarks/session_memory.py [--side 143] [--volumes 1060] [--share 0.08] [--json FILE] [--folder FOLDER]

The session is simulated: betas are random in the mask, a ball that holds the given share of the voxels (8 %, about a brain's
230,000 voxels of 1.8 mm), and 0 elsewhere, so that 12 GB pack into about 1 GB on disk. It is written volume by volume in
LAION-fMRI's layout, and a fresh process reads it by that layout's reader, which keeps the masked voxels and holds a few volumes
beside them. A few minutes at full size.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
from PIL import Image

from braindiffuser.datasets.laion_fmri import LaionFMRI

SUBJECT, N_PICTURES = "sub-01", 265
AFFINE = np.array([[1.8, 0, 0, -128.7], [0, 1.8, 0, -128.7], [0, 0, 1.8, -128.7], [0, 0, 0, 1]])


def ball(side: int, share: float) -> np.ndarray:
    """Mask of the voxels nearest to the middle, so many that they are the share of all."""
    axis = np.arange(side) - (side - 1) / 2
    distance = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2
    return np.asarray(distance <= np.quantile(distance, share))


def write_volumes(path: Path, mask: np.ndarray, n: int) -> None:
    """Write a 4-D file of which one volume is in memory at a time."""
    header = nib.Nifti1Image(np.zeros((1, 1, 1, 1), np.float32), AFFINE).header
    header.set_data_shape((*mask.shape, n))
    header.set_data_offset(352)
    rng, places = np.random.default_rng(0), np.flatnonzero(mask.ravel(order="F"))
    volume = np.zeros(mask.size, np.float32)
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(header.binaryblock + bytes(4))
        for _ in range(n):
            volume[places] = rng.standard_normal(len(places), dtype=np.float32)
            stream.write(volume.tobytes())


def write_session(root: Path, side: int, n: int, share: float) -> None:
    """Write one session in LAION-fMRI's layout: betas, trials, mask, pictures and their table."""
    subject, mask = root / "derivatives/glmsingle-tedana" / SUBJECT, ball(side, share)
    stem = subject / f"ses-01/func/{SUBJECT}_ses-01_task-images"
    stem.parent.mkdir(parents=True)
    write_volumes(Path(f"{stem}_space-T1w_stat-effect_desc-SingletrialBetas_statmap.nii.gz"), mask, n)
    fit = nib.Nifti1Image(mask.astype(np.float32), AFFINE)
    nib.save(fit, subject / f"{SUBJECT}_task-images_space-T1w_stat-rsquare_desc-R2mean_statmap.nii.gz")
    names = [f"unique_LAION_{number}.jpg" for number in range(N_PICTURES)]
    trials = {
        "session": "ses-01",
        "run": "run-01",
        "beta_index": range(n),
        "label": [names[i % N_PICTURES] for i in range(n)],
    }
    pd.DataFrame(trials).to_csv(f"{stem}_desc-SingletrialBetas_trials.tsv", sep="\t", index=False)
    (root / "stimuli").mkdir()
    pd.DataFrame({"image_name": names}).to_csv(root / "stimuli/task-images_metadata.csv", index=False)
    stream = io.BytesIO()
    Image.new("RGB", (64, 64)).save(stream, "JPEG")
    with h5py.File(root / "stimuli/task-images_stimuli.h5", "w") as file:
        images = file.create_dataset("images", (N_PICTURES,), dtype=h5py.vlen_dtype(np.uint8))
        for row in range(N_PICTURES):
            images[row] = np.frombuffer(stream.getvalue(), np.uint8)


def read_session(root: Path) -> dict[str, float]:
    """Read the session as a run does, and tell what it took; `before_gb` is the peak before betas are read."""
    recording = LaionFMRI(root=root, subject=SUBJECT, split=None).open(root)
    before, started = peak_gb(), time.perf_counter()
    betas = recording.betas_of(1)
    return {
        "n_voxels": betas.shape[1],
        "kept_gb": round(betas.nbytes / 2**30, 3),
        "before_gb": before,
        "peak_rss_gb": peak_gb(),
        "reading_s": round(time.perf_counter() - started, 1),
    }


def peak_gb() -> float:
    """Largest resident memory of this process so far, in GiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3)


def main() -> None:
    """Write a session, read it in a process of its own, and print what it took as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=143, help="voxels along each side")
    parser.add_argument("--volumes", type=int, default=1060)
    parser.add_argument("--share", type=float, default=0.08, help="share of voxels in the mask")
    parser.add_argument("--json", type=Path, help="also write the result there")
    parser.add_argument("--folder", type=Path, help="where the session is written and removed again; 1 GB at full size")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read is not None:
        print(json.dumps(read_session(given.read)))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        started = time.perf_counter()
        write_session(Path(folder), given.side, given.volumes, given.share)
        written = round(time.perf_counter() - started, 1)
        command = [sys.executable, __file__, "--read", folder]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    whole = round(given.side**3 * given.volumes * 4 / 2**30, 3)
    result = {"side": given.side, "n_volumes": given.volumes, "whole_gb": whole, **told, "writing_s": written}
    print(json.dumps(result))
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
