"""How betas are z-scored before they are averaged over repeats: session by session, run by run, or not at all."""

from __future__ import annotations

from collections.abc import Hashable
from typing import get_args

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32

from braindiffuser.arrays import Betas
from braindiffuser.datasets.normalisation import Normalisation, column_statistics, standardise
from braindiffuser.datasets.recording import ranges
from braindiffuser.datasets.session_facts import FEW_TRIALS
from braindiffuser.datasets.splits import OUT
from braindiffuser.errors import RecordingError

Z_SCORED_BY: dict[Normalisation, tuple[str, ...]] = {
    "session": ("session",),
    "session-all-trials": ("session",),
    "run": ("session", "run"),
    "training": (),
    "none": (),
}
"""Columns of the trial table; trials with the same values in them are z-scored together. (): trials are not z-scored."""
USUAL_SPREAD = (0.4, 2.5)
"""Standard deviations of training responses for which the usual alphas are about right: those of z-scored responses are 1."""


def normalise_trials(betas: Betas, trials: pd.DataFrame, normalisation: Normalisation) -> Betas:
    """Return z = (x − μ) / σ for the trials of one session, with μ and σ from training trials of the same session or run.

    `session-all-trials` takes μ and σ from all trials of a session that has no training trials; only there do test trials enter.

    Args:
        betas: (n_trials_of_session, n_voxels), in the order of the table.
        trials: rows of the trial table of that session.
        normalisation: one that `check_normalisation` has passed.

    Returns:
        A new matrix, or `betas` itself where trials are not z-scored.
    """
    by, is_training = Z_SCORED_BY[normalisation], (trials["split"] == "train").to_numpy()
    if not by:
        return betas
    if normalisation == "session-all-trials" and not is_training.any():
        return standardise(betas, *column_statistics(betas))
    if "run" not in by:
        return _standardise_by_training(betas, is_training)
    zscored, runs = np.empty_like(betas), trials["run"].to_numpy()
    for run in np.unique(runs):
        own = runs == run
        zscored[own] = _standardise_by_training(betas[own], is_training[own])
    return zscored


def _standardise_by_training(betas: Betas, is_training: Bool[np.ndarray, " n_trials"]) -> Betas:
    """Z-score by the training trials; where there are none, all trials are of neither split, and stay as they are."""
    return standardise(betas, *column_statistics(betas[is_training])) if is_training.any() else betas


def check_normalisation(trials: pd.DataFrame, normalisation: Normalisation) -> None:
    """Refuse sessions or runs that cannot be z-scored as asked; no betas are read.

    Raises:
        ValueError: unknown normalisation.
        RecordingError: names the first session or run with fewer than two training trials, and the choices that take it.
    """
    if normalisation not in get_args(Normalisation):
        raise ValueError(f"normalisation must be one of {get_args(Normalisation)}, got {normalisation!r}")
    lacking = _lacking(trials, normalisation)
    if lacking.empty:
        return
    others = [name for name in ("session", "session-all-trials") if _lacking(trials, name).empty]
    explained = {
        "session": "session, which z-scores all runs of a session together",
        "session-all-trials": "session-all-trials, which z-scores sessions without training trials by all their trials, and so "
        "learns from test responses",
    }
    choices = [*(explained[name] for name in others[:1]), "training or none, which z-score no single trials"]
    unit = "run" if normalisation == "run" else "session"
    n = int(lacking.iloc[0])
    more = (
        f" ({len(lacking) - 1} more {unit}{'s' if len(lacking) > 2 else ''} too few as well)"
        if len(lacking) > 1
        else ""
    )
    needed = "2 or more, or none," if normalisation == "session-all-trials" else "2 or more"
    raise RecordingError(
        f"{_named(lacking.index[0])} has {n} training trial{'' if n == 1 else 's'}{more}, and responses.normalisation "
        f"{normalisation} z-scores by {needed} in each {unit}: choose {'; '.join(choices)}"
    )


def normalisation_doubts(trials: pd.DataFrame, normalisation: Normalisation) -> list[str]:
    """List what a reader should know of a normalisation, one sentence each; no betas are read."""
    if normalisation == "session-all-trials":
        return _all_trials_doubts(trials)
    return _run_doubts(trials) if normalisation == "run" else []


def _all_trials_doubts(trials: pd.DataFrame) -> list[str]:
    """Say which sessions are z-scored by test responses."""
    counts = _training_counts(trials, "session-all-trials")
    sessions = [int(session) for session in counts.index[counts == 0]]
    if not sessions:
        return []
    one = len(sessions) == 1
    return [
        f"Test responses entered the normalisation: session{'' if one else 's'} {ranges(sessions)} {'has' if one else 'have'} no "
        "training trials, and all trials of a session gave its mean and spread (responses.normalisation: session-all-trials). "
        "Each of these test responses depends on the others of its session; training responses depend on none of them."
    ]


def _run_doubts(trials: pd.DataFrame) -> list[str]:
    """Say where runs are not known, or have few training trials."""
    if (trials.groupby("session")["run"].nunique() == 1).all():
        return [
            "The table of trials knows one run in each session, so responses.normalisation: run does the same as session."
        ]
    counts = _training_counts(trials, "run")
    if counts.min() >= FEW_TRIALS:
        return []
    return [
        f"Runs are z-scored by as few as {counts.min()} training trials ({_named(counts.idxmin())}), which tell little of a "
        "voxel's mean and spread (responses.normalisation: run)."
    ]


def spread_doubts(train: Float32[np.ndarray, "n_train n_voxels"]) -> list[str]:
    """Say what alpha means where responses are not z-scored and vary by much more or less than 1.

    With x = s z, ridge on x with alpha gives the same predictions as ridge on z with alpha / s².
    """
    std = column_statistics(train)[1]
    spread = float(np.median(std[std > 0])) if std.any() else 1.0
    if USUAL_SPREAD[0] <= spread <= USUAL_SPREAD[1]:
        return []
    return [
        f"Training responses are not z-scored (responses.normalisation: none) and have a standard deviation of {spread:.3g} "
        f"(median over voxels): a penalty alpha acts as alpha / {spread**2:.3g} does on z-scored responses."
    ]


def _training_counts(trials: pd.DataFrame, normalisation: Normalisation) -> pd.Series:
    """Count training trials of each session or run that holds trials of either split."""
    used = trials[trials["split"] != OUT]
    counts: pd.Series = (used["split"] == "train").groupby([used[name] for name in Z_SCORED_BY[normalisation]]).sum()
    return counts


def _lacking(trials: pd.DataFrame, normalisation: Normalisation) -> pd.Series:
    """Return training trials of the sessions or runs that have too few, by session or (session, run)."""
    if not Z_SCORED_BY[normalisation]:
        return pd.Series(dtype=int)
    counts = _training_counts(trials, normalisation)
    return counts[counts == 1] if normalisation == "session-all-trials" else counts[counts < 2]


def _named(key: Hashable) -> str:
    """Name a session, or a run by session and run.

    >>> _named(3), _named((3, 2))
    ('session 3', 'run 2 of session 3')
    """
    session, *run = key if isinstance(key, tuple) else (key,)
    return f"run {run[0]} of session {session}" if run else f"session {session}"
