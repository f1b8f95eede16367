"""What is exported of a run: results that are whole and up to date, and the recording that they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from braindiffuser.datasets.noise_ceiling import noise_ceiling
from braindiffuser.datasets.recording import Recording
from braindiffuser.errors import RunError, command_line
from braindiffuser.experiment import Experiment
from braindiffuser.files import as_states, changed_files
from braindiffuser.plain_data import hash_json
from braindiffuser.progress import Progress
from braindiffuser.recording_hashes import RecordingHashes, recording_files
from braindiffuser.run_folder import stored_experiment
from braindiffuser.stages import Step, stages
from braindiffuser.stages.prepare import MADE, VOXELS, chosen_voxels
from braindiffuser.step_states import StepStates
from braindiffuser.store.results import Results, Store


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """Results of a run, for reading; nothing is written to its folder.

    Attributes:
        experiment: that was run.
        results: finished ones.
        recording: that they came from.
        chosen: which of the recording's voxels decoders are fitted to; columns of responses are these.
        groups: target groups that are decoded.
        steps: whose results are exported.
        states: of all steps.
        remarks: sentences on what is left out.
    """

    experiment: Experiment
    results: Results
    recording: Recording
    chosen: Bool[np.ndarray, " n_analysed"]
    groups: tuple[str, ...]
    steps: tuple[Step, ...]
    states: StepStates
    remarks: tuple[str, ...] = ()

    @classmethod
    def open(cls, folder: Path, progress: Progress) -> FinishedRun:
        """Open a run whose responses are finished.

        Args:
            folder: of the run.
            progress: called as progress(label, done, total) while files of the recording are hashed.

        Raises:
            RunError: there is no run, responses are not finished, or a result is damaged or was made of other settings or files.
            RecordingError: the recording cannot be opened.
        """
        experiment, store = stored_experiment(folder), Store(folder)
        hashes = RecordingHashes(store, recording_files(experiment), progress, keep=False)
        states = StepStates(experiment, store, hashes)
        prepared = stages()["prepare"].steps(experiment)
        unfinished = [step for step in prepared if not _is_whole(step, states, store)]
        if unfinished:
            raise RunError(f"{folder} has no responses yet: run {command_line('prepare', '--out', folder)} first")
        steps = {group: (Step("extract", group), Step("fit", group)) for group in experiment.targets}
        groups = [group for group, own in steps.items() if all(_is_whole(step, states, store) for step in own)]
        recording = experiment.recording(folder / MADE)
        _check_trials(recording, store)
        return cls(
            experiment,
            store,
            recording,
            chosen_voxels(experiment, recording, store),
            tuple(groups),
            (*prepared, *(step for group in groups for step in steps[group])),
            states,
            tuple(
                f"Features of {group} are left out, since they are not decoded yet: run {command_line('run', '--out', folder)}."
                for group in experiment.targets
                if group not in groups
            ),
        )

    def has(self, step: Step) -> bool:
        """Return whether a further step is finished, whole and up to date."""
        try:
            return _is_whole(step, self.states, Store(self.results.folder))
        except RunError:
            return False

    @property
    def voxel_fingerprint(self) -> str:
        """Hash of the voxels that decoders are fitted to: subject, places and choice."""
        return str(self.results.read_json(VOXELS)["fingerprint"])

    @property
    def uid(self) -> str:
        """What stands for the exported results, as they are now."""
        records = {str(step): Store(self.results.folder).record(str(step)) for step in self.steps}
        return hash_json({step: record and record["uid"] for step, record in records.items()})

    def ids(self, split: str) -> Int[np.ndarray, " n_stimuli"]:
        """Return the ids of a split's stimuli, in the order of its responses and features."""
        return self.results.read_array(f"stimuli/{split}_ids")

    def names(self, split: str) -> Shaped[np.ndarray, " n_stimuli"]:
        """Return the names of a split's stimuli as text; of stimuli that have numbers alone, the number."""
        names = self.recording.names
        return np.array([names.get(number, str(number)) for number in self.ids(split).tolist()], dtype=np.str_)

    @cached_property
    def test_sets(self) -> Shaped[np.ndarray, " n_test"]:
        """Name of the test set of each test stimulus."""
        rows = self.results.read_json("test_sets.json")
        return np.array([name for name, (start, stop) in rows.items() for _ in range(start, stop)], dtype=np.str_)

    @cached_property
    def roi_masks(self) -> Mapping[str, Bool[np.ndarray, " n_chosen"]]:
        """Region → which of the chosen voxels it holds."""
        return self.results.read_bundle("rois.npz")

    @cached_property
    def ncsnr(self) -> Float[np.ndarray, " n_chosen"]:
        """Noise ceiling signal-to-noise ratio of each chosen voxel; NaN where it is not known."""
        return self.results.read_array("ncsnr")

    @property
    def noise_ceilings(self) -> Float[np.ndarray, " n_chosen"]:
        """Percent of the variance of averaged training responses that stimuli could explain; NaN where it is not known."""
        return noise_ceiling(self.ncsnr, self.results.read_array("responses/n_repeats_train"))


def _is_whole(step: Step, states: StepStates, store: Store) -> bool:
    """Return whether a step was finished.

    Raises:
        RunError: it was, but one of its files is damaged, or it was made of other settings or files than there are now.
    """
    record = store.record(str(step))
    if record is None:
        return False
    again = f"run {command_line('run', '--out', store.folder)} first"
    changed = changed_files(store.folder, as_states(record["files"]))
    if changed:
        name, change = next(iter(changed.items()))
        raise RunError(f"{store.folder / name} {change}: {again}")
    stale = states.explain(step)
    if stale:
        raise RunError(f"{step} of {store.folder} is out of date ({stale[0]}): {again}")
    return True


def _check_trials(recording: Recording, results: Results) -> None:
    """Refuse a recording whose trials are not those that responses were averaged over."""
    stored = results.read_table("trials.csv")
    columns = ["session", "stimulus_id", "split"]
    if len(stored) != len(recording.trials) or any(
        stored[column].tolist() != recording.trials[column].tolist() for column in columns
    ):
        raise RunError(
            f"the recording has other trials than those in {results.path('trials.csv')}: run "
            f"{command_line('run', '--out', results.folder)} first"
        )
