"""What `check` prints: what was understood of an experiment's recording, and every doubt, before anything is computed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from braindiffuser.datasets.voxel_selection import check_regions
from braindiffuser.experiment import Experiment
from braindiffuser.run_folder import check_checkpoints, check_configs

WIDTH = 16
"""Columns of names."""


def check_recording(source: str, modules: Sequence[str] = ()) -> Iterator[str]:
    """Open the recording of an experiment file and yield lines on it; neither betas nor pictures are read.

    Args:
        source: experiment file or preset.
        modules: that it takes parts from, for the command to run.

    Yields:
        Facts, doubts, and last the command to run.

    Raises:
        RecordingError: a file is missing or does not fit the others.
        RunError: the experiment cannot be run.
    """
    from braindiffuser.datasets.recording_facts import facts_of, notes_on
    from braindiffuser.datasets.trial_normalisation import check_normalisation, normalisation_doubts

    experiment = Experiment.load(source)
    command = shlex.join(
        ["braindiffuser", "run", "--config", source, *(w for name in modules for w in ("--with", name))]
    )
    if experiment.dataset.makes_files:
        yield f"The recording is made when it is run ({experiment.dataset.kind}), so there is nothing to check."
        yield f"Run it: {command} --out runs/{experiment.name}"
        return
    adapted = experiment if experiment.dataset.has_captions else experiment.without_captions()
    recording = adapted.split.divide(adapted.dataset.open(Path()))
    for name, text in facts_of(recording).items():
        yield f"{name:<{WIDTH}}{text}"
    files = {role: len(named) for role, named in adapted.dataset.files().items() if named}
    yield f"{'Files':<{WIDTH}}{', '.join(f'{n:,} {role}' for role, n in files.items())}"
    yield f"{'Decoded':<{WIDTH}}{', '.join(adapted.targets)}, drawn by {adapted.generator.kind}"
    normalisation = adapted.responses.normalisation
    for sentence in [*notes_on(recording), *normalisation_doubts(recording.trials, normalisation)]:
        yield f"Note: {sentence}"
    check_normalisation(recording.trials, normalisation)
    check_regions(recording.roi_masks, adapted.responses.rois)
    check_checkpoints(adapted)
    check_configs(adapted)
    yield f"Run it: {command} --out runs/{adapted.name}"
