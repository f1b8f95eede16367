"""What `check` prints: what was understood of an experiment's recording, and what is unusual in its tables."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from braindiffuser.datasets.region_expressions import doubts
from braindiffuser.datasets.voxel_selection import check_choice, choice_before_betas
from braindiffuser.experiment import Experiment, preset_names
from braindiffuser.machine import networks_are_installed
from braindiffuser.run_folder import check_captions, check_checkpoints, check_configs
from braindiffuser.stages.prepare import check_named_columns, check_named_regions

WIDTH = 16
"""Columns of names."""


def check_before_run(experiment: Experiment, stimuli: bool = True) -> None:
    """Check all that can be known of an experiment before it is run: as `check_recording`, without a word.

    Args:
        experiment: whose dataset makes no files.
        stimuli: whether picture files are looked at too.

    Raises:
        RecordingError: a file is missing or does not fit the others.
        RunError: the experiment cannot be run.
    """
    from braindiffuser.datasets.splits import stimuli_of
    from braindiffuser.datasets.stimulus_checks import check_stimuli, used_stimuli
    from braindiffuser.datasets.trial_normalisation import check_normalisation
    from braindiffuser.splits.split import check_sides

    adapted = experiment if experiment.dataset.has_captions else experiment.without_captions()
    recording, config = adapted.recording(Path()), adapted.responses
    check_captions(adapted, recording)
    check_sides(recording, remedy=adapted.dataset.more_stimuli)
    if stimuli:
        check_stimuli(recording, used_stimuli(recording), adapted.reads_captions)
    check_normalisation(recording.trials, config.normalisation)
    adapted.regression.check_stimuli(len(stimuli_of(recording.trials, "train")[0]))
    check_named_regions(recording, adapted)
    check_named_columns(recording, adapted)
    check_choice(recording, config.voxel_choice, config.min_noise_ceiling)
    check_checkpoints(adapted)
    if networks_are_installed():
        check_configs(adapted)


def check_recording(source: str, modules: Sequence[str] = ()) -> Iterator[str]:
    """Open the recording of an experiment file and yield lines on it; what betas and pictures hold is checked when it is run.

    Of betas, only headers are read. One picture is read, and picture files of equal size are compared with each other. Opening
    may need more: some 64 pictures of an array of encoded ones, the whole file of GLMsingle's pickles, and all pictures where a
    split clusters them.

    Args:
        source: experiment file or preset.
        modules: that it takes parts from, for the command to run.

    Yields:
        Facts, doubts, and last the command to run.

    Raises:
        RecordingError: a file is missing or does not fit the others.
        RunError: the experiment cannot be run, such as without test stimuli.
    """
    from braindiffuser.datasets.recording_facts import facts_of, further_regions, notes_on, region_lines
    from braindiffuser.datasets.splits import stimuli_of
    from braindiffuser.datasets.stimulus_checks import check_stimuli, used_stimuli
    from braindiffuser.datasets.trial_normalisation import check_normalisation, normalisation_doubts
    from braindiffuser.splits.split import check_sides

    experiment = Experiment.load(source)
    with_modules = [word for name in modules for word in ("--with", name)]
    named = experiment.name not in preset_names() or not Path(source).is_file()
    name = experiment.name if named else Path(source).stem

    def command(*words: str, beside: str = "") -> str:
        return shlex.join(["braindiffuser", *words, *with_modules, "--out", f"runs/{name}{beside}"])

    if experiment.dataset.makes_files:
        yield f"The recording is made when it is run ({experiment.dataset.kind}), so there is nothing to check."
        yield f"Run it: {command('run', '--config', source)}"
        return
    adapted = experiment if experiment.dataset.has_captions else experiment.without_captions()
    recording = adapted.recording(Path())
    named_by_expressions, faults = further_regions(recording)
    for fact, text in {**facts_of(recording), **named_by_expressions}.items():
        yield f"{fact:<{WIDTH}}{text}"
    files = {role: len(named) for role, named in adapted.dataset.all_files().items() if named}
    yield f"{'Files':<{WIDTH}}{', '.join(f'{n:,} {role}' for role, n in files.items())}"
    yield f"{'Decoded':<{WIDTH}}{', '.join(adapted.targets)}, drawn by {adapted.generator.kind}"
    normalisation = adapted.responses.normalisation
    for sentence in [*faults, *notes_on(recording), *normalisation_doubts(recording.trials, normalisation)]:
        yield f"Note: {sentence}"
    check_captions(adapted, recording)
    check_sides(recording, remedy=adapted.dataset.more_stimuli)
    check_stimuli(recording, used_stimuli(recording), adapted.reads_captions)
    check_normalisation(recording.trials, normalisation)
    adapted.regression.check_stimuli(len(stimuli_of(recording.trials, "train")[0]))
    yield f"{'Betas':<{WIDTH}}not read yet: what they hold is checked when the run begins"
    config = adapted.responses
    named_regions = check_named_regions(recording, adapted)
    for entry, expressions in named_regions.items():
        for line in region_lines(recording, entry, expressions):
            yield f"{'Region':<{WIDTH}}{line}"
    for sentence in doubts((one for each in named_regions.values() for one in each), recording.known_regions):
        yield f"Note: {sentence}"
    check_named_columns(recording, adapted)
    check_choice(recording, config.voxel_choice, config.min_noise_ceiling)
    chosen = choice_before_betas(
        recording, config.rois, config.min_noise_ceiling, config.voxel_choice, config.noise_ceiling
    )
    yield f"{'Voxels chosen':<{WIDTH}}{chosen}"
    check_checkpoints(adapted)
    if networks_are_installed():
        check_configs(adapted)
    else:
        yield (
            "Note: whether the checkpoints fit each other was not checked, since torch is not installed; what extracts features "
            "and draws is installed by pip install 'braindiffuser[generate]'"
        )
    if adapted.split.kind == "folds":
        yield f"All folds: {command('folds', source, beside='-folds')}"
    yield f"Run it: {command('run', '--config', source)}"
