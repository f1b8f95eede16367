"""Trials that have equal betas: copies, repeats without noise, or responses to classes."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt8

from braindiffuser.arrays import Betas
from braindiffuser.errors import RecordingError

COPIED = 6
"""Voxels in which two equal trials must have a value other than 0 that no third one has: silent trials may all be equal."""
BY_CHANCE = 1e-6
"""A pattern that chance makes more often than this is not refused."""
CLASSES = 0.1
"""Betas are taken for responses to classes where two patterns or more belong to three stimuli or more each, and together to more
than this share of a session's trials."""
VOXELS_COUNTED = 1000
"""Chance and single values are counted in 1,000 to 1,999 voxels where there are more, which saves time."""
BYTES = 16
"""Length of a trial's digest."""


class TrialFacts(NamedTuple):
    """What tells the trials of a session apart.

    Attributes:
        stimulus_ids: what each trial showed.
        digests: first BYTES of the SHA-256 of each trial's betas.
        telling: True where COPIED voxels or more have a value other than 0 that no different trial of the session has.
        chance: how often two different trials would be equal in every voxel, as in `chance_of_equal_trials`.
    """

    stimulus_ids: Int[np.ndarray, " n_trials"]
    digests: UInt8[np.ndarray, "n_trials bytes"]
    telling: Bool[np.ndarray, " n_trials"]
    chance: float

    @classmethod
    def of(cls, betas: Betas, stimulus_ids: Int[np.ndarray, " n_trials"]) -> TrialFacts:
        """Describe trials by their betas, (n_trials, n_voxels), and what they showed."""
        raw = b"".join(hashlib.sha256(row.data).digest()[:BYTES] for row in np.ascontiguousarray(betas))
        digests = np.frombuffer(raw, np.uint8).reshape(len(betas), BYTES)
        _, first, place = np.unique(digests, axis=0, return_index=True, return_inverse=True)
        different = betas[first, :: max(1, betas.shape[1] // VOXELS_COUNTED)]
        telling = n_single_values(different) >= COPIED
        return cls(np.asarray(stimulus_ids), digests, telling[place.ravel()], chance_of_equal_trials(different))

    def keys(self) -> list[bytes]:
        """Return digests as keys."""
        return [row.tobytes() for row in self.digests]


def n_single_values(betas: Betas) -> Int[np.ndarray, " n_trials"]:
    """Count, for each trial, the voxels that are not 0 and whose value no other trial has."""
    order = np.argsort(betas, axis=0)
    ascending = np.take_along_axis(betas, order, axis=0)
    differs = np.ones((len(betas) + 1, betas.shape[1]), bool)
    differs[1:-1] = ascending[1:] != ascending[:-1]
    single = np.empty(betas.shape, bool)
    np.put_along_axis(single, order, differs[1:] & differs[:-1], axis=0)
    counts: Int[np.ndarray, " n_trials"] = np.count_nonzero(single & (betas != 0), axis=1)
    return counts


def chance_of_equal_trials(betas: Betas) -> float:
    """Π_v Σ_x p_v(x)², where p_v(x) is how often voxel v has the value x: how often two trials are equal in every voxel."""
    counts = (np.unique(column, return_counts=True)[1] for column in betas.T)
    return float(np.prod([((count / len(betas)) ** 2).sum() for count in counts]))


class EqualPair(NamedTuple):
    """Two trials with equal betas.

    Attributes:
        trial: of the session, counted from 0.
        session: that of the other trial; None: the same one.
        other: the other trial, counted from 0.
    """

    trial: int
    session: int | None
    other: int


class EqualTrials(NamedTuple):
    """Trials of a session whose betas another trial has too, of the session or an earlier one; chance does not make them so.

    Attributes:
        repeats: equal to trials of the same stimulus alone.
        others: equal to trials of other stimuli.
        are_classes: whether `others` look like responses to classes (CLASSES), so are no copies.
    """

    repeats: list[EqualPair]
    others: list[EqualPair]
    are_classes: bool


def find_equal(own: TrialFacts, earlier: Mapping[int, TrialFacts]) -> EqualTrials:
    """Find the trials of a session whose betas another one has, in it or in earlier sessions."""
    known = set(own.keys())
    places: dict[bytes, list[tuple[int, EqualPair]]] = defaultdict(list)
    for session, facts in ((None, own), *earlier.items()):
        for trial, key in enumerate(facts.keys()):
            if key in known:
                places[key].append((int(facts.stimulus_ids[trial]), EqualPair(-1, session, trial)))
    n_stimuli = {key: len({stimulus for stimulus, _ in found}) for key, found in places.items()}
    of_classes = [key for key in own.keys() if n_stimuli[key] > 2]  # noqa: SIM118  a method, no dict
    pairs: dict[bool, list[EqualPair]] = {True: [], False: []}
    for trial, key in enumerate(own.keys()):
        stimulus = int(own.stimulus_ids[trial])
        partners = list(_partners(trial, places[key], own, earlier))
        other = next((pair for shown, pair in partners if shown != stimulus), None)
        if other is not None:
            pairs[False].append(other)
        elif partners:
            pairs[True].append(partners[0][1])
    are_classes = len(set(of_classes)) > 1 and len(of_classes) > CLASSES * len(own.digests)
    return EqualTrials(pairs[True], pairs[False], are_classes)


def _partners(
    trial: int, found: list[tuple[int, EqualPair]], own: TrialFacts, earlier: Mapping[int, TrialFacts]
) -> Iterator[tuple[int, EqualPair]]:
    """Yield stimulus and place of the trials before it that are equal to a trial, unless by chance."""
    n_trials = len(own.digests)
    if not own.telling[trial]:
        return
    for stimulus, (_, session, other) in found:
        facts = own if session is None else earlier[session]
        n_pairs = n_trials * ((n_trials - 1) / 2 if session is None else len(facts.digests))
        is_before = session is not None or other < trial
        if is_before and facts.telling[other] and n_pairs * max(own.chance, facts.chance) <= BY_CHANCE:
            yield stimulus, EqualPair(trial, session, other)


def share_trials(one: Iterable[TrialFacts], other: Iterable[TrialFacts]) -> bool | None:
    """Return whether a trial of one recording has the betas of a trial of another, such as of one person read twice.

    Args:
        one: sessions of a recording.
        other: sessions of another, of the same number of voxels.

    Returns:
        None where trials cannot tell: one of the two has none that is telling, or chance makes equal trials.
    """
    sides = list(one), list(other)
    keys = [
        {key for facts in side for key, tells in zip(facts.keys(), facts.telling, strict=True) if tells}
        for side in sides
    ]
    n_pairs = sum(len(facts.digests) for facts in sides[0]) * sum(len(facts.digests) for facts in sides[1])
    chance = max((facts.chance for side in sides for facts in side), default=1.0)
    if not all(keys) or n_pairs * chance > BY_CHANCE:
        return None
    return bool(keys[0] & keys[1])


def check_copies(own: TrialFacts, earlier: Mapping[int, TrialFacts]) -> None:
    """Refuse equal betas of different stimuli, in a session or in two, unless they are responses to classes.

    Raises:
        RecordingError: names the trials and the other session.
    """
    found = find_equal(own, earlier)
    if not found.others or found.are_classes:
        return
    session, n_trials = found.others[0].session, len(own.digests)
    copies = [pair for pair in found.others if pair.session == session]
    trial, _, other = copies[0]
    if session is None:
        more = f" ({len(copies)} such pairs in all)" if len(copies) > 1 else ""
        raise RecordingError(
            f"trials {other} and {trial}, counted from 0, have equal betas in every voxel, but show different stimuli{more}: one "
            "is a copy"
        )
    if len(copies) == n_trials:
        raise RecordingError(
            f"its betas are those of session {session}, perhaps in another order: one of them is a copy"
        )
    raise RecordingError(
        f"{len(copies)} of {n_trials} trials have the betas of trials of session {session} that show other stimuli (first: trial "
        f"{trial}, counted from 0, and trial {other} of session {session}): one of them is a copy"
    )


def equal_doubts(sessions: Mapping[int, TrialFacts]) -> list[str]:
    """Say which trials have equal betas, of the same stimuli or of classes."""
    repeats, classes = {}, {}
    for number, own in sessions.items():
        found = find_equal(own, {key: facts for key, facts in sessions.items() if key < number})
        repeats[number], classes[number] = found.repeats, found.others
    kinds = (
        (repeats, "the same stimulus", "was one copied, or is there no noise"),
        (classes, "other stimuli", "are they responses to classes, or copies"),
    )
    return [
        f"Some trials have the betas of trials of {of} ({_listed(pairs, sessions)}): {question}?"
        for pairs, of, question in kinds
        if any(pairs.values())
    ]


def _listed(pairs: Mapping[int, list[EqualPair]], sessions: Mapping[int, TrialFacts]) -> str:
    """List sessions with their numbers of equal trials, and the first pair."""
    counts = [
        f"session {number}: {len(own)} of {len(sessions[number].digests)}" for number, own in pairs.items() if own
    ]
    number, first = next((number, own[0]) for number, own in pairs.items() if own)
    place = number if first.session is None else first.session
    more = f", and {len(counts) - 5} more sessions" if len(counts) > 5 else ""
    return (
        f"{', '.join(counts[:5])}{more}; first: trial {first.trial} of session {number} and trial {first.other} of session "
        f"{place}, counted from 0"
    )
