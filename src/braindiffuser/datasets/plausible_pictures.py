"""Whether the pictures of a recording can be what was shown, whoever reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Int

from braindiffuser.arrays import Pictures
from braindiffuser.datasets.picture_faults import Fault, PictureFaults, RefusedPicturesError
from braindiffuser.images import are_flat, batch_slices
from braindiffuser.targets.target import Stimuli

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording

DIM = 0.5
"""Highest level of a set of pictures below which the files may hold fewer bits than they say."""


def picture_doubts(recording: Recording, stimulus_ids: Int[np.ndarray, " n"]) -> tuple[str, ...]:
    """Read pictures batch by batch, and return a sentence on each thing that is unusual.

    A picture of one flat colour may have been shown on purpose, which is said. Two of the same colour are refused: they are what
    files that were never written look like, and one picture under two names could train and test.

    Args:
        recording: that the pictures belong to.
        stimulus_ids: of the stimuli that train and test.

    Raises:
        RefusedPicturesError: pictures are of the same flat colour, or cannot be read; names all of them.
    """
    from braindiffuser.datasets.equal_pictures import equal_when_read

    flat, brightest, names, faults = dict[bytes, list[str]](), 0.0, recording.names, PictureFaults()
    digests: dict[int, bytes] = {}
    for rows in batch_slices(len(stimulus_ids)):
        ids, pictures = _readable(recording, stimulus_ids[rows], faults)
        brightest = max(brightest, float(pictures.max(initial=0)))
        digests |= {int(number): _digest(picture) for number, picture in zip(ids, pictures, strict=False)}
        for row in np.flatnonzero(are_flat(pictures)):
            number = int(ids[row])
            flat.setdefault(pictures[row, :, 0, 0].tobytes(), []).append(names.get(number, str(number)))
    faults.found += [_alike(colour, alike) for colour, alike in flat.items() if len(alike) > 1]
    faults.refuse(len(stimulus_ids))
    said, alone = equal_when_read(recording, digests), [name for alike in flat.values() for name in alike]
    if alone:
        shown = ", ".join(alone[:3]) + (" …" if alone[3:] else "")
        said.append(f"{len(alone)} of {len(stimulus_ids):,} pictures are of one flat colour throughout ({shown}).")
    if brightest < DIM:
        said.append(
            f"No picture is brighter than {brightest:.0%} of white: do the files have 16 bits, of which fewer are used?"
        )
    return tuple(said)


def _readable(
    recording: Recording, ids: Int[np.ndarray, " n_asked"], faults: PictureFaults
) -> tuple[Int[np.ndarray, " n"], Pictures]:
    """Read a batch of pictures, one at a time where some are refused, and take note of these."""
    try:
        return ids, Stimuli(ids, recording.pictures, None).pictures()
    except RefusedPicturesError as error:
        if len(ids) == 1:
            faults.found += error.faults
            return ids[:0], np.empty((0, 3, 1, 1), np.float32)
    each = [_readable(recording, ids[row : row + 1], faults) for row in range(len(ids))]
    read = [(number, picture) for number, picture in each if len(number)] or each[:1]
    return np.concatenate([number for number, _ in read]), np.concatenate([picture for _, picture in read])


def _digest(picture: Float32[np.ndarray, "3 height width"]) -> bytes:
    """Hash the levels of a picture, 0 to 255."""
    return hashlib.blake2b(np.rint(255 * picture).astype(np.uint8).tobytes(), digest_size=16).digest()


def _alike(colour: bytes, names: Sequence[str]) -> Fault:
    levels = ", ".join(f"{level:.0f}" for level in 255 * np.frombuffer(colour, np.float32))
    shown = f"{', '.join(names[:3])}{' …' if names[3:] else ''}"
    said = (
        f"the pictures of {len(names)} stimuli ({shown}) are of one flat colour (red, green, blue: {levels}), as where a file "
        "was never written: write them again, or leave their trials out; a plain picture that was shown on purpose needs one name"
    )
    return Fault(f"{shown}: {levels}", said, "flat", len(names))
