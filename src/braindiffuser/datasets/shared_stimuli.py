"""Which stimuli every subject of a data set saw, where tables or names say so."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from braindiffuser.datasets.picture_names import named_alike, stem_of
from braindiffuser.datasets.subject_names import of_subject
from braindiffuser.datasets.tables import truth_values
from braindiffuser.errors import RecordingError

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording

COLUMN = "shared"
"""Column of a table of trials or stimuli that says so: 1 or 0."""
OTHERWISE = (
    "add a column shared to the table of trials (1 where every subject saw the stimulus, else 0), or list the stimuli that test: "
    "split: {kind: listed, test: FILE}"
)


def shared_stimuli(recording: Recording) -> tuple[Int[np.ndarray, " n"], str]:
    """Return the ids of stimuli that every subject saw, and how that is known, as an end of a sentence.

    A column `shared` comes first, then what the layout knows.

    Raises:
        RecordingError: nothing says so; tells what to write instead.
    """
    if recording.stimuli is not None and COLUMN in recording.stimuli:
        chosen = truth_values(recording.stimuli, COLUMN, f"table of stimuli{of_subject(recording.subject)}")
        return recording.stimuli.index.to_numpy(dtype=np.int64)[chosen], "by the column shared"
    if recording.shared is None:
        raise RecordingError(f"the recording does not say which stimuli every subject saw: {OTHERWISE}")
    return recording.shared()


def shown_to_all(
    names: Mapping[int, str], shown: Mapping[str, Collection[str]], where: object
) -> tuple[Int[np.ndarray, " n"], str]:
    """Compare a subject's stimuli with those of the others; returns as `shared_stimuli` does.

    Args:
        names: of the subject's stimuli, by id.
        shown: another subject → names of its stimuli, which may have other folders, suffixes or accents (`named_alike`).
        where: what holds the tables, for the message.

    Raises:
        RecordingError: there is no other subject, or a name of theirs fits several stimuli of this one.
    """
    if not shown:
        raise RecordingError(
            f"{where} holds no table of trials of another subject, so nothing says which stimuli every subject saw: put theirs "
            f"beside it, or {OTHERWISE}"
        )
    by_stem: dict[str, list[str]] = {}
    for name in names.values():
        by_stem.setdefault(stem_of(name), []).append(name)
    seen = [
        {same for name in theirs for same in _same(name, by_stem.get(stem_of(name), ()), subject, where)}
        for subject, theirs in shown.items()
    ]
    ids = [number for number, name in sorted(names.items()) if all(name in own for own in seen)]
    others = ", ".join(sorted(shown))
    return np.array(ids, np.int64), f"by the tables of trials of the other subjects that are there ({others})"


def _same(name: str, candidates: Sequence[str], subject: str, where: object) -> list[str]:
    """Return the stimulus that another subject's name stands for, as a list of one or none."""
    found = named_alike(name, candidates)
    if len(found) > 1:
        raise RecordingError(
            f"{where}: {name!r}, which {subject} saw, may be {found[0]!r} or {found[1]!r}, so nothing says which of them is "
            "shared: write their paths with folders and suffix"
        )
    return found
