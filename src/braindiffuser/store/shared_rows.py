"""A folder of feature rows that the runs of one recording share, so that each stimulus is extracted once.

    pool.json                     marks the folder of shared features
    0123456789abcdef/             one target group, named by the hash of what its rows depend on
      journal.jsonl               the files that are whole, with their states: see `draft`
      rows-000000.safetensors     rows as they were computed, with ids and names of their stimuli
      null.safetensors            the unconditional feature, if the group has one

A row counts when its file is whole, on the disk and noted. It is noted only after what it depends on was looked at again, so rows
of a file that was replaced while it was read do not count; contents are compared, so a file that was put back before that look
goes unnoticed. A file that is not as it was noted is deleted, and its rows are computed again.

How a network's results are rounded may depend on how many stimuli it computes together. So a row is kept with that number, and is
read only where a run that shares none would compute it with as many. All batches of a run have one size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from braindiffuser.errors import RunError
from braindiffuser.files import LEFTOVER, LOCK, alone_in, remove_files, replacing
from braindiffuser.plain_data import hash_json, read_json
from braindiffuser.store.checked_json import read_checked, write_checked
from braindiffuser.store.draft import JOURNAL, Draft

MARK = "pool.json"
"""File that marks a folder of shared features."""
IDENTITY = {"format": 1, "holds": "features of stimuli, shared by runs of one recording"}
NULL = "null.safetensors"
GROUP = re.compile(r"[0-9a-f]{64}")
"""Name of the folder of a target group."""

_Key = tuple[int, str, int]
"""Stimulus id, its name, and how many stimuli were computed together."""


class SharedRows:
    """Rows of one target group in a folder of shared features; made by `open_shared_rows`."""

    def __init__(self, draft: Draft, names: Mapping[int, str], is_as_before: Callable[[], bool], changed: str) -> None:
        """Read which rows there are.

        Args:
            draft: of the group's folder, which is never published.
            names: of the recording's stimuli by id; {} if they have numbers alone.
            is_as_before: returns whether all that rows depend on is still what it was when these were opened.
            changed: what is said if it is not.
        """
        self._draft, self._names, self._is_as_before = draft, names, is_as_before
        self._changed = changed
        self._new: list[str] = []
        """Files that are written, and are noted by `keep`."""
        self._places: dict[_Key, tuple[str, int]] = {}
        self._opened: tuple[str, Any] = ("", None)
        for name in sorted(draft.files):
            if name.startswith("rows-"):
                self._list(name)

    def _list(self, name: str) -> None:
        file = self._open(name)
        size = int(file.get_tensor("size"))
        names = file.get_tensor("names").tobytes().decode().split("\0")[:-1]
        for place, (stimulus_id, own) in enumerate(zip(file.get_tensor("ids").tolist(), names, strict=True)):
            self._places[stimulus_id, own, size] = name, place

    def _open(self, name: str) -> Any:
        from safetensors import safe_open

        if self._opened[0] != name:
            self._opened = name, safe_open(self._draft.folder / name, framework="numpy")
        return self._opened[1]

    def _key(self, stimulus_id: int, size: int) -> _Key:
        return stimulus_id, self._names.get(stimulus_id, ""), size

    def shape(self) -> tuple[int, ...] | None:
        """Return the shape of a row; None if there is none yet."""
        if not self._places:
            return None
        name, _ = next(iter(self._places.values()))
        return tuple(self._open(name).get_slice("rows").get_shape()[1:])

    def null(self, make: Callable[[], Shaped[np.ndarray, "1 ..."] | None]) -> Shaped[np.ndarray, "1 ..."] | None:
        """Return the unconditional feature; `make` computes it, or returns None, if it is not there."""
        from safetensors.numpy import save

        if not self._draft.holds(NULL):
            made = make()
            self._write(NULL, save({} if made is None else {"null": np.ascontiguousarray(made)}))
            self.keep()
            return made
        file = self._open(NULL)
        return file.get_tensor("null") if "null" in file.keys() else None  # noqa: SIM118  no mapping

    def rows(
        self,
        ids: Int[np.ndarray, " n"],
        others: Iterable[int],
        size: int,
        make: Callable[[Int[np.ndarray, " n"]], Shaped[np.ndarray, "n ..."]],
    ) -> Shaped[np.ndarray, "n ..."]:
        """Return rows of some stimuli. Missing rows are computed in a batch of the given size; `keep` lets them count.

        Args:
            ids: of the stimuli, all different.
            others: ids of further stimuli of the recording. A batch is filled up with these: first with those whose rows lack
                too, in their order.
            size: how many stimuli are computed together, at least as many as `ids` has.
            make: computes the rows of so many stimuli.
        """
        lacking = [number for number in ids.tolist() if self._key(number, size) not in self._places]
        if lacking:
            chosen = _filled(lacking, size, others, lambda number: self._key(number, size) in self._places)
            made = make(np.array(chosen, ids.dtype))
            new = [place for place, number in enumerate(chosen) if self._key(number, size) not in self._places]
            self._add([chosen[place] for place in new], made[new], size)
        return self._read([self._places[self._key(number, size)] for number in ids.tolist()])

    def _add(self, ids: list[int], rows: Shaped[np.ndarray, "n ..."], size: int) -> None:
        from safetensors.numpy import save

        names = "".join(f"{self._names.get(number, '')}\0" for number in ids).encode()
        content: dict[str, np.ndarray] = {
            "ids": np.array(ids, np.int64),
            "names": np.frombuffer(names, np.uint8),
            "size": np.array(size),
            "rows": np.ascontiguousarray(rows),
        }
        taken = {*self._draft.files, *self._new}
        name = next(name for number in range(10**6) if (name := f"rows-{number:06d}.safetensors") not in taken)
        self._write(name, save(content))
        self._list(name)

    def _write(self, name: str, content: bytes) -> None:
        """Write a file that does not count yet."""
        with replacing(self._draft.folder / name) as beside:
            beside.write_bytes(content)
        self._new.append(name)

    def keep(self) -> None:
        """Let the rows count that were computed since the last time.

        Raises:
            RunError: what they depend on is not what it was when these were opened; they are deleted.
        """
        if not self._new:
            return
        if not self._is_as_before():
            remove_files(self._draft.folder, self._new)
            self._new = []
            raise RunError(self._changed)
        self._draft.note(self._new)
        self._new = []

    def _read(self, places: list[tuple[str, int]]) -> Shaped[np.ndarray, "n ..."]:
        found: dict[int, Shaped[np.ndarray, "1 ..."]] = {}
        for order in sorted(range(len(places)), key=lambda number: places[number]):  # one file after the other
            name, place = places[order]
            found[order] = self._open(name).get_slice("rows")[place : place + 1]
        return np.concatenate([found[order] for order in range(len(places))])


def _filled(lacking: list[int], size: int, others: Iterable[int], is_known: Callable[[int], bool]) -> list[int]:
    """Fill up a batch to its size, with stimuli that lack before those that do not."""
    chosen, taken = list(lacking), set(lacking)
    known: list[int] = []
    for number in others:
        if len(chosen) == size:
            break
        if number not in taken:
            taken.add(number)
            (known if is_known(number) else chosen).append(number)
    return [*chosen, *known[: size - len(chosen)]]


def check_shared(folder: Path) -> None:
    """Check that a folder is new, empty, or one of shared features; if its marker is lost, it is known by all else that it holds.

    Raises:
        RunError: if it is a file or below one, holds something else, or a link that leads out of it.
    """
    place = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if place.exists() and not place.is_dir():
        raise RunError(
            f"{place} is a file, and features that runs share need a folder: move it away, or choose another place"
        )
    held = sorted(folder.iterdir()) if folder.is_dir() else []
    links = [path for path in held if path.is_symlink()]
    if links:
        raise RunError(f"{links[0]} is a link, and features are written only into {folder} itself: remove the link")
    foreign = [path.name for path in held if path.name != LOCK and not LEFTOVER.fullmatch(path.name)]
    if foreign and not (_is_shared(folder) or _was_shared(folder, foreign)):
        if _said(folder / MARK).get("holds") == IDENTITY["holds"]:
            raise RunError(
                f"{folder} holds features that runs of another version of braindiffuser share: delete it, and features are "
                "extracted again"
            )
        raise RunError(
            f"{folder} holds {foreign[0]} but no {MARK} of this version that is whole, so it is no folder of features that runs "
            f"share: move {folder / foreign[0]} away, or choose an empty folder"
        )


def _is_shared(folder: Path) -> bool:
    return read_checked(folder / MARK) == IDENTITY


def _was_shared(folder: Path, held: Iterable[str]) -> bool:
    """Return whether the marker alone is lost or damaged: all else are folders of target groups, with their journals."""
    marker, groups = folder / MARK, [name for name in held if name != MARK]
    lost = not marker.exists() or (marker.is_file() and "format" not in _said(marker))
    return (
        lost and bool(groups) and all(GROUP.fullmatch(name) and (folder / name / JOURNAL).is_file() for name in groups)
    )


def _said(marker: Path) -> Mapping[str, Any]:
    """Return what a marker says, {} if it is not there or cannot be read: one that names another version is not written over."""
    with suppress(ValueError, OSError):
        content = read_json(marker)
        return content if isinstance(content, dict) else {}
    return {}


@contextmanager
def open_shared_rows(
    shared: Path,
    facts: Callable[[], Mapping[str, Any]],
    names: Mapping[int, str],
    wait: Callable[[], None],
    changed: str = "files that features are made from were changed while they were read: run the same command again",
) -> Iterator[SharedRows]:
    """Open the rows of one target group; another process that opens the same waits until this one is done.

    Args:
        shared: folder, made if it does not exist.
        facts: returns all that rows depend on besides their stimulus; other facts are other rows. It is called again before rows
            count.
        names: of the recording's stimuli by id.
        wait: called before waiting.
        changed: what is said if these facts change while rows are computed.

    Raises:
        RunError: as `check_shared` and `SharedRows.keep`, or the disk has no file locks.
    """
    check_shared(shared)
    key = hash_json(facts())
    folder = shared / key
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder, wait):
        if not _is_shared(shared):
            write_checked(shared / MARK, IDENTITY)
        rows = SharedRows(Draft(folder, key), names, lambda: hash_json(facts()) == key, changed)
        yield rows
        rows.keep()
