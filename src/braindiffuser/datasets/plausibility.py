"""Whether the betas of a session can be what was recorded.

What cannot be is refused: a session or trials without data, betas that outweigh all others of their voxel, trials or sessions in
another unit, the same betas twice. What is only unusual is said on the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from braindiffuser.arrays import Betas
from braindiffuser.datasets.session_facts import (
    COARSE,
    FEW_TRIALS,
    FEW_VOXELS,
    OUTLIER_DOUBTFUL,
    Distances,
    SessionFacts,
    digest,
    distances_from_medians,
    shares_of_one_value,
)
from braindiffuser.errors import RecordingError

CONSTANT_DOUBTFUL, CONSTANT_HOPELESS = 0.02, 0.5
"""Share of voxels that do not vary in a session, of those that do in another."""
SPREAD_DOUBTFUL, SPREAD_HOPELESS = 2.5, 30.0
"""Ratio of a session's spread to that of the others; percent signal change × 300 is a ratio of 300."""
UNITS_DOUBTFUL, UNITS_HOPELESS = 0.02, 0.2
"""Share of voxels whose standard deviation differs from that in the other sessions by more than SPREAD_HOPELESS."""
OFFSET_DOUBTFUL, OFFSET_HOPELESS = 1.0, 30.0
"""Distance of a session's means from those of the other sessions, in standard deviations over trials (median over voxels)."""
OUTLIER_HOPELESS, OUTLIER_OF_FEW = 2000.0, 1e6
"""As OUTLIER_DOUBTFUL: 2,300 standard deviations of normal numbers; and where there are few trials, which tell less."""
OUTLIERS_DOUBTFUL = 0.001
"""Share of voxels with a beta beyond OUTLIER_DOUBTFUL."""
LARGEST = 1e12
"""No unit of betas makes larger ones."""
EMPTIED_DOUBTFUL, EMPTIED_HOPELESS, TRIALS_FOR_GAP = 0.02, 0.3, 20
"""Gap between trials in their share of voxels with one value, beside what chance allows; and the trials that it takes to refuse:
shares of sparse betas lie anywhere, but leave no gap where there are many trials."""
COMMON = 0.5
"""Share of voxels that have one value in a trial, from which others may have it in all; where trials are few, COARSE."""
COPIED = 6
"""Voxels in which two equal trials have a value that no third one has."""
SIZES_DOUBTFUL, SIZES_HOPELESS = 5.0, 50.0
"""How far betas of a trial lie from the voxels' medians: ratio of one trial to the next, in that order."""
ALIKE_USUAL, ALIKE_DOUBTFUL = 0.6, 0.3
"""Correlation over voxels of a session's spread with that of all, which is at least the one usually and below the other here."""
VOXELS_OF_MEDIAN = 8
"""Their median tells the unit even where trials are few."""
MOSTLY_TIED = 0.5
"""Share of betas that equal their voxel's median, from which they are called sparse."""
BY_CHANCE = 1e-6
"""How often, at most, what cannot be happens by chance."""


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
    if facts.largest > LARGEST:
        row, place = np.unravel_index(int(np.argmax(np.abs(betas))), betas.shape)
        raise RecordingError(
            f"trial {row}, counted from 0, is {betas[row, place]:.3g} in voxel {place} of the analysed ones (C order): the "
            "file is damaged, or its model failed there"
        )
    if facts.constant.all():
        raise RecordingError("no analysed voxel varies over its trials: the file is empty, or was never written")
    voxels = np.flatnonzero(~facts.constant)
    varying = betas[:, voxels]
    _check_empty(betas, facts)
    _check_copies(varying, stimulus_ids)
    if facts.outlier > (OUTLIER_HOPELESS if len(betas) >= FEW_TRIALS else OUTLIER_OF_FEW):
        column = int(np.argmax(Distances.of(varying).ratios()))
        voxel, values = voxels[column], varying[:, column]
        trial = int(np.argmax(distances_from_medians(values[:, None])))
        raise RecordingError(
            f"trial {trial}, counted from 0, is {values[trial]:.3g} in voxel {voxel} of the analysed ones (C order), whose "
            f"median is {np.median(values):.3g}, {facts.outlier:.3g} times as far away as usual, expected less than "
            f"{OUTLIER_HOPELESS:g}: the file is damaged, or its model failed there"
        )
    if facts.sizes > SIZES_HOPELESS:
        size = Distances.of(varying)
        upper = np.flatnonzero(size.of_trials >= size.widest_ratio()[1] * (1 - 1e-9))
        raise RecordingError(
            f"{len(upper)} of {len(betas)} trials (first: trial {upper[0]}, counted from 0) vary {facts.sizes:.3g} times as much "
            f"as all others, expected less than {SIZES_HOPELESS:g} times: some trials are in another unit"
        )
    for session, other in earlier.items():
        if other.sha256 == facts.sha256 and (voxels.size >= FEW_VOXELS or facts.tied <= 1 / len(betas)):
            raise RecordingError(
                f"its betas are those of session {session}, perhaps in another order: one of them is a copy"
            )
    _check_beside(facts, list(earlier.values()))


def check_sessions(sessions: Mapping[int, SessionFacts]) -> None:
    """Refuse a session that does not fit the others; called when all are known, since the first ones are judged by few.

    Raises:
        RecordingError: names the session.
    """
    for number, facts in sessions.items():
        try:
            _check_beside(facts, [other for key, other in sessions.items() if key != number])
        except RecordingError as error:
            raise RecordingError(f"session {number}: {error}") from error


def _check_empty(betas: Betas, facts: SessionFacts) -> None:
    """Refuse trials without data in all voxels or in many."""
    varying = betas[:, ~facts.constant]
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
                "hold no data; leave the session out, or write the file again"
            )
    shares = shares_of_one_value(varying)
    if shares is not None and len(varying) >= TRIALS_FOR_GAP and facts.emptied > EMPTIED_HOPELESS:
        least, most = int(np.argmin(shares)), int(np.argmax(shares))
        raise RecordingError(
            f"betas of trial {most}, counted from 0, have one value in {shares[most]:.0%} of the voxels, those of trial {least} "
            f"in {shares[least]:.0%}: some trials are incomplete; leave the session out, or write the file again"
        )


def _check_copies(varying: Betas, stimulus_ids: Int[np.ndarray, " n_trials"]) -> None:
    """Refuse equal betas of different stimuli, unless chance makes trials equal."""
    seen: dict[bytes, int] = {}
    copies = []
    for trial, row in enumerate(np.ascontiguousarray(varying)):
        other = seen.setdefault(digest(row), trial)
        if stimulus_ids[other] != stimulus_ids[trial]:
            copies.append((other, trial))
    if not copies:
        return
    different = varying[list(seen.values())]
    n_pairs = len(varying) * (len(varying) - 1) / 2
    if n_pairs * chance_of_equal_trials(different) > BY_CHANCE:
        return
    for other, trial in copies:
        if np.count_nonzero((different == varying[trial]).sum(axis=0) == 1) >= COPIED:
            raise RecordingError(
                f"trials {other} and {trial}, counted from 0, have equal betas in every voxel, but show different stimuli: one "
                "is a copy"
            )


def chance_of_equal_trials(betas: Betas) -> float:
    """Π_v Σ_x p_v(x)², where p_v(x) is how often voxel v has the value x: how often two trials are equal in every voxel."""
    counts = (np.unique(column, return_counts=True)[1] for column in betas.T)
    return float(np.prod([((count / len(betas)) ** 2).sum() for count in counts]))


class Comparison(NamedTuple):
    """A session beside others; two sessions differ from each other by the same.

    Attributes:
        spread: σ over that in the others, median over voxels.
        differing: share of voxels in which that ratio is SPREAD_HOPELESS or more, or a fraction like it.
        offset: |μ − that in the others| / σ, median over voxels.
        lost: share of voxels that do not vary, of those that do in another.
        alike: correlation over voxels of log σ with that in the others; 1 where it tells nothing.
        few: whether too few trials were compared to doubt by them.
    """

    spread: float = 1.0
    differing: float = 0.0
    offset: float = 0.0
    lost: float = 0.0
    alike: float = 1.0
    few: bool = False


def compare(facts: SessionFacts, others: Sequence[SessionFacts]) -> Comparison:
    """Compare a session with others, which do not contain it.

    μ and σ of the others are medians over sessions, with this one among them if there are two others or more; sessions of few
    trials are left out where there are longer ones. Few trials, and sparse betas, tell nothing of single voxels; few trials of
    few voxels tell nothing.
    """
    known = np.logical_or.reduce([~other.constant for other in others], initial=False)
    lost = float(np.mean(facts.constant, where=known)) if np.any(known) else 0.0
    others = [other for other in others if other.n_trials >= FEW_TRIALS] or others
    everyone = [facts, *others]
    among = others if len(others) == 1 else everyone
    std, mean = (np.median([getattr(one, name) for one in among], axis=0) for name in ("std", "mean"))
    varying = (std > 0) & (facts.std > 0)
    n_varying, few = np.count_nonzero(varying), min(one.n_trials for one in everyone) < FEW_TRIALS
    sparse = max(one.tied for one in everyone) > MOSTLY_TIED
    if n_varying < (FEW_VOXELS if sparse else VOXELS_OF_MEDIAN if few else 1):
        return Comparison(lost=lost)
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
    )


def compare_sessions(sessions: Mapping[int, SessionFacts]) -> dict[int, Comparison]:
    """Compare each session with the others."""
    return {
        number: compare(facts, [other for key, other in sessions.items() if key != number])
        for number, facts in sessions.items()
    }


def _check_beside(facts: SessionFacts, others: Sequence[SessionFacts]) -> None:
    """Refuse a session that is in another unit than others, or lacks most of their voxels."""
    found = compare(facts, others)
    if max(found.spread, 1 / found.spread) > SPREAD_HOPELESS:
        raise RecordingError(
            f"its betas vary {found.spread:.3g} times as much as those of other sessions (median over voxels; their standard "
            f"deviation is {facts.spread:.3g}): it or they are not in the same unit (in NSD's files, whole numbers are percent "
            "signal change × 300, fractional ones percent signal change), so convert the one that is wrong"
        )
    if found.differing > UNITS_HOPELESS:
        raise RecordingError(
            f"in {found.differing:.0%} of the voxels, the standard deviation of its betas is more than {SPREAD_HOPELESS:g} times "
            "that in other sessions, or less than a fraction like it: part of it or of them is damaged, or in another unit"
        )
    if found.offset > OFFSET_HOPELESS:
        raise RecordingError(
            f"its betas lie {found.offset:.0f} standard deviations away from those of other sessions (median over voxels), "
            f"expected less than {OFFSET_HOPELESS:g}: something was added to it or to them"
        )
    if found.lost > CONSTANT_HOPELESS and facts.n_trials >= FEW_TRIALS and facts.tied < MOSTLY_TIED:
        raise RecordingError(
            f"{found.lost:.0%} of the voxels that vary in other sessions do not vary in it: the file is incomplete"
        )


def doubts(sessions: Mapping[int, SessionFacts]) -> list[str]:
    """List what is unusual in the sessions of a recording, one sentence each."""
    if not sessions:
        return []
    said = []
    empty = np.logical_and.reduce([facts.constant for facts in sessions.values()]).mean()
    if empty > CONSTANT_DOUBTFUL:
        said.append(
            f"{empty:.0%} of the analysed voxels have no data in any session: is the mask that of this recording?"
        )
    compared = compare_sessions(sessions)
    usual = float(np.median([found.alike for found in compared.values()]))
    last = list(sessions)[-1]
    others = f"session {last}" if len(sessions) == 2 else "the other sessions"
    for number, found in compared.items():
        is_said = len(sessions) == 2 and number == last  # of two sessions, each differs from the other by the same
        if not (is_said or found.few):
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
    for number, facts in sessions.items():
        said += _doubts_within(number, facts)
    far = {number: facts for number, facts in sessions.items() if facts.n_outliers > OUTLIERS_DOUBTFUL * len(facts.std)}
    if far:
        listed = ", ".join(f"{number} ({facts.n_outliers} voxels)" for number, facts in far.items())
        said.append(
            f"Single betas lie more than {OUTLIER_DOUBTFUL:g} times as far from their voxel's median as usual: session {listed}."
        )
    return said


def _doubts_within(number: int, facts: SessionFacts) -> list[str]:
    said = []
    if facts.emptied > EMPTIED_DOUBTFUL:
        said.append(
            f"Some trials of session {number} have one value in {facts.emptied:.0%} more of the voxels than others: are they "
            "complete?"
        )
    if facts.sizes > SIZES_DOUBTFUL:
        said.append(
            f"Some trials of session {number} vary {facts.sizes:.2g} times as much as all others: are they in the same unit?"
        )
    return said


def _doubts_beside(number: int, found: Comparison, others: str) -> list[str]:
    said = []
    if not 1 / SPREAD_DOUBTFUL <= found.spread <= SPREAD_DOUBTFUL:
        said.append(
            f"Betas of session {number} vary {found.spread:.2g} times as much as in {others}: is the unit the same?"
        )
    elif found.differing > UNITS_DOUBTFUL:
        said.append(
            f"In session {number}, {found.differing:.0%} of the voxels vary {SPREAD_HOPELESS:g} times as much as in {others}, or "
            "as little."
        )
    if found.offset > OFFSET_DOUBTFUL:
        said.append(
            f"Betas of session {number} lie {found.offset:.1f} standard deviations away from those of {others} (median over "
            "voxels); responses.normalisation: session takes that out."
        )
    return said
