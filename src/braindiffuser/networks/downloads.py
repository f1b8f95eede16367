"""Files of published weights: what each is, where it comes from, and how it gets onto this machine.

Where a publisher states a file's SHA-256, or digits of it, the file is held against them. Of every other file the SHA-256 is
noted beside it when it has been downloaded (`NAME.sha256`, which `sha256sum -c` reads). Such a note catches damage that came
afterwards. It does not catch another file at the source: what was downloaded is what was noted.
"""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import Any

from braindiffuser.errors import DependencyError
from braindiffuser.progress import Progress

CHUNK = 1 << 20
_PYTORCH_NAME = re.compile(r"-([0-9a-f]{8})\.pth$")
_FULL_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class WeightFile:
    """One file of weights.

    Attributes:
        name: under which it is kept.
        url: where it comes from.
        megabytes: its size, in millions of bytes, as published or computed from its tensors, so only about.
        licence: of the weights.
        needed_for: what it serves, in words.
        sha256: its SHA-256 or the first digits of it, as published; empty if nobody published one.
    """

    name: str
    url: str
    megabytes: float
    licence: str
    needed_for: str
    sha256: str = ""

    def find(self, *folders: Path) -> Path | None:
        """Return the file in the first of the folders that has it."""
        return next((folder / self.name for folder in folders if (folder / self.name).is_file()), None)

    def remedy(self, folder: Path) -> str:
        """Say how to get it by hand."""
        return f"{self.url} ({self.megabytes:,.0f} MB, {self.licence}), to be saved as {folder / self.name}"


def weights_folder() -> Path:
    """Folder of downloaded weights: BRAINDIFFUSER_WEIGHTS, else `braindiffuser` in the user's cache."""
    named = os.environ.get("BRAINDIFFUSER_WEIGHTS")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(named) if named else cache / "braindiffuser"


def digits_of_name(name: str) -> str:
    """Return the first digits of a file's SHA-256 where its name ends in them, as PyTorch names its weights; else nothing.

    >>> digits_of_name("alexnet-owt-7be5be79.pth")
    '7be5be79'
    """
    found = _PYTORCH_NAME.search(name)
    return found[1] if found else ""


def check_file(path: Path, file: WeightFile) -> None:
    """Compare a file with its published SHA-256; where none is published, with the one noted when it was downloaded.

    A file of which neither is known, as one that somebody put there by hand, counts as it is.

    Raises:
        DependencyError: if they differ.
    """
    note = _note(path)
    if file.sha256:
        _check_digest(path, _digest(path), file.sha256)
    elif note.is_file():
        noted = note.read_text(encoding="utf-8").partition(" ")[0].strip()
        try:
            _check_digest(path, _digest(path), noted)
        except DependencyError as error:
            raise DependencyError(
                f"{error} by {note.name}, written when it was downloaded: delete both and download again, or delete "
                f"{note.name} alone if you put another file there"
            ) from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_digest(path: Path, digest: str, expected: str) -> None:
    if not digest.startswith(expected):
        raise DependencyError(f"{path} is truncated or changed: its SHA-256 begins {digest[:8]}, expected {expected}")


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def download(file: WeightFile, folder: Path, progress: Progress | None = None) -> Path:
    """Fetch a file, going on from what an interrupted download left, check its length and hash, and note its hash.

    Its hash is compared with the published one, and with the one that the Hugging Face hub states of a large file.

    Args:
        file: what to fetch; nothing is done if it is in the folder.
        folder: made if it does not exist. Until it is whole, the file's name ends in `.part`.
        progress: told how far it is.

    Returns:
        Where the file is.

    Raises:
        DependencyError: if the server cannot be reached, or what came is not the file; says how to get it by hand.
    """
    path = folder / file.name
    if path.is_file():
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stated = _resume(file, part, progress or (lambda *_: None))
    except (OSError, HTTPException) as error:
        raise DependencyError(
            f"{file.name} could not be fetched ({error}): run the same again where the network allows, or fetch by hand "
            f"{file.remedy(folder)}"
        ) from error
    try:
        digest = _digest(part)
        for expected in (file.sha256, stated):
            _check_digest(part, digest, expected)
        if part.stat().st_size < 0.5e6 * file.megabytes:
            raise DependencyError(
                f"{file.name} came with {part.stat().st_size:,} bytes instead of about {file.megabytes:,.0f} MB, so something "
                f"else came: fetch by hand {file.remedy(folder)}"
            )
    except DependencyError:
        part.unlink()
        raise
    if not file.sha256:
        _note(part).write_text(f"{digest}  {path.name}\n", encoding="utf-8")
        _note(part).replace(_note(path))
    part.replace(path)
    return path


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, and remembers the SHA-256 that the hub states in its own when it sends on to its storage."""

    stated = ""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        digest = str(headers.get("X-Linked-Etag", "")).strip('"')
        if _FULL_DIGEST.fullmatch(digest):
            self.stated = digest
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _resume(file: WeightFile, part: Path, progress: Progress) -> str:
    """Append what is missing to `part`; start anew if the server does not know how to go on.

    Returns:
        The SHA-256 that the server states; empty if it states none.
    """
    redirects = _Redirects()
    have = part.stat().st_size if part.exists() else 0
    # S310 warns of addresses such as file:/…; ours come from the tables in this package, not from a user.
    request = urllib.request.Request(file.url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    try:
        response = urllib.request.build_opener(redirects).open(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":  # nothing is left to send
            return redirects.stated
        raise
    with response:
        have = have if response.status == 206 else 0
        rest = response.headers.get("Content-Length")
        total = have + int(rest) if rest else 0
        with part.open("ab" if have else "wb") as target:
            while block := response.read(CHUNK):
                target.write(block)
                have += len(block)
                progress(file.name, have, total)
    if total and have != total:
        raise OSError(f"{have:,} of {total:,} bytes came")
    return redirects.stated
