"""Hashes by which a run recognises its recording.

A hash is kept in the run's folder with the file's size and times, so a file is read again only where these differ, and a
recording that was moved or copied is recognised.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from braindiffuser.datasets.dataset import ROLES
from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.files import FileState, as_states, state_of
from braindiffuser.progress import Progress
from braindiffuser.store.checked_json import read_checked, write_checked
from braindiffuser.store.results import Store

RECORDING = "recording.json"
NAMES_OF = "names of "
"""Prefix of a role of which a step depends on the names of files alone."""
NAMES_SHOWN = 3
"""Files of a role that messages name."""

Digests: TypeAlias = dict[str, str]
"""Name of a file → SHA-256 of its content; empty where only the name counts."""
Written: TypeAlias = dict[str, dict[str, tuple[int, int]]]
"""Role → name of a file → its size and the time of the last change of its content, in nanoseconds."""


class RecordingHashes:
    """A recording's files by role, with hashes."""

    def __init__(
        self,
        store: Store,
        files: Mapping[str, Mapping[str, Path]],
        progress: Progress,
        keep: bool = True,
        others: Sequence[tuple[Store, Mapping[str, Mapping[str, Path]]]] = (),
    ) -> None:
        """Load stored hashes; no file is read yet.

        Args:
            store: of the run.
            files: role → name → path, as `Dataset.files` lists them.
            progress: called as progress(label, files_done, n_files) while files are hashed.
            keep: whether new hashes are kept in the run's folder.
            others: further runs with the files that they read: what they know of a role is known here too, if its files are the
                same ones, not others of the same names.

        Raises:
            RunError: if a role is unknown.
        """
        unknown = sorted(files.keys() - set(ROLES))
        if unknown:
            raise RunError(f"the dataset lists files of the role {unknown[0]}; known roles: {', '.join(ROLES)}")
        self._store, self.files, self._progress, self._keep = store, files, progress, keep
        self._kept = _read_known(store)
        self._known = {role: states for other, own in others for role, states in _read_known(other).items()
                       if role in files and _are_same(own.get(role, {}), files[role])} | self._kept  # fmt: skip

    def gone(self) -> list[str]:
        """Return the roles whose files were read before and are all missing now."""
        return [role for role, states in self._known.items() if states and not self.files.get(role)]

    def take(self, role: str, names: Iterable[str] | None = None) -> None:
        """Hash the files of a role, or only `names`; unchanged size and times keep the known hash."""
        paths, known = self.files.get(role, {}), self._known.setdefault(role, {})
        wanted = [name for name in (paths if names is None else names) if name in paths]
        found = dict(known)
        for done, name in enumerate(wanted):
            state = state_of(paths[name], known.get(name))
            if state != known.get(name):
                self._progress(f"checking {role}", done + 1, len(wanted))
            found[name] = state
        self._known[role] = found
        if self._keep and found != self._kept.get(role, {}):
            self._kept[role] = found
            write_checked(self._store.folder / RECORDING, self._kept)

    def digests(self, role: str) -> Digests:
        """Return the hashes of all files of a role."""
        self.take(role)
        return {name: self._known[role][name].sha256 for name in self.files.get(role, {})}

    def digests_of(self, role: str, names: Iterable[str]) -> Digests:
        """Return the hashes of some files of a role."""
        chosen = list(names)
        self.take(role, chosen)
        return {name: self._known[role][name].sha256 for name in chosen if name in self.files.get(role, {})}

    def names(self, role: str) -> Digests:
        """Return the names of a role's files, without hashes."""
        return dict.fromkeys(self.files.get(role, {}), "")

    def sizes(self, role: str) -> dict[str, int]:
        """Return the sizes of a role's files, without reading them."""
        return {name: path.stat().st_size for name, path in self.files.get(role, {}).items()}

    def written(self, roles: Iterable[str]) -> Written:
        """Return size and time of the last change of each file of some roles, without reading it; none of files that are gone."""
        return when_written({role: self.files.get(role, {}) for role in roles})


def _are_same(one: Mapping[str, Path], other: Mapping[str, Path]) -> bool:
    """Return whether names stand for the same files, by whatever path they are reached."""
    return one.keys() == other.keys() and all(
        path == other[name] or os.path.realpath(path) == os.path.realpath(other[name]) for name, path in one.items()
    )


def when_written(files: Mapping[str, Mapping[str, Path]]) -> Written:
    """Return size and time of the last change of each file, without reading it; none of files that are gone."""
    found: Written = {role: {} for role in files}
    for role, named in files.items():
        for name, path in named.items():
            with suppress(FileNotFoundError):
                facts = path.stat()
                found[role][name] = facts.st_size, facts.st_mtime_ns
    return found


def recording_files(experiment: Experiment) -> dict[str, dict[str, Path]]:
    """Return the files that a recording and its split are read from: role → name → path."""
    files = {role: dict(named) for role, named in experiment.dataset.all_files().items()}
    split = experiment.split
    of_others = experiment.dataset.files_of_others() if split.reads_other_subjects else {}
    listed = {f"split/{name}": path for name, path in {**split.files(), **of_others}.items() if path.is_file()}
    return files | ({"design": files.get("design", {}) | listed} if listed else {})


def _read_known(store: Store) -> dict[str, dict[str, FileState]]:
    """Load stored hashes; if damaged, none."""
    try:
        return {role: as_states(states) for role, states in (read_checked(store.folder / RECORDING) or {}).items()}
    except (RunError, TypeError, AttributeError):
        return {}


def differences(recorded: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]) -> list[str]:
    """List files that differ from the record: "betas: nsddata_betas/… was changed".

    A missing file counts only if others of its role remain: deleting all betas keeps results valid.
    """
    said: list[str] = []
    for key, digests in now.items():
        before, role = recorded.get(key, {}), key.removeprefix(NAMES_OF)
        said += _listed(role, [name for name in before if digests and name not in digests], "is gone", "are gone")
        said += _listed(role, [name for name in digests if name not in before], "is new", "are new")
        changed = [name for name, digest in digests.items() if before.get(name, digest) != digest]
        said += _listed(role, changed, "was changed", "were changed")
    return said


def _listed(role: str, names: Sequence[str], one: str, several: str) -> list[str]:
    """Say of files what happened to them, by the first names and how many more there are."""
    if not names:
        return []
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return [f"{role}: {', '.join(names[:NAMES_SHOWN])}{more} {one if len(names) == 1 else several}"]
