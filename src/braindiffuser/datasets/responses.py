"""Responses: one row per stimulus, averaged over repeats and normalised (`Normalisation`), in one pass over betas."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float, Float32, Int

from braindiffuser.arrays import Betas
from braindiffuser.datasets.checked_betas import checked_betas
from braindiffuser.datasets.noise_ceiling import CeilingEstimate, NoiseCeilingAccumulator
from braindiffuser.datasets.normalisation import Normalisation, column_statistics, guard, standardise
from braindiffuser.datasets.plausibility import check_session, check_sessions
from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.session_facts import SessionFacts, as_arrays, describe, from_arrays
from braindiffuser.datasets.splits import Split, check_split, stimuli_of
from braindiffuser.datasets.trial_normalisation import Z_SCORED_BY, check_normalisation, normalise_trials
from braindiffuser.errors import RecordingError, RunError

SPLITS: tuple[Split, Split] = ("train", "test")


@dataclass(frozen=True, eq=False)
class SplitResponses:
    """What the decoders are fitted to and tested on.

    Attributes:
        train: (n_train, n_voxels), mean 0 and standard deviation 1 (ddof 1) per voxel, 0 where a voxel never varies; with the
            normalisation `none`, averages of betas as they are.
        test: (n_test, n_voxels), by the same mean and standard deviation.
        train_ids: 0-based stimulus ids of the rows, ascending.
        test_ids: likewise.
        n_repeats_train: trials averaged into each row.
        n_repeats_test: likewise.
        ncsnr: noise ceiling signal-to-noise ratio per voxel (see `noise_ceiling`); NaN if it is not known.
            Test trials enter it: report it, never choose voxels by it.
        training_ncsnr: the same from training trials alone; None unless it was asked for.
        mean_: of the averaged training set before the last z-score; in the unit of the betas, or in z units where trials were
            z-scored; 0 with `none`.
        std_: likewise, ddof 1; 1 where the voxel never varies, and with `none`.
        sessions: what is told of each session's betas, by its number.
    """

    train: Float32[np.ndarray, "n_train n_voxels"]
    test: Float32[np.ndarray, "n_test n_voxels"]
    train_ids: Int[np.ndarray, " n_train"]
    test_ids: Int[np.ndarray, " n_test"]
    n_repeats_train: Int[np.ndarray, " n_train"]
    n_repeats_test: Int[np.ndarray, " n_test"]
    ncsnr: Float32[np.ndarray, " n_voxels"]
    training_ncsnr: Float32[np.ndarray, " n_voxels"] | None
    mean_: Float[np.ndarray, " n_voxels"]
    std_: Float[np.ndarray, " n_voxels"]
    sessions: Mapping[int, SessionFacts]


def average_responses(recording: Recording, normalisation: Normalisation = "session") -> SplitResponses:
    """Read every session of a recording once and return its responses."""
    accumulator = ResponseAccumulator(
        recording.trials, recording.n_voxels, normalisation, apart=recording.stimuli_apart
    )
    for session, betas in recording.sessions():
        accumulator.add(session, betas)
    return accumulator.finish()


class ResponseAccumulator:
    """Sums the betas of each stimulus, a session at a time and in any order; its state can be saved and resumed.

    No test trial influences the training responses, whatever the normalisation. None influences another test response, except
    with `session-all-trials` in sessions without training trials.

    Memory: per-stimulus sums, those of the noise ceiling (twice with `training_ceiling`), and a few copies
    of one session.
    """

    def __init__(
        self,
        trials: pd.DataFrame,
        n_voxels: int,
        normalisation: Normalisation = "session",
        training_ceiling: bool = False,
        estimate: CeilingEstimate = "pooled",
        apart: Collection[int] = (),
    ) -> None:
        """Prepare the sums.

        Args:
            trials: `Recording.trials`: all trials to come.
            n_voxels: voxels per trial.
            normalisation: how betas are z-scored.
            training_ceiling: also estimate the noise ceiling from training trials alone.
            estimate: which pictures tell the noise, for noise ceilings.
            apart: ids of stimuli that enter no noise ceiling (`Recording.stimuli_apart`).

        Raises:
            ValueError: unknown normalisation.
            RecordingError: fewer than two training stimuli, a stimulus in both splits, or a session or run with too few
                training trials to z-score by.
        """
        check_split(trials)
        self._trials = trials
        self._normalisation = normalisation
        self._stimuli = {split: stimuli_of(trials, split) for split in SPLITS}
        if len(self._stimuli["train"][0]) < 2:
            raise RecordingError("the trial table has fewer than 2 training stimuli: give it more")
        check_normalisation(trials, normalisation)
        self._sums = {split: np.zeros((len(ids), n_voxels), np.float32) for split, (ids, _) in self._stimuli.items()}
        self._estimate = estimate
        self._apart = np.array(sorted(apart), np.int64)
        self._noise = NoiseCeilingAccumulator(trials[~trials["stimulus_id"].isin(self._apart)], n_voxels, estimate)
        training = trials[trials["split"] == "train"]
        self._training_noise = NoiseCeilingAccumulator(training, n_voxels, estimate) if training_ceiling else None
        self._done: list[int] = []
        self._facts: dict[int, SessionFacts] = {}
        self._finished = False

    @property
    def sessions_done(self) -> tuple[int, ...]:
        """Sessions added so far, ascending."""
        return tuple(sorted(self._done))

    def add(self, session: int, betas: Betas) -> None:
        """Add one session.

        Args:
            session: its number in the trial table.
            betas: (n_trials_of_session, n_voxels), in the order of the trial table.

        Raises:
            RecordingError: the session is unknown or already in, or its betas are no real numbers, have another shape, or
                cannot be what was recorded.
        """
        self._refuse_if_finished()
        rows = self._trials[self._trials["session"] == session]
        expected = (len(rows), self._sums["train"].shape[1])
        if rows.empty or session in self._done:
            raise RecordingError(f"session {session} is {'already added' if len(rows) else 'not in the trial table'}")
        betas = checked_betas(betas, f"session {session}", expected)
        stimulus_ids, splits = rows["stimulus_id"].to_numpy(dtype=np.int64), rows["split"].to_numpy()
        if len(betas) < 2:
            raise RecordingError(f"session {session} has a single trial, and two are needed")
        facts = describe(betas, stimulus_ids)
        check_session(betas, facts, self._facts, self._normalisation)
        self._facts[session] = facts
        prepared = normalise_trials(betas, rows, self._normalisation)
        enters = ~np.isin(stimulus_ids, self._apart)
        if enters.all():
            self._noise.add(stimulus_ids, betas)
        elif enters.any():
            self._noise.add(stimulus_ids[enters], betas[enters])
        if self._training_noise is not None:
            self._training_noise.add(stimulus_ids[splits == "train"], betas[splits == "train"])
        for split in SPLITS:
            chosen = np.flatnonzero(splits == split)
            targets = np.searchsorted(self._stimuli[split][0], stimulus_ids[chosen])
            for row, trial in zip(targets, chosen, strict=True):
                self._sums[split][row] += prepared[trial]
        self._done.append(session)

    def finish(self) -> SplitResponses:
        """Average and normalise the sums in place; the accumulator is unusable afterwards.

        Raises:
            RecordingError: sessions of the trial table have not been added, or one does not fit the others.
        """
        self._refuse_if_finished()
        lacking = sorted(set(self._trials["session"].tolist()) - set(self._done))
        if lacking:
            raise RecordingError(f"sessions {lacking} have not been added; add them, or leave them out of the trials")
        check_sessions(self._facts, self._normalisation)
        self._finished = True
        for split in SPLITS:
            self._sums[split] /= self._stimuli[split][1][:, None].astype(np.float32)
        mean, std = self._last_statistics()
        train, test = (standardise(self._sums[split], mean, std, in_place=True) for split in SPLITS)
        return SplitResponses(
            train=train,
            test=test,
            train_ids=self._stimuli["train"][0],
            test_ids=self._stimuli["test"][0],
            n_repeats_train=self._stimuli["train"][1],
            n_repeats_test=self._stimuli["test"][1],
            ncsnr=self._noise.finish(),
            training_ncsnr=None if self._training_noise is None else self._training_noise.finish(),
            mean_=mean,
            std_=guard(std),
            sessions=dict(sorted(self._facts.items())),
        )

    def _last_statistics(self) -> tuple[Float[np.ndarray, " n_voxels"], Float[np.ndarray, " n_voxels"]]:
        """Return μ and σ that averages are z-scored by: those of the training set; 0 and 1 with `none`."""
        if self._normalisation != "none":
            return column_statistics(self._sums["train"])
        n_voxels = self._sums["train"].shape[1]
        return np.zeros(n_voxels), np.ones(n_voxels)

    def state(self) -> dict[str, np.ndarray]:
        """Return everything `from_state` needs. The arrays are live: store them before adding more."""
        self._refuse_if_finished()
        return {
            "sums_train": self._sums["train"],
            "sums_test": self._sums["test"],
            "sessions_done": np.array(self._done, dtype=np.int64),
            "normalisation": np.array(get_args(Normalisation).index(self._normalisation)),
            "estimate": np.array(get_args(CeilingEstimate).index(self._estimate)),
            **_fingerprints(self._trials, self._normalisation),
            **self._noise.state(),
            **as_arrays(self._facts),
            **({} if self._training_noise is None else _prefixed(self._training_noise.state())),
        }

    @classmethod
    def from_state(
        cls, trials: pd.DataFrame, state: Mapping[str, np.ndarray], apart: Collection[int] = ()
    ) -> ResponseAccumulator:
        """Resume from `state`, with the stimuli apart that it was begun with.

        Raises:
            RunError: the state was taken from another trial table.
        """
        normalisation: Normalisation = get_args(Normalisation)[int(state["normalisation"])]
        expected = _fingerprints(trials, normalisation)
        if not all(np.array_equal(state[name], values) for name, values in expected.items()):
            raise RunError("the stored sums belong to another trial table; delete them and sum again")
        estimate: CeilingEstimate = get_args(CeilingEstimate)[int(state["estimate"])]
        training_noise = {key.removeprefix(_TRAINING): state[key] for key in state if key.startswith(_TRAINING)}
        accumulator = cls(trials, state["sums_train"].shape[1], normalisation, bool(training_noise), estimate, apart)
        accumulator._sums = {split: np.array(state[f"sums_{split}"]) for split in SPLITS}
        accumulator._done = [int(session) for session in state["sessions_done"]]
        accumulator._facts = from_arrays(state)
        accumulator._noise.restore(state)
        if accumulator._training_noise is not None:
            accumulator._training_noise.restore(training_noise)
        return accumulator

    def _refuse_if_finished(self) -> None:
        if self._finished:
            raise RuntimeError("finish() was already called: create a new accumulator")


class SingleTrials(NamedTuple):
    """Responses of single trials, in the units of the averaged responses.

    Attributes:
        responses: (n_trials, n_voxels), in the order of the trial table.
        stimuli: row of the averaged responses that each trial belongs to.
        sessions: number of each trial's session.
        is_standardised: whether averages were z-scored by those of training.
    """

    responses: Float32[np.ndarray, "n_trials n_voxels"]
    stimuli: Int[np.ndarray, " n_trials"]
    sessions: Int[np.ndarray, " n_trials"]
    is_standardised: bool


def trial_responses(
    recording: Recording,
    responses: SplitResponses,
    normalisation: Normalisation,
    split: Split = "train",
) -> tuple[Float32[np.ndarray, "n_trials n_voxels"], Int[np.ndarray, " n_trials"]]:
    """Read every session again and return single trials, in the units of the averaged responses.

    Their averages over the trials of a stimulus are `responses.train` or `responses.test`.

    Args:
        recording: the one that `responses` came from.
        responses: its averages.
        normalisation: that of `responses`.
        split: whose trials.

    Returns:
        Trials in the order of the trial table, and for each the row of `responses.train` or `responses.test` that it belongs to.
    """
    splits = recording.trials["split"].to_numpy()
    values = np.empty((int((splits == split).sum()), recording.n_voxels), np.float32)
    ids = responses.train_ids if split == "train" else responses.test_ids
    rows, done = [], 0
    for session, betas in recording.sessions():
        trials = recording.trials_of(session)
        chosen = (trials["split"] == split).to_numpy()
        own = normalise_trials(betas, trials, normalisation)[chosen]
        values[done : done + len(own)] = standardise(own, responses.mean_, responses.std_)
        rows.append(np.searchsorted(ids, trials["stimulus_id"].to_numpy(dtype=np.int64)[chosen]))
        done += len(own)
    return values, np.concatenate(rows)


_TRAINING = "training_"


def _prefixed(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{_TRAINING}{key}": values for key, values in state.items()}


def _fingerprints(trials: pd.DataFrame, normalisation: Normalisation) -> dict[str, Int[np.ndarray, "n_trials ..."]]:
    """Return the columns that sums depend on; runs count where they are z-scored."""
    is_test = (trials["split"] == "test").to_numpy(dtype=np.int64)
    own = np.column_stack([trials[["session", "stimulus_id"]].to_numpy(dtype=np.int64), is_test])
    runs = {"runs": trials["run"].to_numpy(dtype=np.int64)} if "run" in Z_SCORED_BY[normalisation] else {}
    return {"trials": own, **runs}
