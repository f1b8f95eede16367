"""What a reader understood of a recording, in words: for `check` and the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from braindiffuser.datasets.equal_pictures import equal_pictures
from braindiffuser.datasets.noise_ceiling import ceiling_doubts, noise_ceiling
from braindiffuser.datasets.recording import UNIT_NAMES, Recording, ranges
from braindiffuser.datasets.region_expressions import Expression
from braindiffuser.datasets.region_names import listed
from braindiffuser.datasets.splits import OUT, stimuli_of
from braindiffuser.datasets.subject_names import given_name
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError

MOST_REGIONS = 20
"""Regions that are listed by name."""


def facts_of(recording: Recording) -> dict[str, str]:
    """Describe a recording without reading betas or pictures: name → text."""
    trials, train = recording.trials, stimuli_of(recording.trials, "train")[0]
    repeats = trials.groupby("stimulus_id").size()
    sets = {
        name: f"{len(ids):,} {'for testing' if name == 'test' else name}" for name, ids in recording.test_sets.items()
    }
    out = trials.loc[trials["split"] == OUT, "stimulus_id"].nunique()
    neither = [f"{out:,} in neither"] * bool(out)
    return {
        "Subject": given_name(recording.subject) or "has no name",
        "Sessions": ranges(recording.session_numbers),
        "Trials": f"{len(trials):,}",
        "Stimuli": ", ".join([f"{len(train):,} for training", *sets.values(), *neither]),
        "Repeats": f"each stimulus {ranges(set(repeats.tolist()))} times",
        "Captions": "none" if recording.captions is None else "yes",
        "Unit of betas": UNIT_NAMES[recording.unit],
        "Voxels": f"{recording.n_voxels:,} analysed, {_place(recording.voxels)}",
        "Regions": _regions(recording),
        "Noise ceilings": _ceilings(recording, int((repeats.drop(recording.stimuli_apart, errors="ignore") > 1).sum())),
    }


def notes_on(recording: Recording) -> list[str]:
    """List what a reader of the page should know of a recording, one sentence each."""
    said = [
        *recording.remarks,
        *([recording.split_remark] if recording.split_remark else []),
        *equal_pictures(recording),
    ]
    if recording.captions is None:
        said.append("The recording has no captions, so no text is decoded: pictures are drawn by vision tokens alone.")
    if recording.ncsnr is not None:
        said += ceiling_doubts(recording.ncsnr)
    if recording.missing_rois:
        said.append(missing_regions(recording.missing_rois))
    return said


def region_lines(recording: Recording, entry: str, expressions: Sequence[Expression]) -> Iterator[str]:
    """Describe the regions that an entry names: voxels among the analysed ones, and noise ceilings where the recording has them.

    Label volumes and maps that expressions name are read.

    Raises:
        RecordingError: the file of one of them cannot be used.
    """
    known = recording.known_regions
    for expression in expressions:
        mask = expression.mask(known)
        ratios = np.empty(0) if recording.ncsnr is None else recording.ncsnr[mask & ~np.isnan(recording.ncsnr)]
        of_one = (
            f", median noise ceiling of one trial {np.median(noise_ceiling(ratios, 1)):.0f} %" if len(ratios) else ""
        )
        n = int(mask.sum())
        yield f"{expression.text} ({entry}): {f'{n:,} of {recording.n_voxels:,} voxels' if n else 'no analysed voxel'}{of_one}"


def missing_regions(names: Iterable[str]) -> str:
    """Say which regions have no file.

    >>> missing_regions(["V1"])
    'Left out, since the recording has no file for them: V1.'
    """
    return f"Left out, since the recording has no file for them: {', '.join(names)}."


def _place(voxels: Voxels) -> str:
    if voxels.mask is not None:
        grid = " × ".join(map(str, voxels.mask.shape))
        return f"in a volume of {grid}" + ("" if voxels.affine is not None else " of unknown orientation")
    return "at known places" if voxels.coordinates is not None else "no place is known"


def _regions(recording: Recording) -> str:
    listed = [f"{name} ({int(mask.sum()):,})" for name, mask in recording.roi_masks.items()]
    more = f" and {len(listed) - MOST_REGIONS} more" if len(listed) > MOST_REGIONS else ""
    return ", ".join(listed[:MOST_REGIONS]) + more if listed else "none"


def further_regions(recording: Recording) -> tuple[dict[str, str], list[str]]:
    """Describe what expressions may name besides: labels of volumes by their tables, and maps; tables are read.

    Returns:
        Name → text, and what is wrong with tables.
    """
    labels, faults = [], []
    for title, volume in recording.label_volumes.volumes.items():
        try:
            own = list(volume.numbers)
        except RecordingError as error:
            faults.append(f"{error}.")
        else:
            labels.append(f"{title} ({listed(own) if own else 'labels by number'})")
    maps = list(recording.voxel_maps)
    facts = ({"Label volumes": "; ".join(labels)} if labels else {}) | ({"Maps": listed(maps)} if maps else {})
    return facts, faults


def _ceilings(recording: Recording, n_repeated: int) -> str:
    if recording.ncsnr is not None:
        return "as the recording gives them"
    known = f"estimated from the {n_repeated:,} stimuli that were shown more than once"
    return known if n_repeated else "not known, since no stimulus was shown twice"
