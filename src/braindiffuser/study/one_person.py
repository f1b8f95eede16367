"""Whether two runs are of one person, whom a study would count twice: by betas, not by names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from zipfile import BadZipFile

from braindiffuser.datasets.equal_trials import share_trials
from braindiffuser.datasets.equal_voxels import VoxelKeys, share_voxels
from braindiffuser.datasets.session_facts import STORED, SessionFacts, from_arrays
from braindiffuser.stages.prepare import PLACES, SUMS, VOXELS

if TYPE_CHECKING:
    from braindiffuser.store.results import Results

Answer: TypeAlias = Literal["one", "one by name", "two", "perhaps one"]
"""one by name: as long as they have no two names; perhaps one: nothing tells."""


@dataclass(frozen=True, eq=False)
class Betas:
    """What is known of the betas of a run.

    Attributes:
        subject: name of the subject, "" if it has none.
        files: hashes of the files that betas were read from.
        responses: hashes of the responses' files; "" if there are none.
        sessions: what is told of each session; empty if it is not known any more.
        places: hash of where its voxels lie; "" if it is not known.
    """

    subject: str
    files: frozenset[str]
    responses: str = ""
    sessions: Mapping[int, SessionFacts] = field(default_factory=dict)
    places: str = ""

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
        places = str(results.read_json(VOXELS).get(PLACES, "")) if (results.folder / VOXELS).is_file() else ""
        return cls(subject, files, json.dumps(responses) if responses else "", sessions, places)

    @property
    def n_voxels(self) -> int:
        """Voxels of its sessions; 0 if they are not known."""
        return next((len(facts.mean) for facts in self.sessions.values()), 0)

    @cached_property
    def voxel_keys(self) -> VoxelKeys:
        """What tells its voxels apart."""
        return VoxelKeys.of(self.sessions.values())


def same_person(one: Betas, other: Betas) -> Answer:
    """Return whether the betas of two runs are one person's.

    They are if they share betas or have equal responses: whatever sessions and voxels were read, under whatever name. A file that
    both were read from is one person's if the name is the same or not given. Under two names it is two people's where trials of
    the same sessions and voxels tell them apart. Else it is left open.
    """
    if one.responses and one.responses == other.responses:
        return "one"
    shared = share_betas(one, other)
    if shared:
        return "one"
    if not one.files & other.files:
        return "two"
    if not (one.subject and other.subject) or one.subject == other.subject:
        return "one by name"
    same_voxels, same_sessions = one.places == other.places != "", one.sessions.keys() & other.sessions.keys()
    return "two" if shared is False and same_voxels and same_sessions else "perhaps one"


def share_betas(one: Betas, other: Betas) -> bool | None:
    """Return whether a trial of both has equal betas, or whether voxels of both are equal over a session.

    Returns:
        None where neither tells: numbers of voxels differ, or trials are alike by chance, and no voxels are known to be equal.
    """
    comparable = one.n_voxels == other.n_voxels > 0
    trials = ([facts.trials for facts in own.sessions.values()] for own in (one, other))
    shared = share_trials(*trials) if comparable else None
    return shared or share_voxels(one.voxel_keys, other.voxel_keys) or shared
