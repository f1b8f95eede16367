"""Whether the betas of a session can be what was recorded.

What cannot be is refused: a session or trials without data, betas that outweigh all others of their voxel, trials or sessions in
another unit, the same betas twice. What is only unusual is said on the page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from braindiffuser.arrays import Betas
from braindiffuser.datasets.normalisation import COLUMNS_PER_BLOCK, column_statistics
from braindiffuser.errors import RecordingError

CONSTANT_DOUBTFUL, CONSTANT_HOPELESS = 0.02, 0.5
"""Share of voxels that do not vary in a session, of those that do in another."""
SPREAD_DOUBTFUL, SPREAD_HOPELESS = 2.5, 30.0
"""Ratio of a session's spread to the median of the sessions; percent signal change × 300 is a ratio of 300."""
UNITS_DOUBTFUL, UNITS_HOPELESS = 0.02, 0.2
"""Share of voxels whose standard deviation differs from that in the other sessions by more than SPREAD_HOPELESS."""
OFFSET_DOUBTFUL, OFFSET_HOPELESS = 1.0, 30.0
"""Distance of a session's means from those of the other sessions, in standard deviations over trials (median over voxels)."""
OUTLIER_DOUBTFUL, OUTLIER_HOPELESS = 100.0, 3000.0
"""Furthest beta of a voxel from its median, over the median distance: 5 of 750 normal numbers, 67 or 2,000 standard deviations
here."""
OUTLIERS_DOUBTFUL = 0.001
"""Share of voxels with a beta beyond OUTLIER_DOUBTFUL."""
EMPTY_HOPELESS = 0.3
"""How much larger a trial's share of voxels that are 0 may be than another's, beside what chance allows."""
TRIAL_HOPELESS = 100.0
"""Ratio between two trials of how far betas lie from the voxels' medians (mean over voxels)."""
FEW_TRIALS = 10
"""Of fewer trials, more than half can lie close together by chance."""
VOXELS_FOR_TRIALS = 8
"""Trials are compared over this many voxels that vary, or more."""
BY_CHANCE = 1e-6
"""Probability up to which something does not happen by chance."""
VOXELS_OF_SAMPLE = 2000
"""Units of trials are compared over about this many voxels, which saves time."""


class SessionFacts(NamedTuple):
    """What is told of a session's betas.

    Attributes:
        mean: (n_voxels,), over trials, in the unit of the betas.
        std: (n_voxels,), likewise, ddof 1; 0 where a voxel does not vary.
        outlier: largest ratio, over voxels, of the furthest beta's distance from the median to the median distance.
        n_outliers: voxels in which it exceeds OUTLIER_DOUBTFUL.
        sha256: of the betas, whatever the order of trials.
    """

    mean: Float[np.ndarray, " n_voxels"]
    std: Float[np.ndarray, " n_voxels"]
    outlier: float
    n_outliers: int
    sha256: str

    @property
    def spread(self) -> float:
        """Standard deviation over trials, median over the voxels that vary; 0 if none does."""
        return float(np.median(self.std[self.std > 0])) if self.std.any() else 0.0

    @property
    def constant(self) -> Bool[np.ndarray, " n_voxels"]:
        """True where a voxel does not vary."""
        constant: Bool[np.ndarray, " n_voxels"] = self.std == 0
        return constant


def describe(betas: Betas) -> SessionFacts:
    """Describe the betas of one session, (n_trials, n_voxels), of at least two trials."""
    ratios = outlier_ratios(betas)
    return SessionFacts(
        *column_statistics(betas),
        outlier=float(ratios.max(initial=1.0)),
        n_outliers=int(np.count_nonzero(ratios > OUTLIER_DOUBTFUL)),
        sha256=hashlib.sha256(b"".join(sorted(map(_digest, np.ascontiguousarray(betas))))).hexdigest(),
    )


def _digest(trial: Float[np.ndarray, " n_voxels"]) -> bytes:
    return hashlib.sha256(trial.data).digest()


def outlier_ratios(betas: Betas) -> Float[np.ndarray, " n_voxels"]:
    """max |x − m| / median |x − m| of every voxel, where m is its median.

    Where the denominator is 0 (more than half of the betas are equal), or there are few trials, it is at least the median
    over voxels. 0 where a voxel does not vary at all.
    """
    usual, furthest = np.empty(betas.shape[1]), np.empty(betas.shape[1])
    for start in range(0, betas.shape[1], COLUMNS_PER_BLOCK):
        columns = slice(start, start + COLUMNS_PER_BLOCK)
        distance = _distances(betas[:, columns])
        usual[columns], furthest[columns] = np.median(distance, axis=0), distance.max(axis=0)
    typical = float(np.median(usual[usual > 0])) if usual.any() else float(np.median(furthest)) or 1.0
    weak = (usual == 0) | (len(betas) < FEW_TRIALS)
    return furthest / np.where(weak, np.maximum(usual, typical), usual)


def _distances(betas: Betas) -> Float[np.ndarray, "n_trials n_voxels"]:
    """|x − m| with m the median of each voxel."""
    values = betas.astype(np.float64)
    values -= np.median(values, axis=0)
    distances: Float[np.ndarray, "n_trials n_voxels"] = np.abs(values, out=values)
    return distances


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
    varying = betas[:, ~facts.constant]
    if varying.shape[1] >= VOXELS_FOR_TRIALS:
        _check_trials(varying, stimulus_ids)
    if facts.outlier > OUTLIER_HOPELESS:
        voxel = int(np.argmax(outlier_ratios(betas)))
        trial = int(np.argmax(_distances(betas[:, voxel : voxel + 1])))
        raise RecordingError(
            f"trial {trial}, counted from 0, is {betas[trial, voxel]:.3g} in voxel {voxel} of the analysed ones (C order), whose "
            f"median is {np.median(betas[:, voxel]):.3g}, {facts.outlier:.3g} times as far away as usual, expected less than "
            f"{OUTLIER_HOPELESS:g}: the file is damaged, or its model failed there"
        )
    if varying.shape[1] >= VOXELS_FOR_TRIALS:
        _check_units(varying)
    for session, other in earlier.items():
        if other.sha256 == facts.sha256:
            raise RecordingError(
                f"its betas are those of session {session}, perhaps in another order: one of them is a copy"
            )
    _compare(facts, list(earlier.values()))


def check_sessions(sessions: Mapping[int, SessionFacts]) -> None:
    """Refuse a session that does not fit the others; called when all are known, since the first ones are judged by few.

    Raises:
        RecordingError: names the session.
    """
    for number, facts in sessions.items():
        try:
            _compare(facts, list(sessions.values()))
        except RecordingError as error:
            raise RecordingError(f"session {number}: {error}") from error


def _compare(facts: SessionFacts, others: Sequence[SessionFacts]) -> None:
    """Refuse a session that is in another unit than others, or lacks most of their voxels."""
    if not others:
        return
    usual = float(np.median([other.spread for other in others]))
    ratio, differing = max(facts.spread / usual, usual / facts.spread), _share_in_other_unit(facts, others)
    if ratio > SPREAD_HOPELESS or differing > UNITS_HOPELESS:
        raise RecordingError(
            f"its betas have a standard deviation of {facts.spread:.3g} (median over voxels), those of other sessions "
            f"{usual:.3g}, and {differing:.0%} of the voxels differ by more than {SPREAD_HOPELESS:g} times: it or they are not "
            "in the same unit (whole numbers are percent signal change × 300, fractional ones percent signal change), so convert "
            "the one that is wrong"
        )
    offset = _offset(facts, others)
    if offset > OFFSET_HOPELESS:
        raise RecordingError(
            f"its betas lie {offset:.0f} standard deviations away from those of other sessions (median over voxels), expected "
            f"less than {OFFSET_HOPELESS:g}: something was added to it or to them"
        )
    lost = _lost(facts.constant, [other.constant for other in others])
    if lost > CONSTANT_HOPELESS:
        raise RecordingError(
            f"{lost:.0%} of the voxels that vary in other sessions do not vary in it: the file is incomplete"
        )


def _share_in_other_unit(facts: SessionFacts, others: Sequence[SessionFacts]) -> float:
    """Share of voxels whose σ is SPREAD_HOPELESS times the median of the others' σ or a fraction of it, of those that vary."""
    std = np.median([other.std for other in others], axis=0)
    varying = (std > 0) & (facts.std > 0)
    ratio = facts.std[varying] / std[varying]
    return float(((ratio > SPREAD_HOPELESS) | (ratio < 1 / SPREAD_HOPELESS)).mean()) if ratio.size else 0.0


def _check_trials(varying: Betas, stimulus_ids: Int[np.ndarray, " n_trials"]) -> None:
    """Refuse trials without data, and equal betas of different stimuli."""
    zeros = (varying == 0).mean(axis=1)
    usual = float(np.median(zeros[zeros < 1])) if (zeros < 1).any() else 0.0
    if usual ** varying.shape[1] > BY_CHANCE:  # sparse betas of few voxels: all may be 0, and two trials equal
        return
    empty = np.flatnonzero((varying == varying[:, :1]).all(axis=1))
    if empty.size:
        raise RecordingError(
            f"{empty.size} trials have the same beta in every voxel (trial {empty[0]}, counted from 0, is "
            f"{varying[empty[0], 0]:.3g}): they hold no data; leave the session out, or write the file again"
        )
    least, most = int(np.argmin(zeros)), int(np.argmax(zeros))
    chance = 8 * np.sqrt(zeros[least] * (1 - zeros[least]) / varying.shape[1])
    if zeros[most] - zeros[least] > EMPTY_HOPELESS + chance:
        raise RecordingError(
            f"betas of trial {most}, counted from 0, are 0 in {zeros[most]:.0%} of the voxels, those of trial {least} in "
            f"{zeros[least]:.0%}: some trials are incomplete; leave the session out, or write the file again"
        )
    seen: dict[bytes, int] = {}
    for trial, row in enumerate(np.ascontiguousarray(varying)):
        other = seen.setdefault(_digest(row), trial)
        if stimulus_ids[other] != stimulus_ids[trial]:
            raise RecordingError(
                f"trials {other} and {trial}, counted from 0, have equal betas in every voxel, but show different stimuli: one "
                "is a copy"
            )


def _check_units(varying: Betas) -> None:
    """Refuse a session in which some trials are in another unit than others."""
    step = max(1, varying.shape[1] // VOXELS_OF_SAMPLE)
    size = _distances(varying[:, ::step]).mean(axis=1)
    low, high = int(np.argmin(size)), int(np.argmax(size))
    if len(size) >= FEW_TRIALS and 0 < TRIAL_HOPELESS * size[low] < size[high]:
        raise RecordingError(
            f"betas of trial {high}, counted from 0, lie {size[high] / size[low]:.3g} times as far from the voxels' medians as "
            f"those of trial {low}, expected less than {TRIAL_HOPELESS:g} times: some trials are in another unit"
        )


def _lost(constant: Bool[np.ndarray, " n_voxels"], others: Sequence[Bool[np.ndarray, " n_voxels"]]) -> float:
    """Share of voxels that are constant here, of those that vary in at least one other session."""
    varying = ~np.logical_and.reduce(others)
    return float(constant[varying].mean()) if varying.any() else 0.0


def _offset(facts: SessionFacts, others: Sequence[SessionFacts]) -> float:
    """|μ − median of the others' μ| / median of the others' σ, median over the voxels that vary; 0 if none does."""
    std = np.median([other.std for other in others], axis=0)
    varying = (std > 0) & (facts.std > 0)
    away = np.abs(facts.mean - np.median([other.mean for other in others], axis=0))[varying] / std[varying]
    return float(np.median(away)) if away.size else 0.0


def offsets(sessions: Mapping[int, SessionFacts]) -> dict[int, float]:
    """Return how far each session's means lie from the median of all sessions, in standard deviations."""
    return {number: _offset(facts, list(sessions.values())) for number, facts in sessions.items()}


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
    empty = np.logical_and.reduce([facts.constant for facts in sessions.values()]).mean()
    if empty > CONSTANT_DOUBTFUL:
        said.append(
            f"{empty:.0%} of the analysed voxels have no data in any session: is the mask that of this recording?"
        )
    away, lost = offsets(sessions), shares_lost(sessions)
    for number, facts in sessions.items():
        ratio, differing = facts.spread / usual, _share_in_other_unit(facts, list(sessions.values()))
        if not 1 / SPREAD_DOUBTFUL <= ratio <= SPREAD_DOUBTFUL:
            said.append(f"Session {number} has {ratio:.2g} times the usual spread of betas: is it in the same unit?")
        elif differing > UNITS_DOUBTFUL:
            said.append(
                f"In session {number}, {differing:.0%} of the voxels have {SPREAD_HOPELESS:g} times their usual spread, "
                "or a fraction like it."
            )
        if away[number] > OFFSET_DOUBTFUL:
            said.append(
                f"Betas of session {number} lie {away[number]:.1f} standard deviations away from those of the other sessions "
                "(median over voxels); responses.normalisation: session takes that out."
            )
        if lost[number] > CONSTANT_DOUBTFUL:
            said.append(
                f"In session {number}, {lost[number]:.0%} of the voxels do not vary, though they do in other sessions."
            )
    far = {k: facts for k, facts in sessions.items() if facts.n_outliers > OUTLIERS_DOUBTFUL * len(facts.std)}
    if far:
        listed = ", ".join(f"{number} ({facts.n_outliers} voxels)" for number, facts in far.items())
        said.append(
            f"Single betas lie more than {OUTLIER_DOUBTFUL:g} times as far from their voxel's median as usual: session {listed}."
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
        SessionFacts(mean, std, float(outlier), int(n_outliers), str(sha256))
        for mean, std, outlier, n_outliers, sha256 in zip(*columns, strict=True)
    )
    return dict(zip(arrays["facts_sessions"].tolist(), rows, strict=True))
