"""State of each step: recorded against present inputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from braindiffuser.errors import RunError, reason
from braindiffuser.experiment import Experiment
from braindiffuser.files import FileState
from braindiffuser.networks.checkpoint_folders import hash_checkpoint
from braindiffuser.plain_data import hash_json
from braindiffuser.recording_hashes import NAMES_OF, RecordingHashes, differences
from braindiffuser.stages import Step, stages
from braindiffuser.store.results import Store

State = Literal["finished", "damaged", "stale", "unfinished"]
"""finished: inputs unchanged, files intact. damaged: inputs unchanged, a file changed. stale: inputs changed. unfinished: no
result, or to be recomputed."""


class StepStates:
    """Compares the records of steps with an experiment, its checkpoints and its recording."""

    def __init__(
        self,
        experiment: Experiment,
        store: Store,
        hashes: RecordingHashes,
        checkpoint_files: dict[Path, FileState] | None = None,
    ) -> None:
        """Remember what is compared.

        Args:
            experiment: as it is now.
            store: of the run, which holds the records.
            hashes: of the recording's files.
            checkpoint_files: cache of the states of checkpoints' files, extended in place; None: its own.
        """
        self.experiment = experiment
        self._store = store
        self._hashes = hashes
        self._checkpoint_files = {} if checkpoint_files is None else checkpoint_files

    # What a step is made from

    def inputs(self, step: Step) -> dict[str, Any]:
        """Return all that a step's result depends on.

        Returns:
            "settings": entries of the experiment and hashes of checkpoints; "contents": hashes of the recording's files by
            role; "needs": uids of the steps that it needs; "available": optional resources used (scoring networks).
        """
        return self._inputs(step, self._hashes.digests)

    def draft_key(self, step: Step) -> str:
        """Hash `inputs`, with betas by size: their hashes are known only after reading."""
        sized = stages()[step.stage].roles_while_reading
        return hash_json(
            self._inputs(step, lambda role: (self._hashes.sizes if role in sized else self._hashes.digests)(role))
        )

    def _inputs(self, step: Step, known_by: Callable[[str], Mapping[str, Any]]) -> dict[str, Any]:
        return {
            "settings": self.settings(step),
            "contents": self._contents_of(step, known_by),
            "needs": {str(need): self._uid(need) for need in self.needs_of(step)},
            "available": list(self._available(step)),
        }

    def influences(self, step: Step) -> dict[str, Any]:
        """Return the entries that a step depends on.

        Raises:
            RunError: if JSON cannot hold them.
        """
        entries = dict(stages()[step.stage].influences(self.experiment, step.unit))
        try:
            json.dumps(entries, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise RunError(
                f"what {step} depends on cannot be written as JSON ({reason(error)}): influences() of a part must return finite "
                "numbers, text, lists and mappings by text alone"
            ) from error
        return entries

    def settings(self, step: Step) -> dict[str, Any]:
        """Return a step's entries and the hashes of its checkpoints."""
        stage = stages()[step.stage]
        folders = stage.checkpoints(self.experiment, step.unit)
        return {
            **self.influences(step),
            **{name: self._hash_checkpoint(folder) for name, folder in folders.items()},
        }

    def needs_of(self, step: Step) -> tuple[Step, ...]:
        """Return the steps whose results a step needs."""
        return stages()[step.stage].needs_of(self.experiment, step.unit)

    def roles_of(self, step: Step) -> tuple[str, ...]:
        """Return the roles of the recording's files whose contents a step depends on."""
        return stages()[step.stage].roles(self.experiment, step.unit)

    def _contents_of(self, step: Step, known_by: Callable[[str], Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        """Return the recording's files that a step depends on: role → file → hash or size."""
        stage = stages()[step.stage]
        names = stage.roles_by_name(self.experiment, step.unit)
        return {
            **{f"{NAMES_OF}{role}": self._hashes.names(role) for role in names},
            **{role: known_by(role) for role in self.roles_of(step)},
        }

    def _available(self, step: Step) -> tuple[str, ...]:
        return stages()[step.stage].available(self.experiment, step.unit)

    def _hash_checkpoint(self, folder: Path) -> str:
        return hash_checkpoint(folder, self._checkpoint_files)

    def _uid(self, step: Step) -> str | None:
        record = self._store.record(str(step))
        return None if record is None else str(record["uid"])

    # Whether it still is

    def state(self, step: Step) -> State:
        """Return the step's state."""
        record, current = self._store.record(str(step)), self._is_current(step, {})
        if record is None or current is None:
            return "unfinished"
        if not current:
            return "unfinished" if record.get("replaced_for") == self.consent_key(step) else "stale"
        if self._store.damaged_files(str(step)):
            return "damaged"
        come = set(self._available(step)) - set(record["available"])
        return "unfinished" if come else "finished"

    def consent_key(self, step: Step) -> str:
        """Hash present settings and files.

        --overwrite stores it in the record, so permission to replace a result holds for these only.
        """
        return hash_json([self.settings(step), self._contents_of(step, self._hashes.digests)])

    def reasons(self, step: Step) -> list[str]:
        """List the settings and files that changed since a step was made; empty if it was never made."""
        record = self._store.record(str(step))
        if record is None:
            return []
        before, now = flatten(record["settings"]), flatten(json.loads(json.dumps(self.settings(step))))
        changed = [
            f"{name} was {entry_text(before.get(name, 'absent'))}, now {entry_text(now.get(name, 'absent'))}"
            for name in dict.fromkeys([*before, *now])
            if before.get(name) != now.get(name)
        ]
        return changed + differences(record["contents"], self._contents_of(step, self._hashes.digests))

    def explain(self, step: Step) -> list[str]:
        """List why a step is stale: its own changes, else changed needed steps."""
        own, record = self.reasons(step), self._store.record(str(step))
        if own or record is None:
            return own
        now = {str(need): self._uid(need) for need in self.needs_of(step)}
        names = dict.fromkeys([*record["needs"], *now])
        return [
            f"{step} was computed from an earlier {name}"
            for name in names
            if record["needs"].get(name) != now.get(name)
        ]

    def tells_of_others(self, step: Step) -> bool:
        """Return whether a step was made of more or fewer steps than it needs now, and otherwise of the same."""
        recorded = (self._store.record(str(step)) or {}).get("needs", {})
        now = {str(need): self._uid(need) for need in self.needs_of(step)}
        both = recorded.keys() & now.keys()
        return recorded.keys() != now.keys() and all(recorded[name] == now[name] for name in both)

    def refuse_stale(self, steps: Sequence[Step], overwrite: bool = False) -> list[Step]:
        """Return which of a run's steps are stale; raise if they may not be replaced.

        A page always may that has another name, or tells of more or fewer steps than the experiment has.

        Raises:
            RunError: naming them, and what changed.
        """
        stale = [step for step in steps if self.state(step) == "stale"]
        asked = [
            step for step in stale if step.stage != "report" or not (self.reasons(step) or self.tells_of_others(step))
        ]  # another name is no reason
        if asked and not overwrite:
            why = list(dict.fromkeys(reason for step in stale for reason in self.explain(step)))
            names = list(map(str, stale))
            listed = ", ".join(names[:6]) + (" …" if len(names) > 6 else "")
            raise RunError(
                f"{self._store.folder} holds {listed} of a run with other settings or inputs ({'; '.join(why[:6])}): choose "
                "another folder, or recompute what changed with --overwrite"
            )
        return stale

    def gone(self, step: Step) -> list[str]:
        """List the roles that the step was made from and that have no file any more."""
        record = self._store.record(str(step))
        recorded = record["contents"] if record else {}
        read = dict.fromkeys(name.removeprefix(NAMES_OF) for name, files in recorded.items() if files)
        return [role for role in read if not self._hashes.files.get(role)]

    def _is_current(self, step: Step, known: dict[Step, bool | None]) -> bool | None:
        """Return whether recorded inputs equal present ones; None if a needed step is unfinished.

        Args:
            step: to be judged.
            known: cache, extended in place.
        """
        if step not in known:
            record = self._store.record(str(step))
            if record is None:
                known[step] = None
            elif self.reasons(step):
                known[step] = False
            else:
                known[step] = self._needs_are_current(step, record["needs"], known)
        return known[step]

    def _needs_are_current(
        self, step: Step, recorded: Mapping[str, str], known: dict[Step, bool | None]
    ) -> bool | None:
        needs = self.needs_of(step)
        found = [self._is_current(need, known) for need in needs]
        if not all(found):
            return False if False in found else None
        return bool(recorded == {str(need): self._uid(need) for need in needs})


def entry_text(value: object) -> str:
    """Print an entry of an experiment in a message, which an empty text would leave a gap in.

    >>> entry_text(""), entry_text("clip"), entry_text(2)
    ("''", 'clip', '2')
    """
    return str(value) or repr(value)


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested mappings into one with dotted keys.

    >>> flatten({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    flat: dict[str, Any] = {}
    for key, value in content.items():
        nested = isinstance(value, Mapping) and value
        flat |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat
