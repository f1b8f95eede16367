"""Noise ceilings and masks of a run: NIfTI files with names of BIDS derivatives, or a table where there is no volume."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from braindiffuser.datasets.bids_labels import label_of, label_of_subject, labels_of
from braindiffuser.export.finished_run import FinishedRun
from braindiffuser.export.written_files import Write, json_file, nifti_file, text_file

MISSING = "n/a"
"""How tables of BIDS write a value that is not known."""
CEILING = (
    "Noise ceiling: share of the variance of averaged training responses that a model of the stimuli could explain "
    "(Allen et al. 2022, doi 10.1038/s41593-021-00962-x)"
)
NCSNR = "Noise ceiling signal-to-noise ratio: standard deviation of the signal over that of single trials' noise"


def map_files(run: FinishedRun, space: str) -> dict[str, Write]:
    """Return the maps of a run: name → what writes it.

    Args:
        run: finished.
        space: label of the space that voxels lie in.
    """
    subject = label_of_subject(run.recording.subject)
    if run.recording.voxels.mask is None:
        return _table(run, f"sub-{subject}/func/sub-{subject}_desc-chosen_voxels")
    return _volumes(run, f"sub-{subject}/func/sub-{subject}_space-{label_of(space)}", space)


def _volumes(run: FinishedRun, stem: str, space: str) -> dict[str, Write]:
    voxels = run.recording.voxels
    chosen = voxels.subset(run.chosen)
    n_repeats = run.results.read_array("responses/n_repeats_train")
    note = {
        "SpatialReference": f"the volumes of the recording's betas ({space})"
        + ("" if voxels.affine is not None else ", whose orientation is not known"),
        "Voxels": f"{chosen.n} of {voxels.n} analysed voxels; NaN elsewhere",
    }
    files: dict[str, Write] = {}

    def add(name: str, volume: np.ndarray, sidecar: dict[str, Any]) -> None:
        files[f"{name}.nii.gz"] = nifti_file(volume, voxels.affine)
        files[f"{name}.json"] = json_file(sidecar)

    def add_mask(name: str, of_analysed: Bool[np.ndarray, " n_analysed"], what: str, of: str) -> None:
        sidecar = {
            "Description": what,
            "Type": of,
            "Units": "1 in the mask, 0 elsewhere",
            "SpatialReference": note["SpatialReference"],
        }
        add(f"{name}_mask", voxels.unmask(of_analysed.astype(np.uint8)), sidecar)

    ceilings = {
        "noiseceiling": (run.noise_ceilings, CEILING, "%", {"MeanInverseRepeats": float(np.mean(1 / n_repeats))}),
        "ncsnr": (run.ncsnr, NCSNR, "1", {}),
    }
    for stat, (values, what, unit, more) in ceilings.items():
        volume = chosen.unmask(np.asarray(values, np.float32), np.nan)
        add(f"{stem}_stat-{stat}_statmap", volume, {"Description": what, "Units": unit, **more, **note})
    add_mask(f"{stem}_desc-analysed", np.ones(voxels.n, bool), "Voxels whose betas were read", "Brain")
    add_mask(f"{stem}_desc-chosen", run.chosen, "Voxels that decoders are fitted to", "Brain")
    labels = labels_of(run.roi_masks)
    for name, mask in run.roi_masks.items():
        within = np.zeros(voxels.n, bool)
        within[run.chosen] = mask
        add_mask(f"{stem}_label-{labels[name]}", within, f"Voxels of {name} among the chosen ones", "ROI")
    return files


def _table(run: FinishedRun, stem: str) -> dict[str, Write]:
    """Return a table with a row per chosen voxel, in the order of the columns of responses, and what its columns mean."""
    columns: dict[str, Any] = {"voxel": np.flatnonzero(run.chosen)}
    meanings: dict[str, Any] = {"voxel": {"Description": "Column of the recording's betas, counted from 0"}}
    places = run.recording.voxels.coordinates
    if places is not None:
        for axis, values in zip("xyz", places[run.chosen].T, strict=True):
            columns[axis] = values
            meanings[axis] = {"Description": f"Place of the voxel along {axis}, as the recording gives it"}
    columns |= {"noise_ceiling": run.noise_ceilings, "ncsnr": run.ncsnr}
    meanings |= {
        "noise_ceiling": {"Description": CEILING, "Units": "%"},
        "ncsnr": {"Description": NCSNR, "Units": "1"},
    }
    for name, mask in run.roi_masks.items():
        columns[f"roi_{name}"] = mask.astype(int)
        meanings[f"roi_{name}"] = {"Description": f"1 if the voxel belongs to {name}, else 0"}
    text = pd.DataFrame(columns).to_csv(sep="\t", index=False, na_rep=MISSING, lineterminator="\n")
    return {f"{stem}.tsv": text_file(text), f"{stem}.json": json_file(meanings)}
