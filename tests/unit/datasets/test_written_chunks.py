"""Laws of arrays of which a part was never written or was lost: refused where that part is to be read, and only there."""

import h5py
import numpy as np
import pytest
import zarr

from braindiffuser.datasets.array_files import ArrayFile
from braindiffuser.datasets.beta_files import read_betas
from braindiffuser.datasets.pandas_frames import PandasFrame
from braindiffuser.datasets.picture_sets import PictureArray
from braindiffuser.errors import RecordingError

SHAPE, CHUNKS = (20, 6, 4), (4, 3, 4)
VALUES = np.random.default_rng(0).integers(1, 250, SHAPE).astype(np.float32)
KINDS = ("hdf5", "gzip", "zarr 2", "zarr 3", "zarr group", "zarr shards")


def write(folder, kind):
    """Write VALUES; returns the entry that names it."""
    if kind.startswith("zarr"):
        path = folder / "array.zarr"
        options = {"shards": CHUNKS, "chunks": (2, 3, 2)} if kind == "zarr shards" else {"chunks": CHUNKS}
        options |= {"shape": SHAPE, "dtype": "float32"}
        if kind == "zarr group":
            array = zarr.open_group(path, mode="w").create_array("inner", **options)
        else:
            array = zarr.create_array(path, zarr_format=2 if kind == "zarr 2" else 3, **options)
        array[:] = VALUES
        return f"{path}:inner" if kind == "zarr group" else str(path)
    with h5py.File(folder / "array.h5", "w") as file:
        file.create_dataset("x", data=VALUES, chunks=CHUNKS, compression="gzip" if kind == "gzip" else None)
    return f"{folder / 'array.h5'}:x"


def lose(folder, kind, place):
    """Leave out the chunk at a place of the grid."""
    if kind.startswith("zarr"):
        array = zarr.open(folder / "array.zarr", mode="r")
        array = array["inner"] if kind == "zarr group" else array
        (folder / "array.zarr" / array.path / array.metadata.encode_chunk_key(place)).unlink()
        return
    with h5py.File(folder / "array.h5", "w") as file:
        array = file.create_dataset("x", SHAPE, "f4", chunks=CHUNKS, compression="gzip" if kind == "gzip" else None)
        for other in np.ndindex(5, 2, 1):
            own = tuple(slice(i * n, (i + 1) * n) for i, n in zip(other, CHUNKS, strict=True))
            if other != place:
                array[own] = VALUES[own]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [(0, 0, 0), (2, 1, 0), (4, 1, 0)])
def test_a_chunk_that_is_not_there_is_refused_for_its_rows_alone(tmp_path, kind, place):
    array = ArrayFile.open(write(tmp_path, kind))
    array.check_written()
    np.testing.assert_array_equal(array.rows(np.arange(20)), VALUES)
    lose(tmp_path, kind, place)
    first = place[0] * CHUNKS[0]
    own = np.arange(first, first + CHUNKS[0])
    lost, of_own, last = ("4 of 40", "2 of 4", first + 1) if kind == "zarr shards" else ("1 of 10", "1 of 2", first + 3)
    with pytest.raises(RecordingError, match=rf"{lost} chunks .* not there, such as in rows {first} to {last},"):
        array.check_written()
    with pytest.raises(RecordingError, match=rf"{of_own} chunks .* not there"):
        array.check_written(own[:1])
    array.check_written(np.setdiff1d(np.arange(20), own))


@pytest.mark.parametrize("shape", [(20, 6, 4), (19, 7, 5)])
@pytest.mark.parametrize("index_location", ["start", "end"])
def test_a_chunk_that_a_shard_does_not_hold_is_refused_for_its_rows_alone(tmp_path, index_location, shape):
    sharding = {"shape": CHUNKS, "index_location": index_location}
    array = zarr.create_array(tmp_path / "array.zarr", shape=shape, chunks=(2, 3, 2), shards=sharding, dtype="float32")
    values = np.random.default_rng(0).random(shape, dtype=np.float32) + 1
    array[:10], array[12:] = values[:10], values[12:]
    array[10:12, :3] = values[10:12, :3]
    opened = ArrayFile.open(str(tmp_path / "array.zarr"))
    with pytest.raises(RecordingError, match=r"chunks .* not there, such as in rows 10 to 11,"):
        opened.check_written()
    opened.check_written(np.setdiff1d(np.arange(shape[0]), [10, 11]))
    array[10:12, 3:] = values[10:12, 3:]
    opened.check_written()
    np.testing.assert_array_equal(opened.rows(np.arange(shape[0])), values)


@pytest.mark.parametrize("options", [{}, {"chunks": CHUNKS}])
def test_an_array_that_was_never_written_is_refused(tmp_path, options):
    with h5py.File(tmp_path / "array.h5", "w") as file:
        file.create_dataset("x", SHAPE, "f4", **options)
    with pytest.raises(RecordingError, match=r"never written, and would read as 0|10 of 10 chunks"):
        ArrayFile.open(str(tmp_path / "array.h5")).check_written()


def test_zeros_that_were_written_are_none_of_it(tmp_path):
    with h5py.File(tmp_path / "array.h5", "w") as file:
        for name, options in {"whole": {}, "chunks": {"chunks": CHUNKS}}.items():
            file.create_dataset(name, SHAPE, "f4", **options)[...] = 0
    config = {"write_empty_chunks": True}
    zarr.create_array(tmp_path / "array.zarr", shape=SHAPE, chunks=CHUNKS, dtype="f4", config=config)[:] = 0
    for entry in ("array.h5:whole", "array.h5:chunks", "array.zarr"):
        ArrayFile.open(str(tmp_path / entry)).check_written()


@pytest.mark.parametrize("kind", ["hdf5", "zarr 3"])
def test_pictures_that_are_not_there_are_refused_when_they_are_opened(tmp_path, kind):
    pictures = np.random.default_rng(1).integers(0, 256, (6, 16, 16, 3)).astype(np.uint8)
    if kind == "hdf5":
        with h5py.File(tmp_path / "p.h5", "w") as file:
            file.create_dataset("p", pictures.shape, "u1", chunks=(1, 16, 8, 3))[:5] = pictures[:5]
    else:
        zarr.create_array(tmp_path / "p.zarr", shape=pictures.shape, chunks=(1, 16, 8, 3), dtype="u1")[:5] = pictures[
            :5
        ]
    entry = str(tmp_path / ("p.h5" if kind == "hdf5" else "p.zarr"))
    shown = PictureArray.open(entry, {0: 0, 1: 4}, None)
    np.testing.assert_allclose(shown(np.array([1]))[0], pictures[4].transpose(2, 0, 1) / 255, atol=1e-6)
    with pytest.raises(RecordingError, match=r"2 of 4 chunks .* such as in rows 5 to 5"):
        PictureArray.open(entry, {0: 0, 1: 5}, None)


def test_a_table_of_betas_that_was_never_written_is_refused(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["t/block0_items"] = np.array([b"0", b"1"])
        file.create_dataset("t/block0_values", (5, 2), "f8")
    with pytest.raises(RecordingError, match=r"t\.h5: /t/block0_values was never written"):
        PandasFrame.open(tmp_path / "t.h5").check_betas(["0", "1"])


@pytest.mark.parametrize("lost", [False, True])
def test_nsds_own_betas_are_read_only_if_all_chunks_are_there(tmp_path, lost):
    path, rng = tmp_path / "betas_session01.hdf5", np.random.default_rng(0)
    values = rng.integers(-3000, 3000, (20, 4, 5, 6), dtype=np.int16)
    with h5py.File(path, "w") as file:
        betas = file.create_dataset("betas", values.shape, np.int16, chunks=(10, 2, 5, 6))
        for start in (0, 2):
            betas[:10, start : start + 2] = values[:10, start : start + 2]
            if not (lost and start):
                betas[10:, start : start + 2] = values[10:, start : start + 2]
    mask = np.ones((6, 5, 4), bool)
    if lost:
        with pytest.raises(RecordingError, match=r"1 of 4 chunks of the array are not there"):
            read_betas(path, mask)
    else:
        np.testing.assert_allclose(
            read_betas(path, mask), values.transpose(0, 3, 2, 1).reshape(20, -1) / 300, rtol=1e-6
        )
