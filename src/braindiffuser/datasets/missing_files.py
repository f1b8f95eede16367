"""What a recording lacks, in one message: every file that is not there, what it holds, and where it comes from."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from braindiffuser.errors import RecordingError


class Missing(NamedTuple):
    """A file, a folder, or a range of files that is not there.

    Attributes:
        name: below the root.
        holds: what is in it, and where it comes from if `braindiffuser fetch` has no such file.
        role: of the files that bring it, as `braindiffuser fetch --files` takes them; "" if it is to be got by hand.
        sessions: of a range, whose numbers `--sessions` takes.
        needed: whether the recording cannot be read without it.
    """

    name: str
    holds: str
    role: str = ""
    sessions: tuple[int, ...] = ()
    needed: bool = True


def lacking(root: Path, files: Iterable[tuple[Path, Missing]]) -> list[Missing]:
    """Return those of some files and folders that are not there, by their names below a root."""
    found = []
    for path, entry in files:
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
        found += [] if path.exists() else [entry._replace(name=entry.name or name)]
    return found


def refuse_missing(
    where: object, missing: Sequence[Missing], fetched_as: str = "", subject: str = "", there: Iterable[str] = ()
) -> None:
    """Refuse a recording that lacks several files; of one alone its reader says what is to be said.

    Args:
        where: root of the recording, below which the names are; folder of `braindiffuser fetch`.
        missing: all that is not there.
        fetched_as: name of the data set in `braindiffuser fetch`; "" if it has none.
        subject: its name there.
        there: names of the other subjects whose files are there.

    Raises:
        RecordingError: two or more that are needed are missing; lists all.
    """
    needed = [entry for entry in missing if entry.needed]
    if len(needed) < 2:
        return
    there, beside = sorted(there), [entry for entry in missing if not entry.needed]
    listed = ", ".join(f"{entry.name} ({entry.holds})" for entry in needed)
    listed += f"; not needed, and not there: {', '.join(f'{entry.name} ({entry.holds})' for entry in beside)}" * bool(
        beside
    )
    command = fetch_command(where, missing, fetched_as, subject)
    by_hand, remedy = any(not entry.role for entry in needed), "put them there"
    if command:
        what, rest = ("what can be fetched", ", and put the others there") if by_hand else ("them", "")
        remedy = f"download {what} by `{command}`{rest}"
    choose = "choose dataset.subject, or " if there else ""
    others = f" holds files of {', '.join(there)}, and" if there else ""
    raise RecordingError(f"{where}{others} lacks {listed}: {choose}{remedy}")


def fetch_command(where: object, missing: Sequence[Missing], fetched_as: str, subject: str) -> str:
    """Return the command that downloads what is missing; "" if nothing of it can be.

    >>> fetch_command("/data", [Missing("a", "betas", "betas", (1, 2, 3, 7))], "nsd", "subj01")
    'braindiffuser fetch nsd /data --subjects subj01 --sessions 1-3 7 --files betas'
    """
    roles = list(dict.fromkeys(entry.role for entry in missing if entry.role))
    if not (fetched_as and roles):
        return ""
    numbers = sorted({number for entry in missing if entry.role for number in entry.sessions})
    sessions = [str(first) if first == last else f"{first}-{last}" for first, last in _runs(numbers)]
    words = ["braindiffuser", "fetch", fetched_as, str(where), "--subjects", subject]
    words += ["--sessions", *sessions] if sessions else []
    return shlex.join([*words, "--files", *roles])


def numbered(numbers: Iterable[int]) -> str:
    """Print the numbers of sessions as names of files have them.

    >>> numbered([3, 4, 5, 12])
    '03 to 05, 12'
    """
    return ", ".join(f"{a:02}" if a == b else f"{a:02} to {b:02}" for a, b in _runs(sorted(numbers)))


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first and the last of each run of ascending numbers."""
    firsts = [number for number in numbers if number - 1 not in numbers]
    lasts = [number for number in numbers if number + 1 not in numbers]
    return list(zip(firsts, lasts, strict=True))
