"""The folder of a run: finished results, and a record of each step with the state of every file that it wrote.

    steps/extract.latents.json        what the step was made from and every file of it
    unfinished/extract.latents/       the same step while it runs: see `draft`
    written.json                      hash of what was written to each path, so that a result is recognised if its record is lost

A step's files are moved into the run's folder when all are there. Then the files of an older result that have no successor are
deleted; no other result is ever deleted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from jaxtyping import Shaped

from braindiffuser import images
from braindiffuser.arrays import Pictures
from braindiffuser.errors import RunError
from braindiffuser.files import (
    UNFINISHED,
    FileState,
    as_states,
    changed_files,
    remove_files,
    remove_leftovers,
    replacing,
    state_of,
    sync,
)
from braindiffuser.store.checked_json import CHECKSUM, read_checked, read_json, write_checked
from braindiffuser.store.draft import Draft, discard, picture_name, read_bundle

if TYPE_CHECKING:
    import pandas as pd
    import zarr

FORMAT = 5
"""Version of the folder layout, in the manifest and in every record; other versions are refused."""

MANIFEST = "manifest.json"
WRITTEN = "written.json"
"""Which content this run wrote where."""
READY = "publish.json"
"""Says that a draft is complete, and holds its record."""
STEP_NAME = r"[a-z]+(\.[\w-]+)?"
RECORDED = {
    "uid": str,
    "key": str,
    "files": dict,
    "settings": dict,
    "contents": dict,
    "needs": dict,
    "available": list,
    "versions": dict,
    "finished": str,
}
"""Entries that every record has, and their types."""


_Record: TypeAlias = tuple[dict[str, Any] | None, Mapping[str, FileState]]
"""Content of a step's record, None if there is none that is whole, and the states of the files that it lists."""


class Results:
    """Finished results of a run, for reading."""

    def __init__(self, folder: Path) -> None:
        """Point at a run's folder."""
        self.folder = Path(folder)

    def read_array(self, name: str) -> Shaped[np.ndarray, " ..."]:
        """Read a whole array.

        Raises:
            RunError: if there is none.
        """
        return np.asarray(self.open_array(name)[:])

    def has_array(self, name: str) -> bool:
        """Return whether there is an array of a name."""
        return (self.folder / "arrays" / name / "zarr.json").is_file()

    def open_array(self, name: str) -> zarr.Array[Any]:
        """Open an array that is read in parts.

        Raises:
            RunError: if there is none.
        """
        import zarr

        self._existing(f"arrays/{name}/zarr.json")
        return zarr.open_array(self.folder / "arrays" / name, mode="r")

    def picture_path(self, kind: str, number: int) -> Path:
        """Where picture `number` of a kind is."""
        return self.folder / picture_name(kind, number)

    def open_pictures(self, kind: str, numbers: int | Sequence[int]) -> images.PictureReader:
        """Open pictures of a kind; none is read yet.

        Args:
            kind: of pictures.
            numbers: of the pictures; one number n stands for 0 … n − 1.

        Raises:
            RunError: if one is missing.
        """
        wanted = range(numbers) if isinstance(numbers, int) else numbers
        for number in wanted:
            self._existing(picture_name(kind, number))
        return images.PictureReader(
            np.array(wanted, np.int64),
            lambda numbers: images.load_png([self.picture_path(kind, int(number)) for number in numbers]),
        )

    def read_pictures(self, kind: str, n: int) -> Pictures:
        """Read pictures 0 … n − 1 of a kind; raises what `open_pictures` raises."""
        return self.open_pictures(kind, n)[:]

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON file.

        Raises:
            RunError: if it is not there, or is not JSON.
        """
        return read_json(self._existing(name))

    def read_table(self, name: str) -> pd.DataFrame:
        """Read a CSV table."""
        import pandas as pd

        return pd.read_csv(self._existing(name))

    def read_bundle(self, name: str, beginning: str = "") -> dict[str, Shaped[np.ndarray, " ..."]]:
        """Read named arrays of one `.npz` file, or only those whose names begin in a way."""
        return read_bundle(self._existing(name), beginning)

    def path(self, name: str) -> Path:
        """Return the path of a file.

        Raises:
            RunError: if it is not there.
        """
        return self._existing(name)

    def _existing(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise RunError(
                f"there is no result {path}: if a run writes one of that name, the same command makes it again"
            )
        return path


class Store(Results):
    """A run's folder, for reading and writing."""

    def __init__(self, folder: Path) -> None:
        """Point at a run's folder."""
        super().__init__(folder)
        self._parsed: dict[str, tuple[tuple[int, int, int], _Record]] = {}

    def is_run(self) -> bool:
        """Return whether the folder holds a run: a manifest or a record that is whole."""
        return bool(self.manifest) or any(self.record(step) for step in self.steps())

    # Records of steps

    def record(self, step: str) -> dict[str, Any] | None:
        """Return the record of a finished step; None if it was never finished, or its record is damaged.

        Raises:
            RunError: if the record was written by another version.
        """
        content, _ = self._record(step)
        return content

    def _record(self, step: str) -> _Record:
        """Return a record and the states of its files; its file is read again only if it was replaced."""
        path = self._record_path(step)
        try:
            facts = path.stat()
        except FileNotFoundError:
            return None, {}
        version = facts.st_ino, facts.st_mtime_ns, facts.st_size
        if step not in self._parsed or self._parsed[step][0] != version:
            self._parsed[step] = version, self._parse_record(path)
        return self._parsed[step][1]

    def _parse_record(self, path: Path) -> _Record:
        content = read_checked(path)
        if content is not None:
            self._check_format(content.get("format"))
        if content is None or {entry: type(content.get(entry)) for entry in RECORDED} != RECORDED:
            return None, {}
        try:
            return content, as_states(content["files"])
        except RunError:
            return None, {}

    def _check_format(self, found: object) -> None:
        if found != FORMAT:
            raise RunError(f"{self.folder} was written by another version of braindiffuser: choose another folder")

    def _record_path(self, step: str) -> Path:
        return self.folder / "steps" / f"{step}.json"

    def steps(self) -> Iterator[str]:
        """Yield the names of all steps that have a record."""
        for path in sorted((self.folder / "steps").glob("*.json")):
            if not path.name.startswith(UNFINISHED):
                yield path.stem

    def update_record(self, step: str, **entries: Any) -> None:
        """Set entries of a step's record."""
        write_checked(self._record_path(step), (self.record(step) or {}) | entries)

    def damaged_files(self, step: str) -> dict[str, str]:
        """Return the files of a finished step that are not as they were written: name → what happened."""
        record, states = self._record(step)
        damaged = changed_files(self.folder, states)
        if record and not damaged:
            self._remember_times(step, states)
        return damaged

    def _remember_times(self, step: str, states: Mapping[str, FileState]) -> None:
        """Note new times of files that were copied or touched, so that they are not read again next time."""
        now = {name: state_of(self.folder / name, state) for name, state in states.items()}
        if now != states:
            self.update_record(step, files=now)

    # Drafts

    def draft(
        self,
        step: str,
        key: str,
        adopt: bool = False,
        is_as_before: Callable[[], bool] = lambda: True,
        changed: str = "",
    ) -> Draft:
        """Open the draft of a step.

        Args:
            step: its name.
            key: stands for the step's settings and inputs; a draft of another key is deleted first.
            adopt: start from the intact files of the finished step, which is damaged and has the same key.
            is_as_before: returns whether the step's settings and inputs still have this key; asked before a file counts.
            changed: what is said if they have not.
        """
        draft = Draft(self._draft_folder(step), key, is_as_before, changed)
        if adopt:
            draft.adopt(self.folder, self._record(step)[1])
        return draft

    def unfinished(self) -> list[str]:
        """Return the names of steps of which something unfinished is there."""
        return sorted(path.name for path in self._draft_folder("").glob("*") if path.is_dir())

    def discard_draft(self, step: str) -> None:
        """Delete what was made of an unfinished step."""
        folder = self._draft_folder(step)
        if folder.is_dir():
            Draft(folder, "discarded").remove()

    def _draft_folder(self, step: str) -> Path:
        return self.folder / "unfinished" / step

    # Publishing

    def publish(self, step: str, draft: Draft, facts: Mapping[str, Any]) -> None:
        """Put a complete draft in place of an older result, and write its record.

        A kill in between is no harm: `finish_publishing` resumes when the run is opened again.

        Args:
            step: its name.
            draft: of the step, complete.
            facts: for the record.

        Raises:
            RunError: if a file that this step did not write is in the way.
        """
        self._refuse_foreign(step, draft.files)
        self._note_written(draft.files)
        facts = {"format": FORMAT, **facts}
        write_checked(draft.folder / READY, {"facts": facts, "files": draft.files})
        self._move(step, draft.folder, facts, draft.files)

    def finish_publishing(self) -> None:
        """Finish publications that a kill interrupted; a damaged draft is not published.

        Raises:
            RunError: what `publish` raises.
        """
        for ready in sorted(self.folder.glob(f"unfinished/*/{READY}")):
            step, content = ready.parent.name, read_checked(ready) or {}
            files = as_states(content.get("files", {}), ready)
            whole = all(
                _holds(ready.parent / name, state) or _holds(self.folder / name, state) for name, state in files.items()
            )
            if not (files and whole and isinstance(content.get("facts"), dict)) or not re.fullmatch(STEP_NAME, step):
                ready.unlink()
                continue
            self._refuse_foreign(
                step, {name: state for name, state in files.items() if (ready.parent / name).is_file()}
            )
            self._move(step, ready.parent, content["facts"], files)

    def _move(self, step: str, draft: Path, facts: Mapping[str, Any], files: Mapping[str, FileState]) -> None:
        for name in files:
            source, place = draft / name, self.folder / name
            if source.is_file():
                place.parent.mkdir(parents=True, exist_ok=True)
                source.replace(place)
                source.unlink(missing_ok=True)  # replace() keeps the source if both are links to one file
        for parent in {(self.folder / name).parent for name in files}:
            sync(parent)
        self._remove_successorless(self._record(step)[1], files)
        now = {name: state_of(self.folder / name) for name in files}
        changed = [name for name, state in now.items() if not state.is_same_content(files[name])]
        if changed:
            raise RunError(
                f"{self.folder / changed[0]} was changed while it was put in its place: run the same command again"
            )
        write_checked(self._record_path(step), {**facts, "files": now})
        discard(draft, [READY, *files])

    def _remove_successorless(self, old: Mapping[str, FileState], new: Mapping[str, FileState]) -> None:
        """Delete files of an older result that the new one lacks; edited files are kept."""
        gone = {name: state for name, state in old.items() if name not in new}
        kept = changed_files(self.folder, gone)
        remove_files(self.folder, [name for name in gone if name not in kept])

    def _refuse_foreign(self, step: str, files: Mapping[str, FileState]) -> None:
        """Raise if a file in the way is neither in the step's record nor unchanged since a step of this run wrote it."""
        _, earlier = self._record(step)
        others = {name for other in self.steps() if other != step for name in self._record(other)[1]}
        written: dict[str, str] | None = None
        for name, state in files.items():
            place = self.folder / name
            absent = not (place.exists() or place.is_symlink())
            if absent or (name in earlier and not place.is_dir()) or _holds(place, state):
                continue
            written = self._written() if written is None else written
            if name in others or not place.is_file() or state_of(place).sha256 != written.get(name):
                raise RunError(
                    f"{place} was not written by {step}, which would replace it: move it, then run the same command again; "
                    "finished work is kept"
                )

    def _note_written(self, files: Mapping[str, FileState]) -> None:
        """Store which content was written where, so that a result is recognised if its record is lost."""
        write_checked(self.folder / WRITTEN, self._written() | {name: state.sha256 for name, state in files.items()})

    def _written(self) -> dict[str, str]:
        """Return name → hash of the last content that a step of this run wrote there; empty if that file is damaged."""
        return read_checked(self.folder / WRITTEN) or {}

    # Other files of the run

    def remove_leftovers(self) -> None:
        """Delete what killed processes left half written beside the records and the manifest.

        No other process may work in the folder.
        """
        for folder in (self.folder, self.folder / "steps"):
            remove_leftovers(folder, locked=True)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file, whole or not at all."""
        with replacing(self.folder / name) as beside:
            beside.write_bytes(
                text.encode("utf-8")
            )  # Windows would end lines otherwise, and the hash of the text not fit

    @property
    def manifest(self) -> dict[str, Any]:
        """What is known of this run as a whole; empty for a new folder.

        A damaged manifest counts as none: what matters stands in the steps' records.

        Raises:
            RunError: if the folder was written by another version.
        """
        path = self.folder / MANIFEST
        manifest, found = read_checked(path), {}
        with suppress(RunError):
            found = read_json(path)
        if manifest is not None or CHECKSUM not in found:  # manifests of the first versions have no checksum
            self._check_format(found.get("format", FORMAT))
        return manifest or {}

    def update_manifest(self, **entries: Any) -> None:
        """Set entries of the manifest."""
        write_checked(self.folder / MANIFEST, {"format": FORMAT} | self.manifest | entries)


def _holds(place: Path, state: FileState) -> bool:
    return place.is_file() and state_of(place).is_same_content(state)
