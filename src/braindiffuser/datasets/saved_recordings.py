"""Any recording as a folder of plain files that `arrays` reads: to share it, or to run one that was put together in Python."""

from __future__ import annotations

import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from PIL import Image

from braindiffuser.datasets.picture_sets import LARGEST_SIDE
from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.recording_facts import missing_regions
from braindiffuser.datasets.shared_stimuli import COLUMN as SHARED
from braindiffuser.datasets.shared_stimuli import shared_stimuli
from braindiffuser.datasets.tables import MISSING, STIMULUS_COLUMNS
from braindiffuser.errors import RecordingError
from braindiffuser.images import batch_slices, to_uint8
from braindiffuser.paths import expand
from braindiffuser.plain_data import as_yaml
from braindiffuser.system_errors import naming

__all__ = ["save_recording"]

EXPERIMENT = "recording.yaml"
FORBIDDEN = '<>:"|?*\\'
"""Characters that file names must not hold on every system."""


def save_recording(recording: Recording, folder: str | Path) -> Path:
    """Write a recording as plain files, and an experiment file that `braindiffuser check` and `run` take.

    | file | content |
    |---|---|
    | `responses.npy` | betas, float32 (n_trials, n_voxels), written a session at a time |
    | `trials.csv` | `session`, `run`, `stim_file`, `split`, `test_set`, `shared`, and what describes stimuli |
    | `pictures/` | pictures as PNG, cropped and resized as the recording gives them |
    | `rois.npz` | regions, if any |
    | `mask.nii.gz` or `voxels.csv` | where voxels lie, if it is known; `voxels.csv` also holds noise ceilings |
    | `captions.csv` | captions, if any |
    | `remarks.txt` | what is remarked on it, if anything, one sentence a line, such as why its scores may be too high |
    | `recording.yaml` | the experiment file, written last |

    Args:
        recording: any.
        folder: to write to; made if it is missing.

    Returns:
        Path of `recording.yaml`.

    Raises:
        RecordingError: the folder holds something already, the recording has no pictures, a name cannot be that of a file, or a
            region's name cannot be printed.
    """
    root = Path(expand(str(folder)))
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise RecordingError(f"{root} is there already and is not an empty folder: name a new one")
    files = _file_names(recording)
    for name in recording.roi_masks:
        if not name.isprintable():
            raise RecordingError(f"the region {name!r} has a name that cannot be printed: rename it")
    with naming(root):
        root.mkdir(parents=True, exist_ok=True)
        _Writer(recording, root, files).write()
    return root / EXPERIMENT


@dataclass(frozen=True, eq=False)
class _Writer:
    """Writes the files of one recording.

    Attributes:
        recording: what is written.
        root: folder of the files.
        names: stimulus id → its name.
    """

    recording: Recording
    root: Path
    names: dict[int, str]

    def write(self) -> None:
        side = self._write_pictures()
        self._write_trials()
        entries: dict[str, Any] = {
            "kind": "arrays",
            "responses": "responses.npy",
            "unit": self.recording.unit,
            "trials": "trials.csv",
            "pictures": "pictures",
            "subject": self.recording.subject,
            **self._write_places(),
        }
        if side > LARGEST_SIDE:
            entries["side"] = side
        if self.recording.simulated:
            entries["simulated"] = True
        if self.recording.captions is not None:
            self._write_captions(self.recording.captions)
            entries["captions"] = "captions.csv"
        entries |= self._write_remarks()
        self._write_betas()
        content = {"preset": "demo", "name": self.root.resolve().name or "recording", "dataset": entries}
        (self.root / EXPERIMENT).write_text(as_yaml(content, default_flow_style=None, width=1 << 30), encoding="utf-8")

    def _write_remarks(self) -> dict[str, Any]:
        """Write what is remarked, on test sets and missing regions too; return the entries that say what is special."""
        recording, entries = self.recording, dict[str, Any]()
        sets = self._further_sets()
        said = [
            *recording.remarks,
            *(f"{title} ({name}): {text}" for name, (title, text) in recording.notes.items() if name in sets),
        ]
        if recording.missing_rois:
            said.append(missing_regions(recording.missing_rois))
        if said:
            lines = "".join(f"{' '.join(sentence.split())}\n" for sentence in said)
            (self.root / "remarks.txt").write_text(lines, encoding="utf-8")
            entries["remarks"] = "remarks.txt"
        if recording.split_remark:
            entries["split_remark"] = recording.split_remark
        if set(recording.imagined) & sets.keys():
            entries["imagined"] = [name for name in recording.imagined if name in sets]
        if recording.apart:
            entries["apart"] = list(recording.apart)
        return entries

    def _further_sets(self) -> dict[str, Int[np.ndarray, " _"]]:
        """Return the further test sets; where there is a split, their stimuli that test, since others would contradict it."""
        sets = dict(self.recording.further_test_sets)
        if not self.recording.has_split:
            return sets
        return {name: own for name, own in self.recording.test_sets.items() if name in sets}

    def _write_betas(self) -> None:
        shape = len(self.recording.trials), self.recording.n_voxels
        stored = np.lib.format.open_memmap(self.root / "responses.npy", mode="w+", dtype=np.float32, shape=shape)
        start = 0
        for _, betas in self.recording.sessions():
            stored[start : start + len(betas)] = betas
            start += len(betas)
        stored.flush()

    def _write_pictures(self) -> int:
        """Write each picture under its name; return their side in pixels."""
        ids, side = np.array(sorted(self.names), dtype=np.int64), 0
        for rows in batch_slices(len(ids)):
            pictures = to_uint8(self.recording.pictures(ids[rows]))
            side = pictures.shape[1]
            for number, picture in zip(ids[rows].tolist(), pictures, strict=True):
                path = self.root / "pictures" / _as_png(self.names[number])
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(path, format="PNG")
        return side

    def _write_trials(self) -> None:
        ids = self.recording.trials["stimulus_id"]
        table = self.recording.trials[["session", "run"]].assign(stim_file=ids.map(self.names))
        if self.recording.has_split:
            table["split"] = self.recording.trials["split"]
        stimuli = pd.DataFrame(index=pd.Index([])) if self.recording.stimuli is None else self.recording.stimuli
        taken = {
            *self.recording.trials,
            *table,
            *STIMULUS_COLUMNS,
            "is_test",
            "is_catch",
            "beta_index",
            "test_set",
            "name",
            "caption",
        }
        for column in stimuli.columns.difference(sorted(taken), sort=False):
            table[column] = ids.map(stimuli[column])
        if SHARED not in table and (shared := self._shared()) is not None:
            table[SHARED] = ids.isin(shared).astype(int)
        set_of = {number: name for name, own in self._further_sets().items() for number in own.tolist()}
        if set_of:
            table["test_set"] = ids.map(set_of)
        table.to_csv(self.root / "trials.csv", index=False)

    def _shared(self) -> Int[np.ndarray, " _"] | None:
        """Return the stimuli that every subject saw; None if nothing says so."""
        try:
            return shared_stimuli(self.recording)[0]
        except RecordingError:
            return None

    def _write_captions(self, captions_of: Callable[[int], tuple[str, ...]]) -> None:
        """Write all captions, the empty text as a space: an empty cell would be read as a missing value."""
        rows = [(name, text or " ") for number, name in self.names.items() for text in captions_of(number)]
        pd.DataFrame(rows, columns=["stim_file", "caption"]).to_csv(self.root / "captions.csv", index=False)

    def _write_places(self) -> dict[str, str]:
        """Write mask, places, ceilings and regions; return their entries."""
        voxels, entries = self.recording.voxels, {}
        if voxels.mask is not None:
            nib.save(_image(voxels.mask.astype(np.uint8), voxels.affine), self.root / "mask.nii.gz")
            entries["mask"] = "mask.nii.gz"
        columns = {} if voxels.coordinates is None else dict(zip("xyz", voxels.coordinates.T, strict=True))
        if self.recording.ncsnr is not None:
            columns["ncsnr"] = self.recording.ncsnr
        if columns:
            pd.DataFrame(columns).to_csv(self.root / "voxels.csv", index=False, na_rep="n/a")
            entries["voxels"] = "voxels.csv"
        if self.recording.roi_masks:
            with zipfile.ZipFile(self.root / "rois.npz", "w", zipfile.ZIP_DEFLATED) as archive:
                for name, mask in self.recording.roi_masks.items():
                    with archive.open(f"{name}.npy", "w") as file:
                        np.lib.format.write_array(file, mask, allow_pickle=False)
            entries["rois"] = "rois.npz"
        return entries


def _image(volume: np.ndarray, affine: Float[np.ndarray, "4 4"] | None) -> nib.Nifti1Image:
    """Return a NIfTI image; where single precision would change the affine that identifies voxels, of NIfTI-2."""
    if affine is None:
        return nib.Nifti1Image(volume, None)
    single = np.array_equal(np.round(affine, 4), np.round(affine.astype(np.float32).astype(np.float64), 4))
    return (nib.Nifti1Image if single else nib.Nifti2Image)(volume, affine)


def _file_names(recording: Recording) -> dict[int, str]:
    """Return stimulus id → name, all of which can be names of files: their own, or numbers of as many digits."""
    ids = sorted(recording.trials["stimulus_id"].unique().tolist())
    digits = len(str(ids[-1]))
    known = recording.names
    names = {number: known.get(number, f"{number:0{digits}d}.png") for number in ids}
    seen: dict[str, str] = {}
    for name in names.values():
        fault = next(_faults(name), None)
        if fault:
            raise RecordingError(f"the stimulus {name!r} cannot be a file of that name ({fault}): rename it")
        other = seen.setdefault(unicodedata.normalize("NFC", _as_png(name)).casefold(), name)
        if other != name:
            raise RecordingError(f"the stimuli {other!r} and {name!r} would be the same file: rename one")
    return names


def _faults(name: str) -> Iterator[str]:
    parts = PurePosixPath(name).parts
    if name != name.strip() or name in MISSING:
        yield "a table would read it as another"
    if name.startswith("/") or ".." in parts or "/".join(parts) != name or any(part[0] == "." for part in parts):
        yield "it is no plain path below a folder"
    if any(character in FORBIDDEN or not character.isprintable() for character in name):
        yield f"it holds characters that files must not have, such as {FORBIDDEN}"


def _as_png(name: str) -> str:
    return name if name.lower().endswith(".png") else f"{name}.png"
