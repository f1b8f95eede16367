"""What `check` prints: what was understood of an experiment's recording, and what is unusual in its tables."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from braindiffuser.datasets.voxel_selection import check_choice, check_regions
from braindiffuser.experiment import Experiment
from braindiffuser.run_folder import check_captions, check_checkpoints, check_configs

WIDTH = 16
"""Columns of names."""


def check_recording(source: str, modules: Sequence[str] = ()) -> Iterator[str]:
    """Open the recording of an experiment file and yield lines on it; what betas and pictures hold is checked when it is run.

    Only headers are read of them, but for what opening needs: some 64 pictures of an array of encoded ones, the whole file of
    GLMsingle's pickles, and all pictures where a split clusters them.

    Args:
        source: experiment file or preset.
        modules: that it takes parts from, for the command to run.

    Yields:
        Facts, doubts, and last the command to run.

    Raises:
        RecordingError: a file is missing or does not fit the others.
        RunError: the experiment cannot be run, such as without test stimuli.
    """
    from braindiffuser.datasets.recording_facts import facts_of, notes_on
    from braindiffuser.datasets.splits import stimuli_of
    from braindiffuser.datasets.stimulus_checks import check_stimuli, used_stimuli
    from braindiffuser.datasets.trial_normalisation import check_normalisation, normalisation_doubts
    from braindiffuser.splits.split import check_sides

    experiment = Experiment.load(source)
    with_modules = [word for name in modules for word in ("--with", name)]
    command = shlex.join(["braindiffuser", "run", "--config", source, *with_modules])
    if experiment.dataset.makes_files:
        yield f"The recording is made when it is run ({experiment.dataset.kind}), so there is nothing to check."
        yield f"Run it: {command} --out runs/{experiment.name}"
        return
    adapted = experiment if experiment.dataset.has_captions else experiment.without_captions()
    recording = adapted.recording(Path())
    for name, text in facts_of(recording).items():
        yield f"{name:<{WIDTH}}{text}"
    files = {role: len(named) for role, named in adapted.dataset.files().items() if named}
    yield f"{'Files':<{WIDTH}}{', '.join(f'{n:,} {role}' for role, n in files.items())}"
    yield f"{'Decoded':<{WIDTH}}{', '.join(adapted.targets)}, drawn by {adapted.generator.kind}"
    normalisation = adapted.responses.normalisation
    for sentence in [*notes_on(recording), *normalisation_doubts(recording.trials, normalisation)]:
        yield f"Note: {sentence}"
    check_captions(adapted, recording)
    check_sides(recording, remedy=adapted.dataset.more_stimuli)
    check_stimuli(recording, used_stimuli(recording), adapted.reads_captions)
    check_normalisation(recording.trials, normalisation)
    adapted.regression.check_stimuli(len(stimuli_of(recording.trials, "train")[0]))
    check_regions(recording.roi_masks, adapted.responses.rois)
    check_choice(recording, adapted.responses.voxel_choice, adapted.responses.min_noise_ceiling)
    check_checkpoints(adapted)
    check_configs(adapted)
    if adapted.split.kind == "folds":
        yield f"All folds: {shlex.join(['braindiffuser', 'folds', source, *with_modules])} --out runs/{adapted.name}-folds"
    yield f"Run it: {command} --out runs/{adapted.name}"
