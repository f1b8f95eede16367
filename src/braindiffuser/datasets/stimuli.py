"""The pictures and captions of a stimulus set, read from disk only when asked for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Int, Shaped

from braindiffuser.arrays import RawPictures
from braindiffuser.datasets.reading import reading
from braindiffuser.errors import RecordingError
from braindiffuser.images import SMALLEST_SIDE


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
            RecordingError: missing, unreadable, without `imgBrick`, compressed in a way that is not installed, or not square
                8-bit RGB pictures that are large enough.
        """
        with reading(path, "HDF5 file with a dataset imgBrick"):
            if not path.is_file():
                raise RecordingError(f"{path} is missing; it holds the stimuli, download it or check the root folder")
            with h5py.File(path, "r") as file:
                brick = file["imgBrick"]
                shape, dtype, filters = tuple(brick.shape), brick.dtype, _missing_filters(brick)
        if filters:
            raise RecordingError(
                f"{path}: imgBrick is compressed by the HDF5 filters {filters}, which are not installed: write it with gzip"
            )
        if len(shape) != 4 or shape[3] != 3 or dtype != np.uint8:
            raise RecordingError(
                f"{path}: imgBrick is {dtype} {shape}; expected uint8 (n_pictures, height, width, 3): convert it"
            )
        if not shape[0] or shape[1] != shape[2] or shape[1] < SMALLEST_SIDE:
            raise RecordingError(
                f"{path}: imgBrick holds {shape[0]} pictures of {shape[1]} × {shape[2]} pixels; expected square ones of "
                f"{SMALLEST_SIDE} pixels a side or more: crop or resize them"
            )
        return cls(path, shape)

    def pictures(self, stimulus_ids: Int[np.ndarray, " n"] | Sequence[int]) -> RawPictures:
        """Read pictures in the order asked for; ids may repeat.

        Args:
            stimulus_ids: 0-based.

        Returns:
            (n, height, width, 3), uint8. Read large sets in blocks.

        Raises:
            RecordingError: an id is outside the stimulus set, or a picture is black throughout, was never written, or cannot be
                read.
        """
        ids = np.asarray(stimulus_ids, dtype=np.int64)
        _check_ids(ids, self.shape[0], self.path)
        out = np.empty((len(ids), *self.shape[1:]), np.uint8)
        with reading(self.path, "HDF5 file of stimuli"), h5py.File(self.path, "r") as file:
            brick = file["imgBrick"]
            for position in np.argsort(ids, kind="stable"):
                stimulus_id = int(ids[position])
                out[position] = brick[stimulus_id]
                if not out[position].any() or _is_unwritten(brick, stimulus_id):
                    raise RecordingError(
                        f"{self.path}: stimulus {stimulus_id} is black throughout, or parts of it were never written: "
                        "download the file again"
                    )
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
        with reading(path, "text array, saved as '<U250' without pickle"):
            if not path.is_file():
                raise RecordingError(
                    f"{path} is missing; it holds the captions (n_pictures, 5): download it "
                    "(pscotti/naturalscenesdataset on Hugging Face)"
                )
            texts = np.load(path, mmap_mode="r", allow_pickle=False)
        if texts.ndim != 2 or texts.dtype.kind != "U":
            raise RecordingError(
                f"{path} is {texts.dtype} {texts.shape}; expected texts (n_pictures, 5), such as '<U250'"
            )
        return cls(path, texts)

    def captions(self, stimulus_id: int) -> tuple[str, ...]:
        """Return the captions of one picture that are not empty.

        Raises:
            RecordingError: the id is outside the stimulus set, it has no caption, or a caption is damaged.
        """
        _check_ids(np.array([stimulus_id]), len(self.texts), self.path)
        row = self.texts[stimulus_id]
        if _has_undecoded(row):
            raise RecordingError(
                f"{self.path}: captions of stimulus {stimulus_id} hold characters that stand for damaged text: write the file "
                "again from its source"
            )
        texts = tuple(str(text) for text in row if text.strip())
        if not texts:
            raise RecordingError(
                f"{self.path} has no caption of stimulus {stimulus_id}: write one, or move the file away to decode no text"
            )
        return texts


def _check_ids(ids: Int[np.ndarray, " n"], n_pictures: int, path: Path) -> None:
    outside = ids[(ids < 0) | (ids >= n_pictures)]
    if outside.size:
        raise RecordingError(
            f"{path} has no stimulus {int(outside[0])}; ids are 0-based, 0 … {n_pictures - 1} (NSD's 73KID minus 1)"
        )


def _missing_filters(brick: h5py.Dataset) -> list[str]:
    """Name the compression filters that are needed to read a dataset and are not installed."""
    plan = brick.id.get_create_plist()
    filters = [plan.get_filter(number) for number in range(plan.get_nfilters())]
    return [f"{name.decode() or 'unnamed'} ({code})" for code, _, _, name in filters if not h5py.h5z.filter_avail(code)]


def _is_unwritten(brick: h5py.Dataset, stimulus_id: int) -> bool:
    """Return whether a chunk that holds a part of a picture was never written; it would read as the fill value."""
    if brick.chunks is None:
        return False
    starts = itertools.product(
        *(range(0, side, chunk) for side, chunk in zip(brick.shape[1:], brick.chunks[1:], strict=True))
    )
    return any(brick.id.get_chunk_info_by_coord((stimulus_id, *start)).byte_offset is None for start in starts)


def _has_undecoded(texts: Shaped[np.ndarray, " n_slots"]) -> bool:
    """Return whether texts hold numbers that are no characters, lone surrogates, replacement characters, or NUL inside."""
    letters = np.frombuffer(texts.tobytes(), np.dtype(np.uint32).newbyteorder(texts.dtype.byteorder))
    surrogates = (letters >= 0xD800) & (letters <= 0xDFFF)
    if (surrogates | (letters > 0x10FFFF) | (letters == 0xFFFD)).any():
        return True
    return any("\0" in text for text in texts)  # numpy takes NULs at the end away
