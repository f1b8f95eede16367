"""THINGS-fMRI's `betas_csv` on disk: betas with a row per voxel, tables of trials and voxels.

| file, anywhere below the root | content |
|---|---|
| `sub-01_ResponseData.h5` | pandas table: `voxel_id`, then a column per trial, named by its `trial_id` |
| `sub-01_StimulusMetadata.csv` | a row per trial: trial_type, session, run, trial_id, stimulus, concept |
| `sub-01_VoxelMetadata.csv` | a row per voxel: voxel_id, place, noise ceilings in percent, regions as columns of 0 and 1 |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from braindiffuser.arrays import Betas
from braindiffuser.datasets.array_recordings import captions_of, read_captions
from braindiffuser.datasets.missing_files import Missing, lacking, refuse_missing
from braindiffuser.datasets.noise_ceiling import ncsnr_of
from braindiffuser.datasets.pandas_frames import PandasFrame
from braindiffuser.datasets.picture_sets import PictureFiles, first_trials, shown_pictures
from braindiffuser.datasets.reading import files_below, find_below
from braindiffuser.datasets.recording import Recording, names_of
from braindiffuser.datasets.region_columns import check_no_fractions, regions_in
from braindiffuser.datasets.shared_stimuli import shown_to_all
from braindiffuser.datasets.splits import stimuli_of
from braindiffuser.datasets.tables import read_table
from braindiffuser.datasets.trial_remarks import trial_remarks
from braindiffuser.datasets.trial_tables import trial_table
from braindiffuser.datasets.volumes import mask_doubts, read_mask
from braindiffuser.datasets.voxel_maps import VoxelMaps
from braindiffuser.datasets.voxel_selection import keep_regions
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError

if TYPE_CHECKING:
    from braindiffuser.datasets.things import Things

TRIALS_EXAMPLE = """trial_type,session,run,subject_id,trial_id,stimulus,concept
train,1,1,1,0,dog_01b.jpg,dog"""
VOXELS_EXAMPLE = """voxel_id,voxel_x,voxel_y,voxel_z,nc_singletrial,nc_testset,V1
0,12,40,31,4.2,22.5,1"""
OTHERS = re.compile(r"(sub-\d+)_StimulusMetadata\.csv")
PLACES = ("voxel_x", "voxel_y", "voxel_z")
NO_REGIONS = ("voxel_id", "subject_id", *PLACES)
RECEPTIVE_FIELDS = "prf-"
MAP_NAMES = {"eccentricity": "ecc", "polarangle": "angle", "rsquared": "R2"}
"""Ends of the names of columns of receptive fields → name of the map, where it is another."""
NO_REGION_PREFIXES = ("nc_", "splithalf_", RECEPTIVE_FIELDS)
"""Columns of the table of voxels that are no regions, even where they hold 0 and 1 alone."""


def open_things(config: Things) -> Recording:
    """Open one subject; betas and pictures stay on disk until they are asked for.

    Raises:
        RecordingError: a file is missing or damaged, or does not fit the others.
    """
    stem = f"sub-{config.subject:02}"
    refuse_missing(config.root, _missing(config, stem), there=tables_of_others(config))
    betas = PandasFrame.open(find_below(config.root, f"{stem}_ResponseData.h5", "betas, a row per voxel"))
    trials_path = find_below(config.root, f"{stem}_StimulusMetadata.csv", f"a row per trial, such as\n{TRIALS_EXAMPLE}")
    voxels_path = find_below(config.root, f"{stem}_VoxelMetadata.csv", f"a row per voxel, such as\n{VOXELS_EXAMPLE}")
    table = _read_trials(trials_path, betas)
    trials, stimuli = trial_table(table, stem, trials_path)
    betas.check_betas([str(number) for number in trials["beta_index"]])
    voxel_table = _read_voxels(voxels_path, betas)
    maps = _maps(voxel_table)
    voxels, rois, chosen = keep_regions(
        _places(config, voxel_table, voxels_path), _regions(voxel_table, voxels_path), config.regions, maps
    )
    n_repeats = stimuli_of(trials, "test")[1]
    ncsnr, ceiling_remarks = _ceilings(voxel_table, n_repeats, voxels_path)
    pictures = _pictures(config, first_trials(trials, trials_path), stimuli)
    return Recording(
        subject=stem,
        trials=trials,
        voxels=voxels,
        roi_masks=rois,
        voxel_maps=maps.within(chosen),
        read_session=lambda session: _read_session(betas, trials, session, chosen),
        unit=config.unit,
        pictures=pictures,
        stimuli=stimuli,
        captions=captions_of(stimuli, read_captions(config.captions) if config.captions else None),
        ncsnr=None if ncsnr is None else ncsnr[chosen],
        shared=lambda: shown_to_all(names_of(stimuli), _shown_to_others(config), config.root),
        session_files=lambda session: (_name(config, betas.path),),
        remarks=(
            *trial_remarks(table, trials, trials_path),
            *_frame_remark(betas),
            *mask_doubts(config.mask),
            *ceiling_remarks,
            *pictures.remarks,
        ),
    )


def _missing(config: Things, stem: str) -> list[Missing]:
    """List what is not there of a subject's files, of which none can be downloaded here."""
    names = {path.name for path in files_below(config.root)}
    holds = {
        "ResponseData.h5": "betas",
        "StimulusMetadata.csv": "which trial showed what",
        "VoxelMetadata.csv": "voxels",
    }
    own = {f"{stem}_{end}": held for end, held in holds.items()}
    tables = [Missing(name, held) for name, held in own.items() if name not in names]
    given = {config.mask: "mask", config.captions: "captions"}
    beside = [(path, Missing("", held)) for path, held in given.items() if path is not None]
    return [*tables, *lacking(config.root, [(_folder(config), Missing("", "folder of pictures")), *beside])]


def list_files(config: Things) -> dict[str, dict[str, Path]]:
    """List the files of one subject by role; only the table of trials is read."""
    stem = f"sub-{config.subject:02}"
    role_of = {
        f"{stem}_StimulusMetadata.csv": "design",
        f"{stem}_VoxelMetadata.csv": "regions",
        f"{stem}_ResponseData.h5": "betas",
    }
    listed: dict[str, dict[str, Path]] = {role: {} for role in (*role_of.values(), "stimuli", "captions")}
    for path in files_below(config.root):
        if path.name in role_of:
            listed[role_of[path.name]][_name(config, path)] = path
    shown = {
        name for path in listed["design"].values() for name in read_table(path).get("stimulus", pd.Series()).dropna()
    }
    listed["stimuli"] = shown_pictures(_folder(config), map(str, shown))
    for role, extra in (("regions", config.mask), ("captions", config.captions)):
        if extra is not None and extra.is_file():
            listed[role][extra.name] = extra
    return listed


def tables_of_others(config: Things) -> dict[str, Path]:
    """Return subject → table of trials of each other subject below the root."""
    found = {match[1]: path for path in files_below(config.root) if (match := OTHERS.fullmatch(path.name))}
    return {subject: path for subject, path in sorted(found.items()) if subject != f"sub-{config.subject:02}"}


def _shown_to_others(config: Things) -> dict[str, set[str]]:
    tables = {
        subject: read_table(path, ["stimulus"], TRIALS_EXAMPLE) for subject, path in tables_of_others(config).items()
    }
    return {subject: set(table["stimulus"].dropna().astype(str).str.strip()) for subject, table in tables.items()}


def _name(config: Things, path: Path) -> str:
    return path.relative_to(config.root).as_posix()


def _folder(config: Things) -> Path:
    return config.pictures or config.root / "images"


def _read_trials(path: Path, betas: PandasFrame) -> pd.DataFrame:
    """Return the table of trials with the columns of a trial table; `beta_index` is the name of a trial's column."""
    table = read_table(path, ["trial_type", "session", "run", "stimulus"], TRIALS_EXAMPLE)
    index = _whole_numbers(table, "trial_id", path) if "trial_id" in table else np.arange(len(table))
    n_columns = sum(name.isdecimal() for name in betas.columns)
    lacking = [number for number in index if str(number) not in betas.columns]
    if lacking or n_columns != len(table):
        first = f", none named {str(lacking[0])!r}" if lacking else ""
        raise RecordingError(
            f"{betas.path} has columns of {n_columns} trials{first}, but {path} has {len(table)} rows: expected a column per "
            "trial, named by its trial_id from 0"
        )
    if len(np.unique(index)) < len(index):
        raise RecordingError(f"{path} holds a trial_id twice: number its rows from 0, or leave the column out")
    words = table["trial_type"].astype(str).str.strip().str.lower()
    catch = words.isin(["catch", "catch_trial"])
    return table.drop(columns=["trial_type", *table.columns.intersection(["trial_id", "subject_id"])]).assign(
        beta_index=index, split=words.where(~catch), is_catch=catch
    )


def _whole_numbers(table: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    numbers = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
    if not (np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all()):
        raise RecordingError(f"{path}: column {column} does not hold whole numbers throughout, such as 0, 1, 2")
    return numbers.astype(np.int64)


def _read_voxels(path: Path, betas: PandasFrame) -> pd.DataFrame:
    """Return the table of voxels in the order of the betas' rows."""
    table = read_table(path, ["voxel_id"], VOXELS_EXAMPLE)
    own = _whole_numbers(table, "voxel_id", path)
    if len(np.unique(own)) < len(own):
        raise RecordingError(f"{path} holds a voxel_id twice: expected one row per voxel")
    ids = np.rint(betas.column("voxel_id")).astype(np.int64) if "voxel_id" in betas.columns else own
    if len(own) != betas.n_rows or set(ids.tolist()) != set(own.tolist()):
        raise RecordingError(
            f"{path} has {len(own)} voxels, but {betas.path} has {betas.n_rows}, or other numbers of voxels: expected the same "
            "voxel_id in both"
        )
    return table.set_index(own).loc[ids].reset_index(drop=True)


def _regions(table: pd.DataFrame, path: Path) -> dict[str, Bool[np.ndarray, " n_voxels"]]:
    """Return the columns of 0 and 1, and lFFA with rFFA as FFA too."""
    columns = regions_in(table, lambda name: name in NO_REGIONS or name.startswith(NO_REGION_PREFIXES))
    for name, values in columns.fractions.items():
        check_no_fractions(values, f"{path}: column {name}")
    rois = columns.regions
    pairs = {name[1:] for name in rois if name.startswith("l") and f"r{name[1:]}" in rois}
    return {**{name: rois[f"l{name}"] | rois[f"r{name}"] for name in sorted(pairs)}, **rois}


def _maps(table: pd.DataFrame) -> VoxelMaps:
    """Return the columns of receptive fields as maps of numbers, NaN where a voxel has none."""
    columns = [str(name) for name in table if str(name).startswith(RECEPTIVE_FIELDS)]
    names = {name: name.removeprefix(RECEPTIVE_FIELDS) for name in columns}
    return VoxelMaps.of(
        {
            MAP_NAMES.get(short, short): pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)
            for name, short in names.items()
        }
    )


def _places(config: Things, table: pd.DataFrame, path: Path) -> Voxels:
    """Return where voxels lie: at the table's places, and in the mask's volume if there is one."""
    places = None
    if set(PLACES) <= set(table):
        places = table[list(PLACES)].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
        if not np.isfinite(places).all():
            raise RecordingError(
                f"{path}: a voxel has no place ({', '.join(PLACES)}); expected numbers, or no such columns"
            )
    if config.mask is None:
        return Voxels(len(table), coordinates=places)
    mask, affine = read_mask(config.mask)
    n = np.count_nonzero(mask)
    if n != len(table) or (places is not None and not np.array_equal(np.argwhere(mask), places)):
        raise RecordingError(
            f"{config.mask} has {n} voxels above 0, {path} lists {len(table)}, and they must be the same in the same order: give "
            "the brain mask of this subject, or leave mask out"
        )
    return Voxels.in_volume(mask, affine)


def _ceilings(
    table: pd.DataFrame, n_repeats: np.ndarray, path: Path
) -> tuple[Float[np.ndarray, " n_voxels"] | None, tuple[str, ...]]:
    """Return ncsnr by the ceiling of test responses, or else of single trials; None without either."""
    for column, repeats in (("nc_testset", n_repeats), ("nc_singletrial", np.ones(1, np.int64))):
        if column not in table or not len(repeats):
            continue
        percent = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
        if np.nanmin(percent, initial=0) < 0 or np.nanmax(percent, initial=0) > 100:
            raise RecordingError(
                f"{path}: column {column} lies between {np.nanmin(percent):g} and {np.nanmax(percent):g}; expected percent, 0 to "
                "100"
            )
        said = f"Noise ceilings are the recording's own ({column})."
        if np.nanmax(percent, initial=0) <= 1:
            said += " They lie between 0 and 1 and are read as percent: check the table."
        return ncsnr_of(percent, repeats), (said,)
    return None, ()


def _frame_remark(betas: PandasFrame) -> tuple[str, ...]:
    said = "Names of the betas' columns are stored as a pickle, which is not read: trials go by the place of their columns."
    return () if betas.named else (said,)


def _pictures(config: Things, trials_of: Mapping[int, str], stimuli: pd.DataFrame) -> PictureFiles:
    """Find pictures at CONCEPT/NAME where they lie so, and by their name elsewhere."""
    folder = _folder(config)
    if not folder.is_dir():
        raise RecordingError(
            f"{folder} is missing; expected the folder of the pictures, such as images/dog/dog_01b.jpg: put it there, or name it "
            "as pictures"
        )
    names = {}
    for number, row in stimuli.iterrows():
        nested = f"{row.get('concept')}/{row['name']}"
        names[int(str(number))] = nested if (folder / nested).is_file() else str(row["name"])
    return PictureFiles.find(folder, names, trials_of, config.side)


def _read_session(betas: PandasFrame, trials: pd.DataFrame, session: int, chosen: Bool[np.ndarray, " n_rows"]) -> Betas:
    names = [str(number) for number in trials.loc[trials["session"] == session, "beta_index"]]
    return np.ascontiguousarray(betas.read(names, chosen).T)
