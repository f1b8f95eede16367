"""Steps of a study: each has a record in the study's folder, as the steps of a run have; finished ones are not computed again."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from braindiffuser.errors import RunError
from braindiffuser.files import LOCK
from braindiffuser.machine import versions
from braindiffuser.plain_data import hash_json
from braindiffuser.run_folder import join_names
from braindiffuser.store.draft import Draft
from braindiffuser.store.results import Store

KIND = "study"
"""Entry of the manifest by which a study's folder is recognised."""
TOPS = (
    "scores.json",
    "per_image.csv",
    "index.html",
    "tables",
    "figures",
    "permutations",
    "subject-average",
    "manifest.json",
    "steps",
)
"""What a study writes in its folder."""
NOTES = ("unfinished", "written.json", LOCK)
"""What is written beside it while steps are computed."""
WRITTEN_TO = (
    "tables",
    "figures",
    "permutations",
    "subject-average",
    "steps",
    "unfinished",
    "arrays",
    "reconstructions",
)
"""Folders that steps write to, in that of a study, of averaged subjects or of a reproduction."""


def check_study_folder(folder: Path, runs: Collection[Path] = ()) -> None:
    """Check that a study may write to a folder: it is new, holds nothing of the names that are written, or holds a study.

    Args:
        folder: of the study.
        runs: folders of its members, which it must not lie in.

    Raises:
        RunError: it is a file, a run's own folder or in one, or holds files of the names that are written but no study.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file: name a folder for the study")
    real = Path(os.path.realpath(folder))
    for run in runs:
        place = Path(os.path.realpath(run))
        if place == real or place in real.parents:
            raise RunError(f"{folder} lies in the run {run}: name another folder for the study")
    links = [name for name in (*TOPS, *NOTES) if (folder / name).is_symlink()]
    if links:
        raise RunError(f"{folder / links[0]} is a link, and a study writes only into its own folder: remove the link")
    manifest = Store(folder).manifest
    if manifest and "kind" not in manifest:
        raise RunError(f"{folder} holds a run: name another folder for the study")
    if manifest.get("kind") == KIND:
        return
    foreign = sorted(name for name in TOPS if (folder / name).exists())
    if foreign and not is_begun(folder):
        raise RunError(
            f"{folder} holds {join_names(foreign)}, but no study: name another folder, or move {folder / foreign[0]} away"
        )


def is_begun(folder: Path) -> bool:
    """Return whether a folder holds a study whose manifest is lost: the records of its steps are there."""
    store = Store(folder)
    return any(store.record(step) for step in store.steps() if step.startswith(("page", "permutations.")))


def check_links(folder: Path) -> None:
    """Check that no folder that steps write to, in that of a study or in that of several, is a link, at whatever depth.

    Raises:
        RunError: naming the first that is one.
    """
    for name in WRITTEN_TO:
        for parent, folders, _ in os.walk(folder / name):
            place = next(
                (path for path in (Path(parent), *(Path(parent) / own for own in folders)) if path.is_symlink()), None
            )
            if place is not None:
                raise RunError(f"{place} is a link, and only {folder} itself is written to: remove the link")


class Steps:
    """Computes steps into a folder, each once.

    Attributes:
        store: of the folder.
    """

    def __init__(self, folder: Path, overwrite: bool = False, before: Callable[[], None] | None = None) -> None:
        """Open a folder, and finish what a kill interrupted.

        Args:
            folder: of the study, or a folder in it; made if it does not exist.
            overwrite: recompute steps that were made of other inputs; else they raise.
            before: called before results are put in their place; raises if they must not be.

        Raises:
            RunError: what is written to is a link out of the folder.
        """
        folder.mkdir(parents=True, exist_ok=True)
        check_links(folder)
        self.store, self._overwrite, self._before = Store(folder), overwrite, before
        self.store.remove_leftovers()
        self.store.finish_publishing()

    def finish(
        self,
        step: str,
        inputs: Mapping[str, Any],
        compute: Callable[[Draft], None],
        renewed_by: Collection[str] = (),
    ) -> Mapping[str, Any]:
        """Compute a step unless it is finished, and return its record.

        Args:
            step: its name.
            inputs: all that it depends on, as JSON holds it.
            compute: writes its files into a draft; after a kill it is called again with what is there.
            renewed_by: inputs whose change recomputes the step without --overwrite, such as scoring networks that have come.

        Raises:
            RunError: the step was made of other inputs, and may not be overwritten.
        """
        key, record = hash_json([step, dict(inputs)]), self.store.record(step)
        if record is not None and record["key"] == key:
            if not self.store.damaged_files(step):
                return record
        elif record is not None and not self._overwrite:
            before = record["settings"]
            changed = [name for name in {**before, **inputs} if before.get(name) != inputs.get(name)]
            if not set(changed) <= set(renewed_by):
                raise RunError(
                    f"{self.store.folder} holds {step}, made of other inputs (other {join_names(changed)}): choose another "
                    "folder, or recompute what changed with --overwrite"
                )
        draft = self.store.draft(step, key, adopt=record is not None and record["key"] == key)
        compute(draft)
        if self._before is not None:
            self._before()
        facts = {
            "uid": key,
            "key": key,
            "settings": dict(inputs),
            "contents": {},
            "needs": {},
            "available": [],
            "versions": versions(),
            "finished": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        self.store.publish(step, draft, facts)
        found = self.store.record(step)
        assert found is not None  # noqa: S101  it was written just now
        return found

    def others(self, steps: Collection[str]) -> list[str]:
        """Return the steps that have a record and are none of these."""
        return [name for name in self.store.steps() if name not in steps]
