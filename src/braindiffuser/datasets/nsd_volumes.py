"""NSD's label volumes and maps of receptive fields, each of which is read only if an expression of regions names it.

nsddata/ppdata/subj01/func1pt8mm/roi/[lh.|rh.]<collection>.nii.gz     labels, such as HCP_MMP1, Kastner2015 and streams
nsddata/freesurfer/subj01/label/<collection>.mgz.ctab                 their names, or below freesurfer/fsaverage/label,
nsddata/templates/<collection>.ctab                                   or here (MTL, thalamus)
nsddata/ppdata/subj01/func1pt8mm/prf_eccentricity.nii.gz              and so on: `MAPS`
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from braindiffuser.datasets.label_volumes import HEMISPHERES, LabelVolume, LabelVolumes
from braindiffuser.datasets.rois import LABELS, PUBLISHED, SUFFIX
from braindiffuser.datasets.voxel_maps import VoxelMaps, read_map
from braindiffuser.datasets.voxels import Voxels

MAPS: Mapping[str, str] = {
    "ecc": "prf_eccentricity",
    "angle": "prf_angle",
    "size": "prf_size",
    "R2": "prf_R2",
    "gain": "prf_gain",
    "exponent": "prf_exponent",
}
"""Map → its file: degrees of visual angle (ecc, size), degrees counterclockwise from the right horizontal (angle), percent of
variance (R2), percent signal change (gain)."""


NO_FIELD = ("ecc", "size")
"""Maps that are exactly 0 where no receptive field is known (the angle is NaN there): 0 becomes NaN, which `ecc<1` leaves out."""


def label_volumes(roi: Path, tables: Path, voxels: Voxels, mask_path: Path) -> LabelVolumes:
    """Return all volumes of a folder `roi`; nothing is read.

    Args:
        roi: holds `<collection>.nii.gz`.
        tables: the subject's folder of label tables.
        voxels: the analysed voxels.
        mask_path: file of their mask, for messages.
    """
    names = [path.name.removesuffix(SUFFIX) for path in sorted(roi.glob(f"*{SUFFIX}"))]
    volumes = {
        name: LabelVolume(
            roi / f"{name}{SUFFIX}",
            voxels,
            mask_path,
            next((path for path in tables_of(name, tables) if path.is_file()), None),
            LABELS.get(_collection(name), {}),
        )
        for name in names
    }
    return LabelVolumes(volumes, tuple(name for name in names if name.startswith(PUBLISHED)))


def tables_of(name: str, tables: Path) -> tuple[Path, ...]:
    """Return the places of a collection's table of names, in the order in which they are looked up."""
    collection, top = _collection(name), tables.parents[2]
    return (
        tables / f"{collection}.mgz.ctab",
        top / "freesurfer" / "fsaverage" / "label" / f"{collection}.mgz.ctab",
        top / "templates" / f"{collection}.ctab",
    )


def _collection(name: str) -> str:
    """Return the name of a volume without its hemisphere."""
    return next((name.removeprefix(side) for side in HEMISPHERES if name.startswith(side)), name)


def receptive_field_files(folder: Path) -> dict[str, Path]:
    """Return map → its file in a subject's functional folder, of those that are there."""
    files = {name: folder / f"{stem}{SUFFIX}" for name, stem in MAPS.items()}
    return {name: path for name, path in files.items() if path.is_file()}


def voxel_maps(folder: Path, voxels: Voxels, mask_path: Path) -> VoxelMaps:
    """Return the maps of receptive fields in a subject's functional folder; nothing is read."""
    return VoxelMaps(
        {name: partial(_read, name, path, voxels, mask_path) for name, path in receptive_field_files(folder).items()}
    )


def _read(name: str, path: Path, voxels: Voxels, mask_path: Path) -> Float[np.ndarray, " n_voxels"]:
    return read_map(path, voxels, mask_path, (*((0.0,) if name in NO_FIELD else ()), np.inf, -np.inf))


def list_files(folder: Path, tables: Path) -> list[Path]:
    """Return the files of maps, and of tables outside the subject's own folder, that expressions may need."""
    names = [path.name.removesuffix(SUFFIX) for path in sorted((folder / "roi").glob(f"*{SUFFIX}"))]
    further = {path: None for name in names for path in tables_of(name, tables)[1:] if path.is_file()}
    return [*receptive_field_files(folder).values(), *further]
