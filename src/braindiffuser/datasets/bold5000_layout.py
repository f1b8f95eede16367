"""BOLD5000 2.0 on disk: a volume of betas a session, one list of picture names for all sessions.

| file, anywhere below the root | content |
|---|---|
| `CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-01.nii.gz` | (x, y, z, trial), float32, percent signal change |
| `CSI1_brainmask.nii.gz` | analysis mask |
| `CSI1_imgnames.txt` | one picture a line for the trials of all sessions, in the order of the betas |
| `repeated_stimuli_113_list.txt` | the pictures that test |
| `Presented_Stimuli/` | pictures, in folders by collection |
| `sub-CSI1_mask-LHLOC.nii.gz` | a region in one hemisphere |
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from braindiffuser.arrays import VoxelMask
from braindiffuser.datasets.array_recordings import captions_of, read_captions
from braindiffuser.datasets.beta_files import inspect_on_grid
from braindiffuser.datasets.checked_betas import without_data
from braindiffuser.datasets.missing_files import Missing, numbered, refuse_missing
from braindiffuser.datasets.picture_sets import PictureFiles, first_trials, shown_pictures
from braindiffuser.datasets.reading import files_below, find_below, read_text
from braindiffuser.datasets.recording import Recording, names_of, ranges
from braindiffuser.datasets.shared_stimuli import shown_to_all
from braindiffuser.datasets.trial_remarks import left_out
from braindiffuser.datasets.trial_tables import trial_table
from braindiffuser.datasets.volumes import (
    check_grid,
    mask_doubts,
    open_nifti,
    read_labels,
    read_mask,
    read_volumes,
    value_doubts,
)
from braindiffuser.datasets.voxel_selection import keep_regions
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError

if TYPE_CHECKING:
    from braindiffuser.datasets.bold5000 import Bold5000

REGIONS = ("EarlyVis", "LOC", "OPA", "PPA", "RSC")
DRIFTED = {"lo": "LOC", "rrsc": "RSC", **{name.lower(): name for name in REGIONS}}
"""Names of regions as files spell them, in lower case → the region."""
TRIALS_OF_RUN = 37
LONG_SESSIONS = {
    "CSI1": (1, 2, 3, 5, 7, 10, 15),
    "CSI2": (1, 3, 4, 5, 11, 12, 14),
    "CSI3": (1, 3, 5, 6, 7, 11, 15),
    "CSI4": (1, 4, 9),
}
"""Sessions of ten runs, as published; all others have nine, and each run has TRIALS_OF_RUN trials."""
TEST_LIST = "repeated_stimuli_113_list.txt"
PICTURES = "Presented_Stimuli"
OTHERS = re.compile(r"(\w+)_imgnames\.txt")
SIDES = {"lh": "left", "rh": "right"}


def open_bold5000(config: Bold5000) -> Recording:
    """Open one subject; betas and pictures stay on disk until they are asked for.

    Raises:
        RecordingError: a file is missing or damaged, or does not fit the others.
    """
    if config.root.is_dir():
        is_public = config.subject in LONG_SESSIONS
        refuse_missing(config.root, _missing(config), "bold5000" * is_public, config.subject, tables_of_others(config))
    sessions = _find_sessions(config)
    names_path = find_below(config.root, f"{config.subject}_imgnames.txt", "the picture of each trial, one name a line")
    mask_path = find_below(config.root, f"{config.subject}_brainmask.nii.gz", "the analysis mask")
    mask, affine = read_mask(mask_path)
    counts = {session: _count_trials(path, mask_path, mask, affine) for session, path in sessions.items()}
    table, late = _table(_read_names(names_path), counts, names_path)
    listed, split_remark = _split(config, table)
    trials, stimuli = trial_table(table.assign(**listed), config.subject, names_path)
    rois, roi_remarks = _read_rois(config, mask_path, mask, affine)
    voxels, rois, _ = keep_regions(Voxels.in_volume(mask, affine), rois, config.regions)
    shown = first_trials(trials, names_path)
    pictures = PictureFiles.find(_pictures_folder(config), names_of(stimuli), shown, config.side)
    return Recording(
        subject=config.subject,
        trials=trials,
        voxels=voxels,
        roi_masks=rois,
        read_session=lambda session: without_data(
            read_volumes(sessions[session], voxels.unmask(np.ones(voxels.n, bool)))
        ),
        unit="percent",
        missing_rois=tuple(name for name in REGIONS if name not in rois),
        pictures=pictures,
        stimuli=stimuli,
        captions=captions_of(stimuli, read_captions(config.captions) if config.captions else None),
        shared=lambda: shown_to_all(names_of(stimuli), _shown_to_others(config), config.root),
        split_remark=split_remark,
        session_files=lambda session: (_name(config, sessions[session]),),
        remarks=(
            *late,
            *left_out(table, names_path),
            *mask_doubts(mask_path),
            *roi_remarks,
            *_place_remark(affine),
            *pictures.remarks,
        ),
    )


def _missing(config: Bold5000) -> list[Missing]:
    """List what is not there of a subject's files; they may lie anywhere below the root."""
    names, absent = {path.name for path in files_below(config.root)}, []
    (candidates, types), stem = (
        _candidates(config),
        f"{config.subject}_GLMbetas-{config.betas}-FITHRF-GLMDENOISE-RR_ses-",
    )
    gaps = tuple(sorted(set(range(1, max(candidates, default=1) + 1)) - candidates.keys()))
    if gaps:
        others = f"; there are betas of {', '.join(sorted(types))}" if types else ""
        name = f"{stem}{numbered(gaps)}.nii.gz" if candidates else f"{stem}01.nii.gz, …"
        role = "betas" if config.betas == "TYPED" else ""
        absent.append(Missing(name, f"betas{others}", role, gaps if candidates else ()))
    own = {
        f"{config.subject}_imgnames.txt": ("the picture of each trial", "design"),
        f"{config.subject}_brainmask.nii.gz": ("the analysis mask", "regions"),
    }
    absent += [Missing(name, *held) for name, held in own.items() if name not in names]
    if not _pictures_folders(config):
        absent.append(Missing(f"{PICTURES}/", "folder of pictures, of the stimuli that the authors' page leads to"))
    if TEST_LIST not in names:
        absent.append(Missing(TEST_LIST, "pictures that test", "design", needed=False))
    if not _find_rois(config):
        absent.append(Missing(f"sub-{config.subject}_mask-LHLOC.nii.gz, …", "regions", "regions", needed=False))
    return absent


def list_files(config: Bold5000) -> dict[str, dict[str, Path]]:
    """List the files of one subject by role; only the list of names is read."""
    own = f"{config.subject}_imgnames.txt"
    betas = _candidates(config)[0]
    found = files_below(config.root)
    roi = _roi_pattern(config)
    roles = {
        "design": [path for path in found if path.name in (own, TEST_LIST)],
        "regions": [
            path for path in found if path.name == f"{config.subject}_brainmask.nii.gz" or roi.match(path.name)
        ],
        "betas": [path for paths in betas.values() for path in paths],
    }
    listed = {role: {_name(config, path): path for path in paths} for role, paths in roles.items()}
    shown = [name for path in roles["design"] if path.name == own for name in _read_names(path)]
    listed["stimuli"] = {
        _name(config, path): path
        for folder in _pictures_folders(config)
        for path in shown_pictures(folder, shown).values()
    }
    captions = config.captions if config.captions and config.captions.is_file() else None
    return {**listed, "captions": {captions.name: captions} if captions else {}}


def tables_of_others(config: Bold5000) -> dict[str, Path]:
    """Return subject → list of picture names of each other subject below the root."""
    found = {match[1]: path for path in files_below(config.root) if (match := OTHERS.fullmatch(path.name))}
    return {subject: path for subject, path in sorted(found.items()) if subject != config.subject}


def _shown_to_others(config: Bold5000) -> dict[str, set[str]]:
    return {subject: set(_read_names(path)) for subject, path in tables_of_others(config).items()}


def _name(config: Bold5000, path: Path) -> str:
    return path.relative_to(config.root).as_posix()


def _candidates(config: Bold5000) -> tuple[dict[int, list[Path]], set[str]]:
    """Return session → files of its betas, and all types of betas that are there; a README spells a type TYBEB."""
    pattern = re.compile(
        rf"{config.subject}_GLMbetas[-_]TY[PB]E([A-D])\b.*_ses-?0*(\d+)\.nii(\.gz)?", re.IGNORECASE | re.ASCII
    )
    sessions: dict[int, list[Path]] = {}
    types = set()
    for path in files_below(config.root):
        found = pattern.fullmatch(path.name)
        if found:
            types.add(f"TYPE{found[1].upper()}")
        if found and found[1].upper() == config.betas[-1]:
            sessions.setdefault(int(found[2]), []).append(path)
    return dict(sorted(sessions.items())), types


def _find_sessions(config: Bold5000) -> dict[int, Path]:
    """Return session → its file; without gaps, since one list names the pictures of all sessions."""
    candidates, types = _candidates(config)
    example = f"{config.subject}_GLMbetas-{config.betas}-FITHRF-GLMDENOISE-RR_ses-01.nii.gz"
    if not config.root.is_dir():
        raise RecordingError(
            f"{config.root} is no folder; expected the folder of BOLD5000, with files such as {example}"
        )
    if not candidates:
        others = f"; there are betas of {', '.join(sorted(types))}" if types else ""
        raise RecordingError(
            f"{config.root} holds no betas {config.betas} of {config.subject}; expected a file a session, such as "
            f"{example}{others}"
        )
    for session, paths in candidates.items():
        if len(paths) > 1:
            said = " and ".join(_name(config, path) for path in paths[:2])
            raise RecordingError(f"{config.root} holds several files of betas of session {session} ({said}): keep one")
    gaps = sorted(set(range(1, max(candidates) + 1)) - candidates.keys())
    if gaps:
        raise RecordingError(
            f"{config.root} holds betas of the sessions {ranges(candidates)} of {config.subject}, but not of {ranges(gaps)}: one "
            "list names the pictures of all sessions, so those of later ones cannot be told; put it there, such as "
            f"{example.replace('ses-01', f'ses-{gaps[0]:02}')}, or move the later ones away"
        )
    return {session: paths[0] for session, paths in candidates.items()}


def _count_trials(path: Path, mask_path: Path, mask: VoxelMask, affine: Float[np.ndarray, "4 4"] | None) -> int:
    """Return the number of trials of a session, from the header; its betas must be fractions on the mask's grid."""
    header = inspect_on_grid(path, mask_path, mask.shape, affine)
    with open_nifti(path, header_only=True) as file:
        if file.data.dtype.kind != "f" and (file.data.slope, file.data.inter) == (1, 0):
            raise RecordingError(
                f"{path} holds {file.data.dtype}; expected float32, percent signal change: download or write it again"
            )
    return header.n_trials


def _read_names(path: Path) -> list[str]:
    """Return the names of pictures in a list, without the prefix rep_ that lists of a run have."""
    lines = read_text(path, "list of picture names").splitlines()
    names = [PurePath(line.strip()).name.removeprefix("rep_") for line in lines]
    while names and not names[-1]:
        names.pop()
    if "" in names:
        raise RecordingError(
            f"{path}: line {names.index('') + 1} is empty, so that later names would belong to other trials: write the name that "
            "is missing, or remove the line"
        )
    return names


def _table(names: Sequence[str], counts: Mapping[int, int], where: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return session and picture of every trial, and what is to be said of names without betas."""
    n_trials = sum(counts.values())
    if len(names) < n_trials:
        raise RecordingError(
            f"{where} names the pictures of {len(names)} trials, but betas of the sessions {ranges(counts)} are of {n_trials}: "
            "expected one name a line for each, such as COCO_train2014_000000063056.jpg"
        )
    table = pd.DataFrame(
        {"session": np.repeat(list(counts), list(counts.values())), "stim_file": list(names[:n_trials])}
    )
    beyond = len(names) - n_trials
    _check_counts(counts, len(names), where)
    said = f"{beyond:,} of {len(names):,} trials were recorded after session {max(counts)}, the last with betas."
    return table, (said,) if beyond else ()


def _check_counts(counts: Mapping[int, int], n_names: int, where: Path) -> None:
    """Refuse sessions that are cut short: the names of later sessions would shift.

    A published list tells how many trials each session has. Of any other list, names beyond the last session are those of a
    further one, which is not shorter than half of the shortest.
    """
    subject = where.name.partition("_")[0]
    long = LONG_SESSIONS.get(subject, ())
    n_sessions = {"CSI4": 9}.get(subject, 15)
    expected = {session: TRIALS_OF_RUN * (10 if session in long else 9) for session in range(1, n_sessions + 1)}
    published = bool(long) and n_names == sum(expected.values())
    short = [session for session, n in counts.items() if published and n != expected.get(session, n)]
    if short:
        raise RecordingError(
            f"session {short[0]} has {counts[short[0]]} volumes of betas, expected {expected[short[0]]}, for which {where} has "
            "names: download it again"
        )
    beyond = n_names - sum(counts.values())
    if not published and 0 < beyond < min(counts.values()) / 2:
        said = ", ".join(f"{n} in session {session}" for session, n in counts.items())
        raise RecordingError(
            f"{where} names the pictures of {n_names} trials, but betas are of {beyond} fewer ({said}), too few for a further "
            "session: a session lacks volumes, so that the names of later ones would shift; write its betas again, or remove the "
            "names of trials without betas"
        )


def _split(config: Bold5000, table: pd.DataFrame) -> tuple[dict[str, np.ndarray], str]:
    """Return the column `split` by the list of repeated pictures, and a remark; no column where there is no list."""
    if not any(path.name == TEST_LIST for path in files_below(config.root)):
        return {}, f"{TEST_LIST} is not there, so the recording does not say which pictures test."
    path = find_below(config.root, TEST_LIST, "the pictures that test, one name a line")
    listed, shown = _read_names(path), table["stim_file"]
    wanted = {PurePath(name).stem for name in listed}
    test = shown.map(lambda name: PurePath(name).stem in wanted).to_numpy(dtype=bool)
    n_test = shown[test].nunique()
    if n_test < 2:
        raise RecordingError(
            f"{path} lists {len(listed)} pictures ({', '.join(listed[:2])} …), of which {n_test} were shown; names are such as "
            f"{shown.iloc[0]!r}"
        )
    never = len(wanted) - n_test
    said = f"{never} of {len(wanted)} pictures of {TEST_LIST} were not shown in the sessions that are there."
    return {"split": np.where(test, "test", "train")}, said if never else ""


def _roi_pattern(config: Bold5000) -> re.Pattern[str]:
    return re.compile(rf"(?:sub-)?{config.subject}_mask-(LH|RH)(\w+)\.nii(\.gz)?$", re.IGNORECASE)


def _find_rois(config: Bold5000) -> dict[str, dict[str, Path]]:
    """Return region → hemisphere → file, with names that drifted put right."""
    pattern, regions = _roi_pattern(config), dict[str, dict[str, Path]]()
    for path in files_below(config.root):
        found = pattern.match(path.name)
        if not found:
            continue
        sides = regions.setdefault(DRIFTED.get(found[2].lower(), found[2]), {})
        side = found[1].lower()
        if side in sides:
            raise RecordingError(
                f"{path} and {sides[side]} are masks of the same region and hemisphere: keep one of them"
            )
        sides[side] = path
    return dict(sorted(regions.items()))


def _read_rois(
    config: Bold5000, mask_path: Path, mask: VoxelMask, affine: Float[np.ndarray, "4 4"] | None
) -> tuple[dict[str, Bool[np.ndarray, " n_voxels"]], tuple[str, ...]]:
    """Read the regions within the mask, both hemispheres as one."""
    rois, remarks = {}, list[str]()
    for region, sides in _find_rois(config).items():
        whole = np.zeros(mask.shape, bool)
        for path in sides.values():
            labels, roi_affine = read_labels(path)
            check_grid(path, labels.shape, roi_affine, mask_path, mask.shape, affine)
            whole |= labels > 0
            remarks += value_doubts(labels, path)
        rois[region] = whole[mask]
        if len(sides) == 1:
            remarks.append(f"The region {region} has a mask for the {SIDES[next(iter(sides))]} hemisphere alone.")
        outside = np.count_nonzero(whole & ~mask)
        if outside:
            remarks.append(f"{outside:,} of {np.count_nonzero(whole):,} voxels of {region} lie outside the brain mask.")
    return rois, tuple(remarks)


def _pictures_folders(config: Bold5000) -> list[Path]:
    return sorted(Path(place) / PICTURES for place, folders, _ in os.walk(config.root) if PICTURES in folders)


def _pictures_folder(config: Bold5000) -> Path:
    found = _pictures_folders(config)
    if len(found) != 1:
        several = (
            f"several folders {PICTURES}: keep one" if found else f"no folder {PICTURES}: unpack the stimuli there"
        )
        raise RecordingError(
            f"{config.root} holds {several}; expected pictures such as {PICTURES}/COCO/COCO_train2014_000000063056.jpg"
        )
    return found[0]


def _place_remark(affine: Float[np.ndarray, "4 4"] | None) -> tuple[str, ...]:
    if affine is not None and affine[:3, 3].any():
        return ()
    return (
        "The betas do not say where in space they lie (their origin is 0): regions are matched voxel by voxel, and maps carry no "
        "anatomical position.",
    )
