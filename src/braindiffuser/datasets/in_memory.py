"""Recordings from what is held in Python: arrays, tables, images, and what a masker of nilearn makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias, get_args

import nibabel as nib
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from braindiffuser.arrays import VoxelMask
from braindiffuser.datasets.array_files import ArrayFile, HeldArray, Rows
from braindiffuser.datasets.array_recordings import (
    Regions,
    StimulusReader,
    check_betas,
    check_columns,
    read_captions,
    recording_of,
    said_in,
)
from braindiffuser.datasets.beta_kinds import check_kind
from braindiffuser.datasets.dataset import Unit
from braindiffuser.datasets.picture_sets import PictureArray, PictureFiles, first_trials, rows_named
from braindiffuser.datasets.reading import reading
from braindiffuser.datasets.recording import Recording, names_of
from braindiffuser.datasets.region_files import region_of
from braindiffuser.datasets.subject_names import UNNAMED
from braindiffuser.datasets.tables import read_table
from braindiffuser.datasets.trial_tables import EXAMPLE, SPLITS, regions_named, stimulus_column, stimulus_names
from braindiffuser.datasets.volumes import affine_of, as_labels, check_grid, open_nifti, read_volumes, value_doubts
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError, reason

__all__ = ["recording"]

Table: TypeAlias = pd.DataFrame | str | Path
MIXING = ("standardize", "detrend", "high_pass", "low_pass", "high_variance_confounds")
"""Settings of a masker by which a trial's betas depend on other trials; what others do is tried out (`_is_mixed`)."""
ROUNDING = 1e-4
"""Largest difference, relative to the betas, that rounding explains."""


def recording(  # noqa: PLR0913
    responses: Any,
    trials: Table,
    *,
    unit: Unit,
    pictures: Any = None,
    rois: Any = None,
    masker: Any = None,
    mask: Any = None,
    captions: Any = None,
    subject: str | None = None,
    split: Iterable[str] | None = None,
    transductive: bool = False,
) -> Recording:
    """Put a recording together from what you hold; `save_recording` writes it as a folder that a run takes.

        recording = braindiffuser.recording(betas, "trials.csv", unit="z", pictures="pictures", masker=masker)

    Args:
        responses: betas, one per trial: an array (n_trials, n_voxels) or (n_trials, channels, times), the path of one, or a
            Niimg-like (x, y, z, n_trials): a path, an image of nibabel, or a list of volumes.
        trials: table, or its path (.csv, .tsv, .parquet), one row per trial in the order of the betas, with `stim_file`, and if
            known `session`, `run`, `split`, `test_set`, `is_catch`, `caption`.
        unit: of the betas: "percent" (signal change), "z", or "raw" (any other).
        pictures: folder, list of files, or array (n, height, width, 3) of 8-bit RGB whose rows `stim_file` counts from 0; None:
            the recording has no pictures, so it can be neither decoded nor saved.
        rois: name → region: one truth value per column of the betas (or per channel), a volume on the mask's grid, or a
            Niimg-like; or an atlas, (Niimg-like, table with the columns `index` and `name`).
        masker: fitted `NiftiMasker` of nilearn, or what has its `mask_img_` and `transform`.
        mask: Niimg-like; its voxels above 0, in C order, are the columns of the betas. Not beside a masker.
        captions: name of a stimulus → text or texts, or a table, or its path, with `stim_file` and `caption`; None: the column
            `caption` of the trials, if any.
        subject: its name, as the page shows it; None: it has none.
        split: names of the stimuli that test, all others train; or "train", "test" or "out" for each trial; None: as the table
            says.
        transductive: allow a masker that standardises, detrends or filters, which learns from test trials too. Whether it does is
            told by its settings, and by whether a volume alone becomes what it becomes among all others.

    Raises:
        RecordingError: something does not fit; names the argument.
    """
    if unit not in get_args(Unit):
        raise RecordingError(
            f"unit is {unit!r}; expected one of {', '.join(get_args(Unit))}, which no file says reliably"
        )
    table, where = _table(trials, "trials", EXAMPLE)
    table = table if split is None else _with_split(table, list(split), where)
    place, betas = _responses(responses, masker, mask)
    n_columns = check_betas(betas, table, where)
    if place is not None:
        check_columns(place.mask, place.name, n_columns)
    voxels = Voxels(n_columns) if place is None else Voxels.in_volume(place.mask, place.affine)
    return recording_of(
        betas,
        table,
        where,
        pictures=lambda trials, stimuli: _pictures(pictures, trials, stimuli, where),
        said=_captions(captions, table, where),
        subject=UNNAMED if subject is None else str(subject),
        unit=unit,
        voxels=voxels,
        roi_masks=_regions(rois, betas.shape[1:], place),
        remarks=(
            *_mixing(masker, responses, betas, transductive),
            *(() if place is None else value_doubts(as_labels(place.values, place.name), place.name)),
        ),
    )


@dataclass(frozen=True, eq=False)
class _Volume:
    """A volume with its grid, and what messages call it."""

    values: np.ndarray
    affine: Float[np.ndarray, "4 4"] | None
    name: str

    @cached_property
    def mask(self) -> VoxelMask:
        """True where it is above 0."""
        return as_labels(self.values, self.name) > 0


@dataclass(frozen=True, eq=False)
class _Images:
    """Betas as volumes (x, y, z, trial), of which the voxels of a mask are read when asked for."""

    image: nib.Nifti1Image | Path
    mask: VoxelMask
    n_trials: int
    path: object

    @property
    def shape(self) -> tuple[int, ...]:
        return self.n_trials, int(np.count_nonzero(self.mask))

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32)

    def rows(self, numbers: Int[np.ndarray, " n"]) -> np.ndarray:
        ascending, places = np.unique(numbers, return_inverse=True)
        if isinstance(self.image, Path):
            return read_volumes(self.image, self.mask, volumes=ascending)[places]
        with reading(Path(str(self.path)), "image of betas"):
            read = [_plain(self.image.dataobj[..., int(number)], self.path)[self.mask] for number in ascending]
        return np.stack(read)[places]


def _table(given: Table, argument: str, example: str) -> tuple[pd.DataFrame, str]:
    if isinstance(given, pd.DataFrame):
        if given.empty:
            raise RecordingError(f"{argument} has no rows: give one per trial, such as\n{example}")
        return given, argument
    return read_table(Path(given), example=example), str(given)


def _plain(given: Any, argument: object) -> np.ndarray:
    """Return what is held as an array; raise RecordingError where it is masked, since numpy would ignore the mask."""
    parts = given if isinstance(given, list | tuple) else [given]
    n = sum(int(np.count_nonzero(np.ma.getmaskarray(part))) for part in parts if isinstance(part, np.ma.MaskedArray))
    if n:
        raise RecordingError(
            f"{argument} is a masked array, in which {n:,} values are masked: leave out the trials or voxels that hold them, or "
            "give values for them, such as by its method filled"
        )
    return np.asarray(given)


def _with_split(table: pd.DataFrame, split: Sequence[str], where: str) -> pd.DataFrame:
    """Return the table with a split that is given as words per trial, or as names of test stimuli."""
    if set(split) <= SPLITS.keys():
        if len(split) != len(table):
            raise RecordingError(f"split has {len(split)} entries, but {where} has {len(table)} rows: give one per row")
        return table.assign(split=split)
    column = stimulus_column(table, where)
    shown = table[column].notna().to_numpy(dtype=bool)
    names, tests = stimulus_names(table[column][shown]), set(stimulus_names(pd.Series(split, dtype=object)))
    unknown = sorted(tests - set(names))
    if unknown:
        raise RecordingError(
            f"split names the stimulus {unknown[0]!r}, which {where} does not show: give names such as {names.iloc[0]!r}"
        )
    is_test = np.zeros(len(table), bool)
    if "test_set" in table:
        is_test |= table["test_set"].notna().to_numpy(dtype=bool)
    is_test[shown] |= names.isin(tests).to_numpy(dtype=bool)
    return table.assign(split=np.where(is_test, "test", "train"))


def _is_image(given: Any) -> bool:
    """Return whether something is a Niimg-like: an image, a path of one, or a list of either."""
    if isinstance(given, str | Path):
        return str(given).lower().endswith((".nii", ".nii.gz"))
    if isinstance(given, list | tuple):
        return bool(given) and all(map(_is_image, given))
    return hasattr(given, "dataobj") and hasattr(given, "affine")


def _load(given: Any, argument: str) -> tuple[Any, str]:
    """Return an image, and what messages call it; nothing but its header is read."""
    if isinstance(given, list | tuple):
        images = [_load(each, argument)[0] for each in given]
        with reading(Path(argument), "list of volumes on one grid"):
            return nib.concat_images(images), argument
    if isinstance(given, str | Path):
        with reading(Path(given), "NIfTI file"):
            return nib.load(given), str(given)
    return given, argument


def _grid_affine(image: Any) -> Float[np.ndarray, "4 4"] | None:
    """Return the affine of an image, None if a NIfTI image does not say how it is oriented."""
    return affine_of(image) if isinstance(image, nib.Nifti1Pair) else np.asarray(image.affine, dtype=np.float64)


def _volume(given: Any, argument: str) -> _Volume:
    """Read one volume."""
    if not _is_image(given):
        raise RecordingError(
            f"{argument} is a {type(given).__name__}; expected an image of nibabel, or a path (.nii.gz)"
        )
    image, name = _load(given, argument)
    with reading(Path(name), "image"):
        values = _plain(image.dataobj, name)
        affine = _grid_affine(image)
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise RecordingError(f"{name} has shape {values.shape}; expected one volume (x, y, z)")
    return _Volume(values, affine, name)


def _responses(responses: Any, masker: Any, mask: Any) -> tuple[_Volume | None, Rows]:
    """Return the mask, if there is one, and the betas."""
    place = _place(masker, mask)
    if not _is_image(responses):
        if isinstance(responses, str | Path):
            return place, ArrayFile.open(str(responses))
        return place, HeldArray(_plain(responses, "responses"), "responses")
    if place is None:
        raise RecordingError("responses are volumes, but no voxels are chosen: give a mask, or a fitted NiftiMasker")
    image, name = _load(responses, "responses")
    if len(image.shape) != 4:
        raise RecordingError(f"{name} has shape {image.shape}; expected (x, y, z, trial)")
    check_kind(_kind_of(image), name)
    if masker is not None:
        return place, HeldArray(_transformed(masker, image), "masker.transform(responses)")
    mask_ = place.mask
    check_grid(name, image.shape[:3], _grid_affine(image), place.name, mask_.shape, place.affine)
    return place, _Images(_file_of(image) or image, mask_, int(image.shape[3]), name)


def _kind_of(image: Any) -> np.dtype[Any]:
    """Return the type of an image's values, scaled by its header."""
    stored = image.dataobj
    scaled = (getattr(stored, "slope", 1), getattr(stored, "inter", 0)) != (1, 0)
    return np.dtype(np.float64 if scaled else stored.dtype)


def _file_of(image: Any) -> Path | None:
    """Return the NIfTI file that an image is read from, in which volumes are read forward; None if it is in memory."""
    name = image.get_filename()
    if name is None or not nib.is_proxy(image.dataobj) or not _is_image(name):
        return None
    with open_nifti(Path(name), header_only=True) as file:
        return Path(name) if file.shape == image.shape else None


def _place(masker: Any, mask: Any) -> _Volume | None:
    if masker is None:
        return None if mask is None else _volume(mask, "mask")
    if mask is not None:
        raise RecordingError("mask and masker are both given: give one of them, since a masker has its own mask")
    for needed in ("mask_img_", "transform"):
        if getattr(masker, needed, None) is None:
            raise RecordingError(
                f"masker ({type(masker).__name__}) has no {needed}; expected a fitted NiftiMasker: call masker.fit() first"
            )
    return _volume(masker.mask_img_, "masker.mask_img_")


def _transformed(masker: Any, image: Any) -> Float[np.ndarray, "n_trials n_voxels"]:
    try:
        return _plain(masker.transform(image), "masker.transform(responses)")
    except (ValueError, TypeError, OSError, AttributeError) as error:
        raise RecordingError(f"masker.transform(responses) fails ({reason(error)}): try it on its own") from error


def _mixing(masker: Any, responses: Any, betas: Rows, transductive: bool) -> tuple[str, ...]:
    """Say by what a masker learns from all trials, test trials included; refuse it unless that is asked for."""
    used = ", ".join(name for name in MIXING if getattr(masker, name, None) not in (None, False))
    if not used and masker is not None and _is_image(responses) and _is_mixed(masker, responses, betas):
        used = "a volume alone becomes other betas than among all others"
    if not used:
        return ()
    if not transductive:
        raise RecordingError(
            f"the masker changes betas by statistics of all trials, test trials included ({used}): switch that off, since "
            "responses.normalisation does it from training trials alone, or say transductive=True"
        )
    return (
        f"The masker changed betas by statistics of all trials, test trials included ({used}; transductive): scores may be too "
        "high.",
    )


def _is_mixed(masker: Any, responses: Any, betas: Rows) -> bool:
    """Return whether a masker makes other betas of the first or the middle volume alone than of all volumes together.

    A masker that fails for one volume needs others, so it counts as mixing.
    """
    n_trials = betas.shape[0]
    for number in {0, n_trials // 2} if n_trials > 1 else ():
        among = betas.rows(np.array([number]))
        try:
            alone = np.asarray(masker.transform(_one_volume(responses, number)), dtype=np.float64).reshape(among.shape)
        except Exception:
            return True
        scale = np.sqrt(np.nanmean(np.square(among, dtype=np.float64)))
        if not np.allclose(alone, among, rtol=ROUNDING, atol=ROUNDING * float(np.nan_to_num(scale)), equal_nan=True):
            return True
    return False


def _one_volume(responses: Any, number: int) -> Any:
    """Return one volume as an image (x, y, z, 1)."""
    if isinstance(responses, list | tuple):
        return _load(responses[number : number + 1], "responses")[0]
    return _load(responses, "responses")[0].slicer[..., number : number + 1]


def _regions(rois: Any, shape: Sequence[int], place: _Volume | None) -> Regions:
    if rois is None:
        return {}
    if isinstance(rois, Mapping):
        return {str(name): _region(given, f"rois: region {name}", shape, place) for name, given in rois.items()}
    if not (isinstance(rois, tuple | list) and len(rois) == 2 and _is_image(rois[0])):
        raise RecordingError(
            f"rois is a {type(rois).__name__}; expected name → region, or an atlas (image, table with index and name)"
        )
    table, where = _table(rois[1], "table of rois", "index,name\n1,V1\n2,V2")
    lacking = [name for name in ("index", "name") if name not in table]
    if lacking:
        raise RecordingError(f"{where} lacks the column {lacking[0]}; it has {', '.join(map(str, table.columns))}")
    return regions_named(_within(rois[0], "atlas of rois", place), table, where)


def _region(given: Any, what: str, shape: Sequence[int], place: _Volume | None) -> Bool[np.ndarray, " n_voxels"]:
    if _is_image(given):
        return _within(given, what, place) > 0
    values = _plain(given, what)
    if place is not None and values.shape == place.values.shape:
        values = values[place.mask]
    return region_of(values, shape, what)


def _within(given: Any, what: str, place: _Volume | None) -> Int[np.ndarray, " n_voxels"]:
    """Return the labels of a volume in the analysed voxels."""
    volume = _volume(given, what)
    if place is None:
        raise RecordingError(f"{what} is a volume, but it is not known where voxels lie: give a mask, or a masker")
    check_grid(volume.name, volume.values.shape, volume.affine, place.name, place.values.shape, place.affine)
    within: Int[np.ndarray, " n_voxels"] = as_labels(volume.values, volume.name)[place.mask]
    return within


def _captions(captions: Any, table: pd.DataFrame, where: str) -> pd.DataFrame | None:
    if captions is None:
        return said_in(table, where).drop_duplicates() if "caption" in table else None
    if isinstance(captions, Mapping):
        rows = [
            (str(name), str(text))
            for name, said in captions.items()
            for text in ([said] if isinstance(said, str) else said)
        ]
        return pd.DataFrame(rows, columns=["stimulus", "caption"])
    if isinstance(captions, pd.DataFrame):
        if "caption" not in captions:
            raise RecordingError(f"captions lacks the column caption; it has {', '.join(map(str, captions.columns))}")
        return said_in(captions, "captions")
    return read_captions(Path(captions))


def _pictures(given: Any, trials: pd.DataFrame, stimuli: pd.DataFrame, where: str) -> StimulusReader | None:
    if given is None:
        return None
    names, first = names_of(stimuli), first_trials(trials, where)
    if isinstance(given, str | Path):
        if Path(given).is_dir() and Path(given).suffix.lower() != ".zarr":
            return PictureFiles.find(Path(given), names, first, None)
        return PictureArray.open(str(given), rows_named(names, given, where), None)
    if isinstance(given, list | tuple) and all(isinstance(path, str | Path) for path in given):
        return PictureFiles.listed([Path(path) for path in given], names, first, None)
    return PictureArray.open(
        HeldArray(_plain(given, "pictures"), "pictures"), rows_named(names, "pictures", where), None
    )
