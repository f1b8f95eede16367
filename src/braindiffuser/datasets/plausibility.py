"""Whether the betas of a session can be what was recorded.

What cannot be is refused: a session without any data, trials without data, one beta that outweighs all others of its voxel,
sessions in different units, the same betas twice. What is only unusual is said on the page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from braindiffuser.arrays import Betas
from braindiffuser.datasets.normalisation import COLUMNS_PER_BLOCK, ROUNDING
from braindiffuser.errors import RecordingError

CONSTANT_DOUBTFUL, CONSTANT_HOPELESS = 0.02, 0.5
"""Share of voxels that are constant in a session, beyond those that are in every session."""
SPREAD_DOUBTFUL, SPREAD_HOPELESS = 2.5, 30.0
"""Ratio of a session's spread to the median of the sessions. Percent signal change × 300 is 300; sessions of NSD differ by less
than 2."""
OUTLIER_DOUBTFUL, OUTLIER_HOPELESS = 3.0, 100.0
"""Standard deviation of a voxel with its furthest trial over that without it. Of 750 trials, int16 at its limits reaches 13, and
3 is a beta 77 standard deviations away."""
FEW_TRIALS = 10
"""With fewer trials, those but one may be close to each other by chance."""
VOXELS_FOR_EQUALITY = 8
"""Betas of this many voxels that vary are not equal in two trials by chance."""


class SessionFacts(NamedTuple):
    """What is told of a session's betas.

    Attributes:
        spread: standard deviation over trials, median over the voxels that vary; in the unit of the betas.
        constant: (n_voxels,), True where a voxel does not vary.
        outlier: largest ratio of a voxel's standard deviation with its furthest trial to that without it.
        n_outliers: voxels in which it exceeds OUTLIER_DOUBTFUL.
        sha256: of the betas.
    """

    spread: float
    constant: Bool[np.ndarray, " n_voxels"]
    outlier: float
    n_outliers: int
    sha256: str


def describe(betas: Betas) -> SessionFacts:
    """Describe the betas of one session, (n_trials, n_voxels), of at least two trials."""
    spread, ratios = _spread_and_ratios(betas)
    return SessionFacts(
        spread=_median_of_varying(spread),
        constant=spread == 0,
        outlier=float(ratios.max(initial=1.0)),
        n_outliers=int(np.count_nonzero(ratios > OUTLIER_DOUBTFUL)),
        sha256=hashlib.sha256(np.ascontiguousarray(betas).data).hexdigest(),
    )


def _spread_and_ratios(betas: Betas) -> tuple[Float[np.ndarray, " n_voxels"], Float[np.ndarray, " n_voxels"]]:
    """Standard deviation of every voxel, and its ratio to that without the voxel's furthest trial.

    Where nothing else varies, the ratio is to the usual standard deviation of the session; of few trials, to the larger of both.
    """
    spread, rest = np.empty(betas.shape[1]), np.empty(betas.shape[1])
    for start in range(0, betas.shape[1], COLUMNS_PER_BLOCK):
        columns = slice(start, start + COLUMNS_PER_BLOCK)
        block = betas[:, columns].astype(np.float64)
        mean = block.mean(axis=0)
        furthest = np.argmax(np.abs(block - mean), axis=0)[None]
        spread[columns] = _root_mean_square(block - mean, len(block) - 1, mean)
        np.put_along_axis(block, furthest, 0.0, axis=0)
        mean = block.sum(axis=0) / (len(block) - 1)
        block -= mean
        np.put_along_axis(block, furthest, 0.0, axis=0)
        rest[columns] = _root_mean_square(block, max(len(block) - 2, 1), mean)
    usual = _median_of_varying(spread) or 1.0
    rest = np.where((rest == 0) | (len(betas) < FEW_TRIALS), np.maximum(rest, usual), rest)
    return spread, np.where(spread > 0, spread / rest, 1.0)


def _root_mean_square(
    deviations: Float[np.ndarray, "n_trials columns"], n: int, mean: Float[np.ndarray, " columns"]
) -> Float[np.ndarray, " columns"]:
    """√(Σ d² / n), and 0 where that is the rounding of a constant."""
    root = np.sqrt(np.square(deviations).sum(axis=0) / n)
    return np.where(root <= ROUNDING * np.abs(mean), 0.0, root)


def _median_of_varying(spread: Float[np.ndarray, " n_voxels"]) -> float:
    return float(np.median(spread[spread > 0])) if spread.any() else 0.0


def check_session(
    betas: Betas, facts: SessionFacts, stimulus_ids: Int[np.ndarray, " n_trials"], earlier: Mapping[int, SessionFacts]
) -> None:
    """Refuse betas that cannot be what was recorded.

    Args:
        betas: of the session.
        facts: what `describe` says of them.
        stimulus_ids: of its trials.
        earlier: facts of other sessions.

    Raises:
        RecordingError: says what was found and what is usual.
    """
    if facts.constant.all():
        raise RecordingError("no analysed voxel varies over its trials: the file is empty, or was never written")
    _check_trials(betas[:, ~facts.constant], stimulus_ids)
    if facts.outlier > OUTLIER_HOPELESS:
        voxel = int(np.argmax(_spread_and_ratios(betas)[1]))
        median = np.median(betas[:, voxel])
        trial = int(np.argmax(np.abs(betas[:, voxel] - median)))
        raise RecordingError(
            f"trial {trial}, counted from 0, is {betas[trial, voxel]:.3g} in a voxel whose median is {median:.3g}; it alone "
            f"makes the standard deviation {facts.outlier:.3g} times as large, expected less than {OUTLIER_HOPELESS:.0f}: the "
            "file is damaged, or its model failed there"
        )
    for session, other in earlier.items():
        if other.sha256 == facts.sha256:
            raise RecordingError(f"its betas are those of session {session}: one of the two files is a copy")
    if earlier:
        usual = float(np.median([other.spread for other in earlier.values()]))
        ratio = max(facts.spread / usual, usual / facts.spread)
        if ratio > SPREAD_HOPELESS:
            raise RecordingError(
                f"its betas have a standard deviation of {facts.spread:.3g} (median over voxels), those of the sessions before "
                f"{usual:.3g}, which is a ratio of {ratio:.0f}: they are not in the same unit (whole numbers "
                "are percent signal change × 300, fractional ones percent signal change): convert one of them"
            )
        lost = _lost(facts.constant, [other.constant for other in earlier.values()])
        if lost > CONSTANT_HOPELESS:
            raise RecordingError(
                f"{lost:.0%} of the voxels that vary in other sessions do not vary in it: the file is incomplete"
            )


def _check_trials(varying: Betas, stimulus_ids: Int[np.ndarray, " n_trials"]) -> None:
    """Refuse trials without data, and equal betas of different stimuli."""
    if varying.shape[1] < VOXELS_FOR_EQUALITY:
        return
    empty = np.flatnonzero((varying == varying[:, :1]).all(axis=1))
    if empty.size:
        raise RecordingError(
            f"{empty.size} trials have the same beta in every voxel (trial {empty[0]}, counted from 0, is "
            f"{varying[empty[0], 0]:.3g}): they hold no data; leave the session out, or write the file again"
        )
    seen: dict[bytes, int] = {}
    for trial, row in enumerate(np.ascontiguousarray(varying)):
        other = seen.setdefault(hashlib.sha256(row.data).digest(), trial)
        if stimulus_ids[other] != stimulus_ids[trial]:
            raise RecordingError(
                f"trials {other} and {trial}, counted from 0, have equal betas in every voxel, but show different stimuli: one "
                "is a copy"
            )


def _lost(constant: Bool[np.ndarray, " n_voxels"], others: Sequence[Bool[np.ndarray, " n_voxels"]]) -> float:
    """Share of voxels that are constant here, of those that vary in at least one other session."""
    varying = ~np.logical_and.reduce(others)
    return float(constant[varying].mean()) if varying.any() else 0.0


def shares_lost(sessions: Mapping[int, SessionFacts]) -> dict[int, float]:
    """Return, for each session, the share of voxels that do not vary in it, of those that do in another."""
    return {
        number: _lost(facts.constant, [other.constant for other in sessions.values()])
        for number, facts in sessions.items()
    }


def doubts(sessions: Mapping[int, SessionFacts]) -> list[str]:
    """List what is unusual in the sessions of a recording, one sentence each."""
    if not sessions:
        return []
    usual, said = float(np.median([facts.spread for facts in sessions.values()])), []
    empty = np.logical_and.reduce([facts.constant for facts in sessions.values()])
    if empty.mean() > CONSTANT_DOUBTFUL:
        said.append(
            f"{empty.mean():.0%} of the analysed voxels have no data in any session: is the mask that of this recording?"
        )
    for number, lost in shares_lost(sessions).items():
        facts = sessions[number]
        ratio = facts.spread / usual
        if not 1 / SPREAD_DOUBTFUL <= ratio <= SPREAD_DOUBTFUL:
            said.append(f"Session {number} has {ratio:.2g} times the usual spread of betas: is it in the same unit?")
        if lost > CONSTANT_DOUBTFUL:
            said.append(f"In session {number}, {lost:.0%} of the voxels do not vary, though they do in other sessions.")
        if facts.n_outliers:
            said.append(
                f"In session {number}, a single trial makes the standard deviation of {facts.n_outliers} voxels more than "
                f"{OUTLIER_DOUBTFUL:.0f} times as large (up to {facts.outlier:.0f} times)."
            )
    return said


def as_arrays(sessions: Mapping[int, SessionFacts]) -> dict[str, np.ndarray]:
    """Return facts as arrays, one row per session in their order, to be stored."""
    rows = list(sessions.values())
    return {f"facts_{name}": np.array([getattr(facts, name) for facts in rows]) for name in SessionFacts._fields} | {
        "facts_sessions": np.array(list(sessions), dtype=np.int64)
    }


def from_arrays(arrays: Mapping[str, np.ndarray]) -> dict[int, SessionFacts]:
    """Return what `as_arrays` was given."""
    columns = (arrays[f"facts_{name}"] for name in SessionFacts._fields)
    rows = (
        SessionFacts(float(spread), constant, float(outlier), int(n_outliers), str(sha256))
        for spread, constant, outlier, n_outliers, sha256 in zip(*columns, strict=True)
    )
    return dict(zip(arrays["facts_sessions"].tolist(), rows, strict=True))
