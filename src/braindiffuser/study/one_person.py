"""Whether two runs are of one person, whom a study would count twice: by betas, not by names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from zipfile import BadZipFile

from braindiffuser.datasets.equal_trials import share_trials
from braindiffuser.datasets.session_facts import STORED, SessionFacts, from_arrays
from braindiffuser.stages.prepare import SUMS

if TYPE_CHECKING:
    from braindiffuser.store.results import Results

Answer: TypeAlias = Literal["one", "one by name", "two", "perhaps one"]
"""one by name: as long as they have no two names."""


@dataclass(frozen=True, eq=False)
class Betas:
    """What is known of the betas of a run.

    Attributes:
        subject: name of the subject, "" if it has none.
        files: hashes of the files that betas were read from.
        responses: hashes of the responses' files; "" if there are none.
        sessions: what is told of each session; empty if it is not known any more.
    """

    subject: str
    files: frozenset[str]
    responses: str = ""
    sessions: Mapping[int, SessionFacts] = field(default_factory=dict)

    @classmethod
    def of_run(cls, subject: str, record: Mapping[str, Any], results: Results) -> Betas:
        """Read what a run has kept: the record of `prepare.responses`, and its partial sums if they are there and whole."""
        responses = sorted(
            [name, entry[1]] for name, entry in record["files"].items() if name.startswith("arrays/responses/")
        )
        try:
            sessions = from_arrays(results.read_bundle(SUMS, STORED)) if (results.folder / SUMS).is_file() else {}
        except (OSError, ValueError, KeyError, BadZipFile):  # damaged, or of an earlier version
            sessions = {}
        files = frozenset((record["contents"].get("betas") or {}).values()) - {""}
        return cls(subject, files, json.dumps(responses) if responses else "", sessions)

    @property
    def n_voxels(self) -> int:
        """Voxels of its sessions; 0 if they are not known."""
        return next((len(facts.mean) for facts in self.sessions.values()), 0)

    @property
    def orders(self) -> set[tuple[int, ...]]:
        """Stimuli of each session, in the order of trials."""
        return {tuple(facts.trials.stimulus_ids.tolist()) for facts in self.sessions.values()}


def same_person(one: Betas, other: Betas) -> Answer:
    """Return whether the betas of two runs are one person's.

    They are if a trial of both has equal betas, or all responses are equal: whatever sessions were read, under whatever name.
    A file that both were read from is one person's if the name is the same or not given. Under two names it is two people's
    where trials tell them apart; where they cannot (other voxels were read, or they are all alike), a session with the same
    stimuli in the same order makes it one's, and else it is left open.
    """
    if one.responses and one.responses == other.responses:
        return "one"
    comparable = one.n_voxels == other.n_voxels > 0
    shared = (
        share_trials(*([facts.trials for facts in own.sessions.values()] for own in (one, other)))
        if comparable
        else None
    )
    if shared:
        return "one"
    if not one.files & other.files:
        return "two"
    unnamed = not (one.subject and other.subject)
    if unnamed or one.subject == other.subject:
        return "one by name"
    if shared is None:
        return "one" if one.orders & other.orders else "perhaps one"
    return "two"
