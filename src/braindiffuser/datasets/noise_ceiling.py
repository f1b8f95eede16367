"""The noise ceiling: how much of a voxel's variance any model of the stimuli could explain.

Definition of Allen et al. (2022), "A massive 7T fMRI dataset …", Nature Neuroscience 25, Methods.
It describes the recording, test trials included. Voxels that are chosen by it have seen test trials:
`responses.voxel_choice: transductive` does so, and the page says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float32, Int

from braindiffuser.datasets.normalisation import COLUMNS_PER_BLOCK, column_statistics, standardise
from braindiffuser.errors import RecordingError

CeilingEstimate = Literal["pooled", "three-trials"]
"""Which pictures tell the noise. `pooled`: all that were shown more than once; `three-trials`: those with exactly three trials,
as NSD published it."""

USUAL_MEDIAN, USUAL, SHARE_ABOVE = 3.0, 10.0, 0.01
"""Ratios of signal to noise of single trials: median over voxels, and a ratio that no more than that share of voxels exceeds."""
HOPELESS = 1000.0
"""Ratio of signal to noise that no single trial has."""


def noise_ceiling(
    ncsnr: Float[np.ndarray, " n_voxels"], n_repeats: int | Int[np.ndarray, " n_stimuli"]
) -> Float[np.ndarray, " n_voxels"]:
    """NC = 100 · ncsnr² / (ncsnr² + mean(1/n)), in percent of variance.

    Args:
        ncsnr: noise ceiling signal-to-noise ratio of every voxel, ≥ 0; infinite where there is no noise.
        n_repeats: trials averaged into each response: one number for all, or one per stimulus. With A, B and C stimuli
            of 1, 2 and 3 trials mean(1/n) is NSD's (A + B/2 + C/3) / (A + B + C).

    Returns:
        Percent in [0, 100] per voxel; NaN where ncsnr is NaN.

    Raises:
        ValueError: no repeats given, or one below 1.

    Example:
        >>> noise_ceiling(np.array([0.0, 1.0]), 3).tolist()
        [0.0, 75.0]
    """
    repeats = np.atleast_1d(np.asarray(n_repeats, dtype=np.float64))
    if repeats.size == 0 or repeats.min() < 1:
        raise ValueError(f"n_repeats must be at least 1 for every stimulus, got {n_repeats!r}")
    with np.errstate(divide="ignore"):
        return np.asarray(100.0 / (1.0 + np.mean(1.0 / repeats) / np.square(ncsnr, dtype=np.float64)))


def ncsnr_of(
    percent: Float[np.ndarray, " n_voxels"], n_repeats: int | Int[np.ndarray, " n_stimuli"]
) -> Float[np.ndarray, " n_voxels"]:
    """ncsnr = √(NC · mean(1/n) / (100 − NC)): the inverse of `noise_ceiling`, for ceilings that a recording brings.

    Args:
        percent: noise ceiling of every voxel, in [0, 100]; NaN where it is not known.
        n_repeats: trials averaged into each response that it holds for, as in `noise_ceiling`.

    Example:
        >>> ncsnr_of(np.array([0.0, 75.0]), 3).tolist()
        [0.0, 1.0]
    """
    repeats = np.atleast_1d(np.asarray(n_repeats, dtype=np.float64))
    with np.errstate(divide="ignore"):
        return np.asarray(np.sqrt(np.mean(1.0 / repeats) * percent / (100.0 - percent)))


def check_ceilings(ncsnr: Float[np.ndarray, " _"], n_voxels: int, where: object = "noise ceilings (ncsnr)") -> None:
    """Check noise ceilings that are handed in: one ratio of signal to noise per voxel, NaN where it is not known.

    Args:
        ncsnr: the ratios.
        n_voxels: number of analysed voxels.
        where: what messages call them, such as their file.

    Raises:
        RecordingError: another number of them, or one that is negative or above `HOPELESS` (infinite ones, of voxels without
            noise, are legal).
    """
    if ncsnr.shape != (n_voxels,):
        raise RecordingError(f"{where} have shape {ncsnr.shape}; expected ({n_voxels},), one per voxel")
    wrong = (ncsnr < 0) | ((ncsnr > HOPELESS) & np.isfinite(ncsnr))
    if wrong.any():
        voxel = int(wrong.argmax())
        raise RecordingError(
            f"{where}: voxel {voxel}, counted from 0, has {ncsnr[voxel]:.4g}; expected ratios of signal to noise from 0 to "
            f"{HOPELESS:g}: hand in √(signal variance / noise variance) of single trials, or leave them out"
        )


def ceiling_doubts(ncsnr: Float[np.ndarray, " n_voxels"]) -> list[str]:
    """List what is unusual in noise ceilings that are handed in, as sentences for the page."""
    known = ncsnr[np.isfinite(ncsnr)]
    if np.isnan(ncsnr).all():
        return ["The noise ceilings that the recording brings are NaN in every voxel, so none is known."]
    if not known.size or not (np.median(known) > USUAL_MEDIAN or (known > USUAL).mean() > SHARE_ABOVE):
        return []
    return [
        f"Noise ceilings (ncsnr) that the recording brings have the median {np.median(known):.3g} and the maximum "
        f"{known.max():.3g}: {USUAL_MEDIAN:g} already means that {noise_ceiling(np.array([USUAL_MEDIAN]), 1)[0]:.0f} % of a "
        "single trial's variance is signal, so are they ratios of signal to noise, and not percent?"
    ]


def summarise_regions(
    ceilings: Float[np.ndarray, " n_voxels"], roi_masks: Mapping[str, Bool[np.ndarray, " n_voxels"]]
) -> dict[str, Any]:
    """Summarise each region: number of voxels, median, quartiles.

    Args:
        ceilings: percent per voxel, from `noise_ceiling`; NaN where it is not known.
        roi_masks: regions; all analysed voxels together are added as "analysed voxels"; empty ones get a note.
    """
    regions: dict[str, Any] = {}
    for name, mask in {"analysed voxels": np.ones(len(ceilings), bool), **roi_masks}.items():
        known = ceilings[mask & np.isfinite(ceilings)]
        regions[name] = {"n_voxels": int(mask.sum())}
        if len(known):
            lower, median, upper = (float(value) for value in np.percentile(known, [25, 50, 75]))
            regions[name] |= {"median": median, "quartiles": [lower, upper]}
        else:
            regions[name]["note"] = (
                "none of the chosen voxels lies here"
                if not mask.any()
                else "no noise ceiling is known, which takes stimuli that were shown more than once (three-trials: three times)"
            )
    return {"rois": regions, "note": "percent of the variance of a test response, averaged over its repeats"}


def signal_to_noise(
    noise_variance: Float[np.ndarray, " n_voxels"], total_variance: Float[np.ndarray, " n_voxels"]
) -> Float[np.ndarray, " n_voxels"]:
    """Compute ncsnr = √max(0, σ²_total − σ²_noise) / σ_noise.

    Args:
        noise_variance: variance over the trials of one picture, averaged over pictures.
        total_variance: variance over all trials; 1 after z-scoring.

    Returns:
        0 without signal variance; infinite where signal varies and noise does not.
    """
    signal = np.maximum(0.0, total_variance - noise_variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(signal > 0, np.sqrt(signal / noise_variance), np.where(np.isnan(noise_variance), np.nan, 0.0))


def tells_noise(n_repeats: Int[np.ndarray, " n_stimuli"], estimate: CeilingEstimate) -> Bool[np.ndarray, " n_stimuli"]:
    """Return which pictures an estimate goes by, from the number of trials of each.

    >>> tells_noise(np.array([1, 2, 3, 4]), "three-trials").tolist()
    [False, False, True, False]
    """
    return n_repeats == 3 if estimate == "three-trials" else n_repeats > 1


class NoiseCeilingAccumulator:
    """Computes ncsnr of every voxel in one pass over the sessions, in any order.

    Betas are z-scored per voxel within the session. With the n ≥ 2 trials x of every picture that was shown more than once,
    σ²_noise = Σ_pictures (Σ x² − (Σ x)² / n) / Σ_pictures (n − 1), so that per-picture sums and one Σ x² per voxel suffice.
    `three-trials`, NSD's own estimate, takes only pictures with exactly three trials: where all have three, both are equal.

    A voxel constant in a session (without data) scores 0 there; σ²_total is then its share of trials with data, not NSD's
    1, or those zeros would look noise-free. Voxels with data throughout score as published.

    Memory: (n_pictures shown more than once, n_voxels) float32.
    """

    def __init__(self, trials: pd.DataFrame, n_voxels: int, estimate: CeilingEstimate = "pooled") -> None:
        """Prepare the sums.

        Args:
            trials: all trials to come, with the column `stimulus_id`.
            n_voxels: voxels per trial.
            estimate: which pictures tell the noise.
        """
        ids, n_repeats = np.unique(trials["stimulus_id"].to_numpy(dtype=np.int64), return_counts=True)
        chosen = tells_noise(n_repeats, estimate)
        self._ids, self._n_repeats = ids[chosen], n_repeats[chosen]
        self._sums = np.zeros((len(self._ids), n_voxels), np.float32)
        self._squares = np.zeros(n_voxels)
        self._trials_with_data = np.zeros(n_voxels)
        self._n_trials = 0

    def add(self, stimulus_ids: Int[np.ndarray, " n_trials"], betas: Float32[np.ndarray, "n_trials n_voxels"]) -> None:
        """Add all trials of one session; fewer than two tell nothing of it, and count as without data."""
        self._n_trials += len(betas)
        if len(betas) < 2:
            return
        mean, std = column_statistics(betas)
        zscored = standardise(betas, mean, std)
        for stimulus_id, trial in zip(stimulus_ids, zscored, strict=True):
            row = np.searchsorted(self._ids, stimulus_id)
            if row < len(self._ids) and self._ids[row] == stimulus_id:
                self._sums[row] += trial
                self._squares += np.square(trial, dtype=np.float64)
        self._trials_with_data += len(betas) * (std > 0)

    def finish(self) -> Float32[np.ndarray, " n_voxels"]:
        """Return ncsnr of every voxel, ≥ 0; NaN everywhere if no picture was shown often enough."""
        if len(self._ids) == 0:
            return np.full(self._squares.shape, np.nan, np.float32)
        within = np.empty_like(self._squares)
        for start in range(0, len(within), COLUMNS_PER_BLOCK):
            columns = slice(start, start + COLUMNS_PER_BLOCK)
            squared_sums = np.square(self._sums[:, columns], dtype=np.float64)
            of_means = sum(squared_sums[self._n_repeats == n].sum(axis=0) / n for n in np.unique(self._n_repeats))
            within[columns] = np.maximum(0.0, self._squares[columns] - of_means)
        noise_variance = within / np.sum(self._n_repeats - 1)
        return signal_to_noise(noise_variance, self._trials_with_data / self._n_trials).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        """Return the sums so far; the arrays are not copies: store them before the next `add`."""
        return {
            "noise_sums": self._sums,
            "noise_squares": self._squares,
            "trials_with_data": self._trials_with_data,
            "n_trials": np.array(self._n_trials),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from `state`, which came from the same trials."""
        self._sums = np.array(state["noise_sums"])
        self._squares = np.array(state["noise_squares"])
        self._trials_with_data = np.array(state["trials_with_data"])
        self._n_trials = int(state["n_trials"])
