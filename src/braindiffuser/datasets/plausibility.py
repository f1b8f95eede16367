"""Whether the betas of a session can be what was recorded.

What cannot be is refused: a session or trials without data, betas that outweigh all others of their voxel, trials or sessions in
another unit, the same betas twice. What is only unusual is said on the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32

from braindiffuser.arrays import Betas
from braindiffuser.datasets.dataset import Unit
from braindiffuser.datasets.equal_trials import BY_CHANCE, check_copies, equal_doubts
from braindiffuser.datasets.normalisation import ROUNDING, Normalisation, guard
from braindiffuser.datasets.session_facts import (
    COARSE,
    FEW_TRIALS,
    FEW_VOXELS,
    FEWEST_TRIALS,
    OUTLIER_DOUBTFUL,
    Distances,
    SessionFacts,
    distances_from_median,
    lost_voxels,
    shares_of_one_value,
)
from braindiffuser.datasets.trial_normalisation import Z_SCORED_BY
from braindiffuser.errors import RecordingError

CONSTANT_DOUBTFUL, CONSTANT_HOPELESS = 0.02, 0.5
"""Share of voxels that do not vary in a session, of those that do in another."""
SPREAD_DOUBTFUL, SPREAD_HOPELESS = 2.5, 30.0
"""Ratio of a session's spread to that of the others; percent signal change × 300 is a ratio of 300."""
SPREAD_OF_FEW = 100.0
"""As SPREAD_HOPELESS, where one of them has few trials: the spread of heavy-tailed betas depends on how many there are."""
SPREAD_DOUBTFUL_OF_FEW, OFFSET_DOUBTFUL_OF_FEW = 15.0, 8.0
"""As SPREAD_DOUBTFUL and OFFSET_DOUBTFUL, from FEWEST_TRIALS and FEW_VOXELS on, where one of them has few trials."""
UNITS_DOUBTFUL, UNITS_HOPELESS = 0.02, 0.2
"""Share of voxels whose standard deviation differs from that in the other sessions by more than SPREAD_HOPELESS."""
OFFSET_DOUBTFUL, OFFSET_HOPELESS = 1.0, 30.0
"""Distance of a session's means from those of the other sessions, in standard deviations over trials (median over voxels)."""
OUTLIER_HOPELESS, OUTLIER_OF_FEW = 500.0, 1e6
"""`SessionFacts.outlier_gap`, where 500 is about 2,000 standard deviations of normal numbers; and where there are few trials."""
OUTLIERS_DOUBTFUL = 0.001
"""Share of voxels with a beta beyond OUTLIER_DOUBTFUL."""
LARGEST = 1e12
"""No unit of betas makes larger ones."""
ONE_VALUE_DOUBTFUL, ONE_VALUE_HOPELESS, TRIALS_FOR_GAP = 0.02, 0.3, 20
"""Share of voxels with one value, of a trial beside others, more than chance allows; and the trials that it takes to refuse. Only
lost voxels are refused (`lost_voxels`): thresholds and rectification set betas to one value too."""
ONE_VALUE_OF_SESSION = 0.1
"""As ONE_VALUE_DOUBTFUL, of a session beside the others; sparse betas differ by as much."""
COMMON = 0.5
"""Trials without data are refused only if no other trial has their value in more than this share of voxels; where trials are few,
COARSE."""
TRIAL_SPREAD_DOUBTFUL, TRIAL_SPREAD_HOPELESS = 5.0, 50.0
"""How far betas of a trial lie from the voxels' medians: ratio of one trial to the next, in that order."""
TRIAL_SPREAD_DOUBTFUL_OF_FEW, TRIAL_SPREAD_OF_FEW = 60.0, 100.0
"""The same where there are few trials: of five, one may lie next to the medians by chance."""
UNIT_SPREADS: dict[Unit, tuple[float, float]] = {"percent": (0.0, 50.0), "z": (0.1, 10.0), "raw": (0.0, np.inf)}
"""Unit → standard deviations over trials that it may have."""
MEAN_OF_Z = 3.0
"""Largest |mean| of betas in z units, in standard deviations."""
ROUNDED = 10.0
"""Standard deviations of up to this many times ROUNDING × |mean| are lost to the rounding of float32."""
ALIKE_USUAL, ALIKE_DOUBTFUL = 0.6, 0.3
"""Two limits on the correlation of a session's log σ with the median's: it must usually reach the first before a value below the
second is reported."""
VOXELS_OF_MEDIAN = 8
"""Their median tells the unit even where trials are few."""
MOSTLY_TIED = 0.5
"""Share of betas that equal their voxel's median, from which they are called sparse."""


def check_session(
    betas: Betas, facts: SessionFacts, earlier: Mapping[int, SessionFacts], normalisation: Normalisation
) -> None:
    """Refuse betas that cannot be what was recorded.

    Args:
        betas: of the session.
        facts: what `describe` says of them.
        earlier: facts of other sessions.
        normalisation: what betas are z-scored by, which takes out what was added to a session.

    Raises:
        RecordingError: says what was found and what is usual.
    """
    if facts.largest > LARGEST:
        row, place = np.unravel_index(int(np.argmax(np.abs(betas))), betas.shape)
        raise RecordingError(
            f"trial {row}, counted from 0, is {betas[row, place]:.3g} in voxel {place} of the analysed ones (C order): the "
            "file is damaged, or its model failed there"
        )
    if facts.constant.all():
        if (betas != betas[0]).any():
            raise RecordingError(
                f"no analysed voxel varies over its trials by more than a millionth of its mean ({np.abs(facts.mean).max():.3g} "
                "at most), which float32 rounds away: subtract the means before the betas are written"
            )
        raise RecordingError("no analysed voxel varies over its trials: the file is empty, or was never written")
    varying = betas[:, ~facts.constant] if facts.constant.any() else betas
    _check_empty(betas, varying, facts)
    _check_outliers(varying, facts)
    limit = TRIAL_SPREAD_HOPELESS if len(betas) >= FEW_TRIALS else TRIAL_SPREAD_OF_FEW
    if facts.trial_spread_gap > limit:
        size = Distances.of(varying)
        upper = np.flatnonzero(size.of_trials >= size.widest_ratio()[1] * (1 - 1e-9))
        raise RecordingError(
            f"{len(upper)} of {len(betas)} trials (first: trial {upper[0]}, counted from 0) vary {facts.trial_spread_gap:.3g} "
            f"times as much as all others, expected less than {limit:g} times: they hold an artefact, or are in "
            "another unit; mark them is_catch in the table of trials or leave them out, or write the file again"
        )
    check_copies(facts.trials, {session: other.trials for session, other in earlier.items()})
    _check_against_others(facts, list(earlier.values()), normalisation)


def check_sessions(sessions: Mapping[int, SessionFacts], normalisation: Normalisation) -> None:
    """Refuse a session that does not fit the others; called when all are known, since the first ones are judged by few.

    Raises:
        RecordingError: names the session.
    """
    for number, facts in sessions.items():
        others = [other for key, other in sessions.items() if key != number]
        try:
            _check_against_others(facts, others, normalisation)
        except RecordingError as error:
            raise RecordingError(f"session {number}: {error}") from error


def _check_outliers(varying: Betas, facts: SessionFacts) -> None:
    """Refuse betas that lie much further from their voxel's median than all others do."""
    limit = OUTLIER_HOPELESS if len(varying) >= FEW_TRIALS else OUTLIER_OF_FEW
    if facts.outlier_gap <= limit:
        return
    column = int(np.argmax(Distances.of(varying).ratios()))
    voxel, values = np.flatnonzero(~facts.constant)[column], varying[:, column]
    trial = int(np.argmax(distances_from_median(values)))
    raise RecordingError(
        f"trial {trial}, counted from 0, is {values[trial]:.3g} in voxel {voxel} of the analysed ones (C order), whose median is "
        f"{np.median(values):.3g}: it is {facts.outlier:.3g} times as far away as usual, and there is a gap: such betas lie "
        f"{facts.outlier_gap:.3g} times as far away as all others, expected less than {limit:g}; the file is damaged, or its "
        "model failed there"
    )


def _check_empty(betas: Betas, varying: Float32[np.ndarray, "n_trials n_varying"], facts: SessionFacts) -> None:
    """Refuse trials without data in all voxels or in many."""
    is_empty = (varying == varying[:, :1]).all(axis=1)
    empty, others = np.flatnonzero(is_empty), varying[~is_empty]
    if empty.size:
        value = varying[empty[0], 0]
        equal = others == value
        chance = np.prod((np.count_nonzero(equal, axis=0) + 1) / (len(others) + 2))
        many = len(varying) >= TRIALS_FOR_GAP
        shares_of_others = (equal if many else betas[~is_empty] == value).mean(axis=1)
        if len(varying) * chance < BY_CHANCE and shares_of_others.max(initial=0.0) <= (COMMON if many else COARSE):
            raise RecordingError(
                f"{empty.size} trials have the same beta in every voxel (trial {empty[0]}, counted from 0, is {value:.3g}): they "
                "hold no data: write the file again"
            )
    shares = shares_of_one_value(varying)
    if facts.incomplete > ONE_VALUE_HOPELESS and len(varying) >= TRIALS_FOR_GAP and shares is not None:
        of_trials, lost = shares.of_trials, lost_voxels(varying, shares, facts.trials)
        least, most = int(np.argmin(of_trials)), int(np.argmax(lost))
        raise RecordingError(
            f"betas of trial {most}, counted from 0, have one value in {of_trials[most]:.0%} of the voxels, those of trial "
            f"{least} in {of_trials[least]:.0%}, and these voxels lie in a row, or are the same in several trials: some trials "
            "are incomplete: write the file again"
        )


class Comparison(NamedTuple):
    """A session beside others; two sessions differ from each other by the same.

    Attributes:
        spread: σ over that in the others, median over voxels; from three sessions on, over the median of all sessions.
        differing: share of voxels in which that ratio is SPREAD_HOPELESS or more, or a fraction like it.
        offset: |μ − that in the others| / σ, median over voxels.
        lost: share of voxels that do not vary, of those that do in another.
        alike: correlation over voxels of log σ with that in the others; 1 where it tells nothing.
        few: whether few trials were compared, whose spread and means are doubted by wider limits.
        fewest: whether too few trials or voxels were compared to doubt by them at all.
        rounded: share of the voxels counted in `lost` whose mean is so large that float32 rounds away what they vary by.
        one_value: `SessionFacts.one_value`, and that of the others, where it differs by more than chance allows.
    """

    spread: float = 1.0
    differing: float = 0.0
    offset: float = 0.0
    lost: float = 0.0
    alike: float = 1.0
    few: bool = False
    fewest: bool = False
    rounded: float = 0.0
    one_value: tuple[float, float] = (0.0, 0.0)


def compare(facts: SessionFacts, others: Sequence[SessionFacts]) -> Comparison:
    """Compare a session with others, which do not contain it.

    μ and σ of the others are medians over sessions, with this one among them if there are two others or more; sessions of few
    trials are left out where there are longer ones. Few trials, and sparse betas, tell nothing of single voxels; few trials of
    few voxels tell nothing.
    """
    known = np.logical_or.reduce([np.zeros_like(facts.constant), *(~other.constant for other in others)])
    lost = float(np.mean(facts.constant, where=known)) if np.any(known) else 0.0
    rounded = _rounded(facts, others, known)
    others = [other for other in others if other.n_trials >= FEW_TRIALS] or others
    one_value = _one_value(facts, others)
    everyone = [facts, *others]
    among = others if len(others) == 1 else everyone
    std, mean = (np.median([getattr(one, name) for one in among], axis=0) for name in ("std", "mean"))
    varying = (std > 0) & (facts.std > 0)
    n_varying, few = np.count_nonzero(varying), min(one.n_trials for one in everyone) < FEW_TRIALS
    sparse = max(one.tied for one in everyone) > MOSTLY_TIED
    if n_varying < (FEW_VOXELS if sparse else VOXELS_OF_MEDIAN if few else 1):
        return Comparison(lost=lost, rounded=rounded, one_value=one_value)
    ratio = facts.std[varying] / std[varying]
    scale = np.median([one.std for one in everyone], axis=0)[varying]
    unsure = few or sparse or n_varying < FEW_VOXELS
    return Comparison(
        spread=float(np.median(ratio)),
        differing=0.0 if unsure else float(((ratio > SPREAD_HOPELESS) | (ratio < 1 / SPREAD_HOPELESS)).mean()),
        offset=float(np.median(np.abs(facts.mean - mean)[varying] / scale)),
        lost=lost,
        alike=1.0 if unsure else float(np.corrcoef(np.log(facts.std[varying]), np.log(std[varying]))[0, 1]),
        few=few,
        fewest=few and bool(n_varying < FEW_VOXELS or min(one.n_trials for one in everyone) < FEWEST_TRIALS),
        rounded=rounded,
        one_value=one_value,
    )


def _rounded(facts: SessionFacts, others: Sequence[SessionFacts], known: Bool[np.ndarray, " n_voxels"]) -> float:
    """Return the share of lost voxels that vary in others by less than float32 rounds away from their mean in this session."""
    lost = facts.constant & known
    if not np.any(lost):
        return 0.0
    usual = np.max([other.std[lost] for other in others], axis=0)
    return float((usual <= ROUNDED * ROUNDING * np.abs(facts.mean[lost])).mean())


def _one_value(facts: SessionFacts, others: Sequence[SessionFacts]) -> tuple[float, float]:
    """Return the share of voxels with one value in a session's trials and in the others, or zeros where it is not unusual."""
    if not others or min(one.n_trials for one in (facts, *others)) < FEW_TRIALS:
        return 0.0, 0.0
    usual = float(np.median([one.one_value for one in (others if len(others) == 1 else (facts, *others))]))
    error = np.hypot(facts.one_value_error, max(other.one_value_error for other in others))
    differs = abs(facts.one_value - usual) > ONE_VALUE_OF_SESSION + 8 * error
    return (facts.one_value, usual) if differs else (0.0, 0.0)


def compare_sessions(sessions: Mapping[int, SessionFacts]) -> dict[int, Comparison]:
    """Compare each session with the others."""
    return {
        number: compare(facts, [other for key, other in sessions.items() if key != number])
        for number, facts in sessions.items()
    }


def _check_against_others(facts: SessionFacts, others: Sequence[SessionFacts], normalisation: Normalisation) -> None:
    """Refuse a session that is in another unit than others, or lacks most of their voxels."""
    found = compare(facts, others)
    if max(found.spread, 1 / found.spread) > (SPREAD_OF_FEW if found.few else SPREAD_HOPELESS):
        raise RecordingError(
            f"its betas vary {found.spread:.3g} times as much as those of other sessions (median over voxels; their standard "
            f"deviation is {facts.spread:.3g}): it or they are not in the same unit (whole numbers may stand for multiples of a "
            "unit), so convert the one that is wrong"
        )
    if found.differing > UNITS_HOPELESS:
        raise RecordingError(
            f"in {found.differing:.0%} of the voxels, the standard deviation of its betas is more than {SPREAD_HOPELESS:g} times "
            "that in other sessions, or less than a fraction like it: part of it or of them is damaged, or in another unit"
        )
    if found.offset > OFFSET_HOPELESS and not Z_SCORED_BY[normalisation]:
        raise RecordingError(
            f"its betas lie {found.offset:.0f} standard deviations away from those of other sessions (median over voxels), "
            f"expected less than {OFFSET_HOPELESS:g}: something was added to it or to them, which a "
            "normalisation by sessions takes out (responses.normalisation: session, or session-all-trials if a session has no "
            "training trials)"
        )
    if found.lost > CONSTANT_DOUBTFUL and found.rounded > 0.5 and facts.n_trials >= FEW_TRIALS:
        raise RecordingError(
            f"{found.lost:.0%} of the voxels that vary in other sessions vary in it by less than float32 rounds away from their "
            f"means ({np.abs(facts.mean).max():.3g} at most): subtract the means before the betas are written"
        )
    if found.lost > CONSTANT_HOPELESS and facts.n_trials >= FEW_TRIALS and facts.tied < MOSTLY_TIED:
        raise RecordingError(
            f"{found.lost:.0%} of the voxels that vary in other sessions do not vary in it: the file is incomplete"
        )


def doubts(sessions: Mapping[int, SessionFacts], compared: Mapping[int, Comparison] | None = None) -> list[str]:
    """List what is unusual in the sessions of a recording, one sentence each.

    Args:
        sessions: what `describe` says of each.
        compared: what `compare_sessions` says of them; None: it is asked.
    """
    if not sessions:
        return []
    said = []
    empty = np.logical_and.reduce([facts.constant for facts in sessions.values()]).mean()
    if empty > CONSTANT_DOUBTFUL:
        said.append(
            f"{empty:.0%} of the analysed voxels do not vary in any session: are they outside of what was "
            "recorded, as by the mask of another?"
        )
    compared = compare_sessions(sessions) if compared is None else compared
    usual = float(np.median([found.alike for found in compared.values()]))
    last = list(sessions)[-1]
    others = f"session {last}" if len(sessions) == 2 else "the other sessions"
    for number, found in compared.items():
        is_said = len(sessions) == 2 and number == last  # of two sessions, each differs from the other by the same
        if not (is_said or found.fewest):
            said += _doubts_beside(number, found, others)
        if len(sessions) > 2 and usual >= ALIKE_USUAL and found.alike < ALIKE_DOUBTFUL:
            said.append(
                f"Voxels of session {number} vary otherwise than in other sessions (correlation of spreads {found.alike:.2f}; "
                f"usual {usual:.2f}): are they in the same order?"
            )
        if found.lost > CONSTANT_DOUBTFUL:
            said.append(
                f"In session {number}, {found.lost:.0%} of the voxels do not vary, though they do in other sessions."
            )
    said += equal_doubts({number: facts.trials for number, facts in sessions.items()})
    for number, facts in sessions.items():
        said += _doubts_within(number, facts)
    far = {number: facts for number, facts in sessions.items() if facts.n_outliers > OUTLIERS_DOUBTFUL * len(facts.std)}
    if far:
        listed = ", ".join(f"{number} ({facts.n_outliers} voxels)" for number, facts in far.items())
        said.append(
            f"Single betas lie more than {OUTLIER_DOUBTFUL:g} times as far from their voxel's median as usual: session {listed}."
        )
    return said


def unit_doubts(sessions: Mapping[int, SessionFacts], unit: Unit) -> list[str]:
    """Say where betas cannot well be in the unit that was declared, by the median over sessions.

    Args:
        sessions: what `describe` says of each.
        unit: `Recording.unit`.
    """
    varying = [facts for facts in sessions.values() if not facts.constant.all()]
    if not varying:
        return []
    spread = float(np.median([facts.spread for facts in varying]))
    mean = float(np.median([np.median(np.abs(facts.mean / guard(facts.std))[~facts.constant]) for facts in varying]))
    least, most = UNIT_SPREADS[unit]
    said = []
    if not least <= spread <= most:
        limits = f"at most {most:g}" if not least else f"{least:g} to {most:g}"
        said.append(
            f"The unit of the betas is said to be {unit}, but they vary by {spread:.3g} over trials (standard deviation, median "
            f"over voxels); expected is {limits}: is the unit another one?"
        )
    if unit == "z" and mean > MEAN_OF_Z:
        said.append(
            f"The unit of the betas is said to be z, but their means lie {mean:.3g} standard deviations from 0 (median over "
            f"voxels); expected is {MEAN_OF_Z:g} at most: is the unit another one?"
        )
    return said


def _doubts_within(number: int, facts: SessionFacts) -> list[str]:
    said = []
    more = max(facts.one_value_gap, facts.incomplete)
    if more > ONE_VALUE_DOUBTFUL:
        said.append(
            f"Some trials of session {number} have one value in {more:.0%} more of the voxels than others: are they complete, or "
            "were betas set to it, as by a threshold?"
        )
    few = facts.n_trials < FEW_TRIALS
    if facts.trial_spread_gap > (TRIAL_SPREAD_DOUBTFUL_OF_FEW if few else TRIAL_SPREAD_DOUBTFUL):
        said.append(
            f"Some trials of session {number} vary {facts.trial_spread_gap:.2g} times as much as all others: are they in "
            "the same unit, and free of artefacts?"
        )
    if few and facts.outlier_gap > OUTLIER_HOPELESS:
        said.append(
            f"Single betas of session {number} lie {facts.outlier_gap:.2g} times as far from their voxel's median as all others: "
            "is the file damaged?"
        )
    return said


def _doubts_beside(number: int, found: Comparison, others: str) -> list[str]:
    said = []
    spread, offset = (
        (SPREAD_DOUBTFUL_OF_FEW, OFFSET_DOUBTFUL_OF_FEW) if found.few else (SPREAD_DOUBTFUL, OFFSET_DOUBTFUL)
    )
    if not 1 / spread <= found.spread <= spread:
        said.append(
            f"Betas of session {number} vary {found.spread:.2g} times as much as in {others}: is the unit the same?"
        )
    elif found.differing > UNITS_DOUBTFUL:
        said.append(
            f"In session {number}, {found.differing:.0%} of the voxels vary {SPREAD_HOPELESS:g} times as much as in {others}, or "
            "a fraction like it."
        )
    if found.offset > offset:
        said.append(
            f"Betas of session {number} lie {found.offset:.1f} standard deviations away from those of {others} (median over "
            "voxels), which responses.normalisation: session or run takes out, or session-all-trials where a session has no "
            "training trials."
        )
    if any(found.one_value):
        said.append(
            f"Trials of session {number} have one value in {found.one_value[0]:.0%} of the voxels, and in {others} in "
            f"{found.one_value[1]:.0%} (medians over trials): were betas left out, or set to it?"
        )
    return said
