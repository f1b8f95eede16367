"""Whether the pictures of a recording can be what was shown, whoever reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from braindiffuser.errors import RecordingError
from braindiffuser.images import are_flat, batch_slices
from braindiffuser.targets.target import Stimuli

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording

DIM = 0.5
"""No picture of a recording is brighter than that where files of 16 bits have a white of fewer."""


def picture_doubts(recording: Recording, stimulus_ids: Int[np.ndarray, " n"]) -> tuple[str, ...]:
    """Read pictures batch by batch, and return a sentence on each thing that is unusual.

    A picture of one flat colour may have been shown on purpose, which is said. Two of the same colour are refused: they are what
    files that were never written look like, and one picture under two names could train and test.

    Args:
        recording: that the pictures belong to.
        stimulus_ids: of the stimuli that train and test.

    Raises:
        RecordingError: pictures are of the same flat colour; names them. A picture cannot be read, or is no picture.
    """
    flat, brightest, names = dict[bytes, list[str]](), 0.0, recording.names
    for rows in batch_slices(len(stimulus_ids)):
        pictures = Stimuli(stimulus_ids[rows], recording.pictures, None).pictures()
        brightest = max(brightest, float(pictures.max(initial=0)))
        for row in np.flatnonzero(are_flat(pictures)):
            number = int(stimulus_ids[rows][row])
            flat.setdefault(pictures[row, :, 0, 0].tobytes(), []).append(names.get(number, str(number)))
    for colour, alike in flat.items():
        if len(alike) > 1:
            levels = ", ".join(f"{level:.0f}" for level in 255 * np.frombuffer(colour, np.float32))
            raise RecordingError(
                f"the pictures of {len(alike)} stimuli ({', '.join(alike[:3])}{' …' if alike[3:] else ''}) are of one flat "
                f"colour (red, green, blue: {levels}), as where a file was never written: write them again, or leave their "
                "trials out; a plain picture that was shown on purpose needs one name"
            )
    said, alone = [], [name for alike in flat.values() for name in alike]
    if alone:
        shown = ", ".join(alone[:3]) + (" …" if alone[3:] else "")
        said.append(f"{len(alone)} of {len(stimulus_ids):,} pictures are of one flat colour throughout ({shown}).")
    if brightest < DIM:
        said.append(
            f"No picture is brighter than {brightest:.0%} of white: files of 16 bits whose white is a lower level are read so."
        )
    return tuple(said)
