"""How results of steps come into a run's folder: begun, resumed, taken from another run, published, refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from braindiffuser.errors import RunError, command_line
from braindiffuser.files import as_states
from braindiffuser.machine import versions
from braindiffuser.plain_data import hash_json
from braindiffuser.progress import Progress
from braindiffuser.recording_hashes import RecordingHashes, Written
from braindiffuser.run_folder import join_names
from braindiffuser.stages import Step, all_steps, changed_while
from braindiffuser.step_states import StepStates
from braindiffuser.store.draft import Draft
from braindiffuser.store.results import Store


class StepResults:
    """Writes results of steps; nothing counts that was made from inputs that changed meanwhile."""

    def __init__(
        self,
        states: StepStates,
        store: Store,
        hashes: RecordingHashes,
        siblings: Sequence[Store],
        progress: Progress,
    ) -> None:
        """Remember where results go.

        Args:
            states: of the steps.
            store: of the run.
            hashes: of the recording's files.
            siblings: further runs, from which steps are taken that they made from the same.
            progress: called as progress(label, 1, 1) with what happens.
        """
        self._states, self._store, self._hashes = states, store, hashes
        self._siblings, self._progress = siblings, progress
        self._when_opened: Written | None = None
        """The recording's files when it was opened; None: it was not yet."""

    def note_opening(self) -> None:
        """Note how the recording's files are, which is about to be opened."""
        self._when_opened = self._hashes.written(self._hashes.files)

    def draft(self, step: Step) -> Draft:
        """Open the draft of a step: nothing of it counts that was made after what the step reads was changed.

        Raises:
            RunError: a file that it reads was changed since the recording was opened, which may hold what was in it.
        """
        key = self._states.draft_key(step)
        if self._when_opened is not None:
            now = self._hashes.written(self._states.roles_of(step))
            if any(self._when_opened.get(role, {}) != files for role, files in now.items()):
                raise RunError(
                    f"files that {step} reads were changed since the recording was opened: run the same command again (in "
                    "Python: Run.open)"
                )
        return self._store.draft(
            str(step),
            key,
            adopt=self._states.state(step) == "damaged",
            is_as_before=lambda: self._states.draft_key(step) == key,
            changed=changed_while(step),
        )

    def announce_repair(self, step: Step) -> None:
        """Report damaged files to be recomputed, and forget what may have been made from them; raise if their inputs are gone."""
        changes = self._store.damaged_files(str(step))
        gone = self._states.gone(step)
        name, change = next(iter(changes.items()))
        if gone:
            raise RunError(
                f"{name} {change}, and {step} cannot be made again: the {join_names(gone)} it was made from are gone"
            )
        others = f", and {len(changes) - 1} others" if len(changes) > 1 else ""
        self._progress(f"recomputing damaged files of {step}: {name} {change}{others}", 1, 1)
        self._forget_unfinished(step)

    def take_over(self, step: Step) -> bool:
        """Take a step from a sibling that finished it from the same settings and inputs; return whether there was one.

        A page is never taken: it tells when and where its run was made.
        """
        if step.stage == "report":
            return False
        key, uid = self._states.draft_key(step), _uid_of(step, self._states.inputs(step))
        for sibling in self._siblings:
            record = sibling.record(str(step))
            if record is None or record["key"] != key or record["uid"] != uid:
                continue
            files = as_states(record["files"])
            draft = self.draft(step)
            if draft.files:  # of a computation that was interrupted, perhaps by other versions
                draft.clear()
            draft.adopt(sibling.folder, files)
            if files.keys() <= draft.files.keys():
                made = {name: record[name] for name in ("versions", "finished")}
                self.publish(step, draft, {**made, "taken_from": sibling.folder.as_posix()})
                self._progress(f"{step}: taken from {sibling.folder} (same settings and inputs)", 1, 1)
                return True
        return False

    def publish(self, step: Step, draft: Draft, made: Mapping[str, Any] | None = None) -> None:
        """Put a complete step in its place.

        Args:
            step: that is complete.
            draft: of it.
            made: by which versions and when it was, and where; None: by these, now, here.
        """
        inputs = self._states.inputs(step)  # looked up first: what changes later is stale when the run is opened again
        draft.refuse_changes()
        self.refuse_damaged_inputs(step)
        facts = {
            "uid": _uid_of(step, inputs),
            "key": draft.key,
            **inputs,
            **(made or {"versions": versions(), "finished": time_now()}),
        }
        self._store.publish(str(step), draft, facts)

    def refuse_damaged_inputs(self, step: Step) -> None:
        """Raise if results that a step was made from are not as they were: what was read of them may have been something else."""
        for need in self._states.needs_of(step):
            for name, change in self._store.damaged_files(str(need)).items():
                self._forget_unfinished(need)
                raise RunError(
                    f"{name} {change}, and {step} was being made from it: "
                    f"{command_line('run', '--out', self._store.folder)} makes both again"
                )

    def _forget_unfinished(self, need: Step) -> None:
        """Delete what is unfinished of all steps that need a step whose files were damaged, since they may have read these.

        Steps that this experiment does not have, such as a curve that was added to the run, may need it too.
        """
        known = {str(step): step for step in all_steps(self._states.experiment)}
        for name in self._store.unfinished():
            if name not in known or need in self._states.needs_of(known[name]):
                self._store.discard_draft(name)


def _uid_of(step: Step, inputs: Mapping[str, Any]) -> str:
    return hash_json([str(step), inputs])


def time_now() -> str:
    """Return this time, as records hold it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
