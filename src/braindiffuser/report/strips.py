"""Pictures of a contact sheet: a strip of each stimulus, its kinds side by side, and data for the page's script."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from braindiffuser.arrays import Pictures
from braindiffuser.images import batch_slices, resize, to_uint8
from braindiffuser.report.numbers import number, percent
from braindiffuser.report.sections import ContactSheet, SheetMetric
from braindiffuser.spacing import evenly_spaced

ReadPictures = Callable[[str, Sequence[int]], Pictures]
"""Kind and numbers of pictures to (n, 3, height, width)."""

SEEN = "seen"
"""Kind of the pictures that were seen."""
SIDES = (128, 112, 96, 80, 64, 48, 32)
"""Sides that a picture may have, in pixels: whole blocks of the compression, so that neighbours stay apart."""
QUALITY = 80
"""Of the WebP compression; all other pictures of a page are PNG."""
N_TRIED = 16
"""Strips by which a side is chosen."""
FORMAT = 2
"""Version of the data that the script reads, here and in other pages: `FORMAT` of `other_page.js`."""


@dataclass(frozen=True)
class Strips:
    """The pictures of a contact sheet.

    Attributes:
        uris: a strip for each stimulus, a WebP inside a data URI.
        width: of each strip, in pixels.
        height: of each.
        data: what a script knows of them: the sheet as it is stored, and what stands for each seen picture, pixel by pixel.
    """

    uris: list[str]
    width: int
    height: int
    data: dict[str, Any]


def make_strips(read: ReadPictures, sheet: ContactSheet, room: float) -> Strips:
    """Put the kinds of each stimulus side by side, as large as there is room for; pictures are read a batch at a time.

    Args:
        read: reads pictures.
        sheet: what to show.
        room: characters that all strips may take together, about; the smallest side is taken in any case.
    """
    numbers = [strip.number for strip in sheet.strips]
    side = _side(read, sheet, room / len(numbers))
    uris, hashes = list[str](), list[str]()
    for rows in batch_slices(len(numbers)):
        some = {kind: read(kind, numbers[rows]) for kind in sheet.kinds}
        uris += [_uri(strip) for strip in _joined(some.values(), side)]
        hashes += [_hash(picture) for picture in to_uint8(some[SEEN])] if SEEN in some else [""] * len(numbers[rows])
    stored = sheet.model_dump(mode="json")
    strips = [
        {**kept, "seen": seen, "printed": _printed(sheet.metrics, strip.scores)}
        for kept, strip, seen in zip(stored["strips"], sheet.strips, hashes, strict=True)
    ]
    data = {
        **{"metrics": [], "scored": "", "scores_of": "", "profile": ""},
        **stored,
        "kinds": list(sheet.kinds.items()),  # pairs, in the order of the pictures: JSON objects need not keep theirs
        "strips": strips,
        "n_pictures": sheet.n_pictures or len(strips),
        "format": FORMAT,
        "seen": SEEN,
    }
    return Strips(uris, width=len(sheet.kinds) * side, height=side, data=data)


def _printed(metrics: Sequence[SheetMetric], scores: Sequence[float | None]) -> list[str]:
    """Print scores as the rest of the page does."""
    return [
        percent(score, 1) if metric.in_percent else number(score) for metric, score in zip(metrics, scores, strict=True)
    ]


def _side(read: ReadPictures, sheet: ContactSheet, room: float) -> int:
    """Return the largest side at which a strip takes so many characters on average, not larger than the pictures are."""
    numbers = [sheet.strips[place].number for place in evenly_spaced(len(sheet.strips), N_TRIED)]
    some = [read(kind, numbers) for kind in sheet.kinds]
    largest = max(max(pictures.shape[-2:]) for pictures in some)
    for side in SIDES:
        if side <= largest and np.mean([len(_uri(strip)) for strip in _joined(some, side)]) <= room:
            return side
    return SIDES[-1]


def _joined(kinds: Collection[NDArray[np.float32]], side: int) -> list[NDArray[np.uint8]]:
    """Return a strip (side, n_kinds · side, 3) for each stimulus."""
    small = [to_uint8(resize(pictures, side)) for pictures in kinds]
    return [np.concatenate(own, axis=1) for own in zip(*small, strict=True)]


def _uri(strip: NDArray[np.uint8]) -> str:
    """Write a strip as a WebP inside a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(strip).save(buffer, format="WEBP", quality=QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _hash(picture: NDArray[np.uint8]) -> str:
    """Return the first 16 hex digits of the SHA-256 of a picture's pixels, by which two pages know what both have seen."""
    return hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()[:16]
