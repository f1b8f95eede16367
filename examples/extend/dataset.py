"""A dataset of one's own: a recording of plain files, as a lab without NSD's layout may have one.

    FOLDER/trials.csv      one row per trial: session, stimulus_id (from 0), split (train or test)
    FOLDER/betas.npy       (n_trials, n_voxels) float32, percent signal change, rows in the order of trials.csv
    FOLDER/pictures.npy    (n_stimuli, height, width, 3) uint8
    FOLDER/captions.json   one list of captions per stimulus

Without captions, leave `captions` of the `Recording` out, and let the property `has_captions` of the class return False.

This line of an experiment file reads it:

    dataset: {kind: dataset:PlainFiles, root: made-up, simulated: true}

Run in this folder; the first command writes a tiny, made-up recording to try it with:

    python dataset.py made-up
    braindiffuser run --config dataset.yaml --with dataset --out RUN
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field

from braindiffuser.datasets import Dataset, Folder, Recording, Voxels
from braindiffuser.errors import RecordingError
from braindiffuser.images import from_uint8
from braindiffuser.part import runtime

FILES = {"design": "trials.csv", "betas": "betas.npy", "stimuli": "pictures.npy", "captions": "captions.json"}


class PlainFiles(Dataset):
    """Trials, betas, pictures and captions of one subject, one file each."""

    root: Folder = runtime(
        description="Folder of the four files; it enters no identity: what they hold counts, not where."
    )
    simulated: bool = Field(False, description="Whether no brain was recorded; the page says so.")

    def files(self) -> Mapping[str, Mapping[str, Path]]:
        """List the files by what they hold. Their contents are the recording's identity."""
        return {role: {name: self.root / name} for role, name in FILES.items() if (self.root / name).is_file()}

    @property
    def folder(self) -> Path:
        """The folder, which no run may be written into."""
        return self.root

    def open(self, made: Path) -> Recording:
        """Read the trial table; open the arrays, of which only what is asked for is read."""
        missing = sorted(set(FILES) - self.files().keys())
        if missing:
            raise RecordingError(f"{self.root} lacks {FILES[missing[0]]}: dataset.py says what it must hold")
        trials = pd.read_csv(self.root / "trials.csv")
        betas, pictures = (np.load(self.root / name, mmap_mode="r") for name in ("betas.npy", "pictures.npy"))
        captions = json.loads((self.root / "captions.json").read_text(encoding="utf-8"))
        if len(betas) != len(trials):
            raise RecordingError(
                f"trials.csv has {len(trials)} trials, betas.npy {len(betas)}: both numbers must be equal"
            )
        trials["subject"], trials["run"], trials["trial"] = "subj01", 1, np.arange(len(trials))
        trials["repeat"] = trials.groupby("stimulus_id").cumcount()
        return Recording(
            subject="subj01",
            trials=trials,
            voxels=Voxels(betas.shape[1]),  # where they lie is not known
            roi_masks={},
            unit="percent",  # or "z", or "raw": never inferred
            read_session=lambda session: np.array(betas[trials["session"] == session], np.float32),
            pictures=lambda ids: from_uint8(np.array(pictures[ids])),
            captions=lambda stimulus_id: tuple(captions[stimulus_id]),
            session_files=lambda session: ("betas.npy",),
            simulated=self.simulated,
        )


def write_made_up(root: Path, n_train: int = 60, n_test: int = 12, n_voxels: int = 200) -> None:
    """Write a recording to try the reader with: pictures of one colour each, to which every voxel responds linearly."""
    rng, n = np.random.default_rng(0), n_train + n_test
    colours = rng.integers(0, 256, (n, 3))
    shown = np.concatenate([rng.permutation(n) for _ in range(3)])  # three sessions of all stimuli
    betas = (colours / 255)[shown] @ rng.normal(size=(3, n_voxels)) + rng.normal(size=(3 * n, n_voxels))
    table = {
        "session": np.repeat([1, 2, 3], n),
        "stimulus_id": shown,
        "split": np.where(shown < n_train, "train", "test"),
    }
    root.mkdir(parents=True)
    pd.DataFrame(table).to_csv(root / "trials.csv", index=False)
    np.save(root / "betas.npy", betas.astype(np.float32))
    np.save(root / "pictures.npy", np.broadcast_to(colours[:, None, None], (n, 64, 64, 3)).astype(np.uint8))
    (root / "captions.json").write_text(json.dumps([["a picture of one colour"]] * n), encoding="utf-8")


if __name__ == "__main__":
    write_made_up(Path(sys.argv[1]))
