"""Whether responses can be decoded: of these voxels, finite, and of about the size of the training responses."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from braindiffuser.datasets.normalisation import column_statistics, standardise
from braindiffuser.datasets.session_facts import FEW_TRIALS
from braindiffuser.datasets.trial_normalisation import Z_SCORED_BY
from braindiffuser.errors import RunError
from braindiffuser.real_numbers import real_numbers
from braindiffuser.sharing.facts import DecoderFacts

SMALLEST = 0.2
"""Root mean square below which responses are in another unit. Averages of m trials fall to √(R / m) of training responses, which
average R trials, if they hold noise alone; a fifth is noise averaged 25 times as often, and any signal keeps more."""
LARGEST = 2.0
"""Root mean square above which they are, in units of √R: a single trial of noise alone has √R, and twice that is left for trials
of people who move or wake up."""


ROWS = 4.0
"""How many times further a single row may be from the size of training responses than all rows together."""


def checked_responses(
    responses: Any, facts: DecoderFacts, fingerprint: str | None = None
) -> Float[np.ndarray, "n n_voxels"]:
    """Return responses as an array, if they can be of the decoder's voxels.

    Args:
        responses: (n, n_voxels), normalised as the training responses.
        facts: of the decoder.
        fingerprint: of their voxels; None if it is not known.

    Raises:
        RunError: they are of other voxels, or not finite.
    """
    voxels = facts.voxels
    if fingerprint is not None and fingerprint != voxels.fingerprint:
        raise RunError(
            f"responses are of voxels with fingerprint {fingerprint:.40}, and the decoder was fitted to those of "
            f"{voxels.fingerprint}{_whose(facts)}: decode responses of the same person and voxels, in their order"
        )
    if getattr(responses, "ndim", 2) == 1:
        raise RunError(
            f"responses came with shape {responses.shape}, expected a row for each trial, (n, {voxels.n}): one trial is "
            "responses[None], in a file too"
        )
    values = real_numbers(responses, "responses came as", (None, None))
    if values.shape[1] != voxels.n:
        raise RunError(
            f"responses are of {values.shape[1]} voxels, and the decoder needs {voxels.n}{_whose(facts)}: choose the same "
            "voxels, in their order"
        )
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise RunError(
            f"responses hold a value that is not finite, first in row {int(np.argmin(finite))}: leave that row out"
        )
    return values


def normalised(
    betas: Float[np.ndarray, "n n_voxels"],
    facts: DecoderFacts,
    mean: Float[np.ndarray, " n_voxels"],
    std: Float[np.ndarray, " n_voxels"],
) -> Float32[np.ndarray, "n n_voxels"]:
    """Return betas as responses, normalised as the training responses were.

        r = (z − m) / s

    with m, s mean and standard deviation of each voxel's training averages. Where trials were z-scored by session or run, z is
    (x − μ) / σ over all rows, which then are the trials of one session or run; else z is x itself.

    Args:
        betas: x, in the unit of the recording.
        facts: of the decoder.
        mean: m.
        std: s.

    Raises:
        RunError: there are too few rows to z-score by.
    """
    by = Z_SCORED_BY[facts.responses.normalisation]
    values = betas.astype(np.float32)
    if by:
        if len(values) < FEW_TRIALS:
            raise RunError(
                f"betas are z-scored by the trials of their {by[-1]} (responses.normalisation: {facts.responses.normalisation}), "
                f"and {len(values)} rows are too few: give all trials of one {by[-1]} together, {FEW_TRIALS} or more, or share "
                "a decoder of a run with responses.normalisation: training"
            )
        values = standardise(values, *column_statistics(values))
    return standardise(values, mean, std, in_place=True)


def check_size(
    responses: Float[np.ndarray, "n n_voxels"],
    mean: Float[np.ndarray, " n_voxels"],
    std: Float[np.ndarray, " n_voxels"],
    facts: DecoderFacts,
) -> None:
    """Check that responses have about the size of the training responses, all together and, less strictly, row by row.

        0.2 ≤ √(mean over rows and voxels of ((x − x̄) / s)²) ≤ 2 √R

    with x̄, s mean and standard deviation of each voxel's training responses, which average R trials. It is 1 for training
    responses. Betas that are hundreds of times larger lie outside. Betas in percent may lie inside, and some faults, such as
    voxels in another order, change nothing of it.

    Raises:
        RunError: they have not.
    """
    with np.errstate(over="ignore"):  # which is refused
        of_rows = np.sqrt(np.mean(np.square((responses - mean) / std, dtype=np.float64), axis=1))
    size = float(np.sqrt(np.mean(np.square(of_rows))))
    most = LARGEST * float(np.sqrt(facts.responses.mean_repeats))
    odd = np.flatnonzero((of_rows < SMALLEST / ROWS) | (of_rows > ROWS * most))
    if SMALLEST <= size <= most and len(odd):
        raise RunError(
            f"row {int(odd[0])} of the responses is {of_rows[odd[0]]:.3g} times as large as the training responses, expected "
            f"{SMALLEST / ROWS:g} to {ROWS * most:.2g} times: leave it out, or decode it as it is with --any-size (any_size=True "
            "in Python)"
        )
    if not SMALLEST <= size <= most:
        raise RunError(
            f"responses are {size:.3g} times as large as the training responses, expected {SMALLEST:g} to {most:.2g} times: "
            f"normalise them as these were (responses.normalisation: {facts.responses.normalisation}; of betas --betas does it, "
            "betas=True in Python), or decode them as they are with --any-size (any_size=True)"
        )


def _whose(facts: DecoderFacts) -> str:
    return f" of {facts.origin.subject}" if facts.origin.subject else ""
