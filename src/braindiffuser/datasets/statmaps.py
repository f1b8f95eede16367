"""Maps over voxels as files: NIfTI with names of BIDS derivatives, or a table where voxels lie in no volume."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from braindiffuser.datasets.bids_labels import label_of, label_of_subject, labels_of
from braindiffuser.datasets.voxels import Voxels

MISSING = "n/a"
"""How tables of BIDS write a value that is not known."""


class StatMap(NamedTuple):
    """A number for each analysed voxel.

    Attributes:
        values: (n_voxels,); NaN where it is not known.
        what: what the numbers are, in a sentence without a full stop.
        unit: of the numbers, as BIDS writes it: "%", "1" for ratios.
    """

    values: Float[np.ndarray, " n_voxels"]
    what: str
    unit: str = "1"


def statmap_files(maps: Mapping[str, StatMap], voxels: Voxels, subject: str, space: str) -> dict[str, bytes]:
    """Return the files of maps by name: a volume and its sidecar each, or one table with a column each.

    Volumes are float32, with NaN outside the voxels: `sub-01_space-T1w_desc-weightsVision_statmap.nii.gz`.

    Args:
        maps: name → map over `voxels`.
        voxels: that the maps are of.
        subject: name, such as "subj01".
        space: label of the space that voxels lie in.

    Raises:
        ValueError: a map has not one number for each voxel.
    """
    for name, each in maps.items():
        if each.values.shape != (voxels.n,):
            raise ValueError(f"the map {name} has shape {each.values.shape}, expected one number for {voxels.n} voxels")
    stem, labels = f"sub-{label_of_subject(subject)}", labels_of(maps)
    if voxels.mask is None:
        return _table(maps, voxels, f"{stem}_desc-maps_voxels")
    place = f"the volumes of the recording's betas ({space})"
    place += "" if voxels.affine is not None else ", whose orientation is not known"
    files: dict[str, bytes] = {}
    for name, each in maps.items():
        path = f"{stem}_space-{label_of(space)}_desc-{labels[name]}_statmap"
        sidecar = {"Description": each.what, "Units": each.unit, "SpatialReference": place}
        files[f"{path}.nii.gz"] = nifti_bytes(voxels.unmask(each.values.astype(np.float32), np.nan), voxels.affine)
        files[f"{path}.json"] = _json(sidecar)
    return files


def nifti_bytes(volume: Float[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"] | None) -> bytes:
    """Return a compressed NIfTI file, in millimetres if the volume's place is known; the same volume gives the same bytes."""
    import nibabel as nib

    image = nib.Nifti1Image(volume, affine)
    if affine is not None:
        image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), mtime=0)


def _table(maps: Mapping[str, StatMap], voxels: Voxels, stem: str) -> dict[str, bytes]:
    """Return a table with a row per voxel, in the order of the columns of responses, and what its columns mean."""
    import pandas as pd

    columns: dict[str, Any] = {"voxel": np.arange(voxels.n)}
    meanings: dict[str, Any] = {"voxel": {"Description": "Column of the run's responses, counted from 0"}}
    if voxels.coordinates is not None:
        for axis, values in zip("xyz", voxels.coordinates.T, strict=True):
            columns[axis] = values
            meanings[axis] = {"Description": f"Place of the voxel along {axis}, as the recording gives it"}
    for name, each in maps.items():
        columns[name] = each.values
        meanings[name] = {"Description": each.what, "Units": each.unit}
    text = pd.DataFrame(columns).to_csv(sep="\t", index=False, na_rep=MISSING, lineterminator="\n")
    return {f"{stem}.tsv": text.encode(), f"{stem}.json": _json(meanings)}


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()
