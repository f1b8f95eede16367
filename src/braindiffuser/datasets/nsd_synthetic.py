"""NSD-synthetic: 284 pictures that are no photographs of scenes, shown to the people of NSD in one session of their own.

    nsddata/experiments/nsdsynthetic/nsdsynthetic_expdesign.mat                    what was shown when
    nsddata_stimuli/stimuli/nsdsynthetic/nsdsynthetic_stimuli.hdf5                 pictures that all saw
    nsddata_stimuli/stimuli/nsdsynthetic/nsdsynthetic_colorstimuli_subj01.hdf5     pictures in colour, of each person's own

Numbers of pictures count from 1, first through the common ones, then through the person's own. Stored levels are linear in
luminance: what was seen is √(v / 255) · 255.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from braindiffuser.datasets.array_files import ArrayFile
from braindiffuser.datasets.further_experiments import FurtherExperiment, require
from braindiffuser.datasets.nsd_layout import load_integers
from braindiffuser.datasets.picture_sets import PictureArray
from braindiffuser.errors import RecordingError

TITLE, FETCHED_AS = "NSD-synthetic", "nsd_synthetic"
DESIGN = Path("nsddata") / "experiments" / "nsdsynthetic" / "nsdsynthetic_expdesign.mat"
STIMULI = Path("nsddata_stimuli") / "stimuli" / "nsdsynthetic"
SHOWN = np.rint(np.sqrt(np.arange(256) / 255) * 255).astype(np.uint8)
"""Level that was seen, for each that is stored."""
NOTE = (
    "NSD-synthetic: pictures unlike photographs",
    "They were shown in a session of their own, and no decoder was fitted on any of it. They have no captions, so the upper "
    "bound from true features is drawn with the empty text here.",
)


def stimulus_files(root: Path, subject: int) -> tuple[Path, Path]:
    """Return the files of the common pictures and of the person's own."""
    folder = root / STIMULI
    return folder / "nsdsynthetic_stimuli.hdf5", folder / f"nsdsynthetic_colorstimuli_subj{subject:02}.hdf5"


def list_files(root: Path, subject: int) -> dict[str, list[Path]]:
    """Return the files by role, whether they are there or not."""
    return {"design": [root / DESIGN], "stimuli": list(stimulus_files(root, subject))}


def open_synthetic(root: Path, subject: int, first_id: int, side: int) -> FurtherExperiment:
    """Open NSD-synthetic; pictures stay on disk.

    Args:
        root: folder that holds `nsddata` and `nsddata_stimuli`.
        subject: number from 1.
        first_id: id of picture number 1; the others follow.
        side: pixels a side that pictures are cropped and resized to.

    Raises:
        RecordingError: a file is missing or damaged, or the design contradicts itself or names pictures that there are not.
    """
    design = require(root / DESIGN, "which trial showed what", FETCHED_AS, root, subject)
    brick = LinearPictures.open(
        *(require(path, "pictures", FETCHED_AS, root, subject) for path in stimulus_files(root, subject))
    )
    numbers, runs = _read_design(design, brick.shape[0])
    shown = np.unique(numbers)
    pictures = PictureArray.open(brick, {first_id + int(number) - 1: int(number) - 1 for number in shown}, side)
    return FurtherExperiment(
        title=TITLE,
        design=design,
        n_betas=len(numbers),
        rows=np.arange(len(numbers)),
        runs=runs,
        stimulus_ids=first_id + numbers - 1,
        pictures=pictures,
        sets={"synthetic": first_id + shown - 1},
        notes={"synthetic": NOTE},
        imagined=(),
        remarks=(
            *(f"{TITLE}: {remark}" for remark in pictures.remarks),
            f"{TITLE}: stored levels v are linear, and are shown as √(v / 255) · 255.",
        ),
    )


def _read_design(path: Path, n_pictures: int) -> tuple[Int[np.ndarray, " n_trials"], Int[np.ndarray, " n_trials"]]:
    """Read the picture, counted from 1, and the run of every trial."""
    tables = load_integers(path, ("masterordering", "stimpattern"))
    numbers, pattern = tables["masterordering"].ravel(), tables["stimpattern"]
    per_run = pattern.reshape(-1, pattern.shape[-1]).sum(axis=1)
    fault = ""
    if not np.isin(pattern, (0, 1)).all():
        fault = "stimpattern holds other numbers than 0 and 1"
    elif per_run.sum() != len(numbers):
        fault = f"stimpattern plans {per_run.sum()} trials, but masterordering lists {len(numbers)}"
    elif numbers.min() < 1 or numbers.max() > n_pictures:
        fault = f"masterordering runs from {numbers.min()} to {numbers.max()}, but there are pictures 1 … {n_pictures}"
    if fault:
        raise RecordingError(f"{path} does not fit: {fault}; download it and its stimuli again")
    return numbers, np.repeat(np.arange(1, len(per_run) + 1), per_run)


@dataclass(frozen=True, eq=False)
class LinearPictures:
    """The common pictures, then the person's own, as they were seen.

    Attributes:
        common: uint8 (n_common, height, width, 3), linear in luminance.
        own: uint8 (n_own, height, width, 3), likewise.
    """

    common: ArrayFile
    own: ArrayFile

    @classmethod
    def open(cls, common: Path, own: Path) -> LinearPictures:
        """Read the shapes.

        Raises:
            RecordingError: a file is damaged, or they hold other arrays than 8-bit pictures of one size.
        """
        files = ArrayFile.open(f"{common}:imgBrick"), ArrayFile.open(f"{own}:imgBrick")
        for file in files:
            if file.dtype != np.uint8 or len(file.shape) != 4 or file.shape[1:] != files[0].shape[1:]:
                raise RecordingError(
                    f"{file.path}: imgBrick is {file.dtype} {file.shape}; expected uint8 (n_pictures, height, width, 3), and the "
                    f"same size in {common.name} and {own.name}: download both again"
                )
        return cls(*files)

    @property
    def path(self) -> object:
        """Folder of both files."""
        return self.common.path.parent

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_common + n_own, height, width, 3)."""
        return (self.common.shape[0] + self.own.shape[0], *self.common.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the levels."""
        return self.common.dtype

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Read pictures by their numbers from 0, in the order asked for."""
        is_common = numbers < self.common.shape[0]
        out = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        for file, chosen, before in ((self.common, is_common, 0), (self.own, ~is_common, self.common.shape[0])):
            if chosen.any():
                out[chosen] = SHOWN[file.rows(numbers[chosen] - before)]
        return out
