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
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.io import loadmat

from braindiffuser.arrays import Betas, VoxelMask
from braindiffuser.datasets import nsd_volumes
from braindiffuser.datasets.beta_files import SUFFIXES, inspect_on_grid, read_betas
from braindiffuser.datasets.missing_files import Missing, fetch_command, lacking, numbered, refuse_missing
from braindiffuser.datasets.reading import reading
from braindiffuser.datasets.recording import Recording, ranges
from braindiffuser.datasets.rois import read_roi_masks
from braindiffuser.datasets.splits import number_repeats
from braindiffuser.datasets.stimuli import StimulusCaptions, StimulusPictures
from braindiffuser.datasets.volumes import check_grid, mask_doubts, open_nifti, read_mask
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError
from braindiffuser.images import from_uint8

TOPS = ("nsddata", "nsddata_betas", "nsddata_stimuli")
"""Folders in the root of a recording."""
DESIGN = Path("nsddata") / "experiments" / "nsd" / "nsd_expdesign.mat"
CAPTIONS = Path("annots") / "COCO_73k_annots_curated.npy"
STIMULI = Path("nsddata_stimuli") / "stimuli" / "nsd" / "nsd_stimuli.hdf5"
SCENES, SIMULATED = Path("truth") / "scenes.csv", Path("simulated.json")
"""Extra files of a simulated recording."""
_SESSION = re.compile(r"betas_session(\d+)\.(?:hdf5|nii|nii\.gz)")
ORIENTED = ("ncsnr", "meanbeta", "R2", "HRFindex")
"""Beginnings of the names of volumes that NSD puts beside the betas, on their grid."""
PUBLIC_SESSIONS = (40, 40, 32, 30, 40, 32, 40, 30)
"""Sessions of each of NSD's subjects."""
PAGE = "https://naturalscenesdataset.org"
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
    if not any((root / name).is_dir() for name in TOPS):
        if not root.exists():
            raise RecordingError(
                f"{root} does not exist: name the folder that holds {TOPS[0]}, as dataset.root or --nsd"
            )
        raise RecordingError(
            f"{root} holds none of {', '.join(TOPS)}: name the folder that does, as dataset.root or --nsd"
        )
    name = f"subj{number:02d}"
    design = read_design(root, number) if (root / DESIGN).is_file() else None
    _check_subject(root, name)
    n_planned = None if design is None else int(design["session"].max())
    absent = _missing(root, number, sessions, (betas_version, space), mask, n_planned)
    download = fetch_command(root, absent, _fetched_as(root, number), name)
    refuse_missing(root, absent, _fetched_as(root, number), name)
    if design is None or n_planned is None:
        by = f" by `{download}`" if download else ""
        raise RecordingError(
            f"{root / DESIGN} is missing; it lists what was shown: download it{by}, or check the root folder"
        )
    roi = functional_folder(root, number, space) / "roi"
    mask_path = path_of_mask(roi, mask)
    voxel_mask, affine = read_mask(mask_path)
    folder = betas_folder(root, number, betas_version, space)
    chosen = _choose_sessions(folder, sessions, n_planned, download)
    files = {session: found for session in chosen if (found := _find_betas(folder, session))}
    for session, path in files.items():
        n_trials = int((design["session"] == session).sum())
        _check_betas(path, n_trials, mask_path, voxel_mask, affine)
    roi_masks, missing, odd = read_roi_masks(roi, mask_path, voxel_mask, affine, label_folder(root, number))
    _check_stimuli(root)
    voxels = Voxels.in_volume(voxel_mask, affine)
    has_captions = (root / CAPTIONS).is_file()
    return Recording(
        subject=name,
        trials=design[design["session"].isin(files)].reset_index(drop=True),
        voxels=voxels,
        roi_masks=roi_masks,
        read_session=partial(_read_session, files, voxel_mask),
        unit="percent",
        missing_rois=missing,
        label_volumes=nsd_volumes.label_volumes(roi, label_folder(root, number), voxels, mask_path),
        voxel_maps=nsd_volumes.voxel_maps(roi.parent, voxels, mask_path),
        pictures=lambda stimulus_ids: from_uint8(open_stimuli(root).pictures(stimulus_ids)),
        described=partial(scenes_shown, root) if (root / SCENES).is_file() else None,
        n_pictures=lambda: open_stimuli(root).shape[0],
        captions=partial(_captions, root) if has_captions else None,
        shared=lambda: (
            np.unique(design.loc[design["split"] == "test", "stimulus_id"]),
            f"by sharedix of {DESIGN.name}",
        ),
        session_files=lambda session: (name_under(root, files[session]),),
        further_test_sets={"held_out": held_out_ids(root)},
        notes={"held_out": HELD_OUT},
        simulated=(root / SIMULATED).is_file(),
        remarks=(
            *_check_orientation(folder, list(files.values()), mask_path, voxel_mask, affine),
            *(_remarks(folder, chosen, n_planned) if sessions is None else ()),
            *mask_doubts(mask_path),
            *odd,
            *(() if has_captions else (f"{CAPTIONS.as_posix()} is not there: {CAPTIONS_SOURCE}.",)),
        ),
    )


def _fetched_as(root: Path, number: int) -> str:
    """Return the name of the recording in `braindiffuser fetch`; "" if it is none of the eight of NSD."""
    return "nsd" if 1 <= number <= len(PUBLIC_SESSIONS) and not (root / SIMULATED).is_file() else ""


def _missing(
    root: Path,
    number: int,
    sessions: int | Sequence[int] | None,
    betas: tuple[str, str],
    mask: str | Path,
    n_planned: int | None,
) -> list[Missing]:
    """List what is not there of a subject's files.

    Args:
        root: as in `open_nsd`, as are `number`, `sessions` and `mask`.
        number: of the subject.
        sessions: those that are asked for.
        betas: their version and space.
        mask: of the analysed voxels.
        n_planned: sessions of the design, beyond which none is missing; None if it is not there either.
    """
    (version, space), roi = betas, functional_folder(root, number, betas[1]) / "roi"
    folder, has_regions = betas_folder(root, number, version, space), any(roi.glob("prf-*")) or any(roi.glob("floc-*"))
    is_open = (version, space) == (BETAS_VERSION, SPACE)
    recorded = _sessions_on_disk(folder)
    asked = ({1} if not recorded else set()) if sessions is None else _asked_for(sessions)
    wanted = {session for session in asked - recorded if n_planned is None or session <= n_planned}
    absent = lacking(
        root,
        [
            (root / DESIGN, Missing("", "which trial showed what", "design")),
            (path_of_mask(roi, mask), Missing("", "mask of the analysed voxels", "regions" if space == SPACE else "")),
        ],
    )
    if wanted:
        numbers = "01, …" if sessions is None else numbered(wanted)
        held = (
            "betas" if is_open else f"betas, of another GLM or space than those that can be downloaded here: see {PAGE}"
        )
        place = f"{name_under(root, folder)}/betas_session{numbers}"
        last = PUBLIC_SESSIONS[number - 1] if _fetched_as(root, number) else 0
        public = tuple(session for session in sorted(wanted) if session <= last)
        held += f"; NSD has 1 to {last} of this subject: write sessions: {last}" if last and max(wanted) > last else ""
        absent.append(Missing(place, held, "betas" if is_open and public else "", () if sessions is None else public))
    absent += lacking(
        root,
        [
            (root / STIMULI, Missing("", "pictures", "stimuli")),
            (root / CAPTIONS, Missing("", CAPTIONS_SOURCE, needed=False)),
        ],
    )
    if not has_regions:
        absent.append(Missing(f"{name_under(root, roi)}/prf-*, floc-*", "regions", "regions", needed=False))
    return absent


def _check_subject(root: Path, name: str) -> None:
    """Raise RecordingError if files of other subjects are there, and none of this one."""
    places = [path for top in TOPS[:2] for path in (root / top / "ppdata").glob("subj[0-9]*") if path.is_dir()]
    there = sorted({path.name for path in places})
    if there and name not in there:
        raise RecordingError(f"{root} holds {', '.join(there)}, not {name}: choose dataset.subject, or download {name}")


def _remarks(folder: Path, recorded: Sequence[int], n_planned: int) -> tuple[str, ...]:
    """Tell of sessions that are not on disk though later ones are, and of files that are not read."""
    gaps, said = set(range(1, recorded[-1])) - set(recorded), []
    if gaps:
        which = f"{'session' if len(gaps) == 1 else 'sessions'} {ranges(gaps)} of {n_planned}"
        said.append(f"No betas of {which} are there, though of later ones: download them, unless this is intended.")
    others = sorted(path.name for path in folder.glob("betas_session*") if not _SESSION.fullmatch(path.name))
    if others:
        said.append(f"Not read: {', '.join(others[:6])}{' …' if len(others) > 6 else ''}.")
    return tuple(said)


def list_files(
    root: Path, subject: int, sessions: int | Sequence[int] | None, betas_version: str, mask: str
) -> dict[str, dict[str, Path]]:
    """List the files that a recording is read from, without opening any.

    Args:
        root: as in `open_nsd`.
        subject: number from 1.
        sessions: None: all on disk; n: sessions 1 to n; or a list of session numbers, from 1.
        betas_version: which GLM.
        mask: name of a volume in `roi`, or path of a NIfTI file.

    Returns:
        "design", "regions", "betas", "stimuli" and "captions" → name of a file under the root → its path, and "maps" where
        there are any. Files that are not there are left out.
    """
    roi, tables = functional_folder(root, subject) / "roi", label_folder(root, subject)
    betas = betas_folder(root, subject, betas_version)
    recorded = _sessions_on_disk(betas)
    chosen = recorded if sessions is None else recorded & _asked_for(sessions)
    wanted = {
        "design": [root / DESIGN, root / SCENES, root / SIMULATED],
        "regions": [path_of_mask(roi, mask), *sorted(roi.glob("*.nii.gz")), *sorted(tables.glob("*.ctab"))],
        "betas": [found for number in sorted(chosen) if (found := _find_betas(betas, number))],
        "stimuli": [root / STIMULI],
        "captions": [root / CAPTIONS],
    }
    if maps := nsd_volumes.list_files(roi.parent, tables):
        wanted["maps"] = maps
    return {role: {name_under(root, path): path for path in paths if path.is_file()} for role, paths in wanted.items()}


def name_under(root: Path, path: Path) -> str:
    """Return a file's name as records have it: its path below the root, or its own name if it lies elsewhere."""
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

    Raises:
        RecordingError: if the list of scenes is damaged.
    """
    if not (Path(root) / SCENES).exists():
        return np.empty(0, np.int64)
    splits = _scenes(Path(root), ("split",))["split"]
    return splits.index.to_numpy(np.int64)[splits == "held_out"]


def scenes_shown(root: Path) -> pd.DataFrame:
    """Read what the scenes of a simulated recording show: `object`, `category`, `background`, `background_category`, by id.

    Raises:
        RecordingError: if the list of scenes is damaged.
    """
    return _scenes(root, ("object", "category", "background", "background_category"))


def _scenes(root: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    path = root / SCENES
    with reading(path, "list of scenes"):
        kinds = {"stimulus_id": np.int64, **dict.fromkeys(columns, str)}
        scenes = pd.read_csv(path, usecols=list(kinds), dtype=kinds, keep_default_na=False)
        if scenes["stimulus_id"].tolist() != list(range(open_stimuli(root).shape[0])):
            raise ValueError("it does not list every stimulus once, in order")
    return scenes.set_index("stimulus_id")


def open_stimuli(root: Path | str) -> StimulusPictures:
    """Open the pictures, `nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5`; none is read yet."""
    return StimulusPictures.open(Path(root) / STIMULI)


def open_captions(root: Path | str) -> StimulusCaptions:
    """Open the captions, `annots/COCO_73k_annots_curated.npy`; none is read yet."""
    return StimulusCaptions.open(Path(root) / CAPTIONS)


CAPTIONS_SOURCE = "captions come from pscotti/naturalscenesdataset on Hugging Face"


def _captions(root: Path, stimulus_id: int) -> tuple[str, ...]:
    return open_captions(root).captions(stimulus_id)


def _check_stimuli(root: Path) -> None:
    """Read the headers of pictures and captions where they are there; later steps need them."""
    n_pictures = open_stimuli(root).shape[0] if (root / STIMULI).exists() else None
    n_rows = len(open_captions(root).texts) if (root / CAPTIONS).exists() else None
    if None not in (n_pictures, n_rows) and n_pictures != n_rows:
        raise RecordingError(
            f"{root / CAPTIONS} has captions of {n_rows} stimuli, but {root / STIMULI} holds {n_pictures} pictures: "
            "download both again"
        )


def read_design(root: Path | str, subject: int) -> pd.DataFrame:
    """Read the planned trials of one subject from `nsd_expdesign.mat`, where all numbers are doubles and count from 1.

    The picture of 0-based trial t is `subjectim[subject − 1, masterordering[t] − 1] − 1`, 0-based. It is a test picture if
    it is one of `sharedix`, which all subjects saw: the first pictures in each row of `subjectim`.

    Args:
        root: folder that holds `nsddata`.
        subject: number from 1.

    Returns:
        One row per trial of all planned sessions, with the columns of `Recording.trials`.

    Raises:
        RecordingError: the file is missing, unreadable or contradicts itself, or has no such subject.
    """
    path = Path(root) / DESIGN
    tables = load_integers(path, ("masterordering", "subjectim", "sharedix", "stimpattern"))
    image_numbers, own_pictures = tables["masterordering"].ravel(), np.atleast_2d(tables["subjectim"])
    shared, pattern = tables["sharedix"].ravel(), tables["stimpattern"]
    if not 1 <= subject <= len(own_pictures):
        raise RecordingError(f"{path} has the subjects 1 … {len(own_pictures)}, not {subject}")
    trials_per_run = (pattern if pattern.ndim > 2 else pattern[:, None]).sum(axis=-1)
    contradiction = next(_contradictions(image_numbers, own_pictures, shared, pattern), "")
    if contradiction:
        raise RecordingError(f"{path} contradicts itself: {contradiction}; download it again, or write it as NSD does")
    stimulus_ids = own_pictures[subject - 1, image_numbers - 1] - 1
    return pd.DataFrame(
        {
            "subject": f"subj{subject:02}",
            "session": np.repeat(np.arange(1, len(pattern) + 1), trials_per_run.sum(axis=1)),
            "run": np.repeat(np.tile(np.arange(1, pattern.shape[1] + 1), len(pattern)), trials_per_run.ravel()),
            "trial": np.arange(len(stimulus_ids)),
            "stimulus_id": stimulus_ids,
            "repeat": number_repeats(stimulus_ids),
            "split": np.where(np.isin(stimulus_ids + 1, shared), "test", "train"),
        }
    )


def _contradictions(
    image_numbers: Int[np.ndarray, " n_trials"],
    own_pictures: Int[np.ndarray, "n_subjects n_pictures"],
    shared: Int[np.ndarray, " n_shared"],
    pattern: Int[np.ndarray, "n_sessions _ _"],
) -> Iterator[str]:
    """Compare what a design says twice; yield what does not agree."""
    n_pictures, first_id = own_pictures.shape[1], min(own_pictures.min(), shared.min())
    if image_numbers.min() < 1 or image_numbers.max() > n_pictures:
        yield (
            f"masterordering runs from {image_numbers.min()} to {image_numbers.max()}, but a subject has pictures "
            f"1 … {n_pictures}"
        )
    if first_id < 1:
        yield f"subjectim and sharedix begin at {first_id}, but ids count from 1"
    if any(len(np.unique(row)) < len(row) for row in (*own_pictures, shared)):
        yield "sharedix, or a subject's row of subjectim, names a picture twice"
    if any(set(row[: len(shared)]) != set(shared) for row in own_pictures):
        yield (
            f"a subject's first {len(shared)} pictures in subjectim are not those of sharedix, so it does not say which "
            "pictures all subjects saw, which are the test set"
        )
    if not np.isin(pattern, (0, 1)).all():
        yield "stimpattern holds other numbers than 0 and 1"
    if pattern.sum() != len(image_numbers):
        yield f"stimpattern plans {pattern.sum()} trials, but masterordering lists {len(image_numbers)}"


def load_integers(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read tables of whole numbers from a MATLAB file.

    Args:
        path: of the file.
        names: of its variables.

    Raises:
        RecordingError: the file is missing or damaged, lacks a variable, or one holds anything else.
    """
    if not path.is_file():
        raise RecordingError(f"{path} is missing; it lists what was shown, download it or check the root folder")
    with reading(path, "MATLAB file up to v7"):
        tables = loadmat(path, variable_names=list(names))
    lacking = [name for name in names if name not in tables]
    if lacking:
        raise RecordingError(f"{path} lacks the variables {lacking}; expected {list(names)}")
    for name in names:
        values = tables[name]
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf" or not values.size:
            raise RecordingError(f"{path}: {name} is no table of numbers; download it again, or write it as NSD does")
        if not (np.isfinite(values) & (values == np.rint(values)) & (np.abs(values) < 2**31)).all():
            raise RecordingError(
                f"{path}: {name} holds fractions, NaN or numbers too large for ids; expected whole numbers from 1"
            )
    return {name: tables[name].astype(np.int64) for name in names}


def _subject_number(subject: int | str) -> int:
    match = re.fullmatch(r"(?:subj)?(\d+)", str(subject))
    if match is None:
        raise RecordingError(f"there is no subject {subject!r}; give a number from 1, or a name such as 'subj01'")
    return int(match[1])


def _choose_sessions(
    folder: Path, sessions: int | Sequence[int] | None, n_planned: int, command: str = ""
) -> list[int]:
    by = f" by `{command}`" if command else ""
    if not folder.is_dir():
        raise RecordingError(f"{folder} is missing; download these betas{by}, or choose another betas_version")
    recorded = _sessions_on_disk(folder)
    wanted = recorded if sessions is None else _asked_for(sessions)
    if not (wanted and recorded):
        raise RecordingError(
            f"{folder} has no betas to read (sessions={sessions}); expected betas_session01.hdf5 or .nii.gz"
            f"{f': download them{by}' if by else ''}"
        )
    there = {session for session in wanted & recorded if session <= n_planned}
    instead = len(there) if isinstance(sessions, int) and there == set(range(1, len(there) + 1)) else sorted(there)
    beyond = sorted(session for session in wanted if not 1 <= session <= n_planned)
    if beyond:
        raise RecordingError(
            f"dataset.sessions is {sessions}, but there is no session {beyond[0]}: the design has 1 to {n_planned}, and betas of "
            f"{ranges(recorded)} are there: write `sessions: {instead or 'null'}`"
        )
    missing = wanted - recorded
    if missing:
        raise RecordingError(
            f"{folder} has betas of the sessions {ranges(recorded)}, but dataset.sessions asks for {ranges(missing)} too: "
            f"write `sessions: {instead or 'null'}`, or download them (betas_session{min(missing):02d}{SUFFIXES[0]} or .nii.gz …)"
            f"{by}"
        )
    return sorted(wanted)


def _asked_for(sessions: int | Sequence[int]) -> set[int]:
    return set(range(1, sessions + 1)) if isinstance(sessions, int) else {int(session) for session in sessions}


def path_of_mask(roi: Path, mask: str | Path) -> Path:
    """Return the file of a mask that is given by its name in the folder `roi`, or as a file."""
    return Path(mask) if str(mask).endswith((".nii", ".nii.gz")) else roi / f"{mask}.nii.gz"


def _sessions_on_disk(folder: Path) -> set[int]:
    paths = folder.iterdir() if folder.is_dir() else ()
    found = (_SESSION.fullmatch(path.name) for path in paths)
    return {number for match in found if match and _find_betas(folder, number := int(match[1]))}


def _find_betas(folder: Path, session: int) -> Path | None:
    return find_betas(folder, f"betas_session{session:02d}")


def find_betas(folder: Path, stem: str) -> Path | None:
    """Return the file of betas of that name, in the preferred format; None if there is none."""
    paths = (folder / f"{stem}{suffix}" for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def _check_betas(
    path: Path, n_trials: int, mask_path: Path, voxel_mask: VoxelMask, affine: Float[np.ndarray, "4 4"] | None
) -> None:
    stored = inspect_on_grid(path, mask_path, voxel_mask.shape, affine)
    if stored.n_trials != n_trials:
        raise RecordingError(
            f"{path} has {stored.n_trials} trials, but the design has {n_trials} in that session; "
            "download the file again, or leave the session out of `sessions`"
        )


def _check_orientation(
    folder: Path,
    betas: Sequence[Path],
    mask_path: Path,
    voxel_mask: VoxelMask,
    affine: Float[np.ndarray, "4 4"] | None,
) -> tuple[str, ...]:
    """Compare the mask with the volumes beside betas in HDF5, which has no affine; say so where none has one.

    Raises:
        RecordingError: a volume lies on another grid, mirrored or shifted.
    """
    if not any(path.suffix == ".hdf5" for path in betas):
        return ()
    beside = [path for name in ORIENTED for path in sorted(folder.glob(f"{name}*.nii*"))]
    for path in beside if affine is not None else ():
        with open_nifti(path, header_only=True) as volume:
            shape, own = volume.shape[:3], volume.affine
        if own is not None:
            check_grid(path, shape, own, mask_path, voxel_mask.shape, affine)
            return ()
    lacking = (
        "the mask does not say it either" if affine is None else f"no volume beside them does ({ORIENTED[0]}.nii.gz)"
    )
    return (
        f"Betas in HDF5 do not say how they are oriented, and {lacking}: whether the mask is mirrored or shifted against them "
        "is not checked.",
    )


def _read_session(files: dict[int, Path], voxel_mask: VoxelMask, session: int) -> Betas:
    if session not in files:
        raise RecordingError(f"session {session} was not opened; this recording has {sorted(files)}")
    return read_betas(files[session], voxel_mask)
