"""Files of published weights: what each is, where it comes from, and how it gets onto this machine."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from braindiffuser.errors import DependencyError

Progress = Callable[[str, int, int], None]
"""Told the name of a file, the bytes that are here, and the bytes in all (0 if the server does not say)."""

CHUNK = 1 << 20
_PYTORCH_NAME = re.compile(r"-([0-9a-f]{8})\.pth$")


@dataclass(frozen=True)
class WeightFile:
    """One file of weights.

    Attributes:
        name: under which it is kept.
        url: where it comes from.
        megabytes: its size, in millions of bytes, as published or computed from its tensors, so only about.
        licence: of the weights.
        needed_for: what it serves, in words.
    """

    name: str
    url: str
    megabytes: float
    licence: str
    needed_for: str

    @property
    def sha256(self) -> str:
        """First digits of its SHA-256, where its publisher puts them in the name; else empty."""
        found = _PYTORCH_NAME.search(self.name)
        return found[1] if found else ""

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


def check_hash(path: Path, sha256: str) -> None:
    """Compare a file with the first digits of its SHA-256; empty digits fit every file.

    Raises:
        DependencyError: if they differ.
    """
    if not sha256:
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(sha256):
        raise DependencyError(f"{path} is truncated or changed: its SHA-256 begins {digest[:8]}, expected {sha256}")


def download(file: WeightFile, folder: Path, progress: Progress | None = None) -> Path:
    """Fetch a file, going on from what an interrupted download left, and check its length and hash.

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
        _resume(file, part, progress or (lambda *_: None))
    except (OSError, HTTPException) as error:
        raise DependencyError(
            f"{file.name} could not be fetched ({error}): run the same again where the network allows, or fetch by hand "
            f"{file.remedy(folder)}"
        ) from error
    try:
        check_hash(part, file.sha256)
        if part.stat().st_size < 0.5e6 * file.megabytes:
            raise DependencyError(
                f"{file.name} came with {part.stat().st_size:,} bytes instead of about {file.megabytes:,.0f} MB, so something "
                f"else came: fetch by hand {file.remedy(folder)}"
            )
    except DependencyError:
        part.unlink()
        raise
    part.replace(path)
    return path


def _resume(file: WeightFile, part: Path, progress: Progress) -> None:
    """Append what is missing to `part`; start anew if the server does not know how to go on."""
    have = part.stat().st_size if part.exists() else 0
    # S310 warns of addresses such as file:/…; ours come from the tables in this package, not from a user.
    request = urllib.request.Request(file.url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    try:
        response = urllib.request.urlopen(request, timeout=60)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":  # nothing is left to send
            return
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
