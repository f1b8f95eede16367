"""Locate, verify and download published files.

A published SHA-256, or its first digits, must match. Otherwise the hash is stored after the download (`NAME.sha256`, which
`sha256sum -c` reads): it detects later damage, not a wrong file at the source.
"""

# tqdm has no types, so its class is Any to the type checker.
# mypy: allow-subclassing-any

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

from braindiffuser.errors import DependencyError
from braindiffuser.files import replacing
from braindiffuser.networks.catalogue import PublishedFile
from braindiffuser.progress import Progress, silent

SIZE_TOLERANCE = 0.05
"""Share by which a file's size may differ from the published one, which is rounded."""


def checkpoints_folder() -> Path:
    """Return the folder of downloaded checkpoints: BRAINDIFFUSER_CHECKPOINTS, else `braindiffuser` in the user's cache."""
    named = os.environ.get("BRAINDIFFUSER_CHECKPOINTS")
    return Path(named) if named else _cache() / "braindiffuser"


def torchvision_folder() -> Path:
    """Return the folder where torchvision keeps what it downloads."""
    return Path(os.environ.get("TORCH_HOME") or _cache() / "torch").expanduser() / "hub" / "checkpoints"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def find(file: PublishedFile, folder: Path) -> Path | None:
    """Return where a file is: in `folder`, or where torchvision keeps its own; None if it is in neither."""
    places = (folder / file.name, torchvision_folder() / file.name)
    return next((place for place in places if place.is_file()), None)


def remedy(file: PublishedFile, folder: Path) -> str:
    """Return how to get a file by hand."""
    return f"{file.url} ({file.megabytes:,.0f} MB, {file.licence}), to be saved as {folder / file.name}"


def check_file(path: Path, file: PublishedFile) -> None:
    """Compare a file with its published SHA-256; where none is published, with the one noted when it was downloaded.

    A file with no known hash, for example one that was copied there by hand, is accepted unchecked.

    Raises:
        DependencyError: if they differ.
    """
    note = _note(path)
    if file.sha256:
        _check_digest(path, file.sha256)
    elif note.is_file():
        noted = note.read_text(encoding="utf-8").partition(" ")[0].strip()
        try:
            _check_digest(path, noted)
        except DependencyError as error:
            raise DependencyError(
                f"{error} by {note.name}, written when it was downloaded: delete both and download again, or delete "
                f"{note.name} alone if you put another file there"
            ) from error


def download(file: PublishedFile, folder: Path, progress: Progress = silent) -> Path:
    """Download a file, check its size and hash, and note its hash where none is published.

    Files of the Hugging Face hub resume where an interrupted download stopped; others start over.

    Args:
        file: what to download; nothing is done if it is in the folder.
        folder: made if it does not exist.
        progress: called as progress(name, bytes_done, bytes_in_all).

    Returns:
        Where the file is. Renamed only after the checks.

    Raises:
        DependencyError: if the server cannot be reached, or what came is not the file; says how to get it by hand.
    """
    path = folder / file.name
    if path.is_file():
        return path
    try:
        bar = _bar_class(file.name, progress)
        came = _by_pooch(file, folder, bar) if file.on_hub is None else _from_hub(*file.on_hub, folder, bar)
    except Exception as error:  # of the libraries' many kinds; all mean that the file did not come
        raise DependencyError(
            f"{file.name} could not be downloaded ({error}): run the same command again where the network allows, or get by hand "
            f"{remedy(file, folder)}"
        ) from error
    try:
        _check_size(came, file, folder)
        digest = _check_digest(came, file.sha256)
    except DependencyError:
        came.unlink()
        raise
    if not file.sha256:
        with replacing(_note(path)) as beside:
            beside.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    came.replace(path)
    return path


def _from_hub(repo_id: str, revision: str, filename: str, folder: Path, bar: type[Any]) -> Path:
    from huggingface_hub import hf_hub_download

    unfinished = folder / ".hub"  # where an interrupted download resumes
    return Path(hf_hub_download(repo_id, filename, revision=revision, local_dir=unfinished, tqdm_class=bar))


def _by_pooch(file: PublishedFile, folder: Path, bar: type[Any]) -> Path:
    import pooch

    pooch.get_logger().setLevel("WARNING")
    bar_of_file = bar(total=1e6 * file.megabytes)  # pooch takes a bar without a total for none at all
    fetch = pooch.HTTPDownloader(progressbar=bar_of_file, chunk_size=1 << 20, timeout=60)
    return Path(pooch.retrieve(file.url, known_hash=None, fname=f"{file.name}.part", path=folder, downloader=fetch))


def _bar_class(label: str, progress: Progress) -> type[Any]:
    """Return a progress bar of the kind that both libraries take, which calls `progress` and draws nothing."""
    from tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **(kwargs | {"file": io.StringIO(), "disable": False}))

        def update(self, n: Any = 1) -> None:
            super().update(n)
            progress(label, int(self.n), int(self.total or 0))

    return Bar


def _check_size(path: Path, file: PublishedFile, folder: Path) -> None:
    came, expected = path.stat().st_size, 1e6 * file.megabytes
    if abs(came - expected) > SIZE_TOLERANCE * expected:
        raise DependencyError(
            f"the download of {file.name} has {came:,} bytes, expected about {file.megabytes:,.0f} MB: get it by hand: "
            f"{remedy(file, folder)}"
        )


def _check_digest(path: Path, expected: str) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(expected):
        raise DependencyError(f"{path} is truncated or changed: its SHA-256 begins {digest[:8]}, expected {expected}")
    return digest


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
