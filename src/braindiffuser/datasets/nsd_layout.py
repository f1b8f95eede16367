"""The Natural Scenes Dataset, and whatever else is stored in its layout.

    nsddata/experiments/nsd/nsd_expdesign.mat                                what was shown when
    nsddata/ppdata/subj01/func1pt8mm/roi/*.nii.gz                            masks and regions
    nsddata/freesurfer/subj01/label/*.mgz.ctab                               names of the regions (optional)
    nsddata_betas/ppdata/subj01/func1pt8mm/<version>/betas_session01.hdf5    or .nii.gz
    nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5                             pictures
    annots/COCO_73k_annots_curated.npy                                       captions (not part of NSD)

Nothing of NSD's size is hard-coded: trials per session, shared pictures, subjects and grids are read from these files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from braindiffuser.arrays import Betas, VoxelMask
from braindiffuser.datasets.beta_files import SUFFIXES, inspect_betas, read_betas
from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.rois import read_roi_masks
from braindiffuser.datasets.splits import number_repeats
from braindiffuser.datasets.stimuli import StimulusCaptions, StimulusPictures
from braindiffuser.datasets.volumes import check_grid, read_mask
from braindiffuser.errors import RecordingError, reason
from braindiffuser.images import from_uint8

DESIGN = Path("nsddata") / "experiments" / "nsd" / "nsd_expdesign.mat"
STIMULI = Path("nsddata_stimuli") / "stimuli" / "nsd" / "nsd_stimuli.hdf5"
CAPTIONS = Path("annots") / "COCO_73k_annots_curated.npy"
SCENES, SIMULATED = Path("truth") / "scenes.csv", Path("simulated.json")
"""Extra files of a simulated recording."""
BETAS_VERSION = "betas_fithrf_GLMdenoise_RR"
SPACE = "func1pt8mm"


def functional_folder(root: Path, subject: int, space: str = SPACE) -> Path:
    """Return the folder of a subject's volumes; masks and regions are in its folder `roi`."""
    return root / "nsddata" / "ppdata" / f"subj{subject:02}" / space


def label_folder(root: Path, subject: int) -> Path:
    """Return the folder of a subject's label tables."""
    return root / "nsddata" / "freesurfer" / f"subj{subject:02}" / "label"


def betas_folder(root: Path, subject: int, version: str = BETAS_VERSION, space: str = SPACE) -> Path:
    """Return the folder of a subject's betas."""
    return root / "nsddata_betas" / "ppdata" / f"subj{subject:02}" / space / version


def open_nsd(
    root: Path | str,
    subject: int | str,
    *,
    sessions: int | Sequence[int] | None = None,
    betas_version: str = BETAS_VERSION,
    space: str = SPACE,
    mask: str | Path = "nsdgeneral",
) -> Recording:
    """Open one subject's recording; betas stay on disk until a session is asked for.

    Args:
        root: folder that holds `nsddata` and `nsddata_betas`.
        subject: number from 1, or its name ("subj01").
        sessions: None: all on disk; n: sessions 1 to n; or a list of session numbers, from 1.
        betas_version: which GLM.
        space: which grid.
        mask: analysed voxels: name of a volume in `roi`, or path of a NIfTI file; voxels above 0 count.

    Raises:
        RecordingError: a file is missing or unreadable, the subject or a session does not exist, or a file does not
            fit the design or the mask. Missing ROI files are no error: their regions are named in `missing_rois`.
    """
    root, number = Path(root), _subject_number(subject)
    name = f"subj{number:02d}"
    design = read_design(root, number)
    roi = functional_folder(root, number, space) / "roi"
    voxel_mask, affine = read_mask(_mask_path(roi, mask))
    folder = betas_folder(root, number, betas_version, space)
    n_planned = int(design["session"].max())
    files = {session: _beta_file(folder, session) for session in _choose_sessions(folder, sessions, n_planned)}
    for session, path in files.items():
        n_trials = int((design["session"] == session).sum())
        _check_betas(path, n_trials, voxel_mask, affine)
    roi_masks, missing = read_roi_masks(roi, voxel_mask, affine, label_folder(root, number))
    return Recording(
        subject=name,
        trials=design[design["session"].isin(files)].reset_index(drop=True),
        voxel_mask=voxel_mask,
        affine=affine,
        roi_masks=roi_masks,
        read_session=partial(_read_session, files, voxel_mask),
        missing_rois=missing,
        pictures=lambda stimulus_ids: from_uint8(open_stimuli(root).pictures(stimulus_ids)),
        captions=lambda stimulus_id: open_captions(root).captions(stimulus_id),
        session_files=lambda session: (_name_under(root, files[session]),),
        further_test_sets={"held_out": held_out_ids(root)},
        notes={"held_out": HELD_OUT},
        simulated=(root / SIMULATED).is_file(),
    )


def list_files(
    root: Path, subject: int, sessions: int | None, betas_version: str, mask: str
) -> dict[str, dict[str, Path]]:
    """List the files that a recording is read from, without opening any.

    Args:
        root: as in `open_nsd`.
        subject: number from 1.
        sessions: None: all on disk; n: sessions 1 to n.
        betas_version: which GLM.
        mask: name of a volume in `roi`, or path of a NIfTI file.

    Returns:
        "design", "regions", "betas", "stimuli" and "captions" → name of a file under the root → its path. Files that are not
        there are left out.
    """
    roi, tables = functional_folder(root, subject) / "roi", label_folder(root, subject)
    betas = betas_folder(root, subject, betas_version)
    recorded = {number: found for number in _sessions_on_disk(betas) if (found := _find_betas(betas, number))}
    wanted = {
        "design": [root / DESIGN, root / SCENES, root / SIMULATED],
        "regions": [_mask_path(roi, mask), *sorted(roi.glob("*.nii.gz")), *sorted(tables.glob("*.ctab"))],
        "betas": [path for number, path in sorted(recorded.items()) if sessions is None or number <= sessions],
        "stimuli": [root / STIMULI],
        "captions": [root / CAPTIONS],
    }
    return {role: {_name_under(root, path): path for path in paths if path.is_file()} for role, paths in wanted.items()}


def _name_under(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


HELD_OUT = (
    "Photographs that no network has seen",
    "They are made of objects and backgrounds that no network was trained on and no decoder was fitted on. True features are no "
    "upper bound here: CLIP's own tokens of unfamiliar objects may guide the generators worse than decoded ones.",
)
"""Title and text, for the page, of the test set of photographs that no bundled network was trained on."""


def held_out_ids(root: Path | str) -> Int[np.ndarray, " n"]:
    """Read the 0-based ids of stimuli that show photographs no bundled network was trained on.

    Args:
        root: of a recording; one that was not simulated has no such stimuli.
    """
    path = Path(root) / SCENES
    if not path.exists():
        return np.empty(0, np.int64)
    scenes = pd.read_csv(path, usecols=["stimulus_id", "split"])
    return scenes.loc[scenes["split"] == "held_out", "stimulus_id"].to_numpy(np.int64)


def open_stimuli(root: Path | str) -> StimulusPictures:
    """Open the pictures, `nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5`; none is read yet."""
    return StimulusPictures.open(Path(root) / STIMULI)


def open_captions(root: Path | str) -> StimulusCaptions:
    """Open the captions, `annots/COCO_73k_annots_curated.npy`; none is read yet."""
    return StimulusCaptions.open(Path(root) / CAPTIONS)


def read_design(root: Path | str, subject: int) -> pd.DataFrame:
    """Read the planned trials of one subject from `nsd_expdesign.mat`, where all numbers are doubles and count from 1.

    The picture of 0-based trial t is `subjectim[subject − 1, masterordering[t] − 1] − 1`, 0-based. It is a test picture if
    all subjects saw it, which holds for numbers of `masterordering` up to the number of shared pictures.

    Args:
        root: folder that holds `nsddata`.
        subject: number from 1.

    Returns:
        One row per trial of all planned sessions, with the columns of `Recording.trials`.

    Raises:
        RecordingError: the file is missing, unreadable or contradicts itself, or has no such subject.
    """
    path = Path(root) / DESIGN
    tables = _load_integers(path, ("masterordering", "subjectim", "sharedix", "stimpattern"))
    image_numbers, own_pictures = tables["masterordering"].ravel(), tables["subjectim"]
    if not 1 <= subject <= len(own_pictures):
        raise RecordingError(f"{path} has the subjects 1 … {len(own_pictures)}, not {subject}")
    if image_numbers.min() < 1 or image_numbers.max() > own_pictures.shape[1]:
        raise RecordingError(
            f"{path}: masterordering runs from {image_numbers.min()} to {image_numbers.max()}, "
            f"but a subject has pictures 1 … {own_pictures.shape[1]}"
        )
    pattern = tables["stimpattern"]
    trials_per_session = pattern.reshape(len(pattern), -1).sum(axis=1)
    n_planned = int(trials_per_session.sum())
    if n_planned != len(image_numbers):
        raise RecordingError(
            f"{path}: stimpattern plans {n_planned} trials, but masterordering lists {len(image_numbers)}"
        )
    stimulus_ids = own_pictures[subject - 1, image_numbers - 1] - 1
    return pd.DataFrame(
        {
            "subject": f"subj{subject:02}",
            "session": np.repeat(np.arange(1, len(pattern) + 1), trials_per_session),
            "trial": np.arange(n_planned),
            "stimulus_id": stimulus_ids,
            "repeat": number_repeats(stimulus_ids),
            "split": np.where(image_numbers <= tables["sharedix"].size, "test", "train"),
        }
    )


def _load_integers(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise RecordingError(f"{path} is missing; it lists what was shown, download it or check the root folder")
    try:
        tables = loadmat(path, variable_names=list(names))
    except (
        OSError,
        ValueError,
        TypeError,
        NotImplementedError,
        MatReadError,
    ) as error:  # scipy: v7.3 is not implemented
        raise RecordingError(
            f"{path} cannot be read ({reason(error)}); download it again, or save it in MATLAB's v7"
        ) from error
    lacking = [name for name in names if name not in tables]
    if lacking:
        raise RecordingError(f"{path} lacks the variables {lacking}; expected {list(names)}")
    return {name: np.rint(tables[name]).astype(np.int64) for name in names}


def _subject_number(subject: int | str) -> int:
    match = re.fullmatch(r"(?:subj)?(\d+)", str(subject))
    if match is None:
        raise RecordingError(f"there is no subject {subject!r}; give a number from 1, or a name such as 'subj01'")
    return int(match[1])


def _choose_sessions(folder: Path, sessions: int | Sequence[int] | None, n_planned: int) -> list[int]:
    if not folder.is_dir():
        raise RecordingError(f"{folder} is missing; download these betas, or choose another betas_version")
    if sessions is None:
        wanted = _sessions_on_disk(folder)
    else:
        wanted = set(range(1, sessions + 1)) if isinstance(sessions, int) else {int(session) for session in sessions}
    if not wanted:
        raise RecordingError(
            f"{folder} has no betas to read (sessions={sessions}); expected betas_session01.hdf5 or .nii.gz"
        )
    beyond = sorted(session for session in wanted if not 1 <= session <= n_planned)
    if beyond:
        raise RecordingError(
            f"there is no session {beyond[0]}, as dataset.sessions asks: the design has 1 to {n_planned}"
        )
    return sorted(wanted)


def _mask_path(roi: Path, mask: str | Path) -> Path:
    return Path(mask) if str(mask).endswith((".nii", ".nii.gz")) else roi / f"{mask}.nii.gz"


def _sessions_on_disk(folder: Path) -> set[int]:
    paths = folder.iterdir() if folder.is_dir() else ()
    found = (re.fullmatch(r"betas_session(\d+)\.(?:hdf5|nii|nii\.gz)", path.name) for path in paths)
    return {int(match[1]) for match in found if match}


def _find_betas(folder: Path, session: int) -> Path | None:
    paths = (folder / f"betas_session{session:02d}{suffix}" for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def _beta_file(folder: Path, session: int) -> Path:
    path = _find_betas(folder, session)
    if path is None:
        raise RecordingError(
            f"{folder / f'betas_session{session:02d}{SUFFIXES[0]}'} is missing (.nii.gz too); download session {session}, "
            "or leave it out of `sessions`"
        )
    return path


def _check_betas(path: Path, n_trials: int, voxel_mask: VoxelMask, affine: Float[np.ndarray, "4 4"]) -> None:
    stored = inspect_betas(path)
    check_grid(path, stored.grid, stored.affine, voxel_mask.shape, affine)
    if stored.n_trials != n_trials:
        raise RecordingError(
            f"{path} has {stored.n_trials} trials, but the design has {n_trials} in that session; "
            "download the file again, or leave the session out of `sessions`"
        )


def _read_session(files: dict[int, Path], voxel_mask: VoxelMask, session: int) -> Betas:
    if session not in files:
        raise RecordingError(f"session {session} was not opened; this recording has {sorted(files)}")
    return read_betas(files[session], voxel_mask)
