"""Whether a file is what its server lists, by whatever can be compared.

- An MD5 that the server states is compared with the file's.
- An ETag of an upload in parts, `<MD5 of the parts' MD5s>-<number of parts>`, is compared for each likely size of a part.
- Otherwise the SHA-256 that was noted beside the file when it came (`.NAME.sha256`) is compared.
- A file without any of these must open as a whole.

A file that opens as a whole is read to its end where it is compressed (gzip, zip, chunks of HDF5), since the checksum is there. A
flipped bit in a file without checksums of its own (`.nii`, `.npy`, plain HDF5) is not noticed before it has a note.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import h5py

from braindiffuser.batches import lacks_memory
from braindiffuser.datasets.volumes import open_nifti
from braindiffuser.errors import BrainDiffuserError, reason
from braindiffuser.files import replacing, state_of
from braindiffuser.open_data.servers import RemoteFile

MIB = 1 << 20
PART_SIZES = (5, 8, 16, 64)
"""Sizes of parts that programs for uploads use, in MiB."""
MOST_SIZES = 8
"""Sizes of parts that are tried, since the file is read once for each."""
_PAGE = re.compile(rb"\s*(<!doctype html|<html|<\?xml[^>]*>\s*<error)", re.IGNORECASE)


def is_whole(path: Path, file: RemoteFile, came_now: bool = False) -> bool:
    """Return whether a file is what the server lists.

    Args:
        path: of the file.
        file: as listed.
        came_now: whether it was just downloaded: then a note of an earlier one does not count, and parts of an unusual size
            are no fault, if it opens as a whole.
    """
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    if file.md5:
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, _md5).hexdigest() == file.md5
    if file.etag and _fits_parts(path, file.etag):
        return True
    note = _note(path)
    if not came_now and note.is_file():
        return note.read_text(encoding="utf-8", errors="replace").split()[:1] == [state_of(path).sha256]
    return (came_now or not file.etag) and not fault_of(path, PurePosixPath(file.name).name)


def note_hash(path: Path, file: RemoteFile, kept: Path) -> None:
    """Note the SHA-256 of a file that just came beside the place where it is kept, if the server states no MD5."""
    if not file.md5:
        with replacing(_note(kept)) as beside:
            beside.write_text(f"{state_of(path).sha256}  {kept.name}\n", encoding="utf-8")


def fault_of(path: Path, name: str | None = None) -> str:
    """Say what is wrong with a file whose content nobody states; empty if it opens as a whole.

    Args:
        path: of the file.
        name: its name, if it is kept under another one.
    """
    try:
        with path.open("rb") as opened:
            begin = opened.read(1024)
        if _PAGE.match(begin):
            return "it is a web page"
        if begin and not any(map(any, _blocks(path))):
            return "it holds nothing but zeros"
        for suffixes, check in _CHECKS.items():
            if (name or path.name).lower().endswith(suffixes):
                check(path)
    except Exception as error:  # of the libraries' many kinds, for arbitrary bytes
        if lacks_memory(error):
            raise
        return reason(error)
    return ""


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)


def _note(path: Path) -> Path:
    return path.with_name(f".{path.name}.sha256")


def _blocks(path: Path, size: int = MIB) -> Iterator[bytes]:
    with path.open("rb") as opened:
        while block := opened.read(size):
            yield block


def part_sizes(size: int, n_parts: int) -> list[int]:
    """Return the sizes of parts, whole MiB, that cut a file of `size` bytes into `n_parts`; the usual ones first."""
    least = -(-size // (n_parts * MIB))
    sizes = dict.fromkeys((*PART_SIZES, *range(least, least + MOST_SIZES)))
    return [n * MIB for n in sizes if n and -(-size // (n * MIB)) == n_parts][:MOST_SIZES]


def _fits_parts(path: Path, etag: str) -> bool:
    stated, _, n_parts = etag.partition("-")
    for size in part_sizes(path.stat().st_size, int(n_parts)):
        of_parts = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in _blocks(path, size))
        if hashlib.md5(of_parts, usedforsecurity=False).hexdigest() == stated:
            return True
    return False


def _read_gzip(path: Path) -> None:
    with gzip.open(path) as stream:
        while stream.read(MIB):
            pass


def _read_zip(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        if damaged := file.testzip():
            raise ValueError(f"{damaged} does not have its checksum")


def _read_hdf5(path: Path) -> None:
    """Open all arrays, and read those whose chunks are compressed or have checksums."""
    with h5py.File(path, "r") as file:
        arrays: list[h5py.Dataset] = []
        file.visititems(lambda _, node: arrays.append(node) if isinstance(node, h5py.Dataset) else None)
        for array in arrays:
            if array.chunks is not None and array.id.get_create_plist().get_nfilters():
                for chunk in array.iter_chunks():
                    array[chunk]


def _read_mat(path: Path) -> None:
    if h5py.is_hdf5(path):
        _read_hdf5(path)
        return
    from scipy.io import loadmat

    loadmat(path)


def _read_nifti(path: Path) -> None:
    try:
        with open_nifti(path):
            pass
    except BrainDiffuserError as error:
        raise ValueError(str(error)) from error


def _read_text(path: Path) -> None:
    path.read_bytes().decode("utf-8")


_CHECKS: dict[tuple[str, ...], Callable[[Path], None]] = {
    (".gz",): _read_gzip,
    (".nii",): _read_nifti,
    (".zip", ".npz"): _read_zip,
    (".h5", ".hdf5"): _read_hdf5,
    (".mat",): _read_mat,
    (".csv", ".tsv", ".json", ".txt"): _read_text,
}
"""Ends of names → what reads such a file as a whole."""
