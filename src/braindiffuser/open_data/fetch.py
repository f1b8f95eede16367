"""Chosen files of an open data set: first listed, then downloaded one by one, whole or not at all."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import yaml

from braindiffuser.errors import RunError, reason
from braindiffuser.files import alone_in, replacing
from braindiffuser.open_data.catalogue import ALL, ROLES, OpenData
from braindiffuser.open_data.servers import Received, RefusedError, RemoteFile, Server, UnreachableError
from braindiffuser.open_data.whole_files import fault_of, is_whole, note_hash
from braindiffuser.progress import Progress, silent

_AGAIN = "the same command continues"


@dataclass(frozen=True)
class Choice:
    """What is asked for.

    Attributes:
        data: the data set.
        subjects: names, at least one.
        sessions: numbers, ascending; None: all.
        roles: of the files.
    """

    data: OpenData
    subjects: tuple[str, ...]
    sessions: tuple[int, ...] | None
    roles: tuple[str, ...]

    @classmethod
    def of(cls, name: str, subjects: Sequence[str], sessions: Sequence[str], roles: Sequence[str]) -> Choice:
        """Read what was asked for.

        Args:
            name: of the data set.
            subjects: names.
            sessions: numbers or ranges, such as "3" or "1-10"; none: all.
            roles: of `ROLES`; none: all.

        Raises:
            RunError: there is no such thing; names what there is.
        """
        data = next((each for each in ALL if each.name == name), None)
        if data is None:
            raise RunError(f"there is no data set {name}: choose one of {', '.join(each.name for each in ALL)}")
        unknown = sorted(set(subjects) - data.sessions.keys())
        if unknown or not subjects:
            said = f"{name} has no subject {unknown[0]}" if unknown else "no subject is named"
            raise RunError(f"{said}: choose with --subjects from {', '.join(data.sessions)}")
        others = sorted(set(roles) - set(ROLES))
        if others:
            raise RunError(f"there are no files of the kind {others[0]}: choose with --files from {', '.join(ROLES)}")
        numbers = _numbers(sessions)
        most = max(data.sessions[subject] for subject in subjects)
        if numbers and not data.has_session_files:
            raise RunError(f"{name} has no files by session: leave --sessions out")
        if numbers and numbers[-1] > most:
            raise RunError(f"session {numbers[-1]} is not public: {', '.join(subjects)} of {name} have 1 to {most}")
        chosen = tuple(role for role in ROLES if role in roles) or ROLES
        return cls(data, tuple(dict.fromkeys(subjects)), tuple(numbers) or None, chosen)

    def sessions_of(self, subject: str) -> list[int]:
        """Return the sessions of a subject that are asked for; those that it does not have are left out."""
        recorded = range(1, self.data.sessions[subject] + 1)
        return [number for number in recorded if self.sessions is None or number in self.sessions]

    def patterns(self) -> Iterator[tuple[Server, str, bool]]:
        """Yield server, pattern of names, and whether a recording needs such files; each once."""
        seen = set()
        for files in self.data.files:
            if files.role not in self.roles:
                continue
            for pattern in files.patterns:
                for subject in self.subjects:
                    numbers = self.sessions_of(subject) if "{session" in pattern else [0]
                    for name in (pattern.format(subject=subject, session=number) for number in numbers):
                        if name not in seen:
                            seen.add(name)
                            yield files.server, name, files.needed

    def experiment_file(self, folder: Path) -> str:
        """Return an experiment file that reads the first subject from `folder`."""
        sessions = list(self.sessions) if self.sessions else None
        dataset = self.data.experiment(folder, self.subjects[0], sessions)
        responses = {"responses": dict(self.data.responses)} if self.data.responses else {}
        content = {"preset": "demo", "dataset": dataset, **responses}
        text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=120)
        return (
            f"# Another subject in a file of its own: {', '.join(self.subjects[1:])}\n{text}"
            if self.subjects[1:]
            else text
        )


def _numbers(sessions: Sequence[str]) -> list[int]:
    numbers: set[int] = set()
    for text in sessions:
        found = re.fullmatch(r"0*([1-9]\d{0,3})(?:-0*([1-9]\d{0,3}))?", text, re.ASCII)
        if not found or int(found[2] or found[1]) < int(found[1]):
            raise RunError(f"{text} is no session: give numbers from 1, such as 3, or a range, such as 1-10")
        numbers |= set(range(int(found[1]), int(found[2] or found[1]) + 1))
    return sorted(numbers)


@dataclass(frozen=True)
class Wanted:
    """A file that is to be kept.

    Attributes:
        file: as listed.
        server: which listed it.
        path: where it is kept.
    """

    file: RemoteFile
    server: Server
    path: Path


@dataclass(frozen=True)
class Plan:
    """What a download would bring.

    Attributes:
        wanted: all files that are asked for, by name.
        missing: those of them that are not here, or here with another size.
        faults: a sentence for each name that is needed and that the server does not list.
    """

    wanted: tuple[Wanted, ...]
    missing: tuple[Wanted, ...]
    faults: tuple[str, ...]

    @property
    def in_the_way(self) -> tuple[Wanted, ...]:
        """Those of `missing` in whose place a file of another size is: it stays unless it is to be replaced."""
        return tuple(each for each in self.missing if each.path.is_file())

    @property
    def new(self) -> tuple[Wanted, ...]:
        """Those of `missing` in whose place there is no file."""
        return tuple(each for each in self.missing if not each.path.is_file())

    def said(self, replace: bool = False) -> str:
        """Say how many files would come, how much, how many are here, and how many of these would be replaced.

        Args:
            replace: as in `download`.
        """
        here, coming = len(self.wanted) - len(self.missing), self.missing if replace else self.new
        files = "file" if len(coming) == 1 else "files"
        lines = [f"{len(coming):,} {files}, {_amount(_size(coming))}, would come"]
        unchecked = sum(not each.file.md5 for each in self.wanted if each not in self.missing)
        if here:
            how = f" ({unchecked:,} without a listed MD5: a noted hash is compared, or they must open as a whole)"
            lines.append(f"{here:,} more are here{how if unchecked else ''}")
        if self.in_the_way:
            first = self.in_the_way[0].path
            fate = "would be replaced" if replace else "would stay, unless you give --replace"
            lines.append(f"{len(self.in_the_way):,} that are here with another size {fate} (such as {first})")
        return "; ".join(lines)

    def __str__(self) -> str:
        """As `said`, where nothing is replaced."""
        return self.said()


def _size(files: Sequence[Wanted]) -> int:
    return sum(wanted.file.size for wanted in files)


def _amount(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def plan(choice: Choice, folder: Path) -> Plan:
    """Ask the servers what there is of what was chosen; nothing is downloaded.

    Args:
        choice: what is asked for.
        folder: where files are to be kept.

    Raises:
        RunError: a server cannot be reached, or lists a file that would lie outside the folder.
        DependencyError: boto3 is needed, and missing.
    """
    wanted: dict[str, Wanted] = {}
    faults = []
    for server, pattern, needed in choice.patterns():
        try:
            listed = server.find(re.split(r"[*?\[]", pattern, maxsplit=1)[0])
        except RefusedError as error:
            faults.append(f"{pattern} cannot be looked up in {server.where}: {_refusal(error)}")
            continue
        except UnreachableError as error:
            raise RunError(
                f"{server.where} cannot be reached ({reason(error)}): see that there is a network, then try again"
            ) from error
        found = [file for file in listed if fnmatchcase(file.name, pattern)]
        if not found and needed:
            faults.append(f"{pattern} is not in the listing of {server.where}: see {choice.data.page}")
        wanted |= {file.name: Wanted(file, server, _place(folder, file, server)) for file in found}
    files = tuple(wanted[name] for name in sorted(wanted))
    return Plan(files, tuple(each for each in files if not _has_size(each)), tuple(faults))


def _place(folder: Path, file: RemoteFile, server: Server) -> Path:
    parts = PurePosixPath(file.name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in file.name or ":" in file.name:
        raise RunError(f"{server.where} lists {file.name}, which would lie outside {folder}: this is not the data set")
    return folder / parts


def _has_size(wanted: Wanted) -> bool:
    return wanted.path.is_file() and wanted.path.stat().st_size == wanted.file.size


def download(planned: Plan, folder: Path, progress: Progress = silent, replace: bool = False) -> list[str]:
    """Download what is missing and check all that is asked for; a file gets its name only when it is whole.

    Files that are here stay. Those that are not what the server lists (`whole_files`) are named.

    Args:
        planned: of `plan`.
        folder: where files are kept; made if it does not exist.
        progress: called with megabytes.
        replace: replace files that are here and are not what the server lists.

    Returns:
        A sentence for each file that did not come.

    Raises:
        RunError: there is no room, another process works in the folder, or the server cannot be reached any more.
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    need, free = _size(planned.missing if replace else planned.new), shutil.disk_usage(folder).free
    if need > free:
        raise RunError(
            f"{folder} has room for {_amount(free)}, but {_amount(need)} would come: free room, or choose fewer sessions"
        )
    faults, done, total = [], 0, _size(planned.wanted)
    megabytes = max(-(-total // 1_000_000), 2)  # progress of 1 in 1 would be a message
    with alone_in(folder):
        for wanted in planned.wanted:
            before, came = done, 0

            def received(n: int, before: int = before) -> None:
                nonlocal came
                came += n
                progress(
                    "fetch, in MB", megabytes if before + came == total else (before + came) // 1_000_000, megabytes
                )

            if not is_whole(wanted.path, wanted.file):
                keep = wanted.path.is_file() and not replace
                faults += [_kept(wanted)] if keep else _download(wanted, received)
            done += wanted.file.size
            received(wanted.file.size - came)
    return faults


def _kept(wanted: Wanted) -> str:
    if _has_size(wanted) and wanted.file.etag and not fault_of(wanted.path):
        return (
            f"{wanted.path} cannot be compared with what {wanted.server.where} lists, since it came in parts of unknown size, or "
            "with other content, and was kept: do nothing if you trust it, or give --replace to replace it"
        )
    other = "content" if _has_size(wanted) else "size"
    return (
        f"{wanted.path} is here with another {other} than {wanted.server.where} lists, and was kept: give --replace to replace "
        "it, or move it away"
    )


def _download(wanted: Wanted, received: Received) -> list[str]:
    """Download one file; return why it did not come."""
    name, where = wanted.file.name, wanted.server.where
    if wanted.path.is_dir():
        return [f"{wanted.path} is a folder, where a file of this name belongs: move it away"]
    try:
        with replacing(wanted.path) as beside:
            wanted.server.get(wanted.file, beside, received)
            if not is_whole(beside, wanted.file, came_now=True):
                raise _DamagedError(_fault(beside, wanted.file))
            note_hash(beside, wanted.file, wanted.path)
    except RefusedError as error:
        return [f"{name} did not come from {where}: {_refusal(error)}"]
    except _DamagedError as error:
        return [f"{name} came damaged from {where} ({reason(error)}) and was not kept: {_AGAIN}"]
    except UnreachableError as error:
        raise RunError(
            f"{where} stopped answering at {name} ({reason(error)}): {_AGAIN} and keeps what came"
        ) from error
    return []


def _fault(path: Path, file: RemoteFile) -> str:
    size = path.stat().st_size
    if file.md5 or size != file.size:
        return f"{size:,} bytes came, expected {file.size:,}{' with the listed MD5' if file.md5 else ''}"
    return f"the server states no MD5, and {fault_of(path, PurePosixPath(file.name).name)}"


class _DamagedError(Exception):
    """What came is not what was listed."""


def _refusal(error: RefusedError) -> str:
    if error.status == 403:
        return "it is refused (403), so it is there but held back, or needs an agreement of its own"
    if error.status == 404:
        return "it is not there (404), so it was renamed or taken away"
    return f"the server answered with status {error.status}"


def describe() -> Iterator[str]:
    """Yield lines on all data sets: what, how large, on which terms, where."""
    for data in ALL:
        yield f"{data.name:15}{data.holds}"
        facts = {
            "size": data.size,
            "licence": data.licence,
            "where": ", ".join(dict.fromkeys(files.server.where for files in data.files)) or "not listed here",
            "page": data.page,
            "subjects": ", ".join(data.sessions),
            "terms": f"{data.terms} (--accept-terms {data.word})" if data.terms else "",
        }
        yield from (f"  {name:10}{text}" for name, text in facts.items() if text)
        yield from (f"  by hand   {text}" for text in data.by_hand)
