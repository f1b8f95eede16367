"""Whether all of an array was written: a chunk that is not there would read as the fill value, mostly 0, without a word.

HDF5 and zarr keep no trace of a chunk that was never written or that was lost. zarr leaves out chunks that hold nothing but the
fill value too, unless it is told not to; such a chunk looks the same.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr
from jaxtyping import Bool, Int
from zarr.codecs import ShardingCodec

from braindiffuser.errors import RecordingError

USUAL_INDEX = ["BytesCodec", "Crc32cCodec"]
"""Codecs of a shard's index as zarr writes it: little-endian integers, and a checksum."""
CHECKSUM = 4
"""Bytes of it."""
NOT_THERE = np.iinfo(np.uint64).max
"""In a shard's index, offset and length of a chunk that was never written."""


def check_written(array: Any, path: Path, rows: Int[np.ndarray, " n"] | None = None) -> None:
    """Refuse an array of a recording of which a chunk is not there.

    Args:
        array: as in `lacking`, as are all others.
        path: of the file or folder.
        rows: that are to be read.

    Raises:
        RecordingError: a chunk that holds a part of these rows was never written, or was lost.
    """
    fault = lacking(array, path, rows)
    if fault:
        raise RecordingError(fault)


def lacking(array: Any, path: Path, rows: Int[np.ndarray, " n"] | None = None) -> str:
    """Say which chunks of an array are not there, and what to do; "" if all are.

    Args:
        array: h5py.Dataset or zarr.Array, of an open file.
        path: of the file, or of the folder of a zarr store.
        rows: along the first axis, that are to be read; None: all.
    """
    is_hdf5 = isinstance(array, h5py.Dataset)
    if is_hdf5 and (array.chunks is None or array.is_virtual):
        if array.size and not array.is_virtual and not array.id.get_storage_size():
            return f"{path}: {array.name} was never written, and would read as {array.fillvalue}: write it again"
        return ""
    side = array.chunks
    grid = tuple(-(-length // chunk) for length, chunk in zip(array.shape, side, strict=True))
    wanted = np.arange(grid[0]) if rows is None else np.unique(rows // side[0])
    there = _hdf5_chunks(array, grid) if is_hdf5 else _zarr_chunks(array, path, grid, wanted)
    lost = wanted[~there[wanted].reshape(len(wanted), -1).all(axis=1)]
    if not len(lost):
        return ""
    n_lost = int(np.count_nonzero(~there[wanted]))
    first, last = int(lost[0]) * side[0], min(int(lost[0] + 1) * side[0], array.shape[0]) - 1
    hint = "" if is_hdf5 else ", with config={'write_empty_chunks': True} if chunks may hold nothing but the fill value"
    return (
        f"{path}: {n_lost:,} of {there[wanted].size:,} chunks of the array are not there, such as in rows {first} to {last}, "
        f"counted from 0, and would read as the fill value: write or copy it again{hint}"
    )


def _hdf5_chunks(array: h5py.Dataset, grid: tuple[int, ...]) -> Bool[np.ndarray, ...]:
    """Return which chunks have a place in the file."""
    if array.id.get_num_chunks() >= np.prod(grid):
        return np.ones(grid, bool)
    there, side = np.zeros(grid, bool), array.chunks

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        there[tuple(start // length for start, length in zip(chunk.chunk_offset, side, strict=True))] = True

    array.id.chunk_iter(note)
    return there


def _zarr_chunks(
    array: zarr.Array[Any], path: Path, grid: tuple[int, ...], wanted: Int[np.ndarray, " n"]
) -> Bool[np.ndarray, ...]:
    """Return which chunks have a file, or a place in that of their shard; only wanted places of the first axis are looked for."""
    there = np.zeros(grid, bool)
    if array.shards:
        per_shard = tuple(shard // chunk for shard, chunk in zip(array.shards, array.chunks, strict=True))
        others = (range(-(-length // n)) for length, n in zip(grid[1:], per_shard[1:], strict=True))
        for place in itertools.product(np.unique(wanted // per_shard[0]).tolist(), *others):
            block = tuple(slice(number * n, (number + 1) * n) for number, n in zip(place, per_shard, strict=True))
            file = path / array.path / array.metadata.encode_chunk_key(place)
            inside = tuple(map(slice, there[block].shape))  # a shard at the end reaches beyond the array
            there[block] = _chunks_in_shard(file, per_shard, array)[inside]
        return there
    for place in itertools.product(wanted.tolist(), *map(range, grid[1:])):
        there[place] = (path / array.path / array.metadata.encode_chunk_key(place)).is_file()
    return there


def _chunks_in_shard(file: Path, per_shard: tuple[int, ...], array: zarr.Array[Any]) -> Bool[np.ndarray, ...]:
    """Return which chunks a shard holds, by its index: the offset and length of each, both 2⁶⁴ − 1 where it is not there.

    An index that is stored in another way than zarr's usual one is not read; then all chunks count as there.
    """
    if not file.is_file():
        return np.zeros(per_shard, bool)
    sharding = next(
        (codec for codec in getattr(array.metadata, "codecs", ()) if isinstance(codec, ShardingCodec)), None
    )
    if sharding is None or [type(codec).__name__ for codec in sharding.index_codecs] != USUAL_INDEX:
        return np.ones(per_shard, bool)
    n_bytes = 16 * int(np.prod(per_shard))
    with file.open("rb") as opened:
        if sharding.index_location.value == "end":
            opened.seek(-(n_bytes + CHECKSUM), os.SEEK_END)
        content = opened.read(n_bytes)
    places = np.frombuffer(content, "<u8").reshape(*per_shard, 2)
    there: Bool[np.ndarray, ...] = (places != NOT_THERE).any(axis=-1)
    return there
