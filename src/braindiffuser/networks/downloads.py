"""Published files on this machine: where they are, whether they are what they should be, and how they get here.

A file is compared with its published size, which may be rounded, and SHA-256. Where no hash is published or stated by the hub,
the file must open as a whole file of tensors, and its hash is noted beside it (`NAME.sha256`, which `sha256sum -c` reads) and
compared later. Such a note detects damage after the download, but not another file at the source.
"""

# tqdm has no types, so its class is Any to the type checker.
# mypy: allow-subclassing-any

from __future__ import annotations

import io
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from braindiffuser.batches import lacks_memory
from braindiffuser.errors import DependencyError, reason
from braindiffuser.files import alone_in, remove_leftovers, replacing, state_of
from braindiffuser.networks.catalogue import PublishedFile
from braindiffuser.networks.checkpoint_folders import user_cache
from braindiffuser.progress import Progress, silent

SIZE_TOLERANCE = 0.05
"""Share by which a file's size may differ from the published one, which may be rounded."""


def torchvision_folder() -> Path:
    """Return the folder where torchvision keeps what it downloads."""
    return Path(os.path.expanduser(os.environ.get("TORCH_HOME") or user_cache() / "torch")) / "hub" / "checkpoints"  # noqa: PTH111


def find(file: PublishedFile, folder: Path) -> Path | None:
    """Return where a file is: in `folder`, or, if it is torchvision's, in torchvision's folder; None if it is in neither."""
    folders = (folder, torchvision_folder()) if file.is_torchvisions else (folder,)
    return next((place / file.name for place in folders if (place / file.name).is_file()), None)


def remedy(file: PublishedFile, folder: Path) -> str:
    """Say how to get a file by hand."""
    digits = 0 if file.megabytes >= 1 else 3
    return f"{file.url} ({file.megabytes:,.{digits}f} MB, {file.licence}), to be saved as {folder / file.name}"


def check_file(path: Path, file: PublishedFile) -> None:
    """Compare a file with its published size and SHA-256; where none is published, with the one noted on download.

    A file with no known hash, for example one that was copied there by hand, is accepted if it opens as a whole.

    Raises:
        DependencyError: if they differ.
    """
    note = _note(path)
    noted = _noted(note) if note.is_file() and not file.sha256 else ""
    fault = _fault(path, file, file.sha256 or noted)
    if fault:
        other = f", or {note.name} alone if you put another file there" if noted else ""
        raise DependencyError(
            f"{path} is truncated or changed: {fault}; delete it and run `braindiffuser checkpoints --download`{other}"
        )


def has_size(path: Path, file: PublishedFile) -> bool:
    """Return whether a file is as large as published."""
    return abs(path.stat().st_size - 1e6 * file.megabytes) <= SIZE_TOLERANCE * 1e6 * file.megabytes


def _fault(path: Path, file: PublishedFile, sha256: str) -> str:
    """Say in which way a file differs; empty if it does not."""
    if not has_size(path, file):
        return f"it has {path.stat().st_size:,} bytes, expected about {file.megabytes:,.1f} MB"
    if sha256:
        digest = state_of(path).sha256
        return "" if digest.startswith(sha256) else f"its SHA-256 begins {digest[:8]}, expected {sha256}"
    from braindiffuser.networks.tensor_files import check_sums, open_tensors

    try:
        open_tensors(path)
        check_sums(path)
    except ValueError as error:
        return f"it {str(error).removeprefix(f'{path} ')}"
    return ""


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _noted(note: Path) -> str:
    words = note.read_text(encoding="utf-8", errors="replace").split()
    if not words or not re.fullmatch("[0-9a-fA-F]{64}", words[0]):
        raise DependencyError(f"{note} holds no SHA-256: delete it, and download the file again if you do not trust it")
    return words[0].lower()


@contextmanager
def working_in(folder: Path, log: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of the downloads folder, which is made if needed.

    Args:
        folder: of downloads.
        log: called with a sentence if another process works there, before waiting for it.

    Raises:
        DependencyError: in place of an OSError raised inside (disk full, no permission); names the folder.
    """
    if folder.parts[:1] == ("~",):
        raise DependencyError("no home folder is known to keep checkpoints in: name one with BRAINDIFFUSER_CHECKPOINTS")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone_in(folder, lambda: log(f"another process downloads or converts in {folder}: waiting until it ends")):
            for place in (folder, *folder.glob("*/*/")):
                remove_leftovers(place, locked=True)
            yield
    except OSError as error:
        raise DependencyError(
            f"files in {folder} cannot be read or written ({reason(error)}): see that it is a folder with room and permission, "
            "or name another one with BRAINDIFFUSER_CHECKPOINTS"
        ) from error


def download(file: PublishedFile, folder: Path, progress: Progress = silent) -> Path:
    """Download a file, check it, and note its hash where none is published.

    huggingface_hub takes up connections that break; a download that is killed begins anew.

    Args:
        file: what to download; nothing is done if it is in the folder.
        folder: made if it does not exist.
        progress: called as progress(name, bytes_done, bytes_in_all).

    Returns:
        Path of the file; it gets this name only after it was checked.

    Raises:
        DependencyError: if the server cannot be reached, what came is not the file, or it cannot be written; says what to do.
    """
    path = folder / file.name
    with working_in(folder, lambda sentence: progress(sentence, 1, 1)):
        if path.is_file():
            return path
        if path.exists():
            raise DependencyError(f"{path} is a folder, where a file of this name belongs: move it away")
        with replacing(path) as beside:
            try:
                _fetch(file, beside, folder / f".{file.name}.parts", _bar_class(file, progress))
                sha256 = file.sha256 or _stated_by_hub(file)
            except Exception as error:  # of the libraries' many kinds; all mean that the file did not come
                if lacks_memory(error):
                    raise MemoryError(reason(error)) from error
                if getattr(error, "filename", None) or "No space left on device" in str(error):
                    raise OSError(str(error)) from error  # of this machine
                raise DependencyError(
                    f"{file.name} could not be downloaded ({reason(error)}): run the same again when there is a network, or "
                    f"download by hand: {remedy(file, folder)}"
                ) from error
            fault = _fault(beside, file, sha256)
            if fault:
                raise DependencyError(
                    f"what was downloaded is not {file.name}: {fault}; download by hand: {remedy(file, folder)}"
                )
            if not file.sha256:
                with replacing(_note(path)) as note:
                    note.write_text(f"{state_of(beside).sha256}  {path.name}\n", encoding="utf-8")
            size = beside.stat().st_size
    progress(file.name, size, size)
    return path


def _fetch(file: PublishedFile, path: Path, parts: Path, bar: type[Any]) -> None:
    """Download to `path`; the folder `parts` is huggingface_hub's until the download is complete."""
    if file.on_hub is None:
        from pooch import HTTPDownloader

        own_bar = bar(total=1)  # pooch sets the total, but takes a bar without one for none at all
        HTTPDownloader(progressbar=own_bar, chunk_size=1 << 20, timeout=60)(file.url, str(path), None)
    else:
        from huggingface_hub import hf_hub_download

        repo_id, revision, filename = file.on_hub
        logger = logging.getLogger("huggingface_hub")
        level = logger.level
        logger.setLevel(logging.ERROR)  # it warns of each of its five tries
        try:
            came = hf_hub_download(repo_id, filename, revision=revision, local_dir=parts, tqdm_class=bar)
        finally:
            logger.setLevel(level)
        Path(came).replace(path)
        shutil.rmtree(parts)


def _stated_by_hub(file: PublishedFile) -> str:
    """Ask the hub for the SHA-256 of one of its large files; empty for a small one, and for a file elsewhere."""
    if file.on_hub is None:
        return ""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    repo_id, revision, filename = file.on_hub
    etag = get_hf_file_metadata(hf_hub_url(repo_id, filename, revision=revision)).etag or ""
    return etag if re.fullmatch("[0-9a-f]{64}", etag) else ""  # of small files it is git's


def _bar_class(file: PublishedFile, progress: Progress) -> type[Any]:
    """Return a progress bar of the kind that both libraries take, which calls `progress` and draws nothing."""
    from tqdm import tqdm

    class Bar(tqdm):
        monitor_interval = 0  # no thread that redraws: nothing is drawn
        furthest = 0  # of two bars, where huggingface_hub has one for what came and one for what is written

        def __init__(self, total: int | None, initial: int = 0, **_: Any) -> None:
            super().__init__(total=total, initial=initial, file=io.StringIO())

        def display(self, *_: Any, **__: Any) -> None:
            Bar.furthest = max(Bar.furthest, int(self.n))
            progress(file.name, Bar.furthest, round(1e6 * file.megabytes))

    return Bar
