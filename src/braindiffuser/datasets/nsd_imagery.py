"""NSD-Imagery: pictures that the people of NSD saw, attended to or imagined in one session, each named by a letter.

    nsddata/bdata/nsdimagery/nsdimagery_subj01_visA.tsv      trials of each run of `RUNS`; the column CONDITION is the letter
    nsddata_stimuli/stimuli/nsdimagery/by_cue/H.png          the picture of each letter, which a person puts there

A trial of seeing or imagining has one beta. A trial of attention has two, of its cue and of the pictures that followed, of which
the second is taken.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from braindiffuser.datasets.further_experiments import FurtherExperiment, require
from braindiffuser.datasets.picture_faults import Fault, PictureFaults
from braindiffuser.datasets.picture_sets import PictureFiles, list_pictures
from braindiffuser.datasets.tables import read_table
from braindiffuser.errors import RecordingError

TITLE, FETCHED_AS = "NSD-Imagery", "nsd_imagery"
DESIGN = Path("nsddata") / "bdata" / "nsdimagery"
STIMULI = Path("nsddata_stimuli") / "stimuli" / "nsdimagery" / "by_cue"
RUNS = (
    "visA",
    "attA",
    "imgA_1",
    "visB",
    "attB",
    "imgB_1",
    "visC",
    "attC",
    "imgC_1",
    "imgA_2",
    "imgB_2",
    "imgC_2",
)
"""In the order of the betas."""
CUE = "CONDITION"
EXAMPLE = "CONDITION\tRT\nH\t0.61\nV\t0.70"
SETS = {"vis": "imagery_vision", "att": "imagery_attention", "img": "imagery_imagination"}
"""Beginning of a run's name → test set."""
BETAS = {"vis": 1, "att": 2, "img": 1}
"""Betas of a trial; the last one is taken."""
_JOINED = "Each response is scored against the picture of the trial's letter. No decoder was fitted on any of it."
NOTES = {
    "imagery_vision": ("NSD-Imagery: seen", f"Responses while the pictures of NSD-Imagery were seen. {_JOINED}"),
    "imagery_attention": (
        "NSD-Imagery: attended",
        "Responses while a picture was looked for among others, which were shown and are part of these responses too: the second "
        "of the two betas of each trial. "
        f"{_JOINED}",
    ),
    "imagery_imagination": (
        "NSD-Imagery: imagined",
        f"Responses while a picture was imagined, not seen. {_JOINED}",
    ),
}


def trial_files(root: Path, subject: int) -> dict[str, Path]:
    """Return run → its table of trials."""
    return {run: root / DESIGN / f"nsdimagery_subj{subject:02}_{run}.tsv" for run in RUNS}


def list_files(root: Path, subject: int) -> dict[str, list[Path]]:
    """Return the files by role, whether they are there or not."""
    return {
        "design": list(trial_files(root, subject).values()),
        "stimuli": list(list_pictures(root / STIMULI).values()),
    }


def open_imagery(root: Path, subject: int, first_id: int, side: int) -> FurtherExperiment:
    """Open NSD-Imagery; pictures stay on disk.

    Args:
        root: folder that holds `nsddata` and `nsddata_stimuli`.
        subject: number from 1.
        first_id: of the ids; those of one test set follow those of another.
        side: pixels a side that pictures are cropped and resized to.

    Raises:
        RecordingError: a file is missing or damaged, or pictures of fewer than two letters are there.
    """
    events = _read_events(root, subject)
    pictures_of = _pictures_by_cue(root / STIMULI, sorted(set(events["cue"])))
    cues = list(pictures_of)
    known = events[events["cue"].isin(cues)]
    ids = first_id + known["kind"].map(list(SETS).index) * len(cues) + known["cue"].map(cues.index)
    names = dict(zip(ids.tolist(), known["cue"], strict=True))
    first = {
        number: f"trial {row} of NSD-Imagery, counted from 0,"
        for number, row in zip(ids[::-1].tolist(), known.index[::-1].tolist(), strict=True)
    }
    pictures = PictureFiles.listed(
        list(pictures_of.values()), {number: pictures_of[cue].name for number, cue in names.items()}, first, side
    )
    lacking = [cue for cue in sorted(set(events["cue"])) if cue not in pictures_of]
    left_out = (
        f"{TITLE}: trials of {', '.join(lacking)} are left out, since {STIMULI.as_posix()} has no picture of them."
    )
    return FurtherExperiment(
        title=TITLE,
        design=root / DESIGN,
        n_betas=int(events["n_betas"].iloc[0]),
        rows=known["row"].to_numpy(np.int64),
        runs=known["run"].to_numpy(np.int64),
        stimulus_ids=ids.to_numpy(np.int64),
        pictures=pictures,
        sets={name: np.unique(ids[known["kind"] == kind].to_numpy(np.int64)) for kind, name in SETS.items()},
        notes=NOTES,
        imagined=(SETS["img"],),
        remarks=(*([left_out] if lacking else []), *(f"{TITLE}: {remark}" for remark in pictures.remarks)),
    )


def _read_events(root: Path, subject: int) -> pd.DataFrame:
    """Return a row per trial: kind ("vis", "att", "img"), cue, run from 1, the row of its beta, and n_betas of all runs."""
    parts, before = [], 0
    for number, (run, path) in enumerate(trial_files(root, subject).items(), start=1):
        table = read_table(require(path, "the trials of a run", FETCHED_AS, root, subject), [CUE], EXAMPLE)
        if table[CUE].isna().any():
            row = int(np.argmax(table[CUE].isna()))
            raise RecordingError(
                f"{path}: column {CUE} is empty in row {row}, counted from 0: download the table again"
            )
        kind = run[:3]
        rows = before + BETAS[kind] * np.arange(1, len(table) + 1) - 1
        cues = table[CUE].astype(str).str.strip()
        parts.append(pd.DataFrame({"kind": kind, "cue": cues, "run": number, "row": rows}))
        before += BETAS[kind] * len(table)
    return pd.concat(parts, ignore_index=True).assign(n_betas=before)


def _pictures_by_cue(folder: Path, cues: list[str]) -> dict[str, Path]:
    """Return letter → picture, of the letters that have one.

    Raises:
        RecordingError: fewer than two have one, or one has several.
    """
    found, faults = dict[str, Path](), PictureFaults()
    for path in list_pictures(folder).values():
        if path.stem in found:
            faults.found.append(
                Fault(path.stem, f"{folder} holds two pictures of the letter {path.stem}: keep one", "two")
            )
        elif path.stem in cues:
            found[path.stem] = path
    faults.refuse(len(found))
    if len(found) < 2:
        raise RecordingError(
            f"{folder} holds pictures of {len(found)} of the letters {', '.join(cues)}: make this folder and copy the picture "
            f"that each letter stands for into it, named by the letter, such as {cues[0]}.png (those of sets A and B are in "
            "nsddata/experiments/nsdimagery/rawtargetimages), or leave imagery out of dataset.further"
        )
    return {cue: found[cue] for cue in cues if cue in found}
