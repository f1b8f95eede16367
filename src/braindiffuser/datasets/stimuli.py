"""The pictures and captions of a stimulus set, read from disk only when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Int, Shaped

from braindiffuser.arrays import RawPictures
from braindiffuser.errors import RecordingError, reason


@dataclass(frozen=True)
class StimulusPictures:
    """8-bit pictures in the dataset `imgBrick` of an HDF5 file; each call opens and closes the file.

    Attributes:
        path: the HDF5 file.
        shape: (n_pictures, height, width, 3).
    """

    path: Path
    shape: tuple[int, int, int, int]

    @classmethod
    def open(cls, path: Path) -> StimulusPictures:
        """Check the file and read its shape.

        Raises:
            RecordingError: missing, unreadable, without `imgBrick`, or not 8-bit RGB.
        """
        if not path.is_file():
            raise RecordingError(f"{path} is missing; it holds the stimuli, download it or check the root folder")
        try:
            with h5py.File(path, "r") as file:
                shape, dtype = tuple(file["imgBrick"].shape), file["imgBrick"].dtype
        except (OSError, KeyError) as error:
            raise RecordingError(
                f"{path} has no readable dataset imgBrick ({reason(error)}); download it again"
            ) from error
        if len(shape) != 4 or shape[3] != 3 or dtype != np.uint8:
            raise RecordingError(f"{path}: imgBrick is {dtype} {shape}; expected uint8 (n_pictures, height, width, 3)")
        return cls(path, shape)

    def pictures(self, stimulus_ids: Int[np.ndarray, " n"] | Sequence[int]) -> RawPictures:
        """Read pictures in the order asked for; ids may repeat.

        Args:
            stimulus_ids: 0-based.

        Returns:
            (n, height, width, 3), uint8. Read large sets in blocks.

        Raises:
            RecordingError: an id is outside the stimulus set.
        """
        ids = np.asarray(stimulus_ids, dtype=np.int64)
        _check_ids(ids, self.shape[0], self.path)
        out = np.empty((len(ids), *self.shape[1:]), np.uint8)
        with h5py.File(self.path, "r") as file:
            brick = file["imgBrick"]
            for position in np.argsort(ids, kind="stable"):
                out[position] = brick[int(ids[position])]
        return out


@dataclass(frozen=True, eq=False)
class StimulusCaptions:
    """Captions in a text array (n_pictures, n_slots) whose unused slots are empty; row = stimulus id.

    Attributes:
        path: the `.npy` file.
        texts: the array, memory-mapped.
    """

    path: Path
    texts: Shaped[np.ndarray, "n_pictures n_slots"]

    @classmethod
    def open(cls, path: Path) -> StimulusCaptions:
        """Map the file into memory without reading it.

        Raises:
            RecordingError: missing, or not a table of texts.
        """
        if not path.is_file():
            raise RecordingError(f"{path} is missing; it holds the captions (n_pictures, 5), put it there")
        try:
            texts = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise RecordingError(
                f"{path} is no plain text array ({reason(error)}); save it as '<U250' without pickle"
            ) from error
        if texts.ndim != 2 or texts.dtype.kind != "U":
            raise RecordingError(
                f"{path} is {texts.dtype} {texts.shape}; expected texts (n_pictures, 5), such as '<U250'"
            )
        return cls(path, texts)

    def captions(self, stimulus_id: int) -> tuple[str, ...]:
        """Return the captions of one picture that are not empty; there may be none.

        Raises:
            RecordingError: the id is outside the stimulus set.
        """
        _check_ids(np.array([stimulus_id]), len(self.texts), self.path)
        return tuple(str(text) for text in self.texts[stimulus_id] if text.strip())


def _check_ids(ids: Int[np.ndarray, " n"], n_pictures: int, path: Path) -> None:
    outside = ids[(ids < 0) | (ids >= n_pictures)]
    if outside.size:
        raise RecordingError(
            f"{path} has no stimulus {int(outside[0])}; ids are 0-based, 0 … {n_pictures - 1} (NSD's 73KID minus 1)"
        )
